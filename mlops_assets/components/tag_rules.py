"""What a tag starts: rules, read from a file, and the partitions that they select.

Somebody names a commit in the lake, or tags a model's version in MLflow, and the assets that a rule
allows are made again for the partitions that the tagged thing names. Pure but for reading the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from mlops_assets.components import publishing
from mlops_assets.components.declaration import Declaration
from mlops_assets.lake import LakeError, Partition, TablePartition

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Asset = Annotated[str, Field(pattern=r"^\w+(/\w+)*$")]

Targets = dict[dg.AssetKey, list[str]]
"""The partitions to make, by asset."""


class _Rule(BaseModel):
    """What all rules say."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)

    name: Name
    """The rule's name; part of what tells one start from another."""
    starts: Annotated[tuple[Asset, ...], Field(min_length=1)]
    """The assets that it may start, and no others."""

    @property
    def assets(self) -> list[dg.AssetKey]:
        """Them, as Dagster names them."""
        return [dg.AssetKey(asset.split("/")) for asset in self.starts]


class LakeRule(_Rule):
    """A tag on a commit of the lake: what the commit changed is carried on."""

    source: Literal["lakefs"]
    """Where the tag is made."""
    tag: Annotated[str, Field(min_length=1)]
    """The tag's name; `*` stands for anything."""
    table: Asset
    """The table whose changed partitions count."""
    since: Literal["commit", "tag"] = "commit"
    """What counts as changed: by the newest commit up to the tagged one that changed the table, or
    since the tag of this rule before it."""


class ModelRule(_Rule):
    """A tag on a registered model's version: what is made of that model is made again."""

    source: Literal["mlflow"]
    """Where the tag is set."""
    model: Annotated[str, Field(min_length=1)]
    """The registered model's name; `*` stands for anything."""
    key: Annotated[str, Field(pattern=r"^[\w. -]+$")]
    """The tag's key."""
    value: Annotated[str, Field(min_length=1)]
    """The tag's value; `*` stands for anything."""


Rule = Annotated[LakeRule | ModelRule, Field(discriminator="source")]


class TagRules(BaseModel):
    """The file of rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: tuple[Rule, ...]

    _declaration: Declaration = PrivateAttr(default_factory=Declaration)

    @classmethod
    def read(cls, file: Path, root: Path) -> Self:
        """The rules of a file.

        Args:
            file: It.
            root: The folder that mistakes name it relative to.

        Raises:
            dagster.DagsterInvalidDefinitionError: A mistake; the sentence names file and line.
        """
        from dagster_shared.yaml_utils import parse_yaml_with_source_position

        tree = parse_yaml_with_source_position(file.read_text(), str(file))
        declaration = Declaration(tree.source_position_tree, root, below=())
        try:
            found = cls.model_validate(tree.value)
        except ValidationError as error:
            first = error.errors()[0]
            path = [part for part in first["loc"] if part not in ("lakefs", "mlflow")]
            told = (
                "there is no such field"
                if first["type"] == "extra_forbidden"
                else first["msg"].removeprefix("Value error, ")
            )
            shown = ".".join(map(str, path))
            raise declaration.mistake(path, f"{shown}: {told}.") from error
        found._declaration = declaration  # noqa: SLF001 - its own
        names: set[str] = set()
        for place, rule in enumerate(found.rules):
            if rule.name in names:
                raise declaration.mistake(
                    ["rules", place, "name"], f"there are two rules {rule.name!r}: rename one."
                )
            names.add(rule.name)
        return found

    def check(self, graph: dg.AssetGraph) -> None:
        """Refuse rules that name what does not exist, or what does not follow from their table.

        Raises:
            dagster.DagsterInvalidDefinitionError: A mistake; the sentence names file and line.
        """
        known = {key.to_user_string() for key in graph.materializable_asset_keys}
        for place, rule in enumerate(self.rules):
            for position, asset in enumerate(rule.starts):
                self._declaration.require(
                    ["rules", place, "starts", position], "asset", asset, known
                )
            if not isinstance(rule, LakeRule):
                continue
            self._declaration.require(["rules", place, "table"], "asset", rule.table, known)
            reached = {dg.AssetKey(rule.table.split("/"))}
            for asset_key in _in_order(graph, rule.assets):
                if graph.get(asset_key).parent_keys & reached:
                    reached.add(asset_key)
            for position, asset_key in enumerate(rule.assets):
                if asset_key not in reached:
                    raise self._declaration.mistake(
                        ["rules", place, "starts", position],
                        f"{rule.starts[position]} is not made of {rule.table}, nor of what the "
                        "rule starts before it: name what lies between, or leave it out.",
                    )


@dataclass(frozen=True)
class Selected:
    """What a tag selects.

    Attributes:
        targets: The partitions to make, by asset.
        unknown: What it named that is no partition of any asset, for people.
    """

    targets: Targets
    unknown: tuple[str, ...] = ()


def matching(rules: Iterable[Rule], tag: str) -> list[LakeRule]:
    """The rules for a tag on a commit."""
    return [rule for rule in rules if isinstance(rule, LakeRule) and fnmatchcase(tag, rule.tag)]


def matching_version(rules: Iterable[Rule], model: str, tags: Mapping[str, str]) -> list[ModelRule]:
    """The rules for the tags of a registered model's version."""
    return [
        rule
        for rule in rules
        if isinstance(rule, ModelRule)
        and fnmatchcase(model, rule.model)
        and fnmatchcase(tags.get(rule.key, ""), rule.value)
    ]


def carried_on(graph: dg.AssetGraph, rule: LakeRule, changed: Sequence[TablePartition]) -> Selected:
    """The partitions of a rule's assets that follow from what a commit changed of its table.

    Only along the assets of the rule: what lies between others is made by whoever makes it.

    Args:
        graph: What exists.
        rule: The rule.
        changed: The partitions that the commit changed, of any table.
    """
    table = dg.AssetKey(rule.table.split("/"))
    known, unknown = _known(
        graph, table, [key.partition for key in changed if key.table == rule.table]
    )
    reached: Targets = {table: known}
    for asset in _in_order(graph, rule.assets):
        keys: set[str] = set()
        for parent in graph.get(asset).parent_keys & reached.keys() - {asset}:
            keys |= _downstream(graph, parent, asset, reached[parent])
        if keys:
            reached[asset] = sorted(keys)
    wanted = set(rule.assets)
    return Selected({key: keys for key, keys in reached.items() if key in wanted and keys}, unknown)


def of_version(graph: dg.AssetGraph, rule: ModelRule, partition: str) -> Selected:
    """The partitions of a rule's assets that a model's version names.

    Args:
        graph: What exists.
        rule: The rule.
        partition: The partition of the version's model, as its path in the lake.
    """
    targets: Targets = {}
    unknown: list[str] = []
    try:
        named = Partition.from_path(partition)
    except LakeError:
        # Anybody can write the tag that says so: no reason to start nothing else.
        return Selected({}, (repr(partition),))
    for asset in rule.assets:
        known, others = _known(graph, asset, [named])
        if known:
            targets[asset] = known
        unknown += others
    return Selected(targets, tuple(unknown))


def _known(
    graph: dg.AssetGraph, asset: dg.AssetKey, partitions: Iterable[Partition]
) -> tuple[list[str], tuple[str, ...]]:
    """The keys of partitions of the lake, and which of them an asset does not have."""
    definition = graph.get(asset).partitions_def
    found, unknown = [], []
    for partition in partitions:
        key = _key(definition, partition)
        if definition is None or key is None or not definition.has_partition_key(key):
            unknown.append(f"{asset.to_user_string()} {partition}")
        else:
            found.append(key)
    return found, tuple(unknown)


def _key(definition: dg.PartitionsDefinition[str] | None, partition: Partition) -> str | None:
    """The key, where the partition has the dimensions of the definition."""
    try:
        key = publishing.partition_key(definition, partition)
        same = publishing.lake_partition(definition, key) == partition
    except (ValueError, KeyError, LakeError, dg.DagsterError):
        return None
    return key if same else None


def _downstream(
    graph: dg.AssetGraph, parent: dg.AssetKey, asset: dg.AssetKey, keys: Sequence[str]
) -> set[str]:
    upstream, downstream = graph.get(parent).partitions_def, graph.get(asset).partitions_def
    if upstream is None or downstream is None:
        return set()
    mapping = graph.get_partition_mapping(asset, parent)
    found = mapping.get_downstream_partitions_for_partitions(
        upstream.subset_with_partition_keys(keys), upstream, downstream
    )
    return set(found.get_partition_keys())


def _in_order(graph: dg.AssetGraph, assets: Sequence[dg.AssetKey]) -> list[dg.AssetKey]:
    return [key for key in graph.toposorted_asset_keys if key in assets]
