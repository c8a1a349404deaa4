"""A pinned state of the lake, for reading.

A snapshot names a commit, never a branch, so that what it reads cannot change under the reader.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.lake.errors import LakeError, MissingPartitionError
from mlops_assets.lake.inputs import Version
from mlops_assets.lake.local_store import path_in
from mlops_assets.lake.manifest import File, Manifest
from mlops_assets.lake.partition import MANIFEST_NAME, Partition, TablePartition

if TYPE_CHECKING:
    import lakefs
    from lakefs.models import ObjectInfo

    from mlops_assets.lake.connection import Lake

# A listing of a whole table answers in pages of 1,000 objects, so that up to this many
# partitions are cheaper asked for one by one, whatever the size of the table.
FEW_PARTITIONS = 16

METADATA_KEY = "manifest"
DOWNLOADS = "downloads"
DOWNLOADS_AT_ONCE = 8


@dataclass(frozen=True)
class StoredPartition:
    """A partition as it is stored at a pin.

    Attributes:
        key: Its table and partition.
        manifest: What it consists of.
        addresses: The physical address of each file's bytes, by file name.
    """

    key: TablePartition
    manifest: Manifest
    addresses: Mapping[str, str]


class Snapshot:
    """The tables of the lake as they are at one commit.

    Attributes:
        commit: The commit's id.
        lake: Where.
        handed_out: The partitions that readers asked for by name, or whose bytes they were shown,
            with the data version of each, or whose manifests they noted to have used; `stored`
            alone, a look at what there is, adds nothing.
    """

    def __init__(self, lake: Lake, commit: str, handed_out: set[Version] | None = None) -> None:
        self.commit = commit
        self.lake = lake
        self.handed_out = set() if handed_out is None else handed_out

    def at(self, commit: str) -> Snapshot:
        """Another state of the lake; what it hands out counts as handed out by this one."""
        return Snapshot(self.lake, commit, self.handed_out)

    def unseen(self) -> Snapshot:
        """The same state, of which nothing that is looked at counts as handed out."""
        return Snapshot(self.lake, self.commit)

    @cached_property
    def _reference(self) -> lakefs.Reference:
        return self.lake.repo().ref(self.commit)

    def tables(self) -> list[str]:
        """The names of all tables, in order."""
        with self.lake.errors():
            objects = list(self._reference.objects())
        folders = {
            found.path.rpartition("/")[0]
            for found in objects
            if found.path.endswith(f"/{MANIFEST_NAME}")
        }
        return sorted({TablePartition.from_folder(folder).table for folder in folders})

    def stored(
        self, table: str, partitions: Iterable[Partition] | None = None
    ) -> dict[Partition, StoredPartition]:
        """Find the partitions of a table that exist at this commit.

        Args:
            table: The table's name.
            partitions: The partitions asked for; all of the table's if None.

        Returns:
            Those that exist, sorted by partition. Asking for a few costs a request for each,
            asking for many one listing of the table.

        Raises:
            LakeError: A manifest is not readable, or names a file that is not there.
        """
        wanted = None if partitions is None else set(partitions)
        if wanted is not None and len(wanted) <= FEW_PARTITIONS:
            prefixes = [TablePartition(table, partition).folder for partition in sorted(wanted)]
        else:
            prefixes = [f"{table}/"]
        with self.lake.errors():
            objects: list[Any] = [
                found for prefix in prefixes for found in self._reference.objects(prefix=prefix)
            ]
        addresses = {found.path: found.physical_address for found in objects}
        stored: dict[Partition, StoredPartition] = {}
        for found in objects:
            folder, _, name = found.path.rpartition("/")
            if name != MANIFEST_NAME:
                continue
            partition = Partition.from_path(folder[len(table) :].removeprefix("/"))
            if wanted is None or partition in wanted:
                manifest = self._manifest(found)
                paths = {file.name: f"{folder}/{file.name}" for file in manifest.files}
                for path in paths.values():
                    if path not in addresses:
                        raise LakeError(
                            f"{path} at commit {self.commit[:12]} is missing, and the partition's "
                            "manifest lists it: materialize the partition again."
                        )
                stored[partition] = StoredPartition(
                    TablePartition(table, partition),
                    manifest,
                    {name: addresses[path] for name, path in paths.items()},
                )
        return dict(sorted(stored.items()))

    def require(
        self, table: str, partitions: Iterable[Partition] | None = None
    ) -> dict[Partition, StoredPartition]:
        """Find partitions as `stored` does, every one of which must exist.

        Raises:
            MissingPartitionError: One does not exist; the sentence names the first.
        """
        wanted = None if partitions is None else sorted(set(partitions))
        stored = self.stored(table, wanted)
        missing = [] if wanted is None else [part for part in wanted if part not in stored]
        if missing or not stored:
            first = f" {missing[0]}" if missing and missing[0].path else ""
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise MissingPartitionError(
                f"{table}{first}{more} does not exist at commit {self.commit[:12]}: "
                f"materialize {table} first."
            )
        self.note(stored.values())
        return stored

    def files(self, stored: Sequence[StoredPartition]) -> list[Path]:
        """Local paths of the bytes of partitions' files, in the order of partition and name.

        Where our own server stores on this machine, the paths are its own blobs, to be read and
        never written; from any other server the files are downloaded once and kept by digest.

        Raises:
            LakeError: The bytes that came are not those that the manifest names.
        """
        self.note(stored)
        wanted = [
            (f"{part.key.folder}{file.name}", file, part.addresses[file.name])
            for part in stored
            for file in part.manifest.files
        ]
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            return list(pool.map(lambda entry: self._locate(*entry), wanted))

    def read(self, key: TablePartition, name: str) -> bytes:
        """The bytes of one file of a partition.

        Raises:
            MissingPartitionError: The partition does not exist at this commit.
            LakeError: It has no file of that name.
        """
        part = self.require(key.table, [key.partition])[key.partition]
        for file in part.manifest.files:
            if file.name == name:
                path = f"{key.folder}{name}"
                return self._locate(path, file, part.addresses[name]).read_bytes()
        raise LakeError(f"{key} has no file {name!r} at commit {self.commit[:12]}.")

    def note(self, stored: Iterable[StoredPartition]) -> None:
        """Count partitions as handed out, of which a reader uses what `stored` tells."""
        self.handed_out |= {Version(part.key, part.manifest.data_version) for part in stored}

    def _manifest(self, found: ObjectInfo) -> Manifest:
        text = (found.metadata or {}).get(METADATA_KEY)
        if text is None:
            raise LakeError(
                f"{found.path} at commit {self.commit[:12]} carries no manifest: something else "
                "than mlops_assets wrote there; restore it from an earlier commit."
            )
        return Manifest.from_json(text, place=found.path)

    def _locate(self, path: str, file: File, address: str) -> Path:
        local = path_in(self.lake.store, address)
        if local is not None and local.is_file():
            # Hashing a year of files would cost each reader seconds; their size costs nothing
            # and betrays what a full disk or another program cut short or replaced.
            if local.stat().st_size != file.size:
                raise self._damaged(path, f"{local.stat().st_size} bytes", f"{file.size}")
            return local
        return self._download(path, file)

    def _download(self, path: str, file: File) -> Path:
        folder = self.lake.scratch / DOWNLOADS / file.sha256[:2]
        target = folder / file.sha256
        # Copies that nobody has used for weeks are removed, by their times.
        with suppress(FileNotFoundError):
            os.utime(target)
            return target
        content: Any
        folder.mkdir(parents=True, exist_ok=True)
        with self.lake.errors():
            reader = self._reference.object(path).reader("rb", pre_sign=self.lake.pre_signed)
            content = reader.read()
        found = hashlib.sha256(content).hexdigest()
        if found != file.sha256:
            raise self._damaged(path, f"SHA-256 {found[:12]}…", f"{file.sha256[:12]}…")
        descriptor, temporary = tempfile.mkstemp(dir=folder)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        Path(temporary).replace(target)
        return target

    def _damaged(self, path: str, found: str, named: str) -> LakeError:
        return LakeError(
            f"{path} at commit {self.commit[:12]} has {found} where its manifest names {named}: "
            "its bytes are damaged; restore them from a backup, or materialize the partition again."
        )
