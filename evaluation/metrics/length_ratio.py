"""Words of the answer over words of the reference: 1 is as long, 2 twice as long. Shown, never a gate by itself."""

from __future__ import annotations

APPLIES = "text"
BETTER = "neither"
PERFECT = ("two words", "also two", 1.0)
WORTHLESS = ("", "also two", 0.0)


def score(answer: str, reference: str) -> float | None:
    """None where the reference has no words."""
    words = len(reference.split())
    return len(answer.split()) / words if words else None
