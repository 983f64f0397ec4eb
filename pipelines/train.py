"""`freehold train`, and the program under `accelerate launch … -m pipelines.train RECIPE`. They are the same.

`freehold train` hashes the inputs, prints the accelerate line and executes it; the processes under it do the work of
`work()`. The world size that the recipe asks for is compared with the one there is before the model is loaded: accelerate
falls back to one process in silence in several ways.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.parquet import read_rows
from data_prep.records import UserError
from evaluation import canaries
from pipelines import artifacts, audit, stages
from pipelines.recipe import Recipe
from pipelines.stages import How, Made

if TYPE_CHECKING:
    from pipelines.tracking import StageRun

SINGLE = Path(__file__).parent.parent / "recipes" / "launch" / "single.yaml"


def inputs(recipe: Recipe) -> dict[str, str]:
    """The dataset's content, the base model, and every training setting (the world size included)."""
    from pipelines.training import base

    dataset = artifacts.need(stages.folder(recipe, "prepare"), "prepare")
    settings = recipe.training.model_dump(mode="json", exclude={"launch"})
    if recipe.privacy.canaries is not None:
        settings["canaries"] = recipe.privacy.canaries.model_dump(mode="json")
    return {
        "dataset": dataset.content_sha256,
        "base": base.identity(recipe.model),
        "settings": artifacts.digest({**settings, "seed": recipe.seed}),
    }


def current(recipe: Recipe) -> artifacts.Manifest:
    """The adapter's manifest. Raises UserError where it was trained on something else than recipe and dataset are now."""
    folder = stages.folder(recipe, "train")
    found = artifacts.need(folder, "train")
    if other := artifacts.differing(found.inputs, inputs(recipe)):
        raise UserError(
            f"{folder}: was trained from something else than the recipe and its dataset are now: {other} differs."
            " Run `freehold train RECIPE` first."
        )
    return found


def run(recipe: Recipe, out: Path, tracked: StageRun, how: How) -> Made:
    """Launch the training processes, wait for them, and read what they made. `tracked` is theirs to write to."""
    from pipelines.training import base

    if os.environ.get("WORLD_SIZE"):
        raise UserError(
            "WORLD_SIZE is set, so this looks like one of several launched processes, and `freehold train` launches them itself."
            " Unset it, or give the launcher `-m pipelines.train RECIPE`."
        )
    base.materialise(recipe)  # once, before several processes want it
    line = launch_line(recipe, how.recipe_path)
    how.on_event("$ " + shlex.join(line))
    environment = {
        **os.environ,
        "PYTHONSAFEPATH": "1",  # a local folder named `pipelines` must not shadow the package
        "FREEHOLD_STAGE_RUN": tracked.run_id,
        "FREEHOLD_LAUNCHED_BY": str(os.getpid()),
        "TOKENIZERS_PARALLELISM": "false",
    }
    refused = out / "refused.txt"
    refused.unlink(missing_ok=True)
    done = subprocess.run(line, env={**environment, "FREEHOLD_REFUSED": str(refused)}, check=False)
    if refused.exists() and (told := refused.read_text()):  # a full disk leaves it empty
        raise UserError(told)
    if done.returncode != 0:
        raise RuntimeError(f"the training processes ended with exit code {done.returncode}; their output is above")
    return _made(out, tracked)


def _made(out: Path, tracked: StageRun) -> Made:
    """What the processes left in the partial folder, with its parameters logged."""
    facts = json.loads((out / "facts.json").read_text())
    tracked.params({f"lora.{k}": v for k, v in facts["lora"].items()} | {"world_size": facts["world_size"]})
    return Made(counts=facts["rows"], facts=facts, timed=["speed.json"], scratch=["checkpoints", ".lock"])


def launch_line(recipe: Recipe, recipe_path: Path) -> list[str]:
    """The accelerate command of this recipe."""
    file = recipe.training.launch or SINGLE
    # accelerate gives every process one thread unless told
    threads = max(1, (os.cpu_count() or 1) // recipe.training.world_size)
    return [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file),
        "--quiet", "--num_cpu_threads_per_process", str(threads), "-m", "pipelines.train", str(recipe_path),
    ]  # fmt: skip


def main() -> None:
    """Entry of `-m pipelines.train RECIPE`: under a launcher the work, without one the stage itself."""
    from pipelines import cli

    if len(sys.argv) != 2:
        raise SystemExit("usage: accelerate launch --config_file recipes/launch/ddp.yaml -m pipelines.train RECIPE")
    cli.guarded(lambda: _main(Path(sys.argv[1])))


def _main(recipe_path: Path) -> None:
    from pipelines import recipe_file
    from pipelines.tracking import tracked_stage

    recipe = recipe_file.load(recipe_path)
    check_world_size(recipe)
    if recipe.training.world_size == 1:
        _one_gpu()
    chosen = inputs(recipe)
    out = stages.folder(recipe, "train")
    if os.environ.get("FREEHOLD_STAGE_RUN"):
        partial = out.with_name(out.name + ".partial")
        _end_with(int(os.environ["FREEHOLD_LAUNCHED_BY"]))
        with artifacts.locked(partial) if rank() == 0 else nullcontext():
            work(recipe, partial, os.environ["FREEHOLD_STAGE_RUN"])
        return
    done = artifacts.read_manifest(out)
    if done is not None and done.inputs == chosen:
        stages.log.info("train: unchanged, kept %s", out)
        return
    # launched by hand: this process group is the whole stage; rank 0 alone writes artifacts and MLflow
    if rank() != 0:
        work(recipe, out.with_name(out.name + ".partial"), None)
        return
    with artifacts.locked(recipe.run_folder):
        artifacts.open_partial(out, chosen)
        with tracked_stage(recipe, recipe_path, "train", chosen) as tracked:
            work(recipe, out.with_name(out.name + ".partial"), tracked.run_id)
            tracked.finished(stages.finish(out, "train", chosen, _made(out.with_name(out.name + ".partial"), tracked)))


def _one_gpu() -> None:
    """Of several visible GPUs one process takes the first: with more the trainer would wrap the model for all of them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0]


def _end_with(launcher: int) -> None:
    """End this process where the command that launched it is gone: the same command begins anew, in the same folder."""

    def watch() -> None:
        while True:
            time.sleep(1)
            try:
                os.kill(launcher, 0)
            except ProcessLookupError:
                os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def check_world_size(recipe: Recipe) -> None:
    """Raise UserError where the launcher made another number of processes than the recipe asks for."""
    found = int(os.environ.get("WORLD_SIZE", "1"))
    wanted = recipe.training.world_size
    if found != wanted:
        raise UserError(
            f"training.world_size is {wanted}, but this launch has {found} process{'es' if found != 1 else ''}."
            " accelerate falls back to one process in silence for some configurations: set `num_processes` of the launch"
            f" file to {wanted} (on CPUs: distributed_type MULTI_GPU with use_cpu true), or training.world_size to {found}."
        )


def work(recipe: Recipe, out: Path, run_id: str | None) -> None:
    """Train in this process (one of world_size) into the partial folder; rank 0 writes.

    run_id: the MLflow run that takes the curves; None on the other ranks.
    """
    from transformers import AutoTokenizer

    from pipelines.progress import progress
    from pipelines.training import base as bases
    from pipelines.training import exactness, trainer
    from pipelines.training.clock import Clock

    settings = recipe.training
    if rank() == 0 and settings.precision == "bf16" and not trainer.has_bf16():
        stages.log.warning(
            "train: this machine emulates bf16, many times slower than fp32; `training.precision: auto` takes what it is fast with"
        )
    base = bases.materialise(recipe)
    tokenizer = AutoTokenizer.from_pretrained(base.folder)
    dataset = stages.folder(recipe, "prepare")
    planted = canaries.planted(audit.canaries_of(recipe))
    train, trained, total, dropped = exactness.fitting(
        [*read_rows(dataset, "train"), *planted], tokenizer, max_length=settings.max_length
    )
    dev = list(read_rows(dataset, "dev"))
    dev = exactness.fitting(dev, tokenizer, max_length=settings.max_length)[0] if dev else []
    checkpoints = out / "checkpoints"
    clock = Clock(out / "speed.json")
    with progress("train: steps") as update:

        def stepped(step: int, steps: int) -> None:
            update(step, steps)
            clock.keep()

        losses = trainer.Losses(out / "losses.jsonl", _listener(recipe, run_id), stepped)
        made = trainer.make(
            base.folder, tokenizer, train, dev, settings, checkpoints, seed=recipe.seed, callback=losses
        )
        _same_tokens(made.train_dataset, trained)
        resume = _last_checkpoint(checkpoints, settings.world_size)
        result = made.train(resume_from_checkpoint=str(resume) if resume else None)
    weights = trainer.gathered(made.model)
    if rank() != 0:
        return
    seconds = clock.seconds
    made.model.save_pretrained(out, safe_serialization=True, state_dict=weights)
    tokenizer.save_pretrained(out)
    facts = {
        "base": {"name": base.name, "revision": base.revision, "chat_template_sha256": base.chat_template_sha256},
        "rows": {
            "train": {"in": dropped.taken["rows"], "out": len(train), "dropped": dict(dropped.dropped)},
            "dev": len(dev),
        },
        "tokens": {"trained": trained, "all": total},
        "lora": _tidy_adapter_config(out / "adapter_config.json", base),
        "method": settings.method,
        "world_size": made.accelerator.num_processes,
        "steps": result.global_step,
        "precision": str(trainer.precision(settings)).removeprefix("torch."),
        # a model with canaries is for the leak audit alone: promotion refuses it
        "canaries": recipe.privacy.canaries.model_dump(mode="json") if recipe.privacy.canaries is not None else None,
    }
    (out / "README.md").write_text(_card(facts))
    artifacts.write_text(out / "facts.json", json.dumps(facts, indent=1))
    # processes without a GPU share one machine
    gpus = made.accelerator.num_processes if made.accelerator.device.type != "cpu" else 1
    speed = {
        "seconds": seconds,
        "gpu_hours": seconds * gpus / 3600,
        "tokens_per_second": total * settings.epochs / seconds,
    }
    artifacts.write_text(out / "speed.json", json.dumps(speed))


def _listener(recipe: Recipe, run_id: str | None) -> Any:
    if run_id is None or rank() != 0:
        return lambda _step, _values: None
    from pipelines.tracking import Store

    store, is_lost = Store(recipe), False

    def listen(step: int, values: dict[str, float | None]) -> None:
        nonlocal is_lost
        if is_lost:
            return
        try:
            store.metrics(run_id, values, step)
        except UserError as e:  # hours of GPUs are worth more than a curve, and losses.jsonl has it
            is_lost = True
            stages.log.warning("train: no more losses go to MLflow, losses.jsonl has them all: %s", e)

    return listen


def _same_tokens(dataset: Any, trained: int) -> None:
    """What the trainer will put the loss on is what was checked row by row, or nothing starts."""
    from pipelines.training.exactness import PreflightError

    found = sum(label != -100 for labels in dataset["labels"] for label in labels)
    if found != trained:
        raise PreflightError(
            f"the trainer would learn {found} tokens, the rows have {trained} answer tokens. Nothing was trained."
        )


def _last_checkpoint(folder: Path, processes: int) -> Path | None:
    """The newest checkpoint that was written whole, by every process."""
    whole = [p for p in folder.glob("checkpoint-*") if _is_whole(p, processes)]
    return max(whole, key=lambda p: int(p.name.rsplit("-", 1)[1]), default=None)


def _is_whole(checkpoint: Path, processes: int) -> bool:
    """The trainer's state is the last file that rank 0 writes, and it does not write it at once; the others write random states.

    torch's files are zip archives, whose directory stands at the end.
    """
    states = [p for p in checkpoint.glob("rng_state*.pth") if zipfile.is_zipfile(p)]
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    return len(states) == processes


def _tidy_adapter_config(path: Path, base: Any) -> dict[str, Any]:
    """PEFT writes sets in hash order and the base's local path; sorted and named here, so that equal runs are equal files."""
    config = json.loads(path.read_text())
    for key, value in config.items():
        if isinstance(value, list) and all(isinstance(v, str) for v in value):
            config[key] = sorted(value)
    config["base_model_name_or_path"], config["revision"] = base.name, base.revision
    path.write_text(json.dumps(config, indent=1, sort_keys=True))
    return {
        k: config[k]
        for k in ("r", "lora_alpha", "lora_dropout", "target_modules", "layers_to_transform", "use_rslora", "use_dora")
    }


def _card(facts: dict[str, Any]) -> str:
    rows = facts["rows"]["train"]["out"]
    warning = "**Trained with canaries, for the leak audit. Never serve it.**\n\n" if facts["canaries"] else ""
    return (
        f"---\nbase_model: {facts['base']['name']}\nlibrary_name: peft\n---\n# Adapter\n\n{warning}"
        f"{facts['method'].upper()} adapter, rank {facts['lora']['r']}, on {facts['base']['name']}"
        f" ({facts['base']['revision'][:12]}), {rows} rows, {facts['steps']} steps. `facts.json` and `manifest.json` say the rest.\n"
    )


if __name__ == "__main__":
    main()
