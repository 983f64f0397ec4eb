"""What a server should check of an adapter and does not: rank, PEFT features, safetensors, every tensor against the base.

vLLM 0.32 answers 200 to an adapter of another base, to one for layers that the base does not have (and then serves the
base), and to one whose matrices were cut (and then serves garbage). Pure JSON and safetensors headers; no GPU.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from data_prep.records import UserError

# vLLM 0.33: config/lora.py (ranks) and lora/peft_helper.py (features it refuses)
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
REFUSED_INITS = ("pissa", "olora", "corda", "loftq")


class AdapterError(UserError):
    """The adapter cannot be served on this base."""


def check(adapter: Path, base: Path, *, base_name: str, max_rank: int) -> list[str]:
    """What was checked, one line each. Raises AdapterError on the first thing that does not fit."""
    config = json.loads((adapter / "adapter_config.json").read_text())
    _features(config, max_rank)
    if config["base_model_name_or_path"] != base_name:
        raise AdapterError(
            f"{adapter}: was trained on {config['base_model_name_or_path']!r}, not on {base_name!r}. Serve it on its own base."
        )
    foreign = sorted(
        p.name for p in adapter.rglob("*") if p.suffix in (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
    )
    if foreign:
        raise AdapterError(
            f"{adapter}: holds {foreign[0]}; pickled weights are never promoted. Save the adapter as safetensors."
        )
    tensors = _tensors(adapter, base, config)
    return [f"preflight: rank {config['r']} within {max_rank}, {tensors} tensors fit the base, safetensors only"]


def _features(config: dict[str, Any], max_rank: int) -> None:
    ranks = [config["r"], *(config.get("rank_pattern") or {}).values()]
    if max(ranks) > max_rank:
        raise AdapterError(
            f"the adapter's rank is {max(ranks)}, the server's limit is {max_rank}. Raise the server's --max-lora-rank or train with a smaller rank."
        )
    refused = {
        "modules_to_save": config.get("modules_to_save"),
        "use_dora": config.get("use_dora"),
        "lora_bias": config.get("lora_bias"),
        "bias": config.get("bias") not in (None, "none"),
        "layer_replication": config.get("layer_replication"),
        "alora_invocation_tokens": config.get("alora_invocation_tokens"),
        "init_lora_weights": str(config.get("init_lora_weights")).lower().startswith(REFUSED_INITS),
    }
    found = sorted(k for k, v in refused.items() if v)
    if found:
        raise AdapterError(
            f"the adapter uses {found[0]} ({config.get(found[0])!r}), which vLLM does not serve. Merge it (target `directory`) or train without it."
        )


def _tensors(adapter: Path, base: Path, config: dict[str, Any]) -> int:
    from safetensors import SafetensorError, safe_open

    shapes = base_shapes(base)
    try:
        with safe_open(adapter / "adapter_model.safetensors", framework="pt") as f:
            found = {name: tuple(f.get_slice(name).get_shape()) for name in f.keys()}  # noqa: SIM118  (not a dict)
    except (SafetensorError, OSError) as e:
        raise AdapterError(
            f"{adapter / 'adapter_model.safetensors'}: cannot be read ({e}). Was it copied whole?"
        ) from e
    if not found:
        raise AdapterError(f"{adapter}: holds no tensor.")
    for name, shape in sorted(found.items()):
        match = re.fullmatch(r"base_model\.model\.(.+)\.lora_([AB])\.weight", name)
        if match is None:
            raise AdapterError(f"{adapter}: tensor {name!r} is not a LoRA matrix.")
        weight = shapes.get(f"{match[1]}.weight")
        if weight is None:
            raise AdapterError(
                f"{adapter}: tensor {name!r} is for a layer that the base does not have; a server would ignore it in silence."
            )
        expected = (config["r"], weight[1]) if match[2] == "A" else (weight[0], config["r"])
        if shape != expected and not config.get("rank_pattern"):
            raise AdapterError(
                f"{adapter}: tensor {name!r} is {shape}, the base needs {expected}. Was the file cut or made for another model?"
            )
    return len(found)


def base_shapes(base: Path) -> dict[str, tuple[int, ...]]:
    """Tensor name → shape, from the base's safetensors headers."""
    from safetensors import safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for file in sorted(base.glob("*.safetensors")):
        with safe_open(file, framework="pt") as f:
            shapes |= {name: tuple(f.get_slice(name).get_shape()) for name in f.keys()}  # noqa: SIM118  (not a dict)
    return shapes
