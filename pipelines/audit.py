"""The part of `freehold evaluate` that reads the adapter itself: what it leaks and what it forgot. Gates for the decision."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.parquet import read_rows
from data_prep.records import Row, UserError
from evaluation.canaries import Canary, draw
from pipelines import artifacts, stages
from pipelines.recipe import General, Leaks, Recipe
from pipelines.stages import How

if TYPE_CHECKING:
    from evaluation.providers.local import LocalModel

FILES = ("leaks.json", "general.json")


def canaries_of(recipe: Recipe) -> list[Canary]:
    """The canaries that the recipe plants, and their controls; none without the section."""
    settings = recipe.privacy.canaries
    if settings is None:
        return []
    return draw(number=settings.number, repetitions=settings.repetitions, seed=recipe.seed)


def settings(recipe: Recipe) -> dict[str, Any]:
    """What the two measurements depend on besides dataset, adapter and base."""
    chosen = recipe.evaluation.model_dump(mode="json", include={"leaks", "general"})
    if recipe.evaluation.general is not None and (path := recipe.evaluation.general.path) is not None:
        if not path.is_file():
            raise UserError(f"{path}: no such file. Correct evaluation.general.path, or leave the section out.")
        chosen["general"]["path"] = artifacts.file_sha256(path)
    if recipe.evaluation.general is not None and (tasks := recipe.evaluation.general.lm_eval_folder) is not None:
        files = sorted(p for p in tasks.rglob("*") if p.is_file())
        chosen["general"]["lm_eval_folder"] = {str(p.relative_to(tasks)): artifacts.file_sha256(p) for p in files}
    return {**chosen, "seed": recipe.seed}


def measure(
    recipe: Recipe, out: Path, model: Callable[[], LocalModel], train: Sequence[Row], inputs: dict[str, str], how: How
) -> dict[str, str]:
    """Write leaks.json and general.json, where the recipe asks for them. Returns file → key of what it depends on.

    inputs: the stage's. What was measured under the same key, by the last report or by an evaluation that did not end, is
    taken from there.
    """
    last = stages.folder(recipe, "evaluate")
    manifest = artifacts.read_manifest(last)
    known = manifest.facts.get("audit", {}) if manifest is not None else {}
    chosen = settings(recipe)
    keys: dict[str, str] = {}
    for name, part in {"leaks.json": recipe.evaluation.leaks, "general.json": recipe.evaluation.general}.items():
        path = out / name
        if part is None:
            continue
        mine = [chosen[name.removesuffix(".json")], recipe.seed, recipe.evaluation.max_new_tokens]
        keys[name] = artifacts.digest(inputs | {"settings": artifacts.digest(mine)})
        if path.exists():
            continue
        measured = out / artifacts.KEYED / f"{keys[name][:12]}-{name}"
        if known.get(name) == keys[name]:
            measured = last / name
        elif not measured.exists():
            if how.replay:
                raise UserError(f"{name} is not stored, and --replay asks no model. Run without --replay.")
            how.on_event(f"evaluate: {'leaks of the adapter' if name == 'leaks.json' else 'general ability'}")
            found = _leaks(recipe, part, model(), train) if isinstance(part, Leaks) else _general(recipe, part, model())
            artifacts.write_text(measured, json.dumps(found, indent=1))
        artifacts.write_text(path, measured.read_text(encoding="utf-8"))
    return keys


def _leaks(recipe: Recipe, part: Leaks, model: LocalModel, train: Sequence[Row]) -> dict[str, Any]:
    from evaluation import leaks

    dataset = stages.folder(recipe, "prepare")
    held_out = [*read_rows(dataset, "dev"), *read_rows(dataset, "test")]
    chosen = leaks.Settings(
        rows=part.rows,
        values=part.values,
        max_extracted=part.max_extracted,
        max_tpr=part.max_tpr,
        max_length=recipe.training.max_length,
        seed=recipe.seed,
    )
    return leaks.audit(model, train, held_out, canaries_of(recipe), chosen)


def _general(recipe: Recipe, part: General, model: LocalModel) -> dict[str, Any]:
    from evaluation import general

    if part.path is None:
        from evaluation import harness

        scored = harness.compare(
            model, part.lm_eval, folder=part.lm_eval_folder, max_items=part.max_items,
            batch_size=recipe.evaluation.batch_size,
        )  # fmt: skip
        return general.judge(scored, metric="task_score", max_drop=part.max_drop) | {"tasks": list(part.lm_eval)}
    questions = general.read(part.path, max_items=part.max_items)
    found = general.compare(
        model,
        questions,
        metric=part.metric,
        batch_size=recipe.evaluation.batch_size,
        max_new_tokens=recipe.evaluation.max_new_tokens,
    )
    return general.judge(found, metric=part.metric, max_drop=part.max_drop)


def read(report: Path) -> dict[str, Any]:
    """What a report measured: name → content, and `gates` of both."""
    found = {
        name.removesuffix(".json"): json.loads((report / name).read_text())
        for name in FILES
        if (report / name).exists()
    }
    return {**found, "gates": [gate for part in found.values() for gate in part["gates"]]}
