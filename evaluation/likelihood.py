"""Log-probabilities of given answers under a local model, without generating: what leaks and forgetting are measured with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
        for batch in _batches([len(p) + len(a) for p, a in asked]):
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


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indices by length, cut where a batch would hold more than BATCH_TOKENS."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batches and (len(batches[-1]) + 1) * lengths[i] <= BATCH_TOKENS:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def score_tree(model: LocalModel, prompt: list[int], answers: Sequence[list[int]]) -> list[float]:
    """Log-probability of every answer after the prompt, in one forward pass over the tree of their common beginnings.

    The mask lets a token see the prompt and its own ancestors, so that 10,000 codes of four digits cost 1,111 tokens. Only for
    models whose every layer is attention under the mask it is given; the caller compares one answer with `score`.
    """
    import torch

    nodes: dict[tuple[int, ...], int] = {}  # a beginning → its place after the prompt
    for answer in answers:
        for n in range(1, len(answer)):
            nodes.setdefault(tuple(answer[:n]), len(nodes))
    ordered = sorted(nodes, key=len)
    place = {node: k for k, node in enumerate(ordered)}
    size, whole = len(prompt), len(prompt) + len(ordered)
    sees = torch.zeros(whole, whole, dtype=torch.bool)
    sees[:size, :size] = torch.ones(size, size, dtype=torch.bool).tril()
    sees[size:, :size] = True
    for node, k in place.items():
        if len(node) > 1:
            sees[size + k, size:] = sees[size + place[node[:-1]], size:]
        sees[size + k, size + k] = True
    parameter = next(model.model.parameters())
    device, dtype = parameter.device, model.model.dtype
    mask = torch.zeros(1, 1, whole, whole, dtype=dtype).masked_fill(~sees, torch.finfo(dtype).min).to(device)
    ids = torch.tensor([prompt + [node[-1] for node in ordered]], device=device)
    positions = torch.tensor([[*range(size), *(size + len(node) - 1 for node in ordered)]], device=device)
    with torch.inference_mode():
        output: Any = model.model(
            input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=len(ordered) + 1
        )
        logits = output.logits[0].float()
        logits -= logits.logsumexp(dim=-1, keepdim=True)
    logprobs = logits.cpu().numpy()
    found = []
    for answer in answers:
        rows = [0, *(1 + place[tuple(answer[:n])] for n in range(1, len(answer)))]
        found.append(float(sum(logprobs[row, token] for row, token in zip(rows, answer, strict=True))))
    return found
