"""The history of partitions: which commit made what, and what a partition was before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlops_assets.lake.errors import LakeError
from mlops_assets.lake.partition import MANIFEST_NAME, TablePartition, by_table

if TYPE_CHECKING:
    from lakefs.models import Commit

    from mlops_assets.lake.connection import Lake
    from mlops_assets.lake.inputs import Version
    from mlops_assets.lake.manifest import Manifest
    from mlops_assets.lake.snapshot import Snapshot


def makers(
    lake: Lake, state: str, keys: Iterable[TablePartition]
) -> dict[TablePartition, tuple[str, str]]:
    """The work commit that made each partition as `state` holds it, and that commit's pin.

    One walk of the log answers for all of a table: a commit's diff to its first parent names what
    it changed.
    """
    found: dict[TablePartition, tuple[str, str]] = {}
    repo = lake.repo()
    with lake.errors():
        for table, group in by_table(keys):
            wanted = {key.manifest_path: key for key in group}
            log: Iterator[Any] = repo.ref(state).log(prefixes=[f"{table}/"])
            for commit in log:
                # A merge's first parent is the base branch, where the work commit is not yet: the
                # work commit itself comes right after it.
                if len(commit.parents) != 1:
                    continue
                parent = commit.parents[0]
                for change in repo.ref(parent).diff(
                    other_ref=commit.id, prefix=f"{table}/", type="two_dot"
                ):
                    if (key := wanted.pop(change.path, None)) is not None:
                        found[key] = (commit.id, parent)
                if not wanted:
                    break
    return found


def find_file(snapshot: Snapshot, key: TablePartition, name: str, sha256: str) -> Snapshot:
    """The newest state, at this pin or before it, whose partition has a file of that content.

    Args:
        snapshot: The pin.
        key: The partition.
        name: The file's name.
        sha256: The digest of its bytes.

    Raises:
        LakeError: The partition has never had that file.
    """
    found = _newest(snapshot, key, lambda manifest: _has_file(manifest, name, sha256))
    if found is None:
        raise _never_held(snapshot, key, name, sha256)
    return found


def _has_file(manifest: Manifest, name: str, sha256: str) -> bool:
    return any(file.name == name and file.sha256 == sha256 for file in manifest.files)


def _never_held(snapshot: Snapshot, key: TablePartition, name: str, sha256: str) -> LakeError:
    return LakeError(
        f"{key} has never held {name} with SHA-256 {sha256[:12]}… up to commit "
        f"{snapshot.commit[:12]}: correct the digest, or look on another branch."
    )


def first_maker(snapshot: Snapshot, key: TablePartition, name: str, sha256: str) -> tuple[str, str]:
    """The work commit that first brought a partition a file of that content, and its pin.

    The first and not the newest: made again byte for byte, a result keeps its name.

    Args:
        snapshot: The pin; nothing after it is looked at.
        key: The partition.
        name: The file's name.
        sha256: The digest of its bytes.

    Raises:
        LakeError: The partition has never had that file.
    """
    lake = snapshot.lake
    with lake.errors():
        log: Iterator[Any] = lake.repo().ref(snapshot.commit).log(objects=[key.manifest_path])
        made = [(commit.id, commit.parents[0]) for commit in log if len(commit.parents) == 1]
    for commit, pin in reversed(made):
        if _holds(snapshot.at(commit), key, lambda manifest: _has_file(manifest, name, sha256)):
            return commit, pin
    raise _never_held(snapshot, key, name, sha256)


def find_version(snapshot: Snapshot, version: Version) -> Snapshot | None:
    """The newest state, at this pin or before it, that holds a partition in that version."""
    return _newest(
        snapshot, version.key, lambda manifest: manifest.data_version == version.data_version
    )


def _newest(
    snapshot: Snapshot, key: TablePartition, holds: Callable[[Manifest], bool]
) -> Snapshot | None:
    """The newest state, from this pin back, whose manifest of a partition is as wanted."""
    if _holds(snapshot, key, holds):
        return snapshot
    return next((state for state in states_of(snapshot, key) if _holds(state, key, holds)), None)


def _holds(state: Snapshot, key: TablePartition, wanted: Callable[[Manifest], bool]) -> bool:
    """Whether a state's manifest of a partition is as wanted; one that cannot be read is not.

    Such a manifest stays in the history after it was repaired, and hides nothing older.
    """
    found = (getattr(part, "manifest", None) for part in state.listed(key.table, [key.partition]))
    return any(manifest is not None and wanted(manifest) for manifest in found)


def states_of(snapshot: Snapshot, key: TablePartition) -> list[Snapshot]:
    """The states, up to this pin, right after a partition was changed; newest first."""
    lake = snapshot.lake
    with lake.errors():
        log: Iterator[Any] = lake.repo().ref(snapshot.commit).log(objects=[key.manifest_path])
        return [snapshot.at(commit.id) for commit in log]


def newest_change(lake: Lake, commit: str, table: str) -> str | None:
    """The newest commit, this one or one before it, that brought or changed partitions of a table.

    Along first parents, as the base branch moves: what a merge brought counts as one change.

    Args:
        lake: Where.
        commit: Where to begin.
        table: The table.

    Returns:
        The commit; None if none ever did.
    """
    repo = lake.repo()
    with lake.errors():
        log: Iterator[Any] = repo.ref(commit).log(first_parent=True)
        for entry in log:
            for parent in entry.parents[:1]:
                diff: Iterator[Any] = repo.ref(parent).diff(
                    other_ref=entry.id, prefix=f"{table}/", type="two_dot"
                )
                if any(change.type != "removed" for change in diff):
                    return str(entry.id)
    return None


def overtaken(
    pin: Snapshot,
    now: Snapshot,
    keys: Iterable[TablePartition],
    ours: Mapping[TablePartition, Manifest],
) -> list[TablePartition]:
    """Which partitions a later state holds neither as the pin does nor as we have written them.

    A partition that one of the two removed counts as content of its own: none. So does one whose
    manifest cannot be read.
    """
    found = []
    for table, group in by_table(keys):
        names = [key.partition for key in group]
        before, after = ({part.key: part for part in at.listed(table, names)} for at in (pin, now))
        for key in group:
            was, theirs = (getattr(held.get(key), "manifest", None) for held in (before, after))
            if theirs not in (was, ours.get(key)):
                found.append(key)
    return found


def newest_writer(snapshot: Snapshot, keys: Iterable[TablePartition]) -> Commit | None:
    """The newest commit, up to this pin, that touched any of these partitions; None if none did."""
    paths = [key.manifest_path for key in keys]
    if not paths:
        return None
    with snapshot.lake.errors():
        log: Iterator[Commit] = (
            snapshot.lake.repo().ref(snapshot.commit).log(objects=paths, max_amount=1)
        )
        return next(iter(log), None)


def changes(lake: Lake, commit: str) -> list[TablePartition]:
    """The partitions that a commit brought or changed, against its first parent; in order."""
    parents = lake.commit_info(commit)["parents"]
    return changed_between(lake, parents[0], commit) if parents else []


def changed_between(lake: Lake, before: str, now: str) -> list[TablePartition]:
    """The partitions of one state that another lacks or holds otherwise; in order.

    Args:
        lake: Where.
        before: The state to compare with: a commit or what names one.
        now: The state.
    """
    with lake.errors():
        diff: Iterator[Any] = lake.repo().ref(before).diff(other_ref=now, type="two_dot")
        paths = [change.path for change in diff if change.type != "removed"]
    places = (path.rpartition("/") for path in paths)
    return sorted(TablePartition.from_folder(at) for at, _, name in places if name == MANIFEST_NAME)
