"""`freehold prepare`: sources → dataset folder (Parquet per split, lineage, card)."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep import card
from data_prep.dataset import SPLITS, Settings, Source, build
from data_prep.records import Split, UserError
from pipelines import artifacts, recipe_file
from pipelines.progress import progress
from pipelines.recipe import Recipe
from pipelines.recipe import Task as TaskSpec
from pipelines.stages import How, Made

if TYPE_CHECKING:
    from pipelines.tracking import StageRun


def inputs(recipe: Recipe) -> dict[str, str]:
    """Settings, every source's content, and which surrogate key is used (its hash, not the key)."""
    chosen = recipe.model_dump(include={"seed", "privacy", "dataset", "tasks"}, mode="json")
    chosen["dataset"].pop("processes")
    for source in recipe.sources:
        if not source.path.exists():
            raise UserError(
                f"{source.path}: no such file or folder. Correct `path` of source {source.name!r} in the recipe."
            )
    return {
        "settings": artifacts.digest(chosen),
        "surrogate key": artifacts.digest(surrogate_key(recipe).hex())[:16],
        **{
            f"source {s.name}": artifacts.digest([s.kind, s.options, artifacts.tree_sha256(s.path)])
            for s in recipe.sources
        },
    }


def run(recipe: Recipe, out: Path, tracked: StageRun, how: How) -> Made:  # noqa: ARG001  (every stage has this shape)
    with progress("prepare: records") as update:
        counts = build(_sources(recipe), _settings(recipe), key=surrogate_key(recipe), out=out, progress=update)
    files = {s.name: artifacts.tree_sha256(s.path) for s in recipe.sources}
    text = card.render(recipe.name, counts, {s.name: (s.kind, files[s.name]) for s in recipe.sources}, out)
    artifacts.write_text(out / "README.md", text)
    tracked.dataset(out, SPLITS)
    return Made(counts=counts.steps, facts={"masked": dict(counts.masked), "languages": dict(counts.languages)})


def _sources(recipe: Recipe) -> list[Source]:
    return [
        Source(s.name, s.kind, s.path, recipe_file.options("data_prep.sources", s.kind, s.options))
        for s in recipe.sources
    ]


def _settings(recipe: Recipe) -> Settings:
    d = recipe.dataset
    return Settings(
        tasks={t.kind: recipe_file.options("data_prep.tasks", t.kind, t.options) for t in recipe.tasks},
        keep_words=frozenset(recipe.privacy.keep_words),
        near_duplicate_threshold=d.near_duplicate_threshold,
        test_from=d.test_from,
        test_until=d.test_until,
        dev_share=d.dev_share,
        min_label_examples=d.min_label_examples,
        max_same_answer=d.max_same_answer,
        max_rows={t.kind: _caps(t) for t in recipe.tasks},
        seed=recipe.seed,
        processes=d.processes,
    )


def _caps(task: TaskSpec) -> dict[Split, int]:
    caps: dict[Split, int | None] = {"train": task.max_train_rows, "dev": task.max_dev_rows, "test": task.max_test_rows}
    return {split: cap for split, cap in caps.items() if cap is not None}


def surrogate_key(recipe: Recipe) -> bytes:
    """The key of the surrogates: from the environment, or from a file beside the runs that only its owner can read."""
    if recipe.privacy.key_env is not None:
        value = os.environ.get(recipe.privacy.key_env)
        if not value or len(value) < 16:
            raise UserError(
                f"{recipe.privacy.key_env}: is not set, or shorter than 16 characters. It holds the surrogate key."
            )
        return value.encode()
    path = recipe.run_folder.parent / "surrogate.key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
            f.write(secrets.token_hex(32))
    return bytes.fromhex(path.read_text())
