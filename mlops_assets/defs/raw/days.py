"""Which day a raw row belongs to: the local calendar of New York, where all three airports are.

Flights count by the day of their scheduled departure and weather by the day of its reading, as
their own columns `year`, `month`, `day` state it. `time_hour` says the same in UTC, which makes
it the witness against a mistyped day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.components.contract import DayRule

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    import pyarrow as pa

LOCAL_ZONE = "America/New_York"


def stated_days(table: pa.Table) -> pa.Array:
    """The date that `year`, `month` and `day` state; null where they are no date."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    year, month, day = (
        pc.fill_null(table[name].combine_chunks(), 0).to_numpy()
        for name in ("year", "month", "day")
    )
    months = _months(year, month)
    days = months.astype("datetime64[D]") + (day - 1).astype("timedelta64[D]")
    real = (
        ((year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12))
        & (day >= 1)
        & (days.astype("datetime64[M]") == months)
    )
    return pa.array(np.where(real, days, np.datetime64("NaT")), pa.date32(), from_pandas=True)


def implied_days(table: pa.Table) -> pa.Array:
    """The local date of the instant `time_hour`; null where that is null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    instants = table["time_hour"].combine_chunks().cast(pa.timestamp("us", tz=LOCAL_ZONE))
    return pc.local_timestamp(instants).cast(pa.date32(), safe=False)


def hour_agrees(rows: pd.DataFrame) -> pd.Series:
    """Whether `time_hour` is the local hour that `year`, `month`, `day` and `hour` state."""
    import pandas as pd

    year, month, day, hour = (
        rows[name].to_numpy(dtype="int64", na_value=0) for name in ("year", "month", "day", "hour")
    )
    days = _months(year, month).astype("datetime64[D]") + (day - 1).astype("timedelta64[D]")
    stated = days.astype("datetime64[us]") + hour.astype("timedelta64[h]")
    local = rows["time_hour"].dt.tz_convert(LOCAL_ZONE).dt.tz_localize(None)
    return pd.Series(local.to_numpy() == stated, index=rows.index)


def _months(
    year: npt.NDArray[np.integer], month: npt.NDArray[np.integer]
) -> npt.NDArray[np.datetime64]:
    since_1970 = (year.astype("int64") - 1970) * 12 + month - 1
    months: npt.NDArray[np.datetime64] = since_1970.astype("datetime64[M]")
    return months


LOCAL_DAY = DayRule(
    stated=stated_days, implied=implied_days, parts=("year", "month", "day"), instant="time_hour"
)
