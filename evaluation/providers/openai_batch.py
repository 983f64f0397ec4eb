"""Answers by OpenAI's Batch API: a file of requests, answered within a day at about half the price.

Question: a batch takes hours, so a stopped command is the usual case, not the exception; how is nothing asked twice? Choice: what
was sent is written beside the answers (`state`) before the first byte leaves, and each row has its receipt; the same command then
looks for that batch and goes on waiting, also where other items are asked meanwhile: what is still asked in the same words keeps
its answer. Price: no latency is measured, so the report has none for this arm.

Rows go under numbers, not under their ids. The provider keeps files until somebody deletes them: both are deleted once the
answers are stored. What the budget does not allow at its worst case waits for the next batch, when real prices are known.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from data_prep import shards
from evaluation.egress import Call
from evaluation.providers.openai_compatible import ApiError, Asked, Caller, Fault, as_dict, chat_reply
from evaluation.results import Answer, Item

log = logging.getLogger("freehold")

COMPLETIONS = "/v1/chat/completions"
MOST_REQUESTS = 50_000  # of one batch, and its bytes: what OpenAI takes is 50,000 and 200 MB
MOST_UPLOAD = 100_000_000
MOST_DOWNLOAD = 1_000_000_000
ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass(slots=True)
class Sent:
    """A batch that is under way: what was sent under which number, and what the server calls it."""

    items: list[str]  # request N is items[N]
    digests: list[str]  # of its body
    file: str | None = None
    batch: str | None = None
    kept: bool = False  # its answers are stored, and what the provider holds of it is being deleted


class BatchCaller(Caller):
    """The same policy, prices, budget and reading of answers; all rows that the budget allows are one request."""

    most_bytes = MOST_DOWNLOAD

    def ask_all(self, waiting: Iterator[Asked], keep: Callable[[Answer], None]) -> None:
        """Raises ApiError where the server refuses the batch, or cannot be reached for long; the batch goes on meanwhile."""
        asked = {item.id: (item, prompt, kinds) for item, prompt, kinds in waiting}
        sent = shards.marked(self._state, Sent)
        if sent is not None:
            known = self.guard.unsettled(self.purpose)
            self._go_on(sent, {i: known[i] for i in sent.items if i in known}, asked, keep)
        while asked:
            self._go_on(*self._send(asked), asked, keep)

    @property
    def _state(self) -> Path:
        assert self.endpoint.batch is not None
        return self.endpoint.batch

    def _go_on(
        self, sent: Sent, calls: dict[str, Call], asked: dict[str, Asked], keep: Callable[[Answer], None]
    ) -> None:
        """Wait for a batch and keep its answers. What it was sent is taken from `asked`, answered or not."""
        if sent.file is None:  # killed before the file was there: nobody works on it
            for call in calls.values():
                self.guard.ended(call, "not_begun", None, may_be_billed=False)
            self._state.unlink()
            return
        if sent.batch is None:
            self._begin(sent)
        if sent.kept:
            self._give_up(sent)
            return
        found = self._wait(sent)
        self._keep(found, sent, calls, asked, keep)
        sent.kept = True
        shards.mark(self._state, sent)
        self._clean_up(found)
        self._state.unlink()
        if found.status == "failed":
            told = (
                "; ".join(str(e.message) for e in (found.errors.data or [])[:3]) if found.errors else "no reason given"
            )
            raise ApiError(f"{self.endpoint.base_url} refused batch {sent.batch}: {told[:300]}")

    def _give_up(self, sent: Sent) -> None:
        """Go on deleting what a killed command began to delete; it may be gone, or the provider may have forgotten the batch."""
        try:
            self._clean_up(self._wait(sent))
        except ApiError as e:
            log.info(
                f"evaluate: {self.arm}: files of batch {sent.batch} may stay with the provider, delete them there ({e})"
            )
        self._state.unlink()

    def _send(self, asked: dict[str, Asked]) -> tuple[Sent, dict[str, Call]]:
        """Reserve what the budget allows, say so on disk, and upload it."""
        calls: dict[str, Call] = {}
        lines: list[bytes] = []
        digests: list[str] = []
        size = 0
        for item, prompt, kinds in asked.values():
            body = self._request(item, prompt)
            line = _line(len(lines), body)
            if len(lines) == MOST_REQUESTS or (lines and size + len(line) > MOST_UPLOAD):
                break
            call = self._reserve(item, prompt, kinds, together=True)
            if call is None:
                break
            calls[item.id] = call
            digests.append(_digest(body))
            lines.append(line)
            size += len(line)
        if not calls:
            raise self.failure or AssertionError("nothing is under way, and nothing fits")
        sent = Sent(list(calls), digests)
        shards.mark(self._state, sent)
        for call, line in zip(calls.values(), lines, strict=True):
            self.guard.leaving(call.tag, f"{self.endpoint.base_url}/files", len(line))
        try:
            uploaded = self._errand(
                self.client.files.create, attempts=1, file=("requests.jsonl", b"".join(lines)), purpose="batch"
            )
        except ApiError:
            for call in calls.values():
                self.guard.ended(call, "refused", None, may_be_billed=False)  # a file alone costs nothing
            self._state.unlink()
            raise
        sent.file = self._said(uploaded.id, "the file's id")
        shards.mark(self._state, sent)
        return sent, calls

    def _begin(self, sent: Sent) -> None:
        """Start the batch of an uploaded file, or find the one that a killed command started."""
        listed = self._errand(self.client.batches.list, limit=100).data or []
        found = next((b for b in listed if b.input_file_id == sent.file), None) or self._errand(
            self.client.batches.create,
            attempts=1,
            input_file_id=sent.file,
            endpoint=COMPLETIONS,
            completion_window="24h",
        )
        sent.batch = self._said(found.id, "the batch's id")
        shards.mark(self._state, sent)
        log.info(f"evaluate: {self.arm}: batch {sent.batch} of {len(sent.items)} requests is under way")

    def _said(self, value: Any, what: str) -> str:
        if not isinstance(value, str):
            raise ApiError(f"{self.endpoint.base_url} answered without {what}. Is it a server with batches?")
        return value

    def _wait(self, sent: Sent) -> Any:
        """The batch, once it has ended."""
        shown, looks = "", 0
        while True:
            found = self._errand(self.client.batches.retrieve, sent.batch)
            counts = found.request_counts
            told = f"{found.status}, {counts.completed if counts else 0} of {len(sent.items)} answered"
            if told != shown:
                log.info(f"evaluate: {self.arm}: batch {sent.batch}: {told}")
                shown = told
            if self._said(found.status, "the batch's status") in ENDED:
                return found
            looks += 1
            time.sleep(self._pause(looks))

    def _keep(
        self, found: Any, sent: Sent, calls: dict[str, Call], asked: dict[str, Asked], keep: Callable[[Answer], None]
    ) -> None:
        # what is no longer asked, or in other words, is not answered by this batch
        same = {
            id for id, digest in zip(sent.items, sent.digests, strict=True)
            if id in asked and _digest(self._request(*asked[id][:2])) == digest
        }  # fmt: skip
        for number, line in self._lines(found):
            id = sent.items[number] if 0 <= number < len(sent.items) else ""
            call = calls.pop(id, None)
            if id in same:  # without a call: the command that was killed had its end written, and not yet its answer
                same.remove(id)
                keep(self._answer_of(line, asked.pop(id)[0], call))
            elif call is not None:  # its cost counts all the same
                self.guard.ended(call, "not_needed", None, may_be_billed=True)
        status = {"failed": "refused", "completed": "unreadable_response"}.get(found.status, "stopped")
        for id, call in calls.items():
            presumed = self.guard.ended(call, status, None, may_be_billed=status == "unreadable_response")
            if id in same and asked.pop(id) and status != "refused":
                keep(Answer(id, self.arm, None, error=status, usd_presumed=presumed or None))

    def _lines(self, found: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        """Number of a request → what came of it, from the file of answers and the file of errors."""
        for file in (found.output_file_id, found.error_file_id):
            if file is None:
                continue
            body = self._errand(self.client.files.content, file).content
            for line in body.splitlines():
                try:
                    read = json.loads(line)
                    yield int(str(read["custom_id"]).removeprefix("row-")), read
                except (ValueError, KeyError, TypeError, RecursionError):
                    continue  # whose answer it is cannot be told: that request ends as unreadable

    def _answer_of(self, line: dict[str, Any], item: Item, call: Call | None) -> Answer:
        response, error = as_dict(line.get("response")), line.get("error")
        status = response.get("status_code")
        if not response or (isinstance(status, int) and status != 200):
            said = json.dumps(error or response.get("body"), ensure_ascii=False)[:300]
            name = "refused" if error is None else "server_error"
            if status is None:
                name = "stopped"
            elif status >= 500 or status == 429:
                name = "server_error"
            self._ended(call, name, None, may_be_billed=False)
            return Answer(item.id, self.arm, None, error=f"{name}: {said}")
        try:
            reply, error = chat_reply(response["body"]), "repeated_answer"
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            reply, error = None, "unreadable_response"
        if reply is None or (call is not None and self.guard.is_repeated(call, reply.id)):
            presumed = self._ended(call, error, None, may_be_billed=True)
            return Answer(item.id, self.arm, None, error=error, usd_presumed=presumed or None)
        return self._answer(item, reply, call, None, 1, Decimal(0))

    def _clean_up(self, found: Any) -> None:
        """Delete what the provider holds of it; where it refuses, somebody is told."""
        for file in (found.input_file_id, found.output_file_id, found.error_file_id):
            if file is not None:
                try:
                    self._errand(self.client.files.delete, file)
                except ApiError as e:
                    log.info(f"evaluate: {self.arm}: file {file} stays with the provider, delete it there ({e})")

    def _refusal(self, e: Any, pause: float) -> Fault:
        if e.status_code != 404:
            return super()._refusal(e, pause)
        return Fault(
            "unknown_there",
            stop=ApiError(
                f"{self.endpoint.base_url} does not know what is asked for (HTTP 404): a server without batches, or the key of"
                f" another account? To give up a batch that is under way and send its rows anew, delete {self._state}."
            ),
        )

    def _errand(self, do: Callable[..., Any], *what: Any, attempts: int | None = None, **how: Any) -> Any:
        """A request that carries no row of its own, tried again while another attempt may help. Raises ApiError."""
        from evaluation.transport import TAG

        attempts = self.endpoint.max_retries + 1 if attempts is None else attempts
        for attempt in range(1, attempts + 1):
            call = self.guard.errand(self.purpose, model=self.endpoint.model)
            try:
                made = do(*what, **how, extra_headers={TAG: call.tag})
            except Exception as e:
                fault = self._fault(e, attempt)
                self.guard.ended(call, fault.status, None, may_be_billed=False)
                if fault.stop is not None:
                    raise fault.stop from e
                if fault.wait_s is None or attempt == attempts:
                    raise ApiError(
                        f"{self.endpoint.base_url}: {fault.error}. A batch that is under way goes on; run the same command again."
                    ) from e
                time.sleep(fault.wait_s)
            else:
                self.guard.ended(call, "errand", None, may_be_billed=False)
                return made
        raise AssertionError(attempts)


def _line(number: int, body: dict[str, Any]) -> bytes:
    request = {"custom_id": f"row-{number}", "method": "POST", "url": COMPLETIONS, "body": body}
    return json.dumps(request).encode() + b"\n"


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
