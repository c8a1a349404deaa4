"""Assets of the tests' own, labelled for GPUs, and every way in which Dagster starts their runs.

Loaded by a code server and by the pods of runs, which leave a note of where each partition was
made in the folder that `NOTES` names. A file there says how long that takes, and may be changed
while it does.
"""

import json
import os
import time
from pathlib import Path
from uuid import uuid4

import dagster as dg

from mlops_assets.compute.assignment import Rule, profiled

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2013-04", end_date="2013-08", fmt="%Y-%m")
ORIGINS = dg.StaticPartitionsDefinition(["EWR", "JFK", "LGA"])
CELLS = dg.MultiPartitionsDefinition({"month": MONTHS, "origin": ORIGINS})
LARGE = [Rule(when={"origin": "EWR"}, profile="gpu-large")]
NOTES = "TEST_NOTES"
SECONDS = "seconds"


def note(context: dg.AssetExecutionContext) -> None:
    """Say where this partition is made, and take the time that the test wants it to take."""
    began = time.time()
    folder = Path(os.environ[NOTES])
    while time.time() - began < float((folder / SECONDS).read_text()):
        time.sleep(0.1)
    made = {
        "asset": context.asset_key.to_user_string(),
        "partition": context.partition_key if context.has_partition_key else None,
        "run": context.run.run_id,
        "devices": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "began": began,
        "ended": time.time(),
    }
    (folder / f"{uuid4().hex}.json").write_text(json.dumps(made))


@dg.asset(partitions_def=CELLS, **profiled(group="cells"))
def rows(context: dg.AssetExecutionContext) -> None:
    """What every cell's scores are made of, on any machine."""
    note(context)


@dg.asset(
    partitions_def=CELLS,
    **profiled("gpu-small", group="cells", problem="delay", rules=LARGE, partitions=CELLS),
)
def scores(context: dg.AssetExecutionContext) -> None:
    """A partition a run, as a model's is: with a GPU."""
    note(context)


@dg.asset(**profiled("gpu-small", group="alone"))
def solo(context: dg.AssetExecutionContext) -> None:
    """What somebody makes with a click."""
    note(context)


@dg.asset(**profiled(group="alone"))
def source(context: dg.AssetExecutionContext) -> None:
    """What `follower` follows."""
    note(context)


@dg.asset(
    deps=[source],
    automation_condition=dg.AutomationCondition.eager(),
    **profiled("gpu-small", group="alone"),
)
def follower(context: dg.AssetExecutionContext) -> None:
    """Made by its condition, once its source is."""
    note(context)


@dg.asset(**profiled(group="alone"))
def first(context: dg.AssetExecutionContext) -> None:
    """What comes before a failure."""
    note(context)


@dg.asset(deps=[first], **profiled("gpu-small", group="alone"))
def second(context: dg.AssetExecutionContext) -> None:
    """Fails the first time."""
    mark = Path(os.environ[NOTES]) / "failed-once"
    if not mark.exists():
        mark.touch()
        raise RuntimeError("the first time")
    note(context)


@dg.asset(**profiled("gpu-huge", group="alone"))
def huge(context: dg.AssetExecutionContext) -> None:
    """Asks for more GPUs than any node has."""
    note(context)


@dg.asset(op_tags={"compute/profile": "gone"})
def stray(context: dg.AssetExecutionContext) -> None:
    """Names a profile that does not exist, as an asset of an older file of profiles would."""
    note(context)


SCORES = dg.define_asset_job("scores_job", selection=[scores])


@dg.schedule(job=SCORES, cron_schedule="* * * * *", default_status=dg.DefaultScheduleStatus.STOPPED)
def every_minute() -> dg.RunRequest:
    """One cell, always the same run."""
    return dg.RunRequest(run_key="scheduled", partition_key=cell("2013-05", "JFK"))


@dg.sensor(job=SCORES, minimum_interval_seconds=2)
def at_once() -> dg.RunRequest:
    """Another cell."""
    return dg.RunRequest(run_key="sensed", partition_key=cell("2013-06", "EWR"))


def cell(month: str, origin: str) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({"month": month, "origin": origin})


defs = dg.Definitions(
    assets=[rows, scores, solo, source, follower, first, second, huge, stray],
    jobs=[SCORES, dg.define_asset_job("pair", selection=[first, second])],
    schedules=[every_minute],
    sensors=[
        at_once,
        dg.AutomationConditionSensorDefinition(
            "conditions", target=[follower], minimum_interval_seconds=2
        ),
    ],
    # The stock default starts a process a step inside the pod, 1.3 s each.
    executor=dg.in_process_executor,
)
