"""One file = one score. Its name is the name in the recipe, in the tables and in MLflow.

`score(answer, reference)` judges one answer, `aggregate(answers, references)` many at once. Who needs more than the two texts
takes the keyword-only parameter `given: Given` (`aggregate`: one for each answer; aggregates are shown no passages).
None means "could not be measured"; an answer that is wrong, empty or unreadable is measured.

    APPLIES     "label" or "text": the kind of item
    applies     optional function of an Item that narrows this: to JSON, to items with linked documents
    BETTER      "higher", "lower" or "neither"; only "higher" can be a gate
    PERFECT     (answer, reference, value) or (answer, reference, value, given), as WORTHLESS is; a contract test checks both

Texts are judged by their first LONGEST characters, so that an answer of ten megabytes costs what one of a hundred
kilobytes does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from data_prep.library import Passage
from data_prep.records import ChatMessage, Pointer
from evaluation.results import Answer, Item

LONGEST = 100_000


@dataclass(frozen=True, slots=True)
class Shown:
    """What an arm was shown for an item, worked examples aside. passages: those that [1], [2] … name."""

    prompt: tuple[ChatMessage, ...]
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True)
class Given:
    """What a metric may look at besides the two texts."""

    item: Item
    answer: Answer
    shown: Shown

    @property
    def language(self) -> str | None:
        """ISO 639-1 code of the item's conversation."""
        return next((s.partition("=")[2] for s in self.item.slices if s.startswith("language=")), None)

    @cached_property
    def probabilities(self) -> dict[str, float] | None:
        """Of every label, softmax of the log-probabilities over the item's choices, whoever computed them.

        None where one of the choices has no log-probability, or not a number.
        """
        found = self.answer.choice_logprobs or {}
        logprobs = [found.get(c, math.nan) for c in self.item.choices]
        most = max(logprobs, default=-math.inf)
        if any(math.isnan(x) for x in logprobs) or math.isinf(most):
            return None
        weights = [math.exp(x - most) for x in logprobs]
        return {c: w / sum(weights) for c, w in zip(self.item.choices, weights, strict=True)}


def example(
    *,
    asked: str = "",
    shown: tuple[str, ...] = (),
    linked: tuple[str, ...] = (),
    language: str = "en",
    logprobs: dict[str, float] | None = None,
) -> Given:
    """A Given for the examples of a metric. shown: texts of passages, each of a document `d1`, `d2` …"""
    prompt: tuple[ChatMessage, ...] = ({"role": "user", "content": asked},)
    item = Item("i", "t", prompt, "", tuple(logprobs or ()), (f"language={language}",), "g", "shareable", linked)
    passages = tuple(
        Passage(f"d{n}", f"Document {n}", "", "", text, Pointer(f"{n}.md", ""), "shareable")
        for n, text in enumerate(shown, start=1)
    )
    return Given(item, Answer("i", "a", "", choice_logprobs=logprobs), Shown(prompt, passages))
