"""vLLM replicas that load adapters at run time: every replica proves itself before the alias moves on any of them.

Names and paths are immutable (`alias@sha12`): vLLM's prefix cache is keyed by name and path, and an overwritten adapter
would answer from the old one's cache. The alias is a second name for the same path. Loading needs
VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 on the server; put an allow-list proxy in front of it, for `/adapters` ignores the API key.
"""

from __future__ import annotations

import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.serving import parity, preflight
from pipelines.serving.candidate import Candidate, TargetError
from pipelines.serving.golden import GOLDEN_TOKENS, Golden
from pipelines.serving.parity import Replayed


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
    checks = preflight.check(candidate.adapter, candidate.base.folder, base_name=candidate.base.name, max_rank=max_rank)
    parity.differs_from_base(candidate.golden, tolerance=candidate.logprob_tolerance)
    path = publish(candidate, Path(adapters_dir), base_model)
    seen = f"{(served_dir or str(path.parent)).rstrip('/')}/{path.name}"
    fleet = [Replica(url, api_key_env, timeout_s) for url in replicas]
    checks += prove(fleet, candidate, base_model, seen)
    before = f"{Path(seen).parent}/{_safe(candidate.previous)}" if candidate.previous else None
    move_alias(fleet, candidate.alias, seen, previous=before)
    return [*checks, f"alias: {candidate.alias} -> {candidate.name} on {len(fleet)} replica(s)"]


def rollback(
    alias: str,
    name: str,
    *,
    replicas: tuple[str, ...],
    base_model: str,  # noqa: ARG001  (one set of options serves both functions)
    adapters_dir: str,
    served_dir: str | None = None,
    api_key_env: str = "VLLM_API_KEY",
    max_rank: int = 16,  # noqa: ARG001
    timeout_s: float = 120.0,
) -> list[str]:
    """Point the alias back at a version that is still published."""
    if not (Path(adapters_dir) / _safe(name)).is_dir():
        raise TargetError(
            f"{Path(adapters_dir) / _safe(name)}: is no longer there, so there is nothing to roll back to."
        )
    seen = f"{(served_dir or str(Path(adapters_dir).absolute())).rstrip('/')}/{_safe(name)}"
    fleet = [Replica(url, api_key_env, timeout_s) for url in replicas]
    move_alias(fleet, alias, seen, previous=None)
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
        for replica in loaded:
            replica.unload(candidate.name)
        raise TargetError(
            f"{e} {candidate.name} was unloaded from {len(loaded)} replica(s); the alias was not moved."
        ) from e
    return checks


def move_alias(fleet: Sequence[Replica], alias: str, seen: str, *, previous: str | None) -> None:
    """Give every replica the alias as a second name of a path. If one fails, those before it go back to `previous`."""
    moved: list[Replica] = []
    try:
        for replica in fleet:
            replica.load(alias, seen, in_place=True)
            moved.append(replica)
    except TargetError:
        for replica in moved:
            if previous is not None:
                replica.load(alias, previous, in_place=True)
        raise


class Replica:
    """One vLLM server. Errors name its URL."""

    def __init__(self, url: str, api_key_env: str, timeout_s: float) -> None:
        self.url = url.rstrip("/")
        self._key = os.environ.get(api_key_env, "")
        self._timeout_s = timeout_s

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
        self._post(
            "/v1/load_lora_adapter",
            {"lora_name": name, "lora_path": path, "load_inplace": in_place},
            allowed=("already been loaded",),
        )

    def unload(self, name: str) -> None:
        """Take the name away; a replica that is gone cannot serve it either."""
        try:
            self._post("/v1/unload_lora_adapter", {"lora_name": name})
        except TargetError:
            return

    def ask(self, model: str, g: Golden) -> Replayed:
        """A golden prompt, greedily, with token ids and log-probabilities."""
        body = {
            "model": model, "messages": list(g.messages), "temperature": 0, "max_tokens": GOLDEN_TOKENS,
            "logprobs": True, "return_token_ids": True,
        }  # fmt: skip
        answer = json.loads(self._post("/v1/chat/completions", body))
        choice = answer["choices"][0]
        if choice.get("token_ids") is None or not choice.get("logprobs"):
            raise TargetError(
                f"{self.url}: returns no token ids and log-probabilities, so nothing can be proven. vLLM 0.32 or newer is needed."
            )
        logprobs = [t["logprob"] for t in choice["logprobs"]["content"]]
        return Replayed(
            choice["message"]["content"] or "", choice["token_ids"], logprobs, answer.get("prompt_token_ids")
        )

    def _post(self, path: str, body: dict[str, Any], allowed: tuple[str, ...] = ()) -> str:
        headers = {
            "Content-Type": "application/json",
            **({"Authorization": f"Bearer {self._key}"} if self._key else {}),
        }
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as e:
            told = e.read().decode(errors="replace")
            if any(a in told for a in allowed):
                return told
            raise TargetError(f"{self.url}{path}: HTTP {e.code}: {' '.join(told.split())[:300]}") from e
        except (urllib.error.URLError, OSError) as e:
            raise TargetError(f"{self.url}: cannot be reached ({getattr(e, 'reason', e)}). Is the replica up?") from e
