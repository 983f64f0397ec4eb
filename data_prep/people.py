"""Who is known: every participant that any source names, so that a person is found wherever somebody writes of them.

Within a thread its own participants are looked for by every form of their names (data_prep.redact). Corpus-wide only full
names, in capitals as names are written, and addresses and telephones are: a first name alone is too many people.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from data_prep.pii._words import ALSO_A_WORD, COMMON, NOT_A_NAME
from data_prep.records import Person

WORD = re.compile(r"[^\W\d_](?:[\w'’]*\w)?")
CAPITALISED = re.compile(r"[^\W\d_a-zà-öø-ÿ](?:[\w'’]*\w)?")
GAP = re.compile(r"[\s.,_-]{1,3}|[ \t,]*\n[ \t>|*]{1,6}")  # two words of one name; a quoted line begins with a sign
LONGEST_NAME = 4  # words
EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
LINE_BREAK = re.compile(r"[ \t]*\n[ \t>|]*")


def is_ordinary(word: str) -> bool:
    """Whether a word stands in sentences that tell of nobody."""
    word = word.casefold()
    return word in NOT_A_NAME or word in ALSO_A_WORD or word in COMMON


def is_full_name(words: tuple[str, ...]) -> bool:
    """Whether words together mean somebody: none is an account's, and one at least is no ordinary word."""
    return not any(w.casefold() in NOT_A_NAME for w in words) and any(len(w) > 2 and not is_ordinary(w) for w in words)


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, "Last, First" turned round, without what stands in brackets unless nothing else does."""
    plain = re.sub(r"\([^)]*\)|\[[^\]]*\]", " ", name)
    last, comma, first = plain.partition(",")
    words = tuple(WORD.findall(f"{first} {last}" if comma and first.strip() else plain))
    return words or tuple(WORD.findall(name))


def without_accents(text: str) -> str:
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def digits_of(phone: str) -> str:
    """The last nine digits: what is the same with and without country and trunk prefixes. Empty for a short number."""
    found = re.sub(r"\D", "", phone)
    return found[-9:] if len(found) >= 7 else ""


def identity(person: Person) -> str:
    """What makes a person the same in every source: the first address, else the name, else the source's id."""
    return (person.emails or person.names or (person.id,))[0].casefold()


class Directory:
    """Full names, addresses and telephones of many people. Where two share a name, it stands for the first identity by order."""

    __slots__ = ("_first", "emails", "names", "phones")

    def __init__(self, people: Iterable[Person] = ()) -> None:
        self.names: dict[tuple[str, ...], str] = {}
        self.emails: set[str] = set()
        self.phones: set[str] = set()
        for person in people:
            self._add(person)
        self._first = {words[0] for words in self.names}

    def _add(self, person: Person) -> None:
        who = identity(person)
        self.emails.update(e.casefold() for e in person.emails)
        self.phones.update(d for p in person.phones if (d := digits_of(p)))
        for name in person.names:
            words = words_of(name)
            if 2 <= len(words) <= LONGEST_NAME and all(w[0].isupper() for w in words) and is_full_name(words):
                known = self.names.get(words)
                self.names[words] = who if known is None else min(known, who)

    def save(self, path: Path) -> None:
        temporary = path.with_name(path.name + ".partial")
        found = (sorted([*n, w] for n, w in self.names.items()), sorted(self.emails), sorted(self.phones))
        temporary.write_bytes(msgspec.json.encode(found))
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Directory:
        names, emails, phones = msgspec.json.decode(
            path.read_bytes(), type=tuple[list[list[str]], list[str], list[str]]
        )
        made = cls()
        made.names = {tuple(n[:-1]): n[-1] for n in names}
        made.emails, made.phones, made._first = set(emails), set(phones), {n[0] for n in names}
        return made

    def mentioned(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Start, end and identity of every full name in the text, written with capitals."""
        if self._first.isdisjoint(CAPITALISED.findall(text)):
            return
        found = [m for m in WORD.finditer(text) if m[0][0].isupper()]
        end = -1
        for i, m in enumerate(found):
            if m.start() >= end and m[0] in self._first:
                length = self._length(text, found[i : i + LONGEST_NAME])
                if length:
                    end = found[i + length - 1].end()
                    yield m.start(), end, self.names[tuple(w[0] for w in found[i : i + length])]

    def _length(self, text: str, found: list[re.Match[str]]) -> int:
        """How many of these words are a name, as many as may be; 0 for none."""
        for length in range(len(found), 1, -1):
            words = tuple(m[0] for m in found[:length])
            gaps = itertools.pairwise(found)
            if words in self.names and all(GAP.fullmatch(text, a.end(), b.start()) for a, b in gaps):
                return length
        return 0

    def broken_emails(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Start, end and address of every known address that a line's end tears apart."""
        at = text.find("@") if "\n" in text else -1
        while at >= 0:
            start = max(0, at - 80)
            window = text[start : at + 80]
            for gap in LINE_BREAK.finditer(window):
                for m in EMAIL.finditer(window[: gap.start()] + window[gap.end() :]):
                    if m.start() < gap.start() < m.end() and m[0].casefold() in self.emails:
                        yield start + m.start(), start + m.end() + gap.end() - gap.start(), m[0]
            at = text.find("@", at + 1)
