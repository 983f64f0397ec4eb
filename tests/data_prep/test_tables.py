"""Tables in CSV, whoever reads them: nothing vanishes behind a quote or in a row of another width, and memory stays bounded."""

from __future__ import annotations

import csv as python_csv
import io
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import plugins
from data_prep.records import Record, SourceError, Tally
from data_prep.sources import csv, html, jira, servicenow
from data_prep.sources._tables import Table
from data_prep.sources.csv import Columns

Read = Callable[..., Iterator[Record]]
TICKETS = Columns(id="id", body="body", answer="answer")
MESSAGES = Columns(id="id", ticket="ticket", body="body", author="author")
# reader → its function, the header and a row of which {n} is the number and {quote} a place for a stray quote
READERS: dict[str, tuple[Read, str, str]] = {
    "csv": (partial(csv.read, tickets=TICKETS), "id,body,answer", "{n},{quote}what is {n},it is {n}"),
    "jira": (jira.read, "Issue key,Issue id,Summary,Description,Created", "A-{n},{n},{quote}sum,text {n},01/Jan/26 1:00 PM"),
    "servicenow": (
        servicenow.read, "number,short_description,caller_id,opened_at,comments",
        "INC00{n},{quote}broken {n},Ann Bee,2026-01-01 00:00:00,",
    ),
    "html": (partial(html.read, column="html"), "id,title,html", "{n},{quote}page {n},<p>some words of {n}</p>"),
}  # fmt: skip


def table(folder: Path, name: str, rows: int, *, broken: tuple[int, ...] = (), quoted: int | None = None) -> Read:
    read, header, row = READERS[name]
    lines = [row.format(n=n, quote='"' if n == quoted else "") for n in range(1, rows + 1)]
    lines = ["only one cell" if n in broken else line for n, line in enumerate(lines, start=1)]
    (folder / "t.csv").write_text("\n".join([header, *lines]) + "\n")
    return read


@pytest.mark.parametrize("name", READERS)
def test_a_quote_that_is_never_closed_swallows_nothing(name: str, tmp_path: Path) -> None:
    read = table(tmp_path, name, 300, quoted=5)
    with pytest.raises(SourceError, match=r"t\.csv:6: not CSV \(the quote opened here is not closed"):
        list(read(tmp_path, Tally()))


@pytest.mark.parametrize("name", READERS)
def test_a_few_rows_of_another_width_are_counted_and_too_many_stop(name: str, tmp_path: Path, tally: Tally) -> None:
    read = table(tmp_path, name, 100, broken=(3, 50))
    assert len(list(read(tmp_path, tally))) == 98
    assert tally.dropped == {"broken_record": 2}
    assert tally.examples["broken_record"][0].startswith("t.csv line 4 (1 cells, the header has ")
    read = table(tmp_path, name, 100, broken=tuple(range(10, 60)))
    with pytest.raises(SourceError, match=r"line 31: 1 cells.* more than 20 records of this source are broken"):
        list(read(tmp_path, Tally()))


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ('a,b\n1,"two\nlines"\n2,"x\n3,y\n', 4, "not closed"),
        ('a,b\n"two\nlines","x\n3,y\n', 3, "not closed"),
        ('a,b\n1,"x\n2,"y"\n3,z\n', 2, "ends before its cell does"),
        ('a,b\n1,"say ""hi"" ""\n2,"y"\n', 2, "ends before its cell does"),
        ('a,b\n1,"he said "no" to me"\n', 2, "ends before its cell does"),
        ('a,b\n1,2"3\n"x"y,4\n', 3, "ends before its cell does"),
        ('a,"b\n1,2\n', 1, "not closed"),
        ('a,b\n1,"', 2, "not closed"),
    ],
)
def test_the_line_where_a_spoiling_quote_was_opened_is_told(tmp_path: Path, text: str, line: int, told: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(SourceError, match=rf"t\.csv:{line}: not CSV .*{told}"):
        list(Table(tmp_path / "t.csv", "t.csv").rows(Tally()))


def test_a_row_without_end_stops_before_it_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_prep.sources._tables.LONGEST", 1000)
    (tmp_path / "t.csv").write_text('a,b\n1,2\n2,"x\n' + "3,y\n" * 1000 + '4,z"\n')
    with pytest.raises(SourceError, match=r"t\.csv:3: not CSV \(more than 1000 characters in one row"):
        list(Table(tmp_path / "t.csv", "t.csv").rows(Tally()))
    (tmp_path / "t.csv").write_text("a,b\n" + "x" * 5000)
    with pytest.raises(SourceError, match="more than 1000 characters in one row"):
        list(Table(tmp_path / "t.csv", "t.csv").rows(Tally()))


@given(
    rows=st.lists(st.lists(st.text(st.sampled_from("ab\",;\n\r \t'é")), min_size=1, max_size=4), max_size=12),
    ends=st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_writer_writes_is_read_back_or_counted(rows: list[list[str]], ends: str) -> None:
    out = io.StringIO(newline="")
    python_csv.writer(out, lineterminator=ends, quoting=python_csv.QUOTE_ALL).writerows([["x", "y"], *rows])
    tally = Tally(max_bad_records=99)
    found = [cells for _, cells in Table(Path("t.csv"), "t.csv", delimiter=",", text=out.getvalue()).rows(tally)]
    meant = [[c.replace("\r\n", "\n").replace("\r", "\n") for c in row] for row in rows]
    assert found == [row for row in meant if len(row) == 2]
    assert tally.dropped["broken_record"] == sum(len(row) != 2 for row in rows)


@pytest.mark.parametrize("name", READERS)
def test_an_unknown_encoding_is_refused_by_check_and_told_by_a_reader(name: str, tmp_path: Path) -> None:
    read = table(tmp_path, name, 3)
    for encoding in ("nonsense", "hex", "", "undefined"):
        with pytest.raises(ValueError, match="is no text encoding; write one like utf-8"):
            plugins.options(plugins.load("data_prep.sources", name, "read"), {"encoding": encoding})
        if name != "html":  # which guesses, as pages declare any nonsense
            with pytest.raises(SourceError, match=r"t\.csv: encoding: .* is no text encoding"):
                list(read(tmp_path, Tally(), encoding=encoding))


@pytest.mark.parametrize("name", plugins.names("data_prep.sources"))
def test_no_reader_takes_an_unknown_encoding(name: str) -> None:
    model = plugins.options_model(plugins.load("data_prep.sources", name, "read"))
    if "encoding" in model.model_fields:
        with pytest.raises(ValueError, match="is no text encoding"):
            model.model_validate({"encoding": "nonsense"})


@pytest.mark.parametrize("name", ["csv", "jira", "servicenow"])
def test_a_large_table_is_read_in_little_memory(name: str, tmp_path: Path) -> None:
    read, header, row = READERS[name]
    with (tmp_path / "t.csv").open("w") as f:
        f.write(header + "\n")
        f.writelines(row.format(n=n, quote="word " * 4000) + "\n" for n in range(600))
    assert (tmp_path / "t.csv").stat().st_size > 12_000_000
    tracemalloc.start()
    try:
        assert sum(1 for _ in read(tmp_path, Tally())) == 600
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


CELLS = {
    "id": st.sampled_from(["", " ", "1", "2", "3", "4"]),
    "ticket": st.sampled_from(["", " ", "T1", "T2", "T3"]),
    "body": st.sampled_from(["", " ", "hello", 'two\nlines, "quoted"']),
    "author": st.sampled_from(["", "ann", "bob"]),
    "created": st.sampled_from(["", "2026-01-01", "yesterday"]),
    "flag": st.sampled_from(["", "0", "1", "perhaps"]),
    "spam": st.sampled_from(["", "0", "1"]),
}
OF_MESSAGES = ("message_without_ticket", "duplicate_message_id", "message_of_dropped_ticket")
OF_TICKETS = ("duplicate_ticket_id", "spam", "unreadable_time", "ticket_without_messages")


def written(folder: Path, name: str, rows: list[dict[str, str]], broken: list[int]) -> int:
    """Write the rows and as many broken ones; how many there are."""
    with (folder / name).open("w", newline="") as f:
        out = python_csv.writer(f)
        out.writerow(CELLS)
        out.writerows(row.values() for row in rows)
        out.writerows(["x"] * width for width in broken)
    return len(rows) + len(broken)


@settings(deadline=None, max_examples=300)
@given(
    tickets=st.lists(st.fixed_dictionaries(CELLS), max_size=8),
    messages=st.lists(st.fixed_dictionaries(CELLS), max_size=12),
    broken=st.lists(st.integers(1, 9).filter(lambda n: n != len(CELLS)), max_size=3),
    shape=st.sampled_from(["tickets", "messages", "both"]),
)
def test_every_row_ends_in_a_message_or_in_a_counted_drop(
    tmp_path_factory: pytest.TempPathFactory,
    tickets: list[dict[str, str]],
    messages: list[dict[str, str]],
    broken: list[int],
    shape: str,
) -> None:
    folder, tally = tmp_path_factory.mktemp("csv"), Tally()
    given_: dict[str, Columns] = {}
    number = {"tickets": 0, "messages": 0}
    more = {"author": "author", "created": "created", "private": "flag", "spam": "spam"}
    if shape != "messages":
        number["tickets"] = written(folder, "t.csv", tickets, broken)
        given_["tickets"] = Columns(id="ticket", body="body", **more)
    if shape != "tickets":
        number["messages"] = written(folder, "m.csv", messages, broken)
        given_["messages"] = Columns(id="id", ticket="ticket", body="body", **more)
    globs = {"tickets_glob": "t*", "messages_glob": "m*"} if shape == "both" else {}
    records = list(csv.read(folder, tally, **given_, **globs))
    lost = tally.dropped
    assert number["tickets"] + number["messages"] == (
        len(tickets) * (shape != "messages") + tally.taken["messages"] + tally.taken["broken records"]
    )
    assert tally.taken["broken records"] == lost["broken_record"]
    openings = len(records) if shape != "messages" else 0  # a ticket's own row is its first message
    assert tally.taken["messages"] == sum(len(r.messages) for r in records) - openings + sum(
        lost[d] for d in OF_MESSAGES
    )
    assert tally.taken["tickets"] == len(records) + sum(lost[d] for d in OF_TICKETS)
    assert set(lost) <= {*OF_MESSAGES, *OF_TICKETS, "broken_record"}
    assert len({r.id for r in records}) == len(records)
