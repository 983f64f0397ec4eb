"""Markdown documents (`.md`, `.markdown`, `.mdx`), with or without front matter in YAML or TOML.

The text stays as its author wrote it, but for what a reader never sees (comments, MDX imports and component tags) and for
underlined headings, which get the `#` that later steps cut sections by.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from data_prep.records import Record, Tally
from data_prep.sources._documents import bytes_of, decoded, document, each, first_heading, tidy_text
from data_prep.sources._files import Peek
from data_prep.sources._tables import Encoding

KIND = "document"
SUFFIXES = (".md", ".markdown", ".mdx")
YAML = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
TOML = re.compile(r"\A\+\+\+[ \t]*\n(.*?)\n\+\+\+[ \t]*(?:\n|\Z)", re.DOTALL)
LONGEST_MATTER = 1 << 16  # characters; what is longer is a text between two rulers
SAME = {"lastmod": "updated", "last_updated": "updated", "last_modified": "updated", "last-modified": "updated", "modified": "updated",
        "last_update": "updated", "canonical_url": "url", "canonical": "url", "permalink": "url"}  # fmt: skip
KEY = re.compile(r"[\w.@-]+")
UNDERLINE = re.compile(r"^ {0,3}(=+|-{3,})[ \t]*$")
NO_TITLE = re.compile(r"^\s*(?:$|[#>|`~*+-]|\d+[.)]\s| {4})")  # what an underline does not make a heading of
OPENING = re.compile(r"^( {0,3}(?:`{3,}(?=[^`\n]*$)|~{3,}))|`+|<!--|\{/\*", re.MULTILINE)
MDX = re.compile(r"^(?:import\s.+|export\s+(?:const|default|let|function)\b.*|</?[A-Z][\w.]*(?:\s[^<>]*)?/?>)\s*$")


def recognise(peek: Peek) -> dict[str, Any] | None:
    """By the suffix: nearly any text is Markdown."""
    return {} if peek.suffix in SUFFIXES and b"\x00" not in peek.head else None


def read(path: Path, tally: Tally, *, encoding: Encoding = "utf-8") -> Iterator[Record]:
    """One record a file; the title is the front matter's, else the first top-level heading. encoding: tried before UTF-8."""
    yield from each(path, tally, partial(_record, tally=tally, encoding=encoding), *SUFFIXES)


def _record(file: Path, name: str, *, tally: Tally, encoding: str) -> Record:
    fields, text = front_matter(decoded(bytes_of(file), tally, encoding=encoding))
    text = plain(text, mdx=file.suffix.lower() == ".mdx")
    return document(name, text, fields.get("title") or first_heading(text, deepest=1), fields)


def front_matter(text: str) -> tuple[dict[str, str], str]:
    """The fields of a front matter by lower-case name, and the text below it. Values are text, lists are joined by commas.

    Tags are never followed and nested values are left out: a field is a label, not a program. What has no fields is a text
    between two rulers.
    """
    for pattern, load in ((YAML, _yaml), (TOML, _toml)):
        match = pattern.match(text)
        found = load(match[1]) if match is not None and len(match[1]) <= LONGEST_MATTER else {}
        if match is not None and (not match[1].strip() or any(KEY.fullmatch(str(k).strip()) for k in found)):
            values = {str(k).strip().lower(): value for k, v in found.items() if (value := _value(v))}
            same = {new: values[old] for old, new in SAME.items() if old in values}
            return {**same, **values}, text[match.end() :]
    return {}, text


def _yaml(text: str) -> dict[Any, Any]:
    from ruamel.yaml import YAML as Loader
    from ruamel.yaml.error import YAMLError

    try:
        loaded = Loader(typ="base", pure=True).load(text)  # "base": every scalar stays text, no tag makes an object
    except (YAMLError, ValueError, RecursionError):
        loaded = None
    return loaded if isinstance(loaded, dict) else _lines(text)


def _lines(text: str) -> dict[Any, Any]:
    """`key: value` lines, for what is no YAML (`title: Fix: the hub`)."""
    pairs = (line.split(":", 1) for line in text.split("\n") if ":" in line and not line.startswith((" ", "#", "-")))
    return {k: v.strip().strip("\"'") for k, v in pairs}


def _toml(text: str) -> dict[Any, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {k.rstrip(" ="): v for k, v in _lines(text.replace(" = ", ": ")).items()}


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(v) for v in value if isinstance(v, str | int | float))
    return "" if isinstance(value, dict) or value is None else str(value).strip()


def plain(text: str, *, mdx: bool = False) -> str:
    """The text without what its page does not show, its headings all with `#`; code stays untouched."""
    pieces: list[str] = []
    for is_code, piece in _pieces(text, mdx=mdx):
        shown = piece
        if mdx and not is_code:
            shown = "\n".join(x for x in shown.split("\n") if not MDX.match(x.strip()))
        pieces.append(shown if is_code else _underlined(shown))
    return tidy_text("".join(pieces))


def _pieces(text: str, *, mdx: bool) -> Iterator[tuple[bool, str]]:
    """The text in prose without comments and fenced code. What begins first decides: a comment may hold code, code a comment.

    Marks within a line's code begin nothing, nor does a comment that never ends.
    """
    prose: list[str] = []
    at, unclosed = 0, set[str]()  # what has no end further on is looked for once: a page may hold millions of openings
    while opening := OPENING.search(text, at):
        mark = opening[0]
        is_fence, is_comment = opening[1] is not None, mark == "<!--" or (mark == "{/*" and mdx)
        end = None if mark in unclosed else _closing(mark, is_fence).search(text, opening.end())
        if end is None:
            unclosed.add(mark)
        if is_fence:
            yield False, "".join([*prose, text[at : opening.start()]])
            prose, start = [], opening.start()
            at = len(text) if end is None else end.end()
            yield True, text[start:at]
        elif end is None or (not is_comment and text.find("\n\n", opening.end(), end.start()) >= 0):
            prose.append(text[at : opening.end()])
            at = opening.end()
        else:
            prose.append(text[at : opening.start() if is_comment else end.end()])
            at = end.end()
    yield False, "".join([*prose, text[at:]])


@lru_cache(64)
def _closing(mark: str, is_fence: bool) -> re.Pattern[str]:
    if is_fence:
        return re.compile(rf"^ {{0,3}}{re.escape(mark.strip())}{re.escape(mark[-1])}*[ \t]*$", re.MULTILINE)
    if mark[0] == "`":
        return re.compile(rf"(?<!`){mark}(?!`)")
    return re.compile(re.escape({"<!--": "-->", "{/*": "*/}"}[mark]))


def _underlined(text: str) -> str:
    """Headings underlined with `===` or `---` (CommonMark 4.3) as headings with `#`."""
    rows = text.split("\n")
    made: list[str] = []
    for number, line in enumerate(rows):
        mark = UNDERLINE.match(line)
        before = rows[number - 2] if number > 1 else ""
        if mark and number and not NO_TITLE.match(rows[number - 1]) and not before.strip():
            made[-1] = f"{'#' if mark[1][0] == '=' else '##'} {rows[number - 1].strip()}"
        else:
            made.append(line)
    return "\n".join(made)
