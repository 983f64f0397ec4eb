"""Word files as documents: headings, lists, tables with their header, code, footnotes and links as Markdown.

mammoth reads the file and html-to-markdown writes the text: together they keep the header row of tables, which other
converters leave empty. Comments and deleted text stay out; they are not what the document says. Nor does it say its table of
contents or page headers, which repeat what stands elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.records import Record, Tally
from data_prep.sources._archives import core_properties, office_parts, xml_tree
from data_prep.sources._documents import Refused, Unreadable, document, each, safe
from data_prep.sources._files import Peek
from data_prep.sources._markup import html_tree, to_markdown

KIND = "document"
SUFFIXES = (".docx", ".docm", ".dotx", ".doc", ".rtf", ".odt")
LEGACY = (".doc", ".rtf", ".odt")
STYLES = """
p[style-name='Title'] => h1:fresh
p[style-name='HTML Preformatted'] => pre:separator('\\n')
p[style-name='Plain Text'] => pre:separator('\\n')
p[style-name='Source Code'] => pre:separator('\\n')
p[style-name='Code'] => pre:separator('\\n')
p[style-name='macro'] => pre:separator('\\n')
r[style-name='Verbatim Char'] => code
r[style-name='HTML Code'] => code
p[style-name='Quote'] => blockquote > p:fresh
p[style-name='Intense Quote'] => blockquote > p:fresh
""" + "\n".join(f"p[style-name='toc {n}'] => !" for n in range(1, 10))
W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
TRANSPARENT = ("fldSimple", "dir", "bdo", "ruby", "rubyBase")  # what mammoth would drop with the text in it
REFERENCES = ".//a[starts-with(@id,'footnote-ref-') or starts-with(@id,'endnote-ref-')]"


def recognise(peek: Peek) -> dict[str, Any] | None:
    """By suffix and the zip or OLE signature; legacy files too, so that somebody hears that they must be converted."""
    return {} if peek.suffix in SUFFIXES and peek.head[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"{\\rt") else None


def read(path: Path, tally: Tally) -> Iterator[Record]:
    """One record a file; its title and time are its own properties'. Legacy formats are dropped with what to do."""
    yield from each(path, tally, partial(_record, tally=tally), *SUFFIXES)


def _record(file: Path, name: str, *, tally: Tally) -> Record:
    import mammoth

    if file.suffix.lower() in LEGACY and not _is_zip(file):
        raise Refused("legacy_office_format", f"convert it: soffice --headless --convert-to docx {name}")
    if file.suffix.lower() == ".odt":
        raise Refused("unsupported_office_format", f"convert it: soffice --headless --convert-to docx {name}")
    parts = office_parts(file, "word", change=_with_all_text)
    fields = core_properties(parts)
    made = safe(lambda: _converted(mammoth, parts), "the Word reader")
    unread = sum("unrecognised element" in m.message for m in made.messages)
    if unread:
        tally.seen("elements of Word files without text", unread)
    if not made.value.strip():
        raise Refused("empty_document")
    tree = html_tree(f"<html><body>{made.value}</body></html>")
    _place_notes(tree)
    for item in tree.xpath("//li[not(normalize-space()) and not(.//img)]"):
        item.getparent().remove(item)
    return document(name, to_markdown(tree), fields.pop("title", ""), fields)


def _place_notes(tree: Any) -> None:
    """Footnotes and endnotes below the paragraph that refers to them: at the end they would belong to the last section."""
    places: dict[Any, Any] = {}
    for reference in tree.xpath(REFERENCES):
        note = next(iter(tree.xpath(".//li[@id=$id]", id=reference.get("href", "").lstrip("#"))), None)
        if note is None:
            continue
        block = next(
            (a for a in reference.iterancestors() if a.getparent() is not None and a.getparent().tag == "body"), None
        )
        for arrow in note.xpath(".//a[starts-with(@href,'#')]"):
            arrow.drop_tree()
        text = note.makeelement("p", {})
        text.text = f"{reference.text_content()} {' '.join(note.text_content().split())}"
        if block is not None:
            places.get(block, block).addnext(text)
            places[block] = text
            note.drop_tree()


def _with_all_text(name: str, data: bytes) -> bytes:
    """A part in which fields, formulas and texts in the other direction are what mammoth knows: it would drop their words."""
    from lxml import etree

    if not name.startswith("word/") or not any(t.encode() in data for t in (*TRANSPARENT, "oMath")):
        return data
    try:
        root = xml_tree(data)
    except etree.XMLSyntaxError as e:
        raise Unreadable(f"{name} is not XML ({e})") from e
    for element in root.iter(*(W + t for t in TRANSPARENT)):
        element.tag = f"{W}smartTag"
    for formula in list(root.iter(f"{MATH}oMath")):
        run = etree.Element(f"{W}r")
        etree.SubElement(run, f"{W}t").text = "".join(t.text or "" for t in formula.iter(f"{MATH}t"))
        formula.getparent().replace(formula, run)
    for paragraph in root.iter(f"{MATH}oMathPara"):
        paragraph.tag = f"{W}smartTag"
    made: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
    return made


def _is_zip(file: Path) -> bool:
    with file.open("rb") as f:
        return f.read(2) == b"PK"


def _converted(mammoth: Any, parts: Any) -> Any:
    """No picture is opened, no file outside touched, and the style map that a file may bring along is not obeyed."""
    return mammoth.convert_to_html(
        parts,
        style_map=STYLES,
        convert_image=_alternative,
        include_embedded_style_map=False,
        external_file_access=False,
        ignore_empty_paragraphs=False,  # they are the empty lines of code
    )


def _alternative(image: Any) -> list[Any]:
    """A picture as what its author says of it; nothing where that is nothing."""
    from mammoth import html

    text = " ".join((image.alt_text or "").split())
    return [html.text(f"[{text}]")] if text else []
