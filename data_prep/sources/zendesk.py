"""Zendesk exports: tickets, comments and users as incremental pages, plain arrays or one JSON object a line.

The three streams are told apart by their shape, whatever the files are called. Roles come from the users stream.
Fails closed: only `public: true` is public; a false, missing or unknown flag makes an internal note.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.records import Dropped, Message, Person, Pointer, Record, Role, SourceError, Tally
from data_prep.sources._files import files, json_objects, moment
from data_prep.sources._threads import Stored, ThreadStore

STREAMS = ("tickets", "comments", "users")
OTHERS = ("organizations", "groups", "brands", "ticket_metrics", "satisfaction_ratings", "macros", "ticket_fields")
SOLVED = ("solved", "closed")


def read(
    path: Path,
    tally: Tally,
    *,
    custom_fields: dict[str, int] = {},  # noqa: B006  (read only; the schema shows it as the default)
    skip_tags: tuple[str, ...] = ("spam",),
    bots: tuple[str, ...] = (),
) -> Iterator[Record]:
    """Threads of a Zendesk export under `path`.

    custom_fields: name for Freehold → Zendesk's field id. skip_tags: tickets with one of these tags are dropped.
    bots: names of users that answer automatically, besides those the export marks itself.
    """
    users: dict[str, dict[str, Any]] = {}
    with ThreadStore() as store:
        for file in files(path, ".json", ".ndjson", ".jsonl"):
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            for at, item in json_objects(file, keys=STREAMS + OTHERS):
                _store(item, Pointer(name, at), store, users, tally)
        seen = False
        for id, ticket, comments in store.threads():
            seen = True
            record = _record(id, ticket, comments, users, custom_fields, skip_tags, bots, tally)
            if record is not None:
                yield record
        if not seen:
            raise SourceError(
                f"{path}: holds no ticket (an object with `subject` and `requester_id`). Export tickets.json too."
            )
        for ticket_id, orphan_file, at in store.orphans():
            tally.drop(Dropped("comment_without_ticket", Pointer(orphan_file, at), f"ticket {ticket_id}"))


def _store(
    item: dict[str, Any],
    where: Pointer,
    store: ThreadStore,
    users: dict[str, dict[str, Any]],
    tally: Tally,
) -> None:
    if "id" not in item:
        tally.drop(Dropped("object_without_id", where))
    elif "ticket_id" in item or "author_id" in item:
        tally.seen("messages")
        if not item.get("ticket_id"):
            tally.drop(Dropped("comment_without_ticket", where))
            return
        sent = str(item.get("created_at") or "")
        if store.add_message(str(item["ticket_id"]), sent, str(item["id"]), item, where.file, where.at):
            tally.drop(Dropped("duplicate_message_id", where, str(item["id"])))
    elif "requester_id" in item or "subject" in item:
        tally.seen("tickets")
        if store.add_ticket(str(item["id"]), item, where.file, where.at):
            tally.drop(Dropped("duplicate_ticket_id", where, str(item["id"])))
        for n, comment in enumerate(item.get("comments") or []):
            tally.seen("messages")
            nested = {"id": f"{item['id']}-{n}", **comment}
            store.add_message(
                str(item["id"]),
                str(nested.get("created_at") or n),
                str(nested["id"]),
                nested,
                where.file,
                f"{where.at}/comments/{n}",
            )
    elif "role" in item or "email" in item:
        users[str(item["id"])] = item
    else:
        tally.seen("other objects")
        tally.drop(Dropped("other_object", where, ", ".join(sorted(item)[:6])))


def _record(
    id: str,
    stored: Stored,
    comments: list[Stored],
    users: dict[str, dict[str, Any]],
    custom_fields: dict[str, int],
    skip_tags: tuple[str, ...],
    bots: tuple[str, ...],
    tally: Tally,
) -> Record | None:
    ticket, file, at = stored
    where = Pointer(file, at)
    tags = ticket.get("tags") or []
    skipped = sorted(set(tags) & set(skip_tags))
    if skipped or ticket.get("status") == "deleted":
        tally.drop(Dropped("skipped_tag" if skipped else "deleted", where, ", ".join(skipped)), messages=len(comments))
        return None
    if not comments and not ticket.get("description"):
        tally.drop(Dropped("ticket_without_messages", where))
        return None
    try:
        created = moment(ticket.get("created_at"))
        messages = tuple(_message(c, users, bots) for c, *_ in comments) or (_opening(ticket, created),)
    except ValueError as e:
        tally.drop(Dropped("unreadable_time", where, str(e)), messages=len(comments))
        return None
    requester = str(ticket.get("requester_id") or f"unknown-{id}")
    values = {str(f.get("id")): f.get("value") for f in ticket.get("custom_fields") or [] if isinstance(f, dict)}
    fields = {name: str(values[str(n)]) for name, n in custom_fields.items() if values.get(str(n)) not in (None, "")}
    for name in ("type", "priority", "status"):
        if ticket.get(name):
            fields[name] = str(ticket[name])
    involved = {requester, str(ticket.get("assignee_id") or ""), *(m.author for m in messages)}
    return Record(
        id=id,
        kind="ticket",
        group=str((users.get(requester) or {}).get("email") or requester).casefold(),
        created=created,
        title=str(ticket.get("raw_subject") or ticket.get("subject") or ""),
        messages=messages,
        pointer=where,
        fields=fields,
        solved=ticket.get("status") in SOLVED and _satisfaction(ticket) != "bad",
        people=tuple(_person(users[u]) for u in sorted(involved) if u in users),
    )


def _opening(ticket: dict[str, Any], created: Any) -> Message:
    return Message(str(ticket.get("requester_id")), "customer", True, created, str(ticket["description"]))


def _message(comment: dict[str, Any], users: dict[str, dict[str, Any]], bots: tuple[str, ...]) -> Message:
    html, plain = comment.get("html_body"), comment.get("plain_body") or comment.get("body")
    author = str(comment.get("author_id"))
    return Message(
        author=author,
        role=_role(users.get(author), comment, bots),
        public=comment.get("public") is True,
        created=moment(comment.get("created_at")),
        text=str(html or plain or ""),
        html=bool(html),
    )


def _role(user: dict[str, Any] | None, comment: dict[str, Any], bots: tuple[str, ...]) -> Role:
    """Suspended and deleted users have no role: their words are never an agent's."""
    channel = (comment.get("via") or {}).get("channel")
    if user is None:
        return "system"
    if user.get("name") in bots or user.get("user_type") == "bot" or user.get("is_bot"):
        return "bot"
    if channel in ("rule", "system"):
        return "system"
    return {"end-user": "customer", "agent": "agent", "admin": "agent"}.get(str(user.get("role")), "system")  # type: ignore[return-value]


def _person(user: dict[str, Any]) -> Person:
    return Person(
        id=str(user["id"]),
        names=tuple(str(user[k]) for k in ("name", "alias") if user.get(k)),
        emails=(str(user["email"]),) if user.get("email") else (),
        phones=(str(user["phone"]),) if user.get("phone") else (),
    )


def _satisfaction(ticket: dict[str, Any]) -> str | None:
    rating = ticket.get("satisfaction_rating")
    return rating.get("score") if isinstance(rating, dict) else rating
