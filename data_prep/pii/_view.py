"""A text as a reader sees it: encodings decoded, invisible characters gone, with the way back to the places in the raw text.

A name in a link (`?name=Mara%20Lindqvist`), in a mail's source (`M=C3=A4rz`) or with a zero-width space inside is still a name.
Decoding only adds what can be found: what is not found stays as it was written.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import unquote

INVISIBLE = "\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff"
ENCODED = re.compile(
    rf"[{INVISIBLE}]+|&(?:#\d{{1,7}}|#[xX][0-9a-fA-F]{{1,6}}|[A-Za-z]{{2,8}}\d?);|(?:%[0-9A-Fa-f]{{2}})+|\\u[0-9a-fA-F]{{4}}|\\[nrt]"
    r"|(?:=[0-9A-F]{2})+(?:=\r?\n)?|=\r?\n|[^\W\d_][\u0300-\u036f]+"
)
HINT = re.compile(rf"[{INVISIBLE}\u0300-\u036f]|&[#A-Za-z]|%[0-9A-Fa-f]{{2}}|\\[unrt]|=[0-9A-F]{{2}}|=\r?\n")


@dataclass(frozen=True, slots=True)
class View:
    """`text` is what is seen. Its character i stands for raw[begins[i]:ends[i]]."""

    text: str
    begins: tuple[int, ...]
    ends: tuple[int, ...]

    def raw(self, start: int, end: int) -> tuple[int, int]:
        """The place in the raw text of text[start:end]."""
        return self.begins[start], self.ends[end - 1]


def view(text: str) -> View | None:
    """The decoded text; None where nothing is encoded, which is nearly always."""
    if HINT.search(text) is None:
        return None
    seen: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    at = 0
    for m in ENCODED.finditer(text):
        decoded = _decoded(m[0])
        if decoded != m[0]:
            seen += (text[at : m.start()], decoded)
            begins += (*range(at, m.start()), *[m.start()] * len(decoded))
            ends += (*range(at + 1, m.start() + 1), *[m.end()] * len(decoded))
            at = m.end()
    seen.append(text[at:])
    joined = "".join(seen)
    rest = range(at, len(text))
    return None if joined == text else View(joined, (*begins, *rest), (*ends, *(i + 1 for i in rest)))


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
