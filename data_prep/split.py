"""Who is learned from and who is asked: by time, with everything that belongs together on one side.

Records that share a group (by default a customer) or are linked, as duplicates are, form a component (union-find). The test set is what was
created from `test_from` on; a component with records on both sides of that moment keeps its later ones in test and loses
its earlier ones (counted), so that no customer is both learned from and asked about. Dev is a hashed share of the train
components. Documents are knowledge for every arm and always train.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from data_prep.records import Kind, Split


@dataclass(frozen=True, slots=True)
class Splittable:
    """What the split needs to know of a record. `linked`: ids of records that must stay on the same side."""

    id: str
    kind: Kind
    group: str
    created: datetime | None
    linked: tuple[str, ...] = ()


def components(records: Sequence[Splittable]) -> dict[str, str]:
    """Record id → the smallest id of its component."""
    parent: dict[str, str] = {}

    def root(x: str) -> str:
        parent.setdefault(x, x)
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    def join(a: str, b: str) -> None:
        a, b = root(a), root(b)
        parent[max(a, b)] = min(a, b)

    for r in records:
        join(f"record {r.id}", f"group {r.group}")
        for other in r.linked:
            join(f"record {r.id}", f"record {other}")
    smallest: dict[str, str] = {}
    for r in records:
        key = root(f"record {r.id}")
        smallest[key] = min(smallest.get(key, r.id), r.id)
    return {r.id: smallest[root(f"record {r.id}")] for r in records}


def hashed_share(value: str, seed: int) -> float:
    """A number in [0, 1) that depends on the value and the seed alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{value}".encode()).digest()[:8], "big") / 2**64


def split(
    records: Sequence[Splittable],
    *,
    test_from: datetime,
    test_until: datetime | None,
    dev_share: float,
    seed: int,
) -> dict[str, Split | str]:
    """Record id → "train", "dev", "test", or the reason why it is in none.

    Reasons: `no_time` (undated tickets cannot be split by time), `after_test_period`, `group_straddles_test`.
    """
    component = components(records)
    tested = {
        component[r.id]
        for r in records
        if r.kind == "ticket" and r.created is not None and r.created >= test_from and not _after(r.created, test_until)
    }
    sides: dict[str, Split | str] = {}
    for r in records:
        if r.kind == "document":
            sides[r.id] = "train"
        elif r.created is None:
            sides[r.id] = "no_time"
        elif _after(r.created, test_until):
            sides[r.id] = "after_test_period"
        elif r.created >= test_from:
            sides[r.id] = "test"
        elif component[r.id] in tested:
            sides[r.id] = "group_straddles_test"
        else:
            sides[r.id] = "dev" if hashed_share(component[r.id], seed) < dev_share else "train"
    return sides


def _after(created: datetime, until: datetime | None) -> bool:
    return until is not None and created >= until
