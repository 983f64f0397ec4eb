"""Tickets in CSV: one row a ticket, one row a message, or two files joined by id.

Columns are read by their header, never by position, so files of one export may differ in columns and order.
The recipe's column map says which header means what; a role comes from a role column, or from the author: who opened
the ticket is its customer, everybody else an agent.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from data_prep.records import Dropped, Message, Person, Pointer, Record, Role, SourceError, Tally
from data_prep.sources._files import files, moment, text_of
from data_prep.sources._threads import Stored, ThreadStore

csv.field_size_limit(2**31 - 1)  # a ticket of two megabytes is one field; Python's own limit is 128 kB
YES = ("1", "true", "yes", "y", "t")
PUBLIC = ("public", "external", "customer", "visible", *YES)


class Columns(BaseModel):
    """Header of each thing in the file. `id` of a message row is its own id, `ticket` the id of its ticket."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    ticket: str | None = None
    body: str
    author: str | None = None
    author_name: str | None = None
    author_email: str | None = None
    role: str | None = None
    public: str | None = None
    subject: str | None = None
    created: str | None = None
    answer: str | None = None  # one row a ticket: the agent's reply in the same row
    solved: str | None = None
    spam: str | None = None


def read(
    path: Path,
    tally: Tally,
    *,
    tickets: Columns | None = None,
    messages: Columns | None = None,
    tickets_glob: str = "*.csv",
    messages_glob: str = "*.csv",
    fields: dict[str, str] = {},  # noqa: B006  (read only; the schema shows it as the default)
    html: bool = False,
    encoding: str = "utf-8",
    delimiter: Literal[",", ";", "\t", "|"] = ",",
    solved_values: tuple[str, ...] = ("solved", "closed", "resolved", *YES),
    roles: dict[str, Role] = {},  # noqa: B006
) -> Iterator[Record]:
    """Threads of CSV files under `path`.

    Give `tickets` for one row a ticket, `messages` for one row a message, both for two kinds of files joined by id.
    fields: name for Freehold → header. roles: value of the role column → customer, agent, bot or system; a value that
    is not listed counts as system, a visibility that does not say public as internal.
    """
    if tickets is None and messages is None:
        raise SourceError(
            "csv: give `tickets`, `messages` or both: the header of each column. See recipes/demo/demo.yaml."
        )
    with ThreadStore() as store:
        for file in files(path, ".csv"):
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            if tickets is not None and fnmatch(file.name, tickets_glob):
                for at, row in _rows(file, encoding, delimiter, _needed(tickets, "id", "body"), name, tally):
                    tally.seen("tickets")
                    if store.add_ticket(row[tickets.id], row, name, at):
                        tally.drop(Dropped("duplicate_ticket_id", Pointer(name, at), row[tickets.id]))
            if messages is not None and fnmatch(file.name, messages_glob):
                _add_messages(file, name, store, messages, tickets is None, encoding, delimiter, tally)
        reader = _Reader(tickets, messages, fields, html, solved_values, roles)
        for id, ticket, found in store.threads():
            record = reader.record(id, ticket, found, tally)
            if record is not None:
                yield record
        for ticket_id, orphan_file, at in store.orphans():
            tally.drop(Dropped("message_without_ticket", Pointer(orphan_file, at), f"ticket {ticket_id}"))


def _add_messages(
    file: Path,
    name: str,
    store: ThreadStore,
    columns: Columns,
    rows_are_tickets_too: bool,
    encoding: str,
    delimiter: str,
    tally: Tally,
) -> None:
    ticket_column = columns.ticket or columns.id
    for at, row in _rows(file, encoding, delimiter, _needed(columns, "body", ticket_column), name, tally):
        tally.seen("messages")
        ticket_id = row[ticket_column]
        if not ticket_id:
            tally.drop(Dropped("message_without_ticket", Pointer(name, at)))
            continue
        id = row[columns.id] if columns.ticket and columns.id in row else f"{name}:{at}"
        sent = row.get(columns.created or "") or ""
        if store.add_message(ticket_id, sent, id, row, name, at):
            tally.drop(Dropped("duplicate_message_id", Pointer(name, at), id))
        if rows_are_tickets_too:
            store.add_ticket(ticket_id, row, name, at)


def _needed(columns: Columns, *names: str) -> tuple[str, ...]:
    return tuple(getattr(columns, n) if hasattr(columns, n) else n for n in names)


def _rows(
    file: Path,
    encoding: str,
    delimiter: str,
    needed: tuple[str, ...],
    name: str,
    tally: Tally,
) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows by header with their lines. Rows with more or fewer cells than the header are dropped and counted."""
    text = text_of(file, encoding)
    if not text.strip():
        raise SourceError(f"{file}: is empty. Export it again, or remove it from the source's folder.")
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    header = [h.strip() for h in next(reader)]
    missing = sorted(set(needed) - set(header))
    if missing:
        raise SourceError(
            f"{file}:1: has no column {missing[0]!r}; it has {header}. Set the column map in this source's options,"
            f" or `delimiter` if the columns run together."
        )
    line = reader.line_num + 1
    for cells in reader:
        at, line = f"line {line}", reader.line_num + 1
        if not cells:
            continue
        if len(cells) != len(header):
            tally.seen("broken rows")
            tally.drop(
                Dropped("wrong_number_of_cells", Pointer(name, at), f"{len(cells)} cells, header has {len(header)}")
            )
            continue
        yield at, dict(zip(header, cells, strict=True))


@dataclass(frozen=True, slots=True)
class _Reader:
    tickets: Columns | None
    messages: Columns | None
    fields: dict[str, str]
    html: bool
    solved_values: tuple[str, ...]
    roles: dict[str, Role]

    def record(self, id: str, stored: Stored, found: list[Stored], tally: Tally) -> Record | None:
        ticket, file, at = stored
        where = Pointer(file, at)
        columns = self.tickets or self.messages
        assert columns is not None
        if columns.spam and ticket.get(columns.spam, "").lower() in YES:
            tally.drop(Dropped("spam", where), messages=len(found))
            return None
        rows = [row for row, *_ in found]
        first = rows[0] if self.tickets is None else ticket
        customer = first.get(columns.author or "") or f"unknown-{id}"
        try:
            created = moment(first.get(columns.created or ""))
            messages = tuple(self._messages(ticket, rows, customer))
        except ValueError as e:
            tally.drop(Dropped("unreadable_time", where, str(e)), messages=len(found))
            return None
        if not any(m.text.strip() for m in messages):
            tally.drop(Dropped("ticket_without_messages", where), messages=len(found))
            return None
        last = rows[-1] if self.tickets is None else ticket
        return Record(
            id=id,
            kind="ticket",
            group=(first.get(columns.author_email or "") or customer).casefold(),
            created=created,
            title=first.get(columns.subject or "", ""),
            messages=messages,
            pointer=where,
            fields={n: last[h] for n, h in self.fields.items() if last.get(h)},
            solved=columns.solved is None or last.get(columns.solved, "").strip().lower() in self.solved_values,
            people=tuple(self._people([first, *rows])),
        )

    def _messages(self, ticket: dict[str, str], rows: list[dict[str, str]], customer: str) -> Iterator[Message]:
        if self.tickets is not None:
            sent = moment(ticket.get(self.tickets.created or ""))
            yield Message(customer, "customer", True, sent, ticket.get(self.tickets.body, ""), self.html)
            if self.tickets.answer and ticket.get(self.tickets.answer):
                yield Message("agent", "agent", True, sent, ticket[self.tickets.answer], self.html)
        if self.messages is not None:
            for row in rows:
                yield self._message(row, self.messages, customer)

    def _message(self, row: dict[str, str], columns: Columns, customer: str) -> Message:
        author = row.get(columns.author or "") or "unknown"
        role: Role = "customer" if author == customer else "agent"
        if columns.role is not None:
            role = self.roles.get(row.get(columns.role, "").strip().lower(), "system")
        public = columns.public is None or row.get(columns.public, "").strip().lower() in PUBLIC
        created = moment(row.get(columns.created or ""))
        return Message(author, role, public, created, row.get(columns.body, ""), self.html)

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
