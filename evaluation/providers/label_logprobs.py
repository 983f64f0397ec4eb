"""The probability of every label from the log-probabilities that a chat completion tells of its own tokens.

A server that scores no given answer still says, at each token it wrote, which other tokens it might have written. Along the
answer, an alternative that one label begins with gives that label's probability: those of the tokens before it times its own;
labels that begin alike share it. A label that is among no token's alternatives is at most as likely as the least of them, and
counts as that.

Source: OpenAI's chat completions, `logprobs` with `top_logprobs` (at most 20), which vLLM gives too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

TOP = 20  # alternatives a token, the most that is offered
REQUEST = {"logprobs": True, "top_logprobs": TOP}


def of_choices(content: Any, choices: Sequence[str]) -> dict[str, float] | None:
    """Log-probability of each choice, nats; None where the server told nothing usable, or no label is to be seen.

    content: `choices[0].logprobs.content` of the response: a token each, with `token`, `logprob` and `top_logprobs`.
    """
    names = {c: _plain(c) for c in choices}
    mass = dict.fromkeys(choices, 0.0)
    least = math.inf
    so_far, path = "", 0.0
    try:
        for step in content:
            for other in step["top_logprobs"] or ():
                logprob = path + _number(other["logprob"])
                least = min(least, logprob)
                fits = _going_on(so_far + other["token"], names) if other["token"] != step["token"] else []
                for choice in fits:  # what begins like two labels counts half for each
                    mass[choice] += math.exp(logprob) / len(fits)
            so_far, path = so_far + step["token"], path + _number(step["logprob"])
            if len(_going_on(so_far, names)) < 2:  # what follows only spells the rest of it
                break
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        return None
    fits = _going_on(so_far, names)
    said = [c for c in fits if names[c] == _plain(so_far)] or fits
    for choice in said[:1]:
        mass[choice] += math.exp(path)
    if math.isinf(least) or not any(mass.values()):
        return None
    return {c: round(math.log(m) if m else least, 5) for c, m in mass.items()}


def _going_on(text: str, names: dict[str, str]) -> list[str]:
    """The labels that an answer beginning like this can still be; else the longest that it begins with."""
    plain = _plain(text)
    possible = [c for c, name in names.items() if name.startswith(plain)]
    whole = [c for c, name in names.items() if plain.startswith(name)]
    return possible or sorted(whole, key=lambda c: -len(names[c]))[:1]


def _plain(text: str) -> str:
    return text.lstrip(" \n\t`*\"'").casefold()


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value > 1e-6:
        raise ValueError(f"{value!r} is no log-probability")
    return max(float(value), -1e4)
