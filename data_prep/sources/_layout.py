"""Lines on PDF pages to Markdown: running headers out, lines to paragraphs, code and headings.

A PDF knows lines and places, no paragraphs. What is decided here is decided from geometry: a paragraph ends where the gap to
the next line, its indentation or its type size says so. Headings come from the outline; without one, from type sizes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

EDGE = 2  # lines at the top and bottom of a page that may be a running header or footer
OFTEN = 3  # pages that must have a line at the same height before it counts as running
HYPHEN = "\ufffe"  # what pdfium puts where a word was hyphenated at a line's end; the rest of the word follows
BULLET = re.compile(r"^\s*(?:([•◦▪‣●○■□–—*·\-\uf0b7\uf0a7])|(\(?(?:\d{1,3}|[a-z]|[ivx]{1,4})[.)]))\s+(?=\S)")
NUMBERING = re.compile(
    r"^(?:(?:chapter|appendix|section|part|kapitel|anhang|abschnitt|teil|chapitre|annexe)\s+)?(?:\d+(?:\.\d+)*|[a-z](?:\.\d+)+|[ivxlc]+|[a-z])[.):]?\s+",
    re.IGNORECASE,
)
LEADERS = re.compile(r"(?:\s?\.){4,}")  # the dots of a table of contents
ENDS = (".", "!", "?", ":", ";", ".)", ".”", "。", "！", "？", "：")
CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")
LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text and where it stands, in points from the page's lower left corner."""

    text: str
    left: float
    right: float
    bottom: float
    size: float  # height of its type
    end: float  # bottom of its last character: of the next line where a word was hyphenated
    fixed: bool = False  # set in a typewriter face
    level: int = 0  # of a heading; 0: none


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the outline. page: its index; top: height on the page, None where the outline does not say."""

    title: str
    level: int
    page: int
    top: float | None


Page = Sequence[Line]


def without_running_lines(pages: Sequence[Page]) -> list[list[Line]]:
    """The pages without headers, footers and page numbers: lines at a page's edge that many pages have at the same height.

    They stand apart from the text: a line that the next one follows as closely as lines of a paragraph do is text itself.
    """
    leading = _leading(pages)
    edges = [_edges(page) for page in pages]
    seen: Counter[tuple[str, int]] = Counter()
    offsets: Counter[int] = Counter()
    for number, sides in enumerate(edges):
        lines = [line for side in sides for line in side[:EDGE]]
        seen.update({(_shape(line), round(line.bottom / 3)) for line in lines})
        offsets.update({n - number for line in lines for n in _numbers(line)})
    offset, times = offsets.most_common(1)[0] if offsets else (0, 0)
    numbered = times >= max(OFTEN, len(pages) // 3)

    def runs(line: Line, number: int) -> bool:
        if numbered and number + offset in _numbers(line) and len(line.text) < 120:
            return True
        return any(seen[_shape(line), round(line.bottom / 3) + d] >= OFTEN for d in (-1, 0, 1))

    found: list[dict[int, int]] = []  # of each page, its running lines' heights by their identity
    for number, sides in enumerate(edges):
        running: dict[int, int] = {}
        for side in sides:
            for at in reversed(range(min(EDGE, len(side)))):
                inner = next((x for x in side[at + 1 :] if abs(x.bottom - side[at].bottom) > 0.5 * x.size), None)
                apart = inner is None or id(inner) in running or _gap(side[at], inner) > 1.3 * leading * inner.size
                if apart and runs(side[at], number):
                    running[id(side[at])] = round(side[at].bottom / 3)
        found.append(running)
    heights = Counter(h for running in found for h in set(running.values()))
    kept = []
    for page, running in zip(pages, found, strict=True):
        if len(running) == len(page):  # nothing else on it: a title like "Part 2" on page 2, where no header stands
            running = {i: h for i, h in running.items() if sum(heights[h + d] for d in (-1, 0, 1)) >= OFTEN}
        kept.append([line for line in page if id(line) not in running])
    return kept


def _edges(page: Page) -> tuple[list[Line], list[Line]]:
    """The page's lines from its lower and from its upper edge inwards, each with the first lines of the text itself."""
    upwards = sorted(page, key=lambda line: line.bottom)
    return upwards[: 2 * EDGE], upwards[::-1][: 2 * EDGE]


def _gap(line: Line, inner: Line) -> float:
    return abs(line.bottom - inner.bottom)


def _shape(line: Line) -> str:
    """A line with its numbers blanked: what a running line has in common over pages."""
    return re.sub(r"\b[ivxlc]+\b|\d+", "#", line.text.casefold())


def _numbers(line: Line) -> set[int]:
    """The numbers that a line begins or ends with: a page's number among them."""
    return {int(n) for n in re.findall(r"^\D{0,3}(\d{1,5})\b|\b(\d{1,5})\D{0,3}$", line.text) for n in n if n}


def with_headings(pages: Sequence[Page], outline: Sequence[Entry]) -> list[list[Line]]:
    """The pages with their headings marked: lines that the outline names, or, without an outline, lines in larger type."""
    marked = [list(page) for page in pages]
    if not outline:
        return _by_size(marked)
    for entry in outline:
        if 0 <= entry.page < len(marked) and entry.title:
            _mark(marked[entry.page], entry)
    return marked


def _mark(page: list[Line], entry: Entry) -> None:
    """Mark the line, or up to four lines in a row, that say the entry's title; where none does, put the title there."""
    wanted = _names(entry.title)
    longest = len(entry.title) + 40  # a chapter's number may stand in the line
    found: list[tuple[float, int, int]] = []
    for start, line in enumerate(page):
        text, end = "", start
        while not line.level and end < min(start + 4, len(page)) and len(text) + len(page[end].text) < longest:
            text, end = f"{text} {page[end].text}".strip(), end + 1
            if _names(text) & wanted:
                found.append((abs(line.bottom + line.size - entry.top) if entry.top is not None else start, start, end))
                break
    if found:
        _, start, end = min(found)
        text = " ".join(line.text for line in page[start:end])
        page[start:end] = [replace(page[start], text=text, end=page[end - 1].end, level=entry.level)]
        return
    at = next((i for i, line in enumerate(page) if entry.top is not None and line.bottom < entry.top), 0)
    top = entry.top if entry.top is not None else (page[0].bottom + 20 if page else 0.0)
    page.insert(at, Line(entry.title, 0, 0, top, 12, top, level=entry.level))


def _names(text: str) -> set[str]:
    """The letters of a heading, with and without its number."""
    return {re.sub(r"[\W_]+", "", t.casefold()) for t in (text, NUMBERING.sub("", text))} - {""}


def _by_size(pages: list[list[Line]]) -> list[list[Line]]:
    sizes: Counter[float] = Counter()
    for page in pages:
        for line in page:
            sizes[round(line.size, 1)] += len(line.text)
    if not sizes:
        return pages
    body = sizes.most_common(1)[0][0]
    larger = sorted((s for s in sizes if s >= body * 1.15), reverse=True)[:6]
    levels = {s: i + 1 for i, s in enumerate(larger)}
    return [[replace(x, level=levels.get(round(x.size, 1), 0)) if _may_head(x) else x for x in page] for page in pages]


def _may_head(line: Line) -> bool:
    words = line.text.split()
    return 0 < len(words) <= 14 and len(line.text) > 2 and any(c.isalpha() for c in line.text) and not line.fixed


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, heading or piece of code as Markdown. open: a paragraph that may go on over the page."""

    page: int
    text: str
    kind: str  # heading, code, item, paragraph
    open: bool = False


def blocks(pages: Sequence[Page]) -> Iterator[Block]:
    """The pages' blocks in order."""
    leading = _leading(pages)
    words = Counter(w for page in pages for line in page for w in re.findall(r"\w[\w-]*", line.text.casefold()))
    for number, page in enumerate(pages):
        right = max((line.right for line in page), default=0.0)
        for group in _groups(page, leading, right):
            yield _block(number, group, words)


def _leading(pages: Sequence[Page]) -> float:
    """The usual distance of lines within a paragraph, in type sizes."""
    found = [
        (a.end - b.bottom) / a.size
        for page in pages
        for a, b in pairwise(page)
        if a.size and abs(a.size - b.size) < 0.1 * a.size and 0.8 * a.size < a.end - b.bottom < 3 * a.size
    ]
    return median(found) if found else 1.2


def _groups(page: Page, leading: float, right: float) -> Iterator[list[Line]]:
    group: list[Line] = []
    for line in page:
        if group and _ends_before(group, line, leading, right):
            yield group
            group = []
        group.append(line)
    if group:
        yield group


def _ends_before(group: list[Line], line: Line, leading: float, right: float) -> bool:
    """Whether the block that ends with the group's last line ends before this line."""
    last = group[-1]
    gap = last.end - line.bottom
    if line.level or last.level:
        return not (line.level == last.level and abs(line.size - last.size) < 0.5 and 0 < gap < 2 * line.size)
    if last.fixed and line.fixed:
        return not 0 < gap < 2.6 * leading * last.size  # code has empty lines
    same_size = abs(line.size - last.size) <= 0.15 * last.size
    if not same_size or gap < -last.size or gap > 1.3 * leading * max(last.size, line.size):
        return True
    if LEADERS.search(last.text) or (
        BULLET.match(line.text) and (_bullet(line) or line.left < last.left - 1 or BULLET.match(group[0].text))
    ):
        return True
    if line.left > last.left + 0.8 * line.size:
        return not (
            len(group) == 1 and BULLET.match(last.text)
        )  # indented: a new paragraph, or what hangs from a bullet
    if len(group) > 1 and line.left < last.left - 0.8 * line.size:
        return True
    return last.text.rstrip().endswith(ENDS) and last.right < right - 0.25 * (right - last.left)


def _bullet(line: Line) -> bool:
    match = BULLET.match(line.text)
    return match is not None and match[1] is not None


def _block(page: int, group: list[Line], words: Counter[str]) -> Block:
    if group[0].level:
        text = _joined((line.text for line in group), words)
        return Block(page, f"{'#' * min(group[0].level, 6)} {text}", "heading")
    if all(line.fixed for line in group) and (len(group) > 1 or len(group[0].text.split()) > 1):
        return Block(page, _code(group), "code")
    text = _joined((line.text for line in group), words)
    if LEADERS.search(text):
        return Block(page, LEADERS.sub(" … ", text), "item")
    bullet = BULLET.match(text)
    if bullet and bullet[1]:
        return Block(page, f"- {text[bullet.end() :]}", "item", open=True)
    return Block(page, f"\\{text}" if text.startswith("#") else text, "item" if bullet else "paragraph", open=True)


def _code(group: list[Line]) -> str:
    """Fixed-width lines as they stand: indentation in characters, empty lines where the gap says so."""
    left = min(line.left for line in group)
    width = median((line.right - line.left) / max(1, len(line.text)) for line in group) or 1.0
    steps = [a.bottom - b.bottom for a, b in pairwise(group)]
    step = min(steps, default=1.0)
    rows = []
    for i, line in enumerate(group):
        if i and steps[i - 1] > 1.6 * step:
            rows.append("")
        rows.append(" " * min(80, round((line.left - left) / width)) + line.text.replace(HYPHEN, "-"))
    fence = "```" if not any("```" in row for row in rows) else "`````"
    return "\n".join([fence, *rows, fence])


def _joined(texts: Iterator[str], words: Counter[str]) -> str:
    text = ""
    for piece in texts:
        text = _join(text, piece.strip())
    return re.sub(rf"(\w+)(?:{HYPHEN}|\u00ad)\s*(\w+)", lambda m: _word(m[1], m[2], words), text).replace(HYPHEN, "-")


def _join(text: str, more: str) -> str:
    """Two pieces of one paragraph: a word that was divided is made whole, Chinese and Japanese need no space."""
    if not text or not more or text.endswith((HYPHEN, "\u00ad")) or (CJK.match(text[-1]) and CJK.match(more[0])):
        return text + more
    return f"{text} {more}"


def _word(first: str, second: str, words: Counter[str]) -> str:
    """A divided word, with its hyphen where the document writes it so elsewhere (`read-only`)."""
    hyphened, whole = f"{first}-{second}", f"{first}{second}"
    return hyphened if words[hyphened.casefold()] > words[whole.casefold()] else whole
