"""What counts as the same answers: everything up to two tokens that are equally likely, and nothing after them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.serving.candidate import TargetError
from pipelines.serving.golden import Golden
from pipelines.serving.parity import Replayed, compare, differs_from_base

GOLDEN = Golden(
    "t1", ({"role": "user", "content": "?"},), [1, 2],
    tuned_ids=[5, 6, 7, 0], tuned_logprobs=[-0.1, -0.7, -0.2, -0.1], tuned_text="a b c",
    base_ids=[9, 6, 7, 0], base_logprobs=[-0.5, -0.7, -0.2, -0.1],
    tuned_margins=[2.0, 0.03, 1.5, 3.0], base_margins=[1.0, 1.0, 1.0, 1.0], tuned_texts=["", "a", "a b", "a b c"],
)  # fmt: skip
SAME = Replayed("a b c", [5, 6, 7, 0], [-0.11, -0.7, -0.2, -0.1])


def check(r: Replayed, g: Golden = GOLDEN) -> str:
    return compare("here", [g], [r], tolerance=0.02)


def test_the_same_tokens_and_probabilities_are_parity() -> None:
    assert check(SAME) == (
        "parity: here answers 1 golden prompts as evaluation recorded, largest log-probability difference 0.0100"
    )


def test_two_tokens_that_are_equally_likely_may_change_places() -> None:
    told = check(Replayed("a x", [5, 8, 0], [-0.1, -0.71, -0.9]))
    assert "1 of them up to two tokens that are equally likely" in told


@pytest.mark.parametrize(
    ("r", "told"),
    [
        (Replayed("a b x", [5, 6, 8, 0], [-0.1, -0.7, -0.2, -0.1]), "gives other tokens"),
        (Replayed("a x", [5, 8, 0], [-0.2, -0.71, -0.9]), r"off by 0\.1000"),  # before the tie
        (Replayed("a b c", [9, 6, 7, 0], [-0.5, -0.7, -0.2, -0.1]), "answers as the base model"),
        (Replayed("a b", [5, 6], [-0.1, -0.7]), "gives other tokens"),
        (Replayed("a b c", [5, 6, 7, 0], [-0.1, -0.7, -0.2, -0.2]), r"off by 0\.1000"),
        (replace(SAME, prompt_ids=[1, 3]), "renders prompt t1 to other tokens"),
    ],
)
def test_anything_else_is_another_model(r: Replayed, told: str) -> None:
    with pytest.raises(TargetError, match=told):
        check(r)


def test_a_server_that_tells_its_text_alone_is_held_to_the_text_before_a_tie() -> None:
    assert "as evaluation recorded" in check(Replayed("a b c"))
    assert "equally likely" in check(Replayed("a and more"))
    with pytest.raises(TargetError, match="answers 'z'"):
        check(Replayed("z"))
    with pytest.raises(TargetError, match="answers 'a and more'"):
        check(Replayed("a and more"), replace(GOLDEN, tuned_margins=[2.0, 1.0, 1.5, 3.0]))


def test_without_recorded_margins_nothing_may_differ() -> None:
    earlier = replace(GOLDEN, tuned_margins=[], base_margins=[], tuned_texts=[])
    assert "as evaluation recorded" in check(SAME, earlier)
    with pytest.raises(TargetError, match="gives other tokens"):
        check(Replayed("a x", [5, 8, 0], [-0.1, -0.71, -0.9]), earlier)


def test_a_prompt_proves_something_only_where_it_differs_before_a_tie() -> None:
    differs_from_base([GOLDEN], tolerance=0.02)
    late = replace(GOLDEN, base_ids=[5, 6, 8, 0], base_logprobs=[-0.1, -0.7, -0.2, -0.1])
    with pytest.raises(TargetError, match="changes none of the golden answers"):
        differs_from_base([late], tolerance=0.02)
    differs_from_base([late, replace(late, base_logprobs=[-0.2, -0.7, -0.2, -0.1])], tolerance=0.02)
