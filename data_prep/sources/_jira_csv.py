"""The issue navigator's CSV: every row as the issue that the REST API gives.

Headers repeat, one for each comment, label or file, so cells are read by position: a dictionary would keep the last. A
comment's cell says nothing about who may see it; a service desk's CSV is refused unless its owner says that all is public.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_prep.records import Pointer, SourceError, Tally
from data_prep.sources._files import moment
from data_prep.sources._tables import Table

SERVICE_DESK_HEADERS = ("request type", "satisfaction", "organizations")
CSV_TIMES = (
    "%d/%b/%y %I:%M %p", "%d/%b/%Y %I:%M %p", "%d/%b/%y %H:%M", "%d/%b/%Y %H:%M", "%d.%m.%Y %H:%M", "%d.%m.%y %H:%M",
    "%b %d, %Y, %I:%M %p", "%b %d, %Y %I:%M %p",
)  # fmt: skip
CSV_CATEGORIES = {"to do": "new", "in progress": "indeterminate", "done": "done"}
LINK_HEADER = re.compile(r"(?:Inward|Outward) issue link \((.+)\)")
ACCOUNT_ID = re.compile(r"[0-9a-f]{24}|[\w-]+:[\w:-]{24,}")


def rows(
    file: Path, name: str, tally: Tally, assume_public: bool, encoding: str, date_format: str | None
) -> Iterator[tuple[Pointer, dict[str, Any]]]:
    """The rows of a file as issues, with their places. A row of another width is broken.

    Raises SourceError where it is no CSV of Jira's, or a service desk's without `assume_public`.
    """
    table = Table(file, name, encoding)
    header = table.header
    if "Issue key" not in header:
        raise SourceError(f"{file}:1: has no column 'Issue key', so it is not Jira's; it has {header[:12]}.")
    if not assume_public and (found := [h for h in header if any(s in h.lower() for s in SERVICE_DESK_HEADERS)]):
        raise _no_flags(file, f"column {found[0]!r}")
    for where, cells in table.rows(tally):
        row: dict[str, list[str]] = {h: [] for h in header}
        for h, cell in zip(header, cells, strict=True):
            row[h] += [cell] if cell else []
        if not assume_public and (sign := _service_desk_sign(row)):
            raise _no_flags(file, f"{sign} in {where.at}")
        yield where, _issue(row, tally, date_format)


def _service_desk_sign(row: dict[str, list[str]]) -> str | None:
    """What in a row only a service desk has: its project's type, its own issue types, customers of the portal."""
    signs = (
        ("a project of type", "Project type", re.compile(r"service[ _]desk", re.IGNORECASE)),
        ("the issue type", "Issue Type", re.compile(r"\[System\] .*")),
        ("the portal customer", "Reporter Id", re.compile(r"qm:.*")),
        ("the portal customer", "Creator Id", re.compile(r"qm:.*")),
    )
    found = (f"{what} {cell!r}" for what, h, sign in signs for cell in row.get(h, ()) if sign.fullmatch(cell.strip()))
    return next(found, None)


def _no_flags(file: Path, found: str) -> SourceError:
    return SourceError(
        f"{file}: is a service desk's CSV ({found}), which does not tell internal comments from public ones."
        " Export JSON from the REST API, or set `assume_public: true` in this source's options if it holds no internal ones."
    )


def _issue(row: dict[str, list[str]], tally: Tally, date_format: str | None) -> dict[str, Any]:
    def first(*headers: str) -> str:
        return next((row[h][0] for h in headers if row.get(h)), "")

    def every(*headers: str) -> list[str]:
        return [cell for h in headers for cell in row.get(h, ())]

    def user(header: str) -> dict[str, Any] | None:
        id = first(f"{header} Id") or first(header)
        return {"accountId": id, "displayName": first(header)} if id else None

    comments = [_comment(cell, bool(first("Reporter Id")), tally, date_format) for cell in every("Comment")]
    links = (((m[1], cell) for cell in cells) for h, cells in row.items() if (m := LINK_HEADER.fullmatch(h)))
    watchers = zip(every("Watchers Id"), every("Watchers"), strict=False)
    return {
        "id": first("Issue id"),
        "key": first("Issue key"),
        "fields": {
            **{h: cells[0] if len(cells) == 1 else cells for h, cells in row.items() if cells},
            "summary": first("Summary"), "description": first("Description"), "created": _time(first("Created"), date_format),
            "status": {"name": first("Status"), "statusCategory": {"key": CSV_CATEGORIES.get(first("Status Category").lower())}},
            "issuetype": first("Issue Type"), "priority": first("Priority"), "resolution": first("Resolution"),
            "project": first("Project key"), "labels": every("Labels"), "components": every("Component/s", "Components"),
            "fixVersions": every("Fix Version/s", "Fix versions"), "reporter": user("Reporter"), "creator": user("Creator"),
            "assignee": user("Assignee"), "watchers": [{"accountId": i, "displayName": n} for i, n in watchers],
            "issuelinks": [{"type": {"name": t}, "inwardIssue": {"key": k}} for pairs in links for t, k in pairs],
            "attachment": [{"filename": "".join(cell.split(";", 3)[2:3])} for cell in every("Attachment")],
            "comment": {"comments": comments, "total": len(comments)},
        },
    }  # fmt: skip


def _comment(cell: str, ids_known: bool, tally: Tally, date_format: str | None) -> dict[str, Any]:
    """A cell `time;author;text`; where it does not begin so, all of it is the text and nobody wrote it.

    An author's account id says nothing where the reporter is known by name alone.
    """
    created, _, rest = cell.partition(";")
    author, sign, text = rest.partition(";")
    sent = _time(created, date_format)
    try:
        if not sign or moment(sent) is None:
            raise ValueError("no time and author")
    except (ValueError, TypeError, OverflowError):
        tally.seen("messages without a readable time")
        return {"body": cell, "author": None, "created": None}
    kind = None if ids_known or not ACCOUNT_ID.fullmatch(author) else "unknown"
    return {"body": text, "author": {"accountId": author, "accountType": kind}, "created": sent}


def _time(text: str, date_format: str | None) -> str:
    """A CSV's time as ISO 8601; the text itself where no format fits."""
    for known in (date_format,) if date_format else CSV_TIMES:
        try:
            return datetime.strptime(text.strip(), known).replace(tzinfo=UTC).isoformat()
        except ValueError:
            continue
    return text.strip()
