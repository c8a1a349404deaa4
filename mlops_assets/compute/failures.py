"""Runs that fail before they begin, and that trying again would not help."""

from __future__ import annotations

import dagster as dg
from dagster._core.storage.tags import WILL_RETRY_TAG


def fail_for_good(instance: dg.DagsterInstance, run: dg.DagsterRun, sentence: str) -> None:
    """Record a run's failure, and that it is not to be retried.

    Dagster retries whatever failed outside a step: 27 partitions with a mistyped profile became 81
    failed runs. The tag is the one that it decides by, written anew for each failure, so that a
    retry by hand does not inherit it.

    Args:
        instance: Dagster's record.
        run: The run.
        sentence: Why it failed, and the way out.
    """
    instance.report_run_failed(run, sentence)
    instance.add_run_tags(run.run_id, {WILL_RETRY_TAG: "false"})
