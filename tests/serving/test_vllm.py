"""Promotion to real vLLM replicas on the CPU, and everything that vLLM accepts with 200 and we must refuse.

Run by `make test-serving`, which builds vLLM an environment of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Workspace, make_tiny_model, make_workspace

KEY = "serving-test-key"
PYTHON = os.environ.get("FREEHOLD_VLLM_PYTHON")
pytestmark = [
    pytest.mark.serving,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not PYTHON, reason="FREEHOLD_VLLM_PYTHON names no Python with vLLM; run `make test-serving`"),
]


@contextmanager
def vllm(model: Path, log: Path) -> Iterator[str]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    line = [
        str(Path(PYTHON or "").absolute()), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name", "base",
        "--enable-lora", "--max-lora-rank", "8", "--max-loras", "2", "--max-cpu-loras", "8", "--dtype", "float32",
        "--max-model-len", "1024", "--host", "127.0.0.1", "--port", str(port), "--api-key", KEY,
    ]  # fmt: skip
    environment = {
        **os.environ,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    with log.open("w") as out:
        process = subprocess.Popen(
            line, cwd=log.parent, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(600):
                assert process.poll() is None, log.read_text()[-3000:]
                try:
                    urllib.request.urlopen(f"{url}/health", timeout=2)
                    break
                except (urllib.error.URLError, OSError):
                    time.sleep(0.5)
            yield url
        finally:
            os.killpg(process.pid, 9)
            process.wait()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, mlflow_db: Path) -> Iterator[dict[str, Any]]:
    """Two replicas of the base, one of another base with the same shapes, and a finished run on the right base."""
    folder = tmp_path_factory.mktemp("fleet")
    right, wrong = make_tiny_model(folder / "right", hidden=128), make_tiny_model(folder / "wrong", hidden=128, seed=1)
    (folder / "desk").mkdir()
    workspace = make_workspace(folder / "desk", right, mlflow_db)
    with ExitStack() as stack:
        urls = [stack.enter_context(vllm(model, folder / f"{n}.log")) for n, model in enumerate((right, right, wrong))]
        workspace.edit("target: {kind: directory, options: {path: served, serve_check: false}}", target(urls[:2]))
        assert workspace.freehold("run", "desk.yaml").returncode in (0, 3, 4)
        yield {"workspace": workspace, "replicas": urls[:2], "wrong": urls[2]}


def target(replicas: list[str]) -> str:
    return f"target: {{kind: vllm, options: {{replicas: [{', '.join(replicas)}], base_model: base, adapters_dir: adapters, max_rank: 8}}}}"


def promote(workspace: Workspace, key: str = KEY) -> subprocess.CompletedProcess[str]:
    return workspace.freehold("promote", "desk.yaml", "--override", "test", "--json", VLLM_API_KEY=key)


def models(url: str) -> set[str]:
    request = urllib.request.Request(f"{url}/v1/models", headers={"Authorization": f"Bearer {KEY}"})
    return {m["id"] for m in json.loads(urllib.request.urlopen(request, timeout=20).read())["data"]}


def candidate(workspace: Workspace, adapter: Path | None = None, name: str | None = None) -> Any:
    from evaluation.egress import Guard
    from pipelines import artifacts, promote, recipe_file, stages

    recipe = recipe_file.load(workspace.recipe)
    recipe = recipe.model_copy(update={"workdir": workspace.run_folder})
    made = promote._candidate(
        recipe, promote.promotion_settings(recipe), artifacts.need(stages.folder(recipe, "train"), "train"), Guard()
    )
    return replace(made, **({"adapter": adapter} if adapter else {}), **({"name": name} if name else {}))


def refused_live(fleet: dict[str, Any], adapter: Path, name: str, told: str, replicas: list[str] | None = None) -> None:
    """Past the preflight: what the replicas accept must be refused by asking them."""
    from pipelines.serving.candidate import TargetError
    from pipelines.targets import vllm as target_module

    os.environ["VLLM_API_KEY"] = KEY
    chosen = replicas or fleet["replicas"]
    made = candidate(fleet["workspace"], adapter, name)
    path = target_module.publish(made, fleet["workspace"].folder / "adapters", "base")
    servers = [target_module.Replica(url, "VLLM_API_KEY", 120, made.guard) for url in chosen]
    with pytest.raises(TargetError, match=told):
        target_module.prove(servers, made, "base", str(path))
    assert all(name not in models(url) for url in chosen)


def changed(fleet: dict[str, Any], tmp_path: Path, change: Any) -> Path:
    from safetensors.torch import load_file, save_file

    adapter = tmp_path / "adapter"
    shutil.copytree(fleet["workspace"].run_folder / "adapter", adapter)
    tensors = load_file(adapter / "adapter_model.safetensors")
    save_file(change(tensors), adapter / "adapter_model.safetensors")
    return adapter


def test_two_replicas_prove_themselves_and_get_the_alias(fleet: dict[str, Any]) -> None:
    done = promote(fleet["workspace"])
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads(done.stdout)
    assert sum("as evaluation recorded, largest log-probability difference" in c for c in record["checks"]) == 2
    for url in fleet["replicas"]:
        assert {"desk-triage", record["name"]} <= models(url)


def test_promoting_again_changes_nothing(fleet: dict[str, Any]) -> None:
    path = fleet["workspace"].run_folder / "promotion" / "promotion.json"
    before = (json.loads(path.read_text())["registry_version"], [models(url) for url in fleet["replicas"]])
    done = promote(fleet["workspace"])
    assert done.returncode == 0, done.stderr[-3000:]
    after = (json.loads(path.read_text())["registry_version"], [models(url) for url in fleet["replicas"]])
    assert after == before


def test_the_second_version_can_be_rolled_back(fleet: dict[str, Any]) -> None:
    workspace = fleet["workspace"]
    first = json.loads((workspace.run_folder / "promotion" / "promotion.json").read_text())["name"]
    workspace.edit("learning_rate: 5.0e-3", "learning_rate: 4.0e-3")
    workspace.freehold("run", "desk.yaml")
    second = json.loads(promote(workspace).stdout)
    assert second["previous"] == first
    done = workspace.freehold("rollback", "desk.yaml", "--json", VLLM_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == first


def test_a_wrong_base_is_refused(fleet: dict[str, Any]) -> None:
    adapter = fleet["workspace"].run_folder / "adapter"
    refused_live(fleet, adapter, "desk-triage@wrongbase", "Wrong base model", [fleet["wrong"]])


def test_one_wrong_replica_keeps_the_alias_where_it_is_on_all(fleet: dict[str, Any]) -> None:
    adapter = fleet["workspace"].run_folder / "adapter"
    refused_live(fleet, adapter, "desk-triage@mixed", "unloaded from 1 replica", [fleet["replicas"][0], fleet["wrong"]])


def test_ghost_layers_are_refused_by_preflight_and_live(fleet: dict[str, Any], tmp_path: Path) -> None:
    from pipelines.serving import preflight
    from pipelines.serving.preflight import AdapterError

    ghost = changed(
        fleet,
        tmp_path,
        lambda t: {k.replace(".layers.0.", ".layers.7.").replace(".layers.1.", ".layers.8."): v for k, v in t.items()},
    )
    made = candidate(fleet["workspace"])
    with pytest.raises(AdapterError, match="a layer that the base does not have"):
        preflight.check(ghost, made.base.folder, base_name=made.base.name, max_rank=8)
    refused_live(fleet, ghost, "desk-triage@ghost", "has no effect|other tokens|off by|HTTP")


def test_truncated_weights_are_refused_by_preflight_and_live(fleet: dict[str, Any], tmp_path: Path) -> None:
    from pipelines.serving import preflight
    from pipelines.serving.preflight import AdapterError

    def cut(tensors: dict[str, Any]) -> dict[str, Any]:
        return {k: v[:, : v.shape[1] // 2].contiguous() if "lora_A" in k else v for k, v in tensors.items()}

    short = changed(fleet, tmp_path, cut)
    made = candidate(fleet["workspace"])
    with pytest.raises(AdapterError, match="Was the file cut"):
        preflight.check(short, made.base.folder, base_name=made.base.name, max_rank=8)
    refused_live(fleet, short, "desk-triage@short", "other tokens|off by|HTTP")


def test_a_rank_above_the_servers_limit_is_refused(fleet: dict[str, Any], tmp_path: Path) -> None:
    import torch

    from pipelines.serving import preflight
    from pipelines.serving.preflight import AdapterError

    def widen(tensors: dict[str, Any]) -> dict[str, Any]:
        return {k: torch.cat([v] * 4, dim=0 if "lora_A" in k else 1).contiguous() for k, v in tensors.items()}

    wide = changed(fleet, tmp_path, widen)
    config = json.loads((wide / "adapter_config.json").read_text())
    (wide / "adapter_config.json").write_text(json.dumps({**config, "r": 16}))
    made = candidate(fleet["workspace"])
    with pytest.raises(AdapterError, match="rank is 16, the server's limit is 8"):
        preflight.check(wide, made.base.folder, base_name=made.base.name, max_rank=8)
    refused_live(fleet, wide, "desk-triage@wide", "HTTP")


def test_a_wrong_key_and_a_dead_replica_are_told_by_url(fleet: dict[str, Any]) -> None:
    workspace = fleet["workspace"]
    refused = promote(workspace, key="wrong")
    assert refused.returncode == 2
    assert "HTTP 401" in refused.stderr
    text = workspace.recipe.read_text()
    try:
        workspace.recipe.write_text(text.replace(fleet["replicas"][1], "http://127.0.0.1:9"))
        dead = promote(workspace)
    finally:
        workspace.recipe.write_text(text)
    assert dead.returncode == 2
    assert "http://127.0.0.1:9: cannot be reached" in dead.stderr
    assert "unloaded from 1 replica(s); the alias was not moved" in dead.stderr
