"""Who was forgotten: keyed hashes of people whose records `prepare` leaves out, for good. Holds no name and no address."""

from __future__ import annotations

import json
from pathlib import Path

from data_prep.records import UserError
from pipelines import artifacts

NAME = "tombstones.json"


def read(run_folder: Path) -> list[str]:
    """The hashes, sorted; none where nobody was forgotten."""
    return sorted({t["subject"] for t in _load(run_folder / NAME)})


def _load(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    try:
        return [{k: str(t[k]) for k in ("subject", "when")} for t in json.loads(path.read_text())]
    except (ValueError, TypeError, KeyError) as e:
        raise UserError(
            f"{path}: cannot be read ({e}). It says who was forgotten; restore it, or these people come back."
        ) from e


def add(run_folder: Path, subjects: list[str], when: str) -> None:
    """Add tombstones; those that are there stay as they are."""
    path = run_folder / NAME
    known = _load(path)
    new = sorted(set(subjects) - {t["subject"] for t in known})
    artifacts.write_text(path, json.dumps(known + [{"subject": s, "when": when} for s in new], indent=1))
