"""A job of two outcomes: it ends, or it waits to be ended."""

import os
import time

import dagster as dg


@dg.op(config_schema={"seconds": dg.Field(float, default_value=0.0)})
def look_around(context: dg.OpExecutionContext) -> None:
    context.log.info("saw the variables: %s", ",".join(sorted(os.environ)))
    time.sleep(context.op_config["seconds"])


@dg.job
def tiny() -> None:
    look_around()
