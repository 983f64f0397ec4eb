"""A real OpenAI-compatible server on loopback that plays the judge: it reads the comparison as a model would and replies."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.servers import running

FENCED = re.compile(r"<<(question|answer A|answer B) (\w+)>>\n(.*?)\n<<end \2>>", re.DOTALL)


@dataclass(frozen=True)
class Seen:
    """What the judge was shown."""

    question: str
    a: str
    b: str
    whole: str


Says = Callable[[Seen], str]


class Judges(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, says: Says) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.says, self.lock = says, threading.Lock()
        self.seen: list[Seen] = []
        self.bodies: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Judges

    def log_message(self, *_: Any) -> None:
        return

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        whole = body["messages"][-1]["content"]
        parts = {name: text for name, _, text in FENCED.findall(whole)}
        seen = Seen(parts["question"], parts["answer A"], parts["answer B"], whole)
        with self.server.lock:
            self.server.seen.append(seen)
            self.server.bodies.append(body)
            number = len(self.server.seen)
        made = json.dumps({
            "id": f"j-{number}", "object": "chat.completion", "created": 1, "model": "arbiter-1",
            "choices": [{"index": 0, "finish_reason": "stop",
                         "message": {"role": "assistant", "content": self.server.says(seen)}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101},
        }).encode()  # fmt: skip
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(made)))
        self.end_headers()
        self.wfile.write(made)


@contextmanager
def judging(says: Says) -> Iterator[Judges]:
    with running(Judges(says)) as server:
        yield server


def prefers(word: str) -> Says:
    """An impartial judge: the answer that has the word is better, a tie where both or neither have it."""

    def says(seen: Seen) -> str:
        a, b = word in seen.a, word in seen.b
        return "T" if a == b else "A" if a else "B"

    return says
