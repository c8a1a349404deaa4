"""A job that Dagster can load again by its name, as the re-execution of a run asks for."""

from __future__ import annotations

import dagster as dg

ASSETS = ("raw/planes", "raw/flights")


def retried_job() -> dg.JobDefinition:
    """Two raw tables, each step of which is tried twice."""
    from mlops_assets.definitions import defs

    job = dg.define_asset_job(
        "retried", selection=list(ASSETS), op_retry_policy=dg.RetryPolicy(max_retries=1)
    )
    return dg.Definitions.merge(defs(), dg.Definitions(jobs=[job])).resolve_job_def("retried")
