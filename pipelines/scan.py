"""`freehold scan PATH…`: what is in these exports and folders, before there is a recipe, a model or an account."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from data_prep import plugins
from data_prep.recognise import Recognition, recognise
from data_prep.records import UserError
from data_prep.survey import HISTOGRAM, Survey, label_fields, survey
from data_prep.work import Executor, Source
from evaluation import cost, outlook
from pipelines.progress import progress_of_steps

TRIAGE_TOKENS = 4  # an answer that is one label
TEST_SHARE, MOST_TEST_ROWS = 0.2, 400
QUALITIES, CORRELATION, WITHIN = (0.6, 0.8, 0.9), 0.5, 0.2  # WITHIN: correlation of a customer's items among themselves


@dataclass(frozen=True, slots=True)
class Scan:
    """What the verb prints, writes as JSON and shows as a page; `proposal` is what the starter recipe is made of."""

    recognition: Recognition
    survey: Survey
    bills: list[outlook.Bill]
    items_needed: dict[str, int]
    proposal: dict[str, Any]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        s = self.survey
        return {
            "sources": [asdict(r) for r in self.recognition.sources],
            "unknown_files": self.recognition.unknown,
            "tickets": s.tickets,
            "documents": s.documents,
            "messages": dict(s.messages),
            "customers": s.customers,
            "answered": s.answered,
            "solved": s.solved,
            "reopened": s.reopened,
            "satisfaction": dict(s.satisfaction),
            "from": s.first,
            "to": s.last,
            "languages": dict(s.reading.languages.most_common()),
            "labels": {f"{source}/{name}": dict(s.labels[source][name]) for source, name, _ in label_fields(s)},
            "exact_duplicates": s.exact_duplicates,
            "near_duplicates": s.near_duplicates,
            "linked": s.linked,
            "masked": dict(s.reading.masked),
            "counts": s.reading.steps,
            "tokens": {n: _lengths(getattr(s, n)) for n in ("openings", "replies", "texts")},
            "tickets_a_month": s.tickets_a_month,
            "arrivals": s.hours,
            "bills": [asdict(b) for b in self.bills],
            "items_needed": self.items_needed,
            "proposal": self.proposal,
            "seconds": round(self.seconds, 1),
        }


def _lengths(lengths: Any) -> dict[str, Any]:
    bounds = [*(f"<= {b}" for b in HISTOGRAM), f"> {HISTOGRAM[-1]}"]
    return {
        "texts": lengths.texts,
        "estimated_mean": lengths.mean,
        "bins": dict(zip(bounds, lengths.bins, strict=True)),
    }


def scan(
    paths: Sequence[Path],
    *,
    models: Sequence[tuple[str, str]],
    gpus: Sequence[tuple[str, Decimal]],
    now: datetime,
) -> Scan:
    """Recognise and survey everything under the paths. Raises SourceError where nothing can be read."""
    began = datetime.now(UTC)
    found = recognise(paths)
    sources = [
        Source(
            s.name, s.reader, s.path, plugins.options(plugins.load("data_prep.sources", s.reader, "read"), s.options)
        )
        for s in found.sources
    ]
    if not sources:
        raise UserError(_nothing(found))
    with tempfile.TemporaryDirectory(prefix="freehold-scan-") as scratch, progress_of_steps("scan") as update:
        surveyed = survey(sources, Path(scratch) / "shards", update, executor=Executor("processes", {"processes": 2}))
    bills = _bills(surveyed, models, gpus, now)
    proposal = _proposal(found, surveyed)
    seconds = (datetime.now(UTC) - began).total_seconds()
    return Scan(found, surveyed, bills, _items_needed(surveyed), proposal, seconds)


def _nothing(found: Recognition) -> str:
    listed = ", ".join(f"{n} {suffix} (such as {example})" for suffix, (n, example) in found.unknown.items())
    readers = ", ".join(plugins.names("data_prep.sources"))
    return f"no file here is of a kind that a reader knows; found {listed}. Readers: {readers}."


def _bills(
    s: Survey, models: Sequence[tuple[str, str]], gpus: Sequence[tuple[str, Decimal]], now: datetime
) -> list[outlook.Bill]:
    """The bill of drafting a reply to every ticket; without replies, of sorting them."""
    if s.learnable_replies and s.replies.mean is not None:
        prompt, completion = s.learnable_prompt_tokens / s.learnable_replies, s.replies.mean
    elif s.openings.mean is not None:
        prompt, completion = s.openings.mean, float(TRIAGE_TOKENS)
    else:
        return []
    arrivals = cost.profile(s.hours) if any(s.hours) else cost.FLAT
    return outlook.bills(prompt, completion, s.tickets_a_month, models=models, gpus=gpus, arrivals=arrivals, at=now)


def _items_needed(s: Survey) -> dict[str, int]:
    effect = outlook.design_effect(s.cluster_sizes, within=WITHIN)
    return {f"quality {q}": outlook.items_needed(q, correlation=CORRELATION, design_effect=effect) for q in QUALITIES}


def _proposal(found: Recognition, s: Survey) -> dict[str, Any]:
    """Tasks and split that this data could carry: what the starter recipe says."""
    tasks: list[dict[str, Any]] = []
    for source, field, labels in label_fields(s)[:1]:
        values = s.labels[source][field]
        tasks.append({"kind": "triage", "field": field, "labels": labels, "rows": sum(values[v] for v in labels)})
    if s.learnable_replies:
        tasks.append({"kind": "draft_reply", "rows": s.learnable_replies, "require_solved": s.solved >= s.tickets / 10})
    if s.resolutions >= 20:
        tasks.append({"kind": "summarise", "rows": s.resolutions})
    if s.documents:
        tasks.append({"kind": "doc_qa", "rows": s.documents})
    return {"tasks": tasks, "test_from": _test_from(s), "sources": [r.name for r in found.sources]}


def _test_from(s: Survey) -> datetime:
    """The day from which on the last fifth of the tickets lies; for undated ones today."""
    months, seen = sorted(s.months), 0
    if s.last is None:
        return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for month in reversed(months):
        seen += s.months[month]
        if seen >= TEST_SHARE * sum(s.months.values()):
            return max(
                datetime.fromisoformat(f"{month}-01T00:00:00+00:00"), (s.first or s.last) + timedelta(days=1)
            ).replace(hour=0, minute=0, second=0, microsecond=0)
    return s.last
