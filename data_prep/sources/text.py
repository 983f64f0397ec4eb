"""Plain text documents (`.txt`, `.text`): the encoding is found out, underlined headings become Markdown's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.records import Record, Tally
from data_prep.sources._documents import BINARY, bytes_of, decoded, document, each, tidy_text
from data_prep.sources._files import BOMS, Peek
from data_prep.sources._tables import Encoding

KIND = "document"
GENERIC = True  # recognises nearly any text: asked when no other reader knows a file
SUFFIXES = (".txt", ".text")
UNDERLINE = re.compile(r"([=\-~^*#+_.:\"'`])\1{2,}")
LONGEST_TITLE = 120  # characters


def recognise(peek: Peek) -> dict[str, Any] | None:
    """Files with the suffix of texts that hold text."""
    text = any(peek.head.startswith(bom) for bom, _ in BOMS) or not BINARY.search(peek.head)
    return {} if peek.suffix in SUFFIXES and text and peek.head.strip() else None


def read(path: Path, tally: Tally, *, encoding: Encoding = "utf-8") -> Iterator[Record]:
    """One record a file; the title is its first heading, else its first line if that is short.

    encoding: tried first; then UTF-8, then cp1252, which is counted.
    """
    yield from each(path, tally, partial(_record, tally=tally, encoding=encoding), *SUFFIXES)


def _record(file: Path, name: str, *, tally: Tally, encoding: str) -> Record:
    text = tidy_text(with_headings(decoded(bytes_of(file), tally, encoding=encoding).replace("\f", "\n")))
    first = text.split("\n", 1)[0].lstrip("# ").strip()
    return document(name, text, first if len(first) <= LONGEST_TITLE else "", {})


def with_headings(text: str) -> str:
    """Lines underlined by a row of one character as headings; which character means which level is told by what comes first."""
    lines = text.split("\n")
    levels: dict[str, int] = {}
    made: list[str] = []
    for number, line in enumerate(lines):
        title = made[-1] if made else ""
        if UNDERLINE.fullmatch(line.rstrip()) and _is_title(lines, number, title):
            level = levels.setdefault(line[0], len(levels) + 1)
            made[-1] = f"{'#' * min(level, 6)} {title.strip()}"
            if len(made) > 1 and made[-2].rstrip() == line.rstrip():
                del made[-2]  # a line above the title as below it
        else:
            made.append(line)
    return "\n".join(made)


def _is_title(lines: list[str], number: int, title: str) -> bool:
    """A title stands alone: nothing or an overline above it, and a row of its own length below it."""
    above = lines[number - 2].rstrip() if number > 1 else ""
    row = lines[number].rstrip()
    alone = not above.strip() or above == row
    return (
        alone
        and any(c.isalnum() for c in title)
        and abs(len(title.strip()) - len(row)) <= 3
        and len(title) <= LONGEST_TITLE
    )
