"""The audit inside a run: gates in the decision and on the page, canaries never served, measurements kept while they hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep.records import UserError
from pipelines import artifacts, audit, prepare, recipe_file, stages, train
from tests.conftest import Workspace

CANARIES = "privacy: {canaries: {number: 6, repetitions: [2]}}\n"


def test_a_runs_gates_are_in_the_decision_and_on_the_page(finished: Workspace) -> None:
    measured = json.loads((finished.run_folder / "report" / "leaks.json").read_text())
    decision = json.loads((finished.run_folder / "decision" / "decision.json").read_text())
    assert [g["name"] for g in measured["gates"]] == ["extraction", "membership"]
    assert [g for g in decision["audit"] if g["name"] in ("extraction", "membership")] == measured["gates"]
    page = (finished.run_folder / "decision" / "report.html").read_text()
    assert "What the adapter gives away" in page
    assert finished.manifest("adapter")["facts"]["canaries"] is None


def test_a_model_with_canaries_is_marked_and_never_promoted_not_even_with_a_reason(copied: Workspace) -> None:
    dataset = copied.manifest("dataset")["content_sha256"]
    copied.recipe.write_text(copied.recipe.read_text() + CANARIES)
    trained = copied.freehold("train", "desk.yaml")
    assert trained.returncode == 0, trained.stderr[-2000:]
    assert copied.manifest("dataset")["content_sha256"] == dataset
    assert copied.manifest("adapter")["facts"]["canaries"] == {"number": 6, "repetitions": [2]}
    assert "Never serve it" in (copied.run_folder / "adapter" / "README.md").read_text()
    refused = copied.freehold("promote", "desk.yaml", "--override", "I want to see it live")
    assert refused.returncode == 4
    assert "trained with canaries" in refused.stderr
    assert not (copied.folder / "served").exists()


def test_canaries_change_what_is_trained_and_not_the_dataset(copied: Workspace) -> None:
    before = recipe_file.load(copied.recipe)
    copied.recipe.write_text(copied.recipe.read_text() + CANARIES)
    after = recipe_file.load(copied.recipe)
    at = {"workdir": copied.run_folder}
    before, after = before.model_copy(update=at), after.model_copy(update=at)
    assert prepare.inputs(before) == prepare.inputs(after)
    assert train.inputs(before) != train.inputs(after)
    assert len(audit.canaries_of(after)) == 12
    assert audit.canaries_of(before) == []


def test_general_ability_is_measured_once_and_kept_while_it_holds(copied: Workspace, tmp_path: Path) -> None:
    (copied.folder / "general.jsonl").write_text(
        '{"prompt": "1+1?", "answer": "2"}\n{"prompt": "Sky?", "answer": "blue"}'
    )
    copied.edit("  golden_prompts: 2\n", "  golden_prompts: 2\n  general: {path: general.jsonl}\n")
    recipe = recipe_file.load(copied.recipe).model_copy(update={"workdir": copied.run_folder})
    inputs = {"adapter": "a"}
    out = tmp_path / "report"
    (out / artifacts.KEYED).mkdir(parents=True)
    (out / "leaks.json").write_text((copied.run_folder / "report" / "leaks.json").read_text())

    def model() -> object:
        import torch

        from evaluation.providers.local import LocalModel

        assert recipe.model.path is not None
        return LocalModel(recipe.model.path, copied.run_folder / "adapter", dtype=torch.float32, stop_ids=[1])

    said: list[str] = []
    how = stages.How(copied.recipe, on_event=said.append)
    keys = audit.measure(recipe, out, model, [], inputs, how)  # type: ignore[arg-type]
    assert said == ["evaluate: general ability"]
    assert audit.read(out)["general"]["measured"] == 2
    assert audit.measure(recipe, out, model, [], inputs, how) == keys  # type: ignore[arg-type]
    assert len(said) == 1
    first = (out / "general.json").read_text()
    (out / "general.json").unlink()  # as where another setting of an unfinished evaluation changed
    audit.measure(recipe, out, model, [], inputs, how)  # type: ignore[arg-type]
    assert ((out / "general.json").read_text(), len(said)) == (first, 1)
    for path in (out / "general.json", *(out / artifacts.KEYED).iterdir()):
        path.unlink()
    with pytest.raises(UserError, match=r"general\.json is not stored, and --replay asks no model"):
        audit.measure(recipe, out, model, [], inputs, stages.How(copied.recipe, replay=True))  # type: ignore[arg-type]


def test_a_missing_general_set_is_told_before_anything_is_asked(copied: Workspace) -> None:
    copied.edit("  golden_prompts: 2\n", "  golden_prompts: 2\n  general: {path: nowhere.jsonl}\n")
    with pytest.raises(UserError, match=r"nowhere\.jsonl: no such file.*evaluation\.general\.path"):
        audit.settings(recipe_file.load(copied.recipe))
