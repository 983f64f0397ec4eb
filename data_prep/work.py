"""Running the steps over the shards of a folder, and counting what they did: what a preparation and a survey share."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from data_prep import plugins, shards, steps
from data_prep.people import Directory
from data_prep.records import Tally
from data_prep.steps import Counted, Known, Settings

Progress = Callable[[str, int, int | None], None]  # step, done, of how many


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    kind: str
    path: Path
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Executor:
    """Which file of data_prep/executors runs the steps, and its options."""

    kind: str = "processes"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Counts:
    """Step → what came in, what went out, what was dropped by reason, with examples."""

    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    masked: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    leakage: dict[str, int] = field(default_factory=dict)
    audit: dict[str, int] = field(default_factory=dict)
    rules: Counter[str] = field(default_factory=Counter)  # number of a sensitivity rule → records that it fits
    warnings: list[str] = field(default_factory=list)  # what a person must look at, though nothing stops

    def step(self, name: str, taken: dict[str, int], kept: dict[str, int], tally: Tally) -> None:
        self.steps[name] = {
            "in": taken,
            "out": kept,
            "dropped": dict(sorted(tally.dropped.items())),
            "examples": dict(sorted(tally.examples.items())),
        }


@dataclass(frozen=True, slots=True)
class Work:
    folder: Path
    settings: Settings
    executor: Executor
    progress: Progress

    def begin(self, key: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # raw texts and the key lie here until the dataset is finished
        (self.folder / "settings.json").write_bytes(msgspec.json.encode(self.settings))
        with os.fdopen(os.open(self.folder / "key", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            f.write(key.hex())

    def know(self, names: Sequence[str]) -> None:
        """Write down whom the sources name, before anything is redacted."""
        path = self.folder / "people.json"
        if not path.exists():
            raw = (self.folder / "raw" / f"{n}.jsonl" for n in names)
            Directory(p for shard in raw for _, people in steps.people_of(shard) for p in people).save(path)

    @property
    def context(self) -> steps.Context:
        return steps.Context(self.folder)

    def run(self, step: str, names: Sequence[str]) -> None:
        left = [n for n in names if not steps.is_done(step, self.folder, n)]
        if left:
            run = plugins.load("data_prep.executors", self.executor.kind, "run")
            run(step, self.folder, left, lambda n, of: self.progress(step, n, of), **self.executor.options)

    def counted(self, step: str, shard: str) -> Counted:
        return steps.counted(step, self.folder, shard)


@dataclass(frozen=True, slots=True)
class Read:
    """What reading a source gave: its raw shards, in order."""

    shards: list[str]
    tally: Tally


def read_source(source: Source, work: Work) -> Read:
    marker = work.folder / "raw" / f"{source.name}.done.json"
    done = shards.marked(marker, Read)
    if done is not None:
        return done
    tally = Tally(max_bad_records=work.settings.max_bad_records)
    stream = iter(plugins.load("data_prep.sources", source.kind, "read")(source.path, tally, **source.options))
    names: list[str] = []
    number = 0
    while records := list(islice(stream, shards.RECORDS)):
        names.append(f"{source.name}-{len(names):05d}")
        shards.write(work.folder / "raw" / f"{names[-1]}.jsonl", records)
        number += len(records)
        work.progress(f"read {source.name}", number, None)
    shards.mark(marker, Read(names, tally))
    return Read(names, tally)


def count_reading(read: dict[str, Read], work: Work, counts: Counts) -> None:
    redact = work.context.redactor()
    for name, r in read.items():
        for reason, shown in r.tally.examples.items():  # readers know no redaction; what they show is raw
            r.tally.examples[reason] = [redact(example) for example in shown]
        kept: Counter[str] = Counter()
        for shard in r.shards:
            c = work.counted("redact", shard)
            r.tally.add(c.tally)
            kept += c.kept
            counts.masked += c.masked
            counts.languages += c.languages
            counts.rules += c.rules
        counts.step(f"read {name}", dict(r.tally.taken), dict(kept), r.tally)


def known_records(every: Sequence[str], work: Work) -> list[Known]:
    """What the global steps need of every record, in the order of the shards; their openings go to disk."""
    texts, known = shards.Texts(work.folder / "openings.sqlite"), list[Known]()
    for shard in every:
        found: list[Known] = steps.unpack(work.folder / "known" / shard, list[Known])
        texts.add((len(known) + n, k.opening) for n, k in enumerate(found))
        for k in found:
            k.opening = ""
        known += found
    texts.close()
    ids: dict[str, list[str]] = {}
    for k in known:
        ids.setdefault(k.id.partition(":")[2], []).append(k.id)
    for k in known:
        if k.links:
            k.links = _resolved(k, ids)
    return known


def _resolved(known: Known, ids: dict[str, list[str]]) -> tuple[str, ...]:
    """Links are ids of the record's own source; where that has no such id, of any other."""
    source = known.id.partition(":")[0]
    found: list[str] = []
    for link in known.links:
        own = f"{source}:{link}"
        found += [own] if own in ids.get(link, [own]) else ids[link]
    return tuple(dict.fromkeys(found))
