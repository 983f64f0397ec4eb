"""What traffic that is only surveyed would cost at an API, from where on own hardware is cheaper, and how many items prove it.

Before anything is measured these are bounds to plan with: tokens are estimated, and one replica is taken to carry the load.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from scipy import stats

from evaluation import break_even, cost
from evaluation.prices import Tokens, price_list
from evaluation.statistics import FEW_ITEMS, gate_alpha

# Three tiers of today's list, cheapest first; `freehold scan --price-as` names others.
MODELS = (("openai", "gpt-6-luna"), ("openai", "gpt-6.1-terra"), ("openai", "gpt-6.1-sol"))
# US dollars an hour of one GPU, on demand, list prices read in 2026-11: the cheapest L4 and an H100. They spread by 3 to 5
# times between clouds, so a decision needs your own price; `freehold scan --gpu-usd-per-hour` takes it.
GPUS = (("L4", Decimal("0.78")), ("H100", Decimal("2.95")))
REPLICAS = 2  # one of them may fail
LARGEST = 10**12  # requests a month


@dataclass(frozen=True, slots=True)
class Bill:
    """One model's bill for this traffic.

    break_even: GPU → monthly requests from which REPLICAS of it cost no more, should they carry the load; a GPU is missing where
    they never do. needed: GPU → requests a second that one of them must then answer in the busiest hour, one held in reserve.
    """

    provider: str
    model: str
    usd_per_1k: Decimal
    usd_per_month: Decimal | None
    break_even: dict[str, int]
    needed: dict[str, float]
    verified: str | None  # newest day on which the list says the price was verified


def bills(
    prompt_tokens: float,
    completion_tokens: float,
    monthly_requests: float | None,
    *,
    models: Sequence[tuple[str, str]] = MODELS,
    gpus: Sequence[tuple[str, Decimal]] = GPUS,
    arrivals: cost.Profile = cost.FLAT,
    at: datetime,
) -> list[Bill]:
    """Bills of requests with these mean tokens. Raises PriceError for a model that the price list does not know."""
    found = []
    tokens = Tokens(round(prompt_tokens), round(completion_tokens))
    for provider, model in models:
        book = price_list(provider, model, at)
        price = book.price(tokens)
        assert price is not None
        api = cost.Managed(price.usd)
        even = {name: low for name, usd in gpus if (low := _break_even(api, usd)) is not None}
        needed = {name: _busiest(arrivals, n) for name, n in even.items()}
        month = cost.managed_month(api, monthly_requests) if monthly_requests is not None else None
        found.append(Bill(provider, model, price.usd * 1000, month, even, needed, book.describe()["verified"]))
    return found


def _break_even(api: cost.Managed, usd_per_hour: Decimal) -> int | None:
    """The first volume at which REPLICAS that nothing overloads cost no more; None: no volume does."""
    fleet = cost.Fleet(usd_per_hour, math.inf, spare=REPLICAS - 1)
    found = break_even.intervals(cost.Case(api, fleet), high=LARGEST)
    return found[0].low if found else None


def _busiest(arrivals: cost.Profile, monthly_requests: int) -> float:
    """Requests a second and replica in the busiest hour of the week, of the replicas that one may fail of."""
    return monthly_requests / (cost.HOURS_A_MONTH * 3600) * arrivals.peak_over_mean / (REPLICAS - 1)


def items_needed(
    quality: float,
    *,
    correlation: float,
    ratio: float = 0.9,
    alpha: float = 0.05,
    power: float = 0.8,
    design_effect: float = 1.0,
) -> int:
    """Test items with which the ratio non-inferiority test on a yes/no score passes, if both arms are equally good.

    n = ((z₁₋α + z₁₋β)·sd(e)/E[e])²·design effect with e = c − ρ₀·b; for equal qualities q and correlation r between the
    arms E[e] = q(1−ρ₀) and Var(e) = q(1−q)(1 + ρ₀² − 2ρ₀r). α is the gate's: stricter for few items, so that the first n that is
    enough at its own α is the answer.
    """
    variance = quality * (1 - quality) * (1 + ratio * ratio - 2 * ratio * correlation)

    def needed(at: float) -> int:
        z = float(stats.norm.ppf(1 - at) + stats.norm.ppf(power))
        return math.ceil((z / (quality * (1 - ratio))) ** 2 * variance * design_effect)

    few = needed(gate_alpha(alpha, 0))
    return few if few < FEW_ITEMS else max(FEW_ITEMS, needed(alpha))


def design_effect(cluster_sizes: Mapping[int, int], *, within: float) -> float:
    """How much the variance of a mean grows by clusters of these sizes (size → clusters), whose items correlate by `within`.

    Kish (1965): 1 + (m̄ − 1)·ICC with m̄ = Σm²/Σm, the size that an item's cluster has on average. 1 without clusters.
    """
    items = sum(size * n for size, n in cluster_sizes.items())
    return 1 + (sum(size**2 * n for size, n in cluster_sizes.items()) / items - 1) * within if items else 1.0
