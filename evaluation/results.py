"""What evaluation stores: Item, Answer, Score. "Could not measure" is None with a reason, never zero."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from data_prep.records import ChatMessage, Row, Sensitivity, UserError

LOCAL_ARMS = ("base", "few_shot", "rag", "tuned", "tuned_rag")  # asked in this process, on own hardware


@dataclass(frozen=True, slots=True)
class Item:
    """One held-out question. `choices` are the labels an answer may be; empty for free text.

    linked: the documents that the human's answer links or quotes, where documents are known.
    """

    id: str
    task: str
    prompt: tuple[ChatMessage, ...]
    reference: str
    choices: tuple[str, ...]
    slices: tuple[str, ...]
    group: str
    sensitivity: Sensitivity
    linked: tuple[str, ...] = ()


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

    With usage, parameters, prices and asked_at an answer is a snapshot: the comparison can be computed again and priced
    anew when the model is long gone (evaluation.providers.replay).
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
    usage: dict[str, Any] | None = None  # the server's own count, cached and reasoning tokens included
    parameters: dict[str, Any] | None = None  # what was asked for besides the prompt
    finish_reason: str | None = None
    usd_presumed: Decimal | None = None  # what attempts may have cost that never said: at their worst case
    prices: dict[str, str | None] | None = None  # the list that `usd` is from, and its date
    response_id: str | None = None
    question: str | None = None  # digest of the prompt and of the model that was asked, where the answer was paid for
    asked_at: str | None = None  # when the answer was stored (ISO 8601, UTC)


# what the clock and the network decide, not the question and the model
TIMED = (
    "latency_ms", "first_token_ms", "busy_ms", "attempts", "usd_presumed", "prices", "response_id", "asked_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Score:
    item: str
    arm: str
    metric: str
    value: float | None  # None: could not be measured


class LockedError(UserError):
    """Another process is writing this file."""


class AnswerFile:
    """Answers as they arrive, one JSON object a line; what a crash tore off is dropped on the next opening.

    One process at a time: a second one gets LockedError, since both would ask and pay for the same items.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_locked(path)
        try:
            self.answers = {a.item: a for a in read_answers(path)}
            self._rewrite()
        except BaseException:
            self._file.close()
            raise

    def _rewrite(self) -> None:
        whole = _lines(self.answers.values())
        if self.path.read_bytes() != whole.encode():
            self._file = replaced(self._file, self.path, whole)

    @property
    def has_text(self) -> bool:
        """Did whoever was asked ever answer?"""
        return any(a.text is not None for a in self.answers.values())

    def add(self, answer: Answer) -> None:
        if answer.asked_at is None:
            answer = replace(answer, asked_at=datetime.now(UTC).isoformat(timespec="milliseconds"))
        self.answers[answer.item] = answer
        self._file.write(_line(answer))
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def open_locked(path: Path) -> TextIO:
    """The file, at its end, for this process alone until it is closed. Raises LockedError."""
    while True:
        file = path.open("a", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise LockedError(
                f"{path}: another process is writing this file. Wait for it, or give this recipe another `workdir`."
            ) from None
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # the process before put a new file in its place between our two calls


def replaced(file: TextIO, path: Path, whole: str) -> TextIO:
    """Put a file with this text in a locked one's place, whole or not at all, and hold the lock of the new one."""
    temporary = path.with_suffix(".partial")
    temporary.unlink(missing_ok=True)
    new = temporary.open("a", encoding="utf-8")
    fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
    new.write(whole)
    new.flush()
    temporary.replace(path)
    file.close()
    return new


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    """A file that read_answers reads, written whole."""
    path.write_text(_lines(answers), encoding="utf-8")


def _lines(answers: Iterable[Answer]) -> str:
    return "".join(map(_line, answers))


def _line(answer: Answer) -> str:
    return json.dumps(asdict(answer), default=str, ensure_ascii=False) + "\n"


def read_answers(path: Path) -> Iterator[Answer]:
    """The whole lines of an answers file; a torn last line is not an answer. Raises UserError for any other broken line."""
    yield from map(answer_of, read_lines(path))


def answer_of(data: dict[str, Any]) -> Answer:
    """An answer from its JSON object, of this version or an earlier one."""
    money = {k: Decimal(data[k]) for k in ("usd", "usd_presumed") if data.get(k) is not None}
    return Answer(**{**data, **money})


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON lines file that a crash may have torn at its end."""
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except ValueError as e:  # JSON or UTF-8
            if number < len(lines):
                raise UserError(
                    f"{path}:{number}: not JSON ({e}). Something else than this command wrote here; delete the line to ask"
                    " its item again."
                ) from e
