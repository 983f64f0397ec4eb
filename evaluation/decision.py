"""The verdict per slice and overall. Pure: computed from stored answers and gates that were declared before scoring.

Non-inferiority in all must-pass slices is an intersection-union test, so each is tested at alpha without correction; the other slices
share Holm's correction (slices.py). A slice is self_host when its test passes, api when the candidate is shown to be worse than the
margin allows, undecided otherwise; undecided never promotes.

The overall verdict goes beyond the candidate:
- untuned: a simpler arm (base, few_shot, rag) passes the same gates, and the candidate is not shown to beat it in any must-pass slice.
  The simpler arms are several chances to pass, so they share Holm's correction too.
- fix_data: the candidate is shown to be worse than the base model it was tuned from; or it and every other local arm are shown to be
  inferior, it is not shown to beat base, and at least half of the rows were duplicates. Then more of the same training is no answer.
- A slice in which every arm scores 0.98 or more shows nothing about where the arms differ: undecided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from evaluation import exact
from evaluation.margins import NonInferiority, Pairs, non_inferiority, non_inferiority_by_difference
from evaluation.results import LOCAL_ARMS, Item
from evaluation.slices import holm
from evaluation.statistics import Bootstrapped, bootstrap_ratio, gate_alpha
from evaluation.summary import View, metrics_for, slices_of

Verdict = Literal["self_host", "untuned", "fix_data", "api", "undecided"]
HEADLINES: dict[str, str] = {
    "self_host": "Self-host",
    "untuned": "No tuning needed",
    "fix_data": "Fix the data",
    "api": "Stay on the API",
    "undecided": "Undecided",
}
DEFAULT_METRIC = {"label": "label_accuracy", "text": "chrf"}
UNTUNED = {"base": "the base model is enough", "few_shot": "few-shot is enough", "rag": "RAG is enough"}
SATURATED = 0.98
POOR_DUPLICATES = 0.5


def headlines(baseline: str) -> dict[str, str]:
    """Verdict → its headline, where this arm is what the candidate would replace."""
    told = HEADLINES if baseline == "api" else {**HEADLINES, "api": f"Stay on {baseline}"}
    return {**told, "self_host": f"Replace {baseline}"} if baseline in LOCAL_ARMS else told


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
    margins: dict[str, float] = field(
        default_factory=dict
    )  # task → how far the mean may lie below, instead of the ratio


@dataclass(frozen=True, slots=True)
class SliceDecision:
    """p_adjusted: Holm's, of a slice that was not declared. exact: where scores are yes/no and every customer has one item.
    bootstrap: BCa interval of the ratio at the gate's alpha on each side, a cross-check."""

    slice: str
    metric: str
    verdict: Verdict
    kind: str  # better, non-inferior, inferior, undecided, saturated, zero baseline, too few items, could not measure
    candidate_mean: float | None
    baseline_mean: float | None
    test: NonInferiority | None
    items: int
    measured: int
    must_pass: bool
    sentence: str
    p_adjusted: float | None = None
    exact: exact.Exact | None = None
    bootstrap: Bootstrapped | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """kind: the verdict in words, such as "few-shot is enough". looks: how often the test items were looked at, this time included."""

    verdict: Verdict
    sentence: str
    slices: list[SliceDecision]
    gates: Gates
    kind: str = ""
    looks: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def decide(view: View, gates: Gates, *, duplicate_share: float | None = None) -> Decision:
    """Every slice's verdict, and the overall one. duplicate_share: of the dataset's rows before duplicates were dropped."""
    decided = _holm(
        _decided(view, gates),
        gates,
        {name: frozenset(i.id for i in items) for name, items in slices_of(view.items).items()},
    )
    by_name = {d.slice: d for d in decided}
    missing = [s for s in gates.must_pass if s not in by_name]
    required = [by_name[s] for s in gates.must_pass if s in by_name]
    verdict: Verdict = "self_host"
    if any(d.verdict == "api" for d in required):
        verdict = "api"
    elif missing or not required or any(d.verdict == "undecided" for d in required):
        verdict = "undecided"
    sentence = _overall(verdict, gates, decided, missing)
    kind = {"self_host": "tune", "api": "stay on the API"}.get(verdict, "undecided")
    made = Decision(verdict, sentence, decided, gates, kind)
    return made if missing or not required else _beyond_the_candidate(view, made, required, duplicate_share)


def in_its_place(decided: Decision) -> str:
    """The arm that the verdict means to put in the baseline's place: the candidate, or the simpler one that is enough."""
    return next((arm for arm, told in UNTUNED.items() if told == decided.kind), decided.gates.candidate)


def recommended(decided: Decision, advice: str) -> Verdict:
    """The verdict with money in it: where there is advice the baseline is cheaper, and what serves today goes on serving."""
    return "api" if advice else decided.verdict


def headline(decided: Decision, advice: str = "") -> str:
    """What stands first. advice: what money adds to a verdict about quality; where there is any, the baseline stays cheaper."""
    told = headlines(decided.gates.baseline)
    if not advice:
        return told[decided.verdict]
    what = "self-hosting" if decided.verdict == "self_host" else "an untuned model"
    return f"{told['api']}: quality allows {what}, money does not"


def with_looks(decided: Decision, looks: int) -> Decision:
    """The decision with the number of looks at its test items, said from the second on."""
    if looks < 2:
        return replace(decided, looks=looks)
    told = (
        f" Look {looks} at these test items: a model chosen after earlier looks passes by chance more often than alpha says"
        f" (up to {looks} times); select on dev, or decide on new items."
    )
    return replace(decided, looks=looks, sentence=decided.sentence + told)


def with_cautions(decided: Decision, *, gates_changed: bool, stand_in: bool) -> Decision:
    """What the sentence alone would hide: gates that were not declared beforehand, and an API that nobody asked."""
    told = decided.sentence
    if stand_in and decided.gates.baseline == "api":
        told = f"Rehearsal, the API is a stand-in: {told}"
    if gates_changed:
        told += " Its gates were changed after the answers were scored, so it is no test that was declared beforehand."
    return replace(decided, sentence=told)


def _overall(verdict: Verdict, gates: Gates, decided: Sequence[SliceDecision], missing: Sequence[str]) -> str:
    of = named(gates.baseline)
    required = [d for d in decided if d.must_pass]
    if verdict == "self_host":
        bar = "" if gates.margins else f" (shown to reach at least {gates.ratio:g} of its score)"
        worse = [d.slice for d in decided if d.verdict == "api"]
        return f"Every must-pass slice is non-inferior to {of}{bar}: the tuned model may replace it there." + (
            f" Shown to be worse, and to stay: {', '.join(worse)}." if worse else ""
        )
    if verdict == "api":
        worst = next(d for d in required if d.verdict == "api")
        return f"Stay on {of}: {worst.sentence}"
    if missing:
        return f"Undecided: the test set has no item in {', '.join(missing)}."
    open_ = next((d for d in required if d.verdict == "undecided"), None)
    return (
        f"Undecided, which never promotes: {open_.sentence}" if open_ else "Undecided: no must-pass slice was declared."
    )


def named(arm: str) -> str:
    """An arm in a sentence."""
    return "the API" if arm == "api" else f"the {arm} arm"


def _decided(view: View, gates: Gates, only: Sequence[str] | None = None) -> list[SliceDecision]:
    groups = slices_of(view.items)
    return [_decide_slice(view, gates, name, items) for name, items in groups.items() if only is None or name in only]


def _holm(decided: Sequence[SliceDecision], gates: Gates, items: Mapping[str, frozenset[str]]) -> list[SliceDecision]:
    """Slices that were not declared keep their verdict only where Holm's procedure over all of them says so too.

    items: the item ids of every slice. Slices of the same items, such as a task and its only language, are one test: they count
    once, and not at all where one of them was declared.
    """
    declared = {items[d.slice] for d in decided if d.must_pass}
    family = [
        d for d in decided if items[d.slice] not in declared and d.kind in ("better", "non-inferior", "undecided")
    ]
    first = {items[d.slice]: d.slice for d in reversed(family)}
    tests = {d.slice: d.test for d in family if first[items[d.slice]] == d.slice}
    raw = {
        s: t.p_non_inferior
        * gates.alpha
        / t.alpha  # small slices run at half the level; put on the level of the others
        for s, t in tests.items()
        if t is not None and t.p_non_inferior is not None
    }
    adjusted = holm(raw)
    made = []
    for d in decided:
        p = adjusted.get(first.get(items[d.slice], ""))
        if p is not None and d.verdict == "self_host" and p >= gates.alpha:
            told = f"{d.sentence} Not shown among {len(raw)} slices that were not declared (Holm's p {p:.3f})."
            made.append(replace(d, verdict="undecided", kind="undecided", sentence=told, p_adjusted=p))
        else:
            made.append(replace(d, p_adjusted=p))
    return made


def _decide_slice(view: View, gates: Gates, name: str, items: list[Item]) -> SliceDecision:
    task = items[0].task
    metric = gates.metrics.get(task) or DEFAULT_METRIC["label" if items[0].choices else "text"]
    items = [i for i in items if metric in metrics_for(i)] or items  # citations: only where the human linked a document
    kept_back = {i.id for i in items if _was_kept_back(view, gates.baseline, i)}
    items = [i for i in items if i.id not in kept_back]
    c, b, groups = view.paired(items, (gates.candidate, gates.baseline), metric)
    means: tuple[float, float] | None = (sum(c) / len(c), sum(b) / len(b)) if c else None

    def made(verdict: Verdict, kind: str, sentence: str, test: NonInferiority | None = None) -> SliceDecision:
        mine, theirs = means or (None, None)
        must = name in gates.must_pass
        if kept_back:
            sentence += f" {len(kept_back)} items that must not leave were not asked of {gates.baseline}."
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
    assert means is not None
    if lowest := _saturated(view, items, metric):
        told = (
            f"{name}: every arm scores {lowest:.3f} or more on {metric}; this set proves nothing, harder items would."
        )
        return made("undecided", "saturated", told)
    alpha = gate_alpha(gates.alpha, len(c))
    margin = gates.margins.get(task)
    if max(means) <= 0:
        return made(
            "undecided", "zero baseline", f"{name}: neither arm scores above 0 on {metric}; look at answers and metric."
        )
    if margin is None and means[1] <= 0:
        told = f"{name}: the baseline's {metric} is {means[1]:.3f}, so no ratio to it exists; look at its answers and at the metric."
        return made("undecided", "zero baseline", told)
    if margin is None:
        test = non_inferiority(c, b, groups, ratio=gates.ratio, alpha=alpha)
    else:
        test = non_inferiority_by_difference(c, b, groups, margin=margin, alpha=alpha)
    if test.p_non_inferior is None or test.p_inferior is None:
        return made("undecided", "undecided", f"{name}: nothing can be tested, all items belong to one customer.", test)
    judged = made(*_reading(name, metric, means, test, gates.ratio), test)
    lost = [
        i
        for i in items
        if view.values.get((gates.candidate, i.id, metric)) is None and not _is_readable(view, gates.candidate, i)
    ]
    theirs = [(v, i.group) for i in lost if (v := view.values.get((gates.baseline, i.id, metric))) is not None]
    if judged.verdict == "self_host" and theirs:
        worst = ([*c, *(0.0 for _ in theirs)], [*b, *(v for v, _ in theirs)], [*groups, *(g for _, g in theirs)])
        p = (
            non_inferiority(*worst, ratio=gates.ratio, alpha=alpha)
            if margin is None
            else non_inferiority_by_difference(*worst, margin=margin, alpha=alpha)
        ).p_non_inferior
        if p is None or p >= alpha:
            told = (
                f"{judged.sentence} But {len(theirs)} answers of {gates.candidate} are empty or unreadable, and counted as worth"
                " nothing they would keep it from passing."
            )
            return replace(judged, verdict="undecided", kind="could not measure", sentence=told)
    checked = replace(
        judged,
        exact=exact.compared(c, b, groups, confidence=1 - 2 * alpha),
        bootstrap=bootstrap_ratio(c, b, groups, seed=0, confidence=1 - 2 * alpha) if means[1] > 0 else None,
    )
    return cross_checked(checked, gates.ratio)


def _was_kept_back(view: View, arm: str, item: Item) -> bool:
    """By the policy about what may leave: no more items, and no second try, would ever bring this answer."""
    answer = view.answers.get((arm, item.id))
    return answer is not None and (answer.error or "").partition(":")[0].endswith("_not_sent")


def _is_readable(view: View, arm: str, item: Item) -> bool:
    """Some metrics do not apply to every answer that can be read; such an answer is none that is missing."""
    answer = view.answers.get((arm, item.id))
    return answer is not None and answer.error is None and answer.text is not None


def cross_checked(s: SliceDecision, ratio: float) -> SliceDecision:
    """The slice with a word where its verdict stands on the gate's test alone and the bootstrap's bounds do not show it."""
    b = s.bootstrap
    if b is None or s.test is None or s.test.margin is not None:
        return s
    if (s.verdict == "self_host" and b.low < ratio) or (s.verdict == "api" and b.high >= ratio):
        told = f" A bootstrap of the customers does not confirm it (ratio {b.low:.3f} to {b.high:.3f})."
        return replace(s, sentence=s.sentence + told)
    return s


def _saturated(view: View, items: Sequence[Item], metric: str) -> float | None:
    """The lowest arm's mean where every arm is at the top of a score from 0 to 1; None where one is not."""
    means = []
    for arm in sorted({arm for arm, _, m in view.values if m == metric}):
        got = [v for i in items if (v := view.values.get((arm, i.id, metric))) is not None]
        if got and (max(got) > 1 or sum(got) / len(got) < SATURATED):
            return None
        means += [sum(got) / len(got)] if got else []
    return min(means, default=None)


def _reading(
    name: str, metric: str, means: tuple[float, float], test: NonInferiority, ratio: float
) -> tuple[Verdict, str, str]:
    assert test.p_non_inferior is not None
    assert test.p_inferior is not None
    told = f"{name}: {metric} {means[0]:.3f} against {means[1]:.3f}, "
    if test.margin is None:
        told += f"ratio {test.ratio:.3f} ({bounds(test.low, test.high)}), required {ratio}"
    else:
        told += f"difference {test.difference:+.3f} ({bounds(test.difference_low, test.difference_high)}), allowed {-test.margin}"
    if test.p_non_inferior < test.alpha:
        better = test.difference_low is not None and test.difference_low > 0
        return "self_host", "better" if better else "non-inferior", told + "."
    if test.p_inferior < test.alpha:
        return "api", "inferior", told + ": worse than the margin allows."
    more = (
        f"about {test.more_items} more items would decide"
        if test.more_items
        else "more items of the same kind would not pass"
    )
    return "undecided", "undecided", f"{told}; {more}."


def bounds(low: float | None, high: float | None) -> str:
    """An interval of the gate in words; an end that is not there is infinite."""
    if low is None and high is None:
        return "unbounded"
    return f"{'-∞' if low is None else f'{low:.3f}'} to {'∞' if high is None else f'{high:.3f}'}"


def _beyond_the_candidate(
    view: View, decided: Decision, required: Sequence[SliceDecision], duplicate_share: float | None
) -> Decision:
    """Whether a simpler arm is enough, or the data are at fault."""
    gates = decided.gates
    others = [a for a in UNTUNED if a not in (gates.candidate, gates.baseline) and _asked(view, a, required)]
    each = {arm: _decided(view, replace(gates, candidate=arm), gates.must_pass) for arm in others}
    worst = {
        arm: max(d.test.p_non_inferior / d.test.alpha for d in slices if d.test and d.test.p_non_inferior is not None)
        for arm, slices in each.items()
        if all(d.verdict == "self_host" for d in slices)
    }
    # an arm that did not pass counts as a chance that was taken
    passing = [a for a, p in holm({a: worst.get(a, 1.0) for a in others}).items() if a in worst and p < 1]
    unbeaten = [a for a in others if not _beats(view, gates, required, a)]
    enough = next((a for a in others if a in passing and (a in unbeaten or decided.verdict != "self_host")), None)
    if enough is not None:
        told = f"{UNTUNED[enough].capitalize() if enough != 'rag' else UNTUNED[enough]}: the {enough} arm is non-inferior to"
        told += f" {named(gates.baseline)} in every must-pass slice, and the {gates.candidate} arm "
        told += "does not pass." if decided.verdict != "self_host" else "is not shown to beat it."
        return replace(decided, verdict="untuned", kind=UNTUNED[enough], sentence=told)
    if "base" in others and decided.verdict != "self_host" and (why := _harmed(view, gates, required)):
        return replace(decided, verdict="fix_data", kind="fix the data", sentence=f"Fix the data: {why}")
    everyone_fails = decided.verdict == "api" and all(any(d.verdict == "api" for d in s) for s in each.values())
    poor = duplicate_share is not None and duplicate_share >= POOR_DUPLICATES
    if everyone_fails and poor and "base" in unbeaten:
        told = (
            f"Fix the data: {duplicate_share:.0%} of the rows were duplicates, every local arm is inferior, and tuning"
        )
        return replace(
            decided, verdict="fix_data", kind="fix the data", sentence=f"{told} is not shown to add to the base model."
        )
    if decided.verdict == "self_host" and unbeaten:
        told = f" It is not shown to be better than {' or '.join(map(named, unbeaten))}, which did not pass."
        return replace(decided, sentence=decided.sentence + told)
    return decided


def _asked(view: View, arm: str, required: Sequence[SliceDecision]) -> bool:
    groups = slices_of(view.items)
    return all(any(view.values.get((arm, i.id, d.metric)) is not None for i in groups[d.slice]) for d in required)


def _beats(view: View, gates: Gates, required: Sequence[SliceDecision], arm: str) -> bool:
    """Is the candidate shown to be better than this arm in at least one of the must-pass slices (Bonferroni)?"""
    found = [_one_sided(view, d, (gates.candidate, arm)) for d in required]
    return any(p is not None and p < gate_alpha(gates.alpha, n) / len(found) for p, n in found)


def _harmed(view: View, gates: Gates, required: Sequence[SliceDecision]) -> str | None:
    """Where the candidate is shown to be worse than its base model, the sentence that says so."""
    for d in required:
        p, n = _one_sided(view, d, ("base", gates.candidate))
        if p is not None and p < gate_alpha(gates.alpha, n) / len(required):
            return f"{d.slice}: the {gates.candidate} arm is worse than the base model it was tuned from (p {p:.4f})."
    return None


def _one_sided(view: View, d: SliceDecision, arms: tuple[str, str]) -> tuple[float | None, int]:
    """p of "the first arm is not better than the second", and on how many items: exact where it may be, else clustered."""
    c, b, groups = view.paired(slices_of(view.items)[d.slice], arms, d.metric)
    found = exact.compared(c, b, groups, confidence=0.95)
    if found is not None:
        return found.p_better, len(c)
    if len(set(groups)) < 2:
        return None, len(c)
    return Pairs.of(c, b, groups).against_difference(0).above, len(c)
