"""Document readers on the shapes that real systems write: structure becomes Markdown, and no word of the content vanishes."""

from __future__ import annotations

import io
import json
import re
import tempfile
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.records import Record, SourceError, Tally
from data_prep.sources import confluence, docx, html, markdown, pdf, pptx, text
from tests.data_prep import office_files as office
from tests.data_prep.office_files import Placed, Sheet

READERS = {"markdown": markdown, "html": html, "confluence": confluence, "pdf": pdf, "docx": docx, "pptx": pptx, "text": text}  # fmt: skip
SUFFIX = {"markdown": ".md", "confluence": ".xml", "text": ".txt"}


def read(reader: str, content: bytes | str, tally: Tally, *, suffix: str = "", **options: Any) -> Record | None:
    """The record of one file with this content; None where there is none, which the tally then explains."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"page{suffix or SUFFIX.get(reader, f'.{reader}')}"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        records: list[Record] = list(READERS[reader].read(Path(folder), tally, **options))  # type: ignore[attr-defined]
    assert len(records) + tally.dropped.total() - sum(tally.dropped[r] for r in PARTS) == tally.taken["documents"] == 1
    return records[0] if records else None


PARTS = ("page_needs_ocr", "page_blank", "page_broken", "slide_hidden", "slide_without_text")  # drops within a document


def text_of(reader: str, content: bytes | str, **options: Any) -> str:
    record = read(reader, content, Tally(), **options)
    assert record is not None
    return record.messages[0].text


def squeezed(text: str) -> str:
    """Tables without the spaces and dashes that put their columns in line."""
    return re.sub(r" +", " ", re.sub(r"-{3,}", "---", text))


def macro(name: str, body: str = "", **parameters: str) -> str:
    given = "".join(f'<ac:parameter ac:name="{k}">{v}</ac:parameter>' for k, v in parameters.items())
    return f'<ac:structured-macro ac:name="{name}">{given}{body}</ac:structured-macro>'


def code(text: str) -> str:
    return f"<ac:plain-text-body><![CDATA[{text}]]></ac:plain-text-body>"


def rich(body: str) -> str:
    return f"<ac:rich-text-body>{body}</ac:rich-text-body>"


@pytest.mark.parametrize(
    ("storage", "expected"),
    [
        (macro("code", code("systemctl restart hub\n\n\n  if a < b && c:"), language="bash"),
         "```bash\nsystemctl restart hub\n\n\n  if a < b && c:\n```"),
        (macro("noformat", code("&nbsp; <b>as it is</b>")), "```\n&nbsp; <b>as it is</b>\n```"),
        (macro("code", code("a ]]]]><![CDATA[> b"), title="Setup"), "**Setup**\n\n```\na ]]> b\n```"),
        (macro("info", rich("<p>Wait <em>ten</em> seconds.</p>")), "> **Info**\n>\n> Wait *ten* seconds."),
        (macro("warning", rich("<p>Hot</p>" + macro("code", code("x = 1"))), title="Care"),
         "> **Warning: Care**\n>\n> Hot\n>\n> ```\n> x = 1\n> ```"),
        (macro("note", rich("<p>One</p><ul><li>two</li></ul>")), "> **Note**\n>\n> One\n>\n> - two"),
        (macro("panel", rich("loose<p>text</p>"), title="Box"), "> **Box**\n>\n> loose\n>\n> text"),
        (macro("expand", rich("<p>folded</p>"), title="Details"), "**Details**\n\nfolded"),
        (macro("some-app-macro", rich("<p>body of a macro that nobody knows</p>")), "body of a macro that nobody knows"),
        (macro("status", title="IN PROGRESS", colour="Blue"), "IN PROGRESS"),
        (macro("jira", key="OPS-12", server="Jira"), "OPS-12"),
        ('<ac:structured-macro ac:name="include"><ac:parameter ac:name=""><ac:link><ri:page ri:content-title="Shared steps"/>'
         "</ac:link></ac:parameter></ac:structured-macro>", "Shared steps"),
        ("<ac:task-list><ac:task><ac:task-status>complete</ac:task-status><ac:task-body>Order <strong>valves</strong></ac:task-body>"
         "</ac:task><ac:task><ac:task-status>incomplete</ac:task-status><ac:task-body>Fit them</ac:task-body></ac:task></ac:task-list>",
         "- [x] Order **valves**\n- [ ] Fit them"),
        ('<p><ac:link><ri:page ri:content-title="Radio setup"/><ac:plain-text-link-body><![CDATA[see there]]></ac:plain-text-link-body>'
         '</ac:link>, <ac:link><ri:attachment ri:filename="plan.pdf"/></ac:link>, <a href="https://hub.example/x">outside</a></p>',
         "see there (“Radio setup”), plan.pdf, [outside](https://hub.example/x)"),
        ('<ac:image ac:alt="Wiring"><ri:attachment ri:filename="wires.png"/></ac:image>', "![Wiring](wires.png)"),
        ('<p>Ask <ac:link><ri:user ri:username="m.porter"/></ac:link> by <time datetime="2026-03-04"/></p>',
         "Ask @m.porter by 2026-03-04"),
        ('<p>Done <ac:emoticon ac:name="tick"/> &auml;&hellip; H<sub>2</sub>O</p>', "Done ✔ ä… H2O"),
        ("<ac:layout><ac:layout-section><ac:layout-cell><h2>Left</h2><p>a</p></ac:layout-cell><ac:layout-cell><p>b</p></ac:layout-cell>"
         "</ac:layout-section></ac:layout>", "## Left\n\na\n\nb"),
        ("<table><tbody><tr><th>Part</th><th>Price</th></tr><tr><td><p>Hub</p></td><td>49</td></tr></tbody></table>",
         "| Part | Price |\n| --- | --- |\n| Hub | 49 |"),
        ("<p>never <b>closed " + macro("code", code("if a < b && c")), "```\nif a < b && c\n```"),
        ("<p>a <ac:inline-comment-marker ac:ref='1'>remark</ac:inline-comment-marker> on it</p>", "a remark on it"),
    ],
)  # fmt: skip
def test_confluence_elements_become_markdown(storage: str, expected: str) -> None:
    made = text_of("confluence", f"<h1>Page</h1>{storage}<p>End <ac:link/></p>")
    assert expected in made or expected in squeezed(made)
    assert made.startswith("# Page")
    assert "End" in made.splitlines()[-1] or "never" in storage


def test_macros_that_show_what_stands_elsewhere_are_counted(tally: Tally) -> None:
    record = read("confluence", f"<p>text</p>{macro('toc')}{macro('children')}", tally)
    assert record is not None
    assert record.messages[0].text == "text"
    assert tally.taken["macros without text"] == 2


SITE = """<!doctype html><html lang=en><head><title>Pair a valve · Help Center</title><link rel=canonical href="https://help.example/pair">
<meta property="article:modified_time" content="2026-03-04T10:00:00Z"><script>track()</script></head><body>
<header>Brand <a href=/>Home</a></header><nav><ul><li>All articles</li></ul></nav><div class=sidebar>Related pages</div>
<main><h1>Pair a valve<a class=headerlink href=#pair>¶</a></h1><p>Hold the <button>Pair</button> button of a hub&shy;set.</p>
<aside>Only in range.</aside><div class="highlight-python"><pre><span class=k>def</span> pair():

\n\n    <span>return</span> 1</pre></div><table><tr><th>Light</th><th>Meaning</th></tr><tr><td>red</td><td>no | range</td></tr></table>
<button aria-controls=more>Show more</button><div id=more hidden><p>Behind a click.</p></div><details><summary>Why?</summary>Radio.</details>
<img src="v.png" alt="The valve"><a href="/reset">Reset</a></main><footer>Imprint</footer></body></html>"""


def test_a_page_of_a_site_keeps_its_content_and_loses_its_navigation() -> None:
    record = read("html", SITE, Tally())
    assert record is not None
    made = record.messages[0].text
    assert made.startswith("# Pair a valve\n\nHold the Pair button of a hubset.")
    assert "```python\ndef pair():\n\n\n\n    return 1\n```" in made
    assert "| red | no \\| range |" in squeezed(made)
    for kept in (
        "Only in range.",
        "Behind a click.",
        "Why?",
        "Radio.",
        "![The valve](https://help.example/v.png)",
        "[Reset](https://help.example/reset)",
    ):
        assert kept in made
    for gone in ("Brand", "Home", "All articles", "Related pages", "track", "Imprint", "¶", "Show more"):
        assert gone not in made
    assert (record.title, record.fields["url"]) == ("Pair a valve", "https://help.example/pair")
    assert record.created is not None


def test_a_page_that_is_one_form_is_read_whole() -> None:
    page = (
        "<body><form id=aspnetForm><input name=q><h1>Returns</h1><table><tr><td>30 days</td></tr></table></form></body>"
    )
    assert "# Returns" in text_of("html", page)
    assert "30 days" in text_of("html", page)


def test_scripts_hidden_text_and_script_addresses_of_a_page_stay_out() -> None:
    made = text_of(
        "html",
        "<body><p onclick=steal()>shown<script>alert(1)</script><img src='javascript:alert(2)' alt='seen'>"
        "<a href='JavaScript:alert(3)'>link</a></p><p style='display:none'>unseen</p><iframe src='https://x.example'></iframe>"
        "<svg><text>drawn</text></svg></body>",
    )
    assert {"shown", "link"} <= set(re.findall(r"\w+", made))
    assert "seen" in made
    assert not re.search(r"alert|steal|unseen|drawn|x\.example|javascript", made, re.IGNORECASE)


def test_markdown_front_matter_becomes_fields_and_a_text_between_rulers_stays() -> None:
    record = read(
        "markdown", "---\ntitle: 'Tariffs'\nlastmod: 2026-03-04\ntags: [a, b]\nmenu: {x: 1}\n---\nBody", Tally()
    )
    assert record is not None
    assert (record.title, record.messages[0].text) == ("Tariffs", "Body")
    assert (record.fields["tags"], record.fields["updated"]) == ("a, b", "2026-03-04")
    toml = read("markdown", '+++\ntitle = "From TOML"\n+++\nBody', Tally())
    assert toml is not None
    assert toml.title == "From TOML"
    between = "---\n\nA note: it stands between two rulers.\n\n---\n\nBody"
    assert text_of("markdown", between) == between


def test_markdown_code_is_untouched_and_comments_outside_of_it_go() -> None:
    fenced = "```python\na = 1\n\n\n\n<!-- kept -->\n# no heading  \n```"
    page = f"Title\n=====\n\n{fenced}\n\nInline `<!-- kept too -->` stays. <!-- gone\n```\ngone as well\n```\n-->\n\nEnd <!-- open"
    made = text_of("markdown", page)
    assert made.startswith(f"# Title\n\n{fenced}\n\nInline `<!-- kept too -->` stays.")
    assert made.endswith("End <!-- open")
    assert "gone" not in made


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("## Setup\n```bash\n# install it\n```\n# Guide #", "Guide"),
        ("# Written in C#\n\ntext", "Written in C#"),
        ("```one line```\n\n# After a line of code\n", "After a line of code"),
        ("no heading\n", "page.md"),
    ],
)
def test_the_title_of_markdown_is_its_first_real_heading(page: str, title: str) -> None:
    record = read("markdown", page, Tally())
    assert record is not None
    assert record.title == title


def test_mdx_loses_its_program_and_keeps_its_words() -> None:
    page = 'import Tabs from "x"\nexport const a = 1\n\n# T\n\n<Tabs>\n\ninside\n\n</Tabs>\n\n{/* gone */}Use <Key>Enter</Key>.\n'
    assert text_of("markdown", page, suffix=".mdx") == "# T\n\ninside\n\nUse <Key>Enter</Key>."


@pytest.mark.parametrize(
    ("encoding", "mark", "counted"),
    [("utf-8", b"", ""), ("utf-8", b"\xef\xbb\xbf", ""), ("utf-16-le", b"\xff\xfe", ""), ("utf-16-be", b"\xfe\xff", ""),
     ("utf-32-le", b"\xff\xfe\0\0", ""), ("cp1252", b"", "documents read as cp1252")],
)  # fmt: skip
def test_encodings_are_found_out_and_guesses_counted(encoding: str, mark: bytes, counted: str, tally: Tally) -> None:
    written = "Release notes\r\n=============\r\n\r\nGrüße – fünf Ventile"
    record = read("text", mark + written.encode(encoding), tally)
    assert record is not None
    assert record.messages[0].text == "# Release notes\n\nGrüße – fünf Ventile"
    assert not counted or tally.taken[counted] == 1


def test_a_page_is_read_as_it_declares_itself_whatever_the_recipe_says() -> None:
    declared = '<meta charset="utf-8"><p>Grüße</p>'
    assert text_of("html", declared, encoding="cp1252") == "Grüße"
    assert text_of("html", "<p>Привет</p>".encode("cp1251"), encoding="cp1251") == "Привет"
    assert text_of("html", "<meta charset=windows-1251><p>Привет</p>".encode("cp1251")) == "Привет"
    assert "caf" in text_of("html", b"<meta charset=idna><p>caf\xe9</p>")


def flow(lines: list[str], *, top: float = 760, size: float = 10, font: str = "F1") -> list[Placed]:
    return [(72, top - 1.2 * size * i, size, font, line) for i, line in enumerate(lines)]


PROSE = ["The hub looks for valves in range and keeps a list of all that", "it finds; a valve that sleeps is asked again after an hour."]  # fmt: skip


def test_pdf_headings_come_from_the_outline_and_divided_words_are_whole() -> None:
    pages = [
        Sheet(
            [*flow(["1 Getting started"], size=10), *flow(PROSE, top=740), *flow(["Use the ter-", "minal."], top=700)]
        ),
        Sheet([*flow(["1.1 Wiring"]), *flow(PROSE, top=740), *flow(["$ hub pair", "    --all"], top=690, font="F2")]),
    ]
    outline = [("1 Getting started", 0, 0, 775.0), ("1.1 Wiring", 1, 1, 775.0), ("Not on the page", 1, 1, 715.0)]
    record = read("pdf", office.pdf(pages, outline=outline, title="Hub manual"), Tally())
    assert record is not None
    made = record.messages[0].text
    assert re.findall(r"^#+ .*", made, re.MULTILINE) == ["# 1 Getting started", "## 1.1 Wiring", "## Not on the page"]
    assert " ".join(PROSE) in made
    assert "Use the terminal." in made
    assert "```\n$ hub pair\n    --all\n```" in made
    assert record.title == "Hub manual"
    assert record.fields["page_starts"].split(",")[1] == str(made.index("## 1.1"))


def test_running_lines_of_pdfs_go_and_lines_of_the_text_at_the_same_height_stay(tally: Tally) -> None:
    pages = [
        Sheet([(72, 810, 9, "F1", "Hub manual - version 3"), (300, 30, 9, "F1", f"Page {n} of 9"), *flow([f"Step {n} is next.", *PROSE])])
        for n in range(1, 10)
    ]  # fmt: skip
    record = read("pdf", office.pdf(pages), tally)
    assert record is not None
    made = record.messages[0].text
    assert "version 3" not in made
    assert "of 9" not in made
    assert tally.taken["running lines of PDFs left out"] == 18
    assert [f"Step {n} is next." in made for n in range(1, 10)] == [True] * 9
    assert made.count("asked again after an hour.") == 9


def test_a_title_alone_on_its_page_is_no_page_number() -> None:
    pages = [
        Sheet([(72, 810, 9, "F1", "Hub manual"), (300, 30, 9, "F1", f"Page {n}"), *flow([f"Part {w} {n}"] if n == 2 else [w, *PROSE])])
        for n, w in enumerate(("one", "two", "three", "four", "five"), start=1)
    ]  # fmt: skip
    made = text_of("pdf", office.pdf(pages))
    assert "Part two 2" in made
    assert "Page" not in made


def test_pages_without_text_are_told_apart_and_counted(tally: Tally) -> None:
    pages = [Sheet(flow(PROSE)), Sheet([], office.SCAN), Sheet(), Sheet([(72, 810, 9, "F1", "COPY")], office.SCAN)]
    record = read("pdf", office.pdf(pages), tally)
    assert record is not None
    assert record.fields["pages"] == "1"
    assert tally.taken["pages"] == 4
    assert tally.dropped == {"page_needs_ocr": 2, "page_blank": 1}
    assert tally.examples["page_needs_ocr"] == ["page.pdf page 2", "page.pdf page 4"]
    scanned = Tally()
    assert read("pdf", office.pdf([Sheet([], office.SCAN)]), scanned) is None
    assert scanned.dropped == {"page_needs_ocr": 1, "needs_ocr": 1}


BOX = (
    "<w:p><w:r><w:pict><v:shape xmlns:v='urn:schemas-microsoft-com:vml'><v:textbox><w:txbxContent>"
    f"{office.paragraph('in a box')}</w:txbxContent></v:textbox></v:shape></w:pict></w:r></w:p>"
)
CHANGES = (
    "<w:p><w:ins w:id='1'><w:r><w:t>added </w:t></w:r></w:ins><w:del w:id='2'><w:r><w:delText>deleted</w:delText></w:r></w:del>"
    "<w:fldSimple w:instr='REF x'><w:r><w:t>by a field</w:t></w:r></w:fldSimple></w:p>"
)


def test_word_files_keep_headings_lists_tables_boxes_and_fields() -> None:
    made = text_of(
        "docx",
        office.docx(
            office.paragraph("Warranty", "Titel") + office.paragraph("Terms", "berschrift2")
            + office.paragraph("parts", "Listenabsatz", list_=(1, 0)) + office.paragraph("labour", "Listenabsatz", list_=(1, 1))
            + office.paragraph("first", "Listenabsatz", list_=(2, 0))
            + office.table([["Part", "Years"], ["Hub", "2"]], header=True)
            + office.paragraph("def f():", "HTMLVorformatiert") + office.paragraph("", "HTMLVorformatiert")
            + office.paragraph("    pass", "HTMLVorformatiert")
            + BOX + CHANGES
        ),
    )  # fmt: skip
    assert made.startswith("# Warranty\n\n## Terms\n\n- parts\n  * labour\n\n1. first")
    assert "| Part | Years |\n| --- | --- |\n| Hub | 2 |" in squeezed(made)
    assert "```\ndef f():\n\n    pass\n```" in made
    assert "in a box" in made
    assert "added by a field" in made
    assert "deleted" not in made


def deck(build: Callable[[Any], None]) -> bytes:
    from pptx import Presentation

    made, out = Presentation(), io.BytesIO()
    build(made)
    made.save(out)
    return out.getvalue()


def slide(made: Any, title: str, bullets: list[str], notes: str = "") -> Any:
    page = made.slides.add_slide(made.slide_layouts[1])
    page.shapes.title.text = title
    frame = page.placeholders[1].text_frame
    frame.text = bullets[0] if bullets else ""
    for bullet in bullets[1:]:
        paragraph = frame.add_paragraph()
        paragraph.text, paragraph.level = bullet, 1
    if notes:
        page.notes_slide.notes_text_frame.text = notes
    return page


def test_slides_become_sections_with_bullets_tables_and_notes(tally: Tally) -> None:
    def build(made: Any) -> None:
        first = slide(made, "Winter campaign", ["Goals", "sell | ten"], notes="Say hello.\nThen go on.")
        table = first.shapes.add_table(2, 2, 0, 0, 100, 100).table
        for row, cells in enumerate([("Part", "Price"), ("Hub", "49")]):
            for column, cell in enumerate(cells):
                table.cell(row, column).text = cell
        group = first.shapes.add_group_shape()
        group.shapes.add_textbox(0, 0, 10, 10).text_frame.text = "# in a group"
        slide(made, "Secret", ["unseen"])._element.set("show", "0")
        made.slides.add_slide(made.slide_layouts[6])

    record = read("pptx", deck(build), tally)
    assert record is not None
    made = record.messages[0].text
    assert made.startswith("## Winter campaign\n\n- Goals\n  - sell | ten")
    assert "| Part | Price |\n| --- | --- |\n| Hub | 49 |" in squeezed(made)
    assert "\\# in a group" in made
    assert made.endswith("Notes: Say hello.\n\nThen go on.")
    assert tally.taken["slides"] == 3
    assert tally.dropped == {"slide_hidden": 1, "slide_without_text": 1}
    assert "Notes" not in text_of("pptx", deck(build), notes=False)
    assert "unseen" in text_of("pptx", deck(build), hidden_slides=True)


# Nothing vanishes: a document of random blocks goes in, all its words come out once and in order.
WORD = re.compile(r"[a-zäöüßéñ]+[0-9]+")
SYLLABLES = ("ba", "rö", "ßi", "é", "ku", "ñan", "sel", "t")
words = st.tuples(st.sampled_from(SYLLABLES), st.sampled_from(SYLLABLES), st.integers(0, 999)).map(
    "{0[0]}{0[1]}{0[2]}".format
)
line = st.lists(words, min_size=1, max_size=8).map(" ".join)
lines = st.lists(line, min_size=1, max_size=4)
Block = tuple[str, list[str]]
KINDS = ("heading", "paragraph", "list", "code", "table", "quote")
blocks = st.lists(st.tuples(st.sampled_from(KINDS), lines), min_size=1, max_size=7)
everything = settings(deadline=None, max_examples=40)


def as_markdown(kind: str, lines: list[str]) -> str:
    first, rest = lines[0], lines[1:]
    shapes = {
        "heading": f"## {' '.join(lines)}",
        "paragraph": "\n".join(lines),
        "list": "\n".join(f"- {x}" for x in lines),
        "code": "\n".join(["```sh", *lines, "", "", "```"]),
        "table": "\n".join([f"| {first} |", "| --- |", *(f"| {x} |" for x in rest)]),
        "quote": "\n".join(f"> {x}" for x in lines),
    }
    return shapes[kind]


def as_html(kind: str, lines: list[str]) -> str:
    shapes = {
        "heading": f"<h2>{' '.join(lines)}</h2>",
        "paragraph": f"<p>{'<br>'.join(lines)}</p>",
        "list": f"<ul>{''.join(f'<li>{x}</li>' for x in lines)}</ul>",
        "code": "<pre><code class='language-sh'>{}</code></pre>".format("\n\n\n".join(lines)),
        "table": f"<table>{''.join(f'<tr><td>{x}</td><td></td></tr>' for x in lines)}</table>",
        "quote": f"<blockquote>{''.join(f'<p>{x}</p>' for x in lines)}</blockquote>",
    }
    return shapes[kind]


def as_storage(kind: str, lines: list[str]) -> str:
    shapes = {
        "code": macro("code", code("\n".join(lines)), language="sh"),
        "quote": macro("info", rich("".join(f"<p>{x}</p>" for x in lines))),
        "list": "<ac:task-list>{}</ac:task-list>".format(
            "".join(f"<ac:task><ac:task-body>{x}</ac:task-body></ac:task>" for x in lines)
        ),
        "paragraph": "<p>{}</p>".format(
            "".join(f'<ac:link><ri:page ri:content-title="{x}"/></ac:link> ' for x in lines)
        ),
    }
    return shapes.get(kind) or as_html(kind, lines)


def as_word(kind: str, lines: list[str]) -> str:
    styles = {"heading": "berschrift1", "code": "HTMLVorformatiert"}
    if kind == "table":
        return office.table([[x, ""] for x in lines], header=False)
    if kind == "list":
        return "".join(office.paragraph(x, "Listenabsatz", list_=(1, n % 2)) for n, x in enumerate(lines))
    return "".join(office.paragraph(x, styles.get(kind, "")) for x in lines)


def as_slides(document: list[Block]) -> bytes:
    def build(made: Any) -> None:
        for kind, lines in document:
            rest = lines[1:] or [lines[0]]
            if kind == "table":
                table = slide(made, lines[0], []).shapes.add_table(len(rest), 1, 0, 0, 100, 100).table
                for row, cell in enumerate(rest):
                    table.cell(row, 0).text = cell
            else:
                slide(made, lines[0], [] if kind == "quote" else rest, "\n".join(rest) if kind == "quote" else "")

    return deck(build)


def as_sheets(document: list[Block]) -> bytes:
    """A page a block, under a running header; prose in lines of one paragraph, code in a typewriter face."""
    return office.pdf(
        [
            Sheet([(72, 810, 9, "F1", "Running header"), *flow([*lines, *lines], font="F2" if kind == "code" else "F1")])
            for kind, lines in document
        ]
    )  # fmt: skip


def said(document: list[Block]) -> list[str]:
    return WORD.findall(" ".join(" ".join(lines) for _, lines in document))


@everything
@given(blocks)
def test_no_word_of_markdown_html_confluence_and_plain_text_vanishes(document: list[Block]) -> None:
    pages = {
        "markdown": "\n\n".join(as_markdown(*b) for b in document),
        "html": "<title>t</title>" + "".join(as_html(*b) for b in document),
        "confluence": "".join(as_storage(*b) for b in document) + "<p><ac:link/></p>",
        "text": "\n\n".join("\n".join(lines) for _, lines in document),
    }
    assert {r: WORD.findall(text_of(r, page)) for r, page in pages.items()} == dict.fromkeys(pages, said(document))


@everything
@given(blocks)
def test_no_word_of_a_word_file_vanishes(document: list[Block]) -> None:
    made = text_of("docx", office.docx("".join(as_word(*b) for b in document)))
    assert WORD.findall(made) == said(document)


@settings(deadline=None, max_examples=12)
@given(st.lists(st.tuples(st.sampled_from(KINDS), lines), min_size=1, max_size=4))
def test_no_word_of_slides_and_notes_vanishes(document: list[Block]) -> None:
    spoken = [(k, [ls[0], *(ls[1:] or [ls[0]])]) for k, ls in document]
    assert WORD.findall(text_of("pptx", as_slides(document))) == said(spoken)


@everything
@given(blocks)
def test_no_word_of_a_pdf_vanishes_but_its_running_header(document: list[Block]) -> None:
    made = text_of("pdf", as_sheets(document))
    assert WORD.findall(made) == said([(k, [*ls, *ls]) for k, ls in document])
    assert made.count("Running header") == (len(document) if len(document) < 3 else 0)


# `<`, entities and marks of Markdown in a text must not make words of it disappear.
nasty = st.lists(
    st.one_of(words, st.sampled_from(["<", ">", "&", "&amp;", "*", "_", "`", "#", "|", "\\", "<b>", "<!--", "]]>", "[x]", "~~", "---", "$"])),
    min_size=1, max_size=12,
).map(" ".join)  # fmt: skip


@everything
@given(st.lists(nasty, min_size=1, max_size=4))
def test_marks_of_any_language_in_a_text_hide_no_word_of_it(texts: list[str]) -> None:
    escaped = "".join(f"<p>{escape(t)}</p><pre>{escape(t)}</pre><ul><li>{escape(t)}</li></ul>" for t in texts)
    wanted = WORD.findall(" ".join(f"{t} {t} {t}" for t in texts))
    if not wanted:
        return
    assert WORD.findall(text_of("html", escaped)) == wanted
    assert WORD.findall(text_of("confluence", f"{escaped}<p><ac:link/></p>")) == wanted
    cdata = "".join(macro("code", code(t.replace("]]>", ""))) for t in texts)
    assert WORD.findall(text_of("confluence", cdata)) == WORD.findall(" ".join(texts))
    runs = "".join(office.paragraph(escape(t)) for t in texts)
    assert WORD.findall(text_of("docx", office.docx(runs))) == WORD.findall(" ".join(texts))


@everything
@given(st.binary(max_size=600), st.sampled_from(sorted(READERS)))
def test_any_bytes_give_a_record_or_a_counted_document(content: bytes, reader: str) -> None:
    tally = Tally()
    record = read(reader, content, tally)
    assert record is not None or tally.dropped.total() >= 1


def test_pages_of_a_rest_export_keep_every_page_by_reason(tmp_path: Path, tally: Tally) -> None:
    body = {"storage": {"value": f"<p>text</p>{macro('code', code('x'))}", "representation": "storage"}}
    pages = [
        {"id": "1", "type": "page", "title": "New", "version": {"number": 2}, "body": body},
        {"id": "1", "type": "page", "title": "Old", "version": {"number": 1}, "body": body},
        {"id": "2", "type": "page", "title": "Draft", "status": "draft", "body": body},
        {"id": "3", "type": "attachment", "title": "file.png"},
        {"id": "4", "type": "page", "title": "No body"},
        {"id": "5", "type": "page", "title": "Hostile", "body": {"storage": {"value": '<!DOCTYPE x [<!ENTITY e "e">]><p>&e;</p>'}}},
    ]  # fmt: skip
    (tmp_path / "pages.json").write_text(json.dumps({"results": pages}))
    (record,) = confluence.read(tmp_path, tally)
    assert (record.title, record.messages[0].text) == ("New", "text\n\n```\nx\n```")
    assert tally.dropped == {
        "older_version": 1, "draft_page": 1, "not_a_page": 1, "page_without_body": 1, "broken_record": 1,
    }  # fmt: skip
    assert tally.taken["documents"] == 6
    (tmp_path / "space.zip").write_bytes(b"PK")
    with pytest.raises(SourceError, match="Unpack it"):
        list(confluence.read(tmp_path / "space.zip", Tally()))
