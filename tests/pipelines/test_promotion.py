"""Promotion's own records: what a decision is about, the way back, the registry under several aliases, and shown addresses."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from data_prep.records import UserError
from pipelines import cli, promote, recipe_file, stages, tracking
from pipelines.recipe import Recipe
from pipelines.serving import golden
from tests.conftest import Workspace
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
