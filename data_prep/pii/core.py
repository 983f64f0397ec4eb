"""The built-in engine: patterns, check digits and announcing words. No model, no dependency, no network."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from data_prep.pii import Found, without_overlap
from data_prep.pii._numbers import DOCUMENTS, announced, answers, cards, ibans, is_number_in, social_security
from data_prep.pii._phones import phones
from data_prep.pii._places import addresses, birth_dates
from data_prep.pii._secrets import secrets

LOCAL = re.compile(r"[\w.!#$%&'*+=?^`{|}~-]{1,64}\Z")
DOMAIN = re.compile(r"(?:[^\W_][\w-]{0,62}\.){1,8}[^\W\d_][\w-]{1,23}(?<![-_])")
# "name (at) host (dot) com", "name at host dot com": a plain "at" needs a spelled dot, or "look at example.com" were one.
_AT = r"(?:\s{0,2}[(\[{<]\s?(?:at|ät|a|@|arroba)\s?[)\]}>]\s{0,2}|\s{1,2}(?:at|@|arroba|_at_|-at-)\s{1,2})"
_DOT = r"(?:\s{0,2}[(\[{<]\s?(?:dot|punkt|point|punto|\.)\s?[)\]}>]\s{0,2}|\s(?:dot|punkt|punto)\s|\s\.\s|\.)"
OBFUSCATED = re.compile(
    rf"[\w+-]{{2,40}}(?:{_DOT}[\w+-]{{1,40}}){{0,3}}(?P<at>{_AT})(?P<host>[^\W_][\w-]{{0,62}}(?:{_DOT}[\w-]{{2,40}}){{0,2}}{_DOT}[a-z]{{2,24}})(?!\w)"
)
AT_MARK = re.compile(r"[(\[{<]\s?(?:at|ät|a|@|arroba)\s?[)\]}>]|\s(?:at|@|arroba|_at_|-at-)\s")
DOT_WORDS = ("dot", "punkt", "punto", "point")
BEFORE_AT = frozenset(
    "look looked looking meet see here me us is are was were available hosted found based mail email reach work working arrive"
    " available error not and or it that this point located live stay signed download".split()
)
IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d|-\w)")
DOTTED = re.compile(r"\.\d{1,3}\.\d")
IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?:\.\d{1,3}){0,3}(?![\w:])", re.IGNORECASE)
MAC = re.compile(
    r"(?<![\w:-])[0-9a-f]{2}(?:(?::[0-9a-f]{2}){5}|(?:-[0-9a-f]{2}){5})(?![\w:-])|\b[0-9a-f]{4}(?:\.[0-9a-f]{4}){2}\b",
    re.IGNORECASE,
)
# what must occur: these begin with a sign, to which `re` skips
MAC_HINT = re.compile(
    r":[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}:|-[0-9a-f]{2}-[0-9a-f]{2}-[0-9a-f]{2}-|\.[0-9a-f]{4}\.[0-9a-f]{4}"
)
IPV6_HINT = re.compile(r":[0-9a-f]{0,4}:(?=[0-9a-f:])")
HEXADECIMAL = frozenset("0123456789abcdef:")
HEXADECIMAL_RUN = re.compile(r"[0-9a-f:]+")
ANY_DIGIT = re.compile(r"\d")
VERSION = re.compile(
    r"(?:\b(?:version|versión|v|ver|build|release|firmware|driver|treiber|update|patch|kb|bird|fox|chrome|windows|android|ios|os)\W{0,3}|(?:bird|fox) |[a-z]/)$"
)
# Addresses that everybody has: loopback, default gateways, public resolvers. They are knowledge, not anybody's.
EVERYBODYS = frozenset(
    "0.0.0.0 127.0.0.1 127.0.1.1 192.168.0.1 192.168.1.1 192.168.178.1 192.168.2.1 10.0.0.1 10.0.0.138 8.8.8.8 8.8.4.4 1.1.1.1"
    " 1.0.0.1 9.9.9.9".split()
)


def find(text: str) -> list[Found]:
    """Secrets, e-mails, telephones, cards, accounts, addresses of networks and of people. Has no options."""
    lower = lowered(text)
    every = [secrets(text, lower), emails(text), obfuscated_emails(lower), networks(text, lower)]
    if ANY_DIGIT.search(text) is not None:
        if is_number_in(text):
            every += [ibans(text), social_security(text, lower), cards(text, lower), announced(lower)]
            every += [birth_dates(lower), phones(text, lower), answers(text, lower)]
        else:
            every.append(birth_dates(lower))
            if [w for w in DOCUMENTS if w in lower]:
                every.append(announced(lower))
        every.append(addresses(text, lower))
    return without_overlap(*every)


def lowered(text: str) -> str:
    """Lower case letter for letter, so that a place in it is a place in the text."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c if len(c.lower()) > 1 else c.lower() for c in text)


def emails(text: str) -> Iterator[Found]:
    """Outwards from each @: a search for local parts would try every word of a long text."""
    at = text.find("@")
    while at >= 0:
        local, domain = LOCAL.search(text, max(0, at - 64), at), DOMAIN.match(text, at + 1)
        if local is not None and domain is not None:
            start = local.start() + len(local[0]) - len(local[0].lstrip(".'`*=?!&|"))
            if start < at:
                yield Found("email", start, domain.end())
        at = text.find("@", at + 1)


def obfuscated_emails(lower: str) -> Iterator[Found]:
    if not ("at" in lower or "@" in lower) or not (
        "dot" in lower or "(at" in lower or "[at" in lower or "punkt" in lower or "@ " in lower
    ):
        return
    end = -1
    for mark in AT_MARK.finditer(lower):
        after = lower[mark.end() : mark.end() + 80]
        if mark.start() < end or not ("." in after or [w for w in DOT_WORDS if w in after]):
            continue
        for m in OBFUSCATED.finditer(lower, max(0, mark.start() - 170), mark.end() + 200):
            plain = m["at"].strip() in ("at", "arroba")
            local = re.split(r"\W", lower[m.start() : m.start("at")])[-1]
            if not plain or (local not in BEFORE_AT and re.search(r"\b(?:dot|punkt|punto)\b|[(\[{<]", m["host"])):
                yield Found("email", *m.span())
                end = m.end()


def networks(text: str, lower: str) -> Iterator[Found]:
    if DOTTED.search(text) is not None:
        for m in IPV4.finditer(text):
            before = text[m.start() - 1 : m.start()] if m.start() else ""
            if (
                not (before.isalnum() or (before in "._-" and before))
                and _is_ipv4(m[0])
                and not VERSION.search(lower[max(0, m.start() - 14) : m.start()])
            ):
                yield Found("ip", *m.span())
    if MAC_HINT.search(lower) is not None:
        for m in MAC.finditer(text):
            yield Found("mac", *m.span())
    end = -1
    for hint in IPV6_HINT.finditer(lower):
        if hint.start() >= end:
            start = hint.start()
            while start and lower[start - 1] in HEXADECIMAL:
                start -= 1
            m6 = IPV6.match(text, start)
            run = HEXADECIMAL_RUN.match(lower, hint.start())
            assert run is not None  # a hint begins with a colon
            end = run.end()  # every other hint of this run leads back to the same start
            if m6 is not None:
                end = max(end, m6.end())
                if _is_ipv6(m6[0]):
                    yield Found("ip", *m6.span())


def _is_ipv4(value: str) -> bool:
    """Version numbers look like addresses; these start low. Masks and multicast are nobody's."""
    parts = [int(p) for p in value.split(".")]
    return max(parts) < 256 and 9 < parts[0] < 224 and value not in EVERYBODYS


def _is_ipv6(value: str) -> bool:
    """An address with at least two groups and a digit: `::`, `::1` and a time of day are none."""
    if sum(bool(part) for part in value.split(":")) < 2 or not any(c.isdigit() for c in value):
        return False
    try:
        ipaddress.IPv6Address(value)
    except ValueError:
        return False
    return True
