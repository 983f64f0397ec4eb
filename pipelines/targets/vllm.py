"""vLLM replicas that load adapters at run time: every replica proves itself before the alias moves on any of them.

Names and paths are immutable (`alias@sha12`): vLLM's prefix cache is keyed by name and path, and an overwritten adapter
would answer from the old one's cache. The alias is a second name for the same path. Loading needs
VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 on the server; put an allow-list proxy in front of it, for `/adapters` ignores the API key.

Golden prompts are rows: a replica on another machine is asked only what the policy lets out, at an address that it allows,
past every proxy of the environment; each request leaves a receipt.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from data_prep.records import UserError
from evaluation.egress import Call, Guard, kinds_in
from pipelines.serving import parity, preflight
from pipelines.serving.candidate import Candidate, TargetError
from pipelines.serving.golden import GOLDEN_TOKENS, Golden, may_leave
from pipelines.serving.parity import Replayed

PURPOSE = "promote"
MOST_BYTES = 1_000_000  # of a response: a golden answer with its log-probabilities is a hundredth of it


def promote(
    candidate: Candidate,
    *,
    replicas: tuple[str, ...],
    base_model: str,
    adapters_dir: str,
    served_dir: str | None = None,
    api_key_env: str = "VLLM_API_KEY",
    max_rank: int = 16,
    timeout_s: float = 120.0,
) -> list[str]:
    """Load on every replica, prove, then move the alias everywhere; unload again where any replica fails.

    replicas: base URLs without /v1. base_model: the name the replicas serve the base under. adapters_dir: shared folder,
    as seen here; served_dir: the same folder as the replicas see it. max_rank: their --max-lora-rank.
    """
    fleet = [Replica(url, api_key_env, timeout_s, candidate.guard) for url in replicas]
    for replica in fleet:
        replica.may_be_asked(candidate.golden)
    checks = preflight.check(candidate.adapter, candidate.base.folder, base_name=candidate.base.name, max_rank=max_rank)
    parity.differs_from_base(candidate.golden, tolerance=candidate.logprob_tolerance)
    path = publish(candidate, Path(adapters_dir), base_model)
    seen = f"{(served_dir or str(path.parent)).rstrip('/')}/{path.name}"
    checks += prove(fleet, candidate, base_model, seen)
    before = f"{Path(seen).parent}/{_safe(candidate.previous)}" if candidate.previous else None
    move_alias(fleet, candidate.alias, seen, previous=before)
    return [*checks, f"alias: {candidate.alias} -> {candidate.name} on {len(fleet)} replica(s)"]


def rollback(
    alias: str,
    name: str,
    guard: Guard,
    *,
    replicas: tuple[str, ...],
    base_model: str,  # noqa: ARG001  (one set of options serves both functions)
    adapters_dir: str,
    served_dir: str | None = None,
    api_key_env: str = "VLLM_API_KEY",
    max_rank: int = 16,  # noqa: ARG001
    timeout_s: float = 120.0,
) -> list[str]:
    """Point the alias back at a version that is still published, on every replica that can be reached.

    Raises TargetError where one of them fails; the others serve the earlier version by then.
    """
    if not (Path(adapters_dir) / _safe(name)).is_dir():
        raise TargetError(
            f"{Path(adapters_dir) / _safe(name)}: is no longer there, so there is nothing to roll back to."
        )
    seen = f"{(served_dir or str(Path(adapters_dir).absolute())).rstrip('/')}/{_safe(name)}"
    fleet = [Replica(url, api_key_env, timeout_s, guard) for url in replicas]
    failed = _failures(fleet, lambda replica: replica.load(alias, seen, in_place=True))
    if failed:
        raise TargetError(
            f"{' '.join(failed)} {alias} is back at {name} on {len(fleet) - len(failed)} of {len(fleet)} replicas;"
            " run the same command again for the others."
        )
    return [f"alias: {alias} -> {name} on {len(fleet)} replica(s)"]


def _safe(name: str) -> str:
    return name.replace("/", "_")


def publish(candidate: Candidate, adapters_dir: Path, base_model: str) -> Path:
    """Copy the adapter to its immutable path, with the base's served name in its configuration (vLLM compares strings)."""
    path = adapters_dir.absolute() / _safe(candidate.name)
    if path.exists():
        return path
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    shutil.copy(candidate.adapter / "adapter_model.safetensors", partial)
    config = json.loads((candidate.adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base_model
    (partial / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True))
    partial.rename(path)
    return path


def prove(fleet: Sequence[Replica], candidate: Candidate, base_model: str, seen: str) -> list[str]:
    """Load and replay on every replica. Raises TargetError, with everything unloaded again, if any one differs."""
    checks, loaded = [], []
    try:
        for replica in fleet:
            replica.same_base(base_model, candidate.golden, candidate.logprob_tolerance)
            replica.load(candidate.name, seen)
            loaded.append(replica)
            replayed = [replica.ask(candidate.name, g) for g in candidate.golden]
            checks.append(
                parity.compare(replica.url, candidate.golden, replayed, tolerance=candidate.logprob_tolerance)
            )
    except TargetError as e:
        # a replica that is gone cannot serve it either
        gone = len(_failures(loaded, lambda replica: replica.unload(candidate.name)))
        raise TargetError(
            f"{e} {candidate.name} was unloaded from {len(loaded) - gone} replica(s); the alias was not moved."
        ) from e
    return checks


def move_alias(fleet: Sequence[Replica], alias: str, seen: str, *, previous: str | None) -> None:
    """Give every replica the alias as a second name of a path.

    If one fails, those before it go back to `previous`, or lose the alias where there was none.
    """
    moved: list[Replica] = []
    try:
        for replica in fleet:
            replica.load(alias, seen, in_place=True)
            moved.append(replica)
    except TargetError as e:
        failed = _failures(
            moved, lambda r: r.unload(alias) if previous is None else r.load(alias, previous, in_place=True)
        )
        if failed:
            raise TargetError(
                f"{e} {alias} still points at the new version on {len(failed)} replica(s), where that could not be undone:"
                f" {' '.join(failed)}"
            ) from e
        raise


def _failures(fleet: Sequence[Replica], act: Callable[[Replica], None]) -> list[str]:
    """Act on every replica, whatever happens on the others. Returns what failed."""
    failed = []
    for replica in fleet:
        try:
            act(replica)
        except UserError as e:
            failed.append(str(e))
    return failed


class Replica:
    """One vLLM server. Errors name its URL. Raises EgressError for an address that the policy forbids."""

    def __init__(self, url: str, api_key_env: str, timeout_s: float, guard: Guard) -> None:
        self.url = url.rstrip("/")
        self._key = os.environ.get(api_key_env, "")
        self._timeout_s = timeout_s
        self._guard = guard
        guard.policy.check(self.url)

    def may_be_asked(self, golden: Sequence[Golden]) -> None:
        """Raise TargetError where this is another machine and a golden prompt must not leave this one."""
        from pipelines.egress import is_here

        kept = [g.item for g in golden if not may_leave(g.messages, g.sensitivity, self._guard.policy)]
        if kept and not is_here(self.url):
            raise TargetError(
                f"{self.url}: is another machine, and {len(kept)} of {len(golden)} golden prompts must not leave this one"
                f" ({', '.join(kept[:3])}); nothing was sent. Evaluation takes them from rows that egress.sensitivity and"
                " egress.blocked_kinds let out; where none is, only replicas on this machine can be proven. Where an earlier"
                " version recorded them, delete the report folder and run `freehold run` again."
            )

    def same_base(self, base_model: str, golden: Sequence[Golden], tolerance: float) -> None:
        """Raise TargetError where the replica's base does not answer as the base that the adapter was trained on."""
        for g in golden[:2]:
            r = self.ask(base_model, g)
            if r.prompt_ids is not None and r.prompt_ids != g.prompt_ids:
                raise TargetError(
                    f"{self.url}: renders prompts to other tokens than evaluation did. Is its chat template the adapter's?"
                )
            same, may_part = parity.parting(g.base_ids, g.base_margins, r.ids or [], tolerance)
            off = parity.furthest((r.logprobs or [])[:same], g.base_logprobs[:same])
            if not may_part or off > tolerance:
                raise TargetError(
                    f"{self.url}: {base_model!r} does not answer as the base that the adapter was trained on. Wrong base model?"
                )

    def load(self, name: str, path: str, *, in_place: bool = False) -> None:
        """Load an adapter under a name. in_place: an alias, which moves; any other name stands for one path for good."""
        self._post(
            "/v1/load_lora_adapter",
            {"lora_name": name, "lora_path": path, "load_inplace": in_place},
            model=name,
            allowed="" if in_place else "already been loaded",
        )

    def unload(self, name: str) -> None:
        """Take the name away."""
        self._post("/v1/unload_lora_adapter", {"lora_name": name}, model=name)

    def ask(self, model: str, g: Golden) -> Replayed:
        """A golden prompt, greedily, with token ids and log-probabilities."""
        body = {
            "model": model, "messages": list(g.messages), "temperature": 0, "max_tokens": GOLDEN_TOKENS,
            "logprobs": True, "return_token_ids": True,
        }  # fmt: skip
        answer = json.loads(self._post("/v1/chat/completions", body, model=model, asked=g))
        choice = answer["choices"][0]
        if choice.get("token_ids") is None or not choice.get("logprobs"):
            raise TargetError(
                f"{self.url}: returns no token ids and log-probabilities, so nothing can be proven. vLLM 0.32 or newer is needed."
            )
        logprobs = [t["logprob"] for t in choice["logprobs"]["content"]]
        return Replayed(
            choice["message"]["content"] or "", choice["token_ids"], logprobs, answer.get("prompt_token_ids")
        )

    def _post(
        self, path: str, body: dict[str, Any], *, model: str, asked: Golden | None = None, allowed: str = ""
    ) -> str:
        """What the replica answers. allowed: words of a refusal that is as good as an answer."""
        import httpx2

        from evaluation.transport import TAG, GuardedClient, ResponseError

        call, status = self._call(model, asked), "connection_lost"
        headers = {TAG: call.tag, **({"Authorization": f"Bearer {self._key}"} if self._key else {})}
        try:
            with GuardedClient(
                self.url, self._guard, timeout_s=self._timeout_s, most_bytes=MOST_BYTES, connections=1, direct=True
            ) as client:
                answer = client.post(self.url + path, json=body, headers=headers)
            status = "answered" if answer.status_code == 200 else "refused"
        except ResponseError as e:
            status = e.status
            raise TargetError(f"{self.url}{path}: {e}") from e
        except (httpx2.HTTPError, httpx2.InvalidURL) as e:
            told = str(e) or type(e).__name__
            raise TargetError(f"{self.url}: cannot be reached ({told}). Is the replica up?") from e
        finally:
            self._guard.ended(call, status, Decimal(0), may_be_billed=False)
        told = answer.text
        if answer.status_code == 200 or (allowed and allowed in told):
            return told
        if answer.is_redirect:
            told = f"redirects to {answer.headers.get('location')}, which is not followed"
        raise TargetError(f"{self.url}{path}: HTTP {answer.status_code}: {' '.join(told.split())[:300]}")

    def _call(self, model: str, asked: Golden | None) -> Call:
        """The receipt of a request to come: of a row, or of an errand that carries none."""
        if asked is None:
            return self._guard.errand(PURPOSE, model=model)
        kinds = kinds_in(asked.messages)
        call = self._guard.reserve(
            PURPOSE, asked.item, model=model, kinds=kinds, worst_usd=Decimal(0), stopped=threading.Event()
        )
        assert call is not None, "what costs nothing need not wait"
        return call
