"""Every file of every plug-in folder keeps the contract of its folder; a new file is tested the moment it exists."""

from __future__ import annotations

import importlib
import inspect

import pytest

from data_prep import plugins

FUNCTIONS = {
    "data_prep.sources": ("read", 2),
    "data_prep.tasks": ("rows", 2),
    "data_prep.pii": ("find", 1),
    "data_prep.executors": ("run", 4),
    "pipelines.targets": ("promote", 1),
}
CASES = [(package, name) for package in FUNCTIONS for name in plugins.names(package)]
METRICS = plugins.names("evaluation.metrics")


def test_every_folder_has_plugins() -> None:
    assert len(CASES) >= 9
    assert len(METRICS) >= 5


@pytest.mark.parametrize(("package", "name"), CASES)
def test_a_plugin_has_its_function_with_keyword_only_typed_options(package: str, name: str) -> None:
    function_name, positional = FUNCTIONS[package]
    function = plugins.load(package, name, function_name)
    parameters = list(inspect.signature(function).parameters.values())
    assert [p.kind for p in parameters[:positional]] == [inspect.Parameter.POSITIONAL_OR_KEYWORD] * positional
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters[positional:])
    assert plugins.options_model(function).model_config["extra"] == "forbid"
    assert function.__doc__, "the docstring says what the options mean"


@pytest.mark.parametrize("name", plugins.names("pipelines.targets"))
def test_a_target_rolls_back_with_the_options_it_promotes_with(name: str) -> None:
    promote, rollback = (plugins.load("pipelines.targets", name, f) for f in ("promote", "rollback"))
    assert set(plugins.options_model(promote).model_fields) == set(plugins.options_model(rollback).model_fields)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_tells_a_perfect_from_a_worthless_answer(name: str) -> None:
    metric = importlib.import_module(f"evaluation.metrics.{name}")
    assert metric.__doc__, "the docstring says what is measured, and how"
    assert metric.APPLIES in ("label", "text")
    assert metric.BETTER in ("higher", "lower", "neither")
    compute = getattr(metric, "score", None) or metric.aggregate
    assert set(inspect.signature(compute).parameters) <= {"answer", "reference", "answers", "references", "given"}
    for answer, reference, expected, *given in (metric.PERFECT, metric.WORTHLESS):
        found = compute(answer, reference, **({"given": given[0]} if given else {}))
        assert found == pytest.approx(expected)
    best, worst = metric.PERFECT[2], metric.WORTHLESS[2]
    assert {"higher": best > worst, "lower": best < worst, "neither": best != worst}[metric.BETTER]


def test_an_unknown_plugin_names_the_known_ones_and_the_file_to_write() -> None:
    with pytest.raises(plugins.UnknownPlugin, match=r"Did you mean 'zendesk'.*data_prep/sources/zendeks\.py"):
        plugins.load("data_prep.sources", "zendeks", "read")
