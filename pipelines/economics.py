"""What money says beside the verdict: bills per arm, break-even intervals, what would change them. From the stored report.

Each task is costed as if it were served alone at the declared traffic, and those that must pass once more as served by one fleet.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from evaluation import break_even, cost, prices, sensitivity
from evaluation.decision import Decision, in_its_place, named
from evaluation.prices import Book
from evaluation.providers import replay
from evaluation.results import Answer
from evaluation.sensitivity import Range
from evaluation.statistics import clustered_mean
from evaluation.summary import View
from pipelines import egress, report_folder, stages
from pipelines.recipe import Api, Evaluation, Recipe

SEARCHED_CROSSINGS, SEARCHED_TRAFFIC, SEARCHED_AT_LEAST = 4, 10, 10_000  # how far past the first crossing, and today


@dataclass(frozen=True, slots=True)
class Capacity:
    """Requests a second that one replica answers, with a 95 % interval where there is one, and where it is from."""

    requests_per_second: float | None
    low: float | None
    high: float | None
    basis: str


def of(
    recipe: Recipe,
    view: View,
    speed: Sequence[dict[str, Any]],
    decided: Decision,
    *,
    policy: Mapping[str, Any],
    listed: Mapping[str, dict[str, Any] | None],
    measured: dict[tuple[str, str], Capacity],
    build_usd: Decimal,
    today: date,
) -> dict[str, Any]:
    """Rows per task and arm, sentences, warnings, and per task what the candidate costs against the baseline.

    speed: evaluation's table. policy: routing.yaml's, whose traffic is priced. listed: API arm → the list of its
    answers' prices. measured: (task, arm) → capacity inside the service level.
    """
    d = recipe.decision
    gated = {s.removeprefix("task=").split("/")[0] for s in d.must_pass}
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    dearer: list[dict[str, Any]] = []
    tasks: dict[str, Any] = {}
    all_whole = True
    cases: dict[str, cost.Case] = {}  # of the tasks that must pass, with the arm that would be served
    theirs = book_now(recipe, d.baseline, listed.get(d.baseline))
    serving = in_its_place(decided)
    for s in sorted(speed, key=lambda s: (s["task"] not in gated, s["task"])):
        task, arm = s["task"], s["arm"]
        if recipe.evaluation.endpoint(arm) is not None:
            paid = _managed(recipe, view, task, arm, book_now(recipe, arm, listed.get(arm)))
            if arm != d.baseline:
                paid = replace(paid, fixed_usd_per_month=Decimal(0))  # the contract that is paid for today
            rows.append({"task": task, "arm": arm, **_api_row(paid, arm, d.monthly_requests)})
            continue
        capacity = _capacity(recipe, view, task, arm, measured)
        api = _managed(recipe, view, task, d.baseline, theirs)
        moved = local_traffic(view, policy, task)
        case = _case(recipe, api, capacity, arm, build_usd, moved.falling if arm == d.candidate else 0.0)
        rows.append({"task": task, "arm": arm, **_local_row(case, capacity, d.monthly_requests)})
        if arm not in (d.candidate, serving):
            continue
        if arm == serving and task in gated and case is not None and case.api.usd_per_request is not None:
            cases[task] = case
        found = _compare(recipe, view, moved, task, case, capacity, theirs)
        if arm == d.candidate:
            tasks[task] = found
            notes.append(_sentence(task, found, d.monthly_requests, recipe))
            if decided.verdict == "self_host" and task in gated and not moved.local:
                notes.append(f"{task}: routing.yaml moves none of it, for no part of it is proven by itself.")
        in_part = arm == d.candidate and 0 < moved.local < 1
        if arm == serving and task in gated:
            all_whole = all_whole and not in_part
            if bills := _bills(found, d.monthly_requests, in_part):
                dearer.append({"task": task, "arm": arm, **bills})
    if len(cases) > 1 and set(cases) == gated:
        note, bills = _together(cases, d.monthly_requests, serving, named(d.baseline))
        notes.append(note)
        if bills is not None and all_whole:
            if bills["usd"] <= bills["api_usd"]:  # what a task alone cannot pay for, all of them can
                dearer = []
            elif not dearer:  # a fixed fee of the API is saved once
                dearer = [{"task": f"{' and '.join(cases)} together", "arm": serving, **bills}]
    return {
        "is_traffic_declared": "monthly_requests" in d.model_fields_set,
        "counts_work": bool(d.upkeep.people),
        "rows": rows,
        "notes": notes,
        "dearer": dearer,
        "tasks": tasks,
        "warnings": warnings(recipe, theirs, today),
        "price_changes": theirs.changes() if isinstance(theirs, prices.PriceList) else [],
        "prices": theirs.describe(),
        "stand_in_prices": listed.get("api"),
        "hardware": {**d.hardware.model_dump(mode="json"), "usd_per_hour": f"{d.hardware.hourly_usd:.6g}"},
        "monthly_requests": d.monthly_requests,
    }


def summary(economics: dict[str, Any]) -> dict[str, Any]:
    """What decision.json keeps: everything but the chart's points and what the calendar decides."""
    return {
        task: {k: v for k, v in found.items() if k != "staircase"} for task, found in sorted(economics["tasks"].items())
    }


def build_cost(recipe: Recipe) -> tuple[float | None, Decimal | None]:
    """Seconds of the last training, and its GPU-hours' price on the recipe's hardware with the last evaluation's API bill."""
    path = stages.folder(recipe, "train") / "speed.json"
    if not path.exists():
        return None, None
    speed = json.loads(path.read_text())
    seconds = float(speed["seconds"])
    # an earlier version wrote seconds only
    gpu_hours = speed["gpu_hours"] if "gpu_hours" in speed else seconds * recipe.training.world_size / 3600
    usd = Decimal(str(gpu_hours)) * recipe.decision.hardware.hourly_usd / recipe.decision.hardware.gpus
    return seconds, usd + _evaluation_usd(recipe)


def _evaluation_usd(recipe: Recipe) -> Decimal:
    """What the report's answers cost, lost attempts included, and what judge and load test have cost so far.

    An arm's receipt would not do: it sums every evaluation that this run folder has seen.
    """
    report, arms = stages.folder(recipe, "evaluate"), recipe.evaluation.arms
    if not (report / "egress.json").exists():
        return Decimal(0)
    receipts = json.loads((report / "egress.json").read_text())
    others = [r for r in receipts if not r.get("stand_in") and r.get("purpose", "").split(" ")[0] not in arms]
    usd = sum((Decimal(r["usd"]) for r in others), Decimal(0))
    for answer in report_folder.read_answers(report):
        api = recipe.evaluation.endpoint(answer.arm)
        if api is not None and not api.is_stand_in:
            usd += (answer.usd or Decimal(0)) + (answer.usd_presumed or Decimal(0))
    return usd


def measured_capacity(report: Path) -> dict[tuple[str, str], Capacity]:
    """(task, arm) → what the evaluation's load test found inside the service level; empty without one."""
    from pipelines import load_test

    rows = load_test.read(report / load_test.CAPACITY)
    return {
        (r["task"], r["arm"]): _under_load(r) for r in rows if r["requests_per_second"] or r.get("keeps_level") is False
    }


def _under_load(row: dict[str, Any]) -> Capacity:
    where = f"{row['machine'] or row['server']}{' (a stand-in)' if row['stand_in'] else ''}"
    rate, level = row["requests_per_second"], ", ".join(f"{k} {v:g}" for k, v in row["slo_p95_ms"].items())
    if rate is None:
        told = f"under load {where} keeps the service level (p95: {level}) at no rate: {row['reason']}"
        return Capacity(None, None, None, told)
    # the highest rate that kept the level, and the lowest that missed it
    return Capacity(rate, rate, row["above"], f"capacity under load of {where} (p95: {level})")


def book_of(arm: str, api: Api) -> Book:
    """What the recipe says that an arm's answers cost."""
    return egress.prices_of(api, Evaluation.section(arm), batch=api.batch)


def priced(arm: str, api: Api, stored: list[Answer]) -> tuple[list[Answer], dict[str, Any] | None]:
    """Stored answers under the recipe's prices, and the list they have: another one prices them anew, and nobody is asked."""
    book = book_of(arm, api)
    now = book.describe()
    # a list's price stays that of its day
    same = [
        a.prices
        for a in stored
        if a.prices and all(a.prices.get(k) == now.get(k) for k in ("provider", "model", "rates"))
    ]
    if len(same) == sum(a.prices is not None for a in stored):
        return stored, same[0] if same else None
    return replay.priced_anew(stored, book), now


def priced_now(recipe: Recipe, view: View) -> tuple[View, dict[str, dict[str, Any] | None]]:
    """The answers under the prices that the recipe has today, and per API arm whose list that is."""
    found, listed = dict(view.answers), dict[str, dict[str, Any] | None]()
    for arm in dict.fromkeys(arm for arm, _ in view.answers):
        if (api := recipe.evaluation.endpoint(arm)) is not None:
            answers, listed[arm] = priced(arm, api, [a for (name, _), a in view.answers.items() if name == arm])
            found |= {(arm, a.item): a for a in answers}
    return replace(view, answers=found), listed


def book_now(recipe: Recipe, arm: str, listed: dict[str, Any] | None) -> Book:
    """The prices of an arm: the recipe's own as it says today, else the list that its answers were priced with."""
    api = recipe.evaluation.endpoint(arm)
    if api is None:
        return prices.PriceList(None, None, datetime.now(UTC))
    now = egress.prices_of(api, Evaluation.section(arm))
    if isinstance(now, prices.OwnPrices) or listed is None or listed["as_of"] is None:
        return now
    if (listed["provider"], listed["model"]) != (now.provider, now.model):
        return now
    return replace(now, at=datetime.combine(date.fromisoformat(listed["as_of"]), time(12), UTC))


def _answers(view: View, task: str, arm: str) -> list[Answer]:
    return [a for i in view.items if i.task == task and (a := view.answers.get((arm, i.id))) is not None]


def _tokens(answer: Answer) -> prices.Tokens | None:
    if answer.prompt_tokens is None or answer.completion_tokens is None:
        return None
    details = (answer.usage or {}).get("prompt_tokens_details") or {}
    cached, written = (details.get(f"{n}_tokens") or 0 for n in ("cached", "cache_write"))
    return prices.Tokens(answer.prompt_tokens, answer.completion_tokens, cached, written)


def _price(recipe: Recipe, answer: Answer, book: Book) -> prices.Price | None:
    """What the production request behind an answer would cost."""
    t, tokens = recipe.decision.traffic, _tokens(answer)
    if tokens is None:
        return None
    return prices.mean_price(
        book, [tokens], cached_share=t.cached_share, cache_write_share=t.cache_write_share, batch_share=t.batch_share
    )


def _paid(recipe: Recipe, answer: Answer, book: Book) -> Decimal | None:
    """What a request is taken to cost: as it was billed, or priced anew where prices, cache or batch are declared.

    Answers that came by batch are priced anew: production traffic does not wait a day, except for traffic.batch_share of it.
    """
    if (
        not (_declared(recipe) or isinstance(book, prices.OwnPrices))
        and (answer.parameters or {}).get("mode") != "batch"
    ):
        return answer.usd
    found = _price(recipe, answer, book)
    return found.usd if found is not None else None


def _managed(recipe: Recipe, view: View, task: str, arm: str, book: Book) -> cost.Managed:
    """The API's mean price, and how much of it is for output."""
    t, answers = (
        recipe.decision.traffic,
        _answers(view, task, arm) if recipe.evaluation.endpoint(arm) is not None else [],
    )
    fixed = recipe.decision.upkeep.api_fixed_usd_per_month
    billed = [usd for a in answers if (usd := _paid(recipe, a, book)) is not None]
    if not billed:
        return cost.Managed(None, None, t.paid_twice_share, fixed)
    anew = [p for a in answers if (p := _price(recipe, a, book)) is not None]
    whole = sum((p.usd for p in anew), Decimal(0))
    share = float(sum((p.output_usd for p in anew), Decimal(0)) / whole) if whole else None
    return cost.Managed(sum(billed, Decimal(0)) / len(billed), share, t.paid_twice_share, fixed)


def _declared(recipe: Recipe) -> bool:
    t = recipe.decision.traffic
    return t.cached_share is not None or t.batch_share > 0 or t.cache_write_share > 0


def _capacity(recipe: Recipe, view: View, task: str, arm: str, measured: dict[tuple[str, str], Capacity]) -> Capacity:
    given = recipe.decision.hardware.requests_per_second
    if given is not None:
        return Capacity(given, None, None, "capacity from the recipe")
    if (task, arm) in measured:
        return measured[task, arm]
    busy = [(a.busy_ms, i.group) for i in view.items if i.task == task
            and (a := view.answers.get((arm, i.id))) is not None and a.busy_ms is not None and a.busy_ms > 0]  # fmt: skip
    if not busy:
        return Capacity(None, None, None, "no answer was measured")
    e = clustered_mean([b for b, _ in busy], [g for _, g in busy])
    basis = (
        "capacity from the time per answer on the machine that ran the evaluation, without queueing: an upper bound if that is"
        f" {recipe.decision.hardware.name}, else a guess"
    )
    if e.low is None or e.high is None:
        return Capacity(cost.capacity_of(e.mean), None, None, basis)
    return Capacity(cost.capacity_of(e.mean), 1000 / e.high, 1000 / max(e.low, e.mean / 100), basis)


def _case(
    recipe: Recipe, api: cost.Managed, capacity: Capacity, arm: str, build_usd: Decimal, falling: float
) -> cost.Case | None:
    """falling: share of the arm's requests that routing.yaml asks again at the API; the recipe's own figure goes before it."""
    if capacity.requests_per_second is None:
        return None
    d = recipe.decision
    u, s, t = d.upkeep, d.serving, d.traffic
    built = build_usd if u.build_usd is None else u.build_usd
    return cost.Case(
        api,
        cost.Fleet(
            d.hardware.hourly_usd, capacity.requests_per_second, s.headroom, t.burst, s.minimum_replicas,
            int(s.n_plus_one), s.autoscaling, s.cold_start_minutes,
        ),
        cost.Upkeep(
            u.fixed_usd_per_month, u.people, u.usd_per_person_month, built if "tuned" in arm else Decimal(0), u.retrain_months
        ),
        cost.profile(t.profile) if t.profile is not None else cost.FLAT,
        u.fallback_share if "fallback_share" in u.model_fields_set or api.usd_per_request is None else falling,
    )  # fmt: skip


def _api_row(api: cost.Managed, arm: str, monthly: int) -> dict[str, Any]:
    per_1k = cost.marginal_usd(api)
    return {
        "usd_per_1k": cost.as_usd(per_1k * 1000) if per_1k is not None else None,
        "usd_per_1k_at_full_use": None,
        "usd_per_month": cost.managed_month(api, monthly),
        "replicas": None,
        "basis": "price × measured tokens"
        if per_1k is not None
        else f"no price is known: set {Evaluation.section(arm)}.price_as or price",
    }


def _local_row(case: cost.Case | None, capacity: Capacity, monthly: int) -> dict[str, Any]:
    if case is None:
        unknown = ("usd_per_1k", "usd_per_1k_at_full_use", "usd_per_month", "replicas")
        return {**dict.fromkeys(unknown), "basis": capacity.basis}
    month = cost.self_hosted_month(case, monthly)
    return {
        "usd_per_1k": month.usd_per_1k,
        "usd_per_1k_at_full_use": cost.usd_per_1k_at_full_use(
            case.fleet.requests_per_second, usd_per_hour=case.fleet.usd_per_hour
        ),
        "usd_per_month": month.usd,
        "replicas": month.replicas,
        "basis": f"{capacity.basis}; a month with its idle hours",
    }


def _compare(
    recipe: Recipe, view: View, moved: Moved, task: str, case: cost.Case | None, capacity: Capacity,
    book: Book,
) -> dict[str, Any]:  # fmt: skip
    """The candidate against the baseline. None where a capacity or a price is missing."""
    is_local = recipe.evaluation.endpoint(recipe.decision.baseline) is None
    unknown = ("api_usd", "self_hosted", "saving_usd", "break_even", "searched_to", "chance", "hybrid")
    nothing: dict[str, Any] = {"same_hardware": is_local, "basis": capacity.basis, **dict.fromkeys(unknown),
                               "staircase": [], "tornado": []}  # fmt: skip
    if case is None:
        return nothing
    d, n = recipe.decision, recipe.decision.monthly_requests
    month, api_usd = cost.self_hosted_month(case, n), cost.managed_month(case.api, n)
    if api_usd is None:
        return {**nothing, "self_hosted": _plain(month)}
    high = break_even.widest_range(case, d.traffic.largest_monthly_requests or _range(case, n))
    found = break_even.intervals(case, high=high)
    hybrid = cost.hybrid_month(
        case, n, local_share=moved.local,
        misrouted_share=d.upkeep.misrouted_share, usd_per_misrouted=d.upkeep.usd_per_misrouted,
    )  # fmt: skip
    ranges = _ranges(recipe, view, task, case, capacity, book)
    return {
        "same_hardware": is_local,
        "is_plain": not case.fallback_share and not case.api.fixed_usd_per_month,
        "asked_again_usd": _round(month.fallback_usd or Decimal(0)),
        "basis": capacity.basis,
        "capacity": asdict(capacity),
        "api_usd": _round(api_usd),
        "api_usd_per_request": case.api.usd_per_request,
        "self_hosted": _plain(month),
        "saving_usd": _round(api_usd - month.usd) if month.usd is not None else None,
        "break_even": [asdict(i) for i in found] if found is not None else None,
        "searched_to": high,
        "staircase": [_plain(p) for p in break_even.staircase(case, high=high)],
        "tornado": [_plain(b) for b in sensitivity.tornado(case, n)],
        "chance": asdict(sensitivity.chance(case, n, ranges, seed=recipe.seed)),
        "hybrid": _plain(hybrid),
    }


def _together(cases: dict[str, cost.Case], monthly: int, arm: str, baseline: str) -> tuple[str, dict[str, Any] | None]:
    """The sentence about tasks served by one fleet, each at the declared traffic, and both bills; None: one is not known."""
    case, requests = cost.together(list(cases.values())), monthly * len(cases)
    month, api_usd = cost.self_hosted_month(case, requests), cost.managed_month(case.api, requests)
    which = f"{' and '.join(cases)} together, {arm} on one fleet"
    if month.usd is None or api_usd is None:
        return f"{which}: cost cannot be compared.", None
    high = break_even.widest_range(case, _range(case, requests))
    bills = {"usd": _round(month.usd), "api_usd": _round(api_usd), "requests": requests, "cheaper_from": None, "times": None,
             "in_part": False}  # fmt: skip
    return (
        f"{which}: at {requests:,} requests a month {baseline} costs {api_usd:,.2f} USD, self-hosting {month.usd:,.2f} USD on"
        f" {month.replicas} replica(s): {'self-hosting' if api_usd >= month.usd else baseline} is cheaper."
        f" {break_even.in_words([asdict(i) for i in break_even.intervals(case, high=high) or ()], high)}"
    ), bills


def _bills(found: dict[str, Any], monthly: int, in_part: bool) -> dict[str, Any] | None:
    """What an arm that is dearer than the API costs, and what would make it cheaper, moved whole: from how many more requests on,
    and at how many times the API's price (None: not told). None: it is not dearer, or that is not known.

    in_part: routing.yaml moves a part of the task, so the replicas with the rest's API bill are what is compared.
    """
    hybrid, api_usd = found["hybrid"], found["api_usd"]
    if found["saving_usd"] is None:
        return None
    usd = hybrid["usd"] if in_part else found["self_hosted"]["usd"]
    if usd is None or usd <= api_usd:
        return None
    later = [i["low"] for i in found["break_even"] or () if i["low"] > monthly]
    is_plain = found["is_plain"] and not in_part and api_usd
    return {
        "usd": usd,
        "api_usd": api_usd,
        "requests": monthly,
        "cheaper_from": min(later, default=None),
        "times": math.ceil(10 * usd / api_usd) / 10 if is_plain else None,
        "in_part": in_part,
    }


def _range(case: cost.Case, requests: int) -> int:
    """Well past the first crossing that the fixed costs would give, and past today's traffic."""
    found = cost.self_hosted_month(replace(case, fallback_share=0.0), 1).usd
    price = cost.marginal_usd(case.api)
    gain = float(price) * (1 - case.fallback_share) if price is not None else 0.0
    first = float(found) / gain if found is not None and gain > 0 else 0.0
    return max(SEARCHED_AT_LEAST, SEARCHED_TRAFFIC * requests, round(SEARCHED_CROSSINGS * first))


@dataclass(frozen=True, slots=True)
class Moved:
    """local: share of a task's test items that routing.yaml gives to own hardware. falling: of these, the share that is asked
    again at the API, because the confidence is below a threshold; as measured on dev."""

    local: float
    falling: float


def local_traffic(view: View, policy: Mapping[str, Any], task: str) -> Moved:
    """What routing.yaml, or a row that must not leave, keeps in the house.

    An item's slices within the task count, all of them; where it has none, the task itself.
    """
    rules = policy["slices"]
    mine = [i for i in view.items if i.task == task]
    local, falling = 0, 0.0
    for item in mine:
        its = [rules.get(f"{task}/{s}") for s in item.slices] or [rules.get(f"task={task}")]
        if item.sensitivity == "local_only":
            local += 1
        elif all(r is not None and r["target"] == "self_host" for r in its):
            local += 1
            falling += 1 - min(r.get("share_answered_locally", 1.0) for r in its)
    return Moved(local / len(mine), falling / local if local else 0.0) if mine else Moved(0.0, 0.0)


def _ranges(
    recipe: Recipe,
    view: View,
    task: str,
    case: cost.Case,
    capacity: Capacity,
    book: Book,
) -> list[Range]:
    """The intervals that were measured or declared."""
    d, found = recipe.decision, []
    if capacity.low is not None and capacity.high is not None:
        found.append(Range("capacity", case.fleet.requests_per_second, capacity.low, capacity.high))
    answers = [(i, view.answers.get((d.baseline, i.id))) for i in view.items if i.task == task]
    each = [(float(usd), i.group) for i, a in answers if a is not None and (usd := _paid(recipe, a, book)) is not None]
    if each:
        e = clustered_mean([v for v, _ in each], [g for _, g in each])
        if e.low is not None and e.high is not None and e.mean > 0:
            found.append(Range("API price", e.mean, e.low, e.high))
    if d.hardware.interval_usd is not None:
        low, high = d.hardware.interval_usd
        found.append(Range("hardware price", float(d.hardware.hourly_usd), float(low), float(high)))
    if d.traffic.interval is not None and d.monthly_requests:
        found.append(Range("traffic", d.monthly_requests, *d.traffic.interval))
    return found


def warnings(recipe: Recipe, book: Book, today: date) -> list[str]:
    """Prices that are too old to believe, and changes that the list announces. book: the baseline's prices."""
    d = recipe.decision
    told = [
        prices.stale(f"hardware {d.hardware.name}", d.hardware.date, today=today, max_age_days=d.max_price_age_days)
    ]
    if isinstance(book, prices.OwnPrices):
        told.append(prices.stale("API, your prices", book.date, today=today, max_age_days=d.max_price_age_days))
    elif book.provider is not None:
        listed = book.describe()
        when = date.fromisoformat(listed["verified"]) if listed["verified"] else None
        what = f"API {book.provider}/{book.model} ({listed['source']})"
        told.append(prices.stale(what, when, today=today, max_age_days=d.max_price_age_days))
        told += [
            f"{what}: the list {'announces' if date.fromisoformat(c['from']) > today else 'has had'} {c['input']} in and"
            f" {c['output']} out a million tokens from {c['from']} on; the bills are at the prices of {book.at.date()}."
            for c in book.changes()
            if date.fromisoformat(c["from"]) > book.at.date()
        ]
    return [t for t in told if t is not None]


def _sentence(task: str, found: dict[str, Any], monthly: int, recipe: Recipe) -> str:
    if found["self_hosted"] is None:
        return f"{task}: cost cannot be compared; {found['basis']}."
    mine, theirs = found["self_hosted"], named(recipe.decision.baseline)
    if found["same_hardware"]:
        return (
            f"{task}: {theirs} would run on the same hardware as the candidate, so money decides nothing between them."
        )
    if found["saving_usd"] is None:
        return f"{task}: cost cannot be compared; the baseline has no price."
    cheaper = "self-hosting" if found["saving_usd"] >= 0 else theirs
    api = recipe.evaluation.endpoint(recipe.decision.baseline)
    priced = " (the stand-in is priced as the API it stands for)" if api is not None and api.is_stand_in else ""
    sure, spare = _sure(found["chance"]), ", one of them a spare" if recipe.decision.serving.n_plus_one else ""
    again = (
        f" and {found['asked_again_usd']:,.2f} of it for what is asked again at the API"
        if found["asked_again_usd"]
        else ""
    )
    counted = "" if recipe.decision.upkeep.people else " Nobody's working time is counted."
    even = "" if recipe.decision.traffic.profile else " Arrivals are taken to be even over the week."
    return (
        f"{task}: at {monthly:,} requests a month {theirs} costs {found['api_usd']:,.2f} USD{priced}, self-hosting"
        f" {mine['usd']:,.2f} USD on {mine['replicas']} replica(s){spare}{again}: {cheaper} is cheaper."
        f" {break_even.in_words(found['break_even'], found['searched_to'])}{sure}{counted}{even}"
    )


def _sure(chance: dict[str, Any]) -> str:
    """How likely self-hosting is cheaper, with what was drawn for that and what was not."""
    p, held = chance["p_self_hosting_cheaper"], ", ".join(chance["held"])
    if p is None:
        return ""
    told = f" Over the intervals of {' and '.join(chance['varied'])} self-hosting is cheaper in {p:.0%} of {chance['draws']:,} draws"
    return told + (f"; fixed at the values given: {held}." if held else ".")


def _round(usd: Decimal) -> Decimal:
    return usd.quantize(Decimal("0.0001")) if abs(usd) < 10**20 else usd


def _plain(found: Any) -> dict[str, Any]:
    return {k: _round(v) if isinstance(v, Decimal) else v for k, v in asdict(found).items()}
