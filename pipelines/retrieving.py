"""The documents in an evaluation: which passages each arm is shown for each item, and how often the search was right."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from data_prep.library import Library, Passage
from data_prep.parquet import leaned_on, read_documents
from data_prep.records import UserError
from evaluation import retrieval
from evaluation.metrics import Shown
from evaluation.results import Item
from pipelines import artifacts, stages
from pipelines.recipe import Recipe

FILE = "passages.jsonl"  # arm, item and the passages that [1], [2] … name there


class Documents:
    """The dataset's documents and the items that are asked; `items` say which documents the human linked."""

    def __init__(self, recipe: Recipe, items: Sequence[Item]) -> None:
        self._settings = recipe.evaluation
        dataset = stages.folder(recipe, "prepare")
        self._own = leaned_on(dataset, "test")
        used = bool(self._own) or any(self.number(arm) for arm in self._settings.arms)
        self._library = Library(read_documents(dataset) if used else ())
        self._told: dict[tuple[str, bool], dict[str, Shown]] = {}
        wanting = [arm for arm in self._settings.arms if self.number(arm)]
        if wanting and not len(self._library):
            raise UserError(
                f"{dataset}: holds no documents, but the arms {wanting} are shown passages of them. Add a source of documents"
                " (a folder of Markdown, HTML, PDF or Word files), or leave these arms out of evaluation.arms."
            )
        self.items = retrieval.linked(items, self._library)

    def number(self, arm: str) -> int:
        """How many passages an arm is shown."""
        settings = self._settings
        if arm in retrieval.ARMS:
            return settings.passages
        api = settings.endpoint(arm)
        return api.passages if api is not None else 0

    @cached_property
    def _index(self) -> retrieval.Index:
        return retrieval.Index(self._library)

    @cached_property
    def _places(self) -> dict[tuple[str, str], Passage]:
        return {(p.document, p.span.at): p for p in self._library.passages()}

    def shown(self, arm: str, outside: bool = False) -> dict[str, Shown]:
        """Item → what the arm is shown, worked examples aside. outside: on another machine, without passages that are local_only.

        An API is outside the house, a stand-in for it as well.
        """
        outside = outside or self._settings.endpoint(arm) is not None
        if (arm, outside) not in self._told:
            number, chars = self.number(arm), self._settings.passage_chars
            self._told[arm, outside] = {
                i.id: retrieval.shown(i, self._index, number=number, max_chars=chars, outside=outside)
                if number
                else Shown(i.prompt, retrieval.own_passages(self._own.get(i.id, ()), self._places))
                for i in self.items
            }
        return self._told[arm, outside]

    def by_arm(self, arms: Iterable[str]) -> dict[tuple[str, str], Shown]:
        """(arm, item) → what the arm was shown."""
        return {(arm, item): told for arm in arms for item, told in self.shown(arm).items()}

    def write(self, out: Path, arms: Sequence[str]) -> dict[str, dict[str, int]]:
        """Keep which passages were shown, their texts aside. Returns for every arm that searches how often it was right."""
        lines = [
            json.dumps({"arm": arm, "item": item, "passages": [_place(p) for p in told.passages]}, ensure_ascii=False)
            for arm in arms
            for item, told in self.shown(arm).items()
            if told.passages
        ]
        artifacts.write_text(out / FILE, "".join(f"{line}\n" for line in lines))
        return {arm: retrieval.hits(self.items, self.shown(arm)) for arm in arms if self.number(arm)}


def _place(passage: Passage) -> dict[str, Any]:
    return {k: v for k, v in asdict(passage).items() if k != "text"}
