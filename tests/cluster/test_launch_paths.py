"""Whichever way a run is started, a partition labelled for a GPU gets one, within the limit."""

from __future__ import annotations

import time
from collections import Counter

import dagster as dg
import pytest
from deployment import Deployment
from playwright.sync_api import Page

pytestmark = pytest.mark.timeout(1500)

ORIGINS = ("EWR", "JFK", "LGA")
CELLS = [f"2013-{month:02}|{origin}" for month in range(4, 8) for origin in ORIGINS]
GPUS = {"gpu-0", "gpu-1"}
SENSED, SCHEDULED, AGAIN = "2013-06|EWR", "2013-05|JFK", "2013-07"


def test_every_way_to_start_a_run_gives_a_gpu_to_what_is_labelled_for_one(
    deployment: Deployment, page: Page
) -> None:
    for kind, name in (
        ("Sensor", "at_once"),
        ("Sensor", "conditions"),
        ("Schedule", "every_minute"),
    ):
        deployment.turn_on(kind, name)
    _click_materialize(page, deployment, "solo")
    _click_materialize(page, deployment, "source")
    _fail_and_run_again(deployment)
    _backfill_from_the_ui(page, deployment)
    _backfill_from_the_command_line(deployment)
    deployment.until(lambda: deployment.made("follower"), "its condition made the follower")
    deployment.until(lambda: _made(deployment)[SCHEDULED] > 1, "the schedule made a cell")

    made = _made(deployment)
    # Beside the UI's backfill one by the sensor, three by the command line, and one each minute.
    del made[SCHEDULED]
    others = [cell for cell in CELLS if cell != SCHEDULED]
    assert made == Counter([*others, SENSED, *(f"{AGAIN}|{origin}" for origin in ORIGINS)])
    _everything_ran_where_it_should(deployment)


def _made(deployment: Deployment) -> Counter[str]:
    return Counter(note["partition"] for note in deployment.made("scores"))


def _click_materialize(page: Page, deployment: Deployment, asset: str) -> None:
    page.goto(f"{deployment.url}/assets/{asset}?view=overview")
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_text("Launched run").first.wait_for()
    deployment.until(lambda: deployment.made(asset), f"{asset} is made")


def _fail_and_run_again(deployment: Deployment) -> None:
    run = deployment.launch("pair")
    assert deployment.ended(run) is dg.DagsterRunStatus.FAILURE
    again = deployment.launch_again(run)
    assert deployment.ended(again) is dg.DagsterRunStatus.SUCCESS
    assert len(deployment.made("first")) == len(deployment.made("second")) == 1


def _backfill_from_the_ui(page: Page, deployment: Deployment) -> None:
    page.goto(f"{deployment.url}/assets/scores?view=partitions")
    page.get_by_role("button", name="Materialize…").first.click()
    dialog = page.locator("[role=dialog]")
    dialog.get_by_text("partitions").first.wait_for()
    for choose in dialog.get_by_role("button", name="All", exact=True).all():
        choose.click()
    since = time.monotonic()
    dialog.locator("button", has_text="Launch backfill").click()
    page.get_by_text("backfill").first.wait_for()
    deployment.until(lambda: set(_made(deployment)) == set(CELLS), "the UI's backfill is made")
    _gpus_were_handed_on(deployment, since)


def _gpus_were_handed_on(deployment: Deployment, since: float) -> None:
    """A GPU that a run left was awaited by a pod already: the queue lets out more runs than GPUs.

    So it is as long as the queue holds a run of the backfill. Where several runs end at once, a
    GPU may have to wait for the queue's next look.
    """
    timeline = deployment.cluster.timeline
    entries = [entry for entry in timeline.entries() if entry.at > since]
    scheduled = [entry.at for entry in entries if entry.event == "scheduled"]
    first, last = min(scheduled), max(scheduled)
    idle = timeline.idle_gpu_seconds(first, last, pending=False)
    print(f"{idle:.1f} of {2 * (last - first):.1f} GPU-seconds were idle while a run waited")
    with deployment.instance() as instance:
        backfill = [run.run_id for run in instance.get_runs() if "dagster/backfill" in run.tags]
    let_out = [
        entry.at
        for entry in entries
        if entry.event == "pending" and any(run in entry.pod for run in backfill)
    ]
    assert len(let_out) == len(CELLS)
    waiting: set[str] = set()
    awaited = []
    for entry in entries:
        if entry.event == "pending":
            waiting.add(entry.pod)
        elif entry.event == "scheduled":
            waiting.discard(entry.pod)
        elif entry.event == "ended" and entry.at < max(let_out):
            awaited.append(bool(waiting))
    assert awaited.count(True) > 4 * awaited.count(False), awaited


def _backfill_from_the_command_line(deployment: Deployment) -> None:
    ended = deployment.command("backfill", "scores", "--partitions", AGAIN, "--json")
    assert ended.code == 0, ended.err


def _everything_ran_where_it_should(deployment: Deployment) -> None:
    pods = deployment.cluster.find("pods")
    assert pods
    for pod in pods:
        labels, spec = pod["metadata"]["labels"], pod["spec"]
        limits = spec["containers"][0]["resources"]["limits"]
        labelled = "gpu" in labels["mlops-assets/profile"]
        assert (spec["nodeName"] in GPUS) is labelled, labels
        assert limits.get("nvidia.com/gpu") == ("1" if labelled else None), labels
        large = "EWR" in labels.get("mlops-assets/partition", "")
        assert ("gpu-large" in labels["mlops-assets/profile"]) is large, labels
    for asset, labelled in (("scores", True), ("solo", True), ("source", False)):
        assert {bool(note["devices"]) for note in deployment.made(asset)} == {labelled}
    assert deployment.cluster.timeline.most_gpu_pods() == len(GPUS)
