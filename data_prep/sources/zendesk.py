"""Zendesk exports: tickets, comments, users and what belongs to them, as incremental pages, arrays or one object a line.

The streams are told apart by their shape, whatever the files are called: tickets (with or without embedded comments),
ticket_comments, ticket_events and ticket_audits (comments stand inside), users, ticket_metrics, satisfaction_ratings,
ticket_fields. Roles come from the users stream. Fails closed: only `public: true` is public; a false, missing or unknown
flag makes an internal note, and an author without a known role is no agent. A ticket whose comments were not exported has its
description as its one message, which `is_public` may make internal. An object with a field of a wrong type is broken.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from data_prep.records import Dropped, Message, Origin, Person, Pointer, Record, Role, SourceError, Tally
from data_prep.sources._files import JSON_SUFFIXES, Peek, export_objects, moment
from data_prep.sources._threads import Stored, ThreadStore

KIND: Literal["ticket"] = "ticket"
STREAMS = (
    "tickets", "comments", "ticket_comments", "users", "ticket_events", "audits", "ticket_audits", "ticket", "comment", "user",
    "audit",
)  # fmt: skip
OTHERS = (
    "ticket_metrics", "ticket_metric", "ticket_metric_events", "satisfaction_ratings", "satisfaction_rating", "survey_responses",
    "ticket_fields", "ticket_field", "ticket_forms", "organizations", "organization_memberships", "groups", "group_memberships",
    "brands", "macros", "triggers", "automations", "views", "tags", "side_conversations", "articles", "sections", "categories",
    "topics", "posts", "ticket_skips", "deleted_tickets",
)  # fmt: skip
WRITTEN = (str, int, float)  # a subject may be a number
LISTS = ("comments", "tags", "custom_fields", "fields", "collaborator_ids", "follower_ids", "email_cc_ids")
TEXTS = ("subject", "raw_subject", "description", "body", "plain_body", "html_body")
CHECKED: dict[str, Any] = dict.fromkeys(LISTS, list) | dict.fromkeys(TEXTS, WRITTEN) | {"metric_set": dict}
A_TYPE: dict[Any, str] = {list: "a list", WRITTEN: "a text", dict: "an object"}
SOLVED = ("solved", "closed")
AUTOMATIC_CHANNELS = ("rule", "system", "rule_revision")
AUTOMATIC_RELATIONS = ("trigger", "automation", "rule")


def recognise(peek: Peek) -> dict[str, Any] | None:
    """Tickets have requester_id with status; comments ticket_id or author_id with public."""
    if peek.suffix not in JSON_SUFFIXES:
        return None
    for o in peek.objects:
        ticket = "requester_id" in o and "raw_subject" in o
        ticket = ticket or ("requester_id" in o and "submitter_id" in o) or {"requester_id", "custom_fields"} <= set(o)
        if ticket and "responder_id" not in o:  # that one is Freshdesk's
            return {}
        if "child_events" in o or ("author_id" in o and "public" in o) or ("events" in o and "ticket_id" in o):
            return {}
    return None


def read(
    path: Path,
    tally: Tally,
    *,
    custom_fields: dict[str, int] = {},  # noqa: B006  (read only; the schema shows it as the default)
    skip_tags: tuple[str, ...] = ("spam",),
    bots: tuple[str, ...] = (),
) -> Iterator[Record]:
    """Threads of a Zendesk export under `path`.

    custom_fields: name for Freehold → Zendesk's field id; without it all, by their title or as `field_ID`.
    skip_tags: tickets with one of these tags are dropped. bots: names of users that answer automatically, besides those
    the export marks itself.
    """
    titles: dict[str, str] = {}
    with ThreadStore(tally) as store:
        for where, item in export_objects(path, tally, keys=STREAMS + OTHERS):
            _store(item, where, store, titles, tally)
        if store.is_empty():
            raise SourceError(
                f"{path}: holds no ticket (an object with `subject` and `requester_id`). Export tickets.json too."
            )
        chosen = {str(n): name for name, n in custom_fields.items()}
        for id, ticket, comments in store.threads():
            record = _record(id, ticket, comments, store, chosen or titles, bool(chosen), skip_tags, bots, tally)
            if record is not None:
                yield record


def _store(item: dict[str, Any], where: Pointer, store: ThreadStore, titles: dict[str, str], tally: Tally) -> None:
    inside = item.get("child_events", item.get("events"))
    if isinstance(inside, list) and ("ticket_id" in item or "author_id" in item):
        _store_events(item, inside, where, store, tally)
    elif ("author_id" in item or "body" in item) and "title" not in item:  # an article has one
        _store_comment(item.get("ticket_id"), item.get("id"), item, where, store, tally)
    elif item.get("id") is None:
        _drop("object_without_id", item, where, tally)
    elif "requester_id" in item and "ticket_id" not in item:
        _store_ticket(item, where, store, tally)
    elif "ticket_id" in item and ("reopens" in item or "score" in item):
        store.add_fact(item["ticket_id"], {k: item.get(k) for k in ("reopens", "score", "created_at")})
    elif "role" in item or "email" in item:
        store.add_person(item["id"], {k: item.get(k) for k in PERSON})
    elif "title" in item and "type" in item and "url" in item:
        titles[str(item["id"])] = str(item["title"]).strip().lower()
    else:
        _drop("other_object", item, where, tally)


def _drop(reason: str, item: dict[str, Any], where: Pointer, tally: Tally) -> None:
    """Count an object that no thread has a place for, with the comments inside."""
    inside = item.get("comments")
    comments = len(inside) if isinstance(inside, list) else 0
    tally.seen("other objects")
    if comments:
        tally.seen("messages", comments)
    tally.drop(Dropped(reason, where, ", ".join(sorted(item)[:6])), messages=comments)


PERSON = ("id", "name", "alias", "email", "phone", "role", "user_type", "is_bot", "suspended")


def _store_ticket(item: dict[str, Any], where: Pointer, store: ThreadStore, tally: Tally) -> None:
    tally.seen("tickets")
    wrong, embedded = _wrong(item), item.get("comments") or []
    if wrong is None:
        store.add_ticket(item["id"], {**item, "comments": len(embedded)}, where)
    else:
        tally.broken(where, wrong)
    for n, comment in enumerate(embedded if isinstance(embedded, list) else []):
        place = Pointer(where.file, f"{where.at}/comments/{n}")
        if isinstance(comment, dict):
            _store_comment(item["id"], comment.get("id"), comment, place, store, tally, f"{item['id']}-{n}")
        else:
            tally.broken(place, f"comment is {type(comment).__name__}, not an object")


def _store_events(item: dict[str, Any], inside: list[Any], where: Pointer, store: ThreadStore, tally: Tally) -> None:
    """An audit or ticket event: its comments, each with the audit's author, time and channel where it has none itself."""
    kinds = {str(e.get("type") or e.get("event_type")) for e in inside if isinstance(e, dict)}
    macro = "AgentMacroReference" in kinds
    list_name = "child_events" if "child_events" in item else "events"
    for n, event in enumerate(inside):
        place = Pointer(where.file, f"{where.at}/{list_name}/{n}")
        if not isinstance(event, dict):
            tally.broken(place, f"event is {type(event).__name__}, not an object")
            continue
        if (event.get("event_type") or event.get("type")) != "Comment":
            tally.seen("events without a comment")
            continue
        comment = {
            "author_id": item.get("author_id", item.get("updater_id")), "created_at": item.get("created_at", item.get("timestamp")),
            "via": item.get("via"), **event, "macro": macro,
        }  # fmt: skip
        _store_comment(item.get("ticket_id"), event.get("id"), comment, place, store, tally)


def _store_comment(
    ticket: Any,
    id: Any,
    comment: dict[str, Any],
    where: Pointer,
    store: ThreadStore,
    tally: Tally,
    place_in_ticket: str | None = None,
) -> None:
    """Store a comment; one without an id goes by its place, so that two of them are not one.

    place_in_ticket: where it stands among the comments of its ticket, the same when the ticket is exported again.
    """
    wrong = _wrong(comment)
    if wrong is not None:
        tally.broken(where, wrong)
        return
    if id in (None, ""):
        tally.seen("messages without an id")
        id = place_in_ticket or f"{where.file} {where.at}"
    store.add_message(ticket, id, comment.get("created_at"), comment, where)


def _wrong(item: dict[str, Any]) -> str | None:
    """Which field of a ticket or comment has a type that no export writes; None where all are as they should be."""
    wrong = [name for name in item.keys() & CHECKED if item[name] and not isinstance(item[name], CHECKED[name])]
    if wrong:
        name = min(wrong)
        return f"{name} is {type(item[name]).__name__} {str(item[name])[:40]!r}, not {A_TYPE[CHECKED[name]]}"
    source = _object(_object(item.get("via")).get("source"))
    for end in ("from", "to"):
        value = _object(source.get(end)).get("ticket_ids") if source else None
        if value and not isinstance(value, list):
            return f"via.source.{end}.ticket_ids is {type(value).__name__} {str(value)[:40]!r}, not a list"
    return None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _record(
    id: str,
    stored: Stored,
    comments: list[Stored],
    store: ThreadStore,
    names: dict[str, str],
    only_named: bool,
    skip_tags: tuple[str, ...],
    bots: tuple[str, ...],
    tally: Tally,
) -> Record | None:
    ticket, where = stored
    tags = [str(t) for t in ticket.get("tags") or [] if t] if isinstance(ticket.get("tags"), list) else []
    skipped = sorted(set(tags) & set(skip_tags))
    if skipped or ticket.get("status") == "deleted":
        tally.drop(Dropped("skipped_tag" if skipped else "deleted", where, ", ".join(skipped)), messages=len(comments))
        return None
    if not comments and (ticket["comments"] or not ticket.get("description")):  # comments, all broken, may be internal
        tally.drop(Dropped("ticket_without_messages", where))
        return None
    try:
        created = moment(ticket.get("created_at"))
    except (ValueError, TypeError) as e:
        tally.drop(Dropped("unreadable_time", where, str(e)), messages=len(comments))
        return None
    requester = str(ticket.get("requester_id") or f"unknown-{id}")
    users = {u: store.person(u) for u in sorted(_involved(requester, ticket, comments))}
    messages = tuple(_message(c, at, users, bots, tally) for c, at in comments)
    if not messages:
        tally.seen("messages")
        public = ticket.get("is_public", True) is True
        messages = (Message(requester, "customer", public, created, str(ticket["description"]), pointer=where),)
    facts = store.facts(id)
    reopens = [f.get("reopens") for f in facts] + [_object(ticket.get("metric_set")).get("reopens")]
    return Record(
        id=id,
        kind="ticket",
        group=str((users.get(requester) or {}).get("email") or requester).casefold(),
        created=created,
        title=str(ticket.get("raw_subject") or ticket.get("subject") or ""),
        messages=messages,
        pointer=where,
        fields=_fields(ticket, names, only_named, tags),
        solved=ticket.get("status") in SOLVED,
        people=tuple(_person(u) for u in users.values() if u is not None),
        reopened=any(isinstance(n, int) and n > 0 for n in reopens),
        satisfaction=_satisfaction(ticket, facts),
        links=tuple(_links(ticket, comments)),
    )


def _involved(requester: str, ticket: dict[str, Any], comments: list[Stored]) -> set[str]:
    others = [ticket.get(k) for k in ("assignee_id", "submitter_id")]
    for k in ("collaborator_ids", "follower_ids", "email_cc_ids"):
        others += ticket[k] if isinstance(ticket.get(k), list) else []
    return {requester, *(str(o) for o in others if o), *(str(c.get("author_id")) for c, _ in comments)}


def _fields(ticket: dict[str, Any], names: dict[str, str], only_named: bool, tags: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for f in ticket.get("custom_fields") or ticket.get("fields") or []:
        if isinstance(f, dict) and f.get("value") not in (None, "", []):
            id, value = str(f.get("id")), f["value"]
            if id in names or not only_named:
                fields[names.get(id, f"field_{id}")] = (
                    ",".join(map(str, value)) if isinstance(value, list) else str(value)
                )
    for name in ("type", "priority", "status"):
        if ticket.get(name):
            fields[name] = str(ticket[name])
    if tags:
        fields["tags"] = ",".join(tags)
    return fields


def _message(
    comment: dict[str, Any], where: Pointer, users: dict[str, Any], bots: tuple[str, ...], tally: Tally
) -> Message:
    html, plain = comment.get("html_body"), comment.get("plain_body") or comment.get("body")
    author = str(comment.get("author_id"))
    try:
        created = moment(comment.get("created_at"))
    except (ValueError, TypeError):
        tally.seen("messages without a readable time")
        created = None
    attached = comment.get("attachments")
    return Message(
        author=author,
        role=_role(users.get(author), bots),
        public=comment.get("public") is True,
        created=created,
        text=str(html or plain or ""),
        html=bool(html),
        origin=_origin(comment),
        attachments=tuple(
            str(a["file_name"]) for a in attached if isinstance(a, dict) and a.get("file_name")
        ) if isinstance(attached, list) else (),
        pointer=where,
    )  # fmt: skip


def _origin(comment: dict[str, Any]) -> Origin:
    via = comment.get("via")
    channel = via.get("channel") if isinstance(via, dict) else str(via or "").casefold()
    source = via.get("source") if isinstance(via, dict) else None
    relation = source.get("rel") if isinstance(source, dict) else None
    if relation == "merge" or channel == "merge":
        return "merge"
    if channel in AUTOMATIC_CHANNELS or relation in AUTOMATIC_RELATIONS:
        return "automatic"
    return "macro" if comment.get("macro") is True or relation == "macro" or channel == "macro reference" else "person"


def _role(user: dict[str, Any] | None, bots: tuple[str, ...]) -> Role:
    """Suspended and deleted users have no role: their words are never an agent's."""
    if user is None:
        return "system"
    if user.get("name") in bots or user.get("user_type") == "bot" or user.get("is_bot"):
        return "bot"
    if user.get("suspended") not in (None, False):
        return "system"
    return {"end-user": "customer", "agent": "agent", "admin": "agent"}.get(str(user.get("role")), "system")  # type: ignore[return-value]


def _person(user: dict[str, Any]) -> Person:
    return Person(
        id=str(user["id"]),
        names=tuple(str(user[k]) for k in ("name", "alias") if user.get(k)),
        emails=(str(user["email"]),) if user.get("email") else (),
        phones=(str(user["phone"]),) if user.get("phone") else (),
    )


def _satisfaction(ticket: dict[str, Any], facts: list[Any]) -> Literal["good", "bad"] | None:
    rating = ticket.get("satisfaction_rating")
    scores = [rating.get("score") if isinstance(rating, dict) else rating, *(f.get("score") for f in facts)]
    said = [str(s).removesuffix("_with_comment") for s in scores if s]
    return "bad" if "bad" in said else "good" if "good" in said else None


def _links(ticket: dict[str, Any], comments: list[Stored]) -> Iterator[str]:
    """Tickets that this one was merged with or follows up."""
    for via in (ticket.get("via"), *(c.get("via") for c, _ in comments)):
        source = via.get("source") if isinstance(via, dict) else None
        if isinstance(source, dict) and source.get("rel") in ("merge", "follow_up"):
            for end in (source.get("from"), source.get("to")):
                if isinstance(end, dict):
                    yield from (str(t) for t in [end.get("ticket_id"), *(end.get("ticket_ids") or [])] if t)
    if ticket.get("followup_source_id"):
        yield str(ticket["followup_source_id"])
