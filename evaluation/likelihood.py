"""Log-probabilities of given answers under a local model, without generating: what leaks and forgetting are measured with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from evaluation.providers.local import LocalModel

BATCH_TOKENS = 2048  # tokens a forward pass, padding included


@dataclass(frozen=True, slots=True)
class Scored:
    """logprobs: of each answer token, nats. greedy: whether greedy decoding would have chosen it, given those before."""

    logprobs: list[float]
    greedy: list[bool]

    @property
    def mean(self) -> float:
        return sum(self.logprobs) / len(self.logprobs)


def score(model: LocalModel, asked: Sequence[tuple[list[int], list[int]]]) -> list[Scored]:
    """Each (prompt tokens, answer tokens) in order of asking; neither may be empty. Batches of like length."""
    import torch

    found: dict[int, Scored] = {}
    device = next(model.model.parameters()).device
    with torch.inference_mode():
        for batch in batches([len(p) + len(a) for p, a in asked], tokens=BATCH_TOKENS):
            width = max(len(asked[i][0]) + len(asked[i][1]) for i in batch)
            rows = [asked[i][0] + asked[i][1] for i in batch]
            # padded on the right: a causal model never looks there
            ids = torch.tensor([r + [model.stop_ids[0]] * (width - len(r)) for r in rows], device=device)
            first = min(len(asked[i][0]) for i in batch) - 1
            logits = model.model(input_ids=ids, use_cache=False, logits_to_keep=width - first).logits
            for row, i in enumerate(batch):
                prompt, answer = asked[i]
                at = len(prompt) - 1 - first
                step = torch.log_softmax(logits[row, at : at + len(answer)].float(), dim=-1)
                target = torch.tensor(answer, device=device)
                said = step.gather(1, target[:, None]).squeeze(1)
                found[i] = Scored(said.tolist(), (step.argmax(dim=-1) == target).tolist())
    return [found[i] for i in range(len(asked))]


def batches(lengths: Sequence[int], *, tokens: int, rows: int | None = None) -> list[list[int]]:
    """Indices by length, cut where a batch would hold more than `tokens`, padding included, or more than `rows`.

    Of like length they pad little, and memory stays bounded. What alone is longer than `tokens` is a batch of its own.
    """
    cut: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if cut and (len(cut[-1]) + 1) * lengths[i] <= tokens and len(cut[-1]) != rows:
            cut[-1].append(i)
        else:
            cut.append([i])
    return cut


@dataclass(frozen=True, slots=True)
class Tree:
    """Answers as a tree of their common beginnings. parents: of each node, -1 at the root; steps: (answer, parent node, token)."""

    tokens: list[int]
    parents: list[int]
    depths: list[int]
    steps: npt.NDArray[np.intp]

    @staticmethod
    def of(answers: Sequence[list[int]]) -> Tree:
        nodes: dict[tuple[int, ...], int] = {}
        tokens: list[int] = []
        parents: list[int] = []
        depths: list[int] = []
        steps: list[tuple[int, int, int]] = []
        for number, answer in enumerate(answers):
            parent = -1
            for depth, token in enumerate(answer):
                steps.append((number, parent, token))
                if depth == len(answer) - 1:
                    continue  # nothing is read after the last token
                node = nodes.setdefault((parent, token), len(tokens))
                if node == len(tokens):
                    tokens.append(token)
                    parents.append(parent)
                    depths.append(depth)
                parent = node
        return Tree(tokens, parents, depths, np.array(steps, dtype=np.intp))


def score_tree(model: LocalModel, prompt: list[int], tree: Tree, *, known: Any = None) -> npt.NDArray[np.float64]:
    """Log-probability of every answer of the tree after the prompt, in one forward pass.

    The mask lets a token see the prompt and its own ancestors, so that 10,000 codes of four digits cost 1,111 tokens. Only for
    models whose every layer is attention under the mask it is given; the caller compares one answer with `score`.
    known: a cache of the prompt's beginning, which is left as it was.
    """
    import torch

    start = known.get_seq_length() if known is not None else 0
    size, whole = len(prompt), len(prompt) + len(tree.tokens)
    sees = torch.zeros(whole, whole, dtype=torch.bool)
    sees[:size, :size] = torch.ones(size, size, dtype=torch.bool).tril()
    sees[size:, :size] = True
    for node, parent in enumerate(tree.parents, size):
        if parent >= 0:
            sees[node, size:] = sees[size + parent, size:]
        sees[node, node] = True
    device, dtype = next(model.model.parameters()).device, model.model.dtype
    mask = torch.zeros(1, 1, whole - start, whole, dtype=dtype)
    mask = mask.masked_fill(~sees[start:], torch.finfo(dtype).min).to(device)
    with torch.inference_mode():
        output: Any = model.model(
            input_ids=torch.tensor([prompt[start:] + tree.tokens], device=device),
            position_ids=torch.tensor([[*range(start, size), *(size + d for d in tree.depths)]], device=device),
            attention_mask=mask,
            past_key_values=known,
            use_cache=known is not None,
            logits_to_keep=len(tree.tokens) + 1,
        )
        if known is not None:
            known.crop(start - whole)
        logits = output.logits[0].float()
        logprobs = (logits - logits.logsumexp(dim=-1, keepdim=True)).cpu().numpy()
    number, parent, token = tree.steps.T
    return np.bincount(number, weights=logprobs[parent + 1, token]).astype(np.float64)
