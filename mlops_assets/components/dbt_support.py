"""What of a dbt project cannot be built here, refused when the definitions load.

A build knows views of pinned partitions and the files that its models write of them. Whatever
carries state from one build to the next, or brings rows or code that no commit names, would be
published as something that it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from mlops_assets.components.dbt_code_version import called, own_macros

REFUSED_KINDS = {
    "seed": "load its rows as a raw table",
    "snapshot": "the lake keeps every version: read an earlier commit instead",
    "function": "write it as a macro",
}
# Code and data that come from elsewhere, and that no commit would name.
REFUSED_OF_SOURCES = ("external_location", "plugin")
REFUSED_OUTPUTS = ("attach", "filesystems", "flights", "module_paths", "plugins", "remote")


def refuse_unsupported(manifest: Mapping[str, Any], project: Path, name: str) -> None:
    """Refuse a project with anything that cannot be built here.

    Args:
        manifest: The content of its `manifest.json`.
        project: The folder with its files.
        name: Its folder's name, for people.

    Raises:
        dagster.DagsterInvalidDefinitionError: It has; the sentence names the first.
    """
    for sentence in (
        *_nodes(manifest),
        *_tests(manifest),
        *_sources(manifest),
        *_profiles(project),
    ):
        raise dg.DagsterInvalidDefinitionError(f"{name}/{sentence}")


def _nodes(manifest: Mapping[str, Any]) -> Iterator[str]:
    own = {called(macro["name"], manifest) for macro in own_macros(manifest).values()}
    nodes = {**manifest["nodes"], **manifest.get("functions", {})}
    for _, node in sorted(nodes.items()):
        kind, place = node["resource_type"], node["original_file_path"]
        if kind in REFUSED_KINDS:
            yield (
                f"{place}: the {kind} {node['name']} is not supported; {REFUSED_KINDS[kind]}, or "
                f"disable it in dbt_project.yml."
            )
        if kind != "model":
            continue
        materialized = node["config"]["materialized"]
        if node.get("language", "sql") != "sql":
            yield f"{place}: the model {node['name']} is not SQL; write it in SQL, or disable it."
        if materialized != "ephemeral" and f"materialization_{materialized}" not in own:
            yield (
                f"{place}: the model {node['name']} is materialized as {materialized!r}, which "
                "writes no partition of the lake; materialize it as 'lake_table', as 'ephemeral' "
                "if it is only a step on the way, or disable it in dbt_project.yml."
            )
        if node["alias"] != node["name"]:
            yield (
                f"{place}: the model {node['name']} has the alias or version {node['alias']}, and "
                "a table of the lake is named as its model; remove it, and rename the model."
            )
        if node["config"].get("contract", {}).get("enforced"):
            yield (
                f"{place}: the contract of the model {node['name']} would not be enforced; remove "
                "it, and declare tests of its columns."
            )


def _tests(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Tests that no build runs: it runs those of the models that it materializes."""
    nodes = manifest["nodes"]
    built = {
        name
        for name, node in nodes.items()
        if node["resource_type"] == "model" and node["config"]["materialized"] != "ephemeral"
    }
    for _, node in sorted(nodes.items()):
        if node["resource_type"] == "test" and built.isdisjoint(node["depends_on"]["nodes"]):
            yield (
                f"{node['original_file_path']}: no build would run the test {node['name']}, since "
                "it reads no model that is materialized; test a model that reads what it reads, or "
                "disable it."
            )


def _sources(manifest: Mapping[str, Any]) -> Iterator[str]:
    for _, source in sorted(manifest["sources"].items()):
        if source["identifier"] != source["name"]:
            yield (
                f"{source['original_file_path']}: the source {source['source_name']}."
                f"{source['name']} has the identifier {source['identifier']}, and a table of the "
                "lake has one name; remove it, and rename the source."
            )
        told = {**source.get("meta", {}), **source.get("config", {})}
        told |= told.get("meta") or {}
        for key in REFUSED_OF_SOURCES:
            if told.get(key):
                yield (
                    f"{source['original_file_path']}: {key!r} of the source "
                    f"{source['source_name']}.{source['name']} is not supported, since no commit "
                    "would name what it brings; remove it, and read the data as a raw table."
                )


def _profiles(project: Path) -> Iterator[str]:
    import yaml

    for name, profile in yaml.safe_load((project / "profiles.yml").read_text()).items():
        for target, output in profile.get("outputs", {}).items():
            for key in REFUSED_OUTPUTS:
                if output.get(key):
                    yield (
                        f"profiles.yml: {key!r} of {name}.{target} is not supported, since no "
                        "commit would name what it brings; remove it, and read the data as a raw "
                        "table."
                    )
