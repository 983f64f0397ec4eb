"""The dataset on disk: Parquet files per split, the lineage of every row, the subjects of every record, the documents.

Documents are redacted as everything else is. They are there for evaluation and serving with passages in the prompt: text,
and where each passage of it stands (data_prep.library cuts them, nobody else need).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
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
    """Rows appended to NAME-00000.parquet, NAME-00001.parquet …, at most ROWS_A_FILE in each; at least one file."""

    def __init__(self, out: Path, name: str, schema: pa.Schema) -> None:
        self._out, self._name, self._schema = out, name, schema
        self._files, self._rows = 0, 0
        self._waiting: list[dict[str, Any]] = []
        self._writer = self._next()

    def _next(self) -> pq.ParquetWriter:
        path = self._out / f"{self._name}-{self._files:05d}.parquet"
        self._files, self._rows = self._files + 1, 0
        return pq.ParquetWriter(path, self._schema, compression="zstd")

    def add(self, row: dict[str, Any]) -> None:
        if self._rows == ROWS_A_FILE:
            self.close()
            self._writer = self._next()
        self._waiting.append(row)
        self._rows += 1
        if len(self._waiting) == BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=self._schema))
            self._waiting = []

    def close(self) -> None:
        self._flush()
        self._writer.close()


def write_dataset(
    every: Sequence[str], chosen: Sequence[tuple[str, Split]], folder: Path, out: Path, sources: dict[str, Path]
) -> None:
    """Write the chosen rows (id, side) of the shards in order, with lineage and subjects, and the documents that stay.

    sources: name → path.
    """
    sides = dict(chosen)
    files = {side: _Files(out, side, ROW) for side in SPLITS}
    lineage, subjects = _Files(out, "lineage", LINEAGE), _Files(out, "subjects", SUBJECTS)
    for shard in every:
        for row in shards.read(folder / "rows" / f"{shard}.jsonl", Row):
            if (side := sides.get(row.id)) is not None:
                created = row.created.isoformat() if row.created else None
                files[side].add({name: getattr(row, name) for name in ROW.names} | {"created": created})
                for holder, where in _places(row):
                    lineage.add(_line(row, side, holder, where, sources))
        for record in shards.read(folder / "redacted" / f"{shard}.jsonl", Redacted):
            for subject in record.subjects:
                subjects.add({"record": record.id, "subject": subject})
    documents = _Files(out, "documents", DOCUMENT)
    for record in shards.read(folder / "documents.jsonl", Redacted):
        documents.add(_document(record))
    for f in (*files.values(), lineage, subjects, documents):
        f.close()


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


def _line(row: Row, side: Split, record: str, where: Pointer, sources: dict[str, Path]) -> dict[str, str]:
    source = record.partition(":")[0]
    path = sources[source]
    sha = _sha256(path / where.file if path.is_dir() else path)
    return {
        "row": row.id, "split": side, "record": record, "source": source, "file": where.file, "sha256": sha, "at": where.at,
    }  # fmt: skip


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
