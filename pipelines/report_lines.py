"""What the command prints of a finished stage: a few plain lines a person reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.survey import HISTOGRAM, label_fields
from evaluation.results import LOCAL_ARMS
from pipelines.artifacts import Manifest

if TYPE_CHECKING:
    from pipelines.scan import Scan


def scanned(scan: Scan) -> list[str]:
    """What is there, who writes, what is in it, what it would cost: the screen a newcomer reads first."""
    s = scan.survey
    lines = ["found"]
    for r in scan.recognition.sources:
        lines.append(
            f"  {r.name}: {r.reader}, {r.files:,} file{'s' * (r.files != 1)}, {r.bytes / 1e6:,.1f} MB in {r.path}"
        )
    for suffix, (number, example) in scan.recognition.unknown.items():
        lines.append(f"  not recognised: {number:,} {suffix} (such as {example})")
    lines += ["", "tickets and documents"]
    written = ", ".join(f"{n:,} by {role}" for role, n in s.messages.most_common())
    span = f", {s.first:%Y-%m-%d} to {s.last:%Y-%m-%d}" if s.first and s.last else ""
    lines.append(f"  {s.tickets:,} tickets of {s.customers:,} customers{span}; messages {written or 'none'}")
    solved = (
        f"{s.solved:,} solved" if s.solved < s.tickets else "all count as solved (nothing here says which are open)"
    )
    lines.append(
        f"  {s.answered:,} answered, {solved}, {s.reopened:,} reopened; "
        f"satisfaction {_pairs(s.satisfaction) or 'not asked'}; {s.linked:,} linked with others"
    )
    lines.append(f"  {s.documents:,} documents; languages {_pairs(dict(s.reading.languages.most_common(6)))}")
    lines.append(f"  {s.exact_duplicates:,} exact and {s.near_duplicates:,} near duplicates")
    for step, c in s.reading.steps.items():
        if c["dropped"]:
            lines.append(f"  {step}: left out {_pairs(c['dropped'])}")
    lines += [
        "",
        "personal data and secrets (counted, never shown)",
        f"  {_pairs(dict(s.reading.masked.most_common())) or 'none found'}",
    ]
    lines += ["", "labels that tickets carry"]
    fields = label_fields(s)
    for source, name, labels in fields[:6]:
        values = s.labels[source][name]
        lines.append(
            f"  {source}/{name}: {', '.join(f'{v} {values[v]:,}' for v in labels[:10])}"
            + (" …" if len(labels) > 10 else "")
        )
    lines += [] if fields else ["  none with at least two values that recur"]
    lines += ["", "length in tokens (estimated at 4 characters a token)"]
    for what, lengths in (("openings", s.openings), ("replies", s.replies), ("documents", s.texts)):
        if lengths.texts:
            lines.append(f"  {what:<12}{_bars(lengths.bins)}  mean {lengths.mean:,.0f}, {lengths.texts:,} texts")
    lines.append(f"  {'':<12}{'≤16':<6}… ≤{HISTOGRAM[-1]} and longer, a bar each")
    if s.first is not None:
        lines += ["", "arrival by hour, UTC (Monday first; a bar each two hours)", *_week(s.hours)]
    lines += _money(scan)
    tasks = ", ".join(f"{t['kind']} ({t['rows']:,})" for t in scan.proposal["tasks"])
    lines += ["", f"proposed tasks: {tasks or 'none'}; test set from {scan.proposal['test_from']:%Y-%m-%d} on"]
    return [
        *lines,
        f"scanned in {scan.seconds:.0f} s; nothing was written but what you asked for, nothing left this machine",
    ]


def _money(scan: Scan) -> list[str]:
    if not scan.bills:
        return []
    month = scan.survey.tickets_a_month
    traffic = f"{month:,.0f} tickets a month" if month else "traffic is not dated"
    lines = ["", f"what an API costs for this ({traffic}, one request each) and from where two GPUs are cheaper"]
    for b in scan.bills:
        monthly = f"{b.usd_per_month:,.2f} USD a month" if b.usd_per_month is not None else "no monthly figure"
        even = ", ".join(
            f"{n:,} requests on {gpu} (if one answers {b.needed[gpu]:.2g} a second)" for gpu, n in b.break_even.items()
        )
        lines.append(f"  {b.provider}/{b.model}: {monthly} ({b.usd_per_1k:.3f} a thousand); break-even {even}")
    needed = ", ".join(f"{n:,} at {q}" for q, n in scan.items_needed.items())
    return [*lines, f"  test items to prove 90 % of the API's quality: {needed}"]


BARS = " ▁▂▃▄▅▆▇█"


def _bars(values: Sequence[int]) -> str:
    top = max([*values, 1])
    return "".join(BARS[min(8, -(-8 * v // top))] for v in values)


def _week(hours: list[int]) -> list[str]:
    pairs = [hours[i] + hours[i + 1] for i in range(0, len(hours), 2)]
    bars = _bars(pairs)
    days = "Mon Tue Wed Thu Fri Sat Sun".split()
    return ["  " + "  ".join(f"{d} {bars[12 * i : 12 * i + 12]}" for i, d in enumerate(days))]


def _pairs(values: Mapping[str, int]) -> str:
    return ", ".join(f"{v:,} {k}" for k, v in values.items())


def forgotten(found: list[dict[str, Any]], *, executed: bool) -> list[str]:
    """What came from the subject in every run folder, and what was or must be done."""
    lines = [] if found else ["nothing came from this subject: no run folder holds a record, row or adapter of theirs"]
    for f in found:
        rows = f["rows"] if isinstance(f["rows"], int) else len(f["rows"])
        records = f["records"] if isinstance(f["records"], int) else len(f["records"])
        lines.append(
            f"{f['recipe']}: {records} records, {rows} rows, {len(f['datasets'])} dataset(s), {len(f['adapters'])} adapter(s)"
        )
        lines += [f"  serves now: {name}" for name in f["served"]]
        if not executed:
            lines += [f"  record {r}" for r in f["records"][:20]] + (
                [f"  … {records - 20} more"] if records > 20 else []
            )
            lines += [f"  row {r['row']} ({r['split']}) from {r['file']} {r['at']}" for r in f["rows"][:20]]
            lines += [f"  … {rows - 20} more rows (--json lists all)"] if rows > 20 else []
            cost = (
                f"{f['rebuild_s']:.0f} s of training, {f['rebuild_usd']} USD"
                if f["rebuild_s"]
                else "was never trained here"
            )
            lines.append(f"  training anew afterwards (`freehold run RECIPE`): {cost}")
        else:
            lines += [f"  marked in MLflow: {m}" for m in f["marked"]] + [f"  open: {o}" for o in f["open"]]
            lines.append(f"  certificate: {f['certificate']}")
    todo = (
        "nothing was changed; --execute rebuilds the datasets without them, and erases or marks what was made from them"
    )
    return [*lines, todo] if found and not executed else lines


def prepared(manifest: Manifest) -> list[str]:
    lines = []
    for step, c in manifest.counts.items():
        kept = ", ".join(f"{v} {k}" for k, v in c["out"].items())
        dropped = ", ".join(f"{v} {k}" for k, v in c["dropped"].items())
        lines.append(f"  {step}: {kept or 'nothing'}" + (f"; dropped {dropped}" if dropped else ""))
    facts = manifest.facts
    lines.append(f"  masked: {_pairs(dict(sorted(facts['masked'].items()))) or 'nothing found'}")
    lines.append(f"  leak audit: {_pairs(facts['audit'])}")
    lines += [f"  {what}: {number}" for what, number in facts["leakage"].items()]
    lines += [f"  warning: {w}" for w in facts.get("warnings", ())]  # a dataset that an older version made has none
    if facts["teacher"]:
        t = facts["teacher"]
        lines.append(f"  teacher {t['model']}: {t['answers']} of {t['questions']} questions answered, {t['usd']} USD")
    return lines


def trained(manifest: Manifest) -> list[str]:
    facts = manifest.facts
    rows = facts["rows"]["train"]
    dropped = ", ".join(f"{v} {k}" for k, v in rows["dropped"].items())
    return [
        f"  {rows['out']} rows, {facts['tokens']['trained']} trained of {facts['tokens']['all']} tokens, {facts['steps']} steps,"
        f" {facts['world_size']} process(es), {facts['precision']}" + (f"; dropped {dropped}" if dropped else "")
    ]


def evaluated(folder: Path, economics: dict[str, Any] | None = None) -> list[str]:
    """The table of arms: quality per task, latency, tokens, money. economics: the decision's, whose prices are today's."""
    now = {(r["task"], r["arm"]): r["usd_per_1k"] for r in economics["rows"]} if economics is not None else {}
    quality, speed = _json(folder / "quality.json"), _json(folder / "speed.json")
    manifest = _json(folder / "manifest.json")
    tasks = list(dict.fromkeys(row["task"] for row in speed))
    lines = []
    for task in tasks:
        rows = [r for r in quality["arms"] if r["slice"] == f"task={task}"]
        metrics = list(dict.fromkeys(r["metric"] for r in rows))
        lines += [
            "",
            f"{task}",
            "  "
            + f"{'arm':<18}{'items':>6}{'failed':>8}"
            + "".join(f"{m:>16}" for m in metrics)
            + f"{'p95 ms':>9}{'tokens':>8}{'$/1k':>9}",
        ]
        for arm in dict.fromkeys(r["arm"] for r in rows):
            mine = {r["metric"]: r for r in rows if r["arm"] == arm}
            timed = next(s for s in speed if s["task"] == task and s["arm"] == arm)
            first = next(iter(mine.values()))
            name = "api (STAND-IN)" if arm == "api" and manifest["facts"]["stand_in"] else arm
            listed = 1000 * float(timed["usd_per_request"]) if timed["usd_per_request"] else None
            usd = now.get((task, arm), listed) if arm not in LOCAL_ARMS else None
            money = f"{float(usd):.3f}" if usd is not None else "-"
            lines.append(
                "  " + f"{name:<18}{first['measured'] + first['failed']:>6}{first['failed']:>8}"
                + "".join(f"{_number(mine[m]['mean']):>16}" for m in metrics)
                + f"{_number(timed['p95_ms'], 0):>9}{_number(timed['completion_tokens'], 1):>8}{money:>9}"
            )  # fmt: skip
        for d in quality["differences"]:
            if (
                d["slice"] == f"task={task}"
                and d["metric"] in ("label_accuracy", "macro_f1", "chrf")
                and d["difference"] is not None
            ):
                span = f"{d['low']:+.3f} to {d['high']:+.3f}" if d["low"] is not None else "no interval"
                lines.append(
                    f"  {d['candidate']} - {d['other']}, {d['metric']}: {d['difference']:+.3f} (95%: {span}; {d['items']} items)"
                )
    return lines


def decided(folder: Path, decision: dict[str, Any]) -> list[str]:
    lines = ["", f"verdict: {decision['headline'].upper()}. {decision['sentence']}"]
    from evaluation.decision import headlines

    said_of = headlines(decision["gates"]["baseline"])
    lines += [
        f"  {d['slice']}: {said_of[d['verdict']]} ({d['kind']})"
        for d in decision["slices"]
        if d["slice"].startswith("task=")
    ]
    said = {True: "passed", False: "FAILED", None: "not proven"}
    lines += [f"  {g['name']}: {said[g['passed']]}. {g['sentence']}" for g in decision["audit"]]
    economics = _json(folder / "economics.json")
    for note in filter(None, [decision["advice"], *economics["notes"], *economics["warnings"]]):
        lines.append(f"  {note}")
    return [*lines, f"report: {folder / 'report.html'}"]


def promoted(done: dict[str, Any]) -> list[str]:
    lines = ["", f"promotion: {done['action']} {done['name']} on {done['target']}"]
    lines += [f"  {check}" for check in done["checks"]]
    if done.get("override"):
        lines.append(f"  without a passing decision; recorded reason: {done['override']}")
    return lines


def status(found: dict[str, Any]) -> list[str]:
    lines = [f"{found['recipe']}"]
    lines += [
        f"  {s['stage']}: {s['state']}" + (f", {s['content_sha256'][:12]}" if s["content_sha256"] else "")
        for s in found["stages"]
    ]
    serving = found["serving"]
    if serving is None:
        return [*lines, "  nothing was promoted yet"]
    lines.append(
        f"  {serving['alias']} -> {serving['name']} on {serving['target']} since {serving['when']}, decision {serving['verdict']}"
    )
    if serving.get("override"):
        lines.append(f"  without a passing decision; recorded reason: {serving['override']}")
    if serving.get("previous"):
        lines.append(f"  before: {serving['previous']} (freehold rollback goes back to it)")
    return lines


def _json(path: Path) -> Any:
    import json

    return json.loads(path.read_text())


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def reviewed(found: dict[str, Any]) -> list[str]:
    """A sheet that was written, or what was read back of one."""
    if "page" in found:
        lines = [
            f"sheet {found['sheet']}: {found['lines']} lines, drawn from {found['disputed']} disputed items and {found['clear']} clear ones",
            f"page:  {found['page']}",
            f"table: {found['csv']}",
        ]
        if found["local_only_lines"]:
            lines.append(
                f"{found['local_only_lines']} lines are of local_only rows: give this sheet to nobody outside the house"
            )
        return lines
    each = [
        f"{r['file']}: {r['verdicts']} verdicts, {r['open']} lines open"
        + (f", {r['repeated']} said twice" if r["repeated"] else "")
        for r in found["reviewers"]
    ]
    agree = found["reviewers_agree"]
    shared = [f"reviewers agree on {agree:.0%} of the lines that several judged"] if agree is not None else []
    return [f"sheet {found['sheet']}: labels for {found['labels']} of {found['lines']} lines", *each, *shared]
