"""The leak audit: a hundred planted values in every disguise are found where nothing is masked, and none where it is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from data_prep import dataset
from data_prep.audit import Auditor
from data_prep.dataset import LeakError
from data_prep.people import Directory
from data_prep.records import Person
from data_prep.redact import Redactor, Surrogates
from data_prep.steps import Settings
from data_prep.work import Executor, Source
from tests.conftest import help_desk, write_export

KEY = Surrogates(b"k" * 32)
FIRST = "Maren Tilda Oskar Jorun Edgar Silja Bendik Runa Ketil Frida".split()
LAST = "Holtvik Brandal Sundqvist Aasgaard Lyngstad Torvald Eikeland Moberg Hesselman Rydberg".split()


def people() -> list[Person]:
    names = [(FIRST[n % 10], LAST[n // 10]) for n in range(100)]
    return [
        Person(str(n), (f"{first} {last}",), (f"{first}.{last}@mail.example".lower(),), (f"+47 9{n:02d} 55 {n:03d}",))
        for n, (first, last) in enumerate(names)
    ]


def disguised(person: Person, n: int) -> str:
    """A sentence with one of the person's values, spelled in one of twenty ways."""
    name, email, phone = person.names[0], person.emails[0], person.phones[0]
    first, last = name.split()
    local, domain = email.split("@")
    return [
        f"Regards,\n{first}\n{last}",
        f"I am {name.upper()} from the north.",
        f"> On Monday {last}, {first} wrote:\n> it fails",
        f"write to {email.upper()} please",
        f"mail: {local} (at) {domain}",
        f"call {phone.replace(' ', '-')} today",
        f"call {phone.replace(' ', '')} today",
        f"[attachment: {first}_{last}.pdf] {first} {last} signed it",
        f"the &#{ord(first[0])};{first[1:]} {last} account",
        f"{local}@mail.\nexample is mine",
        f"> so said {first}\n> {last}, and nobody else",
        f"> write to {local[:-3]}\n> {local[-3:]}@{domain}",
        f"see https://desk.example/find?who={first}%20{last}&open=1",
        f"{first}\u200b {last[:3]}\u00ad{last[3:]} again",
        f"as {first}=20{last} told",
        f"mailto:{local}%40{domain}?subject=hub",
        f"{local} [at] mail [dot] example",
        f"call {phone[:10]}\n> {phone[11:]} today",
        f"**{first} {last}**'s hub",
        f"{first} &nbsp;{last} has it",
    ][n % 20]


def test_a_hundred_disguised_values_are_found_and_none_after_redaction() -> None:
    everybody = people()
    directory = Directory(everybody)
    auditor = Auditor(directory)
    found, left = [], []
    for n, person in enumerate(everybody):
        text = f"Hello, the hub fails since Tuesday. {disguised(person, n)} Thanks a lot for the help with it."
        if auditor.leaks("raw", text) or auditor.own_names("raw", text, [person]):
            found.append(n)
        masked = Redactor(KEY, [person], directory=directory)(text)
        left += auditor.leaks("masked", masked) + auditor.own_names("masked", masked, [person])
    assert found == list(range(100))
    assert left == []


@pytest.mark.parametrize("n", range(20))
def test_what_stands_beside_a_disguised_value_stays(n: int) -> None:
    (person,) = people()[n : n + 1]
    masked = Redactor(KEY, [person], directory=Directory([person]))(f"Hello hub. {disguised(person, n)} Many thanks.")
    assert masked.startswith("Hello hub. ")
    assert masked.endswith(" Many thanks.")


def test_a_leak_never_shows_its_value() -> None:
    (leak,) = Auditor(Directory(people()[:1])).leaks("x", "it was Maren Holtvik again")
    assert leak.shown == "M… (13 characters)"


def test_planted_values_are_found_in_any_case_over_lines_and_only_whole() -> None:
    auditor = Auditor(Directory(), ["Blue Kettle-77", "4111 1111 1111 1111"])
    assert auditor.leaks("x", "the word is blue\nkettle 77, thanks")
    assert auditor.leaks("x", "card 4111-1111-1111-1111")
    assert not auditor.leaks("x", "a blue kettle, 770 grams")


def test_surrogates_raise_no_alarm_even_where_they_are_somebodys_name() -> None:
    everybody = [Person(str(n), (f"{a} {b}",), ()) for n, (a, b) in enumerate(KEY.name(f"p{i}") for i in range(40))]
    directory = Directory(everybody)
    auditor = Auditor(directory)
    for n in range(40):
        text = Redactor(KEY, [Person("x", (f"Ketil Torvald{n}",), (f"p{n}",))], directory=directory)(
            f"Dear Ketil Torvald{n},"
        )
        assert auditor.leaks("x", text) == []


def settings(**changes: Any) -> Settings:
    return Settings(
        tasks={"draft_reply": {"min_words": 5}, "doc_qa": {"min_words": 3}}, keep_words=(),
        near_duplicate_threshold=0.95, test_from=datetime(2026, 2, 10, tzinfo=UTC),
        test_until=None, dev_share=0, min_label_examples=1, max_same_answer=99, max_rows={}, seed=1, **changes,
    )  # fmt: skip


@pytest.mark.parametrize("redaction", [True, False])
def test_a_preparation_that_would_write_a_raw_value_is_refused(tmp_path: Path, redaction: bool) -> None:
    export = help_desk(40)
    for n in range(20):
        user = export["users"][n + 1]
        user["name"] = f"{FIRST[n % 10]} {LAST[n // 10]}"
        export["comments"][2 * n]["plain_body"] += f"\nRegards, {user['name']} ({user['email']})"
        export["comments"][2 * n]["attachments"] = [{"file_name": f"letter of {user['name']}.pdf"}]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "contact.md").write_text(
        "# Contact\n\nAsk Maren Holtvik or Agnes Porter at agnes@help.example.\n"
    )
    sources = [
        Source("desk", "zendesk", write_export(tmp_path / "export", export)), Source("docs", "markdown", tmp_path / "docs"),
    ]  # fmt: skip

    def build() -> Any:
        return dataset.build(
            sources, settings(redaction=redaction, planted=("never written 4711",)), key=b"k" * 32, out=tmp_path / "out",
            progress=lambda *_: None, executor=Executor("processes", {"processes": 1}), card=lambda counts: str(counts.steps),
        )  # fmt: skip

    if redaction:
        assert build().audit["leaks"] == 0
    else:
        with pytest.raises(LeakError, match=r"found \d\d raw value") as refused:
            build()
        assert refused.value.exit_code == 4
        assert "Maren" not in str(refused.value)
        assert not (tmp_path / "out" / "manifest.json").exists()
