"""Which runs the main job consists of, decided before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

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
        months: First and last month to train for and evaluate on; the latest month if None.
        origins: The airports to train for; all if empty.
        models_only: Leave the days alone: their features exist.
    """

    days: tuple[str, str] | None = None
    months: tuple[str, str] | None = None
    origins: Sequence[str] = ()
    models_only: bool = False


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
    return _span(text, "%Y-%m-%d", "days: write 2013-01-01..2013-01-07")


def months_span(text: str) -> tuple[str, str]:
    """Read `2013-04..2013-12`, or a single month.

    Raises:
        RequestError: The text is neither.
    """
    return _span(text, "%Y-%m", "months: write 2013-04..2013-12")


def _span(text: str, form: str, usage: str) -> tuple[str, str]:
    first, parted, last = text.partition("..")
    try:
        span = datetime.strptime(first, form), datetime.strptime(last if parted else first, form)
    except ValueError as error:
        raise RequestError(f"{text!r} is no range of {usage}.") from error
    if span[0] > span[1]:
        raise RequestError(f"{text!r} ends before it begins.")
    return span[0].strftime(form), span[1].strftime(form)


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
    for month in request.months or ():
        if month not in calendar.months:
            raise RequestError(
                f"there is no model of {month}: months are {calendar.months[0]} to "
                f"{calendar.months[-1]}."
            )
    unknown = [origin for origin in request.origins if origin not in calendar.origins]
    if unknown:
        raise RequestError(f"there is no origin {unknown[0]}: use {', '.join(calendar.origins)}.")
    if request.origins and request.days and not request.months:
        raise RequestError("an origin needs a month beside --days: add --month.")
    if request.models_only and request.days:
        raise RequestError("--models-only leaves the days alone: leave --days out, or it.")
    prepare = [
        Launch("reference tables", "reference_tables"),
        Launch(
            f"days {first} to {last}: raw data, marts and features",
            "days_to_features",
            tags={RANGE_START: first, RANGE_END: last},
        ),
    ]
    if request.days and not request.months:
        return prepare
    months = request.months or (calendar.months[-1], calendar.months[-1])
    return [
        *([] if request.models_only else prepare),
        _launch("training sets", f"{PROBLEM}_training_set", *months),
        *(
            _launch(
                "models, reports and champions",
                f"{PROBLEM}_evaluation",
                f"{months[0]}|{first_origin}",
                f"{months[1]}|{last_origin}",
            )
            for first_origin, last_origin in _origin_spans(request.origins, calendar.origins)
        ),
    ]


def _origin_spans(wanted: Sequence[str], known: Sequence[str]) -> list[tuple[str, str]]:
    """The ranges of airports to run: all at once, or each by itself."""
    if not wanted or set(wanted) == set(known):
        return [(known[0], known[-1])]
    return [(origin, origin) for origin in wanted]


def _launch(title: str, job: str, first: str, last: str) -> Launch:
    if first == last:
        return Launch(f"{title}: {first}", job, partition=first)
    return Launch(f"{title}: {first} to {last}", job, tags={RANGE_START: first, RANGE_END: last})
