"""The verdict: declared gates, three outcomes, and "could not measure" never counts as zero or as a pass."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.decision import Gates, decide
from evaluation.metrics import macro_f1
from evaluation.results import Answer, Item, Score
from evaluation.summary import View, arm_table, difference_table, scores

GATES = Gates("tuned", "api", 0.9, 0.05, {}, ("task=triage",), 30, 0.9)


def view(tuned: list[float | None], api: list[float | None], slices: tuple[str, ...] = ()) -> View:
    items, answers, scored = [], [], []
    for n, pair in enumerate(zip(tuned, api, strict=True)):
        items.append(Item(f"i{n:04}", "triage", (), "a", ("a", "b"), slices, f"customer{n}", "shareable"))
        for arm, value in zip(("tuned", "api"), pair, strict=True):
            text = None if value is None else "a" if value else "b"
            answers.append(Answer(f"i{n:04}", arm, text, error="timeout" if value is None else None))
            scored.append(Score(f"i{n:04}", arm, "label_accuracy", value))
    return View.of(items, answers, scored)


def flips(share: float, n: int, seed: int) -> list[float | None]:
    return [float(x) for x in (np.random.default_rng(seed).random(n) < share)]


def test_a_better_model_is_self_hosted_and_a_worse_one_is_not() -> None:
    good = decide(view(flips(0.9, 200, 1), flips(0.6, 200, 2)), GATES)
    assert (good.verdict, good.slices[0].kind) == ("self_host", "better")
    bad = decide(view(flips(0.5, 200, 1), flips(0.9, 200, 2)), GATES)
    assert (bad.verdict, bad.slices[0].kind) == ("api", "inferior")
    assert "Stay on the API" in bad.sentence


def test_doubt_is_undecided_and_says_how_many_items_are_missing() -> None:
    found = decide(view(flips(0.78, 60, 7), flips(0.80, 60, 4)), GATES)
    assert found.verdict == "undecided"
    assert found.slices[0].test is not None
    assert found.slices[0].test.more_items


@pytest.mark.parametrize("arm", ["tuned", "api"])
def test_missing_answers_make_a_slice_undecided_however_good_the_rest_is(arm: str) -> None:
    sure, holes = [1.0] * 100, [None] * 20 + [1.0] * 80
    made = view(holes, sure) if arm == "tuned" else view(sure, holes)  # type: ignore[arg-type]
    found = decide(made, GATES)
    assert (found.verdict, found.slices[0].kind) == ("undecided", "could not measure")
    assert f"20 of 100 from {arm}" in found.sentence


def test_few_items_and_absent_slices_never_promote() -> None:
    assert decide(view([1.0] * 10, [0.0] * 10), GATES).slices[0].kind == "too few items"
    absent = Gates("tuned", "api", 0.9, 0.05, {}, ("task=triage", "triage/language=de"), 30, 0.9)
    assert decide(view([1.0] * 100, [0.5] * 100), absent).verdict == "undecided"


def test_every_must_pass_slice_counts() -> None:
    german = view(flips(0.2, 60, 1), flips(0.9, 60, 2), ("language=de",))
    english = view(flips(0.95, 300, 3), flips(0.5, 300, 4), ("language=en",))
    renamed = [Item(f"e{i.id}", *(getattr(i, f) for f in i.__slots__[1:])) for i in english.items]
    both = View(
        [*german.items, *renamed],
        {**german.answers, **{(a, f"e{i}"): x for (a, i), x in english.answers.items()}},
        {**german.values, **{(a, f"e{i}", m): v for (a, i, m), v in english.values.items()}},
    )
    gates = Gates("tuned", "api", 0.9, 0.05, {}, ("task=triage", "triage/language=de"), 30, 0.9)
    assert decide(both, GATES).verdict == "self_host"
    assert decide(both, gates).verdict == "api"


def test_an_answer_with_an_error_has_no_score_and_is_counted() -> None:
    made = view([None, 1.0, 1.0], [1.0, 0.0, 1.0])
    recomputed = scores(made.items, made.answers, ("tuned", "api"))
    assert next(s for s in recomputed if s.arm == "tuned" and s.item == "i0000").value is None
    row = next(r for r in arm_table(made, ("tuned", "api")) if r["arm"] == "tuned" and r["metric"] == "label_accuracy")
    assert (row["mean"], row["measured"], row["failed"]) == (1.0, 2, 1)
    paired = next(r for r in difference_table(made, "tuned", ["api"], seed=1) if r["metric"] == "label_accuracy")
    assert (paired["items"], paired["difference"]) == (2, 0.5)


def test_macro_f1_weighs_rare_labels_like_frequent_ones() -> None:
    references = ["a"] * 9 + ["b"]
    assert macro_f1.aggregate(["a"] * 10, references) == pytest.approx((18 / 19 + 0) / 2)
    assert macro_f1.aggregate([], []) is None
