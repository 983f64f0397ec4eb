"""The verdict per slice and overall. Pure: computed from stored answers and gates that were declared before scoring.

Non-inferiority in all must-pass slices is an intersection-union test, so each is tested at alpha without correction. A slice
is self_host when the test passes, api when the candidate is shown to be worse than the margin allows, undecided otherwise;
undecided never promotes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from evaluation.results import Item
from evaluation.statistics import NonInferiority, clustered_mean, gate_alpha, non_inferiority
from evaluation.summary import View, metrics_for, slices_of

Verdict = Literal["self_host", "api", "undecided"]
DEFAULT_METRIC = {"label": "label_accuracy", "text": "chrf"}


@dataclass(frozen=True, slots=True)
class Gates:
    candidate: str
    baseline: str
    ratio: float
    alpha: float
    metrics: dict[str, str]  # task → metric
    must_pass: tuple[str, ...]
    min_items: int
    min_measured_share: float


@dataclass(frozen=True, slots=True)
class SliceDecision:
    slice: str
    metric: str
    verdict: Verdict
    kind: str  # better, non-inferior, inferior, undecided, too few items, could not measure
    candidate_mean: float | None
    baseline_mean: float | None
    test: NonInferiority | None
    items: int
    measured: int
    must_pass: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Decision:
    verdict: Verdict
    sentence: str
    slices: list[SliceDecision]
    gates: Gates

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def decide(view: View, gates: Gates) -> Decision:
    """Every slice's verdict, and the overall one: the worst of the must-pass slices."""
    groups = slices_of(view.items)
    decided = [_decide_slice(view, gates, name, items) for name, items in groups.items()]
    by_name = {d.slice: d for d in decided}
    missing = [s for s in gates.must_pass if s not in by_name]
    required = [by_name[s] for s in gates.must_pass if s in by_name]
    verdict: Verdict = "self_host"
    if any(d.verdict == "api" for d in required):
        verdict = "api"
    elif missing or not required or any(d.verdict == "undecided" for d in required):
        verdict = "undecided"
    return Decision(verdict, _overall(verdict, gates.baseline, required, missing), decided, gates)


def _overall(verdict: Verdict, baseline: str, required: Sequence[SliceDecision], missing: Sequence[str]) -> str:
    named = "the API" if baseline == "api" else f"the {baseline} arm"
    if verdict == "self_host":
        return f"Every must-pass slice is non-inferior to {named}: the tuned model may replace it there."
    if verdict == "api":
        worst = next(d for d in required if d.verdict == "api")
        return f"Stay on {named}: {worst.sentence}"
    if missing:
        return f"Undecided: the test set has no item in {', '.join(missing)}."
    open_ = next((d for d in required if d.verdict == "undecided"), None)
    return (
        f"Undecided, which never promotes: {open_.sentence}" if open_ else "Undecided: no must-pass slice was declared."
    )


def _decide_slice(view: View, gates: Gates, name: str, items: list[Item]) -> SliceDecision:
    task = items[0].task
    metric = gates.metrics.get(task) or DEFAULT_METRIC["label" if items[0].choices else "text"]
    assert metric in metrics_for(items[0]), f"{metric} has no value per item"
    c, b, groups = view.paired(items, (gates.candidate, gates.baseline), metric)
    means: tuple[float, float] | None = (sum(c) / len(c), sum(b) / len(b)) if c else None

    def made(verdict: Verdict, kind: str, sentence: str, test: NonInferiority | None = None) -> SliceDecision:
        mine, theirs = means or (None, None)
        must = name in gates.must_pass
        return SliceDecision(name, metric, verdict, kind, mine, theirs, test, len(items), len(c), must, sentence)

    if len(c) < gates.min_measured_share * len(items):
        failed = {
            arm: sum(view.values.get((arm, i.id, metric)) is None for i in items)
            for arm in (gates.candidate, gates.baseline)
        }
        told = ", ".join(f"{n} of {len(items)} from {arm}" for arm, n in failed.items() if n)
        return made("undecided", "could not measure", f"{name}: unreadable or missing answers ({told}).")
    if len(c) < gates.min_items:
        return made(
            "undecided", "too few items", f"{name}: {len(c)} items measured, {gates.min_items} needed to decide."
        )
    test = non_inferiority(c, b, groups, ratio=gates.ratio, alpha=gate_alpha(gates.alpha, len(c)))
    difference = clustered_mean([x - y for x, y in zip(c, b, strict=True)], groups, confidence=1 - 2 * test.alpha)
    assert means is not None
    if test.p_non_inferior is None or test.p_inferior is None:
        return made("undecided", "undecided", f"{name}: nothing can be tested, all items belong to one customer.", test)
    seen = (
        f"ratio {test.ratio:.3f} ({_bounds(test)})" if test.ratio is not None else "no ratio, the baseline scores zero"
    )
    told = f"{name}: {metric} {means[0]:.3f} against {means[1]:.3f}, {seen}, required {gates.ratio}"
    if test.p_non_inferior < test.alpha:
        better = difference.low is not None and difference.low > 0
        return made("self_host", "better" if better else "non-inferior", told + ".", test)
    if test.p_inferior < test.alpha:
        return made("api", "inferior", told + ": worse than the margin allows.", test)
    more = (
        f"about {test.more_items} more items would decide"
        if test.more_items
        else "more items of the same kind would not pass"
    )
    return made("undecided", "undecided", f"{told}; {more}.", test)


def _bounds(test: NonInferiority) -> str:
    if test.low is None or test.high is None:
        return "unbounded"
    return f"{test.low:.3f} to {test.high:.3f}"
