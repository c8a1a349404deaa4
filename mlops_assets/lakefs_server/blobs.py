"""Content-addressed bytes on disk: `blobs/ab/cdef…`, named by their SHA-256.

Belongs here: putting bytes down so that they survive a power cut before anything points at them,
finding them again, and freeing them. Does not: which object, branch or commit uses a blob.

A blob may be freed while somebody else is about to point at it, since equal bytes are stored once.
So whoever points at one holds a lock together with all others who do, and has made the blob young;
whoever frees holds that lock alone, and frees what is old. Both take microseconds.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from mlops_assets.lakefs_server.errors import ApiError, BusyStoreError

STALE_AFTER_SECONDS = 24 * 3600
"""After this nobody is still writing a file, or about to link one that was put down."""

_COPY_BYTES = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LOCK_SECONDS = 60.0
_LOCK_PAUSE_SECONDS = 0.001


class Blob(NamedTuple):
    """What is known of stored bytes: SHA-256 hex, length in bytes, MD5 hex (lakeFS's checksum)."""

    digest: str
    size: int
    etag: str


class _Digests:
    """Names bytes that come piece by piece."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = 0

    def update(self, data: bytes) -> None:
        self._sha256.update(data)
        self._md5.update(data)
        self._size += len(data)

    def blob(self) -> Blob:
        return Blob(self._sha256.hexdigest(), self._size, self._md5.hexdigest())


class _Draft:
    """A file beside the blobs, so that naming it is one rename; leaving the context drops it."""

    def __init__(self, path: str, flags: int) -> None:
        self.path = path
        self._file = os.open(path, flags | os.O_NOFOLLOW, 0o644)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)  # noqa: PTH108 - a Path for each of a year's uploads is felt

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def read(self) -> bytes:
        return os.read(self._file, _COPY_BYTES)

    def sync(self) -> None:
        os.fsync(self._file)


class BlobWriter:
    """Takes bytes piece by piece; `finish` names and keeps them."""

    def __init__(self, store: BlobStore, draft: _Draft) -> None:
        self._store = store
        self._draft = draft
        self._digests = _Digests()

    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            OSError: the disk is full or fails; leave the context to drop what was written.
        """
        self._digests.update(data)
        self._draft.write(data)

    def finish(self) -> Blob:
        """Make the bytes durable under their name and describe them.

        Raises:
            OSError: the disk is full or fails; leave the context to drop what was written.
        """
        return self._store.keep(self._draft, self._digests.blob())


class BlobStore:
    """The blobs of one store directory. Safe for many threads and processes at once."""

    def __init__(self, state_dir: Path) -> None:
        self._root = state_dir / "blobs"
        self._drafts = state_dir / "drafts"
        self._lock = state_dir / "blobs.lock"
        self._root.mkdir(exist_ok=True)
        self._drafts.mkdir(exist_ok=True)
        self._make_shards()
        self._serial = itertools.count()
        self._prefix = f"{self._drafts}/{os.getpid()}-{time.time_ns()}-"

    def _make_shards(self) -> None:
        """Make all 256 directories at once: 10 ms here, instead of a sync for each later on."""
        shards = self.shards()
        if not shards[-1].exists():
            for shard in shards:
                shard.mkdir(exist_ok=True)
            _sync_directory(self._root)

    def shards(self) -> list[Path]:
        """The directories that hold the blobs, by the first two digits of their digests."""
        return [self._root / f"{number:02x}" for number in range(256)]

    def path(self, digest: str) -> Path:
        """Absolute path of the blob with this SHA-256 hex digest, whether or not it exists."""
        return Path(self._place(digest))

    def _place(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest[2:]}"

    def intact(self, blob: Blob) -> bool:
        """Whether these bytes are stored, by their digest and not by their name and size alone."""
        if self.size(blob.digest) != blob.size:
            return False
        with contextlib.suppress(FileNotFoundError), self.path(blob.digest).open("rb") as stored:
            return hashlib.file_digest(stored, hashlib.sha256).hexdigest() == blob.digest
        return False

    def renew(self, blob: Blob) -> bool:
        """Make a blob young, so that nothing frees it for a while; False if it is not stored.

        Its bytes are read: what a failing disk cut short or changed is replaced, not trusted.
        """
        if not self.intact(blob):
            return False
        with self._locked(fcntl.LOCK_SH):
            return self._touch(blob)

    @contextlib.contextmanager
    def claimed(self, blob: Blob) -> Iterator[None]:
        """Hold a blob while something durable is made to point at it.

        Raises:
            ApiError: 410 it was freed since it was put down.
        """
        with self._locked(fcntl.LOCK_SH):
            if not self._touch(blob):
                raise ApiError(410, "the object's bytes are gone: put them down again")
            yield

    @contextlib.contextmanager
    def unclaimed(self) -> Iterator[None]:
        """Wait until nobody is about to point at a blob, and let nobody begin to.

        Raises:
            BusyStoreError: somebody has been at it for a minute, as a stopped process would be.
        """
        with self._locked(fcntl.LOCK_EX):
            yield

    def free(self, digest: str, before: float) -> int | None:
        """Remove a blob that has not been young since a time (s); its size, None if it stays.

        Raises:
            BusyStoreError: see `unclaimed`.
        """
        path = self.path(digest)
        with self.unclaimed(), contextlib.suppress(FileNotFoundError):
            found = path.stat()
            if found.st_mtime < before:
                path.unlink()
                return found.st_size
        return None

    def _touch(self, blob: Blob) -> bool:
        if self.size(blob.digest) != blob.size:
            return False
        os.utime(self._place(blob.digest))
        return True

    @contextlib.contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        """The lock of this store directory, until it is left or the process dies.

        A file of its own each time: threads that shared one would share its lock.
        """
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            patience = time.monotonic() + _LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > patience:
                        raise BusyStoreError(
                            f"{self._lock} has been held for {_LOCK_SECONDS:.0f} s: end the "
                            "process that holds it, then try again."
                        ) from None
                time.sleep(_LOCK_PAUSE_SECONDS)
            yield
        finally:
            os.close(descriptor)

    def size(self, digest: str) -> int | None:
        """Bytes of the blob with this SHA-256 hex digest; None if it is not stored."""
        try:
            return os.stat(self._place(digest)).st_size  # noqa: PTH116 - as in `_Draft`
        except FileNotFoundError:
            return None

    def last_used(self, digest: str) -> float:
        """When a blob was put down or made young (s); 0 if it is not stored."""
        try:
            return self.path(digest).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def digests(self) -> Iterator[str]:
        """The SHA-256 hex digests of all blobs."""
        for shard in self.shards():
            with os.scandir(shard) as files:
                for file in files:
                    digest = shard.name + file.name
                    if _DIGEST.fullmatch(digest):
                        yield digest

    @contextlib.contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        """Start a blob whose bytes arrive in pieces; leaving the context drops what is no blob."""
        with self._draft() as draft:
            yield BlobWriter(self, draft)

    def put(self, data: bytes) -> Blob:
        """Store `data`, once however often it is put.

        Raises:
            OSError: the disk is full or fails; nothing of the blob remains.
        """
        digests = _Digests()
        digests.update(data)
        blob = digests.blob()
        if not self.renew(blob):
            with self._draft() as draft:
                draft.write(data)
                self.keep(draft, blob)
        return blob

    def take(self, file: Path) -> Blob:
        """Turn a file of the same file system into a blob; the file is gone then.

        It is moved first, so that what is read is what is kept, whoever else knows its path.

        Raises:
            FileNotFoundError: it is gone already.
            OSError: it cannot be read, or the disk fails.
        """
        moved = self._next_path()
        file.rename(moved)
        digests = _Digests()
        with _Draft(moved, os.O_RDONLY) as draft:
            while data := draft.read():
                digests.update(data)
            return self.keep(draft, digests.blob())

    def _draft(self) -> _Draft:
        return _Draft(self._next_path(), os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def _next_path(self) -> str:
        return f"{self._prefix}{next(self._serial)}"

    def keep(self, draft: _Draft, blob: Blob) -> Blob:
        """Make a draft's bytes durable under their blob's name, unless they are stored already.

        Bytes that are stored damaged are replaced at once: who has them open reads what he opened.
        """
        if not self.renew(blob):
            draft.sync()
            replaces = self.size(blob.digest) is not None
            with self._locked(fcntl.LOCK_SH):
                os.rename(draft.path, self._place(blob.digest))  # noqa: PTH104 - as in `_Draft`
            if replaces:
                # A commit may point at it already, and no other is to come that would sync it.
                self.sync_names([blob.digest])
        return blob

    def sync_names(self, digests: Iterable[str]) -> None:
        """Make the names of these blobs durable, before a commit points at them for good.

        The bytes were synced when they came. Their names are synced here, once a directory and
        not once a blob: a staged object may be lost with the power, a committed one may not.
        """
        for shard in {digest[:2] for digest in digests}:
            _sync_directory(self._root / shard)

    def stale_drafts(self) -> Iterator[Path]:
        """What processes killed in the middle of an upload left more than a day ago."""
        yield from older(self._drafts, time.time() - STALE_AFTER_SECONDS)

    def drop_stale_drafts(self) -> None:
        """Remove the stale drafts."""
        for draft in self.stale_drafts():
            draft.unlink(missing_ok=True)


def older(folder: Path, horizon: float) -> Iterator[Path]:
    """The files of a folder, none if it is missing, that were last written before a time (s)."""
    for file in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            if file.stat().st_mtime < horizon:
                yield file


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have no such call for a folder, and sync a name by themselves.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
