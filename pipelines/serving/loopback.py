"""A real OpenAI-compatible server on loopback: `transformers serve` on a folder, for as long as a context lasts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data_prep.records import UserError

START_LIMIT_S = 180.0
# no proxy of the environment: it would carry out what stays on this machine
_HERE = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServerError(UserError):
    """The loopback server did not come up."""


@dataclass(frozen=True, slots=True)
class Served:
    base_url: str  # ends in /v1
    model: str  # the id to ask for


@contextmanager
def serve(folder: Path, log: Path) -> Iterator[Served]:
    """Serve a folder with full weights on 127.0.0.1. `log` takes the server's output. Raises ServerError."""
    port = _free_port()
    line = [
        # our package first: with --offline the server's sockets are guarded as well
        sys.executable, "-c", "import evaluation; from transformers.cli.transformers import main; main()", "serve", str(folder),
        "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--log-level", "warning",
    ]  # fmt: skip
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONSAFEPATH": "1"}
    with log.open("w") as out:
        process = subprocess.Popen(line, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            _wait_until_healthy(process, f"http://127.0.0.1:{port}/health", log)
            yield Served(f"http://127.0.0.1:{port}/v1", str(folder))
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(
                f"the loopback server ended with exit code {process.returncode}; its last words are in {log}"
            )
        try:
            with _HERE.open(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.25)
    raise ServerError(f"the loopback server was not healthy after {START_LIMIT_S:.0f} s; its last words are in {log}")
