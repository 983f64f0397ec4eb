"""The demo company: its generator makes the committed files, and nothing planted of a maskable kind reaches a row."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Workspace

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / "recipes" / "demo"
MASKED = {"email", "phone", "ip", "mac", "card", "iban", "api_key", "wifi_password", "password"}


def test_the_generator_writes_the_committed_exports(tmp_path: Path) -> None:
    program = ROOT / "tests" / "demo_company" / "generate.py"
    subprocess.run([sys.executable, str(program), "--out", str(tmp_path)], check=True, capture_output=True)
    committed = sorted(p.relative_to(DEMO) for p in (DEMO / "exports").rglob("*") if p.is_file())
    assert len(committed) >= 8
    assert [p for p in committed if (tmp_path / p).read_bytes() != (DEMO / p).read_bytes()] == []


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, mlflow_db: Path) -> Workspace:
    folder = tmp_path_factory.mktemp("demo")
    (folder / "runs").mkdir()
    shutil.copy(mlflow_db, folder / "runs" / "mlflow.db")
    workspace = Workspace(folder, DEMO / "demo.yaml")
    done = workspace.freehold("prepare", str(DEMO / "demo.yaml"))
    assert done.returncode == 0, done.stderr[-2000:]
    return workspace


def texts(workspace: Workspace) -> str:
    import pyarrow.parquet as pq

    dataset = workspace.folder / "runs" / "hearthline-demo" / "dataset"
    rows = [r for s in ("train", "dev", "test") for r in pq.read_table(dataset / f"{s}-00000.parquet").to_pylist()]
    return "\n".join(m["content"] for r in rows for m in (*r["prompt"], *r["completion"]))


def test_no_planted_value_of_a_maskable_kind_reaches_a_row(prepared: Workspace) -> None:
    planted = json.loads((DEMO / "exports" / "planted.json").read_text())
    # surrogates of addresses are of 192.0.2.0/24 too, so one of these may be a surrogate of another
    values = {(p["kind"], p["value"]) for p in planted if p["kind"] in MASKED and not p["value"].startswith("192.0.2.")}
    assert len(values) > 100
    written = texts(prepared)
    assert sorted(v for v in values if v[1] in written) == []


def test_no_customer_of_the_demo_is_on_both_sides(prepared: Workspace) -> None:
    import pyarrow.parquet as pq

    dataset = prepared.folder / "runs" / "hearthline-demo" / "dataset"
    groups = {
        s: set(pq.read_table(dataset / f"{s}-00000.parquet", columns=["group"]).to_pydict()["group"])
        for s in ("train", "dev", "test")
    }
    assert groups["test"]
    assert not groups["test"] & (groups["train"] | groups["dev"])
