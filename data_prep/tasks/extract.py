"""Extraction: the ticket's own fields, as JSON, from what the customer wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator

from data_prep.library import Library
from data_prep.records import Dropped, Redacted, Row
from data_prep.tasks._make import is_local_only, opening, row


def rows(
    record: Redacted,
    library: Library,  # noqa: ARG001  (every task has this shape)
    *,
    fields: dict[str, tuple[str, ...]],
    instruction: str = "Extract these fields of the ticket. Answer with one JSON object of this schema: {schema}",
    max_chars: int = 1500,
    local_only: dict[str, str] = {},  # noqa: B006  (read only)
) -> Iterator[Row | Dropped]:
    """One row a ticket. fields: name of a record's field → the values it may have; any text where there are none.

    The answer is compact JSON with sorted keys; a field that the ticket has not is null.
    """
    if record.kind != "ticket":
        return
    question = opening(record, max_chars)
    values = {name: record.fields.get(name) for name in fields}
    odd = sorted(n for n, v in values.items() if v is not None and fields[n] and v not in fields[n])
    if question is None:
        yield Dropped("no_customer_message", record.pointer)
    elif odd:
        yield Dropped("value_not_listed", record.pointer, ", ".join(odd))
    elif not any(values.values()):
        yield Dropped("no_field", record.pointer, f"it has {sorted(record.fields)}")
    else:
        told = instruction.replace("{schema}", compact(schema(fields)))
        yield row(
            record,
            task="extract",
            prompt=[{"role": "system", "content": told}, {"role": "user", "content": question}],
            answer=compact(values),
            sensitivity=is_local_only(record, local_only),
        )


def schema(fields: dict[str, tuple[str, ...]]) -> dict[str, object]:
    """JSON Schema (2020-12) of the answer."""
    properties = {
        name: {"enum": [*values, None]} if values else {"type": ["string", "null"]} for name, values in fields.items()
    }
    return {"type": "object", "properties": properties, "required": sorted(fields), "additionalProperties": False}


def compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
