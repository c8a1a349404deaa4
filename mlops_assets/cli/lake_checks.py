"""Checks of the lake, and of what Dagster and MLflow show against it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mlops_assets.cli.check import Check, passed, problem
from mlops_assets.cli.record import opened_record
from mlops_assets.cli.watch import COMMIT
from mlops_assets.lake import (
    Lake,
    LakeError,
    Snapshot,
    StoredPartition,
    UnreachableLakeError,
    Unreadable,
    find_file,
)
from mlops_assets.lake.snapshot import FILES_AT_ONCE

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.settings import Settings
    from mlops_assets.tracking.projection import Tracking

SAMPLE = 20

T = TypeVar("T")


def server(lake: Lake) -> Check:
    """Whether the server answers and takes our key."""
    with lake.errors():
        version = lake.client.version
    return passed("lake", f"lakeFS {version} answers at {lake.credentials.endpoint}.")


def protection(lake: Lake) -> Check:
    """Whether the base branch is there, and nothing but a merge can change it."""
    head = lake.head()
    with lake.errors():
        api = lake.client.sdk_client.repositories_api
        rules = api.get_branch_protection_rules(lake.repository)
    if lake.base_branch not in {rule.pattern for rule in rules}:
        return problem(
            "branch",
            f"{lake.base_branch} of {lake.repository} is not protected: it can be written past "
            "the audits.",
            "run `mlops-assets run`, which protects it, or add a protection rule on the server.",
        )
    return passed(
        "branch", f"{lake.base_branch} of {lake.repository} is protected, at {head[:12]}."
    )


@dataclass(frozen=True)
class Fault:
    """A partition that readers would be refused.

    Attributes:
        state: The state of the lake that holds it.
        part: The partition, or that its manifest cannot be read.
        files: What is wrong with its files, by name.
    """

    state: Snapshot
    part: StoredPartition | Unreadable
    files: Mapping[str, str]

    @property
    def sentence(self) -> str:
        """The first thing that is wrong."""
        if isinstance(self.part, Unreadable):
            return self.part.sentence
        return next(iter(self.files.values()))


@dataclass(frozen=True)
class Survey:
    """What a look at the tables found.

    Attributes:
        partitions: How many there are.
        read: Of how many the bytes were read.
        faults: What is wrong.
    """

    partitions: int
    read: int
    faults: Sequence[Fault]


def survey(lake: Lake, *, deep: bool) -> Survey:
    """Look at every manifest of the base branch, and whether what it lists is there.

    The bytes of a sample, or of all with `deep`, are compared with their SHA-256. Models that only
    older commits hold and that a champion or a deployment names are among all.
    """
    snapshot = lake.snapshot()
    found = list(snapshot.listed())
    faults = [Fault(snapshot, part, {}) for part in found if isinstance(part, Unreadable)]
    parts = [part for part in found if isinstance(part, StoredPartition)]
    held = [(snapshot, part) for part in parts]
    if deep:
        held += list(_in_force(snapshot, parts))
    looked_at = set(sample(range(len(held)), len(held) if deep else SAMPLE))
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        bad = pool.map(
            lambda at: held[at][0].faults(held[at][1], hashed=at in looked_at), range(len(held))
        )
        faults += [Fault(*one, files) for one, files in zip(held, bad, strict=True) if files]
    return Survey(len(found), len(looked_at), faults)


def _in_force(
    snapshot: Snapshot, parts: Iterable[StoredPartition]
) -> Iterator[tuple[Snapshot, StoredPartition]]:
    """Models that a champion or a deployment names, where the partition has another one now."""
    from mlops_assets.tracking.results import named_models

    held = {(part.key, file.sha256) for part in parts for file in part.manifest.files}
    for key, name, sha256 in named_models(snapshot, parts):
        if (key, sha256) not in held:
            try:
                state = find_file(snapshot, key, name, sha256)
            except UnreachableLakeError:
                raise
            except LakeError:
                continue  # what was never held is not damaged: whoever names it is wrong
            for part in state.listed(key.table, [key.partition]):
                if isinstance(part, StoredPartition):
                    yield state, part


def tables(lake: Lake, *, deep: bool) -> Check:
    """Whether every manifest can be read and every file that it lists is there, whole."""
    found = survey(lake, deep=deep)
    if found.faults:
        more = f" ({len(found.faults) - 1} more like it)" if len(found.faults) > 1 else ""
        return problem(
            "tables",
            f"{found.faults[0].sentence}{more}",
            "run `mlops-assets doctor --repair`, which says what it cannot repair.",
        )
    return passed(
        "tables",
        f"{found.partitions} partitions, each with its files; the bytes of {found.read} read.",
    )


def sample(names: Sequence[T], size: int) -> list[T]:
    """At most so many of them, evenly spread: the same ones each time."""
    if len(names) <= size:
        return list(names)
    return [names[index * len(names) // size] for index in range(size)]


def record(lake: Lake, settings: Settings, *, deep: bool) -> Check:
    """Whether what Dagster recorded last of each declared asset is on the base branch.

    With `deep`, of each partition of each asset.
    """
    from mlops_assets.definitions import defs

    graph = defs().resolve_asset_graph()
    with lake.errors():
        reachable = {commit.id for commit in lake.repo().ref(lake.base_branch).log()}
    with opened_record(settings) as instance:
        recorded = [
            (key.to_user_string(), *found)
            for key in graph.toposorted_asset_keys
            for found in _recorded(instance, key, deep=deep)
        ]
    elsewhere = [found for found in recorded if found[-1] not in reachable]
    if elsewhere:
        asset, partition, commit = elsewhere[0]
        more = f" ({len(elsewhere) - 1} more like it)" if len(elsewhere) > 1 else ""
        return problem(
            "record",
            f"{' '.join(filter(None, (asset, partition)))} was recorded at commit {commit[:12]}, "
            f"which is not on {lake.base_branch}{more}: the record in {settings.dagster_home} and "
            "the lake are not of the same history.",
            "set DAGSTER_HOME to the record that belongs to this lake, or materialize what the "
            f"lake has lost: `mlops-assets backfill {asset}"
            f"{f' --partitions {shlex.quote(partition)}' if partition else ''}`.",
        )
    return passed(
        "record", f"{len(recorded)} of the latest materializations are on {lake.base_branch}."
    )


def _recorded(
    instance: dg.DagsterInstance, key: dg.AssetKey, *, deep: bool
) -> Iterator[tuple[str | None, str]]:
    """The newest materialization's partition and work commit; of each partition with `deep`."""
    seen: set[str | None] = set()
    cursor = None
    while True:
        page = instance.fetch_materializations(key, limit=1000 if deep else 1, cursor=cursor)
        for entry in page.records:
            found = entry.asset_materialization
            if found is None or found.partition in seen or COMMIT not in found.metadata:
                continue
            seen.add(found.partition)
            yield found.partition, str(found.metadata[COMMIT].value)
        if not (deep and page.has_more):
            return
        cursor = page.cursor


def reconciled(lake: Lake, settings: Settings) -> Check:
    """Whether Dagster's record names all that the base branch holds; what it lacks is recorded."""
    from mlops_assets.components.reconciliation import report, unrecorded
    from mlops_assets.definitions import defs

    graph = defs().resolve_asset_graph()
    with opened_record(settings) as instance:
        found = unrecorded(lake, instance, graph)
        recorded = report(lake, instance, graph, found.partitions)
    left = f" {found.recording} more are left to their runs." if found.recording else ""
    if not recorded:
        return passed("events", f"every partition on {lake.base_branch} is recorded.{left}")
    first = recorded[0]
    what = " ".join(filter(None, [first.asset_key.to_user_string(), first.partition]))
    more = f" and {len(recorded) - 1} more" if len(recorded) > 1 else ""
    return passed(
        "events",
        f"{what}{more} lay on {lake.base_branch} and no event named it: recorded as materialized."
        f"{left}",
    )


def kept_branches(lake: Lake) -> Check:
    """What failed or running steps left for a post-mortem; never a problem."""
    kept = lake.work_branches()
    if not kept:
        return passed("branches", "no work branch is kept.")
    more = f" and {len(kept) - 1} more" if len(kept) > 1 else ""
    return passed("branches", f"{len(kept)} kept or running: {kept[0]}{more}.")


def projection(lake: Lake, tracking: Tracking) -> Check:
    """Whether MLflow shows what the base branch holds; what it lacks is written."""
    filled = tracking.fill_in(lake)
    place = f"the MLflow registry {tracking.registry.shown}"
    if not len(filled):
        return passed("mlflow", f"{place} lacks nothing of {lake.base_branch}.")
    return passed(
        "mlflow",
        f"{place} lacked {len(filled.models)} models, {len(filled.reports)} reports and "
        f"{len(filled.champions)} champions of {lake.base_branch}: written.",
    )
