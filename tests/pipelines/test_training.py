"""What is trained is what was meant: masks, packing, precision of resume, quantisation, several processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from data_prep.records import Row, UserError
from pipelines import artifacts, recipe_file, stages, train
from pipelines.recipe import Training
from pipelines.training.clock import Clock
from tests.conftest import CHATML, REPLIES, TOPICS, Workspace


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


def rows(number: int = 12) -> list[Row]:
    made = []
    for n in range(number):
        topic = list(TOPICS)[n % 3]
        prompt = ({"role": "system", "content": "Sort."}, {"role": "user", "content": TOPICS[topic].format(n=n)})
        answer = topic if n % 2 else REPLIES[topic].format(n=n)
        made.append(
            Row(
                f"t/{n}",
                "t",
                prompt,
                ({"role": "assistant", "content": answer},),
                None,
                (),
                "shareable",
                "g",
                None,
                (),
                (),
            )
        )  # type: ignore[arg-type]
    return made


def make(model: Path, tokenizer: Any, folder: Path, dev: list[Row] | None = None, **settings: Any) -> Any:
    from pipelines.training import trainer

    chosen = Training(
        **{
            "rank": 4,
            "max_length": 512,
            "global_batch": 4,
            "warmup_steps": 0,
            "save_every": 2,
            "learning_rate": 5e-3,
            **settings,
        }
    )
    callback = trainer.Losses(folder / "losses.jsonl", lambda _step, _values: None, lambda _step, _total: None)
    return trainer.make(model, tokenizer, rows(), dev or [], chosen, folder / "checkpoints", seed=1, callback=callback)


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["train/loss"] for line in (folder / "losses.jsonl").read_text().splitlines()]


def test_the_completion_and_its_stop_token_are_what_is_trained(tokenizer: Any) -> None:
    from pipelines.training.exactness import encode

    row = rows()[1]
    encoded = encode(row, tokenizer)
    assert tokenizer.decode(encoded.whole[len(encoded.prompt) :]) == "delivery<|im_end|>\n"


def test_rows_that_do_not_fit_are_dropped_by_reason_and_never_cut(tokenizer: Any) -> None:
    from pipelines.training.exactness import PreflightError, encode, fitting

    lengths = sorted(len(encode(r, tokenizer).whole) for r in rows())
    kept, trained, total, tally = fitting(rows(), tokenizer, max_length=lengths[5])
    assert len(kept) == sum(n <= lengths[5] for n in lengths)
    assert tally.taken["rows"] == len(kept) + sum(tally.dropped.values())
    assert set(tally.dropped) <= {"longer_than_max_length", "prompt_leaves_no_room"}
    assert 0 < trained < total
    with pytest.raises(PreflightError, match=r"none of 12 rows fits training\.max_length 8"):
        fitting(rows(), tokenizer, max_length=8)


def test_a_template_that_does_not_close_the_turn_is_refused(tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    from pipelines.training.exactness import PreflightError, fitting

    broken = AutoTokenizer.from_pretrained(tiny_model)
    broken.chat_template = CHATML.replace("m['content'] + '<|im_end|>\n'", "m['content'] + '\n'")
    with pytest.raises(PreflightError, match="without a stop token"):
        fitting(rows(), broken, max_length=512)
    broken.chat_template = CHATML + "{% if add_generation_prompt %}think: {% endif %}"
    with pytest.raises(PreflightError, match="renders the prompt differently"):
        fitting(rows(), broken, max_length=512)


def test_scoring_only_answer_positions_gives_the_loss_of_trl(tiny_model: Path, tokenizer: Any, tmp_path: Path) -> None:
    from trl import SFTTrainer

    made = make(tiny_model, tokenizer, tmp_path)
    batch = next(iter(made.get_train_dataloader()))
    with torch.no_grad():
        ours = made.compute_loss(made.model, dict(batch), num_items_in_batch=torch.tensor(7))
        theirs = SFTTrainer.compute_loss(made, made.model, dict(batch), num_items_in_batch=torch.tensor(7))
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


def test_packing_does_not_change_the_loss(tiny_model: Path, tokenizer: Any, tmp_path: Path) -> None:

    def total(packing: bool) -> float:
        made = make(tiny_model, tokenizer, tmp_path / str(packing), packing=packing)
        with torch.no_grad():
            one = torch.tensor(1)
            return sum(
                float(made.compute_loss(made.model, dict(b), num_items_in_batch=one))
                for b in made.get_train_dataloader()
            )

    assert total(True) == pytest.approx(total(False), rel=1e-4)


def test_a_resumed_training_repeats_the_losses_to_the_last_digit(
    tiny_model: Path, tokenizer: Any, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"global_batch": 1, "epochs": 3, "dropout": 0.1, "max_length": 256}
    whole = make(tiny_model, tokenizer, tmp_path / "whole", **settings)
    whole.train()
    undisturbed = losses(tmp_path / "whole")
    assert len(undisturbed) >= 6
    (tmp_path / "cut").mkdir()
    shutil.copytree(tmp_path / "whole" / "checkpoints", tmp_path / "cut" / "checkpoints")
    shutil.copy(tmp_path / "whole" / "losses.jsonl", tmp_path / "cut")
    kept = sorted((tmp_path / "cut" / "checkpoints").glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    for later in kept[1:]:
        shutil.rmtree(later)
    again = make(tiny_model, tokenizer, tmp_path / "cut", **settings)
    again.train(resume_from_checkpoint=str(kept[0]))
    assert losses(tmp_path / "cut") == undisturbed


def test_what_a_killed_training_took_is_counted(tmp_path: Path) -> None:
    at = 0.0
    killed = Clock(tmp_path / "speed.json", now=lambda: at)
    at = 30.0
    killed.keep()
    at = 34.0
    killed.keep()  # a moment later: not written again
    again = Clock(tmp_path / "speed.json", now=lambda: at)
    at = 54.0
    assert again.seconds == 50


def test_a_resumed_training_goes_on_counting_and_processes_on_cpus_share_a_machine(copied: Workspace) -> None:
    recipe = recipe_file.load(copied.recipe).model_copy(update={"workdir": copied.run_folder})
    adapter = stages.folder(recipe, "train")
    shutil.rmtree(adapter)
    partial = artifacts.open_partial(adapter, train.inputs(recipe))
    (partial / "speed.json").write_text(json.dumps({"seconds": 5000}))
    done = copied.freehold("train", "desk.yaml")
    assert done.returncode == 0, done.stderr[-2000:]
    speed = json.loads((adapter / "speed.json").read_text())
    assert 5000 < speed["seconds"] < 5600
    assert speed["gpu_hours"] == pytest.approx(speed["seconds"] / 3600)


def test_the_loss_falls_and_layers_can_be_chosen(tiny_model: Path, tokenizer: Any, tmp_path: Path) -> None:
    made = make(tiny_model, tokenizer, tmp_path, epochs=16, last_layers=1)
    made.train()
    found = losses(tmp_path)
    assert min(found) < 0.9 * found[0]
    assert {n.split(".layers.")[1][0] for n, p in made.model.named_parameters() if p.requires_grad} == {"1"}


def test_qlora_trains_on_nf4_weights(tiny_model: Path, tokenizer: Any, tmp_path: Path) -> None:
    import bitsandbytes as bnb

    made = make(tiny_model, tokenizer, tmp_path, method="qlora", epochs=6)
    quantised = [m for m in made.model.modules() if isinstance(m, bnb.nn.Linear4bit)]
    assert quantised
    assert all(m.weight.quant_type == "nf4" and m.weight.quant_state.nested for m in quantised)
    made.train()
    found = losses(tmp_path)
    assert found[-1] < found[0]


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="reads what Linux says of the processor")
def test_precision_is_bf16_where_the_processor_multiplies_it() -> None:
    from pipelines.training import trainer

    flags = set(Path("/proc/cpuinfo").read_text().split())
    if not torch.cuda.is_available():
        assert trainer.has_bf16() is bool(flags & {"amx_bf16", "avx512_bf16"})
    assert trainer.precision(Training()) == (torch.bfloat16 if trainer.has_bf16() else torch.float32)
    assert trainer.precision(Training(precision="bf16")) == torch.bfloat16


def test_two_processes_are_two_and_reach_the_loss_of_one(workspace: Workspace) -> None:
    launch = Path(__file__).parent.parent.parent / "recipes" / "launch" / "cpu2.yaml"
    assert workspace.freehold("prepare", "desk.yaml").returncode == 0
    settings = "global_batch: 2, eval_every: 4, save_every: 4"
    workspace.edit(settings, "global_batch: 2, save_every: 50")
    one = workspace.freehold("train", "desk.yaml")
    assert one.returncode == 0, one.stderr[-2000:]
    alone = losses(workspace.run_folder / "adapter")
    workspace.edit(
        "global_batch: 2, save_every: 50", f"global_batch: 2, save_every: 50, world_size: 2, launch: {launch}"
    )
    two = workspace.freehold("train", "desk.yaml")
    assert two.returncode == 0, two.stderr[-2000:]
    assert workspace.manifest("adapter")["facts"]["world_size"] == 2
    assert losses(workspace.run_folder / "adapter") == pytest.approx(alone, rel=1e-4)


@pytest.fixture
def sliding_model(tiny_model: Path, tokenizer: Any, tmp_path: Path) -> Path:
    """A model whose layers see eight tokens back."""
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=8, max_position_embeddings=512,
    )  # fmt: skip
    torch.manual_seed(1)
    MistralForCausalLM(config).save_pretrained(tmp_path / "sliding")
    tokenizer.save_pretrained(tmp_path / "sliding")
    return tmp_path / "sliding"


@pytest.mark.parametrize("kind", ["tiny_model", "sliding_model"])
def test_local_label_scores_are_the_models_own_log_probabilities(
    kind: str, tokenizer: Any, request: pytest.FixtureRequest
) -> None:
    from transformers import AutoModelForCausalLM

    from evaluation.providers.local import LocalModel

    folder = request.getfixturevalue(kind)
    local = LocalModel(folder, None, dtype=torch.float32, stop_ids=[tokenizer.eos_token_id])
    assert local.has_full_attention is (kind == "tiny_model")
    prompts = [r.prompt for r in rows(4)]
    choices = [local.choice_ids(prompts[0], c) for c in TOPICS]
    asked = [local.prompt_ids(p) for p in prompts]
    got = list(local.score_choices(asked, choices, [False, False, True, False]))
    assert got[2] is None
    assert list(local.score_choices(asked, choices, [True, False, True, True]))[1] == got[1], "a resumed run repeats it"
    plain = AutoModelForCausalLM.from_pretrained(folder)
    for prompt, scores in zip(prompts, got, strict=True):
        for choice, score in zip(choices, scores or [], strict=bool(scores)):
            ids = [*local.prompt_ids(prompt), *choice]
            with torch.no_grad():
                logprobs = torch.log_softmax(plain(torch.tensor([ids])).logits[0].float(), -1)
            whole = sum(float(logprobs[len(ids) - len(choice) + i - 1, t]) for i, t in enumerate(choice))
            assert score == pytest.approx(whole, abs=1e-4)


def test_long_prompts_go_in_smaller_batches() -> None:
    from evaluation.likelihood import batches
    from evaluation.providers.local import BATCH_TOKENS

    lengths = [10, 10, 10, 9_000, 9_000, 20_000]
    assert [len(b) for b in batches(lengths, tokens=BATCH_TOKENS, rows=2)] == [2, 1, 1, 1, 1]
    assert [len(b) for b in batches(lengths, tokens=BATCH_TOKENS, rows=64)] == [3, 1, 1, 1]


def test_answers_are_the_same_whether_the_common_beginning_is_computed_once_or_each_time(
    tiny_model: Path, tokenizer: Any
) -> None:

    from evaluation.providers.local import LocalModel

    local = LocalModel(tiny_model, None, dtype=torch.float32, stop_ids=[tokenizer.eos_token_id])
    told = {
        "role": "system",
        "content": "You answer customers of a help desk, briefly and with what is in the question. " * 3,
    }
    prompts = [local.prompt_ids((told, *r.prompt)) for r in rows(5)]
    common = local.begin(prompts)
    assert common.get_seq_length() > 32
    assert len(set(map(len, prompts))) > 1, "padding stands between what is common and the rest"
    once = local.generate(prompts, max_new_tokens=12, common=common)
    again = local.generate(prompts, max_new_tokens=12, common=common)
    alone = [local.generate([p], max_new_tokens=12)[0] for p in prompts]
    assert [g.token_ids for g in once] == [g.token_ids for g in again] == [g.token_ids for g in alone]
    for a, b in zip(once, alone, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


def test_training_stops_early_and_keeps_the_best(tiny_model: Path, tokenizer: Any, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "global_batch": 1,
        "epochs": 30,
        "learning_rate": 0.1,
        "eval_every": 2,
        "save_every": 2,
        "patience": 2,
    }
    made = make(tiny_model, tokenizer, tmp_path, dev=rows(24)[12:], max_length=256, **settings)
    result = made.train()
    logged = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    found = [x["dev/loss"] for x in logged if "dev/loss" in x]
    assert result.global_step < 30 * len(made.train_dataset)
    assert len(found) >= 3
    assert made.evaluate()["eval_loss"] == pytest.approx(min(found), rel=1e-4)


def test_torn_lines_and_checkpoints_are_left_out(tmp_path: Path) -> None:
    from pipelines.training import trainer

    file = tmp_path / "losses.jsonl"
    file.write_text('{"step": 1, "train/loss": 2.0}\n{"step": 2, "tra')
    resumed = SimpleNamespace(is_world_process_zero=True, global_step=9)
    trainer.Losses(file, lambda *_: None, lambda *_: None).on_train_begin(None, resumed, None)
    assert [json.loads(line) for line in file.read_text().splitlines()] == [{"step": 1, "train/loss": 2.0}]
    torch.save(torch.random.get_rng_state(), random := tmp_path / "rng_state.pth")
    for step, state, kept in (
        (9, "{}", 1.0),
        (10, '{"epoch": 1', 1.0),
        (11, None, 1.0),
        (12, "{}", 0.5),
        (13, "{}", None),
    ):
        (folder := tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
        if kept is not None:
            (folder / random.name).write_bytes(random.read_bytes()[: int(kept * random.stat().st_size)])
    assert train._last_checkpoint(tmp_path, 1) == tmp_path / "checkpoint-9"
    assert train._last_checkpoint(tmp_path, 2) is None, "the other process did not come to write its own"


SHARDED = """
import sys, torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch.distributed import init_process_group, init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForCausalLM
from pipelines.training.trainer import gathered

base, out = sys.argv[1:]
init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
load = lambda: AutoModelForCausalLM.from_pretrained(base)
model = get_peft_model(load(), LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
assert gathered(model) is None
model.save_pretrained(out + "/whole")
fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
model.save_pretrained(out + "/sharded", state_dict=gathered(model))
whole, sharded = (load_file(f"{out}/{n}/adapter_model.safetensors") for n in ("whole", "sharded"))
assert whole.keys() == sharded.keys() and all(torch.equal(whole[k], sharded[k]) for k in whole) and len(whole) > 10
PeftModel.from_pretrained(load(), out + "/sharded")
"""


def test_a_sharded_adapter_is_saved_whole(tiny_model: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHARDED, tiny_model, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_other_weights_of_the_same_size_are_another_base(tmp_path: Path) -> None:
    from pipelines.recipe import Model
    from pipelines.training import base

    weights = torch.randn(6_000_000).numpy()
    (tmp_path / "model.safetensors").write_bytes(weights.tobytes())
    first = base.identity(Model(path=tmp_path))
    assert base.identity(Model(path=tmp_path)) == first
    (tmp_path / "model.safetensors").write_bytes((weights * 1.0001).tobytes())
    assert base.identity(Model(path=tmp_path)) != first


@pytest.mark.slow
def test_training_ends_with_the_command_that_launched_it(workspace: Workspace) -> None:
    assert workspace.freehold("prepare", "desk.yaml").returncode == 0
    workspace.edit("global_batch: 2", "global_batch: 2, max_steps: 100000")
    partial = workspace.run_folder / "adapter.partial"
    line = [sys.executable, "-m", "pipelines.cli", "train", "desk.yaml"]
    command = subprocess.Popen(line, cwd=workspace.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until(lambda: (partial / "losses.jsonl").exists() and (partial / "losses.jsonl").stat().st_size > 0, 120)
    finally:
        command.kill()
        command.wait()
    _until(lambda: not _holds_lock(partial), 20)


def _until(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _holds_lock(folder: Path) -> bool:
    try:
        with artifacts.locked(folder):
            return False
    except artifacts.ArtifactError:
        return True


def test_an_outage_of_mlflow_ends_no_training(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines import tracking

    recipe = recipe_file.load(workspace.recipe)
    listen = train._listener(recipe, tracking.Store(recipe).parent(workspace.recipe))
    listen(1, {"train/loss": 2.0})
    asked: list[int] = []

    def lost(*_: object) -> None:
        asked.append(1)
        raise UserError("MLflow does not answer")

    monkeypatch.setattr(tracking.Store, "metrics", lost)
    for step in (2, 3):
        listen(step, {"train/loss": 2.0})
    assert asked == [1]


@pytest.mark.parametrize("packing", [True, False])
def test_sequences_that_fill_no_whole_batch_are_joined_by_ones_without_loss(
    tiny_model: Path, tokenizer: Any, tmp_path: Path, packing: bool
) -> None:
    made = make(tiny_model, tokenizer, tmp_path, packing=packing, global_batch=5)
    assert len(made.train_dataset) % 5 == 0
    batch = made.data_collator([made.train_dataset[-1]])
    assert (batch["labels"] == -100).all()
    assert made.train().training_loss > 0
