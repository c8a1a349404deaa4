"""The weekly digest reaches those who are told things, from the record and not from its run."""

from __future__ import annotations

import dagster as dg
import pytest
from alerting_instance import Clock, Ticks, World
from receivers import Receiver

from mlops_assets.defs.automation.alerts import digests
from mlops_assets.defs.automation.schedules import report_digest


@pytest.fixture
def ticks(world: World) -> Ticks:
    started = Ticks(world, digests)
    started.tick()
    return started


def write(world: World) -> dg.ExecuteInProcessResult:
    return report_digest.execute_in_process(instance=world.instance)


def test_a_digest_is_sent_once_to_the_webhook_and_calls_nobody(
    world: World, chat: Receiver, pager: Receiver, ticks: Ticks
) -> None:
    run = write(world).run_id
    ticks.tick()
    ticks.tick()
    [taken] = chat.taken
    assert "no failed runs" in taken["text"]
    shown = "".join(block["text"]["text"] for block in taken["blocks"])
    assert "## Failures" in shown
    assert f"https://dagster.example.org/runs/{run}" in shown
    assert pager.taken == []


def test_other_runs_that_end_well_are_no_digests(
    world: World, chat: Receiver, ticks: Ticks
) -> None:
    world.run("raw/days", "2013-01-05")
    assert ticks.tick() == "No digests since the last tick."
    assert chat.taken == []


def test_a_run_that_writes_a_digest_asks_no_channel(world: World, chat: Receiver) -> None:
    assert write(world).success
    assert chat.taken == []


def test_a_digest_that_nobody_took_is_sent_when_the_channel_is_back(
    world: World, chat: Receiver, ticks: Ticks, clock: Clock
) -> None:
    chat.status = 500
    write(world)
    assert "Telling the webhook of digests failed once" in ticks.tick()
    chat.status = 200
    clock.now += 3600
    ticks.tick()
    assert len(chat.taken) == 1
