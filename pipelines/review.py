"""`freehold review`: a blind sheet for people, and their verdicts read back. They calibrate the judge at the next `freehold decide`.

Each sheet has a folder of its own under `review/` in the run folder: a sheet that is still with somebody stays readable when a
later evaluation draws another. `labels.json` holds the verdicts of the sheet that was read last.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_prep.records import UserError
from evaluation import judge, qualification, review
from evaluation.results import Item
from evaluation.summary import View
from pipelines import artifacts, judging, report_folder, stages
from pipelines.recipe import Judge, Recipe

LABELS = "labels.json"


def folder(recipe: Recipe) -> Path:
    return recipe.run_folder / "review"


def write(recipe: Recipe) -> dict[str, Any]:
    """Draw the sheet of the stored report and write it as CSV and page, with the key beside. What was written, as JSON."""
    report = stages.folder(recipe, "evaluate")
    made = artifacts.need(report, "evaluate")
    view, chosen = report_folder.read_view(report), recipe.evaluation.review
    candidate, baseline = recipe.decision.candidate, recipe.decision.baseline
    judged = {j.item: j for j in judging.read(report) if j.kind == "pair"}
    most = len(view.items) if not judged else recipe.evaluation.judge.max_items if recipe.evaluation.judge else 0
    compared = [
        c
        for c in judge.comparisons(view, candidate, baseline, max_items=most, seed=recipe.seed)
        if c.candidate.strip() != c.baseline.strip()
    ]
    gaps = {c.item.id: _gap(recipe, view, c.item) for c in compared}
    why = {i: review.dispute(judged.get(i), gap) for i, gap in gaps.items()} if judged else review.far_apart(gaps)
    strata: dict[str, review.Stratum] = {i: "disputed" if reason else "clear" for i, reason in why.items()}
    sheet = review.draw(
        compared, strata, name=recipe.name, disputed=chosen.disputed, clear=chosen.clear, seed=recipe.seed
    )
    out = folder(recipe) / sheet.id
    out.mkdir(parents=True, exist_ok=True)
    artifacts.write_text(out / "key.json", sheet.key_json())
    artifacts.write_text(out / f"{sheet.id}.csv", review.csv_of(sheet))
    artifacts.write_text(out / f"{sheet.id}.html", review.page(sheet))
    drawn, arms = {d.item for d in sheet.key.values()}, (candidate, baseline)
    leaned = {item for arm, item in made.facts.get("leaned", ()) if arm in arms}
    local = sum(c.item.sensitivity == "local_only" or c.item.id in leaned for c in compared if c.item.id in drawn)
    return {
        "sheet": sheet.id, "lines": len(sheet.lines), "disputed": sum(s == "disputed" for s in strata.values()),
        "clear": sum(s == "clear" for s in strata.values()), "local_only_lines": local,
        "page": str(out / f"{sheet.id}.html"), "csv": str(out / f"{sheet.id}.csv"),
    }  # fmt: skip


def _gap(recipe: Recipe, view: View, item: Item) -> float | None:
    """Candidate minus baseline by the metric of the item's gate; None where it could not be measured."""
    metric = recipe.decision.metrics.get(item.task, "chrf")
    c, b = (view.values.get((arm, item.id, metric)) for arm in (recipe.decision.candidate, recipe.decision.baseline))
    return None if c is None or b is None else c - b


def read(recipe: Recipe, files: Sequence[Path]) -> dict[str, Any]:
    """Take filled sheets, one file a reviewer, all of the same sheet. Raises ReviewError with every mistake of a file."""
    contents = []
    for path in files:
        try:
            contents.append((path.name, path.read_bytes()))
        except OSError as e:
            raise UserError(f"{path}: {e.strerror}. Give the file that was filled in.") from e
    sheets = {review.sheet_of(data, name) for name, data in contents}
    if len(sheets) != 1:
        raise review.ReviewError(
            f"these files are of several sheets ({', '.join(sorted(sheets))}); read one at a time."
        )
    known = sorted(p.parent.name for p in folder(recipe).glob("*/key.json"))
    sheet = sheets.pop()
    if sheet not in known:
        raise review.ReviewError(f"sheet {sheet!r} is none of this run's: {', '.join(known) or 'it has none'}.")
    key, strata = review.read_key(folder(recipe) / sheet / "key.json")
    filled = [review.read(data, name, key) for name, data in contents]
    scores = review.scores(filled, key)
    body = {
        "sheet": sheet, "strata": strata, "digests": {d.item: d.digest for d in key.values() if d.item in scores},
        "scores": scores, "reviewers": [asdict(f) for f in filled], "reviewers_agree": review.reviewers_agree(filled),
    }  # fmt: skip
    artifacts.write_text(folder(recipe) / LABELS, json.dumps(body, indent=1, ensure_ascii=False))
    return {
        "sheet": sheet, "labels": len(scores), "lines": len(key),
        "reviewers": [
            {"file": f.name, "verdicts": len(f.verdicts), "open": f.open(key), "repeated": f.repeated} for f in filled
        ],
        "reviewers_agree": body["reviewers_agree"],
    }  # fmt: skip


def digest(recipe: Recipe) -> str:
    """Of the labels and of what the judge must show: what the decision takes from people. Empty without either."""
    path = folder(recipe) / LABELS
    labels = artifacts.file_sha256(path) if path.exists() else None
    if labels is None and recipe.evaluation.judge is None:
        return ""
    j = recipe.evaluation.judge
    return artifacts.digest([labels, j and [_bounds(j), j.margin]])


def _arms(recipe: Recipe) -> dict[str, str]:
    return {"candidate": recipe.decision.candidate, "baseline": recipe.decision.baseline}


def _bounds(j: Judge) -> qualification.Bounds:
    return qualification.Bounds(j.min_labels, j.min_kappa, j.min_consistency, j.max_padded_wins, j.max_lean)


def summary(recipe: Recipe, view: View) -> dict[str, Any] | None:
    """What judge and people say, as stored: qualification, win rates per slice, gates. None where neither said anything.

    A label counts while both answers are the ones that were read; labels on other answers are counted as stale.
    """
    report, path = stages.folder(recipe, "evaluate"), folder(recipe) / LABELS
    judged, chosen = judging.read(report), recipe.evaluation.judge
    who = artifacts.need(report, "evaluate").facts.get("judge") or {"model": None}
    if any(who.get(side, arm) != arm for side, arm in _arms(recipe).items()):
        judged, who = [], {"model": None}  # of other arms than are compared now
    data = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    if data is None and not judged:
        return None
    if not judged:
        compared = judge.comparisons(
            view, recipe.decision.candidate, recipe.decision.baseline, max_items=len(view.items), seed=recipe.seed
        )
        judged = judge.judgements(compared, {}, max_chars=sys.maxsize)
    labels = people = None
    if data is not None:
        now = {j.item: j.digest for j in judged if j.kind == "pair"}
        fresh = {i: s for i, s in data["scores"].items() if now.get(i) == data["digests"][i]}
        labels = qualification.Labels(fresh, data["strata"]) if fresh else None
        people = {**{k: data[k] for k in ("sheet", "reviewers_agree")}, "labels": len(fresh)}
        people["stale"] = len(data["scores"]) - len(fresh)
    found = qualification.summarise(
        judged, view.items, labels, _bounds(chosen or Judge()), own=recipe.judged_by_its_own, seed=recipe.seed
    )
    margin = chosen.margin if chosen is not None else None
    gates = [asdict(g) for g in qualification.gates(found, margin)] if margin is not None else []
    return {**who, **found, "gates": gates, "people": people}
