"""The built-in engine: what identifies somebody is found in the ways people write it, and what only looks like it stays."""

from __future__ import annotations

import base64
import itertools
from random import Random
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.pii import Found, _numbers, core, without_overlap
from data_prep.pii._numbers import IBAN_LENGTH, iban_valid, luhn
from data_prep.pii._view import views


def found(text: str) -> list[tuple[str, str]]:
    return [(p.kind, text[p.start : p.end]) for p in core.find(text)]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("phone", "They're not answering at 785 8949", "785 8949"),
        ("phone", "Phone:\n60-56-85-91\n\nE-mail:", "60-56-85-91"),
        ("phone", "call me at 0490 75 40 81 after six", "0490 75 40 81"),
        ("phone", "Mobile: 03.93.92.16.85", "03.93.92.16.85"),
        ("phone", "042 078 6381-office", "042 078 6381"),
        ("phone", "9885 1152 office\nsecond floor", "9885 1152"),
        ("phone", "877-547-3967x793 fax", "877-547-3967x793"),
        ("phone", "my number is 91 9003362924", "91 9003362924"),
        ("phone", "no messages to 699 956 915 please", "699 956 915"),
        ("account", "my account no 8766", "8766"),
        ("account", "ac no is 1013798420004321 and more", "1013798420004321"),
        ("account", "please transfer 2000 to 986865970", "986865970"),
        ("account", "89087397129734 this is my account number", "89087397129734"),
        ("number", "sure my name is mara and 56473241634410", "56473241634410"),
        ("number", "software 45698465", "45698465"),
        ("ssn", "ssn no 9932", "9932"),
        ("ssn", "it is 219-09-9999", "219-09-9999"),
        ("card", "Karte 4111-1111-1111-1111", "4111-1111-1111-1111"),
        ("card", "3714 496353 98431", "3714 496353 98431"),
        ("iban", "nl91 abna 0417 1643 00", "nl91 abna 0417 1643 00"),
        ("email", "write to mara(at)firm(dot)example", "mara(at)firm(dot)example"),
        ("ip", "from 2001:db8::8a2e:370:7334 only", "2001:db8::8a2e:370:7334"),
        ("mac", "the port 00-1B-44-11-3A-B7 is up", "00-1B-44-11-3A-B7"),
        ("secret", "name mara password 5791", "5791"),
        ("secret", "my password is blue 77", "blue 77"),
        ("address", "296 Kirkland Drive", "296 Kirkland Drive"),
        ("address", "it is 296 kirkland drive", "296 kirkland drive"),
        ("address", "1522 18 th street tampa", "1522 18 th street"),
        ("address", "165 maple lane northwood illinois 39838", "165 maple lane northwood illinois 39838"),
        ("address", "14 Harbour Road, Ballycarra, Co. Galway", "14 Harbour Road, Ballycarra, Co. Galway"),
        ("address", "Lindenstraße 12, 50667 Köln", "Lindenstraße 12, 50667 Köln"),
        ("birth_date", "born on 3 March 1981", "3 march 1981"),
        ("passport", "passport number is C01X00T47", "c01x00t47"),
    ],
)
def test_it_is_found_whole_under_its_kind(kind: str, text: str, value: str) -> None:
    assert (kind, value.casefold()) in [(k, v.casefold()) for k, v in found(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Windows 10.0.19045 home", "Office 2019 Home and Business", "build 20230215123456", "released 2023-01-15 12:20:39",
        "on 01.02.2023 at work", "order 12345678", "bug 1712345678", "invoice no 44705042 of today", "ticket 4111111111111112",
        "ISBN 9783161484100", "error 0x80004005", "it took 1234567 ms", "a 2 tb external drive", "my 500 gb hard drive",
        "5 steps on the road", "change the password 2 times", "the password is at least 12 characters", "your password for 127.0.0.1",
        "version 102.3.1.4", "listens on 127.0.0.1:8080", "the mask is 255.255.255.0", "call him back in 2024", "20230115",
        "12:30:45 and 13:45:10", "pay to GB82 WEST 1234 5698 7654 33 when the account of the shop is open again",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("4111 1111 1111 1112", {"card"}),  # four fours are a card although the check digit is wrong
        ("my card 1234 5678 9012", {"card"}),  # announced
        ("the log of the server holds 000-12-3456 since the last update of it", set()),  # an area that is never issued
        ("the log of the server holds 666-12-3456 since the last update of it", set()),
        ("the log of the server holds 123-00-4567 since the last update of it", set()),
        ("300.1.2.3", set()),
    ],
)
def test_a_value_that_is_not_well_formed_counts_only_where_something_else_tells(text: str, kinds: set[str]) -> None:
    assert {k for k, _ in found(text)} == kinds


def with_check_digit(number: str) -> str:
    return next(number + d for d in "0123456789" if luhn(number + d))


ISSUERS = [
    ("4", 16),
    ("4", 13),
    ("51", 16),
    ("2221", 16),
    ("34", 15),
    ("37", 15),
    ("6011", 16),
    ("3530", 16),
    ("62", 19),
]


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(ISSUERS),
    st.integers(0, 10**19),
    st.sampled_from(["{}", "card {} please", "({})", '"{}",', "\n{}\n"]),
)
def test_every_card_with_its_check_digit_is_found(issuer: tuple[str, int], rest: int, around: str) -> None:
    begin, length = issuer
    card = with_check_digit(begin + f"{rest:019d}"[: length - len(begin) - 1])
    assert card in [v for _, v in found(around.format(card))]


def test_checksums() -> None:
    assert luhn("5555555555554444")
    assert not luhn("5555555555554445")
    assert iban_valid("GB82WEST12345698765432")
    assert not iban_valid("GB82WEST12345698765433")


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(sorted(IBAN_LENGTH)), st.integers(0, 10**30), st.booleans())
def test_every_iban_that_its_check_digits_fit_is_found(country: str, rest: int, spaced: bool) -> None:
    basic = f"{rest:030d}"[: IBAN_LENGTH[country] - 4]
    check = 98 - int("".join(str(int(c, 36)) for c in f"{basic}{country}00")) % 97
    iban = f"{country}{check:02d}{basic}"
    assert iban_valid(iban)
    written = " ".join(iban[i : i + 4] for i in range(0, len(iban), 4)) if spaced else iban
    assert ("iban", written) in found(f"pay to {written}, thanks")


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet="ab1290 .-+()@:/\nßİé🙂", max_size=120))
def test_places_are_sorted_apart_and_inside_the_text(text: str) -> None:
    places = core.find(text)
    assert all(0 <= p.start < p.end <= len(text) for p in places)
    assert all(a.end <= b.start for a, b in itertools.pairwise(places))


def test_of_two_that_overlap_the_earlier_engine_stays() -> None:
    mine, other = Found("email", 5, 20), Found("person", 0, 8)
    assert without_overlap([mine], [other, Found("person", 21, 25)]) == [mine, Found("person", 21, 25)]


@pytest.mark.parametrize(
    ("unit", "module", "name"), [("12345678\n", _numbers, "_is_card"), ("0 ", _numbers, "_is_card"), ("1:", core, "HEXADECIMAL")]
)  # fmt: skip
def test_twice_the_digits_are_twice_the_work(
    unit: str, module: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: the digit groups that are tried as a card, the characters that are looked at for an address."""
    real, work = getattr(module, name), 0

    class Counting:
        def __call__(self, text: str, lower: str, parts: list[tuple[int, int]]) -> bool:
            nonlocal work
            work += len(parts)
            return bool(real(text, lower, parts))

        def __contains__(self, character: str) -> bool:
            nonlocal work
            work += 1
            return character in real

    monkeypatch.setattr(module, name, Counting())
    core.find(unit * 100)
    once, work = work, 0
    core.find(unit * 200)
    assert 0 < work <= 2.2 * once


@pytest.mark.parametrize(
    "unit", ["1234567 ", "1", "1 ", "12-34-", "+49 ", "00 ", "1.2.", "@", "a@", "a@b.", "-", "::", "ab:", "4111 ", "DE89 3704 ",
             "%20", "&#1;", "=C3", "\\u0041", "a\u0301", "\u200b", "a at b dot ", "-----BEGIN PRIVATE KEY-----", "base64"],
)  # fmt: skip
def test_twenty_kilobytes_of_one_kind_take_no_time(unit: str) -> None:
    text = base64.b64encode(Random(7).randbytes(15_000)).decode() if unit == "base64" else unit * (20_000 // len(unit))
    began = process_time()
    core.find(text)
    list(views(text))
    assert process_time() - began < 10  # a tenth of a second; what is cubic takes days
