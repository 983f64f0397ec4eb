"""What a company has, in numbers, before any recipe or model: the facts of `freehold scan`. Counts, never values.

A survey reads, cleans and redacts everything once, with a key that is thrown away, through the same steps as a preparation;
so what it counts is what a preparation would take and mask.
"""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from data_prep import dedup, shards
from data_prep.library import Library
from data_prep.records import Redacted, Row
from data_prep.steps import Settings
from data_prep.tasks import draft_reply
from data_prep.work import Counts, Executor, Progress, Source, Work, count_reading, known_records, read_source

HOURS_A_WEEK = 168
THRESHOLD = 0.7
CHARACTERS_A_TOKEN = 4.0  # an estimate, said to be one: a tokenizer belongs to a model, and a scan has none
HISTOGRAM = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)  # upper bounds in tokens; what is longer comes last
MOST_LABELS, LEAST_OF_A_LABEL = 40, 20
COVERED = 0.8  # share of the tickets with a value that the labels must hold
FLAGS = frozenset("true false yes no 0 1 True False".split())


@dataclass(slots=True)
class Lengths:
    """Estimated tokens of texts: how many fall below each bound of HISTOGRAM, and their sum."""

    bins: list[int] = field(default_factory=lambda: [0] * (len(HISTOGRAM) + 1))
    texts: int = 0
    tokens: int = 0

    def add(self, text: str) -> None:
        tokens = estimated_tokens(text)
        self.bins[next((i for i, bound in enumerate(HISTOGRAM) if tokens <= bound), len(HISTOGRAM))] += 1
        self.texts += 1
        self.tokens += tokens

    @property
    def mean(self) -> float | None:
        return self.tokens / self.texts if self.texts else None


def estimated_tokens(text: str) -> int:
    return max(1, round(len(text) / CHARACTERS_A_TOKEN)) if text else 0


@dataclass(slots=True)
class Survey:
    """labels: source → field → value → tickets. hours: tickets opened by hour of the week, Monday 00:00 UTC first."""

    reading: Counts = field(default_factory=Counts)
    tickets: int = 0
    documents: int = 0
    messages: Counter[str] = field(default_factory=Counter)  # by role
    customers: int = 0
    answered: int = 0
    solved: int = 0
    reopened: int = 0
    satisfaction: Counter[str] = field(default_factory=Counter)
    exact_duplicates: int = 0
    near_duplicates: int = 0
    linked: int = 0
    labels: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    months: Counter[str] = field(default_factory=Counter)
    first: datetime | None = None
    last: datetime | None = None
    hours: list[int] = field(default_factory=lambda: [0] * HOURS_A_WEEK)
    openings: Lengths = field(default_factory=Lengths)
    replies: Lengths = field(default_factory=Lengths)
    texts: Lengths = field(default_factory=Lengths)  # documents
    learnable_replies: int = 0
    learnable_prompt_tokens: int = 0
    resolutions: int = 0
    cluster_sizes: Counter[int] = field(default_factory=Counter)  # tickets of a customer → customers

    @property
    def tickets_a_month(self) -> float | None:
        """Mean over the last twelve whole months that have tickets; None where nothing is dated."""
        recent = sorted(self.months)[-13:-1] or sorted(self.months)
        return sum(self.months[m] for m in recent) / len(recent) if recent else None


def survey(
    sources: Sequence[Source], folder: Path, progress: Progress, *, executor: Executor, max_bad_records: int = 1000
) -> Survey:
    """Survey the sources with scratch space in `folder`, which is emptied. Raises SourceError for unreadable input."""
    now = datetime.now(UTC)
    settings = Settings(
        tasks={}, keep_words=(), near_duplicate_threshold=THRESHOLD, test_from=now, test_until=None, dev_share=0,
        min_label_examples=1, max_same_answer=1, max_rows={}, seed=0, max_bad_records=max_bad_records,
    )  # fmt: skip
    work = Work(folder, settings, executor, progress)
    work.begin(secrets.token_bytes(32))
    try:
        read = {s.name: read_source(s, work) for s in sources}
        work.know(every := [shard for r in read.values() for shard in r.shards])
        work.run("redact", every)
        found = Survey()
        count_reading(read, work, found.reading)
        _count_duplicates(found, every, work)
        for record in _records(every, folder):
            _count(found, record)
        return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _records(every: Sequence[str], folder: Path) -> Iterator[Redacted]:
    for shard in every:
        yield from shards.read(folder / "redacted" / f"{shard}.jsonl", Redacted)


def _count_duplicates(found: Survey, every: Sequence[str], work: Work) -> None:
    known = known_records(every, work)
    texts = shards.Texts(work.folder / "openings.sqlite", new=False)
    duplicates = dedup.find([k.signature for k in known], texts.__getitem__, threshold=THRESHOLD)
    texts.close()
    found.exact_duplicates = sum(n is not None for n in duplicates.exact)
    found.near_duplicates = sum(n is not None for n in duplicates.near)
    found.linked = sum(bool(k.links) for k in known)
    tickets = Counter(k.group for k in known if k.kind == "ticket")
    found.customers, found.cluster_sizes = len(tickets), Counter(tickets.values())


def _count(found: Survey, record: Redacted) -> None:
    if record.kind == "document":
        found.documents += 1
        found.texts.add(record.turns[0].text)
        return
    found.tickets += 1
    roles = Counter(t.role for t in record.turns)
    found.messages += Counter({str(role): n for role, n in roles.items()})
    found.answered += roles["agent"] > 0
    found.solved += record.solved
    found.reopened += record.reopened
    found.resolutions += bool(record.resolution)
    if record.satisfaction is not None:
        found.satisfaction[record.satisfaction] += 1
    for turn in record.turns:
        if turn.role == "agent":
            found.replies.add(turn.text)
    if record.first_customer_text is not None:
        found.openings.add(record.first_customer_text)
    _count_time(found, record.created)
    _count_labels(found, record)
    for row in draft_reply.rows(record, Library(()), require_solved=False):
        if isinstance(row, Row):
            found.learnable_replies += 1
            found.learnable_prompt_tokens += sum(estimated_tokens(m["content"]) for m in row.prompt)


def _count_time(found: Survey, created: datetime | None) -> None:
    if created is None:
        return
    found.first = min(found.first or created, created)
    found.last = max(found.last or created, created)
    found.months[f"{created:%Y-%m}"] += 1
    found.hours[created.weekday() * 24 + created.hour] += 1


def _count_labels(found: Survey, record: Redacted) -> None:
    """Fields with few values that recur are what triage could learn; a field with many values is dropped once it shows."""
    mine = found.labels.setdefault(record.id.partition(":")[0], {})
    for name, value in record.fields.items():
        values = mine.setdefault(name, Counter())
        if len(values) <= 10 * MOST_LABELS:
            values[value[:60]] += 1


def label_fields(found: Survey) -> list[tuple[str, str, list[str]]]:
    """Fields that could be triage labels, the best first: source, field, its values with enough tickets.

    Best: most tickets under labels that a balanced sample could hold (the entropy of the labels times their tickets).
    """
    proposed = []
    for source, fields in found.labels.items():
        for name, values in fields.items():
            kept = {v: n for v, n in values.items() if n >= LEAST_OF_A_LABEL and v}
            covered = sum(kept.values()) >= COVERED * sum(values.values())
            if 2 <= len(kept) <= MOST_LABELS and covered and name not in NO_LABELS and not set(kept) <= FLAGS:
                proposed.append((_information(kept), source, name, sorted(kept)))
    return [(source, name, labels) for _, source, name, labels in sorted(proposed, key=lambda p: (-p[0], p[1], p[2]))]


# fields that say where a ticket stands, not what it is about
NO_LABELS = frozenset({"status", "state", "resolution", "locale", "language", "source", "url", "updated", "tags"})


def _information(values: dict[str, int]) -> float:
    from math import log2

    total = sum(values.values())
    return -sum(n * log2(n / total) for n in values.values())
