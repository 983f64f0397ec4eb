"""GitHub issues: the REST API's issues and comments, or `gh issue list --json`, as pages, arrays or one object a line.

GitHub has no internal notes: everything here is public. Maintainers (OWNER, MEMBER, COLLABORATOR) are agents, everybody else
is a customer; bots are bots; who deleted the account has no role. Pull requests are counted and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from data_prep.records import Dropped, Message, Person, Pointer, Record, Role, SourceError, Tally
from data_prep.sources._files import JSON_SUFFIXES, Peek, export_objects, moment
from data_prep.sources._threads import Stored, ThreadStore

KIND: Literal["ticket"] = "ticket"
LISTS = ("issues", "comments", "items")
MAINTAINERS = ("OWNER", "MEMBER", "COLLABORATOR")
DUPLICATE = re.compile(r"(?im)^\s*duplicates?(?: of)?:?\s+#(\d{1,9})\b")
PULL = re.compile(r"/pull/\d+(?:#|$)")
NUMBER = re.compile(r"/issues/(\d+)(?:#|$)")


def recognise(peek: Peek) -> dict[str, Any] | None:
    """Issues have a number with an author association, comments an issue_url."""
    if peek.suffix not in JSON_SUFFIXES:
        return None
    for o in peek.objects:
        if "issue_url" in o or ("number" in o and {"author_association", "authorAssociation", "stateReason"} & set(o)):
            return {}
    return None


def read(
    path: Path,
    tally: Tally,
    *,
    bots: tuple[str, ...] = (),
    unsolved_reasons: tuple[str, ...] = ("not_planned", "duplicate"),
) -> Iterator[Record]:
    """Threads of issues under `path`. A record's id is the issue's number, so one source holds one repository.

    bots: logins that answer automatically, besides GitHub's own bot accounts. unsolved_reasons: a closed issue with one of
    these state reasons is not solved; one without a reason is.
    """
    with ThreadStore(tally) as store:
        for where, item in export_objects(path, tally, keys=LISTS):
            _store(item, where, store, tally)
        if store.is_empty() and not tally.dropped["pull_request"]:
            raise SourceError(f"{path}: holds no issue (an object with `number` and `title`). Export the issues too.")
        names = tuple(login.casefold() for login in bots)
        for number, issue, comments in store.threads():
            record = _record(number, issue, comments, names, unsolved_reasons, tally)
            if record is not None:
                yield record


def _store(item: dict[str, Any], where: Pointer, store: ThreadStore, tally: Tally) -> None:
    number = item.get("number")
    if "issue_url" in item or ("body" in item and number is None and "id" in item):
        if _is_of_pull_request(item):
            tally.seen("messages")
            tally.drop(Dropped("comment_of_pull_request", where))
        else:
            _store_comment(_issue_of(item), item, where, store, tally)
    elif number in (None, "") or "title" not in item:
        comments = len(_list(item.get("comments")))
        tally.seen("other objects")
        if comments:
            tally.seen("messages", comments)
        tally.drop(Dropped("other_object", where, ", ".join(sorted(item)[:6])), messages=comments)
    else:
        _store_issue(number, item, where, store, tally)


def _store_issue(number: Any, item: dict[str, Any], where: Pointer, store: ThreadStore, tally: Tally) -> None:
    comments = _list(item.get("comments"))  # REST counts them here, `gh` holds them
    if _is_text(item, where, tally):
        tally.seen("tickets")
        if item.get("pull_request") is not None or _is_of_pull_request(item):
            tally.seen("messages", len(comments))
            tally.drop(Dropped("pull_request", where, str(number)), messages=len(comments))
            return
        store.add_ticket(number, {k: v for k, v in item.items() if k != "comments"}, where)
    for n, comment in enumerate(comments):
        place = Pointer(where.file, f"{where.at}/comments/{n}")
        if isinstance(comment, dict):
            _store_comment(str(number), comment, place, store, tally)
        else:
            tally.broken(place, f"comment is {type(comment).__name__}, not an object")


def _store_comment(
    number: str | None, comment: dict[str, Any], where: Pointer, store: ThreadStore, tally: Tally
) -> None:
    if not _is_text(comment, where, tally):
        return
    try:
        sent = _created(comment)
    except ValueError:
        sent = None
    store.add_message(
        number, comment.get("id") or f"{where.file} {where.at}", sent and sent.isoformat(), comment, where
    )


def _is_text(item: dict[str, Any], where: Pointer, tally: Tally) -> bool:
    """Whether the body is text or missing; anything else is counted as broken."""
    body = item.get("body")
    if body is not None and not isinstance(body, str):
        tally.broken(where, f"body is {type(body).__name__}, not text")
        return False
    return True


def _is_of_pull_request(item: dict[str, Any]) -> bool:
    return PULL.search(str(item.get("html_url") or item.get("url") or "")) is not None


def _issue_of(comment: dict[str, Any]) -> str | None:
    found = (NUMBER.search(str(comment.get(k) or "")) for k in ("issue_url", "html_url", "url"))
    return next((m[1] for m in found if m), None)


def _of(item: dict[str, Any], name: str) -> Any:
    """A field by its REST name or by the name that `gh` gives it."""
    first, *rest = name.split("_")
    return item.get(name, item.get(first + "".join(w.capitalize() for w in rest)))


def _created(item: dict[str, Any]) -> datetime | None:
    """Raises ValueError where the time cannot be read."""
    try:
        return moment(_of(item, "created_at"))
    except (TypeError, OverflowError) as e:
        raise ValueError(str(e)) from e


def _record(
    number: str, stored: Stored, comments: list[Stored], bots: tuple[str, ...], unsolved: tuple[str, ...], tally: Tally
) -> Record | None:
    issue, where = stored
    try:
        created = _created(issue)
    except ValueError as e:
        tally.drop(Dropped("unreadable_time", where, str(e)), messages=len(comments))
        return None
    reporter = _login(issue)
    tally.seen("messages")
    opening = Message(reporter or "", _role(issue, bots), True, created, str(issue.get("body") or ""), pointer=where)
    messages = (opening, *(_message(c, at, bots, tally) for c, at in comments))
    if not any(m.text.strip() for m in messages):
        tally.drop(Dropped("ticket_without_messages", where), messages=len(messages))
        return None
    reason = str(_of(issue, "state_reason") or "").casefold()
    return Record(
        id=number,
        kind="ticket",
        group=(reporter or f"unknown-{number}").casefold(),
        created=created,
        title=str(issue.get("title") or ""),
        messages=messages,
        pointer=where,
        fields=_fields(issue, reason),
        solved=str(issue.get("state") or "").casefold() == "closed" and reason not in unsolved,
        people=tuple(Person(login, (login,)) for login in sorted({m.author for m in messages} - {""})),
        reopened=reason == "reopened",
        links=tuple(dict.fromkeys(n for m in messages for n in DUPLICATE.findall(m.text))),
    )


def _message(item: dict[str, Any], where: Pointer, bots: tuple[str, ...], tally: Tally) -> Message:
    try:
        created = _created(item)
    except ValueError:
        tally.seen("messages without a readable time")
        created = None
    return Message(_login(item) or "", _role(item, bots), True, created, str(item.get("body") or ""), pointer=where)


def _login(item: dict[str, Any]) -> str | None:
    user = item.get("user", item.get("author"))
    login = user.get("login") if isinstance(user, dict) else user
    return str(login) if login and login != "ghost" else None


def _role(item: dict[str, Any], bots: tuple[str, ...]) -> Role:
    user = item.get("user", item.get("author"))
    login = _login(item)
    if login is None:
        return "system"
    is_bot = isinstance(user, dict) and (user.get("type") == "Bot" or user.get("is_bot") is True)
    if is_bot or login.endswith("[bot]") or login.casefold() in bots:
        return "bot"
    if _of(item, "author_association") in MAINTAINERS:
        return "agent"
    return "customer"


def _fields(issue: dict[str, Any], reason: str) -> dict[str, str]:
    named = [str(n.get("name") or "") if isinstance(n, dict) else str(n or "") for n in _list(issue.get("labels"))]
    found = {
        "state": str(issue.get("state") or "").casefold(),
        "state_reason": reason,
        "author_association": str(_of(issue, "author_association") or ""),
        "labels": ",".join(n for n in named if n),
    }
    return {k: v for k, v in found.items() if v}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
