"""Does the leak audit tell a model that was trained on canaries from one that was not? SmolLM2-135M on the demo company.

    python tests/bench/canaries.py [SCRATCH]

Prepares the demo's dataset and trains two adapters with the demo's settings on the CPU (one epoch), one with eight canaries at
eight repetitions among the rows and one without; audits both for the same canaries. Writes canaries.json.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
RECORD = HERE / "canaries.json"
NUMBER, REPETITIONS = 8, (8,)


def main(scratch: Path) -> None:
    from transformers import AutoTokenizer

    from data_prep.parquet import read_rows
    from evaluation import canaries, gates, leaks
    from evaluation.decision import Decision, Gates
    from evaluation.providers.local import LocalModel
    from pipelines import recipe_file, stages
    from pipelines.training import base as bases
    from pipelines.training import exactness, trainer

    recipe_path = ROOT / "recipes" / "demo" / "demo.yaml"
    recipe = recipe_file.load(recipe_path).model_copy(update={"workdir": scratch / "run"})
    stages.run("prepare", recipe, stages.How(recipe_path))
    dataset = stages.folder(recipe, "prepare")
    rows = {side: list(read_rows(dataset, side)) for side in ("train", "dev", "test")}
    base = bases.materialise(recipe)
    tokenizer = AutoTokenizer.from_pretrained(base.folder)
    drawn = canaries.draw(number=NUMBER, repetitions=REPETITIONS, seed=recipe.seed)
    length = recipe.training.max_length
    chosen = leaks.Settings(rows=30, values=50, max_extracted=0.01, max_tpr=0.1, max_length=length, seed=recipe.seed)
    changed = {"eval_every": None, "save_every": 10_000}
    settings = recipe.training.model_copy(update=changed)
    passing = Decision("self_host", "", [], Gates("tuned", "api", 0.9, 0.05, {}, (), 30, 0.9))
    record: dict[str, Any] = {
        "model": "SmolLM2-135M-Instruct", "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "canaries": {"number": NUMBER, "repetitions": REPETITIONS, "controls": NUMBER, "codes": len(canaries.CODES)},
        "training": settings.model_dump(mode="json", include={"rank", "alpha", "learning_rate", "epochs", "last_layers", "global_batch", "packing"}),
    }  # fmt: skip
    for name, planted in (("with canaries", canaries.planted(drawn)), ("without canaries", [])):
        folder = scratch / name.replace(" ", "-")
        train = exactness.fitting([*rows["train"], *planted], tokenizer, max_length=length)[0]
        started = time.perf_counter()
        losses = trainer.Losses(scratch / "losses.jsonl", lambda _step, _values: None, lambda _step, _total: None)
        made = trainer.make(
            base.folder, tokenizer, train, [], settings, folder / "checkpoints", seed=recipe.seed, callback=losses
        )
        steps = made.train().global_step
        made.model.save_pretrained(folder)
        trained_s = time.perf_counter() - started
        del made
        stops = exactness.stop_token_ids(tokenizer)
        model = LocalModel(base.folder, folder, dtype=trainer.precision(settings), stop_ids=stops)
        started = time.perf_counter()
        found = leaks.audit(model, rows["train"], [*rows["dev"], *rows["test"]], drawn, chosen)
        audited_s = time.perf_counter() - started
        found["membership"].pop("rows", None)
        record[name] = {
            "rows": len(train), "steps": steps, "train_s": round(trained_s), "audit_s": round(audited_s),
            "verdict": gates.blocked(passing, found["gates"]).verdict, **found,
        }  # fmt: skip
        print(name, json.dumps(record[name], indent=1))
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
    refused, kept = record["with canaries"], record["without canaries"]
    at_eight = next(r["p"] for r in refused["canaries"]["by_repetitions"] if r["repetitions"] == 8)
    assert at_eight < 0.01, at_eight
    assert kept["canaries"]["p"] > 0.01, kept["canaries"]["p"]
    assert (refused["verdict"], kept["verdict"]) == ("api", "self_host")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
