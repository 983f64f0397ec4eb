"""The report and the scan page in a real browser: hostile text does nothing, every width and both colour schemes fit, they print.

Screenshots and the PDF lie in the test's temporary folder (pytest --basetemp) for whoever wants to look. With FREEHOLD_AXE, the path
of axe.min.js (npm package axe-core, which `make test-slow` fetches), the pages are checked for accessibility as well. With
FREEHOLD_REPORT, the path of a run's report.html, that page is looked at in the same way.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluation import qualification
from tests.conftest import Workspace, help_desk, write_export
from tests.evaluation.browser import CHROMIUM, NO_CHROMIUM, Browser, chromium
from tests.evaluation.test_judge import sure
from tests.evaluation.test_report import HOSTILE, pages, seen

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)]
AXE = os.environ.get("FREEHOLD_AXE")
WIDTHS = (390, 820, 1440)
GIVEN = os.environ.get("FREEHOLD_REPORT")
KINDS = ("report", "replies", "scan", *(["given"] if GIVEN else []))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """report.html (labels), replies.html (free text) and scan.html, each made from the same hostile text."""
    folder = tmp_path_factory.mktemp("pages")
    audit = {"gates": [{"name": "canaries", "passed": False, "measured": 1.0, "bound": 0.0, "sentence": HOSTILE}]}
    for name, choices in (("report", ("a", "b")), ("replies", ())):
        judge = {"judge": judged_by_a_model(choices)} if name == "replies" else {}
        page = pages(HOSTILE, choices=choices, audit=audit, **judge)["report.html"]
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    export = help_desk()
    for n, ticket in enumerate(export["tickets"]):
        ticket |= {"subject": HOSTILE, "tags": [HOSTILE], "custom_fields": [{"id": 7, "value": f"{n % 3} {HOSTILE}"}]}
    for comment in export["comments"]:
        comment["plain_body"] += HOSTILE
    write_export(folder / "export", export)
    (folder / "export" / "<img src=x onerror=alert(1)>.xyz").write_text("no export")
    done = Workspace(folder, folder / "none.yaml").freehold("scan", "export", "--html", "scan.html")
    assert done.returncode == 0, done.stderr[-2000:]
    if GIVEN:
        shutil.copy(GIVEN, folder / "given.html")
    return folder


def judged_by_a_model(choices: tuple[str, ...]) -> dict[str, Any]:
    """The section of the judge, with names as hostile as the rest."""
    items = seen(HOSTILE, choices=choices).items
    judged = [replace(sure(n, "tie"), item=i.id, task=i.task) for n, i in enumerate(items)]
    bounds = qualification.Bounds(100, 0.4, 0.8, 0.1, 0.05)
    found = qualification.summarise(judged, items, None, bounds, own=frozenset(), seed=1)
    return {"model": HOSTILE, "candidate": "tuned", "baseline": "api", "own_family": [HOSTILE], "people": None, **found}


@pytest.fixture(scope="module")
def browser(folder: Path) -> Iterator[Browser]:
    with chromium(folder / "profile", folder) as b:
        yield b


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_text_does_nothing_and_the_page_fits_every_screen_and_prints(
    browser: Browser, folder: Path, kind: str
) -> None:
    page = folder / f"{kind}.html"
    browser.requests.clear()
    browser.open(page)
    if kind != "given":
        assert HOSTILE[:25] in browser.js("document.body.textContent"), "the hostile text is not on the page"
    papers = set()
    for dark in (False, True):
        for width in WIDTHS:
            browser.show(width, dark=dark)
            (folder / f"{kind}-{width}-{'dark' if dark else 'light'}.png").write_bytes(browser.screenshot())
            wide = browser.js("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{width} pixels: the page scrolls {wide} pixels to the side"
        papers.add(browser.js("getComputedStyle(document.body).backgroundColor"))
    assert len(papers) == 2, "dark is not another colour than light"
    printed = browser.pdf()
    assert printed.startswith(b"%PDF")
    (folder / f"{kind}.pdf").write_bytes(printed)
    assert browser.js("typeof window.hit") == "undefined"
    assert browser.js("document.querySelectorAll('script, img, iframe, object, form').length") == 0
    assert browser.js("document.querySelectorAll('svg').length") > 2, "no chart: the page is not what it should be"
    assert (browser.dialogs, browser.errors) == (0, [])
    assert browser.requests == [page.as_uri()]


@pytest.mark.skipif(AXE is None, reason="FREEHOLD_AXE is not set: the path of axe.min.js")
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing(browser: Browser, folder: Path, kind: str) -> None:
    assert AXE is not None
    browser.open(folder / f"{kind}.html")
    browser.js(Path(AXE).read_text(encoding="utf-8"))
    browser.js("document.querySelectorAll('details').forEach(d => d.open = true)")
    for dark in (False, True):
        for width in WIDTHS:
            browser.show(width, dark=dark)
            found = browser.js(
                "axe.run().then(r => r.violations.map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 150))))"
            )
            assert found == [], f"{width} pixels, {'dark' if dark else 'light'}"
