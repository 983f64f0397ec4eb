"""Judges: providers that answer, metrics that score, statistics, cost, the decision. Never deploys."""
