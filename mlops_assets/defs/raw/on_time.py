"""The public on-time tables of the Bureau of Transportation Statistics, as flights.

Every airline of the United States reports them; a month is published about two months after its
end. What is taken is what the packaged year has: flights from the three airports, with its columns.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from mlops_assets.defs.raw.contracts import ORIGINS
from mlops_assets.defs.raw.days import LOCAL_ZONE
from mlops_assets.sources.monthly import Layout

if TYPE_CHECKING:
    import pyarrow as pa

STEM = "On_Time_Reporting_Carrier_On_Time_Performance"

WHOLE = {
    "year": "Year",
    "month": "Month",
    "day": "DayofMonth",
    "dep_time": "DepTime",
    "sched_dep_time": "CRSDepTime",
    "dep_delay": "DepDelay",
    "arr_time": "ArrTime",
    "sched_arr_time": "CRSArrTime",
    "arr_delay": "ArrDelay",
    "flight": "Flight_Number_Reporting_Airline",
    "air_time": "AirTime",
    "distance": "Distance",
}
"""Our columns of whole numbers, some of which are published as `-5.00`."""

TEXT = {
    "carrier": "IATA_CODE_Reporting_Airline",
    "tailnum": "Tail_Number",
    "origin": "Origin",
    "dest": "Dest",
}


def _archive(month: date) -> str:
    return f"{STEM}_1987_present_{month.year}_{month.month}.zip"


def _member(month: date) -> str:
    return f"{STEM}_(1987_present)_{month.year}_{month.month}.csv"


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            *((name, pa.float64()) for name in WHOLE.values()),
            *((name, pa.string()) for name in TEXT.values()),
        ]
    )


def _flights(published: pa.Table) -> pa.Table:
    """Rows as they are published, as flights."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    published = published.filter(pc.is_in(published[TEXT["origin"]], pa.array(ORIGINS)))
    columns = {
        **{name: _whole(published, theirs) for name, theirs in WHOLE.items()},
        **{name: published[theirs] for name, theirs in TEXT.items()},
    }
    scheduled = columns["sched_dep_time"]
    columns["hour"] = pc.divide(scheduled, pa.scalar(100, pa.int32()))
    columns["minute"] = pc.subtract(
        scheduled, pc.multiply(columns["hour"], pa.scalar(100, pa.int32()))
    )
    parts = [columns[name].combine_chunks() for name in ("year", "month", "day", "hour")]
    missing = np.any([part.is_null().to_numpy(zero_copy_only=False) for part in parts], axis=0)
    year, month, day, hour = (part.fill_null(1).to_numpy().astype("int64") for part in parts)
    local = (
        ((year - 1970) * 12 + month - 1).astype("datetime64[M]").astype("datetime64[D]")
        + (day - 1).astype("timedelta64[D]")
    ).astype("datetime64[us]") + hour.astype("timedelta64[h]")
    columns["time_hour"] = pc.assume_timezone(
        pa.array(local.astype(np.dtype("datetime64[us]")), mask=missing),
        LOCAL_ZONE,
        ambiguous="earliest",
        nonexistent="latest",
    ).cast(pa.timestamp("us", tz="UTC"))
    return pa.table(columns)


def _whole(published: pa.Table, name: str) -> pa.ChunkedArray:
    """A column of whole numbers; an error of Arrow's that names it if one of them is not."""
    import pyarrow as pa

    try:
        return published[name].cast(pa.int32())
    except pa.ArrowInvalid as error:
        raise pa.ArrowInvalid(f"{name}: {error}") from error


LAYOUT = Layout(
    archive=_archive,
    member=_member,
    beside=("readme.html",),
    schema=_schema,
    convert=_flights,
)
