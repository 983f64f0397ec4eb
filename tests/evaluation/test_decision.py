"""The verdict: declared gates, three outcomes, and "could not measure" never counts as zero or as a pass."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from evaluation import looks, regressions
from evaluation.decision import Gates, cross_checked, decide, with_looks
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


def test_every_must_pass_slice_is_a_metric_of_its_own_under_a_name_that_mlflow_takes() -> None:
    from mlflow.utils.validation import _validate_metric_name

    from pipelines.decide import gate_metrics

    made = view(flips(0.9, 200, 1), flips(0.6, 200, 2), slices=("language=de", "topic=a & b/c"))
    names = ("task=triage", "triage/language=de", "triage/topic=a & b/c")
    found = decide(made, replace(GATES, must_pass=names))
    logged = gate_metrics(found)
    for key in logged:
        _validate_metric_name(key)
    keys = ("ni/task_triage", "ni/triage/language_de", "ni/triage/topic_a _ b_c")
    assert set(logged) == {f"{k}/{what}" for k in keys for what in ("ratio", "ratio_low", "p")}
    assert logged["ni/triage/language_de/ratio"] == pytest.approx(
        found.slices[0].candidate_mean / found.slices[0].baseline_mean
    )
    by_margin = gate_metrics(decide(made, replace(GATES, margins={"triage": 0.1})))
    assert by_margin["ni/task_triage/difference"] == pytest.approx(0.3, abs=0.1)
    assert not any(k.startswith("ni/triage/") for k in by_margin), "not declared, so not a gate"


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


def test_answers_that_policy_keeps_back_are_no_unreadable_ones() -> None:
    made = view(flips(0.9, 200, 1), [None] * 25 + flips(0.6, 175, 2))  # type: ignore[operator]
    kept = {k: replace(a, error="local_only_not_sent") if a.error else a for k, a in made.answers.items()}
    found = decide(View(made.items, kept, made.values), GATES)
    assert found.verdict == "self_host"
    assert (found.slices[0].items, found.slices[0].measured) == (175, 175)
    assert "25 items that must not leave were not asked of api." in found.slices[0].sentence
    assert decide(made, GATES).verdict == "undecided", "as timeouts they are answers that are missing"


def test_empty_answers_count_as_worthless_where_they_would_turn_the_verdict() -> None:
    """181 of 200 alike pass; with nothing for the 19 empty ones the mean is 0.905 of the baseline's, which shows nothing."""
    alike: list[float | None] = [0.45] * 200
    holes: list[float | None] = [None] * 19 + [0.45] * 181
    found = decide(view(holes, alike), GATES)
    assert (found.verdict, found.slices[0].kind) == ("undecided", "could not measure")
    assert "19 answers of tuned are empty or unreadable" in found.sentence
    two: list[float | None] = [None] * 2 + [1.0] * 198
    assert decide(view(two, flips(0.6, 200, 2)), GATES).verdict == "self_host"


def test_two_arms_that_score_nothing_show_nothing_whatever_the_margin() -> None:
    found = decide(view([0.0] * 60, [0.0] * 60), replace(GATES, margins={"triage": 0.05}))
    assert (found.verdict, found.slices[0].kind) == ("undecided", "zero baseline")
    # what does not vary is believed as far as the scale allows: a loss of 1 in as many customers
    almost = decide(view([0.01] * 30, [0.01] * 30), replace(GATES, margins={"triage": 0.05}))
    assert almost.verdict == "undecided"


def test_a_slice_of_the_same_items_as_a_declared_one_is_no_further_test() -> None:
    made = view(flips(0.9, 250, 1), flips(0.7, 250, 2), slices=("language=en", "source=desk"))
    found = {s.slice: s for s in decide(made, GATES).slices}
    assert len(found) == 3
    assert {s.verdict for s in found.values()} == {"self_host"}
    assert {s.p_adjusted for s in found.values()} == {None}
    other = {s.slice: s for s in decide(made, replace(GATES, must_pass=())).slices}
    p = other["task=triage"].test.p_non_inferior  # type: ignore[union-attr]
    assert [s.p_adjusted for s in other.values()] == pytest.approx([p] * 3), "three names of one test"


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


def arms(n: int, *, group: int = 1, slices: tuple[str, ...] = (), **scores_of: list[float | None]) -> View:
    """A triage view with any arms; `group` items a customer."""
    items = [
        Item(f"i{k:04}", "triage", (), "a", ("a", "b"), slices, f"customer{k // group}", "shareable") for k in range(n)
    ]
    scored = [
        Score(i.id, arm, "label_accuracy", v)
        for arm, values in scores_of.items()
        for i, v in zip(items, values, strict=True)
    ]
    return View.of(items, [], scored)


def exactly(share: float, n: int, *, shift: int = 0) -> list[float | None]:
    """Right in exactly this share, the rest spread evenly; shift moves which ones are wrong."""
    wrong = round(n * (1 - share))
    missed = {(round(k * n / wrong) + shift) % n for k in range(wrong)} if wrong else set()
    return [0.0 if k in missed else 1.0 for k in range(n)]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("arm", ["tuned", "api"])
def test_a_score_that_is_no_number_is_not_measured(arm: str, bad: float) -> None:
    holes: list[float | None] = [bad] * 20 + [1.0] * 80
    other = exactly(0.5, 100)
    found = decide(arms(100, **{"tuned": other, "api": other, arm: holes}), GATES)
    assert (found.verdict, found.slices[0].kind) == ("undecided", "could not measure")
    few = decide(arms(100, **{"tuned": exactly(0.9, 100), "api": other, arm: [bad, *other[1:]]}), GATES)
    assert few.slices[0].measured == 99
    assert few.slices[0].baseline_mean is not None
    assert math.isfinite(few.slices[0].baseline_mean)


def test_a_single_customer_a_single_item_and_a_zero_baseline_are_undecided() -> None:
    alone = decide(arms(100, group=100, tuned=exactly(0.9, 100), api=exactly(0.5, 100)), GATES)
    assert (alone.verdict, alone.slices[0].kind) == ("undecided", "undecided")
    assert "one customer" in alone.sentence
    one = decide(arms(1, tuned=[1.0], api=[0.0]), GATES)
    assert (one.verdict, one.slices[0].kind) == ("undecided", "too few items")
    zero = decide(arms(100, tuned=exactly(0.9, 100), api=[0.0] * 100), GATES)
    assert (zero.verdict, zero.slices[0].kind) == ("undecided", "zero baseline")
    assert decide(arms(0), GATES).verdict == "undecided"


def test_a_set_that_every_arm_masters_proves_nothing() -> None:
    easy = exactly(0.99, 400)
    found = decide(arms(400, base=exactly(0.985, 400), tuned=easy, api=easy), GATES)
    assert (found.verdict, found.slices[0].kind) == ("undecided", "saturated")
    assert "every arm scores 0.985 or more" in found.sentence
    harder = decide(arms(400, base=exactly(0.6, 400), tuned=easy, api=easy), GATES)
    assert harder.verdict == "self_host"


def test_a_simpler_arm_that_is_as_good_is_enough() -> None:
    api, tuned = exactly(0.85, 400), exactly(0.87, 400, shift=1)
    found = decide(arms(400, base=exactly(0.3, 400), few_shot=exactly(0.86, 400, shift=2), tuned=tuned, api=api), GATES)
    assert (found.verdict, found.kind) == ("untuned", "few-shot is enough")
    assert "is not shown to beat it" in found.sentence
    rag = decide(arms(400, rag=exactly(0.86, 400, shift=2), tuned=tuned, api=api), GATES)
    assert (rag.verdict, rag.kind) == ("untuned", "RAG is enough")
    failed = decide(arms(400, few_shot=exactly(0.9, 400), tuned=exactly(0.4, 400), api=api), GATES)
    assert (failed.verdict, failed.kind) == ("untuned", "few-shot is enough")
    assert "does not pass" in failed.sentence


def test_a_tuned_model_that_beats_a_simpler_arm_is_tuned_for() -> None:
    api, few_shot = exactly(0.8, 400), exactly(0.8, 400, shift=1)
    found = decide(arms(400, few_shot=few_shot, tuned=exactly(0.95, 400, shift=1), api=api), GATES)
    assert (found.verdict, found.kind) == ("self_host", "tune")
    weak = decide(arms(400, few_shot=exactly(0.7, 400), tuned=exactly(0.82, 400, shift=1), api=api), GATES)
    assert (weak.verdict, weak.kind) == ("self_host", "tune")
    # the baseline is never a floor of itself
    paid = replace(GATES, baseline="few_shot")
    assert decide(arms(400, few_shot=few_shot, tuned=exactly(0.95, 400, shift=1)), paid).verdict == "self_host"


def test_data_are_at_fault_where_tuning_harmed_or_taught_nothing_from_copies() -> None:
    api = exactly(0.95, 400)
    harmed = decide(arms(400, base=exactly(0.6, 400), tuned=exactly(0.4, 400), api=api), GATES)
    assert (harmed.verdict, harmed.kind) == ("fix_data", "fix the data")
    assert "worse than the base model" in harmed.sentence
    same = arms(400, base=exactly(0.6, 400), tuned=exactly(0.6, 400, shift=1), api=api)
    assert decide(same, GATES).verdict == "api"
    assert decide(same, GATES, duplicate_share=0.2).verdict == "api"
    copies = decide(same, GATES, duplicate_share=0.7)
    assert (copies.verdict, copies.kind) == ("fix_data", "fix the data")
    assert "70% of the rows were duplicates" in copies.sentence
    learnt = arms(400, base=exactly(0.3, 400), tuned=exactly(0.6, 400, shift=1), api=api)
    assert decide(learnt, GATES, duplicate_share=0.7).verdict == "api"


def sliced(good: int, each: int) -> View:
    """One task in `good` slices in which the candidate is a little above the margin, each with its own items."""
    items, scored = [], []
    for s in range(good):
        for k in range(each):
            items.append(Item(f"s{s}i{k:04}", "triage", (), "a", ("a", "b"), (f"queue={s}",), f"c{s}-{k}", "shareable"))
        for arm, share in (("tuned", 0.81), ("api", 0.82)):
            values = exactly(share, each, shift=3 * (arm == "api"))
            scored += [Score(f"s{s}i{k:04}", arm, "label_accuracy", v) for k, v in enumerate(values)]
    return View.of(items, [], scored)


def test_slices_that_were_not_declared_share_one_error_rate() -> None:
    found = decide(sliced(8, 220), GATES)
    picked = [d for d in found.slices if d.slice.startswith("triage/")]
    assert len(picked) == 8
    assert all(d.test is not None and d.test.p_non_inferior is not None for d in picked)
    raw = picked[0].test.p_non_inferior  # type: ignore[union-attr]
    assert raw is not None
    assert raw < 0.05 <= 8 * raw, raw
    assert {d.verdict for d in picked} == {"undecided"}
    assert "Holm" in picked[0].sentence
    declared = replace(GATES, must_pass=tuple(d.slice for d in picked))
    assert decide(sliced(8, 220), declared).verdict == "self_host"


def test_a_win_rate_passes_by_its_margin() -> None:
    wins = exactly(0.48, 400)
    lost: list[float | None] = [1 - x for x in wins if x is not None]
    gates = replace(GATES, margins={"triage": 0.2})
    found = decide(arms(400, tuned=wins, api=lost), gates)
    assert (found.verdict, found.slices[0].kind) == ("self_host", "non-inferior")
    assert "allowed -0.2" in found.slices[0].sentence
    assert decide(arms(400, tuned=wins, api=lost), replace(GATES, margins={"triage": 0.01})).verdict == "undecided"


def test_a_decision_shows_the_exact_test_where_it_holds_and_the_bootstrap() -> None:
    tuned, api = flips(0.9, 200, 1), flips(0.8, 200, 2)
    found = decide(arms(200, tuned=tuned, api=api), GATES).slices[0]
    assert found.exact is not None
    assert found.exact.table.items == 200
    assert found.bootstrap is not None
    assert found.test is not None
    assert found.test.low == pytest.approx(found.bootstrap.low, abs=0.03)
    assert decide(arms(200, group=2, tuned=tuned, api=api), GATES).slices[0].exact is None
    json.dumps(decide(arms(200, tuned=tuned, api=api), GATES).as_dict(), allow_nan=False)


def test_a_verdict_that_the_bootstrap_does_not_show_says_so() -> None:
    passed = decide(view(flips(0.9, 200, 1), flips(0.6, 200, 2)), GATES).slices[0]
    assert passed.verdict == "self_host"
    assert passed.bootstrap is not None
    assert passed.bootstrap.low > 0.9
    assert "bootstrap" not in passed.sentence
    low = replace(passed, bootstrap=replace(passed.bootstrap, low=0.88))
    assert cross_checked(low, 0.9).sentence.endswith(
        f"A bootstrap of the customers does not confirm it (ratio 0.880 to {passed.bootstrap.high:.3f})."
    )
    assert cross_checked(replace(low, verdict="undecided"), 0.9).sentence == passed.sentence
    worse = replace(passed, verdict="api", bootstrap=replace(passed.bootstrap, low=0.5, high=0.95))
    assert "does not confirm it" in cross_checked(worse, 0.9).sentence


def test_looks_at_test_items_are_counted_by_new_answers() -> None:
    ids = looks.digests(["b", "a"])
    assert ids == looks.digests(["a", "b", "a"])
    seen: list[looks.Look] = []
    for answers, expected in (
        ("x", (1, True)),
        ("x", (1, False)),
        ("y", (2, True)),
        ("x", (1, False)),
        ("y", (2, False)),
    ):
        look = looks.Look(ids, answers, "tuned", "desk", "2026-11-01T00:00:00+00:00")
        assert looks.after(seen, look) == expected
        seen.append(look)
    for items, number in ((["c"], 1), (["a", "c"], 3), (["a"], 3), (["a", "c", "d"], 1)):
        assert looks.after(seen, replace(seen[0], items=looks.digests(items), answers="z")) == (number, True), items
    assert looks.read("\n".join(json.dumps(asdict(s)) for s in seen) + "\n{") == seen
    decided = decide(view(flips(0.9, 200, 1), flips(0.6, 200, 2)), GATES)
    assert with_looks(decided, 1).sentence == decided.sentence
    assert "Look 3 at these test items" in with_looks(decided, 3).sentence
    assert with_looks(decided, 3).looks == 3


def test_the_regression_ledger_names_every_item_once() -> None:
    before = {"a": 1.0, "b": 0.0, "c": 0.5, "d": None, "e": 0.9, "g": 0.2}
    after = {"a": 0.0, "b": 1.0, "c": 0.5, "d": 1.0, "e": 0.7, "f": 1.0, "g": 0.21}
    found = regressions.ledger("chrf", before, after)
    assert found.counts == {"lost": 2, "won": 2, "tied": 1, "not measured": 2}
    assert [e.item for e in found.of("lost")] == ["a", "e"]  # the worst first
    assert sorted(e.item for e in found.entries) == list("abcdefg")
    assert found.of("won")[0] == regressions.Entry("b", "won", 0.0, 1.0)
    seen = arms(3, old=[1.0, 0.0, math.nan], tuned=[0.0, 0.0, 1.0])
    of_view = regressions.of_view(seen, seen.items, champion="old", candidate="tuned", metric="label_accuracy")
    assert of_view.counts == {"lost": 1, "won": 0, "tied": 1, "not measured": 1}
    assert regressions.of_view(seen, seen.items, champion="old", candidate="tuned", metric="chrf").entries == []


def test_the_ledger_s_rows_follow_the_gate_s_metric_and_hold_no_text() -> None:
    seen = view(flips(0.9, 40, 1), flips(0.6, 40, 2))
    decided = decide(seen, GATES)
    rows = regressions.rows(seen, regressions.of_decision(seen, decided))
    assert sorted(r["item"] for r in rows) == sorted(i.id for i in seen.items)
    assert {k for r in rows for k in r} == {
        "item",
        "slices",
        "metric",
        "baseline",
        "candidate",
        "change",
        "sensitivity",
    }
    for row in rows:
        assert row["slices"][0] == f"task={seen.items[0].task}"
        gap = row["candidate"] - row["baseline"]
        assert row["change"] == ("won" if gap > 0 else "lost" if gap < 0 else "tied")
    assert {r["change"] for r in rows} >= {"won", "lost"}
