"""Run thunderbird.yaml on the real data and write the record: every stage timed, memory, quality, what was dropped.

FREEHOLD_BENCH_DATA names the folder that holds dev-thunderbird-sumo; without it the benchmark skips with the reason.
After the local arms the API arm: no managed API answered these items, so vLLM serves the untuned base model on this machine,
where `make serving-env` was run. The local answers are kept then, so the time of `evaluate` is theirs alone.
FREEHOLD_BENCH_SCRATCH names a folder to work in: stages that are up to date there are kept, and the record times only the others.
"""

from __future__ import annotations

import json
import lzma
import os
import platform
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench import capacity

HERE = Path(__file__).parent
PORT = 8765  # part of the recipe, and with it of what the answers depend on
API = {
    "base_url": f"http://127.0.0.1:{PORT}/v1", "model": "base", "price_as": {"provider": "openai", "model": "gpt-4o-mini"},
    "concurrency": 96, "timeout_s": 300,
}  # fmt: skip
RECORD = HERE / "thunderbird.json"


def main() -> int:
    data = Path(os.environ.get("FREEHOLD_BENCH_DATA", "")) / "dev-thunderbird-sumo"
    if not data.is_dir():
        print(f"skipped: {data} is not there. Set FREEHOLD_BENCH_DATA to the folder that holds dev-thunderbird-sumo.")
        return 0
    scratch = Path(os.environ.get("FREEHOLD_BENCH_SCRATCH") or tempfile.mkdtemp(prefix="freehold-thunderbird-"))
    _unpack(data, scratch)
    stages = {}
    for stage, made in (("prepare", "dataset"), ("train", "adapter"), ("evaluate", "report"), ("decide", "decision")):
        manifest = scratch / "runs" / "thunderbird" / made / "manifest.json"
        before = manifest.read_bytes() if manifest.exists() else None
        stages[stage] = _run(stage, scratch)
        stages[stage]["kept"] = manifest.read_bytes() == before
    if capacity.PYTHON.exists():
        stages |= _with_api(scratch)
    else:
        print(f"no API arm: {capacity.PYTHON} is not there. Run `make serving-env`.")
    record = {
        "command": "make bench-thunderbird BENCH_DATA=DIR",
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "seconds": {k: v["seconds"] for k, v in stages.items() if not v["kept"]},
        "prepare_peak_mb": None if stages["prepare"]["kept"] else stages["prepare"]["peak_mb"],
        **_results(scratch / "runs" / "thunderbird"),
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))
    return 0


def _with_api(scratch: Path) -> dict[str, dict[str, Any]]:
    """Evaluate and decide once more with the API arm: its seconds are those of asking, scoring and MLflow."""
    yaml, path = YAML(), scratch / "thunderbird.yaml"
    recipe = yaml.load(path)
    recipe["evaluation"]["arms"].append("api")
    recipe["evaluation"]["api"] = API
    yaml.dump(recipe, path)
    base = next(scratch.glob("runs/models/*/config.json")).parent
    with capacity.vllm(base, scratch / "vllm.log", port=PORT, cores="0-1"):
        found = {"evaluate, the API arm": _run("evaluate", scratch) | {"kept": False}}
    return found | {"decide, with the API arm": _run("decide", scratch) | {"kept": False}}


def _unpack(data: Path, scratch: Path) -> None:
    shutil.copy(HERE / "thunderbird.yaml", scratch)
    if not (scratch / "tickets").exists():
        with tarfile.open(next(data.glob("tickets-*.tar.xz"))) as tar:
            tar.extractall(scratch / "tickets", filter="data")
        (scratch / "articles").mkdir(exist_ok=True)
        with lzma.open(next(data.glob("*all-articles-details.csv.xz"))) as f:
            (scratch / "articles" / "articles.csv").write_bytes(f.read())


def _run(stage: str, scratch: Path) -> dict[str, Any]:
    began = time.perf_counter()
    line = [sys.executable, "-m", "pipelines.cli", stage, "thunderbird.yaml"]
    key = {"OPENAI_API_KEY": "none"}  # the server of the API arm asks for none
    process = subprocess.run(line, cwd=scratch, env={**os.environ, **key}, check=False)
    if process.returncode not in (0, 3, 4):
        raise SystemExit(f"{stage} ended with exit code {process.returncode}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
    return {"seconds": round(time.perf_counter() - began, 1), "peak_mb": round(peak)}


def _results(run: Path) -> dict[str, object]:
    manifest = json.loads((run / "dataset" / "manifest.json").read_text())
    adapter = json.loads((run / "adapter" / "manifest.json").read_text())
    quality = json.loads((run / "report" / "quality.json").read_text())
    decision = json.loads((run / "decision" / "decision.json").read_text())
    return {
        "versions": adapter["versions"],
        "counts": {k: {"in": c["in"], "out": c["out"], "dropped": c["dropped"]} for k, c in manifest["counts"].items()},
        "masked": manifest["facts"]["masked"],
        "training": {k: adapter["facts"][k] for k in ("rows", "tokens", "steps", "precision")},
        "speed": json.loads((run / "adapter" / "speed.json").read_text()),
        "seconds_an_arm": _busy(run / "report" / "timings.jsonl"),
        "arms": [r for r in quality["arms"] if r["slice"].startswith("task=")],
        "differences": [d for d in quality["differences"] if d["slice"].startswith("task=")],
        "verdict": decision["sentence"],
        "slices": [
            {k: s[k] for k in ("slice", "verdict", "kind")}
            for s in decision["slices"]
            if s["slice"].startswith("task=")
        ],
        "audit": [{k: g[k] for k in ("name", "passed", "sentence")} for g in decision["audit"]],
    }


def _busy(timings: Path) -> dict[str, int]:
    """Seconds that each local arm took, all its items together; what an arm before it was asked alike is not asked again."""
    busy: dict[str, float] = {}
    asked: set[tuple[str, str]] = set()
    for line in timings.read_text().splitlines():
        row = json.loads(line)
        if row["busy_ms"] is not None and (row["item"], row["asked_at"]) not in asked:
            busy[row["arm"]] = busy.get(row["arm"], 0) + row["busy_ms"] / 1000
            asked.add((row["item"], row["asked_at"]))
    return {arm: round(seconds) for arm, seconds in busy.items()}


if __name__ == "__main__":
    raise SystemExit(main())
