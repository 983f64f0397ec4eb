"""Where self-hosting costs no more than the API: every interval of monthly volumes, exactly, at the steps of the staircase.

Between two steps both bills are straight lines, so each stretch is solved by itself and nothing is sampled. One number, fixed cost
over price, is wrong as soon as a second replica is needed: the answer can be cheaper, dearer and cheaper again.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from evaluation import cost
from evaluation.cost import Case, CostError, Hours

MOST_STRETCHES = 50_000


@dataclass(frozen=True, slots=True)
class Interval:
    """Monthly requests, both ends included, at which self-hosting costs no more. open: the searched range ends, not the interval."""

    low: int
    high: int
    open: bool


@dataclass(frozen=True, slots=True)
class Point:
    """A corner of the staircase, for a chart."""

    requests: int
    self_hosted_usd: Decimal
    api_usd: Decimal
    replicas: int


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Monthly requests first … last, in which the paid hours do not change."""

    first: int
    last: int
    hours: Hours


def intervals(case: Case, *, low: int = 1, high: int) -> list[Interval] | None:
    """All intervals within [low, high], ascending; empty: never. None: the API has no price. Raises CostError past 50,000 steps."""
    lines = _lines(case)
    if lines is None:
        return None
    found: list[Interval] = []
    for stretch in _stretches(case, low, high):
        ends = _cheaper(stretch, lines)
        if ends is None:
            continue
        first, last = ends
        if found and found[-1].high + 1 == first:
            first = found.pop().low
        found.append(Interval(first, last, last == high))
    return found


def staircase(case: Case, *, low: int = 0, high: int, most: int = 120) -> list[Point]:
    """Both bills at the ends of each stretch; of more than `most` points every k-th stretch. Empty: the API has no price."""
    lines = _lines(case)
    if lines is None:
        return []
    stretches = list(_stretches(case, low, high))
    every = math.ceil(2 * len(stretches) / most)
    shown = stretches[::every] if stretches[-1] in stretches[::every] else [*stretches[::every], stretches[-1]]
    return [_point(s, n, lines) for s in shown for n in dict.fromkeys((s.first, s.last))]


def widest_range(case: Case, wanted: int) -> int:
    """The largest volume up to `wanted` whose staircase has at most MOST_STRETCHES steps."""
    steps = _steps_per_request(case)
    return min(wanted, math.floor(MOST_STRETCHES / steps)) if steps else wanted


@dataclass(frozen=True, slots=True)
class _Lines:
    standing: Fraction  # self-hosted, besides hardware
    hour: Fraction  # a replica's hour
    fallback: Fraction  # self-hosted, a request
    fixed: Fraction  # API, a month
    request: Fraction  # API, a request


def in_words(found: Sequence[Mapping[str, Any]], searched_to: int) -> str:
    """Stored intervals (low, high, open) as a sentence; of more than four the first three and the last."""
    if not found:
        return f"Up to {searched_to:,} requests a month self-hosting never costs less."
    shown = found if len(found) <= 4 else [*found[:3], found[-1]]
    parts = [f"from {i['low']:,} on" if i["open"] else f"from {i['low']:,} to {i['high']:,}" for i in shown]
    left = f" and in {len(found) - 4} more intervals" if len(found) > 4 else ""
    return f"Self-hosting costs no more {' and '.join(parts)} requests a month{left} (searched up to {searched_to:,})."


def _lines(case: Case) -> _Lines | None:
    price, back = cost.marginal_usd(case.api), cost.fallback_usd(case)
    if price is None or back is None:
        return None
    standing = cost.standing_usd(case.upkeep) + back[0]
    return _Lines(standing, Fraction(case.fleet.usd_per_hour), back[1], Fraction(case.api.fixed_usd_per_month), price)


def _cheaper(s: _Stretch, lines: _Lines) -> tuple[int, int] | None:
    """The part of a stretch where A + b·N ≤ F + p·N."""
    ahead = lines.standing + s.hours.paid * lines.hour - lines.fixed  # what self-hosting pays before the first request
    gain = lines.request - lines.fallback
    if gain == 0:
        return (s.first, s.last) if ahead <= 0 else None
    first = max(s.first, math.ceil(ahead / gain)) if gain > 0 else s.first
    last = min(s.last, math.floor(ahead / gain)) if gain < 0 else s.last
    return (first, last) if first <= last else None


def _point(s: _Stretch, n: int, lines: _Lines) -> Point:
    mine = lines.standing + s.hours.paid * lines.hour + n * lines.fallback
    theirs = lines.fixed + n * lines.request
    return Point(n, cost.as_usd(mine), cost.as_usd(theirs), s.hours.peak)


def _weights(case: Case) -> dict[int, list[int]]:
    """Weight → hours of the week that have it; reserved replicas only follow the busiest."""
    found: dict[int, list[int]] = {}
    for hour, weight in enumerate(case.profile.weights):
        found.setdefault(weight, []).append(hour)
    return found if case.fleet.autoscaled else {max(found): found[max(found)]}


def _steps_per_request(case: Case) -> Fraction:
    return sum(_weights(case)) * cost.load_per_weight(case.fleet, case.profile)


def _stretches(case: Case, low: int, high: int) -> Iterator[_Stretch]:
    """[low, high] cut where any hour of the week needs one more replica."""
    fleet, load = case.fleet, cost.load_per_weight(case.fleet, case.profile)
    if (high - low) * _steps_per_request(case) > MOST_STRETCHES:
        raise CostError(
            f"between {low:,} and {high:,} requests a month the staircase has more than {MOST_STRETCHES:,} steps:"
            f" one replica answers {fleet.requests_per_second:.3g} requests a second. Search a smaller range."
        )
    week = cost.replicas_by_hour(fleet, case.profile, low)
    weights = _weights(case)
    # the volumes up to which each weight's hours keep their replicas
    upcoming = [(_holds_until(week[hs[0]] - fleet.spare, w, load), w) for w, hs in weights.items() if w * load]
    heapq.heapify(upcoming)
    total, started, first = sum(week), cost.scale_ups(week), low
    edges = {w: sorted({e for h in hs for e in (h, (h + 1) % len(week))}) for w, hs in weights.items()}
    while first <= high:
        last = min(high, upcoming[0][0]) if upcoming else high
        yield _Stretch(first, last, cost.hours(fleet, max(week[h] for h in weights[max(weights)]), total, started))
        while upcoming and upcoming[0][0] == last:
            weight = heapq.heappop(upcoming)[1]
            before = _rises(week, edges[weight])
            for hour in weights[weight]:
                week[hour] += 1
            total += len(weights[weight])
            started += _rises(week, edges[weight]) - before
            until = _holds_until(week[weights[weight][0]] - fleet.spare, weight, load)
            heapq.heappush(upcoming, (until, weight))
        first = last + 1


def _holds_until(replicas: int, weight: int, load: Fraction) -> int:
    """The largest N with ⌈N·weight·load⌉ ≤ replicas."""
    return math.floor(replicas / (weight * load))


def _rises(week: list[int], edges: list[int]) -> int:
    return sum(max(0, week[e] - week[e - 1]) for e in edges)
