"""A judge and a reviewer from the recipe to the decision: a real judge server, the command, the sheet read back."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from evaluation.results import read_answers
from pipelines import artifacts, recipe_file, report_folder
from pipelines.recipe_file import RecipeError
from tests.conftest import Workspace
from tests.evaluation.judge_server import Seen, judging

JUDGE = """\
  judge:
    base_url: {url}
    model: arbiter-7b
    families: {{arbiter-7b: arbiter, tiny: llama}}
    margin: 0.1
  api: {{label_mode"""
LOCAL = ("base", "few_shot", "tuned")


def longest(seen: Seen) -> str:
    return "A" if len(seen.a) > len(seen.b) else "B"


def decision(workspace: Workspace) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workspace.run_folder / "decision" / "judge.json").read_text())
    return found


def test_from_the_judge_to_the_sheet_and_back_into_the_decision(copied: Workspace) -> None:
    """Judged over HTTP, drawn, filled, read, decided: unqualified numbers are shown and gate nothing; nobody is asked twice."""
    with judging(longest) as server:
        copied.edit("  api: {label_mode", JUDGE.format(url=server.url))
        done = copied.freehold("evaluate", "desk.yaml")
        assert done.returncode == 0, done.stderr[-3000:]
        asked = len(server.seen)
        assert asked >= 2
        sent = json.dumps(server.bodies)
        assert not [w for w in ("tuned", "candidate", "baseline", "draft_reply/") if w in sent]
        assert json.loads(done.stdout or "{}") if done.stdout.startswith("{") else True
        assert "judge" in json.loads((copied.run_folder / "report" / "egress.json").read_text())[-1]["purpose"]

        written = json.loads(copied.freehold("review", "desk.yaml", "--json").stdout)
        table = Path(written["csv"])
        rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines(keepends=True)))
        assert len(rows) == written["lines"] >= 1
        filled = copied.folder / "filled.csv"
        with filled.open("w", newline="") as f:
            writer = csv.DictWriter(f, list(rows[0]), delimiter=";")
            writer.writeheader()
            writer.writerows({**r, "verdict": "1"} for r in rows)
        read = copied.freehold("review", "desk.yaml", "--read", str(filled))
        assert read.returncode == 0, read.stderr
        assert f"labels for {len(rows)} of {len(rows)} lines" in read.stdout

        copied.edit("margin: 0.1", "margin: 0.2")  # what the judge must show is the decision's affair
        decided = copied.freehold("run", "desk.yaml", "--replay")
        assert decided.returncode in (0, 3, 4), decided.stderr[-3000:]
        assert decided.stderr.count("unchanged, kept") == 3
        assert len(server.seen) == asked
    found = decision(copied)
    assert (found["model"], found["qualified"], found["people"]["labels"]) == ("arbiter-7b", False, len(rows))
    assert [g["passed"] for g in found["gates"]] == [None]
    assert "has not qualified" in found["gates"][0]["sentence"]
    assert found["slices"]["task=draft_reply"]["corrected"] is not None
    store = MlflowClient(tracking_uri=f"sqlite:///{copied.folder}/runs/mlflow.db")
    experiment = store.get_experiment_by_name("desk")
    logged = [r.data.metrics for r in store.search_runs([experiment.experiment_id]) if r.info.run_name == "decide"]
    shown = [m for m in logged if "judge/qualified" in m]
    assert shown
    assert all(m["judge/qualified"] == 0 and 0 <= m["judge/draft_reply/win_rate_corrected"] <= 1 for m in shown)
    page = (copied.run_folder / "decision" / "report.html").read_text()
    assert "Not qualified" in page
    assert "arbiter-7b" in page

    filled.write_text(filled.read_text().replace(rows[0]["id"], "r-nobody"))
    refused = copied.freehold("review", "desk.yaml", "--read", str(filled))
    assert refused.returncode == 2
    assert "unknown id 'r-nobody'" in refused.stderr


def test_what_an_evaluation_had_when_it_broke_off_is_kept_where_other_settings_change(copied: Workspace) -> None:
    load = (
        "  load: {servers: [{arm: base, base_url: 'http://127.0.0.1:9/v1', model: m, machine: two cores}],"
        " p95: {latency_ms: 100}}\n"
    )
    copied.edit(
        "  batch_size: 2\n", "  batch_size: 4\n" + load
    )  # other batches, so the report's answers are none of these
    with judging(longest) as server:
        copied.edit("  api: {label_mode", JUDGE.format(url=server.url))
        broken = copied.freehold("evaluate", "desk.yaml")
        assert (broken.returncode, "127.0.0.1:9" in broken.stderr) == (2, True), broken.stderr[-3000:]
        asked = len(server.seen)
        assert asked >= 2
        keyed = copied.run_folder / "report.partial" / artifacts.KEYED
        said = [a for arm in LOCAL for path in keyed.glob(f"{arm}-*.jsonl") for a in read_answers(path)]
        copied.edit(load, "")
        done = copied.freehold("evaluate", "desk.yaml")
        assert done.returncode == 0, done.stderr[-3000:]
        assert len(server.seen) == asked
    report = copied.run_folder / "report"
    found = [a for a in report_folder.read_answers(report) if a.arm in LOCAL]
    assert {(a.arm, a.item): a.asked_at for a in said} == {(a.arm, a.item): a.asked_at for a in found}
    assert not (report / artifacts.KEYED).exists()


@pytest.mark.parametrize(
    ("judge", "told"),
    [
        ("{}", "family of 'tiny' is unknown"),
        ("{families: {tiny: llama}}", "tiny is of the same family as the baseline"),
        (
            "{base_url: 'http://127.0.0.1:9/v1', model: llama-3.3-70b, families: {tiny: llama}}",
            "same family as the baseline",
        ),
        (
            "{base_url: 'http://127.0.0.1:9/v1', model: house-7, families: {tiny: llama}}",
            "family of 'house-7' is unknown",
        ),
        ("{base_url: 'http://127.0.0.1:9/v1'}", "base_url needs `model`"),
    ],
)
def test_a_judge_that_may_not_judge_is_refused_before_anything_runs(
    workspace: Workspace, judge: str, told: str
) -> None:
    workspace.edit("  api: {label_mode", f"  judge: {judge}\n  api: {{label_mode")
    with pytest.raises(RecipeError, match=told):
        recipe_file.load(workspace.recipe)


def test_a_judge_of_the_family_may_judge_by_the_recipes_leave(workspace: Workspace) -> None:
    workspace.edit(
        "  api: {label_mode", "  judge: {families: {tiny: llama}, allow_same_family: true}\n  api: {label_mode"
    )
    assert recipe_file.load(workspace.recipe).judged_by_its_own == {"candidate", "baseline"}


def test_without_a_report_there_is_nothing_to_review(workspace: Workspace) -> None:
    done = workspace.freehold("review", "desk.yaml")
    assert done.returncode == 2
    assert "freehold evaluate" in done.stderr
