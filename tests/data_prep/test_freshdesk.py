"""Freshdesk: every shape gives the same records, only what is surely public is public, and nothing vanishes."""

from __future__ import annotations

import json
import shutil
import socket
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.records import Message, Person, Record, SourceError, Tally
from data_prep.sources import freshdesk
from data_prep.sources._files import Peek

GOLDEN = Path(__file__).parents[1] / "golden" / "freshdesk"
MARA, TEO, NADIA, OSKAR = 67042000001, 67042000002, 67013000001, 67013000002
AGENT = {
    "id": NADIA,
    "ticket_scope": 1,
    "occasional": False,
    "contact": {"name": "Nadia Ferrow", "email": "nadia@help.example"},
}
CONTACT = {
    "id": MARA,
    "name": "Mara Lindqvist",
    "email": "mara@post.example",
    "view_all_tickets": False,
    "other_emails": [],
}


def ticket(**fields: Any) -> dict[str, Any]:
    return {
        "id": 1, "subject": "Frost", "description": "<p>Frost alarm</p>", "requester_id": MARA, "responder_id": NADIA, "status": 5,
        "priority": 2, "source": 1, "created_at": "2026-03-01T08:00:00Z", "tags": [], "custom_fields": {}, **fields,
    }  # fmt: skip


def reply(**fields: Any) -> dict[str, Any]:
    return {
        "id": 11, "ticket_id": 1, "body": "<p>Set it to 5 degrees</p>", "incoming": False, "private": False, "user_id": NADIA,
        "source": 0, "created_at": "2026-03-01T09:00:00Z", **fields,
    }  # fmt: skip


def write(folder: Path, **streams: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in streams.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def read(path: Path, tally: Tally | None = None, **options: Any) -> list[Record]:
    return list(freshdesk.read(path, tally or Tally(), **options))


def one(folder: Path, tickets: list[Any], conversations: list[Any] = [], **options: Any) -> Record:  # noqa: B006  (read only)
    (record,) = read(
        write(folder, tickets=tickets, conversations=conversations, contacts=[CONTACT], agents=[AGENT]), **options
    )
    return record


def golden(id: str) -> Record:
    return {r.id: r for r in read(GOLDEN)}[id]


def said(record: Record, word: str) -> Message:
    (found,) = [m for m in record.messages if word in m.text]
    return found


def test_the_golden_export_is_read_as_it_was_meant() -> None:
    tally = Tally()
    records = read(GOLDEN, tally)
    assert [(r.id, r.group, r.solved, r.reopened, r.satisfaction, r.links) for r in records] == [
        ("1001", "mara.lindqvist@post.example", True, False, "good", ()),
        ("1002", "teo@brandvold.example", False, False, None, ()),
        ("1003", "mara.lindqvist@post.example", True, False, None, ("1001",)),
        ("1004", "teo@brandvold.example", False, True, "bad", ("1002",)),
        ("1006", "teo@brandvold.example", True, False, None, ()),
        ("1007", "mara.lindqvist@post.example", True, False, None, ()),
    ]
    assert tally.taken == {"tickets": 7, "messages": 20, "ratings": 2}
    assert tally.dropped == {"spam": 1, "message_of_dropped_ticket": 1, "deleted_message": 1}


def test_the_solved_golden_thread_is_whole_and_in_order() -> None:
    r = golden("1001")
    assert (r.title, r.created) == ("Frost alarm every night", datetime(2026, 3, 2, 9, tzinfo=UTC))
    assert [(m.author, m.role, m.public, m.attachments) for m in r.messages] == [
        (str(MARA), "customer", True, ("alarm.jpg",)),
        (str(OSKAR), "agent", False, ()),
        (str(NADIA), "agent", True, ("alarms.pdf",)),
        (str(NADIA), "agent", False, ()),
        (str(MARA), "customer", True, ()),
    ]
    assert "GOOD-QUESTION" in r.messages[0].text
    assert "GOOD-REPLY" in r.messages[2].text
    assert all(m.html for m in r.messages)
    assert [f"{m.pointer.file} {m.pointer.at}" for m in r.messages[:2] if m.pointer] == [
        "tickets.json /0/description", "conversations.json /conversations/1",
    ]  # fmt: skip
    assert r.fields == {
        "cf_product": "Valve V2", "cf_firmware": "3.4.1", "cf_under_warranty": "true", "status": "closed", "priority": "high",
        "source": "email", "type": "Problem", "tags": "frost,alarm",
    }  # fmt: skip
    assert r.people == (
        Person(
            str(MARA),
            ("Mara Lindqvist",),
            ("mara.lindqvist@post.example", "mara@lumen.example", "Mara.Lindqvist@post.example"),
            ("+46 8 000 00 01", "+46 70 000 00 01"),
        ),
        Person(str(NADIA), ("Nadia Ferrow",), ("nadia.ferrow@tumblehome.example",), ("+49 30 000 000 11",)),
        Person(str(OSKAR), ("Oskar Wiel",), ("oskar.wiel@tumblehome.example",)),
        Person("ivo.marchetti@lumen.example", ("Ivo Marchetti",), ("ivo.marchetti@lumen.example",)),
    )


def test_canaries_in_the_golden_export_are_marked() -> None:
    assert not said(golden("1001"), "CANARY-INTERNAL").public
    assert not said(golden("1001"), "CANARY-UNKNOWN").public
    assert said(golden("1002"), "CANARY-BOT").role == "bot"
    assert said(golden("1002"), "CANARY-AUTO").origin == "automatic"
    assert said(golden("1003"), "CANARY-MERGE").origin == "merge"


def test_a_ticket_of_the_account_export_has_its_notes_their_html_and_no_deleted_one() -> None:
    r = golden("1007")
    assert [(m.text, m.html, m.public, m.origin) for m in r.messages] == [
        ("<div>Which battery does the <b>valve</b> take?</div>", True, True, "person"),
        ("<div>Two AA cells, alkaline, not rechargeable.</div>", True, True, "person"),
        ("<div>Rule: remind in a week.</div>", True, False, "automatic"),
    ]
    assert r.messages[1].attachments == ("cells.png",)
    assert r.fields["product_77001"] == "Valve V2"
    assert "ivo.marchetti@lumen.example" in [p.id for p in r.people]


def test_arrays_pages_lines_and_embedded_conversations_give_the_same_records(tmp_path: Path) -> None:
    tickets = [ticket(id=n) for n in (1, 2, 3)]
    replies = [reply(id=10 + n, ticket_id=n, body=f"answer {n}") for n in (1, 2, 3)]
    people = {"contacts": [CONTACT], "agents": [AGENT]}
    write(tmp_path / "arrays", tickets=tickets, conversations=replies, **people)
    write(
        tmp_path / "pages",
        a={"tickets": tickets[:2]},
        b={"results": tickets[2:], "total": 3},
        conversations=replies,
        **people,
    )
    write(tmp_path / "lines", **people)
    for name, rows in (("tickets", tickets), ("conversations", replies)):
        (tmp_path / "lines" / f"{name}.ndjson").write_text("".join(json.dumps(r) + "\n" for r in rows))
    write(
        tmp_path / "embedded",
        tickets=[{**t, "conversations": [r]} for t, r in zip(tickets, replies, strict=True)],
        **people,
    )
    wrapped = [
        {"helpdesk_ticket": {**t, "id": 900, "display_id": t["id"], "notes": [{"note": r}]}}
        for t, r in zip(tickets, replies, strict=True)
    ]
    users = {
        "Users0": [{"user": {**CONTACT, "helpdesk_agent": False}}],
        "Agents0": [{"agent": {"id": 5, "user_id": NADIA, "user": AGENT["contact"]}}],
    }
    write(tmp_path / "account", Tickets0=wrapped, **users)
    seen = {}
    for shape in ("arrays", "pages", "lines", "embedded", "account"):
        records = read(tmp_path / shape)
        seen[shape] = [
            (r.id, r.group, r.solved, [(m.role, m.public, m.text) for m in r.messages], r.people) for r in records
        ]
    assert len(seen["arrays"]) == 3
    assert [role for role, _, _ in seen["arrays"][0][3]] == ["customer", "agent"]
    for shape, found in seen.items():
        assert found == seen["arrays"], shape


@pytest.mark.parametrize("flag", [True, None, "false", 0, [], "missing"])
def test_a_conversation_that_is_not_surely_public_is_internal(tmp_path: Path, flag: Any) -> None:
    conversation = reply(private=flag)
    if flag == "missing":
        del conversation["private"]
    assert [m.public for m in one(tmp_path, [ticket()], [conversation]).messages] == [True, False]


def test_a_conversation_without_any_flag_is_still_a_conversation(tmp_path: Path) -> None:
    bare = {k: v for k, v in reply().items() if k not in ("private", "incoming")}
    message = one(tmp_path, [ticket()], [bare]).messages[1]
    assert (message.role, message.public) == ("agent", False)


def test_a_forward_to_a_third_party_is_internal_though_no_flag_says_so(tmp_path: Path) -> None:
    assert not one(tmp_path, [ticket()], [reply(source=8)]).messages[1].public


@pytest.mark.parametrize(
    ("fields", "role"),
    [
        ({"user_id": NADIA}, "agent"),
        ({"user_id": OSKAR}, "system"),  # in no stream
        ({"user_id": None}, "system"),
        ({"user_id": {"id": NADIA}}, "system"),
        ({"user_id": float(NADIA)}, "agent"),
        ({"user_id": MARA}, "customer"),
        ({"user_id": 5, "incoming": True}, "customer"),
        ({"user_id": 5, "incoming": True, "private": True}, "system"),
        ({"user_id": 5, "incoming": "true"}, "system"),
    ],
)
def test_who_is_not_known_is_no_agent(tmp_path: Path, fields: dict[str, Any], role: str) -> None:
    assert one(tmp_path, [ticket()], [reply(**fields)]).messages[1].role == role


def test_a_third_partys_answer_to_a_forward_is_not_the_customers(tmp_path: Path) -> None:
    write(
        tmp_path,
        tickets=[ticket()],
        contacts=[CONTACT, {**CONTACT, "id": TEO}],
        conversations=[reply(user_id=TEO), reply(id=12, user_id=TEO, incoming=True, private=True)],
    )
    assert [(m.role, m.public) for m in read(tmp_path)[0].messages[1:]] == [("customer", True), ("system", False)]


def test_a_responder_of_any_ticket_is_an_agent_without_the_agents_stream(tmp_path: Path) -> None:
    write(
        tmp_path,
        tickets=[ticket(), ticket(id=2, responder_id=OSKAR)],
        conversations=[reply(user_id=OSKAR), reply(id=12, user_id=77)],
    )
    assert [m.role for m in read(tmp_path)[0].messages] == ["customer", "agent", "system"]


def test_an_agent_that_asks_is_the_customer_of_that_ticket(tmp_path: Path) -> None:
    record = one(tmp_path, [ticket(requester_id=NADIA, responder_id=OSKAR)], [reply(user_id=NADIA)])
    assert [m.role for m in record.messages] == ["customer", "customer"]


def test_bots_are_bots_by_name(tmp_path: Path) -> None:
    assert one(tmp_path, [ticket()], [reply()], bots=("NADIA ferrow",)).messages[1].role == "bot"


def test_a_ticket_that_an_agent_began_does_not_open_with_its_customer() -> None:
    assert [(m.author, m.role) for m in golden("1006").messages] == [(str(OSKAR), "agent")]


@pytest.mark.parametrize(
    ("fields", "origin"),
    [
        ({"auto_response": True}, "automatic"),
        ({"automation_id": 9}, "automatic"),
        ({"automation_type_id": 1}, "automatic"),
        ({"source": 15}, "automatic"),
        ({"auto_response": False, "automation_id": None}, "person"),
        ({"source": 2, "body": "Tickets with IDs 7, 8 and 9 are merged into this ticket."}, "merge"),
        ({"source": 2, "body": "<div>Merged from ticket <a href='/7'>7</a><br>Subject: Frost"}, "merge"),
        ({"source": 0, "body": "I was told that it was merged into ticket 7."}, "person"),
        ({"source": 2, "incoming": True, "body": "merged into ticket 7"}, "person"),
    ],
)
def test_who_really_wrote_a_message_is_told(tmp_path: Path, fields: dict[str, Any], origin: str) -> None:
    record = one(tmp_path, [ticket()], [reply(**fields)])
    assert record.messages[1].origin == origin
    assert (record.links != ()) == (origin == "merge")


def test_every_ticket_of_a_merge_is_a_link(tmp_path: Path) -> None:
    merged = reply(source=2, body="Tickets with IDs 7, 8 and 9 are merged into this ticket.", private=True)
    assert one(tmp_path, [ticket()], [merged]).links == ("7", "8", "9")


@pytest.mark.parametrize(
    ("status", "solved", "word"),
    [
        (4, True, "resolved"), (5, True, "closed"), ("5", True, "closed"), ("Resolved", True, "resolved"), (2, False, "open"),
        (9, False, "9"), (None, False, None),
    ],
)  # fmt: skip
def test_solved_is_resolved_or_closed(tmp_path: Path, status: Any, solved: bool, word: str | None) -> None:
    record = one(tmp_path, [ticket(status=status)])
    assert (record.solved, record.fields.get("status")) == (solved, word)


@pytest.mark.parametrize(
    ("rating", "verdict"),
    [
        ({"ratings": {"default_question": 103}}, "good"),
        ({"ratings": {"default_question": 100}}, None),
        ({"ratings": {"default_question": "-102", "question_1": 103}}, "bad"),
        ({"ratings": {"question_1": 103, "question_2": -101}}, "bad"),
        ({"ratings": [{"question": "How was it?", "value": 102}]}, "good"),
        ({"ratings": {"default_question": "Extremely Happy"}}, "good"),
        ({"ratings": 103}, "good"),
        ({"ratings": {"default_question": 5}}, None),
        ({"answers": [{"question_id": "q1", "value": "Very Unhappy"}]}, "bad"),
        ({"rating": 3}, "bad"),
        ({"rating": 1}, "good"),
        ({"ratings": None}, None),
        ({"ratings": {"default_question": {"no": "number"}}}, None),
    ],
)
def test_satisfaction_is_read_in_every_shape_as_a_stream_and_embedded(
    tmp_path: Path, rating: dict[str, Any], verdict: str | None
) -> None:
    write(
        tmp_path / "stream",
        tickets=[ticket()],
        satisfaction_ratings=[{"id": 1, "survey_id": 2, "ticket_id": 1, **rating}],
    )
    write(tmp_path / "embedded", tickets=[ticket(satisfaction_rating=rating)])
    for shape in ("stream", "embedded"):
        assert read(tmp_path / shape)[0].satisfaction == verdict


def test_custom_fields_as_a_list_are_read_and_long_texts_are_no_labels(tmp_path: Path) -> None:
    custom = [
        {"name": "Cf_Area", "value": "Heating"},
        {"name": "cf_log", "value": "x" * 201},
        {"name": "cf_none", "value": None},
        3,
    ]
    assert one(tmp_path, [ticket(custom_fields=custom)]).fields == {
        "cf_area": "Heating", "status": "closed", "priority": "medium", "source": "email",
    }  # fmt: skip


def test_spam_deleted_empty_and_undated_tickets_are_dropped_with_their_messages(tmp_path: Path) -> None:
    tickets = [
        ticket(spam=True), ticket(id=2, deleted=True), ticket(id=3, description=None), ticket(id=4, created_at="yesterday"),
        ticket(id=None), ticket(id=5),
    ]  # fmt: skip
    tally = Tally()
    write(tmp_path, tickets=tickets, conversations=[reply(), reply(id=12, ticket_id=4)])
    assert [r.id for r in read(tmp_path, tally)] == ["5"]
    assert tally.dropped == {
        "spam": 1, "deleted": 1, "ticket_without_messages": 1, "unreadable_time": 1, "ticket_without_id": 1,
        "message_of_dropped_ticket": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    "time",
    [
        "soon",
        "0001-01-01T00:00:00+05:00",
        "Thu, 01 Jan 2020 00:00:00 +99999999999999",
        {"at": 1},
        [],
        True,
        1e300,
        "1850-01-01",
    ],
)
def test_a_time_that_is_none_never_stops_the_read(tmp_path: Path, time: Any) -> None:
    tally = Tally()
    write(tmp_path, tickets=[ticket(), ticket(id=2, created_at=time)], conversations=[reply(created_at=time)])
    (record,) = read(tmp_path, tally)
    assert [m.created for m in record.messages if m.text.startswith("<p>Set")] == [None]
    assert tally.taken["messages without a readable time"] == 1
    assert tally.dropped["unreadable_time"] == 1


def test_messages_of_mixed_zones_are_in_time_order(tmp_path: Path) -> None:
    late, early = (
        reply(created_at="2026-03-01T12:00:00+05:00", body="first"),
        reply(id=12, created_at="2026-03-01T08:30:00Z", body="second"),
    )
    assert [m.text for m in one(tmp_path, [ticket()], [early, late]).messages[1:]] == ["first", "second"]


def test_duplicates_and_orphans_are_counted(tmp_path: Path) -> None:
    tally = Tally()
    conversations = [reply(), reply(body="edited"), reply(id=12, ticket_id=404), reply(id=13, ticket_id=None)]
    write(
        tmp_path,
        tickets=[ticket(subject="old"), ticket(subject="new", conversations=[reply(body="edited twice"), 7])],
        conversations=conversations,
    )
    (record,) = read(tmp_path, tally)
    assert (record.title, len(record.messages)) == ("new", 2)
    assert tally.dropped == {
        "duplicate_ticket_id": 1,
        "duplicate_message_id": 2,
        "message_without_ticket": 2,
        "broken_record": 1,
    }


def test_one_broken_record_among_many_is_counted_and_too_many_stop(tmp_path: Path) -> None:
    lines = [json.dumps(ticket(id=n)) for n in range(1, 1001)]
    lines[500] = '{"id": 501, "subject": "tor'
    (tmp_path / "tickets.ndjson").write_text("\n".join(lines) + "\n")
    tally = Tally()
    assert len(read(tmp_path, tally)) == 999
    assert tally.examples["broken_record"][0].startswith("tickets.ndjson line 501")
    write(tmp_path, conversations=[reply(id=n, body={"not": "text"}) for n in range(40)])
    with pytest.raises(SourceError, match="broken"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("tickets.json", b"", "is empty"),
        ("tickets.json", b'[{"id": 1, "subject": "a", "requ', r"tickets\.json:1: not JSON"),
        ("tickets.json", b'{"invoices": []}', "has none of the lists"),
        ("tickets.json", b'[{"id": 3, "name": "a company", "domains": []}]', "holds no ticket"),
        ("tickets.json", b"[" * 100_000, "nested too deeply|not JSON"),
        ("tickets.json", '{"tickets": [], "x": "größe"}'.encode("latin-1"), "is 0xf6, which is not utf-8"),
    ],
)
def test_an_unusable_export_is_one_clear_error(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=told):
        read(tmp_path)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("[]")
    (write(tmp_path / "export", tickets=[ticket()]) / "more.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(SourceError, match="leads out of"):
        read(tmp_path / "export")


def test_hostile_file_names_and_a_long_line_are_read(tmp_path: Path) -> None:
    write(tmp_path, **{"--rm\n-rf 😀": [ticket()]})
    write(tmp_path, long=[ticket(id=2, description="word " * 1_000_000)])
    records = read(tmp_path)
    assert [r.id for r in records] == ["1", "2"]
    assert records[0].pointer.file == "--rm\n-rf 😀.json"
    assert len(records[1].messages[0].text) == 5_000_000


def test_deep_nesting_in_one_record_does_not_stop_the_others(tmp_path: Path) -> None:
    deep = '{"id": 2, "subject": "a", "requester_id": 1, "custom_fields": ' + '{"a":' * 950 + "1" + "}" * 950 + "}"
    (tmp_path / "tickets.ndjson").write_text(json.dumps(ticket()) + "\n" + deep + "\n")
    assert "1" in [r.id for r in read(tmp_path)]


def test_recognise_knows_its_own_files_and_no_others() -> None:
    own = [p for p in sorted(GOLDEN.iterdir()) if p.suffix in (".json", ".ndjson")]
    assert len(own) >= 5
    assert [freshdesk.recognise(Peek.of(p)) for p in own] == [{}] * len(own)
    foreign = [p for d in sorted(GOLDEN.parent.iterdir()) if d != GOLDEN for p in sorted(d.rglob("*")) if p.is_file()]
    assert foreign
    assert [p for p in foreign if freshdesk.recognise(Peek.of(p)) is not None] == []


def test_reading_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a reader opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    assert len(read(GOLDEN)) == 6


ODD = st.sampled_from(
    [None, "", 0, 7, -1.5, "7", True, [], {}, ["x", None], {"name": "x", "id": 3}, "2026-03-01T08:00:00Z"]
)


def mangled(whole: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The object with some of its fields missing and some of another type."""
    return st.fixed_dictionaries({}, optional={k: st.just(v) | ODD for k, v in whole.items()}).map(
        lambda d: {"id": whole["id"], **d}
    )


WHOLE = ticket(
    spam=False,
    deleted=False,
    tags=["a"],
    requester={"id": MARA, "name": "Mara"},
    stats={"reopened_at": None},
    attachments=[],
)
TICKETS = st.lists(st.integers(1, 4).flatmap(lambda n: mangled({**WHOLE, "id": n})), min_size=1, max_size=6)
CONVERSATIONS = st.lists(
    st.tuples(st.integers(1, 9), st.integers(1, 6)).flatmap(lambda n: mangled(reply(id=n[0], ticket_id=n[1]))),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(TICKETS, CONVERSATIONS)
def test_what_goes_in_comes_out_or_is_counted(
    tmp_path_factory: pytest.TempPathFactory, tickets: list[Any], conversations: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    tally = Tally(max_bad_records=100)
    records = read(write(folder, tickets=[*tickets, ticket(id=99)], conversations=conversations), tally)
    shutil.rmtree(folder)
    lost = Counter(tally.dropped)
    of_tickets = (
        "duplicate_ticket_id", "ticket_without_id", "spam", "deleted", "ticket_without_messages", "unreadable_time",
    )  # fmt: skip
    of_messages = ("duplicate_message_id", "message_without_ticket", "message_of_dropped_ticket", "deleted_message")
    assert tally.taken["tickets"] == len(records) + sum(lost[k] for k in of_tickets)
    assert tally.taken["messages"] == sum(len(r.messages) for r in records) + sum(lost[k] for k in of_messages)
    assert set(lost) <= {*of_tickets, *of_messages, "other_object", "broken_record"}
    assert lost["other_object"] == tally.taken["other objects"]
    assert len({r.id for r in records}) == len(records)
    assert all(m.author for r in records for m in r.messages if m.role in ("agent", "bot"))
