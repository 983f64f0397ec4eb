"""The command's way out: the plan and the word it needs, the budget that keeps answers, prices that change, --offline."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ruamel.yaml import YAML

from data_prep.records import UserError
from evaluation import judge
from evaluation.egress import EgressError
from evaluation.prices import PriceList, price_list
from evaluation.results import Answer, Item
from evaluation.summary import View
from pipelines import egress, judging, promote, recipe_file, report_lines, stages
from pipelines.recipe import Judge, Recipe
from pipelines.tracking import is_elsewhere
from tests.conftest import Workspace
from tests.evaluation.batch_server import answered
from tests.evaluation.batch_server import serving as batches
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
    assert "no price" in str(made)


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


def test_where_a_budget_is_set_nothing_without_a_price_leaves(recipe: Recipe) -> None:
    unpriced = egress.plan(recipe, "x", FAR, "m", asked(), set(), PriceList(None, None, datetime.now(UTC)), 160)
    how = stages.How(Path("desk.yaml"), yes=True)
    egress.agree(unpriced, recipe, how)
    with pytest.raises(
        UserError, match=r"no price, so nothing would keep it under the budget of 2 USD\. Nothing was sent"
    ):
        egress.agree(unpriced, recipe, replace(how, budget_usd=Decimal(2)))
    limited = recipe.model_copy(update={"egress": recipe.egress.model_copy(update={"budget_usd": Decimal(3)})})
    with pytest.raises(UserError, match="budget of 3 USD"):
        egress.agree(unpriced, limited, how)
    egress.agree(replace(unpriced, destination="http://127.0.0.1:8000/v1"), limited, how)


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


def test_a_run_stops_before_training_where_the_key_or_the_word_is_missing(copied: Workspace) -> None:
    with_api(
        copied, "api: {base_url: 'http://192.0.2.1/v1', model: m, price_as: {provider: openai, model: gpt-4o-mini}}"
    )
    copied.edit("rank: 4", "rank: 2")
    for key, told in (("", "OPENAI_API_KEY is not set; evaluation.api.api_key_env names"), ("key", "with --yes")):
        done = copied.freehold("run", "desk.yaml", OPENAI_API_KEY=key)
        assert (done.returncode, told in done.stderr) == (2, True), done.stderr[-2000:]
        assert "train: begins" not in done.stderr


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
        copied.edit(
            "golden_prompts: 2", "golden_prompts: 1"
        )  # another setting begins the report anew, not what was paid for
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


@pytest.mark.parametrize("where", ["--budget-usd", "egress"])
def test_a_budget_of_the_whole_run_stops_it_wherever_it_is_set(copied: Workspace, where: str) -> None:
    with listening() as server:
        with_api(
            copied,
            f"api: {{base_url: '{server.url}', model: m, concurrency: 2, price_as: {{provider: openai, model: gpt-4o-mini}}}}",
        )
        if where == "egress":
            copied.edit("seed: 3", "seed: 3\negress: {budget_usd: 0.0005}")
        flags = ["--budget-usd", "0.0005"] if where == "--budget-usd" else []
        stopped = copied.freehold("run" if where == "egress" else "evaluate", "desk.yaml", *flags, OPENAI_API_KEY="key")
        assert stopped.returncode == 2, stopped.stderr[-2000:]
        assert "the whole run: " in stopped.stderr
        assert server.requests == 2  # the second begins at 0.00027 USD


def test_a_price_that_no_list_has_is_told_before_anything_runs(copied: Workspace) -> None:
    before = copied.manifest("report")
    with_api(copied, "api: {label_mode: systemone, price_as: {provider: openai, model: gpt-99}, concurrency: 2}")
    copied.edit("seed: 3", "seed: 4")
    done = copied.freehold("run", "desk.yaml")
    assert done.returncode == 2
    assert "evaluation.api.price_as: genai-prices" in done.stderr
    assert "set your own prices" in done.stderr
    assert "prepare: begins" not in done.stderr
    assert copied.manifest("report") == before


def test_a_tracking_server_must_be_among_the_destinations(copied: Workspace) -> None:
    copied.edit("seed: 3", "seed: 4\negress: {destinations: [api.openai.com]}")
    done = copied.freehold("run", "desk.yaml", MLFLOW_TRACKING_URI="http://me:secret@mlflow.firm.invalid:5000")
    assert done.returncode == 2
    assert "mlflow.firm.invalid is not among egress.destinations (api.openai.com); nothing was sent" in done.stderr
    assert "secret" not in done.stderr


def test_two_apis_are_two_arms_and_a_contract_s_price_counts_as_it_is_today(copied: Workspace) -> None:
    own = "{rates: {input: 2.5, output: 10}, source: contract, date: 2026-11-01}"
    items = copied.manifest("report")["counts"]["items"]
    with listening() as first, listening() as second:
        with_api(
            copied,
            f"api: {{base_url: '{first.url}', model: m, price_as: {{provider: openai, model: gpt-4o-mini}}}}\n"
            f"  more_apis: {{open_model: {{base_url: '{second.url}', model: n, price: {own}}}}}",
        )
        copied.edit("arms: [base, few_shot, tuned, api]", "arms: [base, tuned, api, open_model]")
        copied.edit("baseline: api", "baseline: open_model")
        key = "sk-desk-4711-xyz"
        done = copied.freehold("run", "desk.yaml", "--budget-usd", "9", OPENAI_API_KEY=key)
        assert done.returncode in (0, 3, 4), done.stderr[-2000:]
        assert (first.requests, second.requests) == (items, items)
        assert b'"model":"n"' in second.received.replace(b": ", b":")
        assert key.encode() in second.received, "it is sent, so this test can fail"
        written = [p for p in copied.folder.rglob("*") if p.is_file() and key.encode() in p.read_bytes()]
        assert (written, key in done.stdout + done.stderr) == ([], False)
        again = copied.freehold("run", "desk.yaml", "--replay", OPENAI_API_KEY="key")
        assert again.returncode == done.returncode, again.stderr[-2000:]
        assert (first.requests, second.requests) == (items, items)
    receipts = json.loads((copied.run_folder / "report" / "egress.json").read_text())
    assert [r["purpose"].split()[0] for r in receipts] == ["api", "open_model"]
    speed = json.loads((copied.run_folder / "report" / "speed.json").read_text())
    usd = {s["arm"]: Decimal(s["usd_per_request"]) for s in speed if s["usd_per_request"] is not None}
    assert usd == {"api": Decimal("0.00027"), "open_model": Decimal("0.0045")}
    decision = json.loads((copied.run_folder / "decision" / "decision.json").read_text())
    assert decision["gates"]["baseline"] == "open_model"
    assert _per_1k(copied, "open_model") == {"4.5"}
    policy = YAML(typ="safe").load(copied.run_folder / "decision" / "routing.yaml")
    assert policy["sensitive"]["never"] == ["api", "open_model"]
    assert policy["sensitive"]["unknown_sensitivity"] == "local_only"
    assert policy["default"] == {"target": "open_model"}
    moved = {s for s, rule in policy["slices"].items() if rule["target"] == "self_host"}
    assert not moved or decision["verdict"] == "self_host"
    assert {rule["target"] for rule in policy["slices"].values()} <= {"self_host", "open_model"}
    report = copied.manifest("report")
    copied.edit("input: 2.5, output: 10", "input: 5, output: 10")
    anew = copied.freehold("run", "desk.yaml", "--replay")
    assert anew.returncode == done.returncode, anew.stderr[-2000:]
    assert copied.manifest("report") == report, "a price is no reason to evaluate again"
    assert _per_1k(copied, "open_model") == {"7"}
    page = (copied.run_folder / "decision" / "report.html").read_text()
    assert (
        "your prices (5 in, 10 out USD a million tokens, in a batch × 0.5), contract, last verified 2026-11-01; "
        in page
    )
    assert "hardware laptop at 0.1 USD an hour (guess, 2026-11-01)" in page


def _per_1k(copied: Workspace, arm: str) -> set[str]:
    rows = json.loads((copied.run_folder / "decision" / "economics.json").read_text())["rows"]
    return {r["usd_per_1k"] for r in rows if r["arm"] == arm}


def test_an_arm_asked_by_batch_has_its_price_no_latency_and_production_pays_the_usual_one(copied: Workspace) -> None:
    with batches(lambda line: answered(line, id=str(uuid4())), looks=1) as server:
        with_api(
            copied,
            f"api: {{base_url: '{server.url}', model: m, batch: true, price_as: {{provider: openai, model: gpt-4o-mini}}}}",
        )
        done = copied.freehold("run", "desk.yaml", OPENAI_API_KEY="key")
        assert done.returncode in (0, 3, 4), done.stderr[-2000:]
        assert "batch batch_0: completed" in done.stderr
        again = copied.freehold("run", "desk.yaml", OPENAI_API_KEY="key")
        assert again.returncode == done.returncode, again.stderr[-2000:]
        assert (len(server.batches), server.files) == (1, {})
    report = copied.run_folder / "report"
    speed = {s["arm"]: s for s in json.loads((report / "speed.json").read_text())}
    assert (speed["api"]["p95_ms"], speed["api"]["usd_per_request"]) == (None, "0.00000675")
    rows = json.loads((copied.run_folder / "decision" / "economics.json").read_text())["rows"]
    assert {r["usd_per_1k"] for r in rows if r["arm"] == "api"} == {"0.0135"}


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
        f"MLFLOW_TRACKING_URI is http://***@{host}:{port}, on another machine, and {flag} reaches none" in done.stderr
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


# ---- --dry-run


FAR_JUDGE = (
    "judge: {base_url: 'http://192.0.2.1/v1', model: arbiter-7b, max_items: 1, padded_probes: 1,"
    " families: {arbiter-7b: arbiter, tiny: llama}}"
)
FAR_LOAD = (
    "load: {p95: {latency_ms: 100}, rates: [2, 4], seconds: 30, warm_up_s: 5, repeats: 2, servers: ["
    "{arm: tuned, base_url: 'http://192.0.2.2/v1', model: ours, machine: x, timeout_s: 10},"
    " {arm: base, base_url: 'http://127.0.0.1:9/v1', model: ours, machine: x}]}"
)


def dry_run(workspace: Workspace, verb: str) -> tuple[dict[str, Any], str]:
    """What it says as JSON and to a person."""
    found = [workspace.freehold(verb, "desk.yaml", "--dry-run", *flags) for flags in (["--json"], [])]
    assert [f.returncode for f in found] == [0, 0], found[0].stderr[-2000:]
    assert "dry run: nothing was sent" in found[1].stdout
    return json.loads(found[0].stdout), found[1].stdout


def test_a_dry_run_tells_judge_load_test_and_teacher_and_not_that_nothing_leaves(workspace: Workspace) -> None:
    assert workspace.freehold("prepare", "desk.yaml").returncode == 0
    text = workspace.recipe.read_text().replace("arms: [base, few_shot, tuned, api]", "arms: [base, few_shot, tuned]")
    text = text.replace(
        "  api: {label_mode: systemone, price_as: {provider: openai, model: gpt-4o-mini}, concurrency: 2}\n", ""
    )
    workspace.recipe.write_text(text.replace("baseline: api", "baseline: base"))
    result, told = dry_run(workspace, "evaluate")
    assert (result["plans"], result["leaves"]) == ([], False)
    assert "nothing would leave this machine" in told
    done = workspace.freehold("evaluate", "desk.yaml", "--dry-run", MLFLOW_TRACKING_URI="http://192.0.2.5")
    assert "MLflow at http://192.0.2.5: the recipe" in done.stdout
    assert "nothing would leave" not in done.stdout

    workspace.edit("  golden_prompts: 2\n", f"  golden_prompts: 2\n  {FAR_JUDGE}\n  {FAR_LOAD}\n")
    result, told = dry_run(workspace, "run")
    judge, load = result["plans"]
    assert result["leaves"]
    assert "nothing would leave" not in told
    # one pair and one probe, each in both orders
    assert (judge["who"], judge["items"], judge["at_most"], judge["destination"]) == (
        "evaluate: judge", 4, True, "http://192.0.2.1/v1",
    )  # fmt: skip
    assert "evaluate: judge: at most 4 items to arbiter-7b at http://192.0.2.1/v1" in told
    assert (load["who"], load["destination"], load["at_most"]) == (
        "evaluate: load of arm tuned",
        "http://192.0.2.2/v1",
        True,
    )
    own = 2 * (2 * 35 + 4 * 35)  # two runs a rate, warm-up and measured time
    assert load["requests"] > 2 * own, "two tasks, and what goes on until the last answer has come"
    assert f"at most {load['requests']:,} requests" in told
    assert not (workspace.run_folder / "egress.jsonl").exists()

    workspace.edit("rates: [2, 4], ", "")
    result, told = dry_run(workspace, "evaluate")
    assert result["plans"][1]["requests"] is None
    assert "as fast as the service level lets it, for up to 30 minutes a task" in told


def test_a_dry_run_before_there_is_a_dataset_names_whom_it_would_ask(workspace: Workspace) -> None:
    workspace.edit("  golden_prompts: 2\n", f"  golden_prompts: 2\n  {FAR_JUDGE}\n")
    workspace.edit(
        "model: {path",
        "teacher: {base_url: 'http://192.0.2.3/v1', model: t, terms: ours, max_questions: 7}\nmodel: {path",
    )
    (only,) = dry_run(workspace, "prepare")[0]["plans"]
    assert (only["who"], only["items"], only["at_most"], only["usd"]) == ("prepare: teacher", 7, True, None)
    result, told = dry_run(workspace, "run")
    assert [(p["who"], p["items"]) for p in result["plans"]] == [
        ("prepare: teacher", 7), ("evaluate: arm api", None), ("evaluate: judge", None),
    ]  # fmt: skip
    assert "prepare: teacher: at most 7 items to t at http://192.0.2.3/v1, 2,800 answer tokens at most" in told
    assert "evaluate: judge: to arbiter-7b at http://192.0.2.1/v1; how much is known once the dataset is there" in told
    assert result["leaves"]
    assert not workspace.run_folder.exists()


def test_a_judges_plan_is_never_less_than_what_it_is_then_asked(recipe: Recipe) -> None:
    far = Judge(base_url=FAR, model="arbiter-7b", families={"arbiter-7b": "arbiter"}, padded_probes=3)
    evaluation = recipe.evaluation.model_copy(update={"judge": far})
    made = recipe.model_copy(update={"evaluation": evaluation})
    prompt: Any = ({"role": "user", "content": "Where is my refund?"},)
    items = [
        Item(f"i{n}", "draft", prompt, "x", (), ("language=de",), f"g{n}", "local_only" if n == 4 else "shareable")
        for n in range(5)
    ]
    leaned = {("tuned", "i3")}
    (plan,) = judging.plans(made, items, leaned)
    assert plan.items + sum(plan.kept_back.values()) == 2 * (5 + 3)  # type: ignore[operator]
    assert plan.kept_back["local_only_not_sent"] >= 4
    longest = recipe.evaluation.max_new_tokens - 1  # a byte is a token at least
    answers = [Answer(i.id, arm, f"{arm[0]}{'x' * longest}") for arm in ("tuned", "api") for i in items]
    compared = judging._compared(made, far, View.of(items, answers, []), leaned)
    asked = judge.questions(compared, max_chars=far.max_chars, is_local=False)
    really = egress.plan(made, judging.WHO, FAR, "arbiter-7b", asked, set(), price_list("openai", "gpt-4o-mini"), 16)
    assert really.items == plan.items
    assert plan.prompt_tokens >= really.prompt_tokens > 0  # type: ignore[operator]


def test_where_the_verdict_is_to_stay_the_registry_says_that_the_api_answers(
    copied: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    store = f"sqlite:///{copied.folder}/runs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.chdir(copied.folder)
    how = stages.How(copied.recipe)
    with pytest.raises(UserError, match="is a stand-in on this machine"):
        promote.promote_api(recipe_file.load(copied.recipe), how)
    with listening() as server:
        with_api(
            copied,
            f"api: {{base_url: '{server.url}', model: gpt-x, price_as: {{provider: openai, model: gpt-4o-mini}}}}",
        )
        copied.edit("min_items: 10", "min_items: 500")  # undecided: nothing changes, so the API stays
        assert copied.freehold("run", "desk.yaml", OPENAI_API_KEY="key").returncode == 3
    loaded = recipe_file.load(copied.recipe)
    tuned = promote.promote(loaded, how, override="a trial")
    done = copied.freehold("promote", "desk.yaml", "--api", "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    stays = json.loads(done.stdout)
    assert (stays["name"], stays["target"], stays["previous"]) == ("desk-triage@gpt-x", "api", tuned["name"])
    assert any("still runs there" in c for c in stays["checks"])
    registry = MlflowClient(tracking_uri=store, registry_uri=store)

    def champion() -> tuple[str, str]:
        version = registry.get_model_version_by_alias("desk-triage", "champion")
        return str(version.version), registry.get_logged_model(version.source.removeprefix("models:/")).name

    assert champion() == (stays["registry_version"], "api")
    again = promote.promote_api(loaded, how)
    assert (again["registry_version"], again["previous"]) == (stays["registry_version"], tuned["name"])
    assert "desk-triage@gpt-x on api" in "\n".join(report_lines.status(promote.status(loaded)))
    back = promote.rollback(loaded, how)
    assert (back["name"], back["target"], champion()[1]) == (tuned["name"], "directory", "desk-adapter")
    forth = promote.rollback(loaded, how)
    assert (forth["name"], forth["target"], champion()) == (stays["name"], "api", (stays["registry_version"], "api"))
