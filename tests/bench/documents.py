"""Document readers against markitdown and synthetic-data-kit's ingest: documents a second, and what each of them loses.

    PEER_PYTHON=DIR/bin/python FREEHOLD_BENCH_DEBIAN=DIR python tests/bench/documents.py

PEER_PYTHON: an interpreter with `markitdown[docx,pptx,pdf]` and `synthetic-data-kit`; FREEHOLD_BENCH_DEBIAN: where debian-policy is
unpacked (`apt-get download debian-policy`, `dpkg -x`). What is missing is left out and said to be. Every reader gets the same
files in a process of its own, one after another, after one document of each format that is not counted. Writes documents.json.

The generated documents are known word by word: headings, paragraphs, lists, code, tables and notes, for web pages amid a
site's navigation, for PDF under a running header with a scanned page at the end. Kept means: a heading is a line with `#`; code
stands between fences with every line as it was; the cells of a table's row stand in one line; a note is told at all.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import io
import json
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent))
RECORD = HERE / "documents.json"
DOCUMENTS = {"html": 200, "confluence": 200, "docx": 200, "pptx": 100, "pdf": 100}
READERS = ("ours", "markitdown", "synthetic_data_kit")
LIBRARIES = (
    "html-to-markdown",
    "lxml",
    "mammoth",
    "pypdfium2",
    "python-pptx",
    "markitdown",
    "pdfminer.six",
    "synthetic-data-kit",
)
SYLLABLES = ("ba", "de", "fi", "go", "lu", "mer", "nat", "pol", "ris", "tun", "vek", "zor")
NAVIGATION = "Brandmark Allpages Signin Imprint Cookiebanner".split()
WORD = re.compile(r"[^\W_]+")
Document = list[tuple[str, Any]]


def made_up(rng: random.Random, number: int) -> Document:
    """A document: its kinds of blocks in a fixed order, their words by chance."""

    def words(n: int) -> str:
        return " ".join("".join(rng.choices(SYLLABLES, k=rng.randint(1, 4))) for _ in range(n))

    blocks: Document = [("title", f"{words(3)} {number}")]
    for _ in range(4):
        blocks += [("heading", words(4)), ("paragraph", words(60)), ("list", [words(6) for _ in range(4)])]
        blocks += [("code", [f"def {words(1)}(x):", f"    return {words(1)}[x] << 2", "", f"{words(1)} = {{'a': 1}}"])]
        blocks += [
            ("table", [[words(2) for _ in range(3)] for _ in range(4)]),
            ("note", words(12)),
            ("paragraph", words(40)),
        ]
    return blocks


def as_html(blocks: Document) -> bytes:
    title = blocks[0][1]
    menu = f"<header>{NAVIGATION[0]}</header><nav><ul><li>{NAVIGATION[1]}</li><li>{NAVIGATION[2]}</li></ul></nav>"
    foot = f"<footer>{NAVIGATION[3]}</footer><div class=cookies>{NAVIGATION[4]}</div>"
    return f"<!doctype html><title>{title}</title><body>{menu}<main>{markup(blocks)}</main>{foot}".encode()


def markup(blocks: Document, *, storage: bool = False) -> str:
    from html import escape

    made = []
    for kind, value in blocks:
        if kind == "list":
            made.append(f"<ul>{''.join(f'<li>{x}</li>' for x in value)}</ul>")
        elif kind == "table":
            rows = ["".join(f"<{t}>{c}</{t}>" for c in row) for row, t in zip(value, ["th", *["td"] * 9], strict=False)]
            made.append(f"<table><tbody>{''.join(f'<tr>{r}</tr>' for r in rows)}</tbody></table>")
        elif kind == "code" and storage:
            text = "\n".join(value)
            made.append(
                '<ac:structured-macro ac:name="code"><ac:parameter ac:name="language">py</ac:parameter>'
                f"<ac:plain-text-body><![CDATA[{text}]]></ac:plain-text-body></ac:structured-macro>"
            )
        elif kind == "code":
            made.append("<pre><code class=language-py>{}</code></pre>".format(escape("\n".join(value))))
        elif kind == "note" and storage:
            made.append(
                f'<ac:structured-macro ac:name="note"><ac:rich-text-body><p>{value}</p></ac:rich-text-body></ac:structured-macro>'
            )
        else:
            tag = {"title": "h1", "heading": "h2", "note": "aside"}.get(kind, "p")
            made.append(f"<{tag}>{value}</{tag}>")
    return "".join(made)


def as_docx(blocks: Document) -> bytes:
    from html import escape

    from tests.data_prep import office_files as office

    styles = {"title": "Titel", "heading": "berschrift2"}
    made = []
    for kind, value in blocks:
        if kind == "list":
            made += [office.paragraph(x, "Listenabsatz", list_=(1, 0)) for x in value]
        elif kind == "table":
            made.append(office.table(value, header=True))
        elif kind == "code":
            made += [office.paragraph(escape(x), "HTMLVorformatiert") for x in value]
        else:
            made.append(office.paragraph(value, styles.get(kind, "")))
    return office.docx("".join(made))


def as_pptx(blocks: Document) -> bytes:
    """A slide a heading, with bullets and a table; the note is the speaker's."""
    from pptx import Presentation

    deck, out = Presentation(), io.BytesIO()
    page: Any = None
    for kind, value in blocks:
        if kind in ("title", "heading"):
            page = deck.slides.add_slide(deck.slide_layouts[1])
            page.shapes.title.text = value
        elif kind == "list":
            page.placeholders[1].text_frame.text = "\n".join(value)
        elif kind == "table":
            table = page.shapes.add_table(len(value), 3, 0, 0, 100, 100).table
            for r, row in enumerate(value):
                for c, cell in enumerate(row):
                    table.cell(r, c).text = cell
        elif kind == "note":
            page.notes_slide.notes_text_frame.text = value
    deck.save(out)
    return out.getvalue()


def as_pdf(blocks: Document) -> bytes:
    from tests.data_prep import office_files as office

    pages, outline, y = [], [], 0.0
    for kind, value in blocks:
        if kind == "heading" or not pages:
            pages.append(
                office.Sheet([(72, 815, 9, "F1", "Manual of the hub"), (280, 25, 9, "F1", f"Page {len(pages) + 1}")])
            )
            y = 770.0
        if kind in ("title", "heading"):
            outline.append((value, int(kind == "heading"), len(pages) - 1, y + 15))
        text = value if isinstance(value, list) else wrapped(value)
        rows = ["  ".join(x) if isinstance(x, list) else f"- {x}" if kind == "list" else x for x in text]
        font, size = ("F2", 9) if kind == "code" else ("F3", 14) if kind in ("title", "heading") else ("F1", 10)
        for row in rows:
            if row:
                pages[-1].texts.append((72, y, size, font, row))
            y -= 1.2 * size
        y -= 14
    pages.append(office.Sheet([], office.SCAN))
    return office.pdf(pages, outline=outline)


def wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 80)


def expected(format: str, blocks: Document) -> Document:
    """What a file of this format holds of the document."""
    return [b for b in blocks if format != "pptx" or b[0] in ("title", "heading", "list", "table", "note")]


def flat(value: Any) -> str:
    return value if isinstance(value, str) else " ".join(flat(v) for v in value)


def kept(blocks: Document, made: str) -> Counter[str]:
    """How many blocks of each kind a converted document keeps."""
    found: Counter[str] = Counter()
    loose = re.sub(r"[ \t]+", " ", made)
    rows = [WORD.findall(x) for x in made.splitlines()]
    headings = [" ".join(r) for r, x in zip(rows, made.splitlines(), strict=True) if x.startswith("#")]
    fenced = re.findall(r"^`{3,}\w*\n(.*?)\n`{3,}$", made, re.MULTILINE | re.DOTALL)
    for kind, value in blocks:
        if kind in ("title", "heading"):
            found["headings"] += value in headings
        elif kind == "code":
            found["code"] += any("\n".join(value) in x for x in fenced)
        elif kind == "table":
            found["table rows"] += sum(flat(row).split() in rows for row in value)
        elif kind == "note":
            found["notes"] += value in " ".join(loose.split())
    return found


def convert(reader: str, folder: Path) -> dict[str, Any]:
    """In a process of its own: every file of the folder, after one of its format that is not counted."""
    one = {"ours": _ours, "markitdown": _markitdown, "synthetic_data_kit": _synthetic_data_kit}[reader]()
    texts: dict[str, str] = {}
    failed: dict[str, str] = {}
    seconds: Counter[str] = Counter()
    reported = 0
    for sub in sorted(p for p in folder.iterdir() if p.is_dir()):
        files = sorted(sub.iterdir())
        for number, file in enumerate([files[0], *files]):
            began = time.perf_counter()
            try:
                text, ocr = one(file)
            except Exception as e:  # a document that a reader cannot read is part of the record
                text, ocr = "", 0
                failed[f"{sub.name}/{file.name}"] = f"{type(e).__name__}: {e}"[:200]
            if number:
                seconds[sub.name] += time.perf_counter() - began
                reported += ocr
            texts[f"{sub.name}/{file.name}"] = text
    return {"texts": texts, "seconds": seconds, "failed": failed, "pages_reported_for_ocr": reported}


def _ours() -> Callable[[Path], tuple[str, int]]:
    from data_prep.records import Tally
    from data_prep.sources import confluence, docx, html, pdf, pptx

    readers: dict[str, Any] = {"html": html, "confluence": confluence, "docx": docx, "pptx": pptx, "pdf": pdf}

    def one(file: Path) -> tuple[str, int]:
        tally = Tally()
        records = list(readers[file.parent.name.removeprefix("debian ")].read(file, tally))
        return "".join(m.text for r in records for m in r.messages), tally.dropped["page_needs_ocr"]

    return one


def _markitdown() -> Callable[[Path], tuple[str, int]]:
    from markitdown import MarkItDown

    converter = MarkItDown()
    return lambda file: (str(converter.convert_local(str(file)).markdown), 0)


def _synthetic_data_kit() -> Callable[[Path], tuple[str, int]]:
    from synthetic_data_kit.core.ingest import determine_parser

    return lambda file: (str(determine_parser(str(file), {}).parse(str(file))), 0)


def corpus(folder: Path) -> dict[str, Document]:
    """The generated files by name, written into a folder a format. Wiki pages are named `.html`, which all readers open."""
    writers: dict[str, Callable[[Document], bytes]] = {
        "html": as_html, "docx": as_docx, "pptx": as_pptx, "pdf": as_pdf,
        "confluence": lambda blocks: markup(blocks, storage=True).encode(),
    }  # fmt: skip
    rng, truth = random.Random(7), {}
    for format, count in DOCUMENTS.items():
        (folder / format).mkdir()
        for number in range(count):
            blocks = made_up(rng, number)
            name = f"{number:03}.{'html' if format == 'confluence' else format}"
            (folder / format / name).write_bytes(writers[format](blocks))
            truth[f"{format}/{name}"] = expected(format, blocks)
    return truth


def debian(folder: Path) -> dict[str, str]:
    """Debian's policy as PDF, its text from policy.txt, and its web pages, their text from the page's main part; {} without it."""
    found = sorted(Path(os.environ.get("FREEHOLD_BENCH_DEBIAN", "/nowhere")).rglob("policy.pdf.gz"))
    if not found:
        print("left out: debian-policy is not there. Set FREEHOLD_BENCH_DEBIAN to where it is unpacked.")
        return {}
    from lxml import html

    home, truth = found[0].parent, {}
    for name in ("debian pdf", "debian html"):
        (folder / name).mkdir()
    (folder / "debian pdf" / "policy.pdf").write_bytes(gzip.decompress(found[0].read_bytes()))
    truth["debian pdf/policy.pdf"] = gzip.decompress((home / "policy.txt.gz").read_bytes()).decode()
    for page in sorted((home / "policy.html").glob("*.html")):
        main = html.fromstring(page.read_bytes()).xpath("//div[@role='main']")
        if main and page.stem not in ("search", "genindex"):
            (folder / "debian html" / page.name).write_bytes(page.read_bytes())
            truth[f"debian html/{page.name}"] = " ".join(
                str(t) for t in main[0].xpath(".//text()[not(ancestor::script)]")
            )
    return truth


def scores(made: dict[str, Any], truth: dict[str, Document], real: dict[str, str]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for format in dict.fromkeys(name.split("/")[0] for name in [*truth, *real]):
        names = [n for n in [*truth, *real] if n.startswith(f"{format}/")]
        common = told = wanted = navigation = 0
        blocks: Counter[str] = Counter()
        for name in names:
            text = made["texts"].get(name, "")
            a = Counter(WORD.findall(real[name] if name in real else flat([v for _, v in truth[name]])))
            b = Counter(WORD.findall(text))
            common, told, wanted = common + (a & b).total(), told + b.total(), wanted + a.total()
            navigation += any(w in text for w in NAVIGATION)
            blocks += kept(truth.get(name, []), text)
        seconds = made["seconds"][format]
        row = {
            "documents": len(names), "documents_per_second": round(len(names) / seconds, 1),
            "word_recall": round(common / wanted, 4), "word_precision": round(common / told, 4) if told else None,
            "failed": sum(n in made["failed"] for n in names),
        }  # fmt: skip
        there = possible([truth[n] for n in names if n in truth])
        row |= {k.replace(" ", "_"): f"{blocks[k]} of {there[k]}" for k in there}
        row |= {"pages_with_navigation": navigation} if format == "html" else {}
        row |= (
            {"scanned_pages_reported": f"{made['pages_reported_for_ocr']} of {len(names)}"} if format == "pdf" else {}
        )
        record[format] = row
    return record


def possible(documents: list[Document]) -> Counter[str]:
    names = {"title": "headings", "heading": "headings", "code": "code", "note": "notes"}
    there: Counter[str] = Counter()
    for kind, value in (b for blocks in documents for b in blocks):
        there[names.get(kind, "table rows")] += len(value) if kind == "table" else kind in names
    return +there


def main() -> int:
    if sys.argv[1:2] == ["--convert"]:
        reader, folder, out = sys.argv[2:]
        versions = {n: _version(n) for n in LIBRARIES}
        Path(out).write_text(json.dumps(convert(reader, Path(folder)) | {"versions": versions}))
        return 0
    scratch = Path(tempfile.mkdtemp(prefix="freehold-documents-"))
    folder = scratch / "corpus"
    folder.mkdir()
    truth, real = corpus(folder), debian(folder)
    record: dict[str, Any] = {
        "command": "PEER_PYTHON=DIR/bin/python FREEHOLD_BENCH_DEBIAN=DIR python tests/bench/documents.py",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    peer = os.environ.get("PEER_PYTHON")
    for reader in READERS:
        if reader != "ours" and not peer:
            print(f"left out: {reader}. Set PEER_PYTHON to an interpreter that has it.")
            continue
        python = sys.executable if reader == "ours" else str(peer)
        out = scratch / f"{reader}.json"
        done = subprocess.run(
            [python, __file__, "--convert", reader, str(folder), str(out)], capture_output=True, text=True, check=False
        )
        if done.returncode:  # a peer that cannot run here is part of the record
            record[reader] = {"failed": done.stderr.strip().splitlines()[-1][:200]}
        else:
            made = json.loads(out.read_text())
            record[reader] = {
                "versions": {k: v for k, v in made["versions"].items() if v},
                **scores(made, truth, real),
                **({"examples_of_failures": dict(list(made["failed"].items())[:3])} if made["failed"] else {}),
            }
        print(reader, json.dumps(record[reader], indent=1), flush=True)
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    return 0


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    raise SystemExit(main())
