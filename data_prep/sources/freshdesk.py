"""Freshdesk exports: tickets, conversations, contacts, agents and ratings of the API, or the account export's files.

The streams are told apart by their shape, whatever the files are called. A ticket holds its customer's first message as
`description`; the other messages are conversations, embedded or a stream of their own. The account export wraps its objects
(`{"helpdesk_ticket": {…, "notes": […]}}`, `{"user": {…}}`) and keeps the HTML of a text beside it.

Fails closed: only `private: false` is public, and forwards to third parties never are. A customer wrote what is incoming
and public; every other author needs to be known: an agent from the agents or as somebody's responder, a customer from the
contacts or as this ticket's requester. The text of a phone ticket counts as its customer's, though an agent typed it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import getaddresses
from pathlib import Path
from typing import Any, Literal

from data_prep.records import Dropped, Message, Origin, Person, Pointer, Record, Role, SourceError, Tally
from data_prep.sources._files import JSON_SUFFIXES, Peek, export_objects, moment
from data_prep.sources._threads import Stored, ThreadStore

KIND: Literal["ticket"] = "ticket"
LISTS = (
    "tickets", "results", "conversations", "notes", "contacts", "users", "agents", "satisfaction_ratings",
    "survey_responses", "surveys", "companies", "groups", "ticket_fields", "ticket_activities", "time_entries",
)  # fmt: skip
WRAPPERS = ("helpdesk_ticket", "helpdesk_note", "note", "user", "agent", "survey_result")
BOTS = ("freddy ai", "freddy ai agent", "freddy bot")
STATUSES = {2: "open", 3: "pending", 4: "resolved", 5: "closed", 6: "waiting on customer", 7: "waiting on third party"}
PRIORITIES = {1: "low", 2: "medium", 3: "high", 4: "urgent"}
SOURCES = {
    1: "email", 2: "portal", 3: "phone", 4: "forum", 5: "twitter", 6: "facebook", 7: "chat", 8: "mobihelp",
    9: "feedback widget", 10: "outbound email", 11: "ecommerce", 12: "bot", 13: "whatsapp",
}  # fmt: skip
SOLVED = ("resolved", "closed")
# Sources of conversations: 0 reply, 2 note, 5 tweet, 6 survey, 7 Facebook, 8 forward, 9 phone, 10 Mobihelp, 11 shop;
# the account export has besides 4 and 13 (data and summaries), 15 (a rule's note), 16 (a rule's forward).
NOT_TO_THE_CUSTOMER = (4, 8, 13, 16)
BY_A_RULE = (15, 16)
HAPPY = ("happy", "very happy", "extremely happy")
UNHAPPY = ("unhappy", "very unhappy", "extremely unhappy")
OLD_RATINGS = {1: "happy", 2: "neutral", 3: "unhappy"}
QUESTION = re.compile(r"question_\d+")
MERGED = re.compile(
    r"\bmerged (?:into|from) ticket #?(\d+)|\btickets? with ids? ([\d, and]+?) (?:is|are) merged into this ticket", re.I
)
CC_FIELDS = ("cc_emails", "bcc_emails", "reply_cc_emails", "ticket_cc_emails", "ticket_bcc_emails", "fwd_emails")
TOO_LONG = 200  # characters; a longer value is a text and no label


def recognise(peek: Peek) -> dict[str, Any] | None:
    """Tickets have requester_id with responder_id; conversations incoming with private; the account export its wrapper."""
    if peek.suffix not in JSON_SUFFIXES:
        return None
    signs = (
        {"requester_id", "responder_id", "subject"}, {"incoming", "private", "ticket_id"}, {"ticket_scope", "occasional"},
        {"view_all_tickets", "other_emails"}, {"survey_id", "ratings", "ticket_id"}, {"helpdesk_ticket"},
        {"survey_id", "answers", "ticket_id"}, {"helpdesk_agent", "email"},
    )  # fmt: skip
    found = any(sign <= set(_inside(o)) or sign <= set(o) for o in peek.objects for sign in signs)
    return {} if found or '"helpdesk_ticket"' in peek.text[:200] else None


def read(path: Path, tally: Tally, *, bots: tuple[str, ...] = BOTS) -> Iterator[Record]:
    """Threads of a Freshdesk export under `path`. Spam and deleted tickets are dropped.

    bots: names of users that answer automatically, in any case.
    """
    responders: set[str] = set()
    with ThreadStore(tally) as store:
        for where, item in export_objects(path, tally, keys=LISTS):
            try:
                _store(_inside(item), where, store, responders, tally)
            except RecursionError:
                tally.broken(where, "nested too deeply")
        if store.is_empty():
            raise SourceError(
                f"{path}: holds no ticket (an object with `subject` and `requester_id`). Export the tickets too:"
                " /api/v2/tickets?include=description,requester,stats or the account export's Tickets0.json."
            )
        reader = _Reader(store, tally, responders, frozenset(b.casefold() for b in bots))
        for id, ticket, conversations in store.threads():
            record = reader.record(id, ticket, conversations)
            if record is not None:
                yield record


def _store(item: dict[str, Any], where: Pointer, store: ThreadStore, responders: set[str], tally: Tally) -> None:
    inside = item.get("contact") or item.get("user")
    if "ticket_id" not in item and TICKET & set(item):
        _store_ticket(item, where, store, responders, tally)
    elif {"private", "incoming", "body", "body_text"} & set(item):
        _store_conversation(_id(item.get("ticket_id")), _id(item.get("id")) or str(where), item, where, store, tally)
    elif {"ratings", "answers", "rating"} & set(item):
        tally.seen("ratings")
        store.add_fact(_id(item.get("ticket_id") or item.get("surveyable_id")), item)
    elif _id(item.get("id")) and ("email" in item or isinstance(inside, dict)):
        agent = isinstance(inside, dict) or "ticket_scope" in item or item.get("helpdesk_agent") is True
        known = {**item, **_dict(inside)}
        id = _id(item.get("user_id")) or _id(item["id"])
        store.add_person(f"{'agent' if agent else 'contact'} {id}", {k: known.get(k) for k in PERSON})
    else:
        tally.seen("other objects")
        tally.drop(Dropped("other_object", where, ", ".join(sorted(item)[:6])))


TICKET = {"subject", "requester_id", "responder_id"}
PERSON = ("name", "email", "other_emails", "phone", "mobile", "type")


def _store_ticket(item: dict[str, Any], where: Pointer, store: ThreadStore, responders: set[str], tally: Tally) -> None:
    tally.seen("tickets")
    id = _id(item.get("display_id")) or _id(item.get("id"))
    inside = {k: item[k] for k in ("conversations", "notes") if isinstance(item.get(k), list)}
    if id is None:
        lost = sum(map(len, inside.values()))
        tally.seen("messages", lost)
        tally.drop(Dropped("ticket_without_id", where), messages=lost)
        return
    responders.update(r for r in [_id(item.get("responder_id"))] if r)
    store.add_ticket(id, {k: v for k, v in item.items() if k not in inside}, where)
    for key, conversations in inside.items():
        for n, conversation in enumerate(conversations):
            place = Pointer(where.file, f"{where.at}/{key}/{n}")
            if isinstance(conversation, dict):
                found = _inside(conversation)
                _store_conversation(id, _id(found.get("id")) or f"{id}/{key}/{n}", found, place, store, tally)
            else:
                tally.broken(place, f"conversation is {type(conversation).__name__}, not an object")


def _store_conversation(
    ticket: str | None, id: str, item: dict[str, Any], where: Pointer, store: ThreadStore, tally: Tally
) -> None:
    if any(isinstance(item.get(k), dict | list) for k in ("body", "body_html", "body_text")):
        tally.broken(where, "the text of the conversation is no text")
        return
    try:
        sent = _moment(item.get("created_at"))
    except ValueError:
        sent = None
    store.add_message(ticket, id, sent and sent.isoformat(), item, where)


@dataclass(frozen=True, slots=True)
class _User:
    """Somebody in one ticket. kind: as what the export knows them."""

    id: str
    kind: Literal["agent", "contact", "unknown"]
    bot: bool
    person: Person


@dataclass(frozen=True, slots=True)
class _Reader:
    """What reading one ticket needs of the others. responders: users that a ticket was assigned to, so agents."""

    threads: ThreadStore
    tally: Tally
    responders: set[str]
    bots: frozenset[str]

    def record(self, id: str, stored: Stored, found: list[Stored]) -> Record | None:
        ticket, where = stored
        conversations = [(c, at) for c, at in found if c.get("deleted") is not True]
        for _, at in (f for f in found if f[0].get("deleted") is True):
            self.tally.drop(Dropped("deleted_message", at))
        described = _text(ticket, "description")
        count = len(conversations) + bool(described[0])
        self.tally.seen("messages", int(bool(described[0])))
        reason = "spam" if ticket.get("spam") is True else "deleted" if ticket.get("deleted") is True else None
        if reason is not None or not count:
            self.tally.drop(Dropped(reason or "ticket_without_messages", where), messages=count)
            return None
        try:
            created = _moment(ticket.get("created_at"))
        except ValueError as e:
            self.tally.drop(Dropped("unreadable_time", where, str(e)), messages=count)
            return None
        requester = _id(ticket.get("requester_id")) or f"unknown-{id}"
        users = self.users(requester, ticket, conversations)
        messages = [self.message(c, at, users, requester) for c, at in conversations]
        if described[0]:
            messages.insert(0, _opening(ticket, *described, created, where, requester))
        status = _word(ticket.get("status"), STATUSES)
        return Record(
            id=id,
            kind="ticket",
            group=(*users[requester].person.emails, requester)[0].casefold(),
            created=created,
            title=_string(ticket.get("subject")),
            messages=tuple(messages),
            pointer=where,
            fields=_fields(ticket, status),
            solved=status in SOLVED,
            people=tuple(_people(ticket, [c for c, _ in conversations], users)),
            reopened=bool(_dict(ticket.get("stats")).get("reopened_at")),
            satisfaction=_satisfaction(ticket, self.threads.facts(id)),
            links=tuple(dict.fromkeys(_links(id, ticket, messages))),
        )

    def users(self, requester: str, ticket: dict[str, Any], conversations: list[Stored]) -> dict[str, _User]:
        ids = [requester, _id(ticket.get("responder_id")), *(_id(c.get("user_id")) for c, _ in conversations)]
        return {id: self.user(id, ticket if id == requester else {}) for id in dict.fromkeys(ids) if id is not None}

    def user(self, id: str, ticket: dict[str, Any]) -> _User:
        """A user by what the streams know, and the ticket of its requester."""
        agent, contact = self.threads.person(f"agent {id}"), self.threads.person(f"contact {id}")
        sources = [agent or {}, contact or {}, _dict(ticket.get("requester")), {k: ticket.get(k) for k in PERSON[:4]}]
        names = [n for n in (_string(s.get("name")) for s in sources) if n]
        bot = any(n.casefold() in self.bots for n in names) or any(s.get("type") == "bot" for s in sources[:2])
        is_agent = agent is not None or id in self.responders
        return _User(
            id,
            "agent" if is_agent else "contact" if contact is not None else "unknown",
            bot,
            Person(
                id=id,
                names=tuple(dict.fromkeys(names)),
                emails=_values(sources, "email", "other_emails"),
                phones=_values(sources, "phone", "mobile"),
            ),
        )

    def message(self, conversation: dict[str, Any], where: Pointer, users: dict[str, _User], requester: str) -> Message:
        try:
            created = _moment(conversation.get("created_at"))
        except ValueError:
            self.tally.seen("messages without a readable time")
            created = None
        text, html = _text(conversation, "body")
        author, source = _id(conversation.get("user_id")) or "", _number(conversation.get("source"))
        return Message(
            author=author,
            role=_role(conversation, users.get(author), requester),
            public=conversation.get("private") is False and source not in NOT_TO_THE_CUSTOMER,
            created=created,
            text=text,
            html=html,
            origin=_origin(conversation, text, source),
            attachments=_attached(conversation),
            pointer=where,
        )


def _role(conversation: dict[str, Any], user: _User | None, requester: str) -> Role:
    if user is not None and user.bot:
        return "bot"
    if conversation.get("incoming") is True and conversation.get("private") is False:
        return "customer"
    if user is None or user.id == requester:
        return "system" if user is None else "customer"
    if user.kind == "contact" and conversation.get("incoming") is True:
        return "system"  # an incoming private note is a third party's answer to a forward
    return {"agent": "agent", "contact": "customer"}.get(user.kind, "system")  # type: ignore[return-value]


def _opening(
    ticket: dict[str, Any], text: str, html: bool, created: datetime | None, where: Pointer, requester: str
) -> Message:
    """The description: the requester's words, or in a ticket that an agent began (outbound e-mail) the agent's."""
    outbound = _number(ticket.get("source")) == 10
    author = _id(ticket.get("responder_id")) if outbound else requester
    role: Role = "customer" if not outbound else "agent" if author else "system"
    place = Pointer(where.file, f"{where.at}/description")
    return Message(author or "", role, True, created, text, html, attachments=_attached(ticket), pointer=place)


def _people(ticket: dict[str, Any], conversations: list[dict[str, Any]], users: dict[str, _User]) -> Iterator[Person]:
    """The users the export knows, then every address that appears only as a sender or in copy. Support addresses
    are nobody's: their display names are the company's."""
    people = [u.person for u in users.values() if not u.bot]
    yield from (p for p in people if p.names or p.emails or p.phones)
    sent = [c for c in conversations if c.get("incoming") is False]
    ours = [ticket.get("support_email"), ticket.get("to_emails"), *(c.get("support_email") for c in sent)]
    copied = _dict(ticket.get("cc_email"))
    theirs = [ticket.get(k) for k in CC_FIELDS] + [copied.get(k) for k in ("cc_emails", "fwd_emails", "reply_cc")]
    theirs += [c.get(k) for c in conversations for k in ("from_email", "to_emails", *CC_FIELDS)]
    seen = {e.casefold() for p in people for e in p.emails}
    seen |= {e.casefold() for _, e in _addresses([*ours, *(c.get("from_email") for c in sent)])}
    for name, email in _addresses(theirs):
        if email.casefold() not in seen:
            seen.add(email.casefold())
            yield Person(email.casefold(), (name,) if name else (), (email,))


def _inside(item: dict[str, Any]) -> dict[str, Any]:
    """The object in an account export's wrapper. A record that merely has a field of that name is no wrapper."""
    ((key, value),) = item.items() if len(item) == 1 else [("", None)]
    return value if key in WRAPPERS and isinstance(value, dict) else item


def _origin(conversation: dict[str, Any], text: str, source: int | None) -> Origin:
    if conversation.get("incoming") is not True and source in (2, None) and MERGED.search(_plain(text)):
        return "merge"
    ruled = conversation.get("auto_response") is True or source in BY_A_RULE
    return (
        "automatic"
        if ruled or conversation.get("automation_id") or conversation.get("automation_type_id")
        else "person"
    )


def _plain(text: str) -> str:
    """The beginning of a note in one line without tags: merging begins its notes by saying so."""
    return re.sub(r"\s+", " ", re.sub(r"<[^<>]*>", " ", text[:2000]))


def _fields(ticket: dict[str, Any], status: str) -> dict[str, str]:
    custom = ticket.get("custom_fields") or ticket.get("custom_field")
    if isinstance(custom, list):
        custom = {str(f.get("name")): f.get("value") for f in custom if isinstance(f, dict)}
    found = {str(k).lower(): _label(v) for k, v in _dict(custom).items()}
    tags = ticket.get("tags") if isinstance(ticket.get("tags"), list) else []
    found |= {
        "status": _string(ticket.get("status_name")).lower() or status,
        "priority": _word(ticket.get("priority"), PRIORITIES),
        "source": _word(ticket.get("source"), SOURCES),
        "type": _label(ticket.get("type") or ticket.get("ticket_type")),
        "tags": ",".join(t for t in (_label(_dict(t).get("name", t)) for t in tags or []) if t),
    }
    return {k: v for k, v in found.items() if v and (len(v) <= TOO_LONG or k == "tags")}


def _satisfaction(ticket: dict[str, Any], facts: list[Any]) -> Literal["good", "bad"] | None:
    """The customers' verdict; "bad" where several disagree."""
    embedded = [ticket.get(k) for k in ("satisfaction_rating", "satisfaction_ratings", "ratings", "survey_results")]
    said = {_verdict(answer) for rating in (*embedded, *facts) for answer in _answers(rating)}
    return "bad" if "bad" in said else "good" if "good" in said else None


def _answers(rating: Any) -> Iterator[Any]:
    """What a rating says, in any of its shapes: to the survey's first question, or where none is marked to every one."""
    if isinstance(rating, list):
        for r in rating:
            yield from _answers(r)
    elif not isinstance(rating, dict):
        yield rating
    elif isinstance(rating.get("survey_result"), dict) or "rating" in rating:
        yield _word(_dict(rating.get("survey_result", rating)).get("rating"), OLD_RATINGS)
    elif "default_question" in rating:
        yield rating["default_question"]
    else:
        asked = [v for k, v in rating.items() if k in ("ratings", "answers", "value") or QUESTION.fullmatch(k)]
        for value in asked:
            yield from _answers(value)


def _verdict(answer: Any) -> Literal["good", "bad"] | None:
    number, word = _number(answer), _string(answer).strip().lower()
    if number is not None:
        return "good" if 101 <= number <= 103 else "bad" if -103 <= number <= -101 else None  # 100 is the neutral face
    return "bad" if word in UNHAPPY else "good" if word in HAPPY else None


def _links(id: str, ticket: dict[str, Any], messages: list[Message]) -> Iterator[str]:
    """Tickets that this one was merged with, by the notes that merging writes, and its parent or children."""
    for m in messages:
        if m.origin == "merge":
            found = (n for match in MERGED.finditer(_plain(m.text)) for n in re.findall(r"\d+", match[1] or match[2]))
            yield from (n for n in found if n != id)
    related = ticket.get("associated_tickets_list")
    if ticket.get("association_type") in (1, 2) and isinstance(
        related, list
    ):  # 3 and 4: a tracker and its many reports
        yield from (n for n in map(_id, related) if n is not None and n != id)


def _values(sources: list[dict[str, Any]], *keys: str) -> tuple[str, ...]:
    found = [v for s in sources for k in keys for v in (s[k] if isinstance(s.get(k), list) else [s.get(k)])]
    return tuple(dict.fromkeys(v for v in map(_string, found) if v))


def _addresses(values: Iterable[Any]) -> Iterator[tuple[str, str]]:
    flat = (v for value in values for v in (value if isinstance(value, list) else [value]) if isinstance(v, str))
    for text in flat:
        yield from ((name, email) for name, email in getaddresses([text[:2000]]) if "@" in email)


def _attached(item: dict[str, Any]) -> tuple[str, ...]:
    found = item.get("attachments") if isinstance(item.get("attachments"), list) else []
    names = (_dict(a).get("name") or _dict(a).get("content_file_name") for a in found or [])
    return tuple(n for n in map(_string, names) if n)


def _text(item: dict[str, Any], name: str) -> tuple[str, bool]:
    """A text and whether it is HTML. The API has HTML under the name, the account export under `NAME_html`."""
    if html := _string(item.get(f"{name}_html")):
        return html, True
    text = _string(item.get(name))
    return (text, f"{name}_html" not in item) if text else (_string(item.get(f"{name}_text")), False)


def _moment(value: Any) -> datetime | None:
    try:
        return moment(value)
    except (TypeError, OverflowError) as e:
        raise ValueError(f"{str(value)[:60]!r} is no time") from e


def _id(value: Any) -> str | None:
    """An id as text, whether the export has it as number, text or (through a table) as 12.0; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return re.sub(r"\A(\d+)\.0\Z", r"\1", str(value).strip()) or None


def _number(value: Any) -> int | None:
    id = _id(value)
    return int(id) if id is not None and re.fullmatch(r"-?\d{1,9}", id, re.ASCII) else None


def _word(value: Any, words: dict[int, str]) -> str:
    number = _number(value)
    return words.get(number, str(number)) if number is not None else _string(value).strip().lower()


def _label(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(v for v in map(_label, value[:50]) if v)
    return str(value).lower() if isinstance(value, bool) else _string(value).strip()


def _string(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
