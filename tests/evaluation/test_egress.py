"""The way out: what the policy lets through, what each call leaves behind, what money it may cost, and --offline.

Sockets are real; what must not arrive is looked for in the bytes that a listener received.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.redact import Surrogates
from evaluation import offline
from evaluation.egress import BLOCKED_KINDS, TELLABLE_KINDS, BudgetError, Egress, EgressError, Guard, Policy, kinds_in
from evaluation.prices import PriceList
from evaluation.providers.openai_compatible import ApiError, Endpoint, answer
from evaluation.results import Answer, AnswerFile, Item, LockedError, read_answers
from evaluation.transport import GuardedClient

PRICES = PriceList("openai", "gpt-4o-mini", datetime(2026, 11, 1, tzinfo=UTC))
IBAN = "DE89 3704 0044 0532 0130 00"
ROOT = str(Path(__file__).parents[2])


class Listener:
    """An HTTP server that keeps every byte it receives and answers as `says` tells."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.received = b""
        self.requests = 0
        self.status, self.extra = 200, b""
        self.usage: dict[str, Any] = {"prompt_tokens": 1000, "completion_tokens": 200}  # 0.00027 USD
        self._socket = socket.create_server((host, 0), backlog=200)
        self._lock = threading.Lock()
        self.address = self._socket.getsockname()
        self.url = f"http://{host}:{self.address[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        raw = b""
        with connection:
            while True:
                while b"\r\n\r\n" not in raw or len(raw) < _whole(raw):
                    chunk = connection.recv(65536)
                    if not chunk:
                        return
                    raw += chunk
                    with self._lock:
                        self.received += chunk
                raw = raw[_whole(raw) :]
                with self._lock:
                    self.requests += 1
                    number = self.requests
                body = json.dumps({
                    "id": f"r{number}", "object": "chat.completion", "created": 1, "model": "m-2026-10-01",
                    "choices": [{"index": 0, "message": {"role": "assistant", "content": "billing"}, "finish_reason": "stop"}],
                    "usage": self.usage,
                }).encode()  # fmt: skip
                head = b"HTTP/1.1 %d x\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
                connection.sendall(head % (self.status, self.extra, len(body)) + body)

    def close(self) -> None:
        self._socket.close()


def _whole(raw: bytes) -> int:
    head, _, _ = raw.partition(b"\r\n\r\n")
    length = next((int(h[15:]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")), 0)
    return len(head) + 4 + length


@contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[Listener]:
    made = Listener(host)
    try:
        yield made
    finally:
        made.close()


def item(number: int, text: str = "Where is my refund?", sensitivity: str = "shareable") -> tuple[Item, Any]:
    prompt = ({"role": "user", "content": text},)
    made = Item(f"i{number:03}", "triage", prompt, "billing", ("billing", "delivery"), (), "g", sensitivity)  # type: ignore[arg-type]
    return made, made.prompt


def ask(url: str, asked: list[tuple[Item, Any]], guard: Guard, **changes: Any) -> tuple[list[Answer], Egress]:
    found: list[Answer] = []
    endpoint = replace(Endpoint(url, "m", "key", timeout_s=5, max_retries=1, first_wait_s=0.01), **changes)
    egress = answer(
        endpoint, "api", asked, set(), PRICES, max_new_tokens=20, already_spent_usd=Decimal(0), keep=found.append,
        guard=guard,
    )  # fmt: skip
    return found, egress


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://api.firm.example/v1", True),
        ("https://eu.models.example:8443/v1", True),
        ("https://API.FIRM.EXAMPLE/v1", True),
        ("http://127.0.0.1:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://localhost/v1", True),
        ("https://api.firm.example.evil.example/v1", False),
        ("https://models.example/v1", False),
        ("http://127.0.0.1.evil.example/v1", False),
        ("https://api.firm.example@evil.example/v1", False),
        ("https://93.184.216.34/v1", False),
        ("not an address", False),
    ],
)
def test_only_named_destinations_and_this_machine_may_be_called(url: str, allowed: bool) -> None:
    policy = Policy(destinations=("api.firm.example", "*.models.example"))
    if allowed:
        policy.check(url)
    else:
        with pytest.raises(EgressError, match=r"not among egress\.destinations"):
            policy.check(url)


def test_a_forbidden_destination_is_refused_before_any_socket_is_opened() -> None:
    asked = [item(1)]
    with pytest.raises(
        EgressError, match=r"api\.other\.example is not among egress\.destinations \(api\.firm\.example\)"
    ):
        ask("https://api.other.example/v1", asked, Guard(Policy(destinations=("api.firm.example",))))


def test_what_must_stay_never_arrives_and_is_listed_and_counted() -> None:
    asked = [
        item(1),
        item(2, "my ticket SECRETWORD", "local_only"),
        item(3, "another SECRETWORD", "a_class_nobody_declared"),
        item(4, f"SECRETWORD pay to {IBAN} please"),
    ]
    with listening() as server:
        found, egress = ask(server.url, asked, Guard())
        assert server.requests == 1
        assert b"SECRETWORD" not in server.received
        assert b"Where is my refund?" in server.received
    errors = {a.item: a.error for a in found}
    assert errors == {
        "i001": None, "i002": "local_only_not_sent", "i003": "a_class_nobody_declared_not_sent",
        "i004": "pii_not_sent: iban",
    }  # fmt: skip
    receipt = egress.receipt()
    assert receipt["kept_back"] == {"a_class_nobody_declared_not_sent": 1, "local_only_not_sent": 1, "pii_not_sent": 1}
    assert receipt["kept_back_rows"] == ["i002", "i003", "i004"]
    assert receipt["local_only_rows_kept_back"] == 1


def test_a_policy_without_classes_lets_nothing_out() -> None:
    with listening() as server:
        found, _ = ask(server.url, [item(1)], Guard(Policy(sensitivity=())))
        assert (server.received, found[0].error) == (b"", "shareable_not_sent")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("secret", "sk-proj-abc123DEF456ghi789JKL"), ("card", "4111 1111 1111 1111"), ("iban", IBAN), ("ssn", "536-22-1234"),
        ("email", "anna.bell@gmail.com"), ("phone", "+49 30 1234567"), ("ip", "81.2.69.142"), ("mac", "00:1b:63:84:45:e6"),
    ],
)  # fmt: skip
def test_every_kind_that_can_block_is_found_in_somebodys_value_and_not_in_its_surrogate(kind: str, value: str) -> None:
    assert kind in TELLABLE_KINDS
    surrogate = Surrogates(b"k" * 32).of(kind, value)

    def found_in(text: str) -> bool:
        return kind in kinds_in(({"role": "user", "content": f"my {kind} is {text}, thanks"},))

    assert (found_in(value), found_in(surrogate)) == (True, False)


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=32, max_size=32), st.sampled_from(["gmail.com", "web.de", "firm.org"]))
def test_surrogates_under_any_key_block_nothing(key: bytes, domain: str) -> None:
    s = Surrogates(key)
    values = {
        "secret": "sk-proj-abc123DEF456ghi789JKL", "card": "4111 1111 1111 1111", "email": f"anna@{domain}",
        "phone": "(212) 555-7788", "ip": "81.2.69.142",
    }  # fmt: skip
    text = "; ".join(f"{kind}: {s.of(kind, value)}" for kind, value in values.items())
    found = kinds_in(({"role": "user", "content": text},))
    assert not set(found) & {"secret", "card", "email", "phone", "ip"}


def test_the_recipes_defaults_are_the_policys() -> None:
    from pipelines.recipe import Egress as Section

    chosen = Section()
    assert Policy(chosen.destinations, chosen.sensitivity, chosen.blocked_kinds) == Policy()
    assert chosen.blocked_kinds == BLOCKED_KINDS


def test_each_call_leaves_a_receipt_with_the_bytes_that_the_socket_saw(tmp_path: Path) -> None:
    ledger = tmp_path / "egress.jsonl"
    guard = Guard(ledger=ledger)
    with listening() as server:
        ask(server.url, [item(1), item(2, "mail anna.bell@gmail.com about it")], guard)
        seen = len(server.received)
    guard.close()
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    calls, ends = [r for r in lines if "purpose" in r], [r for r in lines if "status" in r]
    receipts = sorted((c["row"], c["model"], c["kinds"]) for c in calls)  # two threads: either may leave first
    assert receipts == [("i001", "m", {}), ("i002", "m", {"email": 1})]
    assert {c["destination"] for c in calls} == {server.url.removesuffix("/v1")}
    assert sum(c["bytes"] for c in calls) == seen
    assert [(e["status"], e["usd"], e["presumed"]) for e in ends] == [("answered", "0.00027", False)] * 2
    assert "anna.bell" not in ledger.read_text()


def test_a_request_without_a_receipt_does_not_leave() -> None:
    with listening() as server:
        client = GuardedClient(server.url, Guard(), timeout_s=5, most_bytes=1000, connections=1)
        for headers in ({}, {"X-Request-ID": "freehold-7"}, {"X-Request-ID": "freehold-x7"}):
            with pytest.raises(EgressError, match="without a receipt"):
                client.post(f"{server.url}/chat/completions", json={"text": "hello"}, headers=headers)
        client.close()
        assert server.received == b""


def test_a_redirect_to_another_host_is_not_followed() -> None:
    with listening() as server, listening() as other:
        server.status, server.extra = 307, f"Location: {other.url}/chat/completions\r\n".encode()
        found, egress = ask(server.url, [item(1)], Guard())
        assert other.received == b""
        assert found[0].error is not None
        assert found[0].error.startswith(f"refused: redirects to {other.url}")
        assert (server.requests, egress.receipt()["statuses"]) == (1, {"refused": 1})


def test_a_proxy_of_the_environment_is_not_asked_to_carry_what_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as server, listening() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        ask(server.url, [item(1)], Guard())
        assert (server.requests, proxy.received) == (1, b"")


def test_a_budget_is_overrun_by_less_than_one_request_at_concurrency_64() -> None:
    with listening() as server:
        asked = [item(n) for n in range(200)]
        guard = Guard()
        # each request costs 0.00027 USD, twenty times what its text lets one expect
        with pytest.raises(ApiError, match=r"budget of 0\.0054 USD is spent after \d+ requests"):
            ask(server.url, asked, guard, concurrency=64, budget_usd=Decimal("0.0054"))
        spent = server.requests * Decimal("0.00027")
    assert guard.spent("api") == spent
    assert Decimal("0.0054") <= spent < Decimal("0.0054") + Decimal("0.00027")


def test_the_whole_runs_budget_counts_every_purpose_and_every_earlier_command(tmp_path: Path) -> None:
    ledger = tmp_path / "egress.jsonl"
    budget = Decimal("0.0008")
    with listening() as server:
        first = Guard(ledger=ledger)
        answer(
            Endpoint(server.url, "m", "key"), "teacher", [item(1), item(2)], set(), PRICES, max_new_tokens=20,
            already_spent_usd=Decimal(0), keep=lambda _: None, guard=first,
        )  # fmt: skip
        first.close()
        second = Guard(ledger=ledger, budget_usd=budget)
        with pytest.raises(ApiError, match=r"the whole run: the budget of 0\.0008 USD .*raise --budget-usd"):
            ask(server.url, [item(n) for n in range(3, 13)], second, concurrency=8)
        second.close()
        assert server.requests == 3  # 0.00081 USD
    again = Guard(ledger=ledger)
    assert (again.spent("teacher"), again.spent("api")) == (Decimal("0.00054"), Decimal("0.00027"))
    again.close()


def test_a_call_that_was_under_way_at_a_kill_counts_at_its_worst_case(tmp_path: Path) -> None:
    ledger = tmp_path / "egress.jsonl"
    guard = Guard(ledger=ledger)
    call = guard.reserve("api", "i1", model="m", kinds={}, worst_usd=Decimal("0.5"), stopped=threading.Event())
    assert call is not None
    guard.leaving(call.tag, "http://127.0.0.1:9/v1", 300)
    guard.close()  # and no end was written
    with ledger.open("a") as f:
        f.write('{"call": 2, "at": "2026-')  # a second call, torn before it left
    again = Guard(ledger=ledger)
    again.open_purse("api", Decimal("0.4"), at_least=Decimal(0))
    assert again.about("api").receipt()["statuses"] == {"no_end": 1}
    assert (again.spent("api"), again.about("api").presumed_usd) == (Decimal("0.5"), Decimal("0.5"))
    with pytest.raises(BudgetError, match=r"budget of 0\.4 USD is spent after 1 requests"):
        again.reserve("api", "i2", model="m", kinds={}, worst_usd=Decimal("0.01"), stopped=threading.Event())
    again.close()
    third = Guard(ledger=ledger)
    assert third.spent("api") == Decimal("0.5"), "counted once, however often it is opened"
    third.close()


def test_two_processes_cannot_write_one_answers_file_or_ledger(tmp_path: Path) -> None:
    path, ledger = tmp_path / "answers.jsonl", tmp_path / "egress.jsonl"
    program = (
        "import sys; from pathlib import Path\n"
        "from evaluation.results import AnswerFile; from evaluation.egress import Guard\n"
        f"file = AnswerFile(Path({str(path)!r})); guard = Guard(ledger=Path({str(ledger)!r}))\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(LockedError, match=r"answers\.jsonl: another process is writing this file"):
        AnswerFile(path)
    with pytest.raises(LockedError, match=r"egress\.jsonl: another process"):
        Guard(ledger=ledger)
    holder.kill()
    holder.communicate()
    AnswerFile(path).close()  # a killed process holds nothing


def test_an_answers_file_that_a_kill_tore_keeps_its_whole_lines_and_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    file = AnswerFile(path)
    for n in range(3):
        file.add(Answer(f"i{n}", "api", "Größe – 大"))
    file.close()
    whole = path.read_bytes()
    for cut in (1, 5, len(whole) // 2, whole.rindex("大".encode()) + 1 - len(whole)):  # the last inside a letter
        path.write_bytes(whole[:-cut] if cut > 0 else whole[:cut])
        again = AnswerFile(path)
        assert 1 <= len(again.answers) <= 3
        with pytest.raises(LockedError):
            AnswerFile(path)
        again.add(Answer("i9", "api", "x"))
        again.close()
        assert [a.item for a in read_answers(path)][-1] == "i9"


def test_a_broken_line_in_the_middle_of_an_answers_file_is_told_and_not_skipped(tmp_path: Path) -> None:
    from data_prep.records import UserError

    path = tmp_path / "answers.jsonl"
    path.write_text(
        '{"item": "a", "arm": "api", "text": "x"}\n{"item": "b", "arm\n{"item": "c", "arm": "api", "text": "x"}\n'
    )
    with pytest.raises(UserError, match=r"answers\.jsonl:2: not JSON"):
        AnswerFile(path)
    assert path.read_text().count("\n") == 3


def own_address() -> str:
    """An address of this machine that is not loopback: reaching it needs no network, and the hook cannot know."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address besides loopback")
        return str(s.getsockname()[0])


WORKERS = """\
import asyncio, multiprocessing, os, socket, subprocess, sys
from evaluation.offline import OfflineError
HOST, PORT, LOOP, UNIX = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

def tcp():
    socket.create_connection((HOST, PORT), timeout=2).sendall(b"LEAK tcp")

def udp():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"LEAK udp", (HOST, PORT))

def message():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b"LEAK msg"], [], 0, (HOST, PORT))

def mapped():
    socket.socket(socket.AF_INET6).connect(("::ffff:" + HOST, PORT))

def quiet():
    if socket.socket().connect_ex((HOST, PORT)) == 0: raise SystemExit("connect_ex got through")

def name():
    socket.getaddrinfo("secret-ticket.firm.example", 443)

def event_loop():
    asyncio.run(asyncio.open_connection(HOST, PORT))

def library():
    import httpx2
    httpx2.get(f"http://{HOST}:{PORT}/")

WAYS = [tcp, udp, message, mapped, quiet, name, event_loop, library]

def all_refused(where):
    for way in WAYS:
        try:
            way()
        except OfflineError:
            continue
        except Exception as e:
            if "--offline" in repr(e) or "--offline" in repr(e.__cause__): continue
            print(where, way.__name__, "failed otherwise:", repr(e), flush=True)
        else:
            print(where, way.__name__, "got through", flush=True)
    socket.create_connection(("127.0.0.1", LOOP), timeout=2).close()
    socket.create_connection(("localhost", LOOP), timeout=2).close()
    socket.socket(socket.AF_UNIX).connect(UNIX)
    print(where, "done", flush=True)

if __name__ == "__main__":
    all_refused("main")
    if os.fork() == 0:
        all_refused("forked"); os._exit(0)
    os.wait()
    for how in ("spawn", "forkserver"):
        p = multiprocessing.get_context(how).Process(target=all_refused, args=(how,)); p.start(); p.join()
    body = open(__file__).read().split("if __name__")[0]
    other = f"import evaluation, sys; sys.argv = {sys.argv!r}; exec({body!r}); all_refused('program')"
    subprocess.run([sys.executable, "-c", other])
"""


def test_offline_refuses_every_way_out_in_this_process_and_in_forked_and_spawned_workers(tmp_path: Path) -> None:
    host = own_address()
    script, log, unix = tmp_path / "workers.py", tmp_path / "offline.jsonl", tmp_path / "s"
    script.write_text(WORKERS)
    here = socket.socket(socket.AF_UNIX)
    here.bind(str(unix))
    here.listen(50)
    with listening(host) as outside, listening() as loopback, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((host, outside.address[1]))
        udp.setblocking(False)
        arguments = [sys.executable, str(script), host, str(outside.address[1]), str(loopback.address[1]), str(unix)]
        environment = {**os.environ, "PYTHONPATH": ROOT}
        environment.pop(offline.VARIABLE, None)
        control = subprocess.run(
            [*arguments[:1], "-c", script.read_text().split("if __name__")[0] + "tcp(); udp()", *arguments[2:]],
            env=environment, check=False, timeout=60,
        )  # fmt: skip
        assert control.returncode == 0
        assert udp.recv(100) == b"LEAK udp", "without the hook it gets through, so this test can fail"
        before = outside.received
        assert before == b"LEAK tcp"
        done = subprocess.run(
            arguments, env={**environment, offline.VARIABLE: str(log)}, capture_output=True, text=True, check=False, timeout=100
        )  # fmt: skip
        assert done.stdout.splitlines() == [
            f"{w} done" for w in ("main", "forked", "spawn", "forkserver", "program")
        ], done.stdout + done.stderr[-3000:]
        assert outside.received == before
        with pytest.raises(BlockingIOError):
            udp.recv(100)
    here.close()
    proof = offline.proof(log)
    assert proof.processes >= 5
    assert len(proof.refused) >= 5 * 8
    assert f"socket.connect {host}:{outside.address[1]}" in proof.refused


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True), ("localhost", True),
        ("::ffff:8.8.8.8", False), ("10.0.0.1", False), ("127.0.0.1.firm.example", False), ("localhost.firm.example", False),
        ("", False), ("0177.0.0.1", False), ("fe80::1%lo", False),
    ],
)  # fmt: skip
def test_loopback_is_told_by_the_address_and_not_by_how_it_looks(host: str, is_local: bool) -> None:
    assert offline.is_loopback(host) is is_local


# ---- batches: what must leave on time


def batch_of(guard: Guard, price: Any = lambda usage: usage) -> Any:
    return guard.batch("load", model="m", url="http://127.0.0.1:9/v1", rows={"i1": {}, "i2": {"email": 1}}, price=price)


def one_of(batch: Any, item: str, *, worst: str = "0.01", size: int = 100) -> Any:
    call = batch.call(item, {"email": 1} if item == "i2" else {}, Decimal(worst))
    return batch.leaving(call.tag, "http://127.0.0.1:9/v1/chat/completions", size)


def test_a_batch_is_reserved_before_and_every_call_of_it_recorded_after(tmp_path: Path) -> None:
    ledger = tmp_path / "egress.jsonl"
    guard = Guard(ledger=ledger, budget_usd=Decimal("0.05"))
    with batch_of(guard) as batch:
        batch.reserve(4, most_bytes=800, worst_usd=Decimal("0.04"))
        before = ledger.read_text()
        batch.ended(one_of(batch, "i1"), "answered", Decimal("0.002"), may_be_billed=True)
        batch.ended(one_of(batch, "i2"), "http_500", None, may_be_billed=False)
        one_of(batch, "i2", size=50)  # under way when the run ends
        assert ledger.read_text() == before, "nothing is written while requests must leave on time"
        with pytest.raises(BudgetError, match=r"budget of 0\.05 USD"):
            batch.reserve(2, most_bytes=1, worst_usd=Decimal("0.02"))
    guard.close()
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    first, reserved, *calls, last = lines
    assert (first["rows"], first["kinds"], first["destination"]) == (["i1", "i2"], {"email": 1}, "http://127.0.0.1:9")
    assert (reserved["requests"], reserved["bytes"], reserved["reserved_usd"]) == (4, 800, "0.04")
    assert [(c["row"], c["bytes"]) for c in calls if "row" in c] == [("i1", 100), ("i2", 100), ("i2", 50)]
    assert [(c["status"], c["usd"]) for c in calls if "status" in c] == [
        ("answered", "0.002"), ("http_500", "0"), ("stopped", "0.01"),
    ]  # fmt: skip
    assert last == {"batch": 1, "recorded": 3}
    again = Guard(ledger=ledger)
    for found in (guard, again):
        receipt = found.about("load").receipt()
        assert (receipt["requests"], receipt["rows"], receipt["bytes"]) == (3, 2, 250)
        assert (receipt["usd"], receipt["presumed_usd"], receipt["kinds"]) == ("0.012", "0.01", {"email": 2})
        assert found._whole.spent == Decimal("0.012")
        assert (found._whole.reserved, found._whole.under_way) == (0, 0)
    again.close()


@pytest.mark.parametrize("recorded", [0, 1, 2])
def test_a_batch_that_a_kill_left_counts_as_sent_and_paid_once(tmp_path: Path, recorded: int) -> None:
    ledger = tmp_path / "egress.jsonl"
    guard = Guard(ledger=ledger)
    with batch_of(guard) as batch:
        batch.reserve(4, most_bytes=800, worst_usd=Decimal("0.04"))
        batch.reserve(1, most_bytes=200, worst_usd=Decimal("0.01"))
        for name in ("i1", "i2"):
            batch.ended(one_of(batch, name), "answered", Decimal("0.002"), may_be_billed=True)
    guard.close()
    lines = ledger.read_text().splitlines(keepends=True)
    assert len(lines) == 3 + 4 + 1
    ledger.write_text("".join(lines[: 3 + 2 * recorded]) + '{"call": 3, "ba')  # torn
    for _ in range(2):  # counted once, however often it is opened
        again = Guard(ledger=ledger)
        receipt = again.about("load").receipt()
        assert (receipt["requests"], receipt["rows"], receipt["bytes"]) == (5, 2, 1000)
        assert Decimal(receipt["usd"]) == Decimal("0.05") - recorded * Decimal("0.008")
        assert receipt["statuses"] == {"no_end": 5 - recorded} | ({"answered": recorded} if recorded else {})
        with batch_of(again) as following:
            assert following.number > 1
        again.close()


def test_no_request_leaves_a_batch_without_a_receipt_or_to_a_forbidden_place() -> None:
    guard = Guard(Policy(destinations=("api.firm.example",)))
    with batch_of(guard) as batch:
        with pytest.raises(EgressError, match="all 0 requests"):
            batch.call("i1", {}, Decimal(0))
        batch.reserve(2, most_bytes=1, worst_usd=Decimal(0))
        call = one_of(batch, "i1")
        for tag in (call.tag, "", "freehold-99"):
            with pytest.raises(EgressError, match="without a receipt"):
                batch.leaving(tag, "http://127.0.0.1:9/v1", 10)
        other = batch.call("i1", {}, Decimal(0))
        with pytest.raises(EgressError, match=r"not among egress\.destinations"):
            batch.leaving(other.tag, "https://evil.example/v1", 10)
    assert guard.about("load").requests == 1
    with pytest.raises(EgressError, match="not among"), guard.batch(
        "load", model="m", url="https://evil.example/v1", rows={}, price=lambda _: None
    ):  # fmt: skip
        pass
