"""The whole way from sources to a dataset folder, in bounded memory: read → clean → redact → dedup → split → tasks → Parquet.

What can be done record by record runs over shards in whatever executor the recipe names (data_prep.steps); what needs all
records at once (duplicates, split, selection) holds ids, times and signatures in memory and texts on disk. A killed
preparation goes on with the shards that are finished. Whatever enters is in the counts: rows in = rows out + rows dropped
by reason, at every step.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from data_prep import dedup, leakage, select, shards, steps
from data_prep.parquet import SPLITS, write_dataset
from data_prep.records import Dropped, Pointer, Question, Redacted, SourceError, Split, Tally, UserError
from data_prep.split import Splittable, split
from data_prep.steps import Known, Made, Settings, TeacherAnswer
from data_prep.work import Counts, Executor, Progress, Source, Work, count_reading, known_records, read_source

LOCAL = Executor()
Card = Callable[[Counts], str]
Ask = Callable[[Iterable[Question]], Iterable[TeacherAnswer]]


class LeakError(UserError):
    """The leak audit found a raw value in what was to be written. The dataset is not finished; nothing of it may be used."""

    exit_code = 4


def build(
    sources: Sequence[Source],
    settings: Settings,
    *,
    key: bytes,
    out: Path,
    progress: Progress,
    executor: Executor = LOCAL,
    ask: Ask | None = None,
    card: Card | None = None,
) -> Counts:
    """Write the dataset folder's Parquet files, lineage, subjects and card; return the counts of every step.

    `out/shards` holds what is under way, raw texts and the key among it, and is removed at the end. ask: puts the tasks'
    questions to a teacher. card: renders README.md. Raises SourceError for unreadable input and when no row at all is left
    (with the reasons), LeakError where the audit finds a raw value.
    """
    work = Work(out / "shards", settings, executor, progress)
    work.begin(key)
    read = {s.name: read_source(s, work) for s in sources}
    every = [shard for r in read.values() for shard in r.shards]
    counts = Counts()
    work.know(every)
    work.run("redact", every)
    count_reading(read, work, counts)
    counts.warnings += [
        f"rule {n} of privacy.sensitivity ({rule.shown}) fits no record, so it keeps nothing in the house"
        for n, rule in enumerate(settings.rules, start=1)
        if not counts.rules[str(n - 1)]
    ]
    known = known_records(every, work)
    sides = _sides(_without_duplicates(known, work, counts), settings, counts)
    for k in known:  # from here on only ids and links count
        k.signature = dedup.EMPTY
    _place(every, known, sides, work)
    if ask is not None:
        work.run("questions", every)
        _ask(every, work, ask, counts)
    work.run("rows", every)
    made, chosen = _select(every, work, counts)
    if not any(made[n].side == "train" for n in chosen):
        raise SourceError(f"no row is left to train on. {_why(counts)}")
    counts.leakage |= _straddling(made, known, chosen)
    leaks = _audit_rows(every, [made[n].id for n in chosen], work, counts)
    write_dataset(
        every, [(made[n].id, made[n].side) for n in chosen], work.folder, out, {s.name: s.path for s in sources}
    )
    if card is not None:
        (out / "README.md").write_text(card(counts), encoding="utf-8")
        leaks += _audit_card(out / "README.md", counts, work)
    if leaks:
        raise LeakError(_told(leaks, counts))
    shutil.rmtree(work.folder)
    return counts


def _audit_rows(every: Sequence[str], chosen: Sequence[str], work: Work, counts: Counts) -> list[str]:
    """Audit the rows and documents that are to be written. Returns what leaks, a few places a kind."""
    ids = set(chosen)
    (work.folder / "chosen").mkdir(exist_ok=True)
    for shard in every:
        made: list[Made] = steps.unpack(work.folder / "made" / shard, list[Made])
        (work.folder / "chosen" / f"{shard}.json").write_bytes(msgspec.json.encode([m.id in ids for m in made]))
    work.run("audit", every)
    tally = Tally()
    for shard in every:
        tally.add(work.counted("audit", shard).tally)
    counts.audit |= {
        "rows": tally.taken["rows"],
        "documents": tally.taken["documents"],
        **{f"leaks of a {k}": n for k, n in sorted(tally.dropped.items())},
    }
    counts.audit.setdefault("leaks", sum(tally.dropped.values()))
    return [f"{kind}: {place}" for kind, places in tally.examples.items() for place in places]


def _audit_card(path: Path, counts: Counts, work: Work) -> list[str]:
    """What people read besides the rows: the card, and the counts with their examples."""
    text = f"{path.read_text(encoding='utf-8')}\n{msgspec.json.encode(counts.steps).decode()}"
    leaks = work.context.auditor.leaks(path.name, text)
    counts.audit["leaks"] += len(leaks)
    return [f"{leak.kind}: {leak.place} ({leak.shown})" for leak in leaks]


def _told(leaks: list[str], counts: Counts) -> str:
    listed = "\n  ".join(leaks[:20])
    return (
        f"the leak audit found {counts.audit['leaks']} raw value(s) in what was to be written; the dataset is not finished."
        f"\n  {listed}\nMask them (privacy.redaction, privacy.engine), or name words that are no people in privacy.keep_words."
    )


def _without_duplicates(known: list[Known], work: Work, counts: Counts) -> list[Known]:
    """Earlier records first, so that the copy that is dropped is the later one; what it is linked with, its original is."""
    order = sorted(known, key=lambda k: (k.created.isoformat() if k.created else "", k.id))
    position = {k.id: n for n, k in enumerate(known)}
    texts = shards.Texts(work.folder / "openings.sqlite", new=False)
    found = dedup.find(
        [k.signature for k in order],
        lambda i: texts[position[order[i].id]],
        threshold=work.settings.near_duplicate_threshold,
    )
    texts.close()
    tally, kept, links = Tally(), list[Known](), dict[str, tuple[str, ...]]()
    for k, exact, near in zip(order, found.exact, found.near, strict=True):
        copied = exact if exact is not None else near
        if copied is None:
            kept.append(k)
            continue
        original = order[copied].id
        links[original] = (*links.get(original, ()), k.id, *k.links)
        reason = "exact_duplicate" if exact is not None else "near_duplicate"
        tally.drop(Dropped(reason, Pointer(k.file, k.id), f"of {original}"))
    counts.step("dedup", {"records": len(known)}, {"records": len(kept)}, tally)
    return [replace(k, links=(*k.links, *links[k.id])) if k.id in links else k for k in kept]


def _sides(kept: list[Known], settings: Settings, counts: Counts) -> dict[str, Split]:
    sides = split(
        [
            Splittable(k.id, k.kind, k.group if settings.group_by == "customer" else k.id, k.created, k.links)
            for k in kept
        ],
        test_from=settings.test_from,
        test_until=settings.test_until,
        dev_share=settings.dev_share,
        seed=settings.seed,
    )
    tally, out = Tally(), Counter[str]()
    placed: dict[str, Split] = {}
    for k in kept:
        side = sides[k.id]
        if side in SPLITS:
            placed[k.id] = side
            out[side] += 1
        else:
            tally.drop(Dropped(side, Pointer(k.file, k.id)))
    counts.step("split", {"records": len(kept)}, dict(out), tally)
    return placed


def _place(every: Sequence[str], known: list[Known], sides: dict[str, Split], work: Work) -> None:
    """Tell every shard the side of each of its records, and all of them the documents that stay."""
    start, with_documents = 0, []
    (work.folder / "sides").mkdir(exist_ok=True)
    for shard in every:
        end = start + sum(v for k, v in work.counted("redact", shard).kept.items() if k in ("tickets", "documents"))
        mine = known[start:end]
        (work.folder / "sides" / f"{shard}.json").write_bytes(msgspec.json.encode([sides.get(k.id) for k in mine]))
        with_documents += [shard] if any(k.kind == "document" for k in mine) else []
        start = end
    found = (r for s in with_documents for r in shards.read(work.folder / "redacted" / f"{s}.jsonl", Redacted))
    shards.write(work.folder / "documents.jsonl", (r for r in found if r.kind == "document" and r.id in sides))


def _ask(every: Sequence[str], work: Work, ask: Ask, counts: Counts) -> None:
    asked = (q for s in every for q in shards.read(work.folder / "questions" / f"{s}.jsonl", Question))
    answers = list(ask(asked))
    shards.write(work.folder / "answers.jsonl", answers)
    number = sum(work.counted("questions", s).kept["questions"] for s in every)
    tally = Tally()
    for _ in range(number - len(answers)):
        tally.drop(Dropped("not_answered", Pointer("", "")))
    tally.examples.clear()
    counts.step("teacher", {"questions": number}, {"answers": len(answers)}, tally)


def _select(every: Sequence[str], work: Work, counts: Counts) -> tuple[list[Made], list[int]]:
    """Every row, and the positions of those that stay."""
    settings = work.settings
    _count_tasks(every, work, counts)
    made, questions, answers = _made(every, work)
    clusters = dedup.find(
        [m.answer_signature for m in made], answers.__getitem__, threshold=settings.near_duplicate_threshold
    )
    leaks = leakage.find(made, questions.__getitem__, answers.__getitem__, threshold=settings.near_duplicate_threshold)
    counts.leakage |= leaks.numbers
    reasons = select.reasons_to_drop(
        made,
        [
            e if e is not None else i if n is None else n
            for i, (e, n) in enumerate(zip(clusters.exact, clusters.near, strict=True))
        ],
        leaks.reasons,
        min_label_examples=settings.min_label_examples,
        max_same_answer=settings.max_same_answer,
        max_rows=settings.max_rows,
        seed=settings.seed,
    )
    questions.close()
    answers.close()
    tally, kept, out = Tally(), [], Counter[str]()
    for n, m in enumerate(made):
        if m.id in reasons:
            tally.drop(Dropped(reasons[m.id], Pointer("row", m.id), m.label or ""))
        else:
            out[f"{m.task} {m.side}"] += 1
            kept.append(n)
    counts.step("select", {"rows": len(made)}, dict(sorted(out.items())), tally)
    for m in made:
        m.question_signature = m.answer_signature = dedup.EMPTY
    return made, kept


def _count_tasks(every: Sequence[str], work: Work, counts: Counts) -> None:
    for name in work.settings.tasks:
        tally, out = Tally(), Counter[str]()
        for shard in every:
            c = work.counted("rows", shard)
            tally.add(c.tasks[name])
            out += c.made[name]
        counts.step(f"task {name}", dict(tally.taken), {s: out[s] for s in SPLITS if out[s]}, tally)


def _made(every: Sequence[str], work: Work) -> tuple[list[Made], shards.Texts, shards.Texts]:
    made: list[Made] = []
    questions, answers = (shards.Texts(work.folder / f"{n}.sqlite") for n in ("asked", "answered"))
    for shard in every:
        found: list[Made] = steps.unpack(work.folder / "made" / shard, list[Made])
        questions.add((len(made) + n, m.question) for n, m in enumerate(found))
        answers.add((len(made) + n, m.answer) for n, m in enumerate(found))
        for m in found:
            m.question = m.answer = ""
        made += found
    return made, questions, answers


def _straddling(made: list[Made], known: list[Known], chosen: list[int]) -> dict[str, int]:
    """Customers and linked records that have rows on both sides of the split: none, unless customers may be on both."""
    sides: dict[str, set[str]] = {}
    record_sides: dict[str, set[str]] = {}
    for n in chosen:
        side = "test" if made[n].side == "test" else "train"
        sides.setdefault(made[n].group, set()).add(side)
        for id in made[n].records:
            record_sides.setdefault(id, set()).add(side)
    pairs = {tuple(sorted((k.id, other))) for k in known for other in k.links}
    return {
        "groups on both sides": sum(len(s) > 1 for s in sides.values()),
        "linked pairs on both sides": sum(
            len(record_sides.get(a, set()) | record_sides.get(b, set())) > 1 for a, b in pairs
        ),
    }


def _why(counts: Counts) -> str:
    parts = [f"{step}: {dict(c['dropped'])}" for step, c in counts.steps.items() if c["dropped"]]
    return "Dropped on the way: " + ("; ".join(parts) if parts else "nothing; the tasks of the recipe found no input")
