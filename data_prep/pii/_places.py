"""Postal addresses and dates of birth, in the ways of the US, UK, Germany, France, and roughly Spain, Italy, the Netherlands.

No address grammar: a street is a number beside a word for streets. It helps; it does not promise to find every address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.pii import Found

_STATES = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR|PA|RI|SC|SD"
    "|TN|TX|UT|VT|VA|WA|WV|WI|WY|DC|PR"
)
_UNIT = r"(?:[,\s]{1,3}(?:apt|apartment|suite|ste|unit|flat|room|floor|#)\.?\s?#?[\w-]{1,6})?"
_US_CITY = rf"[A-Z][\w.'’]*(?:[ -][A-Z][\w.'’]*){{0,3}},?\s{{1,3}}(?:{_STATES})\.?,?\s{{1,3}}\d{{5}}(?:-\d{{4}})?(?!\w)"
_STATE_NAMES = (
    "alabama|alaska|arizona|arkansas|california|colorado|connecticut|delaware|florida|georgia|hawaii|idaho|illinois|indiana|iowa|kansas"
    "|kentucky|louisiana|maine|maryland|massachusetts|michigan|minnesota|mississippi|missouri|montana|nebraska|nevada|new hampshire"
    "|new jersey|new mexico|new york|north carolina|north dakota|ohio|oklahoma|oregon|pennsylvania|rhode island|south carolina"
    "|south dakota|tennessee|texas|utah|vermont|virginia|washington|west virginia|wisconsin|wyoming"
)
# Two letters are a state only where a code or nothing follows: "in", "or" and "me" are words.
_US_CITY_LOWER = (
    rf"(?:[,\s]{{1,3}}[a-z.'’]+){{0,3}}[,\s]{{1,3}}(?:(?:{_STATE_NAMES})(?:[,\s]{{1,3}}\d{{4,5}})?"
    rf"|(?:co\.? |county )[a-z]{{3,}}|(?:{_STATES.lower()})(?:[,\s]{{1,3}}\d{{4,5}}|(?=\s*(?:$|[.,;\n]))(?!\. [a-z])))(?!\w)"
)
_UK_CODE = r"[A-Z]{1,2}\d[A-Z\d]?\s\d(?!GB|TB)[ABD-HJLNP-UW-Z]{2}(?!\w)"
_CODE_CITY = r"(?:[A-Z]{1,2}-)?\d{4,5}(?:\s?[A-Z]{2})?\s{1,3}[A-ZÄÖÜÉÈÎ][\w.'’-]+(?:[ -][A-ZÄÖÜÉ][\w'’-]+){0,2}"
_TAIL = rf"(?:{_UNIT}[,\s]{{1,4}}(?:{_US_CITY}|{_CODE_CITY}|[A-Z][\w'’ -]{{2,30}}[,\s]{{1,4}}{_UK_CODE}|{_UK_CODE}))?"
_NOT_BEFORE = frozenset("$€£#.,:/-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_TYPE = (
    "Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Place|Pl|Square|Sq|Terrace|Ter|Way|Highway|Hwy|Parkway"
    "|Pkwy|Circle|Cir|Close|Crescent|Cres|Trail|Row|Mews|Gardens|Grove|Hill|Loop|Alley|Plaza|Turnpike|Pike|Walk|Quay"
)
ENGLISH = re.compile(
    rf"\d{{1,6}}[A-Za-z]?(?:[-/]\d{{1,4}})?,?\s(?:(?:[NSEW]|North|South|East|West|NE|NW|SE|SW)\.?\s)?"
    rf"(?:(?!(?:GB|MB|TB|Google|USB|Hard|One|Flash)\b)[A-Z][\w.'’-]*\s|\d{{1,3}}(?:st|nd|rd|th)\s){{1,3}}(?:{_TYPE})\b\.?{_UNIT}{_TAIL}"
)
# In lower case only words that mean nothing but streets: "a 2 tb drive", "3 in place".
LOWER = re.compile(
    rf"\d{{1,6}}[a-z]?(?: (?:\d{{1,3}} ?(?:st|nd|rd|th)|(?!(?:of|the|in|on|to|and|or|for|a|is|at|days?|hours?|minutes?|miles?|km|gb|mb)\b)[a-z.'’]+)){{1,3}}"
    rf" (?:street|st|avenue|ave|road|rd|lane|ln|boulevard|blvd|hwy|highway|drive|dr|court|ct|terrace)\b{_UNIT}(?:{_US_CITY_LOWER})?"
)
AMBIGUOUS_LOWER = re.compile(
    r"(?:^\d[a-z]? .*|\b(?:hard|flash|dis[ck]|usb|external|internal|network|google|one|[a-z]|ssd|hdd|tape|thumb|pen|zip|optical|dvd|cd|backup"
    r"|new|old|same|other|local|shared?|cloud|boot|nas|solid|state|system|data|storage|gigs?|[gt]b|win\w*|bit|my|your|this|that|each|any|no"
    r"|mapped|test|virtual) )(?:drive|dr|court|ct|terrace|st)$"
)
GERMAN = re.compile(
    rf"(?<![\w-])(?:(?:[A-ZÄÖÜ][\w.-]*[ -]){{0,2}}(?:[A-ZÄÖÜ][\wäöüß.-]*)?(?:[Ss]traße|[Ss]trasse|[Ss]tr\.|(?<=[a-zß])(?:allee|gasse|chaussee|ufer|damm))"
    rf"|(?:Am|An der|Auf der|Auf dem|Im|In der|Zum|Zur) [A-ZÄÖÜ][\wäöüß-]+)\s\d{{1,4}}(?:\s?[a-z]\b)?(?:[,\s]{{1,4}}{_CODE_CITY})?"
    rf"|(?<![\w-])[A-ZÄÖÜ][\wäöüß-]{{2,}}(?:weg|platz|ring|steig|hof|berg)\s\d{{1,4}}(?:\s?[a-z])?[,\s]{{1,4}}{_CODE_CITY}"
)
FRENCH = re.compile(
    rf"\d{{1,4}}(?:\s?(?:bis|ter|quater))?,?\s(?:[Rr]ue|[Aa]venue|[Aa]v\.|[Bb]oulevard|[Bb]d\.?|[Cc]hemin|[Ii]mpasse|[Aa]llée|[Qq]uai"
    rf"|[Rr]oute|[Cc]ours|[Pp]lace)\s(?:(?:de la|de l['’]|des|du|de|d['’]|la|le|les|l['’])\s?)?[A-ZÉÈ][\w'’-]*(?:[ -][A-ZÉÈ][\w'’-]*|\s(?:de|du|la|des)\b){{0,4}}"
    rf"(?:[,\s]{{1,4}}{_CODE_CITY})?"
)
SOUTHERN = re.compile(
    r"(?<!\w)(?:C(?:alle)?/?|Avenida|Avda\.?|Paseo|Via|Viale|Piazza|Corso)\s(?:(?:de|del|la|los|las|della|dei|di)\s){0,2}[A-ZÁÉÍÓÚÑ]\w+"
    rf"(?:\s(?:de\s)?[A-ZÁÉÍÓÚÑ]\w+){{0,2}},?\s(?:n\.?º?\s?)?\d{{1,4}}(?!\w)(?:[,\s]{{1,4}}{_CODE_CITY})?"
    rf"|(?<!\w)[A-Z][a-z]+(?:straat|laan|plein|gracht|kade|dijk)\s\d{{1,4}}\s?[a-z]?(?!\w)(?:[,\s]{{1,4}}{_CODE_CITY})?"
)
BOX = re.compile(
    rf"(?i:\b(?:p\.?\s?o\.?\s?box|postfach|apartado(?: de correos)?|casella postale|boîte postale)\s#?\d{{1,8}})(?!\w){_TAIL}"
)
CITY = re.compile(rf"(?<!\w){_US_CITY}")
UK_CODE = re.compile(r"[A-Z](?<![\w-][A-Z])[A-Z]?\d[A-Z\d]?\s\d(?!GB|TB)[ABD-HJLNP-UW-Z]{2}(?!\w)")
ANNOUNCED = re.compile(
    r"(?<!mail )(?<!\bip )(?<!mac )(?<!web )(?<!url )(?<!server )(?<!email )(?<!memory )\b(?:address|adresse|anschrift|dirección|indirizzo|adres)"
    r"(?: is| ist| est| es|:| no| to|,){0,2}\s{1,2}(?P<value>(?=[^\n]{0,24}\d)(?=[^\n]{0,50}[^\W\d_]{3})(?:no\.? |# ?)?[\w#][^\n@;()]{6,80}?)"
    r"(?=\s*(?:[.;!?](?:\s|$)|\n|$|\b(?:and|phone|contact|mobile|email|my|und|et)\b))"
)
_MONTH = (
    r"(?:jan|feb|mar|mär|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez|janv|févr|mars|avr|juin|juil|août|déc|ene|abr|ago|dic|gen|mag"
    r"|giu|lug|set|ott|maa|mei)[a-zäéûôï]{0,9}\.?"
)
BORN = re.compile(
    r"\b(?:born(?: on| in)?|d\.?o\.?b\.?|date of birth|birth ?da(?:y|te)|geboren(?: am| op)?|geburts(?:datum|tag)|geb\.|née? le"
    r"|date de naissance|nacid[oa](?: el)?|fecha de nacimiento|nat[oa] il|data di nascita|geboortedatum)"
    r"[\s:,(]{0,3}(?:(?:is|was|ist|est|es|è|on|the|den|am)\s){0,2}"
    rf"(?P<value>\d{{1,4}}[./\- ]\d{{1,2}}[./\- ]\d{{2,4}}|\d{{1,2}}(?:st|nd|rd|th|\.)?\s(?:of\s|de\s)?{_MONTH},?\s(?:de\s)?\d{{2,4}}"
    rf"|{_MONTH}\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{2,4}}|\d{{6}}|\d{{8}})(?!\w)"
)
BORN_WORDS = (
    "born",
    "dob",
    "d.o.b",
    "birth",
    "gebor",
    "geburt",
    "geb.",
    "né",
    "naissance",
    "nacid",
    "nacim",
    "nato",
    "nata",
    "nascita",
)
GERMAN_ENDS = (
    "straße",
    "strasse",
    "str.",
    "allee",
    "gasse",
    "chaussee",
    "ufer",
    "damm",
    "weg",
    "platz",
    "ring",
    "steig",
    "hof",
    "berg",
)
GERMAN_AT = re.compile(r"\b(?:Am|An der|Auf der|Auf dem|Im|In der|Zum|Zur) [A-ZÄÖÜ][\wäöüß-]+ \Z")
SOUTHERN_AT = re.compile(r"[CAPV](?:alle|/|venida|vda|aseo|iale?|iazza|orso)\.? [^\d]*\Z")
DUTCH_ENDS = ("straat", "laan", "plein", "gracht", "kade", "dijk")
STATE_CODE = re.compile(rf"(?:{_STATES})\.?,?\s{{1,3}}\Z")
# a digit first: `re` skips to it
NUMBER_FIRST = re.compile(
    r"\d{1,6}[A-Za-z]?(?:[-/]\d{1,4})?(?:\s?(?:bis|ter|quater))?,?\s(?:[^\W\d_]|\d{1,3} ?(?:st|nd|rd|th)\b)"
)
NUMBER_LAST = re.compile(r"\d(?<=[^\W\d_] \d)\d*|\d(?<=\. \d)\d*")
UK_HINT = re.compile(r"\d(?<=[A-Z]\d)[A-Z\d]?\s\d[A-Z]{2}")
ADDRESS_WORDS = ("addres", "adres", "anschrift", "dirección", "indirizzo")


def addresses(text: str, lower: str) -> Iterator[Found]:
    """Postal addresses; places may overlap. Each is looked for around a number, so that a text is read once."""
    wanted: dict[re.Pattern[str], str] = {}
    for number in NUMBER_FIRST.finditer(text):
        if text[number.start() - 1 : number.start()] not in _NOT_BEFORE:
            yield from _at_number(text, lower, number.start())
    for number in NUMBER_LAST.finditer(text):
        wanted |= _behind_words(text, lower, *number.span())
    if UK_HINT.search(text) is not None:
        wanted[UK_CODE] = text
    if "box" in lower or "postfach" in lower or "apartado" in lower or "postal" in lower:
        wanted[BOX] = text
    for pattern, where in wanted.items():
        for m in pattern.finditer(where):
            yield Found("address", *m.span())
    for word in ADDRESS_WORDS:
        at = lower.find(word)
        while at >= 0:
            announced = ANNOUNCED.match(lower, at)
            if announced is not None:
                yield Found("address", *announced.span("value"))
            at = lower.find(word, at + 1)


def _at_number(text: str, lower: str, start: int) -> Iterator[Found]:
    """Addresses that begin with their number."""
    for pattern, where in ((ENGLISH, text), (FRENCH, text), (LOWER, lower)):
        m = pattern.match(where, start)
        if m is not None and not (pattern is LOWER and AMBIGUOUS_LOWER.search(m[0])):
            yield Found("address", start, m.end())


def _behind_words(text: str, lower: str, start: int, end: int) -> dict[re.Pattern[str], str]:
    """The patterns worth trying because of the words before a number."""
    at, before = start - 1, text[max(0, start - 40) : start]
    wanted = {}
    if lower.endswith(GERMAN_ENDS, 0, at) or GERMAN_AT.search(before):
        wanted[GERMAN] = text
    if lower.endswith(DUTCH_ENDS, 0, at) or SOUTHERN_AT.search(before):
        wanted[SOUTHERN] = text
    if end - start == 5 and STATE_CODE.search(before):
        wanted[CITY] = text
    return wanted


def birth_dates(lower: str) -> Iterator[Found]:
    if [w for w in BORN_WORDS if w in lower]:
        for m in BORN.finditer(lower):
            yield Found("birth_date", *m.span("value"))
