"""What a target is given to serve, and what it says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data_prep.records import UserError
from evaluation.egress import Guard
from pipelines.serving.golden import Golden
from pipelines.training.base import Base


class TargetError(UserError):
    """The serving target refused, could not be reached, or does not answer as evaluation recorded."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One version of the tuned model. `name` is immutable: `alias@sha12` of the adapter's content."""

    alias: str
    name: str
    adapter: Path
    base: Base
    golden: tuple[Golden, ...]
    logprob_tolerance: float
    work: Path  # scratch for logs
    guard: Guard  # the way out, for what is sent to where it is served
    previous: str | None = None  # the version that the target's alias points at now
