"""A text as a reader sees it: encodings decoded, invisible characters gone, with the way back to the places in the raw text.

A name in a link (`?name=Mara%20Lindqvist`), in a mail's source (`M=C3=A4rz`) or with a zero-width space inside is still a name.
Decoding only adds what can be found: what is not found stays as it was written. Only stretches around something encoded are
decoded, since a log of a megabyte may hold one `%20`.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

INVISIBLE = "\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff"
# what is encoded → what shows that it may occur, cheap to look for, and the pattern
_AMPERSAND = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8}\d?);")
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_BACKSLASH = re.compile(r"\\u[0-9a-fA-F]{4}|\\[nrt]")
_QUOTED_PRINTABLE = re.compile(r"(?:=[0-9A-F]{2})+(?:=\r?\n)?|=\r?\n")
_MARKS = re.compile(rf"[{INVISIBLE}]+|[^\W\d_][\u0300-\u036f]+")
BY_SIGN = (("&", _AMPERSAND), ("%", _PERCENT), ("\\", _BACKSLASH), ("=", _QUOTED_PRINTABLE))
AROUND = 100  # characters on each side of what is encoded: the longest name or address that it may be part of


@dataclass(frozen=True, slots=True)
class View:
    """`text` is what is seen of a stretch. Its character i stands for raw[begins[i]:ends[i]]."""

    text: str
    begins: tuple[int, ...]
    ends: tuple[int, ...]

    def raw(self, start: int, end: int) -> tuple[int, int]:
        """The place in the raw text of text[start:end]."""
        return self.begins[start], self.ends[end - 1]


def views(text: str) -> Iterator[View]:
    """The decoded stretches around everything that is encoded; none in nearly every text."""
    pieces = [m for sign, pattern in BY_SIGN if sign in text for m in pattern.finditer(text)]
    if not text.isascii():
        pieces += _MARKS.finditer(text)
    end, together = -1, list[re.Match[str]]()
    for m in sorted(pieces, key=re.Match.start):
        if m.start() > end + 2 * AROUND and together:
            yield _view(text, together)
            together = []
        together.append(m)
        end = m.end()
    if together:
        yield _view(text, together)


def _view(text: str, pieces: list[re.Match[str]]) -> View:
    at, last = max(0, pieces[0].start() - AROUND), min(len(text), pieces[-1].end() + AROUND)
    while at and text[at - 1].isalnum():
        at -= 1
    while last < len(text) and text[last].isalnum():
        last += 1
    seen: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    for m in pieces:
        if m.start() < at:
            continue
        decoded = _decoded(m[0])
        seen += (text[at : m.start()], decoded)
        begins += (*range(at, m.start()), *[m.start()] * len(decoded))
        ends += (*range(at + 1, m.start() + 1), *[m.end()] * len(decoded))
        at = m.end()
    seen.append(text[at:last])
    rest = range(at, last)
    return View("".join(seen), (*begins, *rest), (*ends, *(i + 1 for i in rest)))


def _decoded(piece: str) -> str:
    if piece[0] == "&":
        return html.unescape(piece)
    if piece[0] == "%":
        return _unquoted(piece)
    if piece[0] == "=":
        return _unquoted(re.sub(r"=\r?\n", "", piece).replace("=", "%"))
    if piece[0] == "\\":
        return chr(int(piece[2:], 16)) if piece[1] == "u" else " "
    if len(piece) > 1 and "\u0300" <= piece[1] <= "\u036f":
        return unicodedata.normalize("NFC", piece)
    return ""


def _unquoted(piece: str) -> str:
    """Percent-encoded UTF-8, or Latin-1 where it is no UTF-8."""
    try:
        return unquote(piece, errors="strict")
    except UnicodeDecodeError:
        return unquote(piece, encoding="latin-1")
