"""What there is to tell of monitors that raise an alarm: one message a monitor and partition.

Dagster's public methods tell the newest outcome of a check, and not those since a moment: the
state of partitioned checks is read as Dagster's own automation reads it, here alone. A test holds
it to what a real record answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecordStatus as Status,
)

from mlops_assets.alerting.message import Message, Severity
from mlops_assets.components.alert_delivery import Notice, OfRecord, Trouble

NO_ALARM = "no_alarm"
"""What the check of every monitor is called."""

EVALUATED = {Status.SUCCEEDED, Status.FAILED}


def monitors_of(graph: dg.AssetGraph) -> list[dg.AssetCheckKey]:
    """The checks that say whether a monitor raises an alarm, in order."""
    return sorted(
        (key for key in graph.asset_check_keys if key.name == NO_ALARM),
        key=lambda key: key.asset_key.path,
    )


@dataclass(frozen=True)
class Alarms(OfRecord):
    """The alarms of an instance's monitors.

    Attributes:
        checks: The checks that say so.
        ui: The address of Dagster's UI; None if nobody said.
    """

    checks: Sequence[dg.AssetCheckKey]
    ui: str | None

    def after(self, position: int) -> Sequence[Notice]:
        """The newest outcome of each partition that was looked at after an event, in order."""
        found = self.instance.event_log_storage.get_asset_check_partition_info(
            list(self.checks), after_storage_id=position
        )
        return [
            self._notice(info.check_key, info.partition_key, info.latest_check_event_storage_id)
            if info.latest_execution_status is Status.FAILED
            else self._all_clear(
                info.check_key, info.partition_key, info.latest_check_event_storage_id
            )
            for info in sorted(found, key=lambda info: info.latest_check_event_storage_id)
            # A check that is planned gets another event when it is carried out. A newer
            # materialization brings a partition here too, whose outcome has been told.
            if info.latest_execution_status in EVALUATED
            and info.latest_check_event_storage_id > position
        ]

    def over(self, troubles: Mapping[str, Trouble]) -> Iterator[tuple[str, Message]]:
        """Nothing: an alarm ends by a check that passes, which is a notice of its own."""
        del troubles
        yield from ()

    def _notice(self, check: dg.AssetCheckKey, partition: str | None, position: int) -> Notice:
        return Notice(position, _key(check, partition), {}, lambda: self._message(check, partition))

    def _all_clear(self, check: dg.AssetCheckKey, partition: str | None, position: int) -> Notice:
        return Notice(
            position,
            _key(check, partition),
            None,
            lambda: self._message(check, partition).as_resolved("The check passes now."),
        )

    def _message(self, check: dg.AssetCheckKey, partition: str | None) -> Message:
        [record] = self.instance.event_log_storage.get_asset_check_execution_history(
            check,
            limit=1,
            status=EVALUATED,
            partition_filter=PartitionKeyFilter(key=partition),
        )
        evaluation = record.evaluation
        warns = evaluation is not None and evaluation.severity is dg.AssetCheckSeverity.WARN
        asset = check.asset_key.to_user_string()
        name = f"{asset}:{partition}" if partition else asset
        return Message(
            key=_key(check, partition),
            title=f"{asset} raises an alarm{f' on {partition}' if partition else ''}",
            severity=Severity.WARNING if warns else Severity.ERROR,
            reason=(evaluation and evaluation.description)
            or "The monitor's report says what changed.",
            way_out=(
                f"Look at the report of {asset} in the UI; `mlops-assets lineage '{name}'` names "
                "what it was made from. If the data is wrong, correct the source and materialize "
                "the day again; if the world has changed, train again."
            ),
            run=record.run_id,
            partitions=(partition,) if partition else (),
            link=self._page(check.asset_key, partition),
        )

    def _page(self, asset: dg.AssetKey, partition: str | None) -> str | None:
        if self.ui is None:
            return None
        place = "/".join(quote(part, safe="") for part in asset.path)
        shown = f"?view=partitions&partition={quote(partition, safe='')}" if partition else ""
        return f"{self.ui.rstrip('/')}/assets/{place}{shown}"


def _key(check: dg.AssetCheckKey, partition: str | None) -> str:
    return " ".join(filter(None, ["alarm", check.asset_key.to_user_string(), partition]))
