"""HTML pages as documents: the main content only, headings kept as Markdown.

Navigation, header, footer and banners go first; then the first of the content selectors that matches is converted.
Pages come as files, or as a column of a CSV file (knowledge-base exports).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.records import Dropped, Pointer, Record, SourceError, Tally
from data_prep.sources._documents import document
from data_prep.sources._files import files, text_of

NOISE = "//nav|//header|//footer|//aside|//script|//style|//noscript|//form|//template|//comment()"
DEFAULT_CONTENT = ("//main", "//article", "//*[@role='main']", "//*[@id='content']", "//body")


def read(
    path: Path,
    tally: Tally,
    *,
    content: tuple[str, ...] = DEFAULT_CONTENT,
    encoding: str = "utf-8",
    column: str | None = None,
    id_column: str = "id",
    title_column: str = "title",
) -> Iterator[Record]:
    """One record a page. content: XPath expressions, the first that matches wins.

    column: read CSV files instead and take each row's HTML from this column.
    """
    if column is not None:
        yield from _csv_pages(path, tally, content, encoding, column, id_column, title_column)
        return
    for file in files(path, ".html", ".htm"):
        tally.seen("documents")
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        record = page(name, text_of(file, encoding), "", content)
        if record is None:
            tally.drop(Dropped("empty_document", Pointer(name, "chars 0-0")))
        else:
            yield record


def _csv_pages(
    path: Path, tally: Tally, content: tuple[str, ...], encoding: str, column: str, id_column: str, title_column: str
) -> Iterator[Record]:
    for file in files(path, ".csv"):
        reader = csv.DictReader(io.StringIO(text_of(file, encoding)))
        if column not in (reader.fieldnames or []):
            raise SourceError(
                f"{file}:1: has no column {column!r}; it has {reader.fieldnames}. Set `column` in the options."
            )
        for row in reader:
            tally.seen("documents")
            where = f"{file.name}#{row.get(id_column) or reader.line_num}"
            record = page(where, row.get(column) or "", row.get(title_column) or "", content)
            if record is None:
                tally.drop(Dropped("empty_document", Pointer(file.name, f"line {reader.line_num}")))
            else:
                yield record


def page(name: str, html: str, title: str, content: tuple[str, ...]) -> Record | None:
    """A page's main content as a document; None where nothing readable is left."""
    from html_to_markdown import convert
    from lxml import etree
    from lxml import html as lxml_html

    tree: Any  # lxml's stubs give XPath results a union of everything
    try:
        tree = lxml_html.document_fromstring(html)
    except (etree.ParserError, ValueError):  # an empty page, or one that declares an encoding twice
        return None
    heading = title or (tree.findtext(".//title") or "").strip()
    for noise in tree.xpath(NOISE):
        noise.drop_tree()
    main = next((found[0] for selector in content if (found := tree.xpath(selector))), None)
    if main is None:
        return None
    markup = str(etree.tostring(main, encoding="unicode", method="html"))
    text = (convert(markup).content or "").strip()
    if not text:
        return None
    return document(name, text, heading or name, {})
