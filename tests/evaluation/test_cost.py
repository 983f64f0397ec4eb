"""Money: every bill worked by hand, the staircase exact against brute force, and what no bill may ever do."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import break_even, cost, sensitivity
from evaluation.cost import Case, CostError, Fleet, Managed, Upkeep, profile
from evaluation.sensitivity import Range

D = Decimal
L4, H100 = D("0.78"), D("2.95")
LUNA = Managed(D("0.0002"))  # 1,000 tokens in, 200 out
MONTH = 730
SECONDS = MONTH * 3600  # 2,628,000
PEAK_ONLY = profile([1] + [0] * 167)  # everything in one hour of the week
OFFICE = profile([3 if 8 <= h % 24 < 18 and h < 120 else 0 for h in range(168)])  # 50 hours, even within them
DAY_AND_NIGHT = profile([3] * 84 + [1] * 84)  # mean 2


def fleet(usd: Decimal = L4, per_second: float = 5.0, **how: Any) -> Fleet:
    return Fleet(usd, per_second, **how)


# One replica is planned for 0.7 · 5 = 3.5 requests a second, which are 3.5 · 2,628,000 = 9,198,000 a month.
# A week's hour comes 730/168 times a month.
SELF_HOSTED: dict[str, tuple[Case, float, int, Decimal]] = {
    "one L4 for a month": (Case(LUNA, fleet()), 1000, 1, D("569.40")),  # 0.78 · 730
    "one H100": (Case(LUNA, fleet(H100)), 1000, 1, D("2153.50")),  # 2.95 · 730
    "one more that may fail": (Case(LUNA, fleet(spare=1)), 1000, 2, D("1138.80")),  # 2 · 569.40
    "at least three": (Case(LUNA, fleet(minimum=3)), 1000, 3, D("1708.20")),  # 3 · 569.40
    "at least two and a spare one": (Case(LUNA, fleet(minimum=2, spare=1)), 1000, 3, D("1708.20")),
    "exactly what one replica is planned for": (Case(LUNA, fleet()), 9_198_000, 1, D("569.40")),
    "one request more": (Case(LUNA, fleet()), 9_198_001, 2, D("1138.80")),
    "three by load": (Case(LUNA, fleet()), 20_000_000, 3, D("1708.20")),  # 7.61 a second over 3.5
    "three by load, H100, a spare one": (Case(LUNA, fleet(H100, spare=1)), 20_000_000, 4, D("8614.00")),  # 4 · 2153.50
    "no headroom": (Case(LUNA, fleet(headroom=1.0)), 13_140_000, 1, D("569.40")),  # 5 · 2,628,000
    "no headroom, one request more": (Case(LUNA, fleet(headroom=1.0)), 13_140_001, 2, D("1138.80")),
    "bursts of twice the mean": (Case(LUNA, fleet(burst=2.0)), 4_599_000, 1, D("569.40")),  # half of 9,198,000
    "bursts, one request more": (Case(LUNA, fleet(burst=2.0)), 4_599_001, 2, D("1138.80")),
    # 10⁶ · 168/2,628,000 = 63.93 a second in that hour, over 3.5: 18.3 → 19; 19 · 569.40
    "one busy hour, reserved": (Case(LUNA, fleet(), profile=PEAK_ONLY), 1e6, 19, D("10818.60")),
    # (19 + 167 · 1) · 730/168 · 0.78 = 186 · 3.38929
    "one busy hour, autoscaled": (Case(LUNA, fleet(autoscaled=True), profile=PEAK_ONLY), 1e6, 19, D("630.4071")),
    # 18 start each week and load half an hour: (186 + 9) · 730/168 · 0.78
    "cold starts": (
        Case(LUNA, fleet(autoscaled=True, cold_start_minutes=30.0), profile=PEAK_ONLY), 1e6, 19, D("660.9107"),
    ),
    # 19 · 730/168 · 0.78
    "down to nothing": (Case(LUNA, fleet(autoscaled=True, minimum=0), profile=PEAK_ONLY), 1e6, 19, D("64.3964")),
    # 19 start: (19 + 19/2) · 730/168 · 0.78
    "down to nothing, cold": (
        Case(LUNA, fleet(autoscaled=True, minimum=0, cold_start_minutes=30.0), profile=PEAK_ONLY), 1e6, 19, D("96.5946"),
    ),
    # 10⁷ over 50 of 168 hours: 3.805 · 3.36 = 12.785 a second: 4 of 3.5
    "office hours, reserved": (Case(LUNA, fleet(), profile=OFFICE), 1e7, 4, D("2277.60")),
    # (50 · 4 + 118 · 1) · 730/168 · 0.78 = 318 · 3.38929
    "office hours, autoscaled": (Case(LUNA, fleet(autoscaled=True), profile=OFFICE), 1e7, 4, D("1077.7929")),
    # five mornings: 3 · 5 start, a quarter of an hour each: (318 + 3.75) · 3.38929
    "office hours, cold starts": (
        Case(LUNA, fleet(autoscaled=True, cold_start_minutes=15.0), profile=OFFICE), 1e7, 4, D("1090.5027"),
    ),
    # 15·10⁶/2,628,000 = 5.708 mean; day 8.562 → 3, night 2.854 → 1: (84 · 3 + 84 · 1) · 3.38929
    "day and night": (Case(LUNA, fleet(autoscaled=True), profile=DAY_AND_NIGHT), 15e6, 3, D("1138.80")),
    "a tenth of a person": (
        Case(LUNA, fleet(spare=1), Upkeep(people=0.1, usd_per_person_month=D(15000))), 1000, 2, D("2638.80"),
    ),  # + 1,500
    "storage and network": (Case(LUNA, fleet(), Upkeep(fixed_usd_per_month=D(120))), 1000, 1, D("689.40")),
    "tuned every six months for 600": (Case(LUNA, fleet(), Upkeep(build_usd=D(600), retrain_months=6.0)), 1000, 1, D("669.40")),
    "a tenth falls back": (Case(LUNA, fleet(), fallback_share=0.1), 1e6, 1, D("589.40")),  # + 100,000 · 0.0002
    "fallback needs the API's contract": (
        Case(replace(LUNA, fixed_usd_per_month=D(500)), fleet(), fallback_share=0.1), 1e6, 1, D("1089.40"),
    ),
    "no traffic, reserved": (Case(LUNA, fleet()), 0, 1, D("569.40")),
    "no traffic, down to nothing": (Case(LUNA, fleet(autoscaled=True, minimum=0)), 0, 0, D(0)),
    "a replica that nothing overloads": (Case(LUNA, fleet(per_second=math.inf)), 1e12, 1, D("569.40")),
    # owned: 20,000/(36 · 730) + 0.7 kW · 1.3 · 0.25 = 0.761035 + 0.2275 an hour, for 730 hours: 555.5556 + 166.075
    "owned": (
        Case(LUNA, fleet(cost.owned_usd_per_hour(
            usd=D(20000), months=36, kilowatts=0.7, usd_per_kwh=D("0.25"), pue=1.3))), 1000, 1, D("721.6306"),
    ),
    # 4 H100 (20 million) 8,614 + 0.5 · 12,000 + 80 + 1,200/12 + 0.05 · 20·10⁶ · 0.0002 · 1.02 = 8,614 + 6,000 + 80 + 100 + 204
    "all of it": (
        Case(replace(LUNA, paid_twice=0.02), fleet(H100, spare=1),
             Upkeep(D(80), 0.5, D(12000), D(1200), 12.0), fallback_share=0.05), 2e7, 4, D("14998.00"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SELF_HOSTED)
def test_a_month_of_self_hosting_by_hand(name: str) -> None:
    case, requests, replicas, usd = SELF_HOSTED[name]
    month = cost.self_hosted_month(case, requests)
    assert month.replicas == replicas
    assert month.usd is not None
    assert round(month.usd, 4) == usd
    parts = (month.hardware_usd, month.people_usd, month.fixed_usd, month.build_usd, month.fallback_usd)
    assert sum(p for p in parts if p is not None) == pytest.approx(month.usd)


@pytest.mark.parametrize(
    ("api", "requests", "usd"),
    [
        (LUNA, 1e6, D(200)),
        (LUNA, 0, D(0)),
        (replace(LUNA, paid_twice=0.05), 1e6, D(210)),  # 200 · 1.05
        (replace(LUNA, fixed_usd_per_month=D(500)), 1e6, D(700)),
        (replace(LUNA, fixed_usd_per_month=D(500)), 0, D(500)),
        (Managed(D(0)), 1e9, D(0)),  # a price of nothing is a price
        (Managed(None), 1e6, None),  # no price is not
    ],
)
def test_a_month_at_the_api_by_hand(api: Managed, requests: float, usd: Decimal | None) -> None:
    assert cost.managed_month(api, requests) == usd


# Worked by hand in the facts: 1,000 tokens in and 200 out; fixed cost over price, where one replica carries everything.
FACTS = {
    ("L4", D("0.0002")): ("2.8M", "5.7M", "13.2M"), ("L4", D("0.002")): ("0.28M", "0.57M", "1.3M"),
    ("L4", D("0.004")): ("0.14M", "0.28M", "0.66M"),
    ("A100", D("0.0002")): ("5.1M", "10.1M", "17.6M"), ("A100", D("0.002")): ("0.51M", "1.0M", "1.8M"),
    ("A100", D("0.004")): ("0.25M", "0.51M", "0.88M"),
    ("H100", D("0.0002")): ("10.8M", "21.5M", "29.0M"), ("H100", D("0.002")): ("1.1M", "2.2M", "2.9M"),
    ("H100", D("0.004")): ("0.54M", "1.1M", "1.5M"),
}  # fmt: skip
HOURLY = {"L4": L4, "A100": D("1.39"), "H100": H100}


@pytest.mark.parametrize(("gpu", "price"), FACTS)
def test_the_published_break_even_table(gpu: str, price: Decimal) -> None:
    shown = []
    for spare, people in ((0, 0.0), (1, 0.0), (1, 0.1)):
        case = Case(
            Managed(price),
            Fleet(HOURLY[gpu], math.inf, spare=spare),
            Upkeep(people=people, usd_per_person_month=D(15000)),
        )
        (found,) = break_even.intervals(case, high=10**9) or ()
        assert found.open
        shown.append(found.low)
    digits = [len(t.split(".")[1][:-1]) for t in FACTS[gpu, price]]
    assert tuple(f"{n / 1e6:.{d}f}M" for n, d in zip(shown, digits, strict=True)) == FACTS[gpu, price]


def test_break_even_has_gaps_where_the_next_replica_starts() -> None:
    """One L4 for 3.5 requests a second against 0.0001 a request: 5,694,000 pays for one, 11,388,000 for two, but two start at
    9,198,001; three at 18,396,001 pay at 17,082,000, so from two replicas' break-even on it holds for good."""
    case = Case(Managed(D("0.0001")), fleet())
    found = break_even.intervals(case, high=50_000_000)
    assert found is not None
    assert [(i.low, i.high) for i in found] == [(5_694_000, 9_198_000), (11_388_000, 50_000_000)]
    assert [i.open for i in found] == [False, True]
    # fixed cost over price would have named the first number alone; at 10 million it is wrong
    assert sensitivity.saving(case, 10_000_000) == D("1000") - D("1138.80")


def test_a_replica_that_earns_less_than_it_costs_never_breaks_even() -> None:
    # a full replica answers 9,198,000 for 569.40: 0.0619 a thousand; the API takes 0.05
    assert break_even.intervals(Case(Managed(D("0.00005")), fleet()), high=10**9) == []
    # where traffic falls back so often that a request costs more than at the API, a free API contract decides
    lost = Case(Managed(D("0.0002"), fixed_usd_per_month=D(2000)), fleet(), fallback_share=1.0)
    assert break_even.intervals(lost, high=10**8) == []


def test_an_expensive_contract_makes_self_hosting_cheaper_only_at_first() -> None:
    # 569.40 against 600 + N/100,000: cheaper from the start; two replicas at 9,198,001 cost 1,138.80 against 691.98
    case = Case(Managed(D("0.00001"), fixed_usd_per_month=D(600)), fleet())
    found = break_even.intervals(case, high=20_000_000)
    assert found == [break_even.Interval(1, 9_198_000, False)]


def test_no_price_is_not_known_and_never_zero() -> None:
    case = Case(Managed(None), fleet(), fallback_share=0.1)
    assert cost.self_hosted_month(case, 1000).usd is None
    assert cost.self_hosted_month(replace(case, fallback_share=0.0), 1000).usd == D("569.40")
    assert break_even.intervals(case, high=10**6) is None
    assert break_even.staircase(case, high=10**6) == []
    assert sensitivity.saving(case, 1000) is None
    assert sensitivity.tornado(case, 1000) == []
    assert sensitivity.chance(case, 1000, [Range("capacity", 5, 4, 6)], seed=1).p_self_hosting_cheaper is None
    assert cost.hybrid_month(case, 1000, local_share=0.5).usd is None
    assert cost.usd_per_1k_at_full_use(None, usd_per_hour=L4) is None
    assert cost.capacity_of(0.0) is None


def test_without_traffic_there_is_no_price_per_request() -> None:
    month = cost.self_hosted_month(Case(LUNA, fleet()), 0)
    assert (month.usd, month.usd_per_1k, month.idle_share) == (D("569.40"), None, 1.0)
    assert cost.self_hosted_month(Case(LUNA, fleet(autoscaled=True, minimum=0)), 0).idle_share is None


@pytest.mark.parametrize(
    ("arrivals", "told"),
    [
        ([0] * 168, "sums to 0"),
        ([1] * 167, "168 hours, Monday 00:00 first; found 167"),
        ([1] * 167 + [-1], "hour 167 of the arrival profile is -1"),
        ([math.nan] + [1] * 167, "hour 0 of the arrival profile is nan"),
        ([1] * 5 + [math.inf] + [1] * 162, "hour 5 of the arrival profile is inf"),
    ],
)
def test_what_is_no_profile_is_told(arrivals: list[float], told: str) -> None:
    with pytest.raises(CostError, match=told):
        profile(arrivals)


def test_a_profile_may_be_in_any_unit() -> None:
    counts = [float(h % 7) for h in range(168)]
    shares = [c / sum(counts) for c in counts]
    assert profile(counts) == profile([c * 0.25 for c in counts])
    assert sum(w / profile(shares).total for w in profile(shares).weights) == pytest.approx(1)
    a, b = (cost.self_hosted_month(Case(LUNA, fleet(), profile=profile(p)), 3e7).replicas for p in (counts, shares))
    assert a == b
    assert profile([1] * 84 + [0] * 84).peak_over_mean == 2


def test_a_capacity_that_is_none_is_told() -> None:
    with pytest.raises(CostError, match="0 requests a second"):
        cost.self_hosted_month(Case(LUNA, fleet(per_second=0)), 10)
    with pytest.raises(CostError, match="more than 50,000 steps"):
        break_even.intervals(Case(LUNA, fleet(per_second=1e-6)), high=10**9)
    assert break_even.widest_range(Case(LUNA, fleet(per_second=1e-6)), 10**9) < 10**9


def test_hybrid_by_hand() -> None:
    # 60 % of 20 million on 12·10⁶: 4.57 a second over 3.5 → 2 replicas, 1,138.80; 8·10⁶ · 0.0002 = 1,600; 1 % · 20·10⁶ · 0.001 = 200
    case = Case(LUNA, fleet())
    found = cost.hybrid_month(case, 2e7, local_share=0.6, misrouted_share=0.01, usd_per_misrouted=D("0.001"))
    assert (found.self_hosted_usd, found.api_usd, found.router_usd) == (D("1138.80"), D(1600), D(200))
    assert found.usd == D("2938.80")
    with pytest.raises(CostError):
        cost.hybrid_month(case, 100, local_share=1.5)


def test_the_api_s_contract_is_paid_once() -> None:
    case = Case(replace(LUNA, fixed_usd_per_month=D(500)), fleet(), fallback_share=0.1)
    # replicas 569.40 + fallback 500,000 · 0.1 · 0.0002 = 10 + contract 500; rest 500,000 · 0.0002 = 100
    assert cost.hybrid_month(case, 1e6, local_share=0.5).usd == D("1179.40")


def test_the_tornado_by_hand() -> None:
    """1 L4, 1 million requests at 0.002: 2,000 − 569.40 − 100 people. Half the API's price is for output."""
    case = Case(Managed(D("0.002"), output_share=0.5), fleet(), Upkeep(people=0.01, usd_per_person_month=D(10000)))
    assert sensitivity.saving(case, 1e6) == D("1330.60")
    found = {b.assumption: (b.saving_usd_low, b.saving_usd_high, b.flips) for b in sensitivity.tornado(case, 1e6)}
    assert found == {
        "traffic": (D("330.60"), D("2330.60"), False),
        "API output tokens or their price": (D("830.60"), D("1830.60"), False),
        "API input tokens or their price": (D("830.60"), D("1830.60"), False),
        "hardware price": (D("1615.30"), D("1045.90"), False),
        "people": (D("1380.60"), D("1280.60"), False),
        "capacity": (D("1330.60"), D("1330.60"), False),
    }
    assert next(iter(found)) == "traffic"
    close = sensitivity.tornado(case, 400_000)  # 800 − 669.40
    # down to 400 − 669.40; at 1.5 times the hardware 800 − 954.10; half the tokens of either side 600 − 669.40
    assert {b.assumption for b in close if b.flips} == {
        "traffic", "hardware price", "API output tokens or their price", "API input tokens or their price",
    }  # fmt: skip


def test_the_chance_is_that_of_the_measured_intervals() -> None:
    """1 L4 against 0.002 a request at N = 284,700, where both cost 569.40: an even chance whatever the spread of N."""
    case = Case(Managed(D("0.002")), fleet())
    even = sensitivity.chance(case, 284_700, [Range("traffic", 284_700, 200_000, 369_400)], seed=1)
    assert even.p_self_hosting_cheaper == pytest.approx(0.5, abs=0.03)
    # with N at 327,050 and a standard deviation of 42,350/1.96, Φ(1.96) = 0.975 lie above the break-even
    sure = sensitivity.chance(case, 327_050, [Range("traffic", 327_050, 284_700, 369_400)], seed=1)
    assert sure.p_self_hosting_cheaper == pytest.approx(0.975, abs=0.01)
    assert sure == sensitivity.chance(case, 327_050, [Range("traffic", 327_050, 284_700, 369_400)], seed=1)
    assert sure.varied == ("traffic",)
    assert set(sure.held) == {"hardware price", "capacity", "API price"}
    assert sensitivity.chance(case, 284_700, [], seed=1).p_self_hosting_cheaper is None
    split = replace(case, api=Managed(D("0.002"), output_share=0.5))
    priced = sensitivity.chance(split, 284_700, [Range("API price", 0.002, 0.001, 0.004)], seed=1)
    assert set(priced.held) == {"hardware price", "capacity", "traffic"}


def test_a_range_is_drawn_with_its_own_two_sides() -> None:
    case = Case(Managed(D("0.002")), fleet())
    lopsided = sensitivity.chance(case, 284_700, [Range("hardware price", 0.78, 0.77, 7.8)], seed=3, draws=4000)
    assert lopsided.saving_usd is not None
    low, middle, high = lopsided.saving_usd
    assert abs(middle) < 150  # the median of 4,000 draws of a standard deviation of 2,615 above
    assert low < -3000  # 1.645/1.96 of 9 times the price
    assert 0 < high < 10


usd = st.decimals(min_value="0.01", max_value="50", places=2)
per_request = st.decimals(min_value="0.00001", max_value="0.1", places=5)
weeks = st.one_of(
    st.just(cost.FLAT), st.just(OFFICE), st.just(DAY_AND_NIGHT), st.just(PEAK_ONLY),
    st.lists(st.integers(0, 5), min_size=168, max_size=168).filter(any).map(profile),
)  # fmt: skip


@st.composite
def cases(draw: st.DrawFn) -> Case:
    api = Managed(draw(per_request), None, draw(st.sampled_from([0.0, 0.1])), draw(st.sampled_from([D(0), D(300)])))
    autoscaled = draw(st.booleans())
    how = Fleet(
        draw(usd),
        draw(st.floats(0.05, 200)),
        draw(st.sampled_from([0.5, 0.7, 1.0])),
        draw(st.sampled_from([1.0, 1.7])),
        draw(st.integers(0 if autoscaled else 1, 3)),
        draw(st.integers(0, 1)),
        autoscaled,
        draw(st.sampled_from([0.0, 5.0, 60.0])),
    )
    upkeep = Upkeep(D(50), draw(st.sampled_from([0.0, 0.1])), D(15000), D(1000), 6.0)
    return Case(api, how, upkeep, draw(weeks), draw(st.sampled_from([0.0, 0.05, 1.0])))


def total(case: Case, requests: float) -> Decimal:
    found = cost.self_hosted_month(case, requests).usd
    assert found is not None
    return found


QUICK = settings(deadline=None, max_examples=60)


@QUICK
@given(case=cases(), start=st.integers(1, 10**7))
def test_the_staircase_is_exact_against_brute_force(case: Case, start: int) -> None:
    """400 volumes from `start` on: the same ones are cheaper, and the staircase's corners are the bills themselves."""
    high = start + 400
    found = break_even.intervals(case, low=start, high=high)
    assert found is not None
    told = {n for i in found for n in range(i.low, i.high + 1)}
    seen = set()
    for n in range(start, high + 1):
        api = cost.managed_month(case.api, n)
        assert api is not None
        if total(case, n) <= api:
            seen.add(n)
    assert told == seen
    assert all(a.high + 1 < b.low for a, b in itertools.pairwise(found))
    for point in break_even.staircase(case, low=start, high=high):
        month = cost.self_hosted_month(case, point.requests)
        assert (point.self_hosted_usd, point.replicas) == (month.usd, month.replicas)


@QUICK
@given(case=cases(), high=st.integers(1000, 3 * 10**7))
def test_every_end_of_an_interval_is_a_crossing(case: Case, high: int) -> None:
    high = break_even.widest_range(case, high)
    found = break_even.intervals(case, high=high)
    assert found is not None

    def cheaper(n: int) -> bool:
        api = cost.managed_month(case.api, n)
        assert api is not None
        return total(case, n) <= api

    for i in found[:20]:
        assert cheaper(i.low)
        assert cheaper(i.high)
        assert i.low == 1 or not cheaper(i.low - 1)
        assert i.open or not cheaper(i.high + 1)


@QUICK
@given(case=cases(), requests=st.integers(0, 10**8), more=st.integers(1, 10**7), dearer=usd)
def test_bills_only_grow_with_volume_and_prices(case: Case, requests: int, more: int, dearer: Decimal) -> None:
    assert total(case, requests) <= total(case, requests + more)
    api = [cost.managed_month(case.api, n) for n in (requests, requests + more)]
    assert api[0] is not None
    assert api[1] is not None
    assert api[0] <= api[1]
    raised = replace(case, fleet=replace(case.fleet, usd_per_hour=case.fleet.usd_per_hour + dearer))
    assert total(case, requests) <= total(raised, requests)
    slower = replace(case, fleet=replace(case.fleet, requests_per_second=case.fleet.requests_per_second / 2))
    assert total(case, requests) <= total(slower, requests)


@QUICK
@given(case=cases(), requests=st.integers(1, 10**8), share=st.floats(0.001, 1))
def test_an_idle_gpu_is_never_cheaper(case: Case, requests: int, share: float) -> None:
    """Fewer requests on the same hardware cost no less each, and never less than on hardware that is always busy."""
    case = replace(case, fallback_share=0.0)
    busy, idle = (cost.self_hosted_month(case, n) for n in (requests, max(1, int(requests * share))))
    if busy.replica_hours == idle.replica_hours:
        assert busy.usd == idle.usd
        assert idle.usd_per_1k is not None
        assert busy.usd_per_1k is not None
        assert idle.usd_per_1k >= busy.usd_per_1k
    full = cost.usd_per_1k_at_full_use(case.fleet.requests_per_second, usd_per_hour=case.fleet.usd_per_hour)
    assert full is not None
    assert busy.hardware_usd * 1000 / requests >= full * D("0.999999999")
    assert busy.idle_share is not None
    assert -1e-9 <= busy.idle_share <= 1


@QUICK
@given(case=cases(), requests=st.integers(1, 10**8), share=st.floats(0.01, 0.99))
def test_hybrid_lies_between_its_ends(case: Case, requests: int, share: float) -> None:
    """At 0 it is the API's bill, at 1 self-hosting's. Between, neither side costs more than it would alone for everything."""
    ends = [cost.hybrid_month(case, requests, local_share=f) for f in (0.0, 1.0)]
    assert ends[0].usd == cost.managed_month(case.api, requests)
    assert ends[1].usd == total(case, requests)
    mixed = cost.hybrid_month(case, requests, local_share=share)
    assert mixed.self_hosted_usd is not None
    assert mixed.api_usd is not None
    assert ends[0].usd is not None
    assert ends[1].usd is not None
    assert 0 <= mixed.api_usd <= ends[0].usd
    assert mixed.self_hosted_usd <= ends[1].usd
    assert mixed.usd == mixed.self_hosted_usd + mixed.api_usd
