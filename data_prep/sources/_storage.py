"""Confluence's storage format to Markdown: macros, links, tasks and layouts become plain HTML before a converter sees them.

The storage format is XHTML with elements of its own (`ac:`, `ri:`). HTML converters drop the code in a code macro and the text
of its links in silence, or glue the language to the code; so every one of these elements is translated here, and what is unknown
keeps its body.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from html.entities import html5
from types import MappingProxyType
from typing import Any

from data_prep.records import Person, Tally
from data_prep.sources._documents import Refused, Unreadable, safe
from data_prep.sources._markup import html_tree, to_markdown, xml_text

ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
CLOSED = re.compile(r"<((?:ac|ri|at):[\w-]+)([^<>]*?)/>")
DECLARATION = re.compile(r"\A\s*(?:<\?xml[^>]*\?>\s*)?(?:<!DOCTYPE[^\[>]*>\s*)?")
XML_OWN = ("amp", "lt", "gt", "quot", "apos")
CODE = ("code", "noformat", "code-block", "codeblock", "paste-code-macro")
PANELS = {
    "info": "Info",
    "note": "Note",
    "warning": "Warning",
    "tip": "Tip",
    "success": "Success",
    "error": "Error",
    "panel": "",
}
EMOTICONS = {
    "tick": "✔", "cross": "✘", "warning": "⚠", "information": "ℹ", "question": "❓", "plus": "➕", "minus": "➖", "light-on": "💡",
    "light-off": "💡", "yellow-star": "⭐", "red-star": "⭐", "green-star": "⭐", "blue-star": "⭐", "heart": "❤", "broken-heart": "💔",
    "thumbs-up": "👍", "thumbs-down": "👎", "smile": "🙂", "sad": "🙁", "cheeky": "😛", "laugh": "😀", "wink": "😉",
}  # fmt: skip
LABELS = ("content-title", "filename", "space-key", "key", "value")  # what a resource is called, by its attributes
BLOCKS = ("ac:layout", "ac:layout-section", "ac:layout-cell", "ac:rich-text-body", "ac:adf-content", "ac:task-body")
KEPT = (
    "href",
    "src",
    "alt",
    "title",
    "class",
    "colspan",
    "rowspan",
    "start",
    "datetime",
)  # attributes that say something
SILENT = (
    "ac:parameter", "ac:task-id", "ac:task-uuid", "ac:task-status", "ac:placeholder", "ac:adf-attribute", "ac:default-parameter", "ac:adf-mark",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Page:
    """What is known outside the page: names of users by their ids. without_text counts the macros that say nothing here."""

    names: Mapping[str, str]
    without_text: Counter[str] = field(default_factory=Counter)


def storage_to_markdown(storage: str, tally: Tally, names: Mapping[str, str]) -> str:
    """A page body in storage format as Markdown. names: of users by their ids. Raises Unreadable where text would be lost.

    Macros that show what stands elsewhere (a table of contents, the pages below) are counted.
    """
    from lxml import html

    out, page = html.Element("div"), _Page(names)
    safe(lambda: _inside(out, _parsed(storage), page), "the reader of the storage format")
    if page.without_text:
        tally.seen("macros without text", page.without_text.total())
    return to_markdown(out)


def refuse_unless_current(status: str) -> None:
    """Raise Refused for a page that is a draft, in the archive or in the bin."""
    if status != "current":
        known = ("archived", "draft", "trashed", "deleted", "historical")
        raise Refused(f"{status}_page" if status in known else "not_a_current_page", f"status {status!r}")


def users_in(storage: str) -> set[str]:
    """The ids of the users that a body mentions."""
    return set(re.findall(r"ri:(?:userkey|account-id|username)=\"([^\"]+)\"", storage))


def named_in(storage: str) -> tuple[Person, ...]:
    """The users that a body mentions by their login names, which then stand in its text."""
    return tuple(Person(name, (name,)) for name in sorted(set(re.findall(r"ri:username=\"([^\"]+)\"", storage))))


def _parsed(storage: str) -> Any:
    """The body's tree. Well-formed XML by the XML parser, anything else by the HTML parser, with its CDATA as text."""
    from lxml import etree

    body = DECLARATION.sub("", storage)
    if body.startswith("<!DOCTYPE"):
        raise Unreadable("declares a document type with entities of its own, which no page has")
    xml = "".join(
        f"<![CDATA[{text}]]>" if is_cdata else ENTITY.sub(_entity, text) for is_cdata, text in _sections(body)
    )
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        return etree.fromstring(f'<r xmlns:ac="ac" xmlns:ri="ri" xmlns:at="at">{xml}</r>', parser=parser)
    except (etree.XMLSyntaxError, ValueError):  # ValueError: characters that XML does not know
        text = "".join(escape(text) if is_cdata else text for is_cdata, text in _sections(body))
        tree = html_tree(CLOSED.sub(r"<\1\2></\1>", f"<body>{text}</body>"))
        return next(iter(tree.xpath("//body")), tree)


def _sections(body: str) -> Iterator[tuple[bool, str]]:
    """The body in markup and in the content of CDATA sections, which is text whatever it looks like."""
    at = 0
    while (start := body.find("<![CDATA[", at)) >= 0 and (end := body.find("]]>", start + 9)) >= 0:
        yield False, body[at:start]
        yield True, body[start + 9 : end]
        at = end + 3
    yield False, body[at:]


def _entity(match: re.Match[str]) -> str:
    """HTML's named characters, which XML does not know."""
    return match[0] if match[1] in XML_OWN else escape(html5.get(f"{match[1]};", match[0]), quote=False)


def _name(element: Any) -> str:
    return re.sub(r"^\{(\w+)\}", r"\1:", str(element.tag)).lower()


def _get(element: Any, name: str) -> str:
    """An attribute `ac:name`, whichever parser made the element."""
    prefix, _, local = name.partition(":")
    return str(element.get(f"{{{prefix}}}{local}") or element.get(name) or "").strip()


def _child(element: Any, *names: str) -> Any | None:
    return next((c for c in element if isinstance(c.tag, str) and _name(c) in names), None)


def _text(target: Any, text: str | None) -> None:
    if not text:
        return
    if len(target):
        target[-1].tail = (target[-1].tail or "") + xml_text(text)
    else:
        target.text = (target.text or "") + xml_text(text)


def _new(target: Any, tag: str, text: str = "", attributes: Mapping[str, str] = MappingProxyType({})) -> Any:
    made = target.makeelement(tag, {k: xml_text(v) for k, v in attributes.items()})
    made.text = xml_text(text) or None
    target.append(made)
    return made


def _inside(target: Any, element: Any, page: _Page) -> None:
    """Add what is inside the element to the target."""
    _text(target, element.text)
    for child in element:
        if isinstance(child.tag, str):  # no comment, processing instruction or entity
            _add(target, child, page)
        _text(target, child.tail)


def _add(target: Any, element: Any, page: _Page) -> None:
    name = _name(element)
    special = HANDLERS.get(name)
    if special is not None:
        special(target, element, page)
    elif name in BLOCKS:
        _inside(_new(target, "div"), element, page)
    elif name.startswith("ri:"):
        _text(target, _label(element, page))
    elif ":" in name or "{" in name:
        if name not in SILENT:
            _inside(target, element, page)
    else:
        _inside(_new(target, name, "", {k: element.get(k) for k in KEPT if element.get(k)}), element, page)


def _macro(target: Any, element: Any, page: _Page) -> None:
    name = _get(element, "ac:name").lower()
    parameters = {
        _get(p, "ac:name").lower(): p for p in element if _name(p) in ("ac:parameter", "ac:default-parameter")
    }
    values = {k: "".join(p.itertext()).strip() for k, p in parameters.items()}
    rich, plain = _child(element, "ac:rich-text-body"), _child(element, "ac:plain-text-body")
    title = values.get("title", "")
    if name == "status":
        _text(target, title or values.get("colour", ""))
    elif plain is not None:
        _titled(target, title)
        _code(target, "".join(plain.itertext()), values.get("language", "") if name in CODE else "")
    elif rich is not None and name in PANELS:
        quote = _new(target, "blockquote")
        _titled(quote, ": ".join(x for x in (PANELS[name], title) if x))
        _inside(quote, rich, page)
    elif rich is not None:
        _titled(target, title)
        _inside(_new(target, "div"), rich, page)
    else:
        _without_body(target, name, parameters, values, page)


def _without_body(
    target: Any, name: str, parameters: Mapping[str, Any], values: Mapping[str, str], page: _Page
) -> None:
    """A macro that shows what stands elsewhere: its title, the issue or the page that it names; else it is counted."""
    resources = (r for p in parameters.values() for r in p.iterdescendants() if isinstance(r.tag, str))
    named = [label for r in resources if _name(r).startswith("ri:") and (label := _label(r, page))]
    shown = [
        x for x in (values.get("title"), values.get("key"), values.get("jqlquery"), values.get("url"), *named) if x
    ]
    if shown:
        _text(target, " ".join(dict.fromkeys(shown)))
    else:
        page.without_text[name] += 1


def _titled(target: Any, title: str) -> None:
    if title:
        _new(_new(target, "p"), "strong", title)


def _code(target: Any, text: str, language: str) -> None:
    attributes = {"class": f"language-{language}"} if language not in ("", "none", "text") else {}
    _new(_new(target, "pre"), "code", text.strip("\n"), attributes)


def _link(target: Any, element: Any, page: _Page) -> None:
    """A link's text, and what it leads to where the text does not say it: its address is not in the export."""
    body = _child(element, "ac:link-body", "ac:plain-text-link-body")
    resource = next((c for c in element if isinstance(c.tag, str) and _name(c).startswith("ri:")), None)
    label = _label(resource, page) if resource is not None else _get(element, "ac:anchor")
    text = " ".join("".join(body.itertext()).split()) if body is not None else ""
    if resource is not None and _name(resource) == "ri:url":
        _new(target, "a", text or label, {"href": _get(resource, "ri:value")})
    elif body is None or not text:
        _text(target, label)
    else:
        _inside(target, body, page)
        if label and label.casefold() != text.casefold() and resource is not None:
            _text(target, f" (“{label}”)")


def _label(resource: Any, page: _Page) -> str:
    if _name(resource) == "ri:user":
        ids = [_get(resource, f"ri:{a}") for a in ("account-id", "userkey", "username")]
        return "@" + next((page.names[i] for i in ids if i in page.names), _get(resource, "ri:username") or "user")
    return next((v for a in LABELS if (v := _get(resource, f"ri:{a}"))), "")


def _image(target: Any, element: Any, page: _Page) -> None:
    resource = next((c for c in element if isinstance(c.tag, str) and _name(c).startswith("ri:")), None)
    alternative = _get(element, "ac:alt") or _get(element, "ac:title")
    _new(target, "img", "", {"alt": alternative, "src": _label(resource, page) if resource is not None else ""})
    caption = _child(element, "ac:caption")
    if caption is not None:
        _inside(_new(target, "p"), caption, page)


def _emoticon(target: Any, element: Any, _: _Page) -> None:
    name, sign = _get(element, "ac:name"), _get(element, "ac:emoji-fallback")
    if not sign or sign.startswith(":"):
        sign = EMOTICONS.get(name) or _get(element, "ac:emoji-shortname") or f":{name}:"
    _text(target, sign)


def _tasks(target: Any, element: Any, page: _Page) -> None:
    tasks = _new(target, "ul")
    for task in element:
        if not isinstance(task.tag, str):
            continue
        status, body = _child(task, "ac:task-status"), _child(task, "ac:task-body")
        done = status is not None and (status.text or "").strip() == "complete"
        item = _new(tasks, "li", "[x] " if done else "[ ] ")
        if _name(task) == "ac:task" and body is not None:
            _inside(item, body, page)
        else:
            _add(item, task, page)


def _time(target: Any, element: Any, page: _Page) -> None:
    _text(target, element.get("datetime") if not "".join(element.itertext()).strip() else "")
    _inside(target, element, page)


def _fallback(target: Any, element: Any, page: _Page) -> None:
    """What is shown where a newer element is unknown: only where that element itself says nothing."""
    node = _child(element.getparent(), "ac:adf-node")
    if (
        node is None
        or not "".join(t for c in node.iter() if _name(c) == "ac:adf-content" for t in c.itertext()).strip()
    ):
        _inside(_new(target, "div"), element, page)


def _variable(target: Any, element: Any, _: _Page) -> None:
    _text(target, f"<{_get(element, 'at:name')}>")


HANDLERS: dict[str, Callable[[Any, Any, _Page], None]] = {
    "ac:structured-macro": _macro, "ac:macro": _macro, "ac:link": _link, "ac:image": _image, "ac:emoticon": _emoticon,
    "ac:task-list": _tasks, "time": _time, "ac:adf-fallback": _fallback, "at:var": _variable,
}  # fmt: skip
