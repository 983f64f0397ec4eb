"""Mean over labels of F1, every label with the same weight: rare labels count as much as frequent ones.

A label that occurs in neither references nor answers is left out; one that is never answered has F1 0.
"""

from __future__ import annotations

from collections.abc import Sequence

APPLIES = "label"
BETTER = "higher"
PERFECT = (["a", "b"], ["a", "b"], 1.0)
WORTHLESS = (["b", "a"], ["a", "b"], 0.0)


def aggregate(answers: Sequence[str], references: Sequence[str]) -> float | None:
    """None without items."""
    labels = sorted(set(answers) | set(references))
    if not labels:
        return None
    pairs = list(zip(answers, references, strict=True))
    scores = []
    for label in labels:
        right = sum(a == r == label for a, r in pairs)
        named = sum(a == label for a, _ in pairs) + sum(r == label for _, r in pairs)
        scores.append(2 * right / named)
    return sum(scores) / len(scores)
