"""What the command prints of a finished stage: a few plain lines a person reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.artifacts import Manifest


def prepared(manifest: Manifest) -> list[str]:
    lines = []
    for step, c in manifest.counts.items():
        kept = ", ".join(f"{v} {k}" for k, v in c["out"].items())
        dropped = ", ".join(f"{v} {k}" for k, v in c["dropped"].items())
        lines.append(f"  {step}: {kept or 'nothing'}" + (f"; dropped {dropped}" if dropped else ""))
    masked = ", ".join(f"{v} {k}" for k, v in sorted(manifest.facts["masked"].items()))
    return [*lines, f"  masked: {masked or 'nothing found'}"]


def trained(manifest: Manifest) -> list[str]:
    facts = manifest.facts
    rows = facts["rows"]["train"]
    dropped = ", ".join(f"{v} {k}" for k, v in rows["dropped"].items())
    return [
        f"  {rows['out']} rows, {facts['tokens']['trained']} trained of {facts['tokens']['all']} tokens, {facts['steps']} steps,"
        f" {facts['world_size']} process(es), {facts['precision']}" + (f"; dropped {dropped}" if dropped else "")
    ]


def evaluated(folder: Path) -> list[str]:
    """The table of arms: quality per task, latency, tokens, money."""
    quality, speed = _json(folder / "quality.json"), _json(folder / "speed.json")
    manifest = _json(folder / "manifest.json")
    tasks = list(dict.fromkeys(row["task"] for row in speed))
    lines = []
    for task in tasks:
        rows = [r for r in quality["arms"] if r["slice"] == f"task={task}"]
        metrics = list(dict.fromkeys(r["metric"] for r in rows))
        lines += [
            "",
            f"{task}",
            "  "
            + f"{'arm':<18}{'items':>6}{'failed':>8}"
            + "".join(f"{m:>16}" for m in metrics)
            + f"{'p95 ms':>9}{'tokens':>8}{'$/1k':>9}",
        ]
        for arm in dict.fromkeys(r["arm"] for r in rows):
            mine = {r["metric"]: r for r in rows if r["arm"] == arm}
            timed = next(s for s in speed if s["task"] == task and s["arm"] == arm)
            first = next(iter(mine.values()))
            name = "api (STAND-IN)" if arm == "api" and manifest["facts"]["stand_in"] else arm
            money = f"{1000 * float(timed['usd_per_request']):.3f}" if timed["usd_per_request"] else "-"
            lines.append(
                "  " + f"{name:<18}{first['measured'] + first['failed']:>6}{first['failed']:>8}"
                + "".join(f"{_number(mine[m]['mean']):>16}" for m in metrics)
                + f"{_number(timed['p95_ms'], 0):>9}{_number(timed['completion_tokens'], 1):>8}{money:>9}"
            )  # fmt: skip
        for d in quality["differences"]:
            if (
                d["slice"] == f"task={task}"
                and d["metric"] in ("label_accuracy", "macro_f1", "chrf")
                and d["difference"] is not None
            ):
                span = f"{d['low']:+.3f} to {d['high']:+.3f}" if d["low"] is not None else "no interval: one customer"
                lines.append(
                    f"  {d['candidate']} - {d['other']}, {d['metric']}: {d['difference']:+.3f} (95%: {span}; {d['items']} items)"
                )
    return lines


def decided(folder: Path, decision: dict[str, Any]) -> list[str]:
    named = {"self_host": "SELF-HOST", "api": "STAY ON THE API", "undecided": "UNDECIDED"}
    lines = ["", f"verdict: {named[decision['verdict']]}. {decision['sentence']}"]
    lines += [
        f"  {d['slice']}: {d['verdict']} ({d['kind']})" for d in decision["slices"] if d["slice"].startswith("task=")
    ]
    economics = _json(folder / "economics.json")
    for note in filter(None, [economics["advice"], *economics["notes"]]):
        lines.append(f"  {note}")
    return [*lines, f"report: {folder / 'report.html'}"]


def promoted(done: dict[str, Any]) -> list[str]:
    lines = ["", f"promotion: {done['action']} {done['name']} on {done['target']}"]
    lines += [f"  {check}" for check in done["checks"]]
    if done.get("override"):
        lines.append(f"  without a passing decision; recorded reason: {done['override']}")
    return lines


def status(found: dict[str, Any]) -> list[str]:
    lines = [f"{found['recipe']}"]
    lines += [
        f"  {s['stage']}: {s['state']}" + (f", {s['content_sha256'][:12]}" if s["content_sha256"] else "")
        for s in found["stages"]
    ]
    serving = found["serving"]
    if serving is None:
        return [*lines, "  nothing was promoted yet"]
    lines.append(
        f"  {serving['alias']} -> {serving['name']} on {serving['target']} since {serving['when']}, decision {serving['verdict']}"
    )
    if serving.get("previous"):
        lines.append(f"  before: {serving['previous']} (freehold rollback goes back to it)")
    return lines


def _json(path: Path) -> Any:
    import json

    return json.loads(path.read_text())


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
