"""What tasks share: building a Row from a Redacted record, the thread as text and as chat, text of others as data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from data_prep.records import ChatMessage, Pointer, Redacted, Row, Sensitivity, Turn
from data_prep.sensitivity import holds


def row(
    record: Redacted,
    *,
    task: str,
    prompt: list[ChatMessage],
    answer: str,
    label: str | None = None,
    part: str = "",
    slices: tuple[str, ...] = (),
    sensitivity: Sensitivity = "shareable",
    spans: tuple[Pointer, ...] = (),
    made_by: str = "human",
    leans_on: tuple[tuple[str, Pointer], ...] = (),
) -> Row:
    """A row of this record. part: what tells several rows of one record apart. spans: the record's own place without them.

    A row is local_only if its record or the task says so.
    """
    return Row(
        id=f"{task}/{record.id}{part}",
        task=task,
        prompt=tuple(prompt),
        completion=({"role": "assistant", "content": answer},),
        label=label,
        slices=(f"language={record.language}", f"source={record.id.split(':', 1)[0]}", *slices),
        sensitivity="local_only" if "local_only" in (sensitivity, record.sensitivity) else "shareable",
        group=record.group,
        created=record.created,
        record_ids=(record.id,),
        spans=spans or (record.pointer,),
        made_by=made_by,
        leans_on=leans_on,
    )


def spans_of(record: Redacted, turns: Sequence[Turn]) -> tuple[Pointer, ...]:
    """Where the turns of a row stand, in order."""
    return tuple(dict.fromkeys(t.pointer or record.pointer for t in turns))


def shortened(text: str, max_chars: int) -> str:
    """The text up to the last whole word before max_chars."""
    if len(text) <= max_chars:
        return text
    return (text[:max_chars].rsplit(None, 1) or [""])[0] + " …"


def is_local_only(record: Redacted, rules: dict[str, str]) -> Sensitivity:
    """`local_only` where a field of the record has the value that a rule names; such rows never leave the machine."""
    fields = {name.casefold(): value for name, value in record.fields.items()}
    return "local_only" if any(holds(fields.get(k.casefold()), (v,)) for k, v in rules.items()) else "shareable"


def shown(turn: Turn, max_chars: int) -> str:
    """A turn as a prompt shows it: its text, and the names of the files it came with."""
    return "\n".join([shortened(turn.text, max_chars), *(f"[attachment: {name}]" for name in turn.attachments)])


def chat(turns: Sequence[Turn], *, title: str, max_chars: int) -> list[ChatMessage]:
    """Alternating user and assistant messages, beginning with the customer under the title; neighbours are joined."""
    messages: list[ChatMessage] = []
    for turn in turns:
        role = "user" if turn.role == "customer" else "assistant"
        text = shown(turn, max_chars)
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += f"\n\n{text}"
        elif messages or role == "user":
            messages.append({"role": role, "content": text})
    if messages and title and title not in messages[0]["content"]:
        messages[0]["content"] = f"{title}\n\n{messages[0]['content']}"
    return messages


def opening(record: Redacted, max_chars: int) -> str | None:
    """What the customer asked first, under the ticket's title; None where no customer wrote."""
    text = record.first_customer_text
    if text is None:
        return None
    return shortened(f"{record.title}\n\n{text}" if record.title and record.title not in text else text, max_chars)


def fenced(text: str, what: str) -> str:
    """Text of others as data: between marks that cannot occur in it, so that it can neither end itself nor give orders."""
    mark = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    while mark in text:
        mark = hashlib.blake2b(mark.encode(), digest_size=6).hexdigest()
    return f"<<{what} {mark}>>\n{text}\n<<end {mark}>>"


def json_in(text: str) -> list[dict[str, Any]]:
    """The JSON objects a model wrote, in fences, lists or prose; what is broken is left out."""
    decoder, found, at = json.JSONDecoder(), list[dict[str, Any]](), 0
    while (at := text.find("{", at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        if isinstance(value, dict):
            found.append(value)
    return found
