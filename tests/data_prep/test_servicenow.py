"""ServiceNow: journals are split as they were written, only what is surely public is public, and nothing vanishes."""

from __future__ import annotations

import csv
import json
import shutil
import socket
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.records import Message, Person, Record, SourceError, Tally
from data_prep.sources import servicenow
from data_prep.sources._files import Peek

GOLDEN = Path(__file__).parents[1] / "golden" / "servicenow"
INC1, INC2, INC3 = (f"a1f0000000000000000000000000c00{n}" for n in (1, 2, 3))
MARA, NADIA = "b1f0000000000000000000000000a001", "b1f0000000000000000000000000a002"
USERS = [
    {"sys_id": MARA, "user_name": "mara.lindqvist", "name": "Mara Lindqvist", "email": "mara@lumen.example", "phone": "+46 8 1"},
    {"sys_id": NADIA, "user_name": "nferrow", "name": "Nadia Ferrow", "email": "nadia@lumen.example", "phone": ""},
]  # fmt: skip


def incident(**fields: Any) -> dict[str, Any]:
    return {
        "sys_id": INC1, "number": "INC0010001", "short_description": "Printer", "description": "The printer is missing.",
        "caller_id": "Mara Lindqvist", "opened_by": "Mara Lindqvist", "assigned_to": "Nadia Ferrow", "state": "7",
        "opened_at": "2026-03-02 09:00:00", "sys_created_by": "mara.lindqvist", **fields,
    }  # fmt: skip


def entry(**fields: Any) -> dict[str, Any]:
    return {
        "sys_id": "f1", "element_id": INC1, "element": "comments", "value": "Add 3-West.", "name": "incident",
        "sys_created_on": "2026-03-02 10:00:00", "sys_created_by": "nferrow", **fields,
    }  # fmt: skip


def write(folder: Path, **streams: list[Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in streams.items():
        (folder / f"{name}.json").write_text(json.dumps({"result": rows}))
    return folder


def read(path: Path, tally: Tally | None = None, **options: Any) -> list[Record]:
    return list(servicenow.read(path, tally or Tally(), **options))


def one(folder: Path, options: dict[str, Any] | None = None, **fields: Any) -> Record:
    (record,) = read(write(folder, incident=[incident(**fields)]), **(options or {}))
    return record


def journal(folder: Path, text: str, options: dict[str, Any] | None = None, key: str = "comments") -> list[Message]:
    """The messages after the description."""
    return list(one(folder, options, **{key: text}).messages[1:])


def golden(id: str) -> Record:
    return {r.id: r for r in read(GOLDEN)}[id]


def said(record: Record, word: str) -> Message:
    (found,) = [m for m in record.messages if word in m.text]
    return found


def test_the_golden_export_is_read_as_it_was_meant() -> None:
    tally = Tally()
    records = read(GOLDEN, tally)
    assert [(r.fields["number"], r.group, r.solved, r.reopened, r.links, r.resolution) for r in records] == [
        ("CS0010005", "jun okabe", True, False, (), "Sensor was loose."),
        ("CS0010006", "jun okabe", False, False, (), ""),
        ("INC0010001", "mara.lindqvist@lumen.example", True, False, (), "Added the queue of printer 3-West; the old queue was removed."),
        ("INC0010002", "teo.brandvold@lumen.example", False, True, (INC1,), ""),
        ("INC0010003", "teo.brandvold@lumen.example", True, False, (INC1,), ""),
        ("RITM0010004", "teo.brandvold@lumen.example", True, False, (), ""),
    ]  # fmt: skip
    assert [r.id for r in records[2:5]] == [INC1, INC2, INC3]
    assert tally.taken == {"tickets": 6, "messages": 25, "attachments": 1}
    assert tally.dropped == {"journal_entry_repeated": 4, "entry_repeats_description": 1, "journal_also_in_stream": 1}


def test_the_solved_golden_thread_is_whole_and_in_order() -> None:
    r = golden(INC1)
    assert (r.title, r.created) == ("Laptop does not find the printer", datetime(2026, 3, 2, 9, tzinfo=UTC))
    oskar = "b1f0000000000000000000000000a004"
    assert [(m.author, m.role, m.public, m.created and m.created.hour, m.attachments) for m in r.messages] == [
        (MARA, "customer", True, 9, ("printers.png",)),
        (oskar, "agent", False, 10, ()),
        (NADIA, "agent", True, 11, ()),
        (MARA, "customer", True, 15, ()),
    ]
    assert r.messages[0].text.startswith("GOOD-QUESTION")
    assert r.messages[2].text == (
        "GOOD-REPLY Hello Mara,\n\nopen Settings, Printers, Add, choose 3-West and confirm with your badge."
        " The old queue can be removed."
    )
    assert [m.pointer.at for m in r.messages if m.pointer] == [
        "/result/0/description", "/result/0/work_notes/0", "/result/0/comments/1", "/result/0/comments/0",
    ]  # fmt: skip
    assert r.fields == {
        "number": "INC0010001", "type": "incident", "status": "closed", "priority": "moderate", "impact": "medium",
        "urgency": "medium", "category": "Hardware", "subcategory": "Printer", "contact_type": "Self-service",
        "assignment_group": "Workplace", "cmdb_ci": "Printer 3-West", "close_code": "Solution provided", "u_floor": "3",
    }  # fmt: skip
    assert r.people == (
        Person(
            MARA, ("Mara Lindqvist", "mara.lindqvist"), ("Mara.Lindqvist@lumen.example",), ("+46 8 000 00 01", "+46 70 000 00 01")
        ),
        Person(NADIA, ("Nadia Ferrow", "nadia.ferrow"), ("nadia.ferrow@lumen.example",)),
        Person("Ivo Marchetti", ("Ivo Marchetti",)),
        Person(oskar, ("Oskar Wiel", "oskar.wiel"), ("oskar.wiel@lumen.example",)),
    )  # fmt: skip


def test_canaries_in_the_golden_export_are_marked() -> None:
    records = read(GOLDEN)
    found = [m for r in records for m in r.messages if "CANARY-INTERNAL" in m.text or "CANARY-UNKNOWN" in m.text]
    assert [m.public for m in found] == [False] * 5
    assert said(golden(INC3), "CANARY-BOT").role == "bot"
    assert (said(golden(INC3), "CANARY-AUTO").role, said(golden(INC3), "CANARY-AUTO").origin) == ("bot", "automatic")


def test_the_stream_goes_before_the_journal_text_and_finds_the_caller_by_user_name() -> None:
    r = golden(INC2)
    assert [(m.role, m.public, m.html) for m in r.messages] == [
        ("customer", True, False), ("agent", True, True), ("agent", False, False), ("customer", True, False), ("agent", False, False),
    ]  # fmt: skip
    assert r.messages[1].text == "<p>Please update the client to <b>5.2</b>.</p>"


def test_arrays_pages_lines_reference_forms_and_csv_give_the_same_records(tmp_path: Path) -> None:
    comments = "2026-03-02 10:00:00 - Nadia Ferrow (Additional comments)\nAdd 3-West.\n\n"
    plain = [incident(sys_id=f"{n:032x}", number=f"INC{n:07}", comments=comments) for n in (1, 2, 3)]
    links = {k: {"display_value": v, "link": f"https://x.example/api/now/table/sys_user/{MARA if v.startswith('Mara') else NADIA}"}
             for k, v in plain[0].items() if k in ("caller_id", "opened_by", "assigned_to")}  # fmt: skip
    both = {k: {"display_value": v["display_value"], "value": v["link"][-32:]} for k, v in links.items()}
    write(tmp_path / "pages", a=plain[:2], b=plain[2:])
    write(tmp_path / "records")
    (tmp_path / "records" / "a.json").write_text(json.dumps({"records": plain}))
    write(tmp_path / "arrays")
    (tmp_path / "arrays" / "a.json").write_text(json.dumps(plain))
    write(tmp_path / "lines")
    (tmp_path / "lines" / "a.ndjson").write_text("".join(json.dumps({"result": r}) + "\n" for r in plain))
    write(tmp_path / "links", a=[{**r, **links} for r in plain])
    write(tmp_path / "both", a=[
        {k: v if isinstance(v, dict) else {"display_value": v, "value": "" if k == "comments" else v} for k, v in {**r, **both}.items()}
        for r in plain
    ])  # fmt: skip
    labels = {
        "sys_id": "Sys ID", "number": "Number", "short_description": "Short description", "description": "Description",
        "caller_id": "Caller", "opened_by": "Opened by", "assigned_to": "Assigned to", "state": "State", "opened_at": "Opened",
        "sys_created_by": "Created by", "comments": "Additional comments",
    }  # fmt: skip
    for name, header in (("columns", list(labels)), ("labels", list(labels.values()))):
        write(tmp_path / name)
        with (tmp_path / name / "incident.csv").open("w", newline="") as f:
            csv.writer(f).writerows([header, *([r[k] for k in labels] for r in plain)])
    seen = {}
    for folder in sorted(p for p in tmp_path.iterdir()):
        records = read(write(folder, sys_user=USERS))
        seen[folder.name] = [
            (r.id, r.group, r.created, r.solved, r.people, [(m.role, m.public, m.text, m.created) for m in r.messages])
            for r in records
        ]
    assert len(seen) == 8
    assert [(x[0], x[1]) for x in seen["pages"][0][-1]] == [("customer", True), ("agent", True)]
    for shape, found in seen.items():
        assert found == seen["pages"], shape


@pytest.mark.parametrize(
    ("header", "when", "who", "public"),
    [
        ("2026-03-02 10:00:05 - Nadia Ferrow (Additional comments)", "2026-03-02T10:00:05", "Nadia Ferrow", True),
        ("2026-03-02 10:00:05 - Nadia Ferrow (Additional comments (Customer visible))", "2026-03-02T10:00:05", "Nadia Ferrow", True),
        ("2026-03-02 10:00:05 - Ferrow - Wiel (IT) (Work notes)", "2026-03-02T10:00:05", "Ferrow - Wiel (IT)", False),
        ("2026-03-02 10:00:05 - Nadia  (Additional comments)", "2026-03-02T10:00:05", "Nadia", True),
        ("2026-03-02 10:00:05 -  (Additional comments)", None, None, None),
        ("02.03.2026 10:00:05 - Nadia Ferrow (Zusätzliche Kommentare)", "2026-03-02T10:00:05", "Nadia Ferrow", True),
        ("02/03/2026 10:00:05 - Nadia Ferrow (Commentaires supplémentaires)", "2026-03-02T10:00:05", "Nadia Ferrow", True),
        ("02-03-2026 10:00:05 - Nadia Ferrow (Comentarios adicionales)", "2026-03-02T10:00:05", "Nadia Ferrow", True),
        ("26/03/2026 9:19:11 PM - Nadia Ferrow (Comentários adicionais)", "2026-03-26T21:19:11", "Nadia Ferrow", True),
        ("03/26/2026 12:19:11 AM - Nadia Ferrow (Aanvullende opmerkingen)", "2026-03-26T00:19:11", "Nadia Ferrow", True),
        ("11-Sep-2026 21:19:11 - Nadia Ferrow (Commenti aggiuntivi)", "2026-09-11T21:19:11", "Nadia Ferrow", True),
        ("2026年3月2日 10:00:05 - Nadia Ferrow (追加コメント)", "2026-03-02T10:00:05", "Nadia Ferrow", True),
        ("2026-03-02 10:00:05 - Nadia Ferrow (Arbeitsnotizen)", "2026-03-02T10:00:05", "Nadia Ferrow", False),
        ("2026-03-02 10:00:05 - Nadia Ferrow (作業メモ)", "2026-03-02T10:00:05", "Nadia Ferrow", False),
        ("2026-03-02 10:00:05 - Nadia Ferrow (Handover)", "2026-03-02T10:00:05", "Nadia Ferrow", False),
        ("03-02 10:00:05 - Nadia Ferrow (Additional comments)", None, "Nadia Ferrow", True),
        ("99/99/2026 10:00:05 - Nadia Ferrow (Additional comments)", None, "Nadia Ferrow", True),
        ("Called at 10:15:00 - no answer (voicemail)", None, None, None),
        ("12:30 - lunch (canceled)", None, None, None),
        ("26-Sep-2026 - Nadia Ferrow (Additional comments)", None, None, None),
    ],
)  # fmt: skip
def test_headers_of_every_locale_are_told_from_text(
    tmp_path: Path, header: str, when: str | None, who: str | None, public: bool | None
) -> None:
    text = f"{header}\nfirst line\n\nsecond line\n\n"
    (m,) = journal(tmp_path, text, key="comments_and_work_notes")
    if public is None:
        assert (m.role, m.public, m.created) == ("system", False, None)
        assert m.text in (text.strip(), "first line\n\nsecond line")
        return
    assert (m.author, m.public, m.text) == (who, public, "first line\n\nsecond line")
    assert m.created == (datetime.fromisoformat(f"{when}+00:00") if when else None)


def test_a_label_of_the_instance_can_be_named(tmp_path: Path) -> None:
    text = (
        "2026-03-02 10:00:05 - Nadia Ferrow (Antwort)\nHello\n\n2026-03-02 10:00:01 - Nadia Ferrow (Comments)\nHi\n\n"
    )
    assert [m.public for m in journal(tmp_path, text)] == [True, False]
    named = {"journal_labels": {"Antwort ": "public", "comments": "internal"}}
    assert [m.public for m in journal(tmp_path, text, named)] == [False, True]
    assert [m.public for m in journal(tmp_path, text, {"journal_labels": {"antwort": "public"}})] == [True, True]


@pytest.mark.parametrize("key", ["comments", "work_notes", "comments_and_work_notes"])
def test_a_text_without_any_header_is_one_internal_message_of_nobody(tmp_path: Path, key: str) -> None:
    (m,) = journal(tmp_path, "Please restart.\n\nThen call me.", key=key)
    assert (m.role, m.public, m.author, m.text) == ("system", False, "", "Please restart.\n\nThen call me.")


def test_work_notes_are_internal_whatever_their_labels_say(tmp_path: Path) -> None:
    text = "2026-03-02 10:00:00 - Nadia Ferrow (Additional comments)\npasted\n\n"
    assert [m.public for m in journal(tmp_path, text, key="work_notes")] == [False]


def test_breaks_in_place_of_line_ends_are_line_ends(tmp_path: Path) -> None:
    text = (
        "2026-03-02 11:00:00 - Mara Lindqvist (Additional comments)<br>Thanks<br><br>"
        "2026-03-02 10:00:00 - Nadia Ferrow (Work notes)<BR/>secret<br/>"
    )
    found = journal(tmp_path, text, key="comments_and_work_notes")
    assert [(m.public, m.text) for m in found] == [(False, "secret"), (True, "Thanks")]


def test_text_pasted_into_an_internal_entry_stays_internal(tmp_path: Path) -> None:
    text = (
        "2026-03-02 12:00:00 - Mara Lindqvist (Additional comments)\nThanks\n\n"
        "2026-03-02 11:00:00 - Nadia Ferrow (Work notes)\nfrom the other ticket:\n\n"
        "2026-02-01 08:00:00 - Oskar Wiel (Additional comments)\nPASTED and below it a secret\n\n"
        "2026-03-02 10:00:00 - Nadia Ferrow (Additional comments)\nAdd 3-West.\n\n"
    )
    found = journal(tmp_path, text, key="comments_and_work_notes")
    assert [m.text for m in found if m.public] == ["Thanks"]
    assert len(found) == 4


def test_an_undated_entry_among_internal_ones_is_internal(tmp_path: Path) -> None:
    text = (
        "2026-03-02 11:00:00 - Nadia Ferrow (Work notes)\nfrom the other ticket:\n\n"
        "02-01 08:00:00 - Oskar Wiel (Additional comments)\nPASTED and below it a secret\n\n"
        "2026-03-02 10:00:00 - Nadia Ferrow (Additional comments)\nAdd 3-West.\n\n"
    )
    found = journal(tmp_path, text, key="comments_and_work_notes")
    assert [m.text for m in found if m.public] == ["Add 3-West."]


def test_an_entry_that_holds_an_internal_label_is_internal(tmp_path: Path) -> None:
    text = "2026-03-02 12:00:00 - Nadia Ferrow (Additional comments)\nHello\n\nMar 2 at noon, Oskar Wiel (Work notes)\nsecret\n\n"
    assert [m.public for m in journal(tmp_path, text, key="comments_and_work_notes")] == [False]


@pytest.mark.parametrize(
    ("order", "other", "expected"),
    [
        ("day_first", "", "2026-05-03"),
        ("month_first", "", "2026-03-05"),
        ("day_first", "12/25/2026 08:00:00 - Nadia Ferrow (Additional comments)\nx\n\n", "2026-03-05"),
        ("month_first", "25/12/2026 08:00:00 - Nadia Ferrow (Additional comments)\nx\n\n", "2026-05-03"),
    ],
)
def test_the_order_of_day_and_month_is_one_for_a_ticket(tmp_path: Path, order: str, other: str, expected: str) -> None:
    text = other + "03/05/2026 10:00:00 - Nadia Ferrow (Additional comments)\ny\n\n"
    found = journal(tmp_path, text, {"date_order": order})
    assert found[0].created is not None
    assert found[0].created.date().isoformat() == expected
    assert all(m.public for m in found)


def test_shown_times_are_in_the_display_zone_and_stored_ones_in_utc(tmp_path: Path) -> None:
    fields = {"opened_at": {"display_value": "02.03.2026 10:00:00", "value": "2026-03-02 09:00:00"},
              "comments": "2026-07-02 10:00:00 - Nadia Ferrow (Additional comments)\nx\n\n"}  # fmt: skip
    r = one(tmp_path, {"time_zone": "Europe/Berlin"}, **fields)
    assert r.created == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert r.messages[1].created == datetime(2026, 7, 2, 8, tzinfo=UTC)
    with pytest.raises(SourceError, match="time_zone is 'Mars/North'"):
        read(tmp_path, time_zone="Mars/North")


def test_an_entry_without_a_readable_time_keeps_its_place_and_is_counted(tmp_path: Path) -> None:
    text = "03-02 11:00:00 - Nadia Ferrow (Additional comments)\nsecond\n\n03-02 10:00:00 - Mara Lindqvist (Additional comments)\nfirst\n\n"
    tally = Tally()
    (record,) = read(write(tmp_path, incident=[incident(comments=text)]), tally)
    assert [(m.text, m.created) for m in record.messages[1:]] == [("first", None), ("second", None)]
    assert tally.taken["messages without a readable time"] == 2


def test_an_undated_entry_stays_behind_the_one_before_it(tmp_path: Path) -> None:
    comments = (
        "03-02 13:00:00 - Mara Lindqvist (Additional comments)\nlast\n\n"
        "2026-03-02 12:00:00 - Nadia Ferrow (Additional comments)\nsecond\n\n"
    )
    record = one(tmp_path, comments=comments, work_notes="2026-03-02 11:00:00 - Nadia Ferrow (Work notes)\nfirst\n\n")
    assert [m.text for m in record.messages[1:]] == ["first", "second", "last"]


def test_comments_and_work_notes_are_one_thread_in_time_order(tmp_path: Path) -> None:
    comments = (
        "2026-03-02 12:00:00 - Mara Lindqvist (Additional comments)\nthird\n\n"
        "2026-03-02 10:00:00 - Nadia Ferrow (Additional comments)\nfirst\n\n"
    )
    record = one(tmp_path, comments=comments, work_notes="2026-03-02 11:00:00 - Nadia Ferrow (Work notes)\nsecond\n\n")
    assert [m.text for m in record.messages[1:]] == ["first", "second", "third"]


def test_what_the_stream_has_is_not_taken_from_the_journal_again(tmp_path: Path) -> None:
    fields = {
        "comments": "2026-03-02 10:00:00 - Nadia Ferrow (Additional comments)\nAdd 3-West.\n\n",
        "work_notes": "2026-03-02 10:30:00 - Nadia Ferrow (Work notes)\nsecret\n\n",
        "comments_and_work_notes": "2026-03-02 10:30:00 - Nadia Ferrow (Work notes)\nsecret\n\n"
        "2026-03-02 10:00:00 - Nadia Ferrow (Additional comments)\nAdd 3-West.\n\n",
    }
    tally = Tally()
    (record,) = read(write(tmp_path, incident=[incident(**fields)], journal=[entry()], sys_user=USERS), tally)
    assert [(m.text, m.public) for m in record.messages[1:]] == [("Add 3-West.", True), ("secret", False)]
    assert tally.dropped == {"journal_also_in_stream": 2, "journal_entry_repeated": 1}
    assert tally.taken["messages"] == len(record.messages) + 3


@pytest.mark.parametrize(
    ("element", "public"),
    [("comments", True), ("work_notes", False), ("approval_history", False), ("Comments", False), ("", False), (None, False)],
)  # fmt: skip
def test_only_comments_of_the_stream_are_public(tmp_path: Path, element: Any, public: bool) -> None:
    write(tmp_path, incident=[incident()], journal=[entry(element=element)], sys_user=USERS)
    assert read(tmp_path)[0].messages[1].public is public


@pytest.mark.parametrize(
    ("author", "users", "role"),
    [
        ("nferrow", USERS, "agent"),
        ("mara.lindqvist", USERS, "customer"),
        ("m.lindqvist2", [{**USERS[0], "user_name": "m.lindqvist2"}], "customer"),
        ("someone", USERS, "agent"),  # the caller's user name is known, and it is another
        ("someone", [], "system"),  # it may be the caller's
        ("mara.lindqvist", [], "customer"),
        ("nadia.ferrow", [], "agent"),  # whom the ticket is assigned to
        ("ivo.marchetti", USERS, "system"),  # a watcher
        ("system", USERS, "bot"),
        ("Virtual Agent", USERS, "bot"),
        ("", USERS, "system"),
        (None, USERS, "system"),
    ],
)
def test_authors_of_the_stream_have_roles_only_where_they_can_be_compared(
    tmp_path: Path, author: Any, users: list[Any], role: str
) -> None:
    tickets = [incident(watch_list="Ivo Marchetti")]
    (record,) = read(write(tmp_path, incident=tickets, journal=[entry(sys_created_by=author)], sys_user=users))
    assert record.messages[1].role == role


@pytest.mark.parametrize(
    ("fields", "author", "role"),
    [
        ({}, "Nadia Ferrow", "agent"),
        ({}, "mara lindqvist", "customer"),
        ({"opened_by": "Oskar Wiel"}, "Oskar Wiel", "customer"),
        ({"opened_by": "Nadia Ferrow"}, "Nadia Ferrow", "agent"),  # took the call and the ticket
        ({"caller_id": "", "opened_by": "Mara Lindqvist"}, "Mara Lindqvist", "customer"),
        ({"caller_id": "", "opened_by": ""}, "Oskar Wiel", "system"),
        ({"caller_id": "", "opened_by": ""}, "Nadia Ferrow", "agent"),
        ({"caller_id": MARA, "opened_by": None}, "Oskar Wiel", "system"),  # the caller's name is unknown
        ({"caller_id": {"display_value": "Mara Lindqvist", "link": f"https://x.example/{MARA}"}}, "Mara Lindqvist", "customer"),
        ({"caller_id": None, "contact": "Jun Okabe"}, "Jun Okabe", "customer"),
        ({"caller_id": ["Mara"], "opened_by": 7}, "Oskar Wiel", "agent"),
        ({}, "Guest", "bot"),
    ],
)  # fmt: skip
def test_authors_of_journals_have_roles_by_name(tmp_path: Path, fields: dict[str, Any], author: str, role: str) -> None:
    text = f"2026-03-02 10:00:00 - {author} (Additional comments)\nx\n\n"
    assert one(tmp_path, comments=text, **fields).messages[1].role == role


def test_names_of_bots_are_an_option(tmp_path: Path) -> None:
    text = "2026-03-02 10:00:00 - Incident BOT (Additional comments)\nx\n\n"
    (m,) = journal(tmp_path, text, {"bots": ("incident bot",)})
    assert (m.role, m.origin) == ("bot", "automatic")


def test_two_users_of_one_name_are_neither(tmp_path: Path) -> None:
    twins = [*USERS, {**USERS[0], "sys_id": "c" * 32, "user_name": "mara.l", "email": "other@lumen.example"}]
    write(tmp_path, incident=[incident()], sys_user=twins)
    assert read(tmp_path)[0].group == "mara lindqvist"


def test_a_sys_id_goes_before_a_name(tmp_path: Path) -> None:
    caller = {"display_value": "Mara Lindqvist", "value": "c" * 32}
    write(tmp_path, incident=[incident(caller_id=caller)], sys_user=USERS)
    assert read(tmp_path)[0].group == "c" * 32
    write(tmp_path, sys_user=[{**USERS[0], "sys_id": ""}])
    assert read(tmp_path)[0].group == "mara@lumen.example"


def test_dotted_fields_tell_of_the_caller(tmp_path: Path) -> None:
    r = one(tmp_path, **{"caller_id.email": "Mara@lumen.example", "caller_id.mobile_phone": "+46 70 1"})
    assert r.group == "mara@lumen.example"
    assert r.people[0] == Person("Mara Lindqvist", ("Mara Lindqvist",), ("Mara@lumen.example",), ("+46 70 1",))


@pytest.mark.parametrize(
    ("fields", "solved", "status"),
    [
        ({"state": "6"}, True, "resolved"), ({"state": 7}, True, "closed"), ({"state": "Closed"}, True, "closed"),
        ({"state": {"value": "6", "display_value": "Gelöst"}}, True, "resolved"), ({"state": "Gelöst"}, True, "gelöst"),
        ({"state": "8"}, False, "canceled"), ({"state": "Canceled"}, False, "canceled"), ({"state": "2"}, False, "in progress"),
        ({"state": None}, False, None), ({"state": [6]}, False, None), ({"state": "", "incident_state": "6"}, True, "resolved"),
        ({"state": "3", "number": "CS0000001"}, True, "closed"), ({"state": "7", "number": "CS0000001"}, False, "cancelled"),
        ({"state": "3", "sys_class_name": "sc_req_item"}, True, "closed complete"),
        ({"state": "4", "number": "RITM0000001"}, False, "closed incomplete"), ({"state": "3"}, False, "on hold"),
        ({"state": "7", "close_code": "Not Solved (Not Reproducible)"}, False, "closed"),
    ],
)  # fmt: skip
def test_solved_follows_the_states_of_the_table(
    tmp_path: Path, fields: dict[str, Any], solved: bool, status: str | None
) -> None:
    record = one(tmp_path, **fields)
    assert (record.solved, record.fields.get("status")) == (solved, status)


def test_words_of_solved_states_are_an_option(tmp_path: Path) -> None:
    assert one(tmp_path, {"solved_states": ("Fertig",)}, state="fertig").solved


@pytest.mark.parametrize(("fields", "reopened"), [({"reopen_count": "2"}, True), ({"reopen_count": 1}, True), ({"reopen_count": "0"}, False),
                                                  ({"reopened_time": "2026-03-03 08:00:00"}, True), ({"reopen_count": "many"}, False)])  # fmt: skip
def test_reopened_by_count_or_time(tmp_path: Path, fields: dict[str, Any], reopened: bool) -> None:
    assert one(tmp_path, **fields).reopened is reopened


def test_a_closing_note_of_an_account_is_no_resolution(tmp_path: Path) -> None:
    assert one(tmp_path, close_notes="Added the queue.", resolved_by="Nadia Ferrow").resolution == "Added the queue."
    assert one(tmp_path, close_notes="Closed after 7 days.", resolved_by="system").resolution == ""


def test_parents_and_duplicates_are_links_by_the_ids_of_the_records(tmp_path: Path) -> None:
    others = [incident(sys_id=INC2, number="INC0010002"), incident(sys_id="", number="INC0010009")]
    fields = {
        "parent_incident": "INC0010002",
        "close_code": "Duplicate",
        "close_notes": "See INC0010002, INC0010009, INC7777777 and INC0010001",
    }
    write(tmp_path, incident=[incident(**fields), *others])
    assert {r.id: r.links for r in read(tmp_path)}[INC1] == (INC2, "INC0010009", "INC7777777")


def test_an_empty_description_gives_the_short_one_and_a_repeated_one_is_said_once(tmp_path: Path) -> None:
    assert one(tmp_path, description=None).messages[0].text == "Printer"
    text = "2026-03-02 09:00:00 - Mara Lindqvist (Additional comments)\nThe printer is missing.\n\n"
    assert journal(tmp_path, text) == []


def test_other_tables_wide_rows_and_undated_tickets_are_counted(tmp_path: Path) -> None:
    tickets = [
        incident(), {**incident(sys_id=INC2), "number": "KB0010001"}, incident(sys_id=INC3, opened_at="yesterday", comments="x"),
        incident(sys_id=None, number=None), {**incident(sys_id="d" * 32, description="", short_description="")}, {"sys_id": "1", "group": "x"},
    ]  # fmt: skip
    (tmp_path / "more.csv").write_text('number,short_description\n"INC0010077",ok\n"INC0010078",a,b\n\n')
    tally = Tally()
    assert [r.id for r in read(write(tmp_path, incident=tickets), tally)] == ["INC0010077", INC1]
    assert tally.dropped == {
        "other_object": 2, "unreadable_time": 1, "message_of_dropped_ticket": 2, "ticket_without_id": 1,
        "ticket_without_messages": 1, "broken_record": 1,
    }  # fmt: skip
    assert tally.examples["broken_record"] == ["more.csv line 3 (3 cells, the header has 2)"]


@pytest.mark.parametrize(
    "time",
    [
        "soon",
        "0001-01-01 00:00:00",
        "9999-12-31T23:59:59-05:00",
        "31/31/2026",
        {"value": [1]},
        [],
        True,
        1e300,
        "02/30/2026 10:00:00",
    ],
)
def test_a_time_that_is_none_never_stops_the_read(tmp_path: Path, time: Any) -> None:
    tally = Tally()
    tickets = [incident(), incident(sys_id=INC2, opened_at=time if time != [] else "[]")]
    (record,) = read(write(tmp_path, incident=tickets, journal=[entry(sys_created_on=time or "[]")]), tally)
    assert record.messages[1].created is None
    assert (tally.taken["messages without a readable time"], tally.dropped["unreadable_time"]) == (1, 1)


def test_duplicates_and_orphans_are_counted(tmp_path: Path) -> None:
    tally = Tally()
    stream = [
        entry(),
        entry(value="edited"),
        entry(sys_id="f2", element_id="e" * 32),
        entry(sys_id="f3", element_id=""),
    ]
    (record,) = read(write(tmp_path, incident=[incident(), incident(short_description="new")], journal=stream), tally)
    assert (record.title, record.messages[1].text) == ("new", "edited")
    assert tally.dropped == {"duplicate_ticket_id": 1, "duplicate_message_id": 1, "message_without_ticket": 2}


def test_one_broken_record_among_many_is_counted(tmp_path: Path) -> None:
    lines = [json.dumps(incident(sys_id=f"{n:032x}")) for n in range(1000)]
    lines[500] = '{"sys_id": "1", "number": "INC'
    (tmp_path / "incident.ndjson").write_text("\n".join(lines) + "\n")
    tally = Tally()
    assert len(read(tmp_path, tally)) == 999
    assert tally.examples["broken_record"][0].startswith("incident.ndjson line 501")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("incident.json", b"", "is empty"),
        ("incident.csv", b" \n", "is empty"),
        ("incident.json", b'{"result": [{"sys_id": "1", "num', r"incident\.json:1: not JSON"),
        ("incident.json", b'{"error": {"message": "no rights"}}', "has none of the lists"),
        ("incident.json", b'{"result": []}', "holds no ticket"),
        ("incident.csv", b"name,amount\nx,1\n", "holds no ticket"),
        ("incident.csv", "number,short_description\nINC1,gr\xfc\xdfe\n".encode("cp1252"), "Set `encoding`"),
        ("incident.json", b"[" * 100_000, "nested too deeply|not JSON"),
    ],
)  # fmt: skip
def test_an_unusable_export_is_one_clear_error(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=told):
        read(tmp_path)


def test_a_windows_export_with_semicolons_is_read(tmp_path: Path) -> None:
    (tmp_path / "incident.csv").write_bytes(
        '"Number";"Short description"\r\n"INC0010001";"Gr\xfc\xdfe, bitte"\r\n'.encode("cp1252")
    )
    assert servicenow.recognise(Peek.of(tmp_path / "incident.csv")) == {"encoding": "cp1252"}
    assert read(tmp_path, encoding="cp1252")[0].title == "Grüße, bitte"


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("[]")
    (write(tmp_path / "export", incident=[incident()]) / "more.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(SourceError, match="leads out of"):
        read(tmp_path / "export")


def test_hostile_file_names_long_texts_and_logs_are_read_in_time(tmp_path: Path) -> None:
    log = ("10:15:00 - x (" * 300 + ")\n") * 2000 + "2026-03-02 10:00:00 - " + "(" * 200_000 + ")"
    write(
        tmp_path, **{"--rm\n-rf 😀": [incident(comments=log), incident(sys_id=INC2, description="word " * 1_000_000)]}
    )
    started = perf_counter()
    records = read(tmp_path)
    assert perf_counter() - started < 20
    assert records[0].pointer.file == "--rm\n-rf 😀.json"
    assert [m.public for m in records[0].messages] == [True, False]
    assert len(records[1].messages[0].text) == 5_000_000


def test_deep_nesting_in_one_record_does_not_stop_the_others(tmp_path: Path) -> None:
    deep = '{"sys_id": "' + INC2 + '", "short_description": ' + '{"value":' * 950 + "1" + "}" * 950 + "}"
    (tmp_path / "incident.ndjson").write_text(json.dumps(incident()) + "\n" + deep + "\n")
    assert INC1 in [r.id for r in read(tmp_path)]


def test_recognise_knows_its_own_files_and_no_others() -> None:
    own = sorted(GOLDEN.iterdir())
    assert len(own) >= 6
    assert [servicenow.recognise(Peek.of(p)) for p in own] == [{}] * len(own)
    foreign = [p for d in sorted(GOLDEN.parent.iterdir()) if d != GOLDEN for p in sorted(d.rglob("*")) if p.is_file()]
    assert foreign
    assert [p for p in foreign if servicenow.recognise(Peek.of(p)) is not None] == []


def test_reading_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a reader opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    assert len(read(GOLDEN)) == 6


HEADERS = [
    "2026-03-02 10:00:00 - Nadia Ferrow (Additional comments)", "2026-03-03 10:00:00 - Mara Lindqvist (Work notes)", "", "text",
    "1/2 3:04 - x (y)",
]  # fmt: skip
JOURNAL = st.lists(st.sampled_from(HEADERS), max_size=6).map("\n".join)
ODD = st.sampled_from(
    [
        None,
        "",
        0,
        -1.5,
        "7",
        True,
        [],
        {},
        {"value": {}},
        ["x"],
        {"display_value": "x", "link": 3},
        "2026-03-01 08:00:00",
    ]
)


def mangled(whole: dict[str, Any], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The record with some of its fields missing and some of another type."""
    kept = {k: st.just(whole[k]) for k in ("element_id", "number") if k in whole}
    return st.fixed_dictionaries(
        kept, optional={**{k: st.just(v) | ODD for k, v in whole.items() if k not in kept}, **more}
    )


JOURNALS = {k: JOURNAL | ODD for k in ("comments", "work_notes", "comments_and_work_notes")}
TICKETS = st.lists(
    st.integers(1, 4).flatmap(lambda n: mangled(incident(sys_id=f"{n:032x}", number=f"INC{n:07}"), **JOURNALS)),
    max_size=6,
)
STREAM = st.lists(
    st.tuples(st.integers(1, 9), st.integers(1, 6)).flatmap(lambda n: mangled(entry(sys_id=str(n[0]), element_id=f"{n[1]:032x}"))), max_size=8
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(TICKETS, STREAM)
def test_what_goes_in_comes_out_or_is_counted(
    tmp_path_factory: pytest.TempPathFactory, tickets: list[Any], stream: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    tally = Tally(max_bad_records=100)
    records = read(write(folder, incident=[*tickets, incident(sys_id="9" * 32)], journal=stream, sys_user=USERS), tally)
    shutil.rmtree(folder)
    lost = Counter(tally.dropped)
    of_tickets = ("duplicate_ticket_id", "ticket_without_id", "ticket_without_messages", "unreadable_time")
    of_messages = (
        "duplicate_message_id", "message_without_ticket", "message_of_dropped_ticket", "journal_also_in_stream",
        "journal_entry_repeated", "entry_repeats_description",
    )  # fmt: skip
    assert tally.taken["tickets"] == len(tickets) + 1 == len(records) + sum(lost[k] for k in of_tickets)
    assert tally.taken["messages"] == sum(len(r.messages) for r in records) + sum(lost[k] for k in of_messages)
    assert set(lost) <= {*of_tickets, *of_messages, "broken_record"}
    assert len({r.id for r in records}) == len(records)
