"""Drafting: the thread up to an accepted agent reply is the prompt, that reply the completion.

Accepted means: the ticket is solved, the reply is public, an agent's, long enough, not a holding reply, and answers a
customer. Loss falls on the accepted reply alone; earlier agent turns are context.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.records import ChatMessage, Dropped, Redacted, Row, Turn
from data_prep.tasks._make import is_local_only, row, shortened

HOLDING = re.compile(
    r"(?i)\b(?:looking into (?:it|this)|get back to you|forwarded (?:this|your)|escalated (?:this|your)|checking with"
    r"|melden uns|prüfen (?:das|wir)|leiten (?:das|ihre))\b"
)


def rows(
    record: Redacted,
    *,
    instruction: str = "You are a support agent. Answer the customer.",
    min_words: int = 12,
    max_reply_chars: int = 2000,
    max_turn_chars: int = 1500,
    require_solved: bool = True,
    local_only: dict[str, str] = {},  # noqa: B006  (read only)
) -> Iterator[Row | Dropped]:
    """At most one row a ticket: the last acceptable agent reply and the conversation that led to it.

    max_reply_chars: longer replies are dropped, never cut, so that a target always ends where its author ended.
    """
    if record.kind != "ticket":
        return
    if require_solved and not record.solved:
        yield Dropped("not_solved", record.pointer)
        return
    turns = [t for t in record.turns if t.public and t.role in ("customer", "agent")]
    position = _accepted(turns, min_words, max_reply_chars)
    if position is None:
        yield Dropped(
            "no_acceptable_reply" if any(t.role == "agent" for t in turns) else "no_agent_reply", record.pointer
        )
        return
    messages = _chat(turns[:position], max_turn_chars)
    messages[0]["content"] = f"{record.title}\n\n{messages[0]['content']}" if record.title else messages[0]["content"]
    yield row(
        record,
        task="draft_reply",
        prompt=[{"role": "system", "content": instruction}, *messages],
        answer=turns[position].text,
        sensitivity=is_local_only(record, local_only),
    )


def _accepted(turns: list[Turn], min_words: int, max_chars: int) -> int | None:
    for i in range(len(turns) - 1, 0, -1):
        text = turns[i].text
        if turns[i].role != "agent" or not any(t.role == "customer" for t in turns[:i]):
            continue
        words = len(text.split())
        if words >= min_words and len(text) <= max_chars and not (HOLDING.search(text) and words < 40):
            return i
    return None


def _chat(turns: list[Turn], max_turn_chars: int) -> list[ChatMessage]:
    """Alternating user and assistant messages, beginning with the customer; neighbours of one role are joined."""
    chat: list[ChatMessage] = []
    for turn in turns:
        role = "user" if turn.role == "customer" else "assistant"
        text = shortened(turn.text, max_turn_chars)
        if chat and chat[-1]["role"] == role:
            chat[-1]["content"] += f"\n\n{text}"
        elif chat or role == "user":
            chat.append({"role": role, "content": text})
    return chat
