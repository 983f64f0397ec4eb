"""Latency and capacity: percentiles and search against queueing theory, the load generator against a real server."""

from __future__ import annotations

import itertools
import json
import math
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.records import ChatMessage, UserError
from evaluation import latency, load
from evaluation.egress import Guard
from evaluation.latency import Capacity, Run, Slo, Timing
from evaluation.load import LoadError, Plan, Question, Server
from evaluation.results import Answer, Item
from evaluation.summary import View, speed_table
from pipelines import artifacts, economics, load_test
from pipelines.recipe import Egress, Evaluation, Model, Recipe
from pipelines.stages import How
from tests.evaluation.queue_server import QueueServer, lindley, md1_rate, md1_wait_at_most, serving

SERVICE = 0.01  # seconds a request in the simulated queue
MIX = [Question(({"role": "user", "content": f"Question {n}"},), 4) for n in range(7)]


def simulated(seed: int, *, seconds: float = 60.0, service: float = SERVICE) -> latency.Measure:
    """One run of the M/D/1 queue on paper, from the arrivals that a real run would have."""

    def measure(rate: float, repeat: int) -> Run:
        due = list(itertools.islice(load.arrivals(rate, seed=(seed, repeat), parts=(seconds,)), round(rate * seconds)))
        times = 1000 * lindley(due, service)
        timings = [Timing(t, 0.0, ms, None, ms, 1) for t, ms in zip(due, times, strict=True)]
        return Run(rate, seconds, repeat, len(due), tuple(timings))

    return measure


def find(measure: latency.Measure, slo: Slo, **options: object) -> Capacity:
    given = {"first_rate": 100.0, "precision": 0.05, "repeats": 3, "out_of_time": lambda: False, **options}
    return latency.search(measure, slo, **given)  # type: ignore[arg-type]


# ---- percentiles


@given(st.lists(st.one_of(st.floats(0, 1e6), st.just(math.inf)), min_size=1, max_size=300), st.floats(0, 1e6))
@settings(deadline=None, max_examples=100)
def test_p95_is_within_a_bound_exactly_where_at_most_one_in_twenty_missed_it(values: list[float], bound: float) -> None:
    found = latency.quantile(values, 0.95)
    missed = sum(v > bound for v in values)
    assert (found.value is not None and found.value <= bound) == (missed <= latency.allowed_misses(len(values)))
    assert found.low is None or found.value is None or found.low <= found.value
    assert found.high is None or found.value is None or found.value <= found.high


def test_six_failures_in_a_hundred_leave_no_p95_and_five_do() -> None:
    good = [float(n) for n in range(94)]
    assert latency.quantile([*good, *[math.inf] * 6], 0.95).value is None
    assert latency.quantile([*good, 200.0, *[math.inf] * 5], 0.95).value == 200.0


def single_answers(failed: int, *, kept_back: int = 0, timed: bool = True) -> dict[str, Any]:
    """The speed table's row of 100 questions, mixed: some failed, the others were answered in 1, 2, … ms."""
    items = [Item(f"i{n:03}", "triage", (), "a", ("a",), (), f"g{n}", "shareable") for n in range(100 + kept_back)]
    answers = [
        Answer(i.id, "api", None, error="local_only", attempts=0) if n >= 100
        else Answer(i.id, "api", None, error="timeout") if 37 * n % 100 < failed
        else Answer(i.id, "api", "a", latency_ms=float(37 * n % 100 - failed + 1) if timed else None)
        for n, i in enumerate(items)
    ]  # fmt: skip
    (row,) = speed_table(View.of(items, answers, []), ["api"])
    return row


def test_a_question_asked_in_vain_is_slower_than_any_answer_of_the_report() -> None:
    quick = single_answers(0)
    assert (quick["p50_ms"], quick["p95_ms"], quick["p99_ms"], quick["unanswered"]) == (50, 95, 99, 0)
    assert quick["p95_ms_low"] < 95 < quick["p95_ms_high"]
    assert quick["p99_ms_high"] is None, "100 answers have no upper end of p99"
    five = single_answers(5)
    assert (five["p95_ms"], five["p95_ms_high"]) == (95, None)
    six = single_answers(6)
    assert (six["p95_ms"], six["p50_ms"], six["unanswered"]) == (None, 50, 6)
    assert single_answers(5, kept_back=20)["p95_ms"] == 95, "what was never asked is no failure"
    batch = single_answers(6, timed=False)
    assert (batch["p50_ms"], batch["unanswered"]) == (None, 0), "a batch has no latency, and none that failed"
    assert quick["first_token_p95_ms"] is None


def test_too_few_requests_have_no_upper_end_of_p99() -> None:
    assert latency.quantile([float(n) for n in range(100)], 0.99).high is None


def test_independent_requests_count_in_full_and_runs_of_ten_alike_as_one() -> None:
    rng = np.random.default_rng(1)
    assert latency.effective_number(rng.random(4000) < 0.3) > 3000
    alike = np.repeat(rng.random(400) < 0.3, 10)
    assert 250 < latency.effective_number(alike) < 600


def test_intervals_cover_in_a_queue_where_independent_ones_would_not() -> None:
    rate, n, true = 70.0, 800, None
    for t in np.arange(0, 0.2, 0.0002):  # the 95th percentile of M/D/1, from its distribution
        if md1_wait_at_most(float(t), rate, SERVICE) >= 0.95:
            true = 1000 * (t + SERVICE)
            break
    assert true is not None
    covered = naive = 0
    for seed in range(200):
        due = list(itertools.islice(load.arrivals(rate, seed=(seed,)), n + 200))
        values = list(1000 * lindley(due, SERVICE)[200:])
        q = latency.quantile(values, 0.95)
        covered += (q.low or 0) <= true <= (q.high or math.inf)
        low, high = latency._order_statistics(n, 0.95, n, 0.95)
        naive += sorted(values)[low - 1] <= true <= sorted(values)[high - 1]
    assert covered >= 170
    assert naive <= 140


# ---- arrivals and the search


def test_arrivals_are_poisson_and_as_many_as_the_rate_says() -> None:
    for seed in range(20):
        due = np.array(
            list(itertools.takewhile(lambda t: t < 25.0, load.arrivals(40.0, seed=(seed,), parts=(5.0, 20.0))))
        )
        assert ((due < 5.0).sum(), (due >= 5.0).sum()) == (200, 800)
        counts = np.bincount((2 * due).astype(int), minlength=50)  # half seconds: Poisson counts have variance = mean
        assert 0.5 < counts.var() / counts.mean() < 1.7
    stretched = list(itertools.islice(load.arrivals(20.0, seed=(3,), parts=(10.0,)), 200))
    assert np.allclose(
        np.array(stretched) / 2, list(itertools.islice(load.arrivals(40.0, seed=(3,), parts=(5.0,)), 200))
    )


def test_the_search_finds_the_rate_that_theory_gives_within_a_tenth() -> None:
    bound = 50.0
    true = md1_rate(bound / 1000, SERVICE)
    found = [find(simulated(seed), Slo(latency_ms=bound)).requests_per_second or 0 for seed in range(20)]
    assert all(abs(rate / true - 1) < 0.10 for rate in found), (true, found)


@pytest.mark.parametrize("first_rate", [1.0, 30.0, 1000.0])
def test_where_the_search_begins_matters_little(first_rate: float) -> None:
    true = md1_rate(0.05, SERVICE)
    found = find(simulated(3), Slo(latency_ms=50.0), first_rate=first_rate)
    assert found.requests_per_second == pytest.approx(true, rel=0.1)
    assert found.above is not None
    assert found.above / (found.requests_per_second or 0) <= 1.05 + 1e-9


def test_the_same_seed_finds_the_same_rate() -> None:
    assert find(simulated(5), Slo(latency_ms=50.0)) == find(simulated(5), Slo(latency_ms=50.0))


def test_a_settled_rate_is_not_run_again() -> None:
    found = find(simulated(1), Slo(latency_ms=50.0))
    runs = [sum(r.rate == level.rate for r in found.runs) for level in found.levels]
    assert min(runs) == 1
    assert max(runs) <= 3


def test_the_tightest_bound_decides() -> None:
    loose, tight = Slo(first_token_ms=50.0, latency_ms=500.0), Slo(first_token_ms=500.0, latency_ms=50.0)
    assert find(simulated(1), loose).requests_per_second == find(simulated(1), tight).requests_per_second


def test_time_that_runs_out_leaves_what_was_proved_and_says_so() -> None:
    left = iter([False, False, False, *[True] * 50])
    found = find(simulated(1), Slo(latency_ms=50.0), first_rate=10.0, out_of_time=lambda: next(left))
    assert found.requests_per_second is not None
    assert "time" in (found.reason or "")


def test_a_late_client_is_no_capacity() -> None:
    def late(rate: float, repeat: int) -> Run:
        return Run(rate, 60.0, repeat, 0, (), "the client was late")

    found = find(late, Slo(latency_ms=50.0))
    assert (found.requests_per_second, found.keeps_level) == (None, None)
    assert "the client was late" in (found.reason or "")


@pytest.mark.parametrize(("late_from", "is_reason"), [(75.0, False), (30.0, True)])
def test_a_client_that_is_late_far_above_the_capacity_does_not_end_the_search(
    late_from: float, is_reason: bool
) -> None:
    """At 20 ms a request the capacity is near 40/s; a client that is late from 30/s on leaves it unproved, and says so."""
    honest = simulated(1)

    def late(rate: float, repeat: int) -> Run:
        return Run(rate, 60.0, repeat, 0, (), "the client was late") if rate >= late_from else honest(rate, repeat)

    slo = Slo(latency_ms=50.0)
    found, alone = find(late, slo, first_rate=20.0), find(honest, slo, first_rate=20.0)
    assert found.requests_per_second is not None
    if is_reason:
        assert 30 / 1.05 <= found.requests_per_second < 30
        assert (found.above, "the client was late" in (found.reason or "")) == (None, True)
    else:
        assert found.requests_per_second == pytest.approx(alone.requests_per_second, rel=0.1)
        assert found.above is not None
        assert found.reason is None


def test_errors_are_misses_of_every_bound() -> None:
    timings = [Timing(n, 0.0, 1.0, 1.0, 1.0, 4, "http_500" if n % 10 == 0 else None) for n in range(200)]
    level = latency.judge([Run(1.0, 60.0, 0, 200, tuple(timings))], Slo(first_token_ms=50.0, inter_token_ms=50.0))
    assert not level.kept
    assert level.sure
    assert level.misses == {"first_token_ms": 0.1, "inter_token_ms": 0.1}


def test_a_server_that_keeps_no_rate_ends_the_search_with_a_reason() -> None:
    found = find(simulated(1), Slo(latency_ms=5.0))
    assert (found.requests_per_second, found.keeps_level) == (None, False)
    assert "even at" in (found.reason or "")


def test_given_rates_end_at_the_first_that_misses() -> None:
    found = latency.at_rates(
        simulated(1), Slo(latency_ms=50.0), rates=(95.0, 20.0, 60.0), repeats=2, out_of_time=lambda: False
    )
    assert (found.requests_per_second, found.above, found.reason) == (60.0, 95.0, None)


# ---- the generator against a real server


def plan(**options: object) -> Plan:
    given = {"seconds": 2.0, "warm_up_s": 0.3, "seed": 11, "max_late_ms": 1000.0, **options}
    return Plan(**given)  # type: ignore[arg-type]


LOOSE = Slo(latency_ms=10_000.0)


def run(server: QueueServer, rate: float, slo: Slo = LOOSE, **options: object) -> Run:
    return load.measure(Server(server.url, "m", timeout_s=2.0), MIX, rate, plan=plan(**options), repeat=0, slo=slo)


def test_waits_in_a_real_queue_are_those_of_an_independent_simulation_of_the_same_arrivals() -> None:
    service, rate = 0.06, 13.0
    with serving(QueueServer(service)) as server:
        done = run(server, rate, seconds=4.0)
    due = list(itertools.takewhile(lambda t: t < 4.3, load.arrivals(rate, seed=(11, 0), parts=(0.3, 4.0))))
    expected = [1000 * s for t, s in zip(due, lindley(due, service), strict=True) if t >= 0.3]
    assert done.whole
    assert done.fault is None
    assert len(expected) == len(done.timings)
    for q in (0.5, 0.95):
        seen = latency.quantile(latency.column(done.timings, "latency_ms"), q).value
        assert seen == pytest.approx(latency.quantile(expected, q).value, rel=0.1, abs=30)  # other work on two cores


def test_first_token_pace_and_tokens_are_told_apart() -> None:
    with serving(QueueServer(0.2, workers=None)) as server:
        done = run(server, 15.0)
    middle = {name: latency.quantile(latency.column(done.timings, name), 0.5).value for name in latency.CRITERIA}
    assert middle["first_token_ms"] == pytest.approx(50, abs=20)
    assert middle["inter_token_ms"] == pytest.approx(50, abs=5)
    assert middle["latency_ms"] == pytest.approx(200, abs=25)
    assert {t.tokens for t in done.timings} == {4}


def test_requests_leave_when_due_however_many_are_under_way() -> None:
    with serving(QueueServer(1.2, workers=None)) as server:
        done = run(server, 150.0, seconds=1.0, warm_up_s=0.0)
    assert server.most_at_once > 110  # a pool of 100 connections, or a closed loop, would hold them back
    assert done.fault is None


def test_no_prompt_is_sent_twice_and_the_length_is_asked_for() -> None:
    with serving(QueueServer(0.001, workers=None)) as server:
        run(server, 50.0, seconds=1.0)
    prompts = [b["messages"][-1]["content"] for b in server.bodies]
    assert len(set(prompts)) == len(prompts) > 20
    assert {b["max_tokens"] for b in server.bodies} == {4}


def test_a_slow_start_is_left_out_with_the_warm_up() -> None:
    with serving(QueueServer(0.005, workers=None, slow_until_s=0.6)) as server:
        done = run(server, 60.0, seconds=1.0, warm_up_s=0.9)
    assert max(latency.column(done.timings, "latency_ms")) < 45


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("500", "http_500"), ("429", "http_429"), ("cut", "connection_lost"), ("half", "connection_lost"),
        ("garbage", "unreadable_response"), ("error", "error_in_stream"), ("hang", "timeout"),
    ],
)  # fmt: skip
def test_every_fault_is_an_error_of_its_request_alone(fault: str, error: str) -> None:
    with serving(QueueServer(0.002, workers=None, faults=(None, None, fault))) as server:
        target = Server(server.url, "m", timeout_s=0.5)
        done = load.measure(target, MIX, 40.0, plan=plan(seconds=0.8, warm_up_s=0), repeat=0, slo=Slo())
    errors = {t.error for t in done.timings}
    failed = sum(t.error is not None for t in done.timings)
    assert errors == {None, error}
    assert abs(failed - len(done.timings) / 3) <= 1


def test_a_run_that_is_lost_by_far_is_stopped_and_its_percentiles_are_not_told() -> None:
    began = time.perf_counter()
    with serving(QueueServer(0.05)) as server:
        done = run(server, 80.0, Slo(latency_ms=100.0), seconds=12.0)
    assert time.perf_counter() - began < 8
    assert not done.whole
    level = latency.judge([done], Slo(latency_ms=100.0))
    assert (level.kept, level.sure) == (False, True)
    (row,) = latency.table([done])
    assert row["latency_ms"]["p95"] is None


def test_a_client_that_cannot_keep_up_is_told_and_not_the_server() -> None:
    with serving(QueueServer(0.0, workers=None)) as server:
        done = run(server, 6000.0, seconds=0.5, warm_up_s=0.0, max_late_ms=25.0)
    assert "the client was late" in (done.fault or "")


def test_a_run_with_too_few_requests_says_so_and_sends_none() -> None:
    with serving(QueueServer(0.0)) as server:
        done = run(server, 5.0)
    assert "raise seconds" in (done.fault or "")
    assert server.count == 0


def test_the_next_run_waits_until_the_server_is_at_rest() -> None:
    with serving(QueueServer(0.01)) as server:
        rest = load._Rest(Server(server.url, "m"), MIX)
        server.free_at = time.perf_counter() + 0.6  # work that is left over
        began = time.perf_counter()
        assert rest.wait()
        assert time.perf_counter() - began > 0.5


@pytest.mark.slow
def test_capacity_of_a_real_server_is_within_a_tenth_of_theory() -> None:
    service, bound = 0.02, 120.0
    with serving(QueueServer(service)) as server:
        chosen = plan(seconds=5.0, warm_up_s=0.5, repeats=2)
        found, idle = load.capacity(Server(server.url, "m"), MIX, Slo(latency_ms=bound), chosen)
    assert found.reason is None, found
    assert found.requests_per_second == pytest.approx(md1_rate(bound / 1000, service), rel=0.10)
    kept = load.record(found, idle, Slo(latency_ms=bound), chosen, MIX)
    assert kept["requests_per_second"] < kept["above"]
    assert kept["idle_ms"]["latency_ms"] == pytest.approx(20, abs=8)


def test_a_bound_that_one_request_alone_misses_needs_no_search() -> None:
    with serving(QueueServer(0.03)) as server:
        found, _ = load.capacity(Server(server.url, "m"), MIX, Slo(latency_ms=10.0), plan())
    assert (found.requests_per_second, found.keeps_level) == (None, False)
    assert "a single request on the idle server" in (found.reason or "")


def test_a_server_that_refuses_everything_is_the_users_mistake() -> None:
    with serving(QueueServer(0.0, faults=("404",))) as server, pytest.raises(LoadError, match="http_404"):
        load.capacity(Server(server.url, "other"), MIX, Slo(latency_ms=10.0), plan())


@dataclass
class WatchingServer(QueueServer):
    """Notes how large the ledger is at every request."""

    ledger: Path = Path()
    sizes: list[int] = field(default_factory=list)

    async def answer(self, writer: Any) -> bool:
        self.sizes.append(self.ledger.stat().st_size)
        return await super().answer(writer)


def ledger_of(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Its calls and their ends."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    calls = [x for x in lines if "call" in x]
    return [c for c in calls if "purpose" in c], [c for c in calls if "status" in c]


def test_every_request_has_a_receipt_and_the_ledger_rests_while_they_leave(tmp_path: Path) -> None:
    ledger = tmp_path / "egress.jsonl"
    guard = Guard(ledger=ledger)
    mix = [Question(q.messages, q.tokens, f"i{n}") for n, q in enumerate(MIX)]
    with serving(WatchingServer(0.3, workers=None, ledger=ledger)) as server:
        target = Server(server.url, "m", timeout_s=2.0, guard=guard)
        done = load.measure(target, mix, 40.0, plan=plan(seconds=1.0), repeat=0, slo=LOOSE)
    guard.close()
    own = round(40 * 0.3) + 40
    assert done.whole
    assert len(set(server.sizes[:own])) == 1, "the run's own requests are reserved before the first of them"
    calls, ends = ledger_of(ledger)
    assert len(calls) == len(ends) >= server.count > own, "the load goes on until the last measured answer is there"
    assert {c["row"] for c in calls} == {q.item for q in mix}
    statuses = [e["status"] for e in ends]
    assert set(statuses) == {"answered", "stopped"}, "what was under way at the end is told too"
    assert statuses.count("answered") >= own
    sent = sum(len(json.dumps(b)) for b in server.bodies)
    assert sum(c["bytes"] for c in calls) > sent > 0


# ---- the load test of an evaluation


def asked(sensitivity: str = "shareable") -> list[tuple[Item, tuple[ChatMessage, ...]]]:
    prompt: tuple[ChatMessage, ...] = ({"role": "user", "content": "Where is my refund?"},)
    return [
        (Item(f"i{n}", task, prompt, "billing", (), (), "g", sensitivity), prompt)  # type: ignore[arg-type]
        for n, task in enumerate(["triage", "draft_reply"] * 3)
    ]


ANSWERS = {("base", f"i{n}"): Answer(f"i{n}", "base", "a", completion_tokens=3 + n % 2) for n in range(6)}


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4}, 4), ({"prompt_tokens": 9, "completion_tokens": 10**12}, 5),
        ({"prompt_tokens": 9, "completion_tokens": -5}, 5), ({"prompt_tokens": 9, "completion_tokens": True}, 5),
        ({"prompt_tokens": 9, "completion_tokens": "12"}, 5), ({"prompt_tokens": 9, "completion_tokens": 2}, 5), (None, 5), ([], 5),
    ],
)  # fmt: skip
def test_a_count_that_cannot_be_is_not_believed(usage: Any, tokens: int) -> None:
    stream = load._Stream()
    for n in range(5):
        stream.read(
            b"data: "
            + json.dumps(
                {"error": None, "choices": [{"delta": {"content": "a"}, "finish_reason": "stop" if n == 4 else None}]}
            ).encode()
        )
    stream.read(b"data: " + json.dumps({"choices": [], "usage": usage}).encode())
    timing = stream.timing(stream.first - 1, 0.0, 0.0, 4)
    assert (timing.tokens, timing.error) == (tokens, None)
    assert timing.inter_token_ms is not None


def test_a_connection_is_used_again_and_one_that_stays_open_after_the_end_is_no_miss() -> None:
    server = QueueServer(0.002, workers=None)
    with serving(server):
        timings = load.alone(Server(server.url, "m"), MIX, number=5, seed=0)
        assert server.connections == 1
        server.stays_open_s = 3.0
        began = time.perf_counter()
        timings += load.alone(Server(server.url, "m"), MIX, number=3, seed=0)
    assert [t.error for t in timings] == [None] * 8
    assert time.perf_counter() - began < 2


def recipe(folder: Path, url: str, **settings: object) -> Recipe:
    """A recipe with a load test of the arm base; nothing of it but this section is used."""
    evaluation = Evaluation.model_validate({
        "arms": ["base", "tuned"],
        "load": {
            "servers": [{"arm": "base", "base_url": url, "model": "m", "machine": "two cores"}],
            "p95": {"latency_ms": 100}, "rates": [40], "seconds": 1, "warm_up_s": 0.1, "max_late_ms": 1000, **settings,
        },
    })  # fmt: skip
    return Recipe.model_construct(
        name="desk", workdir=folder / "run", seed=3, evaluation=evaluation, egress=Egress(), model=Model(path=folder)
    )


def measured(made: Recipe, out: Path, how: How, sensitivity: str = "shareable") -> list[dict[str, Any]]:
    (out / artifacts.KEYED).mkdir(parents=True, exist_ok=True)
    return load_test.measure(made, out, lambda *_: asked(sensitivity), ANSWERS, lambda: pytest.fail("no base"), how)


def test_capacity_json_has_what_the_cost_model_reads_and_a_replay_asks_nobody(tmp_path: Path) -> None:
    out, how = tmp_path / "run" / "report", How(tmp_path)
    with serving(QueueServer(0.002, workers=None)) as server:
        made = recipe(tmp_path, server.url)
        (receipt,) = measured(made, out, how)
        assert receipt["requests"] == server.count > 60
        assert receipt["rows"] == 6
        assert receipt["stand_in"]
        assert {b["max_tokens"] for b in server.bodies} == {1, 3, 4}
    rows = load_test.read(out / load_test.CAPACITY)
    assert [(r["task"], r["arm"], r["requests_per_second"]) for r in rows] == [
        ("draft_reply", "base", 40.0), ("triage", "base", 40.0),
    ]  # fmt: skip
    assert rows[0]["machine"] == "two cores"
    assert economics.measured_capacity(out)["triage", "base"].requests_per_second == 40.0
    again = tmp_path / "again"
    measured(made, again, How(tmp_path, replay=True))  # the server is gone
    assert load_test.read(again / load_test.CAPACITY) == rows
    with pytest.raises(UserError, match="--replay asks nobody"):
        measured(recipe(tmp_path, server.url, seconds=2), tmp_path / "third", How(tmp_path, replay=True))


def test_the_service_level_is_a_gate_of_the_candidate_on_its_own_server(tmp_path: Path) -> None:
    out, how = tmp_path / "run" / "report", How(tmp_path)
    with serving(QueueServer(0.002, workers=None)) as server:
        measured(recipe(tmp_path, server.url, p95={"latency_ms": 500}, seconds=5), out, how)
    kept = load_test.read(out / load_test.CAPACITY)
    with serving(QueueServer(0.03)) as server:
        measured(recipe(tmp_path, server.url, p95={"latency_ms": 10}, rates=[]), tmp_path / "slow", how)
    missed = load_test.read(tmp_path / "slow" / load_test.CAPACITY)
    late = {**missed[0], "keeps_level": None, "reason": "at 3 requests a second: the client was late"}
    (passed,) = load_test.gates(kept, "base", ["triage"])
    assert passed.passed
    assert passed.measured is not None
    assert 0 < passed.measured < 0.5
    assert passed.sentence.startswith("Service level of triage (p95: latency_ms 500) on two cores: kept at 40 requests")
    (failed, _) = load_test.gates(missed, "base", ["triage", "draft_reply"])
    assert (failed.passed, failed.measured) == (False, None)
    assert "missed at every rate; a single request on the idle server has latency_ms" in failed.sentence
    (unknown,) = load_test.gates([late], "base", ["triage", "draft_reply"])
    assert unknown.passed is None
    assert "at no rate known to be kept; at 3 requests a second: the client was late" in unknown.sentence
    assert load_test.gates(missed, "tuned", ["triage"]) == []
    assert load_test.gates([{**m, "stand_in": True} for m in missed], "base", ["triage"]) == []


def test_local_only_rows_load_no_server_elsewhere_and_others_only_after_leave(tmp_path: Path) -> None:
    made = recipe(tmp_path, "https://models.firm.example/v1")
    with pytest.raises(UserError, match=r"may go to https://models\.firm\.example"):
        measured(made, tmp_path / "a", How(tmp_path), "local_only")
    with pytest.raises(UserError, match="Run the same command with --yes"):
        measured(made, tmp_path / "b", How(tmp_path))


PRICED = {"provider": "openai", "model": "gpt-4o-mini"}


def test_a_load_test_counts_toward_the_budget_of_the_whole_run(tmp_path: Path) -> None:
    out = tmp_path / "run" / "report"
    with serving(QueueServer(0.002, workers=None, prompt_tokens=1000)) as server:
        servers = [{"arm": "base", "base_url": server.url, "model": "m", "machine": "x", "price_as": PRICED}]
        made = recipe(tmp_path, server.url, servers=servers, tasks=["triage"])
        with pytest.raises(UserError, match=r"load of arm base: the budget of 0\.004 USD .* raise --budget-usd"):
            measured(made, out, How(tmp_path, budget_usd=Decimal("0.004")))
        alone = server.count
        assert 0 < alone < 40, "what could not be paid for was not begun"
        (receipt,) = measured(made, out, How(tmp_path, budget_usd=Decimal(1)))
        assert receipt["requests"] >= server.count > alone + 40
        answered = receipt["statuses"]["answered"]
    # 1,000 prompt tokens at 0.15 and 4 answer tokens at 0.60 USD a million; a call cut short at the end counts at its worst
    assert Decimal(receipt["usd"]) - Decimal(receipt["presumed_usd"]) == answered * Decimal("0.0001524")
    assert (tmp_path / "run" / "egress.jsonl").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seconds": 0.5}, "too short for a bound of 0.1 s"),
        ({"p95": {}}, "set a bound"),
        ({"servers": [{"arm": "api", "machine": "theirs"}]}, "the managed API is not loaded"),
        ({"servers": [{"arm": "rag", "machine": "ours"}]}, "load.servers has arm 'rag'"),
        ({"servers": [{"arm": "base", "machine": "a"}, {"arm": "base", "machine": "b"}]}, "two servers have the same arm"),
    ],
)  # fmt: skip
def test_a_load_test_that_could_prove_nothing_is_refused(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told):
        recipe(tmp_path, "http://127.0.0.1:9/v1", **change)
