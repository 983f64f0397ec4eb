"""`freehold evaluate`: ask every arm the held-out items, store what they say as they say it, score it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from data_prep.parquet import read_rows, sha256_of
from data_prep.records import ChatMessage, Row, UserError
from evaluation import examples, summary
from evaluation.providers import openai_compatible
from evaluation.results import Answer, AnswerFile, Item, items, read_answers
from pipelines import (
    artifacts,
    audit,
    decide,
    economics,
    egress,
    judging,
    load_test,
    report_folder,
    retrieving,
    stages,
    train,
)
from pipelines.progress import progress
from pipelines.recipe import Api, Recipe, checked_address
from pipelines.stages import How, Made

if TYPE_CHECKING:
    from evaluation.providers.local import LocalModel
    from evaluation.providers.openai_compatible import Endpoint
    from pipelines.tracking import StageRun
    from pipelines.training.base import Base

# what decides how the API is asked and not what it says: a raised budget must not throw answers away
HOW_IT_IS_ASKED = (
    "budget_usd", "concurrency", "requests_per_minute", "timeout_s", "max_retries", "api_key_env", "price",
)  # fmt: skip
WITH_ADAPTER = ("tuned", "tuned_rag")
ANSWERS = "answers"  # of a run folder: what was asked outside this process, by arm and key
Prompt = tuple[ChatMessage, ...]
Asked = list[tuple[Item, Prompt]]


def inputs(recipe: Recipe) -> dict[str, str]:
    """Dataset, adapter, base model and the evaluation settings. Raises UserError where the adapter is not the recipe's."""
    return _inputs_with(recipe, train.current(recipe))


def _inputs_with(recipe: Recipe, adapter: artifacts.Manifest) -> dict[str, str]:
    from pipelines.training import base

    settings = recipe.evaluation.model_dump(mode="json") | audit.settings(recipe)
    settings |= {"judge": judging.settings(recipe), "review": None, "candidate": recipe.decision.candidate}
    settings["egress"] = recipe.egress.model_dump(include={"sensitivity", "blocked_kinds"}, mode="json")
    for arm, asked in ({"api": settings["api"]} | settings["more_apis"]).items():
        if (api := recipe.evaluation.endpoint(arm)) is not None:
            asked["base_url"] = address(api)
            for how in HOW_IT_IS_ASKED:
                asked.pop(how)
    return {
        "dataset": artifacts.need(stages.folder(recipe, "prepare"), "prepare").content_sha256,
        "adapter": adapter.content_sha256,
        "base": base.identity(recipe.model),
        "settings": artifacts.digest({**settings, "seed": recipe.seed}),
    }


def dry_run(recipe: Recipe, how: How) -> list[egress.Plan]:
    """What `evaluate` would send and spend on the dataset as it is. Asks nobody and writes nothing.

    Of servers on this machine only a stand-in for the API is told, whose price is that of what it stands for.
    """
    if not would_ask(recipe):
        return []
    artifacts.need(stages.folder(recipe, "prepare"), "prepare")
    last, adapter = (artifacts.read_manifest(stages.folder(recipe, s)) for s in ("evaluate", "train"))
    with TemporaryDirectory() as scratch:
        session = _Session(recipe, Path(scratch), how)
        plans = [session.plan_of(arm) for arm in recipe.evaluation.arms if recipe.evaluation.endpoint(arm) is not None]
        if last is None or adapter is None or last.inputs != _inputs_with(recipe, adapter):
            plans += judging.plans(recipe, session.items, session.leaned() | session.learned())
            plans += load_test.plans(recipe, session._asked)
    return plans


def would_ask(recipe: Recipe) -> list[egress.Plan]:
    """Whom `evaluate` would ask, where there is no dataset yet to tell what."""
    settings, found = recipe.evaluation, list[tuple[str, str, str]]()
    arms = {f"evaluate: arm {arm}": api for arm in settings.arms if (api := settings.endpoint(arm)) is not None}
    found += [(who, *_whom(api)) for who, api in arms.items()]
    if settings.judge is not None and settings.judge.base_url is not None:
        found.append((judging.WHO, settings.judge.base_url, recipe.judge_model))
    for server in settings.load.servers if settings.load is not None else ():
        if server.base_url is not None:
            found.append((load_test.who(server), server.base_url, server.model or ""))
    note = "how much is known once the dataset is there"
    return [egress.Plan(*whom, None, note=note) for whom in found if whom[0] in arms or not egress.is_here(whom[1])]


def ask_leave(recipe: Recipe, how: How) -> None:
    """Before hours of training: raises UserError where a key or the word is missing for what `evaluate` will send.

    Of judge and load test only bounds are known; where there is a report, nothing of them may be left to ask.
    """
    if how.replay or not any(plan.leaves for plan in would_ask(recipe)):
        return
    is_first = artifacts.read_manifest(stages.folder(recipe, "evaluate")) is None
    for plan in dry_run(recipe, how):
        if plan.leaves and (is_first or plan.is_exact):
            egress.agree(plan, recipe, how)


def run(recipe: Recipe, out: Path, tracked: StageRun, how: How) -> Made:
    """Fill the report folder. Answers that are stored already, here or in the last report, are not asked again."""
    session = _Session(recipe, out, how)
    for arm in recipe.evaluation.arms:
        session.ask(arm)
    dev_key = session.ask_dev()
    session.record_golden()
    audited = audit.measure(recipe, out, session.model, session.train, inputs(recipe), how)
    found = session.answers()
    shown = session.documents.by_arm(recipe.evaluation.arms)
    scored = summary.scores(session.items, found, recipe.evaluation.arms, shown)
    view = summary.View.of(session.items, found.values(), scored)
    decide.look(recipe, view)
    leaned = session.leaned()
    judged = judging.measure(recipe, out, view, session.base, how, leaned | session.learned())
    loaded = load_test.measure(recipe, out, session._asked, found, session.base, how)
    report_folder.write(
        out,
        view,
        scored,
        arms=recipe.evaluation.arms,
        candidate=recipe.decision.candidate,
        receipts=[*session.receipts, *judged.receipts, *loaded],
        seed=recipe.seed,
    )
    _track(recipe, out, tracked, view, session)
    facts = {
        "stand_in": recipe.evaluation.api is not None
        and recipe.evaluation.api.is_stand_in
        and "api" in recipe.evaluation.arms,
        "arms": session.keys,
        "dev": dev_key,
        "audit": audited,
        "judge": judged.facts,
        "retrieval": session.documents.write(out, recipe.evaluation.arms),
        "listed": session.listed,
        "gates": session.gates_when_scored(),
        "leaned": sorted(leaned),  # pages do not show these answers, as they do not show items that must stay
        stages.LOST: [f"{a.arm} {a.item}" for a in found.values() if openai_compatible.is_lost(a.error)],
    }
    errors = {
        arm: summary.error_counts(a.error for a in found.values() if a.arm == arm) for arm in recipe.evaluation.arms
    }
    return Made(
        counts={"items": len(session.items), "errors": errors},
        facts=facts,
        timed=[*report_folder.TIMED_FILES, *(n for n in (judging.REPLIES, load_test.CAPACITY) if (out / n).exists())],
        scratch=[artifacts.KEYED],
    )


class _Session:
    """One evaluation: the items, the loaded model, the answer files."""

    def __init__(self, recipe: Recipe, out: Path, how: How) -> None:
        self.recipe, self.out, self.how = recipe, out, how
        dataset = stages.folder(recipe, "prepare")
        self.train = list(read_rows(dataset, "train"))
        asked = items(read_rows(dataset, "test"), _choices(self.train))
        if not asked:
            raise UserError(
                f"{dataset}: has no test rows, so nothing can be judged. Set dataset.test_from so that tickets lie after it."
            )
        self.documents = retrieving.Documents(recipe, asked)
        self.items = self.documents.items
        self.keys: dict[str, str] = {}
        self.listed: dict[str, dict[str, Any] | None] = {}  # arm → whose list price its answers have
        self.receipts: list[dict[str, Any]] = []
        self._model: LocalModel | None = None
        self._base: Base | None = None
        (out / artifacts.KEYED).mkdir(exist_ok=True)

    @cached_property
    def _inputs(self) -> dict[str, str]:
        """The stage's, read once: what they are hashes of does not change while it runs. Before training: of the last adapter."""
        return _inputs_with(self.recipe, artifacts.need(stages.folder(self.recipe, "train"), "train"))

    def base(self) -> Base:
        from pipelines.training import base

        self._base = self._base or base.materialise(self.recipe)
        return self._base

    def model(self) -> LocalModel:
        if self._model is None:
            from transformers import AutoTokenizer

            from evaluation.providers.local import LocalModel
            from pipelines.training.exactness import stop_token_ids
            from pipelines.training.trainer import precision

            base = self.base()
            stops = stop_token_ids(AutoTokenizer.from_pretrained(base.folder))
            adapter = stages.folder(self.recipe, "train")
            self._model = LocalModel(base.folder, adapter, dtype=precision(self.recipe.training), stop_ids=stops)
        return self._model

    def ask(self, arm: str) -> None:
        asked = self._asked(arm)
        self.keys[arm] = self._key(arm, asked)
        self._file(arm).parent.mkdir(exist_ok=True)
        file = AnswerFile(self._file(arm))
        for answer in (*self._stored(arm, asked), *self._same_elsewhere(arm, asked)):
            if answer.item not in file.answers:
                file.add(answer)
        known = self.known(file.answers, asked)
        left = [i for i, _ in asked if i.id not in known]
        try:
            if left and self.how.replay:
                raise UserError(
                    f"arm {arm}: {len(left)} of {len(asked)} answers are not stored, and --replay asks nobody. Run without --replay."
                )
            if left or (self._batch(arm).exists() and not self.how.replay):  # what a provider holds of one is deleted
                with progress(f"evaluate: {arm}", len(asked)) as update:
                    self._answer(arm, asked, known, file, update)
        finally:
            file.close()
        api, purpose = self.recipe.evaluation.endpoint(arm), self._purpose(arm)
        if api is not None and not any(r.get("purpose") == purpose for r in self.receipts):
            with egress.guard(self.recipe, self.how) as guard:  # an earlier command asked, and did not end
                self.receipts.append({**guard.about(purpose).receipt(), "stand_in": api.is_stand_in})

    def _same_elsewhere(self, arm: str, asked: Asked) -> Iterator[Answer]:
        """What the same weights said in an arm before this one, task by task where they were asked exactly the same.

        Labels are asked without passages, so `rag` says of them what `base` says. Whole tasks only: common beginnings and
        batches are those of a task, and with them the arithmetic. Answers keep the timing and the date of their asking.
        """
        endpoint = self.recipe.evaluation.endpoint
        for other in self.keys:
            is_same_model = (other in WITH_ADAPTER) == (arm in WITH_ADAPTER) and endpoint(arm) is endpoint(
                other
            ) is None
            if other == arm or not is_same_model:
                continue
            theirs = {item.id: prompt for item, prompt in self._asked(other)}
            different = {item.task for item, prompt in asked if prompt != theirs[item.id]}
            tasks = {item.id: item.task for item, _ in asked}
            said = read_answers(self._file(other))
            yield from (replace(answer, arm=arm) for answer in said if tasks[answer.item] not in different)

    def known(self, answers: dict[str, Answer], asked: Asked) -> set[str]:
        return egress.known(self.recipe, answers, asked, replay=self.how.replay)

    def ask_dev(self) -> str | None:
        """The tuned model's labels on dev, from which the routing threshold is chosen; kept in dev.jsonl. Their key, or None.

        Another candidate has no threshold: what is known of one arm's confidence does not hold for another's.
        """
        if self.recipe.decision.candidate != "tuned":
            return None
        dataset, last = stages.folder(self.recipe, "prepare"), stages.folder(self.recipe, "evaluate")
        asked = [(i, i.prompt) for i in items(read_rows(dataset, "dev"), _choices(self.train)) if i.choices]
        key = self._key("tuned", asked)
        file = AnswerFile(self.out / artifacts.KEYED / f"dev-{key[:12]}.jsonl")
        manifest = artifacts.read_manifest(last)
        if manifest is not None and manifest.facts.get("dev") == key:
            for answer in report_folder.read_dev(last)[1].values():
                file.add(answer)
        known = set(file.answers)
        try:
            if len(known) < len(asked):
                if self.how.replay:
                    raise UserError(
                        "the answers on dev are not stored, and --replay asks nobody. Run without --replay."
                    )
                with progress("evaluate: tuned on dev", len(asked)) as update:
                    self._answer("tuned", asked, known, file, update)
        finally:
            file.close()
        report_folder.write_dev(self.out, [i for i, _ in asked], file.answers)
        return key

    def _answer(self, arm: str, asked: Asked, known: set[str], file: AnswerFile, update: Any) -> None:
        def keep(answer: Answer) -> None:
            file.add(answer)
            update(len(file.answers))

        settings = self.recipe.evaluation
        api = settings.endpoint(arm)
        if api is not None:
            self._ask_api(arm, api, asked, known, file, keep)
            return
        from evaluation.providers import local

        model = self.model()
        with _as_it_is() if arm in WITH_ADAPTER else model.untuned():
            local.answer(
                model,
                arm,
                asked,
                known,
                batch_size=settings.batch_size,
                max_new_tokens=settings.max_new_tokens,
                keep=keep,
            )

    def _ask_api(self, arm: str, api: Api, asked: Asked, known: set[str], file: AnswerFile, keep: Any) -> None:
        prices, questions = economics.book_of(arm, api), self._questions(arm, asked)
        money = [usd for a in file.answers.values() for usd in (a.usd, a.usd_presumed) if usd is not None]
        egress.agree(self.plan(arm, api, asked, known), self.recipe, self.how)
        purpose = self._purpose(arm)
        with egress.guard(self.recipe, self.how) as guard:
            try:
                with self._endpoint(arm, api) as endpoint:
                    openai_compatible.answer(
                        endpoint, arm, asked, known, prices, max_new_tokens=self.recipe.evaluation.max_new_tokens,
                        already_spent_usd=sum(money, Decimal(0)), guard=guard, purpose=purpose,
                        has_answered=file.has_text,
                        keep=lambda a: keep(replace(a, question=questions[a.item])),
                    )  # fmt: skip
            finally:
                # the ledger holds earlier commands as well; it takes the place of what they said of this purpose
                others = [r for r in self.receipts if r.get("purpose") != purpose]
                guard.about(purpose).kept_back.update(egress.kept_back(file.answers.values()))
                self.receipts = [*others, {**guard.about(purpose).receipt(), "stand_in": api.is_stand_in}]

    def plan_of(self, arm: str) -> egress.Plan:
        """What asking this API arm would mean now. What is answered is known once there is an adapter to compare with."""
        api, asked, known = self.recipe.evaluation.endpoint(arm), self._asked(arm), set[str]()
        assert api is not None
        if artifacts.read_manifest(stages.folder(self.recipe, "train")) is not None:
            self.keys[arm] = self._key(arm, asked)
            file = self._file(arm)
            stored = [*self._stored(arm, asked), *(read_answers(file) if file.exists() else ())]
            known = self.known({a.item: a for a in stored}, asked)
        return self.plan(arm, api, asked, known)

    def plan(self, arm: str, api: Api, asked: Asked, known: set[str]) -> egress.Plan:
        where, model = _whom(api)
        limit, who = self.recipe.evaluation.max_new_tokens, f"evaluate: arm {arm}"
        prices = economics.book_of(arm, api)
        return egress.plan(
            self.recipe, who, where, model, asked, known, prices, limit, thinking=api.thinking_tokens,
            section=self.recipe.evaluation.section(arm), key_env=api.api_key_env,
        )  # fmt: skip

    @contextmanager
    def _endpoint(self, arm: str, api: Api) -> Iterator[Endpoint]:
        from evaluation.providers.openai_compatible import Endpoint

        base_url, name, section = address(api), api.model or "", self.recipe.evaluation.section(arm)
        common = Endpoint(
            base_url or "",
            name,
            egress.key_of(api.api_key_env, section, needed=base_url is not None),
            streaming=api.streaming,
            concurrency=api.concurrency,
            requests_per_minute=api.requests_per_minute,
            timeout_s=api.timeout_s,
            max_retries=api.max_retries,
            budget_usd=api.budget_usd,
            label_mode=api.label_mode,
            limit_as=api.limit_as,
            thinking_tokens=api.thinking_tokens,
            request=api.request,
            vendor=api.vendor,
            batch=self._batch(arm) if api.batch else None,
            section=section,
        )
        if base_url is not None:
            yield common
            return
        from pipelines.serving.loopback import serve

        self.how.on_event("evaluate: the api arm is a STAND-IN: the untuned base model on a loopback server")
        with serve(self.base().folder, self.out / artifacts.KEYED / "stand-in.log") as served:
            yield replace(common, base_url=served.base_url, model=served.model, key="none")

    def _asked(self, arm: str, outside: bool = False) -> Asked:
        """What an arm is asked. outside: with what may be shown on another machine; the API's is, also where a stand-in answers."""
        shown, told = self._examples(arm, outside), self.documents.shown(arm, outside)
        return [(i, examples.with_examples(told[i.id].prompt, shown[i.task])) for i in self.items]

    def shots(self, arm: str) -> int:
        """How many worked examples an arm is shown at most."""
        settings, api = self.recipe.evaluation, self.recipe.evaluation.endpoint(arm)
        return api.examples if api is not None else settings.few_shot_examples if arm == "few_shot" else 0

    def _examples(self, arm: str, outside: bool) -> dict[str, list[Row]]:
        """Task → the worked examples of an arm."""
        settings, train, number = self.recipe.evaluation, self.train, self.shots(arm)
        if outside or settings.endpoint(arm) is not None:
            rules = egress.policy(self.recipe)
            train = [r for r in train if rules.lets_out(r.sensitivity)]
        return {
            item.task: examples.choose(
                train,
                item.task,
                number=number if item.choices else min(number, settings.few_shot_replies),
                seed=self.recipe.seed,
            )
            for item in {i.task: i for i in self.items}.values()
        }

    def leaned(self) -> set[tuple[str, str]]:
        """(arm, item) whose answer was given in view of a worked example or a passage that must not leave: nor must the answer."""
        rules, found = egress.policy(self.recipe), set[tuple[str, str]]()
        for arm in self.recipe.evaluation.arms:
            shown, told = self._examples(arm, outside=False), self.documents.shown(arm)
            for i in self.items:
                beside = {r.sensitivity for r in shown[i.task]} | {p.sensitivity for p in told[i.id].passages}
                if not all(map(rules.lets_out, beside)):
                    found.add((arm, i.id))
        return found

    def learned(self) -> set[tuple[str, str]]:
        """(arm, item) of what a judge elsewhere is not sent because the adapter learned from rows that must not leave."""
        judge, rules = self.recipe.evaluation.judge, egress.policy(self.recipe)
        rows = sum(not rules.lets_out(r.sensitivity) for r in self.train)
        if judge is None or judge.sees_adapter or not rows or not judging.is_elsewhere(self.recipe):
            return set()
        self.how.on_event(
            f"evaluate: judge: the adapter learned from {rows} rows that must not leave, so a judge on another machine is not sent"
            " its answers. Take a judge on this machine, or set evaluation.judge.sees_adapter."
        )
        return {(arm, i.id) for arm in WITH_ADAPTER for i in self.items}

    def _key(self, arm: str, asked: Asked) -> str:
        """What an arm's answers depend on: answers with the same key can be used again."""
        return artifacts.digest([*self._answering(arm), [(i.id, i.choices, p) for i, p in asked]])

    def _answering(self, arm: str) -> list[Any]:
        """The model that answers, and how it is asked."""
        settings, chosen = self.recipe.evaluation, self._inputs
        who: Any = [
            chosen["base"],
            self.recipe.training.precision,
            settings.batch_size,
            chosen["adapter"] if arm in WITH_ADAPTER else None,
        ]
        if (api := settings.endpoint(arm)) is not None:
            stand_in = chosen["base"] if api.is_stand_in else None
            request = [api.limit_as, api.thinking_tokens, api.request]
            who = [address(api), api.vendor, api.model, api.streaming, api.label_mode, request, stand_in]
            who += ["batch"] if api.batch else []
        return [who, settings.max_new_tokens]

    def _questions(self, arm: str, asked: Asked) -> dict[str, str]:
        """Item → what its answer depends on, the other items aside."""
        whom = self._answering(arm)
        return {i.id: artifacts.digest([whom, i.choices, p]) for i, p in asked}

    def _stored(self, arm: str, asked: Asked) -> list[Answer]:
        """Answers that were given to the same questions by the same model: those of the last report, and all that was paid for.

        A paid answer belongs to its question, so it stays where the test set gained or lost others.
        """
        last = stages.folder(self.recipe, "evaluate")
        manifest = artifacts.read_manifest(last)
        of_report = [a for a in report_folder.read_answers(last) if a.arm == arm] if manifest is not None else []
        is_same = manifest is not None and manifest.facts.get("arms", {}).get(arm) == self.keys[arm]
        if self.recipe.evaluation.endpoint(arm) is None:
            return of_report if is_same else []
        if manifest is not None:
            receipts, purpose = json.loads((last / "egress.json").read_text()), self._purpose(arm)
            self.receipts += [r for r in receipts if r.get("purpose") == purpose]
        questions = self._questions(arm, asked)
        paid = [a for path in self._file(arm).parent.glob(f"{arm}-*.jsonl") for a in read_answers(path) if a.arm == arm]
        bought = [a for a in (*of_report, *paid) if a.question and questions.get(a.item) == a.question]
        return [*(of_report if is_same else ()), *(a for a in bought if not openai_compatible.is_lost(a.error))]

    def _purpose(self, arm: str) -> str:
        """Under what the guard's ledger holds an arm's requests, whatever the test set was."""
        return f"{arm} {artifacts.digest(self._answering(arm))[:12]}"

    def _file(self, arm: str) -> Path:
        """Where an arm's answers are written as they come; what was paid for stays when other settings change."""
        is_paid = self.recipe.evaluation.endpoint(arm) is not None
        folder = self.recipe.run_folder / ANSWERS if is_paid else self.out / artifacts.KEYED
        return folder / f"{arm}-{self.keys[arm][:12]}.jsonl"

    def _batch(self, arm: str) -> Path:
        """Where a batch of this arm is remembered while it is under way, whatever the test set is meanwhile."""
        return self.recipe.run_folder / ANSWERS / f"{arm}-{artifacts.digest(self._answering(arm))[:12]}.batch.json"

    def answers(self) -> dict[tuple[str, str], Answer]:
        found: list[Answer] = []
        for arm in self.keys:
            stored, api = list(read_answers(self._file(arm))), self.recipe.evaluation.endpoint(arm)
            if api is not None:
                stored, self.listed[arm] = economics.priced(arm, api, stored)
            found += stored
        return {(a.arm, a.item): a for a in found}

    def gates_when_scored(self) -> dict[str, Any] | None:
        """The quality gates that were declared when candidate and baseline were first scored; None: that is not known."""
        d = self.recipe.decision
        last = artifacts.read_manifest(stages.folder(self.recipe, "evaluate"))
        keys = last.facts.get("arms", {}) if last is not None else {}
        if last is None or any(keys.get(arm) != self.keys.get(arm) for arm in (d.candidate, d.baseline)):
            return d.quality_gates()
        found: dict[str, Any] | None = last.facts.get("gates")
        return found

    def record_golden(self) -> None:
        """The golden prompts as they are chosen now; those that the last report of the same models has are not asked again."""
        from pipelines.serving import golden

        path, last = self.out / "golden.jsonl", stages.folder(self.recipe, "evaluate")
        if path.exists():
            return
        chosen = golden.choose(
            self.items, egress.policy(self.recipe), number=self.recipe.evaluation.golden_prompts, seed=self.recipe.seed
        )
        manifest = artifacts.read_manifest(last)
        same = {k: v for k, v in manifest.inputs.items() if k != "settings"} if manifest else None
        known: dict[str, golden.Golden] = {}
        if same is not None and same == {k: v for k, v in self._inputs.items() if k != "settings"}:
            known = {g.item: g for g in golden.load(last / "golden.jsonl")}
        missing = [i for i in chosen if i.id not in known]
        if missing and self.how.replay:
            raise UserError("the golden prompts are not recorded, and --replay asks nobody. Run without --replay.")
        if missing:
            known |= {g.item: g for g in golden.record(self.model(), missing)}
        temporary = path.with_name("golden.partial")
        golden.save([replace(known[i.id], sensitivity=i.sensitivity) for i in chosen], temporary)
        temporary.replace(path)


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


def _choices(train: Sequence[Row]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for row in train:
        if row.label is not None:
            found.setdefault(row.task, set()).add(row.label)
    return {task: tuple(sorted(labels)) for task, labels in found.items()}


def _whom(api: Api) -> tuple[str, str]:
    return address(api) or "http://localhost", api.model or "the untuned base model (stand-in)"


def model_key(arm: str, api: Api) -> str:
    """Under what the LoggedModel of an API arm is remembered."""
    return f"{arm} {api.base_url} {api.model}"


def address(api: Api) -> str | None:
    """Where an API is asked; None for a stand-in."""
    other = os.environ.get(api.base_url_env) if api.base_url_env else None
    try:
        return checked_address(other) if other else api.base_url
    except ValueError as e:
        raise UserError(f"{api.base_url_env}: {e}.") from e


def arm_metrics(quality: dict[str, Any], speed: list[dict[str, Any]], arm: str) -> dict[str, float | None]:
    """An arm's metrics under the keys that all arms share; `decide` adds the cost."""
    found: dict[str, float | None] = {}
    for row in quality["arms"]:
        if row["arm"] == arm and row["slice"].startswith("task="):
            task = row["slice"].removeprefix("task=")
            found[f"quality/{task}/{row['metric']}"] = row["mean"]
            failed = found.get(f"failed/{task}")  # of several metrics the one that could measure most
            found[f"failed/{task}"] = float(row["failed"] if failed is None else min(failed, row["failed"]))
    for row in speed:
        if row["arm"] == arm:
            for quantile in ("p50_ms", "p95_ms", "p99_ms"):
                found[f"latency/{row['task']}/{quantile}"] = row[quantile]
            found[f"tokens/{row['task']}/prompt"], found[f"tokens/{row['task']}/completion"] = (
                row["prompt_tokens"],
                row["completion_tokens"],
            )
    return found


def _track(recipe: Recipe, out: Path, tracked: StageRun, view: summary.View, session: _Session) -> None:
    quality, speed = json.loads((out / "quality.json").read_text()), json.loads((out / "speed.json").read_text())
    dataset = stages.folder(recipe, "prepare")
    tracked.dataset(dataset, ["test"], "evaluation")
    digest = (f"{recipe.name}-test", sha256_of(dataset, "test")[:16])
    adapter = artifacts.need(stages.folder(recipe, "train"), "train")
    under_load = {(r["task"], r["arm"]): r["requests_per_second"] for r in load_test.read(out / load_test.CAPACITY)}
    for arm in recipe.evaluation.arms:
        values = arm_metrics(quality, speed, arm)
        values |= {f"capacity/{task}/requests_per_second": rate for (task, a), rate in under_load.items() if a == arm}
        settings = recipe.evaluation
        params: dict[str, Any] = {
            "few_shot_examples": session.shots(arm),
            "max_new_tokens": settings.max_new_tokens,
            "passages": session.documents.number(arm),
        }
        if arm == "tuned":
            tracked.trained_on(adapter.content_sha256, adapter.inputs["dataset"])
            facts = {
                **{f"lora.{k}": v for k, v in adapter.facts["lora"].items()},
                "base": adapter.facts["base"]["name"],
                "dataset_sha256": adapter.inputs["dataset"],
            }
            model_id = tracked.logged_model(
                f"{recipe.name}-adapter", "peft-adapter", facts, stages.folder(recipe, "train"), adapter.content_sha256
            )
        elif (api := settings.endpoint(arm)) is not None:
            params |= {"stand_in": api.is_stand_in, "model": api.model or "stand-in: untuned base"}
            name = "api-stand-in" if api.is_stand_in else arm
            model_id = tracked.logged_model(name, "managed-api", params, None, model_key(arm, api))
        else:  # the same weights asked another way: an entry to compare by, without files
            facts = {**params, "base": adapter.facts["base"]["name"], "with_adapter": arm in WITH_ADAPTER}
            model_id = tracked.logged_model(
                f"{recipe.name}-{arm}", "prompted", facts, None, f"{arm} {session.keys[arm]}"
            )
        tracked.model_metrics(tracked.arm(arm, params, values), model_id, values, digest)
    _table(view, tracked)


def _table(view: summary.View, tracked: StageRun) -> None:
    """The per-item table: ids, labels and scores. Texts stay in the report folder."""
    columns: dict[str, list[Any]] = {"item": [], "arm": [], "metric": [], "value": [], "error": []}
    for (arm, item, metric), value in view.values.items():
        answer = view.answers.get((arm, item))
        for name, cell in zip(columns, (item, arm, metric, value, answer.error if answer else "missing"), strict=True):
            columns[name].append(cell)
    tracked.table(columns, "per_item.json")
