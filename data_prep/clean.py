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
# Substrings without which QUOTE_HINT cannot match: looking for them costs a tenth of the expression.
HINTED = (
    ">",
    "--",
    "___",
    "wrote",
    "schrieb",
    "écrit",
    "escribió",
    "scrisse",
    "From",
    "Von",
    "De",
    "Da",
    "Sent from my",
)
DISCLAIMER = re.compile(
    r"^[^\n]{0,40}(?:this e-?mail (?:and any attachments )?(?:is|are|may be|contains?) (?:\w+ ){0,4}confidential"
    r"|diese e-?mail (?:ist|enthält) (?:\w+ ){0,4}vertraulich).*\Z",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
DISCLAIMED = ("confidential", "vertraulich")  # one of them is in what DISCLAIMER finds
# What auto-responders open with. Both must hold: these words near the beginning, and no more text than such a note has.
AUTOMATIC = re.compile(
    r"(?i)\b(?:automatic(?:ally generated)? (?:reply|response|message|e-?mail)|auto-?(?:reply|response|generated)\b"
    r"|this is an auto(?:mated|matic) |do not reply to this (?:e-?mail|message)|(?:i am|i'm|i will be|we are) (?:currently )?"
    r"(?:out of (?:the )?office|on (?:annual |parental |sick )?leave|on vacation|away from (?:the office|my desk))"
    r"|out[- ]of[- ]office (?:reply|notice|message|until)|abwesenheits(?:notiz|nachricht)|automatische antwort"
    r"|ich bin (?:derzeit |zurzeit |momentan |aktuell )?(?:nicht im büro|im urlaub|abwesend)|réponse automatique|message d'absence|je suis (?:actuellement )?absente?\b"
    r"|respuesta automática|estoy fuera de la oficina|risposta automatica|fuori ufficio|automatisch antwoord"
    r"|(?:we have|we've|has been) received (?:and|your (?:request|ticket|message|e-?mail))[^.]{0,60}\b(?:ticket|request|case|number|#)"
    r"|your (?:request|ticket|case) (?:\(?#?\w+\)? )?(?:has been|was) (?:received|created|logged))"
)
MERGED = re.compile(
    r"(?i)^\s*(?:(?:this )?(?:request|ticket|case|issue|conversation) (?:#?\w+ )?(?:\".{0,200}\" )?"
    r"(?:was|has been) (?:closed and )?merged (?:into|with)"
    r"|merged (?:into|from|with) (?:request|ticket|case|#))"
)
# Without one of these no alternative of AUTOMATIC can match.
AUTOMATED = (
    "auto office leave vacation away abwesen urlaub büro absen received created logged oficina ufficio reply".split()
)
LONGEST_AUTOMATIC = 1200  # characters
QUOTED_HTML = "//*[contains(@class,'gmail_quote') or contains(@class,'moz-cite-prefix') or @type='cite' or contains(@class,'zd-quoted')]"
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2060\ufeff\ufffe]")
LONG_INPUT = 100_000  # characters; beyond this no message is a reply that a quote parser was made for


def is_automatic(text: str) -> bool:
    """Whether a machine wrote this for everybody: an absence note, a receipt of a request."""
    if len(text) > LONGEST_AUTOMATIC:
        return False
    start = text[:300].casefold()
    return any(word in start for word in AUTOMATED) and AUTOMATIC.search(start) is not None


def is_merge_notice(text: str) -> bool:
    """Whether this is what a help desk writes into tickets that it merges."""
    return MERGED.match(text) is not None


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
    marker = REPLY_MARKER.search(own) if "##-" in own else None
    if marker is not None:
        own = own[: marker.start()] if own[: marker.start()].strip() else own[marker.end() :]
    if any(word in own.casefold() for word in DISCLAIMED):
        own = DISCLAIMER.sub("", own)
    if len(own) < LONG_INPUT and any(h in own for h in HINTED) and QUOTE_HINT.search(own):
        replies = _reply_parser().read(text=own).replies
        own = (replies[0].body if replies else own) or own
    if " \n" in own or "\t\n" in own:
        own = re.sub(r"[ \t]+\n", "\n", own)
    if "\n\n\n" in own:
        own = re.sub(r"\n{3,}", "\n\n", own)
    return own.strip() or text.strip()
