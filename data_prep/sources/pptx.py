"""PowerPoint files as documents: a section a slide, with its title, bullets by level, tables and speaker notes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.records import Dropped, Pointer, Record, Tally
from data_prep.sources._archives import core_properties, office_parts, xml_tree
from data_prep.sources._documents import Refused, document, each, safe
from data_prep.sources._files import Peek

KIND = "document"
SUFFIXES = (".pptx", ".pptm", ".ppsx", ".ppt", ".pps", ".odp")
LEGACY = (".ppt", ".pps", ".odp")
DEEPEST = 20  # groups within groups
A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
COMPATIBILITY = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
DIAGRAM = "http://schemas.openxmlformats.org/drawingml/2006/diagram"
FURNITURE = ("DATE", "FOOTER", "SLIDE_NUMBER", "HEADER")  # placeholders that repeat on every slide


def recognise(peek: Peek) -> dict[str, Any] | None:
    """By suffix and the zip or OLE signature; legacy files too, so that somebody hears that they must be converted."""
    return {} if peek.suffix in SUFFIXES and peek.head[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0") else None


def read(path: Path, tally: Tally, *, notes: bool = True, hidden_slides: bool = False) -> Iterator[Record]:
    """One record a file, its slides as sections. Hidden slides are dropped and counted, as their author meant them to be.

    The field `pages` says how many slides have text; slides in = the records' slides + slides dropped by reason.
    """
    convert = partial(_record, tally=tally, notes=notes, hidden_slides=hidden_slides)
    yield from each(path, tally, convert, *SUFFIXES)


def _record(file: Path, name: str, *, tally: Tally, notes: bool, hidden_slides: bool) -> Record:
    with file.open("rb") as f:
        is_zip = f.read(2) == b"PK"
    if file.suffix.lower() in LEGACY and (not is_zip or file.suffix.lower() == ".odp"):
        raise Refused("legacy_office_format", f"convert it: soffice --headless --convert-to pptx {name}")
    parts = office_parts(file, "ppt")
    fields = core_properties(parts)
    slides: list[str | None] = safe(lambda: _slides(parts, notes, hidden_slides), "the PowerPoint reader")
    tally.seen("slides", len(slides))
    text, starts = "", []
    for number, slide in enumerate(slides, start=1):
        if not slide:
            reason = "slide_hidden" if slide is None else "slide_without_text"
            tally.drop(Dropped(reason, Pointer(name, f"slide {number}")))
        starts.append(len(text) + 2 if text else 0)
        text += ("\n\n" if text and slide else "") + (slide or "")
    fields |= {"pages": str(sum(bool(s) for s in slides)), "page_starts": ",".join(map(str, starts))}
    return document(name, text, fields.pop("title", ""), fields)


def _slides(parts: Any, notes: bool, hidden_slides: bool) -> list[str | None]:
    """Each slide as Markdown; None for a hidden one."""
    from pptx import Presentation

    made: list[str | None] = []
    for number, slide in enumerate(Presentation(parts).slides, start=1):
        hidden = slide._element.get("show") in ("0", "false")
        made.append(None if hidden and not hidden_slides else _slide(slide, number, notes))
    return made


def _slide(slide: Any, number: int, notes: bool) -> str:
    title = slide.shapes.title
    heading = _plain(title.text_frame.text) if title is not None and title.has_text_frame else ""
    blocks = [b for shape in _in_order(slide.shapes, DEEPEST) if shape != title for b in _shape(shape) if b.strip()]
    blocks += [text for text in _alternatives(slide.shapes._spTree) if text]
    spoken = slide.notes_slide.notes_text_frame if notes and slide.has_notes_slide else None
    if spoken is not None and spoken.text.strip():
        blocks.append("Notes: " + "\n\n".join(_plain(p.text) for p in spoken.paragraphs if p.text.strip()))
    if not heading and not blocks:
        return ""
    return "\n\n".join([f"## {heading or f'Slide {number}'}", *blocks])


def _alternatives(tree: Any) -> Iterator[str]:
    """The words of newer shapes (formulas, effects), which the library passes over: they stand in AlternateContent."""
    for alternative in tree.iter(f"{COMPATIBILITY}AlternateContent"):
        branch = next(iter(alternative), None)
        if branch is not None:
            yield "\n\n".join(filter(None, (_words(p) for p in branch.iter(f"{A}p"))))


def _words(paragraph: Any) -> str:
    return _plain("".join(t.text or "" for t in paragraph.iter(f"{A}t", f"{MATH}t")))


def _plain(text: str) -> str:
    return " ".join(text.split())


def _in_order(shapes: Any, depth: int) -> Iterator[Any]:
    """Shapes in the order that their author gave them, groups opened."""
    for shape in shapes:
        if hasattr(shape, "shapes"):
            if depth:
                yield from _in_order(shape.shapes, depth - 1)
        elif not (shape.is_placeholder and shape.placeholder_format.type.name in FURNITURE):
            yield shape


def _shape(shape: Any) -> Iterator[str]:
    if shape.has_text_frame:
        yield _bullets(shape.text_frame, is_list=_is_list(shape))
    elif getattr(shape, "has_table", False):
        yield _table(shape.table)
    elif getattr(shape, "has_chart", False):
        yield _chart(shape.chart)
    else:
        yield from _drawing(shape)


def _is_list(shape: Any) -> bool:
    """Bodies and objects are lists by their layout; what is put elsewhere is a box of text."""
    return bool(shape.is_placeholder and shape.placeholder_format.type.name in ("BODY", "OBJECT", "VERTICAL_BODY"))


def _bullets(frame: Any, *, is_list: bool) -> str:
    lines = []
    for paragraph in frame.paragraphs:
        text = _plain(paragraph.text.replace("\v", " "))
        if text:
            plain = not is_list and paragraph.level == 0
            lines.append(re.sub(r"^#", r"\\#", text) if plain else f"{'  ' * paragraph.level}- {text}")
    return ("\n" if is_list or any(x.lstrip().startswith("- ") for x in lines) else "\n\n").join(lines)


def _table(table: Any) -> str:
    rows = [[_plain(cell.text).replace("|", "\\|") for cell in row.cells] for row in table.rows]
    rows = [row for row in rows if any(row)]
    if not rows:
        return ""
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], ["---"] * len(rows[0]), *rows[1:]))


def _chart(chart: Any) -> str:
    """A chart as the table it was drawn from."""
    title = _plain(chart.chart_title.text_frame.text) if chart.has_title and chart.chart_title.has_text_frame else ""
    tables = []
    for plot in chart.plots:
        names = [str(series.name or "") for series in plot.series]
        columns = [list(series.values) for series in plot.series]
        rows = [
            [str(c), *(str(v[i]) if i < len(v) and v[i] is not None else "" for v in columns)]
            for i, c in enumerate(plot.categories)
        ]
        table = [["", *names], ["---"] * (len(names) + 1), *rows]
        tables.append("\n".join(f"| {' | '.join(cell.replace('|', ' ') for cell in row)} |" for row in table))
    return "\n\n".join(x for x in (title, *tables) if x)


def _drawing(shape: Any) -> Iterator[str]:
    """What a picture's author says of it, and the words in a diagram, which lie in a part of their own."""
    for reference in shape._element.iter(f"{{{DIAGRAM}}}relIds"):
        id = reference.get("{http://schemas.openxmlformats.org/officeDocument/2006/relationships}dm")
        if id in shape.part.rels and not shape.part.rels[id].is_external:
            words = [_words(p) for p in xml_tree(shape.part.related_part(id).blob).iter(f"{A}p")]
            yield "\n".join(f"- {w}" for w in words if w)
            return
    described = shape._element.xpath(".//p:cNvPr/@descr")
    if described and str(described[0]).strip():
        yield f"[{_plain(str(described[0]))}]"
