"""How long training took, over all the processes that were at it one after another: what was killed is paid for too."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from pipelines import artifacts

KEPT_EVERY_S = 10.0  # a kill loses no more than this; each write waits for the disk


class Clock:
    """Seconds of this process and of those before it. file: where they are kept for the next, for a kill warns nobody."""

    def __init__(self, file: Path, *, now: Callable[[], float] = time.perf_counter) -> None:
        self._file, self._now = file, now
        self._earlier = float(json.loads(file.read_text())["seconds"]) if file.exists() else 0.0
        self._began = self._kept = now()

    @property
    def seconds(self) -> float:
        return self._earlier + self._now() - self._began

    def keep(self) -> None:
        """Write the seconds down, unless that was a moment ago."""
        if self._now() - self._kept >= KEPT_EVERY_S:
            artifacts.write_text(self._file, json.dumps({"seconds": self.seconds}))
            self._kept = self._now()
