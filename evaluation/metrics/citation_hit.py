"""Hit@3 of the documents an answer cites: is one that the human linked or quoted among the first three?

A citation is [n], the number of a passage that the prompt shows, or a shown document's address. An answer that cites
nothing, or what nobody showed it, has no hit.
"""

from __future__ import annotations

import re

from data_prep.grounding import urls
from evaluation.metrics import LONGEST, Given, example
from evaluation.results import Item

APPLIES = "text"
BETTER = "higher"
K = 3
NUMBERS = re.compile(r"\[(\d{1,2}(?:\s?[,;]\s?\d{1,2})*)\](?!\()")  # `[1]`, `[1, 3]`; not a Markdown link
PERFECT = ("Hold the button. [2]", "", 1.0, example(shown=("refunds", "pairing"), linked=("d2",)))
WORTHLESS = ("Hold the button. [1]", "", 0.0, example(shown=("refunds", "pairing"), linked=("d2",)))


def applies(item: Item) -> bool:
    return bool(item.linked)


def score(answer: str, reference: str, *, given: Given) -> float:  # noqa: ARG001
    return float(any(d in given.item.linked for d in cited(answer, given)[:K]))


def cited(answer: str, given: Given) -> list[str]:
    """The documents that the answer cites, by number before by address, each once."""
    text, passages = answer[:LONGEST], given.shown.passages
    numbers = (int(n) for m in NUMBERS.finditer(text) for n in re.findall(r"\d+", m[1]))
    found = [passages[n - 1].document for n in numbers if 1 <= n <= len(passages)]
    there = urls(text)
    found += [p.document for p in passages if p.url and urls(p.url) & there]
    return list(dict.fromkeys(found))
