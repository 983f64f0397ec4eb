"""Questions from documents without a teacher: a section's heading asks, its own text answers.

Extractive, and marked as such (`made=extractive`): nothing is invented, and nothing is phrased as a customer would.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from data_prep.records import Dropped, Pointer, Redacted, Row
from data_prep.tasks._make import row

HEADING = re.compile(r"^(#{1,4})\s+(.+?)\s*#*$", re.MULTILINE)


def rows(
    record: Redacted,
    *,
    instruction: str = "You answer questions about our products from the documentation.",
    min_words: int = 15,
    max_answer_chars: int = 900,
) -> Iterator[Row | Dropped]:
    """One row a section. max_answer_chars: a longer section answers with its first whole paragraphs up to there."""
    if record.kind != "document":
        return
    text = record.turns[0].text
    for number, (heading, body, start, end) in enumerate(sections(text)):
        where = Pointer(record.pointer.file, f"chars {start}-{end}")
        answer = _opening(body, max_answer_chars)
        if len(answer.split()) < min_words:
            yield Dropped("section_too_short", where, heading)
            continue
        asked = (
            heading if heading.endswith("?") else f"{record.title}: {heading}" if heading != record.title else heading
        )
        made = row(
            record,
            task="doc_qa",
            prompt=[{"role": "system", "content": instruction}, {"role": "user", "content": asked}],
            answer=answer,
            part=f"#{number}",
            slices=("made=extractive",),
        )
        yield replace(made, spans=(where,))


def sections(markdown: str) -> Iterator[tuple[str, str, int, int]]:
    """Heading, body and character span of every section that has a heading and a body."""
    marks = list(HEADING.finditer(markdown))
    for i, mark in enumerate(marks):
        end = marks[i + 1].start() if i + 1 < len(marks) else len(markdown)
        body = markdown[mark.end() : end].strip()
        if body:
            yield mark[2], body, mark.start(), end


def _opening(body: str, max_chars: int) -> str:
    taken: list[str] = []
    for paragraph in body.split("\n\n"):
        if taken and sum(map(len, taken)) + len(paragraph) > max_chars:
            break
        taken.append(paragraph)
    answer = "\n\n".join(taken).strip()
    return answer if len(answer) <= max_chars else answer[: max_chars + 1].rsplit(". ", 1)[0].rstrip(".") + "."
