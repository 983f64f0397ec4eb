"""Money beside the verdict: from a recipe and stored answers to bills, break-even, warnings and the sentence on the page."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from evaluation import routing
from evaluation.decision import Decision, Gates, SliceDecision, Verdict, headline
from evaluation.results import Answer, Item
from evaluation.summary import View, speed_table
from pipelines import decide, economics, recipe_file
from pipelines.economics import Capacity
from tests.conftest import RECIPE

D = Decimal
PAID = D("0.00027")
TODAY = date(2026, 11, 20)
LISTED = {
    "provider": "openai",
    "model": "gpt-4o-mini",
    "as_of": "2026-11-15",
    "source": "genai-prices",
    "verified": "2026-10-14",
}
OWN = "{rates: {input: 1, output: 5}, source: contract, date: 2026-11-10}"
HARDWARE = "hardware: {name: laptop, usd_per_hour: 0.1, source: guess, date: 2026-11-01}"
# two laptops against 100,000 requests at PAID: what `dearer` says of an arm
DEARER = {
    "task": "triage", "usd": D(146), "api_usd": D(27), "requests": 100_000, "cheaper_from": 540_741, "times": 5.5,
    "in_part": False,
}  # fmt: skip


def week(first: str, others: str | None = None) -> str:
    return ", ".join([first] + [others or first] * 167)


def recipe_with(folder: Path, hardware: str = HARDWARE, more: str = "", **changed: str) -> Any:
    """changed: a key of RECIPE → the text that takes the place of its line's value."""
    path = folder / "desk.yaml"
    text = RECIPE.format(model=folder).replace(HARDWARE, f"{hardware}\n{more}".rstrip())
    text = text.replace("api: {label_mode: systemone,", "api: {base_url: 'https://models.example/v1', model: m,")
    for key, value in changed.items():
        text, n = re.subn(rf"(?m)^( *{key}:) .*$", lambda m, value=value: f"{m[1]} {value}", text)
        assert n == 1, key
    path.write_text(text)
    return recipe_file.load(path)


def answered(n: int = 40, usd: Decimal | None = PAID, local_only: int = 0) -> View:
    """Triage items: every API answer is 1,000 tokens in and 200 out, every tuned one keeps the hardware busy for 200 ms."""
    items, answers = [], []
    for i in range(n):
        sensitivity = "local_only" if i < local_only else "shareable"
        slices = ("language=de",) if i % 4 == 0 else ("language=en",)
        items.append(Item(f"i{i}", "triage", (), "a", ("a", "b"), slices, f"g{i}", sensitivity))  # type: ignore[arg-type]
        answers.append(
            Answer(f"i{i}", "api", "a", prompt_tokens=1000, completion_tokens=200, usd=usd, latency_ms=300.0)
        )
        answers.append(
            Answer(
                f"i{i}", "tuned", "a", prompt_tokens=900, completion_tokens=1, latency_ms=250.0, busy_ms=199.0 + i % 3
            )
        )
    return View.of(items, answers, [])


def verdicts(**of: Verdict) -> Decision:
    """Slice (task, de, en) → its verdict."""
    names = {"task": "task=triage", "de": "triage/language=de", "en": "triage/language=en"}
    slices = [
        SliceDecision(names[k], "label_accuracy", v, "better", 1.0, 1.0, None, 40, 40, k == "task", "")
        for k, v in of.items()
    ]
    return Decision("self_host", "", slices, Gates("tuned", "api", 0.9, 0.05, {}, ("task=triage",), 30, 0.9))


PROVEN = verdicts(task="self_host", de="self_host", en="self_host")


def judged(recipe: Any, view: View | None = None, decided: Decision = PROVEN, **more: Any) -> dict[str, Any]:
    view = view or answered()
    given: dict[str, Any] = {
        "policy": routing.policy(decided, {}, model="m"),
        "listed": {recipe.decision.baseline: LISTED},
        "measured": {},
        "build_usd": D(0),
        "today": TODAY,
    }
    arms = dict.fromkeys(["api", "tuned", *(arm for arm, _ in view.answers)])
    found = economics.of(recipe, view, speed_table(view, list(arms)), decided, **{**given, **more})
    json.dumps(economics.summary(found), default=str)
    return found


def test_the_bill_of_a_desk_by_hand(tmp_path: Path) -> None:
    """100,000 requests at 0.00027 are 27.00; two laptops at 0.10 are 146.00, which 540,741 requests pay for."""
    found = judged(recipe_with(tmp_path))
    triage = found["tasks"]["triage"]
    assert (triage["api_usd"], triage["self_hosted"]["usd"], triage["self_hosted"]["replicas"]) == (D(27), D(146), 2)
    assert triage["break_even"] == [{"low": 540_741, "high": triage["searched_to"], "open": True}]
    assert found["dearer"] == [{**DEARER, "arm": "tuned"}]
    (note,) = found["notes"]
    assert (
        "the API costs 27.00 USD, self-hosting 146.00 USD on 2 replica(s), one of them a spare: the API is cheaper"
        in note
    )
    assert "no more from 540,741 on requests a month (searched up to 2,162,9" in note
    assert "Nobody's working time is counted" in note
    assert "even over the week" in note
    assert "Over the intervals of capacity self-hosting is cheaper in 0% of 2,000 draws; fixed" in note
    assert "fixed at the values given: hardware price, traffic, API output tokens or their price, API input" in note
    rows = {r["arm"]: r for r in found["rows"]}
    assert rows["api"]["usd_per_1k"] == D("0.27")
    assert rows["tuned"]["usd_per_1k"] == D("1.46")  # of the month's bill
    assert rows["tuned"]["usd_per_1k_at_full_use"] == pytest.approx(D("0.1") * 200 / 3600, rel=D("0.001"))
    assert "the machine that ran the evaluation" in rows["tuned"]["basis"]
    assert "an upper bound if that is laptop, else a guess" in rows["tuned"]["basis"]
    assert triage["chance"]["p_self_hosting_cheaper"] == 0
    assert set(triage["chance"]["varied"]) == {"capacity"}, "every request costs the same"
    prices = (PAID if n % 2 else 2 * PAID for n in itertools.count())
    dearer = [replace(a, usd=next(prices)) if a.arm == "api" else a for a in answered().answers.values()]
    note = judged(recipe_with(tmp_path), View.of(answered().items, dearer, []))["notes"][0]
    assert "Over the intervals of capacity and API price self-hosting is cheaper in 0% of 2,000 draws; fixed" in note
    assert "fixed at the values given: hardware price, traffic." in note
    assert {b["assumption"] for b in triage["tornado"]} >= {
        "traffic",
        "hardware price",
        "API input tokens or their price",
    }


def test_every_setting_reaches_the_bill(tmp_path: Path) -> None:
    more = """\
  monthly_requests: 1000000
  traffic: {profile: [PEAK], burst: 1.5, interval: [500000, 2000000]}
  serving: {n_plus_one: false, minimum_replicas: 2, autoscaling: true, cold_start_minutes: 30, headroom: 0.5}
  upkeep: {people: 0.1, usd_per_person_month: 12000, fixed_usd_per_month: 50, retrain_months: 3, build_usd: 900, fallback_share: 0.1,
           api_fixed_usd_per_month: 20}
""".replace("PEAK", week("1", "0"))
    hardware = "hardware: {name: L4, usd_per_hour: 0.78, interval_usd: [0.44, 1.2], requests_per_second: 4, source: list, date: 2026-11-01}"
    triage = judged(recipe_with(tmp_path, hardware, more))["tasks"]["triage"]
    # 10⁶ in one hour of the week: 63.93 · 1.5 a second over 0.5 · 4 = 47.95 → 48, else 2; 46 start for half an hour
    hours = (48 + 167 * 2 + 46 * 0.5) * 730 / 168
    bill = triage["self_hosted"]
    assert bill["replicas"] == 48
    assert float(bill["hardware_usd"]) == pytest.approx(hours * 0.78, abs=1e-3)
    assert (bill["people_usd"], bill["fixed_usd"], bill["build_usd"]) == (1200, 50, 300)
    assert float(bill["fallback_usd"]) == pytest.approx(20 + 27)
    assert triage["api_usd"] == 290
    assert triage["basis"] == "capacity from the recipe"
    assert set(triage["chance"]["varied"]) == {"traffic", "hardware price"}


def test_bought_hardware_has_an_hourly_price(tmp_path: Path) -> None:
    owned = "hardware: {name: server, owned: {usd: 26280, months: 36, kilowatts: 1, usd_per_kwh: 0.25, pue: 1.2}, source: bill, date: 2026-11-01}"
    found = judged(recipe_with(tmp_path, owned))
    assert found["hardware"]["usd_per_hour"] == "1.3"  # 26,280/26,280 + 1.2 · 0.25
    assert found["tasks"]["triage"]["self_hosted"]["usd"] == 2 * 949


def test_declared_cache_batch_and_own_prices_price_the_requests_anew(tmp_path: Path) -> None:
    for shares, usd in (("cached_share: 0.8", 21), ("batch_share: 1", D("13.5")), ("batch_share: 0.5", D("20.25"))):
        found = judged(recipe_with(tmp_path, more=f"  traffic: {{{shares}}}"))
        assert found["tasks"]["triage"]["api_usd"] == usd  # the published 0.21 and 0.135 a thousand
    found = judged(recipe_with(tmp_path, api=f"{{price: {OWN}}}"), listed={})
    assert found["tasks"]["triage"]["api_usd"] == 200  # 1,000 · 1 + 200 · 5 a million
    assert found["prices"]["source"] == "contract"
    assert found["warnings"] == []


def test_a_measured_capacity_counts_before_this_machine_s_times(tmp_path: Path) -> None:
    measured = {("triage", "tuned"): Capacity(0.01, 0.009, 0.012, "measured under load")}
    triage = judged(recipe_with(tmp_path), measured=measured)["tasks"]["triage"]
    assert triage["basis"] == "measured under load"
    assert triage["self_hosted"]["replicas"] == 7  # 100,000 / 2,628,000 = 0.03805 over 0.007 → 6, and one spare


def test_the_load_test_s_capacity_is_read_with_its_service_level(tmp_path: Path) -> None:
    row = {
        "task": "triage", "arm": "tuned", "requests_per_second": 4.0, "above": 4.4, "reason": None, "machine": "one L4",
        "server": "http://127.0.0.1:8000/v1", "stand_in": False, "slo_p95_ms": {"first_token_ms": 300.0},
    }  # fmt: skip
    lost = {
        **row,
        "task": "draft_reply",
        "requests_per_second": None,
        "keeps_level": False,
        "reason": "even at 0.01 a second the level is missed",
    }
    (tmp_path / "capacity.json").write_text(json.dumps([row, lost]))
    found = economics.measured_capacity(tmp_path)
    assert found["triage", "tuned"] == Capacity(
        4.0, 4.0, 4.4, "capacity under load of one L4 (p95: first_token_ms 300)"
    )
    assert economics.measured_capacity(tmp_path / "nowhere") == {}
    # a replica that keeps the level at no rate is no replica, whatever single answers took
    none = judged(recipe_with(tmp_path), measured={("triage", "tuned"): found["draft_reply", "tuned"]})
    assert none["tasks"]["triage"]["self_hosted"] is None
    assert "at no rate: even at 0.01 a second" in none["notes"][0]


def test_what_is_not_known_is_not_nothing(tmp_path: Path) -> None:
    unpriced = judged(recipe_with(tmp_path), answered(usd=None), listed={})
    assert unpriced["tasks"]["triage"]["break_even"] is None
    assert "cannot be compared; the baseline has no price" in unpriced["notes"][0]
    rows = {r["arm"]: r for r in unpriced["rows"]}
    assert (rows["api"]["usd_per_1k"], rows["api"]["usd_per_month"]) == (None, None)
    assert rows["tuned"]["usd_per_month"] == 146
    view = answered()
    silent = View.of(view.items, [a for a in view.answers.values() if a.arm == "api"], [])
    unmeasured = judged(recipe_with(tmp_path), silent)
    assert "no answer was measured" in unmeasured["notes"][0]
    assert unmeasured["dearer"] == []


def also(view: View, arm: str, like: str) -> View:
    """The view with one more arm, whose answers are another's without their price."""
    more = [replace(a, arm=arm, usd=None) for a in view.answers.values() if a.arm == like]
    return View.of(view.items, [*view.answers.values(), *more], [])


def test_an_api_arm_without_a_price_is_no_hardware_of_ours(tmp_path: Path) -> None:
    others = {
        "arms": "[tuned, api, other]",
        "golden_prompts": "2\n  more_apis: {other: {base_url: 'https://models.example/v1', model: m}}",
    }
    view = also(answered(), "other", "api")
    (row,) = [r for r in judged(recipe_with(tmp_path, **others), view)["rows"] if r["arm"] == "other"]
    assert (row["usd_per_1k"], row["usd_per_month"]) == (None, None)
    assert row["basis"] == "no price is known: set evaluation.more_apis.other.price_as or price"
    # every arm has the prices that the user gives it
    others["golden_prompts"] = others["golden_prompts"].replace("model: m}", f"model: m, price: {OWN}}}")
    (row,) = [r for r in judged(recipe_with(tmp_path, **others), view)["rows"] if r["arm"] == "other"]
    assert (row["usd_per_1k"], row["basis"]) == (2, "price × measured tokens")
    found = judged(recipe_with(tmp_path, baseline="other", **others), view)
    assert found["tasks"]["triage"]["api_usd"] == 200


def test_an_untuned_arm_that_is_enough_has_its_own_bill_beside_the_api_s(tmp_path: Path) -> None:
    enough = replace(PROVEN, verdict="untuned", kind="few-shot is enough")
    view = also(answered(), "few_shot", "tuned")
    slow = HARDWARE.replace("0.1,", "0.1, requests_per_second: 0.01,")
    grows, never = (judged(recipe_with(tmp_path, h), view, enough, build_usd=D(6000)) for h in (HARDWARE, slow))
    (bill,) = grows["dearer"]
    assert bill == {**DEARER, "arm": "few_shot"}
    told = decide._advice(enough, grows["dearer"])
    assert told.startswith(
        "Quality allows it, money does not: at 100,000 requests a month the API is cheaper for triage"
    )
    assert "cheaper for triage (few_shot 146.00 USD a month, the API 27.00)" in told
    assert told.endswith("or the requests a month grow to about 540,000 (triage).")
    # at a hundredth of a request a second own hardware costs more than the API at any volume
    assert decide._advice(enough, never["dearer"]).endswith("unless the data must stay in the house.")
    assert decide._advice(replace(PROVEN, verdict="api"), grows["dearer"]) == ""
    assert headline(enough, told) == "Stay on the API: quality allows an untuned model, money does not"
    other = replace(PROVEN, gates=replace(PROVEN.gates, baseline="claude"))
    assert "Stay on the claude arm, unless" in decide._advice(other, grows["dearer"])
    assert headline(other, told) == "Stay on claude: quality allows self-hosting, money does not"
    assert headline(PROVEN) == "Self-host"


def test_what_no_task_pays_for_alone_all_of_them_may_on_one_fleet(tmp_path: Path) -> None:
    """By hand: 50 % of 0.00027 and 0.0009 is 0.000585 a request; a replica does 1/(0.2 + 0.6) · 2 = 2.5 of them a second."""
    view = answered()
    longer = [replace(i, id=f"r{i.id}", task="draft_reply", choices=()) for i in view.items]
    more = [
        replace(a, item=f"r{a.item}", usd=a.usd and D("0.0009"), busy_ms=a.busy_ms and 600.0)
        for a in view.answers.values()
    ]
    both = View.of([*view.items, *longer], [*view.answers.values(), *more], [])
    must = "[task=triage, task=draft_reply]"
    few = judged(recipe_with(tmp_path, must_pass=must), both)
    assert [d["task"] for d in few["dearer"]] == ["draft_reply", "triage"]
    assert few["notes"][-1].startswith(
        "draft_reply and triage together, tuned on one fleet: at 200,000 requests a month the API costs 117.00 USD,"
        " self-hosting 146.00 USD on 2 replica(s): the API is cheaper. Self-hosting costs no more from 249,573 on"
    )
    enough = judged(recipe_with(tmp_path, more="  monthly_requests: 140000", must_pass=must), both)
    alone = {t: enough["tasks"][t]["saving_usd"] for t in ("triage", "draft_reply")}
    assert all(usd < 0 for usd in alone.values()), "each of them for itself keeps two replicas"
    assert "the API costs 163.80 USD, self-hosting 146.00 USD on 2 replica(s): self-hosting is" in enough["notes"][-1]
    assert enough["dearer"] == []


def test_training_is_paid_by_the_gpu_hour(tmp_path: Path) -> None:
    hardware = HARDWARE.replace("0.1,", "0.1, gpus: 2,")
    recipe = recipe_with(tmp_path, hardware).model_copy(update={"workdir": tmp_path / "run"})
    assert economics.build_cost(recipe) == (None, None)
    (tmp_path / "run" / "adapter").mkdir(parents=True)
    speed = tmp_path / "run" / "adapter" / "speed.json"
    speed.write_text(json.dumps({"seconds": 3600, "gpu_hours": 8.0}))
    assert economics.build_cost(recipe) == (3600, D("0.4"))  # eight hours at half of what a replica of two costs
    speed.write_text(json.dumps({"seconds": 3600, "tokens_per_second": 1}))
    assert economics.build_cost(recipe) == (3600, D("0.05"))  # of an earlier version
    # two evaluations were paid for, of which the report holds the last; the judge's replies are not told apart
    report = tmp_path / "run" / "report"
    report.mkdir()
    spent = [{"purpose": "api 0123456789ab", "usd": "8.00"}, {"purpose": "judge", "usd": "1.50"},
             {"purpose": "few_shot 0123456789ab", "usd": "7", "stand_in": True}]  # fmt: skip
    (report / "egress.json").write_text(json.dumps(spent))
    answer = {"item": "i", "arm": "api", "text": "a"}
    (report / "answers.jsonl").write_text(json.dumps(answer | {"usd": "3.75"}) + "\n")
    (report / "timings.jsonl").write_text(json.dumps(answer | {"usd_presumed": "0.25"}) + "\n")
    assert economics.build_cost(recipe) == (3600, D("5.55"))


def test_no_traffic_costs_what_stands_there(tmp_path: Path) -> None:
    found = judged(recipe_with(tmp_path, more="  monthly_requests: 0"))["tasks"]["triage"]
    assert (found["api_usd"], found["self_hosted"]["usd"]) == (0, 146)
    assert found["break_even"][0]["low"] == 540_741


@pytest.mark.parametrize(
    ("decided", "local_only", "share"),
    [
        (PROVEN, 0, 1.0),
        (verdicts(task="self_host", de="api", en="self_host"), 0, 0.75),
        (verdicts(task="self_host", de="undecided", en="undecided"), 0, 0.0),  # what is not proven stays where it is
        (verdicts(task="api", de="api", en="api"), 10, 0.25),  # what must not leave does not, whatever the verdict
        (replace(PROVEN, verdict="undecided"), 0, 0.0),  # routing moves nothing then
        (replace(PROVEN, verdict="api", kind="rejected by a gate"), 10, 0.25),
    ],
)
def test_hybrid_moves_what_is_proven_or_must_stay(
    tmp_path: Path, decided: Decision, local_only: int, share: float
) -> None:
    found = judged(recipe_with(tmp_path), answered(local_only=local_only), decided)["tasks"]["triage"]["hybrid"]
    assert found["local_share"] == share
    local = D(146) if share else 0
    assert found["usd"] == local + D(27) * (1 - D(str(share)))


def test_a_part_that_moves_is_billed_with_the_rest_s_api_bill(tmp_path: Path) -> None:
    """By hand: at 600,000 requests the API costs 162; all on two laptops 146, three quarters of it 146 + 40.50."""
    busy = "  monthly_requests: 600000"
    whole, part, nothing = (
        judged(recipe_with(tmp_path, more=busy), decided=verdicts(task="self_host", de=de, en=en))
        for de, en in (("self_host", "self_host"), ("api", "self_host"), ("undecided", "undecided"))
    )
    assert whole["dearer"] == []
    assert part["dearer"] == [
        {
            "task": "triage",
            "arm": "tuned",
            "usd": D("186.5"),
            "api_usd": D(162),
            "requests": 600_000,
            "cheaper_from": None,
            "times": None,
            "in_part": True,
        }
    ]
    told = decide._advice(verdicts(task="self_host", de="api", en="self_host"), part["dearer"])
    assert "triage (tuned for what routing.yaml moves, with the rest 186.50 USD a month, the API 162.00)" in told
    assert "routing.yaml moves none of it" in nothing["notes"][1]


def test_what_falls_below_the_confidence_threshold_is_paid_twice(tmp_path: Path) -> None:
    """By hand: own hardware 146, and 45 % of 600,000 requests again at the API, 72.90; the API alone costs 162."""
    limit = routing.Threshold(0.8, 0.55, 0.05, 0.1, 0.05, 40)
    limits = {s.slice: limit for s in PROVEN.slices}
    policy = routing.policy(PROVEN, limits, model="m")
    recipe = recipe_with(tmp_path, more="  monthly_requests: 600000")
    found = judged(recipe, policy=policy)
    assert found["tasks"]["triage"]["self_hosted"]["usd"] == D("218.9")
    assert [b["usd"] for b in found["dearer"]] == [D("218.9")]
    own = recipe_with(tmp_path, more="  monthly_requests: 600000\n  upkeep: {fallback_share: 0.1}")
    assert judged(own, policy=policy)["tasks"]["triage"]["self_hosted"]["usd"] == D("162.2"), (
        "the recipe's own goes first"
    )


def test_a_fee_that_every_task_alone_would_save_is_saved_once(tmp_path: Path) -> None:
    """By hand: 100,000 requests each at 0.00027 and a fee of 130; alone 157 against 146, together 184 against 219 on three."""
    view = answered()
    longer = [replace(i, id=f"r{i.id}", task="draft_reply", choices=()) for i in view.items]
    more = [replace(a, item=f"r{a.item}") for a in view.answers.values()]
    both = View.of([*view.items, *longer], [*view.answers.values(), *more], [])
    slow = HARDWARE.replace("0.1,", "0.1, requests_per_second: 0.06,")
    fee = "  upkeep: {api_fixed_usd_per_month: 130}"
    found = judged(recipe_with(tmp_path, slow, fee, must_pass="[task=triage, task=draft_reply]"), both)
    assert [found["tasks"][t]["saving_usd"] for t in ("triage", "draft_reply")] == [D(11), D(11)]
    assert found["dearer"] == [
        {"task": "draft_reply and triage together", "arm": "tuned", "usd": D(219), "api_usd": D(184), "requests": 200_000,
         "cheaper_from": None, "times": None, "in_part": False}
    ]  # fmt: skip


def test_a_changed_or_removed_price_is_today_s_for_answers_that_are_stored(tmp_path: Path) -> None:
    view = answered()
    usage = {"prompt_tokens": 1000, "completion_tokens": 200}
    old = {**LISTED, "provider": "your prices", "model": None, "rates": "9 and 9 USD a million tokens"}
    stored = View.of(
        view.items, [replace(a, usage=usage, prices=old) if a.arm == "api" else a for a in view.answers.values()], []
    )
    own, none = (recipe_with(tmp_path, api=f"{{{price}concurrency: 2}}") for price in (f"price: {OWN}, ", ""))
    dear, _ = economics.priced_now(own, stored)
    assert {a.usd for a in dear.answers.values() if a.arm == "api"} == {D("0.002")}
    unpriced, listed = economics.priced_now(none, stored)
    assert {a.usd for a in unpriced.answers.values() if a.arm == "api"} == {None}
    assert "no price is known" in judged(none, unpriced, listed=listed)["rows"][0]["basis"]


def test_old_prices_are_warned_about_and_announced_ones_told(tmp_path: Path) -> None:
    late = judged(recipe_with(tmp_path), today=date(2027, 3, 1))["warnings"]
    assert any("hardware laptop" in w and "120 days ago" in w for w in late)
    assert any("openai/gpt-4o-mini" in w and "verified on 2026-10-14, 138 days ago" in w for w in late)
    gemini = {**LISTED, "provider": "google", "model": "gemini-3.8-flash"}
    google = "{price_as: {provider: google, model: gemini-3.8-flash}}"
    found = judged(recipe_with(tmp_path, api=google), listed={"api": gemini})
    assert any("announces 1.5000 in and 7.5000 out a million tokens from 2027-01-01 on" in w for w in found["warnings"])
    assert judged(recipe_with(tmp_path, more="  max_price_age_days: 10"))["warnings"][0].startswith("hardware laptop")


@pytest.mark.parametrize(
    ("hardware", "more", "told"),
    [
        (HARDWARE, "  traffic: {profile: [" + week("0") + "]}", "profile: the arrival profile sums to 0"),
        (HARDWARE, "  traffic: {profile: [1, 2]}", "an arrival profile has 168 hours"),
        (HARDWARE, "  traffic: {profile: [" + week("-1") + "]}", "hour 0 of the arrival profile is -1"),
        (HARDWARE, "  traffic: {profile: [" + week(".nan") + "]}", "profile"),
        (HARDWARE, "  traffic: {cached_share: 0.8, cache_write_share: 0.3}", "more than 1 together"),
        (HARDWARE, "  traffic: {interval: [200000, 300000]}", "must hold monthly_requests, 100000, between its ends"),
        (HARDWARE, "  traffic: {interval: [20000, 30000]}", "must hold monthly_requests, 100000, between its ends"),
        (HARDWARE, "  serving: {minimum_replicas: 0}", "minimum_replicas 0 needs autoscaling"),
        (HARDWARE, "  serving: {headroom: 0}", "headroom"),
        (HARDWARE, "  serving: {cold_start_minutes: 90}", "cold_start_minutes"),
        ("hardware: {name: x, source: y, date: 2026-11-01}", "", "exactly one of usd_per_hour and owned"),
        (HARDWARE.replace("0.1,", "0.1, interval_usd: [0.2, 0.3],"), "", "interval_usd must hold the price"),
        (
            "hardware: {name: x, owned: {usd: 1, kilowatts: 1, usd_per_kwh: 1}, source: y, date: 2026-11-01}",
            "  serving: {autoscaling: true}", "owned hardware is paid for whether it runs or not",
        ),
    ],
)  # fmt: skip
def test_a_recipe_s_mistake_about_money_is_told(tmp_path: Path, hardware: str, more: str, told: str) -> None:
    with pytest.raises(recipe_file.RecipeError, match=told):
        recipe_with(tmp_path, hardware, more)
