"""What would change the answer about money: each assumption by itself (tornado), and all measured intervals at once (Monte Carlo)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

import numpy as np

from evaluation import cost
from evaluation.cost import Case

Z = 1.959964  # a 95 % interval of the normal distribution reaches this many standard deviations
LEAST = 0.01  # of the value: draws of prices, times and rates stay above 0

# Each changes a case and its monthly requests by a factor.
Lever = Callable[[Case, float, float], tuple[Case, float]]


@dataclass(frozen=True, slots=True)
class Bar:
    """One assumption, moved down and up; saving: what the API costs more a month than self-hosting.

    flips: one of the two ends has another answer than the case itself.
    """

    assumption: str
    saving_usd_low: Decimal
    saving_usd_high: Decimal
    flips: bool


@dataclass(frozen=True, slots=True)
class Range:
    """What is known of one assumption: its value and a 95 % interval, in the same unit as the case."""

    assumption: Literal["hardware price", "capacity", "traffic", "people", "API price"]
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Chance:
    """p_self_hosting_cheaper None: nothing has an interval, or a price is missing. saving_usd: 5th, 50th and 95th percentile."""

    p_self_hosting_cheaper: float | None
    saving_usd: tuple[float, float, float] | None
    draws: int
    seed: int
    varied: tuple[str, ...]
    held: tuple[str, ...]


def saving(case: Case, requests: float) -> Decimal | None:
    """What the API costs more a month than self-hosting; negative where it is cheaper. None: a price is missing."""
    mine, theirs = cost.self_hosted_month(case, requests).usd, cost.managed_month(case.api, requests)
    return None if mine is None or theirs is None else theirs - mine


def tornado(case: Case, requests: float, *, shift: float = 0.5) -> list[Bar]:
    """Every assumption by ± shift, the widest first. Empty: a price is missing.

    Capacity and API tokens move by themselves: each side counts its own tokens, and μ was measured at its own mix.
    """
    base = saving(case, requests)
    if base is None:
        return []
    bars = []
    for name, lever in _levers(case).items():
        ends = [saving(*lever(case, requests, 1 + sign * shift)) for sign in (-1, 1)]
        assert ends[0] is not None
        assert ends[1] is not None
        flips = any((e >= 0) != (base >= 0) for e in ends if e is not None)
        bars.append(Bar(name, ends[0], ends[1], flips))
    return sorted(bars, key=lambda b: (-abs(b.saving_usd_high - b.saving_usd_low), b.assumption))


def chance(case: Case, requests: float, ranges: Sequence[Range], *, seed: int, draws: int = 2000) -> Chance:
    """Share of draws in which self-hosting costs no more than the API.

    Each range is drawn by itself from a normal distribution in two halves, one a side of the value, so that its 95 % interval
    is the range. What has no range is held at its value: then the share says nothing about that assumption.
    """
    names = tuple(r.assumption for r in ranges)
    held = tuple(n for n in _levers(case) if n not in names and not (n.startswith("API") and "API price" in names))
    if not ranges or saving(case, requests) is None:
        return Chance(None, None, 0, seed, names, held)
    z = np.random.default_rng(seed).standard_normal((draws, len(ranges)))
    savings = []
    for row in z:
        drawn, n = case, requests
        for r, x in zip(ranges, row, strict=True):
            drawn, n = _LEVERS[r.assumption](drawn, n, _factor(r, float(x)))
        found = saving(drawn, n)
        assert found is not None
        savings.append(float(found))
    low, middle, high = (float(np.quantile(savings, q)) for q in (0.05, 0.5, 0.95))
    p = sum(s >= 0 for s in savings) / draws
    return Chance(p, (low, middle, high), draws, seed, names, held)


def _factor(r: Range, z: float) -> float:
    reach = r.high - r.value if z >= 0 else r.value - r.low
    return max(LEAST, 1 + z * reach / Z / r.value)


def _scaled(value: Decimal, factor: float) -> Decimal:
    return value * Decimal(repr(factor))


def _hardware(case: Case, n: float, f: float) -> tuple[Case, float]:
    return replace(case, fleet=replace(case.fleet, usd_per_hour=_scaled(case.fleet.usd_per_hour, f))), n


def _capacity(case: Case, n: float, f: float) -> tuple[Case, float]:
    return replace(case, fleet=replace(case.fleet, requests_per_second=case.fleet.requests_per_second * f)), n


def _traffic(case: Case, n: float, f: float) -> tuple[Case, float]:
    return case, n * f


def _people(case: Case, n: float, f: float) -> tuple[Case, float]:
    return replace(case, upkeep=replace(case.upkeep, people=case.upkeep.people * f)), n


def _build(case: Case, n: float, f: float) -> tuple[Case, float]:
    return replace(case, upkeep=replace(case.upkeep, build_usd=_scaled(case.upkeep.build_usd, f))), n


def _api(case: Case, n: float, f: float) -> tuple[Case, float]:
    assert case.api.usd_per_request is not None
    return replace(case, api=replace(case.api, usd_per_request=_scaled(case.api.usd_per_request, f))), n


def _api_output(case: Case, n: float, f: float) -> tuple[Case, float]:
    return _api(case, n, 1 + (f - 1) * (case.api.output_share or 0.0))


def _api_input(case: Case, n: float, f: float) -> tuple[Case, float]:
    return _api(case, n, 1 + (f - 1) * (1 - (case.api.output_share or 0.0)))


_LEVERS: dict[str, Lever] = {
    "hardware price": _hardware, "capacity": _capacity, "traffic": _traffic, "people": _people, "API price": _api,
}  # fmt: skip


def _levers(case: Case) -> dict[str, Lever]:
    """The assumptions that this case has."""
    share = case.api.output_share
    api: dict[str, Lever] = {"API price": _api}
    if share is not None and 0 < share < 1:
        api = {"API output tokens or their price": _api_output, "API input tokens or their price": _api_input}
    found: dict[str, Lever] = {"hardware price": _hardware, "capacity": _capacity, "traffic": _traffic}
    if case.upkeep.people and case.upkeep.usd_per_person_month:
        found["people"] = _people
    if case.upkeep.build_usd:
        found["tuning and evaluation"] = _build
    return {**found, **api}
