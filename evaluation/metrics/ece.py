"""Expected calibration error: how far confidence is from accuracy, in ten bins of equal width (Naeini 2015, Guo 2017).

Confidence is the highest probability; the answer is the choice that has it. Under a few hundred items it reads too high.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation.metrics import Given, example

APPLIES = "label"
BETTER = "lower"
BINS = 10
SURE = example(logprobs={"a": 0.0, "b": -1e9})
PERFECT = (["a", "a"], ["a", "a"], 0.0, [SURE, SURE])
WORTHLESS = (["a", "a"], ["b", "b"], 1.0, [SURE, SURE])


def aggregate(answers: Sequence[str], references: Sequence[str], *, given: Sequence[Given]) -> float | None:  # noqa: ARG001
    """None where no answer has probabilities; those without are left out."""
    found = [(p, r) for g, r in zip(given, references, strict=True) if (p := g.probabilities) is not None]
    if not found:
        return None
    best = [max(p, key=p.__getitem__) for p, _ in found]
    confidence = np.array([p[b] for (p, _), b in zip(found, best, strict=True)])
    right = np.array([b == r for (_, r), b in zip(found, best, strict=True)], dtype=float)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(found))
