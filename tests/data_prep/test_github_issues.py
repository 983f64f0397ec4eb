"""GitHub issues: REST and `gh` give the same records, only maintainers are agents, and nothing vanishes."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_prep.records import Person, Record, SourceError, Tally
from data_prep.sources import github_issues
from data_prep.sources._files import Peek

GOLDEN = Path(__file__).parents[1] / "golden" / "github_issues"
REPOSITORY = "https://api.github.example/repos/hearth/hub"


def user(login: str, **fields: Any) -> dict[str, Any]:
    return {"login": login, "id": 5, "type": "User", "site_admin": False, **fields}


def issue(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "url": f"{REPOSITORY}/issues/{number}", "html_url": f"https://github.example/hearth/hub/issues/{number}", "id": 7000 + number,
        "number": number, "title": "Hub loses the valve", "user": user("mara-l"), "labels": [], "state": "closed", "comments": 1,
        "created_at": "2026-01-12T09:00:00Z", "closed_at": None, "author_association": "NONE", "state_reason": "completed",
        "body": "After each update.", **fields,
    }  # fmt: skip


def comment(id: int = 8001, number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "url": f"{REPOSITORY}/issues/comments/{id}", "issue_url": f"{REPOSITORY}/issues/{number}", "id": id,
        "html_url": f"https://github.example/hearth/hub/issues/{number}#issuecomment-{id}", "user": user("ohavel"),
        "created_at": "2026-01-12T10:00:00Z", "author_association": "MEMBER", "body": "Hold the button.", **fields,
    }  # fmt: skip


def of_gh(issue: dict[str, Any], *comments: dict[str, Any]) -> dict[str, Any]:
    """What `gh issue list --json` writes of the same issue; it knows no association of the reporter."""
    return {
        "author": {"id": "U_1", "is_bot": False, "login": issue["user"]["login"], "name": ""}, "body": issue["body"],
        "closed": issue["state"] == "closed", "closedAt": issue["closed_at"], "createdAt": issue["created_at"],
        "id": "I_1", "labels": issue["labels"], "number": issue["number"], "state": issue["state"].upper(),
        "stateReason": (issue["state_reason"] or "").upper(), "title": issue["title"], "url": issue["html_url"],
        "comments": [{
            "id": f"IC_{c['id']}", "author": {"login": c["user"]["login"]}, "authorAssociation": c["author_association"],
            "body": c["body"], "createdAt": c["created_at"], "includesCreatedEdit": False, "isMinimized": False,
            "minimizedReason": "", "url": c["html_url"], "viewerDidAuthor": False,
        } for c in comments],
    }  # fmt: skip


def write(folder: Path, **streams: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in streams.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def read(path: Path, tally: Tally | None = None, **options: Any) -> list[Record]:
    return list(github_issues.read(path, tally or Tally(), **options))


def one(folder: Path, issue: dict[str, Any], *comments: dict[str, Any], **options: Any) -> Record:
    (record,) = read(write(folder, issues=[issue], comments=list(comments)), **options)
    return record


def test_the_golden_export_is_read_as_it_was_meant() -> None:
    tally = Tally()
    records = {r.id: r for r in read(GOLDEN, tally)}
    assert [(r.id, r.group, r.solved, r.reopened, r.links) for r in records.values()] == [
        ("1", "mara-l", True, False, ()),
        ("2", "trehn", True, False, ()),
        ("4", "mara-l", False, False, ("1",)),
        ("5", "jnovak", False, True, ()),
    ]
    assert [(m.author, m.role, m.public) for m in records["1"].messages] == [
        ("mara-l", "customer", True),
        ("stale-helper[bot]", "bot", True),
        ("ohavel", "agent", True),
        ("", "system", True),
        ("mara-l", "customer", True),
    ]
    assert records["1"].created == datetime(2026, 1, 12, 9, tzinfo=UTC)
    assert records["2"].fields == {"state": "closed", "author_association": "CONTRIBUTOR", "labels": "bug,app"}
    assert records["2"].people == (Person("pmarchand", ("pmarchand",)), Person("trehn", ("trehn",)))
    assert "GOOD-QUESTION" in records["2"].messages[0].text
    assert [str(m.pointer) for m in records["2"].messages] == [
        "Pointer(file='issues.json', at='/3')", "Pointer(file='comments.json', at='/4')",
    ]  # fmt: skip
    assert tally.taken == {"tickets": 5, "messages": 13}
    assert tally.dropped == {"pull_request": 1, "comment_of_pull_request": 1}


def test_rest_lines_pages_and_gh_give_the_same_threads(tmp_path: Path) -> None:
    issues, comments = [issue(1), issue(2)], [comment(8001, 1), comment(8002, 2, user=user("jnovak"))]
    write(tmp_path / "arrays", issues=issues, comments=comments)
    write(
        tmp_path / "search", issues={"total_count": 2, "incomplete_results": False, "items": issues}, comments=comments
    )
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines" / "all.jsonl").write_text("".join(json.dumps(o) + "\n" for o in [*comments, *issues]))
    write(tmp_path / "gh", issues=[of_gh(i, c) for i, c in zip(issues, comments, strict=True)])
    for shape in ("arrays", "search", "lines", "gh"):
        found = [
            (r.id, r.title, r.group, r.solved, [(m.author, m.role, m.created, m.text) for m in r.messages])
            for r in read(tmp_path / shape)
        ]
        assert [f[:4] for f in found] == [(n, "Hub loses the valve", "mara-l", True) for n in ("1", "2")], shape
        assert found[1][4] == [
            ("mara-l", "customer", datetime(2026, 1, 12, 9, tzinfo=UTC), "After each update."),
            ("jnovak", "agent", datetime(2026, 1, 12, 10, tzinfo=UTC), "Hold the button."),
        ], shape


def test_comments_of_gh_alone_find_their_issue_by_their_address(tmp_path: Path) -> None:
    view = {"comments": of_gh(issue(), comment())["comments"]}
    (record,) = read(write(tmp_path, issues=[issue()], view=view))
    assert [m.text for m in record.messages] == ["After each update.", "Hold the button."]


@pytest.mark.parametrize(
    ("association", "role"),
    [
        ("OWNER", "agent"), ("MEMBER", "agent"), ("COLLABORATOR", "agent"), ("CONTRIBUTOR", "customer"),
        ("FIRST_TIME_CONTRIBUTOR", "customer"), ("FIRST_TIMER", "customer"), ("MANNEQUIN", "customer"), ("NONE", "customer"),
        ("SPONSOR", "customer"), ("member", "customer"), (None, "customer"), (["MEMBER"], "customer"), ("missing", "customer"),
    ],
)  # fmt: skip
def test_only_a_known_association_makes_an_agent(tmp_path: Path, association: Any, role: str) -> None:
    said = comment(author_association=association)
    if association == "missing":
        del said["author_association"]
    assert one(tmp_path, issue(), said).messages[1].role == role


@pytest.mark.parametrize(
    ("who", "role"),
    [
        (user("dependabot[bot]", type="Bot"), "bot"),
        (user("hearth-app", type="Bot"), "bot"),
        (user("renovate[bot]"), "bot"),
        ({"login": "app/dependabot", "is_bot": True}, "bot"),
        (user("CI-Runner"), "bot"),  # named in the options
        (user("ghost"), "system"),
        (None, "system"),
        ({}, "system"),
        ([], "system"),
        ({"login": None}, "system"),
        ("ohavel", "agent"),
    ],
)
def test_bots_and_deleted_accounts_are_never_agents(tmp_path: Path, who: Any, role: str) -> None:
    assert one(tmp_path, issue(), comment(user=who), bots=("ci-runner",)).messages[1].role == role


@pytest.mark.parametrize(
    ("state", "reason", "solved", "reopened"),
    [
        ("closed", "completed", True, False), ("closed", None, True, False), ("CLOSED", "COMPLETED", True, False),
        ("closed", "not_planned", False, False), ("CLOSED", "NOT_PLANNED", False, False), ("closed", "duplicate", False, False),
        ("open", "reopened", False, True), ("OPEN", "REOPENED", False, True), ("open", None, False, False), (None, {}, False, False),
    ],
)  # fmt: skip
def test_solved_and_reopened_follow_the_state_reason(
    tmp_path: Path, state: Any, reason: Any, solved: bool, reopened: bool
) -> None:
    record = one(tmp_path, issue(state=state, state_reason=reason))
    assert (record.solved, record.reopened) == (solved, reopened)


def test_a_pull_request_is_counted_and_left_out_with_its_comments(tmp_path: Path) -> None:
    pull = "https://github.example/hearth/hub/pull/3"
    tally = Tally()
    write(
        tmp_path,
        issues=[issue(1), issue(3, pull_request={"url": f"{REPOSITORY}/pulls/3"}), {**of_gh(issue(4), comment()), "url": pull}],
        comments=[comment(), comment(8003, 3, html_url=f"{pull}#issuecomment-8003")],
    )  # fmt: skip
    assert [(r.id, len(r.messages)) for r in read(tmp_path, tally)] == [("1", 2)]
    assert tally.dropped == {"pull_request": 2, "message_of_dropped_ticket": 1, "comment_of_pull_request": 1}
    assert tally.taken == {"tickets": 3, "messages": 4}


def test_an_issue_of_a_repository_named_pull_is_no_pull_request(tmp_path: Path) -> None:
    assert one(tmp_path, issue(html_url="https://github.example/hearth/pull/issues/1")).id == "1"


def test_duplicates_of_other_issues_are_links(tmp_path: Path) -> None:
    said = [
        comment(1, body="Duplicate of #12"), comment(2, body="see #13"), comment(3, body="I think\nduplicates: #14\nbye"),
        comment(4, body="duplicate of #12"), comment(5, body="> is this a duplicate of #15?"),
    ]  # fmt: skip
    assert one(tmp_path, issue(), *said).links == ("12", "14")


def test_labels_in_every_shape_are_read(tmp_path: Path) -> None:
    labels = [{"id": 1, "name": "bug"}, "hub", {"id": 3}, {"name": None}, None, 7]
    assert one(tmp_path, issue(labels=labels)).fields["labels"] == "bug,hub,7"
    assert "labels" not in one(tmp_path, issue(labels={"name": "bug"})).fields


def test_html_scripts_and_mentions_stay_the_text_that_was_written(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script> @mara-l <img src=x onerror=alert(1)> \u202ereversed"
    message = one(tmp_path, issue(), comment(body=hostile)).messages[1]
    assert (message.text, message.html) == (hostile, False)


def test_comments_are_in_time_order_whatever_their_zones_and_order(tmp_path: Path) -> None:
    said = [
        comment(1, created_at="2026-01-12T10:30:00Z", body="second"), comment(2, created_at="2026-01-12T15:00:00+05:00", body="first"),
    ]  # fmt: skip
    assert [m.text for m in one(tmp_path, issue(), *said).messages[1:]] == ["first", "second"]


@pytest.mark.parametrize(
    "time",
    ["soon", "0001-01-01T00:00:00+05:00", "Thu, 01 Jan 2020 00:00:00 +99999999999999", {"at": 1}, [], True, 1e300],
)
def test_clock_nonsense_drops_an_issue_but_keeps_a_comment(tmp_path: Path, time: Any) -> None:
    tally = Tally()
    write(tmp_path, issues=[issue(1), issue(2, created_at=time)], comments=[comment(created_at=time), comment(8002, 2)])
    (record,) = read(tmp_path, tally)
    assert [(m.text, m.created is None) for m in record.messages] == [
        ("After each update.", False), ("Hold the button.", True),
    ]  # fmt: skip
    assert tally.dropped == {"unreadable_time": 1, "message_of_dropped_ticket": 1}
    assert tally.taken["messages without a readable time"] == 1


def test_duplicates_orphans_and_empty_issues_are_counted(tmp_path: Path) -> None:
    tally = Tally()
    write(
        tmp_path,
        issues=[issue(title="old"), issue(title="new"), issue(2, body=None), issue(3, body=None), {"number": 4}],
        comments=[
            comment(), comment(body="edited"), comment(8002, 404), comment(8003, issue_url=None, html_url=None), comment(8004, 2),
        ],
        more=[comment(id=None, body="no id"), comment(id=None, body="none either")],
    )  # fmt: skip
    records = read(tmp_path, tally)
    assert [(r.id, r.title, sorted(m.text for m in r.messages)) for r in records] == [
        ("1", "new", ["After each update.", "edited", "no id", "none either"]),
        ("2", "Hub loses the valve", ["", "Hold the button."]),
    ]
    assert tally.dropped == {
        "duplicate_ticket_id": 1, "duplicate_message_id": 1, "message_without_ticket": 2, "ticket_without_messages": 1,
        "message_of_dropped_ticket": 1, "other_object": 1,
    }  # fmt: skip


def test_one_broken_record_among_thousands_is_counted_with_its_place_and_too_many_stop(tmp_path: Path) -> None:
    lines = [json.dumps(issue(n)) for n in range(1, 2001)]
    lines[1500] = '{"number": 1501, "title": "tor'
    lines[700] = json.dumps(issue(701, body={"markdown": "none"}))
    (tmp_path / "issues.ndjson").write_text("\n".join(lines) + "\n")
    tally = Tally(max_bad_records=2)
    assert len(read(tmp_path, tally)) == 1998
    assert [e.partition(" (")[0] for e in tally.examples["broken_record"]] == [
        "issues.ndjson line 701", "issues.ndjson line 1501",
    ]  # fmt: skip
    with pytest.raises(SourceError, match=r"issues\.ndjson: line 1501.*more than 1 records"):
        read(tmp_path, Tally(max_bad_records=1))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'[{"number": 1, "title": "a", "bo', r"issues\.json:1: not JSON"),
        (b'{"repositories": []}', "has none of the lists"),
        (b'[{"number": 3}]', "holds no issue"),
        ('[{"number": 1, "title": "größe"}]'.encode("latin-1"), "is 0xf6, which is not utf-8"),
    ],
)
def test_an_unusable_export_is_one_clear_error(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "issues.json").write_bytes(content)
    with pytest.raises(SourceError, match=told):
        read(tmp_path)


def test_recognise_knows_its_own_files_and_no_others(tmp_path: Path) -> None:
    own = [*sorted(GOLDEN.iterdir()), write(tmp_path, gh=[of_gh(issue())]) / "gh.json"]
    assert [github_issues.recognise(Peek.of(p)) for p in own] == [{}] * 3
    foreign = [p for d in sorted(GOLDEN.parent.iterdir()) if d != GOLDEN for p in sorted(d.rglob("*")) if p.is_file()]
    assert foreign
    assert [p for p in foreign if github_issues.recognise(Peek.of(p)) is not None] == []


ODD = st.sampled_from(
    [None, "", 0, 7, "7", True, [], {}, ["x", None], {"name": "x", "login": "y"}, "2026-03-01T08:00:00Z"]
)
ASSOCIATED = {"user": user("ohavel"), "author": {"login": "trehn"}, "createdAt": "2026-01-12T11:00:00+01:00"}


def mangled(whole: dict[str, Any], *kept: str) -> st.SearchStrategy[dict[str, Any]]:
    """The object with some of its fields missing and some of another type."""
    always = {k: whole[k] for k in kept}
    return st.fixed_dictionaries({}, optional={k: st.just(v) | ODD for k, v in whole.items() if k not in kept}).map(
        lambda d: {**always, **d}
    )


COMMENTS = st.lists(
    st.tuples(st.integers(1, 9), st.integers(1, 6)).flatmap(
        lambda n: mangled({**ASSOCIATED, **comment(*n)}, "issue_url")
    ),
    max_size=8,
)
ISSUES = st.lists(
    st.tuples(st.integers(1, 4), st.booleans()).flatmap(
        lambda n: mangled({**ASSOCIATED, **issue(n[0]), **({"pull_request": {}} if n[1] else {})}, "number")
    ),
    max_size=6,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(ISSUES, COMMENTS, COMMENTS)
@example([{"number": 1, "comments": ["x", None]}], [], [])
def test_what_goes_in_comes_out_or_is_counted(
    tmp_path_factory: pytest.TempPathFactory, issues: list[Any], comments: list[Any], inside: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    tally = Tally(max_bad_records=100)
    given = [*issues, issue(99, comments=inside)]
    write(folder, issues=given, comments=comments)
    records = read(folder, tally)
    shutil.rmtree(folder)
    lost = Counter(tally.dropped)
    of_issues = ("duplicate_ticket_id", "pull_request", "ticket_without_messages", "unreadable_time")
    of_messages = (
        "duplicate_message_id", "message_without_ticket", "message_of_dropped_ticket", "comment_of_pull_request",
    )  # fmt: skip
    assert tally.taken["tickets"] == len(records) + sum(lost[k] for k in of_issues)
    assert tally.taken["messages"] == sum(len(r.messages) for r in records) + sum(lost[k] for k in of_messages)
    embedded = sum(len(i["comments"]) for i in given if isinstance(i.get("comments"), list))
    openings = len(records) + lost["ticket_without_messages"]
    read_as = tally.taken["tickets"] + tally.taken["messages"] - openings + lost["other_object"] + lost["broken_record"]
    assert read_as == len(given) + len(comments) + embedded
    assert set(lost) <= {*of_issues, *of_messages, "other_object", "broken_record"}
    assert len({r.id for r in records}) == len(records)
    assert all(m.author for r in records for m in r.messages if m.role != "system")
