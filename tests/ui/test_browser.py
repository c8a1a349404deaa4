"""The UI in a real browser."""

from __future__ import annotations

import time
from itertools import pairwise

import dagster as dg
import psutil
from installation import Installation
from made_up_month import MONTH, ORIGIN
from playwright.sync_api import Locator, Page
from served_ui import Ui, served

GROUPS = ("raw", "staging", "marts", "features", "flight_delay")
PICTURES = ("ROC curves", "Precision-recall curves", "Calibration", "The features that move")


def test_a_newcomer_trains_a_model_reads_its_report_and_sees_why_it_was_promoted(
    untrained: Installation, page: Page
) -> None:
    with served(untrained.home) as ui:
        # Where they start Dagster reads a `.env`, and the repository's may name another state.
        assert {process.cwd() for process in ui.processes[1:]} == {str(untrained.home)}
        _the_graph_reads_from_left_to_right(page, ui)
        _a_model_is_made_and_judged_by_clicks(page, ui, untrained.instance)
        _its_report_shows(page, ui)
        _why_it_is_champion_shows(page, ui)
    _, alive = psutil.wait_procs(ui.processes, timeout=10)
    assert alive == []


def _the_graph_reads_from_left_to_right(page: Page, ui: Ui) -> None:
    page.goto(f"{ui.url}/asset-groups")
    places = [_left_edge(page.locator("foreignObject").get_by_text(name)) for name in GROUPS]
    assert all(left < right for left, right in pairwise(places)), dict(
        zip(GROUPS, places, strict=True)
    )


def _left_edge(group: Locator) -> float:
    group.wait_for()
    box = group.bounding_box()
    assert box is not None
    return box["x"]


def _a_model_is_made_and_judged_by_clicks(page: Page, ui: Ui, instance: dg.DagsterInstance) -> None:
    page.goto(f"{ui.url}/locations/mlops_assets/jobs/flight_delay_evaluation")
    page.get_by_role("button", name="Materialize all…").click()
    dialog = page.locator("[role=dialog]")
    dialog.get_by_placeholder("ex: 2013-04").fill(MONTH)
    page.keyboard.press("Enter")
    dialog.get_by_text("Select a partition or create one").click()
    page.get_by_text(ORIGIN, exact=True).locator("visible=true").last.click()
    page.keyboard.press("Escape")
    dialog.locator("button", has_text="Launch 1 run").click()
    page.get_by_text("Launched run").wait_for()
    assert _ended(instance) is dg.DagsterRunStatus.SUCCESS


def _ended(instance: dg.DagsterInstance) -> dg.DagsterRunStatus:
    """How the one run that the browser launched ended."""
    while not (runs := instance.get_runs()) or not runs[0].is_finished:
        time.sleep(0.5)
    return runs[0].status


def _its_report_shows(page: Page, ui: Ui) -> None:
    page.goto(f"{ui.url}/assets/flight_delay/evaluation_report?view=overview")
    page.get_by_text(f"{MONTH}|{ORIGIN}", exact=True).first.wait_for()
    page.get_by_text("ROC AUC", exact=True).wait_for()
    row = page.get_by_role("row").filter(has=page.get_by_text("report", exact=True))
    row.get_by_text("[Show Markdown]").click()
    dialog = page.locator("[role=dialog]")
    for name in PICTURES:
        picture = dialog.locator(f"img[alt^='{name}']")
        picture.wait_for()
        assert picture.evaluate("image => image.complete && image.naturalWidth > 200")
    for title in ("Gates", "If it is acted on", "What moves the scores", "Slices"):
        assert dialog.get_by_role("heading", name=title).count() == 1
    assert dialog.get_by_text("brier_skill").count() >= 1


def _why_it_is_champion_shows(page: Page, ui: Ui) -> None:
    page.goto(f"{ui.url}/assets/flight_delay/champion?view=overview")
    why = page.get_by_role("row").filter(has=page.get_by_text("why", exact=True))
    why.wait_for()
    assert "promoted: it passed every gate, and no earlier champion" in why.inner_text()
