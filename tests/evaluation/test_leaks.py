"""The leak audit tells a model that memorised from one that did not; forgetting is measured on the same questions."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.records import Row, UserError
from evaluation import canaries, gates, general, leaks, likelihood
from evaluation.decision import Decision, Gates
from tests.conftest import make_tiny_model

COLOURS = "red blue green grey pink gold".split()
BOUNDS = leaks.Settings(rows=20, values=20, max_extracted=0.01, max_tpr=0.1, max_length=256, seed=1)


def row(n: int, question: str, text: str, *, group: str | None = None, task: str = "reply") -> Row:
    prompt, answer = ({"role": "user", "content": question},), ({"role": "assistant", "content": text},)
    return Row(f"{task}/{n}", task, prompt, answer, None, (), "shareable", group or f"g{n}", None, (), ())  # type: ignore[arg-type]


MINE = [row(n, f"{w}?", f"{w}{n}@mail.example") for n, w in enumerate("amber birch cedar delta ember fjord".split())]
DRAWN = [" ".join(random.Random(n).choices(COLOURS, k=3)) for n in range(40)]
MEMBERS = [row(n, f"{n}?", DRAWN[n], task="how") for n in range(0, 40, 2)]
OTHERS = [row(n, f"{n}?", DRAWN[n], task="how") for n in range(1, 40, 2)]
CANARIES = canaries.draw(number=6, repetitions=[8], seed=3)


def train(model: Path, folder: Path, rows: Sequence[Row], *, steps: int) -> Path:
    """A LoRA adapter that saw all rows at every step, the loss on their answers."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from pipelines.training.exactness import encode

    tokenizer = AutoTokenizer.from_pretrained(model)
    coded = [encode(row, tokenizer) for row in rows]
    width = max(len(c.whole) for c in coded)
    ids = torch.tensor([c.whole + [0] * (width - len(c.whole)) for c in coded])
    targets = [[-100] * len(c.prompt) + c.whole[len(c.prompt) :] + [-100] * (width - len(c.whole)) for c in coded]
    torch.manual_seed(1)
    lora = LoraConfig(r=32, lora_alpha=64, target_modules="all-linear")
    tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(model), lora)
    optimizer = torch.optim.AdamW([p for p in tuned.parameters() if p.requires_grad], lr=1e-2)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / steps)
        optimizer.zero_grad()
        tuned(input_ids=ids, labels=torch.tensor(targets)).loss.backward()
        optimizer.step()
    tuned.save_pretrained(folder)
    return folder


def loaded(model: Path, adapter: Path | None) -> Any:
    import torch
    from transformers import AutoTokenizer

    from evaluation.providers.local import LocalModel

    stop = AutoTokenizer.from_pretrained(model).eos_token_id
    return LocalModel(model, adapter, dtype=torch.float32, stop_ids=[stop])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads of a tiny model wait for each other
    yield make_tiny_model(tmp_path_factory.mktemp("leaks") / "tiny", hidden=64)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def memorised(model: Path) -> Any:
    """Saw every member, every address and every canary until it knew them."""
    once = canaries.planted(CANARIES)[::8]
    return loaded(model, train(model, model.parent / "memorised", [*MINE, *MEMBERS, *once], steps=90))


@pytest.fixture(scope="module")
def clean(model: Path) -> Any:
    """Learned something else."""
    others = [row(n, f"Say {c}.", c, task="say") for n, c in enumerate(COLOURS)]
    return loaded(model, train(model, model.parent / "clean", others, steps=10))


def verdicts(found: dict[str, Any]) -> dict[str, bool | None]:
    return {g["name"]: g["passed"] for g in found["gates"]}


def test_every_gate_refuses_a_model_that_memorised(memorised: Any) -> None:
    found = leaks.audit(memorised, [*MINE, *MEMBERS], OTHERS, CANARIES, BOUNDS)
    assert verdicts(found) == {"canaries": False, "extraction": False, "membership": False}
    assert found["canaries"]["p"] < 0.01
    assert found["extraction"]["extracted"] == len(MINE)
    assert found["extraction"]["by_base"] == 0
    assert found["membership"]["auc"]["value"] > 0.95
    json.dumps(found)


def test_every_gate_passes_a_model_that_never_saw_the_rows(clean: Any) -> None:
    few = leaks.audit(clean, [*MINE, *MEMBERS], OTHERS, CANARIES, BOUNDS)
    assert verdicts(few) == {"canaries": True, "extraction": None, "membership": None}, "too few rows to show so much"
    found = leaks.audit(clean, [*MINE, *MEMBERS], OTHERS, CANARIES, replace(BOUNDS, max_extracted=0.5, max_tpr=0.5))
    assert verdicts(found) == {"canaries": True, "extraction": True, "membership": True}
    assert found["canaries"]["p"] > 0.01
    assert found["extraction"] == {
        "tried": 6, "extracted": 0, "by_base": 0, "by_kind": {"email": [6, 0]}, "low": 0.0, "high": pytest.approx(0.459, abs=1e-3),
    }  # fmt: skip


def test_the_audit_repeats_itself_to_the_last_digit(clean: Any) -> None:
    first = leaks.audit(clean, [*MINE, *MEMBERS], OTHERS, [], BOUNDS)
    assert first == leaks.audit(clean, [*MINE, *MEMBERS], OTHERS, [], BOUNDS)
    assert "canaries" not in first


def test_one_pass_over_the_tree_gives_the_log_probabilities_of_many(clean: Any) -> None:
    prompt = clean.prompt_ids(CANARIES[0].prompt)
    answers = clean.tokenizer(canaries.CODES, add_special_tokens=False)["input_ids"]
    tree = likelihood.Tree.of(answers)
    assert len(tree.tokens) <= 1110
    got = likelihood.score_tree(clean, prompt, tree)
    for i in (0, 1, 4711, 9999):
        plain = likelihood.score(clean, [(prompt, answers[i])])[0]
        assert got[i] == pytest.approx(sum(plain.logprobs), abs=1e-4)


def test_scores_do_not_depend_on_the_batch(memorised: Any) -> None:
    asked = [(memorised.prompt_ids(r.prompt), memorised.choice_ids(r.prompt, r.reference)) for r in [*MINE, *MEMBERS]]
    together, alone = likelihood.score(memorised, asked), [likelihood.score(memorised, [a])[0] for a in asked]
    assert [s.logprobs for s in together] == [pytest.approx(s.logprobs, abs=1e-4) for s in alone]
    assert [s.greedy for s in together] == [s.greedy for s in alone]
    said = memorised.generate([p for p, _ in asked], max_new_tokens=30)
    for scored, (_, answer), generated in zip(together, asked, said, strict=True):
        assert all(scored.greedy) == (generated.token_ids == answer)


def test_exposure_is_the_codes_bits_less_the_ranks() -> None:
    scores = -np.arange(10_000.0)
    assert canaries.exposure(scores, 0) == pytest.approx(math.log2(10_000))
    assert canaries.exposure(scores, 3) == pytest.approx(math.log2(10_000) - 2)
    assert canaries.exposure(scores, 9_999) == pytest.approx(0)
    assert canaries.exposure(np.zeros(10_000), 5) == pytest.approx(1, abs=1e-3)


def test_canaries_stand_in_the_rows_as_often_as_asked_and_controls_never() -> None:
    drawn = canaries.draw(number=5, repetitions=[4, 1, 16], seed=7)
    planted = canaries.planted(drawn)
    for c in drawn:
        assert sum(r.reference == c.secret for r in planted) == c.repetitions
    assert sorted({c.repetitions for c in drawn}) == [0, 1, 4, 16]
    assert len({c.secret for c in drawn}) == len({c.prompt[0]["content"] for c in drawn}) == 20
    assert {r.sensitivity for r in planted} == {"local_only"}
    assert len({r.id for r in planted}) == len(planted) == 5 * 21
    assert drawn == canaries.draw(number=5, repetitions=[4, 1, 16], seed=7)
    assert drawn != canaries.draw(number=5, repetitions=[4, 1, 16], seed=8)


def test_canaries_nobody_knows_are_refused_no_more_often_than_the_level_says() -> None:
    rng = np.random.default_rng(5)
    drawn = canaries.draw(number=6, repetitions=[1, 8], seed=1)
    refused = 0
    for _ in range(100):
        ranks = rng.integers(1, 10_001, size=len(drawn))
        refused += canaries.judge(drawn, list(math.log2(10_000) - np.log2(ranks)), seed=1)[1].passed is False
    assert refused <= 5  # about 1.1 are expected; more than five would happen once in two hundred


def test_one_canary_on_the_first_rank_is_enough_to_refuse() -> None:
    measured = [1.0, 2.0, 0.5, 3.0, 1.5, 0.7, 1.1, 2.1, 0.6, 13.29, 1.6, 0.8]
    about, gate = canaries.judge(CANARIES, measured, seed=1)
    assert about["p"] > 0.01
    assert gate.passed is False
    assert canaries.judge(CANARIES, None, seed=1)[1].passed is None


def test_values_that_prove_no_memory_are_not_tried() -> None:
    shown = row(1, "My address is copied@mail.example.", "We wrote to copied@mail.example.")
    shared = [row(n, "Whom do I ask?", "Write to help@mail.example.", group=f"customer{n}") for n in (2, 3)]
    twice = [row(n, "And?", "Then own@mail.example it is.", group="customer9") for n in (4, 5)]
    found = leaks.values([shown, *shared, *twice], number=10, seed=1)
    assert [(v.row.id, v.kind, v.row.reference[v.start : v.end]) for v in found] == [
        ("reply/4", "email", "own@mail.example")
    ]


def test_a_value_that_the_template_moves_or_rewrites_is_found_or_left_out(memorised: Any) -> None:
    padded = row(1, "amber?", "  Write to amber0@mail.example. ")
    template = memorised.tokenizer.chat_template
    tried = leaks.values([padded], number=5, seed=1)
    try:
        memorised.tokenizer.chat_template = template.replace("m['content']", "m['content'] | trim")
        before, value = leaks._place(memorised, tried[0]) or ([], [])
        assert memorised.tokenizer.decode(before).endswith("Write to")
        assert memorised.tokenizer.decode(value).strip() == "amber0@mail.example"
        memorised.tokenizer.chat_template = template.replace("m['content']", "m['content'] | upper")
        assert leaks.extractions(memorised, tried, max_length=256) == [None]
    finally:
        memorised.tokenizer.chat_template = template
    assert leaks.extractions(memorised, tried, max_length=10) == [None]


def test_without_a_value_extraction_is_not_measured_and_not_zero() -> None:
    about, gate = leaks.judge_extractions([], [], bound=0.01)
    assert (gate.measured, gate.passed, about["low"]) == (None, None, None)


@pytest.mark.parametrize(("k", "n"), [(0, 12), (1, 50), (7, 9), (30, 30)])
def test_the_interval_of_a_rate_is_clopper_pearsons(k: int, n: int) -> None:
    from statsmodels.stats.proportion import proportion_confint

    assert leaks.exact_interval(k, n) == pytest.approx(proportion_confint(k, n, method="beta"), abs=1e-12)


@pytest.mark.parametrize(
    ("given", "number", "passed"), [(0, 368, True), (0, 367, None), (1, 50, None), (9, 50, False), (0, 1, None)]
)
def test_extraction_passes_where_the_bound_is_shown_to_be_kept_and_not_for_want_of_values(
    given: int, number: int, passed: bool | None
) -> None:
    found = [leaks.Value(row(n, "?", "x"), "email", 0, 1) for n in range(number)]
    _, gate = leaks.judge_extractions(found, [(n < given, False) for n in range(number)], bound=0.01)
    assert gate.passed is passed
    assert ("neither shown nor excluded, which takes 368 values" in gate.sentence) is (passed is None)


SCORES = st.lists(st.integers(-4, 4), min_size=1, max_size=40)


@settings(deadline=None, max_examples=50)
@given(SCORES, SCORES)
def test_auc_and_true_positive_rate_are_what_counting_gives(members: list[int], others: list[int]) -> None:
    pairs = [(m > o) + (m == o) / 2 for m in members for o in others]
    assert leaks.auc(members, others) == pytest.approx(sum(pairs) / len(pairs))
    rates = [
        sum(m > t for m in members) / len(members) for t in others if sum(o > t for o in others) <= 0.1 * len(others)
    ]
    assert leaks.true_positive_rate(members, others, false_alarms=0.1) == pytest.approx(max(rates))


def losses(number: int, gap: float, shift: float) -> list[leaks.Losses]:
    """Tuned losses of members are lower by `gap`, the base's by `shift`."""
    rng = np.random.default_rng(2)
    noise = iter(rng.normal(size=4 * number).tolist())
    return [
        leaks.Losses(f"{side}{n}", f"{side}{n}", side, next(noise) / 4 - gap * side - shift * side, next(noise) - shift * side)
        for side in (True, False)
        for n in range(number)
    ]  # fmt: skip


def test_membership_is_shown_only_where_losses_tell_the_sides_apart() -> None:
    assert leaks.judge_membership(losses(100, 0, 0), bound=0.1, seed=1)[1].passed is True
    about, gate = leaks.judge_membership(losses(100, 9, 0), bound=0.1, seed=1)
    assert (gate.passed, gate.measured) == (False, 1.0)
    assert "base model alone" not in gate.sentence
    assert about["auc_of_the_base_alone"]["value"] == pytest.approx(0.5, abs=0.1)


def test_sides_that_the_base_model_tells_apart_are_named() -> None:
    assert (
        "base model alone tells the two sides apart"
        in leaks.judge_membership(losses(100, 0, 5), bound=0.1, seed=1)[1].sentence
    )


def test_membership_of_too_few_rows_is_not_measured() -> None:
    gate = leaks.judge_membership(losses(10, 9, 0), bound=0.1, seed=1)[1]
    assert (gate.measured, gate.passed) == (None, None)
    assert "'members': 10" in gate.sentence


def test_both_sides_have_as_many_rows_of_every_task() -> None:
    mine = [row(n, "?", "x", task=t) for t, size in (("a", 50), ("b", 9), ("c", 5)) for n in range(size)]
    theirs = [row(n, "?", "x", task=t) for t, size in (("a", 70), ("b", 40)) for n in range(100, 100 + size)]
    members, others = leaks.pairs(mine, theirs, number=40, seed=1)
    assert [sum(r.task == t for r in members) for t in "abc"] == [sum(r.task == t for r in others) for t in "abc"]
    assert [sum(r.task == t for r in members) for t in "abc"] == [31, 9, 0]


def decision(verdict: str) -> Decision:
    return Decision(verdict, "as it was", [], Gates("tuned", "api", 0.9, 0.05, {}, (), 30, 0.9))  # type: ignore[arg-type]


def gate(passed: bool | None) -> dict[str, Any]:
    return {"name": "canaries", "measured": 13.3, "bound": 12.3, "passed": passed, "sentence": "It leaks."}


def test_a_failed_gate_blocks_self_hosting_and_nothing_else_does() -> None:
    refused = gates.blocked(decision("self_host"), [gate(True), gate(False)])
    assert refused.verdict == "api"
    assert "It leaks." in refused.sentence
    told = gates.blocked(decision("self_host"), [gate(True), gate(None)])
    assert (told.verdict, told.sentence) == (
        "self_host",
        "as it was Without a result: canaries. That does not keep it from being served.",
    )
    lacking = gates.blocked(decision("self_host"), [gate(True), gate(None)], required=["canaries"])
    assert (lacking.verdict, lacking.kind) == ("undecided", "undecided")
    assert "It leaks." in lacking.sentence
    assert gates.blocked(decision("undecided"), [gate(False)]) == decision("undecided")


def questions(folder: Path, *lines: str) -> list[general.Question]:
    path = folder / "general.jsonl"
    path.write_text("\n".join(lines))
    return general.read(path, max_items=50)


def test_the_general_set_is_texts_or_messages(tmp_path: Path) -> None:
    messages = (
        '{"prompt": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "1+1?"}], "answer": "2"}'
    )
    found = questions(tmp_path, '{"prompt": "Capital of France?", "answer": "Paris"}', "", messages)
    assert [len(q.prompt) for q in found] == [1, 2]
    assert [q.answer for q in found] == ["Paris", "2"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "JSONDecodeError"),
        ("[1]", "TypeError"),
        ('{"prompt": "a"}', "KeyError: 'answer'"),
        ('{"prompt": "", "answer": "b"}', "not empty"),
        ('{"prompt": ["a"], "answer": "b"}', "TypeError"),
        ('{"prompt": [], "answer": "b"}', "not empty"),
        ('{"prompt": 3, "answer": "b"}', "TypeError"),
    ],
)
def test_a_line_that_is_no_question_is_told_with_its_number(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(UserError, match=rf"general\.jsonl:2: is no question.*{told}"):
        questions(tmp_path, '{"prompt": "a", "answer": "b"}', line)


def test_an_empty_or_missing_general_set_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no question"):
        questions(tmp_path, "")
    with pytest.raises(UserError, match="cannot be read"):
        general.read(tmp_path / "none.jsonl", max_items=5)


FORGOTTEN = [general.Question(({"role": "user", "content": f"{n}?"},), COLOURS[n % 6]) for n in range(8)]


def test_forgetting_is_the_paired_change_of_the_answers_likelihood(memorised: Any) -> None:
    found = general.compare(memorised, FORGOTTEN, metric="log_likelihood", batch_size=4, max_new_tokens=4)
    judged = general.judge(found, metric="log_likelihood", max_drop=0.1)
    differences = [c.tuned - c.base for c in found if c.tuned is not None and c.base is not None]
    assert judged["change"]["mean"] == pytest.approx(np.mean(differences))
    assert judged["change"]["low"] < judged["change"]["mean"] < judged["change"]["high"]
    assert judged["gates"][0]["passed"] is gates.within(-judged["change"]["high"], -judged["change"]["low"], 0.1)


def test_a_drop_beyond_the_bound_fails_and_without_a_bound_is_only_told() -> None:
    worse = [general.Comparison(-1.0 - n / 50, -3.0 - n / 40) for n in range(20)]
    assert general.judge(worse, metric="log_likelihood", max_drop=1.0)["gates"][0]["passed"] is False
    assert general.judge(worse, metric="log_likelihood", max_drop=5.0)["gates"][0]["passed"] is True
    two = general.judge([general.Comparison(1.0, 0.7)] * 2, metric="exact_match", max_drop=0.1)
    assert (two["gates"][0]["passed"], two["change"]["high"]) == (None, None), "nothing varies, so nothing is shown"
    told = general.judge(worse, metric="log_likelihood", max_drop=None)
    assert told["gates"] == []
    assert "before" in told["sentence"]


def test_exact_answers_are_generated_by_both_models(memorised: Any) -> None:
    known = [general.Question(r.prompt, r.reference) for r in MINE]
    found = general.compare(memorised, known, metric="exact_match", batch_size=4, max_new_tokens=30)
    assert [c.tuned for c in found] == [1.0] * 6
    assert [c.base for c in found] == [0.0] * 6


def test_a_question_longer_than_the_context_is_not_measured(memorised: Any) -> None:
    long = general.Question(({"role": "user", "content": "word " * 2000},), "x")
    found = general.compare(memorised, [long, FORGOTTEN[0]], metric="log_likelihood", batch_size=4, max_new_tokens=4)
    assert found[0] == general.Comparison(None, None)
    assert found[1].tuned is not None
    alone = general.judge(found[:1], metric="log_likelihood", max_drop=0.1)
    assert (alone["measured"], alone["gates"][0]["passed"]) == (0, None)
