"""Promotion's own records: what a decision is about, the way back, the registry under several aliases, and shown addresses."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from data_prep.records import UserError
from pipelines import artifacts, cli, decide, promote, recipe_file, stages, tracking
from pipelines.recipe import Recipe
from pipelines.serving import golden
from tests.conftest import Workspace, help_desk, make_workspace, write_export
from tests.evaluation.queue_server import QueueServer, serving
from tests.serving.replica_server import replica


@pytest.fixture
def recipe(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.chdir(workspace.folder)
    return recipe_file.load(workspace.recipe)


@pytest.fixture
def done(copied: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A finished run whose store is its own copy, to be promoted in this process."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copied.folder}/runs/mlflow.db")
    monkeypatch.chdir(copied.folder)
    return copied


def remember(recipe: Recipe, name: str, *, target: str = "directory", alias: str = "desk-triage") -> None:
    record = promote._record("promoted", recipe, alias, f"{alias}@{name}", target, [], "self_host", None)
    promote._remember(recipe, {**record, "registry_version": name})


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, mlflow_db: Path) -> Workspace:
    """A finished run that passes: 20 distinct test tickets, and a gate that is passed by all but a much worse model."""
    rng = random.Random(5)
    export = help_desk()
    for row in (*export["tickets"], *export["comments"]):
        words = " ".join("".join(rng.choices("abcdefghijklmnop", k=7)) for _ in range(25))
        key = "description" if "description" in row else "plain_body"
        row[key] = f"{row[key].split('.')[0]}. {words}"
    made = make_workspace(tmp_path_factory.mktemp("decided"), tiny_model, mlflow_db)
    write_export(made.folder / "export", export)
    made.edit("arms: [base, few_shot, tuned, api]", "arms: [base, tuned, api]")
    made.edit("baseline: api", "baseline: base")
    made.edit("min_items: 10", "min_items: 10\n  margins: {triage: 0.9}")
    done = made.freehold("run", "desk.yaml", "--json")
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (0, "self_host"), done.stderr[-3000:] + done.stdout
    return made


@pytest.fixture
def passing(decided: Workspace, tmp_path: Path) -> Workspace:
    return decided.copy(tmp_path / "passing")


def beside_the_api(passing: Workspace, hardware: str = "") -> None:
    """The stand-in as baseline, without the base arm, which is the same model."""
    passing.edit("baseline: base", "baseline: api")
    passing.edit("arms: [base, tuned, api]", "arms: [tuned, api]")
    passing.edit("usd_per_hour: 0.1", f"usd_per_hour: 0.1{hardware}")


# ---- what the verdict allows


@pytest.mark.parametrize(
    ("verdict", "code"), [("self_host", 0), ("undecided", 3), ("untuned", 4), ("fix_data", 4), ("api", 4)]
)
def test_every_verdict_has_its_exit_code(verdict: str, code: int) -> None:
    assert cli._exit_code({"verdict": "self_host", "recommended": verdict}) == code


def test_a_passing_verdict_is_promoted_without_a_reason(passing: Workspace) -> None:
    done = passing.freehold("run", "desk.yaml", "--promote", "--json")
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[:500]
    found = json.loads(done.stdout)
    assert (found["verdict"], found["recommended"], found["headline"]) == ("self_host", "self_host", "Replace base")
    assert (found["promotion"]["verdict"], found["promotion"]["override"]) == ("self_host", None)
    assert (passing.folder / "served" / "desk-triage").is_symlink()
    assert done.stderr.count("unchanged, kept") == 4
    again = passing.freehold("promote", "desk.yaml", "--override", "not needed", "--json")
    assert json.loads(again.stdout)["override"] is None, "nothing was overridden"


def test_an_undecided_verdict_is_not_promoted_by_run_and_changed_gates_are_told(passing: Workspace) -> None:
    page = passing.run_folder / "decision" / "report.html"
    assert "this was declared before scoring" in page.read_text()
    passing.edit("min_items: 10", "min_items: 500")
    passing.edit("golden_prompts: 2", "golden_prompts: 1")  # evaluates again, with the answers that are there
    done = passing.freehold("run", "desk.yaml", "--promote", "--json")
    assert done.returncode == 3, done.stderr[-2000:]
    assert not (passing.folder / "served").exists()
    assert "gates were changed after the answers were scored" in json.loads(done.stdout)["sentence"]
    assert "Gates were changed after these answers were scored" in page.read_text()
    assert "this was declared before scoring" not in page.read_text()


def test_gates_beside_quality_keep_a_passing_model_from_being_served(passing: Workspace) -> None:
    passing.edit("min_items: 10", "min_items: 10\n  leak_gates_required: true")
    done = passing.freehold("decide", "desk.yaml", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["verdict"]) == (3, "undecided"), done.stderr[-2000:]
    assert found["sentence"].startswith("Undecided, whatever the quality: Extraction")
    page = (passing.run_folder / "decision" / "report.html").read_text()
    assert "Nothing that was measured comes near a bound" not in page
    assert passing.freehold("promote", "desk.yaml").returncode == 3


def test_a_server_that_misses_its_level_is_not_promoted_whatever_the_quality(passing: Workspace) -> None:
    with serving(QueueServer(0.03)) as server:
        level = (
            f"{{servers: [{{arm: tuned, base_url: '{server.url}', model: m, machine: one}}], p95: {{latency_ms: 10}},"
        )
        load = f"  load: {level} tasks: [triage], seconds: 30, max_minutes: 1}}\n"
        passing.edit("  golden_prompts: 2\n", f"  golden_prompts: 2\n{load}")
        done = passing.freehold("run", "desk.yaml", "--promote", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["verdict"], found["kind"]) == (4, "api", "rejected by a gate"), done.stderr[-2000:]
    assert "Service level of triage" in found["sentence"]
    refused = passing.freehold("promote", "desk.yaml")
    assert (refused.returncode, (passing.folder / "served").exists()) == (4, False)


def test_where_money_says_stay_the_model_is_served_only_for_a_reason(passing: Workspace) -> None:
    beside_the_api(passing)  # two laptops cost more than this API at the default traffic
    done = passing.freehold("run", "desk.yaml", "--json")
    found = json.loads(done.stdout)
    assert (found["verdict"], found["recommended"], done.returncode) == ("self_host", "api", 4), done.stderr
    assert found["sentence"].startswith("Rehearsal, the API is a stand-in: Every must-pass slice")
    policy = (passing.run_folder / "decision" / "routing.yaml").read_text()
    assert "# Quality alone is in these rules. Quality allows it, money does not" in policy
    page = (passing.run_folder / "decision" / "report.html").read_text()
    assert "Staying on the API, as recommended, sends it every request" in page
    assert "No test row is marked local_only" in page
    refused = passing.freehold("promote", "desk.yaml")
    assert refused.returncode == 4
    assert "Quality allows it, money does not" in refused.stderr
    assert "--override" in refused.stderr
    record = json.loads(passing.freehold("promote", "desk.yaml", "--override", "the data must stay", "--json").stdout)
    assert (record["verdict"], record["override"]) == ("self_host", "the data must stay")


def test_what_was_compared_with_a_stand_in_is_not_promoted_and_run_says_so_at_once(passing: Workspace) -> None:
    beside_the_api(passing, ", requests_per_second: 1000")
    passing.edit("min_items: 10", "min_items: 10\n  monthly_requests: 100000000")
    early = passing.freehold("run", "desk.yaml", "--promote")
    assert early.returncode == 4
    assert "decision.baseline is a stand-in for the API" in early.stderr
    assert "begins" not in early.stderr, "said before any work"
    assert passing.freehold("run", "desk.yaml").returncode == 0
    late = passing.freehold("promote", "desk.yaml")
    assert (late.returncode, "is a stand-in for the API" in late.stderr) == (4, True)


def test_a_decision_is_made_again_when_its_prices_have_grown_stale(passing: Workspace) -> None:
    recipe = recipe_file.load(passing.recipe)
    assert decide._warned(recipe, artifacts.need(passing.run_folder / "report", "evaluate")) == ""
    passing.edit("date: 2026-11-01", "date: 2025-01-01")  # as if the page had been left lying for two years
    stale = decide._warned(recipe_file.load(passing.recipe), artifacts.need(passing.run_folder / "report", "evaluate"))
    assert "hardware laptop: the price was verified on 2025-01-01; more than 90" in stale
    assert "days ago" not in stale, "which would be another text every day"


@pytest.mark.parametrize("verb", ["evaluate", "promote --override x"])
def test_an_adapter_that_was_trained_otherwise_is_neither_asked_nor_served(copied: Workspace, verb: str) -> None:
    copied.edit("rank: 4", "rank: 5")
    done = copied.freehold(*verb.split()[:1], "desk.yaml", *verb.split()[1:])
    assert done.returncode == 2
    assert "was trained from something else than the recipe and its dataset are now: settings differs." in done.stderr
    assert "Run `freehold train RECIPE` first." in done.stderr


# ---- the way back


def test_a_rollback_that_failed_goes_the_same_way_when_it_is_repeated(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("good", "bad"):
        remember(recipe, name)
        version = Path("served") / f"desk-triage-{name}"
        version.mkdir(parents=True)
        (version / "promotion.json").write_text("{}")
    link, moved = Path("served/desk-triage"), list[tuple[str, ...]]()
    link.symlink_to("desk-triage-bad")

    class Registry:
        fails = "opening"

        def __init__(self, _: Recipe) -> None:
            self.client = self
            if self.fails == "opening":
                raise UserError("the registry is down")

        def set_alias(self, *what: str) -> None:
            if self.fails == "moving":
                raise UserError("the registry is down")
            moved.append(what)

        set_registered_model_alias = set_alias

    monkeypatch.setattr(tracking, "Store", Registry)
    how = stages.How(Path("desk.yaml"))
    for failure, serves in (("opening", "desk-triage-bad"), ("moving", "desk-triage-good")):
        Registry.fails = failure
        with pytest.raises(UserError, match="the registry is down"):
            promote.rollback(recipe, how)
        assert link.readlink().name == serves, "a registry that cannot be opened moves nothing"
        assert promote.status(recipe)["serving"]["name"] == "desk-triage@bad"
    Registry.fails = ""
    assert promote.rollback(recipe, how)["name"] == "desk-triage@good"
    assert link.readlink().name == "desk-triage-good"
    assert moved == [("desk-triage", "champion", "good")]


def test_what_a_failed_promotion_goes_back_to_is_what_the_target_serves(recipe: Recipe) -> None:
    settings = promote.promotion_settings(recipe)
    assert promote._there(recipe, settings) is None
    remember(recipe, "first")
    remember(recipe, "gpt-x", target=promote.API)
    assert promote._there(recipe, settings) == "desk-triage@first", "no target serves an API's entry"
    assert promote._there(recipe, settings.model_copy(update={"alias": "other"})) is None


def test_a_rollback_does_not_cross_aliases(recipe: Recipe) -> None:
    remember(recipe, "first")
    remember(recipe, "first", alias="helpdesk")
    how = stages.How(Path("desk.yaml"))
    renamed = recipe.promotion.model_copy(update={"alias": "helpdesk"})  # type: ignore[union-attr]
    with pytest.raises(UserError, match="nothing to roll back to"):
        promote.rollback(recipe.model_copy(update={"promotion": renamed}), how)
    remember(recipe, "second", alias="helpdesk")
    with pytest.raises(UserError, match=r"promotion\.alias is desk-triage, and helpdesk@second was promoted last as"):
        promote.rollback(recipe, how)


def test_a_promotion_to_replicas_leaves_its_receipts_in_the_run_folder(done: Workspace) -> None:
    with replica(golden.load(done.run_folder / "report" / "golden.jsonl")) as server:
        done.edit(
            "target: {kind: directory, options: {path: served, serve_check: false}}",
            f"target: {{kind: vllm, options: {{replicas: [{server.url}], base_model: base, adapters_dir: adapters}}}}",
        )
        how = stages.How(done.recipe)
        record = promote.promote(recipe_file.load(done.recipe), how, override="a trial")
        assert set(server.adapters) == {"desk-triage", record["name"]}
        assert Path(server.adapters["desk-triage"]).name == record["name"]
        requests = len(server.asked)
    lines = [json.loads(line) for line in (done.run_folder / "egress.jsonl").read_text().splitlines()]
    mine = [line for line in lines if line.get("purpose") == "promote"]
    assert (len(mine), {line["destination"] for line in mine}) == (requests, {server.url})


def test_a_renamed_alias_gets_a_version_of_its_own_and_both_are_marked_when_somebody_is_forgotten(
    done: Workspace,
) -> None:
    from mlflow import MlflowClient

    how = stages.How(done.recipe)
    first = promote.promote(recipe_file.load(done.recipe), how, override="a trial")
    again = promote.promote(recipe_file.load(done.recipe), how, override="a trial")
    assert again["registry_version"] == first["registry_version"], (
        "the same adapter under the same alias is one version"
    )
    done.edit("alias: desk-triage", "alias: helpdesk")
    renamed = recipe_file.load(done.recipe)
    with pytest.raises(UserError, match="was made for another alias"):
        promote.promote(renamed, how, override="a trial")
    stages.run("decide", renamed, how)
    second = promote.promote(renamed, how, override="a trial")
    client = MlflowClient()
    for alias, record in (("desk-triage", first), ("helpdesk", second)):
        champion = client.get_model_version_by_alias(alias, "champion")
        assert str(champion.version) == record["registry_version"]
    adapter = done.manifest("adapter")["content_sha256"]
    marked = tracking.mark_forgotten(renamed, [adapter], "2026-11-30")
    assert {"version desk-triage/1", "version helpdesk/1"} <= set(marked)
    assert client.get_model_version("helpdesk", "1").tags["freehold.forgotten"] == "2026-11-30"


def test_a_version_remembered_by_its_adapter_alone_is_marked_under_the_recipes_alias(recipe: Recipe) -> None:
    store: Any = SimpleNamespace(
        recipe=recipe, state=SimpleNamespace(data={"versions": {"abc": "3", "helpdesk abc": "1", "desk abcd": "2"}})
    )
    assert tracking._versions(store, "abc") == [("desk-triage", "3"), ("helpdesk", "1")]


# ---- what a decision is about


def test_a_recipe_or_dataset_that_changed_after_evaluation_is_not_promoted(done: Workspace) -> None:
    promote._current_decision(recipe_file.load(done.recipe))
    done.edit("concurrency: 2", "concurrency: 3")  # how fast the API is asked changes no answer
    promote._current_decision(recipe_file.load(done.recipe))
    done.edit("few_shot_examples: 3", "few_shot_examples: 2")
    with pytest.raises(
        UserError, match=r"report: was made from something else .* settings differs. Run `freehold evaluate"
    ):
        promote._current_decision(recipe_file.load(done.recipe))
    done.edit("few_shot_examples: 2", "few_shot_examples: 3")
    path = done.run_folder / "dataset" / "manifest.json"
    manifest = json.loads(path.read_text())
    next(iter(manifest["files"].values()))["sha256"] = "0" * 64  # prepared again, and other rows came out
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"are now: dataset differs\."):
        promote._current_decision(recipe_file.load(done.recipe))


@pytest.mark.slow
def test_more_golden_prompts_are_recorded_when_the_recipe_asks_for_more(copied: Workspace) -> None:
    path = copied.run_folder / "report" / "golden.jsonl"
    before = path.read_text().splitlines()
    assert {json.loads(line)["sensitivity"] for line in before} == {"shareable"}
    copied.edit("golden_prompts: 2", "golden_prompts: 3")
    refused = copied.freehold("evaluate", "desk.yaml", "--replay")
    assert refused.returncode == 2
    assert "the golden prompts are not recorded, and --replay asks nobody" in refused.stderr
    more = copied.freehold("evaluate", "desk.yaml")
    assert more.returncode == 0, more.stderr[-2000:]
    after = path.read_text().splitlines()
    assert (after[:2], len(after)) == (before, 3)
    copied.edit("golden_prompts: 3", "golden_prompts: 1")
    fewer = copied.freehold("evaluate", "desk.yaml", "--replay")
    assert fewer.returncode == 0, fewer.stderr[-2000:]
    assert path.read_text().splitlines() == before[:1]


# ---- addresses with passwords


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://token@mlflow.firm.example/x", "https://***@mlflow.firm.example/x"),
        ("https://u:hid@den@mlflow.firm.example", "https://***@mlflow.firm.example"),
        ("postgresql+psycopg2://u:hid/den@db.firm.example:5432/m", "postgresql+psycopg2://***@db.firm.example:5432/m"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:////home/me@firm/mlflow.db", "sqlite:////home/me@firm/mlflow.db"),
        ("databricks://profile", "databricks://profile"),
        ("runs/me@firm", "runs/me@firm"),
    ],
)
def test_an_address_is_shown_without_user_and_password(uri: str, shown: str) -> None:
    assert tracking.shown(uri) == shown


def test_neither_the_last_line_nor_an_error_of_mlflow_shows_a_password(
    done: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://u:hid@den@127.0.0.1:9/")
    with pytest.raises(UserError, match=r"MLflow at http://\*\*\*@127\.0\.0\.1:9/: ") as told:
        tracking.Store(recipe_file.load(done.recipe))
    assert "hid" not in str(told.value)
    monkeypatch.setattr(stages, "run", lambda *_: SimpleNamespace(folder=done.run_folder / "decision"))
    with pytest.raises(SystemExit):
        cli._run(done.recipe, promote=False, override=None, as_json=False)
    assert "runs:   http://***@127.0.0.1:9/\n" in capsys.readouterr().out
