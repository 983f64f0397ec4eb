"""The API provider against a real HTTP server that misbehaves on command, through the real openai client."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from evaluation.prices import PriceError, PriceList, price_list
from evaluation.providers.openai_compatible import ApiError, Egress, Endpoint, answer, read_choice
from evaluation.results import Answer, Item

PRICES = PriceList("openai", "gpt-4o-mini", datetime(2026, 11, 1, tzinfo=UTC))
GOOD = {"text": "billing"}


class Fault(BaseHTTPRequestHandler):
    """Answers request n with the n-th entry of the server's script; the last entry repeats."""

    server: Any

    def log_message(self, *_: Any) -> None:
        return

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            step = self.server.script[min(self.server.count, len(self.server.script) - 1)]
            self.server.count += 1
            self.server.bodies.append(body)
        if step.get("cut"):
            self.connection.shutdown(socket.SHUT_RDWR)
        elif step.get("hang"):
            self.server.released.wait(10)
        elif "status" in step:
            self._send(
                step["status"], json.dumps({"error": {"message": step.get("message", "no")}}), step.get("headers", {})
            )
        elif "raw" in step:
            self._send(200, step["raw"], {})
        elif body.get("stream"):
            self._stream(step)
        else:
            self._send(200, json.dumps(completion(step)), {})

    def _send(self, status: int, text: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(text.encode())),
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def _stream(self, step: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        base = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        chunks: list[dict[str, Any]] = [
            {**base, "choices": [{"index": 0, "delta": {"content": part}, "finish_reason": None}]}
            for part in ("bil", "ling")
        ]
        if not step.get("half"):
            chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            chunks.append(
                {**base, "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}}
            )
        for chunk in chunks:
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        if not step.get("half"):
            self.wfile.write(b"data: [DONE]\n\n")


def completion(step: dict[str, Any]) -> dict[str, Any]:
    made = {
        "id": "1", "object": "chat.completion", "created": 1, "model": "m-2026",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": step["text"]}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200},
    }  # fmt: skip
    if step.get("no_usage"):
        del made["usage"]
    return made


@contextmanager
def server(*script: dict[str, Any]) -> Iterator[tuple[Endpoint, Any]]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), Fault)
    http.script, http.count, http.lock = list(script), 0, threading.Lock()  # type: ignore[attr-defined]
    http.bodies, http.released = [], threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{http.server_address[1]}/v1"
        yield Endpoint(url, "m", "key", concurrency=1, timeout_s=5, max_retries=2, first_wait_s=0.01), http
    finally:
        http.released.set()  # type: ignore[attr-defined]
        http.shutdown()
        http.server_close()
        thread.join()


def items(number: int, sensitivity: str = "shareable") -> list[tuple[Item, Any]]:
    prompt = ({"role": "user", "content": "Where is my refund?"},)
    made = [
        Item(f"i{n:03}", "triage", prompt, "billing", ("billing", "delivery"), (), "g", sensitivity)
        for n in range(number)
    ]  # type: ignore[arg-type]
    return [(i, i.prompt) for i in made]


def ask(endpoint: Endpoint, asked: list[tuple[Item, Any]], prices: PriceList = PRICES) -> tuple[list[Answer], Egress]:
    found: list[Answer] = []
    egress = answer(
        endpoint, "api", asked, set(), prices, max_new_tokens=20, already_spent_usd=Decimal(0), keep=found.append
    )
    return found, egress


def one(*script: dict[str, Any], **changes: Any) -> tuple[Answer, Any]:
    with server(*script) as (endpoint, http):
        found, _ = ask(replace(endpoint, **changes), items(1))
        return found[0], http


def test_an_answer_has_its_label_tokens_price_and_time() -> None:
    got, http = one(GOOD)
    assert (got.text, got.error, got.prompt_tokens, got.completion_tokens, got.model) == (
        "billing",
        None,
        1000,
        200,
        "m-2026",
    )
    assert got.usd == Decimal("0.00027")  # 1,000 in at 0.15 and 200 out at 0.60 USD per million
    assert got.latency_ms is not None
    assert http.bodies[0]["temperature"] == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429},
        {"status": 429, "headers": {"Retry-After": "0"}},
        {"status": 500},
        {"status": 503},
        {"cut": True},
        {"raw": "{not json"},
    ],
)
def test_passing_faults_are_retried(fault: dict[str, Any]) -> None:
    got, http = one(fault, GOOD)
    assert (got.text, got.attempts, http.count) == ("billing", 2, 2)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 429}, "rate_limited"),
        ({"status": 500}, "server_error"),
        ({"cut": True}, "connection_lost"),
        ({"raw": "]"}, "unreadable_response"),
    ],
)
def test_a_fault_that_stays_is_an_unmeasured_answer(fault: dict[str, Any], error: str) -> None:
    got, http = one(fault)
    assert (got.text, got.error, got.attempts, http.count) == (None, error, 3, 3)


def test_a_time_out_is_retried_and_named() -> None:
    got, _ = one({"hang": True}, timeout_s=0.2, max_retries=1)
    assert (got.text, got.error, got.attempts) == (None, "timeout", 2)


def test_retry_after_is_honoured() -> None:
    import time

    began = time.perf_counter()
    one({"status": 429, "headers": {"Retry-After": "0.6"}}, GOOD)
    assert time.perf_counter() - began >= 0.6


@pytest.mark.parametrize(
    ("status", "told"), [(401, "refuses the key"), (403, "refuses the key"), (404, "has no model 'm'")]
)
def test_a_wrong_key_or_model_stops_at_once(status: int, told: str) -> None:
    with server({"status": status}) as (endpoint, http):
        with pytest.raises(ApiError, match=told):
            ask(endpoint, items(20))
        assert http.count == 1


def test_requests_that_are_all_refused_stop_with_the_servers_words() -> None:
    with server({"status": 400, "message": "unknown parameter"}) as (endpoint, http):
        with pytest.raises(ApiError, match="unknown parameter"):
            ask(endpoint, items(20))
        assert http.count < 10


@pytest.mark.parametrize(
    ("text", "error"),
    [("", "empty_answer"), ("I cannot say", "no_label_in_answer"), ("billing or delivery", "several_labels_in_answer")],
)
def test_an_unreadable_answer_is_not_wrong_but_unmeasured(text: str, error: str) -> None:
    got, _ = one({"text": text})
    assert (got.text, got.error) == (None, error)
    assert got.said == text


def test_missing_usage_means_unknown_tokens_and_price_not_zero() -> None:
    got, _ = one({"text": "billing", "no_usage": True})
    assert (got.text, got.prompt_tokens, got.usd) == ("billing", None, None)


def test_streaming_measures_the_first_token_and_a_half_stream_is_no_answer() -> None:
    got, _ = one(GOOD, streaming=True)
    assert (got.text, got.completion_tokens) == ("billing", 2)
    assert got.first_token_ms is not None
    assert got.latency_ms is not None
    assert got.first_token_ms <= got.latency_ms
    half, _ = one({"half": True}, streaming=True)
    assert (half.text, half.error) == (None, "connection_lost")


def test_local_only_rows_are_never_sent_but_listed() -> None:
    with server(GOOD) as (endpoint, http):
        found, egress = ask(endpoint, items(3, "local_only"))
        assert http.count == 0
    assert [a.error for a in found] == ["local_only_not_sent"] * 3
    assert egress.receipt()["local_only_rows_kept_back"] == 3


def test_the_budget_is_a_hard_stop_that_keeps_what_was_answered() -> None:
    with server(GOOD) as (endpoint, http):
        found: list[Answer] = []
        tight = replace(endpoint, budget_usd=Decimal("0.0006"))
        with pytest.raises(ApiError, match=r"budget of 0\.0006 USD is spent"):
            answer(
                tight,
                "api",
                items(10),
                set(),
                PRICES,
                max_new_tokens=20,
                already_spent_usd=Decimal(0),
                keep=found.append,
            )
        assert http.count == len([a for a in found if a.text]) == 3


def test_faults_under_concurrency_lose_nothing_and_ask_nothing_twice() -> None:
    script = [GOOD, {"status": 429}, {"cut": True}, {"status": 500}, {"text": ""}] * 20 + [GOOD]
    with server(*script) as (endpoint, _):
        found, egress = ask(replace(endpoint, concurrency=32, max_retries=8), items(120))
    assert sorted(a.item for a in found) == [f"i{n:03}" for n in range(120)]
    assert egress.receipt()["rows"] == 120


def test_the_rate_limit_spaces_requests() -> None:
    import time

    with server(GOOD) as (endpoint, _):
        began = time.perf_counter()
        ask(replace(endpoint, requests_per_minute=600, concurrency=4), items(5))
        assert time.perf_counter() - began >= 0.4


def test_labels_are_read_as_words() -> None:
    labels = ("setup_pairing", "billing")
    assert read_choice("**Billing**.", labels) == ("billing", None)
    assert read_choice("It is about setup pairing", labels) == ("setup_pairing", None)
    assert read_choice("billings", labels)[1] == "no_label_in_answer"


def test_a_model_without_a_price_is_an_error_before_anything_is_asked() -> None:
    with pytest.raises(PriceError, match="knows no price of openai/no-such-model"):
        price_list("openai", "no-such-model")


def test_a_request_is_fitted_to_what_a_model_knows() -> None:
    changes: dict[str, Any] = {
        "limit_as": "max_completion_tokens", "thinking_tokens": 500, "request": {"temperature": None, "store": False},
    }  # fmt: skip
    with server({"text": "billing"}) as (endpoint, http):
        (made,), _ = ask(replace(endpoint, **changes), items(1))
    body = http.bodies[0]
    assert (body["max_completion_tokens"], body["store"]) == (524, False)
    assert not {"max_tokens", "temperature"} & set(body)
    assert made.parameters is not None
    assert made.parameters["max_completion_tokens"] == 524
