"""Finding and opening what a source points at, with errors that say which file and what to do."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from data_prep.records import Pointer, SourceError, Tally

csv.field_size_limit(2**31 - 1)  # a ticket of two megabytes is one field; Python's own limit is 128 kB
JSON_SUFFIXES = (".json", ".ndjson", ".jsonl")
BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
PEEKED = 1 << 16  # bytes of a file that are looked at to recognise it


def files(path: Path, *suffixes: str) -> list[Path]:
    """The files of a source, sorted: the path itself, or everything under it with one of the suffixes.

    Raises SourceError when the path does not exist, holds nothing readable, or a symbolic link leads out of it.
    """
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder. Correct `path` of this source in the recipe.")
    if path.is_file():
        return [path]
    root = path.resolve()
    every = sorted(path.rglob("*"))
    linked = next((p for p in every if p.is_symlink() and p.is_dir()), None)
    if linked is not None:
        raise SourceError(
            f"{linked}: is a link to a folder, which is not followed. Copy the folder, or remove the link."
        )
    found = [p for p in every if p.suffix.lower() in suffixes and p.is_file()]
    for p in found:
        if not p.resolve().is_relative_to(root):
            raise SourceError(f"{p}: is a link that leads out of {path}. Copy the file into the folder, or remove it.")
    if not found:
        raise SourceError(f"{path}: holds no file ending in {' or '.join(suffixes)}. Is this the right folder?")
    return found


def relative(file: Path, path: Path) -> str:
    """A file's name below its source's path, with forward slashes: what pointers and ids say."""
    return file.relative_to(path).as_posix() if path.is_dir() else file.name


def text_of(path: Path, encoding: str = "utf-8") -> str:
    """A whole file as text; a byte-order mark is honoured, line ends become newlines.

    Raises SourceError with the offending byte where the file is not in this encoding.
    """
    data = path.read_bytes()
    encoding = next((name for bom, name in BOMS if data.startswith(bom)), encoding)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as e:
        raise _not_in(encoding, path, e.start, data[e.start]) from e
    if "\x00" in text[:4096]:
        raise SourceError(f"{path}: holds zero bytes, so it is not a text file. Point the source at the export itself.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _not_in(encoding: str, path: Path, at: int, byte: int) -> SourceError:
    return SourceError(
        f"{path}: byte {at} is {byte:#04x}, which is not {encoding}."
        f" Set `encoding` in this source's options (Windows exports are often cp1252)."
    )


@dataclass(frozen=True)
class Peek:
    """The beginning of a file, for recognising what wrote it."""

    path: Path
    head: bytes

    @classmethod
    def of(cls, path: Path) -> Peek:
        with path.open("rb") as f:
            return cls(path, f.read(PEEKED))

    @property
    def suffix(self) -> str:
        return self.path.suffix.lower()

    @cached_property
    def text(self) -> str:
        encoding = next((name for bom, name in BOMS if self.head.startswith(bom)), "utf-8")
        return self.head.decode(encoding, errors="replace")

    @cached_property
    def objects(self) -> tuple[dict[str, Any], ...]:
        """The first JSON objects of the file, whatever list, page or line they stand in; at most 20, outermost first."""
        found: list[dict[str, Any]] = []
        text, decoder = self.text, json.JSONDecoder()
        at = text.find("{")
        while at >= 0 and len(found) < 20:
            try:
                value, end = decoder.raw_decode(text, at)
            except (ValueError, RecursionError):
                at = text.find("{", at + 1)  # an object that is longer than what was read: look inside it
                continue
            if isinstance(value, dict):
                found.append(value)
                for inner in value.values():
                    if isinstance(inner, list):
                        found += [v for v in inner[:5] if isinstance(v, dict)]
            at = text.find("{", end)
        return tuple(found[:20])

    @cached_property
    def header(self) -> tuple[str, ...]:
        """The first row of a CSV file under its most frequent delimiter."""
        first = self.text.split("\n", 1)[0]
        return tuple(h.strip() for h in next(csv.reader(io.StringIO(first), delimiter=delimiter_of(first)), []))


def delimiter_of(line: str) -> str:
    """The delimiter that a CSV header uses."""
    return max(",;\t|", key=line.count)


def json_objects(
    path: Path, name: str, tally: Tally, *, keys: tuple[str, ...]
) -> Iterator[tuple[Pointer, dict[str, Any]]]:
    """The objects of an export file with their places, in bounded memory: page objects `{key: […]}` with one of the keys,
    an array, one object a line, or objects one after another. The place is a JSON pointer or `line N`.

    name: what pointers call the file. A broken line, or an element that is no object, is counted in the tally.
    Raises SourceError for empty, truncated and foreign files, with line and column.
    """
    if _is_lines(path):
        yield from _lines(path, name, tally)
        return
    with path.open("rb") as f:
        window = _Window(path, f)
        match window.peek():
            case "":
                raise SourceError(f"{path}: is empty. Export it again, or remove it from the source's folder.")
            case "[":
                found = window.elements("")
            case "{" if path.stat().st_size <= _Window.WHOLE:
                found = _page(path, window, keys)
            case "{":
                found = window.lists(keys)
            case _:
                raise SourceError(
                    f"{path}: starts with {window.excerpt()!r}, so it is not JSON. Is it another kind of export?"
                )
        for at, item in found:
            if isinstance(item, dict):
                yield Pointer(name, at), item
            else:
                tally.broken(Pointer(name, at), f"is {type(item).__name__} {str(item)[:40]!r}, not an object")


def _is_lines(path: Path) -> bool:
    """One object a line: by its suffix, or because the first line is whole and another follows."""
    with path.open("rb") as f:
        first = f.readline(1 << 20).removeprefix(codecs.BOM_UTF8).strip()
        rest = f.readline(1 << 10).strip()
    if path.suffix.lower() in (".ndjson", ".jsonl"):
        return bool(first)
    return first.startswith(b"{") and first.endswith(b"}") and rest.startswith(b"{")


def _page(path: Path, window: _Window, keys: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    whole = window.value()
    after = window.peek()
    if after:
        raise window.error("something follows the end of the page", None)
    present = [] if "id" in whole else [k for k in keys if isinstance(whole.get(k), list | dict)]
    for key in present:
        items = whole[key]
        if isinstance(items, dict):  # one object, wrapped in its stream's name
            yield f"/{key}", items
        else:
            yield from ((f"/{key}/{i}", item) for i, item in enumerate(items))
    if not present and "id" in whole:
        yield "", whole
    elif not present:
        raise _foreign(path, sorted(whole), keys)


def _foreign(path: Path, found: list[str], keys: tuple[str, ...]) -> SourceError:
    return SourceError(
        f"{path}: has none of the lists {list(keys)}; it has {found[:12]}. Is it another part of the export?"
    )


class _Window:
    """A sliding window of text over a JSON file: values are decoded one at a time, so a file may be larger than memory."""

    CHUNK = 1 << 20
    WHOLE = 1 << 26  # bytes; a page up to here is read whole, which tells a page from a record by all its keys

    def __init__(self, path: Path, file: BinaryIO) -> None:
        start = file.read(4)
        file.seek(0)
        encoding = next((name for bom, name in BOMS if start.startswith(bom)), "utf-8")
        self._path, self._file, self._encoding = path, file, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._json = json.JSONDecoder()
        self._text, self._at, self._line, self._bytes, self._ended = "", 0, 1, 0, False

    def _more(self) -> None:
        """Drop what was read and at least double what is left to read."""
        self._line += self._text.count("\n", 0, self._at)
        self._text, self._at = self._text[self._at :], 0
        data = self._file.read(max(self.CHUNK, len(self._text)))
        try:
            self._text += self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as e:
            raise _not_in(self._encoding, self._path, self._bytes + e.start, e.object[e.start]) from e
        self._bytes += len(data)
        self._ended = not data

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._more()

    def excerpt(self) -> str:
        return self._text[self._at : self._at + 20]

    def error(self, found: str, position: int | None) -> SourceError:
        at = self._at if position is None else position
        line = self._line + self._text.count("\n", 0, at)
        column = at - (self._text.rfind("\n", 0, at) + 1) + 1
        return SourceError(
            f"{self._path}:{line}: not JSON ({found} at column {column}). A truncated export? Export it again."
        )

    def take(self, character: str) -> None:
        if self.peek() != character:
            raise self.error(f"{character!r} expected, {self.peek() or 'the end'!r} found", None)
        self._at += 1

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as e:
                if self._ended or (e.pos < len(self._text) - 16 and not e.msg.startswith("Unterminated")):
                    raise self.error(e.msg, e.pos) from e
            except ValueError as e:  # a number of more digits than Python takes
                raise self.error(str(e).split(":")[0], None) from e
            except RecursionError as e:
                raise SourceError(f"{self._path}: is nested too deeply to be an export of tickets.") from e
            else:
                if end < len(self._text) or self._ended:
                    escaped = "\\ud" in self._text[self._at : end].lower()
                    self._at = end
                    return _whole_characters(value) if escaped else value
            self._more()

    def elements(self, where: str) -> Iterator[tuple[str, Any]]:
        """The elements of the array that begins here, each with its JSON pointer."""
        self.take("[")
        number = 0
        while self.peek() != "]":
            if number:
                self.take(",")
            yield f"{where}/{number}", self.value()
            number += 1
        self.take("]")

    def lists(self, keys: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        """The elements of every list under one of the keys of the object that begins here."""
        self.take("{")
        others: list[str] = []
        found = False
        while self.peek() != "}":
            if found or others:
                self.take(",")
            key = str(self.value())
            self.take(":")
            if self.peek() == "[" and key in keys:
                found = True
                yield from self.elements(f"/{key}")
            else:
                others.append(key)
                self.value()
        if not found:
            raise _foreign(self._path, sorted(others), keys)


def _lines(path: Path, name: str, tally: Tally) -> Iterator[tuple[Pointer, dict[str, Any]]]:
    with path.open("rb") as f:
        for number, line in enumerate(f, start=1):
            if not line.strip():
                continue
            where = Pointer(name, f"line {number}")
            try:
                item = _fast(line) or json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except json.JSONDecodeError as e:
                if not line.endswith(b"\n"):
                    raise SourceError(
                        f"{path}:{number}: not JSON ({e.msg} at column {e.colno}) and the last line: a truncated export. Export it again."
                    ) from e
                tally.broken(where, f"not JSON ({e.msg} at column {e.colno})")
            except UnicodeDecodeError as e:
                tally.broken(where, f"byte {e.start} of the line is not UTF-8")
            except RecursionError:
                tally.broken(where, "nested too deeply")
            except ValueError as e:  # a number of more digits than Python takes
                tally.broken(where, str(e).split(":")[0])
            else:
                if isinstance(item, dict):
                    yield where, _whole_characters(item) if b"\\ud" in line.lower() else item
                else:
                    tally.broken(where, f"is {type(item).__name__} {str(item)[:40]!r}, not an object")


def _fast(line: bytes) -> dict[str, Any] | None:
    """The object of a plain line, in a third of the time; None for whatever needs a second look or an error in words."""
    if line[:1] != b"{" or b"\\ud" in line or b"\\uD" in line:
        return None
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return None


def _whole_characters(value: Any) -> Any:
    """The value with halves of torn characters replaced: exports cut texts in the middle of an emoji, UTF-8 has no halves."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole_characters(v) for v in value]
    if isinstance(value, dict):
        return {_whole_characters(k): _whole_characters(v) for k, v in value.items()}
    return value


def moment(value: Any) -> datetime | None:
    """An export's time stamp in UTC. None where the field is empty; ValueError where it cannot be read.

    Read are ISO 8601, RFC 2822 and Unix seconds or milliseconds. Times before 1990 and after 2100 are clock nonsense.
    """
    if value in (None, ""):
        return None
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is no time")
    if isinstance(value, int | float):
        try:
            return _plausible(datetime.fromtimestamp(value / 1000 if value > 1e11 else value, tz=UTC), value)
        except (OverflowError, OSError) as e:
            raise ValueError(f"{value!r} is no time") from e
    return _written_moment(str(value).strip())


@lru_cache(maxsize=1 << 12)
def _written_moment(text: str) -> datetime | None:
    if text.isdigit() and len(text) in (10, 13):
        return moment(int(text))
    try:
        try:
            parsed = datetime.fromisoformat(text.replace(" +0000", "+00:00").replace(" UTC", "+00:00"))
        except ValueError:
            parsed = parsedate_to_datetime(text)
        return _plausible(parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC), text)
    except OverflowError as e:
        raise ValueError(f"{text!r} is no time") from e


def _plausible(when: datetime, value: Any) -> datetime:
    if not 1990 <= when.year <= 2100:
        raise ValueError(f"{value!r} is the year {when.year}")
    return when


def sort_key(value: Any) -> str:
    """A time stamp as text that sorts by moment, whatever its zone; empty where it cannot be read."""
    try:
        when = moment(value)
    except (ValueError, TypeError, OverflowError):
        return ""
    return when.isoformat() if when is not None else ""
