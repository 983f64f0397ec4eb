"""Mails as bytes, and what their headers say: archives cut into mails, addresses and ids, times and words in any charset.

`mailbox.mbox` is not used: it cuts a mail wherever a line begins with "From ", which ordinary sentences do, and opens the
archive for writing. Headers are read whatever their bytes are; what is longer than any honest one is cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message as Part
from email.parser import BytesParser
from email.policy import Compat32
from email.utils import getaddresses
from typing import BinaryIO

from data_prep.sources._files import moment

# A "From " line that begins a mail has a time and a year in every variant; sentences that begin so have not.
SEPARATOR = re.compile(rb"From (?=[^\r\n]{0,200}\d{1,2}:\d\d)(?=[^\r\n]{0,200}\b\d{4}\b)")
HEADER = re.compile(rb"[!-9;-~]{1,80}:")
ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]]{1,64}@[\w-]+(?:\.[\w-]+)*")
MESSAGE_ID = re.compile(r"<([^<>\s]{1,500})>")
# Charsets that mails name while meaning another. What is valid UTF-8 is never Latin; the rest of Latin is Windows'.
WIDER = {
    "us-ascii": "utf-8", "ascii": "utf-8", "iso-8859-1": "utf-8", "latin-1": "utf-8", "windows-1252": "utf-8", "gb2312": "gb18030",
    "gbk": "gb18030", "shift_jis": "cp932", "ks_c_5601-1987": "cp949", "euc-kr": "cp949", "iso-8859-8-i": "iso-8859-8",
}  # fmt: skip
MAILBOXES = frozenset(
    "help support service services info contact kontakt hello hilfe team office sales billing care customer customers desk helpdesk"
    " kundenservice kundendienst noreply no reply".split()
)
LONGEST_HEADER = 100_000  # characters; twelve hundred recipients
LONGEST_STRUCTURE = 5_000  # of Content-… headers: the standard library takes quadratic time to read them


def split_mails(file: BinaryIO, *, cut: bool) -> Iterator[tuple[int, bytes]]:
    """The mails of a file, each with the number of its first line. cut: at "From " lines even if the first is none."""
    start, lines, held, after_blank, is_mbox = 1, list[bytes](), b"", True, False
    for number, line in enumerate(file, start=1):
        blank = not line.strip()
        if held and (HEADER.match(line) or (blank and after_blank)):
            yield from _whole(start, lines, is_mbox)
            start, lines, held, is_mbox = number - 1, [], b"", True
        elif held:
            lines.append(held)
            held, after_blank = b"", False
        if SEPARATOR.match(line) and (cut or is_mbox or not any(map(bytes.strip, lines))):
            held = line
        else:
            lines.append(line)
            after_blank = blank
    yield from _whole(start, [*lines, held], is_mbox)


def _whole(start: int, lines: list[bytes], is_mbox: bool) -> Iterator[tuple[int, bytes]]:
    data = b"".join(lines).removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if data.strip():
        yield start, re.sub(rb"(?m)^>(>*From )", rb"\1", data) if is_mbox else data


def head_of(data: bytes) -> bytes:
    end = re.search(rb"\r?\n\r?\n", data)
    return data[: end.start()] if end else data


def _longest(header: str) -> int:
    return LONGEST_STRUCTURE if header.casefold().startswith("content-") else LONGEST_HEADER


class _Lenient(Compat32):
    """Headers as text whatever their bytes are, cut where only an attack is longer."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[: _longest(name)]

    def header_fetch_parse(self, name: str, value: str) -> str:  # noqa: ARG002
        unfolded = re.sub(r"\r?\n", "", value) if "\n" in value else value
        return unfolded if unfolded.isascii() else decode(unfolded.encode("utf-8", "surrogateescape"), None)


def parse(data: bytes) -> Part:
    return BytesParser(policy=_Lenient()).parsebytes(data)


def is_cut(headers: Part) -> bool:
    """Whether a header is longer than what is read of it."""
    return any(len(written) == _longest(name) for name, written in headers.raw_items())


def value_of(headers: Part, name: str) -> str:
    return str(headers.get(name, ""))


def ids(headers: Part, name: str) -> list[str]:
    values = [str(v) for v in headers.get_all(name, [])]
    found = [i for v in values for i in MESSAGE_ID.findall(v)]
    bare = [v.strip() for v in values if re.fullmatch(r"\s*[^<>\s]{1,500}\s*", v)]
    return found or bare


def time_of(headers: Part) -> datetime | None:
    """When it was sent, by its Date, or else by the last server that handed it on."""
    for value in (value_of(headers, "Date"), value_of(headers, "Received").rpartition(";")[2]):
        try:
            when = moment(value.strip())
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
        if when is not None:
            return when
    return None


def addresses(headers: Part, *names: str) -> list[tuple[str, str]]:
    """Address and display name of everybody in these headers, in order."""
    found: list[tuple[str, str]] = []
    for value in (str(v) for name in names for v in headers.get_all(name, [])):
        try:
            pairs = getaddresses([value])
        except (RecursionError, IndexError, ValueError, TypeError):
            pairs = []
        surname = ""
        mine: list[tuple[str, str]] = []
        for name, address in pairs:
            if ADDRESS.fullmatch(address):
                mine.append((address.casefold(), _display_name(f"{name} {surname}", address)))
            # Outlook writes `Lindqvist, Mara <mara@…>` without quotes: what has no address is a name's beginning
            surname = "" if "@" in address else f"{name} {address}"
        found += mine or [(a.casefold(), "") for a in ADDRESS.findall(value)]
    return found


def _display_name(written: str, address: str) -> str:
    """A person's name. Lists write `'Mara Lindqvist' via Help`; the name of a shared mailbox is its address or its purpose."""
    name = re.sub(r"^'(.+)' via .*$", r"\1", " ".join(words(written).split())).strip(" '\"")
    local, _, domain = address.casefold().rpartition("@")
    purposes = MAILBOXES | set(domain.split("."))
    shared = set(re.split(r"[._+-]", local)) <= MAILBOXES and set(re.findall(r"\w+", name.casefold())) <= purposes
    return "" if shared or name.casefold() == address.casefold() else name


def words(value: str) -> str:
    """RFC 2047 words as text; a word that cannot be read stays as it is written."""
    if "=?" not in value or len(value) > LONGEST_STRUCTURE:
        return value
    try:
        chunks = decode_header(value)
    except (HeaderParseError, ValueError, TypeError, IndexError):
        return value
    # what stands between the words comes back in this escape, so that it fits into bytes
    plain = (
        c.decode("raw-unicode-escape", "replace") if isinstance(c, bytes) and cs is None else c for c, cs in chunks
    )
    return "".join(p if isinstance(p, str) else decode(p, cs) for p, (_, cs) in zip(plain, chunks, strict=True))


def decode(data: bytes, charset: str | None) -> str:
    """Bytes in the charset they name, else UTF-8, else Windows' Latin: always a text, never half a character."""
    charset = (charset or "utf-8").strip().casefold()
    for name in (WIDER.get(charset, charset), "utf-8", "cp1252"):
        if name not in ("idna", "punycode"):  # their time is quadratic in the length
            try:
                return data.decode(name).encode("utf-8", "replace").decode("utf-8")
            except (LookupError, ValueError):
                continue
    return data.decode("latin-1")
