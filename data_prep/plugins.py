"""A plug-in is a file: its name is the name in the recipe, its keyword-only parameters are its option schema.

`load("data_prep.sources", "zendesk", "read")` gives the function; `names("data_prep.sources")` what there is.
No registry, no decorator: a new file in the folder is known the moment it exists.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model

from data_prep.records import UserError


class UnknownPlugin(UserError):
    """The recipe names a plug-in that has no file."""


def names(package: str) -> list[str]:
    """The plug-ins of a folder, sorted. Files beginning with an underscore are shared pieces, not plug-ins."""
    folder = list(importlib.import_module(package).__path__)
    found = sorted(m.name for m in pkgutil.iter_modules(folder) if not m.name.startswith("_"))
    assert found, f"{package} has no plug-ins: is the package installed whole?"
    return found


def load(package: str, name: str, function: str) -> Callable[..., Any]:
    """The named plug-in's function. Raises UnknownPlugin with the known names and the file to write."""
    known = names(package)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UnknownPlugin(
            f"{name!r} is not one of {known}.{hint} A new one is one file: {Path(*package.split('.'), name)}.py"
        )
    loaded: Callable[..., Any] = getattr(module(package, name), function)
    return loaded


def module(package: str, name: str) -> ModuleType:
    """A plug-in's module, for what it may have besides its function."""
    return importlib.import_module(f"{package}.{name}")


def options(function: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """Options as JSON gives them, validated against the function's signature and complete with its defaults."""
    model = options_model(function).model_validate_json(json.dumps(given, default=str), strict=True)
    return {name: getattr(model, name) for name in type(model).model_fields}


def options_model(function: Callable[..., Any]) -> type[BaseModel]:
    """A strict pydantic model of a plug-in's keyword-only parameters: the recipe's `options` are checked against it."""
    signature = inspect.signature(function, eval_str=True)
    fields: dict[str, Any] = {
        p.name: (p.annotation, ... if p.default is inspect.Parameter.empty else p.default)
        for p in signature.parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }
    model: type[BaseModel] = create_model(
        f"{function.__module__.rsplit('.', 1)[-1]}_options", __config__=ConfigDict(extra="forbid"), **fields
    )
    return model
