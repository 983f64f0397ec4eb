"""Answers from a model on this machine: transformers, with or without an adapter.

Labels are scored, not generated: each label's log-probability as the whole answer, its stop token included. The prompt is
computed once for all labels, and what all prompts have in common (instruction, worked examples) once for all items.
One item at a time, so that a resumed run repeats the same arithmetic.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from data_prep.records import ChatMessage
from evaluation.likelihood import Tree, batches, score_tree
from evaluation.results import Answer, Item

Prompt = tuple[ChatMessage, ...]
Asked = tuple[Item, Prompt, list[int]]  # the prompt's tokens last
BATCH_TOKENS = 16_384  # of the prompts of a batch to generate after, padding included
WORTH_SHARING = 32  # tokens
SAME = 0.05  # relative: what bf16 rounds, and far less than a layer does that takes no notice of a mask


@dataclass(frozen=True, slots=True)
class Generated:
    token_ids: list[int]  # the stop token included
    logprobs: list[float]  # of each token, nats
    margins: list[float]  # how much likelier each token was than the next best, nats
    text: str


class LocalModel:
    """A base model with an adapter that can be switched off, so that one load serves all local arms."""

    def __init__(self, base: Path, adapter: Path | None, *, dtype: torch.dtype, stop_ids: Sequence[int]) -> None:
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        device = "cuda" if torch.cuda.is_available() else "cpu"
        # over several GPUs, layer by layer: the base may be larger than one of them
        spread = "auto" if torch.cuda.device_count() > 1 else None
        self.tokenizer = AutoTokenizer.from_pretrained(base)
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, use_safetensors=True, device_map=spread).eval()
        model = model if spread else model.to(device)
        self.model: Any = PeftModel.from_pretrained(model, adapter).eval() if adapter is not None else model
        self.has_adapter, self.dtype = adapter is not None, dtype
        self.stop_ids = list(stop_ids)
        self.max_positions = int(getattr(model.config.get_text_config(), "max_position_embeddings", 2**31))

    def untuned(self) -> AbstractContextManager[Any]:
        """The base model alone, inside the context."""
        return self.model.disable_adapter() if self.has_adapter else nullcontext()

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        ids: list[int] = self.tokenizer.apply_chat_template(list(prompt), add_generation_prompt=True, return_dict=False)
        return ids

    def choice_ids(self, prompt: Prompt, choice: str) -> list[int]:
        """The tokens of a label as the whole answer, up to its stop token."""
        whole: list[int] = self.tokenizer.apply_chat_template(
            [*prompt, {"role": "assistant", "content": choice}], return_dict=False
        )
        tail = whole[len(self.prompt_ids(prompt)) :]
        stop = next((i for i, t in enumerate(tail) if t in self.stop_ids), len(tail) - 1)
        return tail[: stop + 1]

    @torch.inference_mode()
    def score_choices(
        self, prompts: Sequence[list[int]], choices: Sequence[list[int]], done: Sequence[bool]
    ) -> Iterator[list[float] | None]:
        """Log-probabilities of every choice after each prompt; None for prompts that are done already.

        The cache of the prompts' common prefix is computed at once, over all of them, done or not. All choices are one forward pass where
        the model keeps to the mask of a tree, which the first prompt shows; else a second pass has a row a choice.
        """
        shared = _common_prefix(prompts)
        prefix = self._extend(None, prompts[0][:shared]) if shared else None
        tree = Tree.of(choices) if self.has_full_attention else None
        if tree is not None:
            row_by_row = self._choices_after(prompts[0], shared, prefix, choices)
            at_once = score_tree(self, prompts[0], tree, known=copy.deepcopy(_cache(prefix)))
            if max(abs(a - b) / (1 + abs(b)) for a, b in zip(at_once, row_by_row, strict=True)) > SAME:
                tree = None
        return self._scores(prompts, choices, done, shared, prefix, tree)

    @torch.inference_mode()
    def _scores(
        self,
        prompts: Sequence[list[int]],
        choices: Sequence[list[int]],
        done: Sequence[bool],
        shared: int,
        prefix: Any,
        tree: Tree | None,
    ) -> Iterator[list[float] | None]:
        for prompt, is_done in zip(prompts, done, strict=True):
            if is_done:
                yield None
            elif tree is not None:
                yield score_tree(self, prompt, tree, known=_cache(prefix)).tolist()
            else:
                yield self._choices_after(prompt, shared, prefix, choices)

    @property
    def has_full_attention(self) -> bool:
        """Whether every layer attends to all that came before."""
        config = self.model.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        return kinds == {"full_attention"} and getattr(config, "sliding_window", None) is None

    def _choices_after(self, prompt: list[int], shared: int, prefix: Any, choices: Sequence[list[int]]) -> list[float]:
        state = self._extend(copy.deepcopy(prefix), prompt[shared:])
        first = torch.log_softmax(state.logits[0, -1].float(), dim=-1)
        width = max(map(len, choices))
        scores = [float(first[c[0]]) for c in choices]
        if width == 1:
            return scores
        cache = state.past_key_values
        cache.batch_repeat_interleave(len(choices))
        fill = self.stop_ids[0]
        ids = torch.tensor([[*c[:-1], *[fill] * (width - len(c))] for c in choices], device=first.device)
        logprobs = torch.log_softmax(
            self.model(input_ids=ids, past_key_values=cache, use_cache=True).logits.float(), dim=-1
        )
        for row, choice in enumerate(choices):
            scores[row] += sum(float(logprobs[row, i, t]) for i, t in enumerate(choice[1:]))
        return scores

    def _extend(self, state: Any, ids: list[int]) -> Any:
        device = next(self.model.parameters()).device
        return self.model(
            input_ids=torch.tensor([ids], device=device),
            past_key_values=_cache(state),
            use_cache=True,
            logits_to_keep=1,
        )

    @torch.inference_mode()
    def begin(self, prompts: Sequence[list[int]]) -> Any:
        """What prompts have in common, computed once for `generate`: None where it is hardly worth it, and for models with
        other layers than full attention, which count the padding after it as positions."""
        shared = _common_prefix(prompts)
        if shared < WORTH_SHARING or not self.has_full_attention:
            return None
        return self._extend(None, prompts[0][:shared]).past_key_values

    @torch.inference_mode()
    def generate(self, prompts: Sequence[list[int]], *, max_new_tokens: int, common: Any = None) -> list[Generated]:
        """Greedy answers to a batch of prompts. common: the cache of their common beginning, from `begin`."""
        device = next(self.model.parameters()).device
        width = max(map(len, prompts))
        pad = self.tokenizer.pad_token_id
        known = common.get_seq_length() if common is not None else 0
        # what is common stands first in every row, so the padding follows it
        rows = [(p[:known], width - len(p), p[known:]) for p in prompts]
        ids = torch.tensor([[*head, *[pad] * gap, *tail] for head, gap, tail in rows], device=device)
        mask = torch.tensor([[*[1] * known, *[0] * gap, *[1] * len(tail)] for _, gap, tail in rows], device=device)
        cache = copy.deepcopy(common)
        if cache is not None:
            cache.batch_repeat_interleave(len(prompts))
        out = self.model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=max_new_tokens, do_sample=False, temperature=None, top_p=None,
            top_k=None, eos_token_id=self.stop_ids, pad_token_id=pad, output_logits=True, return_dict_in_generate=True,
            past_key_values=cache,
        )  # fmt: skip
        logprobs = [torch.log_softmax(step.float(), dim=-1) for step in out.logits]
        return [self._generated(out.sequences[row, width:].tolist(), logprobs, row) for row in range(len(prompts))]

    def _generated(self, ids: list[int], logprobs: list[torch.Tensor], row: int) -> Generated:
        stop = next((i for i, t in enumerate(ids) if t in self.stop_ids), len(ids) - 1)
        kept = ids[: stop + 1]
        best = [logprobs[i][row].topk(2).values for i in range(len(kept))]
        return Generated(
            kept,
            [round(float(logprobs[i][row, t]), 5) for i, t in enumerate(kept)],
            [round(float(first - second), 5) for first, second in best],
            self.text_of(kept),
        )

    def text_of(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()


def answer(
    model: LocalModel,
    arm: str,
    asked: Sequence[tuple[Item, Prompt]],
    known: set[str],
    *,
    batch_size: int,
    max_new_tokens: int,
    keep: Callable[[Answer], None],
) -> None:
    """Answer every (item, prompt) that is not in `known`; each answer goes to `keep` as it is made.

    Labelled items by scoring, one task at a time; free text in batches that do not depend on what is known.
    """
    tasks = sorted({item.task for item, _ in asked})
    for task in tasks:
        mine = [(item, prompt, model.prompt_ids(prompt)) for item, prompt in asked if item.task == task]
        for item, _, ids in [m for m in mine if len(m[2]) + 2 > model.max_positions]:
            if item.id not in known:
                keep(Answer(item.id, arm, None, error="prompt_longer_than_context", prompt_tokens=len(ids)))
        fitting = [m for m in mine if len(m[2]) + 2 <= model.max_positions]
        if fitting and fitting[0][0].choices:
            _score(model, arm, fitting, known, keep)
        else:
            _write(model, arm, fitting, known, batch_size, max_new_tokens, keep)


def _score(
    model: LocalModel,
    arm: str,
    asked: list[Asked],
    known: set[str],
    keep: Callable[[Answer], None],
) -> None:
    labels = asked[0][0].choices
    choices = [model.choice_ids(asked[0][1], label) for label in labels]
    done = [item.id in known for item, *_ in asked]
    scored = model.score_choices([a[2] for a in asked], choices, done)
    started = time.perf_counter()  # what the prompts have in common is computed; a server has it in its cache
    for (item, _, ids), scores in zip(asked, scored, strict=True):
        now = time.perf_counter()
        elapsed, started = 1000 * (now - started), now
        if scores is None:
            continue
        found = {label: round(s, 5) for label, s in zip(labels, scores, strict=True)}
        best = max(labels, key=lambda label: (found[label], label))
        tokens = len(choices[labels.index(best)])
        keep(
            Answer(
                item.id, arm, best, choice_logprobs=found, prompt_tokens=len(ids), completion_tokens=tokens,
                latency_ms=elapsed, busy_ms=elapsed,
            )
        )  # fmt: skip


def _write(
    model: LocalModel,
    arm: str,
    asked: list[Asked],
    known: set[str],
    batch_size: int,
    max_new_tokens: int,
    keep: Callable[[Answer], None],
) -> None:
    by_id = sorted(asked, key=lambda a: a[0].id)
    is_left = any(item.id not in known for item, *_ in asked)
    common = model.begin([ids for *_, ids in asked]) if is_left else None
    for indices in batches([len(ids) for *_, ids in by_id], tokens=BATCH_TOKENS, rows=batch_size):
        batch = [by_id[i] for i in indices]
        if all(item.id in known for item, *_ in batch):
            continue
        began = time.perf_counter()
        generated = model.generate([ids for *_, ids in batch], max_new_tokens=max_new_tokens, common=common)
        elapsed = 1000 * (time.perf_counter() - began)
        for (item, _, ids), g in zip(batch, generated, strict=True):
            if item.id not in known:
                error = None if g.text else "empty_answer"
                busy = elapsed / len(batch)
                keep(
                    Answer(
                        item.id,
                        arm,
                        g.text or None,
                        error,
                        prompt_tokens=len(ids),
                        completion_tokens=len(g.token_ids),
                        latency_ms=elapsed,
                        busy_ms=busy,
                    )
                )


def _cache(state: Any) -> Any:
    return state.past_key_values if state is not None else None


def _common_prefix(prompts: Sequence[list[int]]) -> int:
    """Length of the longest common prefix, at least one token short of the shortest prompt."""
    low, high = min(prompts), max(prompts)
    limit = min(map(len, prompts)) - 1
    return next((i for i in range(limit) if low[i] != high[i]), limit)
