"""The verbs. Imports nothing heavy: `freehold check` answers in a fraction of a second.

Results go to stdout (one JSON object with --json), everything else to stderr. Exit codes: 0 done or promote, 2 the user's
mistake, 3 undecided, 4 the tuned model is not to be served or a leak was found, 1 our bug.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer

from data_prep.records import UserError

EXIT_USER, EXIT_UNDECIDED, EXIT_REJECTED = 2, 3, 4

app = typer.Typer(
    name="freehold",
    help="Own your model: documents and tickets to a LoRA-tuned open model, judged against the managed API, promoted with proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe file; see recipes/.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, logs on stderr.")]
Replay = Annotated[
    bool,
    typer.Option(
        "--replay",
        help="Only stored answers: asks nobody, and refuses every socket to another machine as --offline does.",
    ),
]


def _usd(text: str) -> Decimal:
    """A positive amount of money."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(0)
    if not amount.is_finite() or amount <= 0:
        raise typer.BadParameter(f"{text!r} is no amount of US dollars above 0, such as 2.50")
    return amount


Offline = Annotated[
    bool, typer.Option("--offline", help="Refuse every socket to another machine, in workers as well, and count them.")
]
Yes = Annotated[
    bool, typer.Option("--yes", help="Send what the plan says; without it no server elsewhere is asked anything.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent, where, and what it may cost.")]
Budget = Annotated[
    Decimal | None,
    typer.Option(
        "--budget-usd", parser=_usd, metavar="USD", help="Hard stop over all that this run folder ever spends."
    ),
]


# Libraries talk of their own progress and of what they will change one day; a user of this command can act on neither.
QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "PYTHONWARNINGS": "ignore::FutureWarning",
    "TOKENIZERS_PARALLELISM": "false",
}


def main() -> None:
    """The console script."""
    guarded(app)


def guarded(program: Callable[[], object]) -> None:
    """Run, and turn the user's mistakes into one message and exit code 2. Our own bugs keep their traceback."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    warnings.simplefilter("ignore", FutureWarning)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
    for noisy in ("httpx2", "httpx", "openai", "mlflow", "alembic", "datasets", "transformers", "accelerate", "trl"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # offers a kernel package that needs the hub
    try:
        program()
    except UserError as e:
        _refuse(str(e), e.exit_code)
    except OSError as e:
        if e.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        _refuse(
            f"{e.filename or 'writing'}: {e.strerror}. Nothing finished was lost; make room or choose another"
            " `workdir`, and run the same command again."
        )
    except KeyboardInterrupt:
        sys.stderr.write("stopped; run the same command to go on\n")
        raise SystemExit(130) from None


def _refuse(message: str, exit_code: int = EXIT_USER) -> None:
    if os.environ.get("FREEHOLD_REFUSED"):  # a launched training process: the launcher would swallow the exit code
        Path(os.environ["FREEHOLD_REFUSED"]).write_text(message)
    sys.stderr.write(f"freehold: {message}\n")
    raise SystemExit(exit_code) from None


def _load(path: Path) -> Any:
    from pipelines import recipe_file

    return recipe_file.load(path)


def _say(result: dict[str, Any], lines: list[str], as_json: bool) -> None:
    print(json.dumps(result, default=str) if as_json else "\n".join(lines))


@app.command()
def scan(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Exports and folders, as they are.")],
    write: Annotated[
        Path | None, typer.Option("--write", metavar="RECIPE", help="Write a starter recipe that `check` accepts.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the same as one page.")] = None,
    price_as: Annotated[
        list[str] | None,
        typer.Option("--price-as", metavar="PROVIDER/MODEL", help="API to price, by genai-prices' ids."),
    ] = None,
    gpu_usd_per_hour: Annotated[
        float | None, typer.Option("--gpu-usd-per-hour", min=0.001, help="Price of the GPU you would rent.")
    ] = None,
    json_: Json = False,
) -> None:
    """What is in these exports and folders: no recipe, no model, about a minute. Counts, never values."""
    from datetime import UTC, datetime
    from decimal import Decimal

    from evaluation import outlook
    from pipelines import report_lines, starter
    from pipelines import scan as scanning

    now = datetime.now(UTC)
    gpus = [("your GPU", Decimal(str(gpu_usd_per_hour)))] if gpu_usd_per_hour else list(outlook.GPUS)
    models = [_provider_and_model(p) for p in price_as] if price_as else list(outlook.MODELS)
    found = scanning.scan(paths, models=models, gpus=gpus, now=now)
    lines, result = report_lines.scanned(found), found.as_dict()
    if write is not None:
        starter.write(found, write, today=now.date())
        result["recipe"] = str(write)
        lines.append(f"next: freehold check {write}")
    if html is not None:
        from evaluation.report import scan as page

        html.write_text(page.render(result, week=found.survey.hours), encoding="utf-8")
        result["page"] = str(html)
        lines.append(f"page: {html}")
    _say(result, lines, json_)


def _provider_and_model(text: str) -> tuple[str, str]:
    provider, slash, model = text.partition("/")
    if not (provider and slash and model):
        raise UserError(
            f"--price-as {text!r}: write PROVIDER/MODEL with genai-prices' ids, such as openai/gpt-4o-mini."
        )
    return provider, model


@app.command()
def forget(
    subject: Annotated[str, typer.Argument(help="E-mail address, id in a source, surrogate, or hash.")],
    runs: Annotated[Path, typer.Option("--runs", help="Folder of the run folders.")] = Path("runs"),
    execute: Annotated[
        bool, typer.Option("--execute", help="Write the tombstone, rebuild, mark the adapters, certify.")
    ] = False,
    json_: Json = False,
) -> None:
    """Every record, row, dataset, adapter and served alias that came from a person. Changes nothing without --execute."""
    from dataclasses import asdict

    from pipelines import forget as forgetting
    from pipelines import report_lines, stages

    how = stages.How(Path())
    listed = (asdict(traces) for _, _, traces in forgetting.find(subject, runs))
    found = forgetting.execute(subject, runs, how) if execute else list(listed)
    _say({"found": found, "executed": execute}, report_lines.forgotten(found, executed=execute), json_)


@app.command()
def check(recipe: RecipePath, json_: Json = False) -> None:
    """Validate a recipe: all mistakes at once, with file and line."""
    loaded = _load(recipe)
    tasks = [t.kind for t in loaded.tasks]
    named = [(f"source {s.name}", s.path) for s in loaded.sources] + [("model", loaded.model.path)]
    missing = [f"{what}: {path}" for what, path in named if path is not None and not path.exists()]
    _say(
        {"recipe": str(recipe), "valid": True, "name": loaded.name, "tasks": tasks, "arms": loaded.evaluation.arms, "missing": missing},
        [f"{recipe}: valid; {len(loaded.sources)} sources, tasks {', '.join(tasks)}, arms {', '.join(loaded.evaluation.arms)}",
         *(f"  not there yet: {m}" for m in missing),
         f"next: freehold run {recipe}"],
        json_,
    )  # fmt: skip


@app.command()
def settings() -> None:
    """Print every recipe setting with its default and meaning, as Markdown."""
    from pipelines.recipe_file import reference

    print(reference())


def _stage(name: str, path: Path, **how: Any) -> Any:
    from pipelines import stages

    if not (how.get("offline") or how.get("replay")):
        return stages.run(name, _load(path), stages.How(path, **how))
    from pipelines import egress

    loaded, chosen = _load(path), stages.How(path, **how)
    with egress.offline_proof(loaded, chosen):
        return stages.run(name, loaded, chosen)


def _dry_run(verb: str, path: Path, as_json: bool, **how: Any) -> None:
    """Say what teacher, API arm, judge and load test would be sent, and what it may cost."""
    from pipelines import evaluate as evaluation
    from pipelines import prepare as preparation
    from pipelines import stages, tracking

    loaded, plans = _load(path), []
    if verb in ("prepare", "run"):
        plans += preparation.dry_run(loaded)
    if verb == "evaluate" or (verb == "run" and preparation.is_done(loaded)):
        plans += evaluation.dry_run(loaded, stages.How(path, **how))
    elif verb == "run":
        plans += evaluation.would_ask(loaded)
    lines, store = [str(p) for p in plans], tracking.elsewhere(loaded)
    if store is not None:
        lines.append(
            f"MLflow at {store}: the recipe, settings, metrics, ids of items with their scores, the adapter, the report's page"
            " with some masked questions and answers of rows that are not local_only"
        )
    leaves = store is not None or any(p.leaves for p in plans)
    lines += [] if leaves else ["nothing would leave this machine"]
    result = {"plans": [p.as_dict() for p in plans], "tracking": store, "leaves": leaves, "sent": False}
    _say(result, [*lines, "dry run: nothing was sent"], as_json)


def _report(outcome: Any, lines: list[str], as_json: bool) -> None:
    state = "unchanged" if outcome.skipped else "done"
    result = {
        "stage": outcome.stage, "state": state, "folder": str(outcome.folder),
        "content_sha256": outcome.manifest.content_sha256, "counts": outcome.manifest.counts,
    }  # fmt: skip
    _say(result, [f"{outcome.stage}: {state}, {outcome.folder}", *lines], as_json)


@app.command()
def prepare(
    recipe: RecipePath,
    offline: Offline = False,
    dry_run: DryRun = False,
    budget_usd: Budget = None,
    yes: Yes = False,
    json_: Json = False,
) -> None:
    """Documents and tickets to the dataset."""
    from pipelines import report_lines

    if dry_run:
        _dry_run("prepare", recipe, json_)
        return
    outcome = _stage("prepare", recipe, offline=offline, budget_usd=budget_usd, yes=yes)
    _report(outcome, [*report_lines.prepared(outcome.manifest), f"next: freehold train {recipe}"], json_)


@app.command()
def train(recipe: RecipePath, json_: Json = False) -> None:
    """Tune the adapter, through accelerate launch."""
    from pipelines import report_lines

    outcome = _stage("train", recipe)
    _report(outcome, [*report_lines.trained(outcome.manifest), f"next: freehold evaluate {recipe}"], json_)


@app.command()
def evaluate(
    recipe: RecipePath,
    replay: Replay = False,
    offline: Offline = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    budget_usd: Budget = None,
    json_: Json = False,
) -> None:
    """Ask every arm the held-out items."""
    from pipelines import report_lines

    if dry_run:
        _dry_run("evaluate", recipe, json_, replay=replay)
        return
    outcome = _stage("evaluate", recipe, replay=replay, offline=offline, budget_usd=budget_usd, yes=yes)
    _report(outcome, [*report_lines.evaluated(outcome.folder), f"next: freehold decide {recipe}"], json_)


@app.command()
def review(
    recipe: RecipePath,
    read: Annotated[
        list[Path] | None,
        typer.Option("--read", metavar="FILE", help="A filled sheet, CSV or JSON; again for each further reviewer."),
    ] = None,
    json_: Json = False,
) -> None:
    """A blind sheet of disputed answers for people; with --read their verdicts, which calibrate the judge."""
    from pipelines import report_lines
    from pipelines import review as reviewing

    loaded = _load(recipe)
    found = reviewing.read(loaded, read) if read else reviewing.write(loaded)
    following = f"decide {recipe}" if read else f"review {recipe} --read FILE"
    _say(found, [*report_lines.reviewed(found), f"next: freehold {following}"], json_)


@app.command()
def decide(recipe: RecipePath, json_: Json = False) -> None:
    """The verdict, from the stored report alone. Exit code 0, 3 (undecided) or 4 (not to be served)."""
    from pipelines import report_lines

    outcome = _stage("decide", recipe)
    decision = json.loads((outcome.folder / "decision.json").read_text())
    lines = report_lines.decided(outcome.folder, decision)
    _say({"stage": "decide", "folder": str(outcome.folder), **decision}, lines, json_)
    raise SystemExit(_exit_code(decision))


def _exit_code(decision: dict[str, Any]) -> int:
    return {"self_host": 0, "undecided": EXIT_UNDECIDED}.get(decision["recommended"], EXIT_REJECTED)


@app.command()
def run(
    recipe: RecipePath,
    promote: Annotated[bool, typer.Option("--promote", help="Go on to promotion when the gate passes.")] = False,
    replay: Replay = False,
    offline: Offline = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    budget_usd: Budget = None,
    json_: Json = False,
) -> None:
    """All stages up to the decision; finished ones are kept."""
    if dry_run:
        _dry_run("run", recipe, json_, replay=replay)
        return
    how = {"replay": replay, "offline": offline, "budget_usd": budget_usd, "yes": yes}
    _run(recipe, promote=promote, override=None, as_json=json_, **how)


def _run(path: Path, *, promote: bool, override: str | None, as_json: bool, **chosen: Any) -> None:
    from pipelines import egress, report_lines, stages
    from pipelines import evaluate as evaluation
    from pipelines.tracking import shown, tracking_uri

    loaded = _load(path)
    how = stages.How(path, **chosen)
    egress.check_prices(loaded)
    if promote:
        from pipelines.promote import promotion_settings, stand_in_refused

        promotion_settings(loaded)  # before hours of training
        if override is None and (refused := stand_in_refused(loaded)) is not None:
            raise refused
    with egress.offline_proof(loaded, how):
        for name in stages.ORDER:
            if name == "train":
                evaluation.ask_leave(loaded, how)
            outcome = stages.run(name, loaded, how)
    decision = json.loads((outcome.folder / "decision.json").read_text())
    lines = [
        *report_lines.evaluated(
            stages.folder(loaded, "evaluate"), json.loads((outcome.folder / "economics.json").read_text())
        ),
        *report_lines.decided(outcome.folder, decision),
    ]
    result = {"stage": "decide", "folder": str(outcome.folder), **decision}
    if promote and (decision["recommended"] == "self_host" or override):
        from pipelines import promote as promotion

        try:
            done = promotion.promote(loaded, how, override=override)
        except UserError:
            _say(result, lines, as_json)  # the verdict stands, wherever the model could not be put
            raise
        result["promotion"] = done
        lines += report_lines.promoted(done)
    uri = shown(tracking_uri(loaded))
    lines.append(f"runs:   {uri}" if uri.startswith("http") else f"runs:   mlflow ui --backend-store-uri {uri}")
    _say(result, lines, as_json)
    raise SystemExit(0 if override and promote else _exit_code(decision))


@app.command()
def promote(
    recipe: RecipePath,
    override: Annotated[
        str | None, typer.Option(help="Promote without a passing decision; the reason is recorded.")
    ] = None,
    api: Annotated[
        bool, typer.Option("--api", help="Where the decision is to stay: point the registry's alias at the API.")
    ] = False,
    json_: Json = False,
) -> None:
    """Put the adapter on its serving target, prove it there, then move the alias."""
    from pipelines import promote as promotion
    from pipelines import report_lines, stages

    if api and override:
        raise UserError("--api needs no reason: leave --override out.")
    loaded, how = _load(recipe), stages.How(recipe)
    done = promotion.promote_api(loaded, how) if api else promotion.promote(loaded, how, override=override)
    _say(done, report_lines.promoted(done), json_)


@app.command()
def rollback(recipe: RecipePath, json_: Json = False) -> None:
    """Back to the version that served before."""
    from pipelines import promote as promotion
    from pipelines import report_lines, stages

    done = promotion.rollback(_load(recipe), stages.How(recipe))
    _say(done, report_lines.promoted(done), json_)


@app.command()
def status(recipe: RecipePath, json_: Json = False) -> None:
    """What is finished, what serves where, since when, from which run."""
    from pipelines import promote as promotion
    from pipelines import report_lines

    found = promotion.status(_load(recipe))
    _say(found, report_lines.status(found), json_)


DEMO = Path(__file__).parent.parent / "recipes" / "demo" / "demo.yaml"


@app.command()
def demo(
    api: Annotated[
        bool, typer.Option("--api", help="Ask a real API (OPENAI_API_KEY, OPENAI_BASE_URL) instead of the stand-in.")
    ] = False,
    json_: Json = False,
) -> None:
    """The whole way on an invented company: no GPU, no key, no network."""
    recipe = DEMO.with_name("demo-api.yaml") if api else DEMO
    if not recipe.exists():
        raise UserError(
            f"{recipe}: the demo's files are not here. Run from a checkout installed with `pip install -e .`"
        )
    _run(
        recipe,
        promote=True,
        override=None if api else "demo: shows promotion whatever the verdict",
        as_json=json_,
        yes=api,  # --api is the word
    )


if __name__ == "__main__":
    main()
