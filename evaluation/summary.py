"""From answers and scores to what a report shows: per slice and arm means, per pair of arms differences."""

from __future__ import annotations

import importlib
import inspect
import math
import statistics as plain
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from data_prep import plugins
from evaluation.latency import PERCENTILES, quantile
from evaluation.metrics import Given, Shown
from evaluation.results import Answer, Item, Score
from evaluation.statistics import bootstrap_difference, clustered_mean

METRICS = "evaluation.metrics"


@cache
def _module(name: str) -> Any:
    """A metric's module (evaluation.metrics says what is in it)."""
    return importlib.import_module(f"{METRICS}.{name}")


@cache
def _of_kind(kind: str, function: str) -> tuple[str, ...]:
    return tuple(n for n in plugins.names(METRICS) if kind == _module(n).APPLIES and hasattr(_module(n), function))


def _applying(item: Item, function: str) -> list[str]:
    names = _of_kind("label" if item.choices else "text", function)
    return [n for n in names if getattr(_module(n), "applies", _always)(item)]


def _always(_: Item) -> bool:
    return True


def metrics_for(item: Item) -> list[str]:
    """Names of the per-item metrics that apply to an item."""
    return _applying(item, "score")


def metrics_of(items: Iterable[Item]) -> list[str]:
    """Names of the per-item metrics that apply to any of the items."""
    return sorted({n for i in items for n in metrics_for(i)})


def scores(
    items: Iterable[Item],
    answers: dict[tuple[str, str], Answer],
    arms: Sequence[str],
    shown: Mapping[tuple[str, str], Shown] | None = None,
) -> list[Score]:
    """Every per-item metric of every arm. An answer with an error, or none at all, is not measured.

    shown: (arm, item) → what the arm was shown, where that is not just the item's own prompt.
    """
    found = []
    for item in items:
        for arm in arms:
            answer = answers.get((arm, item.id))
            told = (shown or {}).get((arm, item.id), Shown(item.prompt))
            for name in metrics_for(item):
                value = None
                if answer is not None and answer.text is not None and answer.error is None:
                    value = _score(_module(name).score, answer.text, Given(item, answer, told))
                found.append(Score(item.id, arm, name, value))
    return found


def _score(score: Callable[..., float | None], text: str, given: Given) -> float | None:
    needs = {"given": given} if "given" in _parameters(score) else {}
    value = score(text, given.item.reference, **needs)
    return value if value is None or math.isfinite(value) else None


@cache
def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


Judged = tuple[str, str, Given]  # answer, reference, and what else a metric may look at


def _aggregate(name: str, judged: Sequence[Judged]) -> float | None:
    aggregate = _module(name).aggregate
    needs = {"given": [g for *_, g in judged]} if "given" in _parameters(aggregate) else {}
    value: float | None = aggregate([a for a, *_ in judged], [r for _, r, _ in judged], **needs)
    return value if value is None or math.isfinite(value) else None


def slices_of(items: Sequence[Item]) -> dict[str, list[Item]]:
    """Slice name → items: `task=NAME`, and `NAME/slice` for every slice within a task."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(f"task={item.task}", []).append(item)
        for part in item.slices:
            found.setdefault(f"{item.task}/{part}", []).append(item)
    return dict(sorted(found.items(), key=lambda kv: (not kv[0].startswith("task="), kv[0])))


def aggregate_metrics(item: Item) -> list[str]:
    return _applying(item, "aggregate")


@dataclass(frozen=True, slots=True)
class View:
    """Items, answers and scores, looked up by arm. A score that is NaN or infinite was not measured."""

    items: list[Item]
    answers: dict[tuple[str, str], Answer]
    values: dict[tuple[str, str, str], float | None]  # arm, item, metric

    def __post_init__(self) -> None:
        finite = {k: v if v is None or math.isfinite(v) else None for k, v in self.values.items()}
        object.__setattr__(self, "values", finite)

    @classmethod
    def of(cls, items: list[Item], answers: Iterable[Answer], scored: Iterable[Score]) -> View:
        return cls(items, {(a.arm, a.item): a for a in answers}, {(s.arm, s.item, s.metric): s.value for s in scored})

    def paired(
        self, items: Sequence[Item], arms: tuple[str, str], metric: str
    ) -> tuple[list[float], list[float], list[str]]:
        """Values of both arms and the groups, for the items that both have measured."""
        found = [
            (self.values.get((arms[0], i.id, metric)), self.values.get((arms[1], i.id, metric)), i.group) for i in items
        ]
        both = [(a, b, g) for a, b, g in found if a is not None and b is not None]
        return [a for a, *_ in both], [b for _, b, _ in both], [g for *_, g in both]


def arm_table(view: View, arms: Sequence[str]) -> list[dict[str, Any]]:
    """One row a slice, arm and metric: mean, interval, measured and failed."""
    rows = []
    for name, items in slices_of(view.items).items():
        for arm in arms:
            for metric in metrics_of(items):
                got = [(view.values.get((arm, i.id, metric)), i.group) for i in items if metric in metrics_for(i)]
                measured = [(v, g) for v, g in got if v is not None]
                row: dict[str, Any] = {
                    "slice": name,
                    "arm": arm,
                    "metric": metric,
                    "measured": len(measured),
                    "failed": len(got) - len(measured),
                }
                if measured:
                    values, groups = zip(*measured, strict=True)
                    e = clustered_mean(values, groups, within_unit=_is_within_unit(metric))
                    row |= {"mean": e.mean, "low": e.low, "high": e.high}
                rows.append({"mean": None, "low": None, "high": None, **row})
            for metric in aggregate_metrics(items[0]):
                rows.append(_aggregate_row(view, name, items, arm, metric))
    return rows


def _is_within_unit(metric: str) -> bool:
    """Whether every score lies between 0 and 1."""
    module = _module(metric)
    return module.BETTER != "neither" and {module.PERFECT[2], module.WORTHLESS[2]} == {0, 1}


def _judged(view: View, items: Sequence[Item], arm: str) -> list[Judged]:
    """What the arm answered without an error."""
    got = ((i, view.answers.get((arm, i.id))) for i in items)
    return [(a.text or "", i.reference, Given(i, a, Shown(i.prompt))) for i, a in got if a and not a.error]


def _aggregate_row(view: View, name: str, items: Sequence[Item], arm: str, metric: str) -> dict[str, Any]:
    judged = _judged(view, items, arm)
    return {"slice": name, "arm": arm, "metric": metric, "measured": len(judged), "failed": len(items) - len(judged),
            "mean": _aggregate(metric, judged), "low": None, "high": None}  # fmt: skip


def difference_table(view: View, candidate: str, others: Sequence[str], *, seed: int) -> list[dict[str, Any]]:
    """Candidate minus each other arm, paired and clustered, per slice and metric."""
    rows = []
    for name, items in slices_of(view.items).items():
        for other in others:
            for metric in metrics_of(items):
                c, o, groups = view.paired(items, (candidate, other), metric)
                row: dict[str, Any] = {
                    "slice": name,
                    "candidate": candidate,
                    "other": other,
                    "metric": metric,
                    "items": len(c),
                }
                if c:
                    e = clustered_mean([x - y for x, y in zip(c, o, strict=True)], groups)
                    row |= {
                        "difference": e.mean,
                        "low": e.low,
                        "high": e.high,
                        "clusters": e.clusters,
                        "design_effect": e.design_effect,
                    }
                rows.append({"difference": None, "low": None, "high": None, **row})
            if name.startswith("task="):
                rows += [
                    _aggregate_difference(view, name, items, candidate, other, m, seed)
                    for m in aggregate_metrics(items[0])
                ]
    return rows


def _aggregate_difference(
    view: View, name: str, items: Sequence[Item], candidate: str, other: str, metric: str, seed: int
) -> dict[str, Any]:
    both = [
        i
        for i in items
        if all((a := view.answers.get((arm, i.id))) is not None and not a.error for arm in (candidate, other))
    ]
    row: dict[str, Any] = {"slice": name, "candidate": candidate, "other": other, "metric": metric, "items": len(both)}
    mine, theirs = (_judged(view, both, arm) for arm in (candidate, other))

    def difference(chosen: npt.NDArray[np.intp]) -> float | None:
        ours, others = (_aggregate(metric, [judged[k] for k in chosen]) for judged in (mine, theirs))
        return None if ours is None or others is None else ours - others

    whole = difference(np.arange(len(both))) if both else None
    if whole is None:
        return {"difference": None, "low": None, "high": None, **row}
    low, high = bootstrap_difference(difference, [i.group for i in both], seed=seed)
    return {
        **row,
        "difference": whole,
        "low": low,
        "high": high,
        "clusters": len({i.group for i in both}),
    }


def speed_table(view: View, arms: Sequence[str]) -> list[dict[str, Any]]:
    """Latency, tokens, money and errors per task and arm.

    Percentiles are in milliseconds, each with its 95 % interval (`p95_ms_low`, `p95_ms_high`).
    at_once: answers that a local arm wrote together, each with the time of them all; 1: one after another.
    unanswered: questions that were asked in vain; they are slower than any answer.
    """
    rows = []
    for task in sorted({i.task for i in view.items}):
        for arm in arms:
            mine = [view.answers[arm, i.id] for i in view.items if i.task == task and (arm, i.id) in view.answers]
            latencies, first = _times(mine, "latency_ms"), _times(mine, "first_token_ms")
            priced = [a.usd for a in mine if a.usd is not None]
            busy = [a.busy_ms for a in mine if a.busy_ms is not None]
            rows.append({
                "task": task, "arm": arm, "answers": len(mine), "errors": error_counts(a.error for a in mine),
                "unanswered": latencies.count(math.inf), "at_once": _at_once(mine), **_percentiles("", latencies),
                **_percentiles("first_token_", first),
                "prompt_tokens": _mean([a.prompt_tokens for a in mine]),
                "completion_tokens": _mean([a.completion_tokens for a in mine]),
                "usd_per_request": str(sum(priced, Decimal(0)) / len(priced)) if priced else None,
                "busy_ms": plain.fmean(busy) if busy else None,
                "retries": sum(max(0, a.attempts - 1) for a in mine),
            })  # fmt: skip
    return rows


def _at_once(answers: Sequence[Answer]) -> int:
    return max((round(a.latency_ms / a.busy_ms) for a in answers if a.latency_ms and a.busy_ms), default=1)


def _times(answers: Sequence[Answer], what: str) -> list[float]:
    """What was timed, infinity for what was asked in vain; nothing where this arm is not timed at all."""
    found = [math.inf if t is None and a.error and a.attempts else t for a in answers for t in [getattr(a, what)]]
    return [t for t in found if t is not None] if any(t is not None and math.isfinite(t) for t in found) else []


def _percentiles(prefix: str, times: Sequence[float]) -> dict[str, float | None]:
    """None: it lies among the questions asked in vain, an upper end also beyond the answers there are."""
    found: dict[str, float | None] = {}
    for share in PERCENTILES:
        name, e = f"{prefix}p{100 * share:g}_ms", quantile(times, share) if times else None
        found |= dict.fromkeys((name, f"{name}_low", f"{name}_high"))
        if e is not None:
            found |= {name: e.value, f"{name}_low": e.low, f"{name}_high": e.high}
    return found


def _mean(values: Sequence[int | None]) -> float | None:
    known = [v for v in values if v is not None]
    return plain.fmean(known) if known else None


def error_counts(errors: Iterable[str | None]) -> dict[str, int]:
    found: dict[str, int] = {}
    for e in errors:
        if e is not None:
            found[e] = found.get(e, 0) + 1
    return dict(sorted(found.items()))
