"""Drafting: the thread up to an accepted agent reply is the prompt, that reply the completion.

Which replies are accepted is data_prep.targets' to say. Loss falls on the accepted reply alone; earlier agent turns are
context.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from data_prep import targets
from data_prep.library import Library
from data_prep.records import Dropped, Redacted, Row, Turn
from data_prep.tasks._make import chat, is_local_only, row, spans_of


def rows(
    record: Redacted,
    library: Library,
    *,
    instruction: str = "You are a support agent. Answer the customer.",
    min_words: int = 12,
    max_reply_chars: int = 2000,
    max_turn_chars: int = 1500,
    require_solved: bool = True,
    per_ticket: Literal["last", "all"] = "last",
    stale: Literal["flag", "drop"] = "flag",
    local_only: dict[str, str] = {},  # noqa: B006  (read only)
) -> Iterator[Row | Dropped]:
    """The last acceptable agent reply of a ticket, or all of them, each with the conversation that led to it.

    max_reply_chars: longer replies are dropped, never cut, so that a target always ends where its author ended.
    max_turn_chars: earlier turns are cut there, at a word. stale: replies older than a document they lean on get the slice
    `stale=yes`, or are dropped. local_only: field → value of tickets that must stay in the house.
    """
    if record.kind != "ticket":
        return
    if (reason := targets.reason_of_thread(record, require_solved=require_solved)) is not None:
        yield Dropped(reason, record.pointer)
        return
    turns = targets.conversation(record)
    accepted, refused = [], []
    for position in (n for n in range(len(turns) - 1, -1, -1) if turns[n].role == "agent"):
        reason = targets.reason_not_to_learn(
            record,
            position,
            min_words=min_words,
            max_chars=max_reply_chars,
            require_solved=require_solved,
            facts=library.facts,
        )
        if reason is not None:
            refused.append(reason)
            continue
        accepted.append(position)
        if per_ticket == "last":
            break
    if not accepted:
        yield Dropped(refused[0] if refused else "no_agent_reply", record.pointer, ", ".join(refused[1:4]))
    for position in reversed(accepted):
        yield _row(record, library, turns, position, instruction, max_turn_chars, per_ticket, stale, local_only)


def _row(
    record: Redacted,
    library: Library,
    turns: tuple[Turn, ...],
    position: int,
    instruction: str,
    max_turn_chars: int,
    per_ticket: str,
    stale: str,
    local_only: dict[str, str],
) -> Row | Dropped:
    reply = turns[position]
    outdated = targets.stale(reply.created, library.leaned(reply.text))
    if outdated and stale == "drop":
        return Dropped("stale_reply", reply.pointer or record.pointer, ", ".join(outdated[:3]))
    before = turns[:position]
    return row(
        record,
        task="draft_reply",
        prompt=[
            {"role": "system", "content": instruction},
            *chat(before, title=record.title, max_chars=max_turn_chars),
        ],
        answer=reply.text,
        part=f"#{position}" if per_ticket == "all" else "",
        slices=(
            f"turns={'single' if sum(t.role == 'customer' for t in before) == 1 else 'multi'}",
            *(("stale=yes",) if outdated else ()),
        ),
        sensitivity=is_local_only(record, local_only),
        spans=spans_of(record, turns[: position + 1]),
    )
