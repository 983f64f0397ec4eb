"""Journals of ServiceNow: one text that holds every entry, newest first, each below a line of time, name and label.

Headers are matched by their shape, for the date's format follows the user's locale and the label is translated. A date that
fits both ways (03/05/2024) is read by the other dates of its ticket, else by the option.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from typing import Any

from data_prep.sources._files import moment

BREAK = re.compile(r"<br\s*/?>", re.I)
DATE = r"(?P<a>\d{1,4}|[A-Za-z]{3,9})[./\-年](?P<b>\d{1,2}|[A-Za-z]{3,9})(?:[./\-月](?P<c>\d{1,4})日?)?"
CLOCK = r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:\.\d+)?)?(?: ?(?P<half>[AaPp])\.? ?[Mm]\.?)?"
WHEN = re.compile(rf"{DATE}(?:[ T]{CLOCK})?")
PAIR = re.compile(r"(\d{1,2})[./\-](\d{1,2})[./\-]\d")
HEADER = re.compile(rf"(?P<when>{DATE} {CLOCK}) - (?P<who>\S.{{0,300}}\))")
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()


@dataclass(frozen=True, slots=True)
class Clock:
    """How this export writes times."""

    zone: tzinfo
    day_first: bool

    def like(self, dates: list[str]) -> Clock:
        """This clock with the order of days and months that one of the dates of a ticket gives away."""
        pairs = [(int(m[1]), int(m[2])) for m in map(PAIR.match, dates) if m]
        day_first = any(a > 12 for a, _ in pairs) or (self.day_first and not any(b > 12 for _, b in pairs))
        return replace(self, day_first=day_first)

    def moment(self, value: Any) -> datetime | None:
        """A time in UTC; None for an empty field. Raises ValueError where it cannot be read."""
        zone = self.zone
        if isinstance(value, dict):
            zone, value = (UTC, value["value"]) if value.get("value") else (zone, value.get("display_value"))
        try:
            parsed = self._local(value.strip()) if isinstance(value, str) else None
            return moment(value if parsed is None else parsed.replace(tzinfo=zone).isoformat())
        except (TypeError, OverflowError) as e:
            raise ValueError(f"{str(value)[:60]!r} is no time") from e

    def _local(self, text: str) -> datetime | None:
        """A date of any order with or without a clock; None for what has no year, an offset or another shape."""
        found = WHEN.fullmatch(text)
        if found is None or found["c"] is None:
            return None
        year, month, day = self._date(found["a"], found["b"], found["c"], dotted="." in text[:5])
        hour = int(found["hour"] or 0)
        if found["half"]:
            hour = hour % 12 + 12 * (found["half"] in "Pp")
        return datetime(year, month, day, hour, int(found["minute"] or 0), int(found["second"] or 0))  # noqa: DTZ001  (the caller sets the zone)

    def _date(self, a: str, b: str, c: str, *, dotted: bool) -> tuple[int, int, int]:
        if len(a) == 4 and a.isdigit():
            return int(a), _month(b), int(c)
        year = int(c) + (2000 if len(c) <= 2 else 0)
        if a.isdigit() != b.isdigit() or max(int(a), int(b)) > 12:
            day_first = a.isdigit() and (not b.isdigit() or int(a) > 12)
        else:
            day_first = dotted or self.day_first
        return (year, _month(b), int(a)) if day_first else (year, _month(a), int(b))


def _month(text: str) -> int:
    return int(text) if text.isdigit() else MONTHS.index(text[:3].lower()) + 1


def lines_of(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    return text if "\n" in text else BREAK.sub("\n", text)  # some dumps have <br> for every line end


def entries_of(text: str) -> list[tuple[str, str, str, str]]:
    """When, who, label and text of every entry; one without the first three where a text has no header."""
    found: list[tuple[str, str, str, list[str]]] = []
    for line in text.split("\n"):
        match = HEADER.fullmatch(line.strip()) if len(line) < 400 and line.rstrip().endswith(")") else None
        name_and_label = _label(match["who"]) if match else None
        if match and name_and_label:
            found.append((match["when"], *name_and_label, []))
        elif found or line.strip():
            found = found or [("", "", "", [])]
            found[-1][3].append(line)
    return [(when, who, label, "\n".join(lines)) for when, who, label, lines in found]


def _label(text: str) -> tuple[str, str] | None:
    """Name and label of `Mara (Munich) (Comments (public))`: the label stands in the last parenthesis of the outermost."""
    depth = 0
    for at in range(len(text) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(text[at], 0)
        if depth == 0:
            return text[:at].strip(), text[at + 1 : -1]
    return None


def out_of_order(times: list[datetime | None]) -> set[int]:
    """Which entries stand against the order of their journal, newest first: such a header was pasted into another's text."""
    known = [(n, t) for n, t in enumerate(times) if t is not None]
    return {n for (a, newer), (b, older) in pairwise(known) if newer < older for n in (a, b)}
