"""How dbt models are named, described and connected as assets."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtProject
from dagster_dbt.asset_utils import get_upstream_unique_ids

from mlops_assets.components import younger
from mlops_assets.components.dbt_code_version import ProjectCode


class WarehouseTranslator(DagsterDbtTranslator):
    """Names and describes models as the rest of the house does.

    Args:
        owner: Who owns a model that names no owner.
        code: The project's code.
    """

    def __init__(self, owner: str, code: ProjectCode) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_code_references=True))
        self._owner = owner
        self._code = code
        self.look_backs = _longest_look_backs(code.manifest)

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """Schema and name, for sources and models alike: the table's name in the lake."""
        return dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """The schema: staging, marts or features."""
        return str(dbt_resource_props["schema"])

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str]:
        """The owner that a feature view names, else the warehouse's."""
        return [_feature_view(dbt_resource_props).get("owner", self._owner)]

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The model's description; its SQL is one click away in the code reference."""
        return str(dbt_resource_props.get("description", ""))

    def get_asset_spec(
        self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetSpec:
        """The model's spec, its code version a digest of all the code that makes its rows."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        node = self.get_resource_props(manifest, unique_id)
        if node["resource_type"] != "model":
            return spec
        return spec.replace_attributes(
            code_version=self._code.version(node),
            metadata={**spec.metadata, **younger.metadata(younger.of_dbt(node))},
        )

    def get_partition_mapping(
        self,
        dbt_resource_props: Mapping[str, Any],
        dbt_parent_resource_props: Mapping[str, Any],
    ) -> dg.PartitionMapping | None:
        """A feature view maps to its own day and a look-back; any other model to its own day.

        The look-back is the longest of all views of that parent: Dagster takes one mapping of a
        parent for a whole step. The SQL of each reads its own look-back and no more.
        """
        look_back = 0
        if _feature_view(dbt_resource_props):
            look_back = self.look_backs.get(dbt_parent_resource_props["unique_id"], 0)
        if look_back and "partition_by" in dbt_parent_resource_props.get("config", {}):
            return dg.TimeWindowPartitionMapping(
                start_offset=-look_back, allow_nonexistent_upstream_partitions=True
            )
        return None


def _feature_view(properties: Mapping[str, Any]) -> Mapping[str, Any]:
    view: Mapping[str, Any] = properties.get("config", {}).get("meta", {}).get("feature_view", {})
    return view


def _longest_look_backs(manifest: Mapping[str, Any]) -> dict[str, int]:
    """The longest look-back, in days, that any feature view has on each parent."""
    longest: dict[str, int] = {}
    for node in manifest["nodes"].values():
        look_back = int(_feature_view(node).get("look_back_days", 0))
        for parent in get_upstream_unique_ids(manifest, node):
            longest[parent] = max(look_back, longest.get(parent, 0))
    return longest
