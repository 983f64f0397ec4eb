"""Golden prompts: what evaluation saw, token by token, so that promotion can ask a live replica for the same.

Recorded for the tuned model and for the base: a replica must answer as the tuned one, and a replica that answers as the
base has not loaded the adapter, whatever its status code said. Replicas need not be this machine, so the prompts are those
of rows that may leave it, where there are any.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.records import ChatMessage
from data_prep.split import hashed_share
from evaluation.egress import Policy, kinds_in
from evaluation.results import Item

if TYPE_CHECKING:  # torch is slow to import, and `freehold check` reads this file
    from evaluation.providers.local import LocalModel

GOLDEN_TOKENS = 24


@dataclass(frozen=True, slots=True)
class Golden:
    """One prompt with the greedy continuation of the tuned model and of the base: token ids, log-probabilities, margins.

    A margin is how much likelier a token was than the next best, in nats: where it is small, another precision may take the
    other. texts: the tuned text as it is before each token. Both are empty in what an earlier version recorded.
    """

    item: str
    messages: tuple[ChatMessage, ...]
    prompt_ids: list[int]
    tuned_ids: list[int]
    tuned_logprobs: list[float]
    tuned_text: str
    base_ids: list[int]
    base_logprobs: list[float]
    tuned_margins: list[float] = field(default_factory=list)
    base_margins: list[float] = field(default_factory=list)
    tuned_texts: list[str] = field(default_factory=list)
    precision: str = "float32"  # that they were computed in
    sensitivity: str = "local_only"  # of its row; what an earlier version recorded does not say, and stays


def choose(items: Sequence[Item], policy: Policy, *, number: int, seed: int) -> list[Item]:
    """`number` items, tasks in turn, of those that the policy lets out; where it lets none out, of all."""
    by_task: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda i: hashed_share(i.id, seed)):
        by_task.setdefault(item.task, []).append(item)
    open_to_all = [
        list(islice((i for i in rows if may_leave(i.prompt, i.sensitivity, policy)), number))
        for rows in by_task.values()
    ]
    rows_of_tasks = open_to_all if any(open_to_all) else list(by_task.values())
    return [item for depth in range(number) for rows in rows_of_tasks for item in rows[depth : depth + 1]][:number]


def may_leave(prompt: Sequence[ChatMessage], sensitivity: str, policy: Policy) -> bool:
    """May a replica on another machine be asked this?"""
    return policy.reason_to_keep_back(sensitivity, kinds_in(prompt)) is None


def record(model: LocalModel, chosen: Sequence[Item]) -> list[Golden]:
    """What both models answer, one prompt at a time so that no padding touches the numbers."""
    found = []
    for item in chosen:
        ids = model.prompt_ids(item.prompt)
        tuned = model.generate([ids], max_new_tokens=GOLDEN_TOKENS)[0]
        with model.untuned():
            base = model.generate([ids], max_new_tokens=GOLDEN_TOKENS)[0]
        messages: tuple[ChatMessage, ...] = tuple({"role": m["role"], "content": m["content"]} for m in item.prompt)
        texts = [model.text_of(tuned.token_ids[:n]) for n in range(len(tuned.token_ids))]
        found.append(
            Golden(
                item.id, messages, ids, tuned.token_ids, tuned.logprobs, tuned.text, base.token_ids, base.logprobs,
                tuned.margins, base.margins, texts, str(model.dtype).removeprefix("torch."), item.sensitivity,
            )
        )  # fmt: skip
    return found


def save(golden: Sequence[Golden], path: Path) -> None:
    path.write_text("".join(json.dumps(asdict(g), ensure_ascii=False) + "\n" for g in golden), encoding="utf-8")


def load(path: Path) -> list[Golden]:
    lines = path.read_text(encoding="utf-8").split("\n")  # splitlines also breaks at U+2028, which JSON keeps as it is
    parsed: list[dict[str, Any]] = [json.loads(line) for line in lines if line]
    return [Golden(**{**g, "messages": tuple(g["messages"])}) for g in parsed]
