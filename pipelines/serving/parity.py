"""Does what is served answer as evaluation recorded, and not as the base? "Success" from a load call proves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.serving.candidate import TargetError
from pipelines.serving.golden import Golden


@dataclass(frozen=True, slots=True)
class Replayed:
    """A golden prompt asked again: what the server rendered and answered. None where the server does not tell."""

    text: str
    ids: list[int] | None = None
    logprobs: list[float] | None = None
    prompt_ids: list[int] | None = None


def compare(where: str, golden: Sequence[Golden], replayed: Sequence[Replayed], *, tolerance: float) -> str:
    """One line about the parity of one replica. Raises TargetError naming the first prompt that differs."""
    worst = 0.0
    for g, r in zip(golden, replayed, strict=True):
        if r.prompt_ids is not None and r.prompt_ids != g.prompt_ids:
            raise TargetError(
                f"{where}: renders prompt {g.item} to other tokens than evaluation did. Is its chat template the adapter's?"
            )
        if r.ids is not None and r.logprobs is not None:
            worst = max(worst, _tokens(where, g, r, tolerance))
        elif r.text != g.tuned_text:
            raise TargetError(
                f"{where}: answers {r.text[:60]!r} to {g.item}; evaluation recorded {g.tuned_text[:60]!r}."
            )
    measured = (
        f", largest log-probability difference {worst:.4f}" if replayed and replayed[0].logprobs is not None else ""
    )
    return f"parity: {where} answers {len(golden)} golden prompts as evaluation recorded{measured}"


def _tokens(where: str, g: Golden, r: Replayed, tolerance: float) -> float:
    assert r.ids is not None
    assert r.logprobs is not None
    if r.ids != g.tuned_ids:
        base = " It answers as the base model: the adapter has no effect." if r.ids == g.base_ids else ""
        raise TargetError(f"{where}: gives other tokens than evaluation recorded for {g.item}.{base}")
    gap = max(abs(a - b) for a, b in zip(r.logprobs, g.tuned_logprobs, strict=True))
    if gap > tolerance:
        raise TargetError(
            f"{where}: log-probabilities for {g.item} are off by {gap:.4f}, the limit is {tolerance}. Another precision, or another model."
        )
    return gap


def differs_from_base(golden: Sequence[Golden], *, tolerance: float) -> None:
    """Raise TargetError where the tuned model answers all golden prompts as the base does: nothing could be proven."""
    for g in golden:
        if g.tuned_ids != g.base_ids:
            return
        if any(abs(a - b) > 2 * tolerance for a, b in zip(g.tuned_logprobs, g.base_logprobs, strict=True)):
            return
    raise TargetError(
        "the adapter changes none of the golden answers: it would serve the base model. Nothing was promoted."
    )
