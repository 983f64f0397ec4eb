"""Answers from any OpenAI-compatible server: the managed API, a serverless provider, vLLM, the loopback stand-in.

Retries are ours, so that a latency is one attempt's: 429 (Retry-After honoured), 5xx, time-outs and cut connections back
off exponentially; a wrong key or an unknown model stops the run at once. Each request is priced by itself from the usage the
server reports. What is `local_only` is never sent. The budget is a hard stop that keeps every answer so far.
"""

from __future__ import annotations

import math
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Literal

from data_prep.records import ChatMessage, UserError
from evaluation.prices import PriceList
from evaluation.results import Answer, Item

Prompt = tuple[ChatMessage, ...]
LONGEST_WAIT_S = 60.0
REFUSED_LIMIT = 5


class ApiError(UserError):
    """The API refuses us, or the budget is spent; answers so far are kept."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    base_url: str
    model: str
    key: str = field(repr=False)
    streaming: bool = False
    concurrency: int = 4
    requests_per_minute: int | None = None
    timeout_s: float = 60.0
    max_retries: int = 5
    budget_usd: Decimal = Decimal(5)
    first_wait_s: float = 0.5
    label_mode: Literal["chat", "decisions", "systemone"] = "chat"


@dataclass(slots=True)
class Egress:
    """What left the machine: a receipt."""

    destination: str
    requests: int = 0
    rows: set[str] = field(default_factory=set)
    bytes: int = 0
    kept_back_local_only: list[str] = field(default_factory=list)
    spent_usd: Decimal = Decimal(0)

    def receipt(self) -> dict[str, Any]:
        return {
            "destination": self.destination,
            "requests": self.requests,
            "rows": len(self.rows),
            "bytes": self.bytes,
            "local_only_rows_kept_back": len(self.kept_back_local_only),
            "usd": str(self.spent_usd),
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def answer(
    endpoint: Endpoint,
    arm: str,
    asked: Sequence[tuple[Item, Prompt]],
    known: set[str],
    prices: PriceList,
    *,
    max_new_tokens: int,
    already_spent_usd: Decimal,
    keep: Callable[[Answer], None],
) -> Egress:
    """Ask every item that is not known. Raises ApiError for a wrong key, an unknown model, or a spent budget."""
    caller = _Caller(endpoint, arm, prices, max_new_tokens, already_spent_usd)
    waiting = []
    for item, prompt in asked:
        if item.id in known:
            continue
        if item.sensitivity == "local_only":
            caller.egress.kept_back_local_only.append(item.id)
            keep(Answer(item.id, arm, None, error="local_only_not_sent"))
        else:
            waiting.append((item, prompt))
    with ThreadPoolExecutor(endpoint.concurrency) as pool:
        under_way: set[Future[Answer]] = set()
        try:
            while waiting or under_way:
                while waiting and len(under_way) < endpoint.concurrency:
                    under_way.add(pool.submit(caller.ask, *waiting.pop(0)))
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    caller.refused_all(future.result())
                    keep(future.result())
        except ApiError:
            caller.stopped.set()
            for future in under_way:
                if not future.cancel() and future.exception() is None:
                    keep(future.result())
            raise
        finally:
            caller.client.close()
    return caller.egress


class _Caller:
    def __init__(self, endpoint: Endpoint, arm: str, prices: PriceList, max_new_tokens: int, spent: Decimal) -> None:
        from openai import OpenAI

        self.endpoint, self.arm, self.prices, self.max_new_tokens = endpoint, arm, prices, max_new_tokens
        self.client = OpenAI(
            base_url=endpoint.base_url, api_key=endpoint.key, timeout=endpoint.timeout_s, max_retries=0
        )
        self.egress = Egress(endpoint.base_url, spent_usd=spent)
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._next_slot = 0.0
        self._refused = 0

    def ask(self, item: Item, prompt: Prompt) -> Answer:
        """One item, with retries. A fault that stays is an answer without text, not a crash."""
        error, limit = "not_asked", self.endpoint.max_retries + 1
        for attempt in range(1, limit + 1):
            if self.stopped.is_set():
                return Answer(item.id, self.arm, None, error="stopped", attempts=attempt - 1)
            self._wait_for_slot()
            self._count(item, prompt)
            began = time.perf_counter()
            try:
                found = self._once(item, prompt)
                return self._answer(item, found, 1000 * (time.perf_counter() - began), attempt)
            except Exception as e:
                error, pause = self._fault(e, attempt)
                if pause is None or attempt == limit:
                    break
                self.stopped.wait(pause)
        return Answer(item.id, self.arm, None, error=error, attempts=attempt)

    def refused_all(self, answer: Answer) -> None:
        """Raise ApiError where the first requests were all refused: the request is wrong, not the items."""
        refused = answer.error is not None and answer.error.startswith("refused")
        self._refused = self._refused + 1 if refused and self._refused >= 0 else -1
        if self._refused >= REFUSED_LIMIT:
            raise ApiError(f"{self.endpoint.base_url} refused the first {REFUSED_LIMIT} requests, {answer.error}")

    def _wait_for_slot(self) -> None:
        if self.endpoint.requests_per_minute is None:
            return
        with self._lock:
            now = time.monotonic()
            slot = max(now, self._next_slot)
            self._next_slot = slot + 60 / self.endpoint.requests_per_minute
        self.stopped.wait(slot - now)

    def _count(self, item: Item, prompt: Prompt) -> None:
        with self._lock:
            if self.egress.spent_usd >= self.endpoint.budget_usd:
                self.stopped.set()
                raise ApiError(
                    f"arm {self.arm}: the budget of {self.endpoint.budget_usd} USD is spent after {self.egress.requests} requests."
                    " The answers so far are kept; raise evaluation.api.budget_usd and run the same command to go on."
                )
            self.egress.requests += 1
            self.egress.rows.add(item.id)
            self.egress.bytes += sum(len(m["content"].encode()) for m in prompt)

    def _once(self, item: Item, prompt: Prompt) -> dict[str, Any]:
        if item.choices and self.endpoint.label_mode != "chat":
            return self._typed(item, prompt)
        limit = 24 if item.choices else self.max_new_tokens
        request: dict[str, Any] = {
            "model": self.endpoint.model,
            "messages": list(prompt),
            "max_tokens": limit,
            "temperature": 0,
        }
        if not self.endpoint.streaming:
            done = self.client.chat.completions.create(**request)
            choice = done.choices[0] if done.choices else None
            text = choice.message.content if choice is not None and choice.message is not None else None
            return {"text": text, "usage": done.usage, "model": done.model, "first_token_ms": None}
        return self._streamed(request)

    def _typed(self, item: Item, prompt: Prompt) -> dict[str, Any]:
        """A label by the server's typed decision endpoint, with the probability of every label. No text is generated."""
        told, asked = prompt[0]["content"], prompt[-1]["content"]
        if self.endpoint.label_mode == "decisions":
            question: Any = {"type": "choice", "instructions": told, "choices": [{"value": c} for c in item.choices]}
            made = self.client.decisions.create(model=self.endpoint.model, input=asked, questions=[question])
            answer: Any = made.answers[0]
            chosen = str(answer.choice) if answer.type == "choice" else ""
            found = {str(p.value): p.probability for p in answer.probabilities} if chosen else {}
            tokens, model = made.usage.input_tokens, made.model
        else:
            question = {"type": "choice", "instructions": told, "criteria": dict.fromkeys(item.choices)}
            body = {"model": self.endpoint.model, "state": asked, "questions": {"label": question}}
            got: Any = self.client.post("/systemone", body=body, cast_to=object)
            chosen, found = got["answers"]["label"]["choice"], got["answers"]["label"]["probabilities"]
            tokens, model = got["usage"]["input_tokens"], got["model"]
        usage = SimpleNamespace(prompt_tokens=tokens, completion_tokens=0)
        logprobs = {c: round(math.log(max(p, 1e-30)), 5) for c, p in found.items()}
        return {"text": chosen, "usage": usage, "model": model, "first_token_ms": None, "logprobs": logprobs}

    def _streamed(self, request: dict[str, Any]) -> dict[str, Any]:
        began = time.perf_counter()
        parts: list[str] = []
        first: float | None = None
        usage, model, finished = None, None, False
        with self.client.chat.completions.create(
            **request, stream=True, stream_options={"include_usage": True}
        ) as stream:
            for chunk in stream:
                usage, model = chunk.usage or usage, chunk.model or model
                for choice in chunk.choices:
                    if choice.delta and choice.delta.content:
                        first = first or 1000 * (time.perf_counter() - began)
                        parts.append(choice.delta.content)
                    finished = finished or choice.finish_reason is not None
        if not finished:
            raise ConnectionError("the stream ended before the answer did")
        return {"text": "".join(parts), "usage": usage, "model": model, "first_token_ms": first}

    def _answer(self, item: Item, found: dict[str, Any], elapsed_ms: float, attempt: int) -> Answer:
        usage = found["usage"]
        incoming = getattr(usage, "prompt_tokens", None)
        outgoing = getattr(usage, "completion_tokens", None)
        usd = self.prices.usd(usage) if incoming is not None and outgoing is not None else None
        with self._lock:
            self.egress.spent_usd += usd or Decimal(0)
        said = text = (found["text"] or "").strip()
        error = None if text else "empty_answer"
        if text and item.choices:
            text, error = read_choice(text, item.choices)
        return Answer(
            item.id, self.arm, text or None, error, said if item.choices else None, found.get("logprobs"), incoming, outgoing,
            usd, elapsed_ms, found["first_token_ms"], None, attempt, found["model"],
        )  # fmt: skip

    def _fault(self, e: Exception, attempt: int) -> tuple[str, float | None]:
        """The fault's name and the pause before the next attempt; None where another attempt is useless."""
        import openai

        pause = min(LONGEST_WAIT_S, self.endpoint.first_wait_s * 2 ** (attempt - 1)) * (1 + random.random() / 4)
        match e:
            case ApiError():
                raise e
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                raise ApiError(
                    f"{self.endpoint.base_url} refuses the key (HTTP {e.status_code}). Set the variable named in evaluation.api.api_key_env."
                ) from e
            case openai.NotFoundError():
                raise ApiError(
                    f"{self.endpoint.base_url} has no model {self.endpoint.model!r} (HTTP 404: {_short(e)}). Correct evaluation.api.model."
                ) from e
            case openai.RateLimitError():
                return "rate_limited", _retry_after(e) or pause
            case openai.APITimeoutError():
                return "timeout", pause
            case openai.InternalServerError():
                return "server_error", pause
            case openai.BadRequestError() | openai.UnprocessableEntityError():
                return f"refused: {_short(e)}", None
            case openai.APIConnectionError() | ConnectionError():
                return "connection_lost", pause
            case openai.APIResponseValidationError() | openai.APIError() | ValueError() | KeyError() | TypeError():
                return "unreadable_response", pause
            case _ if type(e).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2"):
                return "connection_lost", pause
            case _:
                raise e


def _short(e: Any) -> str:
    return " ".join(f"{getattr(e, 'message', e)} {getattr(e, 'body', None) or ''}".split())[:300]


def _retry_after(e: Any) -> float | None:
    value = e.response.headers.get("retry-after", "")
    try:
        return min(LONGEST_WAIT_S, max(0.0, float(value)))
    except ValueError:
        return None


def read_choice(text: str, choices: Sequence[str]) -> tuple[str | None, str | None]:
    """The label an answer names, or the reason why none can be read.

    The whole answer is best; else exactly one label must occur in it, as a word. Two labels are no answer.
    """
    plain = re.sub(r"[`*\"'.\s]+", " ", text).strip().casefold()
    for choice in choices:
        if plain == choice.casefold():
            return choice, None
    spoken = {c: re.escape(c.casefold()).replace("_", "[_ -]").replace(r"\-", "[_ -]") for c in choices}
    found = [c for c, pattern in spoken.items() if re.search(rf"(?<![\w-]){pattern}(?![\w-])", text.casefold())]
    if len(found) == 1:
        return found[0], None
    return None, "no_label_in_answer" if not found else "several_labels_in_answer"
