"""The Batch API against a real server on loopback: half the price, nothing asked twice, nothing left with the provider."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from evaluation.egress import EgressError, Guard, Policy
from evaluation.prices import PriceList
from evaluation.providers.openai_batch import BatchCaller
from evaluation.providers.openai_compatible import LONGEST_WAIT_S, ApiError, Endpoint, answer, is_lost
from evaluation.results import Answer, Item
from tests.evaluation.batch_server import BatchServer, Line, answered, serving

PRICES = PriceList("openai", "gpt-4o-mini", datetime(2026, 11, 1, tzinfo=UTC), batch=True)
EACH = Decimal("0.00000675")  # half of 50 tokens in at 0.15 and 10 out at 0.60 USD per million


def items(number: int, **changes: Any) -> list[tuple[Item, Any]]:
    found = []
    for n in range(number):
        prompt = ({"role": "user", "content": f"Ticket {n:03}: where is my refund? é"},)
        item = Item(
            f"desk:{n:03}", "triage", prompt, "billing", ("billing", "delivery"), (), "g", changes.get("s", "shareable")
        )  # type: ignore[arg-type]
        found.append((item, prompt))
    return found  # type: ignore[return-value]


def endpoint(server: BatchServer, folder: Path, **changes: Any) -> Endpoint:
    made = Endpoint(server.url, "m", "key-of-ours", timeout_s=5, max_retries=2, first_wait_s=0.01)
    return replace(made, batch=folder / "api.batch.json", **changes)


def ask(
    to: Endpoint, asked: list[tuple[Item, Any]], folder: Path, *, budget: Decimal | None = None, rules: Policy | None = None
) -> tuple[dict[str, Answer], Guard]:  # fmt: skip
    """What one command would do, with the run folder's ledger."""
    found: dict[str, Answer] = {}
    guard = Guard(rules, ledger=folder / "egress.jsonl", budget_usd=budget)
    try:
        answer(
            to, "api", asked, set(), PRICES, max_new_tokens=20, already_spent_usd=Decimal(0),
            keep=lambda a: found.update({a.item: a}), guard=guard,
        )  # fmt: skip
    finally:
        guard.close()
    return found, guard


def test_a_batch_gives_every_answer_at_the_price_of_a_batch(tmp_path: Path) -> None:
    with serving() as server:
        found, guard = ask(endpoint(server, tmp_path), items(20), tmp_path)
        assert {a.text for a in found.values()} == {"billing"}
        assert len(found) == 20
        assert {a.usd for a in found.values()} == {EACH}
        assert guard.spent("api") == 20 * EACH
        one = found["desk:007"]
        assert (one.response_id, one.model, one.latency_ms) == ("chatcmpl-007", "m-2026-10-01", None)
        assert one.parameters == {"model": "m", "mode": "batch", "streaming": False, "max_tokens": 24, "temperature": 0}
        assert one.prices is not None
        assert one.prices["processing"] == "batch"
        assert server.files == {}, "what the provider held is deleted"
        assert not any(b"desk:" in body for body in server.received), "ids of rows stay here"
    egress = guard.about("api")
    assert len(egress.rows) == 20
    assert egress.statuses["answered"] == 20
    sent = sum(len(body) for body in server.received)
    assert egress.bytes > sent > 20 * 100
    assert not (tmp_path / "api.batch.json").exists()


def test_a_request_that_fails_in_the_batch_is_told_and_the_others_count(tmp_path: Path) -> None:
    def says(line: Line) -> Line | None:
        number = int(line["custom_id"].removeprefix("row-"))
        broken = {"id": "r", "custom_id": line["custom_id"], "response": None, "error": None}
        match number:
            case 0:
                return broken | {"response": {"status_code": 400, "body": {"error": {"message": "too long"}}}}
            case 1:
                return broken | {"error": {"code": "batch_expired", "message": "not in time"}}
            case 2:
                return broken | {"response": {"status_code": 500, "body": {}}}
            case 3:
                return None
            case 4:
                return answered(line, choices=[])
            case 5:
                return answered(line, choices="none")
            case 6:
                return answered(line, id="chatcmpl-007")
            case 8:
                return {**answered(line), "response": {"status_code": 200, "body": ["nothing"]}}
            case 9:
                return {**answered(line), "custom_id": "row--1"}
            case 10:
                return {**answered(line), "response": {"status_code": "ok", "body": None}}
        return answered(line)

    with serving(says) as server:
        found, guard = ask(endpoint(server, tmp_path), items(13), tmp_path)
    errors = {i: (a.error or "").partition(":")[0] for i, a in found.items()}
    assert errors == {
        "desk:000": "refused", "desk:001": "stopped", "desk:002": "server_error", "desk:003": "unreadable_response",
        "desk:004": "empty_answer", "desk:005": "unreadable_response", "desk:006": "repeated_answer", "desk:007": "",
        "desk:008": "unreadable_response", "desk:009": "unreadable_response", "desk:010": "unreadable_response",
        "desk:011": "", "desk:012": "",
    }  # fmt: skip
    assert sorted(i for i, a in found.items() if not is_lost(a.error)) == [
        "desk:000", "desk:004", "desk:007", "desk:011", "desk:012"
    ], "the next command asks the others again"  # fmt: skip
    presumed = sum((a.usd_presumed for a in found.values() if a.usd_presumed), Decimal(0))
    assert guard.spent("api") == 4 * EACH + presumed
    assert presumed > 0


def test_a_batch_may_be_waited_for_for_days(tmp_path: Path) -> None:
    with serving() as server:
        caller = BatchCaller(endpoint(server, tmp_path), "api", PRICES, 20, Guard(), "api")
        assert caller._pause(5000) <= 1.25 * LONGEST_WAIT_S


def test_an_expired_batch_keeps_what_it_answered_and_the_rest_is_asked_again(tmp_path: Path) -> None:
    with serving(lambda line: answered(line) if line["custom_id"] < "row-3" else None, ends="expired") as server:
        to, asked = endpoint(server, tmp_path), items(6)
        found, _ = ask(to, asked, tmp_path)
        assert [i for i, a in found.items() if a.error] == ["desk:003", "desk:004", "desk:005"]
        assert all(a.error == "stopped" and a.usd_presumed is None for a in found.values() if a.error)
        server.says, server.ends = answered, "completed"
        again, guard = ask(to, asked[3:], tmp_path)
        assert [a.text for a in again.values()] == ["billing"] * 3
        assert guard.spent("api") == 6 * EACH


def test_a_refused_batch_says_why_costs_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    with serving(ends="failed") as server:
        with pytest.raises(ApiError, match="refused batch batch_0: enqueued token limit"):
            ask(endpoint(server, tmp_path), items(3), tmp_path)
        assert server.files == {}
        assert not (tmp_path / "api.batch.json").exists()
        server.ends = "completed"
        found, guard = ask(endpoint(server, tmp_path), items(3), tmp_path)
    assert len(found) == 3
    assert guard.spent("api") == 3 * EACH


@pytest.mark.parametrize(
    ("where", "status", "told"),
    [
        ("POST /files", 401, "refuses the key"),
        ("POST /files", 404, "a server without batches"),
        ("POST /files", 400, "not now"),
        ("POST /batches", 500, "run the same command again"),
        ("GET /batches", 401, "refuses the key"),
    ],
)
def test_a_server_that_refuses_is_told_and_the_next_command_goes_on(
    tmp_path: Path, where: str, status: int, told: str
) -> None:
    with serving() as server:
        server.refuse[where] = [status] * (3 if where.startswith("GET") else 1)
        with pytest.raises(ApiError, match=told):
            ask(endpoint(server, tmp_path), items(4), tmp_path)
        server.refuse.clear()
        found, guard = ask(endpoint(server, tmp_path), items(4), tmp_path)
        assert [a.text for a in found.values()] == ["billing"] * 4
        assert guard.spent("api") == 4 * EACH, "no row was paid for twice"
        assert len(server.batches) == 1


def test_a_batch_that_the_server_forgot_is_not_silently_sent_again(tmp_path: Path) -> None:
    with serving() as server:
        server.refuse["GET /batches"] = [401]
        with pytest.raises(ApiError):
            ask(endpoint(server, tmp_path), items(4), tmp_path)
    state = tmp_path / "api.batch.json"
    with serving() as other:
        state.write_text(json.dumps({**json.loads(state.read_text()), "batch": "batch_77"}))
        with pytest.raises(ApiError, match=f"delete {state}"):
            ask(endpoint(other, tmp_path), items(4), tmp_path)
        state.unlink()
        found, _ = ask(endpoint(other, tmp_path), items(4), tmp_path)
    assert len(found) == 4


def test_what_is_still_asked_in_the_same_words_keeps_its_answer_where_the_questions_changed(tmp_path: Path) -> None:
    with serving() as server:
        server.refuse["GET /batches"] = [401]
        with pytest.raises(ApiError):
            ask(endpoint(server, tmp_path), items(4), tmp_path)
        first, second, third, *_ = items(4)
        other = ({"role": "user", "content": "Ticket 101: what else?"},)
        asked = [first, (second[0], other), third, *items(6)[5:]]  # one asked otherwise, one gone, one new
        found, guard = ask(endpoint(server, tmp_path), asked, tmp_path)
        assert {i: a.response_id for i, a in found.items()} == {
            "desk:000": "chatcmpl-000", "desk:001": "chatcmpl-101", "desk:002": "chatcmpl-002", "desk:005": "chatcmpl-005",
        }  # fmt: skip
        assert [len(b["lines"]) for b in server.batches.values()] == [4, 2]
        assert server.files == {}
    statuses = guard.about("api").statuses
    assert (statuses["answered"], statuses["not_needed"]) == (4, 2)


def test_a_kill_between_the_end_in_the_ledger_and_the_answer_asks_nothing_twice(tmp_path: Path) -> None:
    with serving() as server:
        server.refuse["GET /batches"] = [401]
        with pytest.raises(ApiError):
            ask(endpoint(server, tmp_path), items(4), tmp_path)
        guard = Guard(ledger=tmp_path / "egress.jsonl")
        guard.ended(guard.unsettled("api")["desk:002"], "answered", EACH, may_be_billed=True)
        guard.close()
        found, guard = ask(endpoint(server, tmp_path), items(4), tmp_path)
        assert [a.text for a in found.values()] == ["billing"] * 4
        assert len(server.batches) == 1
    assert guard.spent("api") == 4 * EACH


@pytest.mark.parametrize("deleted", ["output-batch_0", "everything"])
def test_a_kill_while_the_providers_files_are_deleted_is_no_dead_end(tmp_path: Path, deleted: str) -> None:
    with serving() as server:
        server.refuse["DELETE /files"] = [401, 401]  # the state stays as a kill would leave it
        ask(endpoint(server, tmp_path), items(4), tmp_path)
        state = tmp_path / "api.batch.json"
        assert not state.exists(), "who is to delete the rest is told"
        sent = {"items": ["desk:000"], "digests": ["x"], "file": "file-0", "batch": "batch_0", "kept": True}
        state.write_text(json.dumps(sent))
        if deleted == "everything":
            server.files.clear()
            server.batches.clear()
        server.files.pop(deleted, None)
        found, _ = ask(endpoint(server, tmp_path), [], tmp_path)
        assert found == {}
        assert not state.exists()
        assert server.files == {}


@pytest.mark.parametrize("where", ["POST /files", "POST /batches", "GET /batches"])
def test_a_server_that_says_yes_and_means_nothing_is_told(tmp_path: Path, where: str) -> None:
    with serving() as server:
        server.refuse[where] = [200, 200]
        with pytest.raises(ApiError, match="answered without"):
            ask(endpoint(server, tmp_path), items(2), tmp_path)


def test_polls_are_tried_again_through_an_outage(tmp_path: Path) -> None:
    with serving() as server:
        server.refuse["GET /batches"] = [503, 429]
        found, _ = ask(endpoint(server, tmp_path), items(2), tmp_path)
    assert [a.text for a in found.values()] == ["billing"] * 2


def _command(url: str, folder: str) -> None:
    to = Endpoint(url, "m", "key", timeout_s=5, first_wait_s=0.01, batch=Path(folder) / "api.batch.json")
    ask(to, items(10), Path(folder))


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_command_finds_its_batch_again(tmp_path: Path, kill: signal.Signals) -> None:
    with serving(looks=10**9) as server:
        process = multiprocessing.get_context("spawn").Process(target=_command, args=(server.url, str(tmp_path)))
        process.start()
        until = time.monotonic() + 60
        while not server.batches and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.2)
        assert process.pid is not None
        for _ in range(15):  # a Ctrl-C that meets a destructor is lost, and a person presses again
            os.kill(process.pid, kill)
            process.join(2)
            if process.exitcode is not None:
                break
        assert process.exitcode not in (None, 0)
        assert server.batches
        waiting = Guard(ledger=tmp_path / "egress.jsonl")
        assert waiting.about("api").presumed_usd > 10 * EACH, "until it is known, it counts at its worst case"
        waiting.close()
        server.batches["batch_0"]["looks"] = 1
        found, guard = ask(endpoint(server, tmp_path), items(10), tmp_path)
        assert len(server.batches) == 1, "nothing was asked twice"
        assert [a.text for a in found.values()] == ["billing"] * 10
    assert (guard.spent("api"), guard.about("api").presumed_usd) == (10 * EACH, 0)
    later = Guard(ledger=tmp_path / "egress.jsonl")
    assert (later.spent("api"), later.about("api").presumed_usd) == (10 * EACH, 0), "the ledger says the same"
    assert later.about("api").statuses["answered"] == 10
    assert len(later.about("api").rows) == 10
    later.close()


def test_a_batch_holds_what_the_budget_allows_and_the_rest_goes_into_the_next(tmp_path: Path) -> None:
    with serving() as server:
        worst = PRICES.usd(type("U", (), {"prompt_tokens": 76, "completion_tokens": 24})())
        assert worst is not None
        found, guard = ask(endpoint(server, tmp_path), items(9), tmp_path, budget=5 * worst)
        assert len(found) == 9
        assert len(server.batches) > 1
        assert guard.spent("api") == 9 * EACH
    with serving() as server, pytest.raises(ApiError, match="--budget-usd"):
        ask(endpoint(server, tmp_path), items(30), tmp_path, budget=12 * EACH)


def test_rows_that_must_stay_are_in_no_file(tmp_path: Path) -> None:
    with serving() as server:
        kept = [(replace(i, id=f"secret:{i.id}", sensitivity="local_only"), p) for i, p in items(3)]
        found, guard = ask(endpoint(server, tmp_path), [*items(2), *kept], tmp_path)
        lines = [line for b in server.batches.values() for line in b["lines"]]
    assert len(lines) == 2
    assert len(found) == 5
    assert sum(a.error == "local_only_not_sent" for a in found.values()) == 3
    assert len(guard.about("api").rows) == 2
    elsewhere = replace(endpoint(server, tmp_path), base_url="http://api.example.com/v1")
    with pytest.raises(EgressError, match=r"not among egress\.destinations"):
        ask(elsewhere, items(1), tmp_path, rules=Policy(destinations=("other.example",)))
