"""Forgetting: everything of a person is found by any of their names, leaves the dataset for good, and is certified."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Workspace


def rows_of(workspace: Workspace, record: str) -> list[str]:
    from data_prep.parquet import SPLITS, read_rows

    dataset = workspace.run_folder / "dataset"
    return [r.id for s in SPLITS for r in read_rows(dataset, s) if record in r.record_ids]


def forget(workspace: Workspace, subject: str, *options: str, **environment: str) -> dict[str, object]:
    done = workspace.freehold("forget", subject, "--json", *options, **environment)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_dry_run_lists_everything_by_address_id_and_hash_and_changes_nothing(copied: Workspace) -> None:
    before = copied.manifest("dataset")["content_sha256"]
    (by_address,) = forget(copied, "c3@mail.example")["found"]  # type: ignore[misc]
    (by_id,) = forget(copied, "103")["found"]  # type: ignore[misc]
    (by_hash,) = forget(copied, by_address["subjects"][0])["found"]  # type: ignore[misc]
    assert by_address["records"] == by_id["records"] == by_hash["records"] == ["desk:4"]
    assert {r["row"] for r in by_address["rows"]} == set(rows_of(copied, "desk:4"))
    assert by_address["adapters"] == [copied.manifest("adapter")["content_sha256"]]
    assert by_address["rebuild_s"] > 0
    assert copied.manifest("dataset")["content_sha256"] == before
    assert forget(copied, "nobody@mail.example")["found"] == []
    assert "nothing came from this subject" in copied.freehold("forget", "nobody@mail.example").stdout


def test_executing_rebuilds_without_the_person_marks_the_adapter_and_certifies(copied: Workspace) -> None:
    from mlflow import MlflowClient

    assert rows_of(copied, "desk:4")
    adapter = copied.manifest("adapter")["content_sha256"]
    state = json.loads((copied.run_folder / "tracking.json").read_text())  # the copy's runs are in the original's store
    (done,) = forget(copied, "c3@mail.example", "--execute", MLFLOW_TRACKING_URI=state["uri"])["found"]  # type: ignore[misc]
    assert rows_of(copied, "desk:4") == []
    assert done["dataset_before"] != done["dataset_after"] == copied.manifest("dataset")["content_sha256"]
    certificate = json.loads((copied.folder / done["certificate"]).read_text())
    assert certificate["rows_after"] == 0
    assert "c3@mail.example" not in json.dumps(certificate)
    assert copied.manifest("dataset")["counts"]["read desk"]["dropped"]["forgotten"] == 1
    client = MlflowClient(tracking_uri=state["uri"])
    assert "freehold.forgotten" in client.get_logged_model(state["models"][adapter]).tags
    # the old adapter is still found through the lineage that was kept, and a new preparation does not bring the person back
    (again,) = forget(copied, "c3@mail.example")["found"]  # type: ignore[misc]
    assert again["adapters"] == [adapter]
    assert again["rows"] == []
    assert copied.freehold("prepare", "desk.yaml").returncode == 0
    assert rows_of(copied, "desk:4") == []


def test_a_person_who_was_asked_about_leaves_answers_report_and_mlflow(copied: Workspace) -> None:
    from mlflow import MlflowClient

    items = [json.loads(line) for line in (copied.run_folder / "report" / "items.jsonl").read_text().splitlines()]
    record = next(
        r
        for n in range(60)
        if rows_of(copied, r := f"desk:{n + 1}") and set(rows_of(copied, r)) & {i["id"] for i in items}
    )
    theirs, number = set(rows_of(copied, record)), int(record.partition(":")[2]) - 1
    (stored,) = (copied.run_folder / "answers").glob("api-*.jsonl")
    before = len(stored.read_text().splitlines())
    state = json.loads((copied.run_folder / "tracking.json").read_text())
    client = MlflowClient(tracking_uri=state["uri"])
    assert "report.html" in [a.path for run in set(state["runs"].values()) for a in client.list_artifacts(run)]
    gone = (
        {**state["runs"], "stage decide of last year": "0" * 32},
        {**state["models"], copied.manifest("adapter")["content_sha256"]: "m-0"},
    )
    changed = {**state, "runs": gone[0], "models": gone[1]}  # what `mlflow gc` leaves in our file
    (copied.run_folder / "tracking.json").write_text(json.dumps(changed))
    (done,) = forget(copied, f"c{number}@mail.example", "--execute", MLFLOW_TRACKING_URI=state["uri"])["found"]  # type: ignore[misc]
    assert not (copied.run_folder / "report").exists()
    assert not (copied.run_folder / "decision").exists()
    lines = [json.loads(line) for line in stored.read_text().splitlines()]
    assert 0 < len(lines) < before
    assert not {line.get("item") for line in lines} & theirs
    pages = [a.path for run in set(state["runs"].values()) for a in client.list_artifacts(run)]
    assert not {"report.html", "report.md"} & set(pages)
    assert {e.partition(":")[0].rstrip("/") for e in done["erased"]} >= {"report", "decision", "MLflow"}


def test_a_person_of_dev_leaves_the_report_too_and_earlier_stores_are_named(copied: Workspace) -> None:
    lines = (copied.run_folder / "report" / "dev.jsonl").read_text().splitlines()
    labels = {json.loads(line)["item"]["id"] for line in lines}
    record = next(r for n in range(60) if labels & {*rows_of(copied, r := f"desk:{n + 1}")})
    sheets = copied.run_folder / "review" / "s-0"
    sheets.mkdir(parents=True)
    (sheets / "s-0.csv").write_text("an older sheet")
    state = json.loads((copied.run_folder / "tracking.json").read_text())
    number = int(record.partition(":")[2]) - 1
    other = f"sqlite:///{copied.folder}/other.db"
    (done,) = forget(copied, f"c{number}@mail.example", "--execute", MLFLOW_TRACKING_URI=other)["found"]  # type: ignore[misc]
    assert not any((copied.run_folder / name).exists() for name in ("report", "decision", "review"))
    assert f"MLflow at {state['uri']} holds earlier runs" in str(done["open"])
    assert done["adapters"] == [copied.manifest("adapter")["content_sha256"]]


def test_without_a_run_or_a_recipe_the_error_says_so(workspace: Workspace, copied: Workspace) -> None:
    nothing = workspace.freehold("forget", "c3@mail.example", "--runs", "export")
    assert nothing.returncode == 2
    assert "holds no prepared dataset" in nothing.stderr
    copied.recipe.rename(copied.folder / "other.yaml")
    gone = copied.freehold("forget", "c3@mail.example")
    assert gone.returncode == 2
    assert "Put the recipe back" in gone.stderr


@pytest.mark.parametrize("content", ["{", '[{"when": 1}]'])
def test_a_broken_tombstone_file_stops_the_preparation(workspace: Workspace, content: str) -> None:
    workspace.run_folder.mkdir(parents=True)
    (workspace.run_folder / "tombstones.json").write_text(content)
    done = workspace.freehold("prepare", "desk.yaml")
    assert done.returncode == 2
    assert "who was forgotten" in done.stderr
