"""Open-loop load on an OpenAI-compatible server: Poisson arrivals at a fixed rate, streamed answers, one Timing a request.

Requests are sent when they are due, however many are under way, and each is timed from that moment. Every run asks the test
items' own prompts with the measured answer lengths. A prompt never repeats (a number stands before its last message), so the
server's prefix cache holds what production shares, instruction and examples, and not the whole test set. Arrivals go on until
the last measured request has ended; before each run the server must answer as fast as when it was idle.

Why an own generator of this size. guidellm 0.8 times requests from the actual, not the scheduled, sending (its issue 1048:
when the client falls behind, percentiles improve), asks for torch, transformers and sanic and pins click; aiperf 0.13 pins
pandas 2.3 and ruamel.yaml 0.18, which conflict with this package, and brings 40 others; inference-perf pins another
transformers; locust's users wait for their answers, a closed loop; `vllm bench serve` needs vLLM's environment. None reports
intervals, counts errors as misses of the service level or searches for the rate that keeps one. `tests/bench/capacity.py`
holds this one against `vllm bench serve`. The openai client validates every chunk; here a chunk costs one json.loads.

The client is one process. Where its sending is late, the run says so and nothing about the server is concluded from it.

Everything passes the egress guard in batches (evaluation.egress.Batch): a run is reserved before it and recorded after it, so
that the ledger is not written between. Only once the measured requests have all left, a further second of load is one line.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import math
import statistics
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import httpx2
import numpy as np

from data_prep.records import ChatMessage, UserError
from evaluation import latency
from evaluation.egress import STOPPED, Batch, BudgetError, Guard
from evaluation.latency import Capacity, Run, Slo, Timing
from evaluation.prices import Book, PriceError
from evaluation.providers.openai_compatible import TOKENS_A_MESSAGE, as_usage, read_usage
from evaluation.transport import TAG, BatchClient

FEWEST = 20  # requests a run: of fewer, one miss is more than 5 %
STOP_AT = 4  # times the allowed misses: the run is lost by far, what is left of it only takes time
IDLE_REQUESTS = 8
REST_LIMIT_S = 60.0
FIRST_ANSWER_S = 180.0  # a server's first answer may compile kernels
PAUSE_S = 0.05
DRAIN_S = 0.05  # for a body's end behind its last event
OUT_OF_SOCKETS = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL)
MORE_S = 1.0  # of load that is reserved at once after a run's own
MOST_HEAD = 500  # bytes of a request line and headers, the key aside


class LoadError(UserError):
    """The server does not answer at all; there is nothing to measure."""


@dataclass(frozen=True, slots=True)
class Server:
    """base_url ends in /v1. pin_lengths: the server takes vLLM's `ignore_eos`, so each answer has the measured length.

    guard: without one the default policy holds and no ledger is written. prices: None, nothing here has a price.
    """

    base_url: str
    model: str
    key: str = field(default="none", repr=False)
    timeout_s: float = 60.0
    pin_lengths: bool = False
    guard: Guard = field(default_factory=Guard, compare=False, repr=False)
    purpose: str = "load test"
    prices: Book | None = None

    def usd(self, usage: dict[str, Any]) -> Decimal | None:
        """The price of a call; None where it has none."""
        counted = read_usage(usage)
        try:
            return self.prices.usd(as_usage(counted)) if counted is not None and self.prices is not None else None
        except PriceError:  # the list lacks a tier
            return None

    def worst_usd(self, question: Question) -> Decimal:
        """The price where a token is a byte, and the answer as long as it may be; zero where nothing is priced."""
        prompt = sum(len(m["content"].encode()) + TOKENS_A_MESSAGE for m in question.messages) + 2 * TOKENS_A_MESSAGE
        return self.usd({"prompt_tokens": prompt, "completion_tokens": question.tokens}) or Decimal(0)


@dataclass(frozen=True, slots=True)
class Question:
    """One item of the mix: its prompt, how many tokens its answer has, and the personal data in it."""

    messages: tuple[ChatMessage, ...]
    tokens: int
    item: str = ""
    kinds: dict[str, int] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """rates: empty searches for the highest. repeats: runs a rate, where one leaves its level unsettled."""

    seconds: float
    warm_up_s: float
    seed: int
    rates: tuple[float, ...] = ()
    repeats: int = 3
    precision: float = 0.05
    max_minutes: float = 30.0
    max_late_ms: float = 25.0


def arrivals(rate: float, *, seed: Sequence[int], parts: Sequence[float] = ()) -> Iterator[float]:
    """Seconds of Poisson arrivals, without end. The same seed at another rate is the same sequence, stretched.

    parts: lengths of time from the beginning on, each with exactly rate·length arrivals: Poisson given their number. Without
    that, a run of a hundred requests offers a rate that is 10 % off, and the capacity found with it as well.
    """
    now = 0.0
    for number, part in enumerate(parts):
        gaps = np.random.default_rng((*seed, number)).exponential(size=round(rate * part) + 1)
        yield from (now + part * np.cumsum(gaps)[:-1] / gaps.sum()).tolist()
        now += part
    rng = np.random.default_rng((*seed, len(parts)))
    while True:
        for gap in rng.exponential(size=256):
            now += float(gap) / rate
            yield now


def questions(mix: Sequence[Question], *, seed: Sequence[int]) -> Iterator[Question]:
    """The mix in shuffled order, again and again: every question is asked equally often."""
    rng = np.random.default_rng(seed)
    while True:
        yield from (mix[i] for i in rng.permutation(len(mix)))


def measure(server: Server, mix: Sequence[Question], rate: float, *, plan: Plan, repeat: int, slo: Slo) -> Run:
    """One run at one rate. Percentiles need it whole; it is stopped where the service level is missed by far."""
    with _Way(server, mix).open() as way:
        return asyncio.run(_Run(way, mix, rate, plan, repeat, slo).run())


class _Run:
    def __init__(self, way: _Way, mix: Sequence[Question], rate: float, plan: Plan, repeat: int, slo: Slo) -> None:
        self.way, self.rate, self.plan, self.repeat = way, rate, plan, repeat
        self.bounds = slo.bounds()
        parts = (plan.warm_up_s, plan.seconds)
        self.due = arrivals(rate, seed=(plan.seed, repeat), parts=parts)
        self.asked = questions(mix, seed=(plan.seed, repeat, 9))
        self.until = plan.warm_up_s + plan.seconds
        self.planned = round(rate * plan.seconds)
        self.most_missed = STOP_AT * max(1, latency.allowed_misses(self.planned))
        self.timings: list[Timing] = []
        self.missed = dict.fromkeys(self.bounds, 0)
        self.late: list[float] = []
        self.under_way: dict[
            float, bool
        ] = {}  # measured requests, by when they were due → whether the answer has begun
        self.all_sent = False
        self.fault: str | None = None
        self.spent: BudgetError | None = None
        self.began = self.looked = 0.0

    async def run(self) -> Run:
        if self.planned < FEWEST:
            self.fault = f"{self.planned} requests are due in {self.plan.seconds:g} s, a 95th percentile needs {FEWEST}: raise seconds"
            return self._result()
        tasks: set[asyncio.Task[None]] = set()
        self.way.reserve(round(self.rate * self.plan.warm_up_s) + self.planned)
        async with self.way.client() as client:
            self.began = time.perf_counter() + PAUSE_S
            for due, question in zip(self.due, self.asked, strict=False):
                self.all_sent = due >= self.until
                if not await self._until(due) or not self._may_leave():
                    break
                if self.plan.warm_up_s <= due < self.until:
                    self.under_way[due] = False
                task = asyncio.create_task(self._ask(client, question, due))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            ended = self._result()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self.spent is not None:
            raise self.spent
        return ended

    def _may_leave(self) -> bool:
        """Whether another request is reserved, or can be. What goes on after the measured ones have left was not."""
        try:
            if not self.way.left:
                self.way.reserve(math.ceil(self.rate * MORE_S))
        except BudgetError as e:
            self.spent = e
        return self.spent is None

    async def _until(self, due: float) -> bool:
        """Wait until a request is due. False: nothing is left to wait for."""
        while True:
            left = self.began + due - time.perf_counter()
            await asyncio.sleep(max(0.0, min(left, PAUSE_S)))
            if self.fault or (self.all_sent and not self.under_way) or self._lost():
                return False
            if left <= PAUSE_S:
                return True

    async def _ask(self, client: BatchClient, question: Question, due: float) -> None:
        counts = due in self.under_way
        if counts:
            self._sent(1000 * (time.perf_counter() - self.began - due))

        def begun() -> None:
            if counts:
                self.under_way[due] = True

        try:
            timing = await self.way.ask(client, question, due=self.began + due, at_s=due, begun=begun)
        except _OutOfSockets as e:
            self.fault = str(e)
            return
        except Exception as e:
            self.fault = f"the client failed: {type(e).__name__}: {e}"
            return
        if counts:
            del self.under_way[due]
            self.timings.append(timing)
            for name, bound in self.bounds.items():
                self.missed[name] += any(v > bound for v in latency.column([timing], name))

    def _sent(self, late_ms: float) -> None:
        self.late.append(late_ms)
        if late_ms > self.plan.max_late_ms:
            late = sum(ms > self.plan.max_late_ms for ms in self.late)
            if late > max(1, self.planned // 100):
                self.fault = (
                    f"the client was late: {late} of {len(self.late)} requests left more than"
                    f" {self.plan.max_late_ms:g} ms after they were due, so it was measured and not the server"
                )

    def _lost(self) -> bool:
        """Whether so many measured requests have missed a bound that the rest cannot matter."""
        if any(missed > self.most_missed for missed in self.missed.values()):
            return True
        if (now := time.perf_counter()) - self.looked < PAUSE_S:
            return False
        self.looked = now
        return any(self.missed[n] + len(self._overdue(n, bound)) > self.most_missed for n, bound in self.bounds.items())

    def _overdue(self, criterion: str, bound: float) -> list[float]:
        """Requests under way that have missed a bound already."""
        if criterion == "inter_token_ms":
            return []
        latest = time.perf_counter() - self.began - bound / 1000
        waiting = [d for d, begun in self.under_way.items() if criterion == "latency_ms" or not begun]
        return [d for d in waiting if d < latest]

    def _result(self) -> Run:
        overdue = {d for name, bound in self.bounds.items() for d in self._overdue(name, bound)}
        ended = [*self.timings, *(Timing(d, 0.0, None, None, None, None, "stopped_overdue") for d in overdue)]
        ended.sort(key=lambda t: t.at_s)
        return Run(self.rate, self.plan.seconds, self.repeat, self.planned, tuple(ended), self.fault)


class _OutOfSockets(LoadError):
    """It is the client that fails, not the server."""


class _Way:
    """The way to a server for one run or one row of requests: what is reserved for them, and how each ended."""

    def __init__(self, server: Server, mix: Sequence[Question]) -> None:
        self.server, self.mix = server, mix
        self.worst = [server.worst_usd(q) for q in mix]
        self.worst_of = {id(q): usd for q, usd in zip(mix, self.worst, strict=True)}
        head = len(server.key) + MOST_HEAD
        self.sizes = [len(json.dumps(_body(server, q))) + head for q in mix]
        self.batch: Batch | None = None

    @contextmanager
    def open(self) -> Iterator[_Way]:
        s, rows = self.server, {q.item: q.kinds for q in self.mix}
        with s.guard.batch(s.purpose, model=s.model, url=s.base_url, rows=rows, price=s.usd) as self.batch:
            yield self

    @property
    def left(self) -> int:
        assert self.batch is not None
        return self.batch.left

    def reserve(self, requests: int) -> None:
        """Raises BudgetError. The first so many ask every question equally often, later ones may be of the dearest alone."""
        assert self.batch is not None
        rounds = -(-requests // len(self.mix)) if not self.batch.requests else requests
        usd = min(requests * max(self.worst), rounds * sum(self.worst, Decimal(0)))
        size = min(requests * max(self.sizes), rounds * sum(self.sizes))
        self.batch.reserve(requests, most_bytes=size, worst_usd=usd)

    def client(self) -> BatchClient:
        assert self.batch is not None
        return BatchClient(self.batch, key=self.server.key, timeout_s=self.server.timeout_s)

    async def ask(
        self,
        client: BatchClient,
        question: Question,
        *,
        due: float,
        at_s: float = 0.0,
        begun: Callable[[], None] = lambda: None,
    ) -> Timing:
        """One streamed request, timed from `due` on perf_counter. Faults are the Timing's error."""
        assert self.batch is not None
        stream, timing = _Stream(), None
        call = self.batch.call(question.item, question.kinds, self.worst_of[id(question)])
        try:
            timing = await _ask(client, self.server, question, stream, call.tag, due=due, at_s=at_s, begun=begun)
        finally:
            status = STOPPED if timing is None else timing.error or "answered"
            self.batch.ended(call, status, stream.usage, may_be_billed=_may_be_billed(status))
        return timing


def _may_be_billed(status: str) -> bool:
    """A refusal costs nothing; a gateway's time-out says nothing of what the server behind it did."""
    return status != "no_connection" and (
        not status.startswith("http_") or status in ("http_408", "http_504", "http_524")
    )


_numbers = itertools.count(time.time_ns() // 1000)


def _body(server: Server, question: Question) -> dict[str, Any]:
    *before, last = question.messages
    body: dict[str, Any] = {
        "model": server.model,
        "messages": [*before, {**last, "content": f"{next(_numbers) % 10**9} {last['content']}"}],
        "max_tokens": question.tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return {**body, "ignore_eos": True, "min_tokens": question.tokens} if server.pin_lengths else body


async def _ask(
    client: BatchClient,
    server: Server,
    question: Question,
    stream: _Stream,
    tag: str,
    *,
    due: float,
    at_s: float,
    begun: Callable[[], None],
) -> Timing:
    late = 1000 * (time.perf_counter() - due)
    try:
        async with (
            asyncio.timeout(server.timeout_s),
            client.stream(
                "POST", f"{server.base_url}/chat/completions", json=_body(server, question), headers={TAG: tag}
            ) as response,
        ):
            if response.status_code != 200:
                return Timing(at_s, late, None, None, None, None, f"http_{response.status_code}")
            lines = _lines(response)
            async for line in lines:
                if stream.read(line) and stream.pieces == 1:
                    begun()
                if stream.done:
                    break
            async with asyncio.timeout(DRAIN_S):  # to the body's end, for the next request to find the connection open
                async for _ in lines:
                    pass
    except (TimeoutError, httpx2.HTTPError, OSError) as e:
        if stream.done:
            return stream.timing(due, at_s, late, question.tokens)
        if isinstance(e, TimeoutError | httpx2.TimeoutException):
            return Timing(at_s, late, None, None, None, None, "timeout")
        if _has_errno(e, OUT_OF_SOCKETS):
            raise _OutOfSockets(
                "the client ran out of sockets: raise its limit of open files (ulimit -n) or of local ports"
            ) from e
        if isinstance(e, httpx2.ConnectError):
            return Timing(at_s, late, None, None, None, None, "no_connection")
        return Timing(at_s, late, None, None, None, None, "connection_lost")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return Timing(at_s, late, None, None, None, None, "unreadable_response")
    return stream.timing(due, at_s, late, question.tokens)


async def _lines(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Lines that end in a line feed; httpx2's own also end at U+2028, which may stand inside a chunk's JSON."""
    rest = b""
    async for data in response.aiter_bytes():
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line


class _Stream:
    """Server-sent events of one answer: when its first and last tokens came, and how many there were."""

    def __init__(self) -> None:
        self.first = self.last = 0.0
        self.pieces = 0
        self.usage: dict[str, Any] | None = None
        self.finished = self.done = False
        self.error: str | None = None

    def read(self, line: bytes) -> bool:
        """Whether the line brought a piece of the answer."""
        if not line.startswith(b"data:"):
            return False
        data = line[5:].strip()
        if data == b"[DONE]":
            self.done = True
            return False
        chunk = json.loads(data)
        if chunk.get("error"):
            self.error, self.done = "error_in_stream", True
            return False
        self.usage = read_usage(chunk.get("usage")) or self.usage
        came = False
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            self.finished = self.finished or choice.get("finish_reason") is not None
            came = came or self.finished or any(delta.get(k) for k in ("content", "reasoning_content", "reasoning"))
        if came:
            self.last = time.perf_counter()
            self.first = self.first or self.last
            self.pieces += 1
        return came

    def timing(self, due: float, at_s: float, late: float, most: int) -> Timing:
        """most: tokens that were asked for. A count above it, or below what was seen to come, is not believed."""
        if self.error or not self.finished:
            return Timing(at_s, late, None, None, None, None, self.error or "half_answer")
        told = self.usage["completion_tokens"] if self.usage is not None else 0
        is_possible = max(1, self.pieces - 1) <= told <= most  # the last piece may be the end alone
        tokens = told if is_possible else self.pieces
        each = 1000 * (self.last - self.first) / (tokens - 1) if tokens > 1 else None
        return Timing(at_s, late, 1000 * (self.first - due), each, 1000 * (self.last - due), tokens)


def _has_errno(e: BaseException | None, numbers: Collection[int]) -> bool:
    while e is not None:
        if isinstance(e, OSError) and e.errno in numbers:
            return True
        if isinstance(e, BaseExceptionGroup):  # one for every address of a host
            return any(_has_errno(one, numbers) for one in e.exceptions)
        e = e.__cause__ or e.__context__
    return False


def alone(server: Server, mix: Sequence[Question], *, number: int, seed: int) -> list[Timing]:
    """Requests one after another on a server that does nothing else. Raises LoadError where it answers none."""
    found = _in_turn(server, list(itertools.islice(questions(mix, seed=(seed, 8)), number)))
    if all(t.error for t in found):
        raise LoadError(
            f"{server.base_url} answers none of {number} requests for model {server.model!r}: {found[-1].error}."
            " Check the address, the model's name and the key of this server in evaluation.load.servers."
        )
    return found


def _in_turn(server: Server, asked: Sequence[Question]) -> list[Timing]:
    async def ask_all(way: _Way) -> list[Timing]:
        async with way.client() as client:
            return [await way.ask(client, q, due=time.perf_counter()) for q in asked]

    with _Way(server, asked).open() as way:
        way.reserve(len(asked))
        return asyncio.run(ask_all(way))


class _Rest:
    """Whether the server has come to rest: its shortest question takes no longer than when it was idle."""

    def __init__(self, server: Server, mix: Sequence[Question]) -> None:
        shortest = min(mix, key=lambda q: (sum(len(m["content"]) for m in q.messages), q.tokens))
        self.server, self.probe = server, replace(shortest, tokens=1)
        idle = [self._once() for _ in range(5)]
        self.limit_ms = 2 * statistics.median(idle) + 20

    def _once(self) -> float:
        timing = _in_turn(self.server, [self.probe])[0]
        return timing.latency_ms if timing.latency_ms is not None else float("inf")

    def wait(self) -> bool:
        """True once it is at rest; False where that takes too long."""
        deadline = time.monotonic() + REST_LIMIT_S
        while self._once() > self.limit_ms:
            if time.monotonic() > deadline:
                return False
            time.sleep(PAUSE_S)
        return True


def capacity(
    server: Server, mix: Sequence[Question], slo: Slo, plan: Plan, *, on_run: Callable[[Run], None] = lambda _: None
) -> tuple[Capacity, list[Timing]]:
    """The highest rate inside the service level, and the timings of single requests on the idle server.

    Raises LoadError where the server answers nothing, BudgetError where the next run might cost more than is left.
    """
    deadline = time.monotonic() + 60 * plan.max_minutes
    alone(
        replace(server, timeout_s=FIRST_ANSWER_S), mix, number=IDLE_REQUESTS, seed=plan.seed
    )  # not counted: a server warms up
    idle = alone(server, mix, number=IDLE_REQUESTS, seed=plan.seed)
    reason = _too_slow_alone(idle, slo)
    if reason is not None:
        return Capacity(None, None, reason, (), (), hopeless=True), idle
    rest = _Rest(server, mix)

    def one(rate: float, repeat: int) -> Run:
        if rest.wait():
            run = measure(server, mix, rate, plan=plan, repeat=repeat, slo=slo)
        else:
            run = Run(rate, plan.seconds, repeat, 0, (), f"the server did not come to rest within {REST_LIMIT_S:g} s")
        on_run(run)
        return run

    def out_of_time() -> bool:
        return time.monotonic() + plan.warm_up_s + plan.seconds > deadline

    if plan.rates:
        return latency.at_rates(one, slo, rates=plan.rates, repeats=plan.repeats, out_of_time=out_of_time), idle
    each_s = statistics.fmean(t.latency_ms for t in idle if t.latency_ms is not None) / 1000
    found = latency.search(
        one, slo, first_rate=1 / each_s, precision=plan.precision, repeats=plan.repeats, out_of_time=out_of_time
    )
    return found, idle


def most_requests(plan: Plan, *, timeout_s: float) -> int | None:
    """Requests of a test at given rates at most, the probes of `_Rest` aside; None where the rates are searched for.

    After a run's own requests arrivals go on until the last of them has ended, at most for the time limit: Poisson, so the
    number is six standard deviations above the mean.
    """
    if not plan.rates:
        return None
    found = 2 * IDLE_REQUESTS
    for rate in plan.rates:
        tail = rate * (timeout_s + 2 * PAUSE_S)
        each = round(rate * plan.warm_up_s) + round(rate * plan.seconds) + math.ceil(tail + 6 * math.sqrt(tail) + 10)
        found += plan.repeats * each
    return found


def _too_slow_alone(idle: Sequence[Timing], slo: Slo) -> str | None:
    for name, bound in slo.bounds().items():
        values = latency.column(idle, name)
        if values and statistics.median(values) > bound:
            shown = f"{statistics.median(values):.0f} ms" if statistics.median(values) < float("inf") else "no answer"
            return f"a single request on the idle server has {name} {shown}, above the bound of {bound:g} ms"
    return None


def record(found: Capacity, idle: Sequence[Timing], slo: Slo, plan: Plan, mix: Sequence[Question]) -> dict[str, Any]:
    """What capacity.json says of one server."""
    return {
        "requests_per_second": found.requests_per_second,
        "above": found.above,
        "reason": found.reason,
        "keeps_level": found.keeps_level,
        "slo_p95_ms": slo.bounds(),
        "seconds": plan.seconds,
        "warm_up_s": plan.warm_up_s,
        "seed": plan.seed,
        "questions": len(mix),
        "answer_tokens": statistics.fmean(q.tokens for q in mix),
        "idle_ms": {
            name: statistics.median(v) if (v := [x for x in latency.column(idle, name) if x < float("inf")]) else None
            for name in latency.CRITERIA
        },
        "rates": latency.table(found.runs),
    }
