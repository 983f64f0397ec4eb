"""What is done to one shard, in whatever process or machine: redact its records, ask about them, make its rows.

A step reads files of the folder and writes files of the folder, its marker last; it is a function of them alone.

    settings.json key people.json       what every step needs
    raw/SHARD.jsonl                     Record, as read
    redacted/SHARD.jsonl known/SHARD    Redacted, and what the global steps need of each
    sides/SHARD.json documents.jsonl    the split's word on each record; the documents that stay
    questions/SHARD.jsonl answers.jsonl what a teacher is asked and says
    rows/SHARD.jsonl made/SHARD         Row, and what the selection needs of each
    chosen/SHARD.json                   which rows are written, and so audited; documents are all written
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from data_prep import plugins, shards
from data_prep.audit import Auditor
from data_prep.clean import clean, is_automatic, is_merge_notice
from data_prep.dedup import Signature, signature
from data_prep.language import language_of
from data_prep.library import Library
from data_prep.people import Directory, identity
from data_prep.pii import Found
from data_prep.records import (
    Dropped,
    Kind,
    Message,
    Person,
    Pointer,
    Question,
    Record,
    Redacted,
    Row,
    Split,
    Tally,
    Turn,
)  # fmt: skip
from data_prep.redact import Redactor, Surrogates
from data_prep.sensitivity import Rule, fitting


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides what the dataset holds, apart from the sources and the surrogate key."""

    tasks: dict[str, dict[str, Any]]
    keep_words: tuple[str, ...]
    near_duplicate_threshold: float
    test_from: datetime
    test_until: datetime | None
    dev_share: float
    min_label_examples: int
    max_same_answer: int
    max_rows: dict[str, dict[Split, int]]
    seed: int
    group_by: Literal["customer", "thread"] = "customer"
    redaction: bool = True
    engine: str = "core"
    engine_options: dict[str, Any] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    forgotten: tuple[str, ...] = ()  # keyed hashes of people whose records are left out
    max_bad_records: int = 20
    teacher: str | None = None  # the model that answers the tasks' questions
    planted: tuple[str, ...] = ()  # values that the leak audit looks for besides what participants are called


@dataclass(slots=True)
class Known:
    """What the global steps need of a record. They empty what has served: a corpus of texts does not fit into memory."""

    id: str
    kind: Kind
    group: str
    created: datetime | None
    links: tuple[str, ...]
    file: str
    opening: str
    signature: Signature


@dataclass(slots=True)
class Made:
    """What the selection needs of a row; texts and signatures are emptied as those of Known are."""

    id: str
    task: str
    label: str | None
    side: Split
    group: str
    records: tuple[str, ...]
    made_by: str
    question: str
    answer: str
    question_signature: Signature
    answer_signature: Signature


@dataclass(slots=True)
class Counted:
    """What a step counted of one shard."""

    tally: Tally = field(default_factory=Tally)
    kept: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)  # number of a sensitivity rule → records that it fits
    tasks: dict[str, Tally] = field(default_factory=dict)
    made: dict[str, Counter[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """The folder's settings, key and dictionaries, loaded once a process."""

    folder: Path

    @cached_property
    def settings(self) -> Settings:
        return msgspec.json.decode((self.folder / "settings.json").read_bytes(), type=Settings)

    @cached_property
    def surrogates(self) -> Surrogates:
        return Surrogates(bytes.fromhex((self.folder / "key").read_text()))

    @cached_property
    def directory(self) -> Directory:
        return Directory.load(self.folder / "people.json")

    @cached_property
    def find(self) -> Callable[[str], list[Found]]:
        if not self.settings.redaction:
            return lambda _: []
        function = plugins.load("data_prep.pii", self.settings.engine, "find")
        return partial(function, **plugins.options(function, self.settings.engine_options))

    @cached_property
    def keep(self) -> frozenset[str]:
        return frozenset(self.settings.keep_words)

    def redactor(self, people: tuple[Person, ...] = ()) -> Redactor:
        """Masks what the engine and the participants' names say; without redaction nothing."""
        if not self.settings.redaction:
            return Redactor(self.surrogates, find=self.find)
        return Redactor(self.surrogates, people, self.keep, self.directory, self.find)

    @cached_property
    def auditor(self) -> Auditor:
        return Auditor(self.directory, self.settings.planted, keep=self.keep)

    @cached_property
    def library(self) -> Library:
        return Library(shards.read(self.folder / "documents.jsonl", Redacted))

    @cached_property
    def tasks(self) -> dict[str, _Task]:
        """The settings' tasks with what their files offer, and their options."""
        found = {}
        for name, given in self.settings.tasks.items():
            rows = plugins.load("data_prep.tasks", name, "rows")
            module = plugins.module("data_prep.tasks", name)
            offered = (getattr(module, f, None) for f in ("questions", "accept"))
            found[name] = _Task(plugins.options(rows, given), rows, *offered)
        return found


@dataclass(frozen=True, slots=True)
class _Task:
    options: dict[str, Any]
    rows: Callable[..., Iterator[Row | Dropped]]
    questions: Callable[..., Iterator[Question]] | None
    accept: Callable[..., Iterator[Row | Dropped]] | None


@cache
def _context(folder: Path) -> Context:
    return Context(folder)


def is_done(step: str, folder: Path, shard: str) -> bool:
    return _marker(step, folder, shard).exists()


def _marker(step: str, folder: Path, shard: str) -> Path:
    return folder / step / f"{shard}.done.json"


def counted(step: str, folder: Path, shard: str) -> Counted:
    found = shards.marked(_marker(step, folder, shard), Counted)
    assert found is not None, f"{step} of {shard} is not finished"
    return found


def run(step: str, folder: Path, shard: str) -> None:
    """Do a step for one shard, or find that it is done."""
    if not is_done(step, folder, shard):
        shards.mark(_marker(step, folder, shard), STEPS[step](_context(folder), shard))


def redact(context: Context, shard: str) -> Counted:
    """Clean and redact a shard's records."""
    source = shard.rpartition("-")[0]
    counts, kept, known = Counted(), [], []
    for record in shards.read(context.folder / "raw" / f"{shard}.jsonl", Record):
        redacted = redact_record(record, source, context, counts.tally, rules=counts.rules)
        if redacted is None:
            continue
        counts.kept[f"{redacted.kind}s"] += 1
        counts.kept["messages"] += len(redacted.turns)
        counts.masked.update(redacted.masked)
        counts.languages[redacted.language] += 1
        kept.append(redacted)
        known.append(_known(redacted))
    shards.write(context.folder / "redacted" / f"{shard}.jsonl", kept)
    _pack(context.folder / "known" / shard, known)
    return counts


def _known(record: Redacted) -> Known:
    opening = record.first_customer_text if record.kind == "ticket" else record.turns[0].text
    return Known(
        record.id, record.kind, record.group, record.created, record.links, record.pointer.file,
        opening or "", signature(opening or ""),
    )  # fmt: skip


def _pack(path: Path, items: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.msgpack.encode(items))


def unpack(path: Path, type_: Any) -> Any:
    return msgspec.msgpack.decode(path.read_bytes(), type=type_)


def redact_record(
    record: Record, source: str, context: Context, tally: Tally, *, rules: Counter[str]
) -> Redacted | None:
    """Clean and redact one record. None where nothing a customer or document says is left; the tally says why.

    rules: counts which sensitivity rules fit.
    """
    redactor = context.redactor(record.people)
    turns = []
    for message in record.messages:
        text = clean(message.text, html=message.html)
        reason = _why_not_a_turn(record, message, text)
        if reason is not None:
            where = message.pointer or record.pointer
            tally.drop(Dropped(reason, where, _excerpt(reason, text, record, context, tally)))
            continue
        turns.append(
            Turn(
                message.role, message.public, message.created, redactor(text), message.origin,
                tuple(redactor(name) for name in message.attachments), message.pointer,
            )
        )  # fmt: skip
    if not turns:
        tally.drop(Dropped("nothing_public_left", record.pointer))
        return None
    fields = {k: redactor(v) for k, v in record.fields.items()}
    title, resolution = redactor(clean(record.title, html=False)), redactor(clean(record.resolution, html=False))
    fits = fitting(context.settings.rules, source, redactor.masked, record.fields, fields)
    rules.update(str(n) for n, _ in fits)
    redacted = Redacted(
        id=f"{source}:{record.id}",
        kind=record.kind,
        group=_group(record, source, context.surrogates),
        created=record.created,
        title=title,
        turns=tuple(turns),
        pointer=record.pointer,
        fields=fields,
        solved=record.solved,
        language=language_of(" ".join(t.text for t in turns)),
        masked=dict(redactor.masked),
        reopened=record.reopened,
        satisfaction=record.satisfaction,
        resolution=resolution,
        sensitivity=fits[0][1].sensitivity if fits else "shareable",
        links=record.links,
        subjects=_subjects(record, source, redactor, context.surrogates),
    )
    if forgotten := set(redacted.subjects) & set(context.settings.forgotten):
        tally.drop(Dropped("forgotten", record.pointer, f"{len(forgotten)} subject(s)"), messages=len(turns))
        return None
    return redacted


def _subjects(record: Record, source: str, redactor: Redactor, surrogates: Surrogates) -> tuple[str, ...]:
    """Keyed hashes of everybody the record tells of: by every address, telephone, name and id, and as the dataset shows them."""
    found = set(redactor.subjects)
    if record.kind == "ticket":
        found.add(_group(record, source, surrogates))
    for person in record.people:
        found |= _called(person, source, surrogates)
    return tuple(sorted(found))


@lru_cache(maxsize=20_000)
def _called(person: Person, source: str, surrogates: Surrogates) -> frozenset[str]:
    shown = " ".join(surrogates.name(identity(person)))
    values = [f"{source}:{person.id}", *person.emails, *person.phones, *(n for n in person.names if " " in n), shown]
    return frozenset(surrogates.subject(v) for v in (*values, *(surrogates.email(e) for e in person.emails)))


def _excerpt(reason: str, text: str, record: Record, context: Context, tally: Tally) -> str:
    """The beginning of a dropped message, redacted, while the tally still takes examples."""
    if len(tally.examples.get(reason, ())) >= 5 or reason == "internal_note":
        return ""
    return " ".join(context.redactor(record.people)(text[:400]).split())[:80]


def _group(record: Record, source: str, surrogates: Surrogates) -> str:
    """A customer known by e-mail is the same in every source; ids mean something in their own source only."""
    if record.kind == "document":
        return record.group
    return surrogates.id("customer", record.group if "@" in record.group else f"{source}:{record.group}")


def _why_not_a_turn(record: Record, message: Message, text: str) -> str | None:
    if not text:
        return "empty_message"
    if record.kind == "document":
        return None
    if not message.public:
        return "internal_note"
    if message.role not in ("customer", "agent"):
        return f"{message.role}_message"
    if message.origin == "merge" or is_merge_notice(text):
        return "merge_notice"
    return "automatic_reply" if message.origin == "automatic" or is_automatic(text) else None


def questions(context: Context, shard: str) -> Counted:
    """What the tasks would ask a teacher about a shard's records."""
    counts, asked = Counted(), []
    for record, side in _placed(context, shard):
        for task in context.tasks.values():
            if task.questions is not None and side == "train":
                asked += list(task.questions(record, context.library, **task.options))
    counts.kept["questions"] = len(asked)
    shards.write(context.folder / "questions" / f"{shard}.jsonl", asked)
    return counts


@dataclass(frozen=True, slots=True)
class TeacherAnswer:
    """What a teacher said to a question."""

    question: str
    text: str


def rows(context: Context, shard: str) -> Counted:
    """The rows of a shard's records, made by the tasks and, where a teacher was asked, from its answers."""
    counts, kept, made = Counted(), [], []
    counts.tasks = {name: Tally() for name in context.settings.tasks}
    counts.made = {name: Counter() for name in context.settings.tasks}
    told = _told(context, shard)
    for record, side in _placed(context, shard):
        for name in context.settings.tasks:
            for row in _rows_of(context, name, record, told):
                counts.tasks[name].seen("rows and drops")
                if isinstance(row, Dropped):
                    counts.tasks[name].drop(row)
                else:
                    counts.made[name][side] += 1
                    kept.append(row)
                    made.append(_made(row, side))
    shards.write(context.folder / "rows" / f"{shard}.jsonl", kept)
    _pack(context.folder / "made" / shard, made)
    return counts


Told = dict[tuple[str, str], list[tuple[Question, str]]]  # (task, record) → questions with answers


def _told(context: Context, shard: str) -> Told:
    path = context.folder / "questions" / f"{shard}.jsonl"
    if not path.exists():
        return {}
    answers = _answers(context.folder / "answers.jsonl")
    told: Told = {}
    for question in shards.read(path, Question):
        if question.id in answers:
            told.setdefault((question.task, question.record), []).append((question, answers[question.id]))
    return told


@cache
def _answers(path: Path) -> dict[str, str]:
    return {a.question: a.text for a in shards.read(path, TeacherAnswer)}


def _rows_of(context: Context, name: str, record: Redacted, told: Told) -> Iterator[Row | Dropped]:
    task = context.tasks[name]
    yield from task.rows(record, context.library, **task.options)
    for question, answer in told.get((name, record.id), []):
        assert task.accept is not None, f"{name} asks a teacher, so it must accept answers"
        made_by = context.settings.teacher
        yield from task.accept(question, answer, record, context.library, made_by=made_by, **task.options)


def _placed(context: Context, shard: str) -> Iterator[tuple[Redacted, Split]]:
    sides: list[Split | None] = msgspec.json.decode((context.folder / "sides" / f"{shard}.json").read_bytes())
    records = shards.read(context.folder / "redacted" / f"{shard}.jsonl", Redacted)
    for record, side in zip(records, sides, strict=True):
        if side is not None:
            yield record, side


def _made(row: Row, side: Split) -> Made:
    question = next((m["content"] for m in reversed(row.prompt) if m["role"] == "user"), "")
    answer = row.reference if row.label is None else ""
    return Made(
        row.id, row.task, row.label, side, row.group, row.record_ids, row.made_by, question, answer,
        signature(question), signature(answer),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Raw:
    """Who a raw record names."""

    id: str
    people: tuple[Person, ...] = ()


def people_of(path: Path) -> Iterator[tuple[str, tuple[Person, ...]]]:
    """The id and the people of every raw record of a shard; the rest of it is not decoded."""
    yield from ((r.id, r.people) for r in shards.read(path, _Raw))


def audit(context: Context, shard: str) -> Counted:
    """Look for raw values in the rows and documents of a shard that are to be written."""
    counts = Counted()
    source = shard.rpartition("-")[0]
    chosen: list[bool] = msgspec.json.decode((context.folder / "chosen" / f"{shard}.json").read_bytes())
    people = {f"{source}:{id}": found for id, found in people_of(context.folder / "raw" / f"{shard}.jsonl")}
    for row, is_chosen in zip(shards.read(context.folder / "rows" / f"{shard}.jsonl", Row), chosen, strict=True):
        if not is_chosen:
            continue
        messages = (*row.prompt, *row.completion)
        told = "\n".join(m["content"] for m in messages if m["role"] != "system")  # the instruction is the recipe's own
        every = "\n".join([row.id, *row.slices, *(m["content"] for m in messages)])
        involved = tuple(p for id in row.record_ids for p in people.get(id, ()))
        counts.tally.seen("rows")
        for leak in (*context.auditor.leaks(row.id, every), *context.auditor.own_names(row.id, told, involved)):
            counts.tally.drop(Dropped(leak.kind, Pointer("row", leak.place), leak.shown))
    if counted("redact", context.folder, shard).kept["documents"]:
        _audit_documents(context, shard, people, counts)
    return counts


def _audit_documents(context: Context, shard: str, people: dict[str, tuple[Person, ...]], counts: Counted) -> None:
    for record, _ in _placed(context, shard):
        if record.kind == "document":
            every = "\n".join([record.id, record.title, record.fields.get("url", ""), *(t.text for t in record.turns)])
            involved = people.get(record.id, ())
            counts.tally.seen("documents")
            for leak in (
                *context.auditor.leaks(record.id, every),
                *context.auditor.own_names(record.id, every, involved),
            ):
                counts.tally.drop(Dropped(leak.kind, Pointer("document", leak.place), leak.shown))


STEPS: dict[str, Callable[[Context, str], Counted]] = {
    "redact": redact, "questions": questions, "rows": rows, "audit": audit,
}  # fmt: skip
