"""Code versions of dbt models: digests of all the code that makes their rows.

dbt's own checksum of a model is that of its text. Half of a history view is a macro, which can lie
in a package; an ephemeral parent is part of its children; hooks, variables and the search order of
macros are the project's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mlops_assets.components.code_version import code_version
from mlops_assets.components.dbt_manifest import declarations

NAME = re.compile(r"[A-Za-z_]\w*")
JINJA = re.compile(r"\{[{%].*?[%}]\}", re.DOTALL)
_WORD = r"""(?:'\w+'|"\w+")\s*"""
_DISPATCHED = rf"dispatch\s*\(\s*{_WORD}(?:,\s*(?:macro_namespace\s*=\s*)?{_WORD})?\)"
_LOOKED_UP = (
    rf"(?:\[\s*{_WORD}\]|\.\s*get\s*\(\s*{_WORD}[,)]|\.\s*(?!(?:get|items|keys|values)\b)\w)"
)
DECLARED = re.compile(r"\bmodel\s*(?:\.\s*|\[\s*['\"])(?:columns|description)\b")
# What the project's `graph` tells of a node; its other fields name files and times.
OF_GRAPH = ("raw_code", "columns", "config", "depends_on", "description", "name", "schema", "tags")

OF_WRITTEN_ROWS = ("materialized", "partition_by", "unique_key")
# Descriptions, names (they name the asset), and what only refused materializations look at.
OF_NO_ROWS = {
    *("access", "contract", "docs", "grants", "group", "persist_docs", "static_analysis", "tags"),
    *("alias", "database", "enabled", "schema"),
    *("batch_size", "begin", "concurrent_batches", "event_time", "freshness", "full_refresh"),
    *("incremental_strategy", "lookback", "on_configuration_change", "on_schema_change"),
}
OF_REPORTING = {"send_anonymous_usage_stats", "version_check"}


@dataclass(frozen=True)
class ProjectCode:
    """The code of one dbt project.

    Attributes:
        manifest: The content of its `manifest.json`.
        profiles: The text of `profiles.yml`, whose settings change the bytes that models write.
        settings: What `dbt_project.yml` settles for all models, of each package that does.
    """

    manifest: Mapping[str, Any]
    profiles: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: Mapping[str, Any], project: Path) -> ProjectCode:
        """Read what the manifest does not hold from the project's files."""
        return cls(manifest, (project / "profiles.yml").read_text(), _settings(project))

    def version(self, model: Mapping[str, Any]) -> str:
        """The code version of a model."""
        parents = self._ephemeral_parents(model)
        hooks = [
            node["raw_code"]
            for _, node in sorted(self.manifest["nodes"].items())
            if node["resource_type"] == "operation"
        ]
        makers = [model, *parents]
        macros = [self._own[name]["macro_sql"] for name in sorted(self._macros(makers, hooks))]
        config, view = model["config"], model["config"].get("meta", {}).get("feature_view", {})
        # What hardly any project has counts only where there is some, so that a model without it
        # keeps the code version that it was published under.
        rare = {
            "parents": [(parent["raw_code"], _rare_config(parent)) for parent in parents],
            "config": _rare_config(model),
            "hooks": hooks,
            "settings": dict(self.settings),
            "read": self._read([*(node["raw_code"] for node in makers), *macros, *hooks], makers),
        }
        beside = {name: value for name, value in rare.items() if value}
        return code_version(
            declared=(
                model["raw_code"],
                {key: config.get(key) for key in OF_WRITTEN_ROWS},
                # The look-back that a view declares is the window of the rows that it reads.
                sorted(view.items()),
                macros,
                self.profiles,
                *([beside] if beside else []),
            )
        )

    def _read(self, texts: Iterable[str], makers: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
        """The declarations that Jinja reads: of the model itself, or of the whole project."""
        code = " ".join(" ".join(JINJA.findall(text)) for text in texts)
        read: dict[str, Any] = {}
        if DECLARED.search(code):
            read["models"] = [(node["columns"], node.get("description")) for node in makers]
        if re.search(r"\bgraph\b", code):
            nodes = {**self.manifest["nodes"], **self.manifest["sources"]}
            read["graph"] = [
                (name, [node.get(field) for field in OF_GRAPH])
                for name, node in sorted(nodes.items())
            ]
        return read

    def _ephemeral_parents(self, model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The models whose SQL dbt puts into the model's own, nearest first."""
        found: dict[str, Mapping[str, Any]] = {}
        wanted = list(model["depends_on"]["nodes"])
        while wanted:
            name = wanted.pop(0)
            node = self.manifest["nodes"].get(name)
            if node and name not in found and node["config"].get("materialized") == "ephemeral":
                found[name] = node
                wanted += node["depends_on"]["nodes"]
        return list(found.values())

    def _macros(self, makers: Iterable[Mapping[str, Any]], hooks: Iterable[str]) -> set[str]:
        """The macros of the project and its packages that take part in making rows.

        dbt lists what a text calls by a plain name. A macro that is called by a text (dispatched,
        or looked up in `context`), a materialization, and what stands in for a macro of dbt's own
        it lists nowhere: so whatever a text names counts as called, and every macro where a text
        puts the name together.
        """
        wanted = list(self._overrides)
        for text in hooks:
            wanted += self._named_in(text)
        for node in makers:
            config = node["config"]
            wanted += node["depends_on"]["macros"]
            wanted += self._named_in(node["raw_code"])
            for hook in (*config.get("pre-hook", ()), *config.get("post-hook", ())):
                wanted += self._named_in(hook["sql"])
            wanted += self._by_name.get(f"materialization_{config['materialized']}", ())
        seen: set[str] = set()
        while wanted:
            name = wanted.pop()
            macro = self.manifest["macros"].get(name)
            if name in seen or macro is None:
                continue
            seen.add(name)
            wanted += macro["depends_on"]["macros"]
            if name in self._own:
                wanted += self._named_in(macro["macro_sql"])
        return seen & self._own.keys()

    def _named_in(self, text: str) -> Iterator[str]:
        if self._made_up.search(" ".join(JINJA.findall(text))):
            yield from self._own
        for name in set(NAME.findall(text)):
            yield from self._by_name.get(name, ())

    @cached_property
    def _made_up(self) -> re.Pattern[str]:
        """Matches Jinja that may call a macro by a name that is not written in it."""
        packages = sorted({re.escape(macro["package_name"]) for macro in self._own.values()})
        looked_in = "|".join(["context", *packages])
        return re.compile(
            rf"\brender\b|\b(?!{_DISPATCHED})dispatch\b"
            rf"|(?<!['\"])\b(?:{looked_in})\b(?!['\"]|\s*{_LOOKED_UP})"
        )

    @cached_property
    def _own(self) -> dict[str, Mapping[str, Any]]:
        return own_macros(self.manifest)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """The project's macros by what a call names them: a dispatched one has a name of two."""
        found: dict[str, list[str]] = {}
        for unique_id, macro in self._own.items():
            for name in {macro["name"], self._called(macro["name"])}:
                found.setdefault(name, []).append(unique_id)
        return found

    def _called(self, name: str) -> str:
        return called(name, self.manifest)

    @cached_property
    def _overrides(self) -> list[str]:
        """What the project puts in the place of dbt's own macros, whoever calls them."""
        shipped = {
            self._called(macro["name"])
            for name, macro in self.manifest["macros"].items()
            if name not in self._own
        }
        return [
            unique_id
            for unique_id, macro in self._own.items()
            if (called := self._called(macro["name"])) in shipped
            and not called.startswith(("test_", "materialization_"))
            # These decide what a model is called, and the asset is called so.
            and not re.fullmatch("generate_(schema|alias|database)_name", called)
        ]


def own_macros(manifest: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """All macros but those of dbt and its adapter, whose versions the environment records."""
    shipped = {"dbt", f"dbt_{manifest['metadata']['adapter_type']}"}
    macros = manifest["macros"].items()
    return {name: macro for name, macro in macros if macro["package_name"] not in shipped}


def called(name: str, manifest: Mapping[str, Any]) -> str:
    """What a call names a macro, which may be one adapter's form of what is called."""
    adapter = manifest["metadata"]["adapter_type"]
    if name.startswith("materialization_"):
        return name.removesuffix(f"_{adapter}").removesuffix("_default")
    return name.removeprefix(f"{adapter}__").removeprefix("default__")


def _rare_config(model: Mapping[str, Any]) -> dict[str, Any]:
    config = model["config"]
    found = {
        name: value
        for name, value in sorted(config.items())
        if name not in {*OF_NO_ROWS, *OF_WRITTEN_ROWS, "meta"} and value
    }
    meta = {name: it for name, it in config.get("meta", {}).items() if name != "feature_view"}
    return {**found, **({"meta": meta} if meta else {})}


def _settings(project: Path) -> dict[str, Any]:
    """Variables, macros' search order and switches of behaviour, by package."""
    found = {}
    for file, declared in declarations(project):
        flags = declared.get("flags") or {}
        settled = {
            "vars": declared.get("vars"),
            "dispatch": declared.get("dispatch"),
            "quoting": declared.get("quoting"),
            "flags": {name: flags[name] for name in sorted(flags.keys() - OF_REPORTING)},
        }
        settled = {name: value for name, value in settled.items() if value}
        if settled:
            found[file] = settled
    return found
