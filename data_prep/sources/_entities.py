"""Confluence's full XML export: the pages of entities.xml, streamed.

The file is a flat list of objects. A page and its body are two of them, anywhere in the file; older versions, drafts and deleted
pages are pages too; users, spaces and restrictions are further objects that are named by their ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.records import Dropped, Person, Pointer, Record, SourceError, Tally
from data_prep.sources._documents import Refused, counted, document
from data_prep.sources._files import Peek
from data_prep.sources._storage import refuse_unless_current, storage_to_markdown, users_in

CONTROL = bytes(b for b in range(32) if b not in (9, 10, 13))  # exports hold them, XML forbids them
CHUNK = 1 << 20


class _Known(NamedTuple):
    """A page as its own object tells it; the body is an object elsewhere in the file."""

    title: str
    status: str
    space: str
    parent: str
    updated: str
    original: str  # the id of the page that this is an older version of
    users: tuple[str, ...]


@dataclass(slots=True)
class _Export:
    """What the bodies of an export need to know of the rest of it."""

    pages: dict[str, _Known] = field(default_factory=dict)
    spaces: dict[str, str] = field(default_factory=dict)
    restricted: set[str] = field(default_factory=set)
    users: dict[str, str] = field(default_factory=dict)  # key → user name
    accounts: dict[str, tuple[str, str]] = field(default_factory=dict)  # user name → display name, e-mail address


def entities(file: Path, name: str, tally: Tally, *, base_url: str, restricted_pages: bool) -> Iterator[Record]:
    """Two passes: bodies stand anywhere in the file, and only what is said of the pages fits in memory."""
    export = _Export()
    for kind, id, item in _objects(file):
        if kind in ("Page", "BlogPost"):
            tally.seen("documents")
            if id in export.pages:
                tally.drop(Dropped("duplicate_document_id", Pointer(name, f"object {id}")))
        elif kind in ("Comment", "Attachment"):
            tally.seen(f"{kind.lower()}s that are no documents")
        _learn(export, kind, id, item)
    missing = set(export.pages)
    for kind, id, item in _objects(file):
        owner = _reference(item, "content") if kind == "BodyContent" else ""
        if owner not in missing:
            continue
        missing.remove(owner)
        where = Pointer(name, f"object {id}")
        convert = partial(_record, owner, item, export, where, tally, base_url, restricted_pages)
        record = counted(tally, where, convert)
        if record is not None:
            yield record
    for id in sorted(missing):
        tally.drop(Dropped("page_without_body", Pointer(name, f"object {id}"), export.pages[id].title))


def _objects(file: Path) -> Iterator[tuple[str, str, Any]]:
    """The export's objects, class and id first, one at a time in bounded memory."""
    from lxml import etree

    if b"<!DOCTYPE" in Peek.of(file).head or b"<!ENTITY" in Peek.of(file).head:
        raise SourceError(f"{file}: has a document type declaration, which no Confluence export has. It is not read.")
    parser = etree.XMLPullParser(
        events=("end",), tag="object", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        with file.open("rb") as f:
            while chunk := f.read(CHUNK):
                parser.feed(chunk.translate(None, CONTROL))
                element: Any
                for _, element in parser.read_events():
                    yield str(element.get("class")), (element.findtext("id") or "").strip(), element
                    element.clear()
                    while element.getprevious() is not None:
                        del element.getparent()[0]
        parser.close()
    except etree.XMLSyntaxError as e:
        raise SourceError(
            f"{file}:{e.lineno}: not whole XML ({e.msg}). A truncated export? Export the space again."
        ) from e


def _property(item: Any, name: str) -> str:
    found = next((p for p in item.iterchildren("property") if p.get("name") == name), None)
    return "" if found is None else (found.text or "").strip()


def _reference(item: Any, name: str) -> str:
    found = next((p for p in item.iterchildren("property") if p.get("name") == name), None)
    return "" if found is None else (found.findtext("id") or "").strip()


def _learn(export: _Export, kind: str, id: str, item: Any) -> None:
    if kind in ("Page", "BlogPost"):
        users = tuple(
            u for name in ("creator", "lastModifier") if (u := _reference(item, name) or _property(item, f"{name}Name"))
        )
        export.pages[id] = _Known(
            _property(item, "title"), _property(item, "contentStatus") or "current", _reference(item, "space"),
            _reference(item, "parent"), _property(item, "lastModificationDate") or _property(item, "creationDate"),
            _reference(item, "originalVersion") or _property(item, "originalVersionId"), users,
        )  # fmt: skip
    elif kind == "Space":
        export.spaces[id] = _property(item, "key")
    elif kind == "ContentPermissionSet" and _property(item, "type").casefold() == "view":
        export.restricted.add(_reference(item, "owningContent"))
    elif kind == "ConfluenceUserImpl":
        export.users[id] = _property(item, "name")
        export.users[_property(item, "atlassianAccountId") or id] = _property(item, "name")
    elif kind in ("InternalUser", "User"):
        export.accounts[_property(item, "name")] = (_property(item, "displayName"), _property(item, "emailAddress"))


def _record(
    id: str, item: Any, export: _Export, where: Pointer, tally: Tally, base_url: str, restricted_pages: bool, _: str
) -> Record:
    known = export.pages[id]
    if known.original:
        raise Refused("older_version", f"of page {known.original}")
    refuse_unless_current(known.status)
    if not restricted_pages and _is_restricted(id, export):
        raise Refused("restricted_page", "set `restricted_pages` in the options to read it")
    if _property(item, "bodyType") not in ("", "2"):
        raise Refused(
            "not_in_storage_format", f"body type {_property(item, 'bodyType')}: wiki markup of an old version"
        )
    body = _property(item, "body").replace("]] >", "]]>")  # how the export writes the end of CDATA within CDATA
    people = tuple(_person(user, export) for user in sorted({*known.users, *users_in(body)}))
    text = storage_to_markdown(body, tally, {p.id: p.names[0] for p in people if p.names})
    fields = {
        "url": f"{base_url.rstrip('/')}/pages/viewpage.action?pageId={id}" if base_url else "",
        "updated": known.updated,
        "space": export.spaces.get(known.space, ""),
        "parents": " / ".join(reversed([export.pages[p].title for p in _ancestors(id, export)])),
    }
    return document(id, text, known.title, {k: v for k, v in fields.items() if v}, pointer=where, people=people)


def _ancestors(id: str, export: _Export) -> list[str]:
    found: list[str] = []
    parent = export.pages[id].parent
    while parent in export.pages and parent not in found and parent != id:
        found.append(parent)
        parent = export.pages[parent].parent
    return found


def _is_restricted(id: str, export: _Export) -> bool:
    """A restriction holds for the pages below too, as in Confluence itself."""
    return bool(export.restricted & {id, *_ancestors(id, export)})


def _person(user: str, export: _Export) -> Person:
    """A user by key or login name. A login name that is an e-mail address is one."""
    login = export.users.get(user, user if user in export.accounts else "")
    name, email = export.accounts.get(login, ("", ""))
    names = (name, "" if "@" in login else login)
    emails = (email, login if "@" in login else "")
    return Person(user, tuple(n for n in names if n), tuple(dict.fromkeys(e for e in emails if e)))
