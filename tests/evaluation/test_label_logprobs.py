"""Label probabilities from a chat completion's token log-probabilities, against a model whose distribution is known."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.providers.label_logprobs import REQUEST, of_choices
from tests.evaluation.test_openai_compatible import ask, completion, items, server

LABELS = ("billing", "delivery", "device_broken", "device_setup")


def content(of: dict[str, float], step: int = 1) -> list[dict[str, Any]]:
    """What a model tells that writes labels with these probabilities, `step` characters a token, greedily."""
    told, prefix = [], ""
    while True:
        going = {c: p for c, p in of.items() if c.startswith(prefix)}
        ahead: dict[str, float] = {}
        for c, p in going.items():
            token = c[len(prefix) : len(prefix) + step]
            ahead[token] = ahead.get(token, 0) + p
        whole = sum(going.values())
        ranked = sorted(ahead.items(), key=lambda t: -t[1])
        if not ranked[0][0]:
            return told
        top = [{"token": t or "<end>", "logprob": math.log(p / whole)} for t, p in ranked if p]
        told.append({**top[0], "top_logprobs": top})
        prefix += ranked[0][0]


@given(st.lists(st.floats(0.01, 1), min_size=4, max_size=4), st.integers(1, 12))
def test_what_the_model_believes_of_each_label_comes_out(weights: list[float], step: int) -> None:
    true = {c: w / sum(weights) for c, w in zip(LABELS, weights, strict=True)}
    found = of_choices(content(true, step), LABELS)
    assert found is not None
    assert math.isclose(sum(map(math.exp, found.values())), 1, abs_tol=1e-3), "no probability is lost"
    written = "".join(t["token"] for t in content(true, step))
    for label in LABELS:
        apart = next(
            (at for at in range(0, len(label), step) if label[at : at + step] != written[at : at + step]), None
        )
        # the answer never came to where these part, so they share what is known of them all
        alike = [c for c in LABELS if apart is not None and c[: apart + step] == label[: apart + step]] or [label]
        assert math.isclose(math.exp(found[label]), sum(true[c] for c in alike) / len(alike), abs_tol=1e-3), label


def test_a_label_that_no_token_offers_is_at_most_as_likely_as_the_least_that_is() -> None:
    top = [{"token": "bill", "logprob": -0.1}, {"token": "deli", "logprob": -2.5}, {"token": "Sure", "logprob": -6.0}]
    found = of_choices([{**top[0], "top_logprobs": top}], LABELS)
    assert found == {"billing": -0.1, "delivery": -2.5, "device_broken": -6.0, "device_setup": -6.0}


def test_spaces_quotes_and_capitals_are_no_other_label() -> None:
    top = [
        {"token": " Bill", "logprob": -0.1},
        {"token": "**bill", "logprob": -3.0},
        {"token": '"Deliv', "logprob": -3.5},
    ]
    found = of_choices([{**top[0], "top_logprobs": top}, {"token": "ing", "logprob": 0.0, "top_logprobs": []}], LABELS)
    assert found is not None
    assert math.isclose(math.exp(found["billing"]), math.exp(-0.1) + math.exp(-3), abs_tol=1e-4)
    assert found["delivery"] == -3.5


@pytest.mark.parametrize(
    ("answer", "label"), [("bill", "bill"), ("billing", "billing"), ("bill.", "bill"), ("billing, I think", "billing")]
)
def test_of_two_labels_where_one_begins_the_other_the_written_one_counts(answer: str, label: str) -> None:
    step = {"token": answer, "logprob": -0.2, "top_logprobs": [{"token": answer, "logprob": -0.2}, {"token": "x", "logprob": -4.0}]}  # fmt: skip
    found = of_choices([step], ("bill", "billing"))
    assert found is not None
    assert found[label] == -0.2 > found["billing" if label == "bill" else "bill"]


@pytest.mark.parametrize(
    "told",
    [
        None, [], "text", [None], [{"token": "bill"}], [{"token": "bill", "logprob": -0.1, "top_logprobs": None}],
        [{"token": 3, "logprob": -0.1, "top_logprobs": [{"token": 3, "logprob": -0.1}]}],
        [{"token": "b", "logprob": float("nan"), "top_logprobs": [{"token": "b", "logprob": float("nan")}]}],
        [{"token": "b", "logprob": 5.0, "top_logprobs": [{"token": "b", "logprob": 5.0}]}],
        [{"token": "Sorry", "logprob": -0.1, "top_logprobs": [{"token": "Sorry", "logprob": -0.1}]}],
    ],
)  # fmt: skip
def test_what_says_nothing_of_the_labels_gives_no_probabilities(told: Any) -> None:
    assert of_choices(told, LABELS) is None


def test_a_server_is_asked_for_them_and_an_answer_without_them_is_still_an_answer() -> None:
    told = content({"billing": 0.7, "delivery": 0.3}, step=4)
    with_them = completion({"text": "billing"})
    with_them["choices"][0]["logprobs"] = {"content": told}
    with server({"raw": json.dumps(with_them)}, {"text": "billing"}) as (endpoint, http):
        found, _ = ask(replace(endpoint, label_mode="logprobs"), items(2))
        asked = http.bodies
    assert all(b.items() >= REQUEST.items() for b in asked)
    first, second = sorted(found, key=lambda a: a.item)
    assert (first.text, second.text, second.choice_logprobs) == ("billing", "billing", None)
    assert first.choice_logprobs is not None
    assert math.isclose(math.exp(first.choice_logprobs["billing"]), 0.7, abs_tol=1e-3)
    assert first.parameters is not None
    assert first.parameters["mode"] == "logprobs"
