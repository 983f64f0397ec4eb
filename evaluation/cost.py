"""What each arm costs, from measured tokens and times, the dated price list and the recipe's hardware price.

Self-hosted, reserved hardware: replicas = ⌈requests/s ÷ (0.7 · capacity)⌉, at least one, 730 hours a month. Capacity is
what this evaluation measured on this machine, one replica; another machine needs its own measurement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

HOURS_A_MONTH = 730  # 365 · 24 / 12
HEADROOM = 0.7  # share of a replica's capacity that is planned for


@dataclass(frozen=True, slots=True)
class Cost:
    """usd_per_1k at full use of the hardware; usd_per_month with idle hours included. None: not known."""

    usd_per_1k: Decimal | None
    usd_per_month: Decimal | None
    replicas: int | None
    basis: str


def managed(usd_per_request: Decimal | None, *, monthly_requests: int) -> Cost:
    """Pay per request."""
    if usd_per_request is None:
        return Cost(None, None, None, "no list price: set evaluation.api.price_as")
    return Cost(usd_per_request * 1000, usd_per_request * monthly_requests, None, "list price × measured tokens")


def self_hosted(busy_ms: float | None, *, usd_per_hour: Decimal, monthly_requests: int) -> Cost:
    """Reserved hardware. busy_ms: hardware time an answer takes, as measured."""
    if busy_ms is None or busy_ms <= 0:
        return Cost(None, None, None, "no answer was measured")
    capacity = 1000 / busy_ms  # requests a second and replica
    demand = monthly_requests / (HOURS_A_MONTH * 3600)
    replicas = max(1, math.ceil(demand / (HEADROOM * capacity)))
    per_1k = usd_per_hour * Decimal(str(busy_ms)) / 3600  # busy_ms/1000 s × 1000 requests ÷ 3600 s/h
    return Cost(
        per_1k,
        usd_per_hour * HOURS_A_MONTH * replicas,
        replicas,
        "measured time × hardware price, idle hours in the month",
    )


def break_even_requests(usd_per_request: Decimal | None, hosted: Cost) -> int | None:
    """Monthly requests from which this many replicas cost no more than the API. None where a price is missing."""
    if not usd_per_request or hosted.usd_per_month is None:
        return None
    return math.ceil(hosted.usd_per_month / usd_per_request)
