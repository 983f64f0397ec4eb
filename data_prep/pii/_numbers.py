"""Numbers that identify somebody: cards, bank accounts, social security, and whatever a word beside them announces.

A number with a check digit is found by it; one without is found by its shape only where that shape is nothing else, and
otherwise by the word that announces it. Order numbers, versions, dates and sizes stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.pii import Found

DIGITS = re.compile(r"\d(?:[ \u00a0().\-/–]{0,3}(?:\n(?:> ?)?)?\d){3,}")
# Digits that are a year, a date with its hour, or a version: most texts hold no others, and are done with.
PLAIN = re.compile(
    r"(?:19|20)\d\d|\d{4}([./-])\d{1,2}\1\d{1,2}(?: \d{1,2})?|\d{1,2}([./-])\d{1,2}\2(?:\d{4}|\d{2})(?: \d{1,2})?"
    r"|(?!\d{3}\.\d{3}\.\d{4})\d{1,4}(?:\.\d{1,4}){1,3}"
)
RUN = re.compile(r"(?<!\w)(?<!\d[.,:])\d+(?:(?:[ \u00a0\-]|\n(?:> ?)?)\d+)*(?![.,]\d)")
# ISO 13616 registry: country and length
IBAN_LENGTH = {
    c[:2]: int(c[2:])
    for c in (
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 FO18 FR27"
        " GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27"
        " MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24 SM27 ST25 SV28 TL23"
        " TN24 TR26 UA29 VA22 VG24 XK20"
    ).split()
}
IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?=[ \u00a0\-\n]?[A-Za-z0-9])")
SSN = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}(?P<s>[- ])(?!00)\d{2}(?P=s)(?!0000)\d{4}(?![\w-])")
LONGEST_CARD = 19  # digits, ISO/IEC 7812
CARD_WORD = re.compile(
    r"\b(?:card|visa|master ?card|amex|american express|maestro|discover|jcb|credit|debit|kreditkarte|karte|kartennummer|cc"
    r"|carte|tarjeta|carta)\b[^.!?\n]{0,40}$"
)
# A word that says what the following number is: then it is no telephone, and no account.
THING = re.compile(
    r"(?:\b(?:order|ticket|bug|issue|case|invoice|rechnung\w*|auftrag\w*|bestell\w*|commande|pedido|tracking|sendung\w*|parcel|part"
    r"|model|serial|build|version|release|event|error|code|fehler\w*|article|question|reference|ref|isbn|ean|sku|incident|inc"
    r"|commit|revision|rev|size|byte|bytes|timestamp|time|uuid|guid|pid|line|message|msg|job|task|request|transaction|asset|item)"
    r"|#|[$€£=/_@&%])[^\w\n]{0,3}(?:\b(?:no|nr|num|number|nummer|id|is|of|code)\b[^\w\n]{0,3}){0,2}$"
)
_SAYS = (
    r"(?P<says>(?:[ _-]?(?:numbers?|no|nr|num|nbr|nummer|numéro|número|numero|id|code|nro)\b\.?|[ ]?#)?"
    r"(?:\s*(?:\bis\b|\bist\b|\best\b|\bes\b|è|\blautet\b|:|=|#|\bare\b|\bwas\b|\bending (?:in|with)\b|\bends in\b|\bends with\b)){0,2})"
)
_GLUE = r"(?:[ \t,(\"'\-\n]|\b(?:its|it's|the|my|mine|as|here|of|on file|last (?:four|4)(?: digits)?)\b){0,6}"
_VALUE = r"(?P<value>[a-z]{0,4}[ -]?\d(?:[ \-]?\d){3,24}(?:[ -]?[a-z])?(?!\w)|(?=[a-z]{0,3}\d)[a-z0-9]{6,14}(?!\w))"
ANNOUNCED = re.compile(
    r"\b(?:(?P<routing>routing|sort code|blz|bankleitzahl|aba)"
    r"|(?P<account>(?:bank |checking |savings |bank-)?(?:account|accounts|acct|acc|a/?c(?= (?:no|num|is))|(?:savings|checking)(?= is)|konto(?:nummer|nr)?|kto|compte|cuenta|conto|rekening(?:nummer)?))"
    r"|(?P<passport>passports?|reisepass(?:nummer)?|ausweis(?:nummer)?|passeport|pasaporte|passaporto|paspoort)"
    r"|(?P<licence>driver'?s?'? licen[cs]es?|driving licen[cs]e|dl|licen[cs]e plate|führerschein(?:nummer)?|permis de conduire|patente|rijbewijs)"
    r"|(?P<customer_number>customer|kunden(?:nummer|nr)|client|member(?:ship)?|mitglieds?(?:nummer|nr)|subscriber|policy|claim|klantnummer)"
    r"|(?P<tax_id>tax id|tax|vat|steuer(?:nummer|-?id|identifikationsnummer)|ust-?id\w*|national insurance|nino|dni|nif|nie|bsn|codice fiscale|tin|ein))"
    rf"(?:\b|(?=nummer|nr)){_SAYS}{_GLUE}{_VALUE}"
)
SOCIAL = re.compile(
    r"\b(?:ssn|social(?: security| sec)?|sozialversicherung\w*|svn)\b(?:[^\d\n]{0,30}?)(?P<value>\d{9}|\d{3}[ -]\d{6}|\d{4})(?![\w-]*\w)"
    r"|(?<![\w-])(?P<before>\d{9}|\d{4})(?= (?:is|as) my (?:ssn|social))"
)
ACCOUNT_BEHIND = re.compile(
    r"(?<![\w.\-])(?P<value>\d(?:[ \-]?\d){6,18})(?= (?:this|is (?:the|my|our)|please transfer)(?: \w+){0,3}? acc(?:ount|t)?\b)"
)
TRANSFER = re.compile(
    r"\b(?:transfer|send|wire|überweis\w*)\b[^.!?\n]{0,40}? (?:to|into|auf) (?P<value>\d(?:[ \-]?\d){7,18})(?![\w\-])"
)
WORDS = (
    "acc", "konto", "kto", "compte", "cuenta", "conto", "rekening", "pass", "ausweis", "pas", "licen", "dl", "führer", "permis",
    "patente", "rijbewijs", "customer", "kunden", "client", "member", "mitglied", "subscriber", "policy", "claim", "klant", "tax",
    "vat", "steuer", "ust", "insurance", "nino", "dni", "ni", "bsn", "codice", "tin", "ein", "routing", "sort code", "blz",
    "bankleitzahl", "aba", "ac no", "ac num", "ac is", "a/c", "savings", "checking", "transfer", "wire", "send", "überweis",
)  # fmt: skip

DOCUMENTS = (
    "passport",
    "ausweis",
    "passeport",
    "pasaporte",
    "licence",
    "license",
    "führerschein",
)  # their numbers mix letters in


def luhn(digits: str) -> bool:
    """ISO/IEC 7812 check digit."""
    total = 0
    for i, c in enumerate(reversed(digits)):
        n = int(c) * (2 if i % 2 else 1)
        total += n - 9 if n > 9 else n
    return total % 10 == 0


def iban_valid(value: str) -> bool:
    """ISO 13616: mod 97 of the rearranged number is 1."""
    compact = re.sub(r"[\s-]", "", value)
    if not 15 <= len(compact) <= 34 or not (compact.isascii() and compact.isalnum()):
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def groups(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Where the digit groups of text[start:end] stand."""
    return [(start + m.start(), start + m.end()) for m in re.finditer(r"\d+", text[start:end])]


def is_number_in(text: str) -> bool:
    """Whether four digits or more stand together that are more than a date or a version."""
    return any(PLAIN.fullmatch(m[0]) is None for m in DIGITS.finditer(text))


def ibans(text: str) -> Iterator[Found]:
    for m in IBAN_START.finditer(text):
        length = IBAN_LENGTH.get(text[m.start() : m.start() + 2].upper())
        end = _take(text, m.start(), length) if length else None
        if end is not None and iban_valid(text[m.start() : end]):
            yield Found("iban", m.start(), end)


def _take(text: str, start: int, length: int) -> int | None:
    """Where `length` letters and digits from `start` end, single separators allowed; None where a word ends elsewhere."""
    at, seen = start, 0
    while seen < length and at < len(text):
        if text[at].isascii() and text[at].isalnum():
            seen += 1
        elif text[at] not in " \u00a0-\n" or not text[at - 1].isalnum():
            return None
        at += 1
    return at if seen == length and not text[at : at + 1].isalnum() else None


def cards(text: str, lower: str) -> Iterator[Found]:
    """Card numbers: with the check digit and a first digit that issuers use; announced, of the right length; in four fours."""
    for run in RUN.finditer(text):
        if run.end() - run.start() < 12:
            continue
        yield from _cards_of(text, lower, groups(text, *run.span()))


def _cards_of(text: str, lower: str, parts: list[tuple[int, int]]) -> Iterator[Found]:
    first = 0
    while first < len(parts):
        # a digit a group at least: more groups than the longest number has digits are none
        longest = min(len(parts), first + LONGEST_CARD)
        last = next((n for n in range(longest, first, -1) if _is_card(text, lower, parts[first:n])), None)
        if last is not None:
            yield Found("card", parts[first][0], parts[last - 1][1])
        first = last or first + 1


def _is_card(text: str, lower: str, parts: list[tuple[int, int]]) -> bool:
    digits = "".join(text[s:e] for s, e in parts)
    if not 12 <= len(digits) <= LONGEST_CARD:
        return False
    sizes = [e - s for s, e in parts]
    if len(sizes) > 1 and (sizes[0] != 4 or max(sizes) > 7):
        return False
    before = lower[max(0, parts[0][0] - 60) : parts[0][0]]
    if CARD_WORD.search(before):
        return True
    if THING.search(before):
        return False
    if len(digits) > 12 and digits.startswith(("3", "4", "5", "6", "22", "23", "24", "25", "26", "27", "1800", "2131")):
        return luhn(digits) or sizes == [4, 4, 4, 4]
    return (
        len(digits) == 12 and digits.startswith(("50", "56", "57", "58", "6")) and luhn(digits) and len(parts) in (1, 3)
    )


def social_security(text: str, lower: str) -> Iterator[Found]:
    for m in SSN.finditer(text):
        yield Found("ssn", *m.span())
    if "ssn" in lower or "social" in lower or "svn" in lower or "sozial" in lower:
        for m in SOCIAL.finditer(lower):
            yield Found("ssn", *m.span("value" if m["value"] else "before"))


def announced(lower: str) -> Iterator[Found]:
    """Numbers that a word before them names. Four or five digits count only where the text says that it gives a number."""
    if not [w for w in WORDS if w in lower]:
        return
    for m in ANNOUNCED.finditer(lower):
        digits = sum(c.isdigit() for c in m["value"])
        if digits >= (4 if m["says"].strip() else 7) and m.lastgroup is not None:
            kind = next(k for k, v in m.groupdict().items() if v is not None and k not in ("says", "value"))
            yield Found(kind, *m.span("value"))
    for pattern in (ACCOUNT_BEHIND, TRANSFER):
        yield from (Found("account", *m.span("value")) for m in pattern.finditer(lower))


ANSWER = re.compile(r"(?<![\w-])\d(?:[ \-]?\d){7,18}(?![\w-])")
DAY = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])|(?:0[1-9]|[12]\d|3[01]){2}(?:19|20)\d\d(?!\d)")


def answers(text: str, lower: str) -> Iterator[Found]:
    """A text of a few words around one long number answers the question for it."""
    if len(text) > 100 or len(text.split()) > 12:
        return
    words = len(re.findall(r"[^\W\d_]{2,}", lower))
    for m in ANSWER.finditer(text):
        digits = sum(c.isdigit() for c in m[0])
        if (
            words <= (4 if digits < 10 else 10)
            and not THING.search(lower[: m.start()])
            and not DAY.match(re.sub(r"\D", "", m[0]))
        ):
            yield Found("number", *m.span())
