"""Intercom exports: conversations with embedded or separate parts, contacts and teammates; pages, arrays, one object a line.

Fails closed. What teammates and bots write is public in a `comment` or `quick_reply`. A note, an unknown or missing
`part_type` and a teammate's text on an event (assignment, close, open, snoozed) are internal: an assignment's text may be
meant for the next teammate, and the export does not say. They are counted; who knows that theirs go to the customer names
the part types in `public_parts`. A contact cannot write what a contact cannot read: a reply that opens, closes or snoozes
a conversation stays public.

Fin and Operator are bots whatever their author's type says: by `from_ai_agent`, `is_ai_answer`, or an `operator+…` address.
Macros and merges leave no mark in these exports; is_automatic and is_merge_notice recognise them by their text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from data_prep.records import Dropped, Message, Person, Pointer, Record, Role, SourceError, Tally
from data_prep.sources._files import JSON_SUFFIXES, Peek, export_objects, moment
from data_prep.sources._threads import Stored, ThreadStore

KIND: Literal["ticket"] = "ticket"
STREAMS = (
    "conversations", "conversation_parts", "contacts", "users", "leads", "admins", "teammates", "teams", "data", "tickets",
    "companies", "tags", "segments",
)  # fmt: skip
CONVERSATION = (
    "conversation_parts",
    "conversation_message",
    "source",
    "conversation_rating",
    "waiting_since",
    "snoozed_until",
)
PEOPLE = ("contact", "user", "lead", "visitor", "admin", "teammate", "team", "bot")
ROLES: dict[str, Role] = {
    "user": "customer", "lead": "customer", "contact": "customer", "customer": "customer", "admin": "agent",
    "teammate": "agent", "bot": "bot", "operator": "bot",
}  # fmt: skip
EVENTS = (
    "assignment", "close", "open", "snoozed", "unsnoozed", "timer_unsnooze", "assign_and_reopen", "assign_and_unsnooze",
    "away_mode_assignment", "default_assignment",
)  # fmt: skip
CONTACT_EVENTS = ("open", "close", "snoozed", "unsnoozed")
REOPENING = ("open", "assign_and_reopen", "note_and_reopen")
AUTOMATIC_OPENINGS = ("automated", "campaigns_initiated", "operator_initiated")  # of `source.delivered_as`
AUTOMATIC_PARTS = ("channel_and_reply_time_expectation", "away_mode_assignment", "default_assignment", "timer_unsnooze")
OPERATOR = re.compile(r"(?i)operator\+[^@]*@(?:[\w-]+\.)*intercom(?:-mail)?\.(?:io|com)")
MARKUP = re.compile(
    r"(?i)</?(?:p|div|br|h[1-6]|ul|ol|li|pre|code|img|a|b|i|em|strong|u|table|tr|td|th|span|blockquote|hr|iframe)\b[^<>]*>"
    r"|&(?:[a-z]{2,8}|#\d{1,7}|#x[0-9a-f]{1,6});"
)
LONGEST_FIELD = 200  # characters; longer values are texts, not labels


def recognise(peek: Peek) -> dict[str, Any] | None:
    """Conversations and parts by fields that only Intercom has; contacts and teammates by theirs."""
    if peek.suffix not in JSON_SUFFIXES:
        return None
    for o in peek.objects:
        type_, source = o.get("type"), o.get("source")
        if type_ in ("conversation.list", "conversation_part.list", "conversation_part") or "conversation_message" in o:
            return {}
        if "part_type" in o or "from_ai_agent" in o or (type_ == "conversation" and "state" in o):
            return {}
        if "delivered_as" in o or (isinstance(source, dict) and "delivered_as" in source):
            return {}
        if type_ in ("contact", "user", "lead") and ("external_id" in o or "workspace_id" in o or "user_id" in o):
            return {}
        if type_ in ("admin.list", "team.list") or (
            type_ == "admin" and ("has_inbox_seat" in o or "away_mode_enabled" in o)
        ):
            return {}
    return None


def read(
    path: Path,
    tally: Tally,
    *,
    public_parts: tuple[str, ...] = ("comment", "quick_reply"),
    skip_tags: tuple[str, ...] = ("spam",),
    bots: tuple[str, ...] = (),
) -> Iterator[Record]:
    """Conversations of an Intercom export under `path`.

    public_parts: part types whose text goes to the customer whoever wrote it; add "close" or "assignment" only where
    teammates reply that way. Types with "note" in their name stay internal. skip_tags: conversations with one of these tags
    are dropped. bots: names of teammates that answer automatically, besides those the export marks.
    """
    with ThreadStore(tally) as store:
        for where, item in export_objects(path, tally, keys=STREAMS):
            _store(item, where, store, tally)
        if store.is_empty():
            met = ", ".join(f"{n} {what}" for what, n in sorted(tally.taken.items())) or "nothing"
            raise SourceError(
                f"{path}: holds no conversation (an object with `source` or `conversation_parts`), but {met}."
                " Export the conversations too."
            )
        for id, conversation, parts in store.threads():
            record = _record(id, conversation, parts, store, public_parts, skip_tags, bots, tally)
            if record is not None:
                yield record


def _store(item: dict[str, Any], where: Pointer, store: ThreadStore, tally: Tally) -> None:
    id, type_ = _id(item.get("id")), item.get("type")
    if "part_type" in item or type_ == "conversation_part":
        _store_part(item, _id(item.get("conversation_id")), where, store, tally)
    elif type_ == "conversation" or (type_ is None and any(k in item for k in CONVERSATION)):
        _store_conversation(item, id, where, store, tally)
    elif id is not None and (type_ in PEOPLE or "email" in item or "role" in item):
        tally.seen("people")
        store.add_person(id, _who(item))
    else:
        tally.seen("other objects")
        tally.drop(Dropped("other_object", where, ", ".join(sorted(map(str, item))[:6])))


def _store_conversation(item: dict[str, Any], id: str | None, where: Pointer, store: ThreadStore, tally: Tally) -> None:
    tally.seen("tickets")
    key = "source" if isinstance(item.get("source"), dict) else "conversation_message"
    opening, parts = _dict(item.get(key)), item.get("conversation_parts")
    if id is None:
        tally.drop(Dropped("object_without_id", where))
    else:
        store.add_ticket(id, _conversation(item, opening), where)
    if opening:
        started = {"created_at": item.get("created_at"), **opening, "id": "opening", "opening": True, "part_type": ""}
        _store_part(started, id, Pointer(where.file, f"{where.at}/{key}"), store, tally)
    inside = f"{where.at}/conversation_parts" + ("" if isinstance(parts, list) else "/conversation_parts")
    for n, part in enumerate(_listed(parts, "conversation_parts")):
        if isinstance(part, dict):
            _store_part(part, id, Pointer(where.file, f"{inside}/{n}"), store, tally)
        else:
            tally.broken(Pointer(where.file, f"{inside}/{n}"), f"part is {type(part).__name__}, not an object")


def _store_part(
    part: dict[str, Any], conversation: str | None, where: Pointer, store: ThreadStore, tally: Tally
) -> None:
    """A part with a text, a file or a redaction is a message; the rest are events, kept for what they tell of the thread."""
    said = _part(part, f"{where.file} {where.at}")
    if said["body"].strip() or said["attachments"] or said["redacted"]:
        # the opening is first whatever the other parts' clocks say, so it goes in without a time
        sent = None if said["opening"] else said["created"]
        store.add_message(conversation, f"{conversation}/{said['id']}", sent, said, where)
    else:
        tally.seen("events")
        tally.drop(Dropped("event_without_text", where, said["kind"]))
        if conversation is not None:
            store.add_fact(conversation, said)
    if said["redacted"] and conversation is not None:
        store.add_fact(conversation, {"redacted": said["id"]})


def _part(part: dict[str, Any], place: str) -> dict[str, Any]:
    """What a message needs of a part, every value of a known type."""
    created, readable = _when(part.get("created_at"))
    attached = [_name(a) for a in _listed(part.get("attachments"), "attachments")]
    headers = [_dict(h) for h in _listed(_dict(part.get("email_message_metadata")).get("email_address_headers"))]
    return {
        "id": _id(part.get("id")) or place, "kind": _text(part.get("part_type")).casefold(),
        "opening": part.get("opening") is True, "delivered_as": _text(part.get("delivered_as")),
        "author": _who(part.get("author")), "body": _text(part.get("body")), "attachments": [a for a in attached if a],
        "created": created, "readable": readable, "total": _number(part.get("conversation_total_parts")),
        "redacted": part.get("redacted") not in (None, False, 0, "", "false"),
        "mailed": [_who({"id": h.get("email_address"), "email": h.get("email_address"), "name": h.get("name")}) for h in headers],
    }  # fmt: skip


def _conversation(item: dict[str, Any], opening: dict[str, Any]) -> dict[str, Any]:
    """What a record needs of a conversation, every value of a known type."""
    created, readable = _when(item.get("created_at"))
    statistics, tags = _dict(item.get("statistics")), _listed(item.get("tags"), "tags")
    contacts = [c for key in ("contacts", "customers", "user") for c in _listed(item.get(key), key)]
    team = [a for key in ("teammates", "assignee") for a in _listed(item.get(key), "admins")]
    return {
        "created": created, "readable": readable, "told": _text(item.get("created_at"))[:40],
        "title": _text(item.get("title")) or _text(opening.get("subject")), "channel": _text(_dict(item.get("source")).get("type")),
        "state": _text(item.get("state")).casefold(), "open": item["open"] if isinstance(item.get("open"), bool) else None,
        "priority": _text(item.get("priority")), "team": _id(item.get("team_assignee_id")) or "",
        "ai": item.get("ai_agent_participated") is True, "tags": [t for t in map(_name, tags) if t],
        "attributes": _attributes(item.get("custom_attributes")),
        "rating": _number(_dict(item.get("conversation_rating")).get("rating")),
        "reopens": _number(statistics.get("count_reopens")), "counted": _number(statistics.get("count_conversation_parts")),
        "total": _number(_dict(item.get("conversation_parts")).get("total_count")),
        "contacts": [_who(c) for c in contacts], "teammates": [_who(a) for a in (*team, {"id": item.get("admin_assignee_id")})],
        "links": [i for o in _listed(item.get("linked_objects"), "data") if (i := _id(_dict(o).get("id")))],
    }  # fmt: skip


def _record(
    id: str,
    stored: Stored,
    parts: list[Stored],
    store: ThreadStore,
    public_parts: tuple[str, ...],
    skip_tags: tuple[str, ...],
    bots: tuple[str, ...],
    tally: Tally,
) -> Record | None:
    told, where = stored
    facts = store.facts(id)
    skipped = sorted(set(told["tags"]) & set(skip_tags))
    if skipped or not told["readable"]:
        reason, detail = ("skipped_tag", ", ".join(skipped)) if skipped else ("unreadable_time", told["told"])
        tally.drop(Dropped(reason, where, detail), messages=len(parts))
        return None
    events = [f for f in facts if "kind" in f]
    said = [p for p, _ in parts] + events
    _count_missing(told, said, tally)
    kept = _not_redacted(parts, {f["redacted"] for f in facts if "kind" not in f}, tally)
    if not kept:
        tally.drop(Dropped("ticket_without_messages", where))
        return None
    met = _met(told, said, store)
    requester = _requester(told, said, met) or f"unknown-{id}"
    reopened = told["reopens"] > 0 if told["reopens"] is not None else _was_reopened(said)
    return Record(
        id=id,
        kind="ticket",
        group=(next((w["email"] for w in met.get(requester, ()) if w["email"]), "") or requester).casefold(),
        created=moment(told["created"]),
        title=_plain(told["title"]),
        messages=tuple(_message(p, at, met, public_parts, bots, tally) for p, at in kept),
        pointer=where,
        fields=_fields(told, store),
        solved=told["open"] is not True if told["state"] == "closed" else not told["state"] and told["open"] is False,
        people=tuple(_people(met)),
        reopened=reopened,
        satisfaction=_satisfaction(told["rating"]),
        links=tuple(dict.fromkeys(told["links"])),
    )


def _count_missing(told: dict[str, Any], parts: list[dict[str, Any]], tally: Tally) -> None:
    """Count a conversation that the export holds in part: lists leave the parts out, and more than 500 are not given."""
    have = sum(not p["opening"] for p in parts)
    totals = [t for t in (told["total"], *(p["total"] for p in parts)) if t is not None]
    if totals and max(totals) > have:
        tally.seen("conversations with truncated parts")
    elif not have and (told["counted"] or 0) > 0:
        tally.seen("conversations without their parts")


def _not_redacted(parts: list[Stored], redacted: set[str], tally: Tally) -> list[Stored]:
    """The parts that have a text left, the opening first. One redaction anywhere in the export counts for every copy."""
    kept = []
    for part, at in sorted(parts, key=lambda p: not p[0]["opening"]):
        if part["id"] in redacted:
            tally.drop(Dropped("redacted_by_source", at, part["id"]))
        else:
            kept.append((part, at))
    return kept


def _met(told: dict[str, Any], parts: list[dict[str, Any]], store: ThreadStore) -> dict[str, list[dict[str, str]]]:
    """Everybody a conversation knows, by id: what the streams say of them, then what stands in the conversation."""
    met: dict[str, list[dict[str, str]]] = {}
    mailed = [m for p in parts for m in p["mailed"]]
    for who in (*told["contacts"], *told["teammates"], *(p["author"] for p in parts), *mailed):
        if who["id"]:
            if who["id"] not in met:
                met[who["id"]] = [w for w in [store.person(who["id"])] if w is not None]
            met[who["id"]].append(who)
    return met


def _requester(told: dict[str, Any], parts: list[dict[str, Any]], met: dict[str, list[dict[str, str]]]) -> str | None:
    """The contact who wrote first; else the first contact named."""
    wrote = (p["author"]["id"] for p in parts if p["author"]["id"] and _role(p["author"], met, ()) == "customer")
    return next(wrote, None) or next((c["id"] for c in told["contacts"] if c["id"]), None)


def _people(met: dict[str, list[dict[str, str]]]) -> Iterator[Person]:
    """Bots and teams are nobody: masking "Fin" or "Billing" everywhere would hurt the texts."""
    for id, said in sorted(met.items()):
        names, emails, phones = (_all(said, keys) for keys in (("name", "alias"), ("email",), ("phone",)))
        if (names or emails or phones) and not any(
            w["type"] in ("bot", "operator", "team") or _is_bot(w) for w in said
        ):
            yield Person(id, names, emails, phones)


def _all(said: list[dict[str, str]], keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(w[k] for k in keys for w in said if w[k]))


def _message(
    part: dict[str, Any],
    where: Pointer,
    met: dict[str, list[dict[str, str]]],
    public_parts: tuple[str, ...],
    bots: tuple[str, ...],
    tally: Tally,
) -> Message:
    if not part["readable"]:
        tally.seen("messages without a readable time")
    role = _role(part["author"], met, bots)
    public = part["opening"] or _is_public(part["kind"], role, public_parts)
    if not public and role == "agent" and part["kind"] in EVENTS:
        tally.seen("teammates' texts on events kept internal")
    pushed = part["opening"] and part["delivered_as"] in AUTOMATIC_OPENINGS and role != "customer"
    return Message(
        author=part["author"]["id"],
        role=role,
        public=public,
        created=moment(part["created"]),
        text=part["body"],
        html=MARKUP.search(part["body"]) is not None,
        origin="automatic" if pushed or part["kind"] in AUTOMATIC_PARTS else "person",
        attachments=tuple(part["attachments"]),
        pointer=where,
    )


def _is_public(kind: str, role: Role, public_parts: tuple[str, ...]) -> bool:
    return "note" not in kind and (kind in public_parts or (role == "customer" and kind in CONTACT_EVENTS))


def _role(author: dict[str, str], met: dict[str, list[dict[str, str]]], bots: tuple[str, ...]) -> Role:
    """By the type beside the text; where there is none, by the streams'. Unknown types, teams and campaigns are system."""
    said = [author, *met.get(author["id"], ())]
    if _is_bot(author) or any(OPERATOR.fullmatch(w["email"]) or w["name"] in bots for w in said):
        return "bot"
    return ROLES.get(next((w["type"] for w in said if w["type"]), ""), "system")


def _is_bot(who: dict[str, str]) -> bool:
    return who["ai"] == "true" or OPERATOR.fullmatch(who["email"]) is not None


def _was_reopened(parts: list[dict[str, Any]]) -> bool:
    """Old exports have no statistics: whether anything opens the conversation after its first close."""
    closed = min((p["created"] for p in parts if p["kind"] == "close" and p["created"]), default=None)
    return closed is not None and any(p["kind"] in REOPENING and (p["created"] or "") > closed for p in parts)


def _satisfaction(rating: int | None) -> Literal["good", "bad"] | None:
    if rating is None or rating not in (1, 2, 4, 5):
        return None
    return "good" if rating > 3 else "bad"


def _fields(told: dict[str, Any], store: ThreadStore) -> dict[str, str]:
    team = store.person(told["team"]) if told["team"] else None
    labels: dict[str, str] = told["attributes"]
    own = {
        "status": told["state"], "priority": told["priority"], "channel": told["channel"],
        "team": team["name"] if team and team["name"] else told["team"], "tags": ",".join(told["tags"]),
        "ai_agent_participated": "true" if told["ai"] else "",
    }  # fmt: skip
    return labels | {k: v for k, v in own.items() if v}


def _attributes(given: Any) -> dict[str, str]:
    """Custom attributes that are labels: short scalars, by lower-case name."""
    scalars = {
        str(k).strip().lower(): _text(v) or str(v).lower()
        for k, v in _dict(given).items()
        if isinstance(v, str | int | float)
    }
    return {k: v for k, v in scalars.items() if v and len(v) <= LONGEST_FIELD}


def _who(given: Any) -> dict[str, str]:
    """A contact, teammate or author, every value a string."""
    who = _dict(given)
    return {
        "id": _id(who.get("id")) or "", "type": (_text(who.get("type")) or _text(who.get("role"))).casefold(),
        "name": _text(who.get("name")).strip(), "alias": _text(who.get("alias") or who.get("pseudonym")).strip(),
        "email": _text(who.get("email")).strip(), "phone": _text(who.get("phone")).strip(),
        "ai": "true" if True in (who.get("from_ai_agent"), who.get("is_ai_answer")) else "",
    }  # fmt: skip


def _listed(given: Any, key: str = "") -> list[Any]:
    """The elements of a list or of a `{type, key: […]}` wrapper; one object with an id is a list of one."""
    if isinstance(given, dict):
        given = given.get(key, [given] if "id" in given else [])
    return given if isinstance(given, list) else []


def _dict(given: Any) -> dict[str, Any]:
    return given if isinstance(given, dict) else {}


def _text(given: Any) -> str:
    """Texts and numbers as text; anything else is no text."""
    return str(given) if isinstance(given, str | int | float) and not isinstance(given, bool) else ""


def _name(given: Any) -> str:
    return _text(given.get("name") if isinstance(given, dict) else given).strip()


def _id(given: Any) -> str | None:
    return _text(given).strip() or None


def _number(given: Any) -> int | None:
    return int(given) if re.fullmatch("[0-9]{1,9}", _text(given)) else None


def _when(given: Any) -> tuple[str | None, bool]:
    """A time as ISO text (None: there is none, or none to be read), and whether it could be read."""
    try:
        when = moment(given)
    except (ValueError, TypeError, OverflowError):
        return None, False
    return (when.isoformat() if when is not None else None), True


def _plain(title: str) -> str:
    """A title without its markup: mail subjects come as `<p>…</p>`."""
    return html.unescape(re.sub(r"<[^<>]{0,200}>", "", title)).strip() if MARKUP.search(title) else title.strip()
