"""Triage: a field of the ticket becomes the label, the customer's first message the question."""

from __future__ import annotations

from collections.abc import Iterator

from data_prep.records import Dropped, Redacted, Row
from data_prep.tasks._make import is_local_only, row, shortened


def rows(
    record: Redacted,
    *,
    field: str,
    labels: tuple[str, ...],
    instruction: str = "You sort support tickets. Answer with one label only: {labels}.",
    max_chars: int = 600,
    local_only: dict[str, str] = {},  # noqa: B006  (read only)
) -> Iterator[Row | Dropped]:
    """One row a ticket. field: the record's field with the gold label. labels: every label there is.

    max_chars: the customer's text is cut there, at a word; a label is rarely in the tail.
    """
    if record.kind != "ticket":
        return
    label, text = record.fields.get(field), record.first_customer_text
    if not label:
        yield Dropped("no_label", record.pointer, f"field {field!r}; it has {sorted(record.fields)}")
    elif label not in labels:
        yield Dropped("label_not_listed", record.pointer, label)
    elif text is None:
        yield Dropped("no_customer_message", record.pointer)
    else:
        question = shortened(
            f"{record.title}\n\n{text}" if record.title and record.title not in text else text, max_chars
        )
        yield row(
            record,
            task="triage",
            prompt=[
                {"role": "system", "content": instruction.format(labels=", ".join(labels))},
                {"role": "user", "content": question},
            ],
            answer=label,
            label=label,
            sensitivity=is_local_only(record, local_only),
        )
