"""This machine's processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

FEW = 6  # shards that are done sooner than worker processes start


def run(
    step: str, folder: Path, shards: Sequence[str], progress: Callable[[int, int], None], *, processes: int = 2
) -> None:
    """Run a step over the shards. processes: workers; few shards are done in this process."""
    from data_prep import steps

    if processes < 2 or len(shards) < FEW:
        for n, shard in enumerate(shards, start=1):
            steps.run(step, folder, shard)
            progress(n, len(shards))
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            under_way = [pool.submit(steps.run, step, folder, shard) for shard in shards]
            for n, future in enumerate(under_way, start=1):
                future.result()
                progress(n, len(shards))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
