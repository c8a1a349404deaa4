"""The sensor by which a monitor asks for a model before the month's time has come."""

from __future__ import annotations

from typing import cast

import dagster as dg

from mlops_assets.components.alarm_alerts import Alarms, monitors_of
from mlops_assets.components.trainable import newest_trainable
from mlops_assets.defs.automation.run_tags import started_by

NAME = "retrain_on_alarm"
TRAINING_SET = "training_set"


@dg.sensor(
    name=NAME,
    target=dg.AssetSelection.all() & dg.AssetSelection.key_substring(TRAINING_SET),
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Makes the newest training set that can be made when a monitor raises an alarm; its models "
        "follow if it differs from the one that they learnt from. Any number of alarms that came "
        "together ask once. What comes of it is judged and promoted like every other month's."
    ),
)
def retrain_on_alarm(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Request the newest trainable month of each problem with a new alarm."""
    graph = cast("dg.RepositoryDefinition", context.repository_def).asset_graph
    checks = monitors_of(graph)
    alarms = Alarms(context.instance, checks, None)
    end = alarms.end()
    if not checks or context.cursor is None:
        # What was wrong before the sensor was switched on is no news.
        context.update_cursor(str(end))
        return dg.SkipReason("Alarms are followed from now on.")
    # What is younger than the next cursor is left to the next tick, which would ask for it again.
    # The last alarm's position would be no place to go on from: monitors are asked one by one.
    raised = [
        notice
        for notice in alarms.after(int(context.cursor))
        if notice.position <= end and notice.trouble is not None
    ]
    requests, waiting = [], []
    for problem in sorted({notice.key.split()[1].split("/")[0] for notice in raised}):
        key = dg.AssetKey([problem, TRAINING_SET])
        month = newest_trainable(graph, context.instance, key)
        if month is None:
            waiting.append(problem)
            continue
        requests.append(
            dg.RunRequest(
                run_key=f"{problem} {month} {raised[-1].position}",
                asset_selection=[key],
                partition_key=month,
                tags=started_by(NAME),
            )
        )
    reason = "No monitor raised an alarm since the last tick."
    if waiting:
        reason = f"No month of {', '.join(waiting)} has all of its days: nothing can be learnt."
    return dg.SensorResult(
        run_requests=requests, skip_reason=None if requests else reason, cursor=str(end)
    )
