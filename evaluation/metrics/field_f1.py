"""F1 of the fields that a JSON answer fills, against the reference's: a field is right with its name and its value.

Case and white space of values aside; null, "" and a missing field are the same. Read leniently, since json_valid already
judges the form: the first object in fences or prose counts. An answer without any object is measured, as 0: it was asked
for fields and filled none.
"""

from __future__ import annotations

import json
from typing import Any

from evaluation.metrics._json import asks_for_json, object_in

APPLIES = "text"
applies = asks_for_json
BETTER = "higher"
PERFECT = ('{"product": "Hub", "version": null}', '{"product":"hub","version":null}', 1.0)
WORTHLESS = ('{"product": "valve"}', '{"product":"hub"}', 0.0)


def score(answer: str, reference: str) -> float | None:
    """None where the reference is no JSON object. 1 where both leave every field empty."""
    wanted = object_in(reference)
    if wanted is None:
        return None
    said = object_in(answer)
    if said is None:
        return 0.0
    ours, theirs = _filled(said), _filled(wanted)
    return 2 * len(ours & theirs) / (len(ours) + len(theirs)) if ours or theirs else 1.0


def _filled(fields: dict[str, Any]) -> set[tuple[str, str]]:
    return {(name, told) for name, value in fields.items() if (told := _plain(value))}


def _plain(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return " ".join(text.split()).casefold()
