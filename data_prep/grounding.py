"""Is it in the text? Verbatim quotes, numbers with their units, names and addresses, without a judge.

Everything here is a pure function of texts. What cannot be found counts as not there: a paraphrase of a date or of a
composed number (`twenty-five` for 25) is refused rather than believed.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

LINK = re.compile(r"(!?)\[([^\[\]]*)\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)?(?:\s+\"[^\"]*\")?\)")
URL = re.compile(
    r"(?i)(?:\bhttps?://|\bwww\.)(?:[^\s<>\"'`|\\()\[\]{}]|\((?:[^\s()<>]*)\))+|\b[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[a-z]{2,24}\b"
)
MARKUP = re.compile(r"[*_`~#>|]+|^[ \t]*[-+•][ \t]+", re.MULTILINE)
ALIKE = str.maketrans("‘’‚‛′“”„‟″«»–—‒―−‐‑…", '\'\'\'\'\'"""""""-------.')
EDGES = " \t\n.,;:!?'\"()[]-"

UNITS = {
    "%": "% percent prozent pourcent porcentaje",
    "s": "s sec secs second seconds sekunde sekunden seconde secondes segundo segundos",
    "min": "min mins minute minutes minuten minuto minutos",
    "h": "h hr hrs hour hours stunde stunden heure heures hora horas",
    "day": "day days tag tage tagen jour jours día días",
    "week": "week weeks woche wochen semaine semaines semana semanas",
    "month": "month months monat monate monaten mois mes meses",
    "year": "year years jahr jahre jahren an ans année années año años",
    "€": "€ eur euro euros",
    "$": "$ usd dollar dollars",
    "£": "£ gbp",
    "m": "m metre metres meter meters",
    "v": "v volt volts",
    "a": "a amp amps ampere",
    "w": "w watt watts",
} | {u: u for u in "ms kb mb gb tb mm cm km g kg kw kwh hz mhz ghz °c °f bar am pm chf".split()}
UNIT = {word: unit for unit, words in UNITS.items() for word in words.split()}
# Words that are no number but an article, a conjunction, a verb, a coin or a name in another of the languages are left out:
# one, ein, un, once, sept, neuf, dos, seize, cent, mille, elf.
SPELLED = {
    word: str(n)
    for n, words in {
        2: "two zwei deux", 3: "three drei trois tres", 4: "four vier quatre cuatro", 5: "five fünf cinq cinco",
        6: "six sechs seis", 7: "seven sieben siete", 8: "eight acht huit ocho", 9: "nine neun nueve",
        10: "ten zehn dix diez", 11: "eleven onze", 12: "twelve zwölf douze doce dozen dutzend", 13: "thirteen dreizehn treize trece",
        14: "fourteen vierzehn quatorze catorce", 15: "fifteen fünfzehn quinze", 16: "sixteen sechzehn dieciséis",
        17: "seventeen siebzehn diecisiete", 18: "eighteen achtzehn dieciocho", 19: "nineteen neunzehn diecinueve",
        20: "twenty zwanzig vingt veinte", 30: "thirty dreißig dreissig trente treinta", 40: "forty vierzig quarante cuarenta",
        50: "fifty fünfzig cinquante cincuenta", 60: "sixty sechzig soixante sesenta", 70: "seventy siebzig setenta",
        80: "eighty achtzig ochenta", 90: "ninety neunzig noventa", 100: "hundred hundert cien",
        1_000: "thousand tausend", 1_000_000: "million millions millionen millón millones",
    }.items()
    for word in words.split()
} | {
    f"{ones}und{tens}": str(10 * t + o)
    for o, ones in enumerate("ein zwei drei vier fünf sechs sieben acht neun".split(), start=1)
    for t, tens in enumerate("zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split(), start=2)
}  # fmt: skip
ARTICLES = {"one": "1", "ein": "1", "eine": "1", "einen": "1", "un": "1", "une": "1", "una": "1", "uno": "1"}

NUMBER = re.compile(
    r"(?<![\w.,])(?P<sign>[€$£]\s?)?(?P<minus>(?<!\S)-)?"
    r"(?P<value>\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{1,2}:\d\d(?::\d\d)?"
    r"|\d{1,3}(?:[.,' ]\d{3})+(?!\d)(?:[.,]\d+)?|\d+(?:[.,]\d+)*)"
    r"(?:st|nd|rd|th|er|ème|\.?º|ª)?(?:[ -]?(?P<unit>%|[€$£]|°[CF]|[^\W\d_]+))?"
)
CODE = re.compile(r"(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[^\W\d_])\w+(?:-\w+|\.\d+)*")  # `E7`, `RX-200`, `v2.1`
GLUED = re.compile(r"\d+(?:st|nd|rd|th|er|ème|x)?|\d+([^\W\d_]+)")
WORD = re.compile(r"[^\W\d_]+")
UNIT_BEHIND = re.compile(r"[ -]([^\W\d_]{3,})")  # shorter units are words: `two a day`
MARKER = re.compile(
    r"^[ \t]*\(?\d{1,2}\\?[.)](?=\s)|(?:\b(?:step|schritt|étape|paso)\s+\d{1,2}\b)", re.MULTILINE | re.IGNORECASE
)

NAME = re.compile(r"(?<!\w)[A-ZÀ-ÖØ-Þ][\w'’.+-]*\w(?:[ -][A-ZÀ-ÖØ-Þ0-9][\w'’+-]*)*|\b[a-z]+[A-Z]\w*")
STARTS = re.compile(r"(?:^|[.!?:…]\s|\n)[\s\"'“„«(\[*_#>•·|-]*(?:\d{1,2}[.)]\s+)?[\"'“„«(\[*_]*$")
NO_NAME = frozenset("I I'm I've I'll I'd OK Ok Sie Ihr Ihre Ihren Ihrem Ihrer Ihnen".split())
NOUNS_ARE_CAPITALISED = frozenset({"de", "lb"})


def plain(text: str) -> str:
    """The text without Markdown: links become their words, images and bare addresses go."""
    if "](" in text:
        text = LINK.sub(lambda m: " " if m[1] else m[2], text)
    return MARKUP.sub(" ", URL.sub(" ", text))


def normalised(text: str) -> str:
    """The text as it is compared: NFKC, no case, no Markdown, one kind of quote and dash, single spaces."""
    text = unicodedata.normalize("NFKC", plain(text).translate(ALIKE)).casefold()
    return " ".join(text.split())


def occurs(quote: str, text: str) -> bool:
    """Does the quote stand in the text, word for word, case, Markdown and white space aside? An empty quote does not."""
    wanted = normalised(quote).strip(EDGES)
    return bool(wanted) and re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", normalised(text)) is not None


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as it is compared: `1,000` and `1 000` are `1000`, `12,50` is `12.5`; unit is "" where none is known."""

    value: str
    unit: str = ""


def numbers(text: str) -> frozenset[Quantity]:
    """Every number of the text: digits with their unit, dates and times as written, codes such as `E7`, words such as `twelve`."""
    return _quantities(text, SPELLED)


def _quantities(text: str, spelled: dict[str, str]) -> frozenset[Quantity]:
    text = MARKUP.sub(" ", unicodedata.normalize("NFKC", URL.sub(" ", text)).translate(ALIKE))
    found = {q for m in NUMBER.finditer(text) if (q := _quantity(m)) is not None}
    for code in CODE.findall(text):
        glued = GLUED.fullmatch(code.casefold())
        if glued is None or glued[1] not in (None, *UNIT):
            found.add(Quantity(code.casefold()))
    for word in WORD.finditer(text.casefold()):
        if word[0] in spelled:
            following = UNIT_BEHIND.match(word.string, word.end())
            found.add(Quantity(spelled[word[0]], UNIT.get(following[1], "") if following else ""))
    return frozenset(found)


def _quantity(match: re.Match[str]) -> Quantity | None:
    unit = (match["sign"] or match["unit"] or "").strip().casefold()
    value = (match["minus"] or "") + _value(match["value"])
    glued = match["unit"] is not None and match.string[match.end("value")] not in " -"
    if glued and unit not in UNIT and match.string[match.end("value") :][:2] not in ("st", "nd", "rd", "th"):
        if unit != "x" and match["value"].isdigit():
            return None  # a code, such as `3com` or `500mah`
        return Quantity(value)
    return Quantity(value, UNIT.get(unit, ""))


def _value(written: str) -> str:
    """One spelling of a number. A single separator before three digits groups thousands: `1.500` is 1500 in every language."""
    if re.fullmatch(r"\d{1,3}(?:[.,' ]\d{3})+", written) and written[0] != "0":
        return re.sub(r"\D", "", written)
    if grouped := re.fullmatch(r"(\d{1,3}(?:[.,' ]\d{3})+)[.,](\d+)", written):
        return _decimal(re.sub(r"\D", "", grouped[1]), grouped[2])
    if decimal := re.fullmatch(r"(\d+)[.,](\d+)", written):
        return _decimal(decimal[1], decimal[2])
    return written


def _decimal(whole: str, part: str) -> str:
    return f"{whole}.{part.rstrip('0')}".rstrip(".")


def names(text: str, *, language: str = "en") -> frozenset[str]:
    """Capitalised words and runs of them that do not open a sentence, and words with a capital inside (`MacBook`).

    Where every noun is capitalised (German), only runs of two or more words and words with inner capitals count.
    """
    text = LINK.sub(lambda m: " " if m[1] else m[2], URL.sub(" ", text)) if "](" in text else URL.sub(" ", text)
    strict = language not in NOUNS_ARE_CAPITALISED
    found = (_name(m, strict=strict) for m in NAME.finditer(text))
    return frozenset(n for n in found if n)


def _name(match: re.Match[str], *, strict: bool) -> str:
    words = [re.sub(r"['’]s$", "", w) for w in match[0].rstrip(".").split(" ")]
    line = match.string.rfind("\n", 0, match.start()) + 1
    before = match.string[max(line, match.start() - 40) : match.start()]
    if STARTS.search(before) and not _has_inner_capital(words[0]):
        words = words[1:]
    words = [w for w in words if w not in NO_NAME and not w.isdigit()]
    if not strict and len(words) < 2:
        words = [w for w in words if _has_inner_capital(w)]
    return " ".join(words)


def _has_inner_capital(word: str) -> bool:
    return any(c.isupper() for c in word[1:])


def urls(text: str) -> frozenset[str]:
    """Web and mail addresses, without scheme, `www.`, final slash and punctuation; hosts in lower case."""
    return frozenset(_address(m) for m in URL.findall(text))


def _address(url: str) -> str:
    bare = re.sub(r"(?i)^(?:https?://)?(?:www\.)?", "", url.rstrip(".,;:!?'\"*_")).rstrip("/")
    host, slash, path = bare.partition("/")
    return host.casefold() + slash + path


def unsupported_numbers(answer: str, text: str) -> list[str]:
    """Numbers that the answer states and the text does not. A unit must be the text's, unless the text gives none.

    Numbers of list items and steps are no statements, and neither are articles (`one`, `un`).
    """
    there = _quantities(text, SPELLED | ARTICLES)
    values = {q.value for q in there}
    bare = {q.value for q in there if not q.unit}
    claimed = _quantities(MARKER.sub(" ", answer), SPELLED)
    return sorted(
        f"{q.value} {q.unit}".strip()
        for q in claimed
        if q not in there and not (q.value in values and (not q.unit or q.value in bare))
    )


def unsupported_names(answer: str, text: str, *, language: str = "en") -> list[str]:
    """Names of the answer of which a word is nowhere in the text."""
    there = set(re.findall(r"\w+", normalised(text)))
    answer = unicodedata.normalize("NFKC", answer)  # what is a sign here may be a letter there
    return sorted(
        n for n in names(answer, language=language) if not all(w in there for w in re.findall(r"\w+", normalised(n)))
    )


def unsupported_urls(answer: str, text: str) -> list[str]:
    """Addresses of the answer that the text does not give exactly so."""
    return sorted(urls(answer) - urls(text))


@dataclass(frozen=True, slots=True)
class Ungrounded:
    """Why an answer is not grounded: `number_not_in_text`, `name_not_in_text` or `url_not_in_text`, and how many there are."""

    reason: str
    found: tuple[str, ...]


def ungrounded(answer: str, text: str, *, language: str = "en") -> Ungrounded | None:
    """The first kind of thing that the answer has and the text has not; None for a grounded answer."""
    if missing := unsupported_urls(answer, text):
        return Ungrounded("url_not_in_text", tuple(missing))
    if missing := unsupported_numbers(answer, text):
        return Ungrounded("number_not_in_text", tuple(missing))
    if missing := unsupported_names(answer, text, language=language):
        return Ungrounded("name_not_in_text", tuple(missing))
    return None


# Facts of one customer's case: identifiers, amounts, dates. Years alone, versions, ports and durations are none.
AMOUNT = re.compile(
    r"[€$£]\s?\d[\d.,']*\d|[€$£]\s?\d|(?<![\w.,])\d[\d.,']*\s?(?:[€£]|(?:EUR|USD|GBP|CHF)\b|(?i:euros?|dollars?|pounds)\b)"
)
MONTH = (
    r"(?:Jan(?:uary|uar)?|Feb(?:ruary|ruar)?|Mar(?:ch)?|März|Apr(?:il)?|Ma[iy]|June?|Juni|July?|Juli|Aug(?:ust)?|Sept?(?:ember)?"
    r"|O[ck]t(?:ober)?|Nov(?:ember)?|De[cz](?:ember)?|janvier|février|mars|avril|mai|juin|juillet|août|septembre|octobre|novembre"
    r"|décembre|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre)"
)
DATE = re.compile(
    rf"(?<![\w./-])(?:\d{{4}}-\d\d-\d\d|\d{{1,2}}[/.]\d{{1,2}}[/.](?:\d{{4}}|\d\d)"
    rf"|\d{{1,2}}(?:st|nd|rd|th|er|\.)?\s(?:of\s|de\s)?{MONTH}|{MONTH}\.?\s\d{{1,2}}(?:st|nd|rd|th)?)(?![\w-]|[./]\d)"
)
IDENTIFIER = re.compile(
    r"(?<![\w./:=&?%@#~\\-])#?(?:[A-Z]{1,6}[- ]?\d{4,}[A-Z0-9-]*|(?=(?:[A-Z-]*\d){6})[A-Z0-9][A-Z0-9-]{8,}|\d{6,})(?![\w/@\\]|[.:-]\w)"
)
PUBLIC_SERIES = re.compile(r"(?i)^#?(?:kb|cve|rfc|iso|din|en|utf|sha|bug|ip|tls|win|cp|mp|x)[- ]?\d|^#?(?:19|20)\d\d$")
ABOUT_PUBLIC = re.compile(
    r"(?i)\b(?:bugs?|issues?|errors?|fehler|erreur|code|version|build|ports?|kb|update|patch|firmware|model|modell|modèle|release"
    r"|value|wert|bytes?)(?:\s+(?:number|no|nr|report|is|to|of|auf|id))?[\s.:#=\[(\"'*]*$"
)


DIGIT = re.compile(r"\d")


def particulars(text: str) -> dict[str, str]:
    """Identifiers, amounts and dates in the text: as compared → as written. What numbers public things (bugs, error codes,
    versions, standards) and what stands in an address is left out.
    """
    if DIGIT.search(text) is None:
        return {}
    text = URL.sub(" ", LINK.sub(lambda m: f" {m[2]} ", text))
    found = {m[0]: _value(re.sub(r"[^\d.,']", "", m[0]).strip(".,'")) for m in AMOUNT.finditer(text)}
    found |= {m[0]: _compact(m[0]) for m in DATE.finditer(text)}
    for m in IDENTIFIER.finditer(text):
        if not PUBLIC_SERIES.match(m[0]) and not ABOUT_PUBLIC.search(text[max(0, m.start() - 30) : m.start()]):
            found[m[0]] = _compact(m[0])
    return {compared: written for written, compared in found.items()}


def _compact(written: str) -> str:
    return re.sub(r"[\W_]", "", written).casefold()
