"""What a request costs, from genai-prices' dated list or from prices the user gives, one request at a time.

A sum of requests would hit the long-prompt tier. Two traps of the list: a model without prices costs 0 there (205 of 2,330 in
0.2.3), and batch is a price context, not a service tier. Here a price that is missing is an error or None, never 0.
The list carries no date of its own: its age is counted from the newest day on which it says a price was verified.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from typing import Any

from data_prep.records import UserError

MILLION = 1_000_000
VERIFIED = re.compile(r"(?:verified|checked|updated|as of)\D{0,24}(20\d\d-[01]\d-[0-3]\d)", re.IGNORECASE)


class PriceError(UserError):
    """No price is known for the model the recipe names."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """One request's. input holds cached and cache_write, output holds reasoning."""

    input: int
    output: int
    cached: int = 0
    cache_write: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """What one request's tokens cost."""

    input_usd: Decimal
    output_usd: Decimal

    @property
    def usd(self) -> Decimal:
        return self.input_usd + self.output_usd


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars a million tokens. cached, cache_write None: the input's rate."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_write: Decimal | None = None

    def __str__(self) -> str:
        named = {"in": self.input, "out": self.output, "cached": self.cached, "written to the cache": self.cache_write}
        return ", ".join(f"{rate} {name}" for name, rate in named.items() if rate is not None)


@dataclass(frozen=True, slots=True)
class OwnPrices:
    """Prices that the user gives: a contract's, or a provider's that no list has.

    long: rates of every token of a prompt with more than long_above tokens. batch_factor: price in a batch over the price now.
    """

    rates: Rates
    source: str
    date: date
    batch_factor: Decimal = Decimal("0.5")
    long: Rates | None = None
    long_above: int = 0
    batch: bool = False  # what `usd` tells is a batch's price

    @property
    def is_known(self) -> bool:
        return True

    def usd(self, usage: Any) -> Decimal:
        """Price of one request from its usage (OpenAI's chat completion shape)."""
        return self.price(_asked(usage), batch=self.batch).usd

    def price(self, tokens: Tokens, *, batch: bool = False) -> Price:
        """[(T_in − T_cached − T_cw)·p_in + T_cached·p_cached + T_cw·p_cw + T_out·p_out]/10⁶."""
        r = self.long if self.long is not None and tokens.input > self.long_above else self.rates
        fresh = tokens.input - tokens.cached - tokens.cache_write
        factor = self.batch_factor if batch else Decimal(1)
        incoming = (
            fresh * r.input + tokens.cached * _or(r.cached, r.input) + tokens.cache_write * _or(r.cache_write, r.input)
        )
        return Price(incoming * factor / MILLION, tokens.output * r.output * factor / MILLION)

    def describe(self) -> dict[str, str | None]:
        when = self.date.isoformat()
        rates = f"{self.rates} USD a million tokens"
        if self.long is not None:
            rates += f", {self.long} above {self.long_above} prompt tokens"
        return {
            "provider": "your prices",
            "model": None,
            "as_of": when,
            "verified": when,
            "source": self.source,
            "rates": f"{rates}, in a batch × {self.batch_factor}",
            **({"processing": "batch"} if self.batch else {}),
        }


def _asked(usage: Any) -> Tokens:
    details = getattr(usage, "prompt_tokens_details", None)
    cached, written = (getattr(details, f"{n}_tokens", None) or 0 for n in ("cached", "cache_write"))
    return Tokens(usage.prompt_tokens, usage.completion_tokens, cached, written)


def _or(rate: Decimal | None, otherwise: Decimal) -> Decimal:
    return otherwise if rate is None else rate


@dataclass(frozen=True, slots=True)
class PriceList:
    """The list price of one model at one moment. provider None: nothing is priced. batch: what `usd` tells is a batch's price."""

    provider: str | None
    model: str | None
    at: datetime
    batch: bool = False

    @property
    def is_known(self) -> bool:
        return self.provider is not None

    def usd(self, usage: Any) -> Decimal | None:
        """Price of one request from its usage (OpenAI's chat completion shape); None where nothing is priced."""
        found = self.price(_asked(usage), batch=self.batch)
        return None if found is None else found.usd

    def price(self, tokens: Tokens, *, batch: bool = False) -> Price | None:
        """The price of one request. None where nothing is priced. Raises PriceError where the list has no price."""
        if self.provider is None or self.model is None:
            return None
        from genai_prices import Usage, calc_price

        priced = Usage(
            input_tokens=tokens.input, cache_read_tokens=tokens.cached, cache_write_tokens=tokens.cache_write,
            output_tokens=tokens.output,
        )  # fmt: skip
        try:
            found = calc_price(
                priced, model_ref=self.model, provider_id=self.provider, genai_request_timestamp=self.at,
                price_context={"processing": "batch"} if batch else None,
            )  # fmt: skip
        except LookupError as e:
            raise self._unknown(f"knows no price of {self.provider}/{self.model} ({e})") from e
        for kind, rate in (("input", found.model_price.input_mtok), ("output", found.model_price.output_mtok)):
            if rate is None and getattr(tokens, kind):
                raise self._unknown(f"lists {self.provider}/{self.model}, but knows no price of its {kind} tokens")
        return Price(Decimal(found.input_price), Decimal(found.output_price))

    def _unknown(self, what: str) -> PriceError:
        return PriceError(
            f"evaluation.api.price_as: genai-prices {version()} {what}."
            " Correct the ids, or set your own prices: `price` beside price_as, instead of it."
        )

    def verified(self) -> date | None:
        """The newest day up to `at` on which the list says that this model's prices were verified; without one, any model's."""
        return _verified(self.provider, self.model, self.at.date()) if self.provider and self.model else None

    def changes(self) -> list[dict[str, str]]:
        """Days on which the list changes this model's price, past and announced, with the rates from then on."""
        if self.provider is None or self.model is None:
            return []
        from genai_prices.data_snapshot import get_snapshot
        from genai_prices.types import StartDateConstraint

        _, model = get_snapshot().find_provider_model(self.model, None, self.provider, None)
        if not isinstance(model.prices, list):
            return []
        starts = {p.constraint.start_date for p in model.prices if isinstance(p.constraint, StartDateConstraint)}
        found = []
        for day in sorted(starts):
            then = PriceList(self.provider, self.model, datetime.combine(day, time(12), UTC))
            each = [then.price(Tokens(SHORT_PROMPT, 0)), then.price(Tokens(0, SHORT_PROMPT))]
            rates = [str(p.usd * MILLION / SHORT_PROMPT) for p in each if p is not None]
            found.append({"from": day.isoformat(), "input": rates[0], "output": rates[1]})
        return found

    def describe(self) -> dict[str, str | None]:
        verified = self.verified()
        return {
            "provider": self.provider,
            "model": self.model,
            "as_of": self.at.date().isoformat(),
            "verified": verified.isoformat() if verified else None,
            "source": f"genai-prices {version()}",
            **({"processing": "batch"} if self.batch else {}),
        }


Book = PriceList | OwnPrices
SHORT_PROMPT = 1000  # tokens that ask for a rate without reaching a long-prompt tier


@cache
def _verified(provider: str, model: str, today: date) -> date | None:
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    _, found = snapshot.find_provider_model(model, None, provider, None)
    every = (m.price_comments for p in snapshot.providers for m in p.models)
    return _newest([found.price_comments], today) or _newest(every, today)


def _newest(comments: Iterable[str | None], today: date) -> date | None:
    days = (date.fromisoformat(d) for text in comments if text for d in VERIFIED.findall(text))
    return max((d for d in days if d <= today), default=None)


def version() -> str:
    return importlib.metadata.version("genai-prices")


def price_list(
    provider: str | None, model: str | None, at: datetime | None = None, *, batch: bool = False
) -> PriceList:
    """The list, checked with one token so that a wrong name is found before anything is asked."""
    found = PriceList(provider, model, at or datetime.now(UTC), batch)
    found.price(Tokens(1, 1))
    return found


def mean_price(
    book: Book,
    requests: Sequence[Tokens],
    *,
    cached_share: float | None = None,
    cache_write_share: float = 0.0,
    batch_share: float = 0.0,
) -> Price | None:
    """The mean price of these requests, each priced by itself: (1 − β)·now + β·batch. None: none is priced.

    cached_share: share of prompt tokens that a cache will serve; None takes what each request says, as 0 does for the writes.
    """
    found = []
    for asked in requests:
        cached = asked.cached if cached_share is None else round(asked.input * cached_share)
        written = round(asked.input * cache_write_share) if cache_write_share else asked.cache_write
        tokens = Tokens(asked.input, asked.output, cached, min(written, asked.input - cached))
        now = book.price(tokens)
        later = book.price(tokens, batch=True) if batch_share else now
        if now is None or later is None:
            return None
        b = Decimal(repr(float(batch_share)))
        mixed = ((1 - b) * now.input_usd + b * later.input_usd, (1 - b) * now.output_usd + b * later.output_usd)
        found.append(Price(*mixed))
    if not found:
        return None
    n = len(found)
    return Price(sum((p.input_usd for p in found), Decimal(0)) / n, sum((p.output_usd for p in found), Decimal(0)) / n)


def stale(what: str, when: date | None, *, today: date, max_age_days: int) -> str | None:
    """A sentence where a price is older than allowed, or of unknown age; None where it is fresh."""
    if when is None:
        return f"{what}: nobody says when this price was verified."
    age = (today - when).days
    if age <= max_age_days:
        return None
    return f"{what}: the price was verified on {when.isoformat()}, {age} days ago; more than {max_age_days}. Read it again."
