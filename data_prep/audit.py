"""The leak audit: is any raw value of a participant, or anything planted, in what was written?

It knows other spellings than redaction does, on purpose: entities, quoted-printable, zero-width characters, accents, digits
with other separators, addresses spelled out, values split over lines. What it finds it never repeats: a leak is shown by its
first letter and length.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from data_prep.people import Directory, is_full_name, is_ordinary, without_accents, words_of
from data_prep.pii._names import every_name
from data_prep.records import Person

INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
QUOTED_PRINTABLE = re.compile(r"(?:=[0-9A-F]{2})+")
SPOKEN = re.compile(
    r"(?i)\s*[(\[{<]\s*(?:at|ät)\s*[)\]}>]\s*|\s+(?:at|ät)\s+(?=\S+\s*(?:\.|dot|punkt|\[dot\]|\(dot\)))"
)
SPOKEN_DOT = re.compile(r"(?i)\s*[(\[{<]\s*(?:dot|punkt)\s*[)\]}>]\s*|\s+(?:dot|punkt)\s+")
TOKEN = re.compile(r"[^\W_]+")
DIGITS = re.compile(r"\d(?:[\s()/.+>-]{0,4}\d){6,}")
MOST = 1000  # leaks that are listed; more say nothing new


@dataclass(frozen=True, slots=True)
class Leak:
    """place: file and row. shown: the value's first letter and length, no more."""

    place: str
    kind: str
    shown: str


def folded(text: str) -> str:
    """Letters without case and accents."""
    return without_accents(text.casefold())


def readable(text: str) -> str:
    """The text with its encodings undone and its invisible characters gone."""
    if "&" in text:
        text = html.unescape(text)
    if "=" in text:
        text = QUOTED_PRINTABLE.sub(_quoted, re.sub(r"=\r?\n", "", text))
    if "%" in text:
        text = unquote(text)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", INVISIBLE.sub("", text))
    return text


def _quoted(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("=", "")).decode("utf-8", "replace")


class Auditor:
    """Looks for everybody in a directory and for planted values. keep: words that the recipe lets stand."""

    def __init__(
        self, directory: Directory, planted: Iterable[str] = (), *, keep: frozenset[str] = frozenset()
    ) -> None:
        self._directory, self._keep = directory, keep
        self._domains: dict[str, set[str]] = {}
        for email in directory.emails:
            local, _, domain = email.rpartition("@")
            self._domains.setdefault(domain, set()).add(local)
        self._planted: dict[str, list[tuple[str, ...]]] = {}
        self._digits: set[str] = set(directory.phones)
        for value in planted:
            words = tuple(TOKEN.findall(folded(readable(value))))
            if words and any(words):
                self._planted.setdefault(words[0], []).append(words)
            if (digits := re.sub(r"\D", "", value)) and len(digits) >= 7 and not re.search(r"[A-Za-z@]", value):
                self._digits.add(digits[-9:])

    def leaks(self, place: str, text: str) -> list[Leak]:
        """What leaks in one text."""
        text = readable(text)
        found = [*self._names(text), *self._emails(text), *self._numbers(text), *self._values(text)]
        return [_leak(place, kind, value) for kind, value in dict.fromkeys(found)]

    def own_names(self, place: str, text: str, people: Iterable[Person]) -> list[Leak]:
        """Names of a text's own participants, however written, and their first and last names alone."""
        found = dict.fromkeys(_own_names(readable(text), people, self._keep))
        return [_leak(place, "person", name) for name in found]

    def _names(self, text: str) -> Iterator[tuple[str, str]]:
        for start, end, _ in self._directory.mentioned(text):
            yield "person", text[start:end]

    def _emails(self, text: str) -> Iterator[tuple[str, str]]:
        if not self._domains:
            return
        if "@" not in text and not re.search(r"(?i)\bat\b", text):
            return
        spelled = SPOKEN_DOT.sub(".", SPOKEN.sub("@", text))
        squeezed = re.sub(r"\n[\s>|]*|\s+", "", spelled).casefold()
        at = squeezed.find("@")
        while at >= 0:
            yield from (("email", e) for e in self._at(squeezed, at))
            at = squeezed.find("@", at + 1)

    def _at(self, text: str, at: int) -> Iterator[str]:
        """Addresses around the @ at this place; lines are joined, so words may be glued to either end."""
        after = text[at + 1 : at + 80]
        for top in re.finditer(r"\.[a-z]{2,}", after):
            for end in range(top.end(), top.start() + 2, -1):
                locals_ = self._domains.get(after[:end])
                if locals_ is not None:
                    before = text[max(0, at - 64) : at]
                    yield from (
                        f"{n}@{after[:end]}" for n in (before[-k:] for k in range(1, len(before) + 1)) if n in locals_
                    )
                    break

    def _numbers(self, text: str) -> Iterator[tuple[str, str]]:
        if not self._digits:
            return
        for m in DIGITS.finditer(text):
            run = re.sub(r"\D", "", m[0])
            for size in (9, 8, 7):
                for i in range(len(run) - size + 1):
                    if run[i : i + size] in self._digits:
                        yield "number", run[i : i + size]

    def _values(self, text: str) -> Iterator[tuple[str, str]]:
        if not self._planted:
            return
        for variant in {text, re.sub(r"-\s*\n\s*", "", text), re.sub(r"\s*\n\s*", "", text)}:
            words = TOKEN.findall(folded(variant))
            for i, word in enumerate(words):
                for value in self._planted.get(word, ()):
                    if tuple(words[i : i + len(value)]) == value:
                        yield "planted", " ".join(value)


def _leak(place: str, kind: str, value: str) -> Leak:
    return Leak(place, kind, f"{value[:1]}… ({len(value)} characters)")


def _own_names(text: str, people: Iterable[Person], keep: frozenset[str]) -> Iterator[str]:
    plain: str | None = None
    for person in people:
        for name in person.names:
            words = words_of(name)
            if len(words) > 1 and is_full_name(words):
                plain = folded(text) if plain is None else plain
                for form in (words, words[::-1]):
                    pattern = r"[\W_]{1,6}".join(re.escape(folded(w)) for w in form)
                    if folded(form[0]) in plain and re.search(rf"(?<!\w){pattern}(?!\w)", plain):
                        yield name
            for word in words if len(words) > 1 else ():
                single = len(word) > 3 and word[0].isupper() and not is_ordinary(word)
                if not single or word in every_name() or word in keep or word not in text:
                    continue
                if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text):
                    yield word
