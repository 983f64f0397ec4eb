"""Whether the answer is in the language of the conversation."""

from __future__ import annotations

from data_prep.grounding import LINK, URL
from data_prep.language import language_of
from evaluation.metrics import LONGEST, Given, example
from evaluation.metrics._json import asks_for_json
from evaluation.results import Item

APPLIES = "text"
BETTER = "higher"
LETTERS = 20  # fewer name no language
PERFECT = ("Bitte starten Sie den Hub neu und warten Sie eine Minute.", "", 1.0, example(language="de"))
WORTHLESS = ("Please restart the hub and wait for a minute.", "", 0.0, example(language="de"))


def applies(item: Item) -> bool:
    return not asks_for_json(item) and any(s.startswith("language=") for s in item.slices)


def score(answer: str, reference: str, *, given: Given) -> float | None:  # noqa: ARG001
    """None where the answer has too few letters to tell, or the item has no language."""
    text = URL.sub(" ", LINK.sub(lambda m: m[2], answer[:LONGEST]))
    if given.language is None or sum(c.isalpha() for c in text) < LETTERS:
        return None
    return float(language_of(text) == given.language)
