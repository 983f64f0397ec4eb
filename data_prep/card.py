"""The dataset card: what is in the folder, where it came from, what was masked and dropped, how to rebuild it. Local only."""

from __future__ import annotations

from pathlib import Path

from data_prep.dataset import SPLITS, Counts, load_rows


def render(name: str, counts: Counts, sources: dict[str, tuple[str, str]], folder: Path) -> str:
    """The card as Markdown; its front matter makes `datasets.load_dataset(folder)` find the splits.

    sources: name → (reader, sha256 of what it read).
    """
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    lines += [f"  - split: {split}\n    path: {split}.parquet" for split in SPLITS]
    lines += [
        "---",
        f"# {name}",
        "",
        "Instruction rows (`prompt`, `completion`) from the sources below. Texts are redacted:",
    ]
    lines += ["people, contact data and numbers are surrogates, secrets are `[SECRET]`. Not for publication.", ""]
    lines += ["## Rows", "", "| task | split | rows | labels |", "|---|---|---|---|"]
    for split in SPLITS:
        rows = load_rows(folder, split)
        for task in sorted({r.task for r in rows}):
            mine = [r for r in rows if r.task == task]
            labels = sorted({r.label for r in mine if r.label})
            lines.append(f"| {task} | {split} | {len(mine)} | {', '.join(labels) or 'free text'} |")
    lines += ["", "## Sources", "", "| name | reader | sha256 |", "|---|---|---|"]
    lines += [f"| {n} | {kind} | `{sha[:16]}` |" for n, (kind, sha) in sources.items()]
    lines += [
        "",
        "## Counts",
        "",
        "In = out + dropped, at every step.",
        "",
        "| step | in | out | dropped by reason |",
        "|---|---|---|---|",
    ]
    for step, c in counts.steps.items():
        lines.append(f"| {step} | {_pairs(c['in'])} | {_pairs(c['out'])} | {_pairs(c['dropped']) or 'none'} |")
    lines += ["", "## Privacy", "", f"Masked values by kind: {_pairs(dict(counts.masked)) or 'none'}.", ""]
    languages = dict(counts.languages.most_common(12))
    lines += [
        f"Languages of records: {_pairs(languages)}.",
        "",
        "## Rebuild",
        "",
        "`freehold prepare RECIPE` with the same sources and key.",
    ]
    lines += ["`lineage.parquet` names the file and place of every row.", ""]
    return "\n".join(lines)


def _pairs(values: dict[str, int]) -> str:
    return ", ".join(f"{k} {v}" for k, v in values.items())
