"""Whether the answer is the reference, case, punctuation and white space aside."""

from __future__ import annotations

from data_prep.dedup import normalised

APPLIES = "text"
BETTER = "higher"
PERFECT = ("Charge it.", "charge it", 1.0)
WORTHLESS = ("no", "yes", 0.0)


def score(answer: str, reference: str) -> float:
    return float(normalised(answer) == normalised(reference))
