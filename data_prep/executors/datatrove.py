"""datatrove's executors: this machine's tasks, a Slurm array, or a Ray cluster; the folder must be shared by all of them.

The extra `[datatrove]` brings it. Only its executors are used: what a task does is our own step on every n-th shard.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from data_prep.records import UserError

SECONDS_BETWEEN_LOOKS = 5.0


def run(
    step: str,
    folder: Path,
    shards: Sequence[str],
    progress: Callable[[int, int], None],
    *,
    engine: Literal["local", "slurm", "ray"] = "local",
    tasks: int = 4,
    workers: int = 2,
    slurm: dict[str, str | int] = {},  # noqa: B006  (read only)
    slurm_hours: int = 24,
) -> None:
    """Run a step over the shards as datatrove tasks.

    tasks: how many; each takes every n-th shard. workers: how many run at once. slurm: partition, time, cpus_per_task,
    mem_per_cpu_gb, env_command … as datatrove's SlurmPipelineExecutor takes them; slurm_hours: how long the command waits.
    Raises UserError where the extra is missing, and where tasks ended without finishing their shards.
    """
    from data_prep import steps

    try:
        from datatrove.pipeline.base import PipelineStep
    except ImportError as e:
        raise UserError(
            f"dataset.executor.kind datatrove: is not installed ({e}). Run: pip install 'freehold[datatrove]'"
        ) from e

    class Shards(PipelineStep):  # type: ignore[misc]
        name = f"freehold {step}"

        def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
            for shard in shards[rank::world_size]:
                steps.run(step, folder, shard)
            return data

    _executor(engine, [Shards()], step, folder, tasks, workers, slurm).run()
    _wait(step, folder, shards, progress, slurm_hours * 3600 if engine == "slurm" else 0)


def _executor(
    engine: str, pipeline: list[Any], step: str, folder: Path, tasks: int, workers: int, slurm: dict[str, str | int]
) -> Any:
    # datatrove skips tasks whose completion file is there; ours are the markers of shards, so each run logs afresh
    logs = str(folder / "datatrove" / f"{step}-{time.time_ns()}")
    common: dict[str, Any] = {"pipeline": pipeline, "tasks": tasks, "workers": workers, "logging_dir": logs}
    match engine:
        case "local":
            from datatrove.executor.local import LocalPipelineExecutor

            return LocalPipelineExecutor(**common)
        case "ray":
            from datatrove.executor.ray import RayPipelineExecutor

            return RayPipelineExecutor(**common)
        case _:
            from datatrove.executor.slurm import SlurmPipelineExecutor

            return SlurmPipelineExecutor(**common, job_name=f"freehold-{step}", **slurm)


def _wait(step: str, folder: Path, shards: Sequence[str], progress: Callable[[int, int], None], seconds: float) -> None:
    from data_prep import steps

    until = time.monotonic() + seconds
    while True:
        done = sum(steps.is_done(step, folder, shard) for shard in shards)
        progress(done, len(shards))
        if done == len(shards):
            return
        if time.monotonic() >= until:
            raise UserError(
                f"{folder}: datatrove's tasks ended with {len(shards) - done} of {len(shards)} shards of step {step} unfinished."
                f" Its logs are in {folder / 'datatrove'}. Run the same command again: finished shards are kept."
            )
        time.sleep(SECONDS_BETWEEN_LOOKS)
