"""Brier score of a label's probabilities: Σ over the choices of (probability − is it the label)² (Brier 1950); 0 to 2."""

from __future__ import annotations

from evaluation.metrics import Given, example

APPLIES = "label"
BETTER = "lower"
PERFECT = ("a", "a", 0.0, example(logprobs={"a": 0.0, "b": -1e9}))
WORTHLESS = ("b", "a", 2.0, example(logprobs={"a": -1e9, "b": 0.0}))


def score(answer: str, reference: str, *, given: Given) -> float | None:  # noqa: ARG001
    """None where the arm gave no probability of every choice, or the label is none of them."""
    found = given.probabilities
    if found is None or reference not in found:
        return None
    return sum((p - (choice == reference)) ** 2 for choice, p in found.items())
