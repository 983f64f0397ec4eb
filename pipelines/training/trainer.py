"""TRL's SFTTrainer as we run it: exact packing, LoRA or QLoRA, losses to MLflow and to a log file, checkpoints, resume."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from torch.distributed.tensor import DTensor
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    EarlyStoppingCallback,
    PrinterCallback,
    TrainerCallback,
)
from trl import SFTConfig, SFTTrainer

from data_prep.records import Row
from evaluation.results import read_lines
from pipelines import artifacts
from pipelines.progress import Update
from pipelines.recipe import Training


class CompletionHeadTrainer(SFTTrainer):
    """SFTTrainer that, on the CPU, projects only the positions that carry loss onto the vocabulary.

    TRL does this on CUDA and scores every position elsewhere. Same loss; with labels a few tokens long and a vocabulary of
    49,152 the head would be a fifth of a step. `num_items_in_batch` and the scaling over ranks are as in TRL's own.
    """

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if return_outputs or next(model.parameters()).device.type != "cpu":
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs.pop("labels")
        inputs["use_cache"] = False
        wanted = labels[:, 1:] != -100
        positions = wanted.any(dim=0).nonzero().squeeze(1)
        logits = model(**inputs, logits_to_keep=positions).logits
        wanted = wanted[:, positions]
        targets = labels[:, 1:][:, positions][wanted]
        losses = torch.nn.functional.cross_entropy(logits[wanted].float(), targets, reduction="sum")
        tokens = wanted.sum() if num_items_in_batch is None else num_items_in_batch
        loss = losses / torch.as_tensor(tokens).clamp(min=1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        inputs["labels"] = labels
        return loss


class Losses(TrainerCallback):
    """Losses by step: into a JSONL file that a resumed run goes on with, and to whoever listens."""

    def __init__(self, file: Path, listen: Callable[[int, dict[str, float]], None], update: Update) -> None:
        self._file, self._listen, self._update = file, listen, update

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        kept = []
        if self._file.exists():  # what was logged after the checkpoint that training resumes from is computed again
            kept = [x for x in read_lines(self._file) if x["step"] <= state.global_step]
        artifacts.write_text(self._file, "".join(f"{json.dumps(x)}\n" for x in kept))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if not state.is_world_process_zero or not logs:
            return
        named = {
            "loss": "train/loss",
            "grad_norm": "train/grad_norm",
            "learning_rate": "train/learning_rate",
            "eval_loss": "dev/loss",
        }
        found = {name: float(logs[key]) for key, name in named.items() if key in logs}
        if found:
            with self._file.open("a") as f:
                f.write(json.dumps({"step": state.global_step, **found}) + "\n")
            self._listen(state.global_step, found)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            self._update(state.global_step, state.max_steps)


def gathered(model: Any) -> dict[str, torch.Tensor] | None:
    """The trained weights whole, on the CPU, where FSDP2 sharded them; None where it did not. All processes call it together."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not any(isinstance(p, DTensor) for p in trained.values()):
        return None
    return {n: (p.full_tensor() if isinstance(p, DTensor) else p).detach().cpu() for n, p in trained.items()}


def precision(settings: Training) -> torch.dtype:
    """bf16 where the hardware multiplies it natively: CUDA from Ampere on, CPUs with AMX or AVX-512 BF16."""
    if settings.precision != "auto":
        return torch.bfloat16 if settings.precision == "bf16" else torch.float32
    return torch.bfloat16 if has_bf16() else torch.float32


def has_bf16() -> bool:
    """Whether this machine multiplies bf16 natively; emulation is many times slower than fp32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def lora_config(settings: Training, model: Any) -> LoraConfig:
    """all-linear is spelled out: PEFT takes the word only where all layers are adapted."""
    layers = model.config.get_text_config().num_hidden_layers
    modules = list(settings.target_modules)
    if settings.target_modules == ("all-linear",):
        head = model.get_output_embeddings()
        linear = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head]
        modules = sorted({name.rsplit(".", 1)[-1] for name in linear})
    last = list(range(layers - settings.last_layers, layers)) if settings.last_layers else None
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=modules,
        layers_to_transform=last,
        task_type="CAUSAL_LM",
    )


def quantization(settings: Training, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    if settings.method != "qlora":
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=dtype,  # so that FSDP can shard the quantised weights
    )


def config(settings: Training, checkpoints: Path, *, seed: int, has_dev: bool, dtype: torch.dtype) -> SFTConfig:
    every = settings.eval_every if has_dev else None
    stops_early = bool(every and settings.patience)
    return SFTConfig(
        output_dir=str(checkpoints),
        seed=seed,
        data_seed=seed,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup_steps,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        per_device_train_batch_size=settings.device_batch,
        per_device_eval_batch_size=settings.device_batch,
        gradient_accumulation_steps=settings.global_batch // (settings.device_batch * settings.world_size),
        max_length=settings.max_length,
        packing=settings.packing,
        eval_packing=settings.packing,
        packing_strategy="bfd",
        shuffle_dataset=True,
        bf16=dtype == torch.bfloat16,
        gradient_checkpointing=settings.activation_checkpointing,
        optim="adamw_torch",
        logging_steps=1,
        logging_nan_inf_filter=False,  # a NaN is news, not noise
        eval_strategy="steps" if every else "no",
        eval_steps=every,
        save_strategy="steps",
        save_steps=settings.save_every,
        save_total_limit=2,
        load_best_model_at_end=stops_early,
        restore_callback_states_from_checkpoint=stops_early,  # else a kill forgets bad evaluations
        metric_for_best_model="eval_loss" if stops_early else None,
        greater_is_better=False if stops_early else None,
        report_to="none",  # our own callback logs; the stock one opens a run of its own
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        remove_unused_columns=True,
    )


def whole_batches(dataset: Any, global_batch: int, fill: int) -> Any:
    """The sequences, filled up to whole global batches with ones that carry no loss.

    Otherwise accelerate repeats sequences to give every process as many, and the last step of two processes would learn
    another thing than that of one.
    """
    from datasets import Dataset, concatenate_datasets

    missing = -len(dataset) % global_batch
    if not missing:
        return dataset
    empty = {"input_ids": [fill, fill], "labels": [-100, -100], "seq_lengths": [2]}
    dataset = dataset.select_columns([k for k in empty if k in dataset.column_names])  # unpacked rows keep their texts
    rows = [{k: empty[k] for k in dataset.column_names}] * missing
    return concatenate_datasets([dataset, Dataset.from_list(rows, features=dataset.features)])


def make(
    base: Path,
    tokenizer: Any,
    train: list[Row],
    dev: list[Row],
    settings: Training,
    checkpoints: Path,
    *,
    seed: int,
    callback: TrainerCallback,
) -> CompletionHeadTrainer:
    """The trainer over conversational prompt/completion rows. The model is loaded here, once per process."""
    from datasets import Dataset

    dtype = precision(settings)
    # before the model: what `args` sets up says which GPU is this process's, and that FSDP is to load the base once a node
    args = config(settings, checkpoints, seed=seed, has_dev=bool(dev), dtype=dtype)
    quantized = quantization(settings, dtype)
    local = {"": args.device} if quantized is not None and args.device.type == "cuda" else None
    model = AutoModelForCausalLM.from_pretrained(
        base,
        dtype=dtype,
        quantization_config=quantized,
        device_map=local,
        use_safetensors=True,
        attn_implementation="sdpa",
    )
    model.config.use_cache = False

    def table(rows: list[Row]) -> Dataset:
        return Dataset.from_list([{"prompt": list(r.prompt), "completion": list(r.completion)} for r in rows])

    callbacks = [callback]
    if settings.patience is not None and dev:
        callbacks.append(EarlyStoppingCallback(settings.patience))
    made = CompletionHeadTrainer(
        model=model,
        args=args,
        train_dataset=table(train),
        eval_dataset=table(dev) if dev and settings.eval_every else None,
        processing_class=tokenizer,
        peft_config=lora_config(settings, model),
        callbacks=callbacks,
    )
    made.train_dataset = whole_batches(made.train_dataset, settings.global_batch, tokenizer.eos_token_id)
    made.remove_callback(PrinterCallback)  # our own progress lines say it shorter
    return made
