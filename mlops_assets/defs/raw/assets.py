"""The raw tables that exist: flights and weather by day; planes, airports and airlines whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.components.raw_table import raw_table
from mlops_assets.defs.raw import contracts, sources
from mlops_assets.defs.raw.days import LOCAL_ZONE
from mlops_assets.settings import settings

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.components.contract import Contract, DayWindow

OWNER = "team:data-platform"

DAYS = dg.DailyPartitionsDefinition(
    start_date=sources.SPAN.first.isoformat(),
    end_date=(sources.SPAN.last + timedelta(days=1)).isoformat(),
    timezone=LOCAL_ZONE,
)


def _source() -> Path:
    return settings().source or sources.bundled_directory()


def _daily(
    contract: Contract, read: Callable[[Path, date, date], pa.Table], description: str
) -> dg.AssetsDefinition:
    def rows(window: DayWindow | None) -> pa.Table:
        if window is None:
            raise ValueError(f"{contract.table} is read by day.")
        return read(_source(), window.first, window.last)

    return raw_table(
        contract,
        rows,
        file=lambda: sources.file_of(_source(), contract.table),
        description=description,
        owner=OWNER,
        code="mlops_assets.defs.raw",
        partitions=DAYS,
    )


def _whole(
    contract: Contract, read: Callable[[Path], pa.Table], description: str
) -> dg.AssetsDefinition:
    return raw_table(
        contract,
        lambda _: read(_source()),
        file=lambda: sources.file_of(_source(), contract.table),
        description=description,
        owner=OWNER,
        code="mlops_assets.defs.raw",
    )


flights = _daily(
    contracts.FLIGHTS,
    sources.read_flights,
    "Every flight that was scheduled to leave EWR, JFK or LGA, by local day of departure.",
)
weather = _daily(
    contracts.WEATHER,
    sources.read_weather,
    "Hourly weather at the three airports, by local day of the reading.",
)
planes = _whole(contracts.PLANES, sources.read_planes, "The registry of planes, by tail number.")
airports = _whole(contracts.AIRPORTS, sources.read_airports, "Airports with their time zones.")
airlines = _whole(contracts.AIRLINES, sources.read_airlines, "Carriers' names by their code.")
