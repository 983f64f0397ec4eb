"""Artifact folders: written to `NAME.partial`, moved into place whole, the manifest last. No manifest, not done.

The manifest's content hash covers every file that the inputs determine. Files that hold measured times or prices of the
day are listed as `timed` and stay out of it, so that an undisturbed run and one that was killed twenty times have the same
content hash.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data_prep.records import UserError

SCHEMA_VERSION = 1
KEYED = "keyed"  # of an unfinished folder: files that name or hold the digest of what they depend on
RECORDED_PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "trl",
    "datasets",
    "accelerate",
    "bitsandbytes",
    "mlflow",
    "genai-prices",
    "rensa",
)


class ArtifactError(UserError):
    """An artifact is missing, unfinished or was changed after it was written."""


@dataclass(frozen=True, slots=True)
class Manifest:
    kind: str
    inputs: dict[str, str]  # what it was made from: name → sha256
    files: dict[str, dict[str, Any]]  # relative path → sha256, bytes
    timed: list[str]  # files that hold measured times; not part of the content hash
    counts: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    commit: str | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def content_sha256(self) -> str:
        return digest({name: f["sha256"] for name, f in self.files.items() if name not in self.timed})

    @property
    def inputs_sha256(self) -> str:
        return digest(self.inputs)


def digest(value: Any) -> str:
    """sha256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def tree_sha256(path: Path) -> str:
    """One hash for a file or for all files under a folder, by name and content."""
    if path.is_file():
        return file_sha256(path)
    return digest({p.relative_to(path).as_posix(): file_sha256(p) for p in sorted(path.rglob("*")) if p.is_file()})


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a finished artifact; None where there is none. Raises ArtifactError if it cannot be read."""
    path = folder / "manifest.json"
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_text())
        data.pop("content_sha256")
        return Manifest(**data)
    except (ValueError, TypeError, KeyError) as e:
        raise ArtifactError(
            f"{path}: is not a manifest of this version ({e}). Remove {folder} and run the stage again."
        ) from e


def need(folder: Path, stage: str) -> Manifest:
    """The manifest of an artifact that a later stage needs, its files checked by size."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise ArtifactError(f"{folder}: is not there yet. Run `freehold {stage} RECIPE` first.")
    for name, known in manifest.files.items():
        path = folder / name
        if not path.exists() or path.stat().st_size != known["bytes"]:
            raise ArtifactError(
                f"{path}: is missing or was changed after it was written. Remove {folder} and run `freehold {stage}` again."
            )
    return manifest


def differing(made_from: dict[str, str], now: dict[str, str]) -> str:
    """Which inputs differ, by name; empty: none."""
    return ", ".join(sorted(name for name in now if made_from.get(name) != now[name]))


def verify(folder: Path, manifest: Manifest) -> None:
    """Check every file's sha256. Raises ArtifactError naming the first that differs."""
    for name, known in manifest.files.items():
        if file_sha256(folder / name) != known["sha256"]:
            raise ArtifactError(
                f"{folder / name}: does not have the content its manifest records. Somebody changed it."
            )


def open_partial(folder: Path, inputs: dict[str, str]) -> Path:
    """The unfinished folder for these inputs: resumed where it is of the same inputs, else begun afresh but for KEYED."""
    partial = folder.with_name(folder.name + ".partial")
    stamp = partial / "inputs.json"
    if not (stamp.exists() and stamp.read_text() == json.dumps(inputs, sort_keys=True)):
        stamp.unlink(missing_ok=True)  # first, so that what a kill leaves of the folder is nobody's
        partial.mkdir(parents=True, exist_ok=True)
        for path in partial.iterdir():
            if path.name != KEYED:
                remove(path)
        write_text(stamp, json.dumps(inputs, sort_keys=True))
    return partial


def finish(
    folder: Path,
    kind: str,
    inputs: dict[str, str],
    *,
    timed: list[str],
    counts: dict[str, Any],
    facts: dict[str, Any],
    scratch: list[str],
) -> Manifest:
    """Write the manifest of the partial folder and move it into place; `scratch` is thrown away after that."""
    partial = folder.with_name(folder.name + ".partial")
    files = {
        p.relative_to(partial).as_posix(): {"sha256": file_sha256(p), "bytes": p.stat().st_size}
        for p in sorted(partial.rglob("*"))
        if p.is_file() and p.relative_to(partial).parts[0] not in {"manifest.json", "inputs.json", *scratch}
    }
    manifest = Manifest(kind, inputs, files, timed, counts, facts, package_versions(), commit())
    body = {**asdict(manifest), "content_sha256": manifest.content_sha256}
    write_text(partial / "manifest.json", json.dumps(body, indent=1, default=str))
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    for name in scratch:
        remove(folder / name)
    return manifest


def remove(path: Path) -> None:
    """A file, or a folder with all it holds; nothing where it is not there."""
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def tidy(folder: Path) -> None:
    """Throw away what a kill between two renames left of the folder before this one."""
    if folder.exists():
        shutil.rmtree(folder.with_name(folder.name + ".old"), ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("w", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    temporary.replace(path)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder: two commands at work on one run would undo each other."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            f.seek(0)
            raise ArtifactError(
                f"{folder}: another freehold command (process {f.read().strip() or '?'}) is at work here."
                " Wait for it, or give this recipe another `workdir`."
            ) from None
        f.truncate(0)
        f.write(str(os.getpid()))
        f.flush()
        yield


def package_versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES}


def commit() -> str | None:
    """The commit of the code, where it runs from a checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
