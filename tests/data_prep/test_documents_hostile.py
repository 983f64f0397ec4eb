"""Document readers on broken and hostile files: a clear error or a counted file with its place, bounded memory, no network."""

from __future__ import annotations

import io
import os
import re
import socketserver
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_prep.records import Record, SourceError, Tally
from data_prep.sources import confluence, docx, html, markdown, pdf, pptx, text
from tests.data_prep import office_files as office
from tests.data_prep.office_files import Sheet

READERS = {"markdown": markdown, "html": html, "confluence": confluence, "pdf": pdf, "docx": docx, "pptx": pptx, "text": text}  # fmt: skip
SUFFIX = {"markdown": ".md", "confluence": ".xml", "text": ".txt"}
TEXTS = ("markdown", "html", "confluence", "text")
LINE = [(72.0, 700.0, 10.0, "F1", "A page with enough words to be read as text.")]
WORD_FILE = office.docx(office.paragraph("A paragraph of a Word file."))


def read(reader: str, folder: Path, tally: Tally, **options: Any) -> list[Record]:
    return list(READERS[reader].read(folder, tally, **options))  # type: ignore[attr-defined]


def refused(reader: str, content: bytes, folder: Path) -> str:
    """What the tally says of one file that gives no record: its reason, its place and its detail."""
    tally = Tally()
    name = f"page{SUFFIX.get(reader, f'.{reader}')}"
    (folder / name).write_bytes(content)
    assert read(reader, folder, tally) == []
    assert tally.taken["documents"] == 1
    reason = list(tally.dropped)[-1]
    assert tally.examples[reason][0].startswith(name)
    return f"{reason}: {tally.examples[reason][0]}"


def test_a_password_is_told_and_not_called_a_broken_file(tmp_path: Path) -> None:
    locked = office.pdf([Sheet(LINE)], password="secret")
    assert refused("pdf", locked, tmp_path) == "password_protected: page.pdf chars 0-0 (save it without its password)"


@pytest.mark.parametrize("reader", ["docx", "pptx"])
def test_encrypted_office_files_are_told(reader: str, tmp_path: Path) -> None:
    ole = bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le") + b"\0" * 600
    assert "password_protected: " in refused(reader, ole, tmp_path)
    legacy = bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 1200
    assert "legacy_office_format: " in refused(reader, legacy, tmp_path)
    zipped = bytearray(WORD_FILE)
    for sign, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # general purpose flag 1: encrypted
        for match in re.finditer(re.escape(sign), WORD_FILE):
            zipped[match.start() + flags] |= 1
    assert "is encrypted" in refused(reader, bytes(zipped), tmp_path)


@pytest.mark.parametrize("reader", ["docx", "pptx"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"plain text", "is no office file but b'plain text'"),
        (b"%PDF-1.7 text", "is no office file but a PDF"),
        (b"<!DOCTYPE html><p>an error page of the portal", "is no office file but an HTML page"),
        (WORD_FILE[: len(WORD_FILE) // 2], "is a broken zip archive"),
        (WORD_FILE[:-30], "is a broken zip archive"),
        (office.zipped({"readme.txt": "x", "other/a.xml": "<a/>"}), "is a zip archive without `"),
    ],
)
def test_an_office_file_that_is_none_is_counted_with_what_it_is(
    reader: str, content: bytes, told: str, tmp_path: Path
) -> None:
    assert told in refused(reader, content, tmp_path)
    assert refused(reader, content, tmp_path).startswith("broken_record: ")


def test_damaged_bytes_in_a_member_are_a_broken_archive(tmp_path: Path) -> None:
    spoiled = bytearray(WORD_FILE)
    with zipfile.ZipFile(io.BytesIO(WORD_FILE)) as archive:
        info = archive.getinfo("word/document.xml")
    at = info.header_offset + 30 + len(info.filename) + info.compress_size // 2
    spoiled[at : at + 4] = b"\xff\xff\xff\xff"
    assert "is a broken zip archive" in refused("docx", bytes(spoiled), tmp_path)
    missing = office.docx("", parts={"word/document.xml": "<w:document>"})
    assert refused("docx", missing, tmp_path).startswith("broken_record: page.docx")


@pytest.mark.parametrize("name", ["../../escape.xml", "/etc/cron.d/x.xml", "word\\..\\..\\x.xml", "C:/x.xml"])
def test_a_name_that_leads_out_of_an_archive_is_refused_and_nothing_written(name: str, tmp_path: Path) -> None:
    inside = tmp_path / "deep" / "inside"
    inside.mkdir(parents=True)
    told = refused("docx", office.docx(office.paragraph("x"), parts={name: "<a/>"}), inside)
    assert "leads out of the archive" in told
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["page.docx"]


class _Counting(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.server.asked += 1  # type: ignore[attr-defined]


@pytest.fixture
def server() -> Iterator[Any]:
    """A real server on loopback that counts who connects: libraries in C open sockets that Python does not see."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Counting) as made:
        made.asked = 0  # type: ignore[attr-defined]
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


def test_external_entities_and_addresses_are_never_followed(tmp_path: Path, server: Any) -> None:
    address = f"http://127.0.0.1:{server.server_address[1]}"
    secret = tmp_path / "secret"
    secret.write_text("TOP-SECRET")
    folder = tmp_path / "docs"
    folder.mkdir()
    dtd = f'<!DOCTYPE x [<!ENTITY a SYSTEM "file://{secret}"><!ENTITY b SYSTEM "{address}/b"><!ENTITY % c SYSTEM "{address}/c">%c;]>'
    linked = '<a:blip xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" r:link="out"/>'
    picture = f"<w:p><w:r><w:drawing>{linked}</w:drawing></w:r></w:p>{office.paragraph('seen')}"
    outside = f'<Relationship Id="out" Type="{office.OFFICE}/image" Target="{address}/p.png" TargetMode="External"/>'
    template = (
        f'<Relationship Id="t" Type="{office.OFFICE}/attachedTemplate" Target="file://{secret}" TargetMode="External"/>'
    )
    pages = {
        "entities.xml": f'{dtd}<hibernate-generic><object class="Page"><id>&a;</id></object></hibernate-generic>',
        "page.xml": f"{dtd}<p>&a;&b; <ac:link/></p>",
        "page.html": f'{dtd}<base href="{address}/"><link rel=stylesheet href="{address}/x.css"><img src="{address}/i.png">'
        f'<iframe src="{address}/f"></iframe><object data="{address}/o"></object><p>seen &a;</p>',
        "page.md": f"![]({address}/m.png) <img src={address}/n.png> seen",
        "part.docx": office.docx("", parts={"word/document.xml": f"{dtd}<w:document {office.W}><w:body>&a;</w:body></w:document>"}),
        "link.docx": office.docx(picture, relationships=outside + template),
        "names.docx": office.docx(office.paragraph("seen"), parts={"docProps/core.xml": f"{dtd}<x>&a;</x>"}),
        "doc.pdf": office.pdf([Sheet(LINE)]).replace(b"/Type/Catalog", f"/Type/Catalog/OpenAction<</S/URI/URI({address}/p)>>".encode()),
    }  # fmt: skip
    for name, content in pages.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    texts, tally = [], Tally()
    for reader in set(READERS) - {"confluence", "pptx", "text"}:
        texts += [r.messages[0].text for r in read(reader, folder, tally)]
    with pytest.raises(SourceError, match=r"entities\.xml: has a document type declaration"):
        read("confluence", folder, tally)
    (folder / "entities.xml").unlink()
    texts += [r.messages[0].text for r in read("confluence", folder, tally)]
    assert sum("seen" in t for t in texts) >= 3
    assert "TOP-SECRET" not in "".join(texts)
    assert server.asked == 0
    assert any("document type declaration" in e for e in tally.examples["broken_record"])


LAUGHS = "<!DOCTYPE l [<!ENTITY a '{}'>{}]>".format(
    "ha" * 20, "".join(f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 20}'>" for n in range(9))
)


@pytest.mark.parametrize("reader", ["confluence", "html", "docx", "pptx"])
def test_entities_within_entities_are_not_unfolded(reader: str, tmp_path: Path) -> None:
    if reader == "html":
        (tmp_path / "page.html").write_text(f"{LAUGHS}<p>seen &j;</p>")
        (record,) = read("html", tmp_path, Tally())
        assert len(record.messages[0].text) < 100
        return
    part = {"docx": "word/document.xml", "pptx": "ppt/presentation.xml"}.get(reader)
    page = f"{LAUGHS}<p>&j; <ac:link/></p>".encode()
    content = office.docx("", parts={part: f"{LAUGHS}<a>&j;</a>"}) if part else page
    assert "document type" in refused(reader, content, tmp_path)


def inflating(unpacked: int) -> bytes:
    """A PDF page whose drawing packs a little and unpacks to so many bytes of letters."""
    piece = b"BT /F1 1 Tf 1 0 0 1 72 700 Tm " + b"(abc def) Tj " * 10_000 + b"ET "
    packed = zlib.compress(piece * (unpacked // len(piece)), 9)
    page = office.pdf([Sheet(LINE)])
    start = page.index(b"<<", page.index(b"\n11 0 obj"))
    end = page.index(b"endobj", start)
    return (
        page[:start] + b"<</Filter/FlateDecode/Length %d>>stream\n%s\nendstream\n" % (len(packed), packed) + page[end:]
    )


BOMBS = {
    "ratio.docx": lambda: office.docx(
        office.paragraph("x"), parts={"word/a.xml": b"<a>" + b" " * (60 << 20) + b"</a>"}
    ),
    "sum.docx": lambda: office.docx(
        "", parts={f"word/{n}.xml": b"<a>" + bytes(range(32, 96)) * 15_000 for n in range(80)}
    ),
    "count.docx": lambda: office.docx(office.paragraph("x"), parts={f"word/{n}.xml": "<a/>" for n in range(20_001)}),
    "nested.pptx": lambda: office.zipped({"ppt/a.xml": b"<a>" + b"</a>" * (20 << 20)}),
    "page.pdf": lambda: inflating(24 << 20),
    "larger.pdf": lambda: inflating(70 << 20),
}
CHILD = """
import sys
from pathlib import Path
from data_prep.records import Tally
from data_prep.sources import docx, pdf, pptx
tally = Tally()
for reader in (docx, pdf, pptx):
    assert list(reader.read(Path(sys.argv[1]), tally)) == []
assert tally.taken["documents"] == tally.dropped["broken_record"], tally
for example in [*tally.examples["broken_record"]]:
    print(example)
# not ru_maxrss: it begins with what the process weighed that started this one
print(int(next(x.split()[1] for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))) // 1024)
"""


def test_bombs_are_refused_in_bounded_memory(tmp_path: Path) -> None:
    for name, made in BOMBS.items():
        (tmp_path / name).write_bytes(made())
    assert max(p.stat().st_size for p in tmp_path.iterdir()) < 4 << 20
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    *told, megabytes = done.stdout.splitlines()
    assert [t.split()[0] for t in told] == ["count.docx", "ratio.docx", "sum.docx", "larger.pdf", "page.pdf"]
    assert [
        "files; office files have" in told[0],
        "zip bomb" in told[1],
        "MB of XML" in told[2],
        "a bomb" in told[3],
    ] == [True] * 4
    assert int(megabytes) < 400


def test_a_pdf_that_packs_no_more_than_pages_do_is_read(tmp_path: Path) -> None:
    (tmp_path / "page.pdf").write_bytes(inflating(140 << 10))
    (record,) = read("pdf", tmp_path, Tally())
    assert record.messages[0].text.count("abc") == 10_000


def test_a_page_of_endless_pieces_is_counted_as_broken(tmp_path: Path, tally: Tally) -> None:
    (tmp_path / "page.pdf").write_bytes(inflating(1 << 20))
    assert read("pdf", tmp_path, tally) == []
    assert tally.dropped == {"page_broken": 1, "empty_document": 1}


@pytest.mark.parametrize("cut", [0, 9, 300, 700])
def test_a_truncated_pdf_is_counted(cut: int, tmp_path: Path) -> None:
    whole = office.pdf([Sheet(LINE)] * 3)
    assert refused("pdf", whole[:cut], tmp_path).startswith("broken_record: page.pdf chars 0-0 (is ")
    assert "(is no PDF that can be read" in refused("pdf", b"GIF89a" + b"\0" * 900, tmp_path)


def test_pages_that_a_pdf_only_claims_to_have_are_counted_as_broken(tmp_path: Path, tally: Tally) -> None:
    (tmp_path / "page.pdf").write_bytes(office.pdf([Sheet(LINE)]).replace(b"/Count 1>>", b"/Count 4>>"))
    (record,) = read("pdf", tmp_path, tally)
    assert record.fields["pages"] == "1"
    assert tally.dropped == {"page_broken": 3}


FIFTY = 50 << 20


@pytest.mark.parametrize(
    ("reader", "line"),
    [("markdown", b"word "), ("text", b"word "), ("html", b"<p>word</p>"), ("confluence", b"<p>word</p>")],
)
def test_a_single_line_of_fifty_megabytes_is_read_or_counted(
    reader: str, line: bytes, tmp_path: Path, tally: Tally
) -> None:
    size = FIFTY if reader in ("markdown", "text") else FIFTY // 25
    (tmp_path / f"page{SUFFIX.get(reader, '.html')}").write_bytes(line * (size // len(line)))
    (record,) = read(reader, tmp_path, tally)
    assert record.messages[0].text.count("word") == size // len(line)
    assert len(record.title) <= 300


@pytest.mark.parametrize("reader", ["html", "confluence"])
def test_a_text_beyond_the_parsers_limits_is_counted_and_not_cut(reader: str, tmp_path: Path) -> None:
    assert "limits" in refused(reader, b"<p>" + b"word " * (FIFTY // 5) + b"</p>", tmp_path)


def test_what_is_too_large_to_be_a_document_is_told(tmp_path: Path) -> None:
    with (tmp_path / "page.md").open("wb") as f:
        f.truncate(101 << 20)
    tally = Tally()
    assert read("markdown", tmp_path, tally) == []
    assert tally.examples["too_large"] == ["page.md chars 0-0 (101 MB; documents have at most 100)"]


# What makes a careless pattern or tree walk take minutes: each must be over in a moment.
SLOW = {
    "markdown": ["<!--" * 200_000, "`" * 200_000 + "x", " " * 400_000 + "x", "# " + "#" * 400_000 + "x", "{/*" * 200_000,
                 "---\n" + "a: &a [" * 20_000, "`` a ``` b\n" * 40_000, "[" * 300_000, "> " * 100_000],
    "html": ["<article>x</article>" * 2_000, "<p>" + "&amp" * 200_000, "<table><tr>" + "<td>x" * 5_000, "<pre>" + "<br>x" * 50_000,
             "<p>" + "<script></script>x" * 50_000,
             "<a id=x aria-controls=x>y</a>" * 5_000],
    "confluence": ["<p>" + "<![CDATA[" * 200_000, "<p>" + "<ac:link " * 50_000, "<p>" + "&x;" * 200_000 + "<ac:link/>"],
    "text": [("=" * 40 + "\n") * 50_000, " \n" * 300_000, "-" * 500_000],
}  # fmt: skip


@pytest.mark.parametrize(("reader", "number"), [(r, n) for r, pages in SLOW.items() for n in range(len(pages))])
def test_pages_made_to_be_slow_are_over_in_a_moment(reader: str, number: int, tmp_path: Path, tally: Tally) -> None:
    (tmp_path / f"page{SUFFIX.get(reader, '.html')}").write_text(SLOW[reader][number])
    began = os.times()
    records = read(reader, tmp_path, tally)
    assert records or tally.dropped.total() == 1
    assert os.times().user - began.user < 4


@pytest.mark.parametrize("depth", [300, 3_000, 60_000])
@pytest.mark.parametrize("tag", ["div", "b", "li", "table", "blockquote"])
@pytest.mark.parametrize("reader", ["html", "confluence"])
def test_deep_nesting_is_read_whole_or_counted(reader: str, tag: str, depth: int, tmp_path: Path, tally: Tally) -> None:
    page = f"{f'<{tag}>' * depth}deepword{f'</{tag}>' * depth}<ac:link></ac:link>"
    (tmp_path / f"page{SUFFIX.get(reader, '.html')}").write_text(page)
    records = read(reader, tmp_path, tally)
    assert all("deepword" in r.messages[0].text for r in records)
    assert records or "nested" in tally.examples["broken_record"][0] or "limits" in tally.examples["broken_record"][0]


def test_deep_office_files_are_read_whole_or_counted(tmp_path: Path) -> None:
    deep = "<w:sdt><w:sdtContent>" * 2_000 + office.paragraph("deep") + "</w:sdtContent></w:sdt>" * 2_000
    assert refused("docx", office.docx(deep), tmp_path).startswith(
        "broken_record: page.docx chars 0-0 (the Word reader fails"
    )


@pytest.mark.parametrize("reader", TEXTS)
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty_document"),
        (b" \n\t\n", "empty_document"),
        (b"\xef\xbb\xbf", "empty_document"),
        (b"\0" * 5_000, "broken_record"),
        (bytes(range(1, 32)) * 100, "control characters"),
        ("grüße".encode("utf-16-le") * 50, "UTF-16 without its mark"),
        (b"caf\xe9 \x81\x8d\x8f is neither UTF-8 nor cp1252", "is 0x81"),
    ],
)
def test_texts_that_are_none_are_told(reader: str, content: bytes, told: str, tmp_path: Path) -> None:
    assert told in refused(reader, content, tmp_path)


@pytest.mark.parametrize("reader", TEXTS)
def test_one_torn_character_does_not_garble_the_others(reader: str, tmp_path: Path, tally: Tally) -> None:
    page = (
        "<p>Grüße an alle, fünf Ventile, größere Hubs, schöne Tage, ölige Fühler, süße Äpfel <ac:link></ac:link>".encode()
        + b"\xc3"
    )
    (tmp_path / f"page{SUFFIX.get(reader, '.html')}").write_bytes(page)
    (record,) = read(reader, tmp_path, tally)
    assert "Grüße an alle" in record.messages[0].text
    assert tally.taken["documents with unreadable characters"] == 1


NAMES = ["-rf $(id)", "a\nb\x1b[31m", "ünï'\"`", "x" * 200, "%2e%2e%2f", "con", "a;b|c&d", "‮gnp"]


@pytest.mark.parametrize("reader", READERS)
def test_hostile_file_names_are_plain_text_in_every_pointer(reader: str, tmp_path: Path, tally: Tally) -> None:
    contents = {"docx": WORD_FILE, "pdf": office.pdf([Sheet(LINE)]), "confluence": b"<p>text <ac:link/></p>"}
    for number, name in enumerate(NAMES):
        folder = tmp_path / f"{number} {name[:20]}"
        folder.mkdir()
        content = contents.get(reader, b"<p>text</p>")
        (folder / f"{name}{SUFFIX.get(reader, f'.{reader}')}").write_bytes(content)
        (folder / f"~${name[:99]}{SUFFIX.get(reader, f'.{reader}')}").write_bytes(content)
    raw = os.fsencode(tmp_path) + b"/not \xff utf-8" + SUFFIX.get(reader, f".{reader}").encode()
    Path(os.fsdecode(raw)).write_bytes(contents.get(reader, b"<p>text</p>"))
    records = read(reader, tmp_path, tally)
    places = [r.pointer.file for r in records] + [e for examples in tally.examples.values() for e in examples]
    assert len(records) + tally.dropped.total() == 2 * len(NAMES) + 1
    assert all(p.isprintable() and p.encode() for p in places)
    assert len({r.id for r in records}) == len(records)


@pytest.mark.parametrize("reader", READERS)
def test_links_within_the_folder_are_read_and_links_out_of_it_or_to_nothing_refused(
    reader: str, tmp_path: Path, tally: Tally
) -> None:
    suffix = SUFFIX.get(reader, f".{reader}")
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    content = {"docx": WORD_FILE, "pdf": office.pdf([Sheet(LINE)])}.get(reader, b"<p>text <ac:link></ac:link></p>")
    (folder / f"a{suffix}").write_bytes(content)
    (folder / "sub" / f"b{suffix}").symlink_to(folder / f"a{suffix}")
    read(reader, folder, tally)
    assert tally.taken["documents"] == 2
    dead = folder / f"dead{suffix}"
    dead.symlink_to(folder / "nowhere")
    with pytest.raises(SourceError, match=rf"dead{re.escape(suffix)}: is a link to .*nowhere, which is not there"):
        read(reader, folder, Tally())
    dead.unlink()
    (tmp_path / f"secret{suffix}").write_bytes(content)
    (folder / "sub" / f"c{suffix}").symlink_to(Path("..") / ".." / f"secret{suffix}")
    with pytest.raises(SourceError, match=rf"c{re.escape(suffix)}: is a link that leads out of"):
        read(reader, folder, Tally())


def test_broken_files_stop_a_source_beyond_its_limit(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.docx").write_bytes(b"none")
    with pytest.raises(SourceError, match=r"3\.docx: chars 0-0: is no office file .*more than 3 records"):
        read("docx", tmp_path, Tally(max_bad_records=3))


@pytest.mark.parametrize("reader", READERS)
def test_what_macos_writes_beside_a_file_is_no_file_of_the_source(reader: str, tmp_path: Path, tally: Tally) -> None:
    suffix = SUFFIX.get(reader, f".{reader}")
    content = {"docx": WORD_FILE, "pdf": office.pdf([Sheet(LINE)])}.get(reader, b"<p>text <ac:link></ac:link></p>")
    (tmp_path / "__MACOSX").mkdir()
    for name in (f"a{suffix}", f"._a{suffix}", f"__MACOSX/._a{suffix}"):
        (tmp_path / name).write_bytes(content if name == f"a{suffix}" else b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")
    read(reader, tmp_path, tally)
    assert tally.taken["documents"] == 1
