"""The dataset on disk: Parquet files per split, the lineage of every row, the subjects of every record, the documents.

Documents are redacted as everything else is. They are there for evaluation and serving with passages in the prompt: text,
and where each passage of it stands (data_prep.library cuts them, nobody else need).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep import shards
from data_prep.library import passages_of
from data_prep.records import Pointer, Redacted, Row, Split, Turn

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
ROWS_A_FILE = 50_000
BATCH = 2_000
MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
ROW = pa.schema(
    [
        ("id", pa.string()),
        ("task", pa.string()),
        ("prompt", pa.list_(MESSAGE)),
        ("completion", pa.list_(MESSAGE)),
        ("label", pa.string()),
        ("slices", pa.list_(pa.string())),
        ("sensitivity", pa.string()),
        ("group", pa.string()),
        ("created", pa.string()),
        ("record_ids", pa.list_(pa.string())),
        ("made_by", pa.string()),
    ]
)
LINEAGE = pa.schema([(n, pa.string()) for n in ("row", "split", "record", "source", "file", "sha256", "at")])
PASSAGE = pa.struct([("heading", pa.string()), ("start", pa.int64()), ("end", pa.int64())])
DOCUMENT = pa.schema(
    [
        *((n, pa.string()) for n in ("record", "title", "url", "updated", "language", "sensitivity", "file", "text")),
        ("passages", pa.list_(PASSAGE)),  # characters of the text
    ]
)
SUBJECTS = pa.schema([("record", pa.string()), ("subject", pa.string())])


class _Files:
    """Tables appended to NAME-00000.parquet, NAME-00001.parquet …, at most ROWS_A_FILE rows in each; at least one file."""

    def __init__(self, out: Path, name: str, schema: pa.Schema) -> None:
        self.schema = schema
        self._out, self._name = out, name
        self._files, self._rows = 0, 0
        self._waiting: list[pa.Table] = []
        self._held = 0  # rows that wait
        self._writer = self._next()

    def _next(self) -> pq.ParquetWriter:
        path = self._out / f"{self._name}-{self._files:05d}.parquet"
        self._files, self._rows = self._files + 1, 0
        return pq.ParquetWriter(path, self.schema, compression="zstd")

    def add(self, *columns: list[Any]) -> None:
        """Append rows, given by the schema's columns."""
        arrays = [pa.array(c, field.type) for c, field in zip(columns, self.schema, strict=True)]
        self._waiting.append(pa.Table.from_arrays(arrays, schema=self.schema))
        self._held += len(columns[0])
        if self._held >= BATCH:
            self._flush()

    def _flush(self) -> None:
        left = pa.concat_tables([self.schema.empty_table(), *self._waiting])
        self._waiting, self._held = [], 0
        while left.num_rows:
            if self._rows == ROWS_A_FILE:
                self._writer.close()
                self._writer = self._next()
            now = left.slice(0, ROWS_A_FILE - self._rows)
            self._writer.write_table(now)
            self._rows += now.num_rows
            left = left.slice(now.num_rows)

    def close(self) -> None:
        self._flush()
        self._writer.close()


@dataclass(frozen=True, slots=True)
class _Subjects:
    """Whom a redacted record tells of; the rest of it is not decoded."""

    id: str
    subjects: tuple[str, ...] = ()


def write_dataset(
    every: Sequence[str], chosen: Sequence[tuple[str, Split]], folder: Path, out: Path, sources: dict[str, Path]
) -> None:
    """Write the chosen rows (id, side) of the shards in order, with lineage and subjects, and the documents that stay.

    sources: name → path.
    """
    sides = dict(chosen)
    files = {side: _Files(out, side, ROW) for side in SPLITS}
    lineage, subjects = _Files(out, "lineage", LINEAGE), _Files(out, "subjects", SUBJECTS)

    @cache
    def sha256(source: str, file: str) -> str:
        path = sources[source]
        return _sha256(path / file if path.is_dir() else path)

    for shard in every:
        rows: dict[Split, list[Row]] = {side: [] for side in SPLITS}
        lines: list[tuple[str, ...]] = []
        for row in shards.read(folder / "rows" / f"{shard}.jsonl", Row):
            if (side := sides.get(row.id)) is not None:
                rows[side].append(row)
                lines += [_line(row, side, holder, where, sha256) for holder, where in _places(row)]
        for side, made in rows.items():
            files[side].add(*([_plain(getattr(row, name)) for row in made] for name in ROW.names))
        lineage.add(*map(list, zip(*lines, strict=True)) if lines else [[]] * len(LINEAGE))
        told = list(shards.read(folder / "redacted" / f"{shard}.jsonl", _Subjects))
        subjects.add([r.id for r in told for _ in r.subjects], [s for r in told for s in r.subjects])
    documents = _Files(out, "documents", DOCUMENT)
    for record in shards.read(folder / "documents.jsonl", Redacted):
        made_of = _document(record)
        documents.add(*([made_of[name]] for name in DOCUMENT.names))
    for f in (*files.values(), lineage, subjects, documents):
        f.close()


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _document(record: Redacted) -> dict[str, Any]:
    text = record.turns[0].text
    return {
        "record": record.id,
        "title": record.title,
        "url": record.fields.get("url", ""),
        "updated": record.created.isoformat() if record.created else None,
        "language": record.language,
        "sensitivity": record.sensitivity,
        "file": record.pointer.file,
        "text": text,
        "passages": [{"heading": s.heading, "start": s.start, "end": s.end} for s in passages_of(text)],
    }


def _places(row: Row) -> Iterator[tuple[str, Pointer]]:
    """Every record that the row holds something of, and where that stands."""
    yield from ((record, span) for record in row.record_ids for span in row.spans)
    yield from row.leans_on


def _line(
    row: Row, side: Split, record: str, where: Pointer, sha256: Callable[[str, str], str]
) -> tuple[str, str, str, str, str, str, str]:
    source = record.partition(":")[0]
    return row.id, side, record, source, where.file, sha256(source, where.file), where.at


@cache
def _sha256(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def read_rows(dataset: Path, side: Split) -> Iterator[Row]:
    """The rows of one split of a dataset folder, in order."""
    for path in files_of(dataset, side):
        for batch in pq.ParquetFile(path).iter_batches(BATCH):
            for item in batch.to_pylist():
                created = item["created"]
                yield Row(
                    **{k: item[k] for k in ("id", "task", "label", "sensitivity", "group", "made_by")},
                    prompt=tuple(item["prompt"]),
                    completion=tuple(item["completion"]),
                    slices=tuple(item["slices"]),
                    created=datetime.fromisoformat(created) if created else None,
                    record_ids=tuple(item["record_ids"]),
                    spans=(),  # the lineage holds them; nothing after preparation needs them
                )


def read_documents(dataset: Path) -> Iterator[Redacted]:
    """The documents of a dataset folder as a Library takes them; none in a dataset of an earlier version."""
    for path in sorted(dataset.glob("documents-*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(BATCH):
            for item in batch.to_pylist():
                updated = datetime.fromisoformat(item["updated"]) if item["updated"] else None
                yield Redacted(
                    id=item["record"],
                    kind="document",
                    group=item["record"],
                    created=updated,
                    title=item["title"],
                    turns=(Turn("system", True, updated, item["text"]),),
                    pointer=Pointer(item["file"], ""),
                    fields={"url": item["url"]} if item["url"] else {},
                    solved=False,
                    language=item["language"],
                    masked={},
                    sensitivity=item["sensitivity"],
                )


def leaned_on(dataset: Path, side: Split) -> dict[str, list[tuple[str, Pointer]]]:
    """Row → the documents whose passages its prompt shows and where those stand, in the prompt's order."""
    own = {row.id: set(row.record_ids) for row in read_rows(dataset, side)}
    found: dict[str, list[tuple[str, Pointer]]] = {}
    for path in files_of(dataset, "lineage"):
        for batch in pq.ParquetFile(path).iter_batches(BATCH, columns=["row", "split", "record", "file", "at"]):
            for line in batch.to_pylist():
                if line["split"] == side and line["record"] not in own[line["row"]]:
                    found.setdefault(line["row"], []).append((line["record"], Pointer(line["file"], line["at"])))
    return found


def sha256_of(dataset: Path, name: str) -> str:
    """One hash for the files of a split."""
    return hashlib.sha256("".join(_sha256(path) for path in files_of(dataset, name)).encode()).hexdigest()


def files_of(dataset: Path, name: str) -> list[Path]:
    """The Parquet files of a split, of the lineage or of the subjects, in order."""
    found = sorted(dataset.glob(f"{name}-*.parquet"))
    assert found, f"{dataset} holds no {name}-*.parquet"
    return found
