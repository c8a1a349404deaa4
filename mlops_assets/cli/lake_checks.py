"""Checks of the lake, and of what Dagster and MLflow show against it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mlops_assets.cli.check import Check, passed, problem
from mlops_assets.cli.record import opened_record
from mlops_assets.cli.watch import COMMIT
from mlops_assets.lake import Lake, LakeError, Manifest, TablePartition
from mlops_assets.lake.partition import MANIFEST_NAME
from mlops_assets.lake.snapshot import METADATA_KEY

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.settings import Settings
    from mlops_assets.tracking.projection import Tracking

SAMPLE = 20


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


def tables(lake: Lake, *, deep: bool) -> Check:
    """Whether every manifest can be read and every file that it lists is there, whole.

    All manifests are compared with the listing; the bytes of a sample, or of all with `deep`,
    are read and compared with their SHA-256.
    """
    from lakefs.models import ObjectInfo

    head = lake.head()
    with lake.errors():
        objects = list(lake.repo().ref(head).objects())
    listed = [found for found in objects if isinstance(found, ObjectInfo)]
    sizes = {found.path: found.size_bytes for found in listed}
    manifests: dict[str, Manifest] = {}
    faults: list[str] = []
    for found in listed:
        folder, _, name = found.path.rpartition("/")
        if name != MANIFEST_NAME:
            continue
        try:
            manifests[folder] = Manifest.from_json(
                (found.metadata or {}).get(METADATA_KEY, ""), place=found.path
            )
        except LakeError as error:
            faults.append(str(error))
    for folder, manifest in manifests.items():
        faults += missing_files(folder, manifest, sizes)
    looked_at = sample(sorted(manifests), len(manifests) if deep else SAMPLE)
    if not faults:
        faults = list(_damaged(lake, head, {folder: manifests[folder] for folder in looked_at}))
    if faults:
        more = f" ({len(faults) - 1} more like it)" if len(faults) > 1 else ""
        return problem(
            "tables",
            f"{faults[0]}{more}",
            "restore the store from a backup, or materialize the partition again.",
        )
    return passed(
        "tables",
        f"{len(manifests)} partitions, each with its files; the bytes of {len(looked_at)} read.",
    )


def missing_files(folder: str, manifest: Manifest, sizes: dict[str, int | None]) -> list[str]:
    """What a manifest lists and a listing of the lake lacks, or has in another size."""
    return [
        f"{folder}/{file.name} "
        + (
            "is missing."
            if f"{folder}/{file.name}" not in sizes
            else f"has {sizes[f'{folder}/{file.name}']} bytes where its manifest says {file.size}."
        )
        for file in manifest.files
        if sizes.get(f"{folder}/{file.name}") != file.size
    ]


def sample(names: Sequence[str], size: int) -> list[str]:
    """At most so many names, evenly spread: the same ones each time."""
    if len(names) <= size:
        return list(names)
    return [names[index * len(names) // size] for index in range(size)]


def _damaged(lake: Lake, head: str, manifests: dict[str, Manifest]) -> Iterator[str]:
    snapshot = lake.snapshot(head)
    for folder, manifest in manifests.items():
        key = TablePartition.from_folder(folder)
        for file in manifest.files:
            try:
                content = snapshot.read(key, file.name)
            except (LakeError, OSError) as error:
                yield f"{folder}/{file.name} cannot be read: {error}"
                continue
            if hashlib.sha256(content).hexdigest() != file.sha256:
                yield f"{folder}/{file.name} has other bytes than its manifest says."


def record(lake: Lake, settings: Settings, *, deep: bool) -> Check:
    """Whether what Dagster recorded last of each asset is on the base branch.

    With `deep`, of each partition of each asset.
    """
    with lake.errors():
        reachable = {commit.id for commit in lake.repo().ref(lake.base_branch).log()}
    looked_at = 0
    with opened_record(settings) as instance:
        for key in instance.get_asset_keys():
            for partition, commit in _recorded(instance, key, deep=deep):
                looked_at += 1
                if commit not in reachable:
                    what = f"{key.to_user_string()}{f' {partition}' if partition else ''}"
                    return problem(
                        "record",
                        f"{what} was recorded at commit {commit[:12]}, which is not on "
                        f"{lake.base_branch}: the record in {settings.dagster_home} and the lake "
                        "are not of the same history.",
                        "set DAGSTER_HOME to the record that belongs to this lake, or materialize "
                        "the asset again.",
                    )
    return passed(
        "record", f"{looked_at} of the latest materializations are on {lake.base_branch}."
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
