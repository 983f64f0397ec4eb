"""A recipe's mistakes come all at once, with file and line, what was found and what to do; and checking is fast."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.records import UserError
from pipelines import egress, evaluate, recipe_file
from pipelines.recipe import Api
from pipelines.recipe_file import RecipeError, reference
from tests.conftest import RECIPE, Workspace

ROOT = Path(__file__).parent.parent.parent
SHIPPED = sorted([*ROOT.glob("recipes/*.yaml"), *ROOT.glob("recipes/demo/*.yaml"), *ROOT.glob("tests/bench/*.yaml")])
LAUNCH = sorted(ROOT.glob("recipes/launch/*.yaml"))


def test_there_are_shipped_recipes_and_launch_files() -> None:
    assert len(SHIPPED) >= 4
    assert len(LAUNCH) >= 4


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_every_shipped_recipe_is_valid(path: Path) -> None:
    assert recipe_file.load(path).name


@pytest.mark.parametrize("path", LAUNCH, ids=lambda p: p.name)
def test_every_launch_file_is_read_by_accelerate(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    assert load_config_from_file(str(path)).num_processes >= 1


@pytest.mark.parametrize("path", [p for p in SHIPPED if "demo" not in p.parts], ids=lambda p: p.name)
def test_a_recipes_launch_file_has_as_many_processes_as_it_asks_for(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    recipe = recipe_file.load(path)
    if recipe.training.launch is not None:
        assert load_config_from_file(str(recipe.training.launch)).num_processes == recipe.training.world_size


def mistakes(tmp_path: Path, old: str, new: str) -> str:
    text = RECIPE.format(model="nowhere")
    assert old in text
    path = tmp_path / "r.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(RecipeError) as e:
        recipe_file.load(path)
    return str(e.value).replace(str(tmp_path), "")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("rank: 4", "rnk: 4", "/r.yaml:15: training.rnk: unknown key. Did you mean 'rank'?"),
        ("rank: 4", 'rank: "4"', "/r.yaml:15: training.rank: found the text \"4\". Write the number without quotes."),
        ("learning_rate: 5.0e-3", 'learning_rate: "2e-4"', "training.learning_rate: found the text"),
        ("learning_rate: 5.0e-3", "learning_rate: 5", "Input should be less than or equal to 0.1; found 5"),
        ("rank: 4", "rank: 4, rank: 5", "/r.yaml:15: found duplicate key \"rank\""),
        ("kind: zendesk", "kind: zendsk", "sources.0.kind: 'zendsk' is not one of"),
        ("custom_fields:", "custom_field:", "sources.0.options.custom_field: unknown key. Did you mean 'custom_fields'?"),
        ("label_accuracy", "accuracy", "decision.metrics.triage: 'accuracy' is not one of"),
        ("must_pass: [task=triage]", "must_pass: [task=trage]", "names no task"),
        ("arms: [base, few_shot, tuned, api]", "arms: [base, few_shot, tuned]", "decision compares 'api', but evaluation.arms is"),
        ("global_batch: 2", "global_batch: 3, device_batch: 2", "global_batch 3 is not a multiple"),
        ("2026-02-10T00:00:00Z", "2026-02-10T00:00:00", "test_from needs a time zone"),
        ("name: desk\nseed", "name: Desk Name\nseed", "/r.yaml:1: name: String should match pattern"),
        ("model: {path: nowhere}", "model: {path: a, hub: b/c}", "give exactly one of hub, path, gguf_package"),
        ("model: {path: nowhere}", "model: {hub: b/c}", "hub needs `revision`"),
        ("model: {path: nowhere}", "model: {hub: b/c, revision: main}", "revision 'main' is no commit"),
        ("rank: 4", "rank: 4, launch: nowhere.yaml", "training.launch: /nowhere.yaml: No such file or directory. Copy one of"),
        ("rank: 4", "rank: 4, launch: r.yaml", "r.yaml has num_processes None, training.world_size is 1"),
        ("eval_every: 4, save_every: 4", "eval_every: 4, save_every: 8, patience: 2", "each is saved: set save_every to 4"),
        ("seed: 3", "seed: [3", "not YAML"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place_and_remedy(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert told in mistakes(tmp_path, old, new)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("https://me:hidden@gateway.example/v1", "a user or a password would stand in logs and reports"),
        ("https://gateway.example/v1?key=hidden", "https://gateway.example/v1 goes on with ? or #"),
        ("api.firm.example/v1", "'api.firm.example/v1' is no address of a server: it takes http:// or https://"),
        ("http://host:port/v1", "this is no address of a server (Port could not be cast"),
        ("http://[::1/v1", "this is no address of a server (Invalid IPv6 URL)"),
        ("https:///v1", "is no address of a server"),
    ],
)
def test_what_is_no_address_is_told_without_what_may_be_a_secret(
    tmp_path: Path, address: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = mistakes(tmp_path, "api: {label_mode", f"api: {{base_url: '{address}', model: m, label_mode")
    assert told in found
    assert "hidden" not in found
    api = Api(base_url="http://127.0.0.1:1/v1", base_url_env="ELSEWHERE", model="m")
    monkeypatch.setenv("ELSEWHERE", address)
    with pytest.raises(UserError, match="ELSEWHERE: ") as e:
        evaluate.address(api)
    assert "hidden" not in str(e.value)


def test_an_address_from_the_environment_alone_would_be_a_stand_in(tmp_path: Path) -> None:
    told = mistakes(tmp_path, "api: {label_mode", "api: {base_url_env: ELSEWHERE, label_mode")
    assert "base_url_env overrides base_url, so it needs one" in told


@pytest.mark.parametrize(
    ("key", "told"), [("", "is not set"), ("a\nb", "characters that no key has"), ("käy", "no key has")]
)
def test_a_key_that_cannot_be_one_is_told_and_not_shown(key: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UserError, match=told) as e:
        egress.key_of("OPENAI_API_KEY", "evaluation.api")
    assert not key or key not in str(e.value)
    monkeypatch.setenv("OPENAI_API_KEY", "of-a-mounted-file\n")
    assert egress.key_of("OPENAI_API_KEY", "evaluation.api") == "of-a-mounted-file"


def test_every_server_that_may_be_paid_is_looked_at_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    wrong = "price_as: {provider: openai, model: nope}"
    load = f"  load: {{servers: [{{arm: tuned, base_url: 'http://127.0.0.1:9/v1', model: m, machine: one, {wrong}}}], p95: {{latency_ms: 9}}}}\n"
    path.write_text(RECIPE.format(model="nowhere").replace("  batch_size: 2\n", load))
    with pytest.raises(UserError, match="nope"):
        egress.check_prices(recipe_file.load(path))


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("kinds: [crad]", ":5: privacy.sensitivity.0.kinds: 'crad' is not one of ['account',"),
        ("kinds: [crad]", "Did you mean 'card'?"),
        ("kinds: [location]", "'location' is not one of"),
        ("source: dsk", "privacy.sensitivity.0.source: 'dsk' is not one of ['desk']. Did you mean 'desk'?"),
        ("fields: {tags: []}", "privacy.sensitivity.0.fields: 'tags' has no value"),
    ],
)
def test_a_rule_that_could_never_fit_is_told(tmp_path: Path, rule: str, told: str) -> None:
    privacy = f"privacy: {{sensitivity: [{{sensitivity: local_only, {rule}}}]}}\ndataset: {{test_from"
    assert told in mistakes(tmp_path, "dataset: {test_from", privacy)


def test_a_rule_and_an_engine_may_both_be_wrong(tmp_path: Path) -> None:
    privacy = "privacy: {engine: {kind: cor}, sensitivity: [{sensitivity: local_only, source: dsk, kinds: [x]}]}"
    found = mistakes(tmp_path, "dataset: {test_from", f"{privacy}\ndataset: {{test_from")
    assert "'cor' is not one of" in found
    assert "'dsk' is not one of" in found


def test_a_rule_may_name_what_the_engine_of_the_recipe_finds(tmp_path: Path) -> None:
    rule = "sensitivity: [{sensitivity: local_only, source: desk, kinds: [location, crypto, card]}]"
    engine = "engine: {kind: presidio, options: {entities: [LOCATION, CRYPTO]}}"
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE.format(model="nowhere").replace("dataset: {", f"privacy: {{{rule}, {engine}}}\ndataset: {{"))
    assert recipe_file.load(path).privacy.sensitivity[0].kinds == ("location", "crypto", "card")


def test_an_unknown_encoding_of_a_source_is_told(tmp_path: Path) -> None:
    told = mistakes(
        tmp_path,
        "kind: zendesk, path: export, options: {custom_fields: {topic: 7}}",
        "kind: jira, path: export, options: {encoding: utf9}",
    )
    assert "sources.0.options.encoding: 'utf9' is no text encoding; write one like utf-8" in told


def test_all_mistakes_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "training: {rank: 4", "training: {rank: 0, epocs: 2").splitlines()
    assert len(found) == 2
    path = tmp_path / "r.yaml"
    path.write_text(path.read_text().replace("seed: 3", "sed: 3"))
    with pytest.raises(RecipeError) as e:
        recipe_file.load(path)
    assert len(str(e.value).splitlines()) == 3
    assert ":2: sed" in str(e.value).splitlines()[0]


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such recipe"):
        recipe_file.load(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="is not a recipe file"):
        recipe_file.load(tmp_path)


def test_check_is_fast_and_imports_nothing_heavy(workspace: Workspace) -> None:
    program = (
        "import sys; sys.argv = ['freehold', 'check', 'desk.yaml']\n"
        "from pipelines import cli\n"
        "try: cli.main()\n"
        "except SystemExit as e: assert not e.code, e.code\n"
        "heavy = {'torch', 'mlflow', 'transformers', 'openai', 'pyarrow', 'lxml'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    began = _cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=workspace.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "valid" in done.stdout
    assert _cpu_seconds() - began < 3  # half a second alone; a loaded machine has slower cores


def test_check_tells_what_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE.format(model="nowhere"))
    line = [sys.executable, "-m", "pipelines.cli", "check", "r.yaml"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"not there yet: source desk: {tmp_path / 'export'}" in done.stdout
    assert f"not there yet: model: {tmp_path / 'nowhere'}" in done.stdout


def _cpu_seconds() -> float:
    """Of the processes that were started here."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_settings_reference_names_every_key() -> None:
    text = reference()
    assert (ROOT / "recipes" / "SETTINGS.md").read_text() == text + "\n"
    assert text.count("| `") > 80
    assert "| None |" not in text
    assert not re.search(r"Annotated|FieldInfo|Optional|Literal|<class", text)
    for name in ("zendesk", "triage", "presidio", "datatrove", "vllm"):
        assert re.search(rf"(?m)^## \w+: {name}$", text), name
    assert "`label_accuracy`" in text
