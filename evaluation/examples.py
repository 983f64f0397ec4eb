"""Worked examples for few-shot prompts: from train only, the same for every item, so that their prefix is shared."""

from __future__ import annotations

from collections.abc import Sequence

from data_prep.records import ChatMessage, Row
from data_prep.split import hashed_share


def choose(train: Sequence[Row], task: str, *, number: int, seed: int) -> list[Row]:
    """`number` train rows of a task, labels in turn, short rows before long ones within a label's random quarter."""
    mine = sorted((r for r in train if r.task == task), key=lambda r: hashed_share(r.id, seed))
    by_label: dict[str, list[Row]] = {}
    for row in mine:
        by_label.setdefault(row.label or "", []).append(row)
    for label, rows in by_label.items():
        quarter = rows[: max(4, len(rows) // 4)]
        by_label[label] = sorted(quarter, key=lambda r: sum(len(m["content"]) for m in r.prompt))
    chosen: list[Row] = []
    depth = 0
    while len(chosen) < number and any(depth < len(rows) for rows in by_label.values()):
        for label in sorted(by_label):
            if depth < len(by_label[label]) and len(chosen) < number:
                chosen.append(by_label[label][depth])
        depth += 1
    return chosen


def with_examples(prompt: tuple[ChatMessage, ...], examples: Sequence[Row]) -> tuple[ChatMessage, ...]:
    """The prompt with the examples as earlier turns after its system message."""
    system = tuple(m for m in prompt[:1] if m["role"] == "system")
    shown = tuple(m for e in examples for m in (*(m for m in e.prompt if m["role"] != "system"), *e.completion))
    return (*system, *shown, *prompt[len(system) :])
