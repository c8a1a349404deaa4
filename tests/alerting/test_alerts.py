"""What fails in a real record reaches people once, whatever the channels do meanwhile."""

from __future__ import annotations

import socket

import dagster as dg
import pytest
from alerting_instance import BRANCH, MONITOR, Clock, Ticks, World
from receivers import Receiver

from mlops_assets.alerting import channel
from mlops_assets.alerting.message import Message, Severity
from mlops_assets.components import alarm_alerts, alert_delivery, failure_alerts
from mlops_assets.components.alert_delivery import Notice
from mlops_assets.components.backoff import RED_AFTER
from mlops_assets.defs.automation import alerts
from mlops_assets.defs.automation.alerts import UndeliveredError, monitor_alarms, run_failures
from mlops_assets.settings import settings


def told(chat: Receiver) -> list[str]:
    """What a chat was told, by the text of each message."""
    return [message["text"] for message in chat.taken]


def test_a_failed_run_is_told_with_partition_reason_branch_and_way_out(
    world: World, chat: Receiver
) -> None:
    ticks = Ticks(world, run_failures)
    ticks.tick()
    world.broken = {"2013-01-05"}
    run = world.run("raw/days", "2013-01-05")
    ticks.tick()
    assert told(chat) == ["Error: raw/days 2013-01-05 was not made"]
    shown = "".join(block["text"]["text"] for block in chat.taken[0]["blocks"])
    for words in (
        "the file of 2013-01-05 is broken",
        BRANCH,
        f"https://dagster.example.org/runs/{run}",
        "mlops-assets backfill 'key:raw/days' --partitions '2013-01-05'",
    ):
        assert words in shown
    ticks.tick()
    assert len(chat.taken) == 1


def test_what_failed_before_the_sensor_was_switched_on_is_not_told(
    world: World, chat: Receiver
) -> None:
    world.broken = {"2013-01-05"}
    world.run("raw/days", "2013-01-05")
    ticks = Ticks(world, run_failures)
    ticks.tick()
    ticks.tick()
    assert not chat.taken


def test_every_failed_run_is_told_and_the_incident_ends_when_the_day_is_made(
    world: World, chat: Receiver, pager: Receiver
) -> None:
    ticks = Ticks(world, run_failures)
    ticks.tick()
    world.broken = {"2013-01-05", "2013-01-06"}
    for day in ("2013-01-05", "2013-01-06", "2013-01-05"):
        world.run("raw/days", day)
    ticks.tick()
    assert len(chat.taken) == 3
    assert len({event["dedup_key"] for event in pager.taken}) == 2
    world.broken = set()
    world.run("raw/days", "2013-01-07")
    ticks.tick()
    assert len(chat.taken) == 3
    world.run("raw/days", "2013-01-05")
    ticks.tick()
    ticks.tick()
    assert told(chat)[3:] == ["Resolved: raw/days 2013-01-05 was not made"]
    assert [event["event_action"] for event in pager.taken] == [*["trigger"] * 3, "resolve"]
    assert pager.taken[3]["dedup_key"] == pager.taken[0]["dedup_key"]


def test_a_failed_range_is_over_when_all_of_it_is_made(
    world: World, chat: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure_alerts, "REMEMBERED", 2)
    days = [f"2013-01-0{number}" for number in range(1, 5)]
    ticks = Ticks(world, run_failures)
    ticks.tick()
    world.broken = {days[0]}
    world.run_range("raw/days", days[0], days[-1])
    world.broken = set()
    for day in days[:-1]:
        world.run("raw/days", day)
    ticks.tick()
    ticks.tick()
    assert len(chat.taken) == 1
    world.run("raw/days", days[-1])
    ticks.tick()
    assert told(chat)[1:] == ["Resolved: raw/days 2013-01-01..2013-01-04 was not made"]


def test_a_lake_that_hangs_keeps_no_alert(
    world: World, chat: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "LAKE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("LAKECTL_SERVER_ENDPOINT_URL", endpoint)
        settings.cache_clear()
        ticks = Ticks(world, run_failures)
        ticks.tick()
        world.broken = {"2013-01-05"}
        world.run("raw/days", "2013-01-05")
        ticks.tick()
    assert told(chat) == ["Error: raw/days 2013-01-05 was not made"]


def test_a_failure_outside_of_assets_is_told_too(world: World, chat: Receiver) -> None:
    ticks = Ticks(world, run_failures)
    ticks.tick()
    world.fail_elsewhere()
    ticks.tick()
    assert told(chat) == ["Error: step_without_assets was not made"]


def test_a_channel_that_is_down_gets_all_of_it_later_and_the_others_get_it_once(
    world: World, chat: Receiver, pager: Receiver, clock: Clock
) -> None:
    ticks = Ticks(world, run_failures)
    ticks.tick()
    chat.status = 500
    world.broken = {"2013-01-05", "2013-01-06"}
    world.run("raw/days", "2013-01-05")
    shown = ticks.tick()
    assert "Telling the webhook of failed runs failed once" in shown
    assert "answers 500" in shown
    assert len(pager.taken) == 1
    clock.now += 1
    world.run("raw/days", "2013-01-06")
    ticks.tick()
    assert chat.refused == 1
    assert len(pager.taken) == 2
    chat.status = 200
    clock.now += 3600
    ticks.tick()
    assert [text[:30] for text in told(chat)] == [
        "Error: raw/days 2013-01-05 was",
        "Error: raw/days 2013-01-06 was",
    ]
    assert len(pager.taken) == 2


def test_a_channel_that_stays_down_turns_its_sensor_red_and_loses_nothing(
    world: World, chat: Receiver, clock: Clock
) -> None:
    ticks = Ticks(world, run_failures)
    ticks.tick()
    chat.status = 503
    world.broken = {"2013-01-05"}
    world.run("raw/days", "2013-01-05")
    for _ in range(RED_AFTER):
        clock.now += 3600
        ticks.tick()
    clock.now += 1
    with pytest.raises(UndeliveredError, match="failed 3 times in a row") as red:
        ticks.tick()
    assert "s3cret" not in f"{red.value}{ticks.cursor}"
    chat.status = 200
    clock.now += 3600
    ticks.tick()
    assert len(chat.taken) == 1


def test_more_failures_than_a_tick_tells_are_told_by_the_next(
    world: World, chat: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_delivery, "MESSAGES_A_TICK", 2)
    ticks = Ticks(world, run_failures)
    ticks.tick()
    for _ in range(3):
        world.fail_elsewhere()
    ticks.tick()
    assert len(chat.taken) == 2
    ticks.tick()
    assert len(chat.taken) == 3


def test_an_alarm_is_told_once_a_day_of_the_monitor_and_again_when_it_is_over(
    world: World, chat: Receiver, pager: Receiver
) -> None:
    ticks = Ticks(world, monitor_alarms)
    ticks.tick()
    world.alarming = {"2013-01-05", "2013-01-06"}
    for day in ("2013-01-04", "2013-01-05", "2013-01-06"):
        world.run("toy/monitor_drift", day)
    ticks.tick()
    assert told(chat) == [
        "Warning: toy/monitor_drift raises an alarm on 2013-01-05",
        "Warning: toy/monitor_drift raises an alarm on 2013-01-06",
    ]
    assert "wind has moved on 2013-01-05" in str(chat.taken[0])
    assert pager.taken[0]["payload"]["severity"] == "warning"
    world.run("toy/monitor_drift", "2013-01-05")
    ticks.tick()
    assert len(chat.taken) == 2
    world.alarming = set()
    world.run("toy/monitor_drift", "2013-01-05")
    ticks.tick()
    assert told(chat)[2:] == ["Resolved: toy/monitor_drift raises an alarm on 2013-01-05"]
    assert pager.taken[2] == {
        "routing_key": "r0uting",
        "event_action": "resolve",
        "dedup_key": pager.taken[0]["dedup_key"],
    }


def test_an_alarm_from_before_is_no_news_when_its_day_is_recorded_again(
    world: World, chat: Receiver
) -> None:
    world.alarming = {"2013-01-05"}
    world.run("toy/monitor_drift", "2013-01-05")
    ticks = Ticks(world, monitor_alarms)
    ticks.tick()
    world.run("toy/monitor_drift", "2013-01-06")
    ticks.tick()
    reached = ticks.state("webhook")["position"]
    # As `reconcile_record` does, and the merge of a data branch.
    world.instance.report_runless_asset_event(
        dg.AssetMaterialization(MONITOR, partition="2013-01-05")
    )
    ticks.tick()
    assert chat.taken == []
    assert ticks.state("webhook")["position"] >= reached


def test_an_alarm_that_is_raised_amid_a_look_at_the_monitors_is_told_by_the_next(
    world: World, chat: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = Ticks(world, monitor_alarms)
    ticks.tick()
    plain = alarm_alerts.Alarms.after

    def amid(self: alarm_alerts.Alarms, position: int) -> list[Notice]:
        """The monitor is asked before its alarm, and another one after a later alarm."""
        monkeypatch.setattr(alarm_alerts.Alarms, "after", plain)
        world.alarming = {"2013-01-05"}
        world.run("toy/monitor_drift", "2013-01-05")
        later = self.end()
        return [Notice(later, "another monitor's", {}, lambda: message("later"))]

    monkeypatch.setattr(alarm_alerts.Alarms, "after", amid)
    ticks.tick()
    ticks.tick()
    assert "Warning: toy/monitor_drift raises an alarm on 2013-01-05" in told(chat)


def message(title: str) -> Message:
    return Message("key", title, Severity.WARNING, "a reason", "a way out")


def test_a_channel_that_drips_is_given_up_and_holds_up_no_other(
    world: World, chat: Receiver, pager: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "SEND_SECONDS", 0.3)
    ticks = Ticks(world, run_failures)
    ticks.tick()
    chat.delay = 1.0
    world.broken = {"2013-01-05"}
    world.run("raw/days", "2013-01-05")
    assert "the webhook did not take the message within 0.3 s" in ticks.tick()
    assert len(pager.taken) == 1


def test_without_a_channel_alerts_go_to_the_log(world: World) -> None:
    ticks = Ticks(world, run_failures)
    ticks.tick()
    world.broken = {"2013-01-05"}
    world.run("raw/days", "2013-01-05")
    assert "Told of failed runs: 1 to the log." in ticks.tick()
