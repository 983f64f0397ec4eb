"""An OpenAI-compatible server with one worker and a scripted service time: a queue whose waits are known from theory.

The worker's time is kept on paper: a request begins when the one before it was due to end, so that late wake-ups of the event
loop do not add up. Also what theory says of such a queue (M/D/1).
"""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

TOKENS = 4


@dataclass
class QueueServer:
    """service_s: time of one request on the worker; workers None: no queue, every request at once.

    faults: for request n the n-th entry, repeated: None is a good answer. slow_until_s: ten times slower so long after start.
    """

    service_s: float
    workers: int | None = 1
    faults: Sequence[str | None] = (None,)
    slow_until_s: float = 0.0
    prompt_tokens: int | None = None  # what it says it read
    host: str = "127.0.0.1"
    url: str = ""
    free_at: float = 0.0
    count: int = 0
    connections: int = 0
    stays_open_s: float = 0.0  # the body, after its last event
    most_at_once: int = 0
    at_once: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                self.bodies.append(json.loads(await reader.readexactly(length)))
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                try:
                    if not await self.answer(writer):
                        break
                finally:
                    self.at_once -= 1
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def answer(self, writer: asyncio.StreamWriter) -> bool:
        fault, now = self.faults[self.count % len(self.faults)], time.perf_counter()
        self.count += 1
        if fault is not None and fault.isdigit():
            body = b'{"error": {"message": "no"}}'
            writer.write(f"HTTP/1.1 {fault} No\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            return True
        if fault == "cut":
            return False
        service = self.service_s * (10 if now - self.began < self.slow_until_s else 1)
        begin = max(now, self.free_at) if self.workers else now
        self.free_at = begin + service
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for n in range(TOKENS):
            await asyncio.sleep(max(0.0, begin + service * (n + 1) / TOKENS - time.perf_counter()))
            if fault == "hang":
                await asyncio.sleep(3)
            if fault == "half" and n == 2:
                return False
            if fault == "garbage":
                chunk(writer, "data: {not json")
            elif fault == "error":
                chunk(writer, 'data: {"error": {"message": "out of memory"}}')
            else:
                end = "length" if n == TOKENS - 1 else None
                piece = {"choices": [{"index": 0, "delta": {"content": "a\u2028"}, "finish_reason": end}]}
                chunk(writer, f"data: {json.dumps(piece, ensure_ascii=False)}")
        usage = {"prompt_tokens": self.prompt_tokens, "completion_tokens": TOKENS}
        chunk(writer, f"data: {json.dumps({'choices': [], 'usage': usage})}")
        chunk(writer, "data: [DONE]")
        await asyncio.sleep(self.stays_open_s)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def chunk(writer: asyncio.StreamWriter, line: str) -> None:
    data = f"{line}\n\n".encode()
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


@contextmanager
def serving(server: QueueServer) -> Iterator[QueueServer]:
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def main() -> None:
        listening = await asyncio.start_server(server.handle, server.host, 0, backlog=1024)
        server.url = f"http://{server.host}:{listening.sockets[0].getsockname()[1]}/v1"
        server.began = time.perf_counter()
        ready.set()
        await asyncio.Event().wait()

    def run() -> None:
        asyncio.set_event_loop(loop)
        task = loop.create_task(main())
        loop.run_forever()
        for left in asyncio.all_tasks(loop):
            left.cancel()
        loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(loop), task, return_exceptions=True))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(5)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def md1_wait_at_most(t: float, rate: float, service: float) -> float:
    """P(wait ≤ t) in the M/D/1 queue (Erlang 1909)."""
    rho, total = rate * service, 0.0
    for k in range(math.floor(t / service) + 1):
        x = rate * (k * service - t)
        total += x**k / math.factorial(k) * math.exp(-x)
    return (1 - rho) * total


def md1_rate(bound: float, service: float, share: float = 0.95) -> float:
    """The rate at which `share` of the requests end within `bound` of their arrival."""
    low, high = 1e-6, 1 / service
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if md1_wait_at_most(bound - service, middle, service) >= share else (low, middle)
    return low


def lindley(arrivals: Sequence[float], service: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Time from arrival to end of each request in a queue with one worker, by Lindley's recursion."""
    found, free = np.empty(len(arrivals)), 0.0
    for n, arrival in enumerate(arrivals):
        free = max(free, arrival) + service
        found[n] = free - arrival
    return found
