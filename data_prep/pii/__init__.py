"""One file = one engine that finds personal data and secrets in a text. An engine has

- `find(text, *, options…) -> list[Found]`: the places, sorted, without overlap. It knows no participants: those come from
  the export, and data_prep.redact looks for them. A kind is the word that reports count by: `secret`, `email`, `phone`,
  `card`, `iban`, `ip`, `mac`, `ssn`, `account`, `routing`, `passport`, `licence`, `customer_number`, `tax_id`, `birth_date`,
  `address`, `number` (a text that is little more than a long number), `person`, `location`.
- where it finds kinds that the core does not, `kinds(options)`: their words, so that a rule may name them.

Files beginning with an underscore are pieces of the engines and of redaction.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

# What is found with any engine: the core's kinds, and participants, whom the export names.
KINDS = frozenset(
    "secret email phone card iban ip mac ssn account routing passport licence customer_number tax_id birth_date address number person".split()
)


class Found(NamedTuple):
    """A place in a text: text[start:end] is of this kind."""

    kind: str
    start: int
    end: int


def without_overlap(*by_precedence: Iterable[Found]) -> list[Found]:
    """All places, sorted; where two overlap, the one of the earlier iterable stays, then the one that begins first or is longer."""
    kept: list[Found] = []
    starts: list[int] = []
    for places in by_precedence:
        for place in sorted(places, key=lambda f: (f.start, -f.end)):
            i = bisect_left(starts, place.start)
            if (i == 0 or kept[i - 1].end <= place.start) and (i == len(kept) or kept[i].start >= place.end):
                kept.insert(i, place)
                starts.insert(i, place.start)
    return kept
