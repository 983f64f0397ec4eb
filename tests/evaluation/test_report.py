"""The report as a page and as Markdown: hostile text does nothing in either, and nothing is fetched."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from evaluation import gates
from evaluation.decision import Decision, Gates, decide
from evaluation.providers.replay import snapshot
from evaluation.report import images, memo, render
from evaluation.results import Answer, Item, Score
from evaluation.routing import policy
from evaluation.summary import View, arm_table, difference_table, speed_table

HOSTILE = (
    '<script>window.hit=1;alert(1)</script>"><img src=x onerror=alert(1)>' + "\u202egnp.exe |[x](javascript:alert(1))`"
    '=HYPERLINK("http://evil.example")</style></title><style>body{display:none}</style><svg onload=alert(1)>'
)
TASK = {
    "staircase": [{"requests": n, "self_hosted_usd": "100.0" if n < 500 else "200.0", "api_usd": str(0.3 * n)} for n in (0, 499, 500, 2000)],
    "break_even": [{"low": 334, "high": 499, "open": False}, {"low": 667, "high": 2000, "open": True}], "searched_to": 2000,
    "tornado": [{"assumption": HOSTILE, "saving_usd_low": "-50", "saving_usd_high": "120", "flips": True}],
    "basis": "capacity from the recipe", "saving_usd": Decimal("-25.5"),
    "chance": {"p_self_hosting_cheaper": 0.7, "draws": 2000}, "api_usd": Decimal(100), "self_hosted": {"usd": Decimal("125.5")},
    "same_hardware": False, "asked_again_usd": None, "hybrid": {"local_share": 0.25, "usd": Decimal("190.25")},
}  # fmt: skip
ARMS = ("tuned", "api")
MLFLOW = {"address": None, "experiment_id": "7", "parent_run_id": "1" * 32, "arms": {"tuned": "2" * 32, "api": None}}
RIGHT = {"tuned": 0.9, "api": 0.6}
MEASURED = {"p50": None, "p99": None, "p95": {"value": 812.4, "low": 640.0, "high": None}}
LOAD: dict[str, Any] = {
    "task": "triage", "arm": "tuned", "machine": HOSTILE, "stand_in": False, "requests_per_second": 2.5, "above": 2.6, "reason": HOSTILE,
    "slo_p95_ms": {"first_token_ms": 1000}, "rates": [
        {"requests_per_second": 2.5, "requests": 150, "planned": 150, "errors": {"timeout": 2, "http_500": 1}, "fault": None,
         "first_token_ms": MEASURED, "inter_token_ms": dict.fromkeys(("p50", "p95", "p99")),
         "latency_ms": {"p50": None, "p99": None, "p95": {"value": None, "low": 1.0, "high": None}}},
        {"requests_per_second": 2.6, "fault": HOSTILE},
    ],
}  # fmt: skip


def seen(text: str = "plain", *, right: dict[str, float] = RIGHT, choices: tuple[str, ...] = ("a", "b")) -> View:
    """40 items of 40 customers, labels or (without choices) replies; right: arm → share of them with a score of 1."""
    items = [
        Item(str(n), "triage", ({"role": "user", "content": f"{text} {n}"},), "a" if choices else "a b c", choices,
             (f"topic={text}",), str(n), "local_only" if n == 39 else "shareable")
        for n in range(40)
    ]  # fmt: skip
    answers = [
        Answer(i.id, arm, text if i.id == "1" else "a", latency_ms=5.0 + 37 * int(i.id) % 40, first_token_ms=2.0 if arm == "api" else None)
        for i in items
        for arm in ARMS
    ]  # fmt: skip
    metric = "label_accuracy" if choices else "chrf"
    scored = [Score(i.id, a, metric, float(int(i.id) < right[a] * len(items))) for i in items for a in ARMS]
    return View.of(items, answers, scored)


def decided_with(right: dict[str, float], min_items: int = 10) -> Decision:
    return decide(seen(right=right), Gates("tuned", "api", 0.9, 0.05, {}, ("task=triage",), min_items, 0.9))


def pages(
    text: str, *, choices: tuple[str, ...] = ("a", "b"), right: dict[str, float] = RIGHT,
    margins: dict[str, float] | None = None, **more: Any,
) -> dict[str, str]:  # fmt: skip
    view = seen(text, right=right, choices=choices)
    decided = decide(view, Gates("tuned", "api", 0.9, 0.05, {}, ("task=triage",), 10, 0.9, margins or {}))
    economics: dict[str, Any] = {
        "rows": [{"task": "triage", "arm": arm, "usd_per_1k": "12.5", "usd_per_1k_at_full_use": full, "usd_per_month": month,
                  "basis": text}
                 for arm, month, full in (("tuned", "125.5", "0.25"), ("api", "100", None))],
        "notes": [text], "warnings": [text], "dearer": [], "advice": "",
        "prices": {"provider": "p", "model": text, "source": "s", "as_of": "2026-01-01"},
        "hardware": {"name": text, "usd_per_hour": "1", "source": "s", "date": "2026-01-01"}, "monthly_requests": 1000, "tasks": {"triage": TASK},
        "stand_in_prices": {"provider": "p", "model": text}, "is_traffic_declared": True, "counts_work": False,
    }  # fmt: skip
    facts = {
        "masked": {"email": 3}, "counts": {"read": {"in": {"tickets": 1}, "out": {}, "dropped": {text: 1}}}, "method": "lora", "lora": {"r": 8},
        "base": {"name": text, "revision": "0" * 40}, "hashes": {"dataset": "0" * 64}, "mlflow": MLFLOW, "mlflow_elsewhere": text, "engine": text,
        "stand_in": True, "load": [LOAD], "decided_on": "2026-11-30", "test_items": 40, "test_from": "2026-10-01",
        "gates_as_scored": True, **more,
    }  # fmt: skip
    return render(
        name=text, decided=decided, economics=economics, view=view, facts=facts, routing=policy(decided, {}, model="m"),
        quality={"arms": arm_table(view, ARMS), "differences": difference_table(view, "tuned", ["api"], seed=1)},
        speed=speed_table(view, ARMS),
        egress=[{"rows": 1, "bytes": 2, "requests": 1, "destination": text, "purpose": text, "here": True, "local_only_rows_kept_back": 0}],
    )  # fmt: skip


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_what_a_server_keeps_under_load_is_told_and_what_was_not_measured_is_no_number() -> None:
    page = pages("plain")["report.html"]
    row = page[page.index("Under load") :]
    assert "<strong>2.50 requests a second</strong> keep the service level, 2.60 miss it" in row
    assert (
        '<td class="n">150/150</td><td class="n">3</td><td class="n">812</td><td class="n">–</td><td class="n">–</td>'
        in row
    )


def test_an_answer_that_leaned_on_what_must_stay_is_not_in_the_page() -> None:
    shown = re.findall(r"item <code>(\d+)</code>", pages("plain")["report.html"])
    assert shown
    assert "39" not in shown
    other = re.findall(r"item <code>(\d+)</code>", pages("plain", leaned={("tuned", shown[0])})["report.html"])
    assert shown[0] not in other
    assert set(shown[1:]) <= set(other)


def test_the_page_says_which_model_gave_the_stored_answers_and_when_and_warns_of_two() -> None:
    one = [Answer(str(n), "api", "a", model="m-2026-10-01", asked_at=f"2026-11-0{n}T09:00:00+00:00") for n in (1, 3)]
    page = pages("plain", snapshots={"api": snapshot(one)})["report.html"]
    assert "api (stand-in): 2 stored answers, given 2026-11-01 to 2026-11-03, by <code>m-2026-10-01</code>." in page
    assert "not one baseline" not in page
    two = pages("plain", snapshots={"api": snapshot([*one, replace(one[0], model="m-2026-11-01")])})["report.html"]
    assert "<code>m-2026-10-01</code> and <code>m-2026-11-01</code>. Several models answered under one name" in two


def test_hostile_text_is_text_in_the_page() -> None:
    page = pages(HOSTILE)["report.html"]
    tags = Tags()
    tags.feed(page)
    assert {t for t, _ in tags.found} & {"script", "img", "iframe", "object", "link", "form"} == set()
    assert not [a for _, attributes in tags.found for a in attributes if a.startswith("on") or a == "src"]
    assert {str(a["href"])[0] for _, a in tags.found if "href" in a} == {"#"}, "a link leads away from the page"
    assert "default-src 'none'" in page
    assert [t for t, _ in tags.found].count("style") == 1
    assert page.count("&lt;script&gt;") >= 5
    assert "\u202e" not in page
    assert "share of 2,000 draws" in page
    assert page.count("<polyline") == 2


def test_hostile_text_is_text_in_markdown() -> None:
    short = pages(HOSTILE)["report.md"]
    assert "<script" not in short
    assert not re.search(r"(?<!\\)\]\(", short)
    assert "\u202e" not in short
    rows = [line for line in short.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert widths == {10, 7, 5, 3}, "a text broke a table"


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_the_verdict_comes_first(name: str) -> None:
    page = pages("plain words")[name]
    assert page.index("Self-host") < page.index("Verdict per slice")
    assert "STAND-IN" in page.upper()


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_the_memo_says_every_figure_before_anything_else(name: str) -> None:
    under = {**LOAD["rates"][0], "latency_ms": MEASURED}
    page = pages("plain words", load=[{**LOAD, "rates": [under, LOAD["rates"][1]]}])[name]
    memo = re.sub(r"<[^>]*>|\\\\", " ", page[: page.index("Verdict per slice")])
    order = ("label_accuracy, task=triage", "0.900 (0.803 to 0.997)", "0.600", "ratio 1.500", "p95, triage", "42 ms", "of single answers",
             "first token p95, triage", "under load, triage", "812 ms at 2.50/s", "cost a month", "125.50 USD", "100.00 USD",
             "25.50 USD more than the API", "from 334 to 499 and from 667 on",
             "hybrid, triage", "25% of the requests on own hardware", "190.25 USD a month; all at the API 100.00",
             "What leaves the house", "1 rows, 2 bytes",
             "What would change the verdict", "closest must-pass slice is task=triage", "50 % less or more of")  # fmt: skip
    at = 0
    for words in order:
        found = memo.replace("\\", "").lower().find(words.lower(), at)
        assert found >= 0, f"{words!r} is missing after {memo[at : at + 200]!r}"
        at = found


def slices(page: str) -> str:
    """The section of the verdicts per slice, of either page."""
    return re.split(r"<h2>|\n## ", page)[1]


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_a_margin_shows_the_difference_its_bounds_and_what_is_allowed(name: str) -> None:
    by_ratio = slices(pages("plain")[name])
    assert "1.500" in by_ratio
    assert "instead a mean at most" not in by_ratio
    page = pages("plain", margins={"triage": 0.1})[name]
    by_margin = slices(page)
    assert "in triage instead a mean at most 0.1 below the baseline's" in by_margin
    assert "ratio or difference" in by_margin
    assert re.search(r"\+0\.300.{1,40}0\.\d{3} to 0\.\d{3}.{1,40}allowed -0\.1", by_margin)
    assert "1.500" not in by_margin
    if name == "report.html":
        assert "or where a margin is declared the two scores' difference" in page


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_a_slice_says_why_where_it_is_undecided_and_nowhere_else(name: str) -> None:
    open_ = slices(pages("plain", right={"tuned": 0.8, "api": 0.85})[name])
    assert re.search(r"about \d+ more items would decide", open_)
    sure = slices(pages("plain")[name])
    assert "more items" not in sure
    few = decided_with({"tuned": 0.9, "api": 0.9}, min_items=500)
    assert memo.comparison(few.slices[0]) == []


def test_latencies_have_intervals_and_are_of_no_machine_that_is_only_planned() -> None:
    page = pages("plain")["report.html"]
    section = page[page.index("<h2>Latency and cost</h2>") : page.index("<h3>Under load</h3>")]
    assert re.search(r'<td class="n">24<br><span class="soft">\d\d – \d\d</span></td>', section), "p50"
    assert re.search(r'<td class="n">42<br><span class="soft">from \d\d</span></td>', section), (
        "40 answers have no upper end of p95"
    )
    assert "the machine that ran this evaluation saw them" in section
    assert "USD per 1,000 requests</th>" in section
    assert '<td class="n">12.50<br><span class="soft">0.250 at full use</span></td>' in section


def test_a_percentile_among_failures_says_how_many_failed() -> None:
    row = {"p95_ms": None, "p99_ms": None, "unanswered": 6, "answers": 100}
    assert memo._latency(row, "p95_ms", "p99_ms") == "6 of 100 failed"
    assert memo._latency({**row, "unanswered": 0}, "p95_ms") == "not measured"


def test_the_median_and_p99_under_load_stand_beside_p95() -> None:
    cell = {"p50": {"value": 300.0}, "p95": MEASURED["p95"], "p99": {"value": None}}
    load = {**LOAD, "rates": [{**LOAD["rates"][0], "first_token_ms": cell}]}
    page = pages("plain", load=[load])["report.html"]
    assert '<td class="n">812<br><span class="soft">p50 300</span></td>' in page


def test_a_chart_is_an_image_of_its_own_whatever_the_texts_are() -> None:
    view = seen(HOSTILE)
    decided = decide(view, Gates("tuned", "api", 0.9, 0.05, {}, ("task=triage",), 10, 0.9))
    found = images(
        decided=decided, economics={"tasks": {"triage": TASK}, "monthly_requests": 1000}, view=view, facts={"stand_in": True},
        quality={"arms": arm_table(view, ARMS)}, speed=speed_table(view, ARMS),
    )  # fmt: skip
    assert sorted(found) == [f"{kind}-triage.svg" for kind in ("latency", "quality", "staircase", "tornado")]
    for svg in found.values():
        root = ElementTree.fromstring(svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert {e.tag.rpartition("}")[2] for e in root.iter()} & {"script", "img", "a", "image"} == set()
        assert "var(--accent)" in svg


def test_what_would_change_the_verdict_depends_on_the_verdict() -> None:
    money: dict[str, Any] = {"tasks": {}, "dearer": [], "advice": ""}
    weak = decided_with({"tuned": 0.5, "api": 0.9})
    assert memo.turning_points(weak, money) == [
        "task=triage: a candidate shown to reach label_accuracy 0.810; this one has 0.500."
    ]
    few = decided_with({"tuned": 0.9, "api": 0.9}, min_items=500)
    assert memo.turning_points(few, money) == ["task=triage: 40 items measured, 500 needed to decide."]
    strong = decided_with({"tuned": 0.9, "api": 0.6})
    assert "lower end of its ratio" in memo.turning_points(strong, money)[0]
    refused = gates.blocked(strong, [{"passed": False, "sentence": "Canaries were found."}])
    assert "passes the gate" in memo.turning_points(refused, money)[0]


def test_lengths_are_of_free_text_beside_the_human_s() -> None:
    assert "Median words" not in pages("plain")["report.html"], "a label has no length"
    replies = pages("plain", choices=())["report.html"]
    chart = replies[replies.index("<h2>Length</h2>") : replies.index("<h2>Latency and cost</h2>")]
    assert re.findall(r"(\d+) words", chart) == ["1", "1", "3"]
    assert "the human" in chart


def test_every_arm_s_row_leads_to_its_mlflow_run() -> None:
    page = pages("plain")["report.html"]
    tags = Tags()
    tags.feed(page)
    anchors = {a["id"] for t, a in tags.found if t == "tr" and "id" in a}
    assert {str(a["href"]) for t, a in tags.found if t == "a"} <= {f"#{i}" for i in anchors}
    for heading in ("<h2>Quality</h2>", "<h2>Latency and cost</h2>"):
        section = page[page.index(heading) :].split("<h2>")[1]
        assert '<td><a href="#run-1">tuned</a></td>' in section
    assert f'<tr id="run-1"><td>tuned</td><td><code>{"2" * 32}</code></td>' in page
    assert '<tr id="run-2"><td>api (stand-in)</td><td>none in this store' in page
    short = pages("plain")["report.md"]
    assert f"| tuned | {'2' * 32} |" in short
    served = pages("plain", mlflow={**MLFLOW, "address": "https://mlflow.example/team"})
    link = f"https://mlflow.example/team/#/experiments/7/runs/{'2' * 32}"
    assert f'<a href="{link}"><code>{"2" * 32}</code></a>' in served["report.html"]
    assert f"[{'2' * 32}]({link})" in served["report.md"]


def test_losses_and_gains_are_counted_and_shown_but_not_what_stays_in_the_house() -> None:
    page = pages("plain", right={"tuned": 0.9, "api": 0.95})["report.html"]
    ledger = page[page.index("Won and lost") : page.index("<h2>Privacy</h2>")]
    assert "2 lost, 0 won, 38 tied, 0 not measured. Texts of 1 local-only items are not shown." in ledger
    shown = re.findall(r"<summary>(\w+)[^<]* · plain (\d+)", ledger)
    assert shown[:2] == [("lost", "36"), ("lost", "37")]
    assert len(shown) == 8
    assert {change for change, _ in shown[2:]} == {"tied"}
    only = pages("plain", right={"tuned": 0.9, "api": 1.0})["report.html"]
    assert "4 lost" in only
    assert "plain 39" not in only, "item 39 is local_only"
