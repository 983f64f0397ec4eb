"""`freehold decide`: the verdict, what it costs, and the one page a budget owner reads. From the stored report alone."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation import decision, gates, looks, regressions, routing, summary
from evaluation.cost import capacity_of, usd_per_1k_at_full_use
from evaluation.providers import replay
from evaluation.report import images, memo, render
from evaluation.report.formats import two_digits
from pipelines import artifacts, audit, economics, egress, load_test, report_folder, review, stages, tracking
from pipelines.recipe import Recipe
from pipelines.report_folder import read_view
from pipelines.stages import How, Made

if TYPE_CHECKING:
    from evaluation.summary import View
    from pipelines.tracking import StageRun


REGRESSIONS = "regressions.jsonl"


def inputs(recipe: Recipe) -> dict[str, str]:
    """The report, what it and training timed, and the gates."""
    report = artifacts.need(stages.folder(recipe, "evaluate"), "evaluate")
    trained = artifacts.need(stages.folder(recipe, "train"), "train")
    timed = {
        f"{of}/{name}": m.files[name]["sha256"]
        for of, m in (("report", report), ("adapter", trained))
        for name in m.timed
    }
    gates, apis = recipe.decision.model_dump(mode="json"), map(recipe.evaluation.endpoint, recipe.evaluation.arms)
    own = [api.price.model_dump(mode="json") for api in apis if api is not None and api.price is not None]
    return {
        "report": report.content_sha256,
        "timings": artifacts.digest(timed),
        "gates": artifacts.digest([gates, *own]),
        "warnings": _warned(recipe, report),
        "alias": _served_name(recipe),  # routing.yaml asks for the model by it
        "review": review.digest(recipe),
        # a decision belongs to exactly one dataset, adapter and recipe; promotion compares these
        "dataset": report.inputs["dataset"],
        "adapter": report.inputs["adapter"],
    }


def _warned(recipe: Recipe, report: artifacts.Manifest) -> str:
    """What is warned about today: a page that was made when its prices were fresh is made again when they are not."""
    arm = recipe.decision.baseline
    theirs = economics.book_now(recipe, arm, report.facts.get("listed", {}).get(arm))
    told = economics.warnings(recipe, theirs, datetime.now(UTC).date())
    return re.sub(r", \d+ days ago", "", " ".join(told))  # its age grows every day


def run(recipe: Recipe, out: Path, tracked: StageRun, how: How) -> Made:  # noqa: ARG001  (every stage has this shape)
    report = stages.folder(recipe, "evaluate")
    view, listed = economics.priced_now(recipe, read_view(report))
    d = recipe.decision
    margins = decision.Gates(
        d.candidate, d.baseline, d.ratio, d.alpha, d.metrics, d.must_pass, d.min_items, d.min_measured_share,
        d.margins,
    )  # fmt: skip
    audited = audit.read(report)
    judged = review.summary(recipe, view)
    copies = _duplicate_share(artifacts.need(stages.folder(recipe, "prepare"), "prepare").counts)
    proposed = decision.decide(view, margins, duplicate_share=copies)
    loaded = load_test.read(report / load_test.CAPACITY)
    served = [asdict(g) for g in load_test.gates(loaded, d.candidate, memo.gated_tasks(proposed))]
    required = [g["name"] for g in audited.get("leaks", {}).get("gates", ())] if d.leak_gates_required else []
    decided = gates.blocked(
        proposed, [*audited["gates"], *served, *(judged["gates"] if judged else ())], required=required
    )
    manifest = artifacts.need(report, "evaluate")
    scored = manifest.facts.get("gates")  # an earlier version wrote none
    as_scored = scored == d.quality_gates() if scored is not None else None
    decided = decision.with_cautions(
        decision.with_looks(decided, look(recipe, view)),
        gates_changed=as_scored is False,
        stand_in=manifest.facts["stand_in"],
    )
    speed = summary.speed_table(
        view, list(manifest.facts["arms"])
    )  # not speed.json: an earlier version wrote fewer columns
    policy = _routing(recipe, report, decided, manifest.inputs["adapter"])
    money = economics.of(
        recipe, view, speed, decided, policy=policy,
        listed=listed, measured=economics.measured_capacity(report),
        build_usd=economics.build_cost(recipe)[1] or Decimal(0), today=datetime.now(UTC).date(),
    )  # fmt: skip
    money["advice"] = _advice(decided, money["dearer"])
    body = {
        **decided.as_dict(),
        "headline": decision.headline(decided, money["advice"]),
        "recommended": decision.recommended(decided, money["advice"]),
        "advice": money["advice"],
        "dataset": manifest.inputs["dataset"],
        "adapter": manifest.inputs["adapter"],
        "stand_in": manifest.facts["stand_in"],
        "mlflow": tracked.where(manifest.facts["arms"], manifest.inputs),
        "audit": audited["gates"],
        "service_level": served,
        "judge": judged and {"qualified": judged["qualified"], "gates": judged["gates"]},
        "economics": economics.summary(money),
    }
    artifacts.write_text(out / "decision.json", json.dumps(body, indent=1, default=str))
    artifacts.write_text(out / "judge.json", json.dumps(judged, indent=1))
    artifacts.write_text(out / "economics.json", json.dumps(money, indent=1, default=str))
    artifacts.write_text(out / "routing.yaml", _yaml(policy, decided.sentence, money["advice"]))
    ledger = regressions.rows(view, regressions.of_decision(view, decided))
    artifacts.write_text(out / REGRESSIONS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ledger))
    drawn: dict[str, Any] = {
        "decided": decided,
        "economics": money,
        "quality": json.loads((report / "quality.json").read_text()),
        "speed": speed,
        "view": view,
        "facts": {
            **_facts(recipe, manifest),
            "mlflow": body["mlflow"],
            "mlflow_elsewhere": tracking.elsewhere(recipe),
            "judge": judged,
            "snapshots": {
                arm: replay.snapshot(a for (name, _), a in view.answers.items() if name == arm)
                for arm in manifest.facts["arms"]
                if recipe.evaluation.endpoint(arm) is not None
            },
            # a report that does not say which answers leaned on what must stay shows none
            "leaned": {(arm, item) for arm, item in manifest.facts.get("leaned", view.answers)},
            "decided_on": datetime.now(UTC).date().isoformat(),
            "test_items": len(view.items),
            "test_from": recipe.dataset.test_from.date().isoformat(),
            "gates_as_scored": as_scored,
            "load": loaded,
        },
    }
    pages = render(name=recipe.name, egress=_sent(recipe), routing=policy, **drawn)
    for name, text in pages.items():
        artifacts.write_text(out / name, text)
    for name in (*pages, "decision.json", "routing.yaml", REGRESSIONS):
        tracked.artifact(out / name)
    for name, svg in images(**drawn).items():
        tracked.text(svg, f"charts/{name}")
    main = next((s for s in decided.slices if s.must_pass), None)
    test = main.test if main else None
    tracked.metrics({"ni/ratio": test.ratio if test else None, "ni/ratio_low": test.low if test else None})
    tracked.metrics({"ni/p": test.p_non_inferior if test else None, "ni/looks": decided.looks})
    tracked.metrics(gate_metrics(decided) | bill_metrics(decided, money))
    tracked.metrics({f"privacy/{g['name']}": g["measured"] for g in audited["gates"]})
    tracked.metrics(_judge_metrics(judged))
    for arm, run_id in body["mlflow"]["arms"].items():
        if run_id is not None:  # here and not in evaluate, which does not begin anew where the hardware's price changes
            tracked.store.metrics(run_id, cost_metrics(speed, arm, d.hardware.hourly_usd))
    tracked.params(
        {
            "verdict": decided.verdict,
            "recommended": body["recommended"],
            "ratio": d.ratio,
            "alpha": d.alpha,
            "must_pass": ", ".join(d.must_pass),
        }
    )
    return Made(
        counts={"slices": len(decided.slices)},
        facts={
            "verdict": decided.verdict,
            "recommended": body["recommended"],
            "dataset": manifest.inputs["dataset"],
            "adapter": manifest.inputs["adapter"],
        },
        timed=["economics.json", *pages],
    )


def gate_metrics(decided: decision.Decision) -> dict[str, float | None]:
    """What each must-pass slice's gate found, as MLflow compares it between runs."""
    found: dict[str, float | None] = {}
    for s in decided.slices:
        if not s.must_pass or s.test is None:
            continue
        key, t = f"ni/{_metric_key(s.slice)}", s.test
        found |= {f"{key}/ratio": t.ratio, f"{key}/ratio_low": t.low, f"{key}/p": t.p_non_inferior}
        if t.margin is not None:
            found |= {f"{key}/difference": t.difference, f"{key}/difference_low": t.difference_low}
    return found


def cost_metrics(speed: list[dict[str, Any]], arm: str, usd_per_hour: Decimal) -> dict[str, float | None]:
    """An arm's price of 1,000 requests at full use, under a key that all arms share; idle hours are in the bills.

    speed: summary.speed_table's rows. usd_per_hour: the hardware of the local arms.
    """
    found: dict[str, float | None] = {}
    for row in speed:
        if row["arm"] == arm:
            price = (
                usd_per_1k_at_full_use(capacity_of(row["busy_ms"]), usd_per_hour=usd_per_hour)
                if row["usd_per_request"] is None
                else 1000 * Decimal(row["usd_per_request"])
            )
            found[f"cost/{row['task']}/usd_per_1k_at_full_use"] = float(price) if price is not None else None
    return found


def bill_metrics(decided: decision.Decision, money: dict[str, Any]) -> dict[str, float | None]:
    """Both bills of a month and the first volume at which the candidate costs no more, by task with a must-pass slice."""
    found: dict[str, float | None] = {}
    for task in memo.gated_tasks(decided):
        if task in money["tasks"]:
            own, api, even = (money["tasks"][task][k] for k in ("self_hosted", "api_usd", "break_even"))
            found[f"bill/{task}/candidate_usd_per_month"] = own["usd"] if own is not None else None
            found[f"bill/{task}/baseline_usd_per_month"] = api
            found[f"bill/{task}/break_even_requests"] = even[0]["low"] if even else None
    return found


def _metric_key(name: str) -> str:
    """A slice's name with the characters that MLflow takes: `=` and its like are replaced."""
    return "/".join(re.sub(r"[^\w. -]", "_", part) for part in name.split("/", 1))[:200]


def _judge_metrics(judged: dict[str, Any] | None) -> dict[str, float | None]:
    """Win rates of the candidate by task, as MLflow compares them between runs, and whether they count."""
    if judged is None:
        return {}
    found: dict[str, float | None] = {"judge/qualified": float(judged["qualified"])}
    for name, rates in judged["slices"].items():
        if name.startswith("task="):
            for kind in ("raw", "length_controlled", "corrected"):
                mean = rates[kind]["mean"] if rates[kind] else None
                found[f"judge/{name.removeprefix('task=')}/win_rate_{kind}"] = mean
    return found


def _served_name(recipe: Recipe) -> str:
    return recipe.promotion.alias if recipe.promotion is not None else recipe.name


def _routing(recipe: Recipe, report: Path, decided: decision.Decision, adapter: str) -> dict[str, Any]:
    """The policy for a gateway. Its model name is the one that promotion serves."""
    dev, answers = report_folder.read_dev(report)
    limits = routing.thresholds(dev, answers, risk=recipe.decision.routing.risk, delta=recipe.decision.routing.delta)
    settings = recipe.evaluation
    apis = {"api", *(arm for arm in (*settings.arms, decided.gates.baseline) if settings.endpoint(arm) is not None)}
    return routing.policy(decided, limits, model=f"{_served_name(recipe)}@{adapter[:12]}", apis=sorted(apis))


def _yaml(policy: dict[str, Any], verdict: str, advice: str) -> str:
    from ruamel.yaml import YAML

    text, yaml = StringIO(), YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output = False, False  # type: ignore[assignment]
    yaml.dump(policy, text)
    told = [
        "Which slice is answered by whom. Written by `freehold decide`; what no rule names goes to `default`.",
        verdict,
        *([f"Quality alone is in these rules. {advice}"] if advice else []),
    ]
    return "".join(f"# {' '.join(line.split())}\n" for line in told) + text.getvalue()


def _duplicate_share(counts: dict[str, Any]) -> float:
    """Share of the records that were duplicates of others."""
    step = counts["dedup"]
    copies = sum(n for reason, n in step["dropped"].items() if reason.endswith("_duplicate"))
    return float(copies / max(1, step["in"]["records"]))


def _sent(recipe: Recipe) -> list[dict[str, Any]]:
    """What preparation and evaluation sent to whom, for the page; `here`: to this machine itself."""
    found = []
    for stage in ("prepare", "evaluate"):
        path = stages.folder(recipe, stage) / "egress.json"
        for receipt in json.loads(path.read_text()) if path.exists() else ():
            purpose = re.sub(r" [0-9a-f]{12}$", "", receipt.get("purpose", "teacher" if stage == "prepare" else ""))
            found.append({**receipt, "purpose": purpose, "here": egress.is_here(receipt["destination"])})
    return found


def look(recipe: Recipe, view: View) -> int:
    """Which look at these test items this is, over all runs beside this one; a new one is written down there.

    Evaluation counts it, for it shows the scores; the decision on the same answers is the same look.
    """
    path, arm = recipe.run_folder.parent / "looks.jsonl", recipe.decision.candidate
    answered = [(i.id, a.text, a.error) for i in view.items if (a := view.answers.get((arm, i.id))) is not None]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    this = looks.Look(looks.digests(i.id for i in view.items), artifacts.digest(answered), arm, recipe.name, now)
    number, new = looks.after(looks.read(path.read_text(encoding="utf-8") if path.exists() else ""), this)
    if new:
        with path.open("a", encoding="utf-8") as f:  # one short write, so two runs that end together both stay
            f.write("\n" + json.dumps(asdict(this)) + "\n")
    return number


def _advice(decided: decision.Decision, dearer: list[dict[str, Any]]) -> str:
    """What money adds to a verdict about quality. dearer: economics' bills of tasks where the baseline is cheaper."""
    if decided.verdict not in ("self_host", "untuned") or not dearer:
        return ""
    theirs = decision.named(decided.gates.baseline)
    each = (
        f"{d['task']} ({d['arm']}{' for what routing.yaml moves, with the rest' if d['in_part'] else ''} {d['usd']:,.2f} USD a"
        f" month, {theirs} {d['api_usd']:,.2f})"
        for d in dearer
    )
    later = [
        f"about {two_digits(d['cheaper_from']):,} ({d['task']})"
        for d in dearer
        if d["cheaper_from"] and not d["in_part"]
    ]
    grown = f" or the requests a month grow to {' and '.join(later)}" if later else ""
    return (
        f"Quality allows it, money does not: at {dearer[0]['requests']:,} requests a month {theirs} is cheaper for {', '.join(each)}."
        f" Stay on {theirs}, unless the data must stay in the house{grown}."
    )


def _facts(recipe: Recipe, manifest: artifacts.Manifest) -> dict[str, Any]:
    dataset = artifacts.need(stages.folder(recipe, "prepare"), "prepare")
    adapter = artifacts.need(stages.folder(recipe, "train"), "train")
    return {
        "masked": dataset.facts["masked"],
        "engine": dataset.facts.get("engine"),
        "counts": dataset.counts,
        "base": adapter.facts["base"],
        "lora": adapter.facts["lora"],
        "method": adapter.facts["method"],
        "hashes": {
            "dataset": dataset.content_sha256,
            "adapter": adapter.content_sha256,
            "report": manifest.content_sha256,
        },
        "audit": audit.read(stages.folder(recipe, "evaluate")),
        "stand_in": manifest.facts["stand_in"],
    }
