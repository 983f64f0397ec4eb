"""Jira's two kinds of rich text as Markdown: the Atlassian Document Format (ADF) and wiki markup.

Nothing that was written is dropped: an unknown node keeps its text, an unknown macro stays as it stands, code is not
touched. The time is linear in the text, whatever it holds: a pattern never looks past a character that begins the next
match, an opening macro without a closing one is known before anything is searched, and nesting is followed to a depth
beyond which only the text counts.

Wiki markup that means the same in Markdown (_emphasis_, backslash escapes) or nearly nothing (+inserted+, ^raised^) stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from data_prep.clean import html_to_text

Names = Mapping[str, str]  # account id or login → name, for mentions
Node = dict[str, Any]

DEEPEST = 25  # nested nodes; documents that people write stay below ten
LANGUAGE = re.compile(r"[\w#+.-]{1,20}\Z")
TARGET = re.compile(r"(?:[a-zA-Z][a-zA-Z0-9+.-]*+://|mailto:|www\.|[/#^~])\S")
ADDRESS = re.compile(r"(?:[a-zA-Z][a-zA-Z0-9+.-]*+://|mailto:)\S")


def to_markdown(body: Any, names: Names) -> str:
    """A description or comment body: an ADF document, wiki markup, or nothing."""
    if isinstance(body, str):
        return wiki_to_markdown(body, names)
    return "" if body is None else _adf(body, names, 0)


def mono(text: str) -> str:
    ticks = "`" * (_longest_ticks(text) + 1)
    return f"`{text}`" if len(ticks) == 1 else f"{ticks} {text} {ticks}"


def fence(code: str, language: str = "") -> str:
    ticks = "`" * max(3, _longest_ticks(code) + 1)
    return f"{ticks}{language if LANGUAGE.match(language) else ''}\n{code}\n{ticks}"


def _longest_ticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0) if "`" in text else 0


def link(text: str, target: str) -> str:
    """A link, in its short form where the text says nothing else than the target."""
    target = target.strip().replace("<", "%3C").replace(">", "%3E").replace("\n", "")
    return f"<{target}>" if text in ("", target) else _pointed(text, target)


def _pointed(text: str, target: str) -> str:
    return f"[{text}](<{target}>)" if re.search(r"[\s()]", target) else f"[{text}]({target})"


def table(rows: list[list[str]]) -> str:
    """Rows of cells as a Markdown table; the first row is its header."""
    width = max(map(len, rows), default=0)
    lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows]
    return "\n".join([*lines[:1], "|" + " --- |" * width, *lines[1:]]) if width else ""


# ---- Atlassian Document Format

INLINE = (
    "text", "hardBreak", "mention", "emoji", "inlineCard", "date", "status", "mediaInline", "placeholder",
    "inlineExtension",
)  # fmt: skip
SPOKEN = ("text", "title", "alt", "shortName", "url")  # attributes of a node that somebody reads


def _adf(node: Any, names: Names, depth: int) -> str:
    if isinstance(node, list):
        node = {"content": node}
    if not isinstance(node, dict):
        return "" if node is None else str(node)
    if depth > DEEPEST:
        return " ".join(_texts(node))
    return NODES.get(str(node.get("type")), _unknown)(node, names, depth)


def _attributes(node: Node) -> Node:
    found = node.get("attrs")
    return found if isinstance(found, dict) else {}


def _attribute(node: Node, *keys: str) -> str:
    """The first of the attributes that says something."""
    values = (_attributes(node).get(k) for k in keys)
    return next((str(v) for v in values if isinstance(v, str | int) and not isinstance(v, bool) and v != ""), "")


def _children(node: Node) -> list[Any]:
    found = node.get("content")
    return found if isinstance(found, list) else [] if found is None else [found]


def _content(node: Node, names: Names, depth: int, *, between: str = "\n\n") -> str:
    """A node's children: inline ones run together, blocks stand apart."""
    blocks: list[str] = []
    run: list[str] = []
    for child in _children(node):
        text = _adf(child, names, depth + 1)
        if _is_inline(child):
            run.append(text)
        else:
            blocks += ["".join(run), text]
            run = []
    return between.join(b for b in [*blocks, "".join(run)] if b.strip())


def _is_inline(node: Any) -> bool:
    kind = str(node.get("type")) if isinstance(node, dict) else "text"
    return kind in INLINE or (kind not in NODES and "content" not in node)


def _texts(node: Any) -> Iterator[str]:
    """Every text below a node in reading order, without recursion."""
    waiting = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, list):
            waiting += reversed(item)
        elif isinstance(item, dict):
            spoken = [item.get("text"), *(_attributes(item).get(k) for k in SPOKEN)]
            waiting += [item.get("content"), *(s for s in reversed(spoken) if isinstance(s, str))]


def _unknown(node: Node, names: Names, depth: int) -> str:
    own = [node.get("text"), *(_attributes(node).get(k) for k in SPOKEN)]
    said = [s for s in own if isinstance(s, str) and s]
    return "\n\n".join(s for s in [*said, _content(node, names, depth)] if s)


def _text(node: Node, names: Names, depth: int) -> str:
    """Marks stand close to the words: Markdown does not know `** bold **`."""
    text = node.get("text")
    if not isinstance(text, str):
        return _unknown(node, names, depth)
    found = node.get("marks")
    marks = {str(m.get("type")): m for m in found if isinstance(m, dict)} if isinstance(found, list) else {}
    words = text.strip()
    if not marks or not words:
        return text
    at = text.index(words)
    marked = mono(words) if "code" in marks else words
    for name, sign in (("em", "_"), ("strong", "**"), ("strike", "~~")):
        if name in marks:
            marked = f"{sign}{marked}{sign}"
    if "link" in marks and (target := _attribute(marks["link"], "href", "url")):
        marked = link(marked, target)
    return text[:at] + marked + text[at + len(words) :]


def _paragraph(node: Node, names: Names, depth: int) -> str:
    return _content(node, names, depth)


def _heading(node: Node, names: Names, depth: int) -> str:
    level = _attribute(node, "level")
    return "#" * (int(level) if level in ("1", "2", "3", "4", "5", "6") else 1) + " " + _content(node, names, depth)


def _code(node: Node, _names: Names, _depth: int) -> str:
    return fence("".join(_texts(_children(node))), _attribute(node, "language"))


def _quote(node: Node, names: Names, depth: int) -> str:
    return quoted(_titled(node, names, depth))


def _titled(node: Node, names: Names, depth: int) -> str:
    title = _attribute(node, "title")
    return "\n\n".join(s for s in (f"**{title}**" if title else "", _content(node, names, depth)) if s)


def quoted(text: str) -> str:
    return "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))


def _list(node: Node, names: Names, depth: int) -> str:
    return "\n".join(_item(child, names, depth + 1, "- ") for child in _children(node))


def _numbered(node: Node, names: Names, depth: int) -> str:
    first = _attribute(node, "order")
    start = int(first) if first.isdigit() and len(first) < 6 else 1
    return "\n".join(_item(child, names, depth + 1, f"{n}. ") for n, child in enumerate(_children(node), start=start))


def _item(node: Any, names: Names, depth: int, marker: str) -> str:
    if not isinstance(node, dict) or node.get("type") not in ("listItem", "decisionItem", "taskItem"):
        text = _adf(node, names, depth)
    else:
        text = _content(node, names, depth, between="\n")
        if node["type"] == "taskItem":
            text = ("[x] " if _attribute(node, "state") == "DONE" else "[ ] ") + text
    lines = text.split("\n")
    return "\n".join([marker + lines[0], *(" " * len(marker) + line if line else "" for line in lines[1:])])


def _table(node: Node, names: Names, depth: int) -> str:
    rows = [
        [_cell(cell, names, depth + 2) for cell in (_children(row) if isinstance(row, dict) else [row])]
        for row in _children(node)
    ]
    return table(rows)


def _cell(node: Any, names: Names, depth: int) -> str:
    text = _content(node, names, depth, between=" ") if isinstance(node, dict) else _adf(node, names, depth)
    return " ".join(text.replace("|", "\\|").split("\n"))


def _mention(node: Node, names: Names, _depth: int) -> str:
    return "@" + (_attribute(node, "text").removeprefix("@") or names.get(_attribute(node, "id"), "user"))


def _emoji(node: Node, _names: Names, _depth: int) -> str:
    return _attribute(node, "text", "shortName")


def _card(node: Node, names: Names, depth: int) -> str:
    data = _attributes(node).get("data")
    inside = {"attrs": data} if isinstance(data, dict) else {}
    target = _attribute(node, "url") or _attribute(inside, "url")
    return link(_attribute(inside, "name"), target) if target else _unknown(node, names, depth)


def _media(node: Node, _names: Names, _depth: int) -> str:
    name = _attribute(node, "alt", "title", "__fileName") or "attachment"
    return "!" + _pointed(name, _attribute(node, "url") or name)


def _date(node: Node, _names: Names, _depth: int) -> str:
    stamp = _attribute(node, "timestamp")
    if not re.fullmatch(r"-?\d{1,14}", stamp, re.ASCII):
        return stamp
    return datetime.fromtimestamp(int(stamp) / 1000, tz=UTC).date().isoformat() if abs(int(stamp)) < 2**42 else stamp


NODES: dict[str, Callable[[Node, Names, int], str]] = {
    "doc": _paragraph, "paragraph": _paragraph, "text": _text, "heading": _heading, "codeBlock": _code,
    "blockquote": _quote, "panel": _quote, "expand": _titled, "nestedExpand": _titled, "bulletList": _list,
    "orderedList": _numbered, "decisionList": _list, "taskList": _list, "table": _table, "mention": _mention,
    "emoji": _emoji, "inlineCard": _card, "blockCard": _card, "embedCard": _card, "media": _media, "mediaInline": _media,
    "date": _date, "hardBreak": lambda *_: "\n", "rule": lambda *_: "---",
}  # fmt: skip


# ---- Wiki markup

SIGNS = ("*", "[", "{", "|", "#", "!", "----", "h1.", "h2.", "h3.", "h4.", "h5.", "h6.", "bq.", "\\\\")
MACRO = re.compile(r"\{(code|noformat|html|quote|panel)(?::([^{}\n]*+))?\}", re.IGNORECASE)
PARAMETERS = re.compile(r"\||:(?=\w{1,30}=)")  # {code:java|title=a.java}; some write {code:java:title=a.java}
COLOR = re.compile(r"\{color(?::#?\w{1,30})?\}")  # a style sheet's {color: 'red'} is no macro
LINE = re.compile(
    r"[ \t]*+(?:h([1-6])\.[ \t]+(.*)|bq\.[ \t]+(.*)|([*#]{1,9}|-)[ \t]+(.*)|(-{4,})[ \t]*|(\|.*\|)[ \t]*)\Z",
    re.DOTALL,
)
STARTS = "hb*#-|"  # what LINE begins with
# What INLINE begins with. Images are files with such an ending or addresses: "wow!really!" is none.
INLINE_SIGNS = ("*", "[", "{{", "!", "\\\\")
IMAGE = re.compile(r"https?://\S+|.+\.(?:png|jpe?g|gif|bmp|svg|webp|tiff?|heic|mp4|mov|avi|webm|pdf)", re.IGNORECASE)
MARKED = re.compile(
    r"(\\[^\w\s])"  # an escape, which Markdown has too, or two backslashes
    r"|\{\{([^{}\n]++)\}\}"
    r"|\[([^\[\]\n]++)\]"
    r"|(?<![\w!])!([^\s!|][^!|\n]*+)(?:\|[^!\n]*+)?!"
    r"|((?:https?|ftp)://[^\s\[\]{}|<>\"]++)"
    r"|(?<![\w*\\])\*(?=[^\s*])([^*\n]++)(?<=\S)\*(?![\w*])"
)


def wiki_to_markdown(text: str, names: Names) -> str:
    """Wiki markup as Markdown. Text without any is returned as it is, but for its line ends."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not any(sign in text for sign in SIGNS):
        return text
    whole: list[str] = []
    opened: list[tuple[str, list[str]]] = []  # {quote} and {panel} that are open, each with the text around it
    out = whole
    for macro, parameters, content in _pieces(text):
        if macro in ("quote", "panel"):
            if any(macro == o for o, _ in opened):
                while opened:
                    closed, around = opened.pop()
                    _block(around, quoted("".join(out).strip("\n")))
                    out = around
                    if closed == macro:
                        break
            else:
                opened.append((macro, out))
                out = [f"**{title}**\n"] if (title := _parameter(parameters, "title")) else []
        elif macro == "":
            text = content.removeprefix("\n") if out and out[-1].endswith("\n\n") else content
            out += [_lines(text, names, at_start=_at_line_start(out))] if text else []
        elif not content.strip():
            continue
        elif "\n" not in content and not _at_line_start(out) and macro != "html":
            out.append(mono(content.strip()))
        else:
            _block(out, _verbatim(macro, parameters, content))
    while opened:
        _, around = opened.pop()
        _block(around, quoted("".join(out).strip("\n")))
        out = around
    return "".join(whole).strip("\n")


def _pieces(text: str) -> Iterator[tuple[str, str, str]]:
    """The text cut at its macros, in order: (name, parameters, content); plain text has no name.

    {quote} and {panel} have no content: they open and close. A macro that is never closed is plain text.
    """
    tags = [(m.start(), m.end(), m[1].lower(), m[2]) for m in MACRO.finditer(text)]
    last = {name: start for start, _, name, parameters in tags if parameters is None}
    opened: set[str] = set()
    at, n = 0, 0
    while n < len(tags):
        start, end, name, parameters = tags[n]
        n += 1
        if name in ("quote", "panel"):
            if last.get(name, -1) > start or name in opened:
                opened ^= {name}
                yield "", "", text[at:start]
                yield name, parameters or "", ""
                at = end
        elif last.get(name, -1) > start:
            while tags[n][2] != name or tags[n][3] is not None:
                n += 1
            yield "", "", text[at:start]
            yield name, parameters or "", text[end : tags[n][0]]
            at = tags[n][1]
            n += 1
    yield "", "", text[at:]


def _parameter(parameters: str, *keys: str) -> str:
    pairs = (p.partition("=") for p in PARAMETERS.split(parameters))
    return next((value.strip("\"' ") for key, sign, value in pairs if sign and key.strip() in keys), "")


def _verbatim(macro: str, parameters: str, content: str) -> str:
    if macro == "html":
        return html_to_text(content).strip("\n")
    plain = next((p.strip() for p in PARAMETERS.split(parameters) if "=" not in p), "")
    language = plain or _parameter(parameters, "lang", "language")
    title = _parameter(parameters, "title", "name")
    code = fence(content.strip("\n"), "" if language == "none" else language)
    return f"**{title}**\n{code}" if title else code


def _at_line_start(out: list[str]) -> bool:
    """Whether nothing but spaces stands on the last line."""
    return not "".join(out[-1:]).rsplit("\n", 1)[-1].strip()


def _block(out: list[str], text: str) -> None:
    """Append text that stands on lines of its own, with an empty one after it."""
    if out and not out[-1].endswith("\n"):
        out.append("\n")
    out.append(text + "\n\n")


def _lines(text: str, names: Names, *, at_start: bool) -> str:
    """Headings, lists, tables, rules and paragraphs, line by line. Colours go last: they may stand between a sign and
    its word."""
    lines = text.split("\n")
    if any(sign in text for sign in INLINE_SIGNS):
        lines = [_marked(line, names) for line in lines]
    if "{color" in text:
        lines = [COLOR.sub("", line) for line in lines]
    return "\n".join(_blocks(lines, at_start))


def _blocks(lines: list[str], at_start: bool) -> Iterator[str]:
    numbers: dict[int, int] = {}
    rows: list[list[str]] = []
    for n, line in enumerate(lines):
        first = line.lstrip(" \t")[:1]
        found = LINE.match(line) if first and first in STARTS and (n or at_start) else None
        if rows and (found is None or not found[7]):
            yield table(rows) + ("\n" if first else "")
            rows = []
        if found is None:
            if first:
                numbers = {}
            yield line
        elif found[7]:
            rows.append([" ".join(c.split()) for c in re.split(r"\|\|?", found[7].strip("|"))])
        elif found[4]:
            yield _bullet(found[4], found[5], numbers)
        else:
            numbers = {}
            yield "#" * int(found[1]) + " " + found[2] if found[1] else "\n---" if found[6] else f"> {found[3]}\n"
    if rows:
        yield table(rows)


def _bullet(marker: str, text: str, numbers: dict[int, int]) -> str:
    """One item of a list; numbers: how many items each depth has counted, which a shallower item ends."""
    depth = len(marker)
    for deeper in [d for d in numbers if d > depth or (d == depth and marker[-1] != "#")]:
        del numbers[deeper]
    if marker[-1] != "#":
        return "    " * (depth - 1) + "- " + text
    numbers[depth] = numbers.get(depth, 0) + 1
    return "    " * (depth - 1) + f"{numbers[depth]}. {text}"


def _marked(line: str, names: Names) -> str:
    if not any(sign in line for sign in INLINE_SIGNS):
        return line
    return MARKED.sub(lambda m: _replaced(m, names), line)


def _replaced(found: re.Match[str], names: Names) -> str:
    escape, code, bracket, image, address, bold = found.groups()
    if escape is not None:
        at_end = found.end() == len(found.string) or found.string[found.end()].isspace()
        return "\n" if escape == "\\\\" and at_end else str(escape)
    if code is not None:
        return mono(code)
    if bracket is not None:
        said = _bracket(bracket, names) or found[0]
        return f"{said} " if said[0] == "@" and found.string[found.end() : found.end() + 1].isalnum() else said
    if image is not None:
        return "!" + _pointed(image.strip(), image.strip()) if IMAGE.fullmatch(image.strip()) else found[0]
    if bold is not None:
        words = COLOR.sub("", _marked(bold, names)).strip()
        return f"**{words}**" if words else found[0]
    return str(address)


def _bracket(inside: str, names: Names) -> str:
    """A link, mention or attachment; empty where the brackets are only brackets."""
    if inside[0] == "~" and len(inside) > 1:
        who = inside[1:].removeprefix("accountid:")
        return "@" + names.get(who, "user" if inside.startswith("~accountid:") else who)
    if inside[0] == "^" and len(inside) > 1:
        return _pointed(inside[1:], inside[1:])
    text, sign, rest = inside.partition("|")
    if not sign:
        return link("", inside) if ADDRESS.match(inside) and " " not in inside else ""
    target = rest.split("|", 1)[0].strip()
    return link(text.strip(), target) if TARGET.match(target) else ""
