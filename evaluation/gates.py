"""A gate beside the quality gates: a number, its bound and one sentence. One that fails keeps the model from being served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from evaluation.decision import Decision


@dataclass(frozen=True, slots=True)
class Gate:
    """passed None: could not be measured, and the sentence says why. `measured` must not be above `bound`."""

    name: str
    measured: float | None
    bound: float
    passed: bool | None
    sentence: str


def blocked(decided: Decision, gates: Sequence[dict[str, Any]]) -> Decision:
    """The decision as the stored gates leave it: self_host becomes api where one failed."""
    failed = [g["sentence"] for g in gates if g["passed"] is False]
    if decided.verdict != "self_host" or not failed:
        return decided
    stays = "the API" if decided.gates.baseline == "api" else f"the {decided.gates.baseline} arm"
    return replace(
        decided,
        verdict="api",
        kind="rejected by a gate",
        sentence=f"Stay on {stays}, whatever the quality: {' '.join(failed)}",
    )
