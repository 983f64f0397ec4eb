"""General ability by tasks of lm-evaluation-harness (the extra `[lm-eval]`), the same items before and after tuning.

The harness's own comparison takes paired items for independent ones, so only its scores an item are used; the interval is ours
(evaluation.general). Of each task the first metric of its configuration counts, at the last of its filters. Prompts are the
harness's, without a chat template, so that scores compare with published ones. Tasks whose data is not on this machine are
fetched by `datasets`; those that run code of a model's answer are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.records import UserError
from evaluation.general import Comparison

if TYPE_CHECKING:
    from evaluation.providers.local import LocalModel

SETTING = "evaluation.general.lm_eval"


def compare(
    model: LocalModel, tasks: Sequence[str], *, folder: Path | None, max_items: int, batch_size: int
) -> list[Comparison]:
    """One Comparison an item of each task, at most max_items a task. folder: of task files besides the harness's own.

    Raises UserError where the extra is missing, a task is unknown or its data cannot be had, or its metric is better when lower.
    """
    try:
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as e:
        raise UserError(
            f'{SETTING} needs the extra [lm-eval] ({e}): pip install -c constraints.txt -e ".[lm-eval]"'
        ) from e
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    if folder is not None and not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Correct {SETTING}_folder, or leave it out.")
    manager = TaskManager(include_path=str(folder) if folder else None)
    unknown = sorted(set(tasks) - set(manager.all_tasks))
    if unknown:
        raise UserError(f"{SETTING}: the harness knows no task {', '.join(unknown)}. `lm_eval ls tasks` lists them.")
    asked = HFLM(
        pretrained=model.model, tokenizer=model.tokenizer, batch_size=batch_size, max_length=model.max_positions
    )
    tuned = _scores(asked, tasks, manager, max_items)
    with model.untuned():
        base = _scores(asked, tasks, manager, max_items)
    return [Comparison(base.get(key), value) for key, value in sorted(tuned.items())]


def _scores(asked: Any, tasks: Sequence[str], manager: Any, max_items: int) -> dict[tuple[str, int], float]:
    """(task, item) → score."""
    from lm_eval import simple_evaluate

    try:
        done = simple_evaluate(
            model=asked, tasks=list(tasks), task_manager=manager, limit=max_items, bootstrap_iters=0, log_samples=True
        )
    except Exception as e:  # of datasets, of a task's own code: neither has a common kind
        raise UserError(f"{SETTING} {', '.join(tasks)}: {type(e).__name__}: {' '.join(str(e).split())[:300]}") from e
    found: dict[tuple[str, int], float] = {}
    for task, samples in done["samples"].items():
        metric = done["configs"][task]["metric_list"][0]["metric"]
        if not done["higher_is_better"][task].get(metric, True):
            raise UserError(f"{SETTING}: {task} measures {metric}, which is better when lower. Choose another task.")
        for sample in samples:  # a later filter replaces an earlier one
            found[task, sample["doc_id"]] = float(sample[metric])
    return found
