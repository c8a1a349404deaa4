"""The jobs that bring the warehouse up to date."""

import dagster as dg

reference_tables = dg.define_asset_job(
    "reference_tables",
    selection=dg.AssetSelection.assets("raw/planes", "raw/airports", "raw/airlines"),
    description="The tables without days: planes, airports and airlines.",
)

days_to_features = dg.define_asset_job(
    "days_to_features",
    selection=(
        dg.AssetSelection.assets("raw/flights", "raw/weather")
        | dg.AssetSelection.groups("staging", "marts", "features")
    ),
    description="Days of flights and weather, from their source to the feature views.",
)
