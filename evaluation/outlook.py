"""What traffic that is only surveyed would cost at an API, from where on own hardware is cheaper, and how many items prove it.

Before anything is measured these are bounds to plan with: tokens are estimated, and one replica is taken to carry the load.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace

from scipy import stats

from evaluation.cost import HOURS_A_MONTH
from evaluation.prices import price_list

# Three tiers of today's list, cheapest first; `freehold scan --price-as` names others.
MODELS = (("openai", "gpt-6-luna"), ("openai", "gpt-6.1-terra"), ("openai", "gpt-6.1-sol"))
# US dollars an hour of one GPU, on demand, list prices read in 2026-11: the cheapest L4 and an H100. They spread by 3 to 5
# times between clouds, so a decision needs your own price; `freehold scan --gpu-usd-per-hour` takes it.
GPUS = (("L4", Decimal("0.78")), ("H100", Decimal("2.95")))
REPLICAS = 2  # one more than one may fail


@dataclass(frozen=True, slots=True)
class Bill:
    """One model's bill for this traffic. break_even: monthly requests from which REPLICAS of each GPU cost no more."""

    provider: str
    model: str
    usd_per_1k: Decimal
    usd_per_month: Decimal | None
    break_even: dict[str, int]


def bills(
    prompt_tokens: float,
    completion_tokens: float,
    monthly_requests: float | None,
    *,
    models: Sequence[tuple[str, str]] = MODELS,
    gpus: Sequence[tuple[str, Decimal]] = GPUS,
    at: datetime,
) -> list[Bill]:
    """Bills of requests with these mean tokens. Raises PriceError for a model that the price list does not know."""
    found = []
    usage = SimpleNamespace(prompt_tokens=round(prompt_tokens), completion_tokens=round(completion_tokens))
    for provider, model in models:
        usd = price_list(provider, model, at).usd(usage)
        assert usd is not None
        even = {n: math.ceil(REPLICAS * p * HOURS_A_MONTH / usd) for n, p in gpus if usd > 0}
        month = usd * Decimal(str(monthly_requests)) if monthly_requests is not None else None
        found.append(Bill(provider, model, usd * 1000, month, even))
    return found


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
    arms E[e] = q(1−ρ₀) and Var(e) = q(1−q)(1 + ρ₀² − 2ρ₀r). The design effect is 1 + (m−1)·ICC for m items a customer.
    """
    z = float(stats.norm.ppf(1 - alpha) + stats.norm.ppf(power))
    variance = quality * (1 - quality) * (1 + ratio * ratio - 2 * ratio * correlation)
    return math.ceil((z / (quality * (1 - ratio))) ** 2 * variance * design_effect)
