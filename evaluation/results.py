"""What evaluation stores: Item, Answer, Score. "Could not measure" is None with a reason, never zero."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from data_prep.records import ChatMessage, Row, Sensitivity


@dataclass(frozen=True, slots=True)
class Item:
    """One held-out question. `choices` are the labels an answer may be; empty for free text."""

    id: str
    task: str
    prompt: tuple[ChatMessage, ...]
    reference: str
    choices: tuple[str, ...]
    slices: tuple[str, ...]
    group: str
    sensitivity: Sensitivity


def items(rows: Iterable[Row], choices: dict[str, tuple[str, ...]]) -> list[Item]:
    """Test rows as items, in order of their ids."""
    return [
        Item(
            r.id,
            r.task,
            r.prompt,
            r.reference,
            choices.get(r.task, ()) if r.label is not None else (),
            r.slices,
            r.group,
            r.sensitivity,
        )
        for r in sorted(rows, key=lambda r: r.id)
    ]


@dataclass(frozen=True, slots=True)
class Answer:
    """One arm's answer to one item. `text` is None where there is none, and `error` says why.

    said: the server's own words where `text` is a label read from them.
    choice_logprobs: log-probability of each label as the whole answer (nats), where labels were scored.
    latency_ms: from question to whole answer. busy_ms: the share of the hardware's time it took (batches divide it).
    """

    item: str
    arm: str
    text: str | None
    error: str | None = None
    said: str | None = None
    choice_logprobs: dict[str, float] | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    usd: Decimal | None = None
    latency_ms: float | None = None
    first_token_ms: float | None = None
    busy_ms: float | None = None
    attempts: int = 1
    model: str | None = None  # the id the server says it answered with


TIMED = ("latency_ms", "first_token_ms", "busy_ms", "attempts")


@dataclass(frozen=True, slots=True)
class Score:
    item: str
    arm: str
    metric: str
    value: float | None  # None: could not be measured


class AnswerFile:
    """Answers as they arrive, one JSON object a line; what a crash tore off is dropped on the next opening."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers = {a.item: a for a in read_answers(path)} if path.exists() else {}
        self._rewrite()
        self._file = path.open("a", encoding="utf-8")

    def _rewrite(self) -> None:
        whole = "".join(_line(a) for a in self.answers.values())
        if not self.path.exists() or self.path.read_text(encoding="utf-8") != whole:
            temporary = self.path.with_suffix(".partial")
            temporary.write_text(whole, encoding="utf-8")
            temporary.replace(self.path)

    def add(self, answer: Answer) -> None:
        self.answers[answer.item] = answer
        self._file.write(_line(answer))
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _line(answer: Answer) -> str:
    return json.dumps(asdict(answer), default=str, ensure_ascii=False) + "\n"


def read_answers(path: Path) -> Iterator[Answer]:
    """The whole lines of an answers file; a torn last line is not an answer."""
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            data: dict[str, Any] = json.loads(line)
        except json.JSONDecodeError:
            continue
        usd = data.get("usd")
        yield Answer(**{**data, "usd": Decimal(usd) if usd is not None else None})
