"""Forgetting: what tuning cost on questions that have nothing to do with the task, the same ones before and after.

The set is the user's own: JSON lines with `prompt` (a text, or chat messages) and `answer`; or tasks of a harness
(evaluation.harness).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from data_prep.records import ChatMessage, UserError
from evaluation.gates import Gate, shown, within
from evaluation.metrics import exact_match
from evaluation.statistics import clustered_mean

if TYPE_CHECKING:
    from evaluation.providers.local import LocalModel

Metric = Literal["log_likelihood", "exact_match", "task_score"]
UNIT = {"log_likelihood": "nats a token", "exact_match": "share of exact answers", "task_score": "mean task score"}


@dataclass(frozen=True, slots=True)
class Question:
    prompt: tuple[ChatMessage, ...]
    answer: str


def read(path: Path, *, max_items: int) -> list[Question]:
    """The first questions of the file. Raises UserError with the line that is no question."""
    found: list[Question] = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: cannot be read ({e}). evaluation.general.path names a file of JSON lines.") from e
    for number, line in enumerate(lines, 1):
        if line.strip() and len(found) < max_items:
            found.append(_question(path, number, line))
    if not found:
        raise UserError(f"{path}: holds no question. Each line is an object with `prompt` and `answer`.")
    return found


def _question(path: Path, number: int, line: str) -> Question:
    try:
        data = json.loads(line)
        prompt, answer = data["prompt"], data["answer"]
        asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        messages: tuple[ChatMessage, ...] = tuple({"role": m["role"], "content": m["content"]} for m in asked)
        texts = [answer, *(v for m in messages for v in m.values())]
        if not messages or not all(isinstance(t, str) and t for t in texts):
            raise ValueError("prompt and answer must be texts that are not empty")
    except (ValueError, TypeError, KeyError) as e:
        raise UserError(
            f"{path}:{number}: is no question ({type(e).__name__}: {e}); found {line[:80]!r}."
            ' Write {"prompt": "…", "answer": "…"}; prompt may be a list of messages with role and content.'
        ) from e
    return Question(messages, answer)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One question's score, untuned and tuned; None: it is longer than the model's context."""

    base: float | None
    tuned: float | None


def compare(
    model: LocalModel, questions: Sequence[Question], *, metric: Metric, batch_size: int, max_new_tokens: int
) -> list[Comparison]:
    """The same questions to the base model and to the tuned one."""
    prompts = [model.prompt_ids(q.prompt) for q in questions]
    answers = [model.choice_ids(q.prompt, q.answer) for q in questions]
    room = [len(a) if metric == "log_likelihood" else max_new_tokens for a in answers]
    fits = [i for i, p in enumerate(prompts) if len(p) + room[i] <= model.max_positions]

    def scores() -> list[float]:
        if metric == "log_likelihood":
            from evaluation.likelihood import score

            return [round(s.mean, 5) for s in score(model, [(prompts[i], answers[i]) for i in fits])]
        from evaluation.likelihood import batches
        from evaluation.providers.local import BATCH_TOKENS

        said: dict[int, str] = {}
        for batch in batches([len(prompts[i]) for i in fits], tokens=BATCH_TOKENS, rows=batch_size):
            asked = [fits[i] for i in batch]
            made = model.generate([prompts[i] for i in asked], max_new_tokens=max_new_tokens)
            said |= {i: g.text for i, g in zip(asked, made, strict=True)}
        return [exact_match.score(said[i], questions[i].answer) for i in fits]

    tuned = dict(zip(fits, scores(), strict=True))
    with model.untuned():
        base = dict(zip(fits, scores(), strict=True))
    return [Comparison(base.get(i), tuned.get(i)) for i in range(len(questions))]


def judge(found: Sequence[Comparison], *, metric: Metric, max_drop: float | None) -> dict[str, Any]:
    """The paired change with its 95% interval, as general.json holds it; a gate where `max_drop` is given."""
    measured = [(c.tuned - c.base, c) for c in found if c.tuned is not None and c.base is not None]
    about: dict[str, Any] = {"metric": metric, "unit": UNIT[metric], "items": len(found), "measured": len(measured)}
    rows = [asdict(c) for c in found]
    if not measured:
        told = "General ability: could not be measured, every question is longer than the model's context."
        return about | {"sentence": told, "gates": _gate(None, max_drop, None, told), "rows": rows}
    change = clustered_mean([d for d, _ in measured], [str(i) for i in range(len(measured))])
    before, after = (
        sum(float(getattr(c, side) or 0) for _, c in measured) / len(measured) for side in ("base", "tuned")
    )
    passed = None
    if max_drop is not None and change.low is not None and change.high is not None:
        passed = within(-change.high, -change.low, max_drop)
    span = f"{change.low:+.3f} to {change.high:+.3f}" if change.low is not None else "no interval"
    told = (
        f"General ability: {after:.3f} {UNIT[metric]} after tuning, {before:.3f} before ({change.mean:+.3f}, 95%: {span};"
        f" {len(measured)} questions)"
    )
    if max_drop is not None:
        told += f"; {shown(passed, f'a drop of {max_drop}')}"
    return about | {
        "sentence": told + ".",
        "base": before,
        "tuned": after,
        "change": {"mean": change.mean, "low": change.low, "high": change.high},
        "gates": _gate(-change.mean, max_drop, passed, told + "."),
        "rows": rows,
    }


def _gate(drop: float | None, max_drop: float | None, passed: bool | None, told: str) -> list[dict[str, Any]]:
    return [] if max_drop is None else [asdict(Gate("general", drop, max_drop, passed, told))]
