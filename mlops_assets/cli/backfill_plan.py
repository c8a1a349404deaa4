"""Which partitions of which assets a backfill is to make, decided before anything is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_assets.cli.plan import RequestError

if TYPE_CHECKING:
    import dagster as dg

Targets = Mapping["dg.AssetKey", "Sequence[str] | None"]
"""The partition keys to make of each asset, in order; None for an asset without partitions."""


@dataclass(frozen=True)
class Span:
    """A range of values of one dimension, as somebody wrote it.

    Attributes:
        first: The first value.
        last: The last, which may be the first.
    """

    first: str
    last: str

    @classmethod
    def of(cls, text: str) -> Span:
        """Read `2013-04..2013-12`, or a single value.

        Raises:
            RequestError: One end is missing.
        """
        first, parted, last = text.partition("..")
        if not first or (parted and not last):
            raise RequestError(f"{text!r} is no range: write FIRST..LAST, or one partition.")
        return cls(first, last if parted else first)

    def among(self, known: Sequence[str], what: str) -> list[str]:
        """The values from the first to the last.

        Raises:
            RequestError: An end does not exist, or the range ends before it begins.
        """
        for value in (self.first, self.last):
            if value not in known:
                raise RequestError(
                    f"there is no partition {value} of {what}: they are {known[0]} to {known[-1]}."
                )
        start, end = known.index(self.first), known.index(self.last)
        if start > end:
            raise RequestError(f"'{self.first}..{self.last}' ends before it begins.")
        return list(known[start : end + 1])


def targets(graph: dg.AssetGraph, selection: str, partitions: str | None) -> Targets:
    """The partitions that a backfill is to make.

    Args:
        graph: What exists.
        selection: Which assets, in Dagster's syntax for selections.
        partitions: A range of days, or of months; for assets by month and segment a range of
            months, for all segments or `MONTHS|SEGMENTS`. None if the assets have no partitions.

    Raises:
        RequestError: Nothing is selected, or the partitions do not exist or are none of these
            assets'.
    """
    assets = _selected(graph, selection)
    definitions = {key: graph.get(key).partitions_def for key in assets}
    partitioned = {key: found for key, found in definitions.items() if found is not None}
    if not partitioned:
        if partitions is not None:
            raise RequestError(f"{_listed(assets)} has no partitions: leave --partitions out.")
        return dict.fromkeys(assets)
    _require_one_calendar(partitioned)
    if partitions is None:
        key, definition = next(iter(partitioned.items()))
        known = _calendar(definition).get_partition_keys()
        raise RequestError(
            f"{key.to_user_string()} has partitions: say which, as --partitions "
            f"{known[0]}..{known[-1]} for all of them."
        )
    first, parted, second = partitions.partition("|")
    span, segments = Span.of(first), Span.of(second) if parted else None
    return {
        key: None
        if definition is None
        else _keys(definition, span, segments, f"{key.to_user_string()}")
        for key, definition in definitions.items()
    }


def _selected(graph: dg.AssetGraph, selection: str) -> list[dg.AssetKey]:
    """The assets of a selection that are made here, upstream first."""
    import warnings

    import dagster as dg

    with warnings.catch_warnings():
        # Dagster's own parser uses a parameter of Dagster's that is in beta.
        warnings.simplefilter("ignore", dg.BetaWarning)
        try:
            found = dg.AssetSelection.from_string(selection).resolve(graph)
        except dg.DagsterError as error:
            raise RequestError(
                f"{selection!r} selects nothing that exists: name an asset as raw/flights, with "
                "what follows as raw/flights+, several as key:raw/flights or key:raw/weather, a "
                "group as group:features; `dg list defs` shows them all."
            ) from error
    made = [key for key in graph.toposorted_asset_keys if key in found]
    made = [key for key in made if graph.get(key).is_materializable]
    if not made:
        raise RequestError(f"{selection!r} selects no asset; `dg list defs` shows them all.")
    return made


def _require_one_calendar(definitions: Mapping[dg.AssetKey, dg.PartitionsDefinition[str]]) -> None:
    """Refuse days and months in one backfill: one range cannot mean both.

    Raises:
        RequestError: The assets are partitioned by more than one calendar.
    """
    (first, calendar), *others = [
        (key, _calendar(definition)) for key, definition in definitions.items()
    ]
    for key, other in others:
        if other != calendar:
            raise RequestError(
                f"{first.to_user_string()} and {key.to_user_string()} have other partitions "
                f"({_example(calendar)} and {_example(other)}): make them in a backfill each, "
                "what is upstream first."
            )


def _calendar(definition: dg.PartitionsDefinition[str]) -> dg.PartitionsDefinition[str]:
    """The partitions in time: the definition itself, or its dimension of time."""
    import dagster as dg

    if not isinstance(definition, dg.MultiPartitionsDefinition):
        return definition
    return next(
        part.partitions_def
        for part in definition.partitions_defs
        if isinstance(part.partitions_def, dg.TimeWindowPartitionsDefinition)
    )


def _keys(
    definition: dg.PartitionsDefinition[str], span: Span, segments: Span | None, what: str
) -> list[str]:
    import dagster as dg

    times = span.among(_calendar(definition).get_partition_keys(), what)
    if not isinstance(definition, dg.MultiPartitionsDefinition):
        if segments is not None:
            raise RequestError(f"{what} has no segments: leave out what follows '|', or the asset.")
        return times
    time, segment = definition.time_window_dimension, definition.secondary_dimension
    known = segment.partitions_def.get_partition_keys()
    wanted = known if segments is None else segments.among(known, f"{what}'s {segment.name}s")
    return [
        dg.MultiPartitionKey({time.name: moment, segment.name: value})
        for value in wanted
        for moment in times
    ]


def _example(definition: dg.PartitionsDefinition[str]) -> str:
    keys = definition.get_partition_keys()
    return f"{keys[0]} to {keys[-1]}"


def _listed(assets: Sequence[dg.AssetKey]) -> str:
    return ", ".join(key.to_user_string() for key in assets)
