"""Building a Row from a Redacted record: ids, slices, spans."""

from __future__ import annotations

from data_prep.records import ChatMessage, Redacted, Row, Sensitivity


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
) -> Row:
    """A row of this record. part: what tells several rows of one record apart."""
    return Row(
        id=f"{task}/{record.id}{part}",
        task=task,
        prompt=tuple(prompt),
        completion=({"role": "assistant", "content": answer},),
        label=label,
        slices=(f"language={record.language}", f"source={record.id.split(':', 1)[0]}", *slices),
        sensitivity=sensitivity,
        group=record.group,
        created=record.created,
        record_ids=(record.id,),
        spans=(record.pointer,),
    )


def shortened(text: str, max_chars: int) -> str:
    """The text up to the last whole word before max_chars."""
    if len(text) <= max_chars:
        return text
    return text[:max_chars].rsplit(None, 1)[0] + " …"


def is_local_only(record: Redacted, rules: dict[str, str]) -> Sensitivity:
    """`local_only` where a field of the record has the value that a rule names; such rows never leave the machine."""
    return "local_only" if any(record.fields.get(k) == v for k, v in rules.items()) else "shareable"
