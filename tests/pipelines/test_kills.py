"""kill -9 at random moments, then the same command: the same content, nothing twice. Slow: run by `make test-slow`."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Workspace

KILLS = int(os.environ.get("FREEHOLD_KILLS", "20"))
FOLDERS = {"prepare": "dataset", "train": "adapter", "evaluate": "report", "decide": "decision"}


def start(workspace: Workspace, stage: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", stage, "desk.yaml"], cwd=workspace.folder, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def killed_after(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Kill the whole process group then; False where it had ended by itself."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stage", list(FOLDERS))
def test_killed_anywhere_resumes_to_the_same_content(finished: Workspace, tmp_path: Path, stage: str) -> None:
    folder = tmp_path / "killed"
    shutil.copytree(finished.folder, folder, symlinks=True)
    workspace = Workspace(folder, folder / "desk.yaml")
    expected = finished.manifest(FOLDERS[stage])["content_sha256"]
    artifact = workspace.run_folder / FOLDERS[stage]
    shutil.rmtree(artifact)
    began = time.monotonic()
    assert start(workspace, stage).wait() in (0, 3, 4)
    duration = time.monotonic() - began
    assert workspace.manifest(FOLDERS[stage])["content_sha256"] == expected
    rng, kills = random.Random(stage), 0
    while kills < KILLS:
        if (artifact / "manifest.json").exists():
            shutil.rmtree(artifact)
        kills += killed_after(start(workspace, stage), rng.uniform(0.1, duration))
    last = workspace.freehold(stage, "desk.yaml", "--json")
    assert last.returncode in (0, 3, 4), last.stderr[-2000:]
    assert workspace.manifest(FOLDERS[stage])["content_sha256"] == expected
    runs = json.loads((workspace.run_folder / "tracking.json").read_text())["runs"]
    assert len([k for k in runs if k.startswith(f"stage {stage} ")]) == 1
    assert not list(workspace.run_folder.glob("*.partial"))
