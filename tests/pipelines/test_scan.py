"""The scan: it says what is there without a recipe, shows counts and never values, and its starter recipe works as it is."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from data_prep.recognise import recognise
from data_prep.survey import Survey, label_fields
from evaluation.outlook import bills, design_effect, items_needed
from evaluation.statistics import gate_alpha
from pipelines import scan
from tests.conftest import Workspace, help_desk, write_export

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / "recipes" / "demo"


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The demo company's exports and documents, scanned as a newcomer would."""
    folder = tmp_path_factory.mktemp("scan")
    workspace = Workspace(folder, folder / "recipe.yaml")
    exports = (str(DEMO / "exports" / "zendesk"), str(DEMO / "exports" / "legacy"), str(DEMO / "documents"))
    done = workspace.freehold("scan", *exports, "--write", "recipe.yaml", "--html", "scan.html", "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    (folder / "out.json").write_text(done.stdout)
    return workspace


def test_the_scan_knows_systems_counts_dates_labels_and_money(scanned: Workspace) -> None:
    found = json.loads((scanned.folder / "out.json").read_text())
    assert {s["reader"] for s in found["sources"]} == {"zendesk", "csv", "markdown", "html"}
    assert found["tickets"] > 450
    assert found["documents"] == len([p for p in (DEMO / "documents").iterdir() if p.suffix in (".md", ".html")])
    assert found["messages"]["agent"] > 300
    assert found["from"].startswith("2025")
    assert any("billing" in values for values in found["labels"].values())
    assert found["masked"]["email"] > 20
    assert sum(found["arrivals"]) == found["tickets"]
    assert [b["model"] for b in found["bills"]] == ["gpt-6-luna", "gpt-6.1-terra", "gpt-6.1-sol"]
    assert found["items_needed"]["quality 0.8"] > found["items_needed"]["quality 0.9"]


def test_the_scan_shows_no_value(scanned: Workspace) -> None:
    planted = [p["value"] for p in json.loads((DEMO / "exports" / "planted.json").read_text())]
    shown = (scanned.folder / "out.json").read_text() + (scanned.folder / "scan.html").read_text()
    assert len(planted) > 100
    assert [v for v in planted if len(v) > 5 and v in shown] == []


def test_the_page_is_whole_and_runs_nothing(scanned: Workspace) -> None:
    page = (scanned.folder / "scan.html").read_text()
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert page.count("<svg") >= 4


def test_the_starter_recipe_passes_check_and_prepare_unchanged(scanned: Workspace) -> None:
    checked = scanned.freehold("check", "recipe.yaml")
    assert checked.returncode == 0, checked.stderr
    prepared = scanned.freehold("prepare", "recipe.yaml")
    assert prepared.returncode == 0, prepared.stderr[-2000:]
    assert "task triage" in prepared.stdout
    again = scanned.freehold("scan", str(DEMO / "documents"), "--write", "recipe.yaml")
    assert again.returncode == 2
    assert "is there already" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["empty"], "holds no file"),
        (["odd"], "no file here is of a kind that a reader knows; found 1 .xyz"),
        (["export", "--price-as", "gpt"], "write PROVIDER/MODEL"),
        (["export", "--price-as", "openai/no-such-model"], "knows no price"),
    ],
)
def test_what_cannot_be_scanned_is_told(workspace: Workspace, arguments: list[str], told: str) -> None:
    (workspace.folder / "empty").mkdir()
    (workspace.folder / "odd").mkdir()
    (workspace.folder / "odd" / "a.xyz").write_bytes(b"\x01\x02")
    done = workspace.freehold("scan", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_labels_are_what_a_ticket_is_about_and_not_flags_or_states() -> None:
    fields = {
        "topic": Counter({"billing": 90, "delivery": 60, "odd": 1}), "locked": Counter({"true": 30, "false": 80}),
        "status": Counter({"open": 60, "solved": 60}), "city": Counter({f"city {n}": 2 for n in range(80)}),
    }  # fmt: skip
    assert label_fields(Survey(labels={"desk": fields})) == [("desk", "topic", ["billing", "delivery"])]


def test_two_systems_in_one_folder_become_two_sources(tmp_path: Path) -> None:
    write_export(tmp_path / "desk", help_desk(3))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("# Reset\n\nHold the button.")
    found = recognise([tmp_path])
    assert [(s.reader, s.path.name) for s in found.sources] == [("markdown", "notes"), ("zendesk", "desk")]


def test_the_number_of_items_agrees_with_published_ones() -> None:
    """Simulated for equal arms, ratio 0.9, alpha 0.05, power 0.8 (quality, correlation → items)."""
    published = {(0.9, 0.6): 51, (0.9, 0.3): 88, (0.8, 0.6): 115, (0.8, 0.3): 203, (0.6, 0.6): 299}
    for (quality, correlation), expected in published.items():
        # under 200 items the gate tests at 0.025: ((1.960 + 0.842)/(1.645 + 0.842))² as many
        factor = 1.27 if expected < 200 else 1
        assert items_needed(quality, correlation=correlation) == pytest.approx(factor * expected, rel=0.04)
    assert items_needed(0.8, correlation=0.6, design_effect=2) == pytest.approx(230, rel=0.04)


def test_the_number_of_items_is_planned_at_the_alpha_that_the_gate_will_use() -> None:
    for effect in np.linspace(0.2, 4, 39):
        n = items_needed(0.8, correlation=0.6, design_effect=float(effect))
        at = gate_alpha(0.05, n)
        z = float(stats.norm.ppf(1 - at) + stats.norm.ppf(0.8))
        assert n >= (z / 0.08) ** 2 * 0.16 * (1 + 0.81 - 2 * 0.9 * 0.6) * effect
    # 178 are enough at 0.05, and 200 are judged at that; the 225 that 0.025 would take are more than is needed
    assert items_needed(0.8, correlation=0.6, design_effect=1.57) == 200


def test_one_customer_with_a_hundred_tickets_weighs_as_most_tickets_are_his() -> None:
    """200 tickets of 101 customers: a customer has two on average, but a ticket's customer has fifty."""
    sizes = Counter({1: 100, 100: 1})
    assert design_effect(sizes, within=0.2) == pytest.approx(1 + ((100 + 100**2) / 200 - 1) * 0.2)
    assert design_effect(Counter({3: 7}), within=0.2) == pytest.approx(1.4)
    assert design_effect(Counter(), within=0.2) == 1
    assert scan._items_needed(Survey(cluster_sizes=sizes)) == {
        f"quality {q}": items_needed(q, correlation=0.5, design_effect=design_effect(sizes, within=0.2))
        for q in (0.6, 0.8, 0.9)
    }


def test_the_break_even_is_where_two_gpus_cost_what_the_api_does() -> None:
    from decimal import Decimal

    (bill,) = bills(
        1000,
        200,
        30_000,
        models=[("openai", "gpt-6-luna")],
        gpus=[("L4", Decimal("0.78"))],
        at=datetime(2026, 11, 1, tzinfo=UTC),
    )
    assert bill.usd_per_1k == Decimal("0.2")
    assert bill.usd_per_month == Decimal(6)
    assert bill.break_even == {"L4": 5_694_000}  # 2 · 0.78 · 730 / 0.0002
