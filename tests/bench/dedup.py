"""Near duplicates, side by side in one run: ours, datatrove's MinHash stages, datasketch. Speed, recall, false merges.

    python tests/bench/dedup.py

Needs datatrove, datasketch and xxhash<4 in the interpreter that runs it (datatrove's hashing fails with xxhash 4); a peer that
is missing is left out and said to be. 20,000 random texts of 46 words and 4,000 copies of the first ones with 5 % of the words
changed. Writes dedup.json.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent))
RECORD = HERE / "dedup.json"
TEXTS, COPIES, WORDS, CHANGED = 20_000, 4_000, 46, 0.05
THRESHOLD = 0.7


def texts() -> list[str]:
    rng = random.Random(7)
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u") for c in "bdfgklmnprst"]
    words = [w + v for w in words for v in ("", "a", "en", "ir")]
    made = [" ".join(rng.choices(words, k=WORDS)) for _ in range(TEXTS)]
    copies = []
    for text in made[:COPIES]:
        edited = text.split()
        for _ in range(max(1, round(CHANGED * WORDS))):
            edited[rng.randrange(WORDS)] = rng.choice(words)
        copies.append(" ".join(edited))
    return made + copies


def ours(every: list[str]) -> set[int]:
    from data_prep import dedup

    found = dedup.find([dedup.signature(t) for t in every], every.__getitem__, threshold=THRESHOLD)
    return {i for i, (e, n) in enumerate(zip(found.exact, found.near, strict=True)) if e is not None or n is not None}


def datasketch(every: list[str]) -> set[int]:
    from datasketch import MinHash, MinHashLSH

    from data_prep.dedup import shingles

    index, found = MinHashLSH(threshold=THRESHOLD, num_perm=128), set()
    for i, text in enumerate(every):
        sketch = MinHash(num_perm=128)
        sketch.update_batch([s.encode() for s in shingles(text)])
        if index.query(sketch):
            found.add(i)
        else:
            index.insert(str(i), sketch)
    return found


def datatrove(every: list[str]) -> set[int]:
    """Its four stages on two local workers, as its example has them, with word 3-grams and 14 buckets of 8 hashes."""
    from datatrove.data import Document
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.base import PipelineStep
    from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.writers.jsonl import JsonlWriter

    class Texts(PipelineStep):  # type: ignore[misc]
        def run(self, data=None, rank=0, world_size=1):  # type: ignore[no-untyped-def]  # noqa: ARG002
            for i in range(rank, len(every), world_size):
                yield Document(text=every[i], id=str(i))

    folder = Path(tempfile.mkdtemp(prefix="datatrove-"))
    config = MinhashConfig(n_grams=3)
    stages = [
        ([Texts(), MinhashDedupSignature(output_folder=str(folder / "s"), config=config)], 2),
        ([MinhashDedupBuckets(input_folder=str(folder / "s"), output_folder=str(folder / "b"), config=config)], config.num_buckets),
        ([MinhashDedupCluster(input_folder=str(folder / "b"), output_folder=str(folder / "r"), config=config)], 1),
        ([Texts(), MinhashDedupFilter(input_folder=str(folder / "r")), JsonlWriter(str(folder / "o"), compression=None)], 2),
    ]  # fmt: skip
    for n, (pipeline, tasks) in enumerate(stages):
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=2, logging_dir=str(folder / f"log{n}")).run()
    kept = {int(json.loads(line)["id"]) for p in (folder / "o").glob("*.jsonl") for line in p.read_text().splitlines()}
    shutil.rmtree(folder)
    return set(range(len(every))) - kept


def main() -> int:
    every = texts()
    truth = set(range(TEXTS, TEXTS + COPIES))
    record: dict[str, object] = {
        "command": "python tests/bench/dedup.py",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "texts": len(every), "planted_copies": COPIES, "threshold": THRESHOLD,
        "versions": {n: _version(n) for n in ("rensa", "datatrove", "datasketch", "xxhash", "numpy")},
    }  # fmt: skip
    peers: dict[str, Callable[[list[str]], set[int]]] = {"ours": ours, "datasketch": datasketch, "datatrove": datatrove}
    for name, find in peers.items():
        began = time.perf_counter()
        try:
            found = find(every)
        except Exception as e:  # a peer that cannot run here is part of the record
            record[name] = {"failed": f"{type(e).__name__}: {e}"[:200]}
            continue
        record[name] = {
            "seconds": round(time.perf_counter() - began, 2),
            "removed": len(found),
            "true_copies_or_their_originals_removed": len(
                {i % TEXTS if i >= TEXTS else i for i in found} & set(range(COPIES))
            ),
            "others_removed": len(found - truth - set(range(COPIES))),
        }
        print(name, record[name], flush=True)
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    return 0


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    raise SystemExit(main())
