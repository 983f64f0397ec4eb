"""Does what is served answer as evaluation recorded, and not as the base? "Success" from a load call proves nothing.

Question: greedy answers part where two tokens are nearly as likely, and bf16, merged weights and other kernels round
differently; is that another model? Choice: a token may differ where the recorded margin is at most twice the tolerance, since
each of the two may be off by it; what follows is not compared. Everywhere else tokens and log-probabilities must agree. Price:
less of such a prompt proves something, so at least one prompt must tell the tuned model from the base before any tie.

TOLERANCE is what was measured: SmolLM2-135M with an adapter in bf16 against its merged weights in fp32, 40 prompts of the demo:
differences of 0.04 at the median, 0.13 at most, and five prompts that part at a margin of 0; in fp32 below 0.001.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.serving.candidate import TargetError
from pipelines.serving.golden import Golden

TOLERANCE = {"float32": 0.02}  # nats, by the precision that evaluation computed in
ROUNDED = 0.2  # the same for every coarser one


def tolerance_of(golden: Sequence[Golden]) -> float:
    """How far a token's log-probability may be off where the recipe does not say."""
    return max((TOLERANCE.get(g.precision, ROUNDED) for g in golden), default=ROUNDED)


@dataclass(frozen=True, slots=True)
class Replayed:
    """A golden prompt asked again: what the server rendered and answered. None where the server does not tell."""

    text: str
    ids: list[int] | None = None
    logprobs: list[float] | None = None
    prompt_ids: list[int] | None = None


def compare(where: str, golden: Sequence[Golden], replayed: Sequence[Replayed], *, tolerance: float) -> str:
    """One line about the parity of one replica. Raises TargetError naming the first prompt that differs."""
    worst, ties = 0.0, 0
    for g, r in zip(golden, replayed, strict=True):
        if r.prompt_ids is not None and r.prompt_ids != g.prompt_ids:
            raise TargetError(
                f"{where}: renders prompt {g.item} to other tokens than evaluation did. Is its chat template the adapter's?"
            )
        if r.ids is not None and r.logprobs is not None:
            gap, is_tie = _tokens(where, g, r, tolerance)
            worst, ties = max(worst, gap), ties + is_tie
        else:
            ties += _text(where, g, r.text, tolerance)
    measured = (
        f", largest log-probability difference {worst:.4f}" if replayed and replayed[0].logprobs is not None else ""
    )
    up_to = f" ({ties} of them up to two tokens that are equally likely)" if ties else ""
    return f"parity: {where} answers {len(golden)} golden prompts as evaluation recorded{up_to}{measured}"


def parting(ids: Sequence[int], margins: Sequence[float], others: Sequence[int], tolerance: float) -> tuple[int, bool]:
    """How many tokens agree, and whether what follows may differ: nothing follows, or two tokens are equally likely."""
    same = next((i for i, (a, b) in enumerate(zip(ids, others, strict=False)) if a != b), min(len(ids), len(others)))
    ended = same == len(ids) == len(others)
    return same, ended or (same < min(len(margins), len(others)) and margins[same] <= 2 * tolerance)


def furthest(logprobs: Sequence[float], others: Sequence[float]) -> float:
    return max((abs(a - b) for a, b in zip(logprobs, others, strict=False)), default=0.0)


def _tokens(where: str, g: Golden, r: Replayed, tolerance: float) -> tuple[float, bool]:
    assert r.ids is not None
    assert r.logprobs is not None
    same, may_part = parting(g.tuned_ids, g.tuned_margins, r.ids, tolerance)
    if not may_part:
        base = " It answers as the base model: the adapter has no effect." if r.ids == g.base_ids else ""
        raise TargetError(f"{where}: gives other tokens than evaluation recorded for {g.item}.{base}")
    gap = furthest(r.logprobs[:same], g.tuned_logprobs[:same])
    if gap > tolerance:
        raise TargetError(
            f"{where}: log-probabilities for {g.item} are off by {gap:.4f}, the limit is {tolerance}. Another precision, or another model."
        )
    return gap, same < len(g.tuned_ids)


def _text(where: str, g: Golden, text: str, tolerance: float) -> bool:
    sure = _sure(g, tolerance)
    if text == g.tuned_text:
        return False
    if sure == len(g.tuned_ids) or not text.startswith(g.tuned_texts[sure]):
        raise TargetError(f"{where}: answers {text[:60]!r} to {g.item}; evaluation recorded {g.tuned_text[:60]!r}.")
    return True


def _sure(g: Golden, tolerance: float) -> int:
    """How many tokens any faithful copy of the tuned model gives: those before two that are equally likely."""
    return next((i for i, m in enumerate(g.tuned_margins) if m <= 2 * tolerance), len(g.tuned_ids))


def differs_from_base(golden: Sequence[Golden], *, tolerance: float) -> None:
    """Raise TargetError where no golden prompt tells the tuned model from the base: nothing could be proven."""
    for g in golden:
        sure = _sure(g, tolerance)
        if g.tuned_ids[:sure] != g.base_ids[:sure]:
            return
        if furthest(g.tuned_logprobs[:sure], g.base_logprobs[:sure]) > 2 * tolerance:
            return
    raise TargetError(
        "the adapter changes none of the golden answers by more than rounding does: it would serve the base model."
        " Nothing was promoted. Raise evaluation.golden_prompts, or train for longer."
    )
