"""`freehold forget`: everything that came from a person, what must be rebuilt, and the rebuilding.

A subject is looked up by keyed hashes, so no list of people is kept: an e-mail address, an id of a source, a surrogate as
the dataset shows it, or a hash. Datasets that were replaced keep their lineage under `lineage/`, so that an adapter trained
on one of them is found too.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_prep.records import UserError
from data_prep.redact import Surrogates
from pipelines import artifacts, recipe_file, stages, tombstones
from pipelines.recipe import Recipe
from pipelines.stages import How

ARCHIVE, CERTIFICATES = "lineage", "forgotten"


@dataclass(frozen=True, slots=True)
class Traces:
    """What one run folder holds of a subject. usd: what rebuilding costs; None where it was never measured."""

    recipe: str
    subjects: list[str]  # hashes
    datasets: list[str]  # content hashes, the current one first
    records: list[str]
    rows: list[dict[str, str]]  # row, split, file, at
    adapters: list[str]  # content hashes of adapters trained on these datasets
    served: list[str]  # name of each version of theirs that serves
    rebuild_s: float | None = None
    rebuild_usd: str | None = None
    marked: list[str] = field(default_factory=list)  # MLflow models and versions


def keep_lineage(dataset: Path, run_folder: Path) -> None:
    """Before a dataset is replaced: keep whose records it held and what became of them."""
    manifest = artifacts.read_manifest(dataset)
    if manifest is None:
        return
    kept = run_folder / ARCHIVE / manifest.content_sha256[:12]
    if not kept.exists():
        partial = kept.with_name(kept.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for path in (*dataset.glob("lineage-*.parquet"), *dataset.glob("subjects-*.parquet")):
            shutil.copy(path, partial)
        partial.rename(kept)


def find(subject: str, runs: Path) -> list[tuple[Recipe, Path, Traces]]:
    """The subject's traces in every run folder under `runs`. Raises UserError where there is no run, or no recipe to it."""
    folders = sorted(p.parent.parent for p in runs.glob("*/dataset/manifest.json"))
    if not folders:
        raise UserError(f"{runs}: holds no prepared dataset. Give the folder of your runs with --runs.")
    found = []
    for folder in folders:
        recipe, path = _recipe(folder)
        traces = _traces(recipe, _hashes(subject, recipe))
        if traces.records or traces.subjects:
            found.append((recipe, path, traces))
    return found


def _recipe(run_folder: Path) -> tuple[Recipe, Path]:
    manifest = artifacts.read_manifest(run_folder / "dataset")
    assert manifest is not None
    path = (run_folder / str(manifest.facts["recipe"])).resolve()
    if not path.is_file():
        raise UserError(
            f"{run_folder}: was prepared from {path}, which is not there."
            " Put the recipe back: it says where the sources and the surrogate key are."
        )
    recipe = recipe_file.load(path)
    # the recipe's relative workdir counts from where it was run; the folder found is what counts
    return recipe.model_copy(update={"workdir": run_folder.absolute()}), path


def _hashes(subject: str, recipe: Recipe) -> set[str]:
    """Every hash under which the subject may be filed."""
    from pipelines.prepare import surrogate_key

    if re.fullmatch(r"(?:subject|customer)-[0-9a-f]{12}", subject):
        return {subject}
    surrogates = Surrogates(surrogate_key(recipe))
    values = {subject, *(f"{s.name}:{subject}" for s in recipe.sources)}
    return {surrogates.subject(v) for v in values} | {surrogates.id("customer", v) for v in values}


def _traces(recipe: Recipe, wanted: set[str]) -> Traces:
    current = artifacts.need(stages.folder(recipe, "prepare"), "prepare").content_sha256
    here = {current[:12]: stages.folder(recipe, "prepare")}
    archive = recipe.run_folder / ARCHIVE
    if archive.exists():
        here |= {p.name: p for p in sorted(archive.iterdir()) if p.name not in here and p.suffix != ".partial"}
    subjects, records, datasets, rows = set[str](), set[str](), list[str](), list[dict[str, str]]()
    for sha, folder in here.items():
        mine = {(r["record"], r["subject"]) for r in _table(folder, "subjects") if r["subject"] in wanted}
        if mine:
            datasets.append(sha)
            subjects |= {s for _, s in mine}
            of = {r for r, _ in mine}
            records |= of
            rows += [r for r in _table(folder, "lineage") if r["record"] in of] if sha == current[:12] else []
    shown = [{k: r[k] for k in ("row", "split", "file", "at")} for r in rows]
    adapters = _adapters(recipe, set(datasets))
    from pipelines import economics  # brings scipy

    seconds, usd = economics.build_cost(recipe)
    return Traces(
        recipe.name,
        sorted(subjects),
        datasets,
        sorted(records),
        shown,
        adapters,
        _served(recipe, adapters),
        seconds,
        f"{usd:.4f}" if usd is not None else None,
    )


def _table(folder: Path, name: str) -> Iterator[dict[str, str]]:
    import pyarrow.parquet as pq

    for path in sorted(folder.glob(f"{name}-*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()


def _adapters(recipe: Recipe, datasets: set[str]) -> list[str]:
    """Adapters that were trained on one of the datasets: the one on disk, and those that MLflow knows."""
    found = []
    manifest = artifacts.read_manifest(stages.folder(recipe, "train"))
    if manifest is not None and manifest.inputs["dataset"][:12] in datasets:
        found.append(manifest.content_sha256)
    state = recipe.run_folder / "tracking.json"
    trained = json.loads(state.read_text()).get("datasets", {}) if state.exists() else {}
    return [*found, *(a for a, d in trained.items() if d[:12] in datasets and a not in found)]


def _served(recipe: Recipe, adapters: list[str]) -> list[str]:
    path = stages.folder(recipe, "promote") / "promotion.json"
    if not path.exists():
        return []
    name = str(json.loads(path.read_text())["name"])
    return [name] if any(name.endswith(f"@{a[:12]}") for a in adapters) else []


def execute(subject: str, runs: Path, how: How) -> list[dict[str, Any]]:
    """Write tombstones, rebuild every dataset that held the subject, erase what evaluation kept of its rows, mark its
    adapters, and certify each."""
    certificates = []
    for recipe, path, traces in find(subject, runs):
        when = datetime.now(UTC).isoformat(timespec="seconds")
        with artifacts.locked(recipe.run_folder):
            tombstones.add(recipe.run_folder, traces.subjects, when)
            erased = _erase(recipe, set(traces.records))
        before = artifacts.need(stages.folder(recipe, "prepare"), "prepare")
        outcome = stages.run("prepare", recipe, stages.How(path, on_event=how.on_event))
        left = _traces(recipe, set(traces.subjects))
        still = [r for r in left.rows if left.datasets and left.datasets[0] == outcome.manifest.content_sha256[:12]]
        if still:
            raise AssertionError(f"{len(still)} rows of the subject are in the rebuilt dataset")
        gone = set(traces.records)
        rows_after = len({r["row"] for r in _table(outcome.folder, "lineage") if r["record"] in gone})
        from pipelines.tracking import mark_forgotten

        marked = mark_forgotten(recipe, traces.adapters, when)
        certificates.append(
            _certify(
                recipe, traces, marked, erased, before.content_sha256, outcome.manifest.content_sha256, rows_after, when
            )
        )
    return certificates


def _erase(recipe: Recipe, records: set[str]) -> list[str]:
    """Take the records' rows out of what evaluation kept. Returns what was erased.

    Stored answers lose their lines. Report, decision and review sheets go whole, for their hashes would no longer fit, and with
    them the pages that MLflow holds, where one of the rows was ever evaluated: an older one of them may show it.
    """
    from evaluation.results import read_lines
    from pipelines.evaluate import ANSWERS
    from pipelines.tracking import remove_pages

    folders = [recipe.run_folder / "dataset", *sorted((recipe.run_folder / ARCHIVE).glob("*"))]
    held = [r for folder in folders for r in _table(folder, "lineage") if r["record"] in records]
    rows = {r["row"] for r in held}
    erased = []
    for path in sorted((recipe.run_folder / ANSWERS).glob("*.jsonl")):
        answers = list(read_lines(path))
        left = [a for a in answers if a["item"] not in rows]
        if len(left) < len(answers):
            artifacts.write_text(path, "".join(json.dumps(a, ensure_ascii=False) + "\n" for a in left))
            erased.append(f"{ANSWERS}/{path.name}: lines of these rows")
    shown = any(r["split"] in ("dev", "test") for r in held)
    if shown:
        erased += [f"MLflow: {page}" for page in remove_pages(recipe)]
    for stage in ("evaluate", "decide"):
        folder = stages.folder(recipe, stage)
        for path in (folder, folder.with_name(folder.name + ".partial")):
            if path.exists() and (shown or path.name.endswith(".partial")):
                shutil.rmtree(path)
                erased.append(f"{path.name}/")
    if shown and (review := recipe.run_folder / "review").exists():
        shutil.rmtree(review)
        erased.append("review/")
    return erased


def _certify(
    recipe: Recipe,
    traces: Traces,
    marked: list[str],
    erased: list[str],
    before: str,
    after: str,
    rows_after: int,
    when: str,
) -> dict[str, Any]:
    from pipelines.tracking import PAGES, earlier_stores

    stores = earlier_stores(recipe) if erased else []
    certificate = {
        "kind": "certificate of erasure",
        "when": when,
        **asdict(traces),
        "marked": marked,
        "erased": erased,
        "records": len(traces.records),
        "rows": len(traces.rows),
        "dataset_before": before,
        "dataset_after": after,
        "rows_after": rows_after,
        "open": [
            *([f"{rows_after} rows are of records that told of this person before, and no longer do: look at them"] if rows_after else []),
            *(f"{name} still serves and was trained on these rows: `freehold run RECIPE --promote` replaces it" for name in traces.served),
            *(
                f"adapter {sha[:12]} was trained on these rows and is still in MLflow and wherever it was published, on disk until the"
                " next training: `freehold run RECIPE` trains one without them; delete the copies of this one"
                for sha in traces.adapters
            ),
            *(f"MLflow at {store} holds earlier runs, which may show these rows: delete {' and '.join(PAGES)} there" for store in stores),
        ],
    }  # fmt: skip
    folder = recipe.run_folder / CERTIFICATES
    folder.mkdir(exist_ok=True)
    name = f"{when[:10]}-{artifacts.digest(traces.subjects)[:12]}.json"
    artifacts.write_text(folder / name, json.dumps(certificate, indent=1))
    return {**certificate, "certificate": str(folder / name)}
