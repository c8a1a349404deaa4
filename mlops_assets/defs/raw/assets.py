"""The raw tables that exist: flights and weather by day; planes, airports and airlines whole."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from mlops_assets.components.contract import Contract
from mlops_assets.components.raw_table import raw_table
from mlops_assets.defs.raw import contracts, sources
from mlops_assets.defs.raw.days import LOCAL_ZONE

OWNER = "team:data-platform"

DAYS = dg.DailyPartitionsDefinition(
    start_date=sources.SPAN.first.isoformat(),
    end_date=(sources.SPAN.last + timedelta(days=1)).isoformat(),
    timezone=LOCAL_ZONE,
)


def _table(contract: Contract, description: str) -> dg.AssetsDefinition:
    return raw_table(
        contract,
        sources.source,
        description=description,
        owner=OWNER,
        code="mlops_assets.defs.raw",
        partitions=DAYS if contract.days else None,
    )


flights = _table(
    contracts.FLIGHTS,
    "Every flight that was scheduled to leave EWR, JFK or LGA, by local day of departure.",
)
weather = _table(
    contracts.WEATHER, "Hourly weather at the three airports, by local day of the reading."
)
planes = _table(contracts.PLANES, "The registry of planes, by tail number.")
airports = _table(contracts.AIRPORTS, "Airports with their time zones.")
airlines = _table(contracts.AIRLINES, "Carriers' names by their code.")
