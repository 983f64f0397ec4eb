"""Tickets in CSV: one row a ticket, one row a message, or two kinds of files joined by id.

Columns are read by their header, never by position, so files of one export may differ in columns and order.
The recipe's column map says which header means what; a role comes from a role column, or from the author: who opened
the ticket is its customer, everybody else an agent.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from data_prep.records import Dropped, Message, Person, Pointer, Record, Role, SourceError, Tally
from data_prep.sources._files import PEEKED, Peek, delimiter_of, files, moment, relative
from data_prep.sources._tables import Encoding, Table
from data_prep.sources._threads import Stored, ThreadStore

KIND: Literal["ticket"] = "ticket"
GENERIC = True  # recognises nearly any CSV: asked when no other reader knows a file
YES = ("1", "true", "yes", "y", "t")
NO = ("0", "false", "no", "n", "f")
PUBLIC = ("public", "external", "customer", "visible", *YES)
NOT_PRIVATE = ("public", "external", "customer", "visible", *NO)
# Words of a header that says who may see a row, and words behind which it says something else (`internal_id`, `notes_count`).
FLAG = re.compile(
    r"privat|privad|\bpriv[ée]\b|internal|\bintern[eoa]?\b|confidential|visib|sichtbar|(?:ö|oe)ffentlich|(?<!re)public(?!at|it)"
    r"|públic|publique|\b(?:staff|agents?) only\b|\bhidden\b|^(?:is )?(?:(?:work|agent|staff|admin) )?note(?: type| flag)?$|^isnote$|^notetype$"
)
# Headers whose yes is clear; of any other flag neither yes nor no says public.
SAYS_PUBLIC = re.compile(
    r"(?:is )?(?:public(?: (?:comment|reply|message|note))?|publicly visible|visib(?:le|ility)|sichtbar(?:keit)?|öffentlich)(?: to customers?)?"
)
SAYS_PRIVATE = re.compile(
    r"(?:is )?(?:private?|interne?|internal|confidential|hidden|(?:staff|agents?) only)(?: (?:note|comment|reply|message|flag))?"
    r"|(?:is )?note(?: flag)?"
)
NO_FLAG = re.compile(r"\b(?:ids?|number|key|ref|url|link|email|phone|name|address|ip|count|by|at|date)$")
NOTE = re.compile(r"(?:(?:internal|private|work|staff|agent)[ _-]?)?notes?|internal(?:[ _-](?:comment|message))?")
LONGEST_FLAG = 60  # characters; a column with a longer value in it holds texts


class Columns(BaseModel):
    """Header of each thing in the file. `id` of a message row is its own id, `ticket` the id of its ticket.

    public, private: who may see the row, said the one way or the other; where both are named, both must say public.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    ticket: str | None = None
    body: str
    author: str | None = None
    author_name: str | None = None
    author_email: str | None = None
    role: str | None = None
    public: str | None = None
    private: str | None = None
    subject: str | None = None
    created: str | None = None
    answer: str | None = None  # one row a ticket: the agent's reply in the same row
    solved: str | None = None
    spam: str | None = None
    satisfaction: str | None = None
    reopened: str | None = None
    resolution: str | None = None


# What exports call these columns, most telling first; `recognise` proposes a column map from them.
CALLED = {
    "ticket": ("ticket_id", "question_id", "conversation_id", "thread_id", "case_id", "issue_id", "parent_id"),
    "id": ("id", "message_id", "comment_id", "answer_id", "ticket_id", "number", "case_number", "key"),
    "body": ("body", "content", "description", "message", "text", "question", "comment", "plain_body", "html_body"),
    "answer": ("answer", "reply", "response", "agent_reply"),
    "author": (
        "author",
        "creator",
        "user",
        "from",
        "sender",
        "requester",
        "customer",
        "author_id",
        "user_id",
        "created_by",
    ),
    "author_name": ("author_name", "name", "customer_name", "user_name", "requester_name"),
    "author_email": ("author_email", "email", "customer_email", "from_email", "requester_email", "sender_email"),
    "role": ("author_role", "role", "author_type", "sender_type", "user_type", "direction"),
    "public": ("public", "visibility", "is_public"),
    "private": (
        "is_private",
        "private",
        "is_internal",
        "internal",
        "private_note",
        "internal_note",
        "is_internal_note",
        "is_note",
        "note_type",
    ),
    "subject": ("subject", "title", "summary", "short_description"),
    "created": ("created", "created_at", "sent_at", "date", "timestamp", "created_on", "opened_at", "time"),
    "solved": ("is_solved", "solved", "status", "state"),
    "spam": ("is_spam", "spam"),
    "resolution": ("resolution_notes", "close_notes", "resolution"),
}


def recognise(peek: Peek) -> dict[str, Any] | None:
    """Any CSV with an id and a text: a column map by the usual names, and short repeated columns as fields."""
    header = {h.casefold().replace(" ", "_"): h for h in peek.header}
    if peek.suffix not in (".csv", ".tsv") or len(header) < 2:
        return None
    found = {what: next((header[c] for c in called if c in header), None) for what, called in CALLED.items()}
    if found["body"] is None or found["id"] is None or "<ac:" in peek.text or {"html", "slug"} <= set(header):
        return None
    if found["ticket"] is not None:
        # a message row: its own id where there is one beside the ticket's
        found["answer"] = None
        found["id"] = next(
            (header[c] for c in CALLED["id"] if c in header and header[c] != found["ticket"]), found["ticket"]
        )
    map_ = {k: v for k, v in found.items() if v is not None and not (k == "ticket" and v == found["id"])}
    sample = _sample(peek)
    if flag := _flag(peek.header, map_, sample):
        map_ |= {"public": flag} if SAYS_PUBLIC.fullmatch(_words(flag)) else {}
        map_ |= {"private": flag} if SAYS_PRIVATE.fullmatch(_words(flag)) else {}
        map_ = {"public": flag, "private": flag} | map_ if flag not in map_.values() else map_
    fields = {h.casefold().replace(" ", "_"): h for h in peek.header if h not in map_.values() and _is_label(h, sample)}
    options: dict[str, Any] = {"messages" if found["ticket"] is not None else "tickets": map_}
    if any("</p>" in (r.get(found["body"]) or "") or "<br" in (r.get(found["body"]) or "") for r in sample):
        options["html"] = True
    if found["role"] is not None:
        said = {str(r.get(found["role"]) or "").strip().lower() for r in sample} - {""}
        options["roles"] = {v: role for v in sorted(said) if (role := _usual_role(v)) is not None}
    return {**options, **({"fields": fields} if fields else {})}


def _sample(peek: Peek, delimiter: str | None = None) -> list[dict[str, Any]]:
    """The first rows by header; the last one of them may be cut off, and is left out."""
    text = peek.text.replace("\r\n", "\n").replace("\r", "\n")
    first, _, rest = text.partition("\n")
    whole = text if len(peek.head) < PEEKED else f"{first}\n{rest.rpartition(chr(10))[0]}"
    return list(csv.DictReader(io.StringIO(whole), delimiter=delimiter or delimiter_of(first)))


def _flag(header: Iterable[str], columns: Mapping[str, Any], rows: list[dict[str, Any]]) -> str | None:
    """A column beside those of the map that seems to say who may see a row: by its header, or because a value of it does.

    None where the map names such a column.
    """
    if columns.get("public") or columns.get("private"):
        return None
    for h in dict.fromkeys(header):
        values = {str(r.get(h) or "").strip().casefold() for r in rows}
        says = _seems_flag(h) or any(NOTE.fullmatch(v) for v in values)
        if says and h not in columns.values() and all(len(v) <= LONGEST_FLAG for v in values):
            return h
    return None


def _seems_flag(header: str) -> bool:
    return FLAG.search(_words(header)) is not None and NO_FLAG.search(_words(header)) is None


def _words(header: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", header).casefold()))


def _is_label(column: str, rows: list[dict[str, Any]]) -> bool:
    values = [str(r.get(column) or "") for r in rows]
    known = [v for v in values if v]
    return len(known) > 5 and max(map(len, known)) <= 60 and len(set(known)) <= max(2, len(known) // 3) and not any(
        v.replace(".", "").isdigit() for v in known
    )  # fmt: skip


def _usual_role(value: str) -> Role | None:
    usual: dict[str, Role] = {
        "customer": "customer", "user": "customer", "end-user": "customer", "end_user": "customer", "incoming": "customer",
        "requester": "customer", "agent": "agent", "admin": "agent", "staff": "agent", "outgoing": "agent", "bot": "bot",
        "system": "system",
    }  # fmt: skip
    return usual.get(value)


def read(
    path: Path,
    tally: Tally,
    *,
    tickets: Columns | None = None,
    messages: Columns | None = None,
    tickets_glob: str = "*",
    messages_glob: str = "*",
    fields: dict[str, str] = {},  # noqa: B006  (read only; the schema shows it as the default)
    html: bool = False,
    encoding: Encoding = "utf-8",
    delimiter: Literal[",", ";", "\t", "|"] | None = None,
    solved_values: tuple[str, ...] = ("solved", "closed", "resolved", *YES),
    satisfied_values: tuple[str, ...] = ("good", "satisfied", "4", "5"),
    dissatisfied_values: tuple[str, ...] = ("bad", "dissatisfied", "1", "2"),
    not_private_values: tuple[str, ...] = NOT_PRIVATE,
    assume_public: bool = False,
    roles: dict[str, Role] = {},  # noqa: B006
) -> Iterator[Record]:
    """Threads of CSV files under `path`.

    Give `tickets` for one row a ticket, `messages` for one row a message, both for two kinds of files joined by id; then a
    file that has the messages' ticket column holds messages, unless the globs say otherwise. fields: name for Freehold →
    header. delimiter: the header's most frequent one without it. roles: value of the role column → customer, agent, bot or
    system; a value that is not listed counts as system, a visibility that does not say public as internal.
    not_private_values: what the column `private` says of a public row; add "" where the export leaves it empty.
    assume_public: reads a file that has a column like `is_internal` which the map does not name; without it that is an error.
    """
    if tickets is None and messages is None:
        raise SourceError(
            "csv: give `tickets`, `messages` or both: the header of each column. See recipes/demo/demo.yaml."
        )
    with ThreadStore(tally) as store:
        for file in files(path, ".csv", ".tsv"):
            _store(
                Table(file, relative(file, path), encoding, delimiter),
                tally,
                store,
                tickets,
                messages,
                tickets_glob,
                messages_glob,
                assume_public=assume_public,
            )
        reader = _Reader(
            tickets, messages, fields, html, solved_values, satisfied_values, dissatisfied_values, not_private_values,
            roles, tally,
        )  # fmt: skip
        for id, ticket, found in store.threads():
            record = reader.record(id, ticket, found)
            if record is not None:
                yield record


def _store(
    table: Table,
    tally: Tally,
    store: ThreadStore,
    tickets: Columns | None,
    messages: Columns | None,
    tickets_glob: str,
    messages_glob: str,
    *,
    assume_public: bool,
) -> None:
    """One file's rows into the store, as tickets or as messages; a file that no glob fits is counted."""
    name = table.file.name
    ticket_column = (messages.ticket or messages.id) if messages is not None else ""
    fits_tickets = tickets is not None and fnmatch(name, tickets_glob)
    fits_messages = messages is not None and fnmatch(name, messages_glob)
    is_messages = fits_messages and (tickets is None or ticket_column in table.header)
    if messages is not None and is_messages and not (tickets_glob != "*" and fnmatch(name, tickets_glob)):
        _refuse_flags(table, messages, assume_public=assume_public)
        for where, row in _rows(table, tally, messages.body, ticket_column):
            ticket = row[ticket_column].strip()
            id = _id(row, messages.id, where, tally) if messages.ticket else _place(where)
            # many exports number the messages of every ticket from 1 on
            store.add_message(ticket, f"{ticket} {id}", row.get(messages.created or ""), row, where)
            if tickets is None and ticket:
                store.add_opening(ticket, row, where)
    elif tickets is not None and fits_tickets:
        _refuse_flags(table, tickets, assume_public=assume_public)
        for where, row in _rows(table, tally, tickets.id, tickets.body):
            tally.seen("tickets")
            store.add_ticket(_id(row, tickets.id, where, tally), row, where)
    else:
        tally.seen("files that are not read")
        tally.drop(
            Dropped("file_of_no_glob", Pointer(table.name, "line 1"), "neither tickets_glob nor messages_glob fits")
        )


def _id(row: dict[str, str], column: str, where: Pointer, tally: Tally) -> str:
    """A row's id; its place where it has none, which is counted."""
    id = row.get(column, "").strip()
    if not id:
        tally.seen("objects without id")
    return id or _place(where)


def _place(where: Pointer) -> str:
    return f"{where.file}:{where.at}"


def _refuse_flags(table: Table, columns: Columns, *, assume_public: bool) -> None:
    """Raises SourceError where a column that the map does not name seems to tell internal rows from public ones."""
    if assume_public or columns.public or columns.private:
        return  # a file is looked into only where the map leaves it open
    sample = _sample(Peek.of(table.file), table.delimiter)
    flag = _flag(table.header, columns.model_dump(exclude_none=True), sample)
    if flag is not None:
        raise SourceError(
            f"{table.file}:1: column {flag!r} may say which rows are internal, and the column map does not name it. Set"
            f" `private: {flag}` (or `public: {flag}`) in this source's options, or `assume_public: true` if it says no such thing."
        )


def _rows(table: Table, tally: Tally, *needed: str) -> Iterator[tuple[Pointer, dict[str, str]]]:
    """Rows by header. Raises SourceError where a needed column is missing."""
    header = table.header
    missing = sorted(set(needed) - set(header))
    if missing:
        raise SourceError(
            f"{table.file}:1: has no column {missing[0]!r}; it has {header}. Set the column map in this source's options,"
            f" or `delimiter` if the columns run together."
        )
    for where, cells in table.rows(tally):
        yield where, dict(zip(header, cells, strict=True))


@dataclass(frozen=True, slots=True)
class _Reader:
    tickets: Columns | None
    messages: Columns | None
    fields: dict[str, str]
    html: bool
    solved_values: tuple[str, ...]
    satisfied_values: tuple[str, ...]
    dissatisfied_values: tuple[str, ...]
    not_private_values: tuple[str, ...]
    roles: dict[str, Role]
    tally: Tally

    def record(self, id: str, stored: Stored, found: list[Stored]) -> Record | None:
        ticket, where = stored
        columns = self.tickets or self.messages
        assert columns is not None
        if _says(ticket, columns.spam, YES):
            self.tally.drop(Dropped("spam", where), messages=len(found))
            return None
        rows = [row for row, _ in found]
        first = rows[0] if self.tickets is None else ticket
        # a note that an agent left first does not make them the customer
        opener = next((r for r in rows if self._is_public(r, columns)), first) if self.tickets is None else ticket
        customer = opener.get(columns.author or "") or f"unknown-{id}"
        try:
            created = moment(first.get(columns.created or ""))
        except ValueError as e:
            self.tally.drop(Dropped("unreadable_time", where, str(e)), messages=len(found))
            return None
        messages = tuple(self._messages(ticket, where, found, customer))
        if not any(m.text.strip() for m in messages):
            self.tally.drop(Dropped("ticket_without_messages", where), messages=len(found))
            return None
        last = rows[-1] if self.tickets is None else ticket
        return Record(
            id=id,
            kind="ticket",
            group=(opener.get(columns.author_email or "") or customer).casefold(),
            created=created,
            title=first.get(columns.subject or "", ""),
            messages=messages,
            pointer=where,
            fields={n: last[h] for n, h in self.fields.items() if last.get(h)},
            solved=columns.solved is None or _says(last, columns.solved, self.solved_values),
            people=tuple(self._people([first, *rows])),
            reopened=_says(last, columns.reopened, YES),
            satisfaction="bad" if _says(last, columns.satisfaction, self.dissatisfied_values)
            else "good" if _says(last, columns.satisfaction, self.satisfied_values) else None,
            resolution=last.get(columns.resolution or "", ""),
        )  # fmt: skip

    def _messages(
        self, ticket: dict[str, str], where: Pointer, found: list[Stored], customer: str
    ) -> Iterator[Message]:
        if self.tickets is not None:
            sent, public = self._moment(ticket.get(self.tickets.created or "")), self._is_public(ticket, self.tickets)
            text = ticket.get(self.tickets.body, "")
            yield Message(customer, "customer", public, sent, text, self.html, pointer=where)
            if self.tickets.answer and ticket.get(self.tickets.answer):
                yield Message("agent", "agent", public, sent, ticket[self.tickets.answer], self.html, pointer=where)
        if self.messages is not None:
            for row, at in found:
                yield self._message(row, at, self.messages, customer)

    def _message(self, row: dict[str, str], where: Pointer, columns: Columns, customer: str) -> Message:
        author = row.get(columns.author or "") or "unknown"
        role: Role = "customer" if author == customer else "agent"
        if columns.role is not None:
            role = self.roles.get(row.get(columns.role, "").strip().lower(), "system")
        public = self._is_public(row, columns)
        created = self._moment(row.get(columns.created or ""))
        return Message(author, role, public, created, row.get(columns.body, ""), self.html, pointer=where)

    def _is_public(self, row: dict[str, str], columns: Columns) -> bool:
        return (columns.public is None or _says(row, columns.public, PUBLIC)) and (
            columns.private is None or _says(row, columns.private, self.not_private_values)
        )

    def _moment(self, value: str | None) -> Any:
        try:
            return moment(value)
        except ValueError:
            self.tally.seen("messages without a readable time")
            return None

    def _people(self, rows: list[dict[str, str]]) -> Iterator[Person]:
        seen: set[tuple[str | None, ...]] = set()
        for columns in (self.tickets, self.messages):
            for row in rows if columns is not None else []:
                assert columns is not None
                author = row.get(columns.author or "", "")
                name, email = row.get(columns.author_name or ""), row.get(columns.author_email or "")
                if author and (author, name, email) not in seen:
                    seen.add((author, name, email))
                    # a forum's author is a handle: it is masked as a name, unless it is shorter than a name can be
                    handle = name or (author if "@" not in author else "")
                    emails = tuple(dict.fromkeys(e for e in (email, author) if e and "@" in e))
                    yield Person(author, (handle,) if handle else (), emails)


def _says(row: dict[str, str], column: str | None, values: Iterable[str]) -> bool:
    return bool(column) and row.get(column or "", "").strip().lower() in values


def merged(options: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """One set of options for several files (name, what `recognise` proposed): two kinds of files are told apart by globs."""
    made: dict[str, Any] = {}
    for kind in ("tickets", "messages"):
        mine = [(name, o) for name, o in options if kind in o]
        if mine:
            every = [o[kind] for _, o in mine]
            made[kind] = {k: v for o in every for k, v in o.items()}
            if not all("solved" in o for o in every):  # a file without the column would count as unsolved throughout
                made[kind].pop("solved", None)
    both = {"tickets", "messages"} <= set(made)
    if both:
        for kind in ("tickets", "messages"):
            patterns = {re.sub(r"\d[\d-]*", "*", name) for name, o in options if kind in o}
            if len(patterns) == 1:
                made[f"{kind}_glob"] = patterns.pop()
    for name in ("fields", "roles"):
        found = {k: v for _, o in options for k, v in o.get(name, {}).items() if "tickets" in o or not both}
        made |= {name: found} if found else {}
    return made | ({"html": True} if any(o.get("html") for _, o in options) else {})
