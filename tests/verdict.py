"""What a state directory holds after a fault: whether the lake is whole, and the record true."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from installation import Installation, open_lake

from mlops_assets.cli import lake_checks
from mlops_assets.cli.record import opened_record
from mlops_assets.components.reconciliation import report, unrecorded
from mlops_assets.lake import File, Lake, Manifest, Partition
from mlops_assets.lakefs_server import EmbeddedServer
from mlops_assets.settings import settings

Content = dict[str, dict[Partition, Manifest]]


@contextmanager
def opened(home: Path, definitions: dg.Definitions) -> Iterator[Installation]:
    """A state directory, on a server that ends with the look at it."""
    with pytest.MonkeyPatch.context() as patch, EmbeddedServer(home / "lakefs") as endpoint:
        patch.setenv("MLOPS_HOME", str(home))
        patch.setenv("DAGSTER_HOME", str(home / "dagster"))
        settings.cache_clear()
        lake = open_lake(endpoint, home / "scratch", repository=settings().lakefs_repository)
        try:
            with opened_record(settings()) as instance:
                yield Installation(home, lake, instance, definitions)
        finally:
            settings.cache_clear()


def intact(lake: Lake, table: str) -> dict[Partition, Manifest]:
    """What a table consists of on the base branch, every file read and hashed."""
    found = {}
    snapshot = lake.snapshot()
    for partition, stored in snapshot.stored(table).items():
        names = [file.name for file in stored.manifest.files]
        read = tuple(map(File.of, names, snapshot.files([stored])))
        assert read == stored.manifest.files, f"{stored.key} is not what its manifest says"
        found[partition] = stored.manifest
    return found


@dataclass(frozen=True)
class Verdict:
    """What was found in a state directory.

    Attributes:
        content: What the tables asked for consist of, every file read and hashed.
        unrecorded: How many partitions the base branch holds and no event names.
        branches: The work branches that are kept.
    """

    content: Content
    unrecorded: int
    branches: Sequence[str]


def judge(
    home: Path, tables: Sequence[str], definitions: dg.Definitions, *, doctor: bool
) -> Verdict:
    """Look at a state directory that nobody works in any more.

    Whatever happened to it, every manifest's files are there with their SHA-256, and whatever the
    record says was materialized is on the base branch. What the base branch holds and the record
    does not is counted.

    Args:
        home: The state directory.
        tables: Whose content to look at.
        definitions: The real ones.
        doctor: Whether to record what no event names, as `mlops-assets doctor` does, after which
            every event is there.
    """
    with opened(home, definitions) as found:
        whole = lake_checks.tables(found.lake, deep=True)
        assert whole.ok, whole.sentence
        recorded = lake_checks.record(found.lake, settings(), deep=True)
        assert recorded.ok, recorded.sentence
        graph = definitions.resolve_asset_graph()
        state = unrecorded(found.lake, found.instance, graph)
        assert state.recording == 0, "a dead process is waited for"
        if doctor:
            list(report(found.lake, found.instance, graph, state.partitions))
            assert not unrecorded(found.lake, found.instance, graph).partitions
        return Verdict(
            {table: intact(found.lake, table) for table in tables},
            len(state.partitions),
            found.lake.work_branches(),
        )
