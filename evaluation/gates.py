"""A gate beside the quality gates: a number, its bound and one sentence. One that fails keeps the model from being served."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evaluation.decision import Decision, named


@dataclass(frozen=True, slots=True)
class Gate:
    """passed None: could not be measured, and the sentence says why. `measured` must not be above `bound`."""

    name: str
    measured: float | None
    bound: float
    passed: bool | None
    sentence: str


def within(low: float | None, high: float | None, bound: float) -> bool | None:
    """Whether what has this interval is at most `bound`: shown, excluded, or (None) neither."""
    if low is not None and low > bound:
        return False
    return True if high is not None and high <= bound else None


def shown(passed: bool | None, bound: str) -> str:
    """What `within` found, in words."""
    if passed is None:
        return f"that it is at most {bound} is neither shown nor excluded"
    return f"{'at most' if passed else 'more than'} {bound} is shown"


def blocked(decided: Decision, gates: Sequence[dict[str, Any]], *, required: Collection[str] = ()) -> Decision:
    """The decision as the stored gates leave it: self_host becomes api where one failed.

    Of gates that could not measure, a `required` one makes it undecided; others are told beside the verdict.
    """
    if decided.verdict != "self_host":
        return decided
    failed = [g["sentence"] for g in gates if g["passed"] is False]
    stays = named(decided.gates.baseline)
    if failed:
        said = f"Stay on {stays}, whatever the quality: {' '.join(failed)}"
        return replace(decided, verdict="api", kind="rejected by a gate", sentence=said)
    unmeasured = [g for g in gates if g["passed"] is None]
    lacking = [g["sentence"] for g in unmeasured if g["name"] in required]
    if lacking:
        said = f"Undecided, whatever the quality: {' '.join(lacking)} Until then stay on {stays}."
        return replace(decided, verdict="undecided", kind="undecided", sentence=said)
    names = ", ".join(g["name"] for g in unmeasured)
    told = f" Without a result: {names}. That does not keep it from being served." if unmeasured else ""
    return replace(decided, sentence=decided.sentence + told)
