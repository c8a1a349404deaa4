"""The UI in a real browser."""

from __future__ import annotations

import time
from itertools import pairwise

import dagster as dg
import psutil
from installation import Installation
from playwright.sync_api import Locator, Page
from served_ui import Ui, served
from trained_model import MONTH, ORIGIN

GROUPS = ("raw", "staging", "marts", "features", "flight_delay")
PICTURES = ("ROC curve", "calibration")


def test_a_newcomer_reads_the_graph_and_materializes_a_report_with_its_pictures(
    unjudged: Installation, page: Page
) -> None:
    with served(unjudged.home) as ui:
        # Where they start Dagster reads a `.env`, and the repository's may name another state.
        assert {process.cwd() for process in ui.processes[1:]} == {str(unjudged.home)}
        _the_graph_reads_from_left_to_right(page, ui)
        _a_partition_is_materialized_by_clicks(page, ui, unjudged.instance)
        _its_pictures_show(page)
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


def _a_partition_is_materialized_by_clicks(
    page: Page, ui: Ui, instance: dg.DagsterInstance
) -> None:
    page.goto(f"{ui.url}/assets/flight_delay/evaluation_report?view=overview")
    page.get_by_role("button", name="Materialize…").click()
    dialog = page.locator("[role=dialog]")
    dialog.get_by_placeholder("ex: 2013-04").fill(MONTH)
    page.keyboard.press("Enter")
    dialog.get_by_text("Select a partition or create one").click()
    page.get_by_text(ORIGIN, exact=True).locator("visible=true").last.click()
    page.keyboard.press("Escape")
    dialog.locator("button", has_text="Launch 1 run").click()
    page.get_by_text("Launched run").wait_for()
    assert _ended(instance) is dg.DagsterRunStatus.SUCCESS
    page.reload()
    page.get_by_text(f"{MONTH}|{ORIGIN}", exact=True).first.wait_for()
    page.get_by_text("ROC AUC", exact=True).wait_for()


def _ended(instance: dg.DagsterInstance) -> dg.DagsterRunStatus:
    """How the one run that the browser launched ended."""
    while not (runs := instance.get_runs()) or not runs[0].is_finished:
        time.sleep(0.5)
    return runs[0].status


def _its_pictures_show(page: Page) -> None:
    for name in PICTURES:
        row = page.get_by_role("row").filter(has_text=name)
        row.get_by_text("[Show Markdown]").click()
        picture = page.locator(f"img[alt='{name}']")
        picture.wait_for()
        assert picture.evaluate("image => image.complete && image.naturalWidth > 200")
        shown = page.locator("[role=dialog]").filter(has=picture)
        shown.get_by_role("button", name="Close").click()
        # One that fades out still has its button, and the next picture's would be a second.
        picture.wait_for(state="detached")
