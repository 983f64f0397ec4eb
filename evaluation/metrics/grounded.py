"""Share of what an answer states that stands in its prompt: numbers with their units, names, addresses, quotes, citations.

No judge: what is written otherwise than in the prompt counts as not there (data_prep.grounding). The reference is not looked
at, so this says nothing about being right.
"""

from __future__ import annotations

import re
import unicodedata

from data_prep import grounding
from evaluation.metrics import LONGEST, Given, example
from evaluation.metrics._json import asks_for_json
from evaluation.metrics.citation_hit import NUMBERS
from evaluation.results import Item

APPLIES = "text"
BETTER = "higher"
QUOTE = re.compile(r"[\"“„«‚‘]([^\"“”„«»‚‘’\n]{12,300})[\"”“»’]")
QUOTE_WORDS = 3  # shorter quotes are names of buttons and emphasis
PERFECT = ("Hold it for 10 seconds. [1]", "", 1.0, example(shown=("Hold the button for 10 s.",)))
WORTHLESS = ("Hold it for 90 minutes, see https://x.example/y.", "", 0.0, example(shown=("Hold the button for 10 s.",)))


def applies(item: Item) -> bool:
    return not asks_for_json(item)


def score(answer: str, reference: str, *, given: Given) -> float | None:  # noqa: ARG001
    """None where the answer states nothing that can be looked up."""
    text, source = answer[:LONGEST], source_of(given)
    plain, language = NUMBERS.sub(" ", text), given.language or "en"
    quotes = [m[1] for m in QUOTE.finditer(plain) if len(m[1].split()) >= QUOTE_WORDS]
    number = len(given.shown.passages)
    numbers = [int(n) for m in NUMBERS.finditer(text) for n in re.findall(r"\d+", m[1])] if number else []
    missing = [
        *grounding.unsupported_numbers(plain, source),
        *grounding.unsupported_names(plain, source, language=language),
        *grounding.unsupported_urls(plain, source),
        *(q for q in quotes if not grounding.occurs(q, source)),
        *(n for n in numbers if not 1 <= n <= number),
    ]
    # normalised as unsupported_names does it, or more names could be missing than are stated
    stated = (
        len(grounding.numbers(grounding.MARKER.sub(" ", plain)))
        + len(grounding.names(unicodedata.normalize("NFKC", plain), language=language))
        + len(grounding.urls(plain))
        + len(quotes)
        + len(numbers)
    )
    return 1 - len(missing) / stated if stated else None


def source_of(given: Given) -> str:
    """Everything the prompt shows, worked examples aside."""
    passages = (f"{p.title}\n{p.heading}\n{p.text}" for p in given.shown.passages)
    return "\n\n".join([*(m["content"] for m in given.shown.prompt), *passages])
