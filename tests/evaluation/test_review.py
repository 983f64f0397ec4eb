"""The review sheet: blind, harmless whatever it holds, filled by keyboard in a real browser, read back with every mistake named."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import review
from evaluation.judge import Comparison, Judgement, texts_digest
from evaluation.results import Item
from evaluation.review import Filled, ReviewError, Sheet
from tests.evaluation.browser import CHROMIUM, NO_CHROMIUM, chromium

HOSTILE = (
    "</pre></script><script>window.hit=1;alert(1)</script><img src=x onerror='window.hit=2'>"
    "<a href='javascript:alert(2)'>x</a>{{ 7*7 }}{% raw %} \u202etxt.exe\u2066 \u0000\u200b"
)
FORMULAS = [
    '=HYPERLINK("http://x.example")',
    "+1",
    "-1+cmd|' /C calc'!A0",
    "@SUM(1)",
    "\t=1",
    " =1",
    "\r=1",
    "＝1+1",
    "\n+1",
]


def compared(number: int, **texts: str) -> list[Comparison]:
    made = []
    for n in range(number):
        prompt = ({"role": "user", "content": texts.get("question", f"Question {n}?")},)
        item = Item(f"i{n:03}", "draft_reply", prompt, "", (), (), f"g{n}", "shareable")
        made.append(
            Comparison("pair", item, texts.get("candidate", f"tuned says {n}"), texts.get("baseline", f"api says {n}"))
        )
    return made


def sheet(number: int = 4, *, disputed: int = 60, clear: int = 60, seed: int = 1, **texts: str) -> Sheet:
    listed = compared(number, **texts)
    strata: dict[str, review.Stratum] = {c.item.id: "disputed" if n % 2 else "clear" for n, c in enumerate(listed)}
    return review.draw(listed, strata, name="desk", disputed=disputed, clear=clear, seed=seed)


def filled(made: Sheet, verdicts: list[str], **changes: Any) -> list[dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(review.csv_of(made).removeprefix("\ufeff"))))
    return [{**row, "verdict": v, **changes} for row, v in zip(rows, verdicts, strict=True)]


def as_csv(rows: list[dict[str, str]], *, delimiter: str = ",") -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def read(made: Sheet, text: str | bytes) -> Filled:
    return review.read(text.encode() if isinstance(text, str) else text, "filled.csv", made.key)


# the sheet


def test_a_sheet_tells_neither_arm_nor_item() -> None:
    made = sheet(20, candidate="the first text", baseline="the second text")
    body = review.page(made).split("</style>")[1]  # the report's stylesheet names verdicts
    for shown in (review.csv_of(made), body):
        for telling in ("candidate", "baseline", "tuned", "i001", "g1", "disputed"):
            assert telling not in shown, telling
    sides = [d.first for d in made.key.values()]
    assert 4 < sides.count("candidate") < 16


def test_without_a_judge_the_items_that_the_metric_tells_furthest_apart_are_disputed() -> None:
    gaps: dict[str, float | None] = {
        "a": 0.9,
        "b": -0.8,
        "c": 0.1,
        "d": 0.2,
        "e": 0.0,
        "f": 0.3,
        "g": 0.05,
        "h": None,
        "i": -0.02,
    }
    why = review.far_apart(gaps)
    assert [i for i, reason in why.items() if reason] == ["a", "b", "h"]
    assert review.far_apart({"a": 0.0, "b": 0.0}) == {"a": None, "b": None}
    assert review.far_apart({"a": 1.0})["a"] is not None


def test_all_disputed_items_come_and_the_others_as_a_sample_in_a_mixed_order() -> None:
    made = sheet(100, disputed=60, clear=10)
    strata = [made.strata[made.key[line.id].item] for line in made.lines]
    assert (strata.count("disputed"), strata.count("clear")) == (50, 10)
    assert "clear" in strata[:40]
    assert len(made.strata) == 100


def test_the_same_seed_draws_the_same_sheet_and_another_text_makes_another() -> None:
    assert sheet() == sheet()
    assert sheet().id != sheet(seed=2).id
    assert sheet().id != sheet(candidate="other").id


def test_without_anything_to_review_it_says_so() -> None:
    with pytest.raises(ReviewError, match="nothing to review"):
        sheet(0)


@pytest.mark.parametrize(
    ("first", "second", "metric", "why"),
    [
        ("candidate", "candidate", 0.1, None), ("candidate", "candidate", None, None), ("candidate", "candidate", -0.1, "metric"),
        ("candidate", "baseline", 0.1, "order"), ("tie", "tie", 0.1, "tie"), ("candidate", None, 0.1, "no verdict"),
    ],
)  # fmt: skip
def test_what_is_disputed(first: Any, second: Any, metric: float | None, why: str | None) -> None:
    made = Judgement("pair", "i", "t", "g", first, second, (), 1, 1, "d")
    found = review.dispute(made, metric)
    assert found is None if why is None else why in str(found)


@pytest.mark.parametrize("text", FORMULAS)
@pytest.mark.parametrize("before", ["", "Hi;", "Hi\n", "Hi\t", 'Hi; "', "Hi;\n\n;"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_cell_is_a_formula_whatever_the_programs_list_separator(text: str, before: str, delimiter: str) -> None:
    text = before + text
    written = review.csv_of(sheet(question=text, candidate=text, baseline=f"{text} "))
    for row in csv.reader(io.StringIO(written, newline=""), delimiter=delimiter):
        for cell in row:
            assert not re.match(r"[\s\x00\"]*[=+\-@＝＋－＠|%]", cell), repr(cell)


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=60))
def test_a_cell_holds_nothing_unseen(text: str) -> None:
    cell = review.cell(text)
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069\u200b-\u200f\x00\r]", cell)
    assert cell.lstrip()[:1] not in ("=", "+", "-", "@")


def test_a_long_text_fits_a_cell_and_the_page_has_all_of_it() -> None:
    made = sheet(1, candidate="word " * 20_000)
    assert max(len(c) for row in csv.reader(io.StringIO(review.csv_of(made)), strict=True) for c in row) < 32_767
    assert "word " * 20_000 in review.page(made)


# reading back


def test_verdicts_come_back_as_the_candidates_score() -> None:
    made = sheet(6)
    rows = filled(made, ["1", "2", "=", "", "1", "tie"])
    got = read(made, as_csv(rows))
    assert (len(got.verdicts), got.open(made.key)) == (5, 1)
    scores = review.scores([got], made.key)
    for row in rows:
        drawn = made.key[row["id"]]
        if row["verdict"] in ("1", "2"):
            assert scores[drawn.item] == float((row["verdict"] == "1") == (drawn.first == "candidate"))
        else:
            assert scores.get(drawn.item) == (0.5 if row["verdict"] else None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_every_way_a_spreadsheet_saves_it_is_read(encoding: str, delimiter: str) -> None:
    made = sheet(4, candidate="Grüße; „ja“, so\nist es")
    text = as_csv(filled(made, ["1", "2.0", "0", ""], comment="schön, „gut“"), delimiter=delimiter).replace(
        "\n", "\r\n"
    )
    got = read(made, text.encode(encoding))
    assert sorted(got.verdicts.values()) == ["1", "2", "="]
    assert set(got.comments.values()) == {"schön, „gut“"}


def test_a_separator_line_other_columns_and_other_capitals_do_no_harm() -> None:
    made = sheet(2)
    rows = [{"Nr": "7", "ID": r["id"], "SHEET": r["sheet"], "Verdict ": " 1 "} for r in filled(made, ["", ""])]
    assert set(read(made, "sep=;\n" + as_csv(rows, delimiter=";")).verdicts.values()) == {"1"}


def test_all_mistakes_are_named_and_nothing_is_taken() -> None:
    made = sheet(4)
    rows = filled(made, ["maybe", "1", "1", "2"])
    rows += [{**rows[1], "verdict": "2"}, {**rows[2], "id": "r-unknown"}]
    with pytest.raises(ReviewError) as e:
        read(made, as_csv(rows))
    for told in (
        "3 mistakes",
        "row 2: verdict 'maybe'",
        "unknown id 'r-unknown'",
        "has '2' here and '1' at filled.csv: row 3",
    ):
        assert told in str(e.value), told


def test_a_line_that_stands_twice_with_one_verdict_is_counted_once() -> None:
    made = sheet(2)
    rows = filled(made, ["1", "2"])
    got = read(made, as_csv([*rows, rows[0]]))
    assert (len(got.verdicts), got.repeated) == (2, 1)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "needs one column 'sheet'"), (b"id,verdict\nr,1\n", "needs one column 'sheet'"),
        (b"sheet,id,id,verdict\n", "needs one column 'id'"), (b"PK\x03\x04 workbook", "is a workbook"),
        (b"sheet,id,verdict\n", "names 0 sheets"), (b"sheet,id,verdict\na,r,1\nb,r,1\n", "names 2 sheets"),
        (b'sheet,id,verdict\n"a,r,1', "is not CSV"), (b"{", "not what the page saves"), (b'{"sheet": "s"}', "not what the page saves"),
        (b'{"sheet": "s", "verdicts": {"a": 1}}', "not what the page saves"), (b"\xff\xfe\x00", "in no encoding"),
        (b'{"sheet": "s", "verdicts": {"a": {"verdict": "1"}, "a": {"verdict": "2"}}}', "'a' stands there twice"),
    ],
)  # fmt: skip
def test_what_is_no_filled_sheet_is_refused_with_its_reason(data: bytes, told: str) -> None:
    with pytest.raises(ReviewError, match=re.escape(told)):
        review.read(data, "filled.csv", sheet().key)


def test_a_sheet_without_any_verdict_is_refused() -> None:
    with pytest.raises(ReviewError, match="no verdict at all"):
        read(sheet(2), review.csv_of(sheet(2)))


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=200) | st.text(alphabet='sheet,id;verdict\n"r-12={}: ', max_size=80).map(str.encode))
def test_no_file_breaks_the_reader(data: bytes) -> None:
    with contextlib.suppress(ReviewError):
        assert review.read(data, "filled.csv", sheet().key).verdicts


def test_several_reviewers_are_averaged_and_their_agreement_told() -> None:
    made = sheet(3)
    first, second = (read(made, as_csv(filled(made, v))) for v in (["1", "1", "="], ["1", "2", ""]))
    scores = review.scores([first, second], made.key)
    assert scores[made.key[made.lines[1].id].item] == 0.5
    assert review.reviewers_agree([first, second]) == 0.5
    assert review.reviewers_agree([first]) is None


def test_a_key_survives_its_file_and_knows_the_texts_that_were_read(tmp_path: Path) -> None:
    made = sheet(3)
    (tmp_path / "key.json").write_text(made.key_json())
    key, strata = review.read_key(tmp_path / "key.json")
    assert (key, strata) == (made.key, made.strata)
    assert {d.digest for d in key.values()} == {texts_digest(f"tuned says {n}", f"api says {n}") for n in range(3)}


# the page in a real browser

browser_needed = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)


def saved(folder: Path, ending: str) -> bytes:
    for _ in range(500):
        found = [p for p in folder.glob(f"*{ending}") if p.stat().st_size]
        if found:
            return found[0].read_bytes()
        time.sleep(0.02)
    raise AssertionError(f"nothing was saved: {list(folder.iterdir())}")


@browser_needed
def test_the_page_is_filled_by_keyboard_saves_and_remembers(tmp_path: Path) -> None:
    """Keys choose and move, both files read back as what was chosen, a reload brings it back, and no address was asked for."""
    made, page, downloads = sheet(4), tmp_path / "sheet.html", tmp_path / "down"
    page.write_text(review.page(made), encoding="utf-8")
    downloads.mkdir()
    ids = [line.id for line in made.lines]
    with chromium(tmp_path / "profile", downloads) as b:
        b.open(page)
        assert b.js("[...document.querySelectorAll('article')].filter(a => !a.hidden).length") == 1
        b.press("1", "ArrowRight", "2", "ArrowRight", "=", "n", "1", "Backspace")
        assert b.js("document.getElementById('progress').textContent") == "3 of 4 done"
        b.js("document.querySelector('article:not([hidden]) textarea').focus()")
        b.press("=", "1", "2")
        assert b.js("document.querySelector('article:not([hidden]) textarea').value") == "=12"
        b.js("document.activeElement.blur()")
        b.press("s")
        b.js("document.getElementById('save-json').click()")
        table, data = saved(downloads, ".csv"), saved(downloads, ".json")
        b.open(page)
        assert b.js("document.getElementById('progress').textContent") == "3 of 4 done"
        assert [u for u in b.requests if not u.startswith(("file:", "blob:"))] == []
        assert b.errors == []
    for content in (table, data):
        got = review.read(content, "saved", made.key)
        assert got.verdicts == {ids[0]: "1", ids[1]: "2", ids[2]: "="}
    assert b'"\'=12"' in table
    assert json.loads(data)["verdicts"][ids[3]] == {"verdict": "", "comment": "=12"}


@browser_needed
def test_hostile_text_does_nothing_in_the_page(tmp_path: Path) -> None:
    made, page = sheet(2, question=HOSTILE, candidate=HOSTILE + "!", baseline="plain"), tmp_path / "sheet.html"
    page.write_text(review.page(made), encoding="utf-8")
    with chromium(tmp_path / "profile", tmp_path) as b:
        b.open(page)
        assert b.js("typeof window.hit") == "undefined"
        assert (b.js("document.images.length"), b.js("document.links.length"), b.dialogs) == (0, 0, 0)
        shown = b.js("document.querySelector('article pre').textContent")
        assert "<script>window.hit=1;alert(1)</script>" in shown
        assert "[U+202E]txt.exe[U+2066] [U+0000][U+200B]" in shown
        b.js("const s = document.createElement('script'); s.textContent = 'window.hit = 3'; document.body.append(s)")
        assert b.js("typeof window.hit") == "undefined", "the page's policy runs its own script alone"
        assert [u for u in b.requests if not u.startswith(("file:", "blob:"))] == []


def test_the_page_holds_no_address_and_reads_without_script() -> None:
    page = review.page(sheet(2))
    assert not re.search(r"(?:https?:)?//[a-z]", page.split("<script>")[0])
    assert "<noscript>" in page
    assert page.count("<article") == 2
    assert "hidden" not in page.partition("</style>")[2].split("<nav")[0]
