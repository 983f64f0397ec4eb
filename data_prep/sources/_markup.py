"""HTML to Markdown, for whatever comes as HTML: pages, wiki bodies, converted office files.

lxml reads, html-to-markdown writes; in between goes what neither knows to be no text, and code gets the form in which its language
and its line ends survive.
"""

from __future__ import annotations

import re
from typing import Any

from data_prep.sources._documents import Refused, Unreadable, safe, tidy_text

NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
APART = "\ue000"  # a private character that keeps a quotation apart from what stands above it: the converter glues them
PERMALINK = (
    ".//a[contains(@class,'headerlink') or contains(@class,'anchorjs') or contains(@class,'hash-link')"
    " or (starts-with(@href,'#') and (normalize-space()='¶' or normalize-space()='#' or normalize-space()='§'))]"
)
NO_TEXT = (
    ".//script|.//style|.//template|.//noscript|.//svg|.//iframe|.//object|.//embed|.//canvas|.//head|.//link|.//meta"
)
# hidden at first, but a click shows them
PANEL = ".//*[@role='tabpanel' or contains(concat(' ',@class,' '),' tab-pane ')]"
NOWHERE = ".//a[starts-with(@href,'#') or starts-with(translate(@href,'JAVSCRIPT','javscript'),'javascript:')]"
SCRIPTED = ".//img[starts-with(translate(@src,'JAVSCRIPT','javscript'),'javascript:')]"
OPENERS = ".//@aria-controls|.//@data-target|.//@data-bs-target"  # of what is hidden until a click
BOXES = ".//form|.//nav"  # the converter drops them with all that is in them, and some sites put every page into a form
INVISIBLE = str.maketrans("", "", "\u00ad\u200b")  # where a word may be divided; they would be a part of it
LANGUAGE = re.compile(
    r"(?:language|lang|highlight-source|highlight|brush|\bsrc)[-:]\s*([\w+#.]+)|\bsourceCode\s+([\w+#.]+)"
)
NO_LANGUAGE = ("default", "none", "text", "plain", "plaintext", "source", "copy")


def xml_text(text: str) -> str:
    """Text as a tree takes it: without the characters that XML does not know (terminal escapes in code, halves of emoji)."""
    return NOT_XML.sub("", text)


def html_tree(markup: str) -> Any:
    """A page's tree. No entity, no network; Unreadable beyond libxml2's limits, where it would drop the rest in silence."""
    from lxml import etree, html

    parser = html.HTMLParser(encoding="utf-8", no_network=True, huge_tree=False, remove_comments=True, remove_pis=True)
    try:
        tree: Any = html.document_fromstring(markup.encode("utf-8", "replace"), parser=parser)
    except etree.ParserError as e:  # what it says of an empty page
        raise Refused("empty_document") from e
    fatal = next((e.message for e in parser.error_log if e.type_name == "ERR_RESOURCE_LIMIT"), None)
    if fatal is not None:
        raise Unreadable(
            f"is beyond the HTML parser's limits ({fatal.strip().removesuffix('use XML_PARSE_HUGE option')})"
        )
    return tree


def to_markdown(tree: Any, *, url: str = "") -> str:
    """An lxml element as Markdown; the element is changed. url: what its links are relative to.

    Pictures keep their alternative text and address, but no embedded bytes. Raises Unreadable where text would be lost.
    """
    from html_to_markdown import ConversionOptions, convert
    from lxml import etree

    _tidy(tree)
    markup = str(etree.tostring(tree, encoding="unicode", method="html", with_tail=False))
    options = ConversionOptions(extract_metadata=False, inline_data_media="alt_text_only", base_url=url or None)
    result = safe(lambda: convert(markup, options), "the Markdown converter")
    lost = [w for w in result.warnings if str(w.kind).lower().endswith(("depth_limit_exceeded", "truncated_input"))]
    if lost:
        raise Unreadable(f"is nested too deeply ({lost[0].message})")
    return tidy_text((result.content or "").replace(APART, "").translate(INVISIBLE))


def open_panels(tree: Any) -> None:
    """Show what a page hides until a click: panels of tabs, and what one of its elements says that it controls."""
    opened = {str(id).lstrip("#") for id in tree.xpath(OPENERS)}
    for panel in [*tree.xpath(PANEL), *(e for e in tree.xpath(".//*[@id]") if e.get("id") in opened)]:
        for hiding in ("hidden", "aria-hidden", "style"):
            panel.attrib.pop(hiding, None)


def empty(elements: Any) -> None:
    """Take out elements and what is in them: an empty one is left, as moving the text behind many of them takes hours."""
    for element in elements:
        element.clear(keep_tail=True)
        element.tag = "span"


def _tidy(tree: Any) -> None:
    empty(tree.xpath(f"{PERMALINK}|{NO_TEXT}"))
    open_panels(tree)
    for box in tree.xpath(BOXES):
        box.tag = "div"
    for picture in tree.xpath(SCRIPTED):
        del picture.attrib["src"]
    for link in tree.xpath(NOWHERE):
        link.tag = "span"
        link.attrib.clear()
    for block in tree.xpath(".//pre"):
        _tidy_code(block)
    for quote in tree.xpath(".//blockquote"):
        if quote is not tree:
            mark = quote.makeelement("p", {})
            mark.text = APART
            quote.addprevious(mark)
    for table in tree.xpath(".//table"):
        rows = table.xpath("./tr|./thead/tr|./tbody/tr")
        if len(rows) > 1 and not rows[0].text_content().strip() and not rows[0].xpath(".//img"):
            rows[0].drop_tree()  # an empty header row says nothing; the next row is the header


def _tidy_code(block: Any) -> None:
    """A code block as `pre > code.language-x`, whatever its highlighter made of it; line numbers are no code."""
    language = language_of(block)
    for number in block.xpath(".//*[contains(@class,'lineno') or contains(@class,'line-number')]"):
        if not number.text_content().strip(" \n\t0123456789"):
            empty([number])
    for line_break in block.xpath(".//br"):
        line_break.tail = "\n" + (line_break.tail or "")
    text = block.text_content()
    for child in list(block):
        block.remove(child)
    block.text = None
    code = block.makeelement("code", {"class": f"language-{language}"} if language else {})
    code.text = xml_text(text)
    block.append(code)


def language_of(block: Any) -> str:
    """A code block's language as its page tells it: in a class, a data attribute, or the highlighter's wrapper. Else empty."""
    inside = [e for e in block.iterdescendants("code")][:1]
    near = [*inside, block, *list(block.iterancestors("div", "figure", "td"))[:2]]
    for element in near:
        for name in ("data-lang", "data-language", "data-syntaxhighlighter-params", "class"):
            value = element.get(name, "")
            if name.startswith("data-lang") and value:
                return str(value)
            for match in LANGUAGE.finditer(value):
                found = match[1] or match[2]
                if found not in NO_LANGUAGE:
                    return str(found)
    return ""
