"""HTML pages as documents: the main content only, with its headings, lists, tables and code as Markdown.

Navigation, banners and forms go first; then what the first matching content selector finds is converted. A converter alone
would keep the navigation of every page, a readability library would lose almost half of the code blocks (measured on 80
pages of manuals); selecting first loses nothing and is fast. Pages come as files, or as a column of a CSV file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.records import Dropped, Pointer, Record, SourceError, Tally
from data_prep.sources._documents import Refused, Unreadable, bytes_of, counted, decoded, document, each, name_of
from data_prep.sources._files import Peek, files
from data_prep.sources._markup import empty, html_tree, open_panels, to_markdown
from data_prep.sources._tables import Encoding, Table

KIND = "document"
SUFFIXES = (".html", ".htm", ".xhtml")
DEFAULT_CONTENT = (
    ".wiki-content", ".zd-comment", "main", "[role=main]", "article", "#content", "#main-content", "body",
)  # fmt: skip
CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w:.-]+)|<\?xml[^>]{0,100}encoding\s*=\s*[\"']([\w:.-]+)",
    re.IGNORECASE,
)
SIMPLE = re.compile(r"([\w-]*)(?:#([\w-]+)|\.([\w-]+)|\[([\w-]+)=[\"']?([\w-]+)[\"']?\])?")
WITHIN = (
    "ancestor::main or ancestor::article or ancestor::*[@role='main' or @id='content' or @id='main-content'"
    " or contains(concat(' ',normalize-space(@class),' '),' wiki-content ')]"
)
NOISE = (
    "//nav|//script|//style|//noscript|//template|//dialog|//button[not(ancestor::p)]|//select|//input|//textarea"
    "|//form[not(.//p or .//h1 or .//h2 or .//h3 or .//li or .//pre or .//table or .//dl)]|//footer"
    f"|//header[not({WITHIN})]|//aside[not({WITHIN})]|//*[@role='navigation' or @role='banner' or @role='search']"
)
UPDATED = (
    "//meta[@property='article:modified_time' or @property='og:updated_time']/@content", "//*[@itemprop='dateModified']/@content",
    "//*[@itemprop='dateModified']/@datetime", "//meta[translate(@name,'LASTMODIFE','lastmodife')='last-modified']/@content",
    "//meta[translate(@http-equiv,'LASTMODIFE','lastmodife')='last-modified']/@content", "//meta[@name='dcterms.modified']/@content",
    "//time[contains(@class,'updated') or contains(@class,'modified')]/@datetime",
    "//meta[@property='article:published_time']/@content", "//time/@datetime",
)  # fmt: skip
URL = ("//link[@rel='canonical']/@href", "//meta[@property='og:url']/@content")


def recognise(peek: Peek) -> dict[str, Any] | None:
    """Pages by suffix and markup; knowledge bases in CSV by a column that is called html."""
    if peek.suffix == ".csv":
        return _columns(peek)
    if peek.suffix not in SUFFIXES or "<ac:" in peek.text or "<ri:" in peek.text:
        return None
    return {} if re.search(r"<(?:!doctype|html|head|body|title|p|div|h[1-6])\b", peek.text, re.IGNORECASE) else None


def _columns(peek: Peek) -> dict[str, Any] | None:
    header = {h.casefold(): h for h in peek.header}
    if not ({"html", "html_body", "body_html"} & set(header) and {"title", "slug", "url"} & set(header)):
        return None
    found = {
        "column": next(header[c] for c in ("html", "html_body", "body_html") if c in header),
        "id_column": next((header[c] for c in ("id", "slug", "url") if c in header), None),
        "title_column": header.get("title"),
        "url_column": next((header[c] for c in ("url", "html_url", "link") if c in header), None),
        "updated_column": next(
            (header[c] for c in ("updated", "updated_at", "modified", "last_modified") if c in header), None
        ),
    }
    return {name: column for name, column in found.items() if column}


def read(
    path: Path,
    tally: Tally,
    *,
    content: tuple[str, ...] = DEFAULT_CONTENT,
    encoding: Encoding = "utf-8",
    column: str | None = None,
    id_column: str = "id",
    title_column: str = "title",
    url_column: str | None = None,
    updated_column: str | None = None,
) -> Iterator[Record]:
    """One record a page. content: simple CSS selectors (`main`, `#id`, `.class`, `[name=value]`) or XPath expressions; all that
    the first matching one finds is taken. encoding: of pages that do not say theirs.

    column: read CSV files instead and take each row's HTML from this column; url_column and updated_column become fields.
    """
    selectors = tuple(xpath(s) for s in content)
    if column is None:
        yield from each(path, tally, partial(_file, tally=tally, selectors=selectors, encoding=encoding), *SUFFIXES)
        return
    columns = {"id": id_column, "title": title_column, "url": url_column, "updated": updated_column}
    for file in files(path, ".csv"):
        yield from _rows(file, name_of(file, path), tally, selectors, encoding, column, columns)


def xpath(selector: str) -> str:
    """A simple CSS selector as XPath; what begins like XPath stays. Raises SourceError for what is neither."""
    from lxml import etree

    expression = selector
    match = SIMPLE.fullmatch(selector)
    if match is not None and selector:
        tag, id, name, key, value = match.groups()
        test = f"[@id='{id}']" if id else f"[@{key}='{value}']" if key else ""
        test = f"[contains(concat(' ',normalize-space(@class),' '),' {name} ')]" if name else test
        expression = f"//{tag or '*'}{test}"
    try:
        if not expression.startswith(("/", "(", ".")):
            raise etree.XPathSyntaxError("neither", None, 0, 0)
        etree.XPath(expression)
    except etree.XPathError as e:
        raise SourceError(
            f"content: {selector!r} is neither a simple CSS selector (`main`, `#id`, `.class`, `[role=main]`) nor XPath."
        ) from e
    return expression


def _file(file: Path, name: str, *, tally: Tally, selectors: tuple[str, ...], encoding: str) -> Record:
    data = bytes_of(file)
    found = CHARSET.search(data, 0, 4096)
    declared = (found[1] or found[2]).decode("ascii", "replace") if found else ""
    text = decoded(data, tally, encoding="utf-8" if declared else encoding, declared=declared)
    return page(name, text, selectors)


def _rows(
    file: Path,
    name: str,
    tally: Tally,
    selectors: tuple[str, ...],
    encoding: str,
    column: str,
    columns: dict[str, str | None],
) -> Iterator[Record]:
    try:
        table = Table(file, name, text=decoded(bytes_of(file), tally, encoding=encoding))
    except Refused as e:
        raise SourceError(f"{file}: cannot be read as a table of pages: {e.reason} {e.detail}. Export it again.") from e
    except Unreadable as e:
        raise SourceError(f"{file}: {e}.") from e
    header = table.header
    missing = [c for c in (column, columns["url"], columns["updated"]) if c and c not in header]
    if missing:
        raise SourceError(f"{file}:1: has no column {missing[0]!r}; it has {header}. Set `column` in the options.")
    seen: set[str] = set()
    for where, cells in table.rows(tally):
        row = dict(zip(header, cells, strict=True))
        tally.seen("documents")
        id = row.get(columns["id"] or "") or where.at.removeprefix("line ")
        if id in seen:
            tally.drop(Dropped("duplicate_document_id", where, id))
            continue
        seen.add(id)
        given = {k: value for k in ("url", "updated") if (value := row.get(columns[k] or "") or "")}
        title = row.get(columns["title"] or "") or ""
        convert = partial(
            page, html=row.get(column) or "", selectors=selectors, title=title, given=given, where=where, id=id
        )
        record = counted(tally, where, convert)
        if record is not None:
            yield record


def page(
    name: str,
    html: str,
    selectors: tuple[str, ...],
    *,
    title: str = "",
    given: dict[str, str] | None = None,
    where: Pointer | None = None,
    id: str = "",
) -> Record:
    """A page's main content as a document. given: fields that are known from elsewhere. where and id: for a page in a table."""
    tree = html_tree(html)
    fields = _metadata(tree) | (given or {})
    heading = title or _title(tree)
    open_panels(tree)  # before the buttons go, which say what they open
    empty(tree.xpath(NOISE))
    parts = [to_markdown(part, url=fields.get("url", "")) for part in _content(tree, selectors)]
    return document(
        name, "\n\n".join(p for p in parts if p), heading, fields, id=f"{name}#{id}" if id else "", pointer=where
    )


def _content(tree: Any, selectors: tuple[str, ...]) -> list[Any]:
    """All that the first matching selector finds, outermost elements only."""
    for selector in selectors:
        found = [e for e in tree.xpath(selector) if hasattr(e, "iterancestors") and e.text_content().strip()]
        if found:
            chosen = set(found)
            return [e for e in found if chosen.isdisjoint(e.iterancestors())]
    raise Refused("empty_document")


def _metadata(tree: Any) -> dict[str, str]:
    fields = {"url": _first(tree, URL), "updated": _first(tree, UPDATED)}
    return {name: value for name, value in fields.items() if value}


def _first(tree: Any, expressions: tuple[str, ...]) -> str:
    return next((str(v).strip() for e in expressions for v in tree.xpath(e) if str(v).strip()), "")


def _title(tree: Any) -> str:
    """The page's own heading where the title names it beside the site ("Reset · Help Center"), else the title."""
    title = " ".join((tree.findtext(".//title") or "").split())
    headings = [" ".join(h.text_content().split()).rstrip("¶# ") for h in tree.xpath("//h1")]
    return next((h for h in headings if h and (not title or h in title)), title)
