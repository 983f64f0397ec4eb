"""What a month costs: at the API, on replicas of one's own, or split between them. Pure, and exact in rational numbers.

λ_h = N·w_h·168/(730·3600) requests a second in hour h of the week, for N requests a month with arrival shares w_h (sum 1);
replicas_h = max(R_min, ⌈λ_h·burst/(headroom·μ)⌉) + spare, with μ the requests a second that one replica answers inside the service
level. Reserved: the busiest hour's replicas run for all 730 hours. Autoscaled: Σ replicas_h, and the time a new replica loads.
An idle GPU costs what a busy one does: nothing here is multiplied by utilisation.

Bills are step functions of N, so there is no one break-even: `evaluation.break_even` finds every interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from data_prep.records import UserError

HOURS_A_WEEK = 168
HOURS_A_MONTH = 730  # 365 · 24 / 12
WEEKS_A_MONTH = Fraction(HOURS_A_MONTH, HOURS_A_WEEK)
HEADROOM = 0.7  # share of a replica's capacity that is planned for: queues grow without bound as it nears 1
LONGEST_COLD_START_MINUTES = 60.0  # a profile by the hour says nothing about scaling that takes longer
NOTHING = Decimal(0)


class CostError(UserError):
    """A traffic profile or a price that no bill can be made of."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Arrivals by hour of the week, Monday 00:00 first: whole numbers, of which the hour's share is weight/total."""

    weights: tuple[int, ...]
    total: int

    @property
    def peak_over_mean(self) -> float:
        return max(self.weights) * len(self.weights) / self.total


def profile(arrivals: Sequence[float]) -> Profile:
    """Counts or shares of 168 hours, in any unit. Raises CostError where they are no profile."""
    if len(arrivals) != HOURS_A_WEEK:
        raise CostError(f"an arrival profile has {HOURS_A_WEEK} hours, Monday 00:00 first; found {len(arrivals)}")
    for hour, value in enumerate(arrivals):
        if not math.isfinite(value) or value < 0:
            raise CostError(f"hour {hour} of the arrival profile is {value}; counts or shares from 0 upwards are meant")
    shares = [exact(v) for v in arrivals]
    if not any(shares):
        raise CostError(
            "the arrival profile sums to 0: no hour of the week has a request. Leave it out for even traffic"
        )
    unit = math.lcm(*(f.denominator for f in shares))
    whole = [int(f * unit) for f in shares]
    common = math.gcd(*whole)
    weights = tuple(w // common for w in whole)
    return Profile(weights, sum(weights))


FLAT = Profile((1,) * HOURS_A_WEEK, HOURS_A_WEEK)


@dataclass(frozen=True, slots=True)
class Managed:
    """The API's side. usd_per_request None: no price is known, which is not a price of 0.

    output_share: part of the price that is paid for the answer's tokens; None where the price cannot be split.
    paid_twice: share of requests whose retry is billed as well.
    """

    usd_per_request: Decimal | None
    output_share: float | None = None
    paid_twice: float = 0.0
    fixed_usd_per_month: Decimal = NOTHING


@dataclass(frozen=True, slots=True)
class Fleet:
    """Replicas of one's own. usd_per_hour and requests_per_second (μ; infinite: never the limit) are one replica's.

    minimum: replicas that always run. spare: replicas beyond need, 1 for N+1. burst: peak within an hour over its mean.
    """

    usd_per_hour: Decimal
    requests_per_second: float
    headroom: float = HEADROOM
    burst: float = 1.0
    minimum: int = 1
    spare: int = 0
    autoscaled: bool = False
    cold_start_minutes: float = 0.0


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What self-hosting costs besides hardware. build_usd: tuning, labelling and evaluation, once every retrain_months."""

    fixed_usd_per_month: Decimal = NOTHING
    people: float = 0.0  # full-time equivalents
    usd_per_person_month: Decimal = NOTHING
    build_usd: Decimal = NOTHING
    retrain_months: float = 12.0


@dataclass(frozen=True, slots=True)
class Case:
    """One choice between API and replicas. fallback_share: requests that are asked locally and then at the API as well."""

    api: Managed
    fleet: Fleet
    upkeep: Upkeep = Upkeep()
    profile: Profile = FLAT
    fallback_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Month:
    """A month of self-hosting in USD, item by item. usd None: fallback traffic has no price.

    replicas: in the busiest hour. idle_share: of the paid hardware time, at full speed; None where no replica runs.
    """

    requests: Decimal
    replicas: int
    replica_hours: Decimal
    hardware_usd: Decimal
    people_usd: Decimal
    fixed_usd: Decimal
    build_usd: Decimal
    fallback_usd: Decimal | None
    usd: Decimal | None
    idle_share: float | None

    @property
    def usd_per_1k(self) -> Decimal | None:
        """Of the whole bill, idle hours included. None without requests."""
        return self.usd * 1000 / self.requests if self.usd is not None and self.requests else None


@dataclass(frozen=True, slots=True)
class Hybrid:
    """A month with local_share of the requests on replicas and the rest at the API. usd None: the API has no price."""

    local_share: float
    self_hosted_usd: Decimal | None
    api_usd: Decimal | None
    router_usd: Decimal
    usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Hours:
    """Replicas in the busiest hour of the week, and the hours that are paid for in a month, over all replicas."""

    peak: int
    paid: Fraction


def managed_month(api: Managed, requests: float | Fraction | Decimal) -> Decimal | None:
    """N·price·(1 + paid twice) + fixed. None: no price is known."""
    price = marginal_usd(api)
    return None if price is None else as_usd(exact(requests) * price + exact(api.fixed_usd_per_month))


def marginal_usd(api: Managed) -> Fraction | None:
    """What one more request costs at the API, exactly."""
    if api.usd_per_request is None:
        return None
    return exact(api.usd_per_request) * (1 + exact(api.paid_twice))


def load_per_weight(fleet: Fleet, arrivals: Profile) -> Fraction:
    """x such that an hour of weight w needs ⌈N·w·x⌉ replicas."""
    if math.isinf(fleet.requests_per_second):
        return Fraction(0)
    if not fleet.requests_per_second > 0:
        raise CostError(
            f"a replica answers {fleet.requests_per_second} requests a second; a capacity above 0 is needed"
        )
    carried = exact(fleet.headroom) * exact(fleet.requests_per_second) * HOURS_A_MONTH * 3600
    return HOURS_A_WEEK * exact(fleet.burst) / (arrivals.total * carried)


def replicas_by_hour(fleet: Fleet, arrivals: Profile, requests: float | Fraction | Decimal) -> list[int]:
    """Replicas in each hour of the week."""
    x = exact(requests) * load_per_weight(fleet, arrivals)
    p, q = x.numerator, x.denominator
    needed = {w: max(fleet.minimum, -(-w * p // q)) + fleet.spare for w in set(arrivals.weights)}
    return [needed[w] for w in arrivals.weights]


def scale_ups(week: Sequence[int]) -> int:
    """Replicas started in a week that repeats."""
    return sum(max(0, now - week[hour - 1]) for hour, now in enumerate(week))


def hours(fleet: Fleet, peak: int, week_sum: int, started: int) -> Hours:
    """Paid hours of a month: the peak's for all of it, or each hour's own and what starting replicas take."""
    if not fleet.autoscaled:
        return Hours(peak, Fraction(peak * HOURS_A_MONTH))
    return Hours(peak, (week_sum + started * exact(fleet.cold_start_minutes) / 60) * WEEKS_A_MONTH)


def standing_usd(upkeep: Upkeep) -> Fraction:
    """What self-hosting costs a month besides hardware, whatever the traffic."""
    people = exact(upkeep.people) * exact(upkeep.usd_per_person_month)
    return exact(upkeep.fixed_usd_per_month) + people + exact(upkeep.build_usd) / exact(upkeep.retrain_months)


def fallback_usd(case: Case) -> tuple[Fraction, Fraction] | None:
    """What fallback traffic adds to a self-hosted month: fixed, and a request. None: the API has no price."""
    if not case.fallback_share:
        return Fraction(0), Fraction(0)
    price = marginal_usd(case.api)
    return None if price is None else (exact(case.api.fixed_usd_per_month), exact(case.fallback_share) * price)


def self_hosted_month(case: Case, requests: float | Fraction | Decimal) -> Month:
    """The bill of N requests a month on replicas of one's own."""
    n, fleet = exact(requests), case.fleet
    week = replicas_by_hour(fleet, case.profile, n)
    found = hours(fleet, max(week), sum(week), scale_ups(week) if fleet.autoscaled else 0)
    hardware, upkeep, back = found.paid * exact(fleet.usd_per_hour), case.upkeep, fallback_usd(case)
    falling = None if back is None else back[0] + n * back[1]
    total = None if falling is None else hardware + standing_usd(upkeep) + falling
    return Month(
        requests=as_usd(n),
        replicas=found.peak,
        replica_hours=as_usd(found.paid),
        hardware_usd=as_usd(hardware),
        people_usd=as_usd(exact(upkeep.people) * exact(upkeep.usd_per_person_month)),
        fixed_usd=upkeep.fixed_usd_per_month,
        build_usd=as_usd(exact(upkeep.build_usd) / exact(upkeep.retrain_months)),
        fallback_usd=None if falling is None else as_usd(falling),
        usd=None if total is None else as_usd(total),
        idle_share=1 - float(n) / (fleet.requests_per_second * 3600 * float(found.paid)) if found.paid else None,
    )


def hybrid_month(
    case: Case,
    requests: float,
    *,
    local_share: float,
    misrouted_share: float = 0.0,
    usd_per_misrouted: Decimal = NOTHING,
) -> Hybrid:
    """self(f·N) + managed((1−f)·N) + what wrongly routed requests cost. At 0 no replica runs, at 1 no API is paid."""
    n, f = exact(requests), exact(local_share)
    if not 0 <= f <= 1:
        raise CostError(f"{local_share} is no share of requests; 0 to 1 is meant")
    mine = self_hosted_month(case, f * n).usd if f > 0 else NOTHING
    # fallback traffic has paid the API's fixed part already
    api = (
        case.api
        if f == 0 or not case.fallback_share
        else Managed(case.api.usd_per_request, paid_twice=case.api.paid_twice)
    )
    theirs = managed_month(api, (1 - f) * n) if f < 1 else NOTHING
    router = as_usd(n * exact(misrouted_share) * exact(usd_per_misrouted)) if 0 < f < 1 else NOTHING
    total = None if mine is None or theirs is None else mine + theirs + router
    return Hybrid(local_share, mine, theirs, router, total)


def together(cases: Sequence[Case]) -> Case:
    """One fleet for several kinds of request that come equally often, in the settings of the first; at least one.

    A request takes a replica for 1/μ seconds, so of k kinds one replica answers k/Σ(1/μᵢ) a second; the API's price is the mean,
    None where one is not known, and is not split; of what is asked again each kind counts by its price.
    """
    known = [c.api.usd_per_request for c in cases if c.api.usd_per_request is not None]
    usd = sum(known, Decimal(0)) / len(known) if len(known) == len(cases) else None
    busy = sum(1 / c.fleet.requests_per_second for c in cases)
    first = cases[0]
    again = sum((exact(c.fallback_share) * exact(c.api.usd_per_request or 0) for c in cases), Fraction(0))
    return replace(
        first,
        fallback_share=float(again / exact(sum(known, Decimal(0)))) if usd else first.fallback_share,
        api=replace(first.api, usd_per_request=usd, output_share=None),
        fleet=replace(first.fleet, requests_per_second=len(cases) / busy if busy else math.inf),
    )


def owned_usd_per_hour(
    *, usd: Decimal, months: int, kilowatts: float, usd_per_kwh: Decimal, pue: float = 1.3
) -> Decimal:
    """An hour of owned hardware that always runs: price over its months of use, and electricity with the building's share (PUE)."""
    power = exact(kilowatts) * exact(pue) * exact(usd_per_kwh)
    return as_usd(exact(usd) / (months * HOURS_A_MONTH) + power)


def usd_per_1k_at_full_use(requests_per_second: float | None, *, usd_per_hour: Decimal) -> Decimal | None:
    """A thousand answers on a replica that never idles: a lower bound. None: capacity is not known."""
    if requests_per_second is None or not requests_per_second > 0:
        return None
    return as_usd(exact(usd_per_hour) * 1000 / (3600 * exact(requests_per_second)))


def capacity_of(busy_ms: float | None) -> float | None:
    """Requests a second from the hardware time an answer takes. No queue is in it, so it is an upper bound of μ."""
    return 1000 / busy_ms if busy_ms is not None and busy_ms > 0 else None


def exact(value: float | Decimal | Fraction) -> Fraction:
    """The number as it is written: 0.7 is 7/10, not the nearest binary fraction."""
    return Fraction(Decimal(repr(value))) if isinstance(value, float) else Fraction(value)


def as_usd(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)
