"""Is what will be learned what was meant? Checked on every row before the first step; a doubt stops the run.

A row is rendered as the server will render it: the prompt with the generation prompt, then prompt and completion together.
The completion's tokens, its stop token included, are what the loss falls on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data_prep.records import Dropped, Pointer, Row, Tally, UserError


class PreflightError(UserError):
    """The rows, the tokenizer and the settings do not fit together; training would learn something else."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of a row; `prompt` is a prefix of `whole`."""

    prompt: list[int]
    whole: list[int]

    @property
    def trained(self) -> int:
        return len(self.whole) - len(self.prompt)


def encode(row: Row, tokenizer: Any) -> Encoded:
    """Render and tokenise one row. Raises PreflightError where the rendered prompt is no prefix of the whole."""
    prompt = tokenizer.apply_chat_template(list(row.prompt), add_generation_prompt=True, return_dict=False)
    whole = tokenizer.apply_chat_template([*row.prompt, *row.completion], return_dict=False)
    if whole[: len(prompt)] != prompt:
        raise PreflightError(
            f"row {row.id}: the chat template renders the prompt differently with and without the answer, so the model would"
            " be asked something else than it was taught. Use a template whose prompt is a prefix of the conversation."
        )
    return Encoded(prompt, whole)


def fitting(rows: Sequence[Row], tokenizer: Any, *, max_length: int) -> tuple[list[Row], int, int, Tally]:
    """The rows that fit whole, their trained tokens, all their tokens, and why the others go.

    Raises PreflightError when no row fits or when the answers' stop token is not part of what is trained.
    """
    kept: list[Row] = []
    trained = total = 0
    tally = Tally()
    for row in rows:
        tally.seen("rows")
        encoded = encode(row, tokenizer)
        if len(encoded.prompt) >= max_length:
            tally.drop(Dropped("prompt_leaves_no_room", Pointer(row.id, f"{len(encoded.prompt)} prompt tokens")))
        elif len(encoded.whole) > max_length:
            tally.drop(Dropped("longer_than_max_length", Pointer(row.id, f"{len(encoded.whole)} tokens")))
        elif encoded.trained == 0:
            tally.drop(Dropped("empty_completion", Pointer(row.id, "0 trained tokens")))
        else:
            _stops(row, encoded, tokenizer)
            kept.append(row)
            trained += encoded.trained
            total += len(encoded.whole)
    if not kept:
        raise PreflightError(
            f"none of {len(rows)} rows fits training.max_length {max_length}: {dict(tally.dropped)}."
            " Raise max_length, or shorten prompts with the tasks' max_chars."
        )
    return kept, trained, total, tally


def _stops(row: Row, encoded: Encoded, tokenizer: Any) -> None:
    answer = encoded.whole[len(encoded.prompt) :]
    ends = {tokenizer.eos_token_id, *_turn_ends(tokenizer)}
    if not ends & set(answer[-3:]):
        raise PreflightError(
            f"row {row.id}: the answer ends in {tokenizer.decode(answer[-3:])!r} without a stop token"
            f" ({tokenizer.eos_token!r}), so the model would never learn to stop. The chat template must close the assistant's turn."
        )


def _turn_ends(tokenizer: Any) -> set[int]:
    known = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "</s>", "<|endoftext|>")
    vocabulary = tokenizer.get_vocab()
    return {vocabulary[t] for t in known if t in vocabulary}


def stop_token_ids(tokenizer: Any) -> list[int]:
    """Every token that ends an answer: the tokenizer's own and the template's end of turn."""
    return sorted({tokenizer.eos_token_id, *_turn_ends(tokenizer)} - {None})
