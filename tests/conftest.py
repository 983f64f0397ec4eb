"""Fixtures: a tiny model with tokenizer and chat template, a small help desk, a workspace with a recipe, the command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("MLFLOW_TRACKING_URI", None)

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TOPICS = {
    "billing": "I was charged twice for my plan this month, please refund the second payment of {n} euro",
    "delivery": "my parcel {n} has not arrived, the tracking page shows no progress since last week",
    "pairing": "the hub does not find valve {n}, the light keeps blinking and pairing stops",
}
REPLIES = {
    "billing": "We have refunded payment {n} today; the money reaches your account within five working days.",
    "delivery": "Parcel {n} is at the depot; it will be delivered tomorrow before noon, sorry for the wait.",
    "pairing": "Hold the button of valve {n} for ten seconds, then start pairing again in the app within a minute.",
}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with a byte-level tokenizer of 400 tokens, seeded: a real model folder."""
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def make_tiny_model(folder: Path, *, seed: int = 0, hidden: int = 32) -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator([*TOPICS.values(), *REPLIES.values()] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|im_end|>")
    tokenizer.chat_template = CHATML
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=400, hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=1024, tie_word_embeddings=True,
        bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id, initializer_range=0.2,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.generation_config.pad_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def help_desk(tickets: int = 60) -> dict[str, list[dict[str, Any]]]:
    """A Zendesk export: a customer a ticket, three topics in turn, a ticket a day from 2026-01-01 on."""
    from datetime import UTC, datetime, timedelta

    names = list(TOPICS)
    found: dict[str, list[dict[str, Any]]] = {"tickets": [], "comments": [], "users": []}
    found["users"].append({"id": 1, "name": "Agnes Porter", "email": "agnes@help.example", "role": "agent"})
    words = "amber birch cedar delta ember fjord grove heron inlet jetty knoll lotus maple north ocean pearl quartz river".split()
    for n in range(tickets):
        topic, when = names[n % 3], datetime(2026, 1, 1, 9, tzinfo=UTC) + timedelta(days=n)
        extra = " ".join(words[(n * k + k) % len(words)] for k in range(3, 15))
        user = {"id": 100 + n, "name": f"Customer{n} Example{n}", "email": f"c{n}@mail.example", "role": "end-user"}
        question = f"{TOPICS[topic].format(n=1000 + n)}. {extra}"
        found["users"].append(user)
        found["tickets"].append({
            "id": n + 1, "subject": f"Question {n}", "description": question, "status": "solved", "requester_id": user["id"],
            "assignee_id": 1, "tags": [], "created_at": when.isoformat(), "custom_fields": [{"id": 7, "value": topic}],
        })  # fmt: skip
        for k, (author, text) in enumerate(
            [(user["id"], question), (1, f"{REPLIES[topic].format(n=1000 + n)} {extra}")]
        ):
            found["comments"].append({
                "id": 10 * n + k + 1, "ticket_id": n + 1, "author_id": author, "public": True, "plain_body": text,
                "created_at": (when + timedelta(hours=k)).isoformat(),
            })  # fmt: skip
    return found


def write_export(folder: Path, export: dict[str, list[dict[str, Any]]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in export.items():
        (folder / f"{name}.json").write_text(json.dumps({name: rows}))
    return folder


@pytest.fixture(scope="session")
def mlflow_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty tracking store, made once: creating its tables takes seconds."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@dataclass
class Workspace:
    folder: Path
    recipe: Path

    @property
    def run_folder(self) -> Path:
        return self.folder / "runs" / "desk"

    def copy(self, folder: Path) -> Workspace:
        """A private copy, for a test that changes it."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Workspace(folder, folder / self.recipe.name)

    def edit(self, old: str, new: str) -> None:
        text = self.recipe.read_text()
        assert old in text, f"{old!r} is not in the recipe"
        self.recipe.write_text(text.replace(old, new))

    def freehold(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command as a user would, from the workspace."""
        # MLflow leaves the store of a test in this process in the environment
        ours = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *arguments], cwd=self.folder, env={**ours, **environment},
            capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip

    def manifest(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run_folder / name / "manifest.json").read_text())
        return found


RECIPE = """\
name: desk
seed: 3
sources:
  - {{name: desk, kind: zendesk, path: export, options: {{custom_fields: {{topic: 7}}}}}}
dataset: {{test_from: 2026-02-10T00:00:00Z, dev_share: 0.1}}
tasks:
  - kind: triage
    options: {{field: topic, labels: [billing, delivery, pairing], instruction: "Sort: {{labels}}.", max_chars: 80}}
  - kind: draft_reply
    options: {{instruction: Answer., min_words: 5}}
    max_train_rows: 6
    max_dev_rows: 1
    max_test_rows: 2
model: {{path: {model}}}
training: {{rank: 4, alpha: 8, learning_rate: 5.0e-3, max_length: 512, global_batch: 2, eval_every: 4, save_every: 4, warmup_steps: 2,
  precision: fp32}}
evaluation:
  arms: [base, few_shot, tuned, api]
  few_shot_examples: 3
  max_new_tokens: 8
  batch_size: 2
  golden_prompts: 2
  api: {{label_mode: systemone, price_as: {{provider: openai, model: gpt-4o-mini}}, concurrency: 2}}
decision:
  baseline: api
  must_pass: [task=triage]
  metrics: {{triage: label_accuracy, draft_reply: chrf}}
  min_items: 10
  hardware: {{name: laptop, usd_per_hour: 0.1, source: guess, date: 2026-11-01}}
promotion:
  alias: desk-triage
  target: {{kind: directory, options: {{path: served, serve_check: false}}}}
"""


@pytest.fixture
def workspace(tmp_path: Path, tiny_model: Path, mlflow_db: Path) -> Workspace:
    return make_workspace(tmp_path, tiny_model, mlflow_db)


def make_workspace(folder: Path, model: Path, db: Path) -> Workspace:
    write_export(folder / "export", help_desk())
    recipe = folder / "desk.yaml"
    recipe.write_text(RECIPE.format(model=model))
    (folder / "runs").mkdir()
    shutil.copy(db, folder / "runs" / "mlflow.db")
    (folder / "runs" / "surrogate.key").write_text("ab" * 32)
    return Workspace(folder, recipe)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, mlflow_db: Path) -> Workspace:
    """A workspace where `freehold run` has finished; tests that change it copy it first."""
    made = make_workspace(tmp_path_factory.mktemp("finished"), tiny_model, mlflow_db)
    done = made.freehold("run", "desk.yaml")
    assert done.returncode in (0, 3, 4), done.stderr[-3000:]
    return made


@pytest.fixture
def copied(finished: Workspace, tmp_path: Path) -> Workspace:
    """A private copy of the finished workspace."""
    return finished.copy(tmp_path / "copy")


@pytest.fixture
def tally() -> Any:
    from data_prep.records import Tally

    return Tally()
