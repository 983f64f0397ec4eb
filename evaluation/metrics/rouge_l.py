"""ROUGE-L: F1 of the longest common subsequence of words (Lin 2004); scripts without spaces are counted by character."""

from __future__ import annotations

import re

from evaluation.metrics import LONGEST

APPLIES = "text"
BETTER = "higher"
PERFECT = ("restart the hub", "restart the hub", 1.0)
# Thai, Lao, Burmese, Khmer, kana, Han
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
WORTHLESS = ("xyz", "restart the hub", 0.0)


def score(answer: str, reference: str) -> float | None:
    """None where the reference has no words."""
    from rapidfuzz.distance import LCSseq

    a, r = (WORD.findall(t[:LONGEST].casefold()) for t in (answer, reference))
    if not r:
        return None
    return 2 * LCSseq.similarity(a, r) / (len(a) + len(r))
