"""Every look at the test items, counted. Models are selected on `dev`; whoever tries again after a look at `test` selects on it.

A look is one decision on answers to these items that were not decided on before; deciding again on the same answers, with other gates
or from a replay, shows nothing new of the model. A test set that lost or gained items is the same set while at least half of it was
there before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Look:
    """items: digests of the test items' ids. answers: digest of what was answered to them."""

    items: tuple[str, ...]
    answers: str
    candidate: str
    recipe: str
    when: str  # ISO 8601


def digests(ids: Iterable[str]) -> tuple[str, ...]:
    """The same for the same items in any order."""
    return tuple(sorted({hashlib.sha256(i.encode()).hexdigest()[:12] for i in ids}))


def read(text: str) -> list[Look]:
    """The looks of a file of JSON lines. A line that a crash tore off is no look."""
    found = []
    for line in text.splitlines():
        try:
            read = json.loads(line)
            found.append(Look(**{**read, "items": tuple(read["items"])}))
        except (json.JSONDecodeError, TypeError, KeyError):
            continue
    return found


def after(earlier: Sequence[Look], look: Look) -> tuple[int, bool]:
    """Which look at its items this one is, from 1; and whether it is new."""
    same = [e for e in earlier if 2 * len({*e.items} & {*look.items}) >= len(look.items)]
    answers = list(dict.fromkeys(e.answers for e in same))
    if look.answers in answers:
        return answers.index(look.answers) + 1, False
    return len(answers) + 1, True
