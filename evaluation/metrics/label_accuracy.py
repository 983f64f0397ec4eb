"""Share of items whose label is right."""

from __future__ import annotations

APPLIES = "label"
BETTER = "higher"
PERFECT = ("billing", "billing", 1.0)
WORTHLESS = ("delivery", "billing", 0.0)


def score(answer: str, reference: str) -> float:
    return float(answer == reference)
