"""Transactions: how a step's results reach the base branch, whole or not at all.

Open (pin the base branch's head, make a work branch from it) → write → audit → commit → merge.
Before the merge nothing is visible, after it everything is. A transaction that fails leaves its
work branch behind, for the post-mortem, and the base branch as it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mlops_assets.lake import copies, inputs
from mlops_assets.lake.answers import settle, unanswered
from mlops_assets.lake.errors import (
    ConflictError,
    LakeError,
    UnmergedError,
    UnreachableLakeError,
)
from mlops_assets.lake.history import makers, newest_writer, overtaken
from mlops_assets.lake.manifest import Manifest
from mlops_assets.lake.partition import MANIFEST_NAME, Partition, TablePartition, by_table
from mlops_assets.lake.snapshot import METADATA_KEY, Snapshot, StoredPartition
from mlops_assets.lake.upload import upload, upload_file

if TYPE_CHECKING:
    from lakefs.branch import Branch
    from lakefs.models import Commit

    from mlops_assets.lake.connection import Lake

# The second upload runs while the first waits for its fsync: 4.2 ms an object instead of 7.9 on a
# busy machine. Four at once took longer again, as client and embedded server share one process.
UPLOADS_AT_ONCE = 2

FEW_COMMITS = 10
"""A page of the log, in which a merge of this moment is found unless many publish at once."""

PUT_AGAIN_KEY = "put-again"
"""Where an object's metadata tells which bytes, lost or damaged, it took the place of."""


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
        partitions: Everything that it wrote, changed or not, sorted by table and partition; see
            `Transaction.publish` for what another writer overtook.
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
        snapshot: The pinned state that the step reads; what it hands out is recorded as read for
            all that the step makes.
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
        self._removed: set[TablePartition] = set()
        self._readers: dict[Partition, Snapshot] = {}
        self._publication: Publication | None = None
        self._kept = False

    def __enter__(self) -> Self:
        # The folder comes last: `__exit__` never runs for a transaction that did not open, so a
        # server that refuses the branch would leave the folder behind.
        self.snapshot = self._lake.snapshot()
        self._readers[Partition()] = self.snapshot
        with self._lake.errors():
            settle(self._create, self._created)
        self.scratch = self._lake.scratch / self.branch
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        if error is None and self._publication is None and not self._kept:
            raise LakeError(f"transaction {self.branch} ended without `publish` or `keep`.")

    def _create(self) -> Branch:
        return self._branch().create(self.snapshot.commit)

    def _created(self) -> Branch | None:
        """The work branch, if it is there and as new."""
        from lakefs.exceptions import NotFoundException

        branch = self._branch()
        try:
            untouched = branch.get_commit().id == self.snapshot.commit
            staged = next(iter(branch.uncommitted(max_amount=1)), None)
        except NotFoundException:
            return None
        return branch if untouched and staged is None else None

    def reader(self, partition: Partition) -> Snapshot:
        """The pin for making one partition: what it hands out is recorded as read for that one."""
        return self._readers.setdefault(partition, Snapshot(self._lake, self.snapshot.commit))

    def _inputs(self) -> dict[str, str]:
        """What was read for what this transaction changes, as its commit says it."""
        changed = {key.partition for key in self._written.keys() - self._unchanged}
        return {
            f"{inputs.PREFIX}{partition.path}": inputs.to_json(reader.handed_out)
            for partition, reader in sorted(self._readers.items())
            if reader.handed_out and partition in {Partition(), *changed}
        }

    def _branch(self) -> Branch:
        return self._lake.repo().branch(self.branch)

    def write(self, manifests: Mapping[TablePartition, tuple[Manifest, Path]]) -> None:
        """Put partitions onto the work branch; what equals the pinned state costs no upload.

        A file that the pinned state names and holds damaged, or not at all, is put again.

        Args:
            manifests: For each partition what it is to consist of, and the folder that holds
                its files under their names. The files are the lake's from then on: large ones may
                be gone from the folder, and none is to be written to any more.

        Raises:
            LakeError: The partition's table is not one that this transaction may write.
        """
        for table, keys in by_table(manifests):
            if table not in self._tables:
                raise LakeError(
                    f"transaction {self.branch} may write {', '.join(sorted(self._tables))} and "
                    f"tried to write {table}."
                )
            self._written |= {key: manifests[key][0] for key in keys}
            pinned = self._pinned(table, keys)
            self._unchanged |= {
                key for key in keys if key in pinned and pinned[key].manifest == manifests[key][0]
            }
            changes = [(key, *manifests[key], pinned.get(key)) for key in keys]
            with self._lake.errors(), ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
                list(pool.map(lambda change: self._upload(*change), changes))

    def _pinned(
        self, table: str, keys: Iterable[TablePartition]
    ) -> dict[TablePartition, StoredPartition]:
        """What the pin holds of partitions of a table, and can be read of their manifests."""
        found = self.snapshot.listed(table, [key.partition for key in keys])
        return {part.key: part for part in found if isinstance(part, StoredPartition)}

    def remove(self, keys: Iterable[TablePartition]) -> None:
        """Take partitions away; one that is absent at the pin is to be absent when this publishes.

        Raises:
            LakeError: The partition's table is not one that this transaction may write.
        """
        for table, group in by_table(keys):
            if table not in self._tables:
                raise LakeError(f"transaction {self.branch} may not remove from {table}.")
            self._removed |= set(group)
            pinned = self.snapshot.listed(table, [key.partition for key in group])
            with self._lake.errors():
                for part in pinned:
                    files = part.addresses if isinstance(part, StoredPartition) else ()
                    self._delete([f"{part.key.folder}{name}" for name in (MANIFEST_NAME, *files)])

    def _upload(
        self,
        key: TablePartition,
        manifest: Manifest,
        folder: Path,
        before: StoredPartition | None,
    ) -> None:
        held = {file.name: file for file in before.manifest.files} if before else {}
        shared = [file for file in manifest.files if held.get(file.name) == file]
        damaged = self.snapshot.faults(before, shared) if before else {}
        for file in manifest.files:
            place = self._lake, self._branch(), f"{key.folder}{file.name}"
            if file not in shared:
                settle(partial(upload_file, *place, folder / file.name))
            elif before and file.name in damaged:
                # To lakeFS two objects with the same bytes and metadata are one, wherever they
                # lie: without a word of its own the merge would go on naming the damaged bytes.
                lost = copies.digest(before.addresses.get(file.name, "").encode())
                said = {PUT_AGAIN_KEY: lost[:12]}
                settle(partial(upload, *place, (folder / file.name).read_bytes(), said))
        if dropped := sorted(held.keys() - {file.name for file in manifest.files}):
            self._delete([f"{key.folder}{name}" for name in dropped])
        if before is None or before.manifest != manifest:
            # The object is empty: what it says rides in its metadata, where one listing reads it
            # for a whole table, and a year of tables spares 3,285 files and their fsync.
            said = {METADATA_KEY: manifest.to_json()}
            settle(partial(upload, self._lake, self._branch(), key.manifest_path, b"", said))

    def _delete(self, paths: list[str]) -> None:
        settle(lambda: self._branch().delete_objects(paths))

    def keep(self, message: str, metadata: Mapping[str, str]) -> str:
        """Commit what was written to the work branch without publishing it, for a post-mortem.

        Returns:
            The work branch's head.
        """
        with self._lake.errors():
            branch = self._branch()
            head = self._commit(branch, message, metadata) or str(branch.get_commit().id)
        self._kept = True
        return head

    def _commit(self, branch: Branch, message: str, metadata: Mapping[str, str]) -> str | None:
        """Commit what is staged; None if everything written equals the pinned state."""
        from lakefs.exceptions import BadRequestException

        try:
            described = {**metadata, **self._inputs()}
            return settle(
                lambda: str(branch.commit(message, described).id), lambda: self._committed(branch)
            )
        except BadRequestException as error:
            if "no changes" not in str(error.body.get("message", "")):
                raise
            return None

    def _committed(self, branch: Branch) -> str | None:
        """The commit on the work branch, which nobody else writes to; None if there is none."""
        head = str(branch.get_commit().id)
        return None if head == self.snapshot.commit else head

    def publish(self, message: str, metadata: Mapping[str, str]) -> Publication:
        """Commit what was written and merge it into the base branch.

        Two writers of a partition conflict in the merge. What this one left as it was (unchanged,
        or removed and absent) is in no commit, so the base branch is read for it right before
        the merge. Between that look and the merge, some milliseconds, another writer can still
        publish such a partition. The merge has happened then, and to fail would leave it out of
        the record; so an unchanged partition is reported as the merge holds it, under the
        winner's commit (left out, if the winner removed it), and what was to be absent is the
        winner's, as if it had come a moment later.

        Args:
            message: The commit's message.
            metadata: What the commit shall say of the run that made it, beside what it read.

        Returns:
            What is on the base branch now, each partition with the commit that names it.

        Raises:
            ConflictError: Another writer published or removed one of these partitions since the
                pin; the sentence names it. Nothing of this transaction shows.
            LakeError: The server failed before the merge. Nothing of this transaction shows.
            UnmergedError: It answered that it merged, and the base branch lacks the commit. The
                work branch keeps it.
            UnreachableLakeError: Or it stopped answering in the merge, and stayed away when asked
                again: the sentence says that what shows is not known.
        """
        merge = landed = None
        with self._lake.errors():
            branch = self._branch()
            commit = self._commit(branch, message, metadata)
            unchanged = self._written.keys() if commit is None else self._unchanged
            partitions = self._held(
                self.snapshot.commit, {key: self._written[key] for key in unchanged}
            )
            looked_at = self._require_unmoved({*unchanged, *self._removed})
            if commit is not None:
                merge = self._merge(branch, commit, message, metadata)
                landed = self._landed(commit)
                # From here on the base branch holds the result, and a failure would leave it out
                # of the record. Without an answer to this question the record may name content
                # that the winner replaced, until the partition is materialized again.
                if landed is not None:
                    with suppress(LakeError):
                        partitions = self._as_merged(partitions, looked_at, landed)
                partitions += [
                    PublishedPartition(key, manifest, commit, self.snapshot.commit, changed=True)
                    for key, manifest in self._written.items()
                    if key not in unchanged
                ]
            # A branch that could not be deleted is one more that `doctor` lists as kept.
            with suppress(LakeError):
                self._lake.delete_branch(self.branch, discard=landed is not None)
        self._publication = Publication(
            pin=self.snapshot.commit,
            commit=commit,
            merge=merge,
            partitions=sorted(partitions, key=lambda part: part.key),
        )
        return self._publication

    def _merge(self, branch: Branch, commit: str, message: str, metadata: Mapping[str, str]) -> str:
        from lakefs.exceptions import ConflictException

        base = self._lake.base_branch
        try:
            return settle(
                lambda: str(branch.merge_into(base, message=message, metadata=dict(metadata))),
                lambda: str(merge.id) if (merge := self._merged(commit)) else None,
            )
        except ConflictException as error:
            head = self._lake.snapshot()
            taken = self._taken(head, {*self._written, *self._removed})
            raise ConflictError(self._winner(head, taken)) from error
        except Exception as error:
            if not unanswered(error):
                raise
            raise UnreachableLakeError(
                f"lakeFS at {self._lake.credentials.endpoint} stopped answering in the merge of "
                f"{self.branch} into {base}: whether that shows is not known. Start the server, "
                "run `mlops-assets doctor`, which finds out, and materialize again."
            ) from error

    def _landed(self, commit: str) -> Commit | None:
        """The merge of a commit that the server says it merged; None if it does not answer now.

        Raises:
            UnmergedError: There is none.
        """
        try:
            with self._lake.errors():
                landed = self._merged(commit)
        except LakeError:
            return None
        if landed is None:
            raise UnmergedError(
                f"lakeFS at {self._lake.credentials.endpoint} says that it merged {self.branch} "
                f"into {self._lake.base_branch}, and the commit {commit[:12]} is not there: "
                f"nothing of it shows, and {self.branch} keeps it. Materialize again; if that ends "
                "in the same way, the server is not one that results can be published to."
            )
        return landed

    def _merged(self, commit: str) -> Commit | None:
        """The merge that brought a commit to the base branch since the pin; None if none did."""
        # Merges are what moves the base branch, so that the pin is a first parent of its head.
        log: Iterator[Commit] = (
            self._lake.repo().ref(self._lake.base_branch).log(first_parent=True, amount=FEW_COMMITS)
        )
        for merge in log:
            if commit in merge.parents[1:]:
                return merge
            if merge.id == self.snapshot.commit:
                return None
        return None

    def _require_unmoved(self, keys: Iterable[TablePartition]) -> str:
        """Lose the race for a partition that another writer changed and this one left as it was.

        What equals the pinned state is not uploaded and what is absent there is not deleted, so
        that no merge would conflict: the record would name the old content as the newest, or the
        base branch would hold the rows of one writer beside the quarantine of another.

        Returns:
            The base branch's head that was looked at.
        """
        head = self._lake.snapshot()
        if head.commit != self.snapshot.commit and (taken := self._taken(head, keys)):
            raise ConflictError(self._winner(head, taken))
        return head.commit

    def _as_merged(
        self, unchanged: list[PublishedPartition], looked_at: str, merge: Commit
    ) -> list[PublishedPartition]:
        """The unchanged partitions as the merge holds them, which others may have overtaken."""
        if not unchanged or merge.parents[0] == looked_at:
            return unchanged
        merged = Snapshot(self._lake, str(merge.id))
        taken = self._taken(merged, [part.key for part in unchanged])
        theirs = {
            part.key: part.manifest
            for table, group in by_table(taken)
            for part in merged.stored(table, [key.partition for key in group]).values()
        }
        return [part for part in unchanged if part.key not in taken] + self._held(
            merged.commit, theirs
        )

    def _taken(self, head: Snapshot, keys: Iterable[TablePartition]) -> list[TablePartition]:
        """Which of the partitions others have published since the pin, with other content."""
        return overtaken(self.snapshot, head, keys, self._written)

    def _winner(self, head: Snapshot, taken: Sequence[TablePartition]) -> str:
        """The sentence that names who published these partitions since the pin."""
        newest = newest_writer(head, taken)
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

    def _held(
        self, state: str, manifests: Mapping[TablePartition, Manifest]
    ) -> list[PublishedPartition]:
        """Partitions that a commit holds unchanged, by the commit that made each and its pin."""
        found = makers(self._lake, state, manifests)
        return [
            PublishedPartition(key, manifest, *found[key], changed=False)
            for key, manifest in manifests.items()
        ]
