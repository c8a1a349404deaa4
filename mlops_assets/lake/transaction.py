"""Transactions: how a step's results reach the base branch, whole or not at all.

Open (pin the base branch's head, make a work branch from it) → write → audit → commit → merge.
Before the merge nothing is visible, after it everything is. A transaction that fails leaves its
work branch behind, for the post-mortem, and the base branch as it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mlops_assets.lake.errors import ConflictError, LakeError
from mlops_assets.lake.manifest import Manifest
from mlops_assets.lake.partition import MANIFEST_NAME, TablePartition
from mlops_assets.lake.snapshot import METADATA_KEY, Snapshot

if TYPE_CHECKING:
    from lakefs.branch import Branch

    from mlops_assets.lake.connection import Lake

PARQUET_TYPE = "application/vnd.apache.parquet"
JSON_TYPE = "application/json"
CONTENT_TYPES = {".parquet": PARQUET_TYPE, ".json": JSON_TYPE, ".html": "text/html"}
DEFAULT_TYPE = "application/octet-stream"

# The second upload runs while the first waits for its fsync: 4.2 ms an object instead of 7.9 on a
# busy machine. Four at once took longer again, as client and embedded server share one process.
UPLOADS_AT_ONCE = 2


@dataclass(frozen=True)
class PublishedPartition:
    """A partition as a transaction published it.

    Attributes:
        key: Its table and partition.
        manifest: What it consists of.
        commit: The work commit that first held this content: the result's name.
        pin: The state that its inputs were read from: that commit's first parent.
        changed: Whether this transaction changed it; if not, the content was there already.
    """

    key: TablePartition
    manifest: Manifest
    commit: str
    pin: str
    changed: bool


@dataclass(frozen=True)
class Publication:
    """What a transaction published.

    Attributes:
        pin: The commit that the transaction read.
        commit: Its work commit; None if nothing changed.
        merge: The commit that put it on the base branch; None if nothing changed.
        partitions: Everything that it wrote, changed or not, sorted by table and partition.
    """

    pin: str
    commit: str | None
    merge: str | None
    partitions: Sequence[PublishedPartition]


class Transaction:
    """One attempt of one step to publish partitions.

    A context manager: left by an exception, it keeps the work branch with all that was written
    staged on it.

    Attributes:
        branch: The name of the work branch.
        snapshot: The pinned state that the step reads.
        scratch: An empty folder for the files that it writes, removed at the end.
    """

    snapshot: Snapshot
    scratch: Path

    def __init__(self, lake: Lake, *, branch: str, tables: Sequence[str]) -> None:
        self.branch = branch
        self._lake = lake
        self._tables = frozenset(tables)
        self._written: dict[TablePartition, Manifest] = {}
        self._unchanged: set[TablePartition] = set()
        self._publication: Publication | None = None

    def __enter__(self) -> Self:
        self.scratch = self._lake.scratch / self.branch
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        self.snapshot = self._lake.snapshot()
        with self._lake.errors():
            self._branch().create(self.snapshot.commit)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        if error is None and self._publication is None:
            raise LakeError(f"transaction {self.branch} ended without `publish`.")

    def _branch(self) -> Branch:
        return self._lake.repo().branch(self.branch)

    def write(self, manifests: Mapping[TablePartition, tuple[Manifest, Path]]) -> None:
        """Put partitions onto the work branch; what equals the pinned state costs no upload.

        Args:
            manifests: For each partition what it is to consist of, and the folder that holds
                its files under their names.

        Raises:
            LakeError: The partition's table is not one that this transaction may write.
        """
        for table, keys in _by_table(manifests):
            if table not in self._tables:
                raise LakeError(
                    f"transaction {self.branch} may write {', '.join(sorted(self._tables))} and "
                    f"tried to write {table}."
                )
            self._written |= {key: manifests[key][0] for key in keys}
            stored = self.snapshot.stored(table, [key.partition for key in keys])
            pinned = {part.key: part.manifest for part in stored.values()}
            unchanged = {key for key in keys if pinned.get(key) == manifests[key][0]}
            self._unchanged |= unchanged
            changes = [
                (key, *manifests[key], pinned.get(key)) for key in keys if key not in unchanged
            ]
            with self._lake.errors(), ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
                list(pool.map(lambda change: self._upload(*change), changes))

    def remove(self, keys: Iterable[TablePartition]) -> None:
        """Take partitions away, where they exist at the pin."""
        for table, group in _by_table(keys):
            if table not in self._tables:
                raise LakeError(f"transaction {self.branch} may not remove from {table}.")
            pinned = self.snapshot.stored(table, [key.partition for key in group])
            with self._lake.errors():
                for part in pinned.values():
                    names = [MANIFEST_NAME, *(file.name for file in part.manifest.files)]
                    self._branch().delete_objects([f"{part.key.folder}{name}" for name in names])

    def _upload(
        self, key: TablePartition, manifest: Manifest, folder: Path, before: Manifest | None
    ) -> None:
        held = set(before.files) if before else set()
        for file in manifest.files:
            if file not in held:
                content = (folder / file.name).read_bytes()
                self._put(f"{key.folder}{file.name}", content, {})
        dropped = {file.name for file in held} - {file.name for file in manifest.files}
        if dropped:
            self._branch().delete_objects([f"{key.folder}{name}" for name in sorted(dropped)])
        # The object is empty: what it says rides in its metadata, where one listing reads it for
        # a whole table, and a year of tables spares 3,285 files and their fsync.
        self._put(key.manifest_path, b"", {METADATA_KEY: manifest.to_json()})

    def _put(self, path: str, content: bytes, metadata: dict[str, str]) -> None:
        writer = (
            self._branch()
            .object(path)
            .writer(
                mode="wb",
                pre_sign=self._lake.pre_signed,
                content_type=CONTENT_TYPES.get(Path(path).suffix, DEFAULT_TYPE),
                metadata=metadata,
            )
        )
        with writer:
            writer.write(content)

    def keep(self, message: str, metadata: Mapping[str, str]) -> str:
        """Commit what was written to the work branch without publishing it, for a post-mortem.

        Returns:
            The work branch's head.
        """
        from lakefs.exceptions import BadRequestException

        with self._lake.errors():
            try:
                return str(self._branch().commit(message, dict(metadata)).get_commit().id)
            except BadRequestException:
                # Everything written equals the pinned state: there is nothing to commit.
                return str(self._branch().get_commit().id)

    def publish(self, message: str, metadata: Mapping[str, str]) -> Publication:
        """Commit what was written and merge it into the base branch.

        Args:
            message: The commit's message.
            metadata: What the commit shall say of the run that made it.

        Returns:
            What is on the base branch now, each partition with the commit that names it.

        Raises:
            ConflictError: Another writer published one of these partitions since the pin; the
                sentence names it. Nothing of this transaction shows.
        """
        from lakefs.exceptions import BadRequestException

        commit = merge = None
        with self._lake.errors():
            branch = self._branch()
            try:
                commit = str(branch.commit(message, dict(metadata)).get_commit().id)
            except BadRequestException as error:
                if "no changes" not in str(error.body.get("message", "")):
                    raise
            self._require_unmoved()
            if commit is not None:
                merge = self._merge(branch, message, metadata)
            branch.delete()
        names = dict.fromkeys(self._written, (commit, self.snapshot.commit))
        if self._unchanged or commit is None:
            unchanged = self._written.keys() if commit is None else self._unchanged
            names |= self._first_held(unchanged)
        self._publication = Publication(
            pin=self.snapshot.commit,
            commit=commit,
            merge=merge,
            partitions=[
                PublishedPartition(
                    key=key,
                    manifest=manifest,
                    commit=str(names[key][0]),
                    pin=str(names[key][1]),
                    changed=commit is not None and key not in self._unchanged,
                )
                for key, manifest in sorted(self._written.items())
            ],
        )
        return self._publication

    def _merge(self, branch: Branch, message: str, metadata: Mapping[str, str]) -> str:
        from lakefs.exceptions import ConflictException

        try:
            return branch.merge_into(
                self._lake.base_branch, message=message, metadata=dict(metadata)
            )
        except ConflictException as error:
            head = self._lake.snapshot()
            raise ConflictError(self._winner(head, self._taken(head, self._written))) from error

    def _require_unmoved(self) -> None:
        """Lose the race for a partition that another writer changed and this one left as it was.

        What equals the pinned state is not uploaded, so that no merge would conflict, and the
        record would name the old content as the newest while the base branch holds another.
        """
        if self._unchanged and (head := self._lake.snapshot()).commit != self.snapshot.commit:
            taken = self._taken(head, self._unchanged)
            if taken:
                raise ConflictError(self._winner(head, taken))

    def _taken(self, head: Snapshot, keys: Iterable[TablePartition]) -> list[TablePartition]:
        """Which of the partitions others have published since the pin, with other content."""
        taken = []
        for table, group in _by_table(keys):
            names = [key.partition for key in group]
            before, now = self.snapshot.stored(table, names), head.stored(table, names)
            for key in group:
                pinned, theirs = before.get(key.partition), now.get(key.partition)
                found = theirs.manifest if theirs else None
                if found not in (pinned.manifest if pinned else None, self._written[key]):
                    taken.append(key)
        return taken

    def _winner(self, head: Snapshot, taken: Sequence[TablePartition]) -> str:
        """The sentence that names who published these partitions since the pin."""
        paths = [key.manifest_path for key in taken]
        with self._lake.errors():
            log = self._lake.repo().ref(head.commit).log(objects=paths, max_amount=1)
            newest = next(iter(log), None) if taken else None
        if newest is None:
            return (
                f"the base branch moved in a way that {self.branch} conflicts with: nothing of it "
                "shows; materialize again to build on the new state."
            )
        run = (newest.metadata or {}).get("dagster/run_id", "an unnamed run")
        return (
            f"{taken[0]}{f' and {len(taken) - 1} more' if len(taken) > 1 else ''} was published "
            f"by another writer meanwhile (run {run}, commit {newest.id[:12]}): nothing of "
            f"{self.branch} shows; materialize again to build on the new state."
        )

    def _first_held(self, keys: Iterable[TablePartition]) -> dict[TablePartition, tuple[str, str]]:
        """For partitions equal to the pinned state, the work commit that made them and its pin.

        One walk of the log answers for all of a table: a commit's diff to its first parent
        names what it changed.
        """
        found: dict[TablePartition, tuple[str, str]] = {}
        repo = self._lake.repo()
        with self._lake.errors():
            for table, group in _by_table(keys):
                wanted = {key.manifest_path: key for key in group}
                log: Iterator[Any] = repo.ref(self.snapshot.commit).log(prefixes=[f"{table}/"])
                for commit in log:
                    parent = commit.parents[0]
                    for change in repo.ref(parent).diff(
                        other_ref=commit.id, prefix=f"{table}/", type="two_dot"
                    ):
                        if (key := wanted.pop(change.path, None)) is not None:
                            found[key] = (commit.id, parent)
                    if not wanted:
                        break
        return found


def _by_table(
    keys: Iterable[TablePartition],
) -> Iterator[tuple[str, list[TablePartition]]]:
    tables: dict[str, list[TablePartition]] = {}
    for key in sorted(keys):
        tables.setdefault(key.table, []).append(key)
    yield from tables.items()
