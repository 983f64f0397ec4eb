"""Tasks of lm-evaluation-harness on a real model, against log-probabilities computed here; no network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from data_prep.records import UserError
from evaluation import general, harness
from evaluation.providers.local import LocalModel

TASK = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
target_delimiter: ""
metric_list: [{{metric: {metric}}}]
"""
QUESTIONS = [
    {"question": f"The hub number {n} shows", "choices": [" a red light", " a green valve", " no error"], "answer": n % 3}
    for n in range(12)
]  # fmt: skip


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    file = folder / "hubs.jsonl"
    file.write_text("".join(json.dumps(q) + "\n" for q in QUESTIONS))
    (folder / "hubs.yaml").write_text(TASK.format(name="hubs", file=file, metric="acc"))
    (folder / "worse.yaml").write_text(TASK.format(name="worse", file=file, metric="brier_score"))
    (folder / "gone.yaml").write_text(TASK.format(name="gone", file=folder / "nowhere.jsonl", metric="acc"))
    return folder


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    """The tiny model with an adapter that changes what it says."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    tuned = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, weights in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=1.0)
    adapter = tmp_path_factory.mktemp("adapter")
    tuned.save_pretrained(adapter)
    return LocalModel(tiny_model, adapter, dtype=torch.float32, stop_ids=[0])


@torch.inference_mode()
def right(model: LocalModel, question: dict[str, object]) -> float:
    """Whether the right choice has the highest log-probability, by a forward pass of our own."""
    found = []
    asked = model.tokenizer(question["question"])["input_ids"]
    for choice in question["choices"]:  # type: ignore[attr-defined]
        whole = model.tokenizer(f"{question['question']}{choice}")["input_ids"]
        logprobs = torch.log_softmax(model.model(input_ids=torch.tensor([whole])).logits[0].float(), dim=-1)
        found.append(sum(float(logprobs[i - 1, whole[i]]) for i in range(len(asked), len(whole))))
    return float(max(range(3), key=found.__getitem__) == question["answer"])


def test_a_tasks_scores_are_paired_before_and_after_tuning(model: LocalModel, tasks: Path) -> None:
    found = harness.compare(model, ["hubs"], folder=tasks, max_items=10, batch_size=4)
    assert [c.tuned for c in found] == [right(model, q) for q in QUESTIONS[:10]]
    with model.untuned():
        assert [c.base for c in found] == [right(model, q) for q in QUESTIONS[:10]]
    assert [c.base for c in found] != [c.tuned for c in found], "the adapter makes a difference"
    said = general.judge(found, metric="task_score", max_drop=0.01)
    assert "mean task score" in said["sentence"]
    assert said["measured"] == 10


@pytest.mark.parametrize(
    ("task", "told"),
    [
        pytest.param("nonsense", "knows no task nonsense", marks=pytest.mark.slow),
        pytest.param("gone", r"gone: .*nowhere\.jsonl", marks=pytest.mark.slow),
        ("worse", "measures brier_score, which is better when lower"),
    ],
)
def test_a_task_that_cannot_be_used_is_told(model: LocalModel, tasks: Path, task: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        harness.compare(model, [task], folder=tasks, max_items=2, batch_size=2)


def test_a_missing_folder_is_told(model: LocalModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        harness.compare(model, ["hubs"], folder=tmp_path / "nowhere", max_items=2, batch_size=2)
