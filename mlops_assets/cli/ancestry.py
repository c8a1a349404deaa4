"""What a result was made from, all the way up to the raw files: which partitions of which asset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

from mlops_assets.cli.asset_partitions import Keys, asset_keys, mapped, place_of, step_name
from mlops_assets.cli.rebuild import Step
from mlops_assets.lake import TablePartition, makers

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.components.provenance import Provenance
    from mlops_assets.lake import Snapshot


class Ancestry:
    """The steps upstream of results, as Dagster maps partitions and as commits record inputs.

    The mappings say what a step may read and the records what it did; a partition that neither
    existed then nor was read is left out.

    Args:
        graph: The assets.
        state: The state of the lake that holds the results, and all that they were made from.
    """

    def __init__(self, graph: dg.AssetGraph, state: Snapshot) -> None:
        self._graph = graph
        self._state = state
        self._existing: dict[dg.AssetKey, Keys] = {}
        self._provenances: dict[str, tuple[Provenance, Snapshot]] = {}

    def steps(self, results: Iterable[TablePartition]) -> list[Step]:
        """The steps that make results from nothing but the raw files, in order."""
        needs: dict[dg.AssetKey, Keys] = {}
        for asset, key in asset_keys(self._graph, results):
            needs.setdefault(asset, set()).add(key)
        # Each step adds to `needs`, which the ones before it are looked up in.
        found = [
            self._step(name, members, needs)
            for name in reversed(self._step_order)
            if (members := self._members[name] & needs.keys())
        ]
        return found[::-1]

    def _step(self, name: str, members: set[dg.AssetKey], needs: dict[dg.AssetKey, Keys]) -> Step:
        """Add to `needs` what one step reads of others.

        All assets of the step are made for the same partitions, whichever of them asks for one.
        """
        keys: Keys = set().union(*(needs[asset] for asset in members))
        configs: dict[str | None, Any] = {}
        done: set[tuple[dg.AssetKey, str | None]] = set()
        while ahead := {(asset, key) for asset in members for key in keys} - done:
            done |= ahead
            for parent, parent_keys in self._read(ahead, name, configs).items():
                if parent in self._members[name]:
                    members = members | {parent}
                    keys |= parent_keys
                else:
                    needs.setdefault(parent, set()).update(parent_keys)
        definition = self._graph.get(next(iter(members))).partitions_def
        known = [None] if definition is None else definition.get_partition_keys()
        assets = [key for key in self._graph.toposorted_asset_keys if key in members]
        return Step(name, assets, [key for key in known if key in keys], configs)

    def _read(
        self,
        results: set[tuple[dg.AssetKey, str | None]],
        step: str,
        configs: dict[str | None, Any],
    ) -> dict[dg.AssetKey, Keys]:
        """What results of one step read, and what it was configured with to make them."""
        by_asset: dict[dg.AssetKey, Keys] = {}
        for asset, key in results:
            by_asset.setdefault(asset, set()).add(key)
        found: dict[dg.AssetKey, Keys] = {}
        for asset, keys in by_asset.items():
            for parent in self._graph.get(asset).parent_keys:
                may_read = mapped(self._graph, asset, parent, keys)
                found.setdefault(parent, set()).update(may_read & self._existing_keys(parent))
            for key, commit in self._made(asset, keys):
                provenance, pin = self._provenance(commit)
                if step in provenance.config:
                    configs[key] = provenance.config[step]
                path = place_of(self._graph, asset, key).partition.path
                for read in provenance.inputs.get(path, ()):
                    places = [place for place, _ in read.found_at(pin) or []]
                    for parent, parent_key in asset_keys(self._graph, places):
                        found.setdefault(parent, set()).add(parent_key)
        return {parent: keys for parent, keys in found.items() if keys}

    def _existing_keys(self, asset: dg.AssetKey) -> Keys:
        """The partitions of an asset that the state holds."""
        from mlops_assets.components.publishing import partition_key, table_name

        if asset not in self._existing:
            definition = self._graph.get(asset).partitions_def
            self._existing[asset] = {
                partition_key(definition, partition)
                for partition in self._state.stored(table_name(asset))
            }
        return self._existing[asset]

    def _made(self, asset: dg.AssetKey, keys: Keys) -> list[tuple[str | None, str]]:
        """The work commit that made each partition that the state holds."""
        made = keys & self._existing_keys(asset)
        places = {place_of(self._graph, asset, key): key for key in made}
        found = makers(self._state.lake, self._state.commit, places)
        return [(places[place], commit) for place, (commit, _) in sorted(found.items())]

    def _provenance(self, commit: str) -> tuple[Provenance, Snapshot]:
        from mlops_assets.components.provenance import Provenance

        if commit not in self._provenances:
            found = self._state.lake.commit_info(commit)
            pin = self._state.lake.snapshot(found["parents"][0])
            self._provenances[commit] = Provenance.of(found["metadata"]), pin
        return self._provenances[commit]

    @cached_property
    def _members(self) -> Mapping[str, set[dg.AssetKey]]:
        """The assets of each step."""
        found: dict[str, set[dg.AssetKey]] = {}
        for key in self._graph.get_all_asset_keys():
            found.setdefault(step_name(self._graph, key), set()).add(key)
        return found

    @cached_property
    def _step_order(self) -> list[str]:
        """All steps, each after those that it reads."""
        step_of = {key: name for name, keys in self._members.items() for key in keys}
        upstream = {
            name: sorted(
                {step_of[parent] for key in keys for parent in self._graph.get(key).parent_keys}
                - {name}
            )
            for name, keys in sorted(self._members.items())
        }
        return list(TopologicalSorter(upstream).static_order())
