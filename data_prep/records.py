"""What flows through data preparation: Record → Redacted → Row.

Redacted is a type of its own, so that unredacted text in training is a type error and not an accident.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Role = Literal["customer", "agent", "bot", "system"]
Kind = Literal["ticket", "document"]
Sensitivity = Literal["shareable", "local_only"]
Split = Literal["train", "dev", "test"]
# Who really wrote a message: a person, a macro that an agent applied, a rule or auto-responder, or the merging of tickets.
# Readers set what the export says; the rest is recognised from the text (data_prep.clean.is_automatic).
Origin = Literal["person", "macro", "automatic", "merge"]


class UserError(Exception):
    """The user's mistake, or a condition only the user can mend: one message, no traceback."""

    exit_code = 2


class SourceError(UserError):
    """The user's input cannot be read. The message says which file and place, what was found and what to do."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where a text came from: a file relative to its source's folder, and the place in it.

    `at` is a JSON pointer (RFC 6901), `line 12`, or `chars 120-480`.
    """

    file: str
    at: str


@dataclass(frozen=True, slots=True)
class Message:
    author: str  # the source's id of the author; never shown
    role: Role
    public: bool  # False for internal notes and for every flag the reader does not know
    created: datetime | None
    text: str
    html: bool = False
    origin: Origin = "person"
    attachments: tuple[str, ...] = ()  # file names
    pointer: Pointer | None = None  # where this message stands; None: where its record stands


@dataclass(frozen=True, slots=True)
class Person:
    """A participant as the export knows them: what must not survive redaction. `id` is the source's."""

    id: str
    names: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One ticket thread or one document, as read. `group` is the customer (or the document's path).

    fields: what tasks may ask for (labels, product, version), by lower-case name. A document's `url` and `updated` go there too.
    """

    id: str
    kind: Kind
    group: str
    created: datetime | None
    title: str
    messages: tuple[Message, ...]  # a document is one message of role "system" with Markdown text
    pointer: Pointer
    fields: dict[str, str] = field(default_factory=dict)
    solved: bool = False
    people: tuple[Person, ...] = ()
    reopened: bool = False
    satisfaction: Literal["good", "bad"] | None = None  # None: not asked, not answered, or neither
    resolution: str = ""  # a human's closing note or summary, as plain text or Markdown
    links: tuple[str, ...] = ()  # the source's ids of duplicates, clones and merged tickets: one group with this record


@dataclass(frozen=True, slots=True)
class Turn:
    """A cleaned and redacted message."""

    role: Role
    public: bool
    created: datetime | None
    text: str
    origin: Origin = "person"
    attachments: tuple[str, ...] = ()
    pointer: Pointer | None = None


@dataclass(frozen=True, slots=True)
class Redacted:
    """A record without raw personal data. `group` is a surrogate; `masked` counts what was found, by kind.

    subjects: keyed hashes of everybody the record tells of, for `freehold forget`. sensitivity: by the recipe's rules.
    """

    id: str
    kind: Kind
    group: str
    created: datetime | None
    title: str
    turns: tuple[Turn, ...]
    pointer: Pointer
    fields: dict[str, str]
    solved: bool
    language: str
    masked: dict[str, int]
    reopened: bool = False
    satisfaction: Literal["good", "bad"] | None = None
    resolution: str = ""
    sensitivity: Sensitivity = "shareable"
    links: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()

    @property
    def first_customer_text(self) -> str | None:
        """The text the thread opens with; None where no customer wrote in public."""
        return next((t.text for t in self.turns if t.role == "customer" and t.public and t.text), None)


ChatMessage = dict[Literal["role", "content"], str]


@dataclass(frozen=True, slots=True)
class Row:
    """One training or evaluation example in TRL's conversational prompt/completion form.

    `slices` holds `name=value` strings; `label` is the gold label of classification tasks, None elsewhere. `leans_on` are the
    records besides its own whose passages the prompt shows, and where those stand.
    """

    id: str
    task: str
    prompt: tuple[ChatMessage, ...]
    completion: tuple[ChatMessage, ...]
    label: str | None
    slices: tuple[str, ...]
    sensitivity: Sensitivity
    group: str
    created: datetime | None
    record_ids: tuple[str, ...]
    spans: tuple[Pointer, ...]
    made_by: str = "human"  # "human", "extractive", or the model that wrote the answer
    leans_on: tuple[tuple[str, Pointer], ...] = ()

    @property
    def reference(self) -> str:
        """The text a perfect answer would be compared with."""
        return self.completion[-1]["content"]


@dataclass(frozen=True, slots=True)
class Question:
    """What a task asks a teacher model. `text` is what the answer must be grounded in; `span` is where it stands."""

    id: str
    task: str
    record: str
    prompt: tuple[ChatMessage, ...]
    text: str
    span: Pointer
    sensitivity: Sensitivity


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something that did not become a row: why, and where it was."""

    reason: str
    pointer: Pointer
    detail: str = ""


EXAMPLES = 5


@dataclass(slots=True)
class Tally:
    """What a step took in and what it dropped by reason, with a few places as examples: nothing vanishes.

    max_bad_records: how many broken records a source may hold before it stops.
    """

    taken: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    max_bad_records: int = 20

    def seen(self, what: str, number: int = 1) -> None:
        self.taken[what] += number

    def drop(self, dropped: Dropped, *, messages: int = 0) -> None:
        """Count a drop. `messages`: how many messages went with a dropped ticket."""
        self.dropped[dropped.reason] += 1
        if messages:
            self.dropped["message_of_dropped_ticket"] += messages
        shown = self.examples.setdefault(dropped.reason, [])
        if len(shown) < EXAMPLES:
            shown.append(
                f"{dropped.pointer.file} {dropped.pointer.at}" + (f" ({dropped.detail[:80]})" if dropped.detail else "")
            )

    def broken(self, where: Pointer, found: str) -> None:
        """Count a record that cannot be read. Raises SourceError beyond max_bad_records: that export is not whole."""
        self.seen("broken records")
        self.drop(Dropped("broken_record", where, found))
        if self.dropped["broken_record"] > self.max_bad_records:
            raise SourceError(
                f"{where.file}: {where.at}: {found}; more than {self.max_bad_records} records of this source are broken."
                " Export it again, or raise `dataset.max_bad_records` in the recipe."
            )

    def add(self, other: Tally) -> None:
        self.taken += other.taken
        self.dropped += other.dropped
        for reason, examples in other.examples.items():
            shown = self.examples.setdefault(reason, [])
            shown.extend(examples[: EXAMPLES - len(shown)])
