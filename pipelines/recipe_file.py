"""From a YAML file to a Recipe: every mistake at once, with file:line, what was found, the bound, and "did you mean"."""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from data_prep import plugins
from data_prep.pii import KINDS
from data_prep.records import UserError
from pipelines.recipe import Engine, Recipe, options_table, section_of, settings_tables

Loc = tuple[int | str, ...]
PLUGINS = {
    "sources": ("data_prep.sources", "read"),
    "tasks": ("data_prep.tasks", "rows"),
    "engine": ("data_prep.pii", "find"),
    "executor": ("data_prep.executors", "run"),
    "target": ("pipelines.targets", "promote"),
}


class RecipeError(UserError):
    """One or more mistakes in a recipe file, one a line."""


def load(path: Path) -> Recipe:
    """The recipe at `path`, input paths made absolute. Raises RecipeError with every mistake."""
    data = _parse(path)
    try:
        recipe = Recipe.model_validate_json(json.dumps(data, default=_plain), strict=True)
    except ValidationError as e:
        found = [_mistake(path, data, Recipe, error) for error in e.errors()]
        raise RecipeError("\n".join(sorted(found, key=_line))) from None
    mistakes = [m for loc, kind, options in _plugged(recipe) for m in _option_mistakes(path, data, loc, kind, options)]
    mistakes += _labels_of_metrics(path, data, recipe) + _no_documents(path, data, recipe)
    mistakes += _rules(path, data, recipe) + _launch(path, data, recipe)
    if mistakes:
        raise RecipeError("\n".join(sorted(mistakes, key=_line)))
    return _absolute(recipe, path.absolute().parent)


def options(package: str, kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """A plug-in's options, validated against its signature and complete with its defaults."""
    return plugins.options(plugins.load(package, kind, next(f for p, f in PLUGINS.values() if p == package)), given)


def reference() -> str:
    """Every setting, and every plug-in with its options, as Markdown."""
    lines = settings_tables()
    for kind, (package, function) in PLUGINS.items():
        lines += [f"# {kind}: files of {package.replace('.', '/')}", ""]
        for name in plugins.names(package):
            found = plugins.load(package, name, function)
            told = inspect.getdoc(plugins.module(package, name)) or ""
            lines += [f"## {kind}: {name}", "", _first_paragraph(told), ""]
            if table := options_table(plugins.options_model(found)):
                lines += [*table, "", *_options_in_words(found)]
    metrics = [(n, plugins.module("evaluation.metrics", n)) for n in plugins.names("evaluation.metrics")]
    lines += ["# decision.metrics: files of evaluation/metrics", "", "| metric | what it is |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{n}` | {_first_paragraph(inspect.getdoc(m) or '')} |" for n, m in metrics)])


def _first_paragraph(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())


def _options_in_words(function: Any) -> list[str]:
    """What a plug-in's own words say of its options: the paragraphs after the first."""
    told = [" ".join(p.split()) for p in (inspect.getdoc(function) or "").split("\n\n")[1:]]
    return [line for p in told for line in (p, "")]


def _parse(path: Path) -> CommentedMap:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe. The shipped ones are in recipes/.") from None
    except (IsADirectoryError, UnicodeDecodeError) as e:
        raise RecipeError(f"{path}: is not a recipe file ({e.__class__.__name__}). Give a YAML file.") from None
    try:
        data = YAML(typ="rt", pure=True).load(text)
    except DuplicateKeyError as e:
        line = e.problem_mark.line + 1 if e.problem_mark else 0
        raise RecipeError(f"{path}:{line}: {str(e.problem).splitlines()[0]}. Keep one of the two.") from None
    except MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        raise RecipeError(f"{path}:{mark.line + 1 if mark else 0}: not YAML: {e.problem or e.context}.") from None
    except YAMLError as e:
        raise RecipeError(f"{path}: not YAML: {e}") from None
    if not isinstance(data, CommentedMap):
        raise RecipeError(
            f"{path}:1: holds {type(data).__name__}, not a mapping of settings. Start from recipes/demo/demo.yaml."
        )
    return data


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _position(data: Any, loc: Loc) -> int:
    """Line (from 1) of the deepest part of `loc` that the file has."""
    line, node = 1, data
    for key in loc:
        try:
            if isinstance(node, CommentedMap) and key in node:
                line = node.lc.key(key)[0] + 1
            elif isinstance(node, CommentedSeq) and isinstance(key, int):
                line = node.lc.item(key)[0] + 1
            else:
                break
            node = node[key]
        except (KeyError, IndexError):
            break
    return line


def _line(message: str) -> int:
    return int(message.split(": ", 1)[0].rsplit(":", 1)[-1])


def _mistake(path: Path, data: Any, model: type[BaseModel], error: Any, prefix: Loc = ()) -> str:
    loc: Loc = (*prefix, *(part for part in error["loc"] if not _is_type_tag(part)))
    name = ".".join(str(p) for p in loc) or "recipe"
    where = f"{path}:{_position(data, loc)}"
    found = json.dumps(error["input"], default=str, ensure_ascii=False)
    found = found if len(found) < 60 else found[:57] + "..."
    match error["type"]:
        case "extra_forbidden":
            known = _known_keys(model, error["loc"][:-1])
            near = difflib.get_close_matches(str(loc[-1]), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Known here: {', '.join(known)}."
            return f"{where}: {name}: unknown key.{hint}"
        case "missing":
            return f"{where}: {name}: missing. It has no default; add it."
        case "value_error":
            return f"{where}: {name}: {error['ctx']['error']}."
        case "float_type" | "float_parsing" | "int_type" if isinstance(error["input"], str):
            return f"{where}: {name}: found the text {found}. Write the number without quotes."
        case _:
            return f"{where}: {name}: {error['msg']}; found {found}."


def _is_type_tag(part: int | str) -> bool:
    return isinstance(part, str) and part.startswith(("function-", "constrained-", "tuple[", "json-"))


def _known_keys(model: type[BaseModel], loc: Loc) -> list[str]:
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            inner = section_of(annotation) or _model_in(annotation)
            model = inner or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for part in getattr(annotation, "__args__", ()) if (m := _model_in(part))), None)


def _plugged(recipe: Recipe) -> list[tuple[Loc, str, dict[str, Any]]]:
    used: list[tuple[Loc, str, dict[str, Any]]] = [
        (("sources", i), s.kind, s.options) for i, s in enumerate(recipe.sources)
    ]
    used += [(("tasks", i), t.kind, t.options) for i, t in enumerate(recipe.tasks)]
    parts = ((("privacy", "engine"), recipe.privacy.engine), (("dataset", "executor"), recipe.dataset.executor))
    for loc, part in parts:
        used.append((loc, part.kind, part.options))
    if recipe.promotion is not None:
        used.append((("promotion", "target"), recipe.promotion.target.kind, recipe.promotion.target.options))
    return used


def _option_mistakes(path: Path, data: Any, loc: Loc, kind: str, given: dict[str, Any]) -> list[str]:
    package, function = PLUGINS[next(str(part) for part in reversed(loc) if part in PLUGINS)]
    try:
        model = plugins.options_model(plugins.load(package, kind, function))
        model.model_validate_json(json.dumps(given, default=str), strict=True)
    except plugins.UnknownPlugin as e:
        return [f"{path}:{_position(data, (*loc, 'kind'))}: {'.'.join(map(str, loc))}.kind: {e}"]
    except ValidationError as e:
        return [_mistake(path, data, model, error, (*loc, "options")) for error in e.errors()]
    return []


def _labels_of_metrics(path: Path, data: Any, recipe: Recipe) -> list[str]:
    """Gates may only name tasks that exist and metrics that have a file."""
    kinds, known = [t.kind for t in recipe.tasks], plugins.names("evaluation.metrics")
    found = []
    for task, metric in recipe.decision.metrics.items():
        where = f"{path}:{_position(data, ('decision', 'metrics', task))}: decision.metrics.{task}"
        if task not in kinds:
            found.append(f"{where}: no such task in this recipe; it has {kinds}.")
        if metric not in known:
            found.append(f"{where}: {metric!r} is not one of {known}.")
        elif not _is_gate(metric):
            gates = [name for name in known if _is_gate(name)]
            found.append(f"{where}: {metric!r} is shown and cannot be a gate, which needs one of {gates}.")
    for task, margin in recipe.decision.margins.items():
        where = f"{path}:{_position(data, ('decision', 'margins', task))}: decision.margins.{task}"
        if task not in kinds:
            found.append(f"{where}: no such task in this recipe; it has {kinds}.")
        if not 0 < margin < 1:
            found.append(f"{where}: {margin} is not between 0 and 1.")
    for i, slice_name in enumerate(recipe.decision.must_pass):
        if slice_name.removeprefix("task=").split("/")[0] not in kinds:
            found.append(
                f"{path}:{_position(data, ('decision', 'must_pass', i))}: decision.must_pass: {slice_name!r} names no task"
                f" of this recipe; write `task=NAME` or `NAME/slice=value` with NAME from {kinds}."
            )
    return found


def _rules(path: Path, data: Any, recipe: Recipe) -> list[str]:
    """Rules may only name sources of this recipe and kinds that its engine finds: a misspelled one would keep nothing in."""
    sources, kinds, found = [s.name for s in recipe.sources], _kinds(recipe.privacy.engine), []
    for n, rule in enumerate(recipe.privacy.sensitivity):
        named = [("source", s, sources) for s in (rule.source,) if s] + [
            ("kinds", k, kinds) for k in rule.kinds if kinds
        ]
        unknown = [(key, name, known) for key, name, known in named if name not in known]
        told = [(key, f"{name!r} is not one of {known}.{_near(name, known)}") for key, name, known in unknown]
        told += [("fields", f"{name!r} has no value; give at least one.") for name, v in rule.fields.items() if not v]
        for key, what in told:
            where = f"{path}:{_position(data, ('privacy', 'sensitivity', n, key))}"
            found.append(f"{where}: privacy.sensitivity.{n}.{key}: {what}")
    return found


def _kinds(engine: Engine) -> list[str]:
    """The kinds of values that the engine finds; none where the engine or its options are a mistake themselves."""
    try:
        given = options("data_prep.pii", engine.kind, engine.options)
    except (plugins.UnknownPlugin, ValidationError):
        return []
    more = getattr(plugins.module("data_prep.pii", engine.kind), "kinds", None)
    return sorted(KINDS | (more(given) if more else set()))


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _is_gate(metric: str) -> bool:
    """A gate compares a value of each item, of which more is better."""
    module = plugins.module("evaluation.metrics", metric)
    return module.BETTER == "higher" and hasattr(module, "score")


def _no_documents(path: Path, data: Any, recipe: Recipe) -> list[str]:
    """Arms that are shown passages need a source whose reader gives documents."""
    asked = {arm: recipe.evaluation.endpoint(arm) for arm in recipe.evaluation.arms}
    arms = [a for a, api in asked.items() if a in ("rag", "tuned_rag") or (api is not None and api.passages)]
    readers = set(plugins.names("data_prep.sources"))
    kinds = [plugins.module("data_prep.sources", s.kind).KIND for s in recipe.sources if s.kind in readers]
    if not arms or "document" in kinds:
        return []
    named = ", ".join(n for n in sorted(readers) if plugins.module("data_prep.sources", n).KIND == "document")
    return [
        f"{path}:{_position(data, ('evaluation', 'arms'))}: evaluation.arms: {arms} are shown passages of documents, but no"
        f" source holds any. Add one of kind {named}, or leave these arms out."
    ]


def _launch(path: Path, data: Any, recipe: Recipe) -> list[str]:
    """The accelerate file of the recipe, read before hours of preparation instead of after them."""
    chosen, wanted = recipe.training.launch, recipe.training.world_size
    if chosen is None:
        return []
    file, where = path.absolute().parent / chosen, f"{path}:{_position(data, ('training', 'launch'))}: training.launch"
    try:
        found = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as e:
        told = getattr(e, "strerror", None) or "is no YAML"
        return [f"{where}: {file}: {told}. Copy one of recipes/launch/ there, or name it by its path from the recipe."]
    processes = found.get("num_processes") if isinstance(found, dict) else None
    if processes != wanted:
        return [
            f"{where}: {file} has num_processes {processes}, training.world_size is {wanted}. Set them to the same number."
        ]
    return []


def _absolute(recipe: Recipe, folder: Path) -> Recipe:
    """Input paths made absolute against the recipe's folder."""
    sources = tuple(s.model_copy(update={"path": folder / s.path}) for s in recipe.sources)
    model = recipe.model.model_copy(update={"path": folder / recipe.model.path}) if recipe.model.path else recipe.model
    privacy = recipe.privacy
    if privacy.planted is not None:
        privacy = privacy.model_copy(update={"planted": folder / privacy.planted})
    evaluation = recipe.evaluation
    if evaluation.general is not None:
        given = {n: p for n in ("path", "lm_eval_folder") if (p := getattr(evaluation.general, n)) is not None}
        general = evaluation.general.model_copy(update={name: folder / path for name, path in given.items()})
        evaluation = evaluation.model_copy(update={"general": general})
    training = recipe.training
    if training.launch is not None:
        training = training.model_copy(update={"launch": folder / training.launch})
    made = {"sources": sources, "model": model, "training": training, "privacy": privacy, "evaluation": evaluation}
    return recipe.model_copy(update=made)
