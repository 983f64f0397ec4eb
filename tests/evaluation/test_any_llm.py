"""A vendor's own protocol through any-llm: a real client against a loopback server that speaks Anthropic's Messages API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from data_prep.records import UserError
from evaluation.egress import Egress
from evaluation.prices import price_list
from evaluation.providers.openai_compatible import ApiError, Endpoint, answer
from evaluation.results import Answer, Item

pytest.importorskip("any_llm")
PRICES = price_list("anthropic", "claude-haiku-4-5")


class Messages(BaseHTTPRequestHandler):
    """Answers each POST by the next step of the script: a status, or a text."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:  # type: ignore[attr-defined]
            self.server.seen.append((self.path, dict(self.headers), body))  # type: ignore[attr-defined]
            step = self.server.script.pop(0)  # type: ignore[attr-defined]
        number = len(self.server.seen)  # type: ignore[attr-defined]
        made: dict[str, Any] = {
            "id": f"msg_{number}", "type": "message", "role": "assistant", "model": "claude-haiku-4-5-20251001",
            "content": [{"type": "text", "text": step}], "stop_reason": "end_turn", "stop_sequence": None,
            "usage": {"input_tokens": 1000, "output_tokens": 200},
        }  # fmt: skip
        if isinstance(step, int):
            made = {"type": "error", "error": {"type": "api_error", "message": "no"}}
        text = json.dumps(made).encode()
        self.send_response(step if isinstance(step, int) else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def vendor(*script: int | str) -> Iterator[tuple[Endpoint, Any]]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), Messages)
    http.script, http.seen, http.lock = list(script), [], threading.Lock()  # type: ignore[attr-defined]
    threading.Thread(target=http.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{http.server_address[1]}"
    made = Endpoint(
        url, "claude-haiku-4-5", "key-of-ours", concurrency=1, timeout_s=5, max_retries=2, first_wait_s=0.01
    )
    try:
        yield replace(made, vendor="anthropic"), http
    finally:
        http.shutdown()
        http.server_close()


def ask(endpoint: Endpoint, number: int = 1, sensitivity: str = "shareable") -> tuple[list[Answer], Egress]:
    found: list[Answer] = []
    prompt = ({"role": "system", "content": "Sort it."}, {"role": "user", "content": "Where is my refund?"})
    asked: list[Any] = [
        (Item(f"i{n}", "triage", prompt, "billing", ("billing", "delivery"), (), "g", sensitivity), prompt)  # type: ignore[arg-type]
        for n in range(number)
    ]
    told = answer(
        endpoint, "claude", asked, set(), PRICES, max_new_tokens=20, already_spent_usd=Decimal(0), keep=found.append
    )
    return found, told


def test_a_question_goes_out_in_the_vendors_protocol_and_is_priced() -> None:
    with vendor("billing") as (endpoint, http):
        (made,), told = ask(endpoint)
    path, headers, body = http.seen[0]
    assert path == "/v1/messages"
    assert headers["X-Api-Key"] == "key-of-ours"
    assert (body["system"], body["messages"][0]["role"], body["max_tokens"]) == ("Sort it.", "user", 24)
    assert (made.text, made.error, made.model) == ("billing", None, "claude-haiku-4-5-20251001")
    assert (made.prompt_tokens, made.completion_tokens) == (1000, 200)
    assert made.usd == PRICES.usd(type("U", (), {"prompt_tokens": 1000, "completion_tokens": 200}))
    assert (told.requests, told.rows) == (1, {"i0"})
    assert told.bytes > len("Where is my refund?")


def test_faults_are_retried_by_us_alone_and_a_wrong_key_stops() -> None:
    with vendor(529, 500, "delivery") as (endpoint, http):
        (made,), _ = ask(endpoint)
    assert (made.text, made.attempts, len(http.seen)) == ("delivery", 3, 3)
    with vendor(401, "billing") as (endpoint, http), pytest.raises(ApiError, match="refuses the key"):
        ask(endpoint, 2)
    assert len(http.seen) == 1


def test_local_rows_stay_and_an_unknown_vendor_is_named() -> None:
    with vendor("billing") as (endpoint, http):
        _, told = ask(endpoint, sensitivity="local_only")
        assert (http.seen, list(told.kept_back)) == ([], ["i0"])
        with pytest.raises(UserError, match=r"evaluation\.api\.vendor 'nobody'"):
            ask(replace(endpoint, vendor="nobody"))
