"""Markdown documents (`.md`, `.markdown`, `.mdx`), with or without front matter in YAML or TOML.

The text stays as its author wrote it, but for what a reader never sees (comments, MDX imports and component tags) and for
underlined headings, which get the `#` that later steps cut sections by.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.records import Record, Tally
from data_prep.sources._documents import FENCE, bytes_of, decoded, document, each, tidy_text
from data_prep.sources._files import Peek

KIND = "document"
SUFFIXES = (".md", ".markdown", ".mdx")
YAML = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
TOML = re.compile(r"\A\+\+\+[ \t]*\n(.*?)\n\+\+\+[ \t]*(?:\n|\Z)", re.DOTALL)
LONGEST_MATTER = 1 << 16  # characters; what is longer is a text between two rulers
SAME = {"lastmod": "updated", "last_updated": "updated", "last_modified": "updated", "last-modified": "updated", "modified": "updated",
        "last_update": "updated", "canonical_url": "url", "canonical": "url", "permalink": "url"}  # fmt: skip
HEADING = re.compile(r"^#\s+(.+?)\s*#*$")
UNDERLINE = re.compile(r"^ {0,3}(=+|-{3,})[ \t]*$")
NO_TITLE = re.compile(r"^\s*(?:$|[#>|`~*+-]|\d+[.)]\s| {4})")  # what an underline does not make a heading of
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
MDX = re.compile(r"^(?:import\s.+|export\s+(?:const|default|let|function)\b.*|</?[A-Z][\w.]*(?:\s[^<>]*)?/?>)\s*$")
MDX_COMMENT = re.compile(r"\{/\*.*?\*/\}", re.DOTALL)


def recognise(peek: Peek) -> dict[str, Any] | None:
    """By the suffix: nearly any text is Markdown."""
    return {} if peek.suffix in SUFFIXES and b"\x00" not in peek.head else None


def read(path: Path, tally: Tally, *, encoding: str = "utf-8") -> Iterator[Record]:
    """One record a file; the title is the front matter's, else the first top-level heading. encoding: tried before UTF-8."""
    yield from each(path, tally, partial(_record, tally=tally, encoding=encoding), *SUFFIXES)


def _record(file: Path, name: str, *, tally: Tally, encoding: str) -> Record:
    fields, text = front_matter(decoded(bytes_of(file), tally, encoding=encoding))
    text = plain(text, mdx=file.suffix.lower() == ".mdx")
    top = next((m[1] for line in text.split("\n") if (m := HEADING.match(line))), "")
    return document(name, text, fields.get("title") or top, fields)


def front_matter(text: str) -> tuple[dict[str, str], str]:
    """The fields of a front matter by lower-case name, and the text below it. Values are text, lists are joined by commas.

    Tags are never followed and nested values are left out: a field is a label, not a program.
    """
    for pattern, load in ((YAML, _yaml), (TOML, _toml)):
        match = pattern.match(text)
        if match is not None and len(match[1]) <= LONGEST_MATTER:
            values = {str(k).strip().lower(): value for k, v in load(match[1]).items() if (value := _value(v))}
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
    for is_code, lines in _runs(text):
        piece = "\n".join(lines)
        if not is_code:
            piece = COMMENT.sub("", piece)
            if mdx:
                piece = "\n".join(x for x in MDX_COMMENT.sub("", piece).split("\n") if not MDX.match(x.strip()))
            piece = _underlined(piece)
        pieces.append(piece)
    return tidy_text("\n".join(pieces))


def _runs(text: str) -> Iterator[tuple[bool, list[str]]]:
    """The text's lines in runs of prose and of fenced code."""
    run: list[str] = []
    fence = ""
    for line in text.split("\n"):
        mark = FENCE.match(line)
        if mark and not fence:
            yield False, run
            run, fence = [line], mark[1]
        elif mark and fence and line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            yield True, [*run, line]
            run, fence = [], ""
        else:
            run.append(line)
    yield bool(fence), run


def _underlined(text: str) -> str:
    """Headings underlined with `===` or `---` (CommonMark 4.3) as headings with `#`."""
    lines = text.split("\n")
    made: list[str] = []
    for number, line in enumerate(lines):
        mark = UNDERLINE.match(line)
        before = lines[number - 2] if number > 1 else ""
        if mark and number and not NO_TITLE.match(lines[number - 1]) and not before.strip():
            made[-1] = f"{'#' if mark[1][0] == '=' else '##'} {lines[number - 1].strip()}"
        else:
            made.append(line)
    return "\n".join(made)
