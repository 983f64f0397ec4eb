"""Exact and near duplicates over the whole set.

MinHash finds candidates (rensa, 128 permutations in 32 bands), the exact Jaccard similarity of the word shingles decides:
measured on 20,000 texts with 4,000 planted edits, banding without the check merges false pairs, fewer bands miss true ones.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

PERMUTATIONS, BANDS = 128, 32
WORD = re.compile(r"\w+")
SHINGLE = 3  # words; a message of fewer words is one shingle


def normalised(text: str) -> str:
    return " ".join(WORD.findall(text.casefold()))


def shingles(text: str) -> frozenset[str]:
    """The text's word trigrams, case and punctuation aside."""
    words = WORD.findall(text.casefold())
    if len(words) <= SHINGLE:
        return frozenset([" ".join(words)])
    return frozenset(" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b)


@dataclass(frozen=True, slots=True)
class Duplicates:
    """For every text: the index of the text it repeats, or None. Earlier texts are kept; chains end at a kept one."""

    exact: list[int | None]
    near: list[int | None]


def find(texts: Sequence[str], *, threshold: float) -> Duplicates:
    """Duplicates among texts in the given order. threshold: Jaccard similarity in (0, 1] from which texts are near."""
    from rensa import RMinHash, RMinHashLSH

    exact: list[int | None] = [None] * len(texts)
    near: list[int | None] = [None] * len(texts)
    first: dict[bytes, int] = {}
    index = RMinHashLSH(threshold, PERMUTATIONS, BANDS)
    for i, text in enumerate(texts):
        digest = hashlib.blake2b(normalised(text).encode(), digest_size=16).digest()
        if (earlier := first.setdefault(digest, i)) != i:
            exact[i] = earlier
            continue
        mine = shingles(text)
        sketch = RMinHash(PERMUTATIONS, 1)
        sketch.update(sorted(mine))
        for j in sorted(index.query(sketch)):
            if jaccard(mine, shingles(texts[j])) >= threshold:
                near[i] = j
                break
        else:
            index.insert(i, sketch)  # only kept texts are compared with, so no chain of near-copies drifts away
    return Duplicates(exact, near)
