"""chrF2: F-score of character 6-grams (Popović 2015, sacrebleu's implementation), scaled to [0, 1]."""

from __future__ import annotations

from functools import cache
from typing import Any

from evaluation.metrics import LONGEST

APPLIES = "text"
BETTER = "higher"
PERFECT = ("restart the hub", "restart the hub", 1.0)
WORTHLESS = ("xyz", "restart the hub", 0.0)


@cache
def _metric() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()


def score(answer: str, reference: str) -> float | None:
    """None where the reference is empty."""
    if not reference.strip():
        return None
    return float(_metric().sentence_score(answer[:LONGEST], [reference[:LONGEST]]).score) / 100
