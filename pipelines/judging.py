"""Putting the comparisons of an evaluation to the recipe's judge, through the provider layer and its guard.

Replies are kept under what was asked of whom, in the report's `judge.jsonl` and while it is unfinished, so an evaluation that
was killed, or begun anew after one arm changed, asks and pays only for what it does not know; `judgements.jsonl` is what they
say. What that is worth is computed from the stored files by `freehold decide`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.records import UserError
from evaluation import judge
from evaluation.results import Answer, AnswerFile, Item, read_answers, write_answers
from evaluation.summary import View
from pipelines import artifacts, egress, stages
from pipelines.progress import progress
from pipelines.recipe import Judge, Recipe
from pipelines.stages import How

if TYPE_CHECKING:
    from evaluation.providers.openai_compatible import Endpoint

REPLIES, JUDGEMENTS = "judge.jsonl", "judgements.jsonl"
PURPOSE, WHO, SECTION = "judge", "evaluate: judge", "evaluation.judge"
UNANSWERED_LIMIT = 10  # comparisons in a row without a reply, retries included: the server is down
# what decides how the judge is asked and what its numbers must show, not what it says
NOT_ASKED_FOR = (
    "budget_usd", "concurrency", "timeout_s", "api_key_env", "margin", "min_labels", "min_kappa", "min_consistency", "max_padded_wins",
    "max_lean", "price",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Judged:
    """facts: who judged, for the manifest; None without a judge. receipts: what left for it."""

    facts: dict[str, Any] | None = None
    receipts: list[dict[str, Any]] = field(default_factory=list)


def settings(recipe: Recipe) -> dict[str, Any] | None:
    """What the verdicts depend on besides the answers that are compared."""
    chosen = recipe.evaluation.judge
    if chosen is None:
        return None
    return chosen.model_dump(mode="json", exclude=set(NOT_ASKED_FOR)) | {
        "candidate": recipe.decision.candidate,
        "baseline": recipe.decision.baseline,
    }


def measure(
    recipe: Recipe, out: Path, view: View, base_folder: Any, how: How, leaned: Collection[tuple[str, str]]
) -> Judged:
    """Ask the judge about the items of `view`, fill the two files, and say who judged. base_folder: gives the base model.

    leaned: (arm, item) whose answer was given in view of what must not leave, or by a model that learned from such; a judge on
    another machine does not see it.
    """
    chosen = recipe.evaluation.judge
    if chosen is None:
        return Judged()
    candidate, baseline = recipe.decision.candidate, recipe.decision.baseline
    compared = _compared(recipe, chosen, view, leaned)
    asking = _Asking(recipe, chosen, out, base_folder, how)
    asked = judge.questions(compared, max_chars=chosen.max_chars, is_local=asking.is_local)
    replies = asking.ask(asked)
    judged = judge.judgements(compared, replies, max_chars=chosen.max_chars)
    lines = "".join(json.dumps(j.as_dict(), ensure_ascii=False) + "\n" for j in judged)
    artifacts.write_text(out / JUDGEMENTS, lines)
    unread = sum(j.score is None for j in judged)
    kept_back = sum(any(r.partition(":")[0].endswith("_not_sent") for r in j.reasons) for j in judged)
    how.on_event(
        f"evaluate: judge: {len(judged)} comparisons, {unread} without a verdict in both orders"
        + (f", {kept_back} of them because they must stay in the house" if kept_back else "")
    )
    facts = {
        "key": asking.key, "model": recipe.judge_model, "destination": chosen.base_url or "loopback",
        "own_family": sorted(recipe.judged_by_its_own), "candidate": candidate, "baseline": baseline,
        "comparisons": len(judged), "without_verdict": unread, "kept_back": kept_back,
    }  # fmt: skip
    return Judged(facts, asking.receipts)


def is_elsewhere(recipe: Recipe) -> bool:
    """Is there a judge, and on another machine?"""
    chosen = recipe.evaluation.judge
    return chosen is not None and chosen.base_url is not None and not egress.is_here(chosen.base_url)


def plans(recipe: Recipe, items: Sequence[Item], leaned: Collection[tuple[str, str]]) -> list[egress.Plan]:
    """What a judge on another machine would be sent at most: as if both arms answered every item, as long as they may."""
    chosen = recipe.evaluation.judge
    if chosen is None or chosen.base_url is None or not is_elsewhere(recipe):
        return []
    sides = {recipe.decision.candidate: "a", recipe.decision.baseline: "b"}
    answers = [Answer(i.id, arm, text) for arm, text in sides.items() for i in items]
    asked, unseen = [], dict[str, int]()
    for c in _compared(recipe, chosen, View.of(list(items), answers, []), leaned):
        texts = 2 if c.kind == "pair" else 3  # padding may be the text again
        both = judge.questions([c], max_chars=chosen.max_chars, is_local=False)
        unseen |= {item.id: texts * recipe.evaluation.max_new_tokens for item, _ in both}
        asked += both
    made = egress.plan(
        recipe, WHO, chosen.base_url, recipe.judge_model, asked, set(), egress.prices_of(chosen, SECTION), chosen.max_new_tokens,
        unseen=unseen, section=SECTION, key_env=chosen.api_key_env,
    )  # fmt: skip
    note = "two orders a comparison; the answers are counted as long as evaluation.max_new_tokens lets them be"
    return [replace(made, at_most=True, note=note)]


def _compared(recipe: Recipe, chosen: Judge, view: View, leaned: Collection[tuple[str, str]]) -> list[judge.Comparison]:
    """The pairs of answers and the probes."""
    arms = recipe.decision.candidate, recipe.decision.baseline
    pairs = judge.comparisons(view, *arms, max_items=chosen.max_items, seed=recipe.seed, leaned=leaned)
    return pairs + judge.padded(pairs, number=chosen.padded_probes, seed=recipe.seed)


def read(report: Path) -> list[judge.Judgement]:
    """The judgements of a report; none where nobody judged."""
    path = report / JUDGEMENTS
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    return [judge.Judgement.of(json.loads(line)) for line in lines if line]


class _Asking:
    """One evaluation's judge and its file of replies."""

    def __init__(self, recipe: Recipe, chosen: Judge, out: Path, base_folder: Any, how: How) -> None:
        self.recipe, self.chosen, self.out, self.base_folder, self.how = recipe, chosen, out, base_folder, how
        self.receipts: list[dict[str, Any]] = []
        who = [chosen.base_url, chosen.model, None if chosen.base_url else recipe.model.model_dump(mode="json")]
        self.key = artifacts.digest([*who, chosen.max_new_tokens])

    @property
    def is_local(self) -> bool:
        return not is_elsewhere(self.recipe)

    def ask(self, asked: egress.Asked) -> dict[str, Answer]:
        """Replies by blind id. Raises ApiError where the judge refuses us, is down, or its budget is spent."""
        file = self._file({item.id for item, _ in asked})
        known = egress.known(self.recipe, file.answers, asked, replay=self.how.replay, inside=self.is_local)
        left = [(item, prompt) for item, prompt in asked if item.id not in known]
        try:
            if left and self.how.replay:
                raise UserError(
                    f"judge: {len(left)} of {len(asked)} replies are not stored, and --replay asks nobody. Run without --replay."
                )
            if left:
                with progress("evaluate: judge", len(asked)) as update:
                    self._answer(left, file, update)
            elif not self.is_local:
                self._note_receipt(file)
        finally:
            file.close()
        replies = {item.id: file.answers[item.id] for item, _ in asked if item.id in file.answers}
        write_answers(self.out / REPLIES, replies.values())
        return replies

    def _file(self, current: set[str]) -> AnswerFile:
        """The replies so far; those of the last report where the same judge gave them, without what is asked no longer."""
        last = stages.folder(self.recipe, "evaluate")
        file = AnswerFile(self.out / artifacts.KEYED / f"{PURPOSE}-{self.key[:12]}.jsonl")
        manifest = artifacts.read_manifest(last)
        known = (manifest.facts.get("judge") or {}) if manifest is not None else {}
        if known.get("key") == self.key and (last / REPLIES).exists():
            for answer in read_answers(last / REPLIES):
                if answer.item in current and answer.item not in file.answers:
                    file.add(answer)
        return file

    def _answer(self, left: egress.Asked, file: AnswerFile, update: Any) -> None:
        from evaluation.providers import openai_compatible

        in_a_row = 0

        def keep(answer: Answer) -> None:
            nonlocal in_a_row
            file.add(answer)
            update(len(file.answers))
            silent = openai_compatible.is_lost(answer.error) and answer.error != "stopped"
            in_a_row = in_a_row + 1 if silent else 0
            if in_a_row == UNANSWERED_LIMIT:
                raise openai_compatible.ApiError(
                    f"judge: {self.chosen.base_url or 'the loopback server'} left {in_a_row} comparisons in a row without a reply"
                    f" ({answer.error}). The replies so far are kept; run the same command to go on."
                )

        prices = egress.prices_of(self.chosen, SECTION)
        money = [usd for a in file.answers.values() for usd in (a.usd, a.usd_presumed) if usd is not None]
        where = self.chosen.base_url or "http://localhost"
        limit = self.chosen.max_new_tokens
        plan = egress.plan(
            self.recipe, WHO, where, self.recipe.judge_model, left, set(), prices, limit, inside=self.is_local,
            section=SECTION, key_env=self.chosen.api_key_env,
        )  # fmt: skip
        egress.agree(plan, self.recipe, self.how)
        try:
            guarded = egress.guard(self.recipe, self.how, inside=self.is_local)
            with guarded as guard, _of_the_judge(), self._endpoint() as endpoint:
                openai_compatible.answer(
                    endpoint, PURPOSE, left, set(), prices, max_new_tokens=limit, keep=keep, guard=guard,
                    purpose=PURPOSE, already_spent_usd=sum(money, Decimal(0)),
                    has_answered=file.has_text,
                )  # fmt: skip
        finally:
            self._note_receipt(file)

    def _note_receipt(self, file: AnswerFile) -> None:
        """From the ledger, which holds earlier commands as well; what was not sent is in the file of replies."""
        with egress.guard(self.recipe, self.how) as guard:
            guard.about(PURPOSE).kept_back.update(egress.kept_back(file.answers.values()))
            receipt = guard.about(PURPOSE).receipt()
        self.receipts = [{**receipt, "stand_in": self.is_local}] if receipt["requests"] or receipt["kept_back"] else []

    @contextmanager
    def _endpoint(self) -> Iterator[Endpoint]:
        from evaluation.providers.openai_compatible import Endpoint

        c = self.chosen
        key = egress.key_of(c.api_key_env, SECTION, needed=not self.is_local)
        common = Endpoint(
            c.base_url or "", c.model or "", key, concurrency=c.concurrency, timeout_s=c.timeout_s,
            budget_usd=c.budget_usd, max_retries=c.max_retries,
        )  # fmt: skip
        if c.base_url is not None:
            yield common
            return
        from pipelines.serving.loopback import serve

        with serve(self.base_folder().folder, self.out / artifacts.KEYED / "judge.log") as served:
            yield replace(common, base_url=served.base_url, model=served.model)


@contextmanager
def _of_the_judge() -> Iterator[None]:
    """The provider layer names the settings of the API arm; here they are the judge's."""
    try:
        yield
    except UserError as e:
        told = str(e).replace("evaluation.api.", "evaluation.judge.").replace("arm judge:", "judge:")
        raise type(e)(told) from e
