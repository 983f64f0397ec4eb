"""Human review: a blind sheet of two answers a question, and what comes back of it.

Whoever fills it in sees neither arm nor judge: lines have ids of their own, an order and sides by chance. Disputed items all
come (up to a number), the others by a sample, so that what people say can be weighed back to all items
(evaluation.qualification). A sheet is its own key's: verdicts are read back by that key alone.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from data_prep.records import UserError
from evaluation.judge import Comparison, Judgement, conversation, texts_digest

Stratum = Literal["disputed", "clear"]
SCORES = {"1": 1.0, "2": 0.0, "=": 0.5}
# what people and spreadsheets make of the three; an empty cell is a line left open
SPOKEN = {
    "1": "1", "2": "2", "=": "=", "'=": "=", "1.0": "1", "2.0": "2", "1,0": "1", "2,0": "2", "tie": "=", "t": "=", "equal": "=",
    "same": "=", "0": "=", "0.0": "=", "0,0": "=", "answer 1": "1", "answer 2": "2",
}  # fmt: skip
COLUMNS = ("sheet", "id", "question", "answer_1", "answer_2", "verdict", "comment")
CELL_LIMIT = 32_000  # a spreadsheet cell holds 32,767 characters
SHOWN_MISTAKES = 10
_UNSEEN = re.compile(
    r"[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u061c\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]"
)
_FORMULA = re.compile(r"((?:^|[\n;\t])[\s\x00\"]*)([=+\-@＝＋－＠|%])")


class ReviewError(UserError):
    """A filled sheet cannot be read; every mistake is named."""


@dataclass(frozen=True, slots=True)
class Line:
    id: str
    question: str
    answer_1: str
    answer_2: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a line's id stands for."""

    item: str
    first: Literal["candidate", "baseline"]
    digest: str  # of both texts


@dataclass(frozen=True, slots=True)
class Sheet:
    """id: digest of the content. key: line id → what was drawn. strata: every item that could have been drawn."""

    id: str
    name: str
    lines: tuple[Line, ...]
    key: dict[str, Drawn]
    strata: dict[str, Stratum]

    def key_json(self) -> str:
        return json.dumps(
            {"sheet": self.id, "key": {k: asdict(d) for k, d in self.key.items()}, "strata": self.strata}, indent=1
        )


def read_key(path: Path) -> tuple[dict[str, Drawn], dict[str, Stratum]]:
    data = json.loads(path.read_text(encoding="utf-8"))
    return {k: Drawn(**d) for k, d in data["key"].items()}, data["strata"]


def dispute(j: Judgement | None, by_metric: float | None) -> str | None:
    """Why an item should be seen by a person; None where it is clear. by_metric: candidate minus baseline by a metric."""
    if j is None or j.score is None:
        return "the judge gave no verdict"
    if not j.consistent:
        return "the judge's verdict changed with the order"
    if j.score == 0.5 and "same_text" not in j.reasons:
        return "the judge saw a tie"
    if by_metric is not None and (j.score - 0.5) * by_metric < 0:
        return "judge and metric disagree"
    return None


def far_apart(gaps: Mapping[str, float | None]) -> dict[str, str | None]:
    """The same where no judge has spoken: the quarter of the items that a metric tells furthest apart, and what it cannot tell."""
    measured = sorted((abs(g) for g in gaps.values() if g), reverse=True)
    least = measured[(len(measured) - 1) // 4] if measured else math.inf
    found: dict[str, str | None] = {}
    for item, gap in gaps.items():
        far = "the metric tells the two answers far apart" if gap is not None and abs(gap) >= least else None
        found[item] = "the metric could not measure both answers" if gap is None else far
    return found


def draw(
    compared: Sequence[Comparison], strata: Mapping[str, Stratum], *, name: str, disputed: int, clear: int, seed: int
) -> Sheet:
    """A sheet of at most so many items of each stratum, chosen and ordered by seed. Raises ReviewError without any."""
    chance = random.Random(f"{seed} {name}")
    chosen: list[Comparison] = []
    for stratum, number in (("disputed", disputed), ("clear", clear)):
        of_it = [c for c in compared if strata[c.item.id] == stratum]
        chosen += chance.sample(of_it, min(number, len(of_it)))
    if not chosen:
        raise ReviewError("there is no free-text item that both arms answered, so there is nothing to review.")
    chance.shuffle(chosen)
    lines, key = [], {}
    for c in chosen:
        first: Literal["candidate", "baseline"] = chance.choice(("candidate", "baseline"))
        texts = (c.candidate, c.baseline) if first == "candidate" else (c.baseline, c.candidate)
        line = Line("r-" + _digest(seed, c.item.id, *texts)[:10], conversation(c.item.prompt), *texts)
        lines.append(line)
        key[line.id] = Drawn(c.item.id, first, texts_digest(c.candidate, c.baseline))
    sheet_id = "s-" + _digest(name, sorted(strata.items()), [asdict(line) for line in lines])[:10]
    return Sheet(sheet_id, name, tuple(lines), key, dict(strata))


def _digest(*parts: object) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


def seen(text: str) -> str:
    """The text with what would be invisible or turn it around (bidi marks, zero width, control characters) spelled out."""
    return _UNSEEN.sub(lambda m: f"[U+{ord(m[0]):04X}]", text.replace("\r\n", "\n").replace("\r", "\n"))


def cell(text: str) -> str:
    """The text as a spreadsheet cell that is never a formula, and no longer than a cell can be.

    Where the program's list separator is another than the file's, every line and every part behind `;` is a cell.
    """
    text = seen(text)
    if len(text) > CELL_LIMIT:
        text = text[:CELL_LIMIT] + " … [cut here; the page has all of it]"
    return _FORMULA.sub(r"\1'\2", text)


def csv_of(sheet: Sheet) -> str:
    """The sheet for a spreadsheet program: fill in `verdict` with 1, 2 or 0 (equally good)."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for line in sheet.lines:
        writer.writerow([sheet.id, line.id, *map(cell, (line.question, line.answer_1, line.answer_2)), "", ""])
    return "\ufeff" + out.getvalue()  # Excel takes a file without the mark for its code page


def page(sheet: Sheet) -> str:
    """The sheet as one page: works from a file without network, by keyboard, and saves what was chosen as CSV or JSON."""
    import base64

    from markupsafe import Markup

    from evaluation.report import environment_of_pages

    environment = environment_of_pages()
    environment.filters["seen"] = seen
    script = environment.get_template("review.js.j2").render()
    fingerprint = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("review.html.j2").render(
        sheet=sheet, script=Markup(script), fingerprint=fingerprint
    )


@dataclass(frozen=True, slots=True)
class Filled:
    """One reviewer's verdicts: line id → 1, 2 or =. open: lines of the sheet without one."""

    name: str
    sheet: str
    verdicts: dict[str, str]
    comments: dict[str, str] = field(default_factory=dict)
    repeated: int = 0  # lines that stand there twice with the same verdict

    def open(self, key: Mapping[str, Drawn]) -> int:
        return len(key) - len(self.verdicts)


def sheet_of(data: bytes, name: str) -> str:
    """Which sheet a filled file belongs to. Raises ReviewError."""
    found = {row["sheet"] for _, row in _rows(data, name) if row["sheet"]}
    if len(found) != 1:
        raise ReviewError(f"{name}: names {len(found)} sheets ({', '.join(sorted(found)) or 'none'}); it must be one.")
    return found.pop()


def read(data: bytes, name: str, key: Mapping[str, Drawn]) -> Filled:
    """A filled CSV or JSON file. Raises ReviewError with all its mistakes: nothing of a file with mistakes is taken."""
    sheet = sheet_of(data, name)
    verdicts: dict[str, str] = {}
    comments: dict[str, str] = {}
    mistakes: list[str] = []
    lines: dict[str, str] = {}
    repeated = 0
    for where, row in _rows(data, name):
        line, said = row["id"], row["verdict"].strip().casefold()
        if line not in key:
            mistakes.append(f"{where}: unknown id {line!r}")
        elif said and said not in SPOKEN:
            mistakes.append(f"{where}: verdict {row['verdict'][:40]!r} of {line} is none of 1, 2, 0")
        elif said and verdicts.get(line, SPOKEN[said]) != SPOKEN[said]:
            mistakes.append(f"{where}: {line} has {SPOKEN[said]!r} here and {verdicts[line]!r} at {lines[line]}")
        elif said:
            repeated += line in verdicts
            verdicts[line], lines[line] = SPOKEN[said], where
        if line in key and row["comment"].strip():
            comments[line] = row["comment"].strip()
    if mistakes:
        more = f"\n  and {len(mistakes) - SHOWN_MISTAKES} more" if len(mistakes) > SHOWN_MISTAKES else ""
        raise ReviewError(
            f"{name}: {len(mistakes)} mistakes, nothing was taken:\n  " + "\n  ".join(mistakes[:SHOWN_MISTAKES]) + more
        )
    if not verdicts:
        raise ReviewError(
            f"{name}: has no verdict at all. Fill the column `verdict` with 1, 2 or 0 (equally good) and save it."
        )
    return Filled(name, sheet, verdicts, comments, repeated)


def _rows(data: bytes, name: str) -> list[tuple[str, dict[str, str]]]:
    """(place, row) of a filled file, whatever a spreadsheet program made of it."""
    text = _decoded(data, name)
    return _json_rows(text, name) if text.lstrip()[:1] == "{" else _csv_rows(text, name)


def _decoded(data: bytes, name: str) -> str:
    """UTF-8 with or without its mark, UTF-16 with it (Excel's "Unicode text"), else the Windows code page of Western Europe."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise ReviewError(f"{name}: is a workbook. Save the sheet as CSV and read that.")
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ReviewError(f"{name}: is text in no encoding known here. Save it as CSV UTF-8.")


def _json_rows(text: str, name: str) -> list[tuple[str, dict[str, str]]]:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = sorted({k for k, _ in found if sum(k == other for other, _ in found) > 1})
        if twice:
            raise ReviewError(f"{name}: {twice[0]!r} stands there twice.")
        return dict(found)

    try:
        data = json.loads(text, object_pairs_hook=pairs)
        sheet, said = str(data["sheet"]), data["verdicts"]
        return [
            (
                f"{name}: {line}",
                {"sheet": sheet, "id": line, "verdict": str(v["verdict"]), "comment": str(v.get("comment", ""))},
            )
            for line, v in said.items()
        ]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as e:
        raise ReviewError(
            f'{name}: is not what the page saves ({e!r}): {{"sheet": …, "verdicts": {{id: {{"verdict": …}}}}}}.'
        ) from e


def _csv_rows(text: str, name: str) -> list[tuple[str, dict[str, str]]]:
    lines = text.replace("\x00", "").split("\n")
    if lines[0].strip().casefold().startswith("sep="):
        lines = lines[1:]
    head = lines[0].casefold()
    delimiter = max(",;\t", key=head.count)
    csv.field_size_limit(10_000_000)
    try:
        table = list(csv.reader(io.StringIO("\n".join(lines), newline=""), delimiter=delimiter, strict=True))
    except csv.Error as e:
        raise ReviewError(f"{name}: is not CSV ({e}). Save it as CSV UTF-8.") from e
    columns = [c.strip().casefold() for c in table[0]] if table else []
    missing = [c for c in ("sheet", "id", "verdict") if columns.count(c) != 1]
    if missing:
        raise ReviewError(f"{name}: needs one column {missing[0]!r}; its first line has {columns[:10]}.")
    found = []
    for number, row in enumerate(table[1:], start=2):
        named = dict(zip(columns, row, strict=False))
        if any(c.strip() for c in row):
            found.append(
                (f"{name}: row {number}", {c: named.get(c, "") for c in ("sheet", "id", "verdict", "comment")})
            )
    return [(where, {**row, "sheet": row["sheet"].strip(), "id": row["id"].strip()}) for where, row in found]


def scores(filled: Sequence[Filled], key: Mapping[str, Drawn]) -> dict[str, float]:
    """Item → the candidate's score by people, the mean where several reviewers judged it."""
    given: dict[str, list[float]] = {}
    for one in filled:
        for line, verdict in one.verdicts.items():
            drawn = key[line]
            score = SCORES[verdict]
            given.setdefault(drawn.item, []).append(score if drawn.first == "candidate" else 1 - score)
    return {item: sum(s) / len(s) for item, s in given.items()}


def reviewers_agree(filled: Sequence[Filled]) -> float | None:
    """Share of the lines that two or more reviewers judged on which all say the same. None without such lines."""
    said: dict[str, list[str]] = {}
    for one in filled:
        for line, verdict in one.verdicts.items():
            said.setdefault(line, []).append(verdict)
    shared = [v for v in said.values() if len(v) > 1]
    return sum(len(set(v)) == 1 for v in shared) / len(shared) if shared else None
