"""Telephone numbers: international, the national ways of the US, UK, Germany and France, and what a word announces.

Versions, dates, times, prices, order numbers and hexadecimal stay: a bare row of digits counts only where it can be dialled
as it is and no word before it says that it is something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.pii import Found
from data_prep.pii._numbers import THING, groups

_SEP = r"(?:[ \u00a0.\-/‐‑–()]{1,3}|\n(?:> ?)?)"
PHONE = re.compile(
    rf"(?<![\w#$€£@%&])(?<!\d[.,\-–:/])(?:(?P<plus>(?:\+ ?|00|011[ -])\(?[1-9]\d{{0,14}}\)?(?:{_SEP}\d{{1,12}}){{0,7}})"
    rf"|(?P<trunk>\(?0[1-9]\d{{0,10}}\)?(?:{_SEP}\d{{1,10}}){{0,6}})"
    r"|(?P<nanp>(?:1[ .-]?)?\(?\d{3}\)?[ \u00a0.\-/]{0,2}\n?\d{3}(?:[ \u00a0.\-]|\n(?:> ?)?)?\d{4})(?!\d))"
)
EXTENSION = re.compile(
    r"(?:[ ,;]{0,2}(?:extension|extn|ext|x|durchwahl|dw|poste|interno|toestel)[ .:]{0,2}|x)\d{1,6}(?!\w)"
)
DATE = re.compile(r"\(?(?:\d{4}[./\- ]\d{1,2}[./\- ]\d{1,2}|\d{1,2}[./\-]\d{1,2}[./\-](?:\d{4}|\d{2}))(?!\d)")
UNIT = re.compile(r"\s?(?:€|\$|£|%|(?:eur|usd|gbp|bytes?|[kmgt]i?b|ms|px|kwh|seconds)\b)")
ANNOUNCED = re.compile(
    r"\b(?:tel(?:ephone|efon\w*|éfono|efono|efoon\w*)?|téléphone|phone|fon|mobile|mobil\w*|móvil|cell(?:phone)?|handy\w*|fax"
    r"|whatsapp|rufnummer|portable|cellulare|contact|ph|sms|reach (?:me|us)|(?:call|text|ring)(?: (?:me|us|him|her))?|number)\b"
    r"(?:[ \t.:=,(\-]|\b(?:numbers?|num|no|nr|nummer|at|on|under|is|ist|est|es|unter|back|home|work|office|cell|are|the|my|phone)\b){1,8}"
    r"(?P<value>\+?\(?\d[\d ().\-/]{4,20}\d)(?![\w-]*\w)"
)
WORDS = ("tel", "téléphone", "phon", "fon", "mob", "móvil", "cell", "handy", "fax", "whatsapp", "rufn", "portable", "contact",
         "ph", "sms", "reach", "call", "text", "ring", "number")  # fmt: skip
LIMITS = ("2147483647", "2147483648", "4294967295", "4294967296")  # of 32-bit numbers
LONGEST = {"1": 11, "7": 11, "33": 11, "34": 11, "31": 11, "44": 12, "61": 11, "91": 12}  # digits with the country code


def phones(text: str, lower: str) -> Iterator[Found]:
    for m in PHONE.finditer(text):
        end = _end(text, lower, m)
        if end is not None:
            extension = EXTENSION.match(lower, end)
            yield Found("phone", m.start(), extension.end() if extension else end)
    if [w for w in WORDS if w in lower]:
        for m in ANNOUNCED.finditer(lower):
            start, end = m.span("value")
            thing = THING.search(lower[max(0, start - 40) : start])
            if (
                thing is None
                and 6 <= _digits(text[start:end]) <= 15
                and not DATE.match(text, start)
                and not UNIT.match(lower, end)
            ):
                yield Found("phone", start, end)


def _end(text: str, lower: str, m: re.Match[str]) -> int | None:
    """Where the number ends: groups that belong to something else are left off. None where it is no number."""
    if DATE.match(text, m.start()) or THING.search(lower[max(0, m.start() - 40) : m.start()]):
        return None
    parts = groups(text, *m.span())
    kind = m.lastgroup or ""
    while parts:
        end = parts[-1][1]
        if text[end : end + 1] == ")" and text[m.start() : end].count("(") > text[m.start() : end].count(")"):
            end += 1
        value = text[m.start() : end]
        if _fits(kind, value, parts) and not _goes_on(text, lower, end):
            return None if kind == "nanp" and text[m.start() - 1 : m.start()] == "-" else end
        parts.pop()
    return None


def _fits(kind: str, value: str, parts: list[tuple[int, int]]) -> bool:
    digits = "".join(c for c in value if c.isdigit())
    if kind == "plus":
        national = digits.removeprefix("011") if value.startswith("011") else digits.removeprefix("00")
        longest = next((n for code, n in LONGEST.items() if national.startswith(code)), 15)
        return 8 <= len(national) <= longest + ("(0)" in value)
    if kind == "trunk":
        if len(parts) == 1:
            return 10 <= len(digits) <= 12
        return 9 <= len(digits) <= 13 and max(e - s for s, e in parts) >= 2 and len(parts) <= 6
    if len(parts) > 1 or "(" in value:
        return True
    bare = digits.removeprefix("1") if len(digits) == 11 else digits
    return (
        len(bare) == 10 and (bare[0] in "6789" or (bare[0] in "2345" and bare[3] in "23456789")) and bare not in LIMITS
    )


def _goes_on(text: str, lower: str, end: int) -> bool:
    after = text[end : end + 2]
    if after[:1].isalnum() and not EXTENSION.match(lower, end):
        return True
    return (
        (after[:1] in "_%" and after != "")
        or (after[:1] in "-.,:/" and after[1:].isalnum())
        or bool(UNIT.match(lower, end))
    )


def _digits(value: str) -> int:
    return sum(c.isdigit() for c in value)
