"""Progress of a long step: a bar with an ETA on a terminal, a plain line every few seconds in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

SECONDS_BETWEEN_LINES = 10.0


Update = Callable[..., None]  # update(done) or update(done, total): the total may be known only later


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Update]:
    """A function that takes how much is done so far, out of `total` where that is known."""
    if sys.stderr.isatty():
        with _bar(label, total) as update:
            yield update
    else:
        yield _Lines(label, total)


@contextmanager
def _bar(label: str, total: int | None) -> Iterator[Update]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done, total=None: bar.update(task, completed=done, total=total)


class _Lines:
    def __init__(self, label: str, total: int | None) -> None:
        self._label, self._total = label, total
        self._started = self._last = time.monotonic()

    def __call__(self, done: int, total: int | None = None) -> None:
        self._total = total or self._total
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        if self._total is None or done == 0:
            line = f"{self._label}: {done}"
        else:
            left = (now - self._started) / done * (self._total - done)
            line = f"{self._label}: {done} of {self._total}, about {left:.0f} s left"
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


@contextmanager
def progress_of_steps(label: str) -> Iterator[Callable[[str, int, int | None], None]]:
    """A function that takes a step's name, how much of it is done, and of how many; each step has a bar of its own."""
    with ExitStack() as bars:
        under_way: dict[str, Update] = {}

        def update(step: str, done: int, total: int | None) -> None:
            if step not in under_way:
                bars.close()
                under_way.clear()
                under_way[step] = bars.enter_context(progress(f"{label}: {step}", total))
            under_way[step](done, total)

        yield update
