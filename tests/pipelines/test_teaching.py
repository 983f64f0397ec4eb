"""The teacher, from the recipe to the dataset, against a real HTTP server that answers or misbehaves on command."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from data_prep import steps
from data_prep.parquet import SPLITS, files_of, read_rows
from data_prep.records import Row, UserError
from data_prep.steps import TeacherAnswer
from evaluation.results import read_answers
from pipelines import recipe_file, stages
from pipelines.egress import is_here
from pipelines.teaching import Teaching
from tests.conftest import help_desk, write_export
from tests.servers import running

TERMS = "Example Labs terms of 2026-01: outputs may be trained on"
TOPICS = "kettle ladder mirror needle orange pencil quiver rocket saddle teapot umbrella violin".split()
SECTION = re.compile(r"<<section (\w+)>>\n(.*)\n<<end \1>>", re.DOTALL)
REPLY = re.compile(r"<<reply (\w+)>>\n(.*)\n<<end \1>>", re.DOTALL)
RECIPE = """\
name: desk
sources:
  - {{name: desk, kind: zendesk, path: export, options: {{custom_fields: {{topic: 7}}}}}}
  - {{name: guide, kind: markdown, path: guide}}
dataset: {{test_from: 2026-02-10T00:00:00Z, executor: {{kind: processes, options: {{processes: 1}}}}}}
tasks:
  - kind: triage
    options: {{field: topic, labels: [billing, delivery, pairing]}}
  - kind: doc_qa
    options: {{teacher_questions: 1, min_words: 8}}
{tasks}
{privacy}
model: {{path: model}}
teacher:
  base_url: {url}
  model: teacher-7b
  terms: "{terms}"
  {settings}
evaluation: {{arms: [base, tuned]}}
decision:
  baseline: base
  must_pass: [task=triage]
  metrics: {{triage: label_accuracy}}
  hardware: {{name: laptop, usd_per_hour: 0.1, source: guess, date: 2026-11-01}}
promotion: {{alias: desk, target: {{kind: directory, options: {{path: served, serve_check: false}}}}}}
"""
GROUNDED = "  - {kind: doc_grounded_reply, options: {min_words: 5, distractors: 1, teacher_rewrites: true}}"
PRICED = "price_as: {provider: openai, model: gpt-4o-mini}"


def sections(number: int) -> dict[str, str]:
    """A guide of so many sections, each with a number of its own."""
    return {
        f"{TOPICS[n]}.md": (
            f"# The {TOPICS[n]}\n\n## Reset\n\nHold the red button of the {TOPICS[n]} for {20 + n} seconds until it blinks twice."
            " Afterwards it is as new.\n"
        )
        for n in range(number)
    }


def good(prompt: str) -> str:
    """What an honest teacher says: from a section's own sentence; of a reply to rewrite the reply itself."""
    if (reply := REPLY.search(prompt)) is not None:
        return f"{reply[2]} [1]"
    found = SECTION.search(prompt)
    assert found is not None
    title, *_, body = [line for line in found[2].split("\n") if line]
    sentence = body.split(". ")[0]
    return json.dumps([{"question": f"How do I reset {title.lower()}?", "answer": sentence, "quote": sentence}])


@dataclass
class Script:
    """What the server does. steps: faults of the first requests, in order; None answers. Then `then` for ever."""

    steps: list[dict[str, Any] | None] = field(default_factory=list)
    then: dict[str, Any] | None = None
    says: Callable[[str], str] = good
    pause_s: float = 0
    usage: tuple[int, int] = (100, 20)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.lock = script, threading.Lock()
        self.prompts: list[str] = []
        self.keys: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def asked(self) -> Counter[str]:
        return Counter(self.prompts)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        return

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt, script = "\n".join(m["content"] for m in body["messages"]), self.server.script
        with self.server.lock:
            number = len(self.server.prompts)
            self.server.prompts.append(prompt)
            self.server.keys.add(self.headers["Authorization"])
        time.sleep(script.pause_s)
        fault = script.steps[number] if number < len(script.steps) else script.then
        fault = fault or {}
        if fault.get("cut"):
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if "hang_s" in fault:
            time.sleep(fault["hang_s"])
        if "status" in fault:
            self._send(fault["status"], json.dumps({"error": {"message": "no"}}), fault.get("headers", {}))
        elif "raw" in fault:
            self._send(200, fault["raw"], {})
        else:
            self._send(200, self._completion(body, script.says(prompt)), {})

    def _completion(self, body: dict[str, Any], text: str) -> str:
        incoming, outgoing = self.server.script.usage
        message = {"role": "assistant", "content": text}
        return json.dumps({
            "id": "1", "object": "chat.completion", "created": 1, "model": f"{body['model']}-2026-05",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": incoming, "completion_tokens": outgoing, "total_tokens": incoming + outgoing},
        })  # fmt: skip

    def _send(self, status: int, text: str, headers: dict[str, str]) -> None:
        try:
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(text.encode())),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())
        except (BrokenPipeError, ConnectionResetError):
            return  # the client has given up


@contextmanager
def serving(script: Script | None = None) -> Iterator[Server]:
    with running(Server(script or Script())) as server:
        yield server


@dataclass
class House:
    """A folder with a help desk, a guide and a recipe."""

    folder: Path
    events: list[str] = field(default_factory=list)

    @property
    def run_folder(self) -> Path:
        return self.folder / "runs" / "desk"

    @property
    def dataset(self) -> Path:
        return self.run_folder / "dataset"

    def write(self, url: str, settings: str = "concurrency: 1", *, tasks: str = "", privacy: str = "") -> None:
        text = RECIPE.format(url=url, settings=settings, terms=TERMS, tasks=tasks, privacy=privacy)
        (self.folder / "desk.yaml").write_text(text)

    def prepare(self) -> dict[str, Any]:
        """Prepare in this process; the manifest's facts of the teacher."""
        recipe = recipe_file.load(self.folder / "desk.yaml")
        how = stages.How(self.folder / "desk.yaml", on_event=self.events.append)
        for remembered in (steps._context, steps._answers):  # by folder: a command is a process of its own
            remembered.cache_clear()
        found: dict[str, Any] = stages.run("prepare", recipe, how).manifest.facts["teacher"]
        return found

    def command(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "prepare", "desk.yaml", "--json"], cwd=self.folder, text=True,
            env={**os.environ, **environment}, capture_output=True, timeout=120, check=False,
        )  # fmt: skip

    def rows(self, made_by: str | None = None) -> list[Row]:
        every = [r for side in SPLITS for r in read_rows(self.dataset, side)]
        return [r for r in every if made_by in (None, r.made_by)]

    def counts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.dataset / "manifest.json").read_text())["counts"]
        return found

    def answers(self) -> list[str | None]:
        """Texts of the answers that are kept while a preparation is not finished."""
        return [a.text for a in read_answers(self.run_folder / "teacher.jsonl")]


@pytest.fixture
def house(tmp_path: Path, mlflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    import shutil

    write_export(tmp_path / "export", help_desk(45))
    (tmp_path / "guide").mkdir()
    for name, text in sections(6).items():
        (tmp_path / "guide" / name).write_text(text)
    (tmp_path / "model").mkdir()
    (tmp_path / "runs").mkdir()
    shutil.copy(mlflow_db, tmp_path / "runs" / "mlflow.db")
    (tmp_path / "runs" / "surrogate.key").write_text("ab" * 32)
    monkeypatch.chdir(tmp_path)
    return House(tmp_path)


def test_rows_name_the_model_and_card_manifest_and_lineage_its_terms_and_places(house: House) -> None:
    import pyarrow.parquet as pq

    (house.folder / "guide" / "pairing.md").write_text(
        "# Pairing\n\n## In the app\n\nThen start pairing again in the app within a minute, and wait for the green light.\n"
    )
    with serving() as server:
        house.write(server.url, tasks=GROUNDED)
        facts = house.prepare()
    by_teacher = house.rows("teacher-7b")
    assert Counter(r.task for r in by_teacher)["doc_qa"] == 7
    assert {r.task for r in by_teacher} == {"doc_qa", "doc_grounded_reply"}
    assert {r.made_by for r in house.rows()} == {"human", "extractive", "teacher-7b"}
    assert all("made=teacher" in r.slices for r in by_teacher)
    assert (facts["model"], facts["terms"], facts["destination"]) == ("teacher-7b", TERMS, server.url)
    assert facts["answered_as"] == ["teacher-7b-2026-05"]
    card = (house.dataset / "README.md").read_text()
    assert TERMS in card
    assert f"teacher-7b {len(by_teacher)}" in card
    lineage = [r for p in files_of(house.dataset, "lineage") for r in pq.read_table(p).to_pylist()]
    places = {(r["row"], r["file"]) for r in lineage}
    assert ("doc_qa/guide:kettle.md#0.0", "kettle.md") in places
    assert {r.id for r in by_teacher} <= {row for row, _ in places}
    # nothing that the test set asks about was put to the teacher
    tested = [r.prompt[-1]["content"].split("\n\n")[0] for r in read_rows(house.dataset, "test") if r.task == "triage"]
    learned = [
        r.prompt[-1]["content"].split("\n\n")[0] for r in read_rows(house.dataset, "train") if r.task == "triage"
    ]
    assert tested
    assert not any(f"{title}\n" in p for title in tested for p in server.prompts)
    assert any(f"{title}\n" in p for title in learned for p in server.prompts)


def test_the_plan_is_told_before_the_first_request_and_a_plan_beyond_the_budget_asks_nothing(house: House) -> None:
    with serving() as server:
        house.write(server.url, f"{PRICED}\n  budget_usd: 0.0001")
        with pytest.raises(
            UserError, match=r"6 questions \(about \d+ tokens, 2400 more at most\) may cost 0\.00\d\d USD"
        ):
            house.prepare()
        assert server.prompts == []
        (told,) = [e for e in house.events if "questions to" in e]
        assert re.search(
            r"6 questions to teacher-7b at http://127\S+, about \d+ tokens and 2400 more at most, at most 0\.00", told
        )
        house.write(server.url, f"{PRICED}\n  budget_usd: 1\n  max_questions: 4")
        seen = []
        house.events.clear()
        facts = house.prepare()
        seen = [e for e in house.events if "questions to" in e]
    assert len(server.prompts) == 4
    assert "4 questions" in seen[0]
    assert "2 beyond teacher.max_questions" in seen[0]
    assert facts["not_answered"] == {"beyond_max_questions": 2}
    assert house.counts()["teacher"] == {
        "in": {"questions": 6}, "out": {"answers": 4}, "dropped": {"not_answered": 2}, "examples": {},
    }  # fmt: skip
    planned = facts["planned"]
    assert planned["prompt_tokens"] == pytest.approx(sum(map(len, server.prompts)) / 4, rel=0.05)
    assert Decimal(facts["usd"]) == 4 * Decimal("0.000027")  # 100 in at 0.15 and 20 out at 0.60 USD per million


def test_the_budget_stops_a_server_that_bills_more_than_planned_and_what_was_paid_is_never_asked_again(
    house: House,
) -> None:
    with serving(Script(usage=(100_000, 1_000))) as server:  # 0.0156 USD each
        house.write(server.url, f"{PRICED}\n  concurrency: 1\n  budget_usd: 0.04")
        with pytest.raises(UserError, match=r"budget of 0\.04 USD is spent after 3 requests.*teacher\.budget_usd"):
            house.prepare()
        assert len(server.prompts) == 3
        assert sum(t is not None for t in house.answers()) == 3
        receipt = json.loads((house.run_folder / "dataset.partial" / "egress.json").read_text())[0]
        assert (receipt["requests"], receipt["rows"], receipt["usd"]) == (3, 3, "0.0468")
        with pytest.raises(UserError, match=r"3 questions .* besides the 0\.0468 USD already spent"):
            house.prepare()
        assert len(server.prompts) == 3
        house.write(server.url, f"{PRICED}\n  concurrency: 1\n  budget_usd: 1")
        facts = house.prepare()
    assert set(server.asked().values()) == {1}
    assert (len(server.prompts), facts["answers"], facts["usd"]) == (6, 6, "0.0936")
    assert facts["receipt"]["requests"] == 6
    assert facts["planned"]["answered_before"] == 3


def test_killed_and_resumed_it_asks_nothing_twice_that_was_answered(house: House) -> None:
    with serving(Script(pause_s=0.15)) as server:
        house.write(server.url, "concurrency: 1")
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "prepare", "desk.yaml"], cwd=house.folder, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while len(server.prompts) < 4 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        known = [t for t in house.answers() if t is not None]
        assert 2 <= len(known) <= 4
        server.script.pause_s = 0
        killed = len(server.prompts)
        facts = house.prepare()
        assert len(server.prompts) - killed == 6 - len(known)
        assert sum(n - 1 for n in server.asked().values()) <= 1, "only the request under way when it died"
        first = house.rows("teacher-7b")
        # the same, undisturbed
        house.write(server.url, "max_questions: 150")
        again = house.prepare()
    assert (facts["answers"], again["answers"]) == (6, 6)
    assert again["planned"]["questions"] == 0
    assert house.rows("teacher-7b") == first


def test_other_questions_are_not_taken_for_answered_and_answers_to_no_question_are_thrown_away(house: House) -> None:
    with serving() as server:
        house.write(server.url)
        house.prepare()
        (house.folder / "guide" / "kettle.md").unlink()
        text = (house.folder / "guide" / "ladder.md").read_text()
        (house.folder / "guide" / "ladder.md").write_text(text.replace("21 seconds", "31 seconds"))
        facts = house.prepare()
        assert len(server.prompts) == 7
        assert facts["planned"]["answered_before"] == 4
        (changed,) = [r for r in house.rows("teacher-7b") if "ladder" in r.id]
        assert "31 seconds" in changed.reference
        assert not any("kettle" in (t or "") for t in house.answers())
        house.write(server.url.replace("127.0.0.1", "localhost"))  # somebody else's answers, for all we know
        assert house.prepare()["planned"]["questions"] == 5


def test_records_that_must_stay_reach_a_loopback_teacher_and_no_other(house: House) -> None:
    rule = "privacy: {sensitivity: [{sensitivity: local_only, source: guide}]}"
    with serving() as server:
        house.write(server.url, privacy=rule)
        assert house.prepare()["answers"] == 6
        assert {r.sensitivity for r in house.rows("teacher-7b")} == {"local_only"}
    # a name is no loopback address whatever it looks like; nothing is sent, so nothing needs to answer
    os.environ.pop("TEACHER_API_KEY", None)
    house.write("http://127.0.0.1.firm.invalid:9/v1", privacy=rule)
    facts = house.prepare()
    assert (facts["questions"], facts["answers"]) == (0, 0)
    assert facts["not_answered"] == {"local_only_not_sent": 6}
    assert house.rows("teacher-7b") == []
    assert any("6 must stay in the house" in e for e in house.events)


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://127.8.9.1/v1", True),
        ("http://localhost:1/v1", True),
        ("http://LOCALHOST/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://127.0.0.1.firm.example/v1", False),
        ("http://127.firm.example/v1", False),
        ("http://localhost.firm.example/v1", False),
        ("http://127.0.0.1@firm.example/v1", False),
        ("http://firm.example/127.0.0.1", False),
        ("http://0.0.0.0:8000/v1", False),
        ("http://10.0.0.7:8000/v1", False),
        ("", False),
    ],
)
def test_only_loopback_addresses_are_local(url: str, is_local: bool) -> None:
    assert is_here(url) is is_local


def test_a_proxy_of_the_environment_never_carries_what_must_stay(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = "privacy: {sensitivity: [{sensitivity: local_only, source: guide}]}"
    with serving() as server, serving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NO_PROXY", "intra.firm.example")
        monkeypatch.delenv("no_proxy", raising=False)
        house.write(server.url, privacy=rule)
        house.prepare()
        assert (len(server.prompts), len(proxy.prompts)) == (6, 0)
    assert (os.environ["NO_PROXY"], os.environ.get("no_proxy")) == ("intra.firm.example", None)


def test_refused_answers_are_counted_by_reason(house: House) -> None:
    for name, text in sections(12).items():
        (house.folder / "guide" / name).write_text(text)

    def says(prompt: str) -> str:
        (item,) = json.loads(good(prompt))
        thing = item["question"].split()[-1].rstrip("?")
        lies: dict[str, Any] = {
            "kettle": {**item, "answer": item["answer"].replace("20 seconds", "70 seconds")},
            "ladder": {**item, "quote": "Press the blue lever of the ladder for a day"},
            "mirror": {**item, "answer": item["answer"] + " See https://shop.example/mirror"},
            "needle": {**item, "answer": "Ask Wilhelmina Tuttlebury about the red button please."},
            "orange": {**item, "answer": "I cannot answer that."},
            "pencil": {"question": item["question"], "answer": item["answer"]},
            "quiver": {**item, "question": item["answer"]},
            "rocket": {**item, "answer": item["answer"] + " Afterwards it is as new." * 60},
        }
        if thing == "saddle":
            return "I'm sorry, as an AI I can't help with that."
        if thing == "teapot":
            return '[{"question": "How do I reset'
        if thing == "umbrella":
            return json.dumps([item, item])
        return json.dumps([lies.get(thing, item)])

    with serving(Script(says=says)) as server:
        house.write(server.url, "concurrency: 4")
        facts = house.prepare()
    assert facts["answers"] == 12
    counts = house.counts()["task doc_qa"]
    assert counts["dropped"] == {
        "number_not_in_text": 1, "quote_not_found": 1, "url_not_in_text": 1, "name_not_in_text": 1, "refusal": 2,
        "unreadable_teacher_answer": 2, "question_copies_answer": 1, "too_long": 1, "more_than_asked": 1,
    }  # fmt: skip
    assert len(house.rows("teacher-7b")) == 2  # the umbrella's first, and the violin


def test_faults_that_pass_are_retried_and_nothing_is_lost(house: House) -> None:
    steps: list[dict[str, Any] | None] = [
        {"status": 429, "headers": {"Retry-After": "0.05"}},
        {"status": 500},
        {"hang_s": 1.2},
        {"raw": "{not json"},
        {"cut": True},
    ]
    with serving(Script(steps=steps)) as server:
        house.write(server.url, "concurrency: 6\n  timeout_s: 0.8")
        facts = house.prepare()
    assert (facts["answers"], facts["not_answered"]) == (6, {})
    assert facts["receipt"]["requests"] == len(server.prompts) == 11
    assert len(house.rows("teacher-7b")) == 6


def test_a_question_that_stays_unanswered_is_counted_by_its_reason(house: House) -> None:
    def says(prompt: str) -> str:
        return "" if "kettle" in prompt else good(prompt)

    with serving(Script(steps=[{"status": 400}], says=says)) as server:
        house.write(server.url)
        facts = house.prepare()
        assert facts["not_answered"] == {"empty_answer": 1, "refused": 1} or facts["not_answered"] == {"refused": 1}
        known = len(server.prompts)
        house.write(server.url, "max_questions: 150")
        again = house.prepare()
    assert again["not_answered"] == facts["not_answered"]
    assert len(server.prompts) == known, (
        "one that is refused where others are answered, and what was paid for, is not asked again"
    )
    assert house.counts()["teacher"]["dropped"] == {"not_answered": sum(again["not_answered"].values())}


def test_a_server_that_never_answers_stops_the_preparation_and_the_same_command_goes_on(house: House) -> None:
    busy = {"status": 429, "headers": {"Retry-After": "0.01"}}
    for name, text in sections(12).items():
        (house.folder / "guide" / name).write_text(text)
    with serving(Script(steps=[None], then=busy)) as server:
        house.write(server.url)
        with pytest.raises(UserError, match=r"left 10 questions in a row without an answer \(rate_limited\)"):
            house.prepare()
        assert not house.dataset.exists()
        assert sum(t is not None for t in house.answers()) == 1
        server.script.then = None
        facts = house.prepare()
    assert facts["answers"] == 12
    assert facts["planned"]["answered_before"] == 1


def test_no_answer_at_all_is_no_dataset(house: House) -> None:
    with serving(Script(then={"status": 429, "headers": {"Retry-After": "0.01"}})) as server:
        house.write(server.url, "max_questions: 2")
        with pytest.raises(UserError, match=r"answered none of 2 questions \(rate_limited 2\)"):
            house.prepare()
    assert not house.dataset.exists()


def test_a_wrong_key_is_the_users_mistake_with_the_setting_named_and_the_key_unsaid(house: House) -> None:
    with serving(Script(then={"status": 401})) as server:
        house.write(server.url, "concurrency: 1\n  api_key_env: DESK_KEY")
        done = house.command(DESK_KEY="sk-wrong-key-4711")
        assert done.returncode == 2
        assert "refuses the key (HTTP 401). Set the variable named in teacher.api_key_env" in done.stderr
        assert "evaluation.api" not in done.stderr
        assert "Traceback" not in done.stderr
        assert "sk-wrong-key-4711" not in done.stderr
        assert server.keys == {"Bearer sk-wrong-key-4711"}
        assert len(server.prompts) == 1


def test_an_unknown_model_stops_at_the_first_request(house: House) -> None:
    with serving(Script(then={"status": 404})) as server:
        house.write(server.url)
        with pytest.raises(UserError, match=r"has no model 'teacher-7b' .* Correct teacher\.model"):
            house.prepare()
        assert len(server.prompts) == 1


def test_a_missing_key_and_an_unknown_price_are_found_before_anything_is_sent(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEACHER_API_KEY", raising=False)
    house.write("http://teacher.firm.invalid/v1")
    with pytest.raises(UserError, match="TEACHER_API_KEY is not set"):
        house.prepare()
    house.write("http://teacher.firm.invalid/v1", "price_as: {provider: openai, model: gpt-99}")
    with pytest.raises(UserError, match=r"teacher\.price_as.*gpt-99"):
        house.prepare()
    assert not (house.run_folder / "dataset.partial" / "egress.json").exists()


def test_answers_come_in_the_order_of_the_questions_however_they_arrive(house: House) -> None:
    from data_prep.records import Pointer, Question

    with serving(Script(steps=[{"hang_s": 0.3}], says=lambda p: p.upper())) as server:
        house.write(server.url, "concurrency: 4")
        recipe = recipe_file.load(house.folder / "desk.yaml")
        recipe.run_folder.mkdir(parents=True)
        teaching = Teaching(recipe, house.folder, stages.How(house.folder / "desk.yaml"))
        asked = [
            Question(f"t/{n}", "t", "r", ({"role": "user", "content": f"q{n}"},), "", Pointer("f", "x"), "shareable")
            for n in range(8)
        ]
        assert teaching.ask(iter(asked)) == [TeacherAnswer(f"t/{n}", f"Q{n}") for n in range(8)]
