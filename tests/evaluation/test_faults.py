"""Faults of an API beyond those of test_openai_compatible: bodies that lie, drip, swell or belong to somebody else; money that
was spent when something else went wrong; and the benchmark of faults, small. Every server is real."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.egress import Guard
from evaluation.prices import PriceList
from evaluation.providers import replay
from evaluation.providers.openai_compatible import LOST, ApiError, Endpoint, answer, chat_reply, read_usage
from evaluation.results import Answer, AnswerFile, Item, read_answers
from tests.bench import faults
from tests.servers import running

PRICES = PriceList("openai", "gpt-4o-mini", datetime(2026, 11, 1, tzinfo=UTC))
JSON = "application/json"
EACH = Decimal("0.00027")  # 1,000 tokens in at 0.15 and 200 out at 0.60 USD per million


def completion(text: Any = "billing", *, id: str = "", **changes: Any) -> dict[str, Any]:
    return {
        "id": id or f"c{time.monotonic_ns()}", "object": "chat.completion", "created": 1, "model": "m-2026-10-01",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}, **changes,
    }  # fmt: skip


class Reply:
    """What the server sends: a status, headers and the body's pieces, with pauses between them."""

    def __init__(
        self, body: Any = None, *, status: int = 200, kind: str = JSON, pause_s: float = 0.0, **headers: str
    ) -> None:
        whole = body if isinstance(body, bytes) else json.dumps(completion() if body is None else body).encode()
        self.status, self.kind, self.pause_s, self.headers = status, kind, pause_s, headers
        self.pieces = [whole[i : i + 4] for i in range(0, len(whole), 4)] if pause_s else [whole]
        self.length = len(whole)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *_: Any) -> None:
        return

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = self.server.count
            self.server.count += 1
        reply = self.server.says(number, body, self.headers)
        try:
            self.send_response(reply.status)
            headers = {"Content-Type": reply.kind, "Content-Length": str(reply.length), **reply.headers}
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            for piece in reply.pieces:
                self.wfile.write(piece)
                self.wfile.flush()
                if reply.pause_s:
                    time.sleep(reply.pause_s)
        except OSError:
            self.close_connection = True


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # of five, 32 connections at once lose some on a busy machine


@contextmanager
def serving(says: Callable[[int, Any, Any], Reply]) -> Iterator[tuple[Endpoint, Any]]:
    http: Any = Server(("127.0.0.1", 0), Handler)
    http.says, http.count, http.lock, http.daemon_threads = says, 0, threading.Lock(), True
    with running(http):
        url = f"http://127.0.0.1:{http.server_address[1]}/v1"
        yield Endpoint(url, "m", "key", concurrency=1, timeout_s=5, max_retries=1, first_wait_s=0.01), http


def items(number: int) -> list[tuple[Item, Any]]:
    made = []
    for n in range(number):
        prompt = ({"role": "user", "content": f"Ticket {n:03}: where is my refund?"},)
        made.append(
            (Item(f"i{n:03}", "triage", prompt, "billing", ("billing", "delivery"), (), "g", "shareable"), prompt)
        )  # type: ignore[arg-type]
    return made  # type: ignore[return-value]


def ask(endpoint: Endpoint, asked: list[tuple[Item, Any]], found: list[Answer], guard: Guard | None = None) -> Guard:
    guard = guard or Guard()
    answer(
        endpoint, "api", asked, set(), PRICES, max_new_tokens=20, already_spent_usd=Decimal(0), keep=found.append,
        guard=guard,
    )  # fmt: skip
    return guard


def one(reply: Reply, **changes: Any) -> Answer:
    with serving(lambda *_: reply) as (endpoint, _):
        found: list[Answer] = []
        ask(replace(endpoint, **changes), items(1), found)
        return found[0]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(b"<html>Please log in</html>", kind="text/html"), "wrong_content_type"),
        (Reply(b"null"), "unreadable_response"),
        (Reply(b"[1, 2]"), "unreadable_response"),
        (Reply(b'"billing"'), "unreadable_response"),
        (Reply(b"\xff\xfe{}"), "unreadable_response"),
        (Reply(b"[" * 200_000), "unreadable_response"),
        (Reply({"choices": None}), "unreadable_response"),
        (Reply({"error": {"message": "no"}}), "unreadable_response"),
        (Reply(completion(["billing"])), "unreadable_response"),
        (Reply(completion(choices=completion()["choices"] * 2)), "unreadable_response"),
        (Reply(completion(choices=[])), "empty_answer"),
        (Reply(completion(None)), "empty_answer"),
        (Reply(gzip.compress(json.dumps(completion()).encode()), Content_Encoding="gzip"), "unreadable_response"),
        (Reply(completion("billing " * 1_300_000)), "answer_too_long"),
    ],
)
def test_a_body_that_is_no_answer_is_an_unmeasured_answer_with_a_reason(reply: Reply, error: str) -> None:
    got = one(reply)
    assert (got.text, got.error) == (None, error)


def test_a_ten_megabyte_answer_is_not_read_to_its_end() -> None:
    sent = []

    class Slow(Reply):
        def __init__(self) -> None:
            super().__init__(b"x" * 10_000_000)
            self.pieces = self._count()  # type: ignore[assignment]

        def _count(self) -> Iterator[bytes]:
            for _ in range(100):
                sent.append(100_000)
                yield b"x" * 100_000

    assert one(Slow(), max_retries=0).error == "answer_too_long"
    assert sum(sent) < 10_000_000


def test_a_body_that_drips_is_a_time_out_however_steadily_it_drips() -> None:
    began = time.perf_counter()
    got = one(Reply(pause_s=0.05), timeout_s=0.4, max_retries=0)
    assert (got.error, time.perf_counter() - began < 2) == ("timeout", True)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": float("nan"), "completion_tokens": 2}, {"prompt_tokens": -5, "completion_tokens": 2}, "many", [],
        {"prompt_tokens": 1.5, "completion_tokens": 2}, {"prompt_tokens": True, "completion_tokens": 2}, None,
        {"prompt_tokens": 10**30, "completion_tokens": 2}, {"prompt_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 6}},
    ],
)  # fmt: skip
def test_a_count_that_is_none_means_an_unknown_price_and_money_presumed_spent(usage: Any) -> None:
    got = one(Reply(completion(usage=usage)))
    assert (got.text, got.prompt_tokens, got.usd, got.usage) == ("billing", None, None, None)
    assert got.usd_presumed is not None
    assert 0 < got.usd_presumed < EACH


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.sampled_from(["choices", "usage", "model", "id"]), JSONS), JSONS, JSONS)
def test_any_json_is_read_or_refused_by_a_named_error(body: dict[str, Any], message: Any, usage: Any) -> None:
    for made in (body, {**completion(message), "usage": usage}, {**completion(), "choices": [{"message": message}]}):
        try:
            reply = chat_reply(made)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        assert reply.text is None or isinstance(reply.text, str)
        assert reply.usage is None or reply.usage["prompt_tokens"] >= 0
    assert read_usage(usage) is None or isinstance(usage, dict)


def test_half_a_letter_in_an_answer_does_not_stop_the_run(tmp_path: Path) -> None:
    body = json.dumps(completion("SMILE")).replace("SMILE", "billing \\ud83d").encode()
    got = one(Reply(body))
    file = AnswerFile(tmp_path / "answers.jsonl")
    file.add(got)
    file.close()
    assert [a.text for a in read_answers(tmp_path / "answers.jsonl")] == ["billing"]


def test_an_answer_to_another_request_is_known_by_the_servers_echo() -> None:
    def says(number: int, _: Any, headers: Any) -> Reply:
        tag = "freehold-999" if number == 0 else headers["X-Request-ID"]
        return Reply(completion("delivery" if number == 0 else "billing"), X_Request_ID=tag)

    with serving(says) as (endpoint, http):
        found: list[Answer] = []
        guard = ask(endpoint, items(1), found)
        assert (found[0].text, found[0].attempts, http.count) == ("billing", 2, 2)
    assert guard.about("api").receipt()["statuses"] == {"answer_to_another_request": 1, "answered": 1}


def test_an_answer_given_before_is_known_by_its_id_also_by_a_later_command(tmp_path: Path) -> None:
    ids = ["a", "b", "a", "c", "b", "d"]

    def says(number: int, *_: Any) -> Reply:
        return Reply(completion(id=ids[number]))

    with serving(says) as (endpoint, http):
        found: list[Answer] = []
        for part in (items(3)[:2], items(3)[2:], items(4)[3:]):
            guard = Guard(ledger=tmp_path / "egress.jsonl")
            ask(endpoint, part, found, guard)
            guard.close()
        assert http.count == 6
    assert [(a.item, a.response_id, a.attempts) for a in found] == [
        ("i000", "a", 1),
        ("i001", "b", 1),
        ("i002", "c", 2),
        ("i003", "d", 2),
    ]


def test_a_server_whose_ids_never_differ_is_not_accused() -> None:
    with serving(lambda *_: Reply(completion(id="chatcmpl-0"))) as (endpoint, _):
        found: list[Answer] = []
        guard = Guard()
        other = guard.reserve("judge", "j", model="m", kinds={}, worst_usd=Decimal(0), stopped=threading.Event())
        assert other is not None
        guard.is_repeated(other, "another purpose's")
        ask(endpoint, items(5), found, guard)
    assert [a.error for a in found] == [None] * 5


def test_retry_after_may_be_a_date() -> None:
    def says(number: int, *_: Any) -> Reply:
        if number:
            return Reply()
        when = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        return Reply({"error": {"message": "busy"}}, status=503, Retry_After=when)

    began = time.perf_counter()
    with serving(says) as (endpoint, _):
        found: list[Answer] = []
        ask(endpoint, items(1), found)
    assert (found[0].text, time.perf_counter() - began > 0.7) == ("billing", True)


@pytest.mark.parametrize(
    ("status", "message", "told"),
    [
        (402, "pay first", "has no credit left"),
        (429, "You exceeded your current quota: insufficient_quota", "has no credit left"),
        (400, "Your credit balance is too low to access the API.", "has no credit left"),
        (401, "who are you", "refuses the key"),
    ],
)
def test_an_empty_account_or_wrong_key_stops_at_once(status: int, message: str, told: str) -> None:
    with serving(lambda *_: Reply({"error": {"message": message}}, status=status)) as (endpoint, http):
        with pytest.raises(ApiError, match=told):
            ask(endpoint, items(20), [])
        assert http.count == 1


def test_refusals_in_a_row_stop_the_run_and_are_asked_again_while_single_ones_are_answers() -> None:
    def says(number: int, *_: Any) -> Reply:
        return Reply({"error": {"message": "not today"}}, status=400) if number in (1, 3) or number > 9 else Reply()

    with serving(says) as (endpoint, http):
        found: list[Answer] = []
        with pytest.raises(ApiError, match=r"refused 20 requests in a row, refused: .*not today"):
            ask(endpoint, items(100), found)
        assert http.count < 40
    assert [a.item for a in found if a.error] == ["i001", "i003"]
    assert len(found) == 10


def test_a_question_that_is_forbidden_by_its_words_is_that_questions_and_a_key_that_is_stops() -> None:
    def says(number: int, *_: Any) -> Reply:
        return Reply({"error": {"message": "flagged"}}, status=403) if number == 3 else Reply()

    with serving(says) as (endpoint, _):
        found: list[Answer] = []
        ask(endpoint, items(6), found)
        assert [(a.item, a.error.partition(":")[0]) for a in found if a.error] == [("i003", "refused")]
    with serving(lambda *_: Reply({"error": {"message": "flagged"}}, status=403)) as (endpoint, http):
        with pytest.raises(ApiError, match="refuses the key"):
            ask(endpoint, items(6), [])
        assert http.count == 1
        again: list[Answer] = []
        answer(
            endpoint, "api", items(2), set(), PRICES, max_new_tokens=20, already_spent_usd=Decimal(0), keep=again.append,
            has_answered=True,
        )  # fmt: skip
        assert [str(a.error)[:8] for a in again] == ["refused:"] * 2, "the command before had answers"


def test_a_paid_answer_is_kept_before_the_refusals_that_waited_for_it() -> None:
    def keep(one: Answer) -> None:
        found.append(one)
        if one.error:
            raise RuntimeError("the caller has had enough")

    found: list[Answer] = []
    with (
        serving(lambda number, *_: Reply({"error": {}}, status=400) if number == 0 else Reply()) as (endpoint, _),
        pytest.raises(RuntimeError),
    ):
        answer(endpoint, "api", items(3), set(), PRICES, max_new_tokens=20, already_spent_usd=Decimal(0), keep=keep)
    assert [a.item for a in found] == ["i001", "i000"]


def test_a_wrong_key_in_the_middle_loses_no_answer_that_was_paid_for() -> None:
    """31 answers are under way when one request is refused; they come after it, and every one is kept."""
    paid = threading.Semaphore(0)

    def says(number: int, *_: Any) -> Reply:
        if number == 20:
            return Reply({"error": {"message": "revoked"}}, status=401)
        if number > 0:
            time.sleep(0.3)
        paid.release()
        return Reply()

    with serving(says) as (endpoint, _):
        found: list[Answer] = []
        guard = Guard()
        with pytest.raises(ApiError, match="refuses the key"):
            ask(replace(endpoint, concurrency=32), items(300), found, guard)
    answered = [a for a in found if a.text == "billing"]
    assert len(answered) == paid._value >= 20
    presumed = sum((a.usd_presumed for a in found if a.usd_presumed), Decimal(0))  # of a connection that was lost
    assert guard.spent("api") == len(answered) * EACH + presumed
    assert len({a.item for a in found}) == len(found) < 300


def test_a_full_disk_while_keeping_an_answer_still_keeps_the_others() -> None:
    with serving(lambda *_: Reply()) as (endpoint, http):
        found: list[Answer] = []

        def keep(made: Answer) -> None:
            if made.item == "i004":
                raise OSError(28, "No space left on device")
            found.append(made)

        with pytest.raises(OSError, match="No space"):
            answer(
                replace(endpoint, concurrency=8), "api", items(100), set(), PRICES, max_new_tokens=20,
                already_spent_usd=Decimal(0), keep=keep,
            )  # fmt: skip
        assert len(found) == http.count - 1


def test_what_a_lost_attempt_may_have_cost_is_counted_but_is_no_price_of_the_answer() -> None:
    def says(number: int, *_: Any) -> Reply:
        return Reply(b"{half of it") if number == 0 else Reply()

    with serving(says) as (endpoint, _):
        found: list[Answer] = []
        guard = ask(endpoint, items(1), found)
    got = found[0]
    assert (got.usd, got.attempts) == (EACH, 2)
    assert got.usd_presumed is not None
    assert got.usd_presumed > 0
    receipt = guard.about("api").receipt()
    assert (Decimal(receipt["usd"]), Decimal(receipt["presumed_usd"])) == (EACH + got.usd_presumed, got.usd_presumed)


def test_a_refusal_costs_nothing() -> None:
    def says(number: int, *_: Any) -> Reply:
        return Reply({"error": {"message": "busy"}}, status=429) if number == 0 else Reply()

    with serving(says) as (endpoint, _):
        found: list[Answer] = []
        guard = ask(endpoint, items(1), found)
    assert (found[0].usd_presumed, guard.spent("api")) == (None, EACH)


def test_a_stored_answer_is_a_dated_snapshot_that_can_be_priced_anew(tmp_path: Path) -> None:
    usage = {
        "prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200,
        "prompt_tokens_details": {"cached_tokens": 400}, "completion_tokens_details": {"reasoning_tokens": 150},
    }  # fmt: skip
    file = AnswerFile(tmp_path / "answers.jsonl")
    with serving(lambda *_: Reply(completion(usage=usage, id="resp-1"))) as (endpoint, _):
        answer(endpoint, "api", items(1), set(), PRICES, max_new_tokens=20, already_spent_usd=Decimal(0), keep=file.add)
    file.close()
    (stored,) = read_answers(tmp_path / "answers.jsonl")
    assert (stored.model, stored.usage, stored.response_id, stored.finish_reason) == (
        "m-2026-10-01",
        usage,
        "resp-1",
        "stop",
    )
    assert stored.parameters == {"model": "m", "mode": "chat", "streaming": False, "max_tokens": 24, "temperature": 0}
    assert stored.prices is not None
    assert (stored.prices["model"], stored.prices["as_of"]) == ("gpt-4o-mini", "2026-11-01")
    assert stored.asked_at is not None
    assert datetime.now(UTC) - datetime.fromisoformat(stored.asked_at) < timedelta(minutes=1)
    assert stored.usd == Decimal("0.00024")  # 600 at 0.15, 400 cached at 0.075, 200 at 0.60 USD per million
    dearer = PriceList("openai", "gpt-4o", datetime(2026, 11, 1, tzinfo=UTC))
    (anew,) = replay.priced_anew([stored], dearer)
    assert anew.usd == Decimal("0.004")  # 600 at 2.50, 400 cached at 1.25, 200 at 10
    assert replace(anew, usd=stored.usd, prices=stored.prices) == stored
    told = replay.snapshot([stored])
    assert (told["models"], told["undated"], told["without_token_counts"]) == (["m-2026-10-01"], 0, 0)


def test_answers_stored_before_there_were_dates_are_still_read(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps({"item": "a", "arm": "api", "text": "x", "usd": "0.1", "attempts": 2}) + "\n")
    (old,) = read_answers(path)
    assert (old.usd, old.asked_at) == (Decimal("0.1"), None)
    assert replay.priced_anew([old], PRICES)[0].usd is None, "without counts the price is unknown, not zero"


def test_a_small_run_through_nine_faults_and_two_kills() -> None:
    found = faults.bench(300, 2)
    assert len(set(found["faults"]) - {"none"}) >= 7
    assert 0.2 < found["fault_share"] < 0.4
    assert found["items_without_a_line"] == 0
    assert set(found["outcomes"]) <= {"answered", "empty_answer", "local_only_not_sent", *LOST}
    assert found["outcomes"]["answered"] >= 270
    assert found["outcomes"]["local_only_not_sent"] == found["local_only_items"] == 15
    assert found["local_only_bytes_at_the_socket"] == 0
    assert found["of_these_seen_before"] == 0, "an answer given again is known, unless a kill took its first delivery"
    assert found["requests_without_a_receipt"] == 0
    assert found["good_answers_that_a_kill_lost"] <= 2 * faults.CONCURRENCY
    assert found["exit_codes"] == [2, 0]
    dearest = Decimal(found["dearest_request_usd"])
    assert Decimal(found["most_billed_beyond_the_ledger_usd"]) <= 0
    assert Decimal(found["most_over_the_tight_budget_usd"]) <= Decimal(found["dearest_call_in_the_ledger_usd"])
    assert Decimal(found["billed_over_the_tight_budget_usd"]) <= dearest


def test_a_server_that_bills_a_hundred_times_what_it_was_sent_overruns_the_budget_by_one_request_at_most() -> None:
    found = faults.bench_budget(300)
    assert found["exit_code"] == 2
    assert 0 <= Decimal(found["over_the_budget_usd"]) <= Decimal(found["dearest_request_usd"])
    assert found["answers_kept"] >= found["requests"] > 50
