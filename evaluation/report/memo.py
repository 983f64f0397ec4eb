"""The decision in figures: what a budget owner asks first, and what would change the answer. Pure, from what was stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.break_even import in_words
from evaluation.decision import Decision, SliceDecision, bounds, named
from evaluation.report.formats import milliseconds, monthly, number, two_digits

Rows = Sequence[Mapping[str, Any]]
SHOWN = 8  # names in a sentence
FEWEST_P99 = 100  # answers; of fewer the 99th percentile is the slowest one


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the memo: the candidate's and the baseline's value, and what the two say together."""

    what: str
    candidate: str
    baseline: str
    reading: str = ""


def figures(decided: Decision, *, quality: Rows, speed: Rows, load: Rows, economics: Mapping[str, Any]) -> list[Figure]:
    """Quality of every must-pass slice, then latency and cost of their tasks.

    quality: rows of slice, arm and metric with their intervals; load: the load test's rows.
    """
    arms = (decided.gates.candidate, decided.gates.baseline)
    found = [_quality(s, quality, arms) for s in decided.slices if s.must_pass]
    for task in gated_tasks(decided):
        mine, theirs = ({r["arm"]: r for r in speed if r["task"] == task}.get(arm, {}) for arm in arms)
        is_long = min(r.get("answers", 0) for r in (mine, theirs)) >= FEWEST_P99
        second = "p99_ms" if is_long else None
        found.append(
            Figure(f"latency p95{' (p99)' * is_long}, {task}", _latency(mine, "p95_ms", second), _latency(theirs, "p95_ms", second),
                   _timed(mine, theirs))
        )  # fmt: skip
        if any(r.get("first_token_p95_ms") is not None for r in (mine, theirs)):
            found.append(
                Figure(f"first token p95, {task}", *(_latency(r, "first_token_p95_ms") for r in (mine, theirs)))
            )
        found += _under_load(task, load, arms)
        found.append(_cost(task, arms, economics))
    return found


def gated_tasks(decided: Decision) -> list[str]:
    """The tasks that a must-pass slice belongs to."""
    return list(dict.fromkeys(s.removeprefix("task=").split("/")[0] for s in decided.gates.must_pass))


def break_even(decided: Decision, economics: Mapping[str, Any]) -> dict[str, str]:
    """Task → the volumes at which self-hosting costs no more, in words."""
    found = {t: economics["tasks"][t] for t in gated_tasks(decided) if t in economics["tasks"]}
    return {t: _break_even(decided, f) for t, f in found.items()}


def _break_even(decided: Decision, found: Mapping[str, Any]) -> str:
    if found["same_hardware"]:
        return f"None: {named(decided.gates.baseline)} would run on the same hardware."
    if found["break_even"] is None:
        missing = "its price" if found["self_hosted"] is not None else f"a capacity ({found['basis']})"
        return f"Not known: {missing} is missing."
    return in_words(found["break_even"], found["searched_to"])


def hybrids(decided: Decision, economics: Mapping[str, Any]) -> dict[str, str]:
    """Task → a month with what the decision moves, or what must not leave, on own hardware; and what either side alone costs."""
    told, theirs = {}, named(decided.gates.baseline)
    for task in gated_tasks(decided):
        f = economics["tasks"].get(task)
        if f is not None and f["hybrid"] is not None:
            told[task] = (
                f"{f['hybrid']['local_share']:.0%} of the requests on own hardware (what may move, and what must not leave), the"
                f" rest at {theirs}: {monthly(f['hybrid']['usd'])} USD a month; all at {theirs} {monthly(f['api_usd'])}, all on own"
                f" hardware {monthly(f['self_hosted']['usd'])}"
                + (
                    f", with {monthly(f['asked_again_usd'])} for what is asked again at {theirs}."
                    if f["asked_again_usd"]
                    else "."
                )
            )
    return told


def comparison(s: SliceDecision) -> list[str]:
    """What a slice's gate compared: the ratio or the difference, its bounds, and what is required; empty: nothing was tested."""
    t = s.test
    if t is None or (t.margin is None and t.ratio is None):
        return []
    if t.margin is None:
        return [number(t.ratio), bounds(t.low, t.high)]
    return [f"{t.difference:+.3f}", bounds(t.difference_low, t.difference_high), f"allowed {-t.margin:g}"]


def prices(economics: Mapping[str, Any]) -> str:
    """Whose prices of which day the bills rest on."""
    p, h = economics["prices"], economics["hardware"]
    told = f"hardware {h['name']} at {h['usd_per_hour']} USD an hour ({h['source']}, {h['date']})"
    if p["provider"] is None:
        return f"Prices: {told}; no API price."
    whose = p["provider"] + (f"/{p['model']}" if p["model"] else "") + (f" ({p['rates']})" if "rates" in p else "")
    when = f", last verified {p['verified']}" if p.get("verified") else f", looked up {p['as_of']}"
    return f"Prices: {whose}, {p['source']}{when}; {told}."


def leaves(routing: Mapping[str, Any], advice: str = "") -> str:
    """What would leave the house under the routing policy, in one sentence. advice: what money says against following it."""
    api = routing["default"]["target"]
    if api not in routing["sensitive"]["never"]:
        return "In production, by routing.yaml, nothing goes to an API."
    if advice and any(r["target"] == "self_host" for r in routing["slices"].values()):
        theirs = "the API" if api == "api" else api
        kept = f"Staying on {theirs}, as recommended, sends it every request but those of rows marked local_only. "
        return kept + leaves(routing).replace("In production, by", "Against that advice, by")
    slices = routing["slices"]
    away = [s for s, r in slices.items() if r["target"] == api]
    # of slices within a task those are named that go another way than the task
    told = [s for s in away if s.startswith("task=") or f"task={s.split('/')[0]}" not in away]
    told += [f"{s} below confidence {r['min_confidence']:.2f}" for s, r in slices.items() if "min_confidence" in r]
    stays = [s for s in slices if s not in away and f"task={s.split('/')[0]}" in away]
    sent = _listed(told) or "only what no rule names"
    sent += f" (but not {_listed(stays)})" if stays else ""
    return (
        f"In production, by routing.yaml, {sent} would go to {'the API' if api == 'api' else api}; rows marked local_only never."
        " That is a policy for your gateway: nothing is masked there."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more slices" if len(names) > SHOWN else "")


def turning_points(decided: Decision, economics: Mapping[str, Any]) -> list[str]:
    """What would change the verdict, and which assumption about money would change who is cheaper."""
    required = [s for s in decided.slices if s.must_pass]
    theirs = named(decided.gates.baseline)
    money = [
        f"Money, {d['task']}: {'moving all of it' if d['in_part'] else 'own hardware'} would be cheaper "
        + " or ".join(
            ([f"at {d['times']:,.1f} times the price of {theirs}"] if d["times"] else [])
            + ([f"from about {two_digits(d['cheaper_from']):,} requests a month on"] if d["cheaper_from"] else [])
        )
        + "."
        for d in economics["dearer"]
        if economics["advice"] and (d["times"] or d["cheaper_from"])
    ]
    if decided.verdict == "self_host":
        found = _slack(required, decided.gates.ratio)
    elif decided.verdict == "untuned":
        found = [
            f"A {decided.gates.candidate} model that passes and is shown to beat the untuned arm in a must-pass slice."
        ]
    elif decided.kind == "rejected by a gate":
        found = ["A candidate that passes the gate which refused this one; its quality would do."]
    else:
        found = [told for s in required if (told := _missing(s, decided.gates.ratio)) is not None]
        missing = set(decided.gates.must_pass) - {s.slice for s in required}
        found += [f"{s}: test items; the test set has none." for s in sorted(missing)]
        found = found or [decided.sentence]  # every slice passed, and something beside them keeps it open
    for task in gated_tasks(decided):
        flips = [b["assumption"] for b in economics["tasks"].get(task, {}).get("tornado", ()) if b["flips"]]
        if flips:
            found.append(f"Money, {task}: 50 % less or more of {' or of '.join(flips)} changes which is cheaper.")
    return [*money, *found]


def _quality(s: SliceDecision, quality: Rows, arms: tuple[str, str]) -> Figure:
    rows = {r["arm"]: r for r in quality if r["slice"] == s.slice and r["metric"] == s.metric}
    mine, theirs = (_mean(rows.get(arm, {})) for arm in arms)
    return Figure(f"{s.metric}, {s.slice}", mine, theirs, _against(s))


def _mean(row: Mapping[str, Any]) -> str:
    if row.get("mean") is None:
        return "not measured"
    return number(row["mean"]) + (f" ({number(row['low'])} to {number(row['high'])})" if row["low"] is not None else "")


def _against(s: SliceDecision) -> str:
    """The gate's own comparison."""
    t = s.test
    if t is None:
        return s.kind
    if t.margin is not None:
        ends = _ends(t.difference_low, t.difference_high)
        return f"{s.kind}: difference {t.difference:+.3f}{ends}, allowed {-t.margin:g}"
    return f"{s.kind}: ratio {number(t.ratio)}{_ends(t.low, t.high)}"


def _ends(low: float | None, high: float | None) -> str:
    return f" ({bounds(low, high)})"


def _timed(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """How the answers were asked whose times stand here."""
    together = {r["arm"]: r["at_once"] for r in (mine, theirs) if r.get("at_once", 1) > 1}
    told = (f"{arm}: of up to {n} answers written together" for arm, n in together.items())
    return "; ".join(told) or "of single answers"


def _latency(row: Mapping[str, Any], first: str, second: str | None = None) -> str:
    if row.get(first) is None:
        return f"{row['unanswered']} of {row['answers']} failed" if row.get("unanswered") else "not measured"
    return f"{milliseconds(row[first])}{f' ({milliseconds(row[second])})' if second else ''} ms"


def _under_load(task: str, load: Rows, arms: tuple[str, str]) -> list[Figure]:
    """The whole answer's p95 at the highest rate that kept the service level; nothing where no arm was loaded."""
    told = {}
    for c in load:
        kept = (r for r in c["rates"] if not r["fault"] and r["requests_per_second"] == c["requests_per_second"])
        p95 = next((r["latency_ms"]["p95"] for r in kept), None)
        if c["task"] == task and p95 and p95["value"] is not None:
            told[c["arm"]] = f"{milliseconds(p95['value'])} ms at {c['requests_per_second']:.2f}/s"
    if not any(arm in told for arm in arms):
        return []
    mine, theirs = (told.get(arm, "not measured") for arm in arms)
    return [Figure(f"latency p95 under load, {task}", mine, theirs, "at the highest rate inside the service level")]


def _cost(task: str, arms: tuple[str, str], economics: Mapping[str, Any]) -> Figure:
    month = {r["arm"]: r["usd_per_month"] for r in economics["rows"] if r["task"] == task}
    mine, theirs = (f"{monthly(month[a])} USD" if month.get(a) is not None else "not known" for a in arms)
    saving = economics["tasks"].get(task, {}).get("saving_usd")
    reading = f"at {economics['monthly_requests']:,} requests of this task"
    reading += "" if economics["is_traffic_declared"] else " (the default: the recipe declares no traffic)"
    if saving is not None:
        reading += f": {monthly(abs(saving))} USD {'less' if saving >= 0 else 'more'} than {named(arms[1])}"
    reading += "" if economics["counts_work"] else "; nobody's work is counted"
    return Figure(f"cost a month, {task}", mine, theirs, reading)


def _slack(required: Sequence[SliceDecision], ratio: float) -> list[str]:
    """The must-pass slice that came closest to its bound."""
    each = []
    for s in required:
        if s.test is None:
            continue
        if s.test.margin is not None and s.test.difference_low is not None:
            bound, low, what = -s.test.margin, s.test.difference_low, "difference"
        elif s.test.margin is None and s.test.low is not None:
            bound, low, what = ratio, s.test.low, "ratio"
        else:
            continue
        each.append((low - bound, f"The closest must-pass slice is {s.slice}: the lower end of its {what} is {low:.3f}; under"
                     f" {bound:g} it would not have passed."))  # fmt: skip
    return [min(each)[1]] if each else []


def _missing(s: SliceDecision, ratio: float) -> str | None:
    """What a must-pass slice lacks; None where it passed."""
    if s.verdict == "self_host":
        return None
    if s.verdict == "api" and s.baseline_mean is not None:
        margin = s.test.margin if s.test is not None else None
        needed = ratio * s.baseline_mean if margin is None else s.baseline_mean - margin
        return (
            f"{s.slice}: a candidate shown to reach {s.metric} {needed:.3f}; this one has {number(s.candidate_mean)}."
        )
    if s.kind == "undecided" and s.test is not None and s.test.p_non_inferior is not None:
        more = s.test.more_items
        return f"{s.slice}: " + (
            f"about {more:,} more items, if the truth is what was seen."
            if more
            else "a better candidate; more items alone would not do."
        )
    return s.sentence
