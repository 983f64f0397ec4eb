"""Putting the tasks' questions to the recipe's teacher, through the same provider layer and guard as the API arm.

Planned before anything is sent, capped in questions and money, resumed from the answers that are stored. Questions about
`local_only` records go to a loopback server only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from data_prep.records import Question, UserError
from data_prep.steps import TeacherAnswer
from evaluation.results import Answer, AnswerFile, Item
from pipelines import artifacts
from pipelines.progress import progress
from pipelines.recipe import Recipe, Teacher
from pipelines.stages import How

if TYPE_CHECKING:
    from evaluation.providers.openai_compatible import Endpoint

CHARACTERS_A_TOKEN = 4  # for the plan alone: what is spent is counted from the server's own usage


def name_of(teacher: Teacher) -> str:
    """What rows made by this teacher say of themselves."""
    return teacher.model or "base model"


class Teaching:
    """One preparation's teacher. `facts`: model, terms, destination, what was planned and spent; for card and manifest."""

    def __init__(self, recipe: Recipe, out: Path, how: How) -> None:
        assert recipe.teacher is not None
        self.recipe, self.teacher, self.out, self.how = recipe, recipe.teacher, out, how
        self.facts: dict[str, Any] = {
            "model": name_of(self.teacher),
            "terms": self.teacher.terms,
            "destination": self.teacher.base_url or "loopback",
        }

    def ask(self, questions: Iterable[Question]) -> list[TeacherAnswer]:
        """Answers of the first `max_questions` questions, in their order. Raises ApiError when refused or out of budget."""
        stream = iter(questions)
        asked = [self._item(q) for q in islice(stream, self.teacher.max_questions)]
        beyond = sum(1 for _ in stream)
        self.facts |= {"questions": len(asked), "beyond_max_questions": beyond}
        file = AnswerFile(self.out / "teacher.jsonl")
        try:
            left = [i for i in asked if i.id not in file.answers or file.answers[i.id].text is None]
            self._plan(left)
            if left:
                with progress("prepare: teacher", len(asked)) as update:
                    self._answer(left, file, update)
        finally:
            file.close()
        given = [file.answers[i.id] for i in asked if i.id in file.answers]
        self.facts["answers"] = sum(a.text is not None for a in given)
        self.facts["usd"] = str(sum((a.usd for a in given if a.usd is not None), Decimal(0)))
        return [TeacherAnswer(a.item, a.text) for a in given if a.text is not None]

    def _item(self, q: Question) -> Item:
        sensitivity = "shareable" if self._is_local else q.sensitivity
        return Item(q.id, q.task, q.prompt, "", (), (), q.record, sensitivity)

    @property
    def _is_local(self) -> bool:
        host = urlsplit(self.teacher.base_url or "http://127.0.0.1").hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")

    def _plan(self, left: list[Item]) -> None:
        """Say what is about to be asked, and refuse what the budget cannot pay."""
        tokens = sum(len(m["content"]) for i in left for m in i.prompt) // CHARACTERS_A_TOKEN
        longest = len(left) * self.teacher.max_new_tokens
        usd = self._usd(tokens, longest, len(left))
        told = f"at most {usd:.4f} USD" if usd is not None else "no list price"
        self.facts["planned"] = {
            "questions": len(left),
            "prompt_tokens": tokens,
            "most_answer_tokens": longest,
            "usd": told,
        }
        self.how.on_event(
            f"prepare: {len(left)} questions to {self.facts['model']} at {self.facts['destination']},"
            f" about {tokens} tokens and {longest} more at most, {told}"
        )
        if usd is not None and usd > self.teacher.budget_usd:
            raise UserError(
                f"teacher: {len(left)} questions may cost {usd:.4f} USD, teacher.budget_usd is {self.teacher.budget_usd}."
                " Lower teacher.max_questions or raise the budget. Nothing was asked."
            )

    def _usd(self, prompt: int, completion: int, number: int) -> Decimal | None:
        from types import SimpleNamespace

        if not number:
            return Decimal(0)
        usage = SimpleNamespace(prompt_tokens=prompt // number, completion_tokens=completion // number)
        one = self._prices().usd(usage)
        return None if one is None else one * number

    def _prices(self) -> Any:
        from evaluation.prices import price_list

        price = self.teacher.price_as
        return price_list(price.provider if price else None, price.model if price else None)

    def _answer(self, left: list[Item], file: AnswerFile, update: Any) -> None:
        from evaluation.providers import openai_compatible

        def keep(answer: Answer) -> None:
            file.add(answer)
            update(len(file.answers))

        spent = sum((a.usd for a in file.answers.values() if a.usd is not None), Decimal(0))
        with self._endpoint() as endpoint:
            egress = openai_compatible.answer(
                endpoint, "teacher", [(i, i.prompt) for i in left], set(), self._prices(),
                max_new_tokens=self.teacher.max_new_tokens, already_spent_usd=spent, keep=keep,
            )  # fmt: skip
        self.facts["receipt"] = egress.receipt()
        artifacts.write_text(self.out / "egress.json", json.dumps([self.facts["receipt"]], indent=1))

    @contextmanager
    def _endpoint(self) -> Iterator[Endpoint]:
        from evaluation.providers.openai_compatible import Endpoint

        t = self.teacher
        common = Endpoint(
            t.base_url or "", t.model or "", os.environ.get(t.api_key_env, ""), concurrency=t.concurrency,
            timeout_s=t.timeout_s, budget_usd=t.budget_usd,
        )  # fmt: skip
        if t.base_url is not None:
            if not common.key and not self._is_local:
                raise UserError(
                    f"{t.api_key_env} is not set; teacher.api_key_env names it as the variable with the key."
                )
            yield replace(common, key=common.key or "none")
            return
        from pipelines.serving.loopback import serve
        from pipelines.training import base

        with serve(base.materialise(self.recipe).folder, self.out / "shards" / "teacher.log") as served:
            yield replace(common, base_url=served.base_url, model=served.model, key="none")
