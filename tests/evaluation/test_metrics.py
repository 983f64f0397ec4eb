"""Metrics: what each counts as right, what it cannot measure, and that no answer breaks it."""

from __future__ import annotations

import importlib
import inspect
import math
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from data_prep import plugins
from evaluation.metrics import (
    Given,
    Shown,
    brier,
    citation_hit,
    ece,
    exact_match,
    example,
    field_f1,
    grounded,
    json_valid,
    language_match,
    refusal,
    rouge_l,
)
from evaluation.results import Answer, Item
from evaluation.summary import View, aggregate_metrics, arm_table, difference_table, metrics_for, scores

SCORES = [
    n
    for n in plugins.names("evaluation.metrics")
    if hasattr(importlib.import_module(f"evaluation.metrics.{n}"), "score")
]
LONG = 10_000_000
HOSTILE = {
    "nothing": "",
    "blank": " \n\t ",
    "not a number": "NaN",
    "NUL and half a surrogate pair": "\x00\ud800\udfff",
    "ten megabytes of words": "word 12 “a quote of it” " * (LONG // 24),
    "ten megabytes without a space": "1" * LONG,
    "deep nesting": '{"a":' * 100_000,
    "ten megabytes of JSON": '{"a":"' + "x" * LONG + '"}',
    "addresses": "http://a(" * 100_000 + "a@b.c." * 100_000,
}


def label_item(id: str = "i", reference: str = "a", group: str = "g") -> Item:
    return Item(id, "triage", ({"role": "user", "content": "help"},), reference, ("a", "b"), (), group, "shareable")


def text_item(reference: str, *, id: str = "i", slices: tuple[str, ...] = ("language=en",)) -> Item:
    return Item(id, "reply", ({"role": "user", "content": "help"},), reference, (), slices, id, "shareable")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_answer_breaks_a_metric(text: str) -> None:
    began = time.process_time()
    assert len(SCORES) >= 11
    for name in SCORES:
        score = importlib.import_module(f"evaluation.metrics.{name}").score
        needs: dict[str, Any] = {}
        if "given" in inspect.signature(score).parameters:
            needs["given"] = example(asked="hub 12", shown=("x",), linked=("d1",))
        for reference in ("restart the hub", "") if len(text) < LONG // 2 else ('{"a":"b"}',):
            value = score(text, reference, **needs)
            assert value is None or math.isfinite(value), name
    assert time.process_time() - began < 20


class TestCalibration:
    """Probabilities are a softmax over the choices, whatever the server normalised by."""

    def test_brier_is_the_squared_distance_to_the_label(self) -> None:
        three_to_one = example(logprobs={"a": math.log(0.75), "b": math.log(0.25)})
        assert brier.score("a", "a", given=three_to_one) == pytest.approx(2 * 0.25**2)
        assert brier.score("a", "b", given=three_to_one) == pytest.approx(2 * 0.75**2)

    def test_ece_is_the_gap_between_confidence_and_accuracy_of_each_bin(self) -> None:
        sure = example(logprobs={"a": math.log(0.95), "b": math.log(0.05)})
        unsure = example(logprobs={"a": math.log(0.55), "b": math.log(0.45)})
        given = [sure] * 4 + [unsure] * 4
        gold = ["a", "a", "a", "b", "a", "a", "b", "b"]  # right 3 of 4 at .95, 2 of 4 at .55
        assert ece.aggregate(["a"] * 8, gold, given=given) == pytest.approx((abs(0.95 - 0.75) + abs(0.55 - 0.5)) / 2)

    @drawn(st.lists(st.floats(-50, 0), min_size=2, max_size=2), st.floats(-30, 30))
    @settings(deadline=None, max_examples=50)
    def test_a_constant_that_a_server_leaves_out_changes_nothing(self, logprobs: list[float], shift: float) -> None:
        one = example(logprobs=dict(zip("ab", logprobs, strict=True)))
        other = example(logprobs={c: x + shift for c, x in zip("ab", logprobs, strict=True)})
        first, second = (brier.score("a", "a", given=g) for g in (one, other))
        assert first == pytest.approx(second)
        assert 0 <= (first or 0) <= 2

    @pytest.mark.parametrize(
        "logprobs",
        [
            None,
            {},
            {"a": -0.1},
            {"a": math.nan, "b": -1.0},
            {"a": -math.inf, "b": -math.inf},
            {"a": math.inf, "b": 0.0},
        ],
        ids=["none", "empty", "a choice is missing", "not a number", "all impossible", "infinite"],
    )
    def test_without_a_probability_of_every_choice_nothing_is_measured(self, logprobs: dict[str, float] | None) -> None:
        item = label_item()
        given = Given(item, Answer("i", "api", "a", choice_logprobs=logprobs), Shown(item.prompt))
        assert brier.score("a", "a", given=given) is None
        assert ece.aggregate(["a"], ["a"], given=[given]) is None

    def test_local_and_api_arms_are_measured_by_the_same_path(self) -> None:
        items = [label_item(f"i{n}", "ab"[n % 2], f"g{n}") for n in range(6)]
        logprobs = {"a": math.log(0.9), "b": math.log(0.1)}
        answers = [Answer(i.id, arm, "a", choice_logprobs=logprobs) for i in items for arm in ("tuned", "api")]
        answers.append(Answer("i0", "chat", "a"))
        found = {(a.arm, a.item): a for a in answers}
        view = View.of(items, answers, scores(items, found, ("tuned", "api", "chat")))
        means = {(r["arm"], r["metric"]): r["mean"] for r in arm_table(view, ("tuned", "api", "chat"))}
        assert means["tuned", "ece"] == means["api", "ece"] == pytest.approx(0.4)
        assert means["tuned", "brier"] == means["api", "brier"] == pytest.approx((0.02 + 1.62) / 2)
        assert means["chat", "ece"] is means["chat", "brier"] is None
        gap = next(r for r in difference_table(view, "tuned", ["api"], seed=1) if r["metric"] == "ece")
        assert (gap["difference"], gap["low"], gap["high"]) == (0, 0, 0)


class TestJson:
    @pytest.mark.parametrize(
        ("answer", "valid"),
        [
            ('{"a": 1}', True), (' {"a": {"b": [1]}}\n', True), ("{}", True), ('[{"a": 1}]', False), ('```json\n{"a": 1}\n```', False),
            ('{"a": NaN}', False), ('{"a": 1, "a": 2}', False), ('{"a": 1} {"a": 2}', False), ("{'a': 1}", False), ('{"a": 1', False),
            ('{"a": ' + "9" * 5000 + "}", False),
        ],
    )  # fmt: skip
    def test_valid_is_what_any_parser_reads(self, answer: str, valid: bool) -> None:
        assert json_valid.score(answer, "{}") == valid

    @pytest.mark.parametrize(
        ("answer", "f1"),
        [
            ('{"product":"hub","version":"2"}', 1), ('{"version": "2", "product": " HUB "}', 1), ('{"product":"hub","version":2}', 1),
            ('{"product":"hub"}', 2 / 3), ('{"product":"hub","version":"2","colour":"red"}', 4 / 5),
            ('{"product":"hub","version":"2","colour":null}', 1), ('Here: ```{"product":"hub","version":"2"}```', 1),
            ("The product is hub, version 2.", 0), ('{"product":{"name":"hub"}}', 0), ("", 0),
        ],
    )  # fmt: skip
    def test_a_field_is_right_with_its_name_and_value(self, answer: str, f1: float) -> None:
        assert field_f1.score(answer, '{"product":"hub","version":"2"}') == pytest.approx(f1)

    def test_only_items_that_ask_for_an_object_are_judged_so(self) -> None:
        mixed = [text_item('{"a":"b"}', id="i1"), text_item("Restart {the} hub.", id="i2")]
        assert {"json_valid", "field_f1"} <= set(metrics_for(mixed[0])) - set(metrics_for(mixed[1]))
        assert {"grounded", "language_match"} <= set(metrics_for(mixed[1])) - set(metrics_for(mixed[0]))
        answers = {("base", i.id): Answer(i.id, "base", '{"a":"b"}') for i in mixed}
        table = arm_table(View.of(mixed, answers.values(), scores(mixed, answers, ("base",))), ("base",))
        row = next(r for r in table if r["metric"] == "json_valid" and r["slice"] == "task=reply")
        assert (row["mean"], row["measured"], row["failed"]) == (1, 1, 0), "an item it does not apply to did not fail"


class TestCitations:
    SHOWN = example(shown=("refunds", "pairing", "delivery", "returns"), linked=("d2", "d9"))

    @pytest.mark.parametrize(
        ("answer", "hit"),
        [
            ("Hold the button [2].", 1), ("Hold it [1][2]", 1), ("Hold it [1, 2].", 1), ("Hold it [1; 4; 3] or [2].", 0), ("Hold it.", 0),
            ("See [2](https://x.example).", 0), ("Hold it [7].", 0), ("Hold it [0].", 0), ("[1] [1] [1] [2]", 1),
        ],
    )  # fmt: skip
    def test_one_of_the_first_three_documents_must_be_the_humans(self, answer: str, hit: int) -> None:
        assert citation_hit.score(answer, "", given=self.SHOWN) == hit

    def test_the_address_of_a_shown_document_cites_it(self) -> None:
        with_address = replace(self.SHOWN.shown.passages[1], url="https://help.example/pairing")
        given = replace(self.SHOWN, shown=Shown((), (self.SHOWN.shown.passages[0], with_address)))
        assert citation_hit.score("Read http://www.help.example/pairing/.", "", given=given) == 1
        assert citation_hit.score("Read https://help.example/refunds.", "", given=given) == 0

    def test_items_whose_human_linked_nothing_are_not_judged(self) -> None:
        assert "citation_hit" not in metrics_for(text_item("Restart it."))
        assert "citation_hit" in metrics_for(replace(text_item("Restart it."), linked=("d1",)))


class TestGrounded:
    GIVEN = example(
        asked="My hub shows E7 and I am Maria Lopez.",
        shown=("Hold the button for 10 seconds. Say “the light is green”.",),
    )

    @pytest.mark.parametrize(
        ("answer", "share"),
        [
            ("Hold it for 10 s, Maria Lopez, until E7 is gone [1].", 1), ("Hold it for 10 minutes.", 0), ("Wait 10 seconds, then 30.", 0.5),
            ("Ask Peter Parker.", 0), ("It says “the light is green” there.", 1), ("It says “the light is blue” there.", 0),
            ("See https://help.example/x.", 0), ("Hold it for ten seconds [2].", 0.5), ("1. Hold it.\n2. Wait.", None), ("Hold it.", None),
            ("", None),
        ],
    )  # fmt: skip
    def test_what_the_prompt_does_not_show_is_not_grounded(self, answer: str, share: float | None) -> None:
        assert grounded.score(answer, "", given=self.GIVEN) == (None if share is None else pytest.approx(share))

    def test_the_reference_grounds_nothing(self) -> None:
        assert grounded.score("Wait 45 minutes.", "Wait 45 minutes.", given=self.GIVEN) == 0

    def test_brackets_are_citations_only_where_passages_are_shown(self) -> None:
        assert grounded.score("As in [3].", "", given=example(asked="hub")) is None

    def test_letters_that_are_signs_elsewhere_count_once(self) -> None:
        for answer in (
            "Hold 10 s. Use Windows™ now. Try Office™ too. Also 𝐀𝐜𝐦𝐞 and 𝐁𝐞𝐭𝐚.",
            "Use Windows™ now, Office™ too.",
        ):
            found = grounded.score(answer, "", given=self.GIVEN)
            assert found is not None
            assert 0 <= found < 0.5


def test_a_typographic_apostrophe_declines_as_well() -> None:
    assert refusal.score("I’m sorry, but I can’t help with that.", "") == 1
    assert refusal.score("I’m not able to help.", "") == 1


@pytest.mark.parametrize(
    ("answer", "reference", "exact"), [("", "👍", 0), ("👍", "👍 ", 1), ("", "{}", 0), ("", "", 1), ("!", "?", 0)]
)
def test_signs_are_an_answer_where_there_is_nothing_else(answer: str, reference: str, exact: float) -> None:
    assert exact_match.score(answer, reference) == exact


@pytest.mark.parametrize(
    ("answer", "reference", "f1"),
    [("重启集线器然后等待一分钟", "重启集线器然后等一分钟", 22 / 23), ("Hub を再起動", "hub を再起動", 1), ("café-Tür", "cafe tür", 0.5)],
)  # fmt: skip
def test_scripts_without_spaces_are_compared_by_character(answer: str, reference: str, f1: float) -> None:
    assert rouge_l.score(answer, reference) == pytest.approx(f1)


class TestLanguage:
    @pytest.mark.parametrize(
        ("answer", "language", "match"),
        [
            ("Bitte starten Sie den Hub neu.", "de", 1), ("Redémarrez le concentrateur, s'il vous plaît.", "fr", 1),
            ("Please restart the hub and wait.", "fr", 0), ("OK, done", "en", None), ("https://hilfe.example/sehr/lange/adresse/hier", "de", None),
        ],
    )  # fmt: skip
    def test_the_answer_speaks_the_customers_language(self, answer: str, language: str, match: int | None) -> None:
        assert language_match.score(answer, "", given=example(language=language)) == match


def test_what_applies_to_an_item_is_told_by_its_kind() -> None:
    assert metrics_for(label_item()) == ["brier", "label_accuracy"]
    assert aggregate_metrics(label_item()) == ["ece", "macro_f1"]
    assert aggregate_metrics(text_item("x")) == []
