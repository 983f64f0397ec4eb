"""The whole way on a tiny real model: artifacts, skipping, resume, world size, refusals, promotion, MLflow."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from evaluation.decision import HEADLINES
from tests.conftest import Workspace, help_desk, make_tiny_model, write_export
from tests.evaluation.test_faults import Reply, serving


def test_a_run_leaves_four_finished_artifacts_and_a_report(finished: Workspace) -> None:
    for name in ("dataset", "adapter", "report", "decision"):
        manifest = finished.manifest(name)
        assert manifest["content_sha256"]
        assert manifest["versions"]["torch"]
    assert not list(finished.run_folder.glob("*.partial"))
    page = (finished.run_folder / "decision" / "report.html").read_text()
    assert "<svg" in page
    assert "<script" not in page
    assert not re.search(r"src=|href=\"(?!#)", page)


def test_rows_in_are_rows_out_and_drops_at_every_step(finished: Workspace) -> None:
    counts = finished.manifest("dataset")["counts"]
    read, split = counts["read desk"], counts["split"]
    assert read["in"]["messages"] == read["out"]["messages"] + sum(read["dropped"].values())
    assert split["in"]["records"] == sum(split["out"].values()) + sum(split["dropped"].values())
    select = counts["select"]
    assert select["in"]["rows"] == sum(select["out"].values()) + sum(select["dropped"].values())


def test_the_dataset_folder_opens_with_datasets(finished: Workspace, tmp_path: Path) -> None:
    from datasets import load_dataset

    loaded = load_dataset(str(finished.run_folder / "dataset"), cache_dir=str(tmp_path))
    assert set(loaded) == {"train", "dev", "test"}
    row = loaded["train"][0]
    assert row["prompt"][0]["role"] == "system"
    assert row["completion"][0]["role"] == "assistant"


def test_no_raw_participant_is_in_anything_that_was_written(finished: Workspace) -> None:
    raw = [u[k] for u in help_desk()["users"] for k in ("name", "email")]
    text = "\n".join(p.read_text(errors="ignore") for p in finished.run_folder.rglob("*.json*")) + "".join(
        str(r)
        for s in ("train", "dev", "test")
        for r in _parquet(finished.run_folder / "dataset" / f"{s}-00000.parquet")
    )
    assert "Customer" not in text
    assert [value for value in raw if value in text] == []


def _parquet(path: Path) -> list[object]:
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


def test_lineage_leads_from_a_row_to_file_and_place(finished: Workspace) -> None:
    lineage = _parquet(finished.run_folder / "dataset" / "lineage-00000.parquet")
    rows = [
        r["id"]
        for s in ("train", "dev", "test")
        for r in _parquet(finished.run_folder / "dataset" / f"{s}-00000.parquet")
    ]
    assert {r["row"] for r in lineage} == set(rows)
    assert {r["file"] for r in lineage} == {"tickets.json", "comments.json"}
    assert all(r["at"].split("/")[1] == r["file"].removesuffix(".json") and len(r["sha256"]) == 64 for r in lineage)


def test_the_decision_holds_a_ledger_of_every_item_without_its_texts(finished: Workspace) -> None:
    lines = (finished.run_folder / "decision" / "regressions.jsonl").read_text().splitlines()
    items = [json.loads(line) for line in (finished.run_folder / "report" / "items.jsonl").read_text().splitlines()]
    assert sorted(json.loads(line)["item"] for line in lines) == sorted(i["id"] for i in items)
    assert not [i for i in items for line in lines if i["prompt"][-1]["content"] in line]


def test_a_second_run_does_nothing_and_says_so(copied: Workspace) -> None:
    before = {n: copied.manifest(n)["content_sha256"] for n in ("dataset", "adapter", "report", "decision")}
    stamp = (copied.run_folder / "adapter" / "manifest.json").stat().st_mtime_ns
    done = copied.freehold("run", "desk.yaml")
    assert done.stderr.count("unchanged, kept") == 4, done.stderr
    assert (copied.run_folder / "adapter" / "manifest.json").stat().st_mtime_ns == stamp
    assert before == {n: copied.manifest(n)["content_sha256"] for n in before}


def test_json_is_one_object_on_stdout(copied: Workspace) -> None:
    done = copied.freehold("decide", "desk.yaml", "--json")
    parsed = json.loads(done.stdout)
    assert parsed["verdict"] in HEADLINES
    assert (parsed["stage"], parsed["folder"]) == ("decide", str(copied.run_folder / "decision"))


def test_a_changed_gate_is_decided_again_from_stored_answers(copied: Workspace) -> None:
    copied.edit("min_items: 10", "min_items: 500")
    done = copied.freehold("run", "desk.yaml", "--replay")
    assert done.returncode == 3, done.stderr
    assert "500 needed" in done.stdout
    assert done.stderr.count("unchanged, kept") == 3
    # evaluation was skipped, and every arm's numbers are still found in the run that it logged them to
    where = json.loads((copied.run_folder / "decision" / "decision.json").read_text())["mlflow"]
    client = MlflowClient(tracking_uri=f"sqlite:///{copied.run_folder.parent}/mlflow.db")
    for arm, run_id in where["arms"].items():
        run = client.get_run(run_id)
        assert (run.data.tags["freehold.arm"], run.info.experiment_id) == (arm, where["experiment_id"])
        assert [k for k in run.data.metrics if k.startswith("quality/")]
        assert run_id in (copied.run_folder / "decision" / "report.html").read_text()
    assert set(where["arms"]) == set(copied.manifest("report")["facts"]["arms"])
    # the same answers under other gates are no new look at the test items
    looks = [json.loads(line) for line in (copied.run_folder.parent / "looks.jsonl").read_text().split("\n") if line]
    assert [(k["candidate"], k["recipe"]) for k in looks] == [("tuned", "desk")]


def test_another_alias_is_decided_again_for_the_gateway_asks_by_it(copied: Workspace) -> None:
    copied.edit("alias: desk-triage", "alias: front-desk")
    assert copied.freehold("decide", "desk.yaml").returncode in (0, 3, 4)
    assert "model: front-desk@" in (copied.run_folder / "decision" / "routing.yaml").read_text()


def test_replay_opens_no_socket_and_names_what_is_missing(copied: Workspace) -> None:
    copied.edit("few_shot_examples: 3", "few_shot_examples: 2")
    done = copied.freehold("evaluate", "desk.yaml", "--replay")
    assert done.returncode == 2
    assert "arm few_shot" in done.stderr
    assert "--replay asks nobody" in done.stderr


def test_a_changed_arm_is_asked_again_and_the_others_are_not(copied: Workspace) -> None:
    before = (copied.run_folder / "report" / "answers.jsonl").read_text().splitlines()
    copied.edit("few_shot_examples: 3", "few_shot_examples: 2")
    done = copied.freehold("evaluate", "desk.yaml")
    assert done.returncode == 0, done.stderr[-2000:]
    after = (copied.run_folder / "report" / "answers.jsonl").read_text().splitlines()
    changed = {json.loads(a)["arm"] for a, b in zip(before, after, strict=True) if a != b}
    assert changed <= {"few_shot"}
    manifest = copied.manifest("report")
    assert set(manifest["facts"]["arms"]) == {"base", "few_shot", "tuned", "api"}


def test_what_two_arms_of_one_model_are_asked_alike_is_asked_once(copied: Workspace) -> None:
    copied.edit("few_shot_examples: 3", "few_shot_examples: 3\n  few_shot_replies: 0")
    done = copied.freehold("evaluate", "desk.yaml")
    assert done.returncode == 0, done.stderr[-2000:]
    timings = (copied.run_folder / "report" / "timings.jsonl").read_text().splitlines()
    asked_at = {(t["arm"], t["item"]): t["asked_at"] for t in map(json.loads, timings)}
    answers = (copied.run_folder / "report" / "answers.jsonl").read_text().splitlines()
    said = {(a["arm"], a["item"]): a["text"] for a in map(json.loads, answers)}
    items = {item for arm, item in asked_at if arm == "few_shot"}
    alike = {i for i in items if asked_at["few_shot", i] == asked_at["base", i]}
    assert alike == {i for i in items if i.startswith("draft_reply/")}
    assert len(alike) == 2
    assert all(said["few_shot", i] == said["base", i] for i in alike)
    assert not any(asked_at["tuned", i] == asked_at["base", i] for i in items), "asked alike, but another model"


def test_answers_that_were_lost_are_asked_again_by_the_next_command_and_no_others(copied: Workspace) -> None:
    lost = (1, 2)
    with serving(lambda number, *_: Reply(status=503 if number in lost else 200)) as (endpoint, http):
        copied.edit(
            "api: {label_mode: systemone,", f"api: {{base_url: '{endpoint.base_url}', model: m, max_retries: 0,"
        )
        told = ""
        for asked in (0, 2, 0):
            before = http.count
            done = copied.freehold("evaluate", "desk.yaml", OPENAI_API_KEY="key")
            assert done.returncode == 0, done.stderr[-2000:]
            told += done.stderr
            assert not before or http.count == before + asked
    client = MlflowClient(tracking_uri=f"sqlite:///{copied.folder}/runs/mlflow.db")
    run = next(
        r
        for r in client.search_runs([client.get_experiment_by_name("desk").experiment_id])
        if r.info.run_name == "evaluate"
    )
    table = json.loads(Path(client.download_artifacts(run.info.run_id, "per_item.json")).read_text())
    cells = [tuple(row[:3]) for row in table["data"]]
    assert len(cells) == len(set(cells)) > 50, "item, arm and metric once"
    assert run.data.tags["freehold.content_sha256"] == copied.manifest("report")["content_sha256"]
    assert "evaluate: 2 answers were lost on the way last time (api " in told
    assert "evaluate: unchanged, kept" in told


@pytest.mark.slow
def test_paid_answers_stay_where_the_test_set_is_another(copied: Workspace) -> None:
    def asked_at() -> dict[str, str]:
        timings = (copied.run_folder / "report" / "timings.jsonl").read_text().splitlines()
        return {t["item"]: t["asked_at"] for t in map(json.loads, timings) if t["arm"] == "api"}

    before = asked_at()
    sent = (copied.run_folder / "egress.jsonl").read_text()
    copied.edit("max_test_rows: 2", "max_test_rows: 1")
    done = copied.freehold("run", "desk.yaml")
    assert done.returncode in (0, 3, 4), done.stderr[-2000:]
    after = asked_at()
    assert len(after) == len(before) - 1
    assert after.items() < before.items()
    assert (copied.run_folder / "egress.jsonl").read_text() == sent
    receipts = json.loads((copied.run_folder / "report" / "egress.json").read_text())
    assert [r["rows"] for r in receipts] == [len(before)], "what left in all"


def test_mlflow_has_one_parent_and_a_child_per_stage_and_arm(finished: Workspace) -> None:
    client = MlflowClient(tracking_uri=f"sqlite:///{finished.folder}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("desk")
    runs = client.search_runs([experiment.experiment_id])
    by_name = {r.info.run_name: r for r in runs}
    assert sorted(by_name) == [
        "arm api",
        "arm base",
        "arm few_shot",
        "arm tuned",
        "decide",
        "desk",
        "evaluate",
        "prepare",
        "train",
    ]
    parent = by_name["desk"].info.run_id
    assert all(r.data.tags["mlflow.parentRunId"] == parent for n, r in by_name.items() if n != "desk")
    assert {r.info.status for r in runs} == {"FINISHED"}
    train = by_name["train"]
    assert train.data.params["lora.r"] == "4"
    assert train.data.params["world_size"] == "1"
    assert (
        len(client.get_metric_history(train.info.run_id, "train/loss"))
        == finished.manifest("adapter")["facts"]["steps"]
    )
    decided = by_name["decide"]
    assert {
        f"bill/triage/{k}" for k in ("candidate_usd_per_month", "baseline_usd_per_month", "break_even_requests")
    } <= {*decided.data.metrics}
    charts = {a.path for a in client.list_artifacts(decided.info.run_id, "charts")}
    assert {"charts/quality-triage.svg", "charts/staircase-triage.svg", "charts/latency-draft_reply.svg"} <= charts
    # an arm that states nothing that can be looked up has no groundedness, and nothing is logged in its place
    keys = [
        {k for k in by_name[f"arm {a}"].data.metrics if not k.endswith("/grounded")}
        for a in ("base", "few_shot", "tuned", "api")
    ]
    assert keys[0] == keys[1] == keys[2] == keys[3]
    assert "quality/triage/label_accuracy" in keys[0]
    assert by_name["evaluate"].inputs.dataset_inputs
    models = client.search_logged_models([experiment.experiment_id])
    assert sorted(m.name for m in models) == ["api-stand-in", "desk-adapter", "desk-base", "desk-few_shot"]
    on = {m.name: {(metric.key, metric.dataset_name) for metric in m.metrics} for m in models}
    assert all(("quality/triage/label_accuracy", "desk-test") in found for found in on.values()), "compared by dataset"


def test_promotion_needs_a_passing_decision_or_a_recorded_reason(copied: Workspace) -> None:
    copied.edit("min_items: 10", "min_items: 500")
    copied.freehold("run", "desk.yaml")
    refused = copied.freehold("promote", "desk.yaml")
    assert refused.returncode == 3
    assert "not promoted, the decision is undecided" in refused.stderr
    assert not (copied.folder / "served").exists()
    done = copied.freehold("promote", "desk.yaml", "--override", "trial for the tests", "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads(done.stdout)
    assert record["override"] == "trial for the tests"
    link = copied.folder / "served" / "desk-triage"
    assert link.is_symlink()
    assert (link / "model.safetensors").exists()
    assert (link / "adapter" / "adapter_model.safetensors").exists()
    assert any("largest log-probability difference" in c for c in record["checks"])
    status = json.loads(copied.freehold("status", "desk.yaml", "--json").stdout)
    assert status["serving"]["name"] == record["name"]
    assert copied.freehold("rollback", "desk.yaml").returncode == 2


def test_a_changed_adapter_is_not_promoted(copied: Workspace) -> None:
    config = copied.run_folder / "adapter" / "adapter_config.json"
    text = config.read_text()
    config.write_text(text.replace('"lora_alpha": 8', '"lora_alpha": 9'))
    done = copied.freehold("promote", "desk.yaml", "--override", "x")
    assert done.returncode == 2
    assert "does not have the content its manifest records" in done.stderr


def test_a_decision_about_something_else_is_not_promoted(copied: Workspace) -> None:
    copied.edit("min_items: 10", "min_items: 11")
    done = copied.freehold("promote", "desk.yaml", "--override", "x")
    assert done.returncode == 2
    assert "was made for another gates" in done.stderr


@pytest.mark.slow
def test_rollback_goes_back_to_the_version_before(copied: Workspace) -> None:
    first = json.loads(copied.freehold("promote", "desk.yaml", "--override", "one", "--json").stdout)
    copied.edit("learning_rate: 5.0e-3", "learning_rate: 4.0e-3")
    copied.freehold("run", "desk.yaml")
    second = json.loads(copied.freehold("promote", "desk.yaml", "--override", "two", "--json").stdout)
    assert second["previous"] == first["name"] != second["name"]
    other = copied.freehold("rollback", "desk.yaml", MLFLOW_TRACKING_URI=f"sqlite:///{copied.folder}/other.db")
    assert (other.returncode, "registered in another MLflow store" in other.stderr) == (2, True), other.stderr
    done = copied.freehold("rollback", "desk.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == first["name"]
    link = copied.folder / "served" / "desk-triage"
    assert link.resolve().name == first["name"].replace("@", "-")


def test_another_process_count_than_asked_for_stops_before_the_model_loads(workspace: Workspace) -> None:
    assert workspace.freehold("prepare", "desk.yaml").returncode == 0
    workspace.edit("training: {rank", "training: {world_size: 2, rank")
    shutil.rmtree(workspace.folder / "runs" / "desk" / "adapter.partial", ignore_errors=True)
    done = workspace.freehold("train", "desk.yaml")
    assert done.returncode == 2
    assert "training.world_size is 2, but this launch has 1 process" in done.stderr


def test_two_commands_on_one_run_folder_do_not_meet(workspace: Workspace) -> None:
    from pipelines import artifacts

    with artifacts.locked(workspace.run_folder):
        done = workspace.freehold("prepare", "desk.yaml")
    assert done.returncode == 2
    assert "another freehold command" in done.stderr


@pytest.mark.parametrize(
    ("stage", "old", "new", "told"),
    [
        ("prepare", "field: topic", "field: nothing", "no row is left to train on"),
        ("prepare", "path: export", "path: exports", "no such file or folder"),
        pytest.param("train", "max_length: 512", "max_length: 16", "none of", marks=pytest.mark.slow),
        ("evaluate", "rank: 4", "rank: 5", "adapter: is not there yet. Run `freehold train RECIPE` first"),
    ],
)
def test_mistakes_that_only_the_data_shows_are_exit_two(
    workspace: Workspace, stage: str, old: str, new: str, told: str
) -> None:
    if stage != "prepare":
        assert workspace.freehold("prepare", "desk.yaml").returncode == 0
    if new == "field: nothing":
        workspace.edit(
            "  - kind: draft_reply\n    options: {instruction: Answer., min_words: 5}\n",
            "  - kind: draft_reply\n    options: {min_words: 999}\n",
        )
    workspace.edit(old, new)
    done = workspace.freehold(stage, "desk.yaml")
    assert done.returncode == 2, done.stderr[-1500:]
    assert re.search(told, done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        pytest.param("tokenizer.json", "has no tokenizer", marks=pytest.mark.slow),
        pytest.param("chat_template.jinja", "has no chat template", marks=pytest.mark.slow),
        ("model.safetensors", "has no safetensors"),
    ],
)
def test_a_model_folder_that_lacks_a_part_is_told(
    workspace: Workspace, tmp_path: Path, missing: str, told: str
) -> None:
    broken = make_tiny_model(tmp_path / "broken")
    (broken / missing).unlink()
    workspace.recipe.write_text(
        re.sub(r"model: \{path: .*\}", f"model: {{path: {broken}}}", workspace.recipe.read_text())
    )
    assert workspace.freehold("prepare", "desk.yaml").returncode == 0
    done = workspace.freehold("train", "desk.yaml")
    assert done.returncode == 2, done.stderr[-1500:]
    assert told in done.stderr


def test_internal_notes_bots_and_automatic_replies_never_reach_a_row(workspace: Workspace) -> None:
    export = help_desk()
    planted = "zebra quartz manifold"
    export["users"].append({"id": 9, "name": "Helper", "role": "agent", "user_type": "bot"})
    for n, (author, public) in enumerate([(1, False), (1, None), (9, True), (404, True)]):
        export["comments"].append({
            "id": 5000 + n, "ticket_id": n + 1, "author_id": author, "public": public,
            "plain_body": f"{planted}: do not tell the customer that we lost the parcel, it will be there soon", "created_at": "2026-01-09T00:00:00Z",
        })  # fmt: skip
    write_export(workspace.folder / "export", export)
    assert workspace.freehold("prepare", "desk.yaml").returncode == 0
    for split in ("train", "dev", "test"):
        assert planted not in str(_parquet(workspace.run_folder / "dataset" / f"{split}-00000.parquet"))
    dropped = workspace.manifest("dataset")["counts"]["read desk"]["dropped"]
    assert dropped == {"bot_message": 1, "internal_note": 2, "system_message": 1}


def test_replay_with_sockets_blocked_recomputes_the_report(copied: Workspace) -> None:
    copied.edit("golden_prompts: 2", "golden_prompts: 1")
    program = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('a socket was opened')\n"
        "socket.socket.connect = socket.create_connection = refuse\n"
        "sys.argv = ['freehold', 'evaluate', 'desk.yaml', '--replay']\n"
        "from pipelines import cli; cli.main()"
    )
    before = copied.manifest("report")["files"]["answers.jsonl"]["sha256"]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=copied.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert copied.manifest("report")["files"]["answers.jsonl"]["sha256"] == before


def test_the_stand_in_is_labelled_everywhere_and_its_calls_have_a_receipt(finished: Workspace) -> None:
    page = (finished.run_folder / "decision" / "report.html").read_text()
    assert "Stand-in." in page
    assert json.loads((finished.run_folder / "decision" / "decision.json").read_text())["stand_in"] is True
    (receipt,) = json.loads((finished.run_folder / "report" / "egress.json").read_text())
    assert receipt["stand_in"] is True
    assert receipt["destination"].startswith("http://127.0.0.1:")
    assert receipt["rows"] == finished.manifest("report")["counts"]["items"]


def test_a_full_disk_is_one_message_and_nothing_is_lost(copied: Workspace) -> None:
    copied.edit("min_items: 10", "min_items: 11")
    (copied.run_folder / "tracking.json.partial").symlink_to("/dev/full")
    done = copied.freehold("decide", "desk.yaml")
    assert done.returncode == 2, done.stderr[-1500:]
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    (copied.run_folder / "tracking.json.partial").unlink()
    assert copied.freehold("decide", "desk.yaml").returncode in (0, 3, 4)
