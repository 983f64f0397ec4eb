"""An HTTP server that speaks OpenAI's Batch API on loopback: files in, a batch that works for a few looks, files out."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.servers import running

Line = dict[str, Any]


def answered(line: Line, text: str = "billing", **changes: Any) -> Line:
    """The output line of an answered request."""
    number, ticket = line["custom_id"], line["body"]["messages"][-1]["content"][7:10]
    body = {
        "id": f"chatcmpl-{ticket}", "object": "chat.completion", "model": "m-2026-10-01",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 50, "completion_tokens": 10, "total_tokens": 60}, **changes,
    }  # fmt: skip
    return {"id": f"r-{number}", "custom_id": number, "response": {"status_code": 200, "body": body}, "error": None}


class BatchServer(ThreadingHTTPServer):
    """says: request line → output line, or None for a request that no file tells of."""

    daemon_threads = True

    def __init__(self, says: Callable[[Line], Line | None], *, looks: int = 2, ends: str = "completed") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.says, self.looks, self.ends = says, looks, ends
        self.lock = threading.Lock()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.received: list[bytes] = []  # every request's body
        self.refuse: dict[str, list[int]] = {}  # "POST /batches" → statuses that the next such requests get

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def begin(self, file: str) -> dict[str, Any]:
        lines = [json.loads(line) for line in self.files[file].splitlines()]
        id = f"batch_{len(self.batches)}"
        self.batches[id] = {
            "id": id, "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": file, "status": "in_progress",
            "completion_window": "24h", "created_at": 1, "output_file_id": None, "error_file_id": None, "errors": None,
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0}, "looks": self.looks, "lines": lines,
        }  # fmt: skip
        return self.batches[id]

    def look(self, id: str) -> dict[str, Any]:
        batch = self.batches[id]
        batch["looks"] -= 1
        if batch["looks"] < 0 and batch["status"] == "in_progress":
            batch["status"] = self.ends
            if self.ends == "failed":
                batch["errors"] = {
                    "object": "list",
                    "data": [{"code": "token_limit", "message": "enqueued token limit"}],
                }
                return batch
            made = [out for line in batch["lines"] if (out := self.says(line)) is not None]
            good = [m for m in made if m["response"] is not None and m["response"]["status_code"] == 200]
            bad = [m for m in made if m not in good]
            for kind, found in (("output", good), ("error", bad)):
                if found:
                    batch[f"{kind}_file_id"] = f"{kind}-{id}"
                    self.files[f"{kind}-{id}"] = "".join(json.dumps(m) + "\n" for m in reversed(found)).encode()
            batch["request_counts"]["completed"] = len(good)
        return batch


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BatchServer

    def log_message(self, *_: Any) -> None:
        return

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0].removeprefix("/v1")
        parts = path.strip("/").split("/")
        with self.server.lock:
            self.server.received.append(body)
            refusals = self.server.refuse.get(f"{self.command} /{parts[0]}", [])
            if refusals:
                self._send(refusals.pop(0), b'{"error": {"message": "not now"}}')
                return
            found = self._found(parts, body)
        if isinstance(found, bytes):
            self._send(200, found, "application/octet-stream")
        elif found is None:
            self._send(404, b'{"error": {"message": "no such thing"}}')
        else:
            self._send(200, json.dumps(found).encode())

    do_GET = do_POST = do_DELETE = _do

    def _found(self, parts: list[str], body: bytes) -> Any:
        server = self.server
        match self.command, parts:
            case "POST", ["files"]:
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                form = BytesParser(policy=HTTP).parsebytes(head + body)
                sent = {p.get_param("name", header="content-disposition"): p.get_content() for p in form.iter_parts()}
                assert sent["purpose"].strip() == "batch"
                id = f"file-{len(server.received)}"
                server.files[id] = sent["file"]
                return {
                    "id": id,
                    "object": "file",
                    "purpose": "batch",
                    "bytes": 1,
                    "created_at": 1,
                    "filename": "x",
                    "status": "ok",
                }
            case "POST", ["batches"]:
                asked = json.loads(body)
                assert asked["endpoint"] == "/v1/chat/completions"
                assert asked["completion_window"] == "24h"
                return server.begin(asked["input_file_id"])
            case "GET", ["batches"]:
                return {"object": "list", "data": list(server.batches.values()), "has_more": False}
            case "GET", ["batches", id] if id in server.batches:
                return server.look(id)
            case "GET", ["files", id, "content"] if id in server.files:
                return server.files[id]
            case "DELETE", ["files", id] if id in server.files:
                del server.files[id]
                return {"id": id, "object": "file", "deleted": True}
        return None


@contextmanager
def serving(says: Callable[[Line], Line | None] = answered, **how: Any) -> Iterator[BatchServer]:
    with running(BatchServer(says, **how)) as http:
        yield http
