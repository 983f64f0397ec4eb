"""Item by item: what got worse, better or stayed, from the champion to the candidate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from evaluation.results import Item
from evaluation.summary import View

Change = Literal["worse", "better", "same", "not measured"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One item with both scores; None where a score could not be measured."""

    item: str
    change: Change
    champion: float | None
    candidate: float | None


@dataclass(frozen=True, slots=True)
class Ledger:
    """Every item once: the worst losses first, then the best gains, what stayed, and what could not be measured."""

    entries: list[Entry]

    @property
    def counts(self) -> dict[Change, int]:
        found = Counter(e.change for e in self.entries)
        kinds: tuple[Change, ...] = ("worse", "better", "same", "not measured")
        return {kind: found[kind] for kind in kinds}

    def of(self, change: Change) -> list[Entry]:
        return [e for e in self.entries if e.change == change]


def ledger(
    champion: Mapping[str, float | None], candidate: Mapping[str, float | None], *, tolerance: float = 0.0
) -> Ledger:
    """Compare two arms' scores by item id. A difference of no more than `tolerance` is the same."""
    entries = [_entry(i, champion.get(i), candidate.get(i), tolerance) for i in sorted({*champion, *candidate})]
    order = {"worse": 0, "better": 1, "same": 2, "not measured": 3}
    return Ledger(sorted(entries, key=lambda e: (order[e.change], -_size(e), e.item)))


def of_view(
    view: View, items: Sequence[Item], *, champion: str, candidate: str, metric: str, tolerance: float = 0.0
) -> Ledger:
    """The ledger of two arms of a report, by one metric."""
    before, after = ({i.id: view.values.get((arm, i.id, metric)) for i in items} for arm in (champion, candidate))
    return ledger(before, after, tolerance=tolerance)


def _entry(item: str, before: float | None, after: float | None, tolerance: float) -> Entry:
    if before is None or after is None:
        return Entry(item, "not measured", before, after)
    gap = after - before
    return Entry(item, "same" if abs(gap) <= tolerance else "worse" if gap < 0 else "better", before, after)


def _size(entry: Entry) -> float:
    return abs(entry.candidate - entry.champion) if entry.candidate is not None and entry.champion is not None else 0.0
