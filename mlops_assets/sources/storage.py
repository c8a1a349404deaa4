"""Places that files land in: a local folder, a prefix of a lakeFS branch, an object store.

Belongs here: which files there are, what has changed among them, and their bytes. What a file's
name means is `landing.py`.
"""

from __future__ import annotations

import json
import math
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mlops_assets.sources.csv_file import MAX_BYTES
from mlops_assets.sources.errors import SourceError, SourceUnavailableError
from mlops_assets.sources.progress import Item, Progress

if TYPE_CHECKING:
    from mlops_assets.lake import Lake

UNFINISHED = (".part", ".tmp")
"""How names end, beside those that begin with a dot, of what is still being written."""

REST_SECONDS = 3.0
"""How long a local file must have rested: no writer closes and opens a file again for longer."""

DEPTH = 4

_LINK = "is a link. Put the file itself there."
_CLOSED = "is a folder that may not be looked into. Correct its permissions, or take it away."

Group = Callable[[str], str | None]
"""What a file belongs to, by its name; None if to nothing."""


@dataclass(frozen=True)
class StoredFile:
    """One file of a storage.

    Attributes:
        changed: When its content came to be there, nanoseconds since 1970.
        fingerprint: What tells this content from any other of the same name.
        fault: Why it is not read whatever it is called, as a sentence goes on after its name.
    """

    changed: int
    fingerprint: str
    fault: str = ""


@dataclass(frozen=True)
class Changes:
    """What has changed in a storage.

    Attributes:
        groups: What is new, oldest first: the group and its fingerprint.
        cursor: What the next look starts from.
        waiting: How many more are new.
        files: The files that are there, so that whoever asks need not have them listed again.
    """

    groups: Sequence[tuple[str, str]]
    cursor: str
    waiting: int
    files: Mapping[str, StoredFile] = field(repr=False)


class Storage(Protocol):
    """A place of files, each named by its path below it."""

    def files(self, under: str = "") -> Mapping[str, StoredFile]:
        """The finished files whose names start with `under`.

        Raises:
            SourceUnavailableError: The place does not answer, or is not there now.
        """

    def content(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            SourceError: It is not there, no plain file, or too large.
            SourceUnavailableError: The place does not answer.
        """

    def changes(self, cursor: str, group: Group, *, limit: int) -> Changes:
        """What has changed since an earlier look.

        Raises:
            SourceUnavailableError: The place does not answer, or is not there now.
        """

    def place(self, name: str) -> str:
        """A file as errors call it."""


@dataclass(frozen=True)
class LocalStorage:
    """A folder of this machine. Links in it are never followed.

    Attributes:
        folder: It.
        rest_seconds: How long a file must not have changed to count as written.
    """

    folder: Path
    rest_seconds: float = REST_SECONDS

    def files(self, under: str = "") -> Mapping[str, StoredFile]:
        """The files; see `Storage`."""
        try:
            found = dict(_walk(self.folder, "", DEPTH))
        except OSError as error:
            raise SourceUnavailableError(
                f"The landing area {self.folder} cannot be looked at ({error.strerror}): make or "
                "mount it, or correct MLOPS_LANDING."
            ) from error
        return {name: it for name, it in found.items() if name.startswith(under)}

    def content(self, name: str) -> bytes:
        """The bytes of a file; see `Storage`."""
        path = self.folder / name
        try:
            # Without waiting: to open a pipe that nobody writes to would take for ever.
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise SourceError(f"{path} cannot be read ({error.strerror}). Put it there.") from error
        with os.fdopen(handle, "rb") as stream:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise SourceError(f"{path} is no plain file. Put the file itself there.")
            return _bounded(str(path), stream.read(MAX_BYTES + 1))

    def changes(self, cursor: str, group: Group, *, limit: int) -> Changes:
        """What has changed, by the times of change that the file system sets."""
        now = time.time_ns()
        rested = now - int(self.rest_seconds * 1e9)
        return _by_time(self.files(), cursor, group, now=now, rested=rested, limit=limit)

    def place(self, name: str) -> str:
        """A file as errors call it."""
        return str(self.folder / name)


@dataclass(frozen=True)
class RemoteStorage:
    """A folder of any store that fsspec knows: `s3://…`, `gs://…`, `memory://…`.

    Attributes:
        address: It.
    """

    address: str

    def files(self, under: str = "") -> Mapping[str, StoredFile]:
        """The files; see `Storage`."""
        system, root = self._open()
        with self._errors():
            # Without what the last look remembers of the store.
            system.invalidate_cache()
            found = system.find(f"{root}/{under.rpartition('/')[0]}".rstrip("/"), detail=True)
        return {
            name: _remote_file(details)
            for path, details in found.items()
            if _finished(name := path.removeprefix(root).lstrip("/")) and name.startswith(under)
        }

    def content(self, name: str) -> bytes:
        """The bytes of a file; see `Storage`."""
        system, root = self._open()
        with self._errors(), system.open(f"{root}/{name}", "rb") as stream:
            return _bounded(self.place(name), stream.read(MAX_BYTES + 1))

    def changes(self, cursor: str, group: Group, *, limit: int) -> Changes:
        """What has changed, by the times that the store gives to what is written to it."""
        # Before the store is asked: what comes while it lists must be late at the next look.
        now = time.time_ns()
        return _by_time(self.files(), cursor, group, now=now, limit=limit)

    def place(self, name: str) -> str:
        """A file as errors call it."""
        return f"{self.address.rstrip('/')}/{name}"

    def _open(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        try:
            system, root = url_to_fs(self.address)
        except ImportError as error:
            raise SourceError(f"{self.address} needs another package. {error}.") from error
        except ValueError as error:
            raise SourceError(f"{self.address}: {error}. Correct MLOPS_LANDING.") from error
        return system, root.rstrip("/")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SourceError:
            raise
        except FileNotFoundError as error:
            raise SourceError(f"{self.address} has no file {error}. Put it there.") from error
        except PermissionError as error:
            raise SourceError(
                f"{self.address} refuses us ({error}). Correct its permissions or our credentials."
            ) from error
        except Exception as error:  # every store raises what its own library does
            raise SourceUnavailableError(
                f"{self.address} does not answer ({type(error).__name__}: {error}): see that its "
                "service runs and is reached from here."
            ) from error


@dataclass(frozen=True)
class LakeStorage:
    """A prefix of a lakeFS branch. What is staged there has landed once it is committed.

    Attributes:
        lake: Its repository.
        branch: The branch.
        prefix: What the objects' paths start with, ending with a slash; empty for all.
    """

    lake: Lake = field(repr=False)
    branch: str
    prefix: str

    def files(self, under: str = "") -> Mapping[str, StoredFile]:
        """The files at the branch's head; see `Storage`."""
        with self._errors():
            objects: list[Any] = list(
                self.lake.repo()
                .ref(self.lake.head(self.branch))
                .objects(prefix=f"{self.prefix}{under}")
            )
        return {
            name: StoredFile(int(found.mtime) * 10**9, found.checksum)
            for found in objects
            if _finished(name := found.path.removeprefix(self.prefix))
        }

    def content(self, name: str) -> bytes:
        """The bytes of a file; see `Storage`."""
        from lakefs.exceptions import NotFoundException

        with self._errors():
            reference = self.lake.repo().ref(self.lake.head(self.branch))
            stored = reference.object(f"{self.prefix}{name}")
            try:
                with stored.reader("rb", pre_sign=self.lake.pre_signed) as reader:
                    content: Any = reader.read(MAX_BYTES + 1)
            except NotFoundException as error:
                raise SourceError(
                    f"There is no file {self.place(name)}. Commit it there."
                ) from error
        return _bounded(self.place(name), content)

    def changes(self, cursor: str, group: Group, *, limit: int) -> Changes:
        """What has changed, commit by commit of the branch.

        Not by time: a merge brings objects that were written long before they show.
        """
        base, goal, after = json.loads(cursor) if cursor else ("", "", "")
        with self._errors():
            if not all(self._exists(commit) for commit in (base, goal) if commit):
                # The branch was made anew, and what it was before has been swept: all that is
                # there now counts as new, and identical content changes nothing.
                base, goal, after = "", "", ""
            if not goal:
                goal = self.lake.head(self.branch)
            base = base or self.lake.first_commit()
            reference = self.lake.repo().ref(base)
            changed: list[Any] = (
                []
                if base == goal
                else list(
                    reference.diff(other_ref=goal, prefix=self.prefix or None, type="two_dot")
                )
            )
        groups = {
            found
            for change in changed
            if change.type != "removed"
            and _finished(name := change.path.removeprefix(self.prefix))
            and (found := group(name)) is not None
        }
        new = sorted(found for found in groups if found > after)
        taken = new[:limit]
        done = len(taken) == len(new)
        reached = (goal, "", "") if done else (base, goal, taken[-1])
        told = [(found, goal[:16]) for found in taken]
        return Changes(told, json.dumps(reached), len(new) - len(taken), self.files())

    def _exists(self, commit: str) -> bool:
        from lakefs.exceptions import NotFoundException

        try:
            self.lake.repo().ref(commit).get_commit()
        except NotFoundException:
            return False
        return True

    def place(self, name: str) -> str:
        """A file as errors call it."""
        return f"lakefs://{self.lake.repository}/{self.branch}/{self.prefix}{name}"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from mlops_assets.lake import LakeError, UnreachableLakeError

        try:
            with self.lake.errors():
                yield
        except UnreachableLakeError as error:
            raise SourceUnavailableError(str(error)) from error
        except LakeError as error:
            raise SourceError(f"{self.place('')}: {error}") from error


def _by_time(
    files: Mapping[str, StoredFile],
    cursor: str,
    group: Group,
    *,
    now: int,
    limit: int,
    rested: float = math.inf,
) -> Changes:
    progress = Progress.from_text(cursor)
    of_group: dict[str, list[tuple[str, StoredFile]]] = {}
    ahead: dict[str, int] = {}
    for name, it in sorted(files.items()):
        since = it.changed
        if rested < math.inf and since > now:
            # Another clock set its time, or ours was set back: it rests as long as it stays as it
            # is, by our own clock.
            mark = Item(0, name, it.fingerprint).mark
            since = ahead[mark] = min(progress.ahead.get(mark, now), now)
        found = None if it.fault or since > rested else group(name)
        if found is not None:
            of_group.setdefault(found, []).append((name, it))
    items = [
        Item(
            max(it.changed for _, it in members),
            found,
            " ".join(f"{name.rpartition('/')[2]}:{it.fingerprint}" for name, it in members),
        )
        for found, members in of_group.items()
    ]
    taken, waiting, reached = progress.take(items, now=now, limit=limit)
    reached = replace(reached, ahead=ahead)
    return Changes([(item.name, item.mark) for item in taken], reached.text, waiting, files)


def _walk(folder: Path, above: str, depth: int) -> Iterator[tuple[str, StoredFile]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{above}{entry.name}"
            if not _finished(name):
                continue
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # taken away, or renamed, since the folder was listed
            if stat.S_ISDIR(found.st_mode) and depth > 0:
                try:
                    yield from _walk(Path(entry.path), f"{name}/", depth - 1)
                except FileNotFoundError:
                    continue
                except PermissionError:
                    # As lost+found is on a volume of its own: no reason to read nothing else.
                    yield name, StoredFile(found.st_ctime_ns, "", _CLOSED)
                continue
            # The time of change cannot be set: a copy that keeps the times of its original would
            # otherwise land in the past, behind what was seen.
            changed = max(found.st_mtime_ns, found.st_ctime_ns)
            fingerprint = f"{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}"
            fault = _LINK if stat.S_ISLNK(found.st_mode) else ""
            yield name, StoredFile(changed, fingerprint, fault)


def _finished(name: str) -> bool:
    return bool(name) and not name.endswith(UNFINISHED) and "/." not in f"/{name}"


def _remote_file(details: Mapping[str, Any]) -> StoredFile:
    # The latest: where a writer can set one of them, another may tell when it came to be there.
    times = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")
    changed = max(
        (_nanoseconds(details[key]) for key in times if details.get(key) is not None), default=0
    )
    tag = next((details[key] for key in ("ETag", "etag", "md5Hash") if details.get(key)), "")
    return StoredFile(changed, f"{details.get('size')}-{changed}-{tag}")


def _nanoseconds(when: Any) -> int:  # noqa: ANN401 - each store has its own
    from datetime import UTC, datetime

    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    if isinstance(when, datetime):
        when = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    return round(float(when) * 1e6) * 1000


def _bounded(name: str, content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise SourceError(
            f"{name} has more than the {MAX_BYTES:,} bytes that are read. Split the file."
        )
    return content
