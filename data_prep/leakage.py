"""What the test set would give away: rows to learn from that repeat a test question, or were made from its answer.

Records are free of near-copies already, and customers and linked tickets are on one side; this looks at the rows
themselves, where titles, cut texts, documents and teachers bring new copies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from data_prep import dedup
from data_prep.steps import Made


@dataclass(frozen=True, slots=True)
class Leaks:
    """reasons: row id → why it must not be learned from. numbers: what was compared and found, for the report."""

    reasons: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)


def find(
    rows: Sequence[Made],
    question: Callable[[int], str],
    answer: Callable[[int], str],
    *,
    threshold: float,
) -> Leaks:
    """Compare every row outside the test set with the test rows. question, answer: texts by position in `rows`."""
    test = [i for i, r in enumerate(rows) if r.side == "test"]
    other = [i for i, r in enumerate(rows) if r.side != "test"]
    order = [*test, *other]
    reasons: dict[str, str] = {}
    numbers: Counter[str] = Counter(
        {"candidates for the test set, before caps": len(test), "rows compared with them": len(other)}
    )
    same_question = _near(order, len(test), [rows[i].question_signature for i in order], question, threshold)
    for i in same_question:
        reasons[rows[i].id] = "near_copy_of_test" if rows[i].made_by == "human" else "synthetic_near_test"
        numbers["train or dev questions that repeat a test question (dropped)"] += 1
    for i in _near(order, len(test), [rows[i].answer_signature for i in order], answer, threshold):
        if rows[i].made_by == "human":
            numbers["human answers that repeat a test answer (kept: macros and advice recur)"] += 1
        else:
            reasons.setdefault(rows[i].id, "synthetic_near_test")
            numbers["document or teacher answers that repeat a test answer (dropped)"] += 1
    return Leaks(reasons, dict(numbers))


def _near(
    order: Sequence[int],
    tests: int,
    signatures: Sequence[dedup.Signature],
    text_of: Callable[[int], str],
    threshold: float,
) -> list[int]:
    """Rows outside the test set (their first `tests` in order) whose text is an exact or near copy of a test row's."""
    filled = [n for n, s in enumerate(signatures) if s.exact]
    exact = {signatures[n].exact for n in filled if n < tests}
    found = {n for n in filled if n >= tests and signatures[n].exact in exact}
    for later, earlier in dedup.candidates([signatures[n] for n in filled], filled):
        if (
            earlier < tests <= later
            and later not in found
            and dedup.jaccard(dedup.shingles(text_of(order[later])), dedup.shingles(text_of(order[earlier])))
            >= threshold
        ):
            found.add(later)
    return sorted(order[n] for n in found)
