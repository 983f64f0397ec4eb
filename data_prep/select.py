"""Which rows are kept once all are known: rare labels, repeated answers, caps. Every drop has its reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from data_prep.records import Split
from data_prep.split import hashed_share
from data_prep.steps import Made

FIELDS = ("extract",)  # tasks whose answers are values of a few fields: alike because the tickets are, as labels are


def reasons_to_drop(
    rows: Sequence[Made],
    answer_of: Sequence[int],
    known: dict[str, str],
    *,
    min_label_examples: int,
    max_same_answer: int,
    max_rows: dict[str, dict[Split, int]],
    seed: int,
) -> dict[str, str]:
    """Row id → reason, for the rows that go. known: those that go already.

    answer_of: for every row the position of the row whose answer it repeats, exactly or nearly; its own for a new one.
    min_label_examples: a label with fewer train rows cannot be learned and is dropped from every split (`rare_label`).
    max_same_answer: how often one answer may be taught where it is free text (`repeated_answer`: macros), so neither a label
    nor the fields of a ticket.
    max_rows: task → split → cap; labels share a cap evenly, and a hash of the row's id chooses (`over_cap`).
    """
    reasons = dict(known)
    trained = Counter((r.task, r.label) for r in rows if r.side == "train" and r.label is not None)
    taught: Counter[int] = Counter()
    for row, answer in zip(rows, answer_of, strict=True):
        if row.id in reasons:
            continue
        if row.label is not None and trained[row.task, row.label] < min_label_examples:
            reasons[row.id] = "rare_label"
        elif row.label is None and row.task not in FIELDS and row.side == "train":
            taught[answer] += 1
            if taught[answer] > max_same_answer:
                reasons[row.id] = "repeated_answer"
    for task, caps in max_rows.items():
        for part, cap in caps.items():
            left = [r for r in rows if r.side == part and r.task == task and r.id not in reasons]
            kept = _sample(left, cap, seed)
            reasons |= {r.id: "over_cap" for r in left if r.id not in kept}
    return reasons


def _sample(rows: Sequence[Made], cap: int, seed: int) -> set[str]:
    """Ids of at most `cap` rows, taken from the labels in turn, so that rare labels are not crowded out."""
    by_label: dict[str, list[Made]] = defaultdict(list)
    for row in sorted(rows, key=lambda r: hashed_share(r.id, seed)):
        by_label[row.label or ""].append(row)
    kept: set[str] = set()
    depth = 0
    while len(kept) < min(cap, len(rows)):
        for label in sorted(by_label):
            if depth < len(by_label[label]) and len(kept) < cap:
                kept.add(by_label[label][depth].id)
        depth += 1
    return kept
