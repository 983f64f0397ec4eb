"""The company's documents as tasks see them: which of them a text leans on, and their passages.

Question: how is a reply tied to the documents it was written from? Choice: by what can be checked: an address in the text,
or eight consecutive words that a document has too. Similarity is no proof. Price: a faithful paraphrase without a link is
not recognised. Revisit where documents carry no addresses and agents never quote.

Memory: the texts themselves, 12 bytes a word for the index of passages, nothing else that grows; about 20 MB for a million
words. Building takes about five seconds a million words, looking a reply up 0.2 ms.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from urllib.parse import unquote, urlsplit
from zlib import crc32

import numpy as np
import numpy.typing as npt

from data_prep.grounding import particulars, plain
from data_prep.records import Pointer, Redacted, Sensitivity

HEADING = re.compile(r"^(#{1,4})\s+(.+?)\s*#*$", re.MULTILINE)
FENCED = re.compile(r"^ {0,3}(```|~~~).*?(?:^ {0,3}\1[`~]*\s*$|\Z)", re.MULTILINE | re.DOTALL)
CONTENTS = re.compile(
    r"[ \t]*(?:[-*+]|\d{1,3}\.)?[ \t]*\[[^\]\n]*\]\(#[^)\n]*\)[ \t]*"
)  # a line of a table of contents
WORD = re.compile(r"\w+")
RUN = 8  # consecutive words that a text must share with a document
BOILERPLATE = 3  # a run that stands in more passages than this is nobody's own words
PASSAGE_CHARS = 2000
ADDRESS = re.compile(r"https?://[^\s<>()\[\]\"'`]+|(?<![\w/.:-])/[\w.%-]+(?:/[\w.%-]+)+/?(?:#[\w.%-]+)?")
LOCALE = re.compile(r"[a-z]{2}(?:[-_][a-z]{2,4})?", re.IGNORECASE)
NUMBERED = re.compile(r"(\d{6,})(?:-|$)")  # `360001234567-Reset-your-password`: the number is the article
FACTOR = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, the text below it, and the characters of the document where both stand."""

    heading: str
    body: str
    start: int
    end: int


def sections(markdown: str) -> Iterator[Section]:
    """Every section that has a heading and a body; tables of contents and `#` lines inside code are none."""
    code = [m.span() for m in FENCED.finditer(markdown)] if "```" in markdown or "~~~" in markdown else []
    marks = [m for m in HEADING.finditer(markdown) if not any(a <= m.start() < b for a, b in code)]
    ends = [*(m.start() for m in marks[1:]), len(markdown)]
    for mark, end in zip(marks, ends, strict=False):  # no heading, no section
        body = markdown[mark.end() : end].strip()
        if body and not all(CONTENTS.fullmatch(line) for line in body.split("\n") if line):
            yield Section(mark[2], body, mark.start(), end)


def passages_of(markdown: str, max_chars: int = PASSAGE_CHARS) -> Iterator[Section]:
    """The sections, and what stands before the first of them, cut at paragraphs so that none is longer than max_chars
    where a paragraph ends in time; longer paragraphs stay whole.
    """
    found = list(sections(markdown))
    lead = markdown[: found[0].start] if found else markdown
    if lead.strip() and not HEADING.fullmatch(lead.strip()):
        found.insert(0, Section("", lead.strip(), 0, len(lead)))
    for section in found:
        yield from _cut(section, markdown, max_chars)


def _cut(section: Section, markdown: str, max_chars: int) -> Iterator[Section]:
    start = section.start
    while section.end - start > max_chars:
        at = markdown.rfind("\n\n", start + 1, start + max_chars)
        at = at if at > start + len(section.heading) + 8 else markdown.find("\n\n", start + max_chars, section.end)
        if at < 0 or not markdown[at : section.end].strip():
            break
        yield Section(section.heading, _body(markdown[start:at]), start, at)
        start = at
    yield Section(section.heading, _body(markdown[start : section.end]), start, section.end)


def _body(text: str) -> str:
    """The text without the heading it may open with."""
    first = HEADING.match(text)
    return (text[first.end() :] if first else text).strip()


@dataclass(frozen=True, slots=True)
class Leaned:
    """What a text leans on: the passage at chars start-end of a document, and when that document was last changed."""

    document: str
    start: int
    end: int
    how: Literal["link", "quote"]
    updated: datetime | None


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document, as a prompt shows it. span: where it stands."""

    document: str
    title: str
    heading: str
    url: str
    text: str
    span: Pointer
    sensitivity: Sensitivity


@dataclass(frozen=True, slots=True)
class _Document:
    id: str
    title: str
    url: str
    updated: datetime | None
    text: str
    file: str
    sensitivity: Sensitivity
    passages: range  # of the library's passages


class Library:
    """The documents, read only. Built anew from the same documents it is the same, in whatever process.

    facts: identifiers, amounts and dates that the documents name, as `grounding.particulars` compares them.
    """

    __slots__ = ("_at", "_by_slug", "_documents", "_hashes", "_number", "_owners", "_passages", "facts")

    def __init__(self, documents: Iterable[Redacted]) -> None:
        self._documents: list[_Document] = []
        self._passages: list[tuple[int, str, int, int]] = []  # document, heading, start, end
        hashes: list[npt.NDArray[np.uint64]] = []
        facts: set[str] = set()
        for record in documents:
            if record.kind == "document":
                hashes += self._add(record)
                facts.update(particulars(record.turns[0].text))
        self.facts = frozenset(facts)
        self._hashes, self._owners = _index(hashes)
        self._number = {d.id: n for n, d in enumerate(self._documents)}
        self._at = {(p[0], p[2]): n for n, p in enumerate(self._passages)}
        self._by_slug: dict[str, list[int]] = {}
        for n, document in enumerate(self._documents):
            for slug in _slugs(document):
                self._by_slug.setdefault(slug, []).append(n)

    def __len__(self) -> int:
        return len(self._documents)

    def _add(self, record: Redacted) -> Iterator[npt.NDArray[np.uint64]]:
        text, first = record.turns[0].text, len(self._passages)
        for section in passages_of(text):
            self._passages.append((len(self._documents), section.heading, section.start, section.end))
            yield _runs(text[section.start : section.end])
        self._documents.append(
            _Document(
                record.id, record.title, record.fields.get("url", ""), record.created, text, record.pointer.file,
                record.sensitivity, range(first, len(self._passages)),
            )
        )  # fmt: skip

    def leaned(self, text: str, *, about: str = "") -> tuple[Leaned, ...]:
        """What the text leans on: linked documents in order of mention, then quoted passages. A passage is named once.

        A link with a section's anchor means that section; any other the passage whose words the text, and what it is
        about, share most. about: the conversation that the text answers.
        """
        if not self._documents or not text:
            return ()
        found: dict[int, Literal["link", "quote"]] = {}
        for match in ADDRESS.finditer(text):
            n = self._linked(match[0])
            if n is not None:
                found.setdefault(self._meant(n, match[0], f"{text} {about}"), "link")
        for passage in self._quoted(text):
            found.setdefault(passage, "quote")
        return tuple(self._leaned(passage, how) for passage, how in found.items())

    def _leaned(self, passage: int, how: Literal["link", "quote"]) -> Leaned:
        n, _, start, end = self._passages[passage]
        return Leaned(self._documents[n].id, start, end, how, self._documents[n].updated)

    def _linked(self, address: str) -> int | None:
        host, path = _host_and_path(address)
        candidates = self._by_slug.get(_slug(path), []) or self._by_slug.get(_article_number(path), [])
        candidates = [n for n in candidates if self._on_this_host(n, host)]
        same = [n for n in candidates if _same_page(self._documents[n], path)]
        if same:  # several are translations of one page, or files of one name in different folders
            return same[0] if len({_bare(self._documents[n]) for n in same}) == 1 else None
        return candidates[0] if len(candidates) == 1 and "-" in _slug(path) else None

    def _on_this_host(self, n: int, host: str) -> bool:
        """A document that has an address is meant on its own host alone."""
        url = self._documents[n].url
        return not host or not url.startswith("http") or host == _host_and_path(url)[0]

    def _meant(self, n: int, address: str, text: str) -> int:
        anchor = _heading_slug(re.sub(r"^[wh]_", "", unquote(address.partition("#")[2])))
        passages = self._documents[n].passages
        if anchor:
            for p in passages:
                if _heading_slug(self._passages[p][1]) == anchor:
                    return p
        words = {w for w in WORD.findall(plain(text).casefold()) if len(w) > 3}
        return max(passages, key=lambda p: (len(words & set(WORD.findall(self._text(p).casefold()))), -p))

    def _text(self, passage: int) -> str:
        n, _, start, end = self._passages[passage]
        return self._documents[n].text[start:end]

    def _quoted(self, text: str) -> list[int]:
        wanted = _runs(text)
        if not len(wanted) or not len(self._hashes):
            return []
        at = np.searchsorted(self._hashes, wanted)
        at[at == len(self._hashes)] = 0
        hits = self._owners[at[self._hashes[at] == wanted]]
        return list(dict.fromkeys(hits.tolist()))

    def passages(self) -> Iterator[Passage]:
        """Every passage, documents in order."""
        return map(self._passage, range(len(self._passages)))

    def passage(self, leaned: Leaned) -> Passage:
        return self._passage(self._at[self._number[leaned.document], leaned.start])

    def _passage(self, passage: int) -> Passage:
        n, heading, start, end = self._passages[passage]
        d = self._documents[n]
        span = Pointer(d.file, f"chars {start}-{end}")
        return Passage(d.id, d.title, heading, d.url, _body(d.text[start:end]), span, d.sensitivity)

    def others(
        self, number: int, *, key: str, without: frozenset[str], sensitivity: Sensitivity = "shareable"
    ) -> tuple[Passage, ...]:
        """At most `number` passages of documents other than `without`, chosen by a hash of the key: always the same.

        sensitivity: "shareable" leaves out documents that must stay in the house.
        """
        chosen: dict[int, None] = {}
        for attempt in range(number * 8 if self._passages else 0):
            digest = hashlib.blake2b(f"{key}\0{attempt}".encode(), digest_size=8).digest()
            p = int.from_bytes(digest, "big") % len(self._passages)
            d = self._documents[self._passages[p][0]]
            if d.id not in without and (sensitivity == "local_only" or d.sensitivity == "shareable"):
                chosen[p] = None
            if len(chosen) == number:
                break
        return tuple(map(self._passage, chosen))


def excerpt(text: str, *, about: str, max_chars: int) -> str:
    """At most about max_chars of the text, cut at words; what `about` quotes of it is among them where it can be."""
    if len(text) <= max_chars:
        return text
    start, end = _shared(text, about) or (0, 0)
    if end <= max_chars:
        return text[:max_chars].rsplit(None, 1)[0] + " …"
    opens = max(text.rfind(mark, 0, start) + len(mark) for mark in ("\n", ". ", "! ", "? "))
    opens = max(opens, end - max_chars) if opens < start else start
    shown = text[opens:].lstrip()
    return "… " + (shown if len(shown) <= max_chars else shown[:max_chars].rsplit(None, 1)[0] + " …")


def _shared(text: str, other: str) -> tuple[int, int] | None:
    """Where the first RUN words that the other text has too stand."""
    theirs = WORD.findall(plain(other).casefold())
    runs = {tuple(theirs[i : i + RUN]) for i in range(len(theirs) - RUN + 1)}
    words = list(WORD.finditer(text))
    spoken = [m[0].casefold() for m in words]
    for i in range(len(words) - RUN + 1):
        if tuple(spoken[i : i + RUN]) in runs:
            return words[i].start(), words[i + RUN - 1].end()
    return None


def _runs(text: str) -> npt.NDArray[np.uint64]:
    """A hash of every run of RUN words, in order; the same in every process."""
    words = np.array([crc32(w.encode()) for w in WORD.findall(plain(text).casefold())], dtype=np.uint64)
    if len(words) < RUN:
        return np.zeros(0, dtype=np.uint64)
    runs = np.zeros(len(words) - RUN + 1, dtype=np.uint64)
    for i in range(RUN):
        runs = runs * FACTOR + words[i : i + len(runs)]  # wraps at 2**64
    return runs ^ (runs >> np.uint64(29))


def _index(hashes: list[npt.NDArray[np.uint64]]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
    """Sorted hashes and the first passage each stands in; without those that stand in too many."""
    owners = np.repeat(np.arange(len(hashes), dtype=np.uint32), [len(h) for h in hashes])
    every = np.concatenate([*hashes, np.zeros(0, dtype=np.uint64)])
    order = np.argsort(every, kind="stable")
    unique, first, counts = np.unique(every[order], return_index=True, return_counts=True)
    own = counts <= BOILERPLATE
    return unique[own], owners[order][first[own]]


def _host_and_path(address: str) -> tuple[str, str]:
    """Host without `www.` and path without final slash, both in lower case; the host is empty for a bare path."""
    try:
        parts = urlsplit(address.rstrip(".,;:!?*_"))
    except ValueError:  # `http://[broken`
        return "", ""
    path = unquote(parts.path).replace("\xa0", " ").strip(" ?.,")
    return parts.netloc.casefold().removeprefix("www."), path.rstrip("/").casefold()


def _slug(path: str) -> str:
    """The last segment without its ending: `reset` of `guides/reset.html`."""
    return re.sub(r"\.(?:html?|md|markdown|pdf|txt|docx|pptx|xhtml|aspx?|php)$", "", path.rsplit("/", 1)[-1])


def _article_number(path: str) -> str:
    found = NUMBERED.match(_slug(path))
    return found[1] if found else ""


def _slugs(document: _Document) -> set[str]:
    """What the document may be called at the end of an address: by its own address, else by its file."""
    path = _host_and_path(document.url)[1] if document.url else _file(document)
    return {s for s in (_slug(path), _article_number(path)) if s}


def _file(document: _Document) -> str:
    """The document's file below its source: the id without the source's name and without a row's `#`."""
    return document.id.split(":", 1)[-1].partition("#")[0].casefold()


def _bare(document: _Document) -> str:
    """The document's path without locales and ending, so that languages of one page are one."""
    path = _host_and_path(document.url)[1] if document.url else _file(document)
    return _without_locale(path)


def _without_locale(path: str) -> str:
    segments = [s for s in path.split("/")[:-1] if s and not LOCALE.fullmatch(s)]
    return "/".join([*segments, _slug(path)])


def _same_page(document: _Document, path: str) -> bool:
    ours, theirs = _bare(document), _without_locale(path)
    return ours == theirs or ours.endswith("/" + theirs) or theirs.endswith("/" + ours)


def _heading_slug(heading: str) -> str:
    return "-".join(WORD.findall(plain(heading).casefold().replace("_", " ")))
