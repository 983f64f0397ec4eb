"""Whether the answer declines to help (1) or not (0); a phrase list, so a floor and not a census."""

from __future__ import annotations

import re

from evaluation.metrics import LONGEST

APPLIES = "text"
BETTER = "lower"
PERFECT = ("Please restart the hub.", "Please restart the hub.", 0.0)
WORTHLESS = ("I'm sorry, but I cannot help with that.", "Please restart the hub.", 1.0)
REFUSAL = re.compile(
    r"(?i)\b(?:as an ai\b|i(?:['’]m| am) (?:unable|not able) to (?:help|assist|answer|provide)"
    r"|i (?:can(?:no|['’])t|can not) (?:help|assist|answer|provide)"
    r"|ich kann (?:ihnen )?(?:dabei |damit )?(?:leider )?nicht (?:helfen|weiterhelfen))"
)


def score(answer: str, reference: str) -> float:  # noqa: ARG001  (every metric has this shape)
    return float(REFUSAL.search(answer[:LONGEST]) is not None)
