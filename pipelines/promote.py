"""`freehold promote`, `rollback`, `status`: only a passing decision about exactly this adapter, dataset and recipe is served.

Order: decision checked → version registered → target proves and moves its alias → registry alias `champion` moves. A crash
in between leaves the old version serving; the same command goes on.

Where the verdict is to stay on the API, `promote --api` points `champion` at the API's entry: whoever asks the registry what
answers in production is told. No serving target is touched, since none of them serves an API.
"""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_prep import plugins
from data_prep.records import UserError
from evaluation.egress import Guard
from pipelines import artifacts, egress, recipe_file, stages
from pipelines.recipe import Promotion, Recipe
from pipelines.stages import How

API = "api"  # in the place of a serving target, where the API answers in production


class GateRefused(UserError):
    """The decision does not allow promotion: exit code 3 (undecided) or 4 (rejected)."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def promote(recipe: Recipe, how: How, *, override: str | None) -> dict[str, Any]:
    """Serve the adapter on the recipe's target. Returns the record of what was done."""
    settings = promotion_settings(recipe)
    with artifacts.locked(recipe.run_folder):
        adapter = artifacts.need(stages.folder(recipe, "train"), "train")
        if adapter.facts.get("canaries") is not None:  # no override: nobody's customers are served by a planted model
            raise GateRefused(
                "not promoted: this adapter was trained with canaries, for the leak audit alone."
                " Remove privacy.canaries from the recipe and run `freehold run` again.",
                4,
            )
        decision = _decision(recipe, override)
        artifacts.verify(stages.folder(recipe, "train"), adapter)
        from pipelines.tracking import tracked_stage

        inputs = {"decision": decision.content_sha256, "adapter": adapter.content_sha256}
        with (
            egress.guard(recipe, how) as guard,
            tracked_stage(recipe, how.recipe_path, "promote", inputs) as tracked,
        ):
            model_id = tracked.model_id(adapter.content_sha256)
            if _refusal(recipe, decision) is None:
                override = None  # nothing was overridden
            tags = {
                "freehold.adapter_sha256": adapter.content_sha256,
                "freehold.dataset_sha256": adapter.inputs["dataset"],
                "freehold.decision_sha256": decision.content_sha256,
                "freehold.verdict": decision.facts["verdict"],
                **({"freehold.override": override} if override else {}),
            }
            source = stages.folder(recipe, "train")
            version = tracked.register(settings.alias, model_id, source.as_uri(), tags, adapter.content_sha256)
            candidate = _candidate(recipe, settings, adapter, guard)
            options = recipe_file.options("pipelines.targets", settings.target.kind, settings.target.options)
            how.on_event(f"promote: {candidate.name} to {settings.target.kind}")
            checks = plugins.load("pipelines.targets", settings.target.kind, "promote")(candidate, **options)
            tracked.set_alias(settings.alias, "champion", version)
            record = _record(
                "promoted", recipe, settings.alias, candidate.name, settings.target.kind, checks,
                decision.facts["verdict"], override,
            )  # fmt: skip
            record |= {"registry_version": version, "registry_key": adapter.content_sha256}
            _remember(recipe, record)
            tracked.params({"alias": settings.alias, "version": candidate.name, "target": settings.target.kind})
            tracked.artifact(_folder(recipe) / "promotion.json")
        return record


def promote_api(recipe: Recipe, how: How) -> dict[str, Any]:
    """Point the registry's alias at the API that the decision keeps. Returns the record of what was done."""
    settings, arm = promotion_settings(recipe), recipe.decision.baseline
    api = recipe.evaluation.endpoint(arm)
    if api is None or api.is_stand_in:
        what = "no API" if api is None else "a stand-in on this machine, which serves nobody"
        raise UserError(f"decision.baseline {arm!r} is {what}; only an API with a base_url can be the champion.")
    with artifacts.locked(recipe.run_folder):
        decision = _current_decision(recipe)
        verdict = _recommended(decision)
        if verdict == "self_host":
            raise UserError(
                "the decision is self_host: the tuned model may take over. Run `freehold promote` without --api."
            )
        from pipelines import evaluate
        from pipelines.tracking import tracked_stage

        inputs = {"decision": decision.content_sha256, "api": arm}
        with tracked_stage(recipe, how.recipe_path, "promote", inputs) as tracked:
            key = evaluate.model_key(arm, api)
            tags = {"freehold.decision_sha256": decision.content_sha256, "freehold.verdict": verdict}
            version = tracked.register(settings.alias, tracked.model_id(key), key, tags, key)
            tracked.set_alias(settings.alias, "champion", version)
            name = f"{settings.alias}@{api.model}"
            checks = [
                f"registry: {settings.alias} champion is version {version}, {api.model} at {evaluate.address(api)}"
            ]
            checks += _untouched(_current(recipe))
            record = _record("stays on the API:", recipe, settings.alias, name, API, checks, verdict, None)
            record |= {"registry_version": version, "registry_key": key}
            _remember(recipe, record)
            tracked.params({"alias": settings.alias, "version": name, "target": API})
            tracked.artifact(_folder(recipe) / "promotion.json")
        return record


def rollback(recipe: Recipe, how: How) -> dict[str, Any]:
    """Point the alias back at the version that served before the current one; repeated after a failure, to the same one."""
    settings = promotion_settings(recipe)
    with artifacts.locked(recipe.run_folder):
        current = _current(recipe)
        if current is None or not current.get("previous"):
            raise UserError("there is nothing to roll back to: no earlier version was promoted from this run folder.")
        if current["alias"] != settings.alias:
            raise UserError(
                f"promotion.alias is {settings.alias}, and {current['name']} was promoted last as {current['alias']}."
                f" Set it back to {current['alias']} to roll that back, or promote as {settings.alias}."
            )
        from pipelines.tracking import Store, shown

        store = Store(recipe)  # before anything moves: where the registry cannot be reached, nothing does
        earlier = next(h for h in reversed(_history(recipe)) if h["name"] == current["previous"])
        registered = {k: earlier[k] for k in ("registry_version", "registry_key") if k in earlier}
        key = registered.get("registry_key")  # an earlier version of this package wrote none
        if key is not None and not store.has_version(settings.alias, key, registered["registry_version"]):
            raise UserError(
                f"{earlier['name']} was registered in another MLflow store than {shown(store.uri)}. Nothing was moved."
                " Set MLFLOW_TRACKING_URI to the store that has it, or promote it here again."
            )
        how.on_event(f"rollback: {current['name']} to {current['previous']}")
        if earlier["target"] == API:
            checks = _untouched(current)
        else:
            options = recipe_file.options("pipelines.targets", settings.target.kind, settings.target.options)
            undo = plugins.load("pipelines.targets", settings.target.kind, "rollback")
            with egress.guard(recipe, how) as guard:
                checks = undo(settings.alias, current["previous"], guard, **options)
        store.set_alias(settings.alias, "champion", earlier["registry_version"])
        record = _record(
            "rolled back to", recipe, settings.alias, earlier["name"], earlier["target"], checks, earlier["verdict"],
            earlier.get("override"),
        )  # fmt: skip
        record |= registered
        _remember(recipe, record)
        return record


def status(recipe: Recipe) -> dict[str, Any]:
    """Which stages are finished, and what serves. Reads files only."""
    listed = []
    for name in stages.ORDER:
        manifest = artifacts.read_manifest(stages.folder(recipe, name))
        partial = stages.folder(recipe, name).with_name(stages.FOLDERS[name] + ".partial").exists()
        state = "finished" if manifest else "unfinished, the same command goes on" if partial else "not begun"
        listed.append({"stage": name, "state": state, "content_sha256": manifest.content_sha256 if manifest else None})
    return {"recipe": recipe.name, "stages": listed, "serving": _current(recipe)}


def promotion_settings(recipe: Recipe) -> Promotion:
    """The recipe's section `promotion`. Raises UserError where there is none."""
    if recipe.promotion is None:
        raise UserError(
            "the recipe has no section `promotion`, so it says neither where to serve nor under which alias. Add, for example,"
            " `promotion: {alias: my-model, target: {kind: directory, options: {path: served}}}`; `kind: vllm` loads it on"
            " running servers."
        )
    return recipe.promotion


def stand_in_refused(recipe: Recipe) -> GateRefused | None:
    """Where the candidate would take the place of an API that nobody asked."""
    api = recipe.evaluation.endpoint(recipe.decision.baseline)
    if api is None or not api.is_stand_in:
        return None
    return GateRefused(
        "not promoted: decision.baseline is a stand-in for the API, so no verdict here says anything about an API."
        " Set evaluation.api.base_url and model, or name another baseline; `freehold promote --override REASON` serves the"
        " model all the same.",
        4,
    )


def _decision(recipe: Recipe, override: str | None) -> artifacts.Manifest:
    """The decision's manifest, if it passes and is about what is on disk now."""
    decision = _current_decision(recipe)
    refusal = _refusal(recipe, decision)
    if refusal is not None and override is None:
        raise refusal
    return decision


def _refusal(recipe: Recipe, decision: artifacts.Manifest) -> GateRefused | None:
    """Why the decision keeps the adapter from being served; None where it does not."""
    verdict = decision.facts["verdict"]
    if verdict == "self_host" == _recommended(decision):
        return stand_in_refused(recipe)
    stored = json.loads((stages.folder(recipe, "decide") / "decision.json").read_text())
    if verdict != "self_host":
        return GateRefused(
            f"not promoted, the decision is {verdict}: {stored['sentence']}", 3 if verdict == "undecided" else 4
        )
    return GateRefused(
        f"not promoted. {stored['advice']} `freehold promote --override REASON` serves the model all the same.", 4
    )


def _recommended(decision: artifacts.Manifest) -> str:
    """The verdict with money in it; an earlier version wrote the verdict alone."""
    return str(decision.facts.get("recommended", decision.facts["verdict"]))


def _current_decision(recipe: Recipe) -> artifacts.Manifest:
    """The decision's manifest, if it and its report are about the recipe and what is on disk now."""
    folder, asked = stages.folder(recipe, "decide"), stages.folder(recipe, "evaluate")
    decision = artifacts.need(folder, "decide")
    artifacts.verify(folder, decision)
    from pipelines import decide, evaluate

    report = artifacts.need(asked, "evaluate")
    if other := artifacts.differing(report.inputs, evaluate.inputs(recipe)):
        raise UserError(
            f"{asked}: was made from something else than the recipe and this run folder are now: {other} differs."
            " Run `freehold evaluate RECIPE` again, then `freehold decide RECIPE`; `freehold run RECIPE` does both, and trains"
            " again where that is needed."
        )
    if (other := artifacts.differing(decision.inputs, decide.inputs(recipe))) == "warnings":
        raise UserError(
            f"{folder}: other prices are stale or announced than when it was decided. Run `freehold decide RECIPE` again and read it."
        )
    if other:
        raise UserError(
            f"{folder}: was made for another {other}. Run `freehold run RECIPE` again; a decision belongs to one adapter."
        )
    return decision


def _candidate(recipe: Recipe, settings: Promotion, adapter: artifacts.Manifest, guard: Guard) -> Any:
    from pipelines.serving import golden, parity
    from pipelines.serving.candidate import Candidate
    from pipelines.training import base

    work = _folder(recipe)
    work.mkdir(parents=True, exist_ok=True)
    recorded = tuple(golden.load(stages.folder(recipe, "evaluate") / "golden.jsonl"))
    return Candidate(
        alias=settings.alias,
        name=f"{settings.alias}@{adapter.content_sha256[:12]}",
        adapter=stages.folder(recipe, "train"),
        base=base.materialise(recipe),
        golden=recorded,
        logprob_tolerance=settings.logprob_tolerance or parity.tolerance_of(recorded),
        work=work,
        guard=guard,
        previous=_there(recipe, settings),
    )


def _there(recipe: Recipe, settings: Promotion) -> str | None:
    """The version that the alias points at on the target: the last that went there. An API's entry is on no target."""
    here = [h for h in _history(recipe) if (h["alias"], h["target"]) == (settings.alias, settings.target.kind)]
    return str(here[-1]["name"]) if here else None


def _folder(recipe: Recipe) -> Path:
    return stages.folder(recipe, "promote")


def _record(
    action: str,
    recipe: Recipe,
    alias: str,
    name: str,
    target: str,
    checks: list[str],
    verdict: str,
    override: str | None,
) -> dict[str, Any]:
    current = _current(recipe)
    if current is not None and current["alias"] != alias:
        current = None  # another alias, which goes on serving what it does
    previous = current["name"] if current and current["name"] != name else current.get("previous") if current else None
    return {
        "action": action,
        "alias": alias,
        "name": name,
        "previous": previous,
        "target": target,
        "checks": checks,
        "verdict": verdict,
        "override": override,
        "who": getpass.getuser(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _untouched(current: dict[str, Any] | None) -> list[str]:
    """What the alias leaves behind where it goes to the API: the adapter that still runs on its target, if one does."""
    if current is None or current["target"] == API:
        return []
    return [f"{current['target']}: not touched, {current['name']} still runs there"]


def _remember(recipe: Recipe, record: dict[str, Any]) -> None:
    folder = _folder(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "history.jsonl").open("a") as f:
        f.write(json.dumps(record) + "\n")
    artifacts.write_text(folder / "promotion.json", json.dumps(record, indent=1))


def _current(recipe: Recipe) -> dict[str, Any] | None:
    path = _folder(recipe) / "promotion.json"
    return json.loads(path.read_text()) if path.exists() else None


def _history(recipe: Recipe) -> list[dict[str, Any]]:
    path = _folder(recipe) / "history.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
