"""Answers from any OpenAI-compatible server: the managed API, a serverless provider, vLLM, the loopback stand-in.

Retries are ours, so that a latency is one attempt's: 429 (Retry-After honoured), 5xx, time-outs and cut connections back
off exponentially; a wrong key or an unknown model stops the run at once. Each request is priced by itself from the usage the
server reports. The egress guard decides what leaves and when the budget is spent; every answer so far is kept.

An answer to another question is detected where the server echoes X-Request-ID, or repeats a response id among distinct ones.
What cannot be told: a well-formed answer under a fresh id, or ids that never differ; a label outside the list is unmeasured.
"""

from __future__ import annotations

import json
import math
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from decimal import Decimal
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from data_prep.records import ChatMessage, UserError
from evaluation.egress import BudgetError, Call, Egress, EgressError, Guard, kinds_in
from evaluation.prices import Book, PriceError
from evaluation.results import Answer, Item

Prompt = tuple[ChatMessage, ...]
Asked = tuple[Item, Prompt, dict[str, int]]  # with the personal data found in it, by kind
LONGEST_WAIT_S = 60.0
REFUSED_LIMIT = 5  # refusals before the first answer, and four times as many in a row after it: the request is wrong
NO_CREDIT = re.compile(r"insufficient[_ ](?:quota|credits?|balance|funds)|credit balance|out of credits", re.IGNORECASE)
LABEL_TOKENS = 24
TYPED = ("decisions", "systemone")  # ways to ask for a label that generate no text
MOST_BYTES = 1_000_000  # of a response: the longest answers are a hundredth of it
MOST_TOKENS = 10**9
# errors of answers that another attempt may mend, what follows a colon aside: the next command asks these items again
LOST = frozenset(
    "stopped connection_lost timeout server_error rate_limited unreadable_response answer_too_long wrong_content_type"
    " answer_to_another_request repeated_answer".split()
)
TOKENS_A_MESSAGE = 16  # what a chat template adds at most; a token is a byte or longer


def is_lost(error: str | None) -> bool:
    """May another attempt mend it? Errors may go on with what the server said, after a colon."""
    return error is not None and error.partition(":")[0] in LOST


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
    label_mode: Literal["chat", "logprobs", "decisions", "systemone"] = "chat"
    limit_as: str = "max_tokens"
    thinking_tokens: int = 0  # added to the longest answer
    request: dict[str, str | int | float | bool | None] = field(default_factory=dict)  # None leaves a field out
    vendor: str | None = None  # a provider of another protocol, asked through the extra [providers]
    batch: Path | None = None  # where a batch under way is remembered: with it, answers come by batch
    section: str = "evaluation.api"  # where a recipe sets this, for what errors say

    def sampling(self, limit: int) -> dict[str, Any]:
        """The fields of a request beside model and messages."""
        fields = {self.limit_as: limit, "temperature": 0, **self.request}
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Reply:
    text: str | None
    usage: dict[str, Any] | None
    model: str | None
    id: str | None
    finish_reason: str | None = None
    first_token_ms: float | None = None
    logprobs: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong with one attempt. wait_s None: another attempt is useless. stop: no other item fares better."""

    status: str
    told: str = ""
    wait_s: float | None = None
    may_be_billed: bool = False
    stop: ApiError | None = None

    @property
    def error(self) -> str:
        return f"{self.status}: {self.told}" if self.told else self.status


def answer(
    endpoint: Endpoint,
    arm: str,
    asked: Sequence[tuple[Item, Prompt]],
    known: set[str],
    prices: Book,
    *,
    max_new_tokens: int,
    already_spent_usd: Decimal,
    keep: Callable[[Answer], None],
    guard: Guard | None = None,
    purpose: str | None = None,
    has_answered: bool = False,
) -> Egress:
    """Ask every item that is not known. Raises ApiError for a wrong key, an unknown model, or a spent budget.

    guard: without one the default policy holds and no ledger is written. purpose: whose budget pays; the arm's without it.
    has_answered: an earlier command had answers of it, so what it refuses now is that request and not all of them.
    """
    guard = guard or Guard()
    guard.policy.check(endpoint.base_url)
    made: type[Caller] = Caller
    if endpoint.vendor is not None:
        from evaluation.providers.any_llm import AnyLlmCaller

        made = AnyLlmCaller
    elif endpoint.batch is not None:
        from evaluation.providers.openai_batch import BatchCaller

        made = BatchCaller
    caller = made(endpoint, arm, prices, max_new_tokens, guard, purpose or arm)
    caller.has_answered = has_answered
    guard.open_purse(caller.purpose, endpoint.budget_usd, at_least=already_spent_usd)
    left = [(item, prompt) for item, prompt in asked if item.id not in known]
    with caller.client:
        caller.ask_all(caller.may_leave(left, keep), keep)
    return caller.egress


class Caller:
    """One arm's requests: what may leave, retries, faults, prices. A provider of another protocol overrides `_connect` and `_put`."""

    most_bytes = MOST_BYTES

    def __init__(
        self, endpoint: Endpoint, arm: str, prices: Book, max_new_tokens: int, guard: Guard, purpose: str
    ) -> None:
        self.endpoint, self.arm, self.prices, self.max_new_tokens = endpoint, arm, prices, max_new_tokens
        self.guard, self.purpose, self.described = guard, purpose, prices.describe()
        self.client = self._connect()
        self.egress = guard.about(purpose)
        self.egress.destination = endpoint.base_url
        self.stopped = threading.Event()
        self.failure: ApiError | None = None
        self._lock = threading.Lock()
        self._next_slot = 0.0
        self._refused: list[Answer] = []  # in a row up to now, not kept yet
        self.has_answered = False

    def _connect(self) -> Any:
        """The client, a context manager."""
        from openai import OpenAI

        from evaluation.transport import GuardedClient

        endpoint = self.endpoint
        through = GuardedClient(
            endpoint.base_url, self.guard, timeout_s=endpoint.timeout_s, most_bytes=self.most_bytes,
            connections=endpoint.concurrency,
        )  # fmt: skip
        return OpenAI(base_url=endpoint.base_url, api_key=endpoint.key, max_retries=0, http_client=through)

    def may_leave(self, left: Sequence[tuple[Item, Prompt]], keep: Callable[[Answer], None]) -> Iterator[Asked]:
        """The items that the policy lets out, with the personal data found in them; for the others `keep` gets the reason."""
        for item, prompt in left:
            kinds = kinds_in(prompt)
            reason = self.guard.policy.reason_to_keep_back(item.sensitivity, kinds)
            if reason is None:
                yield item, prompt, kinds
            else:
                self.egress.kept_back[item.id] = reason
                keep(Answer(item.id, self.arm, None, error=reason, attempts=0))

    def ask_all(self, waiting: Iterator[Asked], keep: Callable[[Answer], None]) -> None:
        """Keep every answer that comes, also where the run must stop: those under way are paid for."""
        failure: BaseException | None = None
        with ThreadPoolExecutor(self.endpoint.concurrency) as pool:
            under_way: set[Future[Answer]] = set()
            while True:
                try:
                    while failure is None and not self.stopped.is_set() and len(under_way) < self.endpoint.concurrency:
                        following = next(waiting, None)
                        if following is None:
                            break
                        under_way.add(pool.submit(self.ask, *following))
                    if not under_way:
                        break
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                except BaseException as e:  # also Ctrl-C: what is under way ends within the time limit and is kept
                    if failure is not None:
                        raise
                    failure = e
                    self.stopped.set()
                    continue
                for future in done:
                    try:
                        made = future.result()
                        if made.attempts:
                            self._settle(made, keep)
                    except Exception as e:
                        failure = failure or e
                        self.stopped.set()
        self._keep_refused(keep)
        if failure is not None or self.failure is not None:
            raise failure or self.failure or AssertionError

    def ask(self, item: Item, prompt: Prompt, kinds: dict[str, int]) -> Answer:
        """One item, with retries. A fault that stays is an answer without text, not a crash."""
        error, presumed = "stopped", Decimal(0)
        attempt = 0
        while attempt <= self.endpoint.max_retries:
            call = self._reserve(item, prompt, kinds)
            if call is None:
                error = "stopped"
                break
            attempt += 1
            began = time.perf_counter()
            try:
                reply = self._once(item, prompt, call)
            except Exception as e:
                fault = self._fault(e, attempt)
                presumed += self.guard.ended(call, fault.status, None, may_be_billed=fault.may_be_billed)
                error = fault.error
                if fault.stop is not None:
                    self._stop(fault.stop)
                if fault.wait_s is None:
                    break
                self.stopped.wait(fault.wait_s)
            else:
                elapsed_ms = 1000 * (time.perf_counter() - began)
                return self._answer(item, reply, call, elapsed_ms, attempt, presumed)
        return Answer(item.id, self.arm, None, error=error, attempts=attempt, usd_presumed=presumed or None)

    def mode(self, item: Item) -> str:
        """How this item is asked, as stored answers tell it."""
        if self.endpoint.batch is not None:
            return "batch"
        return self.endpoint.label_mode if item.choices else "chat"

    def _settle(self, made: Answer, keep: Callable[[Answer], None]) -> None:
        """Keep an answer; refusals wait for the answer after them. Raises ApiError where only refusals come."""
        if made.error is not None and made.error.startswith("refused"):
            self._refused.append(made)
            most = 4 * REFUSED_LIMIT if self.has_answered else REFUSED_LIMIT
            if len(self._refused) >= most:
                self._refused.clear()  # they are asked again once what is wrong is mended
                which = f"{most} requests in a row" if self.has_answered else f"the first {most} requests"
                raise ApiError(f"{self.endpoint.base_url} refused {which}, {made.error}")
            return
        self.has_answered = True
        keep(made)  # first: it is paid for
        self._keep_refused(keep)

    def _keep_refused(self, keep: Callable[[Answer], None]) -> None:
        waiting, self._refused = self._refused, []
        for refused in waiting:
            keep(refused)

    def _stop(self, why: ApiError) -> None:
        with self._lock:
            self.failure = self.failure or why
        self.stopped.set()

    def _reserve(self, item: Item, prompt: Prompt, kinds: dict[str, int], *, together: bool = False) -> Call | None:
        if not together:
            self._wait_for_slot()
        try:
            return self.guard.reserve(
                self.purpose, item.id, model=self.endpoint.model, kinds=kinds, worst_usd=self.worst_usd(item, prompt),
                stopped=self.stopped, together=together,
            )  # fmt: skip
        except BudgetError as e:
            setting = "--budget-usd" if e.whole_run else f"{self.endpoint.section}.budget_usd"
            whole = "the whole run" if e.whole_run else f"arm {self.arm}"
            self._stop(
                ApiError(
                    f"{whole}: {e}. The answers so far are kept; raise {setting} and run the same command to go on."
                )
            )
            return None

    def worst_usd(self, item: Item, prompt: Prompt) -> Decimal:
        """The price of the longest answer to a prompt of as many tokens as bytes; zero where nothing is priced."""
        prompt_tokens = sum(len(m["content"].encode()) + TOKENS_A_MESSAGE for m in prompt) + TOKENS_A_MESSAGE
        usage = SimpleNamespace(prompt_tokens=prompt_tokens, completion_tokens=self._limit(item))
        return self.prices.usd(usage) or Decimal(0)

    def _limit(self, item: Item) -> int:
        return (LABEL_TOKENS if item.choices else self.max_new_tokens) + self.endpoint.thinking_tokens

    def _wait_for_slot(self) -> None:
        if self.endpoint.requests_per_minute is None:
            return
        with self._lock:
            now = time.monotonic()
            slot = max(now, self._next_slot)
            self._next_slot = slot + 60 / self.endpoint.requests_per_minute
        self.stopped.wait(slot - now)

    def _once(self, item: Item, prompt: Prompt, call: Call) -> Reply:
        reply = self._put(item, prompt, call)
        if self.guard.is_repeated(call, reply.id):
            from evaluation.transport import ResponseError

            raise ResponseError("repeated_answer", f"the server gave response {reply.id} to another item before")
        return reply

    def _put(self, item: Item, prompt: Prompt, call: Call) -> Reply:
        """The question put once, in the server's protocol."""
        mode, request = self.mode(item), self._request(item, prompt)
        if mode in TYPED:
            return self._typed(item, prompt, call)
        if mode == "logprobs":
            from evaluation.providers import label_logprobs

            body = self._post("/chat/completions", request | label_logprobs.REQUEST, call)
            reply = chat_reply(body)
            told = as_dict(body["choices"][0].get("logprobs")) if body["choices"] else {}
            return replace(reply, logprobs=label_logprobs.of_choices(told.get("content"), item.choices))
        if self.endpoint.streaming:
            return self._streamed(request, call)
        return chat_reply(self._post("/chat/completions", request, call))

    def _request(self, item: Item, prompt: Prompt) -> dict[str, Any]:
        sampling = self.endpoint.sampling(self._limit(item))
        return {"model": self.endpoint.model, "messages": list(prompt), **sampling}

    def _post(self, path: str, body: dict[str, Any], call: Call) -> dict[str, Any]:
        import httpx2

        from evaluation.transport import TAG

        response = self.client.post(path, body=body, cast_to=httpx2.Response, options={"headers": {TAG: call.tag}})
        found = json.loads(response.content)
        if not isinstance(found, dict):
            raise TypeError(f"the server answered with {type(found).__name__}, not an object")
        return found

    def _typed(self, item: Item, prompt: Prompt, call: Call) -> Reply:
        """A label by the server's typed decision endpoint, with the probability of every label. No text is generated."""
        told, asked = prompt[0]["content"], prompt[-1]["content"]
        model = self.endpoint.model
        if self.endpoint.label_mode == "decisions":
            question: Any = {"type": "choice", "instructions": told, "choices": [{"value": c} for c in item.choices]}
            got = self._post("/decisions", {"model": model, "input": asked, "questions": [question]}, call)
            made = got["answers"][0]
            chosen = made["choice"] if made.get("type", "choice") == "choice" else None
            found = {p["value"]: p["probability"] for p in made["probabilities"]} if chosen else {}
        else:
            question = {"type": "choice", "instructions": told, "criteria": dict.fromkeys(item.choices)}
            got = self._post("/systemone", {"model": model, "state": asked, "questions": {"label": question}}, call)
            chosen, found = got["answers"]["label"]["choice"], got["answers"]["label"]["probabilities"]
        if chosen is not None and (chosen not in item.choices or not _are_probabilities(found, item.choices)):
            raise ValueError("the server chose what was not offered, or gave no probabilities")
        counted = as_dict(got.get("usage")).get("input_tokens")
        usage = read_usage({**as_dict(got.get("usage")), "prompt_tokens": counted, "completion_tokens": 0})
        logprobs = {c: round(math.log(max(p, 1e-30)), 5) for c, p in found.items()}
        return Reply(chosen, usage, _text(got.get("model")), _text(got.get("id")), logprobs=logprobs)

    def _streamed(self, request: dict[str, Any], call: Call) -> Reply:
        from evaluation.transport import TAG

        began = time.perf_counter()
        parts: list[str] = []
        first: float | None = None
        usage, model, response_id, finished = None, None, None, None
        with self.client.chat.completions.create(
            **request, stream=True, stream_options={"include_usage": True}, extra_headers={TAG: call.tag}
        ) as stream:
            for chunk in stream:
                usage, model = chunk.usage or usage, chunk.model or model
                response_id = response_id or chunk.id
                for choice in chunk.choices:
                    if choice.delta and choice.delta.content:
                        first = first or 1000 * (time.perf_counter() - began)
                        parts.append(choice.delta.content)
                    finished = finished or choice.finish_reason
        if finished is None:
            raise ConnectionError("the stream ended before the answer did")
        counted = read_usage(usage.to_dict() if usage is not None else None)
        return Reply(_clean("".join(parts)), counted, _text(model), _text(response_id), finished, first)

    def _answer(
        self, item: Item, reply: Reply, call: Call | None, elapsed_ms: float | None, attempt: int, presumed: Decimal
    ) -> Answer:
        try:
            usd = self.prices.usd(as_usage(reply.usage)) if reply.usage is not None else None
        except PriceError:  # the list lacks a tier: what is paid for is kept, its price is unknown
            usd = None
        said = (reply.text or "").strip()
        text: str | None = said
        error = None if text else "empty_answer"
        if text and item.choices:
            text, error = read_choice(text, item.choices)
        status = "answered" if error is None else error
        presumed += self._ended(call, status, usd, may_be_billed=True, model=reply.model, response_id=reply.id)
        mode = self.mode(item)
        sampling = self.endpoint.sampling(self._limit(item)) if mode not in TYPED else {}
        return Answer(
            item.id, self.arm, text or None, error,
            said=said if item.choices else None,
            choice_logprobs=reply.logprobs,
            prompt_tokens=reply.usage["prompt_tokens"] if reply.usage else None,
            completion_tokens=reply.usage["completion_tokens"] if reply.usage else None,
            usd=usd,
            latency_ms=elapsed_ms,
            first_token_ms=reply.first_token_ms,
            attempts=attempt,
            model=reply.model,
            usage=reply.usage,
            parameters={"model": self.endpoint.model, "mode": mode, "streaming": self.endpoint.streaming, **sampling},
            finish_reason=reply.finish_reason,
            usd_presumed=presumed or None,
            prices=self.described,
            response_id=reply.id,
        )  # fmt: skip

    def _ended(self, call: Call | None, status: str, usd: Decimal | None, **how: Any) -> Decimal:
        """Tell the guard, and return what it presumes spent; nothing without a call, whose end the ledger has already."""
        return self.guard.ended(call, status, usd, **how) if call is not None else Decimal(0)

    def _pause(self, attempt: int) -> float:
        """Seconds until the next attempt, if the server names none."""
        longest: float = min(LONGEST_WAIT_S, self.endpoint.first_wait_s * 2 ** min(attempt - 1, 30))
        return longest * (1 + random.random() / 4)

    def _fault(self, e: Exception, attempt: int) -> Fault:
        """What an attempt's exception means. Re-raises what is no fault of the server."""
        import httpx2
        import openai

        from evaluation.transport import ResponseError

        pause = self._pause(attempt)
        causes = list(_causes(e))
        for cause in causes:
            match cause:
                case EgressError():
                    return Fault("egress_refused", stop=ApiError(str(cause)))
                case ResponseError():
                    return Fault(cause.status, wait_s=pause, may_be_billed=True)
                case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.PoolTimeout():
                    return Fault("connection_lost", wait_s=pause)  # nothing was sent, nothing is billed
                case httpx2.TimeoutException() | openai.APITimeoutError():
                    return Fault("timeout", wait_s=pause, may_be_billed=True)
                case openai.APIStatusError():
                    return self._refusal(cause, pause)
                case httpx2.TransportError() | ConnectionError():
                    return Fault("connection_lost", wait_s=pause, may_be_billed=True)
        match e:
            case openai.APIConnectionError():
                return Fault("connection_lost", wait_s=pause, may_be_billed=True)
            case (
                openai.APIError() | ValueError() | KeyError() | IndexError() | TypeError() | AttributeError() | RecursionError()
                | OverflowError()
            ):  # fmt: skip
                return Fault("unreadable_response", wait_s=pause, may_be_billed=True)
        raise e

    def _refusal(self, e: Any, pause: float) -> Fault:
        """What an HTTP status other than 200 means."""
        where, status = self.endpoint.base_url, e.status_code
        if status == 402 or (status in (400, 403, 429) and NO_CREDIT.search(_short(e))):
            return Fault("no_credit", stop=ApiError(f"{where} has no credit left (HTTP {status}: {_short(e)})."))
        if status == 401 or (status == 403 and not self.has_answered):  # gateways also forbid one question by its words
            stop = f"{where} refuses the key (HTTP {status}). Set the variable named in {self.endpoint.section}.api_key_env."
            return Fault("key_refused", stop=ApiError(stop))
        if status == 404:
            stop = f"{where} has no model {self.endpoint.model!r} (HTTP 404: {_short(e)}). Correct {self.endpoint.section}.model."
            return Fault("no_model", stop=ApiError(stop))
        if status == 429:
            return Fault("rate_limited", wait_s=_retry_after(e) or pause)
        if status >= 500 or status in (408, 409, 425):
            # a gateway's time-out says nothing of what the server behind it did
            return Fault("server_error", wait_s=_retry_after(e) or pause, may_be_billed=status in (408, 504, 524))
        if 300 <= status < 400:
            to = e.response.headers.get("location", "nowhere")
            return Fault("refused", f"redirects to {to[:200]}, and redirects are not followed")
        return Fault("refused", _short(e))


def _causes(e: BaseException | None) -> Iterator[BaseException]:
    while e is not None:
        yield e
        e = e.__cause__ or e.__context__


def chat_reply(body: dict[str, Any]) -> Reply:
    """The reply in a chat completion's body. Raises TypeError, KeyError or ValueError where it has another shape."""
    usage, model, response_id = read_usage(body.get("usage")), _text(body.get("model")), _text(body.get("id"))
    choices = body["choices"]
    if not isinstance(choices, list) or len(choices) > 1:
        raise ValueError("the server gave several answers, or none that can be read")
    if not choices:
        return Reply(None, usage, model, response_id)
    message = choices[0]["message"] or {}
    text = message.get("content") or message.get("refusal")
    if text is not None and not isinstance(text, str):
        raise TypeError(f"the answer is {type(text).__name__}, not text")
    return Reply(_clean(text or ""), usage, model, response_id, _text(choices[0].get("finish_reason")))


def read_usage(raw: Any) -> dict[str, Any] | None:
    """Token counts, where they are counts: NaN, fractions, negative numbers, or more cached than read are none."""
    found = {k: v for k, v in as_dict(raw).items() if _is_count(v)}
    if "prompt_tokens" not in found or "completion_tokens" not in found:
        return None
    for name in ("prompt_tokens_details", "completion_tokens_details"):
        details = {k: v for k, v in as_dict(as_dict(raw).get(name)).items() if _is_count(v)}
        if details:
            found[name] = details
    details = found.get("prompt_tokens_details", {})
    cached = details.get("cached_tokens", 0) + details.get("cache_write_tokens", 0)
    return found if cached <= found["prompt_tokens"] else None


def as_usage(usage: dict[str, Any]) -> Any:
    """Stored token counts in the shape that price lists read."""
    return SimpleNamespace(**{k: as_usage(v) if isinstance(v, dict) else v for k, v in usage.items()})


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS


def _are_probabilities(found: Any, choices: Sequence[str]) -> bool:
    values = list(found.values())
    return (
        set(found) <= set(choices)
        and all(isinstance(p, int | float) and 0 <= p <= 1.000001 for p in values)  # NaN is neither
        and sum(values) <= 1.01
    )


def as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return _clean(value)[:200] if isinstance(value, str) else None


def _clean(text: str) -> str:
    """Half surrogate pairs, which JSON can carry and UTF-8 cannot, become question marks."""
    return text.encode("utf-8", "replace").decode()


def _short(e: Any) -> str:
    return _clean(" ".join(f"{getattr(e, 'message', e)} {getattr(e, 'body', None) or ''}".split())[:300])


def _retry_after(e: Any) -> float | None:
    """Seconds that the server asks to wait, from a number or a date; at most a minute."""
    value = e.response.headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return min(LONGEST_WAIT_S, max(0.0, seconds))


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
