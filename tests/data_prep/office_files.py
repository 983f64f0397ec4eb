"""Small real files for the tests of the document readers: PDF by hand, Word and PowerPoint as their own XML in a zip archive."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass, field

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
STYLES = f"""{XML}<w:styles {W}>
<w:style w:type="paragraph" w:default="1" w:styleId="Normal"><w:name w:val="Normal"/></w:style>
<w:style w:type="paragraph" w:styleId="Titel"><w:name w:val="Title"/></w:style>
<w:style w:type="paragraph" w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>
<w:style w:type="paragraph" w:styleId="berschrift2"><w:name w:val="heading 2"/></w:style>
<w:style w:type="paragraph" w:styleId="Verzeichnis1"><w:name w:val="toc 1"/></w:style>
<w:style w:type="paragraph" w:styleId="HTMLVorformatiert"><w:name w:val="HTML Preformatted"/></w:style>
<w:style w:type="paragraph" w:styleId="Listenabsatz"><w:name w:val="List Paragraph"/></w:style></w:styles>"""
NUMBERING = f"""{XML}<w:numbering {W}><w:abstractNum w:abstractNumId="0">
<w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/></w:lvl><w:lvl w:ilvl="1"><w:numFmt w:val="bullet"/></w:lvl></w:abstractNum>
<w:abstractNum w:abstractNumId="1"><w:lvl w:ilvl="0"><w:numFmt w:val="decimal"/></w:lvl></w:abstractNum>
<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="1"/></w:num></w:numbering>"""
CORE = """{xml}<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<dc:title>{title}</dc:title><dcterms:modified xsi:type="dcterms:W3CDTF">{updated}</dcterms:modified></cp:coreProperties>"""


def docx(
    body: str,
    *,
    title: str = "",
    updated: str = "2026-03-04T10:00:00Z",
    relationships: str = "",
    parts: dict[str, str | bytes] | None = None,
) -> bytes:
    """A Word file with this content of `w:body`. relationships: of the document part; parts: further members, or replacements."""
    members: dict[str, str | bytes] = {
        "[Content_Types].xml": f"""{XML}<Types xmlns="{PACKAGE}/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/xml"/><Default Extension="png" ContentType="image/png"/>
<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>""",
        "_rels/.rels": f"""{XML}<Relationships xmlns="{PACKAGE}/relationships">
<Relationship Id="r1" Type="{OFFICE}/officeDocument" Target="word/document.xml"/></Relationships>""",
        "word/document.xml": f"{XML}<w:document {W}><w:body>{body}</w:body></w:document>",
        "word/_rels/document.xml.rels": f"""{XML}<Relationships xmlns="{PACKAGE}/relationships">
<Relationship Id="s" Type="{OFFICE}/styles" Target="styles.xml"/><Relationship Id="n" Type="{OFFICE}/numbering" Target="numbering.xml"/>
{relationships}</Relationships>""",
        "word/styles.xml": STYLES,
        "word/numbering.xml": NUMBERING,
        "docProps/core.xml": CORE.format(xml=XML, title=title, updated=updated),
    }
    return zipped(members | (parts or {}))


def zipped(members: dict[str, str | bytes]) -> bytes:
    """A zip archive whose bytes depend on its content alone."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 3, 4, 10, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def paragraph(text: str, style: str = "", *, list_: tuple[int, int] | None = None) -> str:
    """A Word paragraph. list_: numbering id and level."""
    number = f'<w:numPr><w:ilvl w:val="{list_[1]}"/><w:numId w:val="{list_[0]}"/></w:numPr>' if list_ else ""
    properties = f'<w:pPr><w:pStyle w:val="{style}"/>{number}</w:pPr>' if style else f"<w:pPr>{number}</w:pPr>"
    return f'<w:p>{properties}<w:r><w:t xml:space="preserve">{text}</w:t></w:r></w:p>'


def table(rows: list[list[str]], *, header: bool) -> str:
    made = []
    for number, row in enumerate(rows):
        mark = "<w:trPr><w:tblHeader/></w:trPr>" if header and not number else ""
        made.append(f"<w:tr>{mark}{''.join(f'<w:tc>{paragraph(cell)}</w:tc>' for cell in row)}</w:tr>")
    return f"<w:tbl>{''.join(made)}</w:tbl>"


# Text on a PDF page: left, bottom, size, font (F1 Helvetica, F2 Courier, F3 Helvetica-Bold), text
Placed = tuple[float, float, float, str, str]
SCAN = "q 400 0 0 600 90 100 cm /Im1 Do Q"


@dataclass
class Sheet:
    """A PDF page; drawing is further content, such as the picture of a scan."""

    texts: list[Placed] = field(default_factory=list)
    drawing: str = ""


def pdf(
    pages: list[Sheet],
    *,
    outline: list[tuple[str, int, int, float]] = [],  # noqa: B006  (read only)
    title: str = "",
    updated: str = "D:20260304100000Z",
    password: str = "",
) -> bytes:
    """A PDF file. outline: title, level from 0, page index, height. password: encrypt it with 40-bit RC4 (ISO 32000-1, 7.6.3)."""
    objects: dict[int, bytes] = {}
    first = 10
    kids = " ".join(f"{first + 2 * i} 0 R" for i in range(len(pages)))
    objects[1] = b"<</Type/Catalog/Pages 2 0 R/Outlines 8 0 R>>" if outline else b"<</Type/Catalog/Pages 2 0 R>>"
    objects[2] = f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>".encode()
    for number, name in ((3, "Helvetica"), (4, "Courier"), (5, "Helvetica-Bold")):
        objects[number] = f"<</Type/Font/Subtype/Type1/BaseFont/{name}/Encoding/WinAnsiEncoding>>".encode()
    key = _key(password) if password else b""
    objects[6] = _stream(
        b"\x80", 6, key, "/Type/XObject/Subtype/Image/Width 1/Height 1/BitsPerComponent 8/ColorSpace/DeviceGray"
    )
    objects[7] = (
        b"<</Title" + _string(title.encode("cp1252"), 7, key) + b"/ModDate" + _string(updated.encode(), 7, key) + b">>"
    )
    for i, page in enumerate(pages):
        lines = [
            b"BT /%s %g Tf 1 0 0 1 %g %g Tm (%s) Tj ET" % (font.encode(), size, left, bottom, _escaped(text))
            for left, bottom, size, font, text in page.texts
        ]
        at = first + 2 * i
        objects[at] = (
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents {at + 1} 0 R"
            "/Resources<</Font<</F1 3 0 R/F2 4 0 R/F3 5 0 R>>/XObject<</Im1 6 0 R>>>>>>"
        ).encode()
        objects[at + 1] = _stream(b"\n".join([*lines, page.drawing.encode()]), at + 1, key)
    _add_outline(objects, outline, first, first + 2 * len(pages), key)
    return _file(objects, key, password)


def _escaped(text: str) -> bytes:
    return text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def _add_outline(
    objects: dict[int, bytes], outline: list[tuple[str, int, int, float]], first: int, at: int, key: bytes
) -> None:
    """Entries as a tree of siblings and children, which is how a PDF holds them."""
    if not outline:
        return
    parents: list[int] = []
    for i, (_, level, _, _) in enumerate(outline):
        parents.append(next((j for j in range(i - 1, -1, -1) if outline[j][1] < level), -1))
    for i, (title, _, page, top) in enumerate(outline):
        siblings = [j for j, p in enumerate(parents) if p == parents[i]]
        children = [j for j, p in enumerate(parents) if p == i]
        place = siblings.index(i)
        entry = b"<</Title" + _string(title.encode("cp1252"), at + i, key)
        entry += f"/Parent {at + parents[i] if parents[i] >= 0 else 8} 0 R/Dest[{first + 2 * page} 0 R/XYZ 0 {top} 0]".encode()
        if place:
            entry += f"/Prev {at + siblings[place - 1]} 0 R".encode()
        if place + 1 < len(siblings):
            entry += f"/Next {at + siblings[place + 1]} 0 R".encode()
        if children:
            entry += f"/First {at + children[0]} 0 R/Last {at + children[-1]} 0 R/Count {len(children)}".encode()
        objects[at + i] = entry + b">>"
    top_level = [i for i, p in enumerate(parents) if p < 0]
    objects[8] = (
        f"<</Type/Outlines/First {at + top_level[0]} 0 R/Last {at + top_level[-1]} 0 R/Count {len(outline)}>>".encode()
    )


def _stream(data: bytes, number: int, key: bytes, entries: str = "") -> bytes:
    data = _encrypted(data, number, key)
    return f"<<{entries}/Length {len(data)}>>stream\n".encode() + data + b"\nendstream"


def _string(data: bytes, number: int, key: bytes) -> bytes:
    return b"<" + _encrypted(data, number, key).hex().encode() + b">"


def _file(objects: dict[int, bytes], key: bytes, password: str) -> bytes:
    out, places = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), {}
    for number in sorted(objects):
        places[number] = len(out)
        out += f"{number} 0 obj\n".encode() + objects[number] + b"\nendobj\n"
    start, size = len(out), max(objects) + 1
    out += f"xref\n0 {size}\n0000000000 65535 f \n".encode()
    for number in range(1, size):
        out += f"{places[number]:010} 00000 n \n".encode() if number in places else b"0000000000 65535 f \n"
    secret = b""
    if key:
        owner = _rc4(hashlib.md5(_padded(password)).digest()[:5], _padded(password))
        user = _rc4(key, PADDING)
        secret = b"/Encrypt<</Filter/Standard/V 1/R 2/O<%s>/U<%s>/P -4>>/ID[<%s><%s>]" % (
            owner.hex().encode(), user.hex().encode(), ID.hex().encode(), ID.hex().encode(),
        )  # fmt: skip
    out += (
        f"trailer\n<</Size {size}/Root 1 0 R/Info 7 0 R".encode() + secret + f">>\nstartxref\n{start}\n%%EOF\n".encode()
    )
    return bytes(out)


PADDING = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")
ID = bytes(range(16))


def _padded(password: str) -> bytes:
    return (password.encode() + PADDING)[:32]


def _key(password: str) -> bytes:
    owner = _rc4(hashlib.md5(_padded(password)).digest()[:5], _padded(password))
    return hashlib.md5(_padded(password) + owner + (-4 & 0xFFFFFFFF).to_bytes(4, "little") + ID).digest()[:5]


def _encrypted(data: bytes, number: int, key: bytes) -> bytes:
    if not key:
        return data
    return _rc4(hashlib.md5(key + number.to_bytes(3, "little") + b"\0\0").digest()[:10], data)


def _rc4(key: bytes, data: bytes) -> bytes:
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)
