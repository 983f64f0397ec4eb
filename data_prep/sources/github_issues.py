"""GitHub issues: the REST API's issues and comments, or `gh issue list --json`, as pages, arrays or one object a line.

GitHub has no internal notes: everything here is public. Maintainers (OWNER, MEMBER, COLLABORATOR) are agents, everybody else
is a customer; bots are bots; who deleted the account has no role. Pull requests are counted and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from data_prep.records import Dropped, Message, Person, Pointer, Record, Role, SourceError, Tally
from data_prep.sources._files import JSON_SUFFIXES, Peek, files, json_objects, moment, relative
from data_prep.sources._threads import Stored, ThreadStore

KIND: Literal["ticket"] = "ticket"
LISTS = ("issues", "comments", "items")
MAINTAINERS = ("OWNER", "MEMBER", "COLLABORATOR")
DUPLICATE = re.compile(r"(?im)^\s*duplicates?(?: of)?:?\s+#(\d{1,9})\b")
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
        for file in files(path, *JSON_SUFFIXES):
            for where, item in json_objects(file, relative(file, path), tally, keys=LISTS):
                _store(item, where, store, tally)
        if store.is_empty() and not tally.dropped["pull_request"]:
            raise SourceError(f"{path}: holds no issue (an object with `number` and `title`). Export the issues too.")
        for number, issue, comments in store.threads():
            record = _record(number, issue, comments, bots, unsolved_reasons, tally)
            if record is not None:
                yield record


def _store(item: dict[str, Any], where: Pointer, store: ThreadStore, tally: Tally) -> None:
    number = item.get("number")
    if "issue_url" in item or ("body" in item and number is None and "id" in item):
        found = NUMBER.search(str(item.get("issue_url") or item.get("html_url") or ""))
        store.add_message(found[1] if found else None, item.get("id", where.at), _of(item, "created_at"), item, where)
    elif number is None or "title" not in item:
        tally.seen("other objects")
        tally.drop(Dropped("other_object", where, ", ".join(sorted(item)[:6])))
    elif item.get("pull_request") is not None or "/pull/" in str(item.get("html_url") or item.get("url") or ""):
        tally.seen("tickets")
        tally.drop(Dropped("pull_request", where, str(number)))
    else:
        tally.seen("tickets")
        embedded = item.get("comments")
        store.add_ticket(number, {k: v for k, v in item.items() if k != "comments"}, where)
        for n, comment in enumerate(embedded if isinstance(embedded, list) else []):
            place = Pointer(where.file, f"{where.at}/comments/{n}")
            if isinstance(comment, dict):
                id = comment.get("id") or f"{number}-{n}"
                store.add_message(number, id, _of(comment, "created_at"), comment, place)
            else:
                tally.broken(place, f"comment is {type(comment).__name__}, not an object")


def _of(item: dict[str, Any], name: str) -> Any:
    """A field by its REST name or by the name that `gh` gives it."""
    first, *rest = name.split("_")
    return item.get(name, item.get(first + "".join(w.capitalize() for w in rest)))


def _record(
    number: str, stored: Stored, comments: list[Stored], bots: tuple[str, ...], unsolved: tuple[str, ...], tally: Tally
) -> Record | None:
    issue, where = stored
    try:
        created = moment(_of(issue, "created_at"))
    except (ValueError, TypeError, OverflowError) as e:
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
        created = moment(_of(item, "created_at"))
    except (ValueError, TypeError, OverflowError):
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
    if is_bot or login.endswith("[bot]") or login in bots:
        return "bot"
    if _of(item, "author_association") in MAINTAINERS:
        return "agent"
    return "customer"


def _fields(issue: dict[str, Any], reason: str) -> dict[str, str]:
    labels = issue.get("labels")
    named = [str(n["name"] if isinstance(n, dict) else n) for n in labels if n] if isinstance(labels, list) else []
    found = {
        "state": str(issue.get("state") or "").casefold(),
        "state_reason": reason,
        "author_association": str(_of(issue, "author_association") or ""),
        "labels": ",".join(named),
    }
    return {k: v for k, v in found.items() if v}
