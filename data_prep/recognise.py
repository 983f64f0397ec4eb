"""What is in these files and folders: which reader reads what, before there is a recipe.

Files of one folder whose names differ in digits alone are of one kind, so a few of them are looked at. A reader that takes
nearly any file (`GENERIC`) is asked last.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_prep import plugins
from data_prep.records import SourceError
from data_prep.sources._files import Peek

LOOKED_AT = 3  # files of a kind
PACKAGE = "data_prep.sources"
Kind = tuple[Path, str]  # folder, file name with its digits taken out
Claims = dict[
    tuple[str, Path], list[tuple[Path, dict[str, Any]]]
]  # (reader, path that was given) → its files with options


@dataclass(frozen=True, slots=True)
class Recognised:
    """A source as a recipe would name it."""

    name: str
    reader: str
    kind: str  # ticket or document
    path: Path
    files: int
    bytes: int
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recognition:
    """unknown: suffix → number of files that no reader knows, with one of them as an example."""

    sources: list[Recognised]
    unknown: dict[str, tuple[int, str]]


def recognise(paths: Iterable[Path]) -> Recognition:
    """Everything readable under the paths. Raises SourceError for a path that is not there or holds no file."""
    claims: Claims = {}
    foreign: list[tuple[Path, list[Path]]] = []
    for path in paths:
        for files in _kinds(path).values():
            found = _reader(files)
            if found is None:
                foreign.append((path, files))
            else:
                claims.setdefault((found[0], path), []).extend((f, found[1]) for f in files)
    unknown = _companions(foreign, claims)
    taken: set[str] = set()
    sources = [
        s for (reader, path), files in sorted(claims.items()) for s in _sources(reader, path, files, claims, taken)
    ]
    return Recognition(sources, unknown)


def _companions(foreign: list[tuple[Path, list[Path]]], claims: Claims) -> dict[str, tuple[int, str]]:
    """Files beside those of a reader, of the same suffix, are its other streams (users, metrics); what is left is unknown."""
    readers = {(f.parent, f.suffix): key for key, files in claims.items() for f, _ in files if not _is_generic(key[0])}
    unknown: dict[str, tuple[int, str]] = {}
    for path, files in foreign:
        key = readers.get((files[0].parent, files[0].suffix))
        if key is not None and key[1] == path:
            claims[key].extend((f, {}) for f in files)
        else:
            suffix = files[0].suffix.lower() or "no suffix"
            number, example = unknown.get(suffix, (0, f"{files[0].parent.name}/{files[0].name}"))
            unknown[suffix] = (number + len(files), example)
    return dict(sorted(unknown.items()))


def _kinds(path: Path) -> dict[Kind, list[Path]]:
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder.")
    files = [path] if path.is_file() else sorted(Path(d, f) for d, _, names in os.walk(path) for f in names)
    root = path.resolve()
    kinds: dict[Kind, list[Path]] = {}
    for file in files:
        if not file.is_file() or (path.is_dir() and file.is_symlink() and not file.resolve().is_relative_to(root)):
            continue
        kinds.setdefault((file.parent, re.sub(r"\d[\d.-]*", "*", file.name)), []).append(file)
    if not kinds:
        raise SourceError(f"{path}: holds no file.")
    return kinds


def _reader(files: list[Path]) -> tuple[str, dict[str, Any]] | None:
    """The reader that knows most of the files looked at, with the options it proposes."""
    looked = [files[(len(files) - 1) * i // max(1, LOOKED_AT - 1)] for i in range(min(LOOKED_AT, len(files)))]
    votes: Counter[str] = Counter()
    options: dict[str, dict[str, Any]] = {}
    for file in looked:
        peek = Peek.of(file)
        for name in _in_order():
            proposed = plugins.module(PACKAGE, name).recognise(peek)
            if proposed is not None:
                votes[name] += 1
                options.setdefault(name, proposed)
                break
    return (votes.most_common(1)[0][0], options[votes.most_common(1)[0][0]]) if votes else None


def _in_order() -> list[str]:
    return sorted(plugins.names(PACKAGE), key=lambda n: (_is_generic(n), n))


def _is_generic(reader: str) -> bool:
    return bool(getattr(plugins.module(PACKAGE, reader), "GENERIC", False))


def _sources(
    reader: str,
    path: Path,
    files: list[tuple[Path, dict[str, Any]]],
    claims: Claims,
    taken: set[str],
) -> list[Recognised]:
    """One source of all the files, or one a folder where another reader would stumble over files of this suffix."""
    suffixes = {f.suffix.lower() for f, _ in files}
    others = [f for (r, _), fs in claims.items() if r != reader for f, _ in fs if f.suffix.lower() in suffixes]
    root = Path(os.path.commonpath([f.parent for f, _ in files])) if path.is_dir() else path
    groups: dict[Path, list[tuple[Path, dict[str, Any]]]] = {root: files}
    if any(f.is_relative_to(root) for f in others):
        groups = {}
        for f, options in files:
            groups.setdefault(f if any(o.parent == f.parent for o in others) else f.parent, []).append((f, options))
    module = plugins.module(PACKAGE, reader)
    merge = getattr(module, "merged", lambda proposed: proposed[0][1])
    return [
        Recognised(
            _name(reader, where, taken), reader, module.KIND, where, len(mine), sum(f.stat().st_size for f, _ in mine),
            merge([(f.name, o) for f, o in mine]),
        )
        for where, mine in sorted(groups.items())
    ]  # fmt: skip


def _name(reader: str, where: Path, taken: set[str]) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", f"{where.stem}".lower()).strip("-")[:40]
    name = reader if plain in ("", reader) else f"{reader}-{plain}"
    number = 2
    while name in taken:
        name, number = f"{name.removesuffix(f'-{number - 1}')}-{number}", number + 1
    taken.add(name)
    return name
