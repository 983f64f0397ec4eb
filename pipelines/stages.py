"""The order of stages, what is done already, and how one is run: inputs hashed, skipped or resumed, tracked, finished."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipelines import artifacts
from pipelines.recipe import Recipe

if TYPE_CHECKING:
    from pipelines.tracking import StageRun

log = logging.getLogger("freehold")
LOST = "lost"  # fact of a manifest: what another run of the stage may still get
ORDER = ("prepare", "train", "evaluate", "decide")
FOLDERS = {"prepare": "dataset", "train": "adapter", "evaluate": "report", "decide": "decision", "promote": "promotion"}


@dataclass(frozen=True, slots=True)
class Made:
    """What a stage says of the folder it filled. See artifacts.Manifest for the fields."""

    counts: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    timed: list[str] = field(default_factory=list)
    scratch: list[str] = field(default_factory=list)


class Stage(Protocol):
    """The two functions of a verb's module."""

    def inputs(self, recipe: Recipe) -> dict[str, str]: ...

    def run(self, recipe: Recipe, out: Path, tracked: StageRun, how: How) -> Made: ...


@dataclass(frozen=True, slots=True)
class How:
    """What a command line adds to the recipe."""

    recipe_path: Path
    replay: bool = False
    offline: bool = False
    yes: bool = False  # what leaves the machine was agreed to
    budget_usd: Decimal | None = None
    on_event: Callable[[str], None] = log.info


@dataclass(frozen=True, slots=True)
class Outcome:
    stage: str
    folder: Path
    manifest: artifacts.Manifest
    skipped: bool


def folder(recipe: Recipe, stage: str) -> Path:
    return recipe.run_folder / FOLDERS[stage]


def finish(out: Path, name: str, inputs: dict[str, str], made: Made) -> artifacts.Manifest:
    """Move a stage's partial folder into place."""
    return artifacts.finish(
        out, name, inputs, timed=made.timed, counts=made.counts, facts=made.facts, scratch=made.scratch
    )


def run(name: str, recipe: Recipe, how: How) -> Outcome:
    """Run one stage, or find that it is done. Holds the run folder's lock while it works."""
    stage: Stage = importlib.import_module(f"pipelines.{name}")
    out = folder(recipe, name)
    with artifacts.locked(recipe.run_folder):
        artifacts.tidy(out)
        inputs = stage.inputs(recipe)
        done = artifacts.read_manifest(out)
        lost = done.facts.get(LOST) if done is not None and not how.replay else None
        if lost:
            how.on_event(f"{name}: {len(lost)} answers were lost on the way last time ({lost[0]}); asking them again")
        if done is not None and done.inputs == inputs and not lost:
            how.on_event(f"{name}: unchanged, kept {out}")
            return Outcome(name, out, done, skipped=True)
        how.on_event(f"{name}: begins")
        from pipelines.tracking import tracked_stage

        partial = artifacts.open_partial(out, inputs)
        with tracked_stage(recipe, how.recipe_path, name, inputs) as tracked:
            made = stage.run(recipe, partial, tracked, how)
            manifest = finish(out, name, inputs, made)
            tracked.finished(manifest)
        return Outcome(name, out, manifest, skipped=False)
