"""Which runs the main job consists of, decided before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PROBLEM = "flight_delay"

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


class RequestError(ValueError):
    """What was asked for does not exist; the sentence lists what does."""


@dataclass(frozen=True)
class Calendar:
    """Which partitions exist.

    Attributes:
        days: The days of raw data, marts and features, in order.
        months: The months that models are evaluated on, in order.
        origins: The airports that have models of their own.
    """

    days: Sequence[str]
    months: Sequence[str]
    origins: Sequence[str]


@dataclass(frozen=True)
class Request:
    """What the main job shall bring up to date.

    Attributes:
        days: First and last day; all days if None.
        month: The month to train for and evaluate on; the latest if None.
        origins: The airports to train for; all if empty.
    """

    days: tuple[str, str] | None = None
    month: str | None = None
    origins: Sequence[str] = ()


@dataclass(frozen=True)
class Launch:
    """One run of a named job.

    Attributes:
        title: What it does, for people.
        job: The job's name.
        partition: Its partition key, if it makes one.
        tags: The run's tags, which name its range of partitions if it makes several.
    """

    title: str
    job: str
    partition: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def days_span(text: str) -> tuple[str, str]:
    """Read `2013-01-01..2013-01-07`, or a single day.

    Raises:
        RequestError: The text is neither.
    """
    from datetime import date

    first, parted, last = text.partition("..")
    try:
        span = date.fromisoformat(first), date.fromisoformat(last if parted else first)
    except ValueError as error:
        raise RequestError(
            f"{text!r} is no range of days: write 2013-01-01..2013-01-07."
        ) from error
    if span[0] > span[1]:
        raise RequestError(f"{text!r} ends before it begins.")
    return span[0].isoformat(), span[1].isoformat()


def launches(request: Request, calendar: Calendar) -> list[Launch]:
    """The runs that bring the request up to date, in order.

    Models are left out where days were named and no month: a few days train nothing.

    Raises:
        RequestError: A day, month or airport does not exist.
    """
    first, last = request.days or (calendar.days[0], calendar.days[-1])
    for day in (first, last):
        if day not in calendar.days:
            raise RequestError(
                f"there is no day {day}: the data covers {calendar.days[0]} to {calendar.days[-1]}."
            )
    if request.month is not None and request.month not in calendar.months:
        raise RequestError(
            f"there is no model of {request.month}: months are {calendar.months[0]} to "
            f"{calendar.months[-1]}."
        )
    unknown = [origin for origin in request.origins if origin not in calendar.origins]
    if unknown:
        raise RequestError(f"there is no origin {unknown[0]}: use {', '.join(calendar.origins)}.")
    if request.origins and request.days and not request.month:
        raise RequestError("an origin needs a month beside --days: add --month.")
    prepare = [
        Launch("reference tables", "reference_tables"),
        Launch(
            f"days {first} to {last}: raw data, marts and features",
            "days_to_features",
            tags={RANGE_START: first, RANGE_END: last},
        ),
    ]
    if request.days and not request.month:
        return prepare
    month = request.month or calendar.months[-1]
    return [
        *prepare,
        Launch(f"training set of {month}", f"{PROBLEM}_training_set", partition=month),
        *(
            Launch(
                f"model and report of {month} {origin}",
                f"{PROBLEM}_evaluation",
                partition=f"{month}|{origin}",
            )
            for origin in request.origins or calendar.origins
        ),
    ]
