"""Content-addressed bytes on disk: `blobs/ab/cdef…`, named by their SHA-256.

Belongs here: putting bytes down so that they survive a power cut before anything points at them,
and finding them again. Does not: which object, branch or commit uses a blob.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

_STALE_AFTER_SECONDS = 24 * 3600
_COPY_BYTES = 1 << 20


class Blob(NamedTuple):
    """What is known of stored bytes: SHA-256 hex, length in bytes, MD5 hex (lakeFS's checksum)."""

    digest: str
    size: int
    etag: str


class BlobWriter:
    """Takes bytes piece by piece; `finish` names and keeps them, leaving the context drops them.

    A writer holds a temporary file beside the blobs, so that naming it is one rename.
    """

    def __init__(self, store: BlobStore, draft: Path) -> None:
        self._store = store
        self._draft = draft
        self._file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = 0

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._draft.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            OSError: the disk is full or fails; leave the context to drop what was written.
        """
        self._sha256.update(data)
        self._md5.update(data)
        self._size += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def finish(self) -> Blob:
        """Make the bytes durable under their name and describe them.

        Raises:
            OSError: the disk is full or fails; leave the context to drop what was written.
        """
        blob = Blob(self._sha256.hexdigest(), self._size, self._md5.hexdigest())
        if not self._store.holds(blob):
            os.fsync(self._file)
            self._store.adopt(self._draft, blob.digest)
        return blob


class BlobStore:
    """The blobs of one store directory. Safe for many threads and processes at once."""

    def __init__(self, state_dir: Path) -> None:
        self._root = state_dir / "blobs"
        self._drafts = state_dir / "drafts"
        self._root.mkdir(exist_ok=True)
        self._drafts.mkdir(exist_ok=True)
        self._make_shards()
        self._serial = itertools.count()
        self._prefix = f"{self._drafts}/{os.getpid()}-{time.time_ns()}-"

    def _make_shards(self) -> None:
        """Make all 256 directories at once: 10 ms here, instead of a sync for each later on."""
        shards = [self._root / f"{number:02x}" for number in range(256)]
        if not shards[-1].exists():
            for shard in shards:
                shard.mkdir(exist_ok=True)
            _sync_directory(self._root)

    def path(self, digest: str) -> Path:
        """Absolute path of the blob with this SHA-256 hex digest, whether or not it exists."""
        return Path(f"{self._root}/{digest[:2]}/{digest[2:]}")

    def holds(self, blob: Blob) -> bool:
        """Whether these bytes are stored already.

        The size is compared too: a file cut short by a failing disk is replaced, not trusted.
        """
        return self.size(blob.digest) == blob.size

    def size(self, digest: str) -> int | None:
        """Bytes of the blob with this SHA-256 hex digest; None if it is not stored."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def writer(self) -> BlobWriter:
        """Start a blob whose bytes arrive in pieces."""
        return BlobWriter(self, Path(f"{self._prefix}{next(self._serial)}"))

    def put(self, data: bytes) -> Blob:
        """Store `data`, once however often it is put.

        Raises:
            OSError: the disk is full or fails; nothing of the blob remains.
        """
        blob = Blob(
            hashlib.sha256(data).hexdigest(),
            len(data),
            hashlib.md5(data, usedforsecurity=False).hexdigest(),
        )
        if not self.holds(blob):
            with self.writer() as writer:
                writer.write(data)
                writer.finish()
        return blob

    def put_file(self, source: Path) -> Blob:
        """Store a copy of the file `source`.

        Raises:
            OSError: it cannot be read, or the disk is full or fails.
        """
        with source.open("rb") as file, self.writer() as writer:
            while piece := file.read(_COPY_BYTES):
                writer.write(piece)
            return writer.finish()

    def adopt(self, draft: Path, digest: str) -> None:
        """Give the synced file `draft` its blob name."""
        draft.rename(self.path(digest))

    def sync_names(self, digests: Iterable[str]) -> None:
        """Make the names of these blobs durable, before a commit points at them for good.

        The bytes were synced when they came. Their names are synced here, once a directory and
        not once a blob: a staged object may be lost with the power, a committed one may not.
        """
        for shard in {digest[:2] for digest in digests}:
            _sync_directory(self._root / shard)

    def drop_stale_drafts(self) -> None:
        """Remove what processes killed in the middle of an upload left more than a day ago."""
        horizon = time.time() - _STALE_AFTER_SECONDS
        for draft in self._drafts.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if draft.stat().st_mtime < horizon:
                    draft.unlink()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
