"""Shards of a running preparation: JSON lines written whole or not at all, with a marker once a step has finished one.

A shard is the unit of work and of resuming: a step that finds its marker does nothing. Nothing is pickled; what another
machine needs to run a step is this folder.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_origin

import msgspec

T = TypeVar("T")
RECORDS = 1000  # records a shard: a tenth of a second of redaction, so that little is lost and many workers find work


def write(path: Path, items: Iterable[Any]) -> None:
    """Write items (dataclasses) as JSON lines, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoder = msgspec.json.Encoder()
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("wb") as f:
        for item in items:
            f.write(encoder.encode(item))
            f.write(b"\n")
    temporary.replace(path)


def read(path: Path, type_: type[T]) -> Iterator[T]:
    """The items of a shard."""
    decoder = msgspec.json.Decoder(type_)
    with path.open("rb") as f:
        for line in f:
            yield decoder.decode(line)


def mark(path: Path, facts: Any) -> None:
    """Say that a shard of a step is finished, and what it counted. Written last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    temporary.write_bytes(msgspec.json.encode(facts))
    temporary.replace(path)


def marked(path: Path, type_: type[T]) -> T | None:
    """What a finished shard counted; None where it is not finished."""
    return msgspec.json.decode(path.read_bytes(), type=type_, dec_hook=_counter) if path.exists() else None


def _counter(type_: Any, value: Any) -> Any:
    """Counters are written as objects."""
    if (get_origin(type_) or type_) is not Counter:
        raise NotImplementedError(type_)
    return Counter(value)


class Texts:
    """Texts by number, on disk: what candidates of duplicates are verified with."""

    def __init__(self, path: Path, *, new: bool = True) -> None:
        if new:
            path.unlink(missing_ok=True)
        self._db = sqlite3.connect(path)
        self._db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")
        self._db.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, text TEXT)")

    def add(self, texts: Iterable[tuple[int, str]]) -> None:
        self._db.executemany("INSERT INTO t VALUES (?, ?)", texts)

    def __getitem__(self, n: int) -> str:
        return str(self._db.execute("SELECT text FROM t WHERE n = ?", (n,)).fetchone()[0])

    def close(self) -> None:
        self._db.commit()
        self._db.close()
