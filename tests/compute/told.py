"""A code location whose runs tell what they are carried out by."""

import json
import os
import sys
import time
from pathlib import Path

import dagster as dg

VERSION = "one"
STARTED_BY = os.getpid()


def tell(context: dg.OpExecutionContext) -> Path:
    place = Path(os.environ["DAGSTER_HOME"]) / context.run_id
    said = {
        "version": VERSION,
        "definitions_are_of": STARTED_BY,
        "pid": os.getpid(),
        "folder": str(Path.cwd()),
        "environment": dict(os.environ),
    }
    place.with_suffix(".part").write_text(json.dumps(said))
    return place.with_suffix(".part").rename(place)


@dg.op
def say(context: dg.OpExecutionContext) -> None:
    print("said on standard output")
    tell(context)


@dg.op
def wait(context: dg.OpExecutionContext) -> None:
    if context.dagster_run.parent_run_id is None:
        tell(context)
        time.sleep(600)


@dg.op
def leave() -> None:
    os._exit(0)


@dg.job(executor_def=dg.in_process_executor)
def says() -> None:
    say()


@dg.job(executor_def=dg.in_process_executor)
def waits() -> None:
    wait()


@dg.job(executor_def=dg.in_process_executor)
def leaves() -> None:
    leave()


defs = dg.Definitions(jobs=[says, waits, leaves])

if os.environ.get("THREADS_ARE_LEFT") and "mlops_assets.compute.warm_runs" in " ".join(
    sys.orig_argv
):
    import threading

    threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
