"""Whose model an id names. A judge prefers the answers of its own kind (arXiv 2404.13076), so its family must be another's.

The id is all there is to go by: "deepseek-r1-distill-qwen-7b" belongs to both families it names, and one that names none is
unknown until the recipe says it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from data_prep.records import UserError

# family → how its ids begin a word; hosted names of closed models belong to the house that trains them
NAMES = {
    "aya": "aya",
    "claude": "claude haiku sonnet opus",
    "command": "command cohere c4ai",
    "deepseek": "deepseek",
    "ernie": "ernie",
    "exaone": "exaone",
    "falcon": "falcon",
    "gemini": "gemini gemma palm",
    "glm": "glm chatglm",
    "gpt": "gpt chatgpt davinci o1 o3 o4",
    "granite": "granite",
    "grok": "grok",
    "hunyuan": "hunyuan",
    "internlm": "internlm",
    "jamba": "jamba",
    "kimi": "kimi moonshot",
    "llama": "llama codellama tinyllama vicuna",
    "minimax": "minimax",
    "mistral": "mistral mixtral ministral magistral codestral devstral pixtral",
    "nemotron": "nemotron",
    "nova": "nova",
    "olmo": "olmo olmoe tulu",
    "phi": "phi",
    "qwen": "qwen qwq",
    "smollm": "smollm",
    "solar": "solar",
    "stablelm": "stablelm",
    "yi": "yi",
}
_PATTERNS = {
    family: re.compile(rf"(?<![a-z0-9])(?:{'|'.join(names.split())})(?![a-z])") for family, names in NAMES.items()
}


class JudgeError(UserError):
    """This judge may not judge these arms."""


def families(model: str, *, named: Mapping[str, str] | None = None) -> frozenset[str]:
    """The families a model id names; `named` (model id → family) goes first. Empty: unknown."""
    if named and model in named:
        return frozenset((named[model].casefold(),))
    return frozenset(f for f, pattern in _PATTERNS.items() if pattern.search(model.casefold()))


def own_sides(judge: str, arms: Mapping[str, str], named: Mapping[str, str]) -> frozenset[str]:
    """The sides whose model is of the judge's family. arms: side → model id.

    Raises JudgeError where a model's family is unknown: what is not known cannot be told to differ.
    """
    known = {model: families(model, named=named) for model in (judge, *arms.values())}
    unknown = [model for model, found in known.items() if not found]
    if unknown:
        raise JudgeError(
            f"evaluation.judge: the family of {', '.join(map(repr, unknown))} is unknown, so it cannot be told whether the judge"
            f" would judge its own kind. Name it: evaluation.judge.families: {{{unknown[0]}: qwen}} (known are {', '.join(NAMES)};"
            " any other word will do)."
        )
    return frozenset(side for side, model in arms.items() if known[judge] & known[model])


def refuse_own_family(
    judge: str, arms: Mapping[str, str], named: Mapping[str, str], *, allowed: bool
) -> frozenset[str]:
    """The sides of the judge's own family, which must be none unless `allowed`. Raises JudgeError."""
    own = own_sides(judge, arms, named)
    if own and not allowed:
        told = ", ".join(f"the {side} ({arms[side]})" for side in sorted(own))
        raise JudgeError(
            f"evaluation.judge: {judge} is of the same family as {told}, and judges prefer their own kind. Choose a judge of"
            " another family, or set evaluation.judge.allow_same_family: true; the self-preference test then has to pass."
        )
    return own
