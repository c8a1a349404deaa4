"""The sensors that tell people: of failed runs, of monitors' alarms, and what a week brought."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import cast

import dagster as dg

from mlops_assets.alerting.channel import Channel
from mlops_assets.alerting.deadline import within
from mlops_assets.alerting.message import Message
from mlops_assets.alerting.pagerduty import PagerDuty
from mlops_assets.components import alert_delivery
from mlops_assets.components.alarm_alerts import Alarms, monitors_of
from mlops_assets.components.alert_delivery import Feed, Progress
from mlops_assets.components.backoff import RED_AFTER
from mlops_assets.components.failure_alerts import FailedRuns
from mlops_assets.components.weekly_digest import Digests
from mlops_assets.defs.automation.schedules import report_digest
from mlops_assets.defs.resources import alert_channels, find_lake
from mlops_assets.lake import LakeError
from mlops_assets.settings import SettingsError, settings

TICK_SECONDS = 30.0
"""So long a tick sends messages; Dagster gives it 60 s."""

LAKE_SECONDS = 5.0
"""So long it waits for the lake to say which branches were kept."""

LOOK_SECONDS = 30


class UndeliveredError(Exception):
    """A channel takes no messages; the sentence says since when, why, and when it is tried next."""


class Log:
    """The channel that is always there: the log of the sensor's ticks.

    Attributes:
        write: Writes a line there.
    """

    name = "log"

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write

    def send(self, message: Message) -> None:
        """Write a message."""
        self.write(message.to_text())


@dg.sensor(
    name="run_failures",
    minimum_interval_seconds=LOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Tells of every run that fails, by webhook, e-mail and PagerDuty's events as configured: "
        "the partition, the reason, the lake branch that was kept and the way out; and when it has "
        "been made after all. A channel that is down is tried again, and misses nothing."
    ),
)
def run_failures(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Tell of the runs that failed since the cursor."""
    found = settings()
    feed = FailedRuns(context.instance, str(found.home), found.ui_url, _kept_branches())
    return tick(context, feed, "failed runs")


@dg.sensor(
    name="monitor_alarms",
    minimum_interval_seconds=LOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Tells of every monitor that raises an alarm, once a day that it is about, by webhook, "
        "e-mail and PagerDuty's events as configured; and when its check passes again."
    ),
)
def monitor_alarms(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Tell of the alarms since the cursor."""
    graph = cast("dg.RepositoryDefinition", context.repository_def).asset_graph
    feed = Alarms(context.instance, monitors_of(graph), settings().ui_url)
    return tick(context, feed, "alarms")


@dg.sensor(
    name="digests",
    minimum_interval_seconds=LOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Sends the digest of the week, once `weekly_report_digest` has written it, by webhook and "
        "e-mail as configured. A channel that is down is tried again, and misses nothing."
    ),
)
def digests(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Tell of the digests since the cursor."""
    feed = Digests(context.instance, report_digest.name, settings().ui_url)
    return tick(context, feed, "digests", calls_nobody=True)


def tick(
    context: dg.SensorEvaluationContext, feed: Feed, what: str, *, calls_nobody: bool = False
) -> dg.SensorResult:
    """Bring every channel up to date with a feed.

    Args:
        context: The sensor's.
        feed: What there is to tell.
        what: What that is, for the UI.
        calls_nobody: Whether channels that call somebody at night are left out.

    Raises:
        UndeliveredError: A channel has been down for a while, and nothing has changed with the
            others: what they were told is kept by ticks that succeed alone.
    """
    channels: Sequence[Channel] = [
        Log(context.log.warning),
        *(
            channel
            for channel in alert_channels(settings())
            if not (calls_nobody and isinstance(channel, PagerDuty))
        ),
    ]
    before = {
        name: Progress.from_json(state)
        for name, state in json.loads(context.cursor or "{}").items()
    }
    until, now = time.monotonic() + TICK_SECONDS, time.time()
    after, told, failing = {}, [], []
    for channel in channels:
        # A channel that is new is told of what comes, not of a year that has passed.
        progress = before.get(channel.name) or Progress(feed.end())
        delivered = alert_delivery.deliver(
            channel, progress, feed, now=now, go_on=lambda: time.monotonic() < until
        )
        after[channel.name] = delivered.progress
        if delivered.messages:
            told.append(f"{delivered.messages} to the {channel.name}")
        if delivered.progress.backoff.failures:
            failing.append((channel.name, delivered.progress.backoff))
    sentences = [backoff.sentence(f"Telling the {name} of {what}") for name, backoff in failing]
    same = {name: state.backoff for name, state in before.items()} == {
        name: state.backoff for name, state in after.items()
    }
    if same and not told and any(backoff.failures >= RED_AFTER for _, backoff in failing):
        raise UndeliveredError(" ".join(sentences))
    if told:
        sentences.insert(0, f"Told of {what}: {', '.join(told)}.")
    return dg.SensorResult(
        skip_reason=" ".join(sentences) or f"No {what} since the last tick.",
        cursor=json.dumps({name: state.to_json() for name, state in after.items()}),
    )


def _kept_branches() -> Callable[[str], list[str]]:
    """Tells which work branches a run left behind; none if the lake does not answer."""

    @cache
    def kept() -> list[str]:
        # Alerts have to go out most of all while the lake is down, or hangs.
        with suppress(LakeError, SettingsError, TimeoutError):
            return within(LAKE_SECONDS, lambda: find_lake(settings()).work_branches())
        return []

    return lambda run: [name for name in kept() if run in name]
