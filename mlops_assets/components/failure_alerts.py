"""What there is to tell of runs that failed: which partitions, why, and the way out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from mlops_assets.alerting.message import Message, Severity
from mlops_assets.components.alert_delivery import Notice, OfRecord, Trouble
from mlops_assets.components.faults import recorded_links, sentence

AT_ONCE = 100
"""So many failed runs are read at once."""

REMEMBERED = 20
"""So many missing partitions of a failed step a cursor keeps; the record has the others."""

WORK_BRANCH = re.compile(r"\btx-[\w.-]*\w")

PARTITION = "dagster/partition"
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
WILL_RETRY = "dagster/will_retry"


@dataclass(frozen=True)
class FailedRun:
    """What Dagster's record says of a run that failed.

    Attributes:
        run: Its id.
        job: Its job.
        tags: Its tags.
        step: The step that failed first; None if none did.
        reason: Why, in a sentence.
        assets: The assets that the failed step was to make, parted by `/`.
        missing: Their partitions that it did not make; empty for assets without.
        branches: The work branches that were kept.
    """

    run: str
    job: str
    tags: Mapping[str, str]
    step: str | None
    reason: str
    assets: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    branches: tuple[str, ...] = ()

    @property
    def partitions(self) -> tuple[str, ...]:
        """The partitions that the run was asked for, a range by its ends."""
        first, last = (self.tags.get(end) for end in RANGE)
        if first and last:
            return (first if first == last else f"{first}..{last}",)
        return tuple(filter(None, [self.tags.get(PARTITION)]))

    @property
    def key(self) -> str:
        """The same for whichever run fails at the same step of the same partitions."""
        return " ".join(["run", *(self.assets or [self.job, self.step or ""]), *self.partitions])


def message(failed: FailedRun, ui: str | None) -> Message:
    """The message about a failed run.

    Args:
        failed: What is known of it.
        ui: The address of Dagster's UI; None if nobody said.
    """
    what = ", ".join(failed.assets[:3]) or failed.step or failed.job
    if len(failed.assets) > 3:
        what += f" and {len(failed.assets) - 3} more"
    where = f" {failed.partitions[0]}" if failed.partitions else ""
    return Message(
        key=failed.key,
        title=f"{what}{where} was not made",
        severity=Severity.ERROR,
        reason=failed.reason,
        way_out=_way_out(failed),
        job=failed.job,
        run=failed.run,
        step=failed.step,
        partitions=failed.missing or failed.partitions,
        branches=failed.branches,
        link=f"{ui.rstrip('/')}/runs/{failed.run}" if ui else None,
    )


def _way_out(failed: FailedRun) -> str:
    told = []
    if failed.tags.get(WILL_RETRY) == "true":
        told.append("Dagster runs it again by itself.")
    if failed.branches:
        told.append(
            f"What it had written lies on the branch {failed.branches[0]}, and the base branch is "
            f'whole: read it with `mlops_assets.notebook.at("{failed.branches[0]}")`.'
        )
    if failed.assets:
        selection = " or ".join(f"key:{asset}" for asset in failed.assets[:3])
        partitions = f" --partitions '{failed.partitions[0]}'" if failed.partitions else ""
        told.append(
            f"Correct the cause, then make it again: `mlops-assets backfill '{selection}'"
            f"{partitions}`."
        )
    else:
        told.append("Look at the run's page, then launch it again; `mlops-assets doctor` examines.")
    return " ".join(told)


@dataclass(frozen=True)
class FailedRuns(OfRecord):
    """The failed runs of an instance.

    Attributes:
        home: The state directory, named where a disk is full.
        ui: The address of Dagster's UI; None if nobody said.
        kept: The work branches that a run left behind, where that can be found out.
    """

    home: str
    ui: str | None
    kept: Callable[[str], Sequence[str]]

    def after(self, position: int) -> Iterator[Notice]:
        """The runs that failed after an event, in order."""
        records = self.instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(
                dg.DagsterEventType.RUN_FAILURE, after_storage_id=position
            ),
            limit=AT_ONCE,
            ascending=True,
        ).records
        return self._notices(records)

    def _notices(self, records: Iterable[dg.EventLogRecord]) -> Iterator[Notice]:
        for record in records:
            failed = self.read(record.event_log_entry)
            if failed is None:
                continue
            trouble: Trouble = {
                "run": failed.run,
                "job": failed.job,
                "assets": failed.assets,
                "step": failed.step,
                "partitions": failed.missing[:REMEMBERED],
                "more": len(failed.missing) > REMEMBERED,
                "title": message(failed, self.ui).title,
                "after": record.storage_id,
            }
            yield Notice(
                record.storage_id,
                failed.key,
                trouble,
                lambda failed=failed: message(failed, self.ui),  # type: ignore[misc]
                again=True,
            )

    def over(self, troubles: Mapping[str, Trouble]) -> Iterator[tuple[str, Message]]:
        """The failures whose assets were made since, in all the partitions that were missing."""
        for key, trouble in troubles.items():
            if trouble["assets"] and self._all_made(trouble):
                told = Message(
                    key=key,
                    title=trouble["title"],
                    severity=Severity.ERROR,
                    reason="It has been made since.",
                    way_out="",
                    job=trouble["job"],
                    run=trouble["run"],
                    partitions=tuple(trouble["partitions"]),
                )
                yield key, told.as_resolved("It has been made since.")

    def _all_made(self, trouble: Trouble) -> bool:
        def made(partitions: Sequence[str]) -> bool:
            return all(
                self._made(asset, partitions, trouble["after"]) for asset in trouble["assets"]
            )

        if not made(trouble["partitions"]):
            return False
        if not trouble["more"]:
            return True
        _, missing = self._not_made(trouble["run"], trouble["step"])
        return made(missing)

    def _made(self, asset: str, partitions: Sequence[str], after: int) -> bool:
        """Whether partitions of an asset, or the asset, were recorded after an event."""
        key = dg.AssetKey(asset.split("/"))
        if partitions:
            recorded = self.instance.get_materialized_partitions(key, after_cursor=after)
            return recorded >= set(partitions)
        filtered = dg.AssetRecordsFilter(asset_key=key, after_storage_id=after)
        return bool(self.instance.fetch_materializations(filtered, limit=1).records)

    def read(self, event: dg.EventLogEntry) -> FailedRun | None:
        """What the record says of the run whose failure an event is; None if it was deleted."""
        run = self.instance.get_run_by_id(event.run_id)
        if run is None:
            return None
        step, reason = self._reason(event)
        assets, missing = self._not_made(run.run_id, step)
        kept = self.kept(run.run_id)
        named = kept or tuple(dict.fromkeys(WORK_BRANCH.findall(reason)))
        return FailedRun(
            run=run.run_id,
            job=run.job_name,
            tags=run.tags,
            step=step,
            reason=reason,
            assets=assets,
            missing=missing,
            branches=tuple(named),
        )

    def _reason(self, event: dg.EventLogEntry) -> tuple[str | None, str]:
        """The step that failed first, and why; the run's own words where none did."""
        failures = self.instance.get_records_for_run(
            event.run_id, of_type=dg.DagsterEventType.STEP_FAILURE, limit=1
        ).records
        if failures and (told := failures[0].event_log_entry.dagster_event):
            data = told.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return told.step_key, data.user_failure_data.description
            return told.step_key, sentence(recorded_links(data.error), place=self.home)
        own: Any = event.dagster_event and event.dagster_event.event_specific_data
        if own is not None and own.error is not None:
            return None, sentence(recorded_links(own.error), place=self.home)
        # A run that a launcher or run monitoring ended has their words alone.
        return None, event.dagster_event.message or "" if event.dagster_event else ""

    def _not_made(self, run: str, step: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The assets of a step that it did not make, and their partitions."""
        wanted: dict[str, set[str]] = {}
        made: set[tuple[str, str | None]] = set()
        kinds = {
            dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
            dg.DagsterEventType.ASSET_MATERIALIZATION,
        }
        for record in self.instance.get_records_for_run(run, of_type=kinds).records:
            event = record.event_log_entry.dagster_event
            if event is None or event.asset_key is None:
                continue
            asset = event.asset_key.to_user_string()
            if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
                made.add((asset, event.partition))
            elif step is None or event.step_key == step:
                subset = event.asset_materialization_planned_data.partitions_subset
                keys = subset.get_partition_keys() if subset else filter(None, [event.partition])
                wanted.setdefault(asset, set()).update(keys)
        left = {
            asset: {key for key in keys if (asset, key) not in made}
            for asset, keys in wanted.items()
        }
        assets = [asset for asset in left if left[asset] or (asset, None) not in made]
        return tuple(sorted(assets)), tuple(sorted(set().union(*left.values()) if left else ()))
