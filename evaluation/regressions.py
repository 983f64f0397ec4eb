"""Item by item: what the candidate won, lost or tied against the champion it would replace. Ids and scores, never texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evaluation.decision import Decision
from evaluation.results import Item
from evaluation.summary import View, metrics_for

Change = Literal["lost", "won", "tied", "not measured"]
CHANGES: tuple[Change, ...] = ("lost", "won", "tied", "not measured")


@dataclass(frozen=True, slots=True)
class Entry:
    """One item with both scores; None where a score could not be measured."""

    item: str
    change: Change
    champion: float | None
    candidate: float | None

    @property
    def gap(self) -> float:
        """Candidate minus champion; 0 where either was not measured."""
        return 0.0 if self.candidate is None or self.champion is None else self.candidate - self.champion


@dataclass(frozen=True, slots=True)
class Ledger:
    """Every item once: the worst losses first, then the best gains, what stayed, and what could not be measured."""

    metric: str
    entries: list[Entry]

    @property
    def counts(self) -> dict[Change, int]:
        found = Counter(e.change for e in self.entries)
        return {change: found[change] for change in CHANGES}

    def of(self, change: Change) -> list[Entry]:
        return [e for e in self.entries if e.change == change]


def ledger(metric: str, champion: Mapping[str, float | None], candidate: Mapping[str, float | None]) -> Ledger:
    """Compare two arms' scores by item id."""
    entries = [_entry(i, champion.get(i), candidate.get(i)) for i in sorted({*champion, *candidate})]
    return Ledger(metric, sorted(entries, key=lambda e: (CHANGES.index(e.change), -abs(e.gap), e.item)))


def of_view(view: View, items: Sequence[Item], *, champion: str, candidate: str, metric: str) -> Ledger:
    """The ledger of two arms of a report, by one metric, over the items that it applies to."""
    mine = [i for i in items if metric in metrics_for(i)]
    before, after = ({i.id: view.values.get((arm, i.id, metric)) for i in mine} for arm in (champion, candidate))
    return ledger(metric, before, after)


def of_decision(view: View, decided: Decision) -> dict[str, Ledger]:
    """Task → the ledger from the baseline to the candidate, by the metric that the gate tests."""
    metrics = {s.slice.removeprefix("task="): s.metric for s in decided.slices if s.slice.startswith("task=")}
    arms = {"champion": decided.gates.baseline, "candidate": decided.gates.candidate}
    return {t: of_view(view, [i for i in view.items if i.task == t], metric=m, **arms) for t, m in metrics.items()}


def rows(view: View, ledgers: Mapping[str, Ledger]) -> list[dict[str, Any]]:
    """The ledgers as plain data, a row an item: its slices, both scores, what changed, and whether its texts may leave."""
    items = {i.id: i for i in view.items}
    return [
        {
            "item": e.item,
            "slices": [f"task={task}", *(f"{task}/{s}" for s in items[e.item].slices)],
            "metric": found.metric,
            "baseline": e.champion,
            "candidate": e.candidate,
            "change": e.change,
            "sensitivity": items[e.item].sensitivity,
        }
        for task, found in ledgers.items()
        for e in found.entries
    ]


def _entry(item: str, before: float | None, after: float | None) -> Entry:
    if before is None or after is None:
        return Entry(item, "not measured", before, after)
    return Entry(item, "tied" if after == before else "lost" if after < before else "won", before, after)
