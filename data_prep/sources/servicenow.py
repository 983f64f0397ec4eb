"""ServiceNow exports: incidents, customer service cases and requested items with their journals, in JSON or CSV.

Headers of CSV files may be column names or English labels. Reference fields are read as text, `{display_value, link}` or
`{value, display_value}`. A journal (comments, work notes) is one text that holds every entry, newest first, each below a
line like `2024-05-03 09:52:48 - Mara Lindqvist (Additional comments)`; the label says who may see it. The
sys_journal_field stream has the same entries one by one and goes before the text: nobody can forge a header there.

Fails closed: an entry is public only by a label known as public, and not where it stands out of order or names an internal
label, as text that was pasted into another entry does. An author is the caller, an agent or nobody: names are compared with
names and user names with user names, and where the export holds no pair to compare nobody is called an agent.
Several date formats can be read in two ways (03/05/2024); `date_order` decides those, and only those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from data_prep.records import Dropped, Message, Person, Pointer, Record, Role, SourceError, Tally
from data_prep.sources._files import JSON_SUFFIXES, Peek, files, json_objects, relative
from data_prep.sources._journals import Clock, entries_of, lines_of, out_of_order
from data_prep.sources._tables import Encoding, Table
from data_prep.sources._threads import Stored, ThreadStore

KIND: Literal["ticket"] = "ticket"
Visibility = Literal["public", "internal"]
JOURNAL_LABELS: dict[str, Visibility] = {
    "additional comments": "public", "additional comments (customer visible)": "public", "comments": "public",
    "work notes": "internal", "zusätzliche kommentare": "public", "arbeitsnotizen": "internal",
    "commentaires supplémentaires": "public", "notes de travail": "internal", "comentarios adicionales": "public",
    "notas de trabajo": "internal", "comentários adicionais": "public", "anotações de trabalho": "internal",
    "notas de trabalho": "internal", "aanvullende opmerkingen": "public", "werknotities": "internal",
    "commenti aggiuntivi": "public", "note di lavoro": "internal", "追加コメント": "public", "作業メモ": "internal",
}  # fmt: skip
BOTS = ("system", "virtual agent", "guest")
SOLVED = (
    "resolved", "closed", "closed complete", "gelöst", "geschlossen", "résolu", "fermé", "clos", "resuelto", "cerrado",
    "resolvido", "encerrado", "fechado", "opgelost", "gesloten", "risolto", "chiuso", "解決済み", "クローズ",
)  # fmt: skip
INCIDENT = {1: "new", 2: "in progress", 3: "on hold", 6: "resolved", 7: "closed", 8: "canceled"}
STATES = {
    "CS": {1: "new", 3: "closed", 6: "resolved", 7: "cancelled", 10: "open", 18: "awaiting info"},
    "RITM": {-5: "pending", 1: "open", 2: "work in progress", 3: "closed complete", 4: "closed incomplete", 7: "closed skipped"},
}  # fmt: skip
PRIORITIES = {1: "critical", 2: "high", 3: "moderate", 4: "low", 5: "planning"}
URGENCIES = {1: "high", 2: "medium", 3: "low"}
UNSOLVED_CODES = ("not solved", "no resolution provided")
NO_TICKETS = ("KB", "PRB", "CHG", "REQ", "SCTASK", "CTASK", "PTASK", "TASK")
CUSTOMERS = ("caller_id", "contact", "consumer", "requested_for")
STAFF = ("assigned_to", "resolved_by", "closed_by")
LABELS = {
    "number": "number", "sys id": "sys_id", "short description": "short_description", "description": "description",
    "caller": "caller_id", "contact": "contact", "requested for": "requested_for", "opened by": "opened_by",
    "assigned to": "assigned_to", "resolved by": "resolved_by", "closed by": "closed_by", "watch list": "watch_list",
    "state": "state", "incident state": "incident_state", "opened": "opened_at", "created": "sys_created_on",
    "created by": "sys_created_by", "additional comments": "comments", "comments": "comments",
    "additional comments (customer visible)": "comments", "work notes": "work_notes",
    "comments and work notes": "comments_and_work_notes", "close notes": "close_notes", "resolution notes": "close_notes",
    "close code": "close_code", "resolution code": "close_code", "reopen count": "reopen_count",
    "reopened": "reopened_time", "last reopened at": "reopened_time", "parent incident": "parent_incident",
    "parent": "parent", "duplicate of": "duplicate_of", "priority": "priority", "impact": "impact", "urgency": "urgency",
    "category": "category", "subcategory": "subcategory", "assignment group": "assignment_group", "task type": "sys_class_name",
    "channel": "contact_type", "contact type": "contact_type", "configuration item": "cmdb_ci", "service": "business_service",
    "element": "element", "element id": "element_id", "value": "value", "user id": "user_name", "name": "name",
    "email": "email", "business phone": "phone", "mobile phone": "mobile_phone", "file name": "file_name",
    "table sys id": "table_sys_id",
}  # fmt: skip
JOURNALS = ("comments", "work_notes", "comments_and_work_notes")
DATES = ("opened_at", "sys_created_on", "resolved_at", "closed_at", "sys_updated_on")
WORDS = "category subcategory assignment_group contact_type close_code cmdb_ci business_service number".split()
CODE = re.compile(r"\s*\[code\]((?:(?!\[/?code\]).)*)\[/code\]\s*", re.I | re.S)
SYS_ID = re.compile(r"[0-9a-f]{32}")
NUMBER = re.compile(r"\b(?:INC|CS|RITM)\d{5,}\b")
TOO_LONG = 200  # characters; a longer value is a text and no label


def recognise(peek: Peek) -> dict[str, Any] | None:
    """Records have sys_id with short_description or a journal's element; tables in CSV their columns' names or labels."""
    if peek.suffix in JSON_SUFFIXES:
        signs = (
            {"sys_id", "short_description"}, {"number", "short_description"}, {"element", "element_id"},
            {"sys_id", "user_name"}, {"sys_id", "table_sys_id"},
        )  # fmt: skip
        return {} if any(sign <= set(o) for o in peek.objects for sign in signs) else None
    if peek.suffix != ".csv":
        return None
    columns = {_column(h) for h in peek.header}
    tables = (
        {"number", "short_description"},
        {"element", "element_id"},
        {"user_name", "mobile_phone"},
        {"user_name", "phone"},
    )
    if not any(table <= columns for table in tables):
        return None
    # what was cut off at the end of the peek may be half a character
    return {"encoding": "cp1252"} if "\ufffd" in peek.text[:-4] else {}


def read(
    path: Path,
    tally: Tally,
    *,
    journal_labels: dict[str, Visibility] = JOURNAL_LABELS,
    bots: tuple[str, ...] = BOTS,
    solved_states: tuple[str, ...] = SOLVED,
    date_order: Literal["day_first", "month_first"] = "day_first",
    time_zone: str = "UTC",
    encoding: Encoding = "utf-8",
) -> Iterator[Record]:
    """Threads of a ServiceNow export under `path`.

    journal_labels: label of a journal field → who may see its entries, besides the known labels. bots: names and user names
    of accounts that answer automatically. solved_states: words for a state in which a ticket is solved. date_order: how to
    read dates that fit both ways. time_zone: the one the instance shows times in; those of `{value, display_value}` and with
    an offset are UTC anyway. encoding: of CSV files.
    """
    clock = Clock(_zone(time_zone), date_order == "day_first")
    with ThreadStore(tally) as store:
        for file in files(path, ".csv", *JSON_SUFFIXES):
            for where, item in _objects(file, relative(file, path), encoding, tally):
                try:
                    _store(item, where, store, clock, tally)
                except RecursionError:
                    tally.broken(where, "nested too deeply")
        if store.is_empty():
            raise SourceError(
                f"{path}: holds no ticket (a record with `number` or `sys_id` and `short_description`)."
                " Export the incident table too, as JSON or CSV."
            )
        labels = {**JOURNAL_LABELS, **{k.strip().casefold(): v for k, v in journal_labels.items()}}
        reader = _Reader(store, tally, clock, labels, _folded(bots), _folded(solved_states))
        for id, ticket, entries in store.threads():
            record = reader.record(id, ticket, entries)
            if record is not None:
                yield record


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as e:
        raise SourceError(f"servicenow: time_zone is {name!r}; give a name like Europe/Berlin, or UTC.") from e


def _objects(file: Path, name: str, encoding: str, tally: Tally) -> Iterator[tuple[Pointer, dict[str, Any]]]:
    if file.suffix.lower() != ".csv":
        for where, item in json_objects(file, name, tally, keys=("result", "records")):
            only = item.get("result") if len(item) == 1 else None
            yield where, only if isinstance(only, dict) else item
        return
    table = Table(file, name, encoding)
    header = [_column(h) for h in table.header]
    for where, cells in table.rows(tally):
        yield where, dict(zip(header[::-1], cells[::-1], strict=True))  # of two equal headers the first one counts


def _column(header: str) -> str:
    return LABELS.get(header.strip().lower(), header.strip().lower())


def _store(item: dict[str, Any], where: Pointer, store: ThreadStore, clock: Clock, tally: Tally) -> None:
    id, number = _key(item.get("sys_id")), _shown(item.get("number"))
    if "element_id" in item:
        _store_entry(item, where, store, clock, tally)
    elif "table_sys_id" in item and "file_name" in item:
        tally.seen("attachments")
        store.add_fact(_key(item["table_sys_id"]), _shown(item["file_name"]))
    elif TICKET & set(item) and re.sub(r"\d.*", "", number) not in NO_TICKETS:
        tally.seen("tickets")
        if not id and not number:
            tally.drop(Dropped("ticket_without_id", where))
            return
        store.add_ticket(id or number, item, where)
        store.add_person(f"number {number}", id or number)
    elif "user_name" in item:
        _store_user(item, store)
    else:
        tally.seen("other objects")
        tally.drop(Dropped("other_object", where, ", ".join(sorted(item)[:6])))


def _store_entry(item: dict[str, Any], where: Pointer, store: ThreadStore, clock: Clock, tally: Tally) -> None:
    if isinstance(item.get("value"), list):
        tally.broken(where, "the text of the journal entry is no text")
        return
    try:
        sent = clock.moment(item.get("sys_created_on"))
    except ValueError:
        sent = None
    id = _key(item.get("sys_id")) or str(where)
    store.add_message(_key(item["element_id"]), id, sent and sent.isoformat(), item, where)


def _store_user(item: dict[str, Any], store: ThreadStore) -> None:
    """A user by every name a record may call them; a display name that two users share names neither."""
    user = {k: _key(item.get(k)) if k == "sys_id" else _shown(item.get(k)) for k in USER}
    store.add_person(f"sys_id {user['sys_id']}", user)
    store.add_person(f"user_name {user['user_name'].casefold()}", user)
    same = store.person(f"name {user['name'].casefold()}")
    known = same is None or all(same.get(k) == user[k] for k in ("sys_id", "user_name"))
    store.add_person(f"name {user['name'].casefold()}", user if known else {"name": user["name"]})


TICKET = {"number", "short_description", "caller_id", "opened_at"}
USER = ("sys_id", "name", "user_name", "email", "phone", "mobile_phone")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of a journal. who: the author's display name, in the stream the user name; empty where nobody is named."""

    text: str
    public: bool
    element: str  # comments or work_notes; empty where its label is unknown
    pointer: Pointer
    who: str = ""
    named_by: Literal["name", "user_name"] = "name"
    when: Any = None  # as written
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Identity:
    """Somebody by every key the export has: pairs of kind (sys_id, name, user_name) and value."""

    keys: frozenset[tuple[str, str]]
    person: Person


@dataclass(frozen=True, slots=True)
class _Cast:
    """Who plays what in one ticket."""

    caller: _Identity
    customers: frozenset[tuple[str, str]]
    staff: frozenset[tuple[str, str]]
    watchers: frozenset[tuple[str, str]]
    people: tuple[_Identity, ...]


@dataclass(frozen=True, slots=True)
class _Reader:
    """What reading one ticket needs of the others and of the options."""

    threads: ThreadStore
    tally: Tally
    clock: Clock
    labels: dict[str, Visibility]
    bots: frozenset[str]
    solved: frozenset[str]

    def record(self, id: str, stored: Stored, stream: list[Stored]) -> Record | None:
        dates = [_shown(stored[0].get(k)) for k in DATES]
        dates += [when for k in JOURNALS for when, *_ in entries_of(lines_of(_shown(stored[0].get(k))))]
        return replace(self, clock=self.clock.like(dates))._record(id, stored, stream)

    def _record(self, id: str, stored: Stored, stream: list[Stored]) -> Record | None:
        ticket, where = stored
        described = _shown(ticket.get("description")) or _shown(ticket.get("short_description"))
        self.tally.seen("messages", int(bool(described)))
        entries = self.entries(ticket, where, stream, described)
        count = len(entries) + bool(described)
        try:
            created = self.clock.moment(ticket.get("opened_at") or ticket.get("sys_created_on"))
        except ValueError as e:
            self.tally.drop(Dropped("unreadable_time", where, str(e)), messages=count)
            return None
        if not count:
            self.tally.drop(Dropped("ticket_without_messages", where))
            return None
        cast = self.cast(ticket)
        authors = [self.author(e) for e in entries]
        messages = [self.message(e, a, cast) for e, a in zip(entries, authors, strict=True)]
        if described:
            field = "description" if _shown(ticket.get("description")) else "short_description"
            place = Pointer(where.file, f"{where.at}/{field}")
            messages.insert(0, Message(cast.caller.person.id, "customer", True, created, described, pointer=place))
        names = tuple(n for n in self.threads.facts(id) if n)
        messages[0] = replace(messages[0], attachments=names)
        status = _word(ticket.get("state") or ticket.get("incident_state"), STATES.get(_table(ticket), INCIDENT))
        unsolved = _shown(ticket.get("close_code")).casefold().startswith(UNSOLVED_CODES)
        return Record(
            id=id,
            kind="ticket",
            group=(*cast.caller.person.emails, cast.caller.person.id or f"unknown-{id}")[0].casefold(),
            created=created,
            title=_shown(ticket.get("short_description")),
            messages=tuple(messages),
            pointer=where,
            fields=_fields(ticket, status),
            solved=status in self.solved and not unsolved,
            people=tuple(self.people([*cast.people, *authors])),
            reopened=(_number(ticket.get("reopen_count")) or 0) > 0 or bool(_shown(ticket.get("reopened_time"))),
            resolution=self.resolution(ticket),
            links=tuple(dict.fromkeys(n for n in self.links(ticket) if n != id)),
        )

    def entries(self, ticket: dict[str, Any], where: Pointer, stream: list[Stored], described: str) -> list[_Entry]:
        """The entries of the stream, then of the journals what the stream has not; in time order, each once."""
        lists = [[self.streamed(item, at) for item, at in stream]]
        covered = {e.element for e in lists[0]}
        seen: set[tuple[str, str, str]] = set()
        for key in JOURNALS:
            lists.append([])
            for entry in self.journal(_shown(ticket.get(key)), key, where):
                self.tally.seen("messages")
                again = (str(entry.when), entry.who, entry.text)
                if entry.element in covered or (covered and not entry.element):
                    self.tally.drop(Dropped("journal_also_in_stream", entry.pointer))
                elif again in seen and key == "comments_and_work_notes":
                    self.tally.drop(Dropped("journal_entry_repeated", entry.pointer))
                else:
                    seen.add(again)
                    lists[-1].append(entry)
        merged = _in_time_order(lists)
        if merged and merged[0].public and merged[0].text.strip() == described.strip():
            self.tally.drop(Dropped("entry_repeats_description", merged.pop(0).pointer))
        return merged

    def streamed(self, item: dict[str, Any], where: Pointer) -> _Entry:
        element = _shown(item.get("element")).strip()
        who, when = _shown(item.get("sys_created_by")).strip(), item.get("sys_created_on")
        public, text = element == "comments", _shown(item.get("value"))
        return _Entry(text, public, element, where, who, "user_name", when, self.time(when))

    def journal(self, text: str, key: str, where: Pointer) -> list[_Entry]:
        """The entries of a journal, oldest first."""
        found = entries_of(lines_of(text))
        entries = []
        for n, (when, who, label, said) in enumerate(found):
            visibility = self.labels.get(label.strip().casefold())
            element = {"public": "comments", "internal": "work_notes"}.get(visibility or "", "")
            entries.append(_Entry(
                text=said.strip(),
                public=visibility == "public" and key != "work_notes" and not self.names_internal(said),
                element=element if key == "comments_and_work_notes" else key,
                pointer=Pointer(where.file, f"{where.at}/{key}/{n}"),
                who=who,
                when=when,
                created=self.time(when),
            ))  # fmt: skip
        odd = out_of_order([e.created for e in entries])
        if any(not e.public for e in entries):  # an order that cannot be checked is none
            odd |= {n for n, e in enumerate(entries) if e.created is None}
        return [replace(e, public=e.public and n not in odd) for n, e in enumerate(entries)][::-1]

    def names_internal(self, text: str) -> bool:
        """Whether a text holds the label of an internal entry: a header that was pasted, or not recognised."""
        folded = text.casefold()
        return any(f"({label})" in folded for label, visibility in self.labels.items() if visibility == "internal")

    def time(self, when: Any) -> datetime | None:
        try:
            return self.clock.moment(when)
        except ValueError:
            self.tally.seen("messages without a readable time")
            return None

    def message(self, entry: _Entry, author: _Identity, cast: _Cast) -> Message:
        role = self.role(author, cast)
        if role == "system":
            self.tally.seen("messages by unknown authors")
        code = CODE.fullmatch(entry.text)
        return Message(
            author=author.person.id,
            role=role,
            public=entry.public,
            created=entry.created,
            text=code[1] if code else entry.text,
            html=code is not None,
            origin="automatic" if role == "bot" else "person",
            pointer=entry.pointer,
        )

    def role(self, author: _Identity, cast: _Cast) -> Role:
        # mara.lindqvist may be Mara Lindqvist, which tells who somebody is, but not who they are not
        guess = {("name", v.replace(".", " ")) for kind, v in author.keys if kind == "user_name"}
        keys = author.keys | guess
        if self.is_bot(author):
            return "bot"
        if keys & cast.customers:
            return "customer"
        if keys & cast.staff:
            return "agent"
        comparable = {kind for kind, _ in author.keys} & {kind for kind, _ in cast.caller.keys}
        return "agent" if comparable and not keys & cast.watchers else "system"

    def is_bot(self, somebody: _Identity) -> bool:
        return any(value in self.bots for kind, value in somebody.keys if kind != "sys_id")

    def cast(self, ticket: dict[str, Any]) -> _Cast:
        asking = [self.identity(ticket, k) for k in CUSTOMERS]
        opener, staff = self.identity(ticket, "opened_by"), [self.identity(ticket, k) for k in STAFF]
        watching = [self.found(n) for k in ("watch_list", "work_notes_list") for n in _shown(ticket.get(k)).split(",")]
        caller = next((i for i in asking if i.keys), opener)
        of_staff = _keys(staff)
        opened = opener.keys if not opener.keys & of_staff else frozenset()
        everybody = (*asking, opener, *staff, *watching)
        return _Cast(caller, _keys(asking) | caller.keys | opened, of_staff, _keys(watching), everybody)

    def identity(self, ticket: dict[str, Any], key: str) -> _Identity:
        """Whom a reference field names, with what its dotted fields (`caller_id.email`) say besides."""
        value = ticket.get(key)
        sys_id = _key(value) if isinstance(value, dict) else ""
        told = {k: _shown(ticket.get(f"{key}.{k}")) for k in USER}
        return self.found(_shown(value), sys_id if SYS_ID.fullmatch(sys_id) else "", told)

    def found(self, shown: str, sys_id: str = "", told: dict[str, str] | None = None) -> _Identity:
        shown = shown.strip()
        if SYS_ID.fullmatch(shown):
            shown, sys_id = "", sys_id or shown
        known = self.threads.person(f"sys_id {sys_id}") if sys_id else None
        if known is None and shown:
            named = self.threads.person(f"name {shown.casefold()}") or self.threads.person(
                f"user_name {shown.casefold()}"
            )
            known = named if not (sys_id and (named or {}).get("sys_id")) else None  # somebody else of that name
        return _identity({"sys_id": sys_id, "name": shown}, known or {}, told or {})

    def author(self, entry: _Entry) -> _Identity:
        known = self.threads.person(f"{entry.named_by} {entry.who.casefold()}") if entry.who else None
        return _identity({entry.named_by: entry.who}, known or {})

    def people(self, everybody: list[_Identity]) -> Iterator[Person]:
        people: dict[str, Person] = {}
        for i in everybody:
            if not self.is_bot(i) and (i.person.names or i.person.emails or i.person.phones):
                people.setdefault(i.person.id, i.person)
        yield from people.values()

    def resolution(self, ticket: dict[str, Any]) -> str:
        closers = [self.identity(ticket, k) for k in ("resolved_by", "closed_by")]
        closer = next((c for c in closers if c.keys), None)
        return "" if closer and self.is_bot(closer) else _shown(ticket.get("close_notes")).strip()

    def links(self, ticket: dict[str, Any]) -> Iterator[str]:
        """Parents and duplicates, by the ids that records have here where the export holds them."""
        for key in ("parent_incident", "parent", "duplicate_of", "u_duplicate_of"):
            value = ticket.get(key)
            sys_id, number = _key(value), _shown(value).strip()
            if number or sys_id:
                yield sys_id if SYS_ID.fullmatch(sys_id) else self.threads.person(f"number {number}") or number
        if "duplicate" in _shown(ticket.get("close_code")).casefold():
            for number in NUMBER.findall(_shown(ticket.get("close_notes"))):
                yield self.threads.person(f"number {number}") or number


def _in_time_order(lists: list[list[_Entry]]) -> list[_Entry]:
    """Several lists in one; an entry without a time stays behind the one before it."""
    keyed: list[tuple[datetime, _Entry]] = []
    for entries in lists:
        last = datetime.min.replace(tzinfo=UTC)
        for entry in entries:
            last = entry.created or last
            keyed.append((last, entry))
    return [entry for _, entry in sorted(keyed, key=lambda k: k[0])]


def _identity(*sources: dict[str, str]) -> _Identity:
    """One identity of what several places say of somebody."""
    told = {k: [s[k] for s in sources if s.get(k)] for k in USER}
    keys = frozenset((k, v.casefold()) for k in ("sys_id", "name", "user_name") for v in told[k])
    ids = [v for k in ("sys_id", "user_name", "name") for v in told[k]]
    names, mails = [*told["name"], *told["user_name"]], [*told["email"], *told["name"], *told["user_name"]]
    return _Identity(keys, Person(
        id=ids[0] if ids else "",
        names=tuple(dict.fromkeys(n for n in names if "@" not in n)),
        emails=tuple(dict.fromkeys(m for m in mails if "@" in m)),
        phones=tuple(dict.fromkeys([*told["phone"], *told["mobile_phone"]])),
    ))  # fmt: skip


def _keys(somebody: list[_Identity]) -> frozenset[tuple[str, str]]:
    return frozenset(key for i in somebody for key in i.keys)


def _fields(ticket: dict[str, Any], status: str) -> dict[str, str]:
    kinds = {"CS": "case", "RITM": "requested item", "INC": "incident"}
    found = {k: _shown(v).strip() for k, v in ticket.items() if k in WORDS or k.startswith("u_")}
    found |= {
        "status": status,
        "type": kinds.get(_table(ticket), _shown(ticket.get("sys_class_name")).lower()),
        "priority": _word(ticket.get("priority"), PRIORITIES),
        "impact": _word(ticket.get("impact"), URGENCIES),
        "urgency": _word(ticket.get("urgency"), URGENCIES),
        "tags": _shown(ticket.get("sys_tags")),
    }
    return {k: v for k, v in found.items() if v and len(v) <= TOO_LONG}


def _table(ticket: dict[str, Any]) -> str:
    """Which table a ticket is of, by its class or else its number: states have other numbers in each."""
    name = (_key(ticket.get("sys_class_name")) or _shown(ticket.get("sys_class_name"))).lower()
    named = {
        "incident": "INC", "case": "CS", "sn_customerservice_case": "CS", "sc_req_item": "RITM", "requested item": "RITM",
    }  # fmt: skip
    return named.get(name) or re.sub(r"\d.*", "", _shown(ticket.get("number")))


def _word(value: Any, words: dict[int, str]) -> str:
    """A choice as a word: 3, "3", "3 - Moderate" and {value: 3} are the same."""
    number, shown = _number(value), _shown(value).strip().lower()
    if number is not None:
        return words.get(number, shown)
    return re.sub(r"\A\d+ - ", "", shown)


def _number(value: Any) -> int | None:
    key = _key(value)
    return int(float(key)) if re.fullmatch(r"-?\d{1,9}(?:\.0)?", key, re.ASCII) else None


def _shown(value: Any) -> str:
    """A field's text as people see it."""
    if isinstance(value, dict):
        value = value.get("display_value") or value.get("value")
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _key(value: Any) -> str:
    """A field's value as the database has it: of a reference the sys_id, which may stand in its link alone."""
    if isinstance(value, dict):
        link = value.get("link")
        value = value.get("value") or (link.rsplit("/", 1)[-1] if isinstance(link, str) else value.get("display_value"))
    return _shown(value).strip() if not isinstance(value, dict) else ""


def _folded(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(w.strip().casefold() for w in words)
