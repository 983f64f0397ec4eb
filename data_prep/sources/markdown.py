"""Markdown documents (`.md`, `.markdown`), with or without YAML front matter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from data_prep.records import Dropped, Pointer, Record, Tally
from data_prep.sources._documents import document, front_matter
from data_prep.sources._files import files, text_of

HEADING = re.compile(r"^#\s+(.+?)\s*#*$", re.MULTILINE)


def read(path: Path, tally: Tally, *, encoding: str = "utf-8") -> Iterator[Record]:
    """One record a file; the title is the front matter's, else the first top-level heading."""
    for file in files(path, ".md", ".markdown"):
        tally.seen("documents")
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        fields, text = front_matter(text_of(file, encoding))
        if not text.strip():
            tally.drop(Dropped("empty_document", Pointer(name, "chars 0-0")))
            continue
        heading = HEADING.search(text)
        yield document(name, text, fields.get("title") or (heading[1] if heading else ""), fields)
