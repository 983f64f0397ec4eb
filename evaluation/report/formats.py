"""How figures and other people's texts are written on a page. What was not measured says so and is no number."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from markupsafe import Markup

BIDIRECTIONAL = re.compile(r"[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def straight(value: Any) -> Any:
    """Texts without the characters that turn the reading direction of what follows them."""
    if not isinstance(value, str):
        return value
    return type(value)(BIDIRECTIONAL.sub("", value))


def markdown(text: Any) -> Markup:
    """Text that no Markdown reader takes for a table's end, a link, code or HTML, and that turns no reading direction."""
    return Markup(re.sub(r"([\\`*_\[\]|#])", r"\\\1", escape(" ".join(str(text).split()), quote=False)))


def number(value: float | None, digits: int = 3) -> str:
    return "not measured" if value is None else f"{value:.{digits}f}"


def milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def two_digits(value: int) -> int:
    """Rounded to its first two digits: a volume that rests on guessed prices and capacities is no more precise."""
    return round(value, 2 - len(str(abs(value))))


def monthly(value: Any) -> str:
    """A month's bill in USD."""
    return "not known" if value is None else f"{float(value):,.2f}"


def usd(value: Any) -> str:
    return (
        "not known" if value is None else f"{float(value):,.3f}" if abs(float(value)) < 10 else f"{float(value):,.2f}"
    )
