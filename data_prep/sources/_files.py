"""Finding and opening what a source points at, with errors that say which file and what to do."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_prep.records import SourceError


def files(path: Path, *suffixes: str) -> list[Path]:
    """The files of a source, sorted: the path itself, or everything under it with one of the suffixes.

    Raises SourceError when the path does not exist, holds nothing readable, or a symbolic link leads out of it.
    """
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder. Correct `path` of this source in the recipe.")
    if path.is_file():
        return [path]
    root = path.resolve()
    found = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in suffixes)
    for p in found:
        if not p.resolve().is_relative_to(root):
            raise SourceError(f"{p}: is a link that leads out of {path}. Copy the file into the folder, or remove it.")
    if not found:
        raise SourceError(f"{path}: holds no file ending in {' or '.join(suffixes)}. Is this the right folder?")
    return found


def text_of(path: Path, encoding: str = "utf-8") -> str:
    """A whole file as text; a byte-order mark is honoured, line ends become newlines.

    Raises SourceError with the offending byte where the file is not in this encoding.
    """
    data = path.read_bytes()
    for bom, name in ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if data.startswith(bom):
            encoding, data = name, data[len(bom) :] if name == "utf-8" else data
            break
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as e:
        raise SourceError(
            f"{path}: byte {e.start} is {data[e.start]:#04x}, which is not {encoding}."
            f" Set `encoding` in this source's options (Windows exports are often cp1252)."
        ) from e
    if "\x00" in text[:4096]:
        raise SourceError(f"{path}: holds zero bytes, so it is not a text file. Point the source at the export itself.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def json_objects(path: Path, *, keys: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of an export file with their places: page objects `{key: […]}`, an array, or one object a line.

    One object a line is read line by line, so a file may be larger than memory; a page is read whole.
    Raises SourceError for empty, truncated and foreign files, with line and column.
    """
    with path.open("rb") as f:
        first = f.readline().removeprefix(codecs.BOM_UTF8).strip()
        rest = f.readline().strip()
    if first.startswith(b"{") and first.endswith(b"}") and rest:
        yield from _lines(path)
        return
    text = text_of(path)
    head = text.lstrip()[:1]
    if not head:
        raise SourceError(f"{path}: is empty. Export it again, or remove it from the source's folder.")
    if head not in "[{":
        raise SourceError(
            f"{path}: starts with {text.lstrip()[:20]!r}, so it is not JSON. Is it another kind of export?"
        )
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as e:
        raise SourceError(
            f"{path}:{e.lineno}: not JSON ({e.msg} at column {e.colno}). A truncated export? Export it again."
        ) from e
    except RecursionError as e:
        raise SourceError(f"{path}: is nested too deeply to be an export of tickets.") from e
    for where, items in _lists(path, whole, keys):
        for i, item in enumerate(items):
            yield f"{where}/{i}", _object(path, f"{where}/{i}", item)


def _lists(path: Path, whole: Any, keys: tuple[str, ...]) -> list[tuple[str, list[Any]]]:
    if isinstance(whole, list):
        return [("", whole)]
    present = [(f"/{k}", whole[k]) for k in keys if isinstance(whole.get(k), list)]
    if present:
        return present
    if "id" in whole:
        return [("", [whole])]
    raise SourceError(
        f"{path}: has none of the lists {list(keys)}; it has {sorted(whole)[:12]}. Is it another part of the export?"
    )


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open("rb") as f:
        for number, line in enumerate(f, start=1):
            if not line.strip():
                continue
            try:
                item = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except json.JSONDecodeError as e:
                raise SourceError(
                    f"{path}:{number}: not JSON ({e.msg} at column {e.colno}). A truncated export? Export it again."
                ) from e
            except UnicodeDecodeError as e:
                raise SourceError(f"{path}:{number}: byte {e.start} of the line is not UTF-8. Export it again.") from e
            yield f"line {number}", _object(path, f"line {number}", item)


def _object(path: Path, where: str, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise SourceError(f"{path}: {where} is {type(item).__name__} {str(item)[:40]!r}, not an object.")
    return item


def moment(value: Any) -> datetime | None:
    """An export's time stamp in UTC. None where the field is empty; ValueError where it cannot be read."""
    if value in (None, ""):
        return None
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, tz=UTC)
    text = str(value).strip().replace(" +0000", "+00:00").replace(" UTC", "+00:00")
    parsed = datetime.fromisoformat(text)
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
