"""CSV files row by row, in bounded memory: every row is passed on or counted, and none is swallowed by a quote.

Question: lenient or strict? Python's lenient reader takes one quote too many for the beginning of a text that reaches to the
next one, or to the end of the file, with every row between. Choice: strict, with the line of the quote in the error. Price: an
export with bare quotes inside of quoted cells is refused until it is exported again. Revisit if a system is known to write them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Annotated, TextIO

from pydantic import AfterValidator

from data_prep.records import Pointer, SourceError, Tally
from data_prep.sources._files import BOMS, delimiter_of

LONGEST = 1 << 26  # characters of a row; a longer one is many rows behind a quote too many


def known_encoding(name: str) -> str:
    """The name itself. Raises ValueError where Python knows no text encoding of this name."""
    try:
        "a".encode(name)
    except (LookupError, ValueError) as e:
        raise ValueError(f"{name!r} is no text encoding; write one like utf-8, cp1252, latin-1 or utf-16") from e
    return name


Encoding = Annotated[str, AfterValidator(known_encoding)]  # of a reader's option: `check` refuses what is none


@dataclass(frozen=True)
class Table:
    """A CSV file. name: what pointers call it. delimiter: the header's most frequent one without it.

    text: its content, where that is decoded already; without it the file is read as it is needed.
    """

    file: Path
    name: str
    encoding: str = "utf-8"
    delimiter: str | None = None
    text: str | None = None

    @cached_property
    def header(self) -> list[str]:
        """The first row. Raises SourceError for an empty file and for what is no text."""
        start = self._start()
        if not start.strip():
            raise SourceError(f"{self.file}: is empty. Export it again, or remove it from the source's folder.")
        if "\x00" in start[:4096]:
            raise SourceError(
                f"{self.file}: holds zero bytes, so it is not a text file. Point the source at the export itself."
            )
        return [h.strip() for h in next((cells for _, _, cells in self._every()), [])]

    def rows(self, tally: Tally) -> Iterator[tuple[Pointer, list[str]]]:
        """The rows below the header with their lines; empty ones are passed over.

        A row with more or fewer cells than the header counts as broken. Raises SourceError for a quote that is not closed or
        that ends before its cell does, and for bytes of another encoding.
        """
        width = len(self.header)
        for line, last, cells in islice(self._every(), 1, None):
            where = Pointer(self.name, f"line {line}")
            if len(cells) == width:
                yield where, cells
            elif cells:
                long = f", over {last - line + 1} lines" if last > line else ""
                tally.broken(where, f"{len(cells)} cells, the header has {width}{long}")

    def _every(self) -> Iterator[tuple[int, int, list[str]]]:
        """Every row, the header too, with its first and last line."""
        delimiter, line, spent = self.separator, 1, [0]
        with self._open() as text:
            reader = csv.reader(_lines(text, spent), delimiter=delimiter, strict=True)
            try:
                for cells in reader:
                    yield line, reader.line_num, cells
                    line, spent[0] = reader.line_num + 1, 0
            except UnicodeError as e:
                raise self._not_in_encoding(e, reader.line_num) from e
            except csv.Error as e:
                raise SourceError(f"{self.file}:{self._quoted(line, delimiter)}: {_fault(str(e))}") from e

    @cached_property
    def separator(self) -> str:
        return self.delimiter or delimiter_of(self._start().split("\n", 1)[0])

    def _start(self) -> str:
        with self._open(errors="replace") as text:
            return text.read(1 << 16)

    def _open(self, errors: str = "strict") -> TextIO:
        """Line ends become newlines; a byte-order mark goes before the option."""
        if self.text is not None:
            return io.StringIO(self.text, newline=None)
        try:
            known_encoding(self.encoding)
        except ValueError as e:
            raise SourceError(f"{self.file}: encoding: {e}. Correct `encoding` in this source's options.") from e
        with self.file.open("rb") as f:
            start = f.read(4)
        encoding = next((name for bom, name in BOMS if start.startswith(bom)), self.encoding)
        return self.file.open(encoding=encoding, errors=errors)

    def _not_in_encoding(self, error: UnicodeError, line: int) -> SourceError:
        found = f"byte {error.object[error.start]:#04x}" if isinstance(error, UnicodeDecodeError) else str(error)
        encoding = error.encoding if isinstance(error, UnicodeDecodeError) else self.encoding
        return SourceError(
            f"{self.file}: after line {line}: {found}, which is not {encoding}."
            f" Set `encoding` in this source's options (Windows exports are often cp1252)."
        )

    def _quoted(self, line: int, delimiter: str) -> int:
        """The line where the quote was opened that spoils the row beginning at this line; the row's own where there is none."""
        opened, inside, at_start, closed = line, False, True, False
        with self._open(errors="replace") as text:
            for number, row in enumerate(islice(text, line - 1, None), start=line):
                for c in row:
                    if inside:
                        inside, closed = c != '"', c == '"'
                    elif closed and c == '"':  # two of them are one that is meant
                        inside, closed = True, False
                    elif closed and c not in (delimiter, "\n"):
                        return opened
                    elif at_start and c == '"':
                        inside, at_start, opened = True, False, number
                    else:
                        closed, at_start = False, c in (delimiter, "\n")
        return opened


def _lines(text: TextIO, spent: list[int]) -> Iterator[str]:
    """The lines of a text. spent: characters since the row began. Raises csv.Error for a row that has no end."""
    for line in iter(partial(text.readline, LONGEST + 1), ""):
        spent[0] += len(line)
        if spent[0] > LONGEST:
            raise csv.Error(f"more than {LONGEST} characters in one row")
        yield line


def _fault(found: str) -> str:
    if "expected after" in found:
        found = "the quote opened here ends before its cell does"
    elif "unexpected end" in found:
        found = "the quote opened here is not closed to the end of the file"
    elif "characters in one row" in found:
        found = f"{found}, perhaps behind a quote opened here"
    return f"not CSV ({found}). Double the quotes inside of a cell, or export it again."
