"""What a span of time brought, for people: scores, decisions, alarms, and what failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg

from mlops_assets.alerting.message import Message, Severity
from mlops_assets.components.alarm_alerts import NO_ALARM, Alarms
from mlops_assets.components.alert_delivery import Notice, OfRecord, Trouble
from mlops_assets.components.failure_alerts import FailedRuns, message
from mlops_assets.tracking.results import CHAMPION, MONITOR_PREFIX, REPORT

LISTED = 30
"""So many lines a section has; the UI has all."""

AT_ONCE = 20
"""So many digests are read at once."""

TITLE, TEXT = "title", "digest"
"""Where a digest stands in the metadata of the run that wrote it."""

SCORES = ("ROC AUC", "ROC AUC of the baseline", "Brier skill over the baseline")


@dataclass(frozen=True)
class Digest:
    """What a span of time brought.

    Attributes:
        title: In a line.
        text: In Markdown, a section each for failures, alarms, decisions and scores.
    """

    title: str
    text: str

    def to_metadata(self) -> dict[str, dg.MarkdownMetadataValue | dg.TextMetadataValue]:
        """What the page of its run shows, and is read from."""
        return {TITLE: dg.MetadataValue.text(self.title), TEXT: dg.MetadataValue.md(self.text)}


@dataclass(frozen=True)
class Digests(OfRecord):
    """The digests that runs have written, for channels that tell people.

    Attributes:
        job: The job whose runs write them.
        ui: The address of Dagster's UI; None if nobody said.
    """

    job: str
    ui: str | None

    def after(self, position: int) -> Iterator[Notice]:
        """The digests whose runs ended after an event, in order."""
        for record in self.instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(
                dg.DagsterEventType.RUN_SUCCESS, after_storage_id=position, job_names=[self.job]
            ),
            limit=AT_ONCE,
            ascending=True,
        ).records:
            run = record.event_log_entry.run_id
            for told in self._messages(run):
                yield Notice(record.storage_id, told.key, None, lambda told=told: told, again=True)  # type: ignore[misc]

    def over(self, troubles: Mapping[str, Trouble]) -> Iterator[tuple[str, Message]]:
        """Nothing: a digest is no trouble that would end."""
        del troubles
        yield from ()

    def _messages(self, run: str) -> Iterator[Message]:
        outputs = self.instance.get_records_for_run(
            run, of_type=dg.DagsterEventType.STEP_OUTPUT
        ).records
        for record in outputs:
            event = record.event_log_entry.dagster_event
            metadata = event.step_output_data.metadata if event else {}
            if TITLE in metadata and TEXT in metadata:
                yield Message(
                    key=f"digest {run}",
                    title=str(metadata[TITLE].value),
                    severity=Severity.INFO,
                    reason=str(metadata[TEXT].value),
                    way_out="nothing is to be done; its run's page has all of it",
                    run=run,
                    link=f"{self.ui.rstrip('/')}/runs/{run}" if self.ui else None,
                )


def digest(
    instance: dg.DagsterInstance,
    since: datetime,
    until: datetime,
    *,
    home: str,
    ui: str | None,
) -> Digest:
    """Tell of a span of time out of Dagster's record.

    Args:
        instance: The record.
        since: The beginning of the span.
        until: Its end.
        home: The state directory, named where a disk was full.
        ui: The address of Dagster's UI; None if nobody said.
    """
    span = _Span(instance, since, until)
    known = sorted(instance.get_asset_keys())
    scores = list(_scores(span, [key for key in known if key.path[-1] == REPORT]))
    decisions = list(_decisions(span, [key for key in known if key.path[-1] == CHAMPION]))
    alarms = list(
        _alarms(span, [key for key in known if key.path[-1].startswith(MONITOR_PREFIX)], ui)
    )
    failures = list(_failures(span, home, ui))
    days = f"{since:%Y-%m-%d} to {until:%Y-%m-%d}"
    return Digest(
        title=(
            f"{days}: {_counted(scores, 'report')}, {_counted(decisions, 'decision')}, "
            f"{_counted(alarms, 'alarm')}, {_counted(failures, 'failed run')}"
        ),
        text="\n\n".join(
            [
                # A channel cuts what is too long for it, at the end.
                _section("Failures", failures, "No run failed."),
                _section("Alarms", alarms, "No monitor raises an alarm that was looked at."),
                _section("Decisions", decisions, "No champion was decided on."),
                _section("Scores", scores, "No model was evaluated."),
            ]
        ),
    )


@dataclass(frozen=True)
class _Span:
    instance: dg.DagsterInstance
    since: datetime
    until: datetime

    def materializations(self, key: dg.AssetKey) -> list[dg.AssetMaterialization]:
        """The newest of each partition, in the order of the partitions."""
        found: dict[str, dg.AssetMaterialization] = {}
        cursor = None
        while True:
            page = self.instance.fetch_materializations(
                dg.AssetRecordsFilter(
                    asset_key=key,
                    after_timestamp=self.since.timestamp(),
                    before_timestamp=self.until.timestamp(),
                ),
                limit=500,
                cursor=cursor,
                ascending=True,
            )
            for record in page.records:
                made = record.asset_materialization
                if made is not None:
                    found[made.partition or ""] = made
            if not page.has_more:
                return [found[partition] for partition in sorted(found)]
            cursor = page.cursor

    def position(self, moment: datetime) -> int:
        """The id of the last event before a moment that ended a run well; 0 if none did.

        What a span has is what lies between two of these: each event is in one span's digest.
        """
        before = self.instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(
                dg.DagsterEventType.RUN_SUCCESS, before_timestamp=moment.timestamp()
            ),
            limit=1,
        ).records
        return before[0].storage_id if before else 0


def _scores(span: _Span, reports: Sequence[dg.AssetKey]) -> Iterator[str]:
    for key in reports:
        for made in span.materializations(key):
            told = [
                f"{name} {made.metadata[name].value:.3f}"
                for name in SCORES
                if name in made.metadata
            ]
            yield f"`{key.path[0]}` {made.partition}: {', '.join(told)}"


def _decisions(span: _Span, champions: Sequence[dg.AssetKey]) -> Iterator[str]:
    for key in champions:
        for made in span.materializations(key):
            why: Any = made.metadata["why"].value if "why" in made.metadata else "no reason told"
            yield f"`{key.path[0]}` {made.partition}: {why}"


def _alarms(span: _Span, monitors: Sequence[dg.AssetKey], ui: str | None) -> Iterator[str]:
    checks = [dg.AssetCheckKey(key, NO_ALARM) for key in monitors]
    end = span.position(span.until)
    for notice in Alarms(span.instance, checks, ui).after(span.position(span.since)):
        # What has no trouble left is an all-clear.
        if notice.trouble is not None and notice.position <= end:
            told = notice.message()
            yield f"{told.title}: {told.reason}"


def _failures(span: _Span, home: str, ui: str | None) -> Iterator[str]:
    failed_runs = FailedRuns(span.instance, home, ui, lambda _: ())
    records = span.instance.fetch_run_status_changes(
        dg.RunStatusChangeRecordsFilter(
            dg.DagsterEventType.RUN_FAILURE,
            after_timestamp=span.since.timestamp(),
            before_timestamp=span.until.timestamp(),
        ),
        limit=500,
        ascending=True,
    ).records
    for record in records:
        failed = failed_runs.read(record.event_log_entry)
        if failed is not None:
            told = message(failed, ui)
            yield f"{told.title}: {told.reason}"


def _counted(lines: Sequence[str], what: str) -> str:
    return f"{len(lines) or 'no'} {what}{'' if len(lines) == 1 else 's'}"


def _section(title: str, lines: Sequence[str], nothing: str) -> str:
    shown = [f"- {line}" for line in lines[:LISTED]]
    if len(lines) > LISTED:
        shown.append(f"- and {len(lines) - LISTED} more")
    return "\n".join([f"## {title}", "", *(shown or [nothing])])
