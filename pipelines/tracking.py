"""MLflow, and the only file that imports it. We own the runs: one parent a recipe run, a child a stage and an arm.

The stock callbacks open runs of their own, log no LoRA setting and end as FINISHED after a crash; so runs are made, resumed
and closed here through MlflowClient alone (no process-wide active run). Which run belongs to which inputs is remembered in
`tracking.json` of the run folder: a resumed command goes on in the same runs. Our own files are the truth, MLflow the sink.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from data_prep.records import UserError
from evaluation.egress import Policy
from evaluation.offline import is_loopback
from pipelines import artifacts
from pipelines.recipe import Recipe

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault(
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool"
)  # the default pool loses writes on sqlite under load
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
PAGES = ("report.html", "report.md")  # artifacts that show examples
GONE = "RESOURCE_DOES_NOT_EXIST"  # MLflow's code for what was deleted there
MAX_PARAM = 6000  # characters MLflow stores of a parameter


def _client(uri: str) -> Any:
    import mlflow
    from mlflow import MlflowClient

    mlflow.set_tracking_uri(
        uri
    )  # the registry looks LoggedModels up in the process-wide store, whatever the client's is
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def tracking_uri(recipe: Recipe) -> str:
    """`MLFLOW_TRACKING_URI`, else an SQLite file beside the run folders."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{recipe.run_folder.parent}/mlflow.db"


def is_elsewhere(uri: str) -> bool:
    """Does this store lie on another machine? A file or a database's own socket does not; a name we do not know does."""
    scheme, colon, _ = uri.partition(":")
    if not colon:
        return scheme.startswith("databricks")  # else a folder
    if scheme in ("file", "sqlite"):
        return urlsplit(uri).hostname not in (None, "localhost")
    host = urlsplit(uri).hostname
    is_database = scheme.partition("+")[0] in ("postgresql", "mysql", "mssql")
    return not (is_database and host is None) and not is_loopback(host or "")


def elsewhere(recipe: Recipe) -> str | None:
    """The store's address as it may be shown, where it is on another machine."""
    uri = tracking_uri(recipe)
    return shown(uri) if is_elsewhere(uri) else None


def refuse_elsewhere(recipe: Recipe, flag: str) -> None:
    """Raises UserError where the runs would be recorded on another machine, which `flag` forbids.

    Recording them nowhere instead would leave a result that no run stands behind, and nobody would know.
    """
    uri = elsewhere(recipe)
    if uri is not None:
        raise UserError(
            f"MLFLOW_TRACKING_URI is {uri}, on another machine, and {flag} reaches none. Nothing was done."
            f" Run the command with MLFLOW_TRACKING_URI= (empty; its runs then go to {recipe.run_folder.parent}/mlflow.db),"
            f" or without {flag}."
        )


@dataclass(slots=True)
class _State:
    """tracking.json: which MLflow runs belong to this run folder."""

    path: Path
    data: dict[str, Any]

    @classmethod
    def of(cls, recipe: Recipe) -> _State:
        path = recipe.run_folder / "tracking.json"
        return cls(path, json.loads(path.read_text()) if path.exists() else {})

    def save(self) -> None:
        artifacts.write_text(self.path, json.dumps(self.data, indent=1))


class Store:
    """The experiment, its runs and the registry of one recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self.uri = tracking_uri(recipe)
        self.recipe = recipe
        if is_elsewhere(self.uri):
            Policy(recipe.egress.destinations).check(shown(self.uri))
        recipe.run_folder.mkdir(parents=True, exist_ok=True)
        with _told(self.uri):
            self.client = _client(self.uri)
            self.experiment_id = self._experiment()
            self.state = _State.of(recipe)
            if self.state.data.get("uri") != (uri := shown(self.uri)):
                # the same store at another place (a moved folder, a renamed server) goes on; another store begins anew
                self.state.data = {
                    **(self.state.data if self._has(self.state.data.get("parent")) else _elsewhere(self.state.data)),
                    "uri": uri,
                }

    def _has(self, run_id: str | None) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return run_id is not None and bool(self.client.get_run(run_id))
        except MlflowException as e:
            if e.error_code != GONE:
                raise
            return False

    def _experiment(self) -> str:
        name = self.recipe.tracking.experiment or self.recipe.name
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        # sqlite without a server would put artifacts into whatever folder the command ran in
        local = self.uri.startswith("sqlite:")
        location = (self.recipe.run_folder.parent / "mlartifacts").as_uri() if local else None
        return str(self.client.create_experiment(name, artifact_location=location))

    def run(self, key: str, name: str, parent: str | None, tags: dict[str, str]) -> str:
        """The run remembered under `key`, set RUNNING again, or a new one."""
        from mlflow.exceptions import MlflowException

        known = self.state.data["runs"].get(key)
        if known is not None:
            try:
                self.client.update_run(known, status="RUNNING")
                return str(known)
            except MlflowException:
                pass  # the store was emptied since; begin again
        tags = {**tags, **({"mlflow.parentRunId": parent} if parent else {})}
        run = self.client.create_run(self.experiment_id, run_name=name, tags=tags)
        self.state.data["runs"][key] = run.info.run_id
        self.state.save()
        return str(run.info.run_id)

    def parent(self, recipe_path: Path) -> str:
        sha = artifacts.digest(self.recipe.model_dump(mode="json"))
        known = f"recipe {sha}" in self.state.data["runs"]
        id = self.run(
            f"recipe {sha}", self.recipe.name, None, {"freehold.recipe_sha256": sha, "freehold.kind": "recipe run"}
        )
        if not known and recipe_path.exists():
            self.client.log_artifact(id, str(recipe_path))
            self.params(id, {"recipe": recipe_path.name, "recipe_sha256": sha, "seed": self.recipe.seed})
        self.state.data["parent"] = id
        self.state.save()
        return id

    def params(self, run_id: str, values: dict[str, Any]) -> None:
        """Log parameters that are not logged yet: a resumed run says the same again, and MLflow refuses a change."""
        from mlflow.entities import Param

        known = self.client.get_run(run_id).data.params
        new = [Param(k, str(v)[:MAX_PARAM]) for k, v in values.items() if k not in known]
        for start in range(0, len(new), 100):
            self.client.log_batch(run_id, params=new[start : start + 100])

    def metrics(self, run_id: str, values: dict[str, float | None], step: int = 0) -> None:
        """Log metrics; what could not be measured (None) is not logged."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        found = [Metric(k, float(v), now, step) for k, v in values.items() if v is not None]
        with _told(self.uri):  # of the training processes too, which no stage of this command holds
            for start in range(0, len(found), 1000):
                self.client.log_batch(run_id, metrics=found[start : start + 1000])

    def has_version(self, name: str, key: str, version: str) -> bool:
        """Is this the version that was registered here for the key? Another store counts its versions anew."""
        return str(self.state.data.get("versions", {}).get(f"{name} {key}")) == version

    def set_alias(self, name: str, alias: str, version: str) -> None:
        with _told(self.uri):
            self.client.set_registered_model_alias(name, alias, version)

    def end(self, run_id: str, *, failed: bool) -> None:
        self.client.set_terminated(run_id, status="FAILED" if failed else "FINISHED")


class StageRun:
    """One stage's child run, as a stage sees it. Only the main process of a launch gets one that writes."""

    def __init__(self, store: Store, parent: str, run_id: str, name: str, inputs: dict[str, str]) -> None:
        self.store, self.parent, self.run_id, self.name, self.inputs = store, parent, run_id, name, inputs

    def params(self, values: dict[str, Any]) -> None:
        self.store.params(self.run_id, values)

    def metrics(self, values: dict[str, float | None], step: int = 0) -> None:
        self.store.metrics(self.run_id, values, step)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        self.store.client.log_artifact(self.run_id, str(path), folder)

    def text(self, text: str, name: str) -> None:
        """An artifact that is nowhere a file. name: its path among the run's artifacts."""
        self.store.client.log_text(self.run_id, text, name)

    def dataset(self, folder: Path, splits: Iterable[str], context: str = "training") -> None:
        """Log each split as a dataset input by its digest and profile; no text goes into MLflow."""
        import mlflow.data
        import pandas as pd
        from mlflow.data.code_dataset_source import CodeDatasetSource
        from mlflow.entities import DatasetInput, InputTag

        from data_prep.parquet import files_of, sha256_of

        inputs = []
        for split in splits:
            columns = ["id", "task", "label", "sensitivity"]
            frame = pd.concat([pd.read_parquet(p, columns=columns) for p in files_of(folder, split)], ignore_index=True)
            sha = sha256_of(folder, split)
            source = CodeDatasetSource({"folder": str(folder), "sha256": sha})
            data = mlflow.data.from_pandas(
                frame, source=source, name=f"{self.store.recipe.name}-{split}", digest=sha[:16]
            )
            inputs.append(
                DatasetInput(data._to_mlflow_entity(), [InputTag("mlflow.data.context", f"{context} {split}")])
            )
        self.store.client.log_inputs(self.run_id, inputs)

    def arm(self, arm: str, params: dict[str, Any], metrics: dict[str, float | None]) -> str:
        """A child run of its own for an arm, with the same metric keys in all arms: the UI's compare view lines them up."""
        id = self.store.run(
            _arm_key(arm, self.inputs), f"arm {arm}", self.parent, {"freehold.kind": "arm", "freehold.arm": arm}
        )
        self.store.params(id, {"arm": arm, **params})
        self.store.metrics(id, metrics)
        self.store.end(id, failed=False)
        return id

    def where(self, arms: Iterable[str], evaluated: dict[str, str]) -> dict[str, Any]:
        """Where the numbers of a report are. evaluated: the inputs of its evaluation, which may be older than this stage.

        `arms`: arm → its run, None where this store has none (the evaluation was logged to another). `address`: of the web
        page, where the store is a server that has one.
        """
        runs = self.store.state.data["runs"]
        return {
            "address": _address(self.store.uri),
            "experiment_id": self.store.experiment_id,
            "parent_run_id": self.parent,
            "arms": {arm: runs.get(_arm_key(arm, evaluated)) for arm in arms},
        }

    def logged_model(self, name: str, model_type: str, params: dict[str, Any], folder: Path | None, key: str) -> str:
        """A LoggedModel: the raw PEFT folder as its artifacts, or none for an API that is not ours. Once per key."""
        client, known = self.store.client, self.store.state.data.setdefault("models", {})
        if key in known:
            return str(known[key])
        model = client.create_logged_model(
            self.store.experiment_id,
            name=name,
            source_run_id=self.run_id,
            params={k: str(v) for k, v in params.items()},
            model_type=model_type,
            tags={"freehold.content_sha256": key},
        )
        if folder is not None:
            client.log_model_artifacts(model.model_id, str(folder))
        client.finalize_logged_model(model.model_id, "READY")
        known[key] = model.model_id
        self.store.state.save()
        return str(model.model_id)

    def trained_on(self, adapter: str, dataset: str) -> None:
        """Remember which dataset an adapter learned from, for as long as the run folder is there."""
        self.store.state.data.setdefault("datasets", {})[adapter] = dataset
        self.store.state.save()

    def model_metrics(
        self, run_id: str, model_id: str, values: dict[str, float | None], dataset: tuple[str, str]
    ) -> None:
        """Attach metrics to a LoggedModel and a dataset (name, digest), so that the Models tab compares by dataset."""
        for key, value in values.items():
            if value is not None:
                self.store.client.log_metric(
                    run_id, key, value, dataset_name=dataset[0], dataset_digest=dataset[1], model_id=model_id
                )

    def table(self, rows: dict[str, list[Any]], name: str) -> None:
        """A table as the UI shows it, in the place of one that an attempt before this left: MLflow itself would append."""
        import pandas as pd

        if name in {a.path for a in self.store.client.list_artifacts(self.run_id)}:
            self.text(pd.DataFrame(rows).to_json(orient="split", index=False), name)
        else:
            self.store.client.log_table(self.run_id, rows, name)

    def register(self, name: str, model_id: str | None, source: str, tags: dict[str, str], key: str) -> str:
        """A version of the registered model, once per name and key.

        source: where it lies, if this store has no LoggedModel of it.
        """
        from mlflow.exceptions import MlflowException

        client, known = self.store.client, self.store.state.data.setdefault("versions", {})
        remembered = f"{name} {key}"  # another model's version of the same adapter is another version
        if remembered in known:
            return str(known[remembered])
        try:
            client.create_registered_model(name)
        except MlflowException as e:
            if e.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        where = f"models:/{model_id}" if model_id else source
        version = client.create_model_version(name, source=where, run_id=self.run_id, tags=tags, model_id=model_id)
        known[remembered] = version.version
        self.store.state.save()
        return str(version.version)

    def model_id(self, key: str) -> str | None:
        found = self.store.state.data.get("models", {}).get(key)
        return str(found) if found else None

    def set_alias(self, name: str, alias: str, version: str) -> None:
        self.store.set_alias(name, alias, version)

    def finished(self, manifest: artifacts.Manifest) -> None:
        """Which artifact came of it: a tag, for a resumed run may make another, and parameters stay as they are."""
        self.store.client.set_tag(self.run_id, "freehold.content_sha256", manifest.content_sha256)


def _elsewhere(state: dict[str, Any]) -> dict[str, Any]:
    """What stays true of a run folder whose runs go to another store from now on: what was trained on what, and where else runs are."""
    earlier = {*state.get("earlier", ()), *([state["uri"]] if state.get("runs") else ())}
    return {"runs": {}, "datasets": state.get("datasets", {}), "earlier": sorted(earlier)}


def earlier_stores(recipe: Recipe) -> list[str]:
    """The stores that hold runs of this run folder from before its runs went to the one of now."""
    return list(Store(recipe).state.data.get("earlier", ()))


def mark_forgotten(recipe: Recipe, adapters: Iterable[str], when: str) -> list[str]:
    """Tag the LoggedModels and registered versions of these adapters: somebody they learned from was forgotten."""
    from mlflow.exceptions import MlflowException

    store, marked = Store(recipe), []
    for adapter in adapters:
        model, tag = store.state.data.get("models", {}).get(adapter), "freehold.forgotten"
        of_model = partial(_tag_model, store.client, model, {tag: when})
        tags = [(f"model {model}", of_model)] if model is not None else []
        for name, version in _versions(store, adapter):
            of_version = partial(store.client.set_model_version_tag, name, version, tag, when)
            tags.append((f"version {name}/{version}", of_version))
        for what, mark in tags:
            try:
                mark()
                marked.append(what)
            except MlflowException as e:
                if e.error_code != GONE:  # what was deleted there needs no mark
                    raise UserError(f"MLflow at {shown(store.uri)}: cannot mark {what}: {_words(e, store.uri)}") from e
    return marked


def _tag_model(client: Any, model: str, tags: dict[str, str]) -> None:
    client.get_logged_model(model)  # says that it is gone in a code of its own, which setting tags does not
    client.set_logged_model_tags(model, tags)


def remove_pages(recipe: Recipe) -> list[str]:
    """Delete the reports among the runs' artifacts, for they show examples. Returns their paths, run first."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    store, removed = Store(recipe), []
    for run_id in sorted(set(store.state.data.get("runs", {}).values())):
        try:
            kept = [a.path for a in store.client.list_artifacts(run_id) if Path(a.path).name in PAGES]
            repository = get_artifact_repository(store.client.get_run(run_id).info.artifact_uri)
            for path in kept:
                repository.delete_artifacts(path)
                removed.append(f"{run_id}/{path}")
        except (MlflowException, NotImplementedError) as e:
            if getattr(e, "error_code", None) == GONE:
                continue
            raise UserError(
                f"MLflow at {shown(store.uri)}: cannot delete the report of run {run_id} ({_words(e, store.uri)})."
                " Delete it there, then run the same command again."
            ) from e
    return removed


@contextmanager
def tracked_stage(recipe: Recipe, recipe_path: Path, name: str, inputs: dict[str, str]) -> Iterator[StageRun]:
    """The stage's child run under the recipe's parent run; FAILED on a crash, resumed and not duplicated."""
    store = Store(recipe)
    with _told(store.uri):
        parent = store.parent(recipe_path)
        run_id = store.run(f"stage {name} {artifacts.digest(inputs)}", name, parent, {"freehold.kind": "stage"})
        tracked = StageRun(store, parent, run_id, name, inputs)
        tracked.params({f"input.{k}": v for k, v in inputs.items()})
        try:
            yield tracked
        except BaseException:
            store.end(run_id, failed=True)
            store.end(parent, failed=True)
            raise
        # another process (the training under accelerate) may have saved its own entries meanwhile: ours are saved as made
        store.end(run_id, failed=False)
        store.end(parent, failed=False)


def _arm_key(arm: str, evaluated: dict[str, str]) -> str:
    return f"arm {arm} {artifacts.digest(evaluated)}"


def _address(uri: str) -> str | None:
    """A server's address without user and password; None for a store that is a file or a database."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def shown(uri: str) -> str:
    """The store's address without user and password, for whatever people see or files keep."""
    import re

    # to the last @, for a password may hold one, or a slash; what begins with a slash is a path
    return re.sub(r"(?<=://)(?!/).*@", "***@", uri)


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """What MLflow refuses becomes a UserError that names the store."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as e:
        raise UserError(f"MLflow at {shown(uri)}: {_words(e, uri)}") from e


def _words(e: Exception, uri: str) -> str:
    """The first line of what MLflow says, which may repeat the store's address with its password."""
    return str(e).partition("\n")[0].replace(uri.rstrip("/"), shown(uri).rstrip("/"))[:300]


def _versions(store: Store, adapter: str) -> list[tuple[str, str]]:
    """An adapter's registered models and its version there: one for every alias that it was promoted under."""
    promotion, found = store.recipe.promotion, []
    for key, version in store.state.data.get("versions", {}).items():
        alias, _, sha = key.rpartition(" ")
        if not alias and promotion is not None:
            alias = promotion.alias  # remembered by an earlier version, which knew one alias only
        if alias and sha == adapter:
            found.append((alias, str(version)))
    return found
