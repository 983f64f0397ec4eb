"""The load test of an evaluation: each server under the prompts and answer lengths of one arm, task by task.

capacity.json holds a row a server and task: requests a second inside the service level, percentiles at every rate tried, the
service level, seconds, seed and machine. Rows are kept as they are measured, and taken from the last report where prompts,
lengths and settings are the same: a measurement takes minutes. Every request is in the run folder's ledger, as everywhere
also where the server is on this machine.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.records import UserError
from evaluation import load
from evaluation.egress import BudgetError, Guard, kinds_in
from evaluation.gates import Gate
from evaluation.latency import Run, Slo
from evaluation.load import Plan, Question, Server
from evaluation.prices import Book
from evaluation.results import Answer
from pipelines import artifacts, egress, stages
from pipelines.recipe import Load, LoadServer, Recipe
from pipelines.stages import How

if TYPE_CHECKING:
    from pipelines.training.base import Base

CAPACITY = "capacity.json"
PURPOSE, SECTION = "load test", "evaluation.load.servers"
Answers = Mapping[tuple[str, str], Answer]  # by arm and item


def measure(
    recipe: Recipe,
    out: Path,
    asked: Callable[[str, bool], egress.Asked],
    answers: Answers,
    base: Callable[[], Base],
    how: How,
) -> list[dict[str, Any]]:
    """Write capacity.json where the recipe asks for a load test. Returns receipts of what was sent, the last report's included.

    asked: what an arm is asked, and True where that goes to another machine, which must not see all that an arm here does.
    """
    settings = recipe.evaluation.load
    if settings is None:
        return []
    draft, last = out / artifacts.KEYED / CAPACITY, stages.folder(recipe, "evaluate")
    # a row without an answer, where the client was late or the time was used up, is measured again
    known = {
        r["key"]: r
        for path in (last / CAPACITY, draft)
        for r in read(path)
        if how.replay or _keeps_level(r) is not None
    }
    rows: list[dict[str, Any]] = []
    receipts = []
    for server in settings.servers:
        questions = asked(server.arm, not _is_here(server))
        mixes, kept_back = _mixes(recipe, settings, server, questions, answers)
        keys = {task: _key(settings, server, mix, recipe.seed) for task, mix in mixes.items()}
        missing = [task for task, key in keys.items() if key not in known]
        if missing and how.replay:
            raise UserError(f"{CAPACITY} has no arm {server.arm}, and --replay asks nobody. Run without --replay.")
        if missing:
            if not _is_here(server):
                mine = {q.item for task in missing for q in mixes[task]}
                sent = [(i, p) for i, p in questions if i.id in mine]
                egress.agree(_plan(recipe, settings, server, sent), recipe, how)
            with (
                egress.guard(recipe, how, inside=_is_here(server)) as guard,
                _budgeted(server),
                _target(server, base, out, guard, how) as target,
            ):
                for task in missing:
                    row = _one(settings, target, mixes[task], recipe.seed, how)
                    known[keys[task]] = {"task": task, "arm": server.arm, "key": keys[task], **row, **_where(server)}
                    artifacts.write_text(draft, json.dumps(list(known.values()), indent=1))
        receipts += _receipt(recipe, server, kept_back, how)
        rows += [known[key] for key in keys.values()]
    artifacts.write_text(out / CAPACITY, json.dumps(rows, indent=1))
    return receipts


def plans(recipe: Recipe, asked: Callable[[str, bool], egress.Asked]) -> list[egress.Plan]:
    """What servers on other machines would be sent at most, where every item has an answer whose length can be asked for."""
    settings = recipe.evaluation.load
    made = []
    for server in settings.servers if settings is not None else ():
        if settings is not None and not _is_here(server):
            chosen = [(i, p) for i, p in asked(server.arm, True) if not settings.tasks or i.task in settings.tasks]
            made.append(_plan(recipe, settings, server, chosen))
    return made


def gates(rows: Sequence[dict[str, Any]], candidate: str, tasks: Collection[str]) -> list[Gate]:
    """The candidate's service level in these tasks; what a stand-in kept says nothing of it.

    measured: the 95th percentile over its bound, the criterion that comes nearest to it, at the highest rate inside the level.
    """
    found = []
    for row in rows:
        if row["arm"] != candidate or row["task"] not in tasks or row["stand_in"]:
            continue
        level = ", ".join(f"{k} {v:g}" for k, v in row["slo_p95_ms"].items())
        rate, kept = row["requests_per_second"], _keeps_level(row)
        where = f"Service level of {row['task']} (p95: {level}) on {row['machine']}"
        if kept:
            told = f"{where}: kept at {rate:.3g} requests a second a replica."
        else:
            told = f"{where}: {'missed at every rate' if kept is False else 'at no rate known to be kept'}; {row['reason']}."
        found.append(Gate(f"service level, {row['task']}", _nearest(row, rate), 1.0, kept, told))
    return found


def _keeps_level(row: dict[str, Any]) -> bool | None:
    found: bool | None = row.get("keeps_level", True if row["requests_per_second"] is not None else None)
    return found  # an earlier version wrote no more than the rate


def _nearest(row: dict[str, Any], rate: float | None) -> float | None:
    here = [r for r in row["rates"] if rate is not None and r["requests_per_second"] == rate and not r["fault"]]
    seen = [(r[name]["p95"], bound) for r in here for name, bound in row["slo_p95_ms"].items()]
    return max((p["value"] / bound for p, bound in seen if p and p["value"] is not None), default=None)


def who(server: LoadServer) -> str:
    return f"evaluate: load of arm {server.arm}"


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file such as capacity.json; none where it is missing."""
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return rows


def _mixes(
    recipe: Recipe, settings: Load, server: LoadServer, asked: egress.Asked, answers: Answers
) -> tuple[dict[str, list[Question]], dict[str, str]]:
    """Task → its prompts with the measured answer lengths; item → why it is left out, where the server is elsewhere."""
    known = {item.task for item, _ in asked}
    unknown = sorted(set(settings.tasks) - known)
    if unknown:
        raise UserError(f"evaluation.load.tasks has {unknown[0]!r}; the test set has {', '.join(sorted(known))}.")
    rules, kept_back = egress.policy(recipe), dict[str, str]()
    found: dict[str, list[Question]] = {}
    for item, prompt in asked:
        if settings.tasks and item.task not in settings.tasks:
            continue
        kinds = kinds_in(prompt)
        reason = None if _is_here(server) else rules.reason_to_keep_back(item.sensitivity, kinds)
        answer = answers.get((server.arm, item.id))
        if reason is not None:
            kept_back[item.id] = reason
        elif answer is not None and answer.completion_tokens:
            found.setdefault(item.task, []).append(Question(prompt, answer.completion_tokens, item.id, kinds))
    for task in settings.tasks or sorted(known):
        if task not in found:
            raise UserError(
                f"evaluation.load: arm {server.arm} has no answer of task {task} whose tokens were counted and whose prompt may"
                f" go to {_url(server)}, so its load is not known. Leave {task} out of evaluation.load.tasks."
            )
    return dict(sorted(found.items())), kept_back


def _url(server: LoadServer) -> str:
    return server.base_url or "http://127.0.0.1"


def _is_here(server: LoadServer) -> bool:
    return egress.is_here(_url(server))


def _key(settings: Load, server: LoadServer, mix: list[Question], seed: int) -> str:
    how = settings.model_dump(mode="json", exclude={"servers", "tasks"})
    asked = [(q.messages, q.tokens) for q in mix]
    return artifacts.digest([how, server.model_dump(mode="json", exclude={"price_as", "price"}), asked, seed])


def _plan(recipe: Recipe, settings: Load, server: LoadServer, asked: egress.Asked) -> egress.Plan:
    """What a server would be sent at most by these items' load."""
    rules = egress.policy(recipe)
    sent = Counter(i.task for i, p in asked if rules.reason_to_keep_back(i.sensitivity, kinds_in(p)) is None)
    most = load.most_requests(_load_plan(settings, recipe.seed), timeout_s=server.timeout_s)
    made = egress.plan(
        recipe, who(server), _url(server), server.model or "", asked, set(), _prices(server),
        recipe.evaluation.max_new_tokens, rounds=lambda i: -(-(most or 1) // sent[i.task]),
        section=SECTION, key_env=server.api_key_env,
    )  # fmt: skip
    if most is None:
        rounds = (
            f"again and again, as fast as the service level lets it, for up to {settings.max_minutes:g} minutes a task"
        )
        return replace(made, requests=None, note=f"{rounds}; bytes, tokens and money are of one round")
    return replace(made, requests=most * len(sent), at_most=True, note="and probes of one token between the runs")


def _prices(server: LoadServer) -> Book:
    return egress.prices_of(server, SECTION)


@contextmanager
def _budgeted(server: LoadServer) -> Iterator[None]:
    try:
        yield
    except BudgetError as e:
        raise UserError(
            f"load of arm {server.arm}: {e}, and the next run might cost more than is left. The tasks measured so far are"
            " kept; raise --budget-usd, or lower evaluation.load.seconds, and run the same command to go on."
        ) from e


@contextmanager
def _target(server: LoadServer, base: Callable[[], Base], out: Path, guard: Guard, how: How) -> Iterator[Server]:
    purpose = _purpose(server)
    if server.base_url is not None:
        key = egress.key_of(server.api_key_env, SECTION)
        yield Server(
            server.base_url.rstrip("/"), server.model or "", key, server.timeout_s, server.pin_lengths, guard, purpose,
            _prices(server),
        )  # fmt: skip
        return
    from pipelines.serving.loopback import serve

    how.on_event(f"evaluate: load of arm {server.arm} on a STAND-IN: the untuned base model on a loopback server")
    with serve(base().folder, out / artifacts.KEYED / "load.log") as served:
        yield Server(served.base_url, served.model, "none", server.timeout_s, False, guard, purpose)


def _one(settings: Load, target: Server, mix: list[Question], seed: int, how: How) -> dict[str, Any]:
    slo, plan = Slo(**settings.p95.model_dump()), _load_plan(settings, seed)

    def tell(run: Run) -> None:
        failed = sum(t.error is not None for t in run.timings)
        ended = [t.latency_ms for t in run.timings if t.latency_ms is not None]
        middle = f"median {statistics.median(ended):.0f} ms" if ended else "no answers"
        how.on_event(
            f"load: {run.rate:.3g} requests a second: {len(run.timings)} of {run.planned} ended, {failed} failed, {middle}"
            f"{f'; {run.fault}' if run.fault else ''}"
        )

    found, idle = load.capacity(target, mix, slo, plan, on_run=tell)
    if found.requests_per_second is not None:
        how.on_event(f"load: {found.requests_per_second:.3g} requests a second keep the service level")
    return {**load.record(found, idle, slo, plan, mix), "measured": datetime.now(UTC).isoformat(timespec="seconds")}


def _load_plan(settings: Load, seed: int) -> Plan:
    return Plan(
        seconds=settings.seconds, warm_up_s=settings.warm_up_s, seed=seed, rates=settings.rates, repeats=settings.repeats,
        precision=settings.precision, max_minutes=settings.max_minutes, max_late_ms=settings.max_late_ms,
    )  # fmt: skip


def _where(server: LoadServer) -> dict[str, Any]:
    return {
        "machine": server.machine,
        "server": server.base_url or "stand-in: transformers serve on loopback, untuned base model",
        "model": server.model,
        "stand_in": server.base_url is None,
    }


def _purpose(server: LoadServer) -> str:
    return f"{PURPOSE}: {server.arm}"


def _receipt(recipe: Recipe, server: LoadServer, kept_back: dict[str, str], how: How) -> list[dict[str, Any]]:
    """From the ledger, which holds earlier commands as well; none where nothing was sent or kept back."""
    with egress.guard(recipe, how) as guard:
        sent = guard.about(_purpose(server))
        sent.kept_back.update(kept_back)
        return [{**sent.receipt(), "stand_in": _is_here(server)}] if sent.requests or kept_back else []
