"""Zendesk: what is not surely public or an agent's is neither, wrong types are told with their place, and nothing vanishes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.records import Record, Tally
from data_prep.sources import zendesk

WHEN = "2026-01-01T09:00:00Z"
USERS = [{"id": 1, "name": "Bob Foo", "role": "end-user"}, {"id": 2, "name": "Ann Bar", "role": "agent"}]


def ticket(id: Any = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": id, "subject": "a", "raw_subject": "a", "requester_id": 1, "submitter_id": 1, "description": "it hums",
        "status": "solved", "created_at": WHEN, "custom_fields": [], "tags": [], **changes,
    }  # fmt: skip


def comment(id: Any, ticket_id: Any = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": id,
        "ticket_id": ticket_id,
        "author_id": 2,
        "body": f"c{id}",
        "public": True,
        "created_at": WHEN,
        **changes,
    }


def read(folder: Path, tally: Tally | None = None, **streams: list[Any]) -> list[Record]:
    for name, items in {"users": USERS, **streams}.items():
        (folder / f"{name}.json").write_text(json.dumps(items))
    return list(zendesk.read(folder, tally or Tally()))


@pytest.mark.parametrize(
    ("said", "public"),
    [
        ({}, True),
        ({"is_public": True}, True),
        *[({"is_public": v}, False) for v in (False, None, "true", 1, 0, "", [])],
    ],
)
def test_a_description_is_public_unless_the_ticket_may_be_private(
    tmp_path: Path, said: dict[str, Any], public: bool
) -> None:
    (record,) = read(tmp_path, tickets=[ticket(**said)])
    assert [(m.text, m.public) for m in record.messages] == [("it hums", public)]


def test_the_description_does_not_stand_in_for_comments_that_are_all_broken(tmp_path: Path, tally: Tally) -> None:
    notes = [comment(5, body={"a": 1}, public=False)]
    assert read(tmp_path, tally, tickets=[ticket(comments=notes)]) == []
    assert tally.dropped == {"broken_record": 1, "ticket_without_messages": 1}


@pytest.mark.parametrize("suspended", [True, "yes", 1])
@pytest.mark.parametrize("role", ["agent", "admin", "end-user"])
def test_a_suspended_user_has_no_role(tmp_path: Path, suspended: Any, role: str) -> None:
    users = [{"id": 2, "name": "Ann Bar", "role": role, "suspended": suspended}]
    (record,) = read(tmp_path, tickets=[ticket()], comments=[comment(5)], users=users)
    assert [m.role for m in record.messages] == ["system"]


@pytest.mark.parametrize("suspended", [False, None])
def test_a_user_who_is_not_suspended_has_one(tmp_path: Path, suspended: bool | None) -> None:
    users = [{"id": 2, "name": "Ann Bar", "role": "agent", "suspended": suspended}]
    (record,) = read(tmp_path, tickets=[ticket()], comments=[comment(5)], users=users)
    assert [m.role for m in record.messages] == ["agent"]


def merged(ids: Any) -> dict[str, Any]:
    return {"channel": "web", "source": {"rel": "merge", "from": {"ticket_ids": ids}, "to": {}}}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"custom_fields": 5}, "custom_fields is int '5', not a list"),
        ({"custom_fields": {"7": "x"}}, "custom_fields is dict \"{'7': 'x'}\", not a list"),
        ({"metric_set": "x"}, "metric_set is str 'x', not an object"),
        ({"tags": "spam"}, "tags is str 'spam', not a list"),
        ({"comments": "x"}, "comments is str 'x', not a list"),
        ({"follower_ids": 3}, "follower_ids is int '3', not a list"),
        ({"description": ["x"]}, "description is list \"['x']\", not a text"),
        ({"via": merged(5)}, "via.source.from.ticket_ids is int '5', not a list"),
    ],
)
def test_a_field_of_a_wrong_type_is_a_broken_record_with_its_place(
    tmp_path: Path, tally: Tally, wrong: dict[str, Any], told: str
) -> None:
    records = read(tmp_path, tally, tickets=[ticket(2), ticket(**wrong)], comments=[comment(5, 2), comment(6, 1)])
    assert [r.id for r in records] == ["2"]
    assert tally.dropped == {"broken_record": 1, "message_without_ticket": 1}
    assert tally.examples["broken_record"] == [f"tickets.json /1 ({told})"]


@pytest.mark.parametrize("wrong", [{"body": {"a": 1}}, {"html_body": ["x"]}, {"via": merged("7")}])
def test_a_comment_with_a_wrong_type_is_broken_and_the_rest_of_its_thread_is_read(
    tmp_path: Path, tally: Tally, wrong: dict[str, Any]
) -> None:
    (record,) = read(tmp_path, tally, tickets=[ticket()], comments=[comment(5), comment(6, **wrong)])
    assert [m.text for m in record.messages] == ["c5"]
    assert tally.dropped == {"broken_record": 1}
    assert tally.examples["broken_record"][0].startswith("comments.json /1 (")


@pytest.mark.parametrize("empty", [None, "", [], {}])
@pytest.mark.parametrize("field", ["custom_fields", "metric_set", "tags", "comments", "via", "satisfaction_rating"])
def test_an_empty_field_of_any_type_is_none(tmp_path: Path, tally: Tally, field: str, empty: Any) -> None:
    assert len(read(tmp_path, tally, tickets=[ticket(**{field: empty})])) == 1
    assert tally.dropped == {}


def without_id(n: int) -> dict[str, Any]:
    return {"id": None, "author_id": 2, "body": f"x{n}", "public": True, "created_at": WHEN}


def test_comments_without_an_id_stay_apart(tmp_path: Path, tally: Tally) -> None:
    inside = [
        ticket(n, comments=[without_id(n), {k: v for k, v in without_id(n + 10).items() if k != "id"}])
        for n in range(1, 6)
    ]
    beside = [{**without_id(20 + n), "ticket_id": 6} for n in range(3)]
    records = read(tmp_path, tally, tickets=[*inside, ticket(6)], comments=beside)
    assert [len(r.messages) for r in records] == [2, 2, 2, 2, 2, 3]
    assert tally.taken["messages without an id"] == 13
    assert tally.dropped == {}


def test_a_ticket_exported_twice_has_its_comments_without_an_id_once(tmp_path: Path, tally: Tally) -> None:
    inside = ticket(1, comments=[without_id(1), without_id(2)])
    (record,) = read(tmp_path, tally, tickets=[inside, ticket(2)], again=[inside])[:1]
    assert [m.text for m in record.messages] == ["x1", "x2"]
    assert tally.dropped == {"duplicate_ticket_id": 1, "duplicate_message_id": 2}


@pytest.mark.parametrize("id", [9, None])
def test_comments_of_an_audit_without_an_id_stay_apart(tmp_path: Path, tally: Tally, id: int | None) -> None:
    events = [{"type": "Comment", "body": f"b{n}", "public": True} for n in range(4)]
    audit = {"id": id, "ticket_id": 1, "author_id": 2, "created_at": WHEN, "events": events}
    (record,) = read(tmp_path, tally, tickets=[ticket()], audits=[audit])
    assert sorted(m.text for m in record.messages) == ["b0", "b1", "b2", "b3"]
    assert tally.dropped == {}


ODD = st.sampled_from(
    [None, "", 0, 7, -1.5, 1 << 70, "7", True, [], {}, ["x", None], [[1]], {"name": "x", "id": 3}, WHEN]
)


def mangled(whole: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The object with some of its fields missing and some of another type."""
    return st.fixed_dictionaries({}, optional={k: st.just(v) | ODD for k, v in whole.items()})


COMMENTS = st.lists(
    st.tuples(st.integers(1, 9), st.integers(1, 6)).flatmap(lambda n: mangled(comment(n[0], n[1], via=merged([3])))),
    max_size=5,
)
EVENTS = st.lists(mangled({**comment(50), "type": "Comment", "via": {"channel": "web"}}) | ODD, max_size=3)
AUDITS = st.lists(
    st.builds(lambda t, e: {"id": 8, "ticket_id": t, "author_id": 2, "events": e}, st.integers(1, 6) | ODD, EVENTS),
    max_size=3,
)
TICKETS = st.lists(
    st.tuples(st.integers(1, 4), COMMENTS).flatmap(
        lambda n: mangled(
            ticket(
                n[0], comments=n[1], is_public=True, metric_set={"reopens": 1}, via=merged([2]), satisfaction_rating={"score": "good"},
                follower_ids=[1], assignee_id=2,
            )
        )
    ),
    max_size=5,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(TICKETS, COMMENTS, AUDITS)
def test_what_goes_in_comes_out_or_is_counted(
    tmp_path_factory: pytest.TempPathFactory, tickets: list[Any], comments: list[Any], audits: list[Any]
) -> None:
    folder, tally = tmp_path_factory.mktemp("any"), Tally(max_bad_records=1000)
    records = read(folder, tally, tickets=[*tickets, ticket(99)], comments=comments, audits=audits)
    shutil.rmtree(folder)
    inside = [t["comments"] for t in tickets if isinstance(t.get("comments"), list)]
    went_in = len(tickets) + 1 + len(comments) + sum(map(len, inside)) + sum(len(a["events"]) for a in audits)
    own = sum(m.pointer != r.pointer for r in records for m in r.messages)  # not the description of the ticket itself
    assert went_in == len(records) + own + sum(tally.dropped.values()) + tally.taken["events without a comment"]
    assert len({r.id for r in records}) == len(records)
    assert all(m.author == "2" for r in records for m in r.messages if m.role == "agent")
