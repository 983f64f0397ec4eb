"""The page of `freehold scan --html`: the same facts as its JSON, with charts. Text from exports is escaped; no script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evaluation.report import environment_of_pages
from evaluation.report.charts import columns, heat

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def render(scanned: dict[str, Any], *, week: Sequence[int]) -> str:
    """The page. scanned: pipelines.scan.Scan.as_dict(); week: arrivals of 168 hours, Monday 00:00 UTC first."""
    tokens = {
        name: columns([(b.removeprefix("<= "), n) for b, n in t["bins"].items()], f"{name} by estimated tokens")
        for name, t in scanned["tokens"].items()
        if t["texts"]
    }
    return (
        environment_of_pages()
        .get_template("scan.html.j2")
        .render(
            s=scanned,
            tokens=tokens,
            arrivals=heat([(d, week[24 * i : 24 * i + 24]) for i, d in enumerate(DAYS)], "tickets by hour"),
        )
    )
