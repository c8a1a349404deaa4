"""A process that ticks the sensors of automation over a record of some ten thousand days.

Run as `python -m bench.long_history HOME COMMAND …`. The graph has the real one's assets, checks,
dependencies with their look-backs, and conditions, over so many days that nothing of it runs:

`record`: make the record, every partition but the last day's materialized.
`happens EVENT`: record what is to be followed, `new day` or `late day`.
`look`: look through it, as `mlops-assets automation on` does.
`tick SENSOR`: evaluate a sensor as the daemon does, and print what that cost as JSON. With
`--code changed`, after every asset's code did.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import dagster as dg

from mlops_assets.cli.automation import look_through

DAYS = 10_000
FIRST = datetime(1998, 1, 1, tzinfo=UTC)
BATCH = 5_000
NEW_DAY, LATE_DAY = "new day", "late day"


def real_definitions() -> dg.Definitions:
    """The product's."""
    from mlops_assets.definitions import defs

    return cast("dg.Definitions", defs())


def lengthened(
    definitions: dg.Definitions, code: str = "", since: datetime = FIRST, count: int = DAYS
) -> dg.Definitions:
    """The same graph over other days, whose assets cannot run.

    Args:
        definitions: The real ones.
        code: What is appended to every asset's code version.
        since: The first day.
        count: How many days.
    """
    graph = definitions.resolve_asset_graph()
    end = since + timedelta(days=count)

    def long(partitions: dg.PartitionsDefinition[str] | None) -> Any:  # noqa: ANN401 - as the kinds are
        if isinstance(partitions, dg.MultiPartitionsDefinition):
            return dg.MultiPartitionsDefinition(
                {part.name: long(part.partitions_def) for part in partitions.partitions_defs}
            )
        if isinstance(partitions, dg.TimeWindowPartitionsDefinition):
            return dg.TimeWindowPartitionsDefinition(
                start=since.strftime(partitions.fmt),
                end=end.strftime(partitions.fmt),
                fmt=partitions.fmt,
                cron_schedule=partitions.cron_schedule,
                timezone=partitions.timezone,
            )
        return partitions

    def idle(key: dg.AssetKey) -> dg.AssetsDefinition:
        node = graph.get(key)
        [spec] = [spec for spec in node.assets_def.specs if spec.key == key]
        checks = [
            dg.AssetCheckSpec(check.name, asset=key, blocking=graph.get(check).blocking)
            for check in sorted(node.check_keys)
        ]

        @dg.multi_asset(
            name=key.to_python_identifier(),
            specs=[
                spec.replace_attributes(
                    code_version=f"{spec.code_version}{code}",
                    partitions_def=long(node.partitions_def),
                )
            ],
            check_specs=checks,
            can_subset=bool(checks),
        )
        def nothing() -> Iterator[Any]:
            yield from ()

        return nothing

    return dg.Definitions(
        assets=[idle(key) for key in sorted(graph.get_all_asset_keys())],
        sensors=list(definitions.sensors or ()),
    )


def _by_day(partitions: dg.PartitionsDefinition[str] | None) -> bool:
    return isinstance(partitions, dg.TimeWindowPartitionsDefinition) and "%d" in partitions.fmt


def _keys(partitions: dg.PartitionsDefinition[str] | None) -> list[str | None]:
    return [None] if partitions is None else list(partitions.get_partition_keys())


def tell(
    instance: dg.DagsterInstance,
    made: Iterable[tuple[dg.AssetKey, str | None]],
    content: str,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Record partitions as one run would, in batches.

    Args:
        instance: The record.
        made: The assets with their partitions.
        content: What is recorded as the content of all of them.
        tags: Of the run.
    """
    from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
    from dagster._core.test_utils import create_run_for_test

    run = create_run_for_test(instance, status=dg.DagsterRunStatus.SUCCESS, tags=dict(tags or {}))

    def events() -> Iterator[dg.EventLogEntry]:
        for key, partition in made:
            told = dg.AssetMaterialization(
                key, partition=partition, tags={"dagster/data_version": content}
            )
            event = DagsterEvent(
                DagsterEventType.ASSET_MATERIALIZATION.value,
                job_name=run.job_name,
                step_key="step",
                event_specific_data=StepMaterializationData(told),
            )
            yield dg.EventLogEntry(
                error_info=None,
                level=10,
                user_message="",
                run_id=run.run_id,
                timestamp=time.time(),
                job_name=run.job_name,
                step_key="step",
                dagster_event=event,
            )

    batch: list[dg.EventLogEntry] = []
    for event in events():
        batch.append(event)
        if len(batch) == BATCH:
            instance.event_log_storage.store_event_batch(batch)
            batch = []
    instance.event_log_storage.store_event_batch(batch)


def record(instance: dg.DagsterInstance, definitions: dg.Definitions) -> None:
    """Materialize every partition but the last day of each asset."""
    graph = definitions.resolve_asset_graph()
    for key in sorted(graph.get_all_asset_keys()):
        partitions = graph.get(key).partitions_def
        keys = _keys(partitions)
        made = keys[:-1] if _by_day(partitions) else keys
        tell(instance, ((key, partition) for partition in made), "first")


def happens(instance: dg.DagsterInstance, definitions: dg.Definitions, event: str) -> None:
    """Record another content of one day of every daily asset: the last, or one long past."""
    graph = definitions.resolve_asset_graph()
    daily = [
        key for key in sorted(graph.get_all_asset_keys()) if _by_day(graph.get(key).partitions_def)
    ]
    days = _keys(graph.get(daily[0]).partitions_def)
    day = days[-1] if event == NEW_DAY else days[len(days) // 2]
    made = [(key, day) for key in daily]
    tell(instance, made, event)


def tick(
    instance: dg.DagsterInstance, definitions: dg.Definitions, sensor: str, cursors: Path
) -> dict[str, Any]:
    """Evaluate a sensor once.

    Args:
        instance: The record.
        definitions: Whose sensor.
        sensor: Its name.
        cursors: The folder where cursors are kept from one tick to the next.

    Returns:
        What it cost, and how much it asked for.
    """
    found = definitions.get_sensor_def(sensor)
    if not isinstance(found, dg.AutomationConditionSensorDefinition):
        raise TypeError(f"{sensor} evaluates no conditions.")
    return _tick_of_conditions(instance, definitions, found, cursors / sensor)


def _tick_of_conditions(
    instance: dg.DagsterInstance,
    definitions: dg.Definitions,
    sensor: dg.AutomationConditionSensorDefinition,
    place: Path,
) -> dict[str, Any]:
    import logging

    from dagster._core.definitions.automation_tick_evaluation_context import (
        AutomationTickEvaluationContext,
    )
    from dagster._daemon.asset_daemon import (
        asset_daemon_cursor_from_instigator_serialized_cursor,
        asset_daemon_cursor_to_instigator_serialized_cursor,
    )

    graph = definitions.resolve_asset_graph()
    known = json.loads(place.read_text()) if place.exists() else {"ticks": 0, "cursor": None}
    # A month apart, each an hour after all that comes at a time has come.
    months = known["ticks"] + 1
    now = datetime(2026 + months // 12, months % 12 + 1, 2, 12, tzinfo=UTC)
    wall, cpu = time.perf_counter(), time.process_time()
    cursor = asset_daemon_cursor_from_instigator_serialized_cursor(known["cursor"], graph)
    requests, after, _ = AutomationTickEvaluationContext(
        evaluation_id=months,
        instance=instance,
        asset_graph=graph,
        cursor=cursor,
        materialize_run_tags=sensor.run_tags,
        observe_run_tags={},
        auto_observe_asset_keys=set(),
        asset_selection=sensor.asset_selection or dg.AssetSelection.all(),
        logger=logging.getLogger("bench"),
        emit_backfills=sensor.emit_backfills,
        evaluation_time=now,
    ).evaluate()
    kept = asset_daemon_cursor_to_instigator_serialized_cursor(after)
    spent = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps({"ticks": months, "cursor": kept}))
    return {
        **spent,
        "requests": len(requests),
        "partitions": sum(_size(request) for request in requests),
        "cursor": len(kept),
        "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def _size(request: dg.RunRequest) -> int:
    subset = request.asset_graph_subset
    if subset is None:
        return len(request.asset_selection or ())
    return sum(
        len(subset.partitions_subsets_by_asset_key.get(key, (None,))) for key in subset.asset_keys
    )


def main() -> None:
    """Carry out the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("command", choices=["record", "look", "happens", "tick"])
    parser.add_argument("what", nargs="?", default="")
    parser.add_argument("--code", default="")
    parser.add_argument("--days", type=int, default=DAYS)
    options = parser.parse_args()
    os.environ.setdefault("MLOPS_HOME", str(options.home / "state"))
    definitions = lengthened(real_definitions(), options.code, count=options.days)
    with dg.DagsterInstance.from_config(str(options.home)) as instance:
        if options.command == "record":
            record(instance, definitions)
        elif options.command == "look":
            look_through(instance, definitions.resolve_asset_graph())
        elif options.command == "happens":
            happens(instance, definitions, options.what)
        else:
            print(json.dumps(tick(instance, definitions, options.what, options.home / "cursors")))


if __name__ == "__main__":
    main()
