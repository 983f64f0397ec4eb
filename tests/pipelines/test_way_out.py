"""The command's way out: the plan and the word it needs, the budget that keeps answers, prices that change, --offline."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from data_prep.records import UserError
from evaluation.egress import EgressError
from evaluation.prices import PriceList, price_list
from evaluation.results import Item
from pipelines import egress, recipe_file, stages
from pipelines.recipe import Recipe
from pipelines.tracking import is_elsewhere
from tests.conftest import Workspace
from tests.evaluation.test_egress import IBAN, listening, own_address

FAR = "https://api.firm.example/v1"


@pytest.fixture
def recipe(workspace: Workspace) -> Recipe:
    found: Recipe = recipe_file.load(workspace.recipe)
    return found


def asked() -> list[tuple[Item, Any]]:
    texts = {"a": "Where is my refund?", "b": f"pay to {IBAN}", "c": "mine alone", "d": "mail anna.bell@gmail.com"}
    made = []
    for name, text in texts.items():
        prompt = ({"role": "user", "content": text},)
        sensitivity = "local_only" if name == "c" else "shareable"
        made.append((Item(name, "triage", prompt, "x", ("x", "y"), (), "g", sensitivity), prompt))  # type: ignore[arg-type]
    return made  # type: ignore[return-value]


def plan_for(recipe: Recipe, where: str = FAR, known: frozenset[str] = frozenset()) -> egress.Plan:
    prices = price_list("openai", "gpt-4o-mini")
    return egress.plan(recipe, "evaluate: arm api", where, "m", asked(), set(known), prices, 160)


def test_the_plan_counts_what_would_leave_and_what_stays(recipe: Recipe) -> None:
    made = plan_for(recipe, known=frozenset("a"))
    assert (made.items, made.answered_before) == (1, 1)
    assert made.kept_back == {"local_only_not_sent": 1, "pii_not_sent": 1}
    assert (made.kinds, made.bytes, made.most_answer_tokens) == ({"email": 1}, len("mail anna.bell@gmail.com"), 24)
    assert made.counted_by == "counted by the local tokenizer"
    assert made.usd == (made.prompt_tokens * Decimal("0.15") + 24 * Decimal("0.60")) / 1_000_000
    bare = recipe.model_copy(update={"model": recipe.model.model_copy(update={"path": Path("/nowhere")})})
    assert plan_for(bare).counted_by == "estimated at 4 characters a token"


def test_without_a_price_the_plan_says_so_instead_of_zero(recipe: Recipe) -> None:
    unpriced = PriceList(None, None, price_list("openai", "gpt-4o-mini").at)
    made = egress.plan(recipe, "x", FAR, "m", asked(), set(), unpriced, 160)
    assert made.usd is None
    assert "no list price" in str(made)


def test_nothing_leaves_for_another_machine_without_a_word(recipe: Recipe) -> None:
    told: list[str] = []
    how = stages.How(Path("desk.yaml"), on_event=told.append)
    made = plan_for(recipe)
    with pytest.raises(UserError, match=r"2 items to m at https://api\.firm\.example.*Nothing was sent\. Run .* --yes"):
        egress.agree(made, recipe, how)
    assert "2 items to m" in told[0], "the plan is told first"
    egress.agree(made, recipe, replace(how, yes=True))
    confirmed = recipe.egress.model_copy(update={"confirmed": True})
    egress.agree(made, recipe.model_copy(update={"egress": confirmed}), how)
    egress.agree(plan_for(recipe, "http://127.0.0.1:8000/v1"), recipe, how)
    with pytest.raises(UserError, match="--offline, and 2 items would go"):
        egress.agree(made, recipe, replace(how, yes=True, offline=True))
    elsewhere = recipe.egress.model_copy(update={"destinations": ("api.other.example",)})
    with pytest.raises(EgressError, match=r"not among egress\.destinations"):
        egress.agree(made, recipe.model_copy(update={"egress": elsewhere}), replace(how, yes=True))


def with_api(copied: Workspace, api: str) -> None:
    copied.edit("api: {label_mode: systemone, price_as: {provider: openai, model: gpt-4o-mini}, concurrency: 2}", api)


def test_a_dry_run_says_what_would_be_sent_and_the_command_waits_for_yes(copied: Workspace) -> None:
    # a documentation address: were it called, the command would wait for it in vain
    with_api(
        copied, "api: {base_url: 'http://192.0.2.1/v1', model: m, price_as: {provider: openai, model: gpt-4o-mini}}"
    )
    items = copied.manifest("report")["counts"]["items"]
    before = (copied.run_folder / "egress.jsonl").read_text()  # the stand-in's receipts
    dry = copied.freehold("evaluate", "desk.yaml", "--dry-run", "--json")
    assert dry.returncode == 0, dry.stderr[-2000:]
    (plan,) = json.loads(dry.stdout)["plans"]
    assert (plan["items"], plan["destination"], plan["kept_back"]) == (items, "http://192.0.2.1/v1", {})
    assert Decimal(plan["usd"]) > 0
    assert plan["counted_by"] == "counted by the local tokenizer"
    refused = copied.freehold("evaluate", "desk.yaml", OPENAI_API_KEY="key")
    assert refused.returncode == 2
    assert f"{items} items to m at http://192.0.2.1/v1" in refused.stderr
    assert "Nothing was sent. Run the same command with --yes" in refused.stderr
    assert (copied.run_folder / "egress.jsonl").read_text() == before


def test_a_budget_stops_offline_too_and_a_raised_one_or_another_price_list_asks_nothing_twice(
    copied: Workspace,
) -> None:
    items = copied.manifest("report")["counts"]["items"]
    with listening() as server:
        api = f"api: {{base_url: '{server.url}', model: m, concurrency: 2, price_as: {{provider: openai, model: gpt-4o-mini}}"
        with_api(copied, f"{api}, budget_usd: 0.0005}}")
        stopped = copied.freehold("evaluate", "desk.yaml", "--offline", OPENAI_API_KEY="key")
        assert stopped.returncode == 2, stopped.stderr[-2000:]
        assert "raise evaluation.api.budget_usd and run the same command" in stopped.stderr
        assert "attempts to leave refused" in stopped.stderr
        assert server.requests == 2  # the second begins at 0.00027 USD
        copied.edit("budget_usd: 0.0005", "budget_usd: 1")
        done = copied.freehold("evaluate", "desk.yaml", OPENAI_API_KEY="key")
        assert done.returncode == 0, done.stderr[-2000:]
        assert server.requests == items, "what was paid for is not asked again"
        (receipt,) = json.loads((copied.run_folder / "report" / "egress.json").read_text())
        assert (receipt["requests"], receipt["rows"], Decimal(receipt["usd"])) == (
            items,
            items,
            items * Decimal("0.00027"),
        )
        copied.edit("model: gpt-4o-mini", "model: gpt-4o")
        anew = copied.freehold("evaluate", "desk.yaml", "--replay", OPENAI_API_KEY="key")
        assert anew.returncode == 0, anew.stderr[-2000:]
        assert server.requests == items
    answers = [json.loads(line) for line in (copied.run_folder / "report" / "answers.jsonl").read_text().splitlines()]
    assert {a["usd"] for a in answers if a["arm"] == "api"} == {"0.0045"}  # 1,000 at 2.50 and 200 at 10 USD per million
    timings = [json.loads(line) for line in (copied.run_folder / "report" / "timings.jsonl").read_text().splitlines()]
    assert all(t["asked_at"] for t in timings)
    assert {t["prices"]["model"] for t in timings if t["arm"] == "api"} == {"gpt-4o"}


@pytest.mark.parametrize(
    ("uri", "elsewhere"),
    [
        ("sqlite:///runs/mlflow.db", False), ("sqlite:////srv/mlflow.db", False), ("runs/mlruns", False), ("/srv/mlruns", False),
        ("file:///srv/mlruns", False), ("http://127.0.0.1:5000", False), ("http://[::1]:5000", False),
        ("http://localhost:5000", False), ("postgresql:///mlflow", False), ("postgresql+psycopg2://u:p@localhost/mlflow", False),
        ("http://mlflow.firm.example", True), ("https://127.0.0.1.firm.example", True), ("postgresql://u:p@db.firm.example/m", True),
        ("mysql+pymysql://u:p@10.0.0.4/m", True), ("databricks", True), ("databricks://profile", True), ("databricks-uc", True),
        ("file://fileserver/mlruns", True), ("anything-new://x", True),
    ],
)  # fmt: skip
def test_a_tracking_store_elsewhere_is_told_from_one_here(uri: str, elsewhere: bool) -> None:
    assert is_elsewhere(uri) is elsewhere


@pytest.mark.parametrize("flag", ["--replay", "--offline"])
def test_replay_and_offline_refuse_a_tracking_server_elsewhere_before_a_byte_is_sent(
    workspace: Workspace, flag: str
) -> None:
    with listening(own_address()) as server:
        host, port = server.address
        there = f"http://u:hidden@{host}:{port}"
        done = workspace.freehold("run", "desk.yaml", flag, MLFLOW_TRACKING_URI=there)
        assert (done.returncode, server.received) == (2, b""), done.stderr[-2000:]
    assert (
        f"MLFLOW_TRACKING_URI is http://u:***@{host}:{port}, on another machine, and {flag} reaches none" in done.stderr
    )
    assert "hidden" not in done.stderr
    assert not (workspace.run_folder / "dataset").exists()


def test_replay_refuses_every_socket_to_another_machine_as_offline_does(workspace: Workspace) -> None:
    with listening(own_address()) as server:
        program = (
            "import socket, sys\n"
            "from pipelines import cli, evaluate\n"
            f"def run(*_): socket.create_connection({server.address!r}, timeout=2).sendall(b'LEAK')\n"
            "evaluate.inputs = run\n"  # a stage that wants out
            "sys.argv = ['freehold', 'evaluate', 'desk.yaml', *sys.argv[1:]]\n"
            "cli.main()"
        )
        for flags, sent in ((["--replay"], b""), ([], b"LEAK")):
            done = subprocess.run(
                [sys.executable, "-c", program, *flags],
                cwd=workspace.folder,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode != 0
            assert server.received == sent, "without the flag it gets through, so this test can fail"
            assert ("1 attempts to leave refused" in done.stderr) is bool(flags), done.stderr[-2000:]
