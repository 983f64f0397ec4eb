"""Jira: REST of both versions and CSV as threads, internal by any flag that is not surely public, and nothing vanishes."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.records import Message, Person, Record, SourceError, Tally
from data_prep.sources import jira
from data_prep.sources._files import Peek
from data_prep.sources._jira_text import to_markdown

GOLDEN = Path(__file__).parents[1] / "golden" / "jira"
SITE = "https://hearth.example/rest/api/3"


def user(id: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"accountId": id, "displayName": name, "active": True, "accountType": "atlassian", **fields}


MARA = user("qm:1", "Mara Lindqvist", accountType="customer", emailAddress="Mara@mail.example")
ODILE = user("5b1", "Odile Marchand")


def comment(id: int = 9001, **fields: Any) -> dict[str, Any]:
    return {
        "self": f"{SITE}/issue/1001/comment/{id}", "id": str(id), "author": ODILE, "updateAuthor": ODILE, "body": "Set it to 5 degrees",
        "created": "2026-01-12T10:00:00.000+0100", "updated": "2026-01-12T10:00:00.000+0100", **fields,
    }  # fmt: skip


def issue(n: int = 1, *comments: Any, total: int | None = None, changelog: Any = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": str(1000 + n), "self": f"{SITE}/issue/{1000 + n}", "key": f"HD-{n}",
        "fields": {
            "summary": "Frost", "description": "Frost alarm", "issuetype": {"name": "Bug"}, "project": {"key": "HD"},
            "status": {"name": "Done", "statusCategory": {"key": "done"}}, "resolution": {"name": "Done"}, "labels": [],
            "priority": {"name": "High"}, "reporter": MARA, "creator": MARA, "assignee": ODILE, "components": [], "issuelinks": [],
            "attachment": [], "created": "2026-01-12T09:00:00.000+0100",
            "comment": {"comments": list(comments), "total": len(comments) if total is None else total, "maxResults": 50, "startAt": 0},
            **fields,
        },
        **({"changelog": changelog} if changelog is not None else {}),
    }  # fmt: skip


def moved(*ends: tuple[Any, Any]) -> dict[str, Any]:
    items = [
        {"field": "status", "fieldtype": "jira", "from": "1", "fromString": a, "to": "2", "toString": b}
        for a, b in ends
    ]
    return {"histories": [{"id": str(n), "author": ODILE, "items": [item]} for n, item in enumerate(items)]}


def adf(*nodes: Any) -> dict[str, Any]:
    return {"type": "doc", "version": 1, "content": list(nodes)}


def node(kind: str, *content: Any, **attrs: Any) -> dict[str, Any]:
    return {"type": kind, **({"attrs": attrs} if attrs else {}), **({"content": list(content)} if content else {})}


def words(text: str, *marks: str | dict[str, Any]) -> dict[str, Any]:
    return {"type": "text", "text": text, "marks": [m if isinstance(m, dict) else {"type": m} for m in marks]}


def p(*content: Any) -> dict[str, Any]:
    return node("paragraph", *[words(c) if isinstance(c, str) else c for c in content])


def write(folder: Path, **streams: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in streams.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def read(path: Path, tally: Tally | None = None, **options: Any) -> list[Record]:
    return list(jira.read(path, tally or Tally(), **options))


def one(folder: Path, issue: dict[str, Any], **options: Any) -> Record:
    (record,) = read(write(folder, issues=[issue]), **options)
    return record


def golden(id: str) -> Record:
    return {r.id: r for r in read(GOLDEN)}[id]


def said(record: Record, word: str) -> Message:
    (found,) = [m for m in record.messages if word in m.text]
    return found


def test_the_golden_export_is_read_as_it_was_meant() -> None:
    tally = Tally()
    records = read(GOLDEN, tally, satisfaction_field="customfield_10036")
    assert [(r.id, r.group, r.solved, r.reopened, r.satisfaction, r.links) for r in records] == [
        ("HUB-11", "ivo@lumen.example", True, False, None, ()),
        ("HUB-12", "ivo@lumen.example", False, True, None, ()),
        ("HD-1", "mara.lindqvist@mail.example", True, False, "good", ()),
        ("HD-2", "tobias@rehn.example", True, False, None, ("HD-4",)),
        ("HD-3", "mara.lindqvist@mail.example", False, True, None, ()),
        ("APP-7", "61f0c2a48d3b5e0071aa9c11", True, False, None, ("APP-5",)),
        ("APP-8", "61f0c2a48d3b5e0071aa9c11", False, False, None, ()),
        ("HD-4", "tobias@rehn.example", True, False, None, ()),
    ]
    assert tally.taken == {"tickets": 8, "messages": 26}
    assert tally.dropped == {"duplicate_message_id": 1}  # the comment that the truncated issue and its stream both hold


def test_a_golden_request_of_version_3_is_whole() -> None:
    r = golden("HD-1")
    assert (r.title, r.created) == ("Charged twice in January", datetime(2026, 1, 12, 8, 14, 3, tzinfo=UTC))
    assert [(m.role, m.public) for m in r.messages] == [
        ("customer", True), ("bot", True), ("agent", False), ("agent", False), ("agent", False), ("agent", False), ("agent", True),
    ]  # fmt: skip
    assert r.messages[0].text.endswith(
        "- 12 January, 49 euro\n- 13 January, 49 euro\n\n![statement.png](statement.png)"
    )
    assert r.messages[0].attachments == ("statement.png",)
    assert r.messages[6].text.startswith("@Mara Lindqvist\nWe have refunded")
    assert [str(m.pointer) for m in r.messages[:2]] == [
        "Pointer(file='issues.json', at='/issues/0/fields/description')",
        "Pointer(file='issues.json', at='/issues/0/fields/comment/comments/0')",
    ]
    assert r.fields == {
        "status": "Resolved", "priority": "Medium", "type": "[System] Service request", "resolution": "Done", "labels": "refund",
        "components": "Billing", "project": "HD",
    }  # fmt: skip
    assert Person("61f0c2a48d3b5e0071aa9c01", ("Odile Marchand",), ("odile@hearth.example",)) in r.people


def test_a_golden_issue_of_version_2_has_its_wiki_markup_as_markdown() -> None:
    r = golden("HUB-11")
    assert "### Steps\n1. Update to **2.4**\n2. Restart" in r.messages[0].text
    assert "as @Oskar Wiel saw too" in r.messages[0].text
    assert "```\nwlan0: *deauthenticated*\n```\n\n| Version | Result |" in r.messages[0].text
    assert [(m.author, m.role, m.public) for m in r.messages] == [
        ("ivo.m", "customer", True), ("owiel", "agent", False), ("owiel", "agent", True),
    ]  # fmt: skip
    assert Person("owiel", ("Oskar Wiel", "owiel"), ("oskar@hearth.example",)) in r.people
    assert (r.fields["labels"], r.fields["fix_versions"]) == ("wifi,regression", "2.5")


def test_golden_rows_of_the_issue_navigator_keep_every_repeated_column() -> None:
    r = golden("APP-7")
    assert [(m.role, m.text.partition(" ")[0]) for m in r.messages] == [
        ("customer", "The"), ("agent", "Which"), ("customer", "Version"), ("agent", "Version"),
    ]  # fmt: skip
    assert r.messages[1].text == "Which phone is it; and which version?"
    assert (r.fields["labels"], r.fields["components"]) == ("session,token", "Login,Android")
    assert r.messages[0].attachments == ("log.txt",)


def test_canaries_in_the_golden_export_are_marked() -> None:
    r = golden("HD-1")
    assert said(r, "CANARY-BOT").role == "bot"
    assert [m.public for m in r.messages if "INTERNAL" in m.text] == [False, False, False]
    assert not said(r, "CANARY-UNKNOWN").public
    assert said(golden("HD-2"), "CANARY-AUTO").role == "bot"


def test_pages_arrays_lines_single_issues_and_a_stream_of_comments_give_the_same_records(tmp_path: Path) -> None:
    comments = [
        comment(9000 + n, self=f"{SITE}/issue/{1000 + n}/comment/{9000 + n}", body=f"answer {n}") for n in (1, 2)
    ]
    whole = [issue(n, c) for n, c in zip((1, 2), comments, strict=True)]
    bare = [issue(n) for n in (1, 2)]
    for i in bare:
        del i["fields"]["comment"]
    write(
        tmp_path / "pages",
        a={"startAt": 0, "total": 2, "issues": whole[:1]},
        b={"startAt": 1, "total": 2, "issues": whole[1:]},
    )
    write(tmp_path / "array", issues=whole)
    write(tmp_path / "single", one=whole[0], two=whole[1])
    write(tmp_path / "stream", issues=bare, comments={"startAt": 0, "total": 2, "comments": comments})
    write(
        tmp_path / "by_id",
        issues=bare,
        comments=[{**c, "self": "", "issueId": f"100{n}"} for n, c in enumerate(comments, 1)],
    )
    write(tmp_path / "truncated", issues=[issue(1, total=1), issue(2, total=1)], comments={"comments": comments})
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines" / "issues.ndjson").write_text("".join(json.dumps(i) + "\n" for i in whole))
    for shape in ("pages", "array", "single", "stream", "by_id", "truncated", "lines"):
        found = [
            (r.id, r.group, r.solved, [(m.role, m.public, m.text) for m in r.messages]) for r in read(tmp_path / shape)
        ]
        assert found == [
            (f"HD-{n}", "mara@mail.example", True, [("customer", True, "Frost alarm"), ("agent", False, f"answer {n}")])
            for n in (1, 2)
        ], shape


@pytest.mark.parametrize(
    ("content", "markdown"),
    [
        (p("plain ", words("bold", "strong"), words(" it ", "em"), words("x`y", "code")), "plain **bold** _it_ `` x`y ``"),
        (p(words("gone", "strike"), words(" u", "underline")), "~~gone~~ u"),
        (p(words("here", {"type": "link", "attrs": {"href": "https://a.example"}})), "[here](https://a.example)"),
        (node("heading", words("Steps"), level=3), "### Steps"),
        (node("heading", words("Steps"), level="many"), "# Steps"),
        (
            node("bulletList", node("listItem", p("a"), node("orderedList", node("listItem", p("b")), order=3)), node("listItem", p("c"))),
            "- a\n  3. b\n- c",
        ),
        (node("codeBlock", words("if a:\n  ```"), language="python"), "````python\nif a:\n  ```\n````"),
        (node("blockquote", p("said"), p("more")), "> said\n>\n> more"),
        (node("panel", p("careful"), panelType="warning"), "> careful"),
        (
            node("table", node("tableRow", node("tableHeader", p("A|B"))), node("tableRow", node("tableCell", p("1"), p("2")))),
            "| A\\|B |\n| --- |\n| 1 2 |",
        ),
        (p(node("mention", id="5b1", text="@Odile"), " ", node("mention", id="5b2"), " ", node("mention", id="x")), "@Odile @Tobias @user"),
        (p(node("inlineCard", url="https://a.example/X-1")), "<https://a.example/X-1>"),
        (p("a", node("hardBreak"), "b"), "a\nb"),
        (p(node("emoji", shortName=":smile:", text="😀"), node("emoji", shortName=":own:")), "😀:own:"),
        (node("mediaSingle", node("media", type="file", id="1", alt="shot.png")), "![shot.png](shot.png)"),
        (node("mediaGroup", node("media", type="file", id="1")), "![attachment](attachment)"),
        (node("expand", p("inside"), title="Log"), "**Log**\n\ninside"),
        (p("until ", node("date", timestamp="1768176000000")), "until 2026-01-12"),
        (p(node("date", timestamp="9" * 14)), "9" * 14),
        (p("is ", node("status", text="IN PROGRESS", color="blue")), "is IN PROGRESS"),
        (node("taskList", node("taskItem", words("a"), state="DONE"), node("taskItem", words("b"), state="TODO")), "- [x] a\n- [ ] b"),
        (node("tomorrow", p("kept"), title="New"), "New\n\nkept"),
        (node("extension", text="only an attribute"), "only an attribute"),
        (None, ""),
        ("no node", "no node"),
    ],
)  # fmt: skip
def test_adf_becomes_markdown_and_drops_no_text(content: Any, markdown: str) -> None:
    assert to_markdown(adf(content), {"5b2": "Tobias"}) == markdown


@pytest.mark.parametrize(
    ("wiki", "markdown"),
    [
        ("*bold* _em_ {{mono}}", "**bold** _em_ `mono`"),
        ("h2. Title\r\ntext", "## Title\ntext"),
        ("# a\n## b\n# c", "1. a\n    1. b\n2. c"),
        ("* a\n** b\n- c", "- a\n    - b\n- c"),
        ("bq. said", "> said"),
        ("{quote}a\nb{quote}", "> a\n> b"),
        ("{panel:title=Note}\ncareful\n{panel}", "> **Note**\n>\n> careful"),
        ("||A||B||\n|1|[x|https://a.example]|", "| A | B |\n| --- | --- |\n| 1 | [x](https://a.example) |"),
        ("{code:java|title=A.java}\nint a; // *b*\n{code}", "**A.java**\n```java\nint a; // *b*\n```"),
        ("{code:java:title=A.java}\nx\n{code}", "**A.java**\n```java\nx\n```"),
        ("{noformat}[~mara] *raw*{noformat}", "```\n[~mara] *raw*\n```"),
        ("say {code}x{code} now", "say `x` now"),
        ("{code}never closed", "{code}never closed"),
        ("[https://a.example] [see|https://a.example/b c]", "<https://a.example> [see](<https://a.example/b c>)"),
        ("[~mara], [~accountid:5b2]did it, [~gone]", "@Mara, @Tobias did it, @gone"),
        ("[^log.txt] !shot.png|thumbnail! wow!really!", "[log.txt](log.txt) ![shot.png](shot.png) wow!really!"),
        ("{color:red}red{color} *{color:#ff0000}both{color}*", "red **both**"),
        ("* {color:red}*item*{color}", "- **item**"),
        ("a {color: 'red'} b", "a {color: 'red'} b"),
        ("2*3*4, [sic] and {x} stay", "2*3*4, [sic] and {x} stay"),
        ("{html}<b>x</b><script>alert(1)</script>{html}", "**x**"),
        ("{unknown:a=b}text{unknown}", "{unknown:a=b}text{unknown}"),
    ],
)
def test_wiki_markup_becomes_markdown_and_what_is_none_stays(wiki: str, markdown: str) -> None:
    assert to_markdown(wiki, {"mara": "Mara", "5b2": "Tobias"}).strip("\n") == markdown


@pytest.mark.parametrize(
    "piece",
    ["*a ", "[a|", "{code}", "{quote}", "{{", "!a", "\\\\", "{color:", "|a", "* *a* \n", "{panel:title=", "# a\n"],
)
def test_hostile_wiki_markup_takes_linear_time(piece: str) -> None:
    began = time.perf_counter()
    to_markdown(piece * (200_000 // len(piece)), {})
    assert time.perf_counter() - began < 5


def test_adf_that_is_nested_deeper_than_people_write_keeps_its_text(tmp_path: Path) -> None:
    deep = p("at the bottom")
    for _ in range(200):
        deep = node("panel", deep)
    assert "at the bottom" in one(tmp_path, issue(1, description=adf(p("top"), deep))).messages[0].text


def internal(value: Any) -> dict[str, Any]:
    return {"properties": [{"key": "sd.public.comment", "value": {"internal": value}}]}


ROLE = {"type": "role", "value": "Service Desk Team"}


@pytest.mark.parametrize(
    ("flags", "in_service_desk", "in_software"),
    [
        ({}, False, True),
        ({"jsdPublic": True}, True, True),
        ({"jsdPublic": False}, False, False),
        ({"jsdPublic": None}, False, False),
        ({"jsdPublic": "true"}, False, False),
        ({"jsdPublic": 1}, False, False),
        (internal(False), True, True),
        (internal(True), False, False),
        (internal(None), False, False),
        (internal("false"), False, False),
        ({"properties": [{"key": "sd.public.comment", "value": "internal"}]}, False, False),
        ({"properties": [{"key": "sd.public.comment"}]}, False, False),
        ({"properties": [{"key": "other", "value": {"internal": True}}]}, False, True),
        ({"jsdPublic": True, **internal(True)}, False, False),
        ({"jsdPublic": False, **internal(False)}, False, False),
        ({"jsdPublic": True, "visibility": ROLE}, False, False),
        ({"visibility": ROLE}, False, False),
        ({"visibility": {"type": "group", "value": "jira-users"}}, False, False),
        ({"visibility": {}}, False, False),
        ({"visibility": "all"}, False, False),
        ({"jsdPublic": True, "visibility": None}, True, True),
    ],
)
def test_a_comment_is_internal_by_any_flag_that_is_not_surely_public(
    tmp_path: Path, flags: dict[str, Any], in_service_desk: bool, in_software: bool
) -> None:
    asked = user("5b9", "Ivo Marchetti")
    desk = one(tmp_path / "desk", issue(1, comment(**flags), project={"key": "HD", "projectTypeKey": "service_desk"}))
    plain = one(tmp_path / "plain", issue(1, comment(**flags), reporter=asked, creator=asked))
    assert (desk.messages[1].public, plain.messages[1].public) == (in_service_desk, in_software)


@pytest.mark.parametrize(
    "sign",
    [
        {"project": {"key": "HD", "projectTypeKey": "service_desk"}},
        {"customfield_10010": {"requestType": {"id": "12", "serviceDeskId": "1"}}},
        {"reporter": MARA},
        {"comment": {"comments": [comment(), comment(9002, jsdPublic=True)], "total": 2}},
        {"comment": {"comments": [comment(), comment(9002, **internal(False))], "total": 2}},
    ],
)
def test_a_service_desk_is_known_by_each_of_its_signs(tmp_path: Path, sign: dict[str, Any]) -> None:
    asked = user("5b9", "Ivo Marchetti")
    record = one(tmp_path, issue(1, comment(), **{"reporter": asked, "creator": asked, **sign}))
    assert not record.messages[1].public


@pytest.mark.parametrize(
    ("author", "role"),
    [
        (ODILE, "agent"),
        ({"name": "odile", "key": "JIRAUSER1", "displayName": "Odile Marchand"}, "agent"),  # Data Center has no types
        (MARA, "customer"),
        (user("qm:7", "Petr", accountType="customer"), "customer"),
        (user("a1", "Assistant", accountType="app"), "bot"),
        (user("557058:f58131cb-b67d-43c7-b30d-6b58d40bd077", "Any name"), "bot"),
        (user("5b7", "AUTOMATION for Jira"), "bot"),
        (user("5b7", "Night Watch"), "bot"),  # named in the options
        (user("5b8", "Somebody", accountType="unknown"), "system"),
        (user("5b8", "Somebody", accountType=["atlassian"]), "system"),
        (user("5b8", "Former user"), "system"),
        (user("unknown", "Anonymous"), "system"),
        ({"displayName": "Name alone"}, "system"),
        (None, "system"),
        ("odile", "system"),
    ],
)
def test_deleted_unknown_and_automatic_authors_are_never_agents(tmp_path: Path, author: Any, role: str) -> None:
    record = one(tmp_path, issue(1, comment(author=author)), bots=(*jira.BOTS, "night watch"))
    assert record.messages[1].role == role


def test_an_agent_that_reports_is_the_customer_of_that_issue(tmp_path: Path) -> None:
    record = one(tmp_path, issue(1, comment(), reporter=ODILE))
    assert [m.role for m in record.messages] == ["customer", "customer"]


def test_a_deleted_reporter_leaves_the_creator_or_nobody(tmp_path: Path) -> None:
    assert one(tmp_path / "a", issue(1, reporter=None)).group == "mara@mail.example"
    nobody = one(tmp_path / "b", issue(1, reporter=None, creator=None))
    assert (nobody.group, nobody.messages[0].role, nobody.messages[0].author) == ("unknown-hd-1", "system", "")


def test_everybody_an_issue_names_is_known_for_redaction(tmp_path: Path) -> None:
    named = {
        "customfield_10051": [user("qm:5", "Petr Havel", emailAddress="petr@firm.example")],
        "attachment": [{"filename": "a.png", "author": user("5b5", "Oskar Wiel")}],
    }
    last = comment(updateAuthor=user("5b6", "Nadia Ferrow"), body="[~accountid:5b5] knows")
    record = one(tmp_path, issue(1, last, **named))
    assert {n for person in record.people for n in (*person.names, *person.emails)} == {
        "Mara Lindqvist", "Mara@mail.example", "Odile Marchand", "Petr Havel", "petr@firm.example", "Oskar Wiel", "Nadia Ferrow",
    }  # fmt: skip
    assert record.messages[1].text == "@Oskar Wiel knows"


def test_an_issue_with_fewer_comments_than_its_total_is_counted_as_truncated(tmp_path: Path) -> None:
    tally = Tally()
    write(tmp_path, issues=[issue(1, comment(), total=60), issue(2, comment(9002), total=1), issue(3, total=4)])
    assert [len(r.messages) for r in read(tmp_path, tally)] == [2, 2, 1]
    assert tally.taken["issues with truncated comments"] == 2


def test_a_stream_completes_a_truncated_issue_and_repeats_a_whole_one(tmp_path: Path) -> None:
    tally = Tally()
    stream = [comment(), comment(9002), comment(9003, self=f"{SITE}/issue/1002/comment/9003")]
    write(tmp_path, comments={"comments": stream}, issues=[issue(1, comment(), total=2), issue(2, comment(9003))])
    assert {r.id: len(r.messages) for r in read(tmp_path, tally)} == {"HD-1": 3, "HD-2": 2}
    assert tally.dropped == {"comment_of_complete_issue": 1, "duplicate_message_id": 1}
    assert tally.taken["issues with truncated comments"] == 0


@pytest.mark.parametrize(
    ("changelog", "status", "reopened"),
    [
        (moved(("Open", "Resolved")), "Resolved", False),
        (moved(("Open", "Resolved"), ("Resolved", "In Progress")), "In Progress", True),
        (moved(("Resolved", "Closed")), "Closed", False),
        (moved(("Done", None)), "Open", False),
        ({"values": [{"items": [{"fieldId": "status", "fromString": "Closed", "toString": "Open"}]}]}, "Open", True),
        (
            {"histories": [{"items": [{"field": "resolution", "fromString": "Done", "toString": "Open"}]}]},
            "Open",
            False,
        ),
        ({"histories": [None, {"items": None}, {"items": [7]}]}, "Open", False),
        ("broken", "Open", False),
        (None, "Reopened", True),
    ],
)
def test_reopened_is_a_step_from_done_to_not_done(tmp_path: Path, changelog: Any, status: str, reopened: bool) -> None:
    record = one(tmp_path, issue(1, changelog=changelog, status={"name": status}))
    assert record.reopened == reopened


@pytest.mark.parametrize(
    ("status", "resolution", "solved"),
    [
        ({"name": "Versendet", "statusCategory": {"key": "done"}}, {"name": "Done"}, True),
        ({"name": "Closed", "statusCategory": {"key": "indeterminate"}}, None, False),
        ({"name": "Closed", "statusCategory": {"key": "undefined"}}, None, True),
        ({"name": "Closed"}, {"name": "Won’t Fix"}, False),
        ({"name": "Closed"}, {"name": "Duplicate"}, False),
        ({"name": "Open"}, {"name": "Fixed"}, False),
        (None, None, False),
        ([], {}, False),
    ],
)
def test_solved_is_a_final_status_with_a_resolution_that_solves(
    tmp_path: Path, status: Any, resolution: Any, solved: bool
) -> None:
    assert one(tmp_path, issue(1, status=status, resolution=resolution)).solved == solved


@pytest.mark.parametrize(
    ("rating", "verdict"),
    [({"rating": 5}, "good"), (4, "good"), ("1", "bad"), ({"rating": 3}, None), ({"rating": None}, None), ("so so", None), (True, None)],
)  # fmt: skip
def test_satisfaction_is_a_custom_field(tmp_path: Path, rating: Any, verdict: str | None) -> None:
    rated = issue(1, customfield_10036=rating)
    assert one(tmp_path, rated, satisfaction_field="customfield_10036").satisfaction == verdict
    assert one(tmp_path, rated).satisfaction is None


def test_custom_fields_are_labels_but_people_and_long_texts_are_none(tmp_path: Path) -> None:
    values = {
        "customfield_1": {"value": "Heating"}, "customfield_2": [{"name": "a"}, {"value": "b"}], "customfield_3": "x" * 201,
        "customfield_4": MARA, "customfield_5": 2.5,
    }  # fmt: skip
    named = {f"F{n}": f"customfield_{n}" for n in range(1, 7)}
    found = one(tmp_path, issue(1, **values), custom_fields=named).fields
    assert {k: v for k, v in found.items() if k.startswith("f") and k[1:].isdigit()} == {
        "f1": "Heating", "f2": "a,b", "f5": "2.5",
    }  # fmt: skip


def test_links_are_what_makes_one_group(tmp_path: Path) -> None:
    def link(name: str, end: str, key: str) -> dict[str, Any]:
        return {"type": {"name": name, "inward": "is x by", "outward": "x"}, end: {"key": key}}

    links = [
        link("Duplicate", "outwardIssue", "A-1"), link("Cloners", "inwardIssue", "A-2"), link("Blocks", "inwardIssue", "A-3"),
        link("Duplicate", "inwardIssue", "A-1"), {"type": None}, 7,
    ]  # fmt: skip
    assert one(tmp_path, issue(1, issuelinks=links)).links == ("A-1", "A-2")
    assert one(tmp_path, issue(1, issuelinks=links), same_group_links=("blocks",)).links == ("A-3",)


def test_a_file_belongs_to_the_message_that_names_it(tmp_path: Path) -> None:
    files = [{"filename": "a.log"}, {"filename": "b.png"}, {"filename": None}, 3]
    record = one(tmp_path, issue(1, comment(body="see !b.png!"), attachment=files))
    assert [m.attachments for m in record.messages] == [("a.log",), ("b.png",)]


HEADER = [
    "Issue key",
    "Issue id",
    "Summary",
    "Status",
    "Status Category",
    "Created",
    "Reporter",
    "Reporter Id",
    "Description",
]
ROW = ["APP-1", "401", "Blank", "Done", "Done", "05/Feb/26 9:00 AM", "Ivo Marchetti", "5b0", "It is blank"]


def write_csv(folder: Path, header: list[str], *rows: list[str], delimiter: str = ",", encoding: str = "utf-8") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "issues.csv").open("w", newline="", encoding=encoding) as f:
        csv.writer(f, delimiter=delimiter).writerows([header, *rows])
    return folder


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_every_one_of_the_repeated_comment_columns_is_read(tmp_path: Path, delimiter: str) -> None:
    cells = [
        "05/Feb/26 1:05 PM;5b0;third; with a; semicolon", "05/Feb/26 11:30 AM;5b1;first\nof two lines", "", "05/Feb/26 12:00 PM;5b1;",
        "no time;5b1;text",
    ]  # fmt: skip
    write_csv(tmp_path, HEADER + ["Comment"] * 5, ROW + cells, delimiter=delimiter)
    tally = Tally()
    (record,) = read(tmp_path, tally)
    assert [(m.role, m.text) for m in record.messages] == [
        ("customer", "It is blank"),
        ("agent", "first\nof two lines"),
        ("agent", ""),
        ("system", "no time;5b1;text"),  # behind the one it stood behind
        ("customer", "third; with a; semicolon"),
    ]
    assert [m.created and f"{m.created:%H:%M}" for m in record.messages] == ["09:00", "11:30", "12:00", None, "13:05"]
    assert tally.taken["messages without a readable time"] == 1


@pytest.mark.parametrize(
    ("header", "cell"),
    [("Custom field (Request Type)", "Get help"), ("Satisfaction rating", "5"), ("Organizations", "Lumen"), ("Project type", "service_desk"),
     ("Project type", "Service Desk"), ("Issue Type", "[System] Incident"), ("Creator Id", "qm:4b1d")],
)  # fmt: skip
def test_a_service_desks_csv_is_refused_unless_assume_public_says_it_is_safe(
    tmp_path: Path, header: str, cell: str
) -> None:
    write_csv(tmp_path, [*HEADER, header, "Comment"], [*ROW, cell, "05/Feb/26 11:30 AM;5b1;Hello"])
    with pytest.raises(SourceError, match=r"issues\.csv: is a service desk's CSV .*assume_public: true"):
        read(tmp_path)
    (record,) = read(tmp_path, assume_public=True)
    assert [m.text for m in record.messages if m.public] == ["It is blank", "Hello"]


def test_a_software_projects_csv_is_read_without_assume_public(tmp_path: Path) -> None:
    write_csv(tmp_path, [*HEADER, "Project type", "Comment"], [*ROW, "software", "05/Feb/26 11:30 AM;5b1;Hello"])
    assert [m.public for m in read(tmp_path)[0].messages] == [True, True]


def test_an_account_id_in_a_comment_is_no_agent_where_the_reporter_is_a_name(tmp_path: Path) -> None:
    id = "61f0c2a48d3b5e0071aa9c11"
    row = [c if h != "Reporter Id" else "" for h, c in zip(HEADER, ROW, strict=True)]
    write_csv(tmp_path, HEADER + ["Comment"] * 2, [*row, f"05/Feb/26 11:30 AM;{id};Who", "05/Feb/26 11:31 AM;owiel;Me"])
    assert [m.role for m in read(tmp_path)[0].messages] == ["customer", "system", "agent"]


def test_csv_dates_of_a_changed_site_need_its_format(tmp_path: Path) -> None:
    row = ["2026/02/05-09h" if h == "Created" else c for h, c in zip(HEADER, ROW, strict=True)]
    write_csv(tmp_path, HEADER, row)
    tally = Tally()
    assert read(tmp_path, tally) == []
    assert tally.dropped["unreadable_time"] == 1
    assert read(tmp_path, date_format="%Y/%m/%d-%Hh")[0].created == datetime(2026, 2, 5, 9, tzinfo=UTC)


def test_csv_rows_of_another_width_are_counted_and_windows_text_needs_its_encoding(tmp_path: Path) -> None:
    umlaut = [*ROW[:2], "Größe", *ROW[3:]]
    write_csv(tmp_path, HEADER, umlaut, ROW[:4], [*ROW, "more"], encoding="cp1252")
    with pytest.raises(SourceError, match=r"which is not utf-8.*encoding"):
        read(tmp_path)
    tally = Tally()
    (record,) = read(tmp_path, tally, encoding="cp1252")
    assert record.title == "Größe"
    assert (tally.taken["tickets"], tally.taken["broken records"], tally.dropped) == (1, 2, {"broken_record": 2})
    assert tally.examples["broken_record"][0].startswith("issues.csv line 3 (4 cells, the header has 9)")


@pytest.mark.parametrize("field", ["description", "comment"])
@pytest.mark.parametrize("value", [None, 0, True, "", [], {}, "text", {"comments": None}, [None, {"type": "x"}], 1.5])
def test_a_field_of_another_type_never_stops_the_read(tmp_path: Path, field: str, value: Any) -> None:
    write(tmp_path, issues=[issue(1, **{field: value}), issue(2)])
    assert "HD-2" in [r.id for r in read(tmp_path)]


@pytest.mark.parametrize(
    "when",
    ["soon", "0001-01-01T00:00:00+05:00", "Thu, 01 Jan 2020 00:00:00 +99999999999999", {"at": 1}, [], True, 1e300],
)
def test_clock_nonsense_drops_an_issue_but_keeps_a_comment(tmp_path: Path, when: Any) -> None:
    for n, total in enumerate((2, 3)):  # passed on at once, and stored until the end
        tally = Tally()
        here = issue(1, comment(), comment(9002, created=when, body="late"), total=total)
        write(tmp_path / str(n), issues=[here, issue(2, comment(9003), created=when)])
        (record,) = read(tmp_path / str(n), tally)
        assert sorted((m.text, m.created is None) for m in record.messages) == [
            ("Frost alarm", False), ("Set it to 5 degrees", False), ("late", True),
        ]  # fmt: skip
        assert tally.dropped == {"unreadable_time": 1, "message_of_dropped_ticket": 2}
        assert tally.taken["messages without a readable time"] == 1


def test_comments_of_mixed_zones_are_in_time_order(tmp_path: Path) -> None:
    comments = [
        comment(1, created="2026-01-12T12:00:00.000+0000", body="third"), comment(2, created="2026-01-12T15:00:00.000+0500", body="first"),
        comment(3, created="2026-01-12T06:30:00.000-0500", body="second"),
    ]  # fmt: skip
    assert [m.text for m in one(tmp_path, issue(1, *comments)).messages[1:]] == ["first", "second", "third"]


def test_duplicates_orphans_empty_and_foreign_objects_are_counted(tmp_path: Path) -> None:
    tally = Tally()
    write(
        tmp_path,
        a={
            "issues": [
                issue(1, comment(), comment(body="edited"), None),
                issue(2, description=None),
                issue(1, comment(9005)),
            ]
        },
        b=[
            comment(9006, self=f"{SITE}/issue/404/comment/9006"),
            comment(9007, self=""),
            {"id": "7", "timeSpent": "1h"},
        ],
        c=[{"key": "HD-9", "fields": None}],
    )
    (record,) = read(tmp_path, tally)
    assert [m.text for m in record.messages] == ["Frost alarm", "edited"]
    assert tally.dropped == {
        "duplicate_message_id": 1, "duplicate_ticket_id": 1, "message_of_dropped_ticket": 1, "ticket_without_messages": 1,
        "message_without_ticket": 2, "other_object": 1, "broken_record": 2,
    }  # fmt: skip


def test_one_broken_issue_among_thousands_is_counted_with_its_place_and_too_many_stop(tmp_path: Path) -> None:
    lines = [json.dumps(issue(n)) for n in range(1, 2001)]
    lines[1500] = '{"key": "HD-1501", "fields": {"summary": "tor'
    lines[700] = json.dumps({"key": "HD-701", "fields": ["none"]})
    (tmp_path / "issues.ndjson").write_text("\n".join(lines) + "\n")
    tally = Tally(max_bad_records=2)
    assert len(read(tmp_path, tally)) == 1998
    assert [e.partition(" (")[0] for e in tally.examples["broken_record"]] == [
        "issues.ndjson line 701", "issues.ndjson line 1501",
    ]  # fmt: skip
    with pytest.raises(SourceError, match=r"issues\.ndjson: line 1501.*more than 1 records"):
        read(tmp_path, Tally(max_bad_records=1))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("issues.json", b'{"issues": [{"key": "HD-1", "fie', r"issues\.json:1: not JSON"),
        ("issues.json", b'{"dashboards": []}', "has none of the lists"),
        ("comments.json", json.dumps([comment()]).encode(), "holds no issue .* 1 files of comments"),
        ("issues.json", '{"issues": [], "x": "größe"}'.encode("latin-1"), "is 0xf6, which is not utf-8"),
        ("issues.csv", b"id,subject\n1,a\n", r"issues\.csv:1: has no column 'Issue key'"),
        ("issues.csv", b"", r"issues\.csv: is empty"),
    ],
)
def test_an_unusable_export_is_one_clear_error(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=told):
        read(tmp_path)


def test_html_and_scripts_in_a_comment_stay_text_that_nothing_runs(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script> <img src=x onerror=alert(1)> \u202ereversed"
    message = one(tmp_path, issue(1, comment(body=hostile))).messages[1]
    assert (message.text, message.html) == (hostile, False)


def test_recognise_knows_its_own_files_and_no_others() -> None:
    own = sorted(GOLDEN.iterdir())
    assert len(own) >= 4
    assert [jira.recognise(Peek.of(f)) for f in own] == [{}] * len(own)
    foreign = [f for d in sorted(GOLDEN.parent.iterdir()) if d != GOLDEN for f in sorted(d.rglob("*")) if f.is_file()]
    assert foreign
    assert [f for f in foreign if jira.recognise(Peek.of(f)) is not None] == []


ODD = st.sampled_from(
    [None, "", 0, -1.5, "7", True, [], {}, ["x", None], {"name": "x", "id": 3}, "2026-03-01T08:00:00Z", adf(p("x"))]
)


def mangled(whole: dict[str, Any], *kept: str) -> st.SearchStrategy[dict[str, Any]]:
    """The object with some of its fields missing and some of another type."""
    always = {k: whole[k] for k in kept}
    return st.fixed_dictionaries({}, optional={k: st.just(v) | ODD for k, v in whole.items() if k not in kept}).map(
        lambda d: {**always, **d}
    )


def comments(*kept: str) -> st.SearchStrategy[list[Any]]:
    whole = {"jsdPublic": True, "visibility": None, **internal(False)}
    of = st.tuples(st.integers(1, 9), st.integers(1, 6))
    return st.lists(
        of.flatmap(lambda n: mangled({**comment(n[0], self=f"{SITE}/issue/{1000 + n[1]}/comment/{n[0]}"), **whole}, *kept)), max_size=5
    )  # fmt: skip


def fields(n: int, inside: list[Any], total: int | None) -> st.SearchStrategy[dict[str, Any]]:
    return mangled(issue(n, *inside, total=total)["fields"], "summary", "comment")


ISSUES = st.lists(
    st.tuples(st.integers(1, 4), comments("id"), st.sampled_from([0, None, 9])).flatmap(
        lambda n: fields(*n).map(lambda f: {**issue(n[0], changelog=moved(("Done", "Open"))), "fields": f})
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(ISSUES, comments("id", "body"))
def test_what_goes_in_comes_out_or_is_counted(
    tmp_path_factory: pytest.TempPathFactory, issues: list[Any], stream: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    tally = Tally(max_bad_records=200)
    given = [*issues, issue(99)]
    records = read(write(folder, issues={"issues": given}, stream={"comments": stream}), tally)
    shutil.rmtree(folder)
    lost = Counter(tally.dropped)
    of_issues = ("duplicate_ticket_id", "ticket_without_messages", "unreadable_time")
    of_messages = (
        "duplicate_message_id", "message_without_ticket", "message_of_dropped_ticket", "comment_of_complete_issue",
    )  # fmt: skip
    assert tally.taken["tickets"] == len(given) == len(records) + sum(lost[k] for k in of_issues)
    assert tally.taken["messages"] == sum(len(r.messages) for r in records) + sum(lost[k] for k in of_messages)
    embedded = [c for i in given for c in i["fields"]["comment"]["comments"]]
    openings = tally.taken["messages"] - len(stream) - len(embedded)
    opened = [r for r in records if r.messages[0].pointer and r.messages[0].pointer.at.endswith("description")]
    assert len(opened) <= openings <= len(opened) + lost["unreadable_time"]
    assert set(lost) <= {*of_issues, *of_messages}
    assert len({r.id for r in records}) == len(records)
    assert all(m.author for r in records for m in r.messages if m.role != "system")
