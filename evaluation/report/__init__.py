"""One self-contained HTML page and its short form in Markdown: the decision first, then what it rests on.

Ticket text is escaped; no script, no network.
"""

from __future__ import annotations

from collections.abc import Collection
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from evaluation import regressions
from evaluation.decision import Decision, headline, headlines
from evaluation.regressions import Ledger
from evaluation.report import memo
from evaluation.report.charts import bars, calibration, intervals, staircase, standalone, tornado
from evaluation.report.formats import markdown, milliseconds, monthly, number, straight, usd
from evaluation.routing import confidence
from evaluation.summary import View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment

SHOWN_EXAMPLES = 8


def environment_of_pages() -> Environment:
    """Jinja over the templates of this folder, everything escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("evaluation.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=straight,
    )


def render(
    *,
    name: str,
    decided: Decision,
    economics: dict[str, Any],
    quality: dict[str, Any],
    speed: list[dict[str, Any]],
    view: View,
    egress: list[dict[str, Any]],
    routing: dict[str, Any],
    facts: dict[str, Any],
) -> dict[str, str]:
    """File name → page. The arguments are what evaluation and decision stored; facts: masked, hashes, base, mlflow, …"""
    environment = environment_of_pages()
    environment.filters |= {"num": number, "ms": milliseconds, "usd": usd, "month": monthly, "md": markdown}
    tasks = _tasks(view, decided)
    ledgers = regressions.of_decision(view, decided)
    shown = {
        "name": name,
        "decided": decided,
        "headline": headline(decided, economics["advice"]),
        "verdicts": headlines(decided.gates.baseline),
        "economics": economics,
        "tasks": tasks,
        "quality": quality,
        "speed": speed,
        "egress": egress,
        "routing": routing,
        "facts": facts,
        "figures": memo.figures(
            decided,
            quality=quality["arms"],
            speed=speed,
            load=facts.get("load") or (),
            economics=economics,
        ),
        "break_even": memo.break_even(decided, economics),
        "hybrids": memo.hybrids(decided, economics),
        "leaves": memo.leaves(routing, economics["advice"]),
        "prices": memo.prices(economics),
        "kept_rows": sum(i.sensitivity == "local_only" for i in view.items),
        "labelled": {i.task for i in view.items if i.choices},
        "turning_points": memo.turning_points(decided, economics),
        "comparison": memo.comparison,
        **_charts(tasks, decided, economics, quality, speed, view, facts),
        "calibrations": {t: _calibrations(view, t, facts) for t in tasks},
        "ledgers": ledgers,
        "examples": {
            t: _examples(view, ledgers[t], (decided.gates.candidate, decided.gates.baseline), facts.get("leaned", ()))
            for t in tasks
        },
        "kept_in": {t: sum(i.task == t and i.sensitivity == "local_only" for i in view.items) for t in tasks},
        "runs": _runs(facts["mlflow"]),
        "arm_name": lambda arm: _arm(arm, facts),
    }
    return {name: environment.get_template(f"{name}.j2").render(shown) for name in ("report.html", "report.md")}


def images(
    *,
    decided: Decision,
    economics: dict[str, Any],
    quality: dict[str, Any],
    speed: list[dict[str, Any]],
    view: View,
    facts: dict[str, Any],
) -> dict[str, str]:
    """File name → a chart of the page as an SVG of its own, for whoever shows charts without the page."""
    style = environment_of_pages().get_template("style.css.j2").render()
    drawn = _charts(_tasks(view, decided), decided, economics, quality, speed, view, facts)
    return {
        f"{kind.removesuffix('s').removesuffix('_chart')}-{task}.svg": standalone(straight(chart), style)
        for kind, by_task in drawn.items()
        for task, chart in by_task.items()
        if chart
    }


def _tasks(view: View, decided: Decision) -> list[str]:
    """Tasks with a must-pass slice first."""
    gated = memo.gated_tasks(decided)
    return sorted({i.task for i in view.items}, key=lambda t: (t not in gated, t))


def _charts(
    tasks: Sequence[str], decided: Decision, economics: dict[str, Any], quality: dict[str, Any], speed: list[dict[str, Any]],
    view: View, facts: dict[str, Any],
) -> dict[str, dict[str, Markup]]:  # fmt: skip
    """Kind of chart → task → the chart."""
    arms = list(dict.fromkeys(row["arm"] for row in quality["arms"]))
    return {
        "quality_charts": {t: _quality_chart(decided, quality, t, facts) for t in tasks},
        "latency_charts": {
            t: bars([(_arm(s["arm"], facts), s["p95_ms"]) for s in speed if s["task"] == t], "ms", "p95 in ms by arm")
            for t in tasks
        },
        "length_charts": {t: chart for t in tasks if (chart := _lengths(view, t, arms, facts))},
        "staircases": {
            t: _staircase(found, economics["monthly_requests"], _arm(decided.gates.baseline, facts))
            for t, found in economics["tasks"].items()
        },
        "tornados": {t: _tornado(found) for t, found in economics["tasks"].items()},
    }


def _arm(arm: str, facts: dict[str, Any]) -> str:
    return "api (stand-in)" if arm == "api" and facts["stand_in"] else arm


def _runs(where: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Arm → its MLflow run, an anchor on this page, and the run's page where the store is a server with pages."""
    base = f"{where['address']}/#/experiments/{where['experiment_id']}/runs/" if where["address"] else None
    return {
        arm: {"run": run, "anchor": f"run-{n}", "link": f"{base}{run}" if base and run else None}
        for n, (arm, run) in enumerate({"": where["parent_run_id"], **where["arms"]}.items())
    }


def _quality_chart(decided: Decision, quality: dict[str, Any], task: str, facts: dict[str, Any]) -> Markup:
    metric = next((s.metric for s in decided.slices if s.slice == f"task={task}"), None)
    rows = [
        r for r in quality["arms"] if r["slice"] == f"task={task}" and r["metric"] == metric and r["mean"] is not None
    ]
    return intervals([(_arm(r["arm"], facts), r["mean"], r["low"], r["high"]) for r in rows], str(metric))


def _lengths(view: View, task: str, arms: Sequence[str], facts: dict[str, Any]) -> Markup:
    """Median words of an answer by arm, the human's beside them; empty where the answers are labels."""
    mine = [i for i in view.items if i.task == task and not i.choices]
    if not mine:
        return Markup("")
    texts = {
        _arm(a, facts): [x.text for i in mine if (x := view.answers.get((a, i.id))) and x.text is not None]
        for a in arms
    }
    texts["the human"] = [i.reference for i in mine]
    rows = [(name, median(len(t.split()) for t in found) if found else None) for name, found in texts.items()]
    return bars(rows, "words", f"Median words of an answer by arm, {task}")


def _staircase(found: dict[str, Any], now: int, baseline: str) -> Markup:
    points = [(float(p["requests"]), float(p["self_hosted_usd"]), float(p["api_usd"])) for p in found["staircase"]]
    cheaper = [(float(i["low"]), float(i["high"])) for i in found["break_even"] or ()]
    return staircase(points, now, cheaper, "Cost a month by requests a month", "API" if baseline == "api" else baseline)


def _tornado(found: dict[str, Any]) -> Markup:
    rows = [(b["assumption"], float(b["saving_usd_low"]), float(b["saving_usd_high"])) for b in found["tornado"]]
    return tornado(rows, "What 50 % less or more of an assumption does to the monthly saving")


def _calibrations(view: View, task: str, facts: dict[str, Any]) -> dict[str, Markup]:
    """Arm → its calibration chart, for arms whose labels carry probabilities."""
    charts = {}
    for arm in dict.fromkeys(a for a, _ in view.answers):
        rows = [
            (p, view.answers[arm, i.id].text == i.reference)
            for i in view.items
            if i.task == task and (arm, i.id) in view.answers and (p := confidence(view.answers[arm, i.id])) is not None
        ]
        bins: dict[int, list[tuple[float, bool]]] = {}
        for p, right in rows:
            bins.setdefault(min(int(p * 10), 9), []).append((p, right))
        if bins:
            means = [(fmean(p for p, _ in b), fmean(r for _, r in b), len(b)) for _, b in sorted(bins.items())]
            charts[_arm(arm, facts)] = calibration(means, f"Calibration of {_arm(arm, facts)}, {task}")
    return charts


def _examples(
    view: View, ledger: Ledger, arms: tuple[str, str], leaned: Collection[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Items side by side: the worst losses, the best gains, then others.

    Texts of local_only items stay out of the page, and items whose answer was given in view of such (leaned: arm, item).
    """
    items = {
        i.id: i for i in view.items if i.sensitivity != "local_only" and not any((arm, i.id) in leaned for arm in arms)
    }
    entries = [e for e in ledger.entries if e.item in items]
    lost, won = ([e for e in entries if e.change == change] for change in ("lost", "won"))
    half = SHOWN_EXAMPLES // 2
    first = [*lost[: max(half, SHOWN_EXAMPLES - len(won))], *won[: max(half, SHOWN_EXAMPLES - len(lost))]]
    others = [e for e in entries if e.change in ("tied", "not measured")]
    return [
        {
            "id": e.item,
            "change": e.change,
            "gap": e.gap,
            "question": items[e.item].prompt[-1]["content"],
            "reference": items[e.item].reference,
            "answers": [
                (arm, answer.text or f"({answer.error})") for arm in arms if (answer := view.answers.get((arm, e.item)))
            ],
        }
        for e in [*first, *others][:SHOWN_EXAMPLES]
    ]
