"""`freehold prepare`: sources → dataset folder (Parquet per split, lineage, subjects, card), audited for leaks."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep import card
from data_prep.dataset import build
from data_prep.parquet import SPLITS
from data_prep.records import Split, UserError
from data_prep.sensitivity import Rule
from data_prep.steps import Settings
from data_prep.work import Executor, Source
from pipelines import artifacts, egress, forget, recipe_file, stages, teaching, tombstones
from pipelines.progress import progress_of_steps
from pipelines.recipe import Recipe
from pipelines.recipe import Task as TaskSpec
from pipelines.stages import How, Made
from pipelines.teaching import Teaching, name_of

if TYPE_CHECKING:
    from pipelines.tracking import StageRun


def inputs(recipe: Recipe) -> dict[str, str]:
    """Settings, every source's content, who was forgotten, and which surrogate key is used (its hash, not the key)."""
    chosen = recipe.model_dump(include={"seed", "privacy", "dataset", "tasks", "teacher"}, mode="json")
    chosen["dataset"].pop("executor")  # any executor gives the same dataset
    chosen["privacy"].pop("canaries")  # planted when training, not in the dataset
    chosen["privacy"]["planted"] = artifacts.digest(_planted(recipe))  # what is looked for, wherever the list lies
    for how in ("budget_usd", "concurrency", "timeout_s", "api_key_env", "price") if chosen["teacher"] else ():
        chosen["teacher"].pop(how)  # answers are kept, so neither do these decide what it holds
    for source in recipe.sources:
        if not source.path.exists():
            raise UserError(
                f"{source.path}: no such file or folder. Correct `path` of source {source.name!r} in the recipe."
            )
    return {
        "settings": artifacts.digest(chosen),
        "surrogate key": artifacts.digest(surrogate_key(recipe).hex())[:16],
        "forgotten": artifacts.digest(tombstones.read(recipe.run_folder)),
        **{
            f"source {s.name}": artifacts.digest([s.kind, s.options, s.licence, artifacts.tree_sha256(s.path)])
            for s in recipe.sources
        },
    }


def is_done(recipe: Recipe) -> bool:
    """Is the dataset there, from these sources and settings?"""
    done = artifacts.read_manifest(stages.folder(recipe, "prepare"))
    return done is not None and done.inputs == inputs(recipe)


def dry_run(recipe: Recipe) -> list[egress.Plan]:
    """What `prepare` would send and spend at most. Asks nobody and writes nothing."""
    made = teaching.plan(recipe)
    return [] if made is None or is_done(recipe) else [made]


def run(recipe: Recipe, out: Path, tracked: StageRun, how: How) -> Made:
    """Fill the dataset folder. Raises LeakError (exit code 4) where the audit finds what should have been masked."""
    forget.keep_lineage(stages.folder(recipe, "prepare"), recipe.run_folder)
    executor = recipe.dataset.executor
    teacher = Teaching(recipe, out, how) if recipe.teacher is not None else None
    sources = {s.name: (s, artifacts.tree_sha256(s.path)) for s in recipe.sources}
    with progress_of_steps("prepare") as update:
        counts = build(
            _sources(recipe),
            _settings(recipe),
            key=surrogate_key(recipe),
            out=out,
            progress=update,
            executor=Executor(
                executor.kind, recipe_file.options("data_prep.executors", executor.kind, executor.options)
            ),
            ask=teacher.ask if teacher is not None else None,
            card=lambda counts: card.render(
                recipe.name,
                counts,
                {n: card.SourceOf(s.kind, s.licence, sha) for n, (s, sha) in sources.items()},
                out,
                masked_by=_masked_by(recipe),
                teacher=teacher.facts if teacher is not None else None,
            ),
        )
    tracked.dataset(out, SPLITS)
    facts: dict[str, Any] = {
        "masked": dict(counts.masked),
        "engine": _masked_by(recipe),
        "languages": dict(counts.languages),
        "leakage": counts.leakage,
        "audit": counts.audit,
        "warnings": counts.warnings,
        "teacher": teacher.facts if teacher is not None else None,
        "recipe": os.path.relpath(how.recipe_path.absolute(), recipe.run_folder),  # survives moving the project whole
    }
    # a teacher's answers are asked once and kept; which model gave them when is no function of the inputs
    return Made(counts=counts.steps, facts=facts, timed=["teacher.jsonl", "egress.json"] if teacher is not None else [])


def _masked_by(recipe: Recipe) -> str:
    """What the settings find and what they do not, for card and report."""
    kind = recipe.privacy.engine.kind
    if not recipe.privacy.redaction:
        return "Nothing was masked: privacy.redaction is off."
    left = "order and serial numbers, and the ids of rows are the ticket numbers."
    if kind == "core":
        return (
            "By the engine core: participants wherever a source names them, contact data, numbers with checksums, announced"
            f" account numbers and addresses, secrets. Not masked: names of third persons in free text, {left}"
        )
    return f"By the engine {kind} after the core. Names of third persons in free text are masked in part. Not masked: {left}"


def _planted(recipe: Recipe) -> tuple[str, ...]:
    path = recipe.privacy.planted
    if path is None:
        return ()
    try:
        found = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: cannot be read ({e}). privacy.planted names a text file, one value a line.") from e
    if not found:
        raise UserError(f"{path}: holds no value. privacy.planted names a text file, one value a line.")
    return found


def _sources(recipe: Recipe) -> list[Source]:
    return [
        Source(s.name, s.kind, s.path, recipe_file.options("data_prep.sources", s.kind, s.options))
        for s in recipe.sources
    ]


def _settings(recipe: Recipe) -> Settings:
    d, p = recipe.dataset, recipe.privacy
    return Settings(
        tasks={t.kind: t.options for t in recipe.tasks},
        keep_words=p.keep_words,
        near_duplicate_threshold=d.near_duplicate_threshold,
        test_from=d.test_from,
        test_until=d.test_until,
        dev_share=d.dev_share,
        group_by=d.group_by,
        min_label_examples=d.min_label_examples,
        max_same_answer=d.max_same_answer,
        max_rows={t.kind: _caps(t) for t in recipe.tasks},
        seed=recipe.seed,
        redaction=p.redaction,
        engine=p.engine.kind,
        engine_options=p.engine.options,
        rules=tuple(Rule(r.sensitivity, r.source, dict(r.fields), r.kinds) for r in p.sensitivity),
        forgotten=tuple(tombstones.read(recipe.run_folder)),
        max_bad_records=d.max_bad_records,
        planted=_planted(recipe),
        teacher=name_of(recipe.teacher) if recipe.teacher is not None else None,
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
        made = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            f.write(secrets.token_hex(32))
            f.flush()
            os.fsync(f.fileno())
        with suppress(FileExistsError):  # another command was first
            os.link(made, path)
        made.unlink()
    text = path.read_text().strip()
    if re.fullmatch(r"[0-9a-f]{64}", text) is None:
        raise UserError(
            f"{path}: holds no key of 32 bytes in hexadecimal. Bring the file back from where it was kept; without it, delete it,"
            " and everything is prepared anew under another key."
        )
    return bytes.fromhex(text)
