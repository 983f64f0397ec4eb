"""What the readers of documents share: one file after another, bytes of an unknown encoding, the record.

A converter makes a Record of a file, or raises: `Refused` for what is left out with a reason, `Unreadable` for what is
broken. `each` counts both, so that documents in = records + documents dropped, whatever a file holds.
"""

from __future__ import annotations

import codecs
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.records import Dropped, Message, Person, Pointer, Record, Tally
from data_prep.sources._files import files, moment, relative

LARGEST = 100 << 20  # bytes of a text file, page or message; larger ones are data, not documents
BOMS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
# What pages declare and what they mean by it (https://encoding.spec.whatwg.org/#names-and-labels)
MEANT = {
    "iso-8859-1": "cp1252", "latin1": "cp1252", "us-ascii": "cp1252", "ascii": "cp1252", "iso-8859-9": "cp1254",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "x-sjis": "cp932", "ks_c_5601-1987": "cp949", "euc-kr": "cp949",
}  # fmt: skip
BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")  # no text holds these; form feed and escape are seen
LEFT_BEHIND = ("~$", "._")  # lock files of office programs, metadata of macOS: named like documents, but none
FENCE = re.compile(
    r"^ {0,3}(`{3,}(?=[^`]*$)|~{3,})"
)  # what has backticks behind them is code within a line (CommonMark 4.5)


class Refused(Exception):
    """A document that is left out for a reason that is no fault of the file."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


class Unreadable(Exception):
    """A document that cannot be read; says what was found."""


def each(path: Path, tally: Tally, convert: Callable[[Path, str], Record], *suffixes: str) -> Iterator[Record]:
    """The records of the files under path, counted. convert gets a file and the name that pointers give it."""
    for file in files(path, *suffixes):
        tally.seen("documents")
        record = counted(tally, Pointer(name_of(file, path), "chars 0-0"), partial(convert, file))
        if record is not None:
            yield record


def counted(tally: Tally, where: Pointer, convert: Callable[[str], Record]) -> Record | None:
    """The record that convert makes of the named file; None where there is none, which is then counted."""
    try:
        if where.file.rpartition("/")[2].startswith(LEFT_BEHIND):
            raise Refused("not_a_document", "left behind by an office program or macOS")
        return convert(where.file)
    except Refused as e:
        tally.drop(Dropped(e.reason, where, e.detail))
    except Unreadable as e:
        tally.broken(where, str(e))
    except OSError as e:
        tally.broken(where, f"cannot be opened ({e.strerror})")
    return None


def name_of(file: Path, path: Path) -> str:
    """A file's name below its source's path as text: bytes that are no UTF-8 and control characters are replaced."""
    name = relative(file, path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\ufffd" for c in name)


def bytes_of(file: Path) -> bytes:
    """A text file's content. Raises Refused for one that is empty or too large to be a document."""
    size = file.stat().st_size
    if size > LARGEST:
        raise Refused("too_large", f"{size >> 20} MB; documents have at most {LARGEST >> 20}")
    if size == 0:
        raise Refused("empty_document")
    return file.read_bytes()


def decoded(data: bytes, tally: Tally, *, encoding: str = "utf-8", declared: str = "") -> str:
    """Text of bytes: by byte-order mark, the recipe's encoding, UTF-8, what the page declares, else cp1252.

    A guess is counted (`documents read as …`). Raises Unreadable for what is no text. Line ends become newlines.
    """
    bom = next((name for mark, name in BOMS if data.startswith(mark)), None)
    wide = bom in ("utf-16", "utf-32") or encoding.lower().startswith(("utf-16", "utf_16", "utf-32", "utf_32"))
    if not wide and len(BINARY.findall(data, 0, 1 << 16)) > min(len(data), 1 << 16) / 200:
        raise Unreadable(
            "is no text: it holds control characters; of UTF-16 without its mark, set `encoding` in the source's options"
        )
    text = _decoded(data, [bom] if bom else [encoding, "utf-8", MEANT.get(declared.lower(), declared)], tally)
    return text.replace("\ufeff", "").replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")


def _decoded(data: bytes, encodings: list[str], tally: Tally) -> str:
    for encoding in dict.fromkeys(filter(None, encodings)):
        try:
            return data.decode(encoding)
        except (UnicodeError, LookupError):  # a page may declare any nonsense; some codecs of Python raise the parent
            continue
    mended = data.decode("utf-8", "replace")
    others = sum(c > "\x7f" for c in mended)
    if mended.count("\ufffd") * 10 < others:  # UTF-8 with a torn character: cp1252 would garble all the others
        tally.seen("documents with unreadable characters")
        return mended
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError as e:
        raise Unreadable(
            f"byte {e.start} is {data[e.start]:#04x}, neither UTF-8 nor cp1252; set `encoding` in the source's options"
        ) from e
    tally.seen("documents read as cp1252")
    return text


def safe(convert: Callable[[], Any], what: str) -> Any:
    """What a library makes of a hostile file. Raises Unreadable for whatever it raises, a panic of its Rust or C part too."""
    try:
        return convert()
    except (Refused, Unreadable, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as e:  # pyo3's PanicException is no Exception
        raise Unreadable(f"{what} fails on it ({type(e).__name__}: {str(e)[:100]})") from e


def tidy_text(text: str) -> str:
    """No spaces at line ends, no runs of empty lines, none around the whole; what is fenced as code stays as it is."""
    made: list[str] = []
    for is_code, line in lines(text):
        tidied = line if is_code else line.rstrip(" \t\u00a0")
        if is_code or tidied or (made and made[-1]):
            made.append(tidied)
    return "\n".join(made).strip()


def first_heading(markdown: str, deepest: int = 6) -> str:
    """The first heading outside of code, of at most this level; empty where there is none."""
    return next((h for is_code, line in lines(markdown) if not is_code and (h := heading_of(line, deepest))), "")


def heading_of(line: str, deepest: int = 6) -> str:
    """The text of a heading with `#`; empty for any other line. Closing marks stand behind a space (CommonMark 4.2)."""
    text = line.lstrip("#")
    if not 1 <= len(line) - len(text) <= deepest or not text[:1].isspace():
        return ""
    text = text.strip()
    bare = text.rstrip("#")
    return bare.rstrip() if not bare or bare[-1].isspace() else text


def lines(markdown: str) -> Iterator[tuple[bool, str]]:
    """The lines of a text, each with whether it is fenced code; fences are."""
    fence = ""
    for line in markdown.split("\n"):
        mark = FENCE.match(line)
        yield bool(fence or mark), line
        if mark and not fence:
            fence = mark[1]
        elif mark and line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""


def document(
    name: str,
    markdown: str,
    title: str,
    fields: dict[str, str],
    *,
    id: str = "",
    pointer: Pointer | None = None,
    people: tuple[Person, ...] = (),
) -> Record:
    """One document as a record: a single message of Markdown; `updated` in the fields dates it.

    id and pointer: for documents that are not a file of their own. Raises Refused where no text is left.
    """
    if not markdown.strip():
        raise Refused("empty_document")
    updated: datetime | None
    try:
        updated = moment(fields.get("updated"))
    except (ValueError, TypeError):
        updated = None
    return Record(
        id=id or name,
        kind="document",
        group=id or name,
        created=updated,
        title=" ".join((title or first_heading(markdown)).split())[:300] or name,
        messages=(Message("", "system", True, updated, markdown),),
        pointer=pointer or Pointer(name, place(fields, 0, len(markdown))),
        fields=fields,
        solved=True,
        people=people,
    )


def place(fields: dict[str, str], start: int, end: int) -> str:
    """Where characters of a document's text stand, as a pointer says it: `chars 120-480`, of a paged one with its pages.

    The field `page_starts` lists the offset of each page's first character, pages without text included: that keeps the
    text itself free of page marks, which a model would learn, and every span of it can still name its pages.
    """
    at = f"chars {start}-{end}"
    if not fields.get("page_starts"):
        return at
    starts = [int(s) for s in fields["page_starts"].split(",")]
    first, last = max(1, bisect_right(starts, start)), max(1, bisect_right(starts, max(start, end - 1)))
    return f"{at}, page {first}" if first == last else f"{at}, pages {first}-{last}"
