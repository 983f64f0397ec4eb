"""What replicas are sent, that a failed promotion leaves each as it was, and that what stays here asks no proxy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from evaluation.egress import EgressError, Guard, Policy
from evaluation.results import Item
from pipelines.serving import golden, loopback
from pipelines.serving.candidate import Candidate, TargetError
from pipelines.serving.golden import Golden
from pipelines.targets import directory, vllm
from pipelines.training.base import Base
from tests.evaluation.test_egress import IBAN, listening, own_address
from tests.serving.replica_server import ReplicaServer, replica
from tests.serving.test_parity import GOLDEN

OPEN = replace(GOLDEN, sensitivity="shareable")
PROXIES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY")


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A proxy that the environment names for every address."""
    with listening() as server:
        for name in PROXIES:
            monkeypatch.setenv(name, server.url.removesuffix("/v1"))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield server


def candidate(guard: Guard, *recorded: Golden) -> Candidate:
    base = Base(Path("base"), "base", "revision", "template", "weights")
    return Candidate("desk", "desk@new", Path("adapter"), base, recorded, 0.02, Path("work"), guard)


def promote(url: str, made: Candidate) -> list[str]:
    return vllm.promote(made, replicas=(url,), base_model="base", adapters_dir="adapters")


def prove(servers: list[ReplicaServer], made: Candidate) -> list[str]:
    fleet = [vllm.Replica(server.url, "NO_KEY", 5, made.guard) for server in servers]
    for one in fleet:
        one.may_be_asked(made.golden)
    return vllm.prove(fleet, made, "base", "/adapters/desk@new")


# ---- what may be sent


def items(*texts: str, sensitivity: str = "shareable", task: str = "triage") -> list[Item]:
    return [
        Item(f"{task}/{sensitivity}{n}", task, ({"role": "user", "content": text},), "x", (), (), "g", sensitivity)  # type: ignore[arg-type]
        for n, text in enumerate(texts)
    ]


def test_golden_prompts_are_rows_that_may_leave_where_there_are_any() -> None:
    inside = items(*"abcdef", sensitivity="local_only") + items(f"pay to {IBAN}", task="draft")
    outside = items("g", "h") + items("i", task="extract")
    for seed in range(5):
        chosen = golden.choose(inside + outside, Policy(), number=6, seed=seed)
        assert {i.id for i in chosen} == {i.id for i in outside}
        assert {i.task for i in chosen[:2]} == {"triage", "extract"}, "tasks in turn"
        assert len(golden.choose(inside, Policy(), number=6, seed=seed)) == 6
        nothing = Policy(sensitivity=())
        assert len(golden.choose(inside + outside, nothing, number=10, seed=seed)) == 10
    orders = {tuple(i.id for i in golden.choose(outside, Policy(), number=3, seed=seed)) for seed in range(20)}
    assert len(orders) > 1, "the seed decides"


def test_a_golden_file_survives_separators_in_its_texts_and_an_old_one_stays_here(tmp_path: Path) -> None:
    odd = replace(OPEN, tuned_text="a\u2028b\u2029c\u0085d")
    golden.save([odd, OPEN], tmp_path / "golden.jsonl")
    assert golden.load(tmp_path / "golden.jsonl") == [odd, OPEN]
    earlier = asdict(OPEN)
    del earlier["sensitivity"]
    (tmp_path / "golden.jsonl").write_text(json.dumps(earlier) + "\n")
    (loaded,) = golden.load(tmp_path / "golden.jsonl")
    assert loaded.sensitivity == "local_only"


@pytest.mark.parametrize(
    "kept",
    [GOLDEN, replace(OPEN, messages=({"role": "user", "content": f"pay to {IBAN}"},))],
    ids=["local_only", "blocked_kind"],
)
def test_a_prompt_that_must_stay_is_sent_to_no_other_machine(kept: Golden) -> None:
    with replica([kept, OPEN], own_address()) as server:
        with pytest.raises(TargetError, match=r"is another machine, and 1 of 2 golden prompts must not leave .*\(t1\)"):
            promote(server.url, candidate(Guard(), OPEN, kept))
        assert server.asked == []
    with replica([kept, OPEN]) as server:
        assert prove([server], candidate(Guard(), OPEN, kept)), "this machine may be asked anything"


def test_a_replica_outside_egress_destinations_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "desk@old").mkdir()
    guard = Guard(Policy(destinations=("gpu.firm.example",)))
    with replica([OPEN], own_address()) as server:
        with pytest.raises(EgressError, match=r"not among egress\.destinations \(gpu\.firm\.example\)"):
            promote(server.url, candidate(guard, OPEN))
        with pytest.raises(EgressError, match=r"not among egress\.destinations"):
            vllm.rollback(
                "desk", "desk@old", guard, replicas=(server.url,), base_model="base", adapters_dir=str(tmp_path)
            )
        assert server.asked == []


def test_what_replicas_are_sent_leaves_receipts_and_passes_by_proxies(tmp_path: Path, proxy: Any) -> None:
    guard = Guard(ledger=tmp_path / "egress.jsonl")
    with replica([OPEN], own_address()) as far, replica([OPEN]) as near:
        told = prove([far, near], candidate(guard, OPEN))
        assert len(told) == 2
        assert [route for route, _ in far.asked] == [
            "/v1/chat/completions", "/v1/load_lora_adapter", "/v1/chat/completions",
        ]  # fmt: skip
        urls = {far.url, near.url}
    guard.close()
    assert proxy.received == b""
    lines = [json.loads(line) for line in (tmp_path / "egress.jsonl").read_text().splitlines()]
    calls, ends = [r for r in lines if "purpose" in r], [r for r in lines if "status" in r]
    assert {c["destination"] for c in calls} == urls
    assert [(c["purpose"], c["row"], c["model"]) for c in calls[:3]] == [
        ("promote", "t1", "base"), ("promote", "", "desk@new"), ("promote", "t1", "desk@new"),
    ]  # fmt: skip
    assert [(e["status"], e["usd"]) for e in ends] == [("answered", "0")] * 6


def test_a_redirect_of_a_replica_is_not_followed() -> None:
    with replica([OPEN]) as server, replica([OPEN]) as other:
        server.redirects_to = other.url
        with pytest.raises(TargetError, match=f"HTTP 307: redirects to {other.url}/v1/chat/completions, which is not"):
            prove([server], candidate(Guard(), OPEN))
        assert other.asked == []


# ---- what a failure leaves


@contextmanager
def fleet_of(number: int) -> Iterator[tuple[list[ReplicaServer], list[vllm.Replica]]]:
    with ExitStack() as stack:
        servers = [stack.enter_context(replica([OPEN])) for _ in range(number)]
        guard = Guard()
        yield servers, [vllm.Replica(server.url, "NO_KEY", 5, guard) for server in servers]


def test_a_first_promotion_that_fails_on_one_replica_leaves_the_alias_on_none() -> None:
    with fleet_of(2) as (servers, fleet):
        servers[1].refuses.add("desk")
        with pytest.raises(TargetError, match=f"{servers[1].url}.*HTTP 500: out of memory"):
            vllm.move_alias(fleet, "desk", "/adapters/new", previous=None)
        assert [server.adapters for server in servers] == [{}, {}]


def test_each_replica_is_undone_by_itself_and_the_first_error_is_told() -> None:
    with fleet_of(3) as (servers, fleet):
        for server in servers:
            server.adapters["desk"] = "/adapters/old"
        servers[0].refuses.add("/adapters/old")
        servers[2].refuses.add("desk")
        with pytest.raises(TargetError) as told:
            vllm.move_alias(fleet, "desk", "/adapters/new", previous="/adapters/old")
        assert [server.adapters["desk"] for server in servers] == ["/adapters/new", "/adapters/old", "/adapters/old"]
        assert str(told.value).startswith(f"{servers[2].url}/v1/load_lora_adapter: HTTP 500")
        assert (
            f"desk still points at the new version on 1 replica(s), where that could not be undone: {servers[0].url}"
            in (str(told.value))
        )


def test_an_alias_that_does_not_move_is_no_success() -> None:
    with fleet_of(1) as ((server,), (one,)):
        one.load("desk@new", "/adapters/new")
        one.load("desk@new", "/adapters/new")  # an immutable name: what is there is the same
        server.adapters["desk"], server.knows_in_place = "/adapters/old", False
        with pytest.raises(TargetError, match="already been loaded"):
            one.load("desk", "/adapters/new", in_place=True)


def test_a_rollback_reaches_every_replica_that_answers(tmp_path: Path) -> None:
    (tmp_path / "desk@old").mkdir()
    with fleet_of(3) as (servers, _):
        for server in servers:
            server.adapters["desk"] = str(tmp_path / "desk@new")
        servers[1].refuses.add("desk")

        def rollback() -> list[str]:
            urls = tuple(server.url for server in servers)
            return vllm.rollback(
                "desk", "desk@old", Guard(), replicas=urls, base_model="base", adapters_dir=str(tmp_path)
            )

        with pytest.raises(TargetError, match=rf"{servers[1].url}.*desk is back at desk@old on 2 of 3 replicas"):
            rollback()
        assert [Path(server.adapters["desk"]).name for server in servers] == ["desk@old", "desk@new", "desk@old"]
        servers[1].refuses.clear()
        assert rollback() == ["alias: desk -> desk@old on 3 replica(s)"]
        assert Path(servers[1].adapters["desk"]).name == "desk@old"


# ---- the loopback server


def test_the_loopback_server_is_waited_for_past_a_proxy(tmp_path: Path, proxy: Any) -> None:
    with listening() as server:
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        try:
            loopback._wait_until_healthy(process, server.url.replace("/v1", "/health"), tmp_path / "log")
        finally:
            process.kill()
            process.wait()
        assert (server.requests, proxy.received) == (1, b"")


def test_golden_prompts_are_put_to_the_loopback_server_past_a_proxy(
    monkeypatch: pytest.MonkeyPatch, proxy: Any
) -> None:
    with listening() as server:

        @contextmanager
        def serve(*_: Any) -> Iterator[loopback.Served]:
            yield loopback.Served(server.url, "m")

        monkeypatch.setattr(loopback, "serve", serve)
        said = replace(GOLDEN, tuned_text="billing")
        told = directory._served(candidate(Guard(), said), Path("version"))
        assert told == "parity: loopback server answers 1 golden prompts as evaluation recorded"
        assert (server.requests, proxy.received) == (1, b"")
