"""The tasks: what becomes a row, what is dropped by which reason, and that no row holds what its prompt must not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.library import Library, excerpt, passages_of, sections
from data_prep.records import Dropped, Pointer, Question, Redacted, Row, Turn
from data_prep.tasks import doc_grounded_reply, doc_qa, draft_reply, extract, summarise, triage
from data_prep.tasks._make import fenced, json_in

NONE = Library(())
START = datetime(2026, 3, 1, 9, tzinfo=UTC)
ASKED = "My heating valve makes a clicking noise every night, what can I do about that?"
GOOD = "Please open the battery lid, take both batteries out for ten seconds and put them back in."
GUIDE = (
    "# Valve guide\n\n## Clicking\n\nIf it clicks, open the battery lid, take both batteries out for ten seconds and put them back in."
    " Afterwards it moves once.\n\n## Cost\n\nA new valve costs 49.90 EUR and comes with two batteries and a wall holder for it.\n"
)


def ticket(reply: str = GOOD, **fields: Any) -> Redacted:
    turns = (
        Turn("customer", True, START, ASKED, pointer=Pointer("t.json", "/0")),
        Turn("agent", True, START + timedelta(hours=1), reply, pointer=Pointer("t.json", "/1")),
    )
    made = Redacted("desk:1", "ticket", "g", START, "Clicking", turns, Pointer("t.json", "/"), {}, True, "en", {})
    return replace(made, **fields)


def document(text: str = GUIDE, name: str = "guide.md", **fields: Any) -> Redacted:
    made = ticket(
        id=f"docs:{name}", kind="document", title="Valve guide", turns=(Turn("system", True, None, text),),
        pointer=Pointer(name, ""), created=START - timedelta(days=9),
    )  # fmt: skip
    return replace(made, **fields)


def row_of(made: Iterable[Row | Dropped]) -> Row:
    (row,) = made
    assert isinstance(row, Row), row
    return row


def reason_of(made: Iterable[Row | Dropped]) -> str:
    (dropped,) = made
    assert isinstance(dropped, Dropped), dropped
    return dropped.reason


def test_triage_takes_the_first_listed_of_several_labels_and_leaves_braces_of_the_instruction_alone() -> None:
    record = ticket(fields={"tags": "urgent, noise,radio"})
    told = 'Answer {"label": …}, one of {labels}'
    row = row_of(triage.rows(record, NONE, field="tags", labels=("radio", "noise"), multi=True, instruction=told))
    assert (row.label, row.reference) == ("radio", "radio")
    assert row.prompt[0]["content"] == 'Answer {"label": …}, one of radio, noise'
    assert GOOD not in row.prompt[-1]["content"]
    mute = ticket(fields={"tags": "noise"}, turns=ticket().turns[1:])
    assert reason_of(triage.rows(mute, NONE, field="tags", labels=("noise",))) == "no_customer_message"
    assert list(triage.rows(document(), NONE, field="tags", labels=("noise",))) == []


def test_extract_answers_with_json_of_the_schema_in_its_prompt() -> None:
    fields = {"product": ("valve", "hub"), "city": ()}
    row = row_of(extract.rows(ticket(fields={"product": "valve"}), NONE, fields=fields))
    assert json.loads(row.reference) == {"city": None, "product": "valve"}
    schema = json.loads(row.prompt[0]["content"].partition("schema: ")[2])
    assert schema["properties"]["product"]["enum"] == ["valve", "hub", None]
    assert set(schema["required"]) == set(json.loads(row.reference))
    assert reason_of(extract.rows(ticket(fields={"product": "car"}), NONE, fields=fields)) == "value_not_listed"
    assert reason_of(extract.rows(ticket(), NONE, fields=fields)) == "no_field"


NOTE = "Valve clicked at night; taking the batteries out for ten seconds solved it."


@pytest.mark.parametrize(
    ("note", "why"),
    [
        ("", "no_human_summary"),
        ("Solved.", "summary_too_short"),
        ("word " * 400, "summary_too_long"),
        (GOOD, "summary_is_the_reply"),
        ("Valve RX-200 was replaced after 45 minutes of testing.", "ungrounded_summary"),
        ("As told in https://wiki.firm.example/valve the batteries were taken out.", "ungrounded_summary"),
    ],
)
def test_a_summary_that_teaches_to_invent_or_nothing_is_dropped_wherever_it_stands(note: str, why: str) -> None:
    assert reason_of(summarise.rows(ticket(resolution=note), NONE)) == why
    in_a_field = ticket(fields={"close_notes": note})  # its own words are no proof of it
    assert reason_of(summarise.rows(in_a_field, NONE, field="close_notes")) == why


def test_a_human_note_becomes_the_summary_of_the_whole_thread() -> None:
    row = row_of(summarise.rows(ticket(resolution=NOTE), NONE))
    assert row.reference == NOTE
    assert f"Customer: {ASKED}" in row.prompt[-1]["content"]
    assert f"Agent: {GOOD}" in row.prompt[-1]["content"]
    assert [s.at for s in row.spans] == ["/0", "/1"]
    assert reason_of(summarise.rows(ticket(resolution=NOTE, turns=()), NONE)) == "no_conversation"


def test_drafts_know_stale_replies_and_rows_that_must_stay() -> None:
    changed = Library([document(created=START + timedelta(days=30))])
    assert "stale=yes" in row_of(draft_reply.rows(ticket(), changed)).slices
    assert reason_of(draft_reply.rows(ticket(), changed, stale="drop")) == "stale_reply"
    assert "stale=yes" not in row_of(draft_reply.rows(ticket(), Library([document()]))).slices
    vip = ticket(fields={"tier": "vip"})
    assert row_of(draft_reply.rows(vip, NONE, local_only={"tier": "vip"})).sensitivity == "local_only"
    tagged = ticket(fields={"tags": "billing, Legal,vip"})
    assert row_of(draft_reply.rows(tagged, NONE, local_only={"Tags": "legal"})).sensitivity == "local_only"
    assert row_of(draft_reply.rows(tagged, NONE, local_only={"tags": "leg"})).sensitivity == "shareable"


def test_all_good_replies_of_a_ticket_are_rows_of_their_own_and_earlier_ones_context() -> None:
    second = "Then press the red button of the valve for three seconds until it moves to both ends."
    turns = (
        *ticket().turns,
        Turn("customer", True, START, "And when it stands still?"),
        Turn("agent", True, START, second),
    )
    made = [r for r in draft_reply.rows(ticket(turns=turns), NONE, per_ticket="all") if isinstance(r, Row)]
    assert [r.reference for r in made] == [GOOD, second]
    assert len({r.id for r in made}) == 2
    assert [m["role"] for m in made[1].prompt] == ["system", "user", "assistant", "user"]


def test_section_answers_are_whole_paragraphs_or_sentences_of_the_document() -> None:
    long = "First open the small lid at the back side. Then take out both of the batteries carefully. " + "x" * 300
    steps = "\n".join(f"{n}. do step number {n} of the very long list" for n in range(1, 40))
    text = f"# G\n\n## Long\n\n{long}\n\n## Steps\n\n{steps}\n\n## Short\n\nno\n"
    made = list(doc_qa.rows(document(text), NONE, min_words=5, max_answer_chars=200))
    assert [r.reference for r in made if isinstance(r, Row)] == [long.partition(" xx")[0]]
    assert [d.reason for d in made if isinstance(d, Dropped)] == ["no_whole_beginning", "section_too_short"]


def teacher(answer: str, **options: Any) -> list[str]:
    """Reasons, or `row`, of what a teacher says about the section on clicking."""
    question = next(iter(doc_qa.questions(document(), NONE, teacher_questions=2, min_words=5)))
    made = doc_qa.accept(question, answer, document(), NONE, made_by="m", teacher_questions=2, **options)
    return ["row" if isinstance(r, Row) else r.reason for r in made]


def test_a_teachers_question_must_prove_itself_and_comes_once() -> None:
    quote = "take both batteries out for ten seconds"
    good = {"question": "What helps against clicking?", "answer": "Take both batteries out.", "quote": quote}
    assert teacher(f"Sure!\n```json\n{json.dumps([good])}\n```") == ["row"]
    assert teacher(json.dumps([good, good])) == ["row", "same_question_again"]
    assert teacher(json.dumps([good, {**good, "question": "Why does it click at night then?"}, good])) == [
        "row",
        "row",
        "more_than_asked",
    ]
    assert teacher(json.dumps({**good, "quote": "take both of them out for ten seconds"})) == ["quote_not_found"]
    assert teacher(json.dumps({**good, "answer": "Wait 12 minutes for it."})) == ["number_not_in_text"]
    assert teacher(json.dumps({**good, "answer": ["a"]})) == ["unreadable_teacher_answer"]
    assert teacher("no json") == ["unreadable_teacher_answer"]


def grounded(record: Redacted, library: Library, **options: Any) -> tuple[Row, Question]:
    row = row_of(doc_grounded_reply.rows(record, library, min_words=5, **options))
    (question,) = doc_grounded_reply.questions(record, library, min_words=5, teacher_rewrites=True, **options)
    return row, question


def test_a_grounded_reply_shows_what_it_leans_on_among_others_and_cites_it() -> None:
    others = [document(f"# Other {n}\n\n## Part\n\nNothing of use stands in part {n}.", f"o{n}.md") for n in range(4)]
    row, question = grounded(ticket(), Library([document(), *others]), distractors=2)
    told = row.prompt[0]["content"]
    cited = row.reference.rpartition("[")[2].rstrip("]")
    assert f"[{cited}] Valve guide, Clicking\n" in told
    assert told.count("Nothing of use") == 2
    elsewhere = ticket("Please turn the grey knob three times to the left side.")
    assert reason_of(doc_grounded_reply.rows(elsewhere, Library([document()]), min_words=5)) == "leans_on_no_document"
    assert GOOD in question.prompt[-1]["content"]


def test_a_long_passage_is_cut_around_what_the_reply_quotes() -> None:
    far = "# G\n\n## Clicking\n\n" + "Filler words stand here without any use. " * 40 + GOOD + " And more." * 30
    row, _ = grounded(ticket(), Library([document(far)]), max_passage_chars=300)
    assert GOOD in row.prompt[0]["content"]
    assert len(row.prompt[0]["content"]) < 700


def test_a_passage_that_must_stay_keeps_its_row_and_question_in_the_house() -> None:
    row, question = grounded(ticket(), Library([document(sensitivity="local_only")]))
    assert (row.sensitivity, question.sensitivity) == ("local_only", "local_only")
    row, question = grounded(
        ticket(), Library([document(), document(name="b.md", text="# S\n\nsecret words", sensitivity="local_only")])
    )
    assert (row.sensitivity, question.sensitivity) == ("shareable", "shareable")
    assert "secret words" not in row.prompt[0]["content"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (f"{GOOD} Afterwards it moves once. [1]", None),
        (GOOD, "no_citation"),
        (f"{GOOD} [7]", "citation_of_nothing"),
        ("No. [1]", "too_short"),
        ("x " * 1500 + "[1]", "too_long"),
        ("Please take both batteries out for 45 seconds and put them in. [1]", "number_not_in_text"),
        ("Please take both batteries out, see https://x.example/a for more. [1]", "url_not_in_text"),
    ],
)
def test_a_teachers_reply_states_and_cites_only_what_stands_there(answer: str, why: str | None) -> None:
    library = Library([document(created=START + timedelta(days=30))])
    _, question = grounded(ticket(), library)
    made = doc_grounded_reply.accept(question, answer, ticket(), library, made_by="m", min_words=5)
    if why is not None:
        assert reason_of(made) == why
        return
    row = row_of(made)
    assert row.made_by == "m"
    assert {"made=teacher", "stale=yes"} <= set(row.slices)
    asked = doc_grounded_reply.questions(ticket(), library, min_words=5, teacher_rewrites=True, stale="drop")
    assert list(asked) == [], "nobody pays for a reply that will be dropped"


def test_a_link_leads_to_its_document_on_its_own_host_alone() -> None:
    page = document(fields={"url": "https://help.firm.example/en/valve-guide"})
    library = Library([page, document("# Other\n\n## Hub\n\nWords on hubs.", "hub-guide.md")])
    for text in (
        "see https://help.firm.example/de/valve-guide/#cost",
        "see http://www.help.firm.example/en/valve-guide.",
    ):
        (found,) = library.leaned(text)
        assert (found.document, found.how) == ("docs:guide.md", "link")
    assert library.passage(library.leaned("https://help.firm.example/en/valve-guide#cost")[0]).heading == "Cost"
    assert library.leaned("see https://evil.example/en/valve-guide") == ()
    assert library.leaned("") == ()


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.sampled_from(["# A", "## B", "text here", "```", "# in code", "", "- [x](#y)", "ü" * 30])),
    st.integers(20, 80),
)
def test_sections_and_passages_are_pieces_of_the_document_in_order(lines: list[str], most: int) -> None:
    text = "\n".join(lines)
    for s in (*sections(text), *passages_of(text, most)):
        assert s.body in text[s.start : s.end]
    spans = [(p.start, p.end) for p in passages_of(text, most)]
    assert all(a[1] <= b[0] for a, b in pairwise(spans))


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=300), st.text(max_size=300), st.integers(20, 100))
def test_text_of_others_can_neither_end_its_fence_nor_break_the_reading(text: str, about: str, most: int) -> None:
    whole = fenced(text, "section")
    mark = whole.split("\n")[0].split()[1].rstrip(">")
    assert whole.count(mark) == 2
    assert text in whole
    assert all(isinstance(o, dict) for o in json_in(text))
    assert excerpt(text, about=about, max_chars=400) == text
