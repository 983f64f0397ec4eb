"""What a request costs, from genai-prices' dated list, one request at a time (a sum would hit the long-prompt tier)."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from data_prep.records import UserError


class PriceError(UserError):
    """No list price is known for the model the recipe names."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """The price of one model at one moment. provider None: nothing is priced."""

    provider: str | None
    model: str | None
    at: datetime

    def usd(self, usage: Any) -> Decimal | None:
        """Price of one request from its usage (OpenAI's chat completion shape); None where nothing is priced."""
        if self.provider is None or self.model is None:
            return None
        from genai_prices import Usage, calc_price

        details = getattr(usage, "prompt_tokens_details", None)
        cached = getattr(details, "cached_tokens", None) or 0
        priced = Usage(
            input_tokens=usage.prompt_tokens, cache_read_tokens=cached, output_tokens=usage.completion_tokens
        )
        try:
            price = calc_price(priced, model_ref=self.model, provider_id=self.provider, genai_request_timestamp=self.at)
        except LookupError as e:
            raise PriceError(
                f"evaluation.api.price_as: genai-prices {version()} knows no price of {self.provider}/{self.model} ({e})."
                " Correct the ids, or leave price_as out and the arm is not priced."
            ) from e
        return Decimal(price.total_price)

    def describe(self) -> dict[str, str | None]:
        return {
            "provider": self.provider,
            "model": self.model,
            "as_of": self.at.date().isoformat(),
            "source": f"genai-prices {version()}",
        }


def version() -> str:
    return importlib.metadata.version("genai-prices")


def price_list(provider: str | None, model: str | None, at: datetime | None = None) -> PriceList:
    """The list, checked with one token so that a wrong name is found before anything is asked."""
    found = PriceList(provider, model, at or datetime.now(UTC))
    if provider is not None:
        from types import SimpleNamespace

        found.usd(SimpleNamespace(prompt_tokens=1, completion_tokens=1))
    return found
