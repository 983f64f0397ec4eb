"""Triage: a field of the ticket becomes the label, the customer's first message the question."""

from __future__ import annotations

from collections.abc import Iterator

from data_prep.library import Library
from data_prep.records import Dropped, Redacted, Row
from data_prep.tasks._make import is_local_only, opening, row


def rows(
    record: Redacted,
    library: Library,  # noqa: ARG001  (every task has this shape)
    *,
    field: str,
    labels: tuple[str, ...],
    multi: bool = False,
    instruction: str = "You sort support tickets. Answer with one label only: {labels}.",
    max_chars: int = 600,
    local_only: dict[str, str] = {},  # noqa: B006  (read only)
) -> Iterator[Row | Dropped]:
    """One row a ticket. field: the record's field with the gold label. labels: every label there is.

    multi: the field holds several values with commas between (tags, components); the first listed label among them counts.
    max_chars: the customer's text is cut there, at a word; a label is rarely in the tail. local_only: field → value of
    tickets that must stay in the house.
    """
    if record.kind != "ticket":
        return
    label, question = record.fields.get(field), opening(record, max_chars)
    if label and multi:
        values = {v.strip() for v in label.split(",")}
        label = next((known for known in labels if known in values), label)
    if not label:
        yield Dropped("no_label", record.pointer, f"field {field!r}; it has {sorted(record.fields)}")
    elif label not in labels:
        yield Dropped("label_not_listed", record.pointer, label)
    elif question is None:
        yield Dropped("no_customer_message", record.pointer)
    else:
        yield row(
            record,
            task="triage",
            prompt=[
                {"role": "system", "content": instruction.replace("{labels}", ", ".join(labels))},
                {"role": "user", "content": question},
            ],
            answer=label,
            label=label,
            sensitivity=is_local_only(record, local_only),
        )
