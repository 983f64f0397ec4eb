"""A server with vLLM's adapter routes, statuses and words, which answers golden prompts as evaluation recorded them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pipelines.serving.golden import Golden
from tests.servers import running


class ReplicaServer(ThreadingHTTPServer):
    """adapters: name → path. refuses: names, or paths, whose loading and unloading fail. asked: route and body of each request."""

    daemon_threads = True

    def __init__(self, golden: Sequence[Golden], host: str) -> None:
        super().__init__((host, 0), _Handler)
        self.golden, self.url = golden, f"http://{host}:{self.server_address[1]}"
        self.adapters: dict[str, str] = {}
        self.refuses: set[str] = set()
        self.knows_in_place = True
        self.redirects_to: str | None = None
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def answer(self, route: str, body: dict[str, Any]) -> tuple[int, str]:
        self.asked.append((route, body))
        if self.redirects_to is not None:
            return 307, ""
        if route == "/v1/chat/completions":
            return self._chat(body)
        name, path = body["lora_name"], body.get("lora_path", "")
        if {name, path} & self.refuses:
            return 500, "out of memory"
        if route == "/v1/unload_lora_adapter":
            return (
                (200, "removed")
                if self.adapters.pop(name, None)
                else (404, f"The lora adapter '{name}' cannot be found.")
            )
        if name in self.adapters and not (self.knows_in_place and body["load_inplace"]):
            return 400, f"The lora adapter '{name}' has already been loaded."
        self.adapters[name] = path
        return 200, f"Success: LoRA adapter '{name}' added successfully."

    def _chat(self, body: dict[str, Any]) -> tuple[int, str]:
        if body["model"] != "base" and body["model"] not in self.adapters:
            return 404, f"The model `{body['model']}` does not exist."
        g = next(g for g in self.golden if list(g.messages) == body["messages"])
        ids, logprobs = (g.base_ids, g.base_logprobs) if body["model"] == "base" else (g.tuned_ids, g.tuned_logprobs)
        choice = {
            "message": {"role": "assistant", "content": g.tuned_text}, "token_ids": ids,
            "logprobs": {"content": [{"logprob": x} for x in logprobs]},
        }  # fmt: skip
        return 200, json.dumps({"choices": [choice], "prompt_token_ids": g.prompt_ids})


class _Handler(BaseHTTPRequestHandler):
    server: ReplicaServer

    def log_message(self, *_: Any) -> None:
        return

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, told = self.server.answer(self.path, body)
        self.send_response(status)
        if self.server.redirects_to is not None:
            self.send_header("Location", self.server.redirects_to + self.path)
        self.send_header("Content-Type", "application/json" if told.startswith("{") else "text/plain")
        self.send_header("Content-Length", str(len(told.encode())))
        self.end_headers()
        self.wfile.write(told.encode())


@contextmanager
def replica(golden: Sequence[Golden] = (), host: str = "127.0.0.1") -> Iterator[ReplicaServer]:
    with running(ReplicaServer(golden, host)) as server:
        yield server
