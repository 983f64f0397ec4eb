"""Every reader, whatever it reads: recognised, offline, unbroken by broken files, and nothing internal reaches a row."""

from __future__ import annotations

import json
import shutil
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from data_prep import dataset, plugins
from data_prep.parquet import SPLITS, read_rows
from data_prep.recognise import recognise
from data_prep.records import Record, SourceError, Tally
from data_prep.steps import Settings
from data_prep.work import Executor, Source

GOLDEN = Path(__file__).parent.parent / "golden"
PACKAGE = "data_prep.sources"
READERS = plugins.names(PACKAGE)
TICKETS = [n for n in READERS if plugins.module(PACKAGE, n).KIND == "ticket"]


def options(name: str) -> dict[str, Any]:
    path = GOLDEN / name / "options.json"
    given = json.loads(path.read_text()) if path.exists() else {}
    return plugins.options(plugins.load(PACKAGE, name, "read"), given)


def copied(name: str, tmp_path: Path) -> Path:
    """The golden export without the options file, which is ours."""
    return Path(shutil.copytree(GOLDEN / name, tmp_path / name, ignore=shutil.ignore_patterns("options.json")))


def read(name: str, path: Path, tally: Tally) -> list[Record]:
    return list(plugins.load(PACKAGE, name, "read")(path, tally, **options(name)))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a reader opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_there_are_readers_and_each_has_a_golden_export() -> None:
    assert len(TICKETS) >= 8
    assert len(READERS) - len(TICKETS) >= 7
    assert [n for n in READERS if not any((GOLDEN / n).glob("*"))] == []


@pytest.mark.parametrize("name", READERS)
def test_a_golden_export_is_recognised_as_what_it_is(name: str, tmp_path: Path) -> None:
    found = recognise([copied(name, tmp_path)])
    assert {s.reader for s in found.sources} == {name}
    assert found.unknown == {}


@pytest.mark.parametrize("name", READERS)
def test_a_golden_export_is_read_without_a_socket(name: str, tmp_path: Path, offline: None, tally: Tally) -> None:
    records = read(name, copied(name, tmp_path), tally)
    assert records
    assert {r.kind for r in records} == {plugins.module(PACKAGE, name).KIND}
    assert all(r.id and r.pointer.file for r in records)


def spoil_first(folder: Path, how: Any) -> None:
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        how(path)
        return


SPOILS: dict[str, Any] = {
    "empty": lambda p: p.write_bytes(b""),
    "spaces": lambda p: p.write_bytes(b"  \n\n"),
    "truncated": lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size * 2 // 3]),
    "zeros": lambda p: p.write_bytes(b"\x00" * 5000),
    "utf-16": lambda p: p.write_bytes("grüße {[<".encode("utf-16")),
    "latin-1": lambda p: p.write_bytes(b"\xe9\xff" + p.read_bytes()),
    "deep": lambda p: p.write_bytes(b'{"a":' * 50_000),
    "deep markup": lambda p: p.write_bytes(b"<div>" * 50_000),
    "foreign": lambda p: p.write_bytes(b"%PDF-1.7 this is none"),
    "one long line": lambda p: p.write_bytes(b'{"id": "' + b"x" * 5_000_000),
    "array of scalars": lambda p: p.write_bytes(b"[1, null, true, []]"),
    "twice": lambda p: p.with_name("again-" + p.name).write_bytes(p.read_bytes()),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("spoil", SPOILS)
def test_a_broken_file_is_a_clear_error_or_counted(name: str, spoil: str, tmp_path: Path, tally: Tally) -> None:
    folder = copied(name, tmp_path)
    spoil_first(folder, SPOILS[spoil])
    told = None
    try:
        read(name, folder, tally)
    except SourceError as e:
        told = str(e)
    if told is not None:
        assert any(p.name in told for p in folder.rglob("*")) or str(folder) in told
        assert len(told) > 40


@pytest.mark.parametrize("name", READERS)
def test_hostile_file_names_are_read_and_a_link_out_is_refused(name: str, tmp_path: Path, tally: Tally) -> None:
    folder = copied(name, tmp_path)
    first = sorted(p for p in folder.rglob("*") if p.is_file())[0]
    first.rename(first.with_name(f"-rf $(id) \n ünïcode'\"{first.suffix}"))
    assert read(name, folder, tally)
    (tmp_path / f"secret{first.suffix}").write_bytes(b"x")
    (folder / f"link{first.suffix}").symlink_to(tmp_path / f"secret{first.suffix}")
    with pytest.raises(SourceError, match="leads out of"):
        read(name, folder, Tally())


def settings(tasks: dict[str, dict[str, Any]]) -> Settings:
    return Settings(
        tasks=tasks, keep_words=(), near_duplicate_threshold=1.0, test_from=datetime(2090, 1, 1, tzinfo=UTC), test_until=None,
        dev_share=0, min_label_examples=1, max_same_answer=99, max_rows={}, seed=1,
    )  # fmt: skip


@pytest.mark.parametrize("name", TICKETS)
def test_no_internal_note_bot_or_automatic_reply_reaches_a_row(name: str, tmp_path: Path) -> None:
    source = Source(name, name, copied(name, tmp_path), options(name))
    tasks = {"draft_reply": {"require_solved": False, "min_words": 3, "per_ticket": "all"}, "summarise": {}}
    out = tmp_path / "dataset"
    counts = dataset.build(
        [source],
        settings(tasks),
        key=b"k" * 32,
        out=out,
        progress=lambda *_: None,
        executor=Executor("processes", {"processes": 1}),
    )
    rows = [r for s in SPLITS for r in read_rows(out, s)]
    written = json.dumps([[*r.prompt, *r.completion] for r in rows])
    assert "GOOD-REPLY" in written
    assert "GOOD-QUESTION" in written
    for canary in ("INTERNAL", "UNKNOWN", "BOT", "AUTO", "MERGE"):
        assert f"CANARY-{canary}" not in written
    assert not any("CANARY-MACRO" in r.reference for r in rows)
    assert any("internal_note" in c["dropped"] for c in counts.steps.values()) or name in ("github_issues", "mbox")


def test_every_canary_is_planted_somewhere() -> None:
    planted = "".join(
        p.read_text(encoding="utf-8", errors="ignore") for n in TICKETS for p in (GOLDEN / n).rglob("*") if p.is_file()
    )
    assert all(f"CANARY-{c}" in planted for c in ("INTERNAL", "UNKNOWN", "BOT", "AUTO", "MERGE", "MACRO"))
