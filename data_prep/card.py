"""The dataset card: what is in the folder, where it came from, what was masked and dropped, how to rebuild it. Local only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.parquet import SPLITS, read_rows

if TYPE_CHECKING:
    from data_prep.work import Counts


@dataclass(frozen=True, slots=True)
class SourceOf:
    """A source as the card names it."""

    reader: str
    licence: str
    sha256: str


def render(
    name: str,
    counts: Counts,
    sources: dict[str, SourceOf],
    folder: Path,
    *,
    masked_by: str,
    teacher: dict[str, Any] | None = None,
) -> str:
    """The card as Markdown; its front matter makes `datasets.load_dataset(folder)` find the splits.

    masked_by: a sentence about the engine that found personal data.
    teacher: what pipelines.teaching says of the model that wrote answers; None where none did.
    """
    return "\n".join(
        [
            *_front_matter(),
            f"# {name}",
            "",
            "Instruction rows (`prompt`, `completion`) from the sources below. Texts are pseudonymised, not anonymous: what was",
            "masked is a surrogate or `[SECRET]`, and the section Privacy says what may be left. Not for publication.",
            "",
            *_rows(folder),
            *_sources(sources),
            *_teacher(teacher),
            *_counts(counts),
            *_privacy(counts, masked_by),
            "## Rebuild",
            "",
            "`freehold prepare RECIPE` with the same sources, teacher answers (`teacher.jsonl`) and surrogate key.",
            "`lineage-*.parquet` names the file, its sha256 and the place of every row; `subjects-*.parquet` holds keyed hashes",
            "of the people each record tells of, which `freehold forget` looks up; `documents-*.parquet` holds the redacted",
            "documents, for evaluation and serving with passages in the prompt.",
            "",
        ]
    )


def _front_matter() -> list[str]:
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    return [*lines, *(f"  - split: {split}\n    path: {split}-*.parquet" for split in SPLITS), "---"]


def _rows(folder: Path) -> list[str]:
    number, labels, made_by, sensitive = Counter[tuple[str, str]](), Counter[tuple[str, str, str]](), Counter[str](), 0
    for split in SPLITS:
        for row in read_rows(folder, split):
            number[row.task, split] += 1
            made_by[row.made_by] += 1
            sensitive += row.sensitivity == "local_only"
            if row.label is not None:
                labels[row.task, row.label, split] += 1
    lines = ["## Rows", "", "| task | " + " | ".join(SPLITS) + " |", "|---|---|---|---|"]
    for task in sorted({t for t, _ in number}):
        lines.append(f"| {task} | " + " | ".join(str(number[task, s]) for s in SPLITS) + " |")
    if labels:
        lines += ["", "| label | " + " | ".join(SPLITS) + " |", "|---|---|---|---|"]
        for task, label in sorted({(t, la) for t, la, _ in labels}):
            lines.append(
                f"| {_cell(f'{task}: {label}')} | " + " | ".join(str(labels[task, label, s]) for s in SPLITS) + " |"
            )
    return [
        *lines,
        "",
        f"Answers by {_pairs(dict(sorted(made_by.items())))}. Rows that must stay in the house: {sensitive}.",
        "",
    ]


def _sources(sources: dict[str, SourceOf]) -> list[str]:
    lines = ["## Sources", "", "| name | reader | licence | sha256 |", "|---|---|---|---|"]
    return [*lines, *(f"| {n} | {s.reader} | {_cell(s.licence)} | `{s.sha256[:16]}` |" for n, s in sources.items()), ""]


def _teacher(teacher: dict[str, Any] | None) -> list[str]:
    if teacher is None:
        return []
    return [
        "## Teacher",
        "",
        f"`{teacher['model']}` at {teacher['destination']} answered {teacher['answers']} of {teacher['questions']} questions"
        f" ({teacher['beyond_max_questions']} more were not asked) for {teacher['usd']} USD. Terms: {_cell(teacher['terms'])}.",
        "",
    ]


def _counts(counts: Counts) -> list[str]:
    lines = [
        "## Counts",
        "",
        "What goes in comes out or is dropped for a reason; a reader also counts the messages it makes.",
        "",
    ]
    lines += ["| step | in | out | dropped by reason |", "|---|---|---|---|"]
    for step, c in counts.steps.items():
        lines.append(f"| {step} | {_pairs(c['in'])} | {_pairs(c['out'])} | {_pairs(c['dropped']) or 'none'} |")
    lines += ["", "### Examples of what was dropped", "", "Places and redacted beginnings, at most five a reason.", ""]
    for step, c in counts.steps.items():
        for reason, examples in c["examples"].items():
            lines += [f"- **{step}: {reason}**", *(f"  - {_cell(e)}" for e in examples)]
    return [*lines, ""]


def _privacy(counts: Counts, masked_by: str) -> list[str]:
    leaks = counts.leakage
    return [
        "## Privacy",
        "",
        *(f"**Warning: {_cell(w)}.**" for w in counts.warnings),
        *([""] if counts.warnings else []),
        f"Masked places by kind: {_pairs(dict(sorted(counts.masked.items()))) or 'none'}.",
        masked_by,
        "",
        f"Leak audit, of participants' values and your own list alone: {_pairs(counts.audit) or 'not run'}.",
        "",
        "## Duplicates and leakage",
        "",
        *(f"- {what}: {number}" for what, number in leaks.items()),
        "",
        f"Languages of records: {_pairs(dict(counts.languages.most_common(12)))}.",
        "",
    ]


def _cell(text: str) -> str:
    """Text of others in a Markdown table: no markup, no new line."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def _pairs(values: dict[str, int]) -> str:
    return ", ".join(f"{k} {v}" for k, v in values.items())
