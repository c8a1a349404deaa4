"""From what people call a result to the work commit that made it.

A name is an asset's key with `:partition`, a model's version (`flight_delay.JFK@3`), the champion
of a segment (`flight_delay.JFK@champion`) or a commit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from mlops_assets.cli.plan import RequestError
from mlops_assets.lake import (
    Lake,
    LakeError,
    TablePartition,
    UnreachableLakeError,
    changes,
    makers,
)
from mlops_assets.tracking import results

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.lake import Snapshot
    from mlops_assets.ml.decision import ModelPin
    from mlops_assets.settings import Settings

CHAMPION = results.CHAMPION
COMMIT = re.compile(r"[0-9a-f]{6,64}\Z")
SHOWN = 12
NEWEST = 3

Registered = Callable[[str, int], "ModelPin"]
"""Finds the model of a registered model's version; raises TrackingError where there is none."""


@dataclass(frozen=True)
class Result:
    """What a name stands for.

    Attributes:
        name: The name.
        commit: The work commit that made it.
        pin: That commit's first parent, which its inputs were read from.
        keys: The partitions of the lake, in order.
    """

    name: str
    commit: str
    pin: str
    keys: tuple[TablePartition, ...]


@dataclass(frozen=True)
class Names:
    """What can be named, as the base branch has it.

    Attributes:
        lake: The lake.
        graph: The assets.
        registered: Finds the model of a registered model's version.
    """

    lake: Lake
    graph: dg.AssetGraph
    registered: Registered

    def find(self, name: str) -> Result:
        """Find what a name stands for.

        Raises:
            RequestError: Nothing has that name; the sentence lists what has.
            MissingPartitionError: It names a partition that nobody has made yet.
        """
        if "@" in name:
            return self._model(name)
        if "/" in name:
            return self._partition(name)
        if COMMIT.match(name):
            return self._commit(name)
        raise RequestError(
            f"{name!r} names no result: use an asset with its partition "
            "(flight_delay/model:2013-12|JFK), a model's version or alias "
            "(flight_delay.JFK@3, flight_delay.JFK@champion), or a commit."
        )

    @cached_property
    def _head(self) -> Snapshot:
        return self.lake.snapshot()

    def _partition(self, name: str) -> Result:
        from dagster import AssetKey

        from mlops_assets.components.publishing import lake_partition, partition_key, table_name

        asset, parted, wanted = name.partition(":")
        key = AssetKey(asset.split("/"))
        if not self.graph.has(key):
            known = [table_name(key) for key in self.graph.get_all_asset_keys()]
            alike = get_close_matches(asset, known, n=len(known), cutoff=0)
            raise RequestError(f"there is no asset {asset!r}: there are {_listed(alike)}.")
        definition = self.graph.get(key).partitions_def
        if definition is None and parted:
            raise RequestError(f"{asset} has no partitions: leave out {':' + wanted!r}.")
        if definition is not None and wanted not in definition.get_partition_keys():
            stored = reversed(list(self._head.stored(asset)))
            made = [str(partition_key(definition, found)) for found in stored]
            fault = f"has no partition {wanted!r}" if parted else "has partitions, and one is meant"
            raise RequestError(f"{asset} {fault}: made are {_listed(made)}.")
        partition = TablePartition(asset, lake_partition(definition, wanted or None))
        return self._made(name, self._head, partition)

    def _model(self, name: str) -> Result:
        model, _, version = name.partition("@")
        problem, segment = self.segment(model)
        if version == CHAMPION:
            pin = results.champions(self._head, problem).get(segment)
            if pin is None:
                raise RequestError(
                    f"{model} has no champion yet: materialize {problem}/{CHAMPION}."
                )
        elif version.isdecimal():
            pin = self.registered(model, int(version))
        else:
            raise RequestError(
                f"{model} has no alias {version!r}: use @{CHAMPION}, or a version's number."
            )
        held = results.held_model(self._head, problem, pin)
        return Result(name, held.commit, held.pin, (held.key,))

    def segment(self, model: str) -> tuple[str, str]:
        """Problem and segment of a registered model, by its name.

        Raises:
            RequestError: There is none of that name.
        """
        if model not in self._segments:
            raise RequestError(
                f"there is no model {model!r}: there are {_listed(sorted(self._segments))}."
            )
        return self._segments[model]

    @cached_property
    def _segments(self) -> Mapping[str, tuple[str, str]]:
        """Problem and segment of each registered model, by its name."""
        from dagster import MultiPartitionsDefinition

        from mlops_assets.components.publishing import lake_partition, table_partition

        places = [
            results.Place.of(table_partition(key, lake_partition(definition, partition)))
            for key in self.graph.get_all_asset_keys()
            if key.path[-1] == results.MODEL
            and isinstance(
                definition := self.graph.get(key).partitions_def, MultiPartitionsDefinition
            )
            for partition in definition.get_partition_keys()
        ]
        return {place.registered_model: (place.problem, place.segment) for place in places}

    def _made(self, name: str, state: Snapshot, key: TablePartition) -> Result:
        state.require(key.table, [key.partition])
        commit, pin = makers(self.lake, state.commit, [key])[key]
        return Result(name, commit, pin, (key,))

    def _commit(self, name: str) -> Result:
        """What a commit published; a merge stands for the work commit that it merged."""
        try:
            found = self.lake.commit_info(name)
            if len(found["parents"]) == 2:
                found = self.lake.commit_info(found["parents"][1])
        except UnreachableLakeError:
            raise
        except LakeError as error:
            raise RequestError(
                f"{name!r} is no commit, or begins the names of several: the newest of "
                f"{self.lake.base_branch} are {_listed(self._newest())}."
            ) from error
        keys = changes(self.lake, found["id"])
        if len(found["parents"]) != 1 or not keys:
            raise RequestError(
                f"commit {name} published nothing: the newest of {self.lake.base_branch} are "
                f"{_listed(self._newest())}."
            )
        return Result(name, found["id"], found["parents"][0], tuple(keys))

    def _newest(self) -> list[str]:
        """The newest work commits of the base branch, for people."""
        with self.lake.errors():
            log: Iterable[Any] = self.lake.repo().ref(self.lake.base_branch).log()
            work = (commit for commit in log if len(commit.parents) == 1)
            return [f"{commit.id[:12]} ({commit.message})" for commit in islice(work, NEWEST)]


def open_names(settings: Settings, graph: dg.AssetGraph) -> Names:
    """What can be named in the lake of these settings.

    Raises:
        RequestError: There is no lake yet.
        LakeError: It does not answer or refuses.
    """
    from mlops_assets.defs.resources import find_lake, find_tracking

    lake = find_lake(settings)
    if not lake.exists():
        raise RequestError(f"there is no {lake.repository} yet: `mlops-assets run` makes it.")

    def registered(model: str, version: int) -> ModelPin:
        return find_tracking(settings).version(model, version).model

    return Names(lake, graph, registered)


def _listed(names: list[str]) -> str:
    if not names:
        return "none yet"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
