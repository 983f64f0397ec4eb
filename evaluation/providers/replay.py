"""Stored answers instead of a server: the baseline snapshot, read and priced anew when the model may be long gone.

Each answer holds its date, the exact model id, parameters, the server's own token counts, and the prices of its day.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from evaluation.prices import Book
from evaluation.providers.openai_compatible import as_usage
from evaluation.results import Answer


def priced_anew(answers: Iterable[Answer], prices: Book) -> list[Answer]:
    """The same answers under other prices. Without stored token counts a price is unknown, not zero.

    What attempts were presumed to cost stays: it was money of that day, and belongs to no answer.
    """
    described = prices.describe()
    return [
        replace(a, usd=prices.usd(as_usage(a.usage)) if a.usage is not None else None, prices=described)
        for a in answers
    ]


def snapshot(answers: Iterable[Answer]) -> dict[str, Any]:
    """What a set of stored answers is: when they were given, by which models, how they were asked, at which prices."""
    listed = list(answers)
    days = sorted(a.asked_at for a in listed if a.asked_at is not None)
    return {
        "answers": len(listed),
        "first": days[0] if days else None,
        "last": days[-1] if days else None,
        "undated": len(listed) - len(days),
        "models": sorted({_name(a.model) for a in listed if a.model is not None}),
        "parameters": _distinct(a.parameters for a in listed),
        "prices": _distinct(a.prices for a in listed),
        "without_token_counts": sum(a.text is not None and a.usage is None for a in listed),
    }


def _name(model: str) -> str:
    """A model's id as a page may show it: of one that a server names by its folder the last part; `@main` says nothing."""
    whole = model.removesuffix("@main")
    return whole.rsplit("/", 1)[-1] if whole.startswith("/") else whole


def _distinct(found: Iterable[dict[str, Any] | None]) -> list[dict[str, Any]]:
    seen = {repr(sorted(d.items())): d for d in found if d is not None}
    return [seen[k] for k in sorted(seen)]
