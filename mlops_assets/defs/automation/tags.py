"""The sensor that starts what a tag selects, in the lake or in MLflow."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

import dagster as dg

from mlops_assets.components import backfills
from mlops_assets.components.backoff import RED_AFTER, Backoff
from mlops_assets.components.tag_rules import (
    LakeRule,
    ModelRule,
    Selected,
    TagRules,
    carried_on,
    matching,
    matching_version,
    of_version,
)
from mlops_assets.defs.automation.run_tags import started_by
from mlops_assets.defs.resources import find_lake, find_registry
from mlops_assets.lake import (
    Lake,
    LakeError,
    TablePartition,
    changed_between,
    changes,
    newest_change,
)
from mlops_assets.lake.tags import newest_before
from mlops_assets.lake.tags import tags as lake_tags
from mlops_assets.settings import ROOT, settings
from mlops_assets.tracking.connection import TrackingError
from mlops_assets.tracking.versions import TaggedVersion, tagged_versions

RULES = TagRules.read(Path(__file__).with_name("tag_rules.yaml"), ROOT)

TAG = "mlops/tag"


class TagSourceError(Exception):
    """Tags cannot be read; the sentence says since when, why, and when it is tried next."""


@dataclass(frozen=True)
class Source:
    """What is known of the tags of one source.

    Attributes:
        seen: What was looked at, by rule and tag, with what the tag was on.
        backoff: How the source does.
    """

    seen: Mapping[str, str] | None
    backoff: Backoff

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> Self:
        """What a cursor carries; None before the first look."""
        found = document or {}
        return cls(found.get("seen"), Backoff.from_json(found.get("backoff")))

    def to_json(self) -> dict[str, Any]:
        """It, for a cursor."""
        return {"seen": self.seen, "backoff": self.backoff.to_json()}


@dataclass(frozen=True)
class Tagged:
    """A tag for which there is a rule.

    Attributes:
        rule: The rule's name.
        name: The tag, as people call it.
        target: What it is on: moved there, it starts again.
        select: Says what it starts.
    """

    rule: str
    name: str
    target: str
    select: Callable[[], Selected]

    @property
    def key(self) -> str:
        """Names the tag, wherever it is."""
        return f"{self.rule} {self.name}"

    @property
    def backfill(self) -> str:
        """The id of what it starts: a second try to start it finds the first."""
        named = f"{self.key} {self.target}".encode()
        return f"tag-{hashlib.sha256(named).hexdigest()[:16]}"


@dg.sensor(
    name="tags",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Starts what a tag selects: a commit tagged in lakeFS, or a model's version tagged in "
        "MLflow, as defs/automation/tag_rules.yaml says. Each tag starts once; moved to another "
        "commit, again. What was tagged before it was switched on starts nothing."
    ),
)
def tags(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Start what was tagged since the cursor."""
    return tick(context, RULES)


def tick(context: dg.SensorEvaluationContext, rules: TagRules) -> dg.SensorResult:
    """Start what the tags select that are new.

    Raises:
        TagSourceError: A source has been down for a while.
        dagster.DagsterInvalidDefinitionError: A rule names what does not exist.
    """
    graph = cast("dg.RepositoryDefinition", context.repository_def).asset_graph
    rules.check(graph)
    cursor: dict[str, Any] = json.loads(context.cursor or "{}")
    now = time.time()
    readers = {"lakeFS": _of_lake, "MLflow": _of_registry}
    told: list[str] = []
    failing: list[tuple[str, Backoff]] = []
    after: dict[str, Any] = {}
    for name, read in readers.items():
        source = Source.from_json(cursor.get(name))
        if source.backoff.due(now):
            try:
                source = _start_new(context, graph, source, read(rules, graph), told)
            except (LakeError, TrackingError) as error:
                source = replace(source, backoff=source.backoff.failed(now, str(error)))
        if source.backoff.failures:
            failing.append((name, source.backoff))
        after[name] = source.to_json()
    sentences = told + [
        backoff.sentence(f"Reading the tags in {name}") for name, backoff in failing
    ]
    if after == cursor and any(backoff.failures >= RED_AFTER for _, backoff in failing):
        raise TagSourceError(" ".join(sentences))
    return dg.SensorResult(
        skip_reason=" ".join(sentences) or "No new tag.", cursor=json.dumps(after)
    )


def _start_new(
    context: dg.SensorEvaluationContext,
    graph: dg.AssetGraph,
    source: Source,
    found: Sequence[Tagged],
    told: list[str],
) -> Source:
    """Start what was not there at the last look; what has gone since is forgotten."""
    if source.seen is not None:
        new = (tagged for tagged in found if source.seen.get(tagged.key) != tagged.target)
        told.extend(_start(context, graph, tagged) for tagged in new)
    return Source({tagged.key: tagged.target for tagged in found}, Backoff())


def _start(context: dg.SensorEvaluationContext, graph: dg.AssetGraph, tagged: Tagged) -> str:
    """Start what a tag selects, unless that was done; what came of it, for people."""
    selected = tagged.select()
    unknown = f" Not known here: {', '.join(selected.unknown[:5])}." if selected.unknown else ""
    if not selected.targets:
        told = f"{tagged.name} starts nothing: it selects no partition of the rule {tagged.rule}."
        # The tick is a green skip and the tag is not looked at again: who made it is to find this.
        context.log.warning(f"{told}{unknown}")
        return f"{told}{unknown}"
    instance = context.instance
    if instance.get_backfill(tagged.backfill) is None:
        backfills.add(
            instance,
            graph,
            selected.targets,
            {**started_by("tags"), TAG: tagged.name},
            name=tagged.backfill,
            title=f"{tagged.rule}: {tagged.name}",
        )
    counts = ", ".join(
        f"{asset.to_user_string()} ({len(keys)})" for asset, keys in selected.targets.items()
    )
    return f"{tagged.name} starts {counts} as backfill {tagged.backfill}.{unknown}"


def _of_lake(rules: TagRules, graph: dg.AssetGraph) -> list[Tagged]:
    """The tags on commits for which there is a rule."""
    if not any(isinstance(rule, LakeRule) for rule in rules.rules):
        return []
    lake = find_lake(settings())
    named = lake_tags(lake)

    def tagged(rule: LakeRule, tag: str, commit: str) -> Tagged:
        def select() -> Selected:
            return carried_on(graph, rule, _changed(lake, rule, tag, named))

        return Tagged(rule.name, tag, commit, select)

    return [
        tagged(rule, tag, commit)
        for tag, commit in named.items()
        for rule in matching(rules.rules, tag)
    ]


def _changed(
    lake: Lake, rule: LakeRule, tag: str, named: Mapping[str, str]
) -> list[TablePartition]:
    """The partitions, of whatever table, that a tag says were changed."""
    tagged = named[tag]
    if rule.since == "commit":
        # Who tags the base branch means the last change of the table. Its head is soon a commit of
        # what was made of that, in which the table is as it was.
        changed = newest_change(lake, tagged, rule.table)
        return changes(lake, changed) if changed else []
    others = {at for other, at in named.items() if other != tag and matching([rule], other)}
    return changed_between(lake, newest_before(lake, tagged, others - {tagged}), tagged)


def _of_registry(rules: TagRules, graph: dg.AssetGraph) -> list[Tagged]:
    """The tags on versions of models for which there is a rule."""
    keys = {rule.key for rule in rules.rules if not isinstance(rule, LakeRule)}
    registry = find_registry(settings())
    if not keys or not registry.exists:
        return []

    def tagged(rule: ModelRule, version: TaggedVersion) -> Tagged:
        name = f"{version.name}@{version.number}"

        def select() -> Selected:
            if version.partition is None:
                return Selected({}, (f"{name}, which does not come from the lake",))
            return of_version(graph, rule, version.partition)

        value = version.tags[rule.key]
        return Tagged(rule.name, f"{name} {rule.key}={value}", value, select)

    return [
        tagged(rule, version)
        for version in tagged_versions(registry, keys)
        for rule in matching_version(rules.rules, version.name, version.tags)
    ]
