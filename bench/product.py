"""The product's side: a process that brings days from their source to features.

Run as `python -m bench.product DAYS… [--with-reference-tables]`, with the state directory in
`MLOPS_HOME`. It launches what `mlops-assets run --days` launches, one range of days after the
other, and prints one JSON object a range: how long the runs took, and how much of that Dagster
took to record events. The watch is hung into Dagster from here; the product knows nothing of it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.events import DagsterEventBatchMetadata

REFERENCE_JOB = "reference_tables"


@dataclass
class Ledger:
    """What recording events took.

    Attributes:
        events: How many were recorded.
        wall: Wall seconds inside Dagster's storing of them.
        cpu: CPU seconds of the storing thread in it.
    """

    events: int = 0
    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def recording(ledger: Ledger) -> Iterator[None]:
    """Enter into `ledger` every event that Dagster stores in this process meanwhile."""
    import dagster as dg

    stored = dg.DagsterInstance.handle_new_event

    def timed(
        instance: dg.DagsterInstance,
        event: dg.EventLogEntry,
        *,
        batch_metadata: DagsterEventBatchMetadata | None = None,
    ) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            stored(instance, event, batch_metadata=batch_metadata)
        finally:
            ledger.events += 1
            ledger.wall += time.perf_counter() - wall
            ledger.cpu += time.thread_time() - cpu

    # Planned events, log lines and materializations all end there, each call on its own.
    dg.DagsterInstance.handle_new_event = timed  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        dg.DagsterInstance.handle_new_event = stored  # type: ignore[method-assign]


def materialize(
    definitions: dg.Definitions, days: tuple[str, str], *, reference_tables: bool
) -> None:
    """Launch in this process what `mlops-assets run --days` launches.

    Args:
        definitions: The product's.
        days: The first and the last day.
        reference_tables: Whether the tables without days are ingested too.
    """
    import dagster as dg

    from mlops_assets.cli.main_job import calendar
    from mlops_assets.cli.plan import Request, launches

    with dg.DagsterInstance.get() as instance:
        for launch in launches(Request(days=days), calendar(definitions)):
            if launch.job != REFERENCE_JOB or reference_tables:
                definitions.resolve_job_def(launch.job).execute_in_process(
                    instance=instance, tags=dict(launch.tags)
                )


def main() -> None:
    """Materialize each range of days of the command line."""
    from mlops_assets.cli.execution import console_to_log
    from mlops_assets.cli.plan import days_span
    from mlops_assets.cli.record import open_record
    from mlops_assets.definitions import defs
    from mlops_assets.settings import open_state, settings

    parser = argparse.ArgumentParser()
    parser.add_argument("days", nargs="+", type=days_span)
    parser.add_argument("--with-reference-tables", action="store_true")
    options = parser.parse_args()
    home = open_state(settings().home)
    open_record(settings())
    for days in options.days:
        ledger = Ledger()
        wall, cpu = time.perf_counter(), time.process_time()
        with console_to_log(home, shown=False), recording(ledger):
            materialize(defs(), days, reference_tables=options.with_reference_tables)
        spent = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        print(json.dumps({**spent, "recording": asdict(ledger)}), flush=True)


if __name__ == "__main__":
    main()
