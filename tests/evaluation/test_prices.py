"""Prices: the published ones to the cent, dated, per request; a price that is missing is never 0."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import outlook, prices
from evaluation.cost import profile
from evaluation.prices import OwnPrices, Price, PriceError, PriceList, Rates, Tokens, mean_price, price_list

D = Decimal
AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
PLAIN, CACHED = Tokens(1000, 200), Tokens(1000, 200, cached=800)

# US dollars of a thousand requests of 1,000 tokens in and 200 out: now, with 80 % read from the cache, in a batch.
PUBLISHED = {
    ("openai", "gpt-6-luna"): ("0.20", "0.128", "0.10"),
    ("anthropic", "claude-haiku-5-5"): ("0.20", "0.128", "0.10"),
    ("groq", "llama-3.1-8b-instant"): ("0.066", None, None),
    ("together", "Qwen/Qwen3.5-9B"): ("0.22", None, None),
    ("openai", "gpt-4o-mini"): ("0.27", "0.21", "0.135"),
    ("deepseek", "deepseek-flash"): ("0.27", "0.15", "0.27"),
    ("mistral", "mistral-small-latest"): ("0.27", "0.16", "0.135"),
    ("google", "gemini-3.8-flash"): ("1.50", "0.96", "0.75"),
    ("openai", "gpt-6.1-terra"): ("2.00", "1.24", "1.00"),
    ("anthropic", "claude-haiku-4-5"): ("2.00", "1.28", "1.00"),
    ("openai", "gpt-6.1-sol"): ("4.00", "2.48", "2.00"),
    ("anthropic", "claude-sonnet-5-5"): ("4.00", "2.48", "2.00"),
    ("google", "gemini-4-argon"): ("4.00", "2.48", "2.00"),
    ("anthropic", "claude-opus-5-5"): ("8.00", "4.96", "4.00"),
    ("openai", "gpt-6-astra"): ("20.00", "12.80", "10.00"),
}


@pytest.mark.parametrize(("provider", "model"), PUBLISHED)
def test_the_published_prices_of_a_thousand_requests(provider: str, model: str) -> None:
    book = price_list(provider, model, AT)
    found = (book.price(PLAIN), book.price(CACHED), book.price(PLAIN, batch=True))
    for price, told in zip(found, PUBLISHED[provider, model], strict=True):
        assert price is not None
        if told is not None:
            digits = len(told.split(".")[1])
            assert f"{price.usd * 1000:.{digits}f}" == told


def test_a_batch_is_cheaper_and_cache_writes_are_dearer() -> None:
    book = price_list("openai", "gpt-6-luna", AT)
    now, later, written = (book.price(PLAIN), book.price(PLAIN, batch=True), book.price(Tokens(1000, 200, 0, 500)))
    assert now is not None
    assert later is not None
    assert written is not None
    assert later.usd * 2 == now.usd
    assert written.usd == D("0.0002125")  # 500 · 0.10 + 500 · 0.125 + 200 · 0.50, a million


def test_long_prompts_cost_more_and_so_each_request_is_priced_by_itself() -> None:
    book = price_list("openai", "gpt-6-luna", AT)
    many, one = mean_price(book, [PLAIN] * 1000), book.price(Tokens(1_000_000, 200_000))
    assert many is not None
    assert one is not None
    assert many.usd * 1000 == D("0.2")
    assert one.usd == D("0.35")  # twice the input price, one and a half times the output price


@pytest.mark.parametrize(
    ("provider", "model", "told"),
    [
        ("openai", "no-such-model", "knows no price of openai/no-such-model"),
        ("github-copilot", "gpt-4.1", "lists github-copilot/gpt-4.1, but knows no price of its input tokens"),
        ("azure", "text-embedding-3-small", "knows no price of its output tokens"),
    ],
)
def test_a_missing_price_is_an_error_and_not_nothing(provider: str, model: str, told: str) -> None:
    """The list itself prices the second at 0, without a word."""
    with pytest.raises(PriceError, match=told):
        price_list(provider, model, AT)


def test_nothing_is_priced_where_nothing_is_named() -> None:
    book = price_list(None, None)
    assert book.price(PLAIN) is None
    assert book.usd(SimpleNamespace(prompt_tokens=1, completion_tokens=1)) is None
    assert mean_price(book, [PLAIN]) is None
    assert mean_price(price_list("openai", "gpt-6-luna", AT), []) is None
    assert (book.verified(), book.changes()) == (None, [])


def test_what_a_server_reports_is_priced_with_its_cache() -> None:
    details = SimpleNamespace(cached_tokens=800, cache_write_tokens=None)
    usage = SimpleNamespace(prompt_tokens=1000, completion_tokens=200, prompt_tokens_details=details)
    assert price_list("openai", "gpt-6-luna", AT).usd(usage) == D("0.000128")


def test_a_price_has_its_day() -> None:
    """gpt-5.6-luna went from 1.00/6.00 to 0.20/1.20 a million tokens on 2026-07-30; gemini-3.8-flash doubles on 2027-01-01."""
    before, after = (
        PriceList("openai", "gpt-5.6-luna", datetime(2026, 7, d, 12, tzinfo=UTC)).price(PLAIN) for d in (29, 30)
    )
    assert before is not None
    assert after is not None
    assert (before.usd, after.usd) == (D("0.0022"), D("0.00044"))
    announced = price_list("google", "gemini-3.8-flash", AT).changes()
    assert [c["from"] for c in announced] == ["2027-01-01"]
    assert [D(announced[0][k]) for k in ("input", "output")] == [D("1.5"), D("7.5")]


def test_the_age_of_a_list_price_is_counted_from_its_verification() -> None:
    luna = price_list("openai", "gpt-6-luna", AT)
    assert luna.verified() == date(2026, 10, 14)
    assert PriceList("openai", "gpt-6-luna", datetime(2026, 10, 13, tzinfo=UTC)).verified() == date(2026, 10, 12)
    unsaid = price_list("groq", "llama-3.1-8b-instant", AT).verified()
    assert unsaid is not None  # the newest of the whole list
    assert date(2026, 10, 14) <= unsaid <= AT.date()
    assert luna.describe()["verified"] == "2026-10-14"


@pytest.mark.parametrize(
    ("when", "told"),
    [
        (date(2026, 10, 14), None),
        (date(2026, 8, 3), None),  # 90 days
        (date(2026, 8, 2), "L4: the price was verified on 2026-08-02, 91 days ago; more than 90. Read it again."),
        (None, "L4: nobody says when this price was verified."),
    ],
)
def test_a_stale_price_is_told(when: date | None, told: str | None) -> None:
    assert prices.stale("L4", when, today=date(2026, 11, 1), max_age_days=90) == told


# Own prices: 2 in, 10 out, 0.50 cached, 2.50 cache writes a million; twice in and 1.5 times out above 200,000 tokens.
OWN = OwnPrices(
    Rates(D(2), D(10), D("0.5"), D("2.5")), "contract", date(2026, 11, 1), D("0.4"), Rates(D(4), D(15)), 200_000
)


@pytest.mark.parametrize(
    ("tokens", "batch", "usd"),
    [
        (Tokens(1000, 200), False, "0.004"),  # 1,000 · 2 + 200 · 10 = 4,000
        (Tokens(1000, 200, 800), False, "0.0028"),  # 200 · 2 + 800 · 0.5 + 2,000
        (Tokens(1000, 200, 600, 200), False, "0.0032"),  # 200 · 2 + 600 · 0.5 + 200 · 2.5 + 2,000
        (Tokens(1000, 200), True, "0.0016"),  # · 0.4
        (Tokens(200_000, 0), False, "0.4"),  # 200,000 · 2
        (Tokens(200_001, 0), False, "0.800004"),  # all of them at 4
        (Tokens(300_000, 1000, 100_000), False, "1.215"),  # 300,000 · 4 (no cache price there) + 1,000 · 15
        (Tokens(0, 0), False, "0"),
    ],
)
def test_own_prices_by_hand(tokens: Tokens, batch: bool, usd: str) -> None:
    assert OWN.price(tokens, batch=batch).usd == D(usd)


def test_declared_shares_of_cache_and_batch_by_hand() -> None:
    # 80 % cached: 0.0028 now, 0.00112 in a batch; a quarter of them there: 0.75 · 0.0028 + 0.25 · 0.00112
    found = mean_price(OWN, [Tokens(1000, 200)], cached_share=0.8, batch_share=0.25)
    assert found == Price(D("0.00068"), D("0.0017"))
    assert found.usd == D("0.00238")
    # half of the prompt written, 800 read: 200 are left to write. 800 · 0.5 + 200 · 2.5
    assert mean_price(OWN, [Tokens(1000, 0, 800)], cache_write_share=0.5) == Price(D("0.0009"), D(0))
    # what a request says of its cache counts where nothing is declared
    assert mean_price(OWN, [Tokens(1000, 200, 800), Tokens(1000, 200)]) == Price(D("0.0014"), D("0.002"))


tokens = st.builds(lambda fresh, cached, out: Tokens(fresh + cached, out, cached), *[st.integers(0, 300_000)] * 3)


@settings(deadline=None, max_examples=60)
@given(a=tokens, more=st.integers(0, 10_000), share=st.floats(0, 1), own=st.booleans())
def test_a_price_grows_with_tokens_and_falls_with_batches(a: Tokens, more: int, share: float, own: bool) -> None:
    book: PriceList | OwnPrices = OWN if own else PriceList("openai", "gpt-6-luna", AT)
    longer = Tokens(a.input + more, a.output + more, a.cached, a.cache_write)
    found = [mean_price(book, [t], batch_share=b) for t, b in ((a, 0.0), (longer, 0.0), (a, share))]
    assert all(p is not None for p in found)
    now, grown, batched = (p.usd for p in found if p is not None)
    assert now <= grown
    assert batched <= now


def test_the_outlook_names_what_its_break_even_needs() -> None:
    """A scan knows no capacity: it says which rate the GPU must then carry in the busiest hour."""
    luna = [("openai", "gpt-6-luna")]
    (bill,) = outlook.bills(1000, 200, 30_000, models=luna, gpus=[("L4", D("0.78"))], at=AT)
    assert bill.break_even == {"L4": 5_694_000}  # 2 · 0.78 · 730 / 0.0002
    assert bill.needed["L4"] == pytest.approx(2.1667, abs=1e-4)  # 5,694,000 / 2,628,000
    assert bill.verified == "2026-10-14"
    (peaky,) = outlook.bills(
        1000, 200, 0, models=luna, gpus=[("L4", D("0.78"))], arrivals=profile([1] * 42 + [0] * 126), at=AT
    )
    assert peaky.break_even == bill.break_even
    assert peaky.needed["L4"] == pytest.approx(4 * bill.needed["L4"])
    assert peaky.usd_per_month == 0
    (unknown,) = outlook.bills(1000, 200, None, models=luna, at=AT)
    assert unknown.usd_per_month is None
