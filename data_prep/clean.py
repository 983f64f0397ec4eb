"""Message text as its author meant it: markup converted, quoted replies, signatures and disclaimers removed.

The libraries do the work; our own rules run before them, for what they get wrong: the help desk's reply marker, quoted
blocks that only the HTML knows, and disclaimers.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Any

REPLY_MARKER = re.compile(r"^.{0,4}##-.{0,80}-##.*$", re.MULTILINE)
QUOTE_HINT = re.compile(
    r"^\s*>|^-- ?$|^_{5,}|^-{3,}|\b(?:wrote|schrieb|a écrit|escribió|scrisse)\b.{0,60}:\s*$|^\*?(?:From|Von|De|Da)\*?:\s|^Sent from my|^Von meinem",
    re.MULTILINE,
)
DISCLAIMER = re.compile(
    r"^[^\n]{0,40}(?:this e-?mail (?:and any attachments )?(?:is|are|may be|contains?) (?:\w+ ){0,4}confidential"
    r"|diese e-?mail (?:ist|enthält) (?:\w+ ){0,4}vertraulich).*\Z",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
QUOTED_HTML = "//*[contains(@class,'gmail_quote') or contains(@class,'moz-cite-prefix') or @type='cite' or contains(@class,'zd-quoted')]"
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2060\ufeff\ufffe]")
LONG_INPUT = 100_000  # characters; beyond this no message is a reply that a quote parser was made for


def html_to_text(html: str) -> str:
    """A message's HTML as Markdown, quoted earlier mail removed."""
    from html_to_markdown import convert

    if "<" not in html and "&" not in html:
        return html
    if "gmail_quote" in html or "moz-cite" in html or "type=" in html or "zd-quoted" in html:
        html = _without_quoted_blocks(html)
    return convert(html).content or ""


def _without_quoted_blocks(html: str) -> str:
    from lxml import etree
    from lxml import html as lxml_html

    try:
        tree = lxml_html.fragment_fromstring(html, create_parent="div")
    except (etree.ParserError, ValueError):
        return html
    for block in tree.xpath(QUOTED_HTML):
        block.drop_tree()
    return str(etree.tostring(tree, encoding="unicode", method="html"))


@cache
def _reply_parser() -> Any:
    from mailparser_reply import EmailReplyParser

    return EmailReplyParser(languages=["en", "de", "fr"])


def clean(text: str, *, html: bool) -> str:
    """The author's own words: NFC, newlines, no control characters, no quoted mail, signature or disclaimer.

    Never returns nothing where something was written: if only quoted text is left, that text stays.
    """
    text = html_to_text(text) if html else text
    text = CONTROL.sub("", unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\u00a0", " ")))
    own = text
    marker = REPLY_MARKER.search(own)
    if marker is not None:
        own = own[: marker.start()] if own[: marker.start()].strip() else own[marker.end() :]
    own = DISCLAIMER.sub("", own)
    if len(own) < LONG_INPUT and QUOTE_HINT.search(own):
        replies = _reply_parser().read(text=own).replies
        own = (replies[0].body if replies else own) or own
    own = re.sub(r"[ \t]+\n", "\n", own)
    own = re.sub(r"\n{3,}", "\n\n", own).strip()
    return own or text.strip()
