"""What the two JSON metrics share."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from data_prep.tasks._make import json_in
from evaluation.results import Item

SEARCHED = 20_000  # characters of prose in which an object is looked for; thousands of broken ones take seconds


def asks_for_json(item: Item) -> bool:
    """Is a JSON object what a perfect answer is?"""
    return not item.choices and _is_object(item.reference)


@lru_cache(maxsize=20_000)
def _is_object(reference: str) -> bool:
    return strict_object(reference) is not None


def strict_object(text: str) -> dict[str, Any] | None:
    """The object that the whole text is, as RFC 8259 has it: no NaN, no key twice, nothing around it."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def object_in(text: str) -> dict[str, Any] | None:
    """The object that the text is, else the first that it holds, in fences or prose."""
    found = strict_object(text)
    return found if found is not None else next(iter(json_in(text[:SEARCHED])), None)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key occurs twice")
    return made


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
