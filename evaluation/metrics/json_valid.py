"""Whether the whole answer is one JSON object that any program can read: no fence, no prose, no NaN, no key twice."""

from __future__ import annotations

from evaluation.metrics._json import asks_for_json, strict_object

APPLIES = "text"
applies = asks_for_json
BETTER = "higher"
PERFECT = ('{"product": "hub"}', '{"product": "valve"}', 1.0)
WORTHLESS = ('The product is a hub: {"product": "hub"}', '{"product": "hub"}', 0.0)


def score(answer: str, reference: str) -> float:  # noqa: ARG001  (every metric has this shape)
    return float(strict_object(answer) is not None)
