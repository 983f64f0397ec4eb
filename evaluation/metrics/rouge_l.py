"""ROUGE-L: F1 of the longest common subsequence of words (Lin 2004)."""

from __future__ import annotations

from data_prep.dedup import WORD
from evaluation.metrics import LONGEST

APPLIES = "text"
BETTER = "higher"
PERFECT = ("restart the hub", "restart the hub", 1.0)
WORTHLESS = ("xyz", "restart the hub", 0.0)


def score(answer: str, reference: str) -> float | None:
    """None where the reference has no words."""
    from rapidfuzz.distance import LCSseq

    a, r = (WORD.findall(t[:LONGEST].casefold()) for t in (answer, reference))
    if not r:
        return None
    return 2 * LCSseq.similarity(a, r) / (len(a) + len(r))
