"""Small tables to publish: a partition's content as a mapping of file names to bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlops_assets.lake import (
    Lake,
    Manifest,
    Partition,
    Publication,
    Snapshot,
    TablePartition,
    Transaction,
)

Content = Mapping[TablePartition, Mapping[str, bytes]]


def day(date: str, table: str = "raw/flights") -> TablePartition:
    return TablePartition(table, Partition.of({"day": date}))


FIRST, SECOND, THIRD = day("2013-01-01"), day("2013-01-02"), day("2013-01-03")


def stage(transaction: Transaction, content: Content) -> None:
    """Write partitions in an open transaction."""
    manifests: dict[TablePartition, tuple[Manifest, Path]] = {}
    for key, files in content.items():
        folder = transaction.scratch / key.folder
        folder.mkdir(parents=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        manifests[key] = (Manifest.of_folder(folder), folder)
    transaction.write(manifests)


def publish(lake: Lake, branch: str, content: Content, run: str = "") -> Publication:
    """Publish partitions in a transaction of their own."""
    with lake.transaction(branch, sorted({key.table for key in content})) as transaction:
        stage(transaction, content)
        return transaction.publish(f"made by {branch}", {"dagster/run_id": run or branch})


def content(snapshot: Snapshot, table: str = "raw/flights") -> dict[str, dict[str, bytes]]:
    """All of a table as its readers see it: the files of each partition."""
    return {
        str(part.key.partition): {
            file.name: snapshot.read(part.key, file.name) for file in part.manifest.files
        }
        for part in snapshot.stored(table).values()
    }


def put(lake: Lake, path: str, data: bytes, metadata: dict[str, str] | None = None) -> None:
    """Bring an object to the base branch past every transaction, as another program would."""
    branch = lake.repo().branch("by-hand").create(lake.base_branch)
    branch.object(path).upload(data, metadata=metadata or {})
    branch.commit(f"put {path}")
    branch.merge_into(lake.base_branch)
    branch.delete()
