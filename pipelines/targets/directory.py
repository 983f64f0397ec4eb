"""A folder of merged models: full safetensors that `transformers serve` or vLLM take as they are, the adapter beside them.

`PATH/ALIAS-SHA/` holds a version, `PATH/ALIAS` is a link to the one that serves. The link moves last and atomically. No
`@` in the folder: `transformers serve` takes what follows it for a revision.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

from evaluation.egress import Guard
from pipelines.serving import parity, preflight
from pipelines.serving.candidate import Candidate, TargetError
from pipelines.serving.parity import Replayed


def promote(candidate: Candidate, *, path: str, serve_check: bool = True, max_rank: int = 512) -> list[str]:
    """Merge, prove in this process and (serve_check) on a loopback server, then move the link. path: the folder of versions."""
    checks = preflight.check(candidate.adapter, candidate.base.folder, base_name=candidate.base.name, max_rank=max_rank)
    parity.differs_from_base(candidate.golden, tolerance=candidate.logprob_tolerance)
    root = Path(path).absolute()
    version = root / _folder(candidate.name)
    if not (version / "promotion.json").exists():
        _merge(candidate, version)
    checks.append(_in_process(candidate, version))
    if serve_check:
        checks.append(_served(candidate, version))
    _point(root / candidate.alias, version.name)
    return [*checks, f"alias: {root / candidate.alias} -> {version.name}"]


def rollback(
    alias: str,
    name: str,
    guard: Guard,  # noqa: ARG001  (nothing leaves)
    *,
    path: str,
    serve_check: bool = True,  # noqa: ARG001
    max_rank: int = 512,  # noqa: ARG001
) -> list[str]:
    """Point the alias back. Raises TargetError where that version is no longer there."""
    root = Path(path).absolute()
    if not (root / _folder(name) / "promotion.json").exists():
        raise TargetError(f"{root / _folder(name)}: is no longer there, so there is nothing to roll back to.")
    _point(root / alias, _folder(name))
    return [f"alias: {root / alias} -> {_folder(name)}"]


def _folder(name: str) -> str:
    return name.replace("@", "-")


def _merge(candidate: Candidate, version: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    partial = version.with_name(version.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    # merged in float32: in bf16 the sum of base and update loses what the update changed
    base = AutoModelForCausalLM.from_pretrained(candidate.base.folder, dtype=torch.float32, use_safetensors=True)
    merged = PeftModel.from_pretrained(base, candidate.adapter).merge_and_unload()
    merged.config.use_cache = True
    merged.save_pretrained(partial)
    AutoTokenizer.from_pretrained(candidate.base.folder).save_pretrained(partial)
    shutil.copytree(candidate.adapter, partial / "adapter")
    record = {"name": candidate.name, "base": candidate.base.name, "revision": candidate.base.revision}
    (partial / "promotion.json").write_text(json.dumps(record, indent=1))
    shutil.rmtree(version, ignore_errors=True)
    partial.rename(version)


def _in_process(candidate: Candidate, version: Path) -> str:
    import torch
    from transformers import AutoTokenizer

    from evaluation.providers.local import LocalModel
    from pipelines.serving.golden import GOLDEN_TOKENS
    from pipelines.training.exactness import stop_token_ids

    stops = stop_token_ids(AutoTokenizer.from_pretrained(version))
    model = LocalModel(version, None, dtype=torch.float32, stop_ids=stops)
    replayed = []
    for g in candidate.golden:
        made = model.generate([model.prompt_ids(tuple(g.messages))], max_new_tokens=GOLDEN_TOKENS)[0]
        replayed.append(Replayed(made.text, made.token_ids, made.logprobs))
    return parity.compare("merged weights", candidate.golden, replayed, tolerance=candidate.logprob_tolerance)


def _served(candidate: Candidate, version: Path) -> str:
    import httpx2
    from openai import OpenAI

    from pipelines.serving.golden import GOLDEN_TOKENS
    from pipelines.serving.loopback import serve

    with serve(version, candidate.work / "loopback.log") as served:
        # no proxy of the environment: it would carry out what stays on this machine
        here = httpx2.Client(trust_env=False)
        with OpenAI(base_url=served.base_url, api_key="none", max_retries=0, timeout=120, http_client=here) as client:
            replayed = []
            for g in candidate.golden:
                done = client.chat.completions.create(
                    model=served.model,
                    messages=cast(Any, list(g.messages)),
                    max_tokens=GOLDEN_TOKENS,
                    temperature=0,
                )
                replayed.append(Replayed((done.choices[0].message.content or "").strip()))
    return parity.compare("loopback server", candidate.golden, replayed, tolerance=candidate.logprob_tolerance)


def _point(link: Path, name: str) -> None:
    """Move the link in one step."""
    temporary = link.with_name(link.name + ".next")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(name)
    temporary.replace(link)
