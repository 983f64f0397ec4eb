"""Confluence: pages of the REST interface (JSON, one object a line), a full XML export (entities.xml), or files in storage format.

Only current pages are read, each in its newest version; archived, draft and deleted ones are dropped with their reason, and so
are pages that not everybody may read. A wiki is not one document: every page is a group of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.records import Person, Pointer, Record, SourceError, Tally
from data_prep.sources._documents import Refused, bytes_of, counted, decoded, document, name_of
from data_prep.sources._entities import entities
from data_prep.sources._files import JSON_SUFFIXES, Peek, files, json_objects
from data_prep.sources._markup import html_tree, to_markdown
from data_prep.sources._storage import named_in, refuse_unless_current, storage_to_markdown
from data_prep.sources.html import DEFAULT_CONTENT, page, xpath

KIND = "document"
PAGES = (".xml", ".html", ".htm")
STORAGE = re.compile(r"<(?:ac|ri):[a-z]")
STORED = re.compile(r'"representation"\s*:\s*"storage"|"storage"\s*:\s*\{\s*"value"')
TYPES = ("page", "blogpost")
RENDERED = ("export_view", "view", "styled_view")


def recognise(peek: Peek) -> dict[str, Any] | None:
    """By the elements of the storage format, and by the wrappers of the two exports that hold it."""
    if peek.suffix in JSON_SUFFIXES:
        return {} if STORED.search(peek.text) else None
    if peek.suffix not in PAGES:
        return None
    return {} if STORAGE.search(peek.text) or "<hibernate-generic" in peek.text[:1000] else None


def read(path: Path, tally: Tally, *, base_url: str = "", restricted_pages: bool = False) -> Iterator[Record]:
    """One record a page. base_url: of the wiki, for the pages' addresses where the export does not say it (`https://…/wiki`).

    restricted_pages: read pages too that only some people may see, as far as the export says so.
    """
    if path.suffix.lower() == ".zip":
        raise SourceError(f"{path}: is an archive. Unpack it, and point `path` at the folder.")
    found = files(path, *PAGES, *JSON_SUFFIXES)
    exported = [f for f in found if f.suffix.lower() in JSON_SUFFIXES]
    newest = _newest(exported, path)
    for file in found:
        name = name_of(file, path)
        if file.suffix.lower() in JSON_SUFFIXES:
            yield from _rest(file, name, tally, newest, base_url, restricted_pages)
        elif file.suffix.lower() == ".xml" and b"<hibernate-generic" in Peek.of(file).head[:1000]:
            yield from entities(file, name, tally, base_url=base_url, restricted_pages=restricted_pages)
        else:
            tally.seen("documents")
            record = counted(tally, Pointer(name, "chars 0-0"), partial(_file, file, tally))
            if record is not None:
                yield record


def _file(file: Path, tally: Tally, name: str) -> Record:
    """A file in storage format; a page that was rendered already is read as HTML."""
    text = decoded(bytes_of(file), tally)
    if not STORAGE.search(text) and re.search(r"<(?:html|body)\b", text, re.IGNORECASE):
        return page(name, text, tuple(xpath(s) for s in DEFAULT_CONTENT))
    title = re.sub(r"[-_+]+", " ", re.sub(r"^\d{4,}[-_]|[-_]\d{4,}$", "", file.stem)).strip()
    return document(name, storage_to_markdown(text, tally, {}), title, {}, people=named_in(text))


def _newest(exported: list[Path], path: Path) -> dict[str, tuple[int, str, str]]:
    """Page id → version, file and place of its newest version."""
    newest: dict[str, tuple[int, str, str]] = {}
    for file in exported:
        for where, item in json_objects(file, name_of(file, path), Tally(max_bad_records=1 << 62), keys=("results",)):
            version = _version(item)
            if item.get("id") and version > newest.get(str(item["id"]), (-1,))[0]:
                newest[str(item["id"])] = (version, where.file, where.at)
    return newest


def _version(item: dict[str, Any]) -> int:
    number = _of(item, "version").get("number")
    return number if isinstance(number, int) else 0


def _of(item: dict[str, Any], *keys: str) -> dict[str, Any]:
    """An object within objects; empty where one of them is none."""
    found: Any = item
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _rest(
    file: Path, name: str, tally: Tally, newest: dict[str, tuple[int, str, str]], base_url: str, restricted_pages: bool
) -> Iterator[Record]:
    for where, item in json_objects(file, name, tally, keys=("results",)):
        tally.seen("documents")
        last = newest.get(str(item.get("id")), (0, where.file, where.at))
        older = (where.file, where.at) != last[1:]
        convert = partial(_rest_page, item, where, older, tally, base_url, restricted_pages)
        record = counted(tally, where, convert)
        if record is not None:
            yield record


def _rest_page(
    item: dict[str, Any], where: Pointer, older: bool, tally: Tally, base_url: str, restricted_pages: bool, _: str
) -> Record:
    if item.get("type", "page") not in TYPES:
        raise Refused("not_a_page", f"type {item.get('type')!r}")
    refuse_unless_current(str(item.get("status") or "current"))
    if older:
        raise Refused("older_version", f"version {_version(item)} of page {item.get('id')}")
    readers = [_of(item, "restrictions", "read", "restrictions", who) for who in ("user", "group")]
    if not restricted_pages and any(r.get("results") or r.get("size") for r in readers):
        raise Refused("restricted_page", "set `restricted_pages` in the options to read it")
    people = tuple(_rest_people(item))
    names = {p.id: p.names[0] for p in people if p.names}
    body = _of(item, "body")
    text = _rest_text(body, tally, names)
    people += named_in(str(_of(body, "storage").get("value") or ""))
    id = str(item.get("id") or f"{where.file}{where.at}")
    fields = _rest_fields(item, base_url)
    return document(id, text, str(item.get("title") or ""), fields, pointer=where, people=people)


def _rest_text(body: dict[str, Any], tally: Tally, names: dict[str, str]) -> str:
    stored = _of(body, "storage").get("value")
    if isinstance(stored, str):
        return storage_to_markdown(stored, tally, names)
    rendered = next((v for kind in RENDERED if isinstance(v := _of(body, kind).get("value"), str)), None)
    if rendered is None:
        raise Refused(
            "page_without_body",
            f"its body has {sorted(body)}; export it with expand=body.storage or body-format=storage",
        )
    return to_markdown(html_tree(rendered))


def _rest_fields(item: dict[str, Any], base_url: str) -> dict[str, str]:
    links = _of(item, "_links")
    base = base_url or str(links.get("base") or str(links.get("self") or "").partition("/rest/api")[0])
    webui = str(links.get("webui") or "")
    version = _of(item, "version")
    ancestors = [str(a["title"]) for a in _objects(item.get("ancestors")) if a.get("title")]
    labels = [
        str(label["name"]) for label in _objects(_of(item, "metadata", "labels").get("results")) if label.get("name")
    ]
    fields = {
        "url": base.rstrip("/") + webui if base and webui else "",
        "updated": str(
            version.get("when") or version.get("createdAt") or _of(item, "history", "lastUpdated").get("when") or ""
        ),
        "space": str(_of(item, "space").get("key") or item.get("spaceId") or ""),
        "parents": " / ".join(ancestors),
        "labels": ", ".join(labels),
    }
    return {name: value for name, value in fields.items() if value}


def _rest_people(item: dict[str, Any]) -> Iterator[Person]:
    for keys in (("version", "by"), ("history", "createdBy"), ("history", "lastUpdated", "by")):
        user = _of(item, *keys)
        id = user.get("accountId") or user.get("userKey") or user.get("username")
        if id:
            names = tuple(dict.fromkeys(str(user[k]) for k in ("displayName", "publicName", "username") if user.get(k)))
            yield Person(str(id), names, (str(user["email"]),) if user.get("email") else ())
