"""A code location that computes nothing: one asset of a thousand days, a run for each.

Its executor is the product's, in the run's own process: with Dagster's default each run would start
a process more for its one step, on either side.
"""

from __future__ import annotations

import dagster as dg

PARTITIONS = 1000
DAYS = dg.DailyPartitionsDefinition("2013-01-01", end_date="2015-09-28")


@dg.asset(partitions_def=DAYS)
def nothing() -> None:
    """Nothing, so that all of a run's time is Dagster's own."""


defs = dg.Definitions([nothing], executor=dg.in_process_executor)
