"""`freehold scan` on a real forum's export and articles, and its starter recipe, unchanged, through `check` and `prepare`.

    FREEHOLD_BENCH_DATA=DIR python tests/bench/scan.py

DIR holds dev-thunderbird-sumo; without it the benchmark skips. Writes scan.json: times, memory of all processes, what was found.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from big_export import _watched
from thunderbird import _unpack

RECORD = Path(__file__).parent / "scan.json"
CLI = [sys.executable, "-m", "pipelines.cli"]


def main() -> int:
    data = Path(os.environ.get("FREEHOLD_BENCH_DATA", "")) / "dev-thunderbird-sumo"
    if not data.is_dir():
        print(f"skipped: {data} is not there. Set FREEHOLD_BENCH_DATA to the folder that holds dev-thunderbird-sumo.")
        return 0
    scratch = Path(tempfile.mkdtemp(prefix="freehold-scan-"))
    _unpack(data, scratch)
    record: dict[str, Any] = {
        "command": "FREEHOLD_BENCH_DATA=DIR python tests/bench/scan.py",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "scan": _timed(
            [*CLI, "scan", "tickets", "articles", "--write", "starter.yaml", "--html", "scan.html"], scratch
        ),
        "check": _timed([*CLI, "check", "starter.yaml"], scratch),
        "prepare": _timed([*CLI, "prepare", "starter.yaml"], scratch),
    }
    said = subprocess.run(
        [*CLI, "scan", "tickets", "articles", "--json"], cwd=scratch, capture_output=True, text=True, check=True
    )
    found = json.loads(said.stdout)
    record["found"] = {k: v for k, v in found.items() if isinstance(v, int | float | str)}
    record["starter recipe"] = [
        line
        for line in (scratch / "starter.yaml").read_text().splitlines()
        if line and not line.lstrip().startswith("#")
    ]
    manifest = json.loads(next(scratch.glob("runs/*/dataset/manifest.json")).read_text())
    record["prepared"] = {
        "counts": {k: {"in": c["in"], "out": c["out"], "dropped": c["dropped"]} for k, c in manifest["counts"].items()},
        "audit": manifest["facts"]["audit"],
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))
    return 0


def _timed(line: list[str], scratch: Path) -> dict[str, Any]:
    began = time.perf_counter()
    code, peak = _watched(line, scratch, dict(os.environ))
    if code != 0:
        raise SystemExit(f"{' '.join(line[3:])} ended with exit code {code}")
    return {"seconds": round(time.perf_counter() - began, 1), "peak_mb_of_all_processes": peak}


if __name__ == "__main__":
    raise SystemExit(main())
