"""Which slices may move: picking the winners of many tests needs Holm's correction, demanding all of them does not.

Non-inferiority in every must-pass slice is an intersection-union test (Berger 1982): each is tested at alpha. Every other slice is
picked because its test came out well, so those share one family and Holm's (1979) step-down procedure.
"""

from __future__ import annotations

from collections.abc import Mapping


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p of each test; compare with alpha. They never fall in the order of the raw ones."""
    adjusted: dict[str, float] = {}
    least = 0.0
    for rank, (name, value) in enumerate(sorted(p.items(), key=lambda kv: (kv[1], kv[0]))):
        least = max(least, min(1.0, (len(p) - rank) * value))
        adjusted[name] = least
    return adjusted


def intersection_union(p: Mapping[str, float]) -> float | None:
    """The p of "every one of these holds": the largest. None without tests."""
    return max(p.values(), default=None)
