"""What a mail says: the text of its parts, the names of its files, and whether it is sealed or broken."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message as Part

from data_prep.sources._mail import decode, parse, words

PGP = "-----BEGIN PGP MESSAGE-----"
SIGNATURES = ("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature")
SEALED = (
    "multipart/encrypted",
    "application/pkcs7-mime",
    "application/x-pkcs7-mime",
    "application/x-microsoft-rpmsg-message",
)
DEEPEST = 40  # parts in parts


@dataclass(frozen=True, slots=True)
class Content:
    text: str
    is_html: bool
    attachments: tuple[str, ...]
    unnamed: int  # attachments
    is_sealed: bool
    is_damaged: bool


def content_of(data: bytes) -> Content:
    mail = parse(data)
    leaves = list(_leaves(mail))
    texts = [
        (leaf.get_content_type() == "text/html", text)
        for leaf in leaves
        if _is_text(leaf) and (text := _text(leaf)).strip()
    ]
    is_html = any(h for h, _ in texts)
    if is_html:
        texts = [(True, t if h else html.escape(t, quote=False).replace("\n", "<br>\n")) for h, t in texts]
    names = [_file_name(leaf) for leaf in leaves if not _is_text(leaf) and leaf.get_content_type() not in SIGNATURES]
    sealed = any(p.get_content_type() in SEALED for p in (mail, *leaves)) or any(
        t.lstrip().startswith(PGP) for _, t in texts
    )
    return Content(
        text="\n\n".join(t for _, t in texts),
        is_html=is_html,
        attachments=tuple(n for n in names if n),
        unnamed=names.count(""),
        is_sealed=sealed and (not texts or mail.get_content_type() in SEALED or texts[0][1].lstrip().startswith(PGP)),
        is_damaged=any(p.defects for p in mail.walk()),
    )


def _leaves(part: Part, depth: int = 0) -> Iterator[Part]:
    """The parts that are not made of parts: of alternatives the plain one, of a report what is meant for people."""
    kind = part.get_content_type()
    if not part.is_multipart() or kind.startswith("message/") or depth == DEEPEST:
        yield part
        return
    children = [p for p in part.get_payload() if isinstance(p, Part)]
    groups = [list(_leaves(p, depth + 1)) for p in (children[:1] if kind == "multipart/report" else children)]
    chosen = _chosen(groups) if kind == "multipart/alternative" else None
    for group in groups:
        yield from (leaf for leaf in group if chosen is None or group is chosen or not _is_text(leaf))


def _chosen(alternatives: list[list[Part]]) -> list[Part] | None:
    says = [g for g in alternatives if any(_is_text(leaf) and _text(leaf).strip() for leaf in g)]
    plain = [g for g in says if not any(_is_text(leaf) and leaf.get_content_type() == "text/html" for leaf in g)]
    return plain[0] if plain else says[-1] if says else None


def _is_text(leaf: Part) -> bool:
    """What people read: also a body that calls itself a multipart but holds no part."""
    kind = leaf.get_content_type()
    is_file = leaf.get_content_disposition() == "attachment" or bool(leaf.get_filename())
    is_bare = kind.startswith("multipart/") and not leaf.is_multipart()
    return (kind in ("text/plain", "text/html") or is_bare) and not is_file


def _text(leaf: Part) -> str:
    payload = leaf.get_payload(decode=True)
    text = decode(payload, leaf.get_content_charset()) if isinstance(payload, bytes) else ""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _file_name(leaf: Part) -> str:
    """The name without a path and without control characters; of an attached mail without a name `message.eml`."""
    name = re.split(r"[/\\]", words(leaf.get_filename() or ""))[-1]
    name = "".join(c for c in name if c.isprintable()).strip()[:200]
    return name or ("message.eml" if leaf.get_content_type() == "message/rfc822" else "")
