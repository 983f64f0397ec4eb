"""chrF2: F-score of character 6-grams (Popović 2015, sacrebleu's implementation), scaled to [0, 1]."""

from __future__ import annotations

from functools import cache
from typing import Any

APPLIES = "text"
PERFECT = ("restart the hub", "restart the hub", 1.0)
WORTHLESS = ("xyz", "restart the hub", 0.0)


@cache
def _metric() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()


def score(answer: str, reference: str) -> float | None:
    """None where the reference is empty."""
    return float(_metric().sentence_score(answer, [reference]).score) / 100 if reference.strip() else None
