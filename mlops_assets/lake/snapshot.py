"""A pinned state of the lake, for reading.

A snapshot names a commit, never a branch, so that what it reads cannot change under the reader.
What it hands out has the digest that the partition's manifest names, or it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from http.client import IncompleteRead
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.lake import copies
from mlops_assets.lake.errors import (
    LakeError,
    MissingPartitionError,
    NewerFormatError,
    UnreachableLakeError,
)
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
FILES_AT_ONCE = 8
"""So many files are hashed or downloaded at once; both leave the interpreter to others."""

_NO_BYTES = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)

REMEDY = (
    "run `mlops-assets doctor --repair`, materialize the partition again, or restore the store "
    "from a backup."
)


@dataclass(frozen=True)
class StoredPartition:
    """A partition as it is stored at a pin.

    Attributes:
        key: Its table and partition.
        manifest: What it consists of.
        addresses: The physical address of each file's bytes, by file name.
        written: When its manifest was written, in seconds since 1970.
    """

    key: TablePartition
    manifest: Manifest
    addresses: Mapping[str, str]
    written: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Unreadable:
    """A partition whose manifest cannot be read at a pin.

    Attributes:
        key: Its table and partition.
        sentence: Why, with the way out.
    """

    key: TablePartition
    sentence: str


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
        stored = {}
        for found in self.listed(table, partitions):
            if isinstance(found, Unreadable):
                raise LakeError(found.sentence)
            if lost := [file for file in found.manifest.files if file.name not in found.addresses]:
                raise self._missing(found.key, lost[0])
            stored[found.key.partition] = found
        return stored

    def listed(
        self, table: str | None = None, partitions: Iterable[Partition] | None = None
    ) -> Iterator[StoredPartition | Unreadable]:
        """The partitions of a table as `stored` finds them, and those that it would refuse.

        Those of all tables if None is named. A file that the lake lacks has no address.

        Raises:
            NewerFormatError: A newer version wrote one of them.
        """
        wanted = None if partitions is None else set(partitions)
        if table is None:
            prefixes = [""]
        elif wanted is not None and len(wanted) <= FEW_PARTITIONS:
            prefixes = [TablePartition(table, partition).folder for partition in sorted(wanted)]
        else:
            prefixes = [f"{table}/"]
        with self.lake.errors():
            objects: list[Any] = [
                found for prefix in prefixes for found in self._reference.objects(prefix=prefix)
            ]
        addresses = {found.path: found.physical_address for found in objects}
        manifests = {
            TablePartition.from_folder(folder): found
            for found in objects
            for folder, _, name in [found.path.rpartition("/")]
            if name == MANIFEST_NAME
        }
        for key, found in sorted(manifests.items()):
            if table in (None, key.table) and (wanted is None or key.partition in wanted):
                try:
                    manifest = self._manifest(found)
                except NewerFormatError:
                    raise
                except LakeError as error:
                    yield Unreadable(key, str(error))
                    continue
                paths = {file.name: f"{key.folder}{file.name}" for file in manifest.files}
                held = {name: addresses[path] for name, path in paths.items() if path in addresses}
                yield StoredPartition(key, manifest, held, found.mtime)

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
        Either is hashed before its path is handed out.

        Raises:
            LakeError: The bytes that came are not those that the manifest names.
        """
        self.note(stored)
        wanted = [(part, file) for part in stored for file in part.manifest.files]
        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            return list(pool.map(lambda entry: self._located(*entry), wanted))

    def read(self, key: TablePartition, name: str) -> bytes:
        """The bytes of one file of a partition.

        Raises:
            MissingPartitionError: The partition does not exist at this commit.
            LakeError: It has no file of that name, or its bytes are not those that its manifest
                names.
        """
        part = self.require(key.table, [key.partition])[key.partition]
        for file in part.manifest.files:
            if file.name == name:
                content = self._located(part, file).read_bytes()
                self._require_same(key, file, copies.digest(content))
                return content
        raise LakeError(f"{key} has no file {name!r} at commit {self.commit[:12]}.")

    def faults(
        self, part: StoredPartition, files: Iterable[File] | None = None, *, hashed: bool = True
    ) -> dict[str, str]:
        """What is wrong with the bytes of a partition in the lake itself, by file name.

        Copies on this machine are not asked.

        Args:
            part: The partition.
            files: Which of its files to look at; all if None.
            hashed: Read the bytes, from a server elsewhere over the network. Without, only what is
                missing or of another size is found, and on this machine alone.

        Raises:
            UnreachableLakeError: The server does not answer.
        """
        found: dict[str, str] = {}
        for file in part.manifest.files if files is None else files:
            try:
                local = self._local(part, file)
                if hashed and local is None:
                    self._fetched(part.key, file)
                elif hashed and local is not None:
                    self._require_same(part.key, file, copies.digest_of(local))
            except UnreachableLakeError:
                raise
            except (LakeError, OSError) as error:
                found[file.name] = str(error)
        return found

    def note(self, stored: Iterable[StoredPartition]) -> None:
        """Count partitions as handed out, of which a reader uses what `stored` tells."""
        self.handed_out |= {Version(part.key, part.manifest.data_version) for part in stored}

    def _manifest(self, found: ObjectInfo) -> Manifest:
        text = (found.metadata or {}).get(METADATA_KEY, "")
        return Manifest.from_json(text, place=f"{found.path} at commit {self.commit[:12]}")

    def _local(self, part: StoredPartition, file: File) -> Path | None:
        """The file that holds a file's bytes, where our own server stores on this machine."""
        if file.name not in part.addresses:
            raise self._missing(part.key, file)
        local = path_in(self.lake.store, part.addresses[file.name])
        if local is None or not local.is_file():
            return None
        if (size := local.stat().st_size) != file.size:
            raise LakeError(
                f"{part.key.folder}{file.name} at commit {self.commit[:12]} has {size} bytes "
                f"where its manifest names {file.size}: its bytes are damaged; {REMEDY}"
            )
        return local

    def _located(self, part: StoredPartition, file: File) -> Path:
        """The path of bytes that have been found to be those that the manifest names."""
        local = self._local(part, file)
        if local is None:
            return copies.kept(self.lake.scratch, file, lambda: self._fetched(part.key, file))
        self._require_same(part.key, file, copies.digest_of(local))
        return local

    def _fetched(self, key: TablePartition, file: File) -> bytes:
        from lakefs.exceptions import ServerException

        content: Any
        try:
            with self.lake.errors():
                place = self._reference.object(f"{key.folder}{file.name}")
                content = place.reader("rb", pre_sign=self.lake.pre_signed).read()
        except LakeError as error:
            cause = error.__cause__
            # The server knows the object, and its storage, or a signed link, not the bytes.
            if isinstance(cause, ServerException) and cause.status_code in _NO_BYTES:
                raise self._missing(key, file) from error
            # The server tells the size that it knows, and its storage ends before that.
            if not any(isinstance(found, IncompleteRead) for found in _reasons(cause)):
                raise
            raise LakeError(
                f"{key.folder}{file.name} at commit {self.commit[:12]} ends before its {file.size} "
                f"bytes on the server: its bytes are damaged; {REMEDY}"
            ) from error
        self._require_same(key, file, copies.digest(content))
        return bytes(content)

    def _missing(self, key: TablePartition, file: File) -> LakeError:
        return LakeError(
            f"{key.folder}{file.name} at commit {self.commit[:12]} is missing, and the "
            f"partition's manifest lists it: {REMEDY}"
        )

    def _require_same(self, key: TablePartition, file: File, digest: str) -> None:
        if digest != file.sha256:
            raise LakeError(
                f"{key.folder}{file.name} at commit {self.commit[:12]} has SHA-256 {digest[:12]}… "
                f"where its manifest names {file.sha256[:12]}…: its bytes are damaged; {REMEDY}"
            )


def _reasons(error: BaseException | None) -> Iterator[object]:
    """What a failed request came from, as urllib3 nests it."""
    yield error
    reason = getattr(error, "reason", error)
    yield from getattr(reason, "args", ())
