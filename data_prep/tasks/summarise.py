"""Summaries: the thread is the prompt, what a human wrote about it at the end the completion."""

from __future__ import annotations

from collections.abc import Iterator

from data_prep import targets
from data_prep.dedup import jaccard, shingles
from data_prep.grounding import ungrounded
from data_prep.library import Library
from data_prep.records import Dropped, Redacted, Row
from data_prep.tasks._make import is_local_only, row, shortened, shown, spans_of

COPY = 0.8  # Jaccard similarity of word trigrams from which a note is the reply again


def rows(
    record: Redacted,
    library: Library,  # noqa: ARG001  (every task has this shape)
    *,
    field: str | None = None,
    instruction: str = "Summarise the support case for a colleague: the problem, the cause, what solved it.",
    min_words: int = 5,
    max_summary_chars: int = 1200,
    max_turn_chars: int = 1500,
    local_only: dict[str, str] = {},  # noqa: B006  (read only)
) -> Iterator[Row | Dropped]:
    """One row a ticket that a human summarised: in its resolution note, or in the record's field of this name.

    A note that states numbers or addresses the prompt has not is dropped: it would teach the model to invent.
    """
    if record.kind != "ticket":
        return
    summary = (record.fields.get(field, "") if field else record.resolution).strip()
    turns = targets.conversation(record)
    thread = "\n\n".join(f"{t.role.capitalize()}: {shown(t, max_turn_chars)}" for t in turns)
    asked = shortened(f"{record.title}\n\n{thread}" if record.title else thread, 4 * max_turn_chars)
    replies = [t.text for t in turns if t.role == "agent"]
    reason = (
        "no_conversation"
        if summary and not thread
        else _reason(summary, asked, replies, min_words, max_summary_chars, record.language)
    )
    if reason is not None:
        yield Dropped(reason, record.pointer)
        return
    yield row(
        record,
        task="summarise",
        prompt=[{"role": "system", "content": instruction}, {"role": "user", "content": asked}],
        answer=summary,
        sensitivity=is_local_only(record, local_only),
        spans=spans_of(record, turns),
    )


def _reason(summary: str, asked: str, replies: list[str], min_words: int, max_chars: int, language: str) -> str | None:
    if not summary:
        return "no_human_summary"
    if len(summary.split()) < min_words:
        return "summary_too_short"
    if len(summary) > max_chars:
        return "summary_too_long"
    if replies and jaccard(shingles(summary), shingles(replies[-1])) >= COPY:
        return "summary_is_the_reply"
    lacking = ungrounded(summary, asked, language=language)
    return "ungrounded_summary" if lacking is not None and lacking.reason != "name_not_in_text" else None
