"""Faults: thousands of answers through a server that fails 30 % of the time in nine ways, the client killed again and again.

What must hold, counted at the server's own sockets: every item is answered once or reported, an answer is its own item's,
the budget is never exceeded by more than one request's cost, and no byte of a `local_only` row arrives.

    python tests/bench/faults.py [--items 10000] [--kills 5] [--out tests/bench/faults.json]

The server bills what it processed, also where the client never gets to see it: hanging, cut and unreadable responses.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from evaluation.egress import Guard
from evaluation.prices import PriceList
from evaluation.providers import openai_compatible
from evaluation.results import Answer, AnswerFile, Item, read_answers

LABELS = ("billing", "delivery", "pairing", "returns", "warranty")
MARK = b"LOCAL-ONLY-ROW"
# shares of all requests; together 30 %
FAULTS = {
    "rate_limited": 0.06, "server_error": 0.05, "hangs": 0.01, "cut": 0.04, "garbled": 0.04, "no_choices": 0.01,
    "another_answer": 0.04, "ten_megabytes": 0.005, "web_page": 0.045,
}  # fmt: skip
USD_PROMPT, USD_ANSWER = (
    Decimal("0.15") / 1_000_000,
    Decimal("0.60") / 1_000_000,
)  # gpt-4o-mini, as the client prices it
HANG_S, TIMEOUT_S = 2.0, 1.2
DELIVERED_BEFORE = 300  # responses: an answer that is given again is an old one
CONCURRENCY = 64


def items(number: int) -> list[tuple[Item, Any]]:
    """Every twentieth is local_only. The label follows from the number, so that another item's answer shows."""
    made = []
    for n in range(number):
        secret = n % 20 == 7
        text = f"Ticket {n:06}: " + (MARK.decode() if secret else "please sort this") + f" {'and so on ' * (n % 17)}"
        prompt = ({"role": "user", "content": text},)
        label = LABELS[n % len(LABELS)]
        made.append(
            Item(f"i{n:06}", "triage", prompt, label, LABELS, (), f"g{n}", "local_only" if secret else "shareable")  # type: ignore[arg-type]
        )
    return [(i, i.prompt) for i in made]


class FaultyServer:
    """A chat completions server on loopback that counts what comes in at its sockets.

    fails: in the nine ways. hidden_tokens: billed with every prompt although nobody sent them.

    """

    def __init__(self, seed: int, *, fails: bool = True, hidden_tokens: int = 0) -> None:
        self.rng = random.Random(seed)
        self.fails, self.hidden_tokens = fails, hidden_tokens
        self.bytes = self.marks = self.requests = 0
        self.usd = self.dearest = Decimal(0)
        self.faults: Counter[str] = Counter()
        self.delivered: Counter[int] = Counter()  # item → whole, true answers that were sent
        self.owner: dict[str, int] = {}  # response id → item
        self.old: deque[tuple[str, bytes]] = deque(maxlen=2000)
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> FaultyServer:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=512))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        with contextlib.suppress(RuntimeError):
            self._loop.run_until_complete(asyncio.sleep(0.05))
        server.close()
        self._loop.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = b""
        try:
            while True:
                while b"\r\n\r\n" not in raw:
                    raw += await self._read(reader)
                head, _, rest = raw.partition(b"\r\n\r\n")
                headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
                length = int(headers[b"content-length"])
                while len(rest) < length:
                    rest += await self._read(reader)
                self.marks += (head + rest[:length]).count(MARK)
                body, raw = rest[:length], rest[length:]
                if not await self._answer(json.loads(body), headers.get(b"x-request-id", b""), writer):
                    return
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        chunk = await reader.read(65536)
        if not chunk:
            raise ConnectionError
        self.bytes += len(chunk)
        return chunk

    async def _answer(self, body: dict[str, Any], tag: bytes, writer: asyncio.StreamWriter) -> bool:
        """False where the connection is at its end."""
        self.requests += 1
        number = int(body["messages"][-1]["content"][7:13])
        fault = self.rng.choices([*FAULTS, ""], [*FAULTS.values(), 1 - sum(FAULTS.values())])[0] if self.fails else ""
        if fault == "another_answer" and len(self.old) < DELIVERED_BEFORE:
            fault = ""
        self.faults[fault or "none"] += 1
        if fault == "rate_limited":
            return await _send(writer, 429, b'{"error": {"message": "slow down"}}', b"Retry-After: 0.05\r\n")
        if fault == "server_error":
            return await _send(writer, 503, b'{"error": {"message": "overloaded"}}')
        good = self._good(body, number)
        match fault:
            case "hangs":
                await asyncio.sleep(HANG_S)
                return False
            case "cut":
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n" + good[:60]
                )
                await writer.drain()
                return False
            case "garbled":
                return await _send(writer, 200, good[: len(good) // 2])
            case "no_choices":
                return await _send(writer, 200, json.dumps({**json.loads(good), "choices": []}).encode())
            case "another_answer":
                other = self.old[self.rng.randrange(len(self.old) - DELIVERED_BEFORE + 1)]
                return await _send(writer, 200, other[1])
            case "ten_megabytes":
                return await _send(writer, 200, b'{"choices": "' + b"x" * 10_000_000 + b'"}')
            case "web_page":
                return await _send(writer, 200, b"<html>Please log in</html>", kind=b"text/html")
        self.delivered[number] += 1
        self.old.append((str(number), good))
        return await _send(writer, 200, good, b"X-Request-ID: " + tag + b"\r\n")

    def _good(self, body: dict[str, Any], number: int) -> bytes:
        prompt = self.hidden_tokens + 8 + len(body["messages"][-1]["content"]) // 4
        answer = self.rng.randint(1, 6)
        usd = prompt * USD_PROMPT + answer * USD_ANSWER
        self.usd += usd
        self.dearest = max(self.dearest, usd)
        self.owner[f"chatcmpl-{self.requests}"] = number
        return json.dumps({
            "id": f"chatcmpl-{self.requests}", "object": "chat.completion", "created": 1, "model": "bench-2026-11",
            "choices": [{
                "index": 0, "message": {"role": "assistant", "content": LABELS[number % len(LABELS)]},
                "finish_reason": "stop",
            }],
            "usage": {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer},
        }).encode()  # fmt: skip


async def _send(
    writer: asyncio.StreamWriter, status: int, body: bytes, headers: bytes = b"", kind: bytes = b"application/json"
) -> bool:
    writer.write(
        b"HTTP/1.1 %d x\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n%b"
        % (status, kind, len(body), headers, body)
    )
    await writer.drain()
    return True


def client(folder: Path, url: str, number: int, budget: Decimal) -> int:
    """One command: go on with the answers file. 0 where everything is answered, 2 where the budget is spent."""
    file = AnswerFile(folder / "answers.jsonl")
    guard = Guard(ledger=folder / "egress.jsonl")
    known = {a.item for a in file.answers.values() if a.error not in openai_compatible.LOST}
    endpoint = openai_compatible.Endpoint(
        url,
        "bench",
        "key",
        concurrency=CONCURRENCY,
        timeout_s=TIMEOUT_S,
        max_retries=8,
        first_wait_s=0.02,
        budget_usd=budget,
    )
    prices = PriceList("openai", "gpt-4o-mini", datetime(2026, 11, 1, tzinfo=UTC))
    try:
        openai_compatible.answer(
            endpoint, "api", items(number), known, prices, max_new_tokens=20, already_spent_usd=Decimal(0),
            keep=file.add, guard=guard,
        )  # fmt: skip
    except openai_compatible.ApiError as e:
        sys.stderr.write(f"{e}\n")
        return 2
    finally:
        guard.close()
        file.close()
    return 0


@contextlib.contextmanager
def started(folder: Path, url: str, number: int, budget: Decimal) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, __file__, "client", str(folder), url, str(number), str(budget)]
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root})
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def lines_in(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def ended(folder: Path, url: str, number: int, budget: Decimal) -> int:
    """The exit code of a command that nobody kills. Raises RuntimeError for one that crashed."""
    with started(folder, url, number, budget) as process:
        told = process.communicate()[1]
    if process.returncode not in (0, 2):
        raise RuntimeError(told)
    return process.returncode


def killed(folder: Path, url: str, number: int, budget: Decimal, until: int) -> None:
    """Kill a command as soon as the answers file has so many lines."""
    with started(folder, url, number, budget) as process:
        while lines_in(folder / "answers.jsonl") < until:
            if process.poll() is not None:
                raise RuntimeError(f"ended by itself before {until} lines: {process.stderr and process.stderr.read()}")
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)


def ledger_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "egress.jsonl").read_text().splitlines()]


def spent_in(ledger: list[dict[str, Any]], *, presumed: bool | None = None) -> Decimal:
    """What the ledger counts as spent; a call without an end at its worst case."""
    ends = {line["call"]: line for line in ledger if "usd" in line}
    left = [Decimal(c["reserved_usd"]) for c in ledger if "purpose" in c and c["call"] not in ends]
    chosen = [Decimal(e["usd"]) for e in ends.values() if presumed is None or e["presumed"] == presumed]
    return sum(chosen, Decimal(0)) + (Decimal(0) if presumed is False else sum(left, Decimal(0)))


def dearest_in(ledger: list[dict[str, Any]]) -> Decimal:
    """What one call counts as at most: the server's price, or its worst case where the end is unknown."""
    ends = [Decimal(line["usd"]) for line in ledger if "usd" in line]
    return max([*ends, *(Decimal(line["reserved_usd"]) for line in ledger if "purpose" in line)])


def bench(number: int, kills: int, seed: int = 5) -> dict[str, Any]:
    """Kill the client at even distances, let a tight budget stop it, raise the budget, and count."""
    began = time.perf_counter()
    asked = items(number)
    with tempfile.TemporaryDirectory() as scratch, FaultyServer(seed) as server:
        folder = Path(scratch)
        over_ledger = []  # what the server billed beyond what the ledger knew, after each command
        for turn in range(kills):
            killed(folder, server.url, number, Decimal(100), (turn + 1) * number // (2 * kills + 2))
            time.sleep(0.1)
            over_ledger.append(server.usd - spent_in(ledger_of(folder)))
        tight = spent_in(ledger_of(folder)) + number * Decimal("0.000002")
        codes = [ended(folder, server.url, number, tight)]
        over_tight, most_a_call = spent_in(ledger_of(folder)) - tight, dearest_in(ledger_of(folder))
        billed_over_tight = server.usd - tight
        over_ledger.append(server.usd - spent_in(ledger_of(folder)))
        codes.append(ended(folder, server.url, number, Decimal(100)))
        over_ledger.append(server.usd - spent_in(ledger_of(folder)))
        last: dict[str, Answer] = {a.item: a for a in read_answers(folder / "answers.jsonl")}
        ledger = ledger_of(folder)
        sent = [line for line in ledger if "purpose" in line]
        errors = Counter((a.error or "answered").partition(":")[0] for a in last.values())
        wrong = [a for i, _ in asked if (a := last.get(i.id)) is not None and a.text not in (None, i.reference)]
        rows = {line["call"]: line["row"] for line in sent}
        seen = {(rows[line["call"]], line["response"]) for line in ledger if line.get("response")}
        told = [a for a in wrong if (f"i{server.owner[a.response_id or '']:06}", a.response_id) in seen]
        return {
            "items": number,
            "concurrency": CONCURRENCY,
            "kills": kills,
            "requests": server.requests,
            "faults": dict(sorted(server.faults.items())),
            "fault_share": round(1 - server.faults["none"] / server.requests, 4),
            "items_without_a_line": number - len(last),
            "outcomes": dict(sorted(errors.items())),
            # a kill took the first delivery of these, so that nobody could know the id
            "answers_of_another_item": len(wrong),
            "of_these_seen_before": len(told),
            "good_answers_that_a_kill_lost": sum(n - 1 for n in server.delivered.values()),
            "local_only_items": sum(i.sensitivity == "local_only" for i, _ in asked),
            "local_only_bytes_at_the_socket": server.marks * len(MARK),
            "requests_without_a_receipt": max(0, server.requests - len(sent)),
            "bytes_at_the_socket": server.bytes,
            "bytes_in_receipts": sum(line["bytes"] for line in sent),
            "exit_codes": codes,  # 2: the budget; 0: done
            "tight_budget_usd": str(tight),
            "most_over_the_tight_budget_usd": str(over_tight),
            "dearest_call_in_the_ledger_usd": str(most_a_call),
            "billed_over_the_tight_budget_usd": str(billed_over_tight),
            "dearest_request_usd": str(server.dearest),
            "billed_by_the_server_usd": str(server.usd),
            "in_the_ledger_usd": str(spent_in(ledger)),
            "of_these_presumed_usd": str(spent_in(ledger, presumed=True)),
            "most_billed_beyond_the_ledger_usd": str(max(over_ledger)),
            "seconds": round(time.perf_counter() - began, 1),
        }


def bench_budget(number: int, seed: int = 6) -> dict[str, Any]:
    """A server that bills a hundred times what its prompts say: nothing but its own counts tell what a request costs."""
    budget = number * Decimal("0.0001")  # a third of what all would cost
    with tempfile.TemporaryDirectory() as scratch, FaultyServer(seed, fails=False, hidden_tokens=2000) as server:
        code = ended(Path(scratch), server.url, number, budget)
        kept = lines_in(Path(scratch) / "answers.jsonl")
        return {
            "exit_code": code,
            "budget_usd": str(budget),
            "billed_by_the_server_usd": str(server.usd),
            "over_the_budget_usd": str(server.usd - budget),
            "dearest_request_usd": str(server.dearest),
            "requests": server.requests,
            "answers_kept": kept,
        }


def main() -> None:
    if sys.argv[1:2] == ["client"]:
        folder, url, number, budget = sys.argv[2:]
        raise SystemExit(client(Path(folder), url, int(number), Decimal(budget)))
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    record = {
        "command": f"python tests/bench/faults.py --items {chosen.items} --kills {chosen.kills}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        **bench(chosen.items, chosen.kills),
        "server_that_bills_more_than_it_was_sent": bench_budget(chosen.items),
    }
    text = json.dumps(record, indent=1)
    print(text)
    if chosen.out is not None:
        chosen.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
