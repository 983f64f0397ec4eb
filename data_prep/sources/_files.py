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

from data_prep.records import Dropped, Pointer, SourceError, Tally

csv.field_size_limit(2**31 - 1)  # a ticket of two megabytes is one field; Python's own limit is 128 kB
JSON_SUFFIXES = (".json", ".ndjson", ".jsonl")
BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
RECORD = frozenset(("id", "title"))  # a record has one of them and a page has none; `gh` writes issues without an id
PEEKED = 1 << 16  # bytes of a file that are looked at to recognise it


def files(path: Path, *suffixes: str) -> list[Path]:
    """The files of a source, sorted: the path itself, or everything under it with one of the suffixes.

    What macOS writes beside a file (`._NAME`, `__MACOSX`) holds nothing of the export and is no file of it.
    Raises SourceError when the path does not exist, holds nothing readable, or a symbolic link leads out of it or to nothing.
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
    wanted = [p for p in every if p.suffix.lower() in suffixes and not _is_of_macos(p)]
    dangling = next((p for p in wanted if p.is_symlink() and not p.exists()), None)
    if dangling is not None:
        raise SourceError(
            f"{dangling}: is a link to {dangling.readlink()}, which is not there. Restore that file, or remove the link."
        )
    found = [p for p in wanted if p.is_file()]
    for p in found:
        if not p.resolve().is_relative_to(root):
            raise SourceError(f"{p}: is a link that leads out of {path}. Copy the file into the folder, or remove it.")
    if not found:
        raise SourceError(f"{path}: holds no file ending in {' or '.join(suffixes)}. Is this the right folder?")
    return found


def _is_of_macos(path: Path) -> bool:
    return path.name.startswith("._") or "__MACOSX" in path.parts


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
    found = _lines(path, name, tally) if _is_lines(path) else _values(path, keys)
    for at, item in found:
        if isinstance(item, dict):
            yield Pointer(name, at), item
        else:
            tally.broken(Pointer(name, at), f"is {type(item).__name__} {str(item)[:40]!r}, not an object")


def export_objects(path: Path, tally: Tally, *, keys: tuple[str, ...]) -> Iterator[tuple[Pointer, dict[str, Any]]]:
    """The objects of every JSON file of a source, as `json_objects` gives them.

    An export brings streams that no reader needs: a foreign page is counted as `other_object` beside files that hold something.
    Raises SourceError where none does, about the first file.
    """
    foreign: list[tuple[str, ForeignError]] = []
    nothing = True
    for file in files(path, *JSON_SUFFIXES):
        name = relative(file, path)
        try:
            for where, item in json_objects(file, name, tally, keys=keys):
                nothing = False
                yield where, item
        except ForeignError as e:
            foreign.append((name, e))
    if foreign and nothing:
        raise foreign[0][1]
    for name, error in foreign:
        tally.seen("other objects")
        tally.drop(Dropped("other_object", Pointer(name, ""), ", ".join(error.keys)))


def _is_lines(path: Path) -> bool:
    """One object a line: by its suffix, or because the first line is whole and another follows."""
    with path.open("rb") as f:
        if path.suffix.lower() in (".ndjson", ".jsonl"):
            return bool(f.readline(1 << 20).removeprefix(codecs.BOM_UTF8).strip())
        first = f.readline(_Window.WHOLE).removeprefix(codecs.BOM_UTF8).strip()
        rest = f.readline(1 << 10).strip()
    return first.startswith(b"{") and first.endswith(b"}") and rest.startswith(b"{")


def _values(path: Path, keys: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """The elements of an array or a page, a record, or what stands in several of them one after another, with their places."""
    with path.open("rb") as f:
        window = _Window(path, f)
        if not window.peek():
            raise SourceError(f"{path}: is empty. Export it again, or remove it from the source's folder.")
        if window.peek() not in "[{":
            raise SourceError(
                f"{path}: starts with {window.excerpt()!r}, so it is not JSON. Is it another kind of export?"
            )
        several, is_large = False, path.stat().st_size > _Window.WHOLE
        while start := window.peek():
            line = f"line {window.line()}"
            if start == "[":
                yield from window.elements(line if several else "")
            elif start != "{":
                raise window.error(f"{window.excerpt()!r} follows the end of what came before", None)
            elif is_large and not window.is_small():
                yield from window.lists(keys, line if several else "")
            else:
                whole = window.value()
                several = several or window.peek() == "{"
                if several and not _lists_in(whole, keys):
                    yield line, whole
                else:
                    yield from _page(path, whole, keys, line if several else "")
            several = True


def _lists_in(whole: dict[str, Any], keys: tuple[str, ...]) -> list[str]:
    """What of a page holds its objects; nothing in a record, which may have lists of the same names."""
    return [] if RECORD & set(whole) else [k for k in keys if isinstance(whole.get(k), list | dict)]


def _page(path: Path, whole: dict[str, Any], keys: tuple[str, ...], place: str) -> Iterator[tuple[str, Any]]:
    present = _lists_in(whole, keys)
    for key in present:
        items = whole[key]
        if isinstance(items, dict):  # one object, wrapped in its stream's name
            yield f"{place}/{key}", items
        else:
            yield from ((f"{place}/{key}/{i}", item) for i, item in enumerate(items))
    if not present and RECORD & set(whole):
        yield place, whole
    elif not present:
        raise ForeignError(path, sorted(whole), keys)


class ForeignError(SourceError):
    """A page of an export with none of the lists that its reader knows."""

    def __init__(self, path: Path, found: list[str], keys: tuple[str, ...]) -> None:
        self.keys = found[:6]
        super().__init__(
            f"{path}: has none of the lists {list(keys)}; it has {found[:12]}. Is it another part of the export?"
        )


class _Window:
    """A sliding window of text over a JSON file: values are decoded one at a time, so a file may be larger than memory."""

    CHUNK = 1 << 20
    SMALL = 16  # chunks; a record is no longer
    WHOLE = 1 << 26  # bytes; a page up to here is read whole, which tells a page from a record by all its keys

    def __init__(self, path: Path, file: BinaryIO) -> None:
        start = file.read(4)
        file.seek(0)
        encoding = next((name for bom, name in BOMS if start.startswith(bom)), "utf-8")
        self._path, self._file, self._encoding = path, file, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._json = json.JSONDecoder()
        self._text, self._at, self._bytes, self._ended = "", 0, 0, False
        self._line, self._counted = 1, 0  # the line that the window's character `counted` is in

    def _more(self) -> None:
        """Drop what was read and at least double what is left to read."""
        self.line()
        self._text, self._at, self._counted = self._text[self._at :], 0, 0
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

    def line(self) -> int:
        """The number of the line that is read."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def error(self, found: str, position: int | None) -> SourceError:
        at = self._at if position is None else position
        line = self.line() + self._text.count("\n", self._at, at)
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
                raise SourceError(
                    f"{self._path}:{self.line()}: is nested too deeply to be an export of tickets."
                ) from e
            else:
                if end < len(self._text) or self._ended:
                    escaped = "\\ud" in self._text[self._at : end].lower()
                    self._at = end
                    return _whole_characters(value) if escaped else value
            self._more()

    def is_small(self) -> bool:
        """Whether the next value is a record among others rather than a page that makes up a large file."""
        while len(self._text) - self._at < self.SMALL * self.CHUNK and not self._ended:
            self._more()
        try:
            self._json.raw_decode(self._text, self._at)
        except (ValueError, RecursionError):
            return False
        return True

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

    def lists(self, keys: tuple[str, ...], where: str) -> Iterator[tuple[str, Any]]:
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
                yield from self.elements(f"{where}/{key}")
            else:
                if key in RECORD:  # not a page: its lists are its own, and the rest of it would vanish
                    raise SourceError(
                        f"{self._path}:{self.line()}: is an object with {key!r} of more than {self.SMALL} MB."
                        " Export one object a line."
                    )
                others.append(key)
                self.value()
        self.take("}")
        if not found:
            raise ForeignError(self._path, sorted(others), keys)


def _lines(path: Path, name: str, tally: Tally) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as f:
        for number, line in enumerate(f, start=1):
            at = f"line {number}"
            if (plain := _fast(line)) is not None:
                yield at, plain
                continue
            if not line.strip():
                continue
            try:
                item = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except json.JSONDecodeError as e:
                if not line.endswith(b"\n"):
                    raise SourceError(
                        f"{path}:{number}: not JSON ({e.msg} at column {e.colno}) and the last line: a truncated export. Export it again."
                    ) from e
                tally.broken(Pointer(name, at), f"not JSON ({e.msg} at column {e.colno})")
            except UnicodeDecodeError as e:
                tally.broken(Pointer(name, at), f"byte {e.start} of the line is not UTF-8")
            except RecursionError:
                tally.broken(Pointer(name, at), "nested too deeply")
            except ValueError as e:  # a number of more digits than Python takes
                tally.broken(Pointer(name, at), str(e).split(":")[0])
            else:
                yield at, _whole_characters(item) if b"\\ud" in line.lower() else item


def _fast(line: bytes) -> dict[str, Any] | None:
    """The object of a plain line, in a third of the time; None for whatever needs a second look or an error in words."""
    if line[:1] != b"{" or b"\\ud" in line or b"\\uD" in line:
        return None
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return None


def _whole_characters(value: Any) -> Any:
    """The value with halves of torn characters replaced: exports cut texts in the middle of an emoji, UTF-8 has no halves.

    Changes a decoded value in place and without recursion: JSON may be nested deeper than Python calls.
    """
    holder = [value]
    waiting: list[list[Any] | dict[str, Any]] = [holder]
    while waiting:
        inside = waiting.pop()
        if isinstance(inside, dict):
            items = [(_whole_text(k), _whole_text(v)) for k, v in inside.items()]
            inside.clear()
            inside.update(items)
        else:
            inside[:] = [_whole_text(v) for v in inside]
        waiting += [v for v in (inside.values() if isinstance(inside, dict) else inside) if isinstance(v, list | dict)]
    return holder[0]


def _whole_text(value: Any) -> Any:
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else value


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
