"""Zip-based office files, opened safely: sizes, names, encryption and DTDs are checked before a library sees a byte.

What comes out is a copy in memory that holds the XML parts alone. Pictures, films, fonts, macros and embedded files are empty
in it: they are most of a file's size and hold none of its text, and what is not there cannot be opened.
"""

from __future__ import annotations

import io
import mmap
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any
from xml.parsers import expat

from data_prep.sources._documents import Refused, Unreadable

LARGEST = 64 << 20  # bytes of XML in one file; a library's tree of it takes about fifty times that
MOST_MEMBERS = 20_000
LONGEST_ENTRY = 400  # bytes of a member's entry in the directory, on average
HIGHEST_RATIO = 400  # a member larger than PACKED may unpack to so many times its size; deflate's own bound is 1032
PACKED = 1 << 20
XML = (".xml", ".rels", ".vml")
OLE = bytes.fromhex("d0cf11e0a1b11ae1")
SIGNS = (
    (b"%PDF", "a PDF"), (b"{\\rtf", "RTF"), (b"<!DOCTYPE html", "an HTML page"), (b"<html", "an HTML page"), (b"<?xml", "XML"),
    (b"\xff\xd8\xff", "a picture"), (b"\x89PNG", "a picture"), (b"MZ", "a program"), (b"Rar!", "a RAR archive"),
)  # fmt: skip


def office_parts(file: Path, folder: str, change: Callable[[str, bytes], bytes] = lambda _, data: data) -> io.BytesIO:
    """The XML parts of an office file as a zip archive in memory. folder: where its main part lies (`word`, `ppt`).

    change: what to make of a part, by its name and content, once it is known to be harmless.
    Raises Refused for encrypted and legacy files, Unreadable for broken, foreign and hostile ones.
    """
    _check_beginning(file)
    _check_directory(file)
    copy = io.BytesIO()
    try:
        with zipfile.ZipFile(file) as archive, zipfile.ZipFile(copy, "w") as out:
            members = _checked(archive.infolist())
            if not any(name.startswith(f"{folder}/") for name in members):
                raise Unreadable(f"is a zip archive without `{folder}/`; it holds {sorted(members)[:4]}")
            for name, member in members.items():
                data = archive.read(member) if name.lower().endswith(XML) else b""
                if data:
                    _refuse_dtd(name, data)
                out.writestr(name, change(name, data) if data else data)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError, ValueError) as e:
        raise Unreadable(f"is a broken zip archive ({e})") from e
    copy.seek(0)
    return copy


def _check_beginning(file: Path) -> None:
    with file.open("rb") as f:
        head = f.read(512)
        if head.startswith(OLE):
            with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as whole:
                if whole.find("EncryptedPackage".encode("utf-16-le")) >= 0:
                    raise Refused("password_protected", "save it without its password")
            raise Refused("legacy_office_format", "convert it: soffice --headless --convert-to docx (or pptx) FILE")
    if not head:
        raise Unreadable("is empty")
    if not head.startswith(b"PK"):
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        found = next((what for sign, what in SIGNS if start[: len(sign)].lower() == sign.lower()), f"{head[:12]!r}…")
        raise Unreadable(f"is no office file but {found}")


def _check_directory(file: Path) -> None:
    """Refuse a directory of millions of members before zipfile makes an object of each (APPNOTE.TXT 4.3.14 and 4.3.16)."""
    with file.open("rb") as f:
        f.seek(max(0, file.stat().st_size - (1 << 17)))
        tail = f.read()
    at = tail.rfind(b"PK\x05\x06")
    size = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    if size == 0xFFFFFFFF:
        at = tail.rfind(b"PK\x06\x06")
        size = int.from_bytes(tail[at + 40 : at + 48], "little") if at >= 0 else size
    if size > MOST_MEMBERS * LONGEST_ENTRY:
        raise Unreadable(f"has a zip directory of {size >> 20} MB; office files have at most {MOST_MEMBERS} members")


def _checked(infos: Iterable[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The members by name. Where two have one name the last counts, as everywhere."""
    members = {info.filename: info for info in infos if not info.is_dir()}
    if len(members) > MOST_MEMBERS:
        raise Unreadable(f"holds {len(members)} files; office files have at most {MOST_MEMBERS}")
    for name, info in members.items():
        if info.flag_bits & 0x1:
            raise Refused("password_protected", f"{name} is encrypted")
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in name.partition("/")[0]:
            raise Unreadable(f"holds {name!r}, a name that leads out of the archive")
    parts = [info for name, info in members.items() if name.lower().endswith(XML)]
    total = sum(info.file_size for info in parts)
    if total > LARGEST:
        raise Unreadable(f"unpacks to {total >> 20} MB of XML; documents have at most {LARGEST >> 20}: a zip bomb?")
    for info in parts:
        if info.file_size > PACKED and info.file_size > HIGHEST_RATIO * max(1, info.compress_size):
            raise Unreadable(
                f"{info.filename} unpacks to {info.file_size // max(1, info.compress_size)} times its size: a zip bomb"
            )
    return members


class _Begun(Exception):
    """The root element begins: no DTD can follow."""


def _refuse_dtd(name: str, data: bytes) -> None:
    """Raise Unreadable for a part that is no XML or has a DTD, the only place where entities come from.

    Office Open XML forbids DTDs (ECMA-376 part 2), so a file with one was made to do harm.
    """
    parser = expat.ParserCreate()

    def dtd(*_: Any) -> None:
        raise Unreadable(f"{name} has a document type declaration, which office files must not have")

    def begun(*_: Any) -> None:
        raise _Begun

    parser.StartDoctypeDeclHandler = dtd
    parser.StartElementHandler = begun
    try:
        parser.Parse(data, True)
    except _Begun:
        return
    except (expat.ExpatError, LookupError) as e:
        raise Unreadable(f"{name} is not XML ({e})") from e


def core_properties(parts: io.BytesIO) -> dict[str, str]:
    """Title and time of last change as the file itself tells them: `title`, `updated`; only what it has."""
    from lxml import etree

    with zipfile.ZipFile(parts) as archive:
        data = archive.read("docProps/core.xml") if "docProps/core.xml" in archive.namelist() else b""
    parts.seek(0)
    if not data:
        return {}
    try:
        root = xml_tree(data)
    except etree.XMLSyntaxError:
        return {}  # a title and a time less; whatever is wrong with the text, its own reader says
    found = {
        "title": root.findtext("{http://purl.org/dc/elements/1.1/}title"),
        "updated": root.findtext("{http://purl.org/dc/terms/}modified"),
    }
    return {name: value.strip() for name, value in found.items() if value and value.strip()}


def xml_tree(data: bytes) -> Any:
    """A part's tree; no entity is resolved, no DTD loaded, nothing fetched. Raises lxml's XMLSyntaxError."""
    from lxml import etree

    return etree.fromstring(
        data, parser=etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    )
