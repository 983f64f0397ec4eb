"""Intercom: every shape gives the same thread, only what the customer surely saw is public, nothing is lost in silence."""

from __future__ import annotations

import copy
import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.records import Person, Record, SourceError, Tally
from data_prep.sources import intercom
from data_prep.sources._files import Peek
from tests.conftest import help_desk, write_export

GOLDEN = Path(__file__).parents[1] / "golden"
MARA, JONAS, PRIYA = "65e0a1b2c3d4e5f601020304", "9001", "9002"
WHO = {
    "customer": {"type": "user", "id": MARA, "name": "Mara Lindqvist", "email": "mara@lindqvist.example"},
    "agent": {"type": "admin", "id": JONAS, "name": "Jonas Berger", "email": "jonas@nordwind.example"},
}


def read(folder: Path, tally: Tally | None = None, **options: Any) -> list[Record]:
    return list(intercom.read(folder, tally if tally is not None else Tally(), **options))


def part(
    id: str, who: str = "agent", kind: str | None = "comment", at: int = 1772450000, **more: Any
) -> dict[str, Any]:
    return {
        "type": "conversation_part", "id": id, "part_type": kind, "body": f"<p>text {id}</p>", "created_at": at,
        "author": WHO.get(who, {"type": who, "id": f"of-{who}"}), "attachments": [], "redacted": False,
    } | more  # fmt: skip


def conversation(id: str = "1", parts: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    parts = [part(f"{id}-1")] if parts is None else parts
    return {
        "type": "conversation", "id": id, "created_at": 1772442900, "title": f"Title {id}", "state": "closed", "open": False,
        "source": {
            "type": "conversation", "id": f"s{id}", "delivered_as": "customer_initiated", "body": f"<p>question {id}</p>",
            "author": WHO["customer"],
        },
        "contacts": {"type": "contact.list", "contacts": [{"type": "contact", "id": MARA}]},
        "conversation_parts": {"type": "conversation_part.list", "conversation_parts": parts, "total_count": len(parts)},
    } | more  # fmt: skip


def export(folder: Path, *items: dict[str, Any], name: str = "conversations.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({"type": "conversation.list", "conversations": list(items)}))
    return folder


def one(
    tmp_path: Path,
    *parts: dict[str, Any],
    tally: Tally | None = None,
    options: dict[str, Any] | None = None,
    **more: Any,
) -> Record:
    (record,) = read(export(tmp_path, conversation("1", list(parts), **more)), tally, **(options or {}))
    return record


def told(records: list[Record]) -> list[Any]:
    """What a record says, whatever place and shape it was read from."""
    return [
        (r.id, r.group, r.created, r.title, r.solved, r.fields, r.people,
         [(m.author, m.role, m.public, m.created, m.text, m.origin, m.attachments) for m in r.messages])
        for r in records
    ]  # fmt: skip


def test_the_golden_export_is_read_exactly() -> None:
    tally = Tally()
    records = {r.id: r for r in read(GOLDEN / "intercom", tally)}
    assert list(records) == ["147000004", "215470001", "215470002", "215470003", "215470005", "215470006"]
    shown = {
        id: [(m.role, m.public, m.origin, m.text.removeprefix("<p>").split()[0]) for m in r.messages]
        for id, r in records.items()
    }
    assert shown["215470001"] == [
        ("customer", True, "person", "GOOD-QUESTION"), ("bot", True, "person", "CANARY-BOT"), ("agent", False, "person", "CANARY-INTERNAL"),
        ("agent", True, "person", "GOOD-REPLY"), ("customer", True, "person", "That"),
    ]  # fmt: skip
    assert shown["215470002"] == [
        ("customer", True, "person", "Our"), ("agent", False, "person", "Priya,"), ("agent", True, "person", "We"),
        ("agent", False, "person", "Closing"), ("customer", True, "person", "It"), ("agent", False, "person", "CANARY-UNKNOWN"),
    ]  # fmt: skip
    assert shown["215470005"] == [
        ("agent", True, "automatic", "CANARY-AUTO"), ("customer", True, "person", "Can"), ("bot", True, "person", "CANARY-BOT"),
    ]  # fmt: skip
    assert [m.created and m.created.hour for m in records["215470003"].messages] == [8, 8, 9]
    assert {id: (r.solved, r.reopened, r.satisfaction) for id, r in records.items()} == {
        "147000004": (True, True, None), "215470001": (True, False, "good"), "215470002": (False, True, "bad"),
        "215470003": (True, False, None), "215470005": (False, False, None), "215470006": (False, False, None),
    }  # fmt: skip
    assert {id: r.group for id, r in records.items() if id > "2154"} == {
        "215470001": "mara@lindqvist.example", "215470002": "tomas@okafor.example", "215470003": "mara@lindqvist.example",
        "215470005": "mara@lindqvist.example", "215470006": "quiet@visitor.example",
    }  # fmt: skip
    first = records["215470001"]
    assert first.created == datetime(2026, 3, 2, 9, 15, tzinfo=UTC)
    assert (first.title, records["215470002"].title) == ("Export stops at 500 rows", "Invoice & VAT number")
    assert first.fields == {
        "product area": "Reports", "seats": "12", "escalated": "false", "status": "closed", "priority": "priority",
        "channel": "conversation", "team": "Product", "tags": "export,reports", "ai_agent_participated": "true",
    }  # fmt: skip
    assert first.links == ("215470900",)
    assert [m.attachments for m in first.messages] == [("export.csv",), (), (), ("row-limit.png",), ()]
    assert first.people == (
        Person(MARA, ("Mara Lindqvist",), ("mara@lindqvist.example",), ("+46 70 123 45 67",)),
        Person(JONAS, ("Jonas Berger",), ("jonas@nordwind.example",)),
        Person(PRIYA, ("Priya Raman",), ("priya@nordwind.example",)),
    )
    assert "Ines Okafor" in [n for p in records["215470002"].people for n in p.names], "a mail's CC takes part too"
    places = [m.pointer.at for m in first.messages if m.pointer]
    assert (places[0], places[3]) == (
        "/conversations/0/source",
        "/conversations/0/conversation_parts/conversation_parts/3",
    )
    assert tally.taken == {
        "tickets": 6, "messages": 21, "people": 5, "events": 4, "teammates' texts on events kept internal": 2,
        "conversations with truncated parts": 1, "conversations without their parts": 1,
    }  # fmt: skip
    assert tally.dropped == {"event_without_text": 4, "redacted_by_source": 1}


def test_pages_arrays_lines_single_objects_and_separate_parts_give_the_same_records(tmp_path: Path) -> None:
    both = [conversation("1", [part("a"), part("b", "customer", at=1772460000)]), conversation("2")]
    bare = [{k: v for k, v in c.items() if k != "conversation_parts"} for c in both]
    parts = [p | {"conversation_id": c["id"]} for c in both for p in c["conversation_parts"]["conversation_parts"]]
    export(tmp_path / "page", *both)
    shapes = {
        "array/all.json": json.dumps(both), "lines/all.ndjson": "".join(json.dumps(c) + "\n" for c in both),
        "single/1.json": json.dumps(both[0], indent=1), "single/2.json": json.dumps(both[1], indent=1),
        "separate/conversations.json": json.dumps({"conversations": bare}),
        "separate/conversation_parts.json": json.dumps({"type": "conversation_part.list", "conversation_parts": parts[::-1]}),
        "streams/conversation_parts.jsonl": "".join(json.dumps(p) + "\n" for p in parts),
        "streams/conversations.jsonl": "".join(json.dumps(c) + "\n" for c in bare),
        "flat/all.json": json.dumps([c | {"conversation_parts": c["conversation_parts"]["conversation_parts"]} for c in both]),
    }  # fmt: skip
    for name, text in shapes.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = {folder.name: told(read(folder)) for folder in sorted(tmp_path.iterdir())}
    assert len(found) == 7
    assert [len(messages) for *_, messages in found["page"]] == [3, 2]
    assert all(records == found["page"] for records in found.values())


def test_an_old_dump_says_the_same_with_conversation_message(tmp_path: Path) -> None:
    new = conversation("1", source={"body": "<p>question 1</p>", "author": WHO["customer"]})
    old = {k: v for k, v in new.items() if k not in ("source", "contacts")}
    old |= {"conversation_message": new["source"], "user": WHO["customer"] | {"user_id": "u-7"}}
    assert told(read(export(tmp_path / "old", old))) == told(read(export(tmp_path / "new", new)))


@pytest.mark.parametrize(
    ("who", "kind", "public"),
    [
        ("agent", "comment", True), ("agent", "quick_reply", True), ("agent", "note", False), ("agent", "note_and_reopen", False),
        ("agent", "assignment", False), ("agent", "close", False), ("agent", "open", False), ("agent", "snoozed", False),
        ("agent", "something_new", False), ("agent", None, False), ("agent", "", False), ("agent", "Comment", True),
        ("customer", "comment", True), ("customer", "open", True), ("customer", "close", True), ("customer", "snoozed", True),
        ("customer", "assignment", False), ("customer", "something_new", False), ("customer", "note", False), ("customer", None, False),
        ("bot", "comment", True), ("bot", "open", False), ("team", "close", False),
    ],
)  # fmt: skip
def test_only_what_the_customer_surely_saw_is_public(tmp_path: Path, who: str, kind: str | None, public: bool) -> None:
    assert one(tmp_path, part("a", who, kind)).messages[1].public is public


def test_a_teammates_text_on_an_event_is_counted_and_public_only_where_the_recipe_says_so(tmp_path: Path) -> None:
    parts, tally = (
        [part("a", kind="close"), part("b", kind="assignment", at=1772450009), part("c", kind="note", at=1772450019)],
        Tally(),
    )
    assert [m.public for m in one(tmp_path, *parts, tally=tally).messages] == [True, False, False, False]
    assert tally.taken["teammates' texts on events kept internal"] == 2
    opened = one(tmp_path, *parts, options={"public_parts": ("comment", "close", "note")})
    assert [m.public for m in opened.messages] == [True, True, False, False], "a note stays internal whatever is asked"


@pytest.mark.parametrize(
    ("author", "role"),
    [
        ({"type": "user"}, "customer"), ({"type": "lead"}, "customer"), ({"type": "contact"}, "customer"), ({"type": "admin"}, "agent"),
        ({"type": "Admin"}, "agent"), ({"type": "bot"}, "bot"), ({"type": "operator"}, "bot"), ({"type": "team"}, "system"),
        ({"type": "campaign"}, "system"), ({"type": None}, "system"), ({}, "system"), (None, "system"), ("admin", "system"), ([], "system"),
        ({"type": "admin", "from_ai_agent": True}, "bot"), ({"type": "admin", "is_ai_answer": True}, "bot"),
        ({"type": "admin", "from_ai_agent": False, "is_ai_answer": False}, "agent"),
        ({"type": "admin", "name": "Operator", "email": "operator+abcd1234@intercom.io"}, "bot"),
        ({"type": "admin", "name": "Kim", "email": "operator+kim@nordwind.example"}, "agent"),
        ({"type": "admin", "name": "Routing"}, "bot"),
    ],
)  # fmt: skip
def test_roles_come_from_the_author_and_no_bot_is_an_agent(tmp_path: Path, author: Any, role: str) -> None:
    id = {"id": "777"} if isinstance(author, dict) else {}
    written = author | id if isinstance(author, dict) else author
    assert one(tmp_path, part("a", author=written), options={"bots": ("Routing",)}).messages[1].role == role


def test_an_author_without_a_type_is_looked_up_in_the_people_streams(tmp_path: Path) -> None:
    folder = export(tmp_path, conversation("1", [part("a", author={"id": 9001}), part("b", author={"id": "gone"})]))
    (folder / "admins.json").write_text(
        json.dumps({"admins": [{"type": "admin", "id": "9001", "name": "Jonas Berger"}]})
    )
    (record,) = read(folder)
    assert [m.role for m in record.messages] == ["customer", "agent", "system"]


@pytest.mark.parametrize(
    ("delivered", "who", "origin"),
    [
        ("automated", "agent", "automatic"), ("campaigns_initiated", "agent", "automatic"), ("operator_initiated", "bot", "automatic"),
        ("admin_initiated", "agent", "person"), ("customer_initiated", "customer", "person"), ("automated", "customer", "person"),
    ],
)  # fmt: skip
def test_what_a_campaign_sends_is_automatic(tmp_path: Path, delivered: str, who: str, origin: str) -> None:
    source = {
        "body": "<p>Did you know?</p>",
        "delivered_as": delivered,
        "author": WHO.get(who, {"type": who, "id": "8"}),
    }
    record = one(tmp_path, part("a"), source=source)
    assert [m.origin for m in record.messages] == [origin, "person"]


def test_a_part_that_any_copy_calls_redacted_has_no_text_left(tmp_path: Path) -> None:
    for first, second in ((False, True), (True, False)):
        folder = export(
            tmp_path / str(first),
            conversation("1", [part("a", redacted=first), part("b", at=1772450009)]),
            name="1.json",
        )
        export(folder, conversation("1", [part("a", redacted=second)]), name="2.json")
        tally = Tally()
        (record,) = read(folder, tally)
        assert [m.text for m in record.messages] == ["<p>question 1</p>", "<p>text b</p>"]
        assert tally.dropped["redacted_by_source"] == 1
        assert (
            tally.taken["messages"]
            == 5
            == len(record.messages) + tally.dropped.total() - tally.dropped["duplicate_ticket_id"]
        )


def test_events_are_counted_and_a_file_alone_is_a_message(tmp_path: Path) -> None:
    tally = Tally()
    files = [{"type": "upload", "name": "screen.png", "url": "https://files.example/1"}, {"name": None}, "x.txt", 3]
    parts = [
        part("a", body=None, attachments=files),
        part("b", kind="assignment", body=None),
        part("c", body="  "),
        part("d", body={"x": 1}),
    ]
    record = one(tmp_path, *parts, tally=tally)
    assert [m.attachments for m in record.messages] == [(), ("screen.png", "x.txt", "3")]
    assert (tally.taken["events"], tally.dropped["event_without_text"]) == (3, 3)


@pytest.mark.parametrize(
    ("fields", "solved", "reopened"),
    [
        ({"state": "closed"}, True, False), ({"state": "closed", "open": True}, False, False), ({"state": "open"}, False, False),
        ({"state": "snoozed"}, False, False), ({"state": None, "open": False}, True, False), ({"state": None, "open": None}, False, False),
        ({"state": 5}, False, False), ({"statistics": {"count_reopens": 2}}, True, True), ({"statistics": {"count_reopens": 0}}, True, False),
        ({"statistics": {"count_reopens": "1"}, "state": "open"}, False, True), ({"statistics": [1]}, True, False),
    ],
)  # fmt: skip
def test_solved_is_closed_and_reopened_is_what_intercom_counted(
    tmp_path: Path, fields: dict[str, Any], solved: bool, reopened: bool
) -> None:
    record = one(tmp_path, part("a"), **fields)
    assert (record.solved, record.reopened) == (solved, reopened)


def test_without_statistics_opening_after_a_close_is_a_reopening(tmp_path: Path) -> None:
    close = part("a", kind="close", body=None, at=1772450000)
    after, before = (part("b", "customer", "open", at=at) for at in (1772450100, 1772449000))
    assert one(tmp_path / "after", close, after).reopened
    assert not one(tmp_path / "before", before, close).reopened


@pytest.mark.parametrize(
    ("rating", "satisfaction"),
    [({"rating": 1}, "bad"), ({"rating": 2}, "bad"), ({"rating": 3}, None), ({"rating": 4}, "good"), ({"rating": "5"}, "good"),
     ({"rating": None}, None), ({}, None), (None, None), ({"rating": 9}, None), ({"rating": True}, None), (5, None)],
)  # fmt: skip
def test_four_and_five_are_good_one_and_two_are_bad(tmp_path: Path, rating: Any, satisfaction: str | None) -> None:
    assert one(tmp_path, part("a"), conversation_rating=rating).satisfaction == satisfaction


def test_a_conversation_with_fewer_parts_than_it_should_have_is_counted(tmp_path: Path) -> None:
    cut = conversation(
        "1", conversation_parts={"conversation_parts": [part("a"), part("b", body=None)], "total_count": 3}
    )
    whole = conversation(
        "2", conversation_parts={"conversation_parts": [part("c"), part("d", body=None)], "total_count": 2}
    )
    listed = {
        k: v
        for k, v in conversation("3", statistics={"count_conversation_parts": 4}).items()
        if k != "conversation_parts"
    }
    tally = Tally()
    records = read(export(tmp_path, cut, whole, listed), tally)
    assert tally.taken["conversations with truncated parts"] == 1
    assert tally.taken["conversations without their parts"] == 1
    assert [m.text for m in records[2].messages] == ["<p>question 3</p>"], "a list has no parts and still is a record"


def test_orphans_duplicates_and_objects_without_an_id_are_counted_with_their_place(tmp_path: Path) -> None:
    tally = Tally()
    same = conversation("1", [part("a"), part("a", body="<p>edited later</p>")])
    nameless = conversation("9", [part("z")]) | {"id": None}
    folder = export(
        tmp_path,
        same,
        conversation("1", [], title="edited"),
        nameless,
        {"type": "conversation", "id": "5"},
        {"type": "segment", "id": "6"},
    )
    lost = [
        part("b", conversation_id="404"),
        part("c"),
        part("d", conversation_id=None),
        part("e", kind="open", body=None),
    ]
    (folder / "parts.json").write_text(json.dumps({"conversation_parts": lost}))
    (record,) = read(folder, tally)
    assert (record.title, [m.text for m in record.messages]) == ("edited", ["<p>question 1</p>", "<p>edited later</p>"])
    assert tally.taken == {"tickets": 4, "messages": 9, "events": 1, "other objects": 1}
    assert tally.dropped == {
        "duplicate_ticket_id": 1, "duplicate_message_id": 2, "object_without_id": 1, "ticket_without_messages": 1,
        "message_without_ticket": 5, "event_without_text": 1, "other_object": 1,
    }  # fmt: skip
    assert "conversations.json /conversations/2/source" in tally.examples["message_without_ticket"]


def test_an_unreadable_time_drops_a_conversation_and_only_marks_a_part(tmp_path: Path) -> None:
    tally = Tally()
    bad = [
        conversation(str(n), created_at=at)
        for n, at in enumerate(["soon", [], -5, 10**30, "0001-01-01T00:00:00+14:00"])
    ]
    good = conversation(
        "good",
        [part("a", at="2026-03-02T11:00:00+01:00"), part("b", created_at="yesterday"), part("c", created_at=None)],
    )  # type: ignore[arg-type]
    (record,) = read(export(tmp_path, *bad, good), tally)
    assert tally.dropped == {"unreadable_time": 5, "message_of_dropped_ticket": 10}
    assert tally.taken["messages without a readable time"] == 1
    assert [(m.text[8:9], m.created) for m in record.messages[1:]] == [
        ("b", None),
        ("c", None),
        ("a", datetime(2026, 3, 2, 10, tzinfo=UTC)),
    ]
    assert record.messages[0].text == "<p>question good</p>", "the opening stays first"


def test_skipped_tags_and_shapes_of_tags_and_attributes(tmp_path: Path) -> None:
    tally = Tally()
    tags = [{"tags": [{"name": "spam"}]}, ["spam"], [{"name": "vip"}, None, 7, {"name": None}], None, "spam"]
    records = read(export(tmp_path, *(conversation(str(n), tags=t) for n, t in enumerate(tags))), tally)
    assert [r.fields.get("tags") for r in records] == ["vip,7", None, None]
    assert (tally.dropped["skipped_tag"], tally.dropped["message_of_dropped_ticket"]) == (2, 4)
    odd = {
        "Area": "Reports",
        "long": "x" * 201,
        "nested": {"a": 1},
        "n": 1.5,
        "yes": True,
        "none": None,
        "status": "theirs",
        5: "five",
    }
    fields = one(tmp_path / "more", part("a"), custom_attributes=odd).fields
    assert fields == {
        "area": "Reports",
        "n": "1.5",
        "yes": "true",
        "5": "five",
        "status": "closed",
        "channel": "conversation",
    }


def test_texts_are_html_only_where_they_have_markup(tmp_path: Path) -> None:
    texts = [
        "<p>hello</p>",
        "plain: if a < b and c > d",
        "see <https://nordwind.example>",
        "Tom &amp; Kim",
        "Tom & Kim",
        "line<br>two",
    ]
    record = one(tmp_path, *(part(str(n), body=text, at=1772450000 + n) for n, text in enumerate(texts)))
    assert [m.html for m in record.messages[1:]] == [True, False, False, True, False, True]


def test_bots_and_teams_are_not_people_to_mask(tmp_path: Path) -> None:
    fin = {"type": "bot", "id": "8001", "name": "Fin", "email": "operator+x@intercom.io", "from_ai_agent": True}
    team = {"type": "team", "id": "9100", "name": "Billing", "email": ""}
    record = one(tmp_path, part("a", author=fin), part("b", author=team))
    assert {n for p in record.people for n in p.names} == {"Mara Lindqvist"}


WRONG = [None, 7, "text", [], {}, [None], {"id": None}, True, 1.5, "\ud800"]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_field_of_another_type_than_documented_never_crashes(tmp_path: Path, wrong: Any) -> None:
    whole = conversation(
        "1",
        [part("a", email_message_metadata={"email_address_headers": [{"type": "to", "email_address": "a@b.example"}]})],
    )
    whole |= {
        k: {}
        for k in (
            "teammates",
            "assignee",
            "user",
            "customers",
            "custom_attributes",
            "linked_objects",
            "statistics",
            "conversation_rating",
        )
    }
    whole |= {
        "tags": {"tags": []},
        "team_assignee_id": "9100",
        "admin_assignee_id": 9001,
        "priority": "priority",
        "ai_agent_participated": False,
    }
    number = 0
    for key in [k for k in whole if k != "id"]:
        export(tmp_path / f"c-{key}", whole | {key: wrong})
        number += 1
    for key in [k for k in part("a") if k != "id"]:
        export(tmp_path / f"p-{key}", conversation("1", [part("a") | {key: wrong}]))
        number += 1
    for folder in sorted(tmp_path.iterdir()):
        tally = Tally()
        try:
            records = read(folder, tally)
        except SourceError:
            assert folder.name == "c-type"
            continue
        assert (
            tally.taken["tickets"]
            == len(records) + tally.dropped["unreadable_time"] + tally.dropped["ticket_without_messages"]
        )
        number -= 1
    assert number <= 1


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("c.json", b"", "is empty"), ("c.json", b'{"conversations": [{"id": "1", "sou', r"c\.json:1: not JSON .*truncated"),
        ("c.ndjson", b'{"id": "1", "source": {}}\n{"id": "2", "sou', r"ndjson:2: not JSON .*truncated"),
        ("c.json", b"id;body\n1;hello", "is not JSON"), ("c.json", b'{"invoices": [1]}', "has none of the lists"),
        ("c.json", '{"conversations": [], "x": "größe"}'.encode("latin-1"), "which is not utf-8"),
        ("c.json", b'{"contacts": [{"type": "contact", "id": "7"}]}', "holds no conversation .*1 people.*Export the conversations"),
        ("c.json", b'{"conversations": []}', "holds no conversation .*nothing"),
        ("c.json", b'{"conversations": [' + b"3, " * 30 + b"3]}", "more than 20 records"),
        ("c.json", b"[" * 100_000, "nested too deeply|not JSON"),
    ],
)  # fmt: skip
def test_a_broken_export_is_one_clear_error(tmp_path: Path, name: str, content: bytes, error: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=error):
        read(tmp_path)


def test_one_broken_line_or_part_among_many_is_counted(tmp_path: Path) -> None:
    tally = Tally()
    lines = [json.dumps(conversation(str(n), [part(f"{n}-a"), 5] if n == 3 else None)) for n in range(50)]
    (tmp_path / "c.ndjson").write_text(
        "\n".join([*lines[:20], "{broken", "[]", '{"a":' * 5000 + "1" + "}" * 5000, *lines[20:]]) + "\n"
    )
    assert len(read(tmp_path, tally)) == 50
    assert (tally.taken["broken records"], tally.dropped["broken_record"]) == (4, 4)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    export(tmp_path / "elsewhere", conversation())
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "c.json").symlink_to(tmp_path / "elsewhere" / "conversations.json")
    with pytest.raises(SourceError, match="leads out of"):
        read(tmp_path / "export")


def test_hostile_file_names_ids_and_a_line_of_fifty_megabytes_are_read(tmp_path: Path) -> None:
    names = ["-rf.ndjson", "new\nline.ndjson", "ünï ☃.ndjson"]
    for n, name in enumerate(names):
        text = "x" * 50_000_000 if n == 0 else "short"
        (tmp_path / name).write_text(
            json.dumps(conversation(f"../{n}\n", [part("'; DROP TABLE messages", body=text)])) + "\n"
        )
    records = read(tmp_path)
    assert sorted(m.pointer.file for r in records for m in r.messages[1:] if m.pointer) == sorted(names)
    assert max(len(m.text) for r in records for m in r.messages) == 50_000_000


SCALARS = st.sampled_from([None, "", 0, "x", 1772450000, "2026-03-02T09:00:00Z", "soon", [], {}, True])
PARTS = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "b", "c", 4, None]), "part_type": st.sampled_from(["comment", "note", "close", None, 3, "new"])},
    optional={
        "body": st.sampled_from([None, "", "<p>text</p>", 5, {}]), "created_at": SCALARS, "author": st.sampled_from([None, *WHO.values(), {"id": 9}]),
        "redacted": st.sampled_from([True, False, None]), "attachments": st.sampled_from([None, [], [{"name": "a.txt"}], {}]),
        "conversation_id": st.sampled_from(["1", "2", 3, None, "404"]),
    },
)  # fmt: skip
CONVERSATIONS = st.fixed_dictionaries(
    {"type": st.just("conversation"), "id": st.sampled_from(["1", "2", 3, "4", None]), "embedded": st.lists(PARTS, max_size=4)},
    optional={
        "created_at": SCALARS, "state": st.sampled_from(["open", "closed", None, 4]), "contacts": st.sampled_from([None, [], [WHO["customer"]], {}]),
        "source": st.sampled_from([None, {}, {"body": "<p>q</p>", "author": WHO["customer"]}, {"body": "<p>q</p>", "redacted": True}]),
        "tags": st.sampled_from([None, ["spam"], {"tags": [{"name": "vip"}]}]), "statistics": st.sampled_from([None, {"count_reopens": 1}]),
    },
)  # fmt: skip
MESSAGE_DROPS = ("duplicate_message_id", "message_without_ticket", "message_of_dropped_ticket", "redacted_by_source")
TICKET_DROPS = ("duplicate_ticket_id", "object_without_id", "skipped_tag", "unreadable_time", "ticket_without_messages")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(CONVERSATIONS, max_size=8), parts=st.lists(PARTS, max_size=8))
def test_whatever_goes_in_comes_out_or_is_counted(
    tmp_path_factory: pytest.TempPathFactory, items: list[Any], parts: list[Any]
) -> None:
    folder, tally = tmp_path_factory.mktemp("export"), Tally()
    before = copy.deepcopy(items)
    whole = [
        {k: v for k, v in i.items() if k != "embedded"} | {"conversation_parts": {"conversation_parts": i["embedded"]}}
        for i in items
    ]
    (folder / "c.json").write_text(json.dumps({"conversations": whole}))
    (folder / "p.json").write_text(json.dumps({"conversation_parts": parts}))
    try:
        records = read(folder, tally)
    except SourceError as e:
        assert "holds no conversation" in str(e)  # noqa: PT017  (nothing but this error is allowed)
        assert not any(i["id"] is not None for i in items)
        return
    assert items == before
    assert tally.taken["tickets"] == len(items) == len(records) + sum(tally.dropped[d] for d in TICKET_DROPS)
    assert tally.taken["messages"] == sum(len(r.messages) for r in records) + sum(
        tally.dropped[d] for d in MESSAGE_DROPS
    )
    openings = sum(bool(i.get("source")) for i in items)
    assert tally.taken["messages"] + tally.taken["events"] == openings + sum(len(i["embedded"]) for i in items) + len(
        parts
    )


def test_it_recognises_its_own_files_and_nobody_elses(tmp_path: Path) -> None:
    own = [p for p in sorted((GOLDEN / "intercom").iterdir()) if p.is_file()]
    assert len(own) == 7
    assert all(intercom.recognise(Peek.of(p)) == {} for p in own)
    others = [
        p for p in sorted(GOLDEN.rglob("*")) if p.is_file() and "intercom" not in p.parts and p.name != "options.json"
    ]
    assert [p for p in others if intercom.recognise(Peek.of(p)) is not None] == []
    write_export(tmp_path, help_desk(3))
    assert [intercom.recognise(Peek.of(p)) for p in sorted(tmp_path.iterdir())] == [None, None, None]


def test_a_long_conversation_is_recognised_by_what_stands_inside_it(tmp_path: Path) -> None:
    export(tmp_path, conversation("1", [part(str(n), body="x" * 900) for n in range(200)]))
    assert intercom.recognise(Peek.of(tmp_path / "conversations.json")) == {}


def test_reading_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a reader opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    assert len(read(GOLDEN / "intercom")) == 6
