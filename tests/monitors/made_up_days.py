"""Days of made-up flights, each with a weather of its own, for monitors to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_assets.monitors.history import DayRows, History, Inputs

FIRST = date(2013, 4, 1)
CARRIERS = ("AA", "B6", "DL", "UA")

Columns = dict[str, npt.NDArray[Any]]


def made_up_day(
    place: int, *, rows: int = 400, change: Callable[[Columns], None] = lambda _: None
) -> DayRows:
    """One day.

    Args:
        place: Which, from the first on; it decides the weather.
        rows: How many flights.
        change: Called with the columns, to spoil them.
    """
    draw = np.random.default_rng(place)
    storm = draw.normal(0, 0.5)
    carrier = np.array([CARRIERS[row % len(CARRIERS)] for row in range(rows)], dtype=object)
    score = 1 / (1 + np.exp(-draw.normal(-1.2, 0.8, rows)))
    late = draw.random(rows) < 1 / (1 + np.exp(-(np.log(score / (1 - score)) + storm)))
    early = draw.random(rows) < 0.6
    minutes = np.where(late, 15 + draw.exponential(30, rows), 15 * draw.random(rows))
    minutes = np.where(early & ~late, -draw.gamma(9, 0.6, rows), minutes).round()
    columns: Columns = {
        "carrier": carrier,
        "label": late.astype(float),
        "score": score,
        "minutes": minutes,
        "weather__knots": draw.integers(0, 20, rows).astype(float),
        "weather__pressure": 1013 + draw.normal(0, 8) + draw.normal(0, 1, rows),
        "distance": draw.choice([200.0, 500.0, 1000.0, 2500.0], rows),
        "weather__age_hours": draw.random(rows),
    }
    change(columns)
    return DayRows(FIRST + timedelta(days=place), rows, columns)


def history(
    days: int = 36,
    *,
    rows: int = 400,
    last: Callable[[Columns], None] = lambda _: None,
    last_rows: int | None = None,
    spoilt: int = 1,
    missing: Sequence[int] = (),
    first: int = 0,
    inputs: Inputs | None = None,
    **kept: Any,
) -> History:
    """A day with those before it.

    Args:
        days: How many in all.
        rows: Of each.
        last: Spoils the last of them.
        last_rows: Of the last, if another number.
        spoilt: How many of the last are spoilt.
        missing: Days that are not there, by place.
        first: The place of the first.
        inputs: What the lake says of the day's inputs.
        kept: More of the history.
    """
    spoil = range(days - spoilt, days)
    made = [
        made_up_day(
            first + place,
            rows=rows if last_rows is None or place < days - 1 else last_rows,
            change=last if place in spoil else lambda _: None,
        )
        for place in range(days)
        if place not in missing
    ]
    wanted: Mapping[str, Any] = {"reference_days": 28, "fewest_days": 14, **kept}
    return History(made[-1], made[:-1], inputs=inputs or Inputs(), **wanted)
