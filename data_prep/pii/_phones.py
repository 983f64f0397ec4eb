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
    r"|(?P<nanp>(?:9?1[ .-]?)?\(?\d{3}\)?[ \u00a0.\-/]{0,2}\n?\d{3}(?:[ \u00a0.\-]|\n(?:> ?)?)?\d{4})(?!\d))"
)
EXTENSION = re.compile(
    r"(?:[ ,;]{0,2}(?:extension|extn|ext|x|durchwahl|dw|poste|interno|toestel)[ .:]{0,2}|x)\d{1,6}(?!\w)"
)
_DAY, _MONTH = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])"
DATE = re.compile(
    rf"\(?(?:(?:19|20)\d\d([./\- ]){_MONTH}\1{_DAY}|{_DAY}([./\-]){_DAY}\2(?:(?:19|20)\d\d|\d{{2}}))(?!\d|[./\-]\d)"
)
UNIT = re.compile(r"\s?(?:€|\$|£|%|(?:eur|usd|gbp|bytes?|[kmgt]i?b|ms|px|kwh|seconds)\b)")
_LINE = r"(?:office|fax|mobile|cell|home|work|desk|direct|main|tel|phone|telephone|büro|privat|bureau|oficina|casa)"
_VALUE = rf"(?P<value>\+?\(?\d[\d ().\-/]{{4,20}}\d)(?!(?!x\d)\w|-(?!{_LINE}\b)\w)"
ANNOUNCED = re.compile(
    r"\b(?:tel(?:ephone|efon\w*|éfono|efono|efoon\w*)?|téléphone|phone|fon|mobile|mobil\w*|móvil|cell(?:phone)?|handy\w*|fax"
    r"|whatsapp|rufnummer|portable|cellulare|contact|ph|sms|reach (?:me|us)|(?:call|text|ring)(?: (?:me|us|him|her))?|number"
    r"|(?:office|desk|home|work|direct|büro|privat)(?=:)|(?:answer(?:ing)?|messages|calls|picks? up) (?:at|on|to|from))\b"
    r"(?:[ \t\n.:=,(\-]|\b(?:numbers?|num|no|nr|nummer|at|on|to|under|is|ist|est|es|unter|back|home|work|office|cell|are|the|my|phone)\b){1,8}"
    + _VALUE
)
# What the line is for may stand behind: "555 0100 office".
NAMED_BEHIND = re.compile(rf"(?<![\w.,:/\-(+])(?![\d ]*\.){_VALUE}(?:x\d{{1,6}})?(?: ?- ?| )\(?{_LINE}\b")
BEHIND = re.compile(rf"-{_LINE}\b")
WORDS = (
    "office", "desk", "home", "work", "direct", "main", "answer", "messages", "büro", "privat", "tel", "téléphone", "phon", "fon",
    "mob", "móvil", "cell", "handy", "fax", "whatsapp", "rufn", "portable", "contact", "ph", "sms", "reach", "call", "text", "ring",
    "number",
)  # fmt: skip
LIMITS = ("2147483647", "2147483648", "4294967295", "4294967296")  # of 32-bit numbers
LONGEST = {"1": 11, "7": 11, "33": 11, "34": 11, "31": 11, "44": 12, "61": 11, "91": 12}  # digits with the country code


def phones(text: str, lower: str) -> Iterator[Found]:
    for m in PHONE.finditer(text):
        end = _end(text, lower, m)
        if end is not None:
            extension = EXTENSION.match(lower, end)
            yield Found("phone", m.start(), extension.end() if extension else end)
    if [w for w in WORDS if w in lower]:
        for m in (*ANNOUNCED.finditer(lower), *NAMED_BEHIND.finditer(lower)):
            start, end = m.span("value")
            thing = THING.search(lower[max(0, start - 40) : start])
            if (
                thing is None
                and (6 if m.re is ANNOUNCED else 7) <= _digits(text[start:end]) <= 15
                and not DATE.match(text, start)
                and not UNIT.match(lower, end)
            ):
                extension = EXTENSION.match(lower, end)
                yield Found("phone", start, extension.end() if extension else end)


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
    bare = digits.removeprefix("91" if len(digits) == 12 else "1") if len(digits) > 10 else digits
    return (
        len(bare) == 10 and (bare[0] in "6789" or (bare[0] in "2345" and bare[3] in "23456789")) and bare not in LIMITS
    )


def _goes_on(text: str, lower: str, end: int) -> bool:
    after = text[end : end + 2]
    if after[:1].isalnum() and not EXTENSION.match(lower, end):
        return True
    return (
        (after[:1] in "_%" and after != "")
        or (after[:1] in "-.,:/" and after[1:].isalnum() and not BEHIND.match(lower, end))
        or bool(UNIT.match(lower, end))
    )


def _digits(value: str) -> int:
    return sum(c.isdigit() for c in value)
