"""Whether the answer is the reference, case, punctuation and white space aside."""

from __future__ import annotations

from data_prep.dedup import normalised

APPLIES = "text"
BETTER = "higher"
PERFECT = ("Charge it.", "charge it", 1.0)
WORTHLESS = ("no", "yes", 0.0)


def score(answer: str, reference: str) -> float:
    a, r = normalised(answer), normalised(reference)
    if not (a and r):  # of signs alone, where case and punctuation are all there is
        a, r = answer.strip(), reference.strip()
    return float(a == r)
