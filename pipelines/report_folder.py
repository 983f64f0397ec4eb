"""The report folder on disk: items, answers, timings, scores and the tables made of them; written once, read by the decision.

Timings stand apart from answers, so that the content hash covers what the inputs determine and nothing the clock decides.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaluation import summary
from evaluation.results import TIMED, Answer, Item, Score, answer_of
from pipelines import artifacts

TIMED_FILES = ["timings.jsonl", "speed.json", "egress.json"]


def write(
    out: Path,
    view: summary.View,
    scored: Sequence[Score],
    *,
    arms: Sequence[str],
    candidate: str,
    receipts: list[dict[str, Any]],
    seed: int,
) -> None:
    """Fill the folder. candidate: the arm that the others are compared with; receipts: what left the machine."""
    ordered = [view.answers[arm, i.id] for arm in arms for i in view.items if (arm, i.id) in view.answers]
    timings = [{"item": a.item, "arm": a.arm, **{k: getattr(a, k) for k in TIMED}} for a in ordered]
    _jsonl(out / "items.jsonl", [asdict(i) for i in view.items])
    _jsonl(out / "answers.jsonl", [{k: v for k, v in asdict(a).items() if k not in TIMED} for a in ordered])
    _jsonl(out / "timings.jsonl", timings)
    _jsonl(out / "scores.jsonl", [asdict(s) for s in scored])
    others = [arm for arm in arms if arm != candidate]
    quality = {
        "arms": summary.arm_table(view, arms),
        "differences": summary.difference_table(view, candidate, others, seed=seed),
    }
    artifacts.write_text(out / "quality.json", json.dumps(quality, indent=1))
    artifacts.write_text(out / "speed.json", json.dumps(summary.speed_table(view, arms), indent=1))
    artifacts.write_text(out / "egress.json", json.dumps(receipts, indent=1))


def _jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    artifacts.write_text(
        path, "".join(json.dumps(r, default=str, ensure_ascii=False, sort_keys=True) + "\n" for r in rows)
    )


def read_answers(folder: Path) -> list[Answer]:
    """The stored answers of a report, with their timings."""
    timings = {(t["arm"], t["item"]): t for t in _read_jsonl(folder / "timings.jsonl")}
    found = []
    for data in _read_jsonl(folder / "answers.jsonl"):
        timed = timings[data["arm"], data["item"]]
        found.append(answer_of({**data, **{k: timed[k] for k in TIMED if k in timed}}))
    return found


def _item(data: dict[str, Any]) -> Item:
    lists = ("prompt", "choices", "slices", "linked")
    return Item(**{**data, **{k: tuple(data[k]) for k in lists if k in data}})


def write_dev(out: Path, items: Sequence[Item], answers: dict[str, Answer]) -> None:
    """The candidate's labels on dev, without their timings."""
    rows = [
        {"item": asdict(i), "answer": {k: v for k, v in asdict(answers[i.id]).items() if k not in TIMED}}
        for i in items
        if i.id in answers
    ]
    _jsonl(out / "dev.jsonl", rows)


def read_dev(folder: Path) -> tuple[list[Item], dict[str, Answer]]:
    """Items and answers of dev; none in a report whose recipe has no tuned arm."""
    path = folder / "dev.jsonl"
    rows = _read_jsonl(path) if path.exists() else []
    return [_item(r["item"]) for r in rows], {r["answer"]["item"]: answer_of(r["answer"]) for r in rows}


def read_view(folder: Path) -> summary.View:
    """A report as the statistics see it."""
    listed = [_item(i) for i in _read_jsonl(folder / "items.jsonl")]
    scored = [Score(**s) for s in _read_jsonl(folder / "scores.jsonl")]
    return summary.View.of(listed, read_answers(folder), scored)


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
