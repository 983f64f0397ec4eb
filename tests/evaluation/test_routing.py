"""The routing policy: fails closed, and its threshold keeps the risk that it states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from evaluation.decision import Decision, Gates, SliceDecision
from evaluation.report.memo import leaves
from evaluation.results import Answer, Item
from evaluation.routing import Threshold, confidence, policy, threshold, thresholds, upper_bound


def test_confidence_is_the_labels_share_of_all_labels() -> None:
    logprobs = {"a": float(np.log(0.3)), "b": float(np.log(0.1))}
    assert confidence(Answer("1", "tuned", "a", choice_logprobs=logprobs)) == pytest.approx(0.75)
    assert confidence(Answer("1", "tuned", "a", choice_logprobs={"a": float("nan"), "b": 0.0})) is None
    assert confidence(Answer("1", "tuned", "c", choice_logprobs=logprobs)) is None
    assert confidence(Answer("1", "tuned", "a")) is None


def test_the_bound_is_clopper_pearson_where_every_item_stands_alone_and_higher_where_customers_agree() -> None:
    errors = [True] * 3 + [False] * 97
    alone = upper_bound(errors, [str(n) for n in range(100)], delta=0.05)
    assert alone == pytest.approx(stats.binomtest(3, 100).proportion_ci(0.9, "exact").high, abs=1e-9)
    assert upper_bound(errors, [str(n // 25) for n in range(100)], delta=0.05) > alone
    assert upper_bound([False] * 10, ["one"] * 10, delta=0.05) == 1.0


def test_the_threshold_lets_through_what_is_sure_and_right() -> None:
    sure, unsure = [0.99] * 100, [0.4] * 100
    found = threshold(sure + unsure, [True] * 100 + [False] * 100, [str(n) for n in range(200)], risk=0.1, delta=0.05)
    assert found.min_confidence == 0.99
    assert found.coverage == 0.5
    assert found.errors_at_most is not None
    assert found.errors_at_most < 0.1


@pytest.mark.parametrize("items", [1, 20])
def test_few_items_show_nothing(items: int) -> None:
    found = threshold([0.99] * items, [True] * items, [str(n) for n in range(items)], risk=0.1, delta=0.05)
    assert found.min_confidence is None
    with pytest.raises(ValueError, match="no dev items"):
        threshold([], [], [], risk=0.1, delta=0.05)


def test_the_stated_risk_is_exceeded_as_rarely_as_stated() -> None:
    """400 dev sets of a model whose error rate is exactly known at every threshold."""
    rng = np.random.default_rng(5)
    exceeded = 0
    for _ in range(400):
        c = rng.uniform(size=150)
        ok = rng.uniform(size=150) < 0.6 + 0.4 * c  # right with this probability; errors above t: 0.4 * (1 - t) / 2
        found = threshold(list(c), list(ok), [str(n) for n in range(150)], risk=0.1, delta=0.1)
        if found.min_confidence is not None:
            exceeded += 0.4 * (1 - found.min_confidence) / 2 > 0.1
    assert exceeded / 400 < 0.1


def decided(verdict: str, *slices: tuple[str, str]) -> Decision:
    gates = Gates("tuned", "api", 0.9, 0.05, {}, ("task=triage",), 10, 0.9)
    made = [SliceDecision(n, "m", v, v, 0.9, 0.9, None, 50, 50, n == "task=triage", f"{n}.") for n, v in slices]  # type: ignore[arg-type]
    return Decision(verdict, "said", made, gates)  # type: ignore[arg-type]


def test_only_proven_slices_move_and_what_is_sensitive_never_goes_to_the_api() -> None:
    limits = {"task=triage": Threshold(0.8, 0.7, 0.05, 0.1, 0.05, 90)}
    found = policy(decided("self_host", ("task=triage", "self_host"), ("task=draft", "undecided")), limits, model="m")
    assert found["slices"]["task=triage"] == {
        "target": "self_host", "verdict": "self_host", "because": "task=triage.", "min_confidence": 0.8, "below": "api",
        "share_answered_locally": 0.7, "errors_at_most": 0.05, "confidence": 0.95,
    }  # fmt: skip
    assert found["slices"]["task=draft"]["target"] == "api"
    assert found["default"] == {"target": "api"}
    assert found["sensitive"]["target"] == "self_host"
    stays = policy(decided("api", ("task=triage", "self_host")), limits, model="m")
    assert stays["slices"]["task=triage"]["target"] == "api"
    assert stays["sensitive"]["target"] == "refuse"


def test_an_api_by_another_name_is_an_api() -> None:
    made = decided("api", ("task=triage", "api"))
    made = replace(made, gates=replace(made.gates, baseline="claude"))
    found = policy(made, {}, model="m", apis=["api", "claude"])
    assert found["sensitive"]["never"] == ["api", "claude"]
    assert leaves(found).startswith(
        "In production, by routing.yaml, task=triage would go to claude; rows marked local_only never. That is a policy"
    )
    assert "nothing goes to an API" in leaves(
        policy(replace(made, gates=replace(made.gates, baseline="few_shot")), {}, model="m")
    )


def test_what_leaves_names_slices_that_go_another_way_than_their_task() -> None:
    made = decided(
        "self_host", ("task=triage", "self_host"), ("triage/language=de", "undecided"), ("task=draft", "api"),
        ("draft/topic=refund", "self_host"), ("draft/topic=other", "api"),
    )  # fmt: skip
    limits = {"draft/topic=refund": Threshold(0.8, 0.7, 0.05, 0.1, 0.05, 90)}
    told = leaves(policy(made, limits, model="m"))
    assert told.startswith(
        "In production, by routing.yaml, triage/language=de, task=draft, draft/topic=refund below confidence 0.80"
        " (but not draft/topic=refund) would go to the API"
    )


def test_thresholds_are_of_tasks_with_labels_and_probabilities() -> None:
    dev = [Item(str(n), "triage", (), "a", ("a", "b"), (), str(n), "shareable") for n in range(60)]
    text = [Item("t", "draft", (), "a", (), (), "t", "shareable")]
    logprobs = {"a": -0.01, "b": -5.0}
    answers = {i.id: Answer(i.id, "tuned", "a", choice_logprobs=logprobs) for i in [*dev, *text]}
    found = thresholds([*dev, *text], answers, risk=0.1, delta=0.05)
    assert list(found) == ["task=triage"]
    assert found["task=triage"].coverage == 1.0


def test_a_part_of_a_task_has_a_threshold_of_its_own_items_unrounded() -> None:
    """Nine of ten dev items are English and nearly all right; the French ones are wrong at the same confidence."""
    dev = [
        Item(str(n), "triage", (), "a", ("a", "b"), (f"language={'fr' if n % 10 == 0 else 'en'}",), str(n), "shareable")
        for n in range(600)
    ]
    right, wrong = {"a": -1e-6, "b": -14.0}, {"a": -14.0, "b": -1e-6}
    answers = {
        i.id: Answer(i.id, "tuned", "a" if n % 20 else "b", choice_logprobs=right if n % 20 else wrong)
        for n, i in enumerate(dev)
    }
    found = thresholds(dev, answers, risk=0.1, delta=0.05)
    assert found["task=triage"].errors_at_most is not None
    assert found["triage/language=en"].errors_at_most == pytest.approx(0.0055, abs=0.001)
    assert found["triage/language=fr"].min_confidence is None
    made = decided(
        "self_host",
        ("task=triage", "self_host"),
        ("triage/language=fr", "self_host"),
        ("triage/language=it", "self_host"),
    )
    rules = policy(made, found, model="m")["slices"]
    assert rules["task=triage"]["min_confidence"] == found["task=triage"].min_confidence
    assert "no confidence threshold keeps errors under 10%" in rules["triage/language=fr"]["note"]
    assert rules["triage/language=it"]["note"] == "no dev item of this slice, so no confidence threshold"
