"""Putting the tasks' questions to the recipe's teacher, through the same provider layer and guard as the API arm.

Planned before anything is sent, capped in questions and money. Questions about `local_only` records go to a loopback server
only. Answers are kept in `teacher.jsonl` of the run folder under what was asked of whom: a preparation that was killed,
stopped by its budget, or begun anew with other settings asks and pays only for what it does not know. What the current
questions no longer ask, a forgotten person's among it, is thrown away.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from data_prep.records import Question, UserError
from data_prep.steps import TeacherAnswer
from evaluation.results import Answer, AnswerFile, Item
from pipelines import artifacts, egress
from pipelines.progress import progress
from pipelines.recipe import Recipe, Teacher
from pipelines.stages import How

if TYPE_CHECKING:
    from evaluation.providers.openai_compatible import Endpoint

CHARACTERS_A_TOKEN = 4  # for the plan alone: what is spent is counted from the server's own usage
WHO = "prepare: teacher"
UNANSWERED_LIMIT = 10  # questions in a row that stay without an answer, retries included: the server is down


def name_of(teacher: Teacher) -> str:
    """What rows made by this teacher say of themselves."""
    return teacher.model or "base model"


def plan(recipe: Recipe) -> egress.Plan | None:
    """What the teacher would be sent at most, told before the sources are read; None where it is on this machine."""
    t = recipe.teacher
    if t is None or t.base_url is None or egress.is_here(t.base_url):
        return None
    note = (
        "how long the questions are is known once the sources are read, and is told before anything is sent;"
        " teacher.budget_usd is the stop"
    )
    return egress.Plan(
        WHO, t.base_url, name_of(t), t.max_questions, most_answer_tokens=t.max_questions * t.max_new_tokens,
        usd=t.budget_usd if t.price_as is not None or t.price is not None else None, requests=t.max_questions, at_most=True, note=note,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Sorted:
    """The questions: question id → item for those to be asked, and how many are not, by reason."""

    asked: dict[str, Item]
    kept_back: int
    beyond: int


class Teaching:
    """One preparation's teacher.

    facts, for card and manifest: model, terms, destination, what was planned, answered and spent, and for what is not
    answered the reasons.
    """

    def __init__(self, recipe: Recipe, out: Path, how: How) -> None:
        assert recipe.teacher is not None
        self.recipe, self.teacher, self.out, self.how = recipe, recipe.teacher, out, how
        self.facts: dict[str, Any] = {
            "model": name_of(self.teacher),
            "base": None if self.teacher.model else self.recipe.model.model_dump(mode="json", exclude_none=True),
            "terms": self.teacher.terms,
            "destination": self.teacher.base_url or "loopback",
        }
        with _of_the_teacher():
            self.prices = egress.prices_of(self.teacher, "teacher")

    def ask(self, questions: Iterable[Question]) -> list[TeacherAnswer]:
        """Answers of the first `max_questions` questions that may be sent, in their order.

        Raises UserError before anything is asked where the budget cannot pay the plan; ApiError where the teacher refuses
        the key or the model, does not answer, or the budget is spent. The answers so far are kept.
        """
        found = self._sort(questions)
        file = AnswerFile(self.recipe.run_folder / "teacher.jsonl")
        try:
            left = [i for i in found.asked.values() if not _is_final(file.answers.get(i.id), file)]
            self._plan(left, file, found)
            if left:
                with progress("prepare: teacher", len(found.asked)) as update:
                    self._answer(left, file, update, found)
        finally:
            file.close()
        given = {question: file.answers[i.id] for question, i in found.asked.items()}
        self._conclude(given, found)
        return [TeacherAnswer(question, a.text) for question, a in given.items() if a.text is not None]

    def _sort(self, questions: Iterable[Question]) -> _Sorted:
        asked: dict[str, Item] = {}
        kept_back = beyond = 0
        for q in questions:
            if q.sensitivity == "local_only" and not self._is_local:
                kept_back += 1
            elif len(asked) < self.teacher.max_questions:
                asked[q.id] = self._item(q)
            else:
                beyond += 1
        return _Sorted(asked, kept_back, beyond)

    def _item(self, q: Question) -> Item:
        """The question under an id that says what was asked of whom, so that no stored answer is taken for another's."""
        of_whom = [self.teacher.base_url, self.teacher.model, self.facts["base"], self.teacher.max_new_tokens]
        asked = artifacts.digest([*of_whom, q.prompt])
        sensitivity = "shareable" if self._is_local else q.sensitivity  # the provider's own guard knows no loopback
        return Item(f"{q.id} {asked[:16]}", q.task, q.prompt, "", (), (), q.record, sensitivity)

    @property
    def _is_local(self) -> bool:
        return self.teacher.base_url is None or egress.is_here(self.teacher.base_url)

    def _plan(self, left: list[Item], file: AnswerFile, found: _Sorted) -> None:
        """Say what is about to be asked, and refuse what the budget cannot pay."""
        tokens = [-(-_characters(i) // CHARACTERS_A_TOKEN) for i in left]
        longest, spent = len(left) * self.teacher.max_new_tokens, _spent(file, found)
        usd = self._usd(tokens)
        told = f"at most {usd:.4f} USD" if usd is not None else self._unpriced()
        self.facts["planned"] = {
            "questions": len(left),
            "answered_before": len(found.asked) - len(left),
            "prompt_tokens": sum(tokens),
            "most_answer_tokens": longest,
            "usd": told,
        }
        self.how.on_event(
            f"prepare: {len(left)} questions to {self.facts['model']} at {self.facts['destination']},"
            f" about {sum(tokens)} tokens and {longest} more at most, {told}"
            f" ({len(found.asked) - len(left)} answered before, {found.kept_back} must stay in the house,"
            f" {found.beyond} beyond teacher.max_questions)"
        )
        if left and not self._is_local:
            asked = [(i, i.prompt) for i in left]
            where, limit = self.facts["destination"], self.teacher.max_new_tokens
            plan = egress.plan(
                self.recipe, WHO, where, name_of(self.teacher), asked, set(), self.prices, limit,
                section="teacher", key_env=self.teacher.api_key_env,
            )  # fmt: skip
            egress.agree(plan, self.recipe, self.how)
        if usd is not None and spent + usd > self.teacher.budget_usd:
            raise UserError(
                f"teacher: {len(left)} questions (about {sum(tokens)} tokens, {longest} more at most) may cost {usd:.4f} USD"
                + (f" besides the {spent:.4f} USD already spent" if spent else "")
                + f", teacher.budget_usd is {self.teacher.budget_usd}."
                " Lower teacher.max_questions or raise the budget. Nothing was asked."
            )

    def _unpriced(self) -> str:
        if self._is_local:
            return "no price"
        return "no price (without teacher.price_as or teacher.price no budget can stop it, only teacher.max_questions)"

    def _usd(self, prompt_tokens: list[int]) -> Decimal | None:
        """The price of these prompts with the longest answers, one at a time; None where nothing is priced."""
        each = [SimpleNamespace(prompt_tokens=t, completion_tokens=self.teacher.max_new_tokens) for t in prompt_tokens]
        prices = [self.prices.usd(usage) for usage in each]
        known = [p for p in prices if p is not None]
        return sum(known, Decimal(0)) if len(known) == len(prices) else None

    def _answer(self, left: list[Item], file: AnswerFile, update: Any, found: _Sorted) -> None:
        from evaluation.providers import openai_compatible

        done, in_a_row = len(found.asked) - len(left), 0

        def keep(answer: Answer) -> None:
            nonlocal done, in_a_row
            file.add(_with_earlier(answer, file.answers.get(answer.item)))
            done += 1
            update(done)
            is_lost = openai_compatible.is_lost(answer.error) and answer.error != "stopped"
            in_a_row = in_a_row + 1 if is_lost else 0
            if in_a_row == UNANSWERED_LIMIT:
                raise openai_compatible.ApiError(
                    f"teacher: {self.facts['destination']} left {in_a_row} questions in a row without an answer"
                    f" ({answer.error}). The answers so far are kept; run the same command to go on."
                )

        try:
            guarded = egress.guard(self.recipe, self.how, inside=self._is_local)
            with guarded as guard, _of_the_teacher(), self._endpoint() as endpoint:
                self.facts["destination"] = endpoint.base_url
                openai_compatible.answer(
                    endpoint, "teacher", [(i, i.prompt) for i in left], set(), self.prices,
                    max_new_tokens=self.teacher.max_new_tokens, already_spent_usd=_spent(file, found), keep=keep,
                    guard=guard, purpose="teacher", has_answered=file.has_text,
                )  # fmt: skip
        finally:
            self._receipt(file, found)

    def _receipt(self, file: AnswerFile, found: _Sorted) -> None:
        """What left, retries and earlier runs of this preparation included: also where the teacher was stopped."""
        sent = [(i, a) for i in found.asked.values() if (a := file.answers.get(i.id)) is not None and a.attempts]
        self.facts["receipt"] = {
            "destination": self.facts["destination"],
            "requests": sum(a.attempts for _, a in sent),
            "rows": len(sent),
            "bytes": sum(a.attempts * sum(len(m["content"].encode()) for m in i.prompt) for i, a in sent),
            "local_only_rows_kept_back": found.kept_back,
            "usd": str(_spent(file, found)),
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        artifacts.write_text(self.out / "egress.json", json.dumps([self.facts["receipt"]], indent=1))

    def _conclude(self, given: dict[str, Answer], found: _Sorted) -> None:
        """Count what came back, and keep the answers to these questions alone."""
        from evaluation.providers.openai_compatible import ApiError

        texts = [a for a in given.values() if a.text is not None]
        # a server's own words about one request are no reason to count by
        reasons = Counter((a.error or "").partition(":")[0] for a in given.values() if a.text is None)
        if given and not texts:
            raise ApiError(
                f"teacher: {self.facts['destination']} answered none of {len(given)} questions"
                f" ({', '.join(f'{r} {n}' for r, n in sorted(reasons.items()))}). Run the same command to ask again."
            )
        reasons += Counter({"local_only_not_sent": found.kept_back, "beyond_max_questions": found.beyond})
        self.facts |= {
            "questions": len(given),
            "beyond_max_questions": found.beyond,
            "answers": len(texts),
            "not_answered": dict(sorted(reasons.items())),
            "answered_as": sorted({a.model for a in texts if a.model}),
            "usd": str(sum((a.usd for a in given.values() if a.usd is not None), Decimal(0))),
        }
        if reasons:
            self.how.on_event(f"prepare: teacher: not answered: {self.facts['not_answered']}")
        store = self.recipe.run_folder / "teacher.jsonl"
        kept = self.out / "teacher.jsonl"
        kept.unlink(missing_ok=True)
        file = AnswerFile(kept)
        for answer in given.values():
            file.add(answer)
        file.close()
        partial = store.with_name(store.name + ".partial")
        shutil.copy(kept, partial)
        partial.replace(store)

    @contextmanager
    def _endpoint(self) -> Iterator[Endpoint]:
        from evaluation.providers.openai_compatible import Endpoint

        t = self.teacher
        key = egress.key_of(t.api_key_env, "teacher", needed=not self._is_local)
        common = Endpoint(
            t.base_url or "", t.model or "", key, concurrency=t.concurrency, timeout_s=t.timeout_s,
            budget_usd=t.budget_usd,
        )  # fmt: skip
        if t.base_url is not None:
            yield common
            return
        from pipelines.serving.loopback import serve
        from pipelines.training import base

        folder, log = base.materialise(self.recipe).folder, self.out / "shards" / "teacher.log"
        with serve(folder, log) as served:
            yield replace(common, base_url=served.base_url, model=served.model)


def _characters(item: Item) -> int:
    return sum(len(m["content"]) for m in item.prompt)


def _is_final(answer: Answer | None, file: AnswerFile) -> bool:
    """Whether asking again is useless: there is a text, the server counted its tokens for none, or refuses this one of many."""
    if answer is None:
        return False
    if answer.error is not None and answer.error.startswith("refused") and file.has_text:
        return True
    return answer.text is not None or (answer.error == "empty_answer" and answer.completion_tokens is not None)


def _spent(file: AnswerFile, found: _Sorted) -> Decimal:
    answers = (file.answers.get(i.id) for i in found.asked.values())
    return sum((a.usd for a in answers if a is not None and a.usd is not None), Decimal(0))


def _with_earlier(answer: Answer, earlier: Answer | None) -> Answer:
    """The answer with the requests and the money that an earlier run spent on its question."""
    if earlier is None:
        return answer
    usd = None if answer.usd is None and earlier.usd is None else (answer.usd or 0) + (earlier.usd or Decimal(0))
    return replace(answer, attempts=answer.attempts + earlier.attempts, usd=usd)


@contextmanager
def _of_the_teacher() -> Iterator[None]:
    """The provider layer names the settings of the API arm; here they are the teacher's."""
    try:
        yield
    except UserError as e:
        raise type(e)(str(e).replace("evaluation.api.", "teacher.").replace("arm teacher:", "teacher:")) from e
