"""Cleaning, redaction, duplicates, split, tasks, selection: one claim a test."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from data_prep import dedup, select
from data_prep.clean import clean
from data_prep.dedup import EMPTY
from data_prep.library import Library
from data_prep.people import Directory
from data_prep.records import Dropped, Person, Pointer, Redacted, Row, Split, Turn
from data_prep.redact import Redactor, Surrogates
from data_prep.split import Splittable, components, split
from data_prep.steps import Made
from data_prep.tasks import doc_qa, draft_reply, triage

NO_DOCUMENTS = Library(())
KEY = Surrogates(b"k" * 32)


@pytest.mark.parametrize(
    ("raw", "own"),
    [
        ("Thanks, works!\n\nOn Tue, 3 Mar 2026 at 10:12, Desk wrote:\n> try again\n> please", "Thanks, works!"),
        ("It fails.\n\n##- Please type your reply above this line -##\nolder text", "It fails."),
        (
            "Same here.\n\nFrom: Desk <d@x.example>\nSent: Monday, 2 March 2026 10:00\nTo: Ann\nSubject: Re\n\nold",
            "Same here.",
        ),
        ("Hello\n\nThis e-mail is confidential and only for you.\nDelete it.", "Hello"),
        ("plain words", "plain words"),
        ("a\x00b​c", "abc"),
    ],
)
def test_quotes_markers_and_disclaimers_go(raw: str, own: str) -> None:
    assert clean(raw, html=False) == own


def test_a_message_that_is_only_a_quote_is_kept() -> None:
    assert "try again" in clean("> try again", html=False)


def test_html_becomes_markdown_without_the_quoted_mail() -> None:
    text = clean("<p>Still <b>broken</b></p><div class='gmail_quote'>old mail</div><ul><li>one</li></ul>", html=True)
    assert "broken" in text
    assert "one" in text
    assert "old mail" not in text


@pytest.mark.parametrize(
    ("kind", "text", "raw"),
    [
        ("email", "write to jo.doe+x@firm.example.org now", "jo.doe+x@firm.example.org"),
        ("card", "card 4111 1111 1111 1111 expired", "4111 1111 1111 1111"),
        ("iban", "pay to GB82 WEST 1234 5698 7654 32 please", "GB82 WEST 1234 5698 7654 32"),
        ("iban", "pay to DE89370400440532013000", "DE89370400440532013000"),
        ("phone", "call +44 1632 960443 after six", "+44 1632 960443"),
        ("phone", "call (555) 010-1234 today", "(555) 010-1234"),
        ("ip", "my address is 203.0.113.77", "203.0.113.77"),
        ("mac", "MAC 00:1b:44:11:3a:b7", "00:1b:44:11:3a:b7"),
        ("ssn", "ssn 123-45-6789", "123-45-6789"),
        ("secret", "key sk-proj-abcdefghij0123456789 leaked", "sk-proj-abcdefghij0123456789"),
        ("secret", "AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        ("secret", "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
        ("secret", "the wifi password is Sommer2024!", "Sommer2024"),
        ("secret", "network HomeNet, password blue-Kettle-77) thanks", "blue-Kettle-77"),
        ("secret", "this key: hl_live_43f9737838da489e3d8af44c", "hl_live_43f9737838da489e3d8af44c"),
        ("ip", "our address is 203.0.113.71. Otherwise fine", "203.0.113.71"),
        ("secret", "mein Passwort lautet Winter_99x", "Winter_99x"),
        ("secret", "see https://user:pa55word@host.example/x", "pa55word"),
    ],
)
def test_structured_values_and_secrets_are_masked(kind: str, text: str, raw: str) -> None:
    redact = Redactor(KEY)
    masked = redact(text)
    assert raw not in masked
    assert redact.masked[kind] == 1


@pytest.mark.parametrize(
    "text",
    [
        "Please restart the server and try again", "version 3.4.2 on iOS 17.1", "order HL-204815 of 2026-03-01",
        "error E7 after 15 minutes", "the password is wrong", "my password is not accepted", "ticket 4111111111111112",
    ],
)  # fmt: skip
def test_what_is_no_personal_data_stays(text: str) -> None:
    assert Redactor(KEY)(text) == text


def test_the_same_person_has_the_same_surrogate_everywhere() -> None:
    person = Person("7", ("Margaret Holloway",), ("margaret@mail.example",))
    one, two = Redactor(KEY, [person]), Redactor(KEY, [person])
    first, second = (
        one("Dear Margaret Holloway, hi Margaret"),
        two("MARGARET HOLLOWAY wrote; so did Holloway, Margaret"),
    )
    assert "argaret" not in first + second
    assert "HOLLOWAY" not in second
    name = first.removeprefix("Dear ").split(",")[0]
    assert name.upper() in second
    assert Redactor(Surrogates(b"z" * 32), [person])("Margaret Holloway") != name


def test_a_telephone_has_one_surrogate_with_and_without_its_country_and_it_is_nobodys() -> None:
    one, two = Redactor(KEY)("+49 30 5557 4433"), Redactor(KEY)("call 030 55574433 please")
    assert re.sub(r"\D", "", one)[-9:] == re.sub(r"\D", "", two)[-9:]
    assert one.startswith("+49 ")
    assert re.search(r"555[ -]01\d\d", Redactor(KEY)("call (206) 943-2211"))
    (taken,) = [KEY.phone("030 55574433")]
    other = Redactor(KEY, directory=Directory([Person("x", (), (), (taken,))]))("call 030 55574433 please")
    assert taken not in other


def test_names_stand_in_quotes_and_code_and_not_inside_words() -> None:
    redact = Redactor(KEY, [Person("1", ("Nils Wingfield",))])
    masked = redact(
        "contact.firstName = 'Nils'; o'Nils and x_Nils and Nilsen stay; _Nils_ (Wingfield) 'Nils Wingfield'"
    )
    assert masked.count("Nils") == 3
    assert "o'Nils and x_Nils and Nilsen stay" in masked
    assert "Wingfield" not in masked


def test_names_that_are_words_are_masked_as_names_only() -> None:
    redact = Redactor(KEY, [Person("1", ("Will Porter",))])
    assert redact("Will it work? It will.") == "Will it work? It will."
    assert "Will" not in redact("Hi Will,\nplease")
    assert "Will" not in redact("regards\nWill")
    assert "Will Porter" not in redact("I am Will Porter.")
    assert "will" not in redact("hello, my name is will")
    assert "Porter" not in redact("I told Porter about it, and it was Porter's hub. Ask Mr. Porter")
    assert redact("Set the Will flag in the Porter app") == "Set the Will flag in the Porter app"


def test_short_names_and_answers_with_name_and_number_are_masked_in_lower_case() -> None:
    redact = Redactor(KEY, [Person("1", ("Sam",)), Person("2", ("Robin",)), Person("3", ("Ram",))])
    assert "sam" not in redact("it was sam who called")
    assert "robin" not in redact("my details\nrobin 41526\nthank you")
    assert redact("a robin sits on 8 GB of ram") == "a robin sits on 8 GB of ram"


def test_a_name_in_lower_case_is_a_name_unless_it_is_a_word() -> None:
    redact = Redactor(KEY, [Person("1", ("Karthi",)), Person("2", ("Ana Page",))])
    assert "karthi" not in redact("it was karthi who asked")
    assert redact("an analysis of the page") == "an analysis of the page"
    assert "ana" not in redact("this is ana from accounting").split()


def test_near_copies_are_found_and_different_texts_are_not() -> None:
    rng = random.Random(1)
    words = [f"w{i}" for i in range(900)]
    texts = [" ".join(rng.choices(words, k=46)) for _ in range(300)]
    copies = []
    for text in texts[:100]:
        edited = text.split()
        edited[rng.randrange(46)] = "changed"
        copies.append(" ".join(edited))
    every = [*texts, *copies, texts[0].upper(), "", ""]
    found = dedup.find([dedup.signature(t) for t in every], every.__getitem__, threshold=0.7)
    assert found.near[:300] == [None] * 300
    assert found.near[300:400] == list(range(100))
    assert found.exact[400:] == [0, None, None]


def at(day: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)


def test_one_customer_never_lands_on_both_sides() -> None:
    records = [Splittable(f"t{n}", "ticket", f"customer{n % 17}", at(n), ()) for n in range(100)]
    sides = split(records, test_from=at(70), test_until=None, dev_share=0.2, seed=1)
    by_side = {s: {r.group for r in records if sides[r.id] == s} for s in ("train", "dev", "test")}
    assert by_side["test"]
    assert not by_side["test"] & (by_side["train"] | by_side["dev"])
    assert not by_side["train"] & by_side["dev"]
    assert "group_straddles_test" in sides.values()


def test_linked_records_share_a_component_and_undated_ones_are_dropped() -> None:
    records = [
        Splittable("a", "ticket", "x", at(1), ("c",)),
        Splittable("b", "ticket", "y", at(2)),
        Splittable("c", "ticket", "z", at(99)),
    ]
    assert components(records)["a"] == components(records)["c"] != components(records)["b"]
    sides = split(
        [*records, Splittable("d", "ticket", "q", None)], test_from=at(50), test_until=at(200), dev_share=0, seed=1
    )
    assert sides == {"a": "group_straddles_test", "b": "train", "c": "test", "d": "no_time"}


def ticket(**changes: object) -> Redacted:
    turns = (
        Turn("customer", True, None, "My parcel is late, where is it?"),
        Turn("agent", True, None, "We are looking into it."),
        Turn("customer", True, None, "Any news?"),
        Turn(
            "agent", True, None, "It is at the depot and arrives tomorrow before noon, sorry for the long wait today."
        ),
        Turn("customer", True, None, "Thanks!"),
    )
    base = Redacted(
        "s:1", "ticket", "g", at(1), "Parcel", turns, Pointer("f", "x"), {"topic": "delivery"}, True, "en", {}
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def test_triage_asks_the_first_message_and_refuses_unknown_labels() -> None:
    (row,) = triage.rows(ticket(), NO_DOCUMENTS, field="topic", labels=("delivery", "billing"))
    assert isinstance(row, Row)
    assert row.label == row.reference == "delivery"
    assert "arrives tomorrow" not in row.prompt[-1]["content"]
    (unknown,) = triage.rows(ticket(), NO_DOCUMENTS, field="topic", labels=("billing",))
    (none,) = triage.rows(ticket(fields={}), NO_DOCUMENTS, field="topic", labels=("billing",))
    assert [d.reason for d in (unknown, none) if isinstance(d, Dropped)] == ["label_not_listed", "no_label"]


def test_the_accepted_reply_is_the_last_substantial_one_and_ends_the_prompt() -> None:
    (row,) = draft_reply.rows(ticket(), NO_DOCUMENTS)
    assert isinstance(row, Row)
    assert row.reference.startswith("It is at the depot")
    assert [m["role"] for m in row.prompt] == ["system", "user", "assistant", "user"]
    (holding,) = draft_reply.rows(ticket(turns=ticket().turns[:2]), NO_DOCUMENTS)
    (unsolved,) = draft_reply.rows(ticket(solved=False), NO_DOCUMENTS)
    (silent,) = draft_reply.rows(ticket(turns=ticket().turns[:1]), NO_DOCUMENTS)
    reasons = [d.reason for d in (holding, unsolved, silent) if isinstance(d, Dropped)]
    assert reasons == ["holding_reply", "not_solved", "no_agent_reply"]


def test_a_section_becomes_a_question_with_its_own_words_and_span() -> None:
    text = (
        "# Guide\n\n## How do I reset?\n\nHold the button for ten seconds until the light turns green, then wait a minute for it."
        "\n\n## Short\n\nno"
    )
    document = ticket(kind="document", title="Guide", turns=(Turn("system", True, None, text),))
    made = list(doc_qa.rows(document, NO_DOCUMENTS, min_words=8))
    rows = [r for r in made if isinstance(r, Row)]
    assert [r.prompt[-1]["content"] for r in rows] == ["How do I reset?"]
    assert rows[0].reference in text
    start, end = map(int, rows[0].spans[0].at.removeprefix("chars ").split("-"))
    assert text[start:end].startswith("## How do I reset?")
    assert "made=extractive" in rows[0].slices
    assert [d.reason for d in made if isinstance(d, Dropped)] == ["section_too_short"]


def test_selection_gives_reasons_for_rare_labels_macros_and_caps() -> None:
    def row(n: int, label: str | None, side: Split = "train") -> Made:
        task = "triage" if label else "draft_reply"
        return Made(f"{task}/{n}", task, label, side, "g", (), "human", "", "", EMPTY, EMPTY)

    rows = [row(n, "common") for n in range(10)] + [row(50, "rare"), row(51, "rare", "test")]
    rows += [row(100 + n, None) for n in range(5)]  # five times one macro: all repeat the first
    reasons = select.reasons_to_drop(
        rows,
        [*range(12), *[12] * 5],
        {},
        min_label_examples=2,
        max_same_answer=3,
        max_rows={"triage": {"train": 4}},
        seed=1,
    )
    assert sorted(reasons.values()) == ["over_cap"] * 6 + ["rare_label"] * 2 + ["repeated_answer"] * 2


def test_extracted_fields_are_alike_because_tickets_are_and_all_are_taught() -> None:
    rows = [Made(f"extract/{n}", "extract", None, "train", "g", (), "human", "", "", EMPTY, EMPTY) for n in range(9)]
    limits: dict[str, Any] = {"min_label_examples": 1, "max_same_answer": 3, "max_rows": {}, "seed": 1}
    assert select.reasons_to_drop(rows, [0] * 9, {}, **limits) == {}
