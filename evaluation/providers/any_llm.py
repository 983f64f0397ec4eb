"""Answers from a provider that speaks another protocol than OpenAI's, through any-llm (the extra `[providers]`).

Question: how to ask Anthropic, Mistral or Bedrock without a client of our own for each? Choice: any-llm, a thin layer over the
vendors' own clients. Price: the vendor's client does the sending, so the guard is asked before a request is handed over, with
the size of its text, and cannot see redirects or the size of a response; no streaming. Revisit if the vendors offer
OpenAI-compatible endpoints that give the same answers.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

from data_prep.records import UserError
from evaluation.egress import Call
from evaluation.providers.openai_compatible import Caller, Fault, Prompt, Reply, chat_reply
from evaluation.results import Item


class AnyLlmCaller(Caller):
    """The same retries, prices, policy and budget; another way to put a question."""

    def _connect(self) -> Any:
        try:
            from any_llm import AnyLLM
            from any_llm.exceptions import AnyLLMError
        except ImportError as e:
            raise UserError(
                f"{self.endpoint.section}.vendor {self.endpoint.vendor!r} needs the extra [providers]:"
                ' pip install -c constraints.txt -e ".[providers]"'
            ) from e
        name, common = str(self.endpoint.vendor), {"api_key": self.endpoint.key, "api_base": self.endpoint.base_url}
        try:
            try:  # a client that retries by itself would pay twice unseen
                made = AnyLLM.create(name, **common, unified_exceptions=True, max_retries=0)
            except TypeError:
                made = AnyLLM.create(name, **common, unified_exceptions=True)
        except (AnyLLMError, ImportError, ValueError) as e:
            raise UserError(f"{self.endpoint.section}.vendor {name!r}: {' '.join(str(e).split())[:300]}") from e
        return nullcontext(made)

    def _put(self, item: Item, prompt: Prompt, call: Call) -> Reply:
        body = {"messages": list(prompt), **self.endpoint.sampling(self._limit(item))}
        self.guard.leaving(call.tag, self.endpoint.base_url, len(json.dumps(body, ensure_ascii=False).encode()))
        made = self.client.enter_result.completion(
            model=self.endpoint.model, reasoning_effort=None, timeout=self.endpoint.timeout_s, **body
        )
        return chat_reply(made.model_dump())

    def _fault(self, e: Exception, attempt: int) -> Fault:
        """The vendor's own exception, which any-llm carries, in the words of ours."""
        from any_llm.exceptions import AnyLLMError

        if not isinstance(e, AnyLLMError):
            return super()._fault(e, attempt)
        pause, cause = self._pause(attempt), e.original_exception
        if e.status_code is not None and getattr(cause, "response", None) is not None:
            return self._refusal(cause, pause)
        if "timeout" in type(cause).__name__.lower():
            return Fault("timeout", wait_s=pause, may_be_billed=True)
        if "connection" in type(cause).__name__.lower():
            return Fault("connection_lost", wait_s=pause, may_be_billed=True)
        return Fault("refused", " ".join(str(e).split())[:300])
