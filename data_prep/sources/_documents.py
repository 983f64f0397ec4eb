"""What the readers of documents share: front matter, titles, and the record they make."""

from __future__ import annotations

import re
from datetime import datetime

from data_prep.records import Message, Pointer, Record
from data_prep.sources._files import moment

FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


def front_matter(text: str) -> tuple[dict[str, str], str]:
    """The `key: value` lines of a YAML front matter, and the text below it."""
    match = FRONT_MATTER.match(text)
    if match is None:
        return {}, text
    pairs = (line.split(":", 1) for line in match[1].split("\n") if ":" in line and not line.startswith((" ", "#")))
    return {k.strip(): v.strip().strip("\"'") for k, v in pairs}, text[match.end() :]


def document(name: str, markdown: str, title: str, fields: dict[str, str]) -> Record:
    """One document as a record: a single message of Markdown; `updated` in the fields dates it."""
    updated: datetime | None
    try:
        updated = moment(fields.get("updated"))
    except ValueError:
        updated = None
    return Record(
        id=name,
        kind="document",
        group=name,
        created=updated,
        title=title or name,
        messages=(Message("", "system", True, updated, markdown),),
        pointer=Pointer(name, f"chars 0-{len(markdown)}"),
        fields=fields,
        solved=True,
    )
