"""What is shown beside the question: local_only examples and passages, and answers that leaned on them, stay in the house.

Pairing is what must stay here, tickets and document, and nothing else tells of a valve: so that word is looked for in what
arrived at a socket of this machine's own address, which to the guard is another machine.
"""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from data_prep.steps import Rule
from evaluation.egress import Guard
from evaluation.prices import price_list
from evaluation.providers.openai_compatible import Endpoint, answer
from evaluation.results import Answer
from evaluation.summary import View
from pipelines import evaluate, judging, load_test, recipe_file
from pipelines.recipe import Recipe
from pipelines.stages import How
from tests.evaluation.queue_server import QueueServer, serving
from tests.evaluation.test_egress import listening, own_address
from tests.evaluation.test_retrieval import build, desk_with_documents

YES = How(Path("desk.yaml"), yes=True)
ARMS = ["base", "few_shot", "tuned_rag", "api"]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset whose tickets and document about pairing are local_only."""
    folder = tmp_path_factory.mktemp("house")
    rules = (
        Rule("local_only", source="docs", kinds=("email",)),
        Rule("local_only", source="desk", fields={"topic": ("pairing",)}),
    )
    sources = desk_with_documents(folder, secret={"pairing": "Mail c3@mail.example, charged twice."})
    build(sources, folder / "runs" / "desk" / "dataset", rules=rules, tasks={"draft_reply": {"min_words": 5}})
    return folder


def recipe_of(house: Path, **evaluation: Any) -> Recipe:
    path = house / "desk.yaml"
    path.write_text(json.dumps({
        "name": "desk", "workdir": str(house / "runs" / "desk"), "model": {"path": "m"},
        "sources": [{"name": "desk", "kind": "zendesk", "path": "export"}, {"name": "docs", "kind": "markdown", "path": "documents"}],
        "dataset": {"test_from": "2026-02-10T00:00:00Z"}, "tasks": [{"kind": "draft_reply"}],
        "evaluation": {
            "arms": ARMS, "passages": 6, "few_shot_examples": 6, "few_shot_replies": 6, "max_new_tokens": 20,
            "api": {"examples": 6, "passages": 6}, **evaluation,
        },
        "decision": {"candidate": "tuned_rag", "baseline": "base", "must_pass": ["task=draft_reply"],
                     "hardware": {"name": "x", "usd_per_hour": 1, "source": "y", "date": "2026-11-01"}},
    }))  # fmt: skip
    loaded: Recipe = recipe_file.load(path)
    return loaded


def session_of(made: Recipe, out: Path) -> evaluate._Session:
    out.mkdir()
    return evaluate._Session(made, out, YES)


def test_worked_examples_and_passages_of_the_api_are_shareable_ones(house: Path, tmp_path: Path) -> None:
    session = session_of(recipe_of(house), tmp_path / "report")
    shareable = [i for i in session.items if i.sensitivity == "shareable"]
    assert 0 < len(shareable) < len(session.items)
    inside = [p for i, p in session._asked("few_shot") if i in shareable]
    assert "valve" in json.dumps(inside), "inside the house they are shown, so this test can fail"
    with listening(own_address()) as server:
        answer(
            Endpoint(server.url, "m", "key"), "api", session._asked("api"), set(), price_list(None, None),
            max_new_tokens=20, already_spent_usd=Decimal(0), keep=lambda _: None, guard=Guard(),
        )  # fmt: skip
        assert server.requests == len(shareable)
        assert server.received.count(b'"assistant"') == 6 * len(shareable), "examples there are"
        assert b"<<passages" in server.received
        assert b"valve" not in server.received


def test_a_load_test_elsewhere_sends_other_prompts_than_one_here(house: Path, tmp_path: Path) -> None:
    for host, word in (("127.0.0.1", True), (own_address(), False)):
        with serving(QueueServer(0.002, workers=None, host=host)) as server:
            servers = [
                {"arm": a, "base_url": server.url, "model": "m", "machine": "x"} for a in ("few_shot", "tuned_rag")
            ]
            made = recipe_of(
                house,
                load={"servers": servers, "p95": {"latency_ms": 100}, "rates": [40], "seconds": 1, "warm_up_s": 0},
            )
            session = session_of(made, tmp_path / f"report {host}")
            answers = {(a, i.id): Answer(i.id, a, "x", completion_tokens=2) for a in ARMS for i in session.items}
            receipts = load_test.measure(
                made, session.out, session._asked, answers, lambda: pytest.fail("no base"), YES
            )
            sent = json.dumps(server.bodies)
        assert sent.count("assistant") >= 6 * 16
        assert "<<passages" in sent
        assert ("valve" in sent) is word, "here they are shown, so this test can fail"
        kept = sum(i.sensitivity == "local_only" for i in session.items)
        assert [r["local_only_rows_kept_back"] for r in receipts] == [0 if word else kept] * 2


def test_a_judge_elsewhere_sees_no_answer_that_leaned_on_what_must_stay(house: Path, tmp_path: Path) -> None:
    for host, word in (("127.0.0.1", True), (own_address(), False)):
        (house / "runs" / "desk" / "egress.jsonl").unlink(missing_ok=True)
        with listening(host) as server:
            made = recipe_of(
                house,
                passages=1,
                judge={
                    "base_url": server.url, "model": "arbiter-7b", "families": {"arbiter-7b": "arbiter", "m": "llama"},
                },
            )  # fmt: skip
            session = session_of(made, tmp_path / f"report {host}")
            leaned = session.leaned()
            # what the passages said is in the answer
            found = [
                Answer(i.id, a, "SECRETWORD" if (a, i.id) in leaned else "plain" if a == "tuned_rag" else "no idea")
                for a in ("tuned_rag", "base")
                for i in session.items
            ]
            view = View.of(session.items, found, [])
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("JUDGE_API_KEY", "key")
                judged = judging.measure(made, session.out, view, None, YES, leaned)
            assert server.requests > 0
            assert (b"SECRETWORD" in server.received) is word, "here it is shown, so this test can fail"
            assert (b"valve" in server.received) is word
        must_stay = {i.id for i in session.items if i.sensitivity == "local_only" or ("tuned_rag", i.id) in leaned}
        assert (
            {i.id for i in session.items} > must_stay > {i.id for i in session.items if i.sensitivity == "local_only"}
        )
        read = judging.read(session.out)
        kept = {j.item for j in read if j.kind == "pair" and set(j.reasons) == {"local_only_not_sent"}}
        assert kept == (set() if word else must_stay), "skipped, and listed"
        assert judged.facts is not None
        probes = sum(j.kind == "padded" and "local_only_not_sent" in j.reasons for j in read)
        assert judged.facts["kept_back"] == len(kept) + probes
        (receipt,) = judged.receipts
        assert receipt["local_only_rows_kept_back"] == 2 * judged.facts["kept_back"], "both orders, and counted"
        assert receipt["requests"] == server.requests


def test_a_judge_elsewhere_sees_no_answer_of_an_adapter_that_learned_from_what_must_stay(
    house: Path, tmp_path: Path
) -> None:
    asked = {"model": "arbiter-7b", "families": {"arbiter-7b": "arbiter", "m": "llama"}}
    here, there = (recipe_of(house, judge={**asked, "base_url": f"http://{h}/v1"}) for h in ("127.0.0.1", "192.0.2.1"))
    told: list[str] = []
    session = evaluate._Session(there, tmp_path, replace(YES, on_event=told.append))
    assert session.learned() == {(a, i.id) for a in ("tuned", "tuned_rag") for i in session.items}
    assert "rows that must not leave" in told[0]
    (plan,) = judging.plans(there, session.items, session.leaned() | session.learned())
    assert plan.kept_back["local_only_not_sent"] >= 2 * len(session.items), "every pair, in both orders"
    # what is left are the probes of padding, which show the baseline's answers alone
    found = [Answer(i.id, arm, arm) for arm in ("tuned_rag", "base") for i in session.items]
    assert there.evaluation.judge is not None
    view = View.of(session.items, found, [])
    compared = judging._compared(there, there.evaluation.judge, view, session.leaned())
    probes = [c for c in compared if c.kind == "padded" and not c.stays and c.item.sensitivity == "shareable"]
    assert plan.items == 2 * len(probes)
    allowed = recipe_of(house, judge={**asked, "base_url": "http://192.0.2.1/v1", "sees_adapter": True})
    assert session_of(allowed, tmp_path / "allowed").learned() == set()
    assert session_of(here, tmp_path / "here").learned() == set()


@pytest.mark.slow
def test_what_may_not_leave_is_still_judged_here(house: Path, tmp_path: Path) -> None:
    with listening("127.0.0.1") as server:
        asked = {"base_url": server.url, "model": "arbiter-7b", "families": {"arbiter-7b": "arbiter", "m": "llama"}}
        made = recipe_of(house, judge=asked)
        made = made.model_copy(update={"egress": made.egress.model_copy(update={"sensitivity": ()})})
        session = session_of(made, tmp_path / "report")
        found = [Answer(i.id, a, f"answer of {a}") for a in ("tuned_rag", "base") for i in session.items]
        judged = judging.measure(made, session.out, View.of(session.items, found, []), None, YES, session.leaned())
        assert server.requests > 0
    assert judged.facts is not None
    assert judged.facts["kept_back"] == 0
