"""Judges: providers that answer, metrics that score, statistics, cost, the decision. Never deploys."""

from evaluation.offline import inherit

inherit()  # first thing in every process, so that --offline holds in spawned workers as well
