"""Readers: every shape is read, nothing is lost in silence, and what is not surely public is internal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data_prep import plugins
from data_prep.records import Record, SourceError, Tally
from data_prep.sources import _files, csv, html, markdown, zendesk
from data_prep.sources._files import Peek
from data_prep.sources.csv import Columns
from tests.conftest import help_desk, write_export


def zendesk_records(folder: Path, tally: Tally, **options: Any) -> list[Record]:
    return list(zendesk.read(folder, tally, **options))


def test_pages_arrays_and_lines_give_the_same_records(tmp_path: Path) -> None:
    export = help_desk(6)
    write_export(tmp_path / "pages", export)
    for name, rows in export.items():
        (tmp_path / "arrays").mkdir(exist_ok=True)
        (tmp_path / "lines").mkdir(exist_ok=True)
        (tmp_path / "arrays" / f"{name}.json").write_text(json.dumps(rows))
        (tmp_path / "lines" / f"{name}.ndjson").write_text("".join(json.dumps(r) + "\n" for r in rows))
    texts = {}
    for shape in ("pages", "arrays", "lines"):
        records = zendesk_records(tmp_path / shape, Tally())
        texts[shape] = [(r.id, [m.text for m in r.messages], r.group, r.solved) for r in records]
    assert len(texts["pages"]) == 6
    assert texts["pages"] == texts["arrays"] == texts["lines"]


@pytest.mark.parametrize("flag", [False, None, "yes", 1, "missing"])
def test_a_comment_that_is_not_surely_public_is_internal(tmp_path: Path, flag: Any) -> None:
    export = help_desk(2)
    export["comments"][1]["public"] = flag
    if flag == "missing":
        del export["comments"][1]["public"]
    records = zendesk_records(write_export(tmp_path, export), Tally())
    assert [m.public for m in records[0].messages] == [True, False]


def test_users_without_a_role_and_bots_are_never_agents(tmp_path: Path) -> None:
    export = help_desk(3)
    export["users"][0]["role"] = None
    export["comments"][1]["author_id"] = 999  # deleted user
    export["users"].append({"id": 5, "name": "Desk Bot", "role": "agent"})
    export["comments"][3]["author_id"] = 5
    records = zendesk_records(write_export(tmp_path, export), Tally(), bots=("Desk Bot",))
    assert [r.messages[1].role for r in records] == ["system", "bot", "system"]


def test_orphans_and_duplicates_are_counted_with_their_place(tmp_path: Path, tally: Tally) -> None:
    export = help_desk(3)
    export["comments"].append({**export["comments"][0], "id": 77, "ticket_id": 404})
    export["comments"].append({**export["comments"][1], "plain_body": "edited later"})
    export["comments"].append({"id": 78, "author_id": 1, "public": True, "plain_body": "no ticket"})
    export["tickets"].append({**export["tickets"][0], "subject": "edited"})
    export["tickets"].append({**export["tickets"][0], "id": 50, "description": ""})
    records = zendesk_records(write_export(tmp_path, export), tally)
    assert {r.id: r.title for r in records}["1"] == "edited"
    assert records[0].messages[1].text == "edited later"
    assert tally.dropped == {
        "message_without_ticket": 2, "duplicate_message_id": 1, "duplicate_ticket_id": 1, "ticket_without_messages": 1,
    }  # fmt: skip
    assert "comments.json /comments/6" in tally.examples["message_without_ticket"][1]
    kept_messages = sum(len(r.messages) for r in records)
    assert tally.taken["messages"] == kept_messages + 3


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("tickets.json", b"", "is empty"),
        ("tickets.json", b'{"tickets": [{"id": 1, "subj', r"tickets\.json:1: not JSON .*truncated"),
        (
            "tickets.ndjson",
            b'{"id": 1, "subject": "a", "requester_id": 2}\n{"id": 2, "sub',
            r"ndjson:2: not JSON .*truncated",
        ),
        ("tickets.json", b"id;subject\n1;hello", "is not JSON"),
        ("tickets.json", '{"tickets": [], "x": "größe"}'.encode("latin-1"), "byte 24 is 0xf6, which is not utf-8"),
        ("tickets.json", b'{"invoices": [1]}', "has none of the lists"),
        ("tickets.json", b'{"tickets": [3]}', "holds no ticket"),
        (
            "tickets.json",
            b'{"tickets": [' + b"3, " * 30 + b"3]}",
            "/tickets/20: is int '3', not an object; more than 20 records",
        ),
        ("tickets.json", b"[" * 100_000, "nested too deeply|not JSON"),
        ("tickets.json", b'{"tickets": []}', "holds no ticket"),
        ("tickets.json", b'{"tickets": [{"id": ' + b"9" * 5000 + b"}]}", "Exceeds the limit"),
        ("tickets.ndjson", b'{"id": ' + b"9" * 5000 + b"}\n", "holds no ticket"),
    ],
)
def test_a_broken_export_is_one_clear_error(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=told):
        zendesk_records(tmp_path, Tally())


def test_a_missing_or_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        zendesk_records(tmp_path / "nowhere", Tally())
    with pytest.raises(SourceError, match="holds no file ending in"):
        zendesk_records(tmp_path, Tally())


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("[]")
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "tickets.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(SourceError, match="leads out of"):
        zendesk_records(tmp_path / "export", Tally())


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    export = help_desk(2)
    for name, rows in export.items():
        text = "".join(json.dumps(r) + "\r\n" for r in rows)
        (tmp_path / f"{name}.ndjson").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert len(zendesk_records(tmp_path, Tally())) == 2


MESSAGES = Columns(id="m", ticket="ticket", body="text", author="who", created="at", role="role", public="seen")
ROLES = {"customer": "customer", "agent": "agent"}


def test_columns_are_read_by_header_whatever_their_order(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("m,ticket,text,who,at,role,seen\n1,T1,hello,ann,2026-01-01,customer,public\n")
    (tmp_path / "b.csv").write_text("extra,seen,role,who,text,at,ticket,m\nx,public,agent,bob,hi Ann,2026-01-02,T1,2\n")
    (record,) = csv.read(tmp_path, Tally(), messages=MESSAGES, roles=ROLES)
    assert [(m.role, m.text) for m in record.messages] == [("customer", "hello"), ("agent", "hi Ann")]


@pytest.mark.parametrize("seen", ["internal", "", "INTERNAL?", "privat"])
def test_an_unknown_visibility_in_csv_is_internal(tmp_path: Path, seen: str) -> None:
    (tmp_path / "a.csv").write_text(f"m,ticket,text,who,at,role,seen\n1,T1,hello,ann,2026-01-01,customer,{seen}\n")
    (record,) = csv.read(tmp_path, Tally(), messages=MESSAGES, roles=ROLES)
    assert not record.messages[0].public


PRIVATE = Columns(id="m", ticket="ticket", body="text", author="who", private="flag")


@pytest.mark.parametrize(
    ("flag", "public"),
    [("0", True), ("False", True), ("no", True), ("public", True), ("1", False), ("yes", False), ("", False), ("maybe", False)],
)  # fmt: skip
def test_a_private_column_in_csv_says_public_only_by_an_explicit_no(tmp_path: Path, flag: str, public: bool) -> None:
    (tmp_path / "a.csv").write_text(f"m,ticket,text,who,flag\n1,T1,hello,ann,{flag}\n")
    (record,) = csv.read(tmp_path, Tally(), messages=PRIVATE)
    assert record.messages[0].public is public
    (declared,) = csv.read(tmp_path, Tally(), messages=PRIVATE, not_private_values=("",))
    assert declared.messages[0].public is (flag == "")


def test_where_two_columns_say_who_may_see_a_row_both_must_say_public(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "m,ticket,text,who,flag,seen\n1,T1,a,ann,0,public\n2,T1,b,ann,0,\n3,T1,c,ann,1,public\n"
    )
    (record,) = csv.read(tmp_path, Tally(), messages=PRIVATE.model_copy(update={"public": "seen"}))
    assert [m.public for m in record.messages] == [True, False, False]


def test_a_ticket_of_one_row_is_internal_whole(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,body,answer,is_private\n1,hello,hi,1\n2,hello,hi,0\n")
    columns = Columns(id="id", body="body", answer="answer", private="is_private")
    records = csv.read(tmp_path, Tally(), tickets=columns)
    assert [[m.public for m in r.messages] for r in records] == [[False, False], [True, True]]


def test_a_note_that_stands_first_does_not_make_its_author_the_customer(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("m,ticket,text,who,flag\n1,T1,note,ann,1\n2,T1,help,bob,0\n3,T1,done,ann,0\n")
    (record,) = csv.read(tmp_path, Tally(), messages=PRIVATE)
    assert [m.role for m in record.messages] == ["agent", "customer", "agent"]


FLAGS = [
    "is_private", "Internal", "isInternal", "private_note", "note_type", "Visibility", "is_public", "visible to customer",
    "staff_only", "Privat", "öffentlich", "note", "is_internal_note",
]  # fmt: skip


@pytest.mark.parametrize("header", FLAGS)
def test_a_column_that_may_mark_internal_rows_is_refused_until_it_is_mapped(tmp_path: Path, header: str) -> None:
    (tmp_path / "a.csv").write_text(f"id,ticket_id,body,author,{header}\n1,T1,hello,ann,0\n2,T1,a note,bob,1\n")
    columns = Columns(id="id", ticket="ticket_id", body="body", author="author")
    with pytest.raises(
        SourceError, match=rf"a\.csv:1: column '{header}' may say which rows are internal.*assume_public"
    ):
        list(csv.read(tmp_path, Tally(), messages=columns))
    (record,) = csv.read(tmp_path, Tally(), messages=columns, assume_public=True)
    assert [m.public for m in record.messages] == [True, True]
    proposed = csv.recognise(Peek.of(tmp_path / "a.csv"))
    assert proposed is not None
    assert header in {proposed["messages"].get(k) for k in ("public", "private")}
    assert list(csv.read(tmp_path, Tally(), **plugins.options(csv.read, proposed)))


@pytest.mark.parametrize(
    "header", ["international", "republic", "public_url", "internal_id", "publication", "notes_count"]
)
def test_a_column_that_marks_nothing_is_no_flag(tmp_path: Path, header: str) -> None:
    (tmp_path / "a.csv").write_text(f"id,body,{header}\n1,hello,x\n")
    assert len(list(csv.read(tmp_path, Tally(), tickets=Columns(id="id", body="body")))) == 1


def test_a_column_of_internal_texts_is_no_flag_and_one_with_notes_for_values_is(tmp_path: Path) -> None:
    columns = Columns(id="id", body="body")
    (tmp_path / "a.csv").write_text(f"id,body,internal_notes\n1,hello,{'the customer pays late ' * 5}\n")
    assert len(list(csv.read(tmp_path, Tally(), tickets=columns))) == 1
    (tmp_path / "a.csv").write_text("id,body,part\n1,hello,comment\n2,he pays late,note\n")
    with pytest.raises(SourceError, match="column 'part' may say"):
        list(csv.read(tmp_path, Tally(), tickets=columns))


@pytest.mark.parametrize("header", ["not_public", "hidden_from_public", "public_hidden", "not visible"])
def test_a_flag_whose_yes_is_unclear_is_proposed_so_that_neither_yes_nor_no_says_public(
    tmp_path: Path, header: str
) -> None:
    (tmp_path / "a.csv").write_text(f"id,body,{header}\n1,hello,0\n2,hello,1\n3,hello,public\n")
    proposed = csv.recognise(Peek.of(tmp_path / "a.csv"))
    assert proposed is not None
    records = csv.read(tmp_path, Tally(), **plugins.options(csv.read, proposed))
    assert [r.messages[0].public for r in records] == [False, False, True]


def test_two_kinds_of_files_join_by_id_and_the_opener_is_the_customer(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text('id,content,creator\n1,"<p>two\nlines</p>",ann\n1,<p>edited</p>,ann\n')
    (tmp_path / "r.csv").write_text(
        "id,question,content,creator\n8,1,try this,bob\n9,1,I solved it,ann\n7,404,lost,bob\n"
    )
    tally = Tally()
    (record,) = csv.read(
        tmp_path, tally,
        tickets=Columns(id="id", body="content", author="creator"), tickets_glob="q*",
        messages=Columns(id="id", ticket="question", body="content", author="creator"), messages_glob="r*", html=True,
    )  # fmt: skip
    assert [(m.role, m.text) for m in record.messages] == [
        ("customer", "<p>edited</p>"), ("agent", "try this"), ("customer", "I solved it"),
    ]  # fmt: skip
    assert tally.dropped == {"duplicate_ticket_id": 1, "message_without_ticket": 1}


def test_rows_without_an_id_are_each_themselves(tmp_path: Path, tally: Tally) -> None:
    (tmp_path / "a.csv").write_text("id,body\n,one\n ,two\n3,three\n")
    records = list(csv.read(tmp_path, tally, tickets=Columns(id="id", body="body")))
    assert {r.id: r.messages[0].text for r in records} == {"a.csv:line 2": "one", "a.csv:line 3": "two", "3": "three"}
    assert (tally.taken["objects without id"], tally.dropped) == (2, {})
    (tmp_path / "a.csv").write_text("id,ticket,body,author\n,T1,one,ann\n ,T1 ,two,bob\n3,T1,three,ann\n")
    tally = Tally()
    columns = Columns(id="id", ticket="ticket", body="body", author="author")
    (record,) = csv.read(tmp_path, tally, messages=columns)
    assert [m.text for m in record.messages] == ["one", "two", "three"]
    assert (tally.taken["objects without id"], tally.dropped) == (2, {})


def test_messages_that_every_ticket_numbers_from_one_on_are_all_kept(tmp_path: Path, tally: Tally) -> None:
    (tmp_path / "a.csv").write_text(
        "id,ticket,body,author\n1,T1,one,ann\n1,T2,two,bob\n2,T2,three,ann\n2,T2,edited,ann\n"
    )
    columns = Columns(id="id", ticket="ticket", body="body", author="author")
    records = csv.read(tmp_path, tally, messages=columns)
    assert {r.id: [m.text for m in r.messages] for r in records} == {"T1": ["one"], "T2": ["two", "edited"]}
    assert tally.dropped == {"duplicate_message_id": 1}


def test_a_csv_file_that_no_glob_fits_is_counted(tmp_path: Path, tally: Tally) -> None:
    (tmp_path / "tickets.csv").write_text("id,body\n1,one\n")
    (tmp_path / "other.csv").write_text("id,body\n2,two\n")
    (tmp_path / "third.csv").write_text("")
    columns = Columns(id="id", body="body")
    assert [r.id for r in csv.read(tmp_path, tally, tickets=columns, tickets_glob="tick*")] == ["1"]
    assert (tally.taken["files that are not read"], tally.dropped) == (2, {"file_of_no_glob": 2})
    assert tally.examples["file_of_no_glob"][0].startswith("other.csv line 1")


def test_csv_faults_are_told_with_file_and_line(tmp_path: Path, tally: Tally) -> None:
    file = tmp_path / "a.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(SourceError, match=r"a\.csv:1: has no column 'text'; it has \['a', 'b'\]"):
        list(csv.read(tmp_path, tally, messages=MESSAGES))
    file.write_text(
        "m,ticket,text,who,at,role,seen\n1,T1,one cell too few,ann,2026-01-01,customer\n2,T1,ok,ann,2026-01-01,customer,public\n"
    )
    assert len(list(csv.read(tmp_path, tally, messages=MESSAGES, roles=ROLES))) == 1
    assert tally.examples["broken_record"] == ["a.csv line 2 (6 cells, the header has 7)"]
    file.write_bytes(
        "m,ticket,text,who,at,role,seen\n1,T1,gr\xfc\xdfe,ann,2026-01-01,customer,public\n".encode("cp1252")
    )
    with pytest.raises(SourceError, match="Set `encoding`"):
        list(csv.read(tmp_path, tally, messages=MESSAGES))
    (record,) = csv.read(tmp_path, tally, messages=MESSAGES, roles=ROLES, encoding="cp1252")
    assert record.messages[0].text == "grüße"
    file.write_text("")
    with pytest.raises(SourceError, match="is empty"):
        list(csv.read(tmp_path, tally, messages=MESSAGES))


def test_a_time_that_cannot_be_read_drops_the_ticket_with_its_messages(tmp_path: Path, tally: Tally) -> None:
    (tmp_path / "a.csv").write_text("m,ticket,text,who,at,role,seen\n1,T1,hello,ann,yesterday,customer,public\n")
    assert list(csv.read(tmp_path, tally, messages=MESSAGES, roles=ROLES)) == []
    assert tally.dropped == {"unreadable_time": 1, "message_of_dropped_ticket": 1}


def test_one_broken_line_among_many_is_counted_with_its_place_and_too_many_stop(tmp_path: Path, tally: Tally) -> None:
    export = help_desk(30)
    write_export(tmp_path, {k: export[k] for k in ("comments", "users")})
    lines = [json.dumps(t) for t in export["tickets"]]
    lines[4] = lines[4][:40]
    lines.insert(9, "[]")
    lines.insert(12, '{"id": "\\ud83d torn", "subject": 3, "requester_id": null, "description": "x"}')
    (tmp_path / "tickets.ndjson").write_text("\n".join(lines) + "\n")
    records = zendesk_records(tmp_path, tally)
    assert len(records) == 30
    assert tally.dropped["broken_record"] == 2
    assert tally.examples["broken_record"][0].startswith("tickets.ndjson line 5 (not JSON")
    with pytest.raises(SourceError, match="more than 1 records of this source are broken"):
        zendesk_records(tmp_path, Tally(max_bad_records=1))


@pytest.mark.parametrize("whole", [1 << 26, 10])
def test_a_page_larger_than_the_window_gives_the_same_records(
    tmp_path: Path, whole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_files._Window, "WHOLE", whole)
    monkeypatch.setattr(_files._Window, "CHUNK", 50)
    records = zendesk_records(write_export(tmp_path, help_desk(9)), Tally())
    assert [len(r.messages) for r in records] == [2] * 9
    assert records[3].pointer.at == "/tickets/3"


def test_a_single_line_of_fifty_megabytes_is_read(tmp_path: Path) -> None:
    export = help_desk(3)
    export["comments"][1]["plain_body"] = "word " * 10_000_000
    write_export(tmp_path, {k: export[k] for k in ("tickets", "users")})
    (tmp_path / "comments.ndjson").write_text("".join(json.dumps(c) + "\n" for c in export["comments"]))
    assert len(zendesk_records(tmp_path, Tally())[0].messages[1].text) == 50_000_000


def test_times_in_mixed_zones_sort_by_moment(tmp_path: Path) -> None:
    export = help_desk(1)
    export["comments"][0]["created_at"] = "2026-01-01T10:00:00+09:00"
    export["comments"][1]["created_at"] = "2026-01-01T02:00:00Z"
    export["comments"].append({**export["comments"][1], "id": 99, "created_at": "Thu, 01 Jan 2026 03:30:00 +0100"})
    (record,) = zendesk_records(write_export(tmp_path, export), Tally())
    assert [m.created.hour if m.created else None for m in record.messages] == [1, 2, 2]


@pytest.mark.parametrize(
    "nonsense",
    ["0001-01-01T00:00:00Z", "soon", -1, True, [], "9999-12-31", "9999-12-31T23:59:59-05:00", "1 Jan 99999999999 00:00:00"],
)  # fmt: skip
def test_clock_nonsense_of_a_comment_keeps_the_comment(tmp_path: Path, tally: Tally, nonsense: Any) -> None:
    export = help_desk(1)
    export["comments"][1]["created_at"] = nonsense
    (record,) = zendesk_records(write_export(tmp_path, export), tally)
    assert sorted(m.created is None for m in record.messages) == [False, True]
    assert tally.taken["messages without a readable time"] == 1


def test_a_date_beyond_a_machine_word_is_an_unreadable_time(tmp_path: Path, tally: Tally) -> None:
    export = help_desk(1)
    export["tickets"][0]["created_at"] = "1 Jan 99999999999 00:00:00"
    assert zendesk_records(write_export(tmp_path, export), tally) == []
    assert tally.dropped == {"unreadable_time": 1, "message_of_dropped_ticket": 2}
    (tmp_path / "a.md").write_text("---\nupdated: 1 Jan 99999999999 00:00:00\n---\n# A\ntext\n")
    (document,) = markdown.read(tmp_path / "a.md", tally)
    assert document.created is None


@pytest.mark.parametrize("leaf", ["1", '"\\ud83d\\ude00"', '"\\ud83d torn"'])
@pytest.mark.parametrize("name", ["tickets.json", "tickets.ndjson"])
@pytest.mark.parametrize(("depth", "is_read"), [(600, True), (20_000, False)])
def test_a_deep_document_is_read_or_refused_with_its_place(
    tmp_path: Path, tally: Tally, leaf: str, name: str, depth: int, is_read: bool
) -> None:
    deep = '{"a":' * depth + leaf + "}" * depth
    ticket = '{"id": 1, "requester_id": 2, "description": "smile \\ud83d\\ude00", "x": ' + deep + "}"
    flat = '{"id": 2, "requester_id": 2, "description": "flat"}'
    lines = name.endswith(".ndjson")
    (tmp_path / name).write_text(f"{ticket}\n{flat}\n" if lines else f"[\n{ticket},\n{flat}]")
    if is_read:
        assert [r.messages[0].text for r in zendesk_records(tmp_path, tally)] == ["smile 😀", "flat"]
    elif lines:
        assert [r.id for r in zendesk_records(tmp_path, tally)] == ["2"]
        assert tally.examples["broken_record"] == ["tickets.ndjson line 1 (nested too deeply)"]
    else:
        with pytest.raises(SourceError, match=r"tickets\.json:2: is nested too deeply"):
            zendesk_records(tmp_path, tally)


def test_a_ticket_of_two_megabytes_is_read_whole(tmp_path: Path) -> None:
    body = "word " * 400_000
    (tmp_path / "a.csv").write_text(f"m,ticket,text,who,at,role,seen\n1,T1,{body},ann,2026-01-01,customer,public\n")
    (record,) = csv.read(tmp_path, Tally(), messages=MESSAGES, roles=ROLES)
    assert len(record.messages[0].text) == len(body)


def test_markdown_takes_its_title_from_front_matter_or_heading(tmp_path: Path, tally: Tally) -> None:
    (tmp_path / "a.md").write_text("---\ntitle: Returns\nupdated: 2026-01-02\n---\n# Other\ntext")
    (tmp_path / "b.md").write_text("# Heading #\ntext")
    (tmp_path / "empty.md").write_text("\n")
    records = list(markdown.read(tmp_path, tally))
    assert [(r.title, r.created.year if r.created else None) for r in records] == [("Returns", 2026), ("Heading", None)]
    assert tally.dropped == {"empty_document": 1}


def test_html_keeps_the_main_content_and_its_headings_only(tmp_path: Path, tally: Tally) -> None:
    (tmp_path / "a.html").write_text(
        "<html><head><title>Reset</title></head><body><nav>Home</nav><div>cookies</div><main><h2>How to reset</h2>"
        "<p>Hold <b>ten</b> seconds.</p><pre><code>x = 1</code></pre><script>alert(1)</script></main><footer>imprint</footer></body></html>"
    )
    (tmp_path / "b.html").write_text("")
    (record,) = html.read(tmp_path, tally)
    text = record.messages[0].text
    assert "## How to reset" in text
    assert "x = 1" in text
    assert not {"Home", "cookies", "imprint", "alert"} & set(text.replace("(", " ").split())
    assert tally.dropped == {"empty_document": 1}


def test_html_pages_in_a_column_of_csv(tmp_path: Path) -> None:
    (tmp_path / "kb.csv").write_text('id,title,page\n3,Passwords,"<h2>Change</h2><p>Open settings.</p>"\n')
    (record,) = html.read(tmp_path, Tally(), column="page")
    assert (record.title, record.id) == ("Passwords", "kb.csv#3")
    with pytest.raises(SourceError, match="has no column 'body'"):
        list(html.read(tmp_path, Tally(), column="body"))


def test_a_linked_folder_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# A\n\nSome words.\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "docs" / "more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match="a link to a folder"):
        list(markdown.read(tmp_path / "docs", Tally()))


def test_a_link_to_nothing_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A\n\nSome words.\n")
    (tmp_path / "b.md").symlink_to(tmp_path / "gone" / "b.md")
    with pytest.raises(SourceError, match=r"b\.md: is a link to .*gone/b\.md, which is not there"):
        list(markdown.read(tmp_path, Tally()))


SIBLINGS: list[dict[str, Any]] = [
    {"articles": [{"id": 3, "title": "Reset", "body": "<p>x", "author_id": 2}], "count": 1},
    {"side_conversations": [{"id": "s1", "ticket_id": 1, "subject": "a", "state": "open"}]},
    {"survey_responses": [{"id": 3, "ticket_id": 1}], "meta": {}},
    {"sessions": [1, 2], "count": 2},
]


@pytest.mark.parametrize("sibling", SIBLINGS)
@pytest.mark.parametrize("name", ["a-sibling.json", "z-sibling.json"])
def test_a_stream_that_no_reader_needs_is_counted_beside_tickets(
    tmp_path: Path, tally: Tally, sibling: dict[str, Any], name: str
) -> None:
    write_export(tmp_path, help_desk(2))
    (tmp_path / name).write_text(json.dumps(sibling))
    assert [len(r.messages) for r in zendesk_records(tmp_path, tally)] == [2, 2]
    assert tally.dropped == {"other_object": 1}
    assert tally.taken["other objects"] == 1
    assert tally.examples["other_object"][0].startswith(name)


@pytest.mark.parametrize("sibling", SIBLINGS)
def test_a_source_with_nothing_but_such_streams_is_an_error(tmp_path: Path, sibling: dict[str, Any]) -> None:
    (tmp_path / "a.json").write_text(json.dumps(sibling))
    (tmp_path / "b.json").write_text(json.dumps(sibling))
    with pytest.raises(SourceError, match=r"a\.json: has none of the lists|holds no ticket"):
        zendesk_records(tmp_path, Tally())


def test_objects_wrapped_in_their_streams_name_are_read(tmp_path: Path, tally: Tally) -> None:
    export = help_desk(1)
    for name, wrapper in (("tickets", "ticket"), ("comments", "comment"), ("users", "user")):
        for n, item in enumerate(export[name]):
            (tmp_path / f"{wrapper}-{n}.json").write_text(json.dumps({wrapper: item}))
    (tmp_path / "m.json").write_text(json.dumps({"ticket_metric": {"id": 3, "ticket_id": 1, "reopens": 1}}))
    (record,) = zendesk_records(tmp_path, tally)
    assert ([m.role for m in record.messages], record.reopened) == (["customer", "agent"], True)
    assert tally.dropped == {}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("whole", [1 << 26, 10])
@pytest.mark.parametrize("chunk", [1 << 20, 400])
def test_objects_one_after_another_are_read_with_the_lines_they_begin_in(
    tmp_path: Path, tally: Tally, indent: int | None, whole: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_files._Window, "WHOLE", whole)
    monkeypatch.setattr(_files._Window, "CHUNK", chunk)
    export = help_desk(5)
    export["tickets"][0]["subject"] = "long " * 10
    write_export(tmp_path, {k: export[k] for k in ("comments", "users")})
    told = [json.dumps(t, indent=indent) for t in export["tickets"]]
    (tmp_path / "tickets.json").write_text("\n".join(told))
    records = zendesk_records(tmp_path, tally)
    assert [(r.id, len(r.messages)) for r in records] == [(str(n), 2) for n in range(1, 6)]
    starts = [1 + sum(t.count("\n") + 1 for t in told[:n]) for n in range(5)]
    assert [r.pointer.at for r in records] == [f"line {n}" for n in starts]
    assert tally.dropped == {}


def test_pages_one_after_another_are_read_and_what_follows_them_is_an_error(tmp_path: Path) -> None:
    export = help_desk(4)
    write_export(tmp_path, {k: export[k] for k in ("comments", "users")})
    pages = [json.dumps({"tickets": export["tickets"][n : n + 2], "count": 2}, indent=1) for n in (0, 2)]
    (tmp_path / "tickets.json").write_text("\n".join(pages))
    assert [r.id for r in zendesk_records(tmp_path, Tally())] == ["1", "2", "3", "4"]
    for end in ("]", "xyz", '{"id": 5'):
        (tmp_path / "tickets.json").write_text("\n".join([*pages, end]))
        with pytest.raises(SourceError, match=r"tickets\.json:\d+: not JSON"):
            zendesk_records(tmp_path, Tally())


def test_lines_are_lines_whatever_the_length_of_the_first(tmp_path: Path, tally: Tally) -> None:
    export = help_desk(3)
    export["tickets"][0]["description"] = "word " * 500_000
    write_export(tmp_path, {k: export[k] for k in ("comments", "users")})
    lines = [json.dumps(t) for t in export["tickets"]]
    (tmp_path / "tickets.json").write_text("\n".join([lines[0], "{broken", *lines[1:]]) + "\n")
    assert [r.pointer.at for r in zendesk_records(tmp_path, tally)] == ["line 1", "line 3", "line 4"]
    assert tally.dropped == {"broken_record": 1}


def test_a_record_too_long_for_a_large_file_of_records_is_told_and_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_files._Window, "WHOLE", 10)
    monkeypatch.setattr(_files._Window, "CHUNK", 50)
    export = help_desk(3)
    export["tickets"][1]["description"] = "word " * 1000
    (tmp_path / "tickets.json").write_text("\n".join(json.dumps(t, indent=1) for t in export["tickets"]))
    with pytest.raises(SourceError, match=r"tickets\.json:\d+: is an object with 'id' of more than 16 MB"):
        zendesk_records(tmp_path, Tally())
