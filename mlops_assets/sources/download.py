"""A file on a server, brought to this machine once, resumed where it was cut off, and checked.

What has come lies in `<name>.part` and is continued, by this process or the next, as long as the
server says that it still has the same file. It takes its own name when it is whole. A copy is used
again only if the server says that it has not changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import random
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.sources.errors import SourceError, SourceUnavailableError
from mlops_assets.sources.guarded_http import Patience, request

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

BLOCK = 1 << 16

CHECKSUM = ".sha256"

_DIGEST = re.compile(rb"\s*([0-9a-fA-F]{64})(\s|$)")

_LATER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}

_ABSENT = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}


@dataclass(frozen=True)
class Limits:
    """What a download may cost.

    Attributes:
        patience: How long a server is waited for at once.
        max_bytes: The largest file.
        total_seconds: For the whole of a file, with all tries.
        tries: How often in a row nothing may come.
        first_wait: Seconds before the first further try; each further one doubles them.
        longest_wait: Seconds that no wait exceeds, even if the server asks for more.
    """

    patience: Patience = field(default_factory=Patience)
    max_bytes: int = 1 << 30
    total_seconds: float = 3600.0
    tries: int = 5
    first_wait: float = 1.0
    longest_wait: float = 60.0

    def wait(self, tries: int) -> float:
        """Seconds to wait after so many tries: longer each time, and never in step with others."""
        longest = min(self.first_wait * 2.0 ** (tries - 1), self.longest_wait)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


@dataclass(frozen=True)
class Version:
    """How a server names one state of a file.

    Attributes:
        etag: Its entity tag; empty without one.
        modified: When it was last changed, as the server writes it; empty if it does not.
    """

    etag: str = ""
    modified: str = ""

    @classmethod
    def of(cls, answer: BaseHTTPResponse) -> Version:
        """What an answer says."""
        headers = answer.headers
        return cls(headers.get("ETag", ""), headers.get("Last-Modified", ""))

    @property
    def for_range(self) -> str:
        """What a rest can be asked by; empty if it cannot: a weak tag promises no equal bytes."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def unless_changed(self) -> dict[str, str]:
        """The headers that ask for the file only if it has changed."""
        if self.etag:
            return {"If-None-Match": self.etag}
        return {"If-Modified-Since": self.modified} if self.modified else {}


@dataclass(frozen=True)
class Downloaded:
    """A file that has come whole.

    Attributes:
        path: Where it is.
        sha256: The digest of its bytes.
    """

    path: Path
    sha256: str


class _LaterError(Exception):
    """What may pass; `wait` is what the server asks for, in seconds."""

    def __init__(self, sentence: str, wait: float | None = None) -> None:
        super().__init__(sentence)
        self.wait = wait


def version_at(url: str, patience: Patience) -> str | None:
    """How a server names the present state of a file; None if it has none of that name.

    Raises:
        SourceError: It refuses to say.
        SourceUnavailableError: It does not answer now.
    """
    with request("HEAD", url, {}, patience) as answer:
        if answer.status in _ABSENT:
            return None
        try:
            _check_status(url, answer)
        except _LaterError as error:
            raise SourceUnavailableError(f"{error} Try again later.") from error
        version = Version.of(answer)
        return version.etag or version.modified or answer.headers.get("Content-Length", "")


def download(url: str, folder: Path, limits: Limits) -> Downloaded:
    """Bring a file here, or find that the copy that is here is what the server has.

    Two processes that want the same file take turns.

    Args:
        url: Its address; its last part names it.
        folder: Where copies are kept, made where it is missing.
        limits: What it may cost.

    Raises:
        SourceError: The server refuses, or what it gives is too large or damaged.
        SourceUnavailableError: It does not answer, or cut off every try.
    """
    # Of two servers each has a folder of its own: files of one name may differ.
    place = folder / hashlib.sha256(url.encode()).hexdigest()[:16]
    place.mkdir(parents=True, exist_ok=True)
    with _alone(place / "lock"):
        return _Download(url, place / (url.rpartition("/")[2] or "file"), limits).run()


@dataclass(frozen=True)
class _Download:
    url: str
    target: Path
    limits: Limits

    @property
    def part(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def part_version(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part.json")

    @property
    def note(self) -> Path:
        return self.target.with_name(f"{self.target.name}.json")

    def run(self) -> Downloaded:
        end = time.monotonic() + self.limits.total_seconds
        tries = 0
        while True:
            before = self._size()
            try:
                return self._attempt(end)
            except (_LaterError, SourceUnavailableError) as error:
                # Whoever gives some bytes each time is slow, and not down.
                tries = 1 if self._size() > before else tries + 1
                asked = getattr(error, "wait", None)
                wait = self.limits.wait(tries) if asked is None else asked
                if tries >= self.limits.tries or wait > self.limits.longest_wait:
                    later = f" It asks to wait {wait:.0f} s." if asked else ""
                    raise SourceUnavailableError(
                        f"{str(error).rstrip('.')}. Tried {tries} times.{later} What has come is "
                        "kept and continued by the next try."
                    ) from error
                if time.monotonic() + wait > end:
                    raise self._too_slow() from error
                time.sleep(wait)

    def _attempt(self, end: float) -> Downloaded:
        known = self._known()
        started = _version_in(_read(self.part_version))
        offset = self._size() if started and started.for_range else 0
        if offset and started:
            headers = {"Range": f"bytes={offset}-", "If-Range": started.for_range}
        else:
            headers = known[0].unless_changed() if known else {}
        with request("GET", self.url, headers, self.limits.patience) as answer:
            if answer.status == HTTPStatus.NOT_MODIFIED and known:
                return known[1]
            if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
                self._forget_part()
                raise _LaterError(f"{self.url} has no rest of what has come", 0.0)
            _check_status(self.url, answer)
            version = Version.of(answer)
            if answer.status == HTTPStatus.PARTIAL_CONTENT:
                self._check_rest(answer, version, started, offset)
            else:
                offset = 0
                self._forget_part()
                _write(self.part_version, asdict(version))
            self._receive(answer, offset, end)
        return self._finish(version)

    def _check_rest(
        self, answer: BaseHTTPResponse, version: Version, started: Version | None, offset: int
    ) -> None:
        told = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
        other = started is None or (version.for_range and version.for_range != started.for_range)
        if other or told is None or int(told[1]) != offset:
            self._forget_part()
            raise _LaterError(f"{self.url} gives the rest of something else", 0.0)

    def _receive(self, answer: BaseHTTPResponse, offset: int, end: float) -> None:
        from urllib3.exceptions import HTTPError

        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise SourceError(
                f"{self.url} is sent packed although it was asked for as it is. Have its server "
                "send files unchanged."
            )
        length = answer.headers.get("Content-Length", "")
        received = offset
        self._check_size(offset + int(length) if length.isdigit() else offset)
        # Without a buffer: what a killed process had received must be there.
        with self.part.open("ab", buffering=0) as stream:
            try:
                # What there is, and not until a block is full: of a server that gives a byte a
                # minute each byte would be waited for.
                while block := answer.read1(BLOCK, decode_content=False):
                    received += len(block)
                    self._check_size(received)
                    stream.write(block)
                    if time.monotonic() > end:
                        raise self._too_slow()
            except HTTPError as error:
                raise _LaterError(
                    f"{self.url} was cut off after {received:,} bytes ({type(error).__name__})"
                ) from error

    def _finish(self, version: Version) -> Downloaded:
        with self.part.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        offered = self._offered_digest()
        if offered is not None and offered != digest:
            self._forget_part()
            raise SourceError(
                f"{self.url} has SHA-256 {digest[:12]}…, and its server says {offered[:12]}…: it "
                "was damaged on the way, or replaced meanwhile. Try again, or ask who keeps it."
            )
        # In this order: killed between two of these, the next try takes nothing old for new.
        self.note.unlink(missing_ok=True)
        self.part.replace(self.target)
        self.part_version.unlink(missing_ok=True)
        _write(
            self.note,
            {"version": asdict(version), "sha256": digest, "size": self.target.stat().st_size},
        )
        return Downloaded(self.target, digest)

    def _offered_digest(self) -> str | None:
        """The digest that the server offers beside the file, in the form of `sha256sum`."""
        from urllib3.exceptions import HTTPError

        try:
            with request("GET", f"{self.url}{CHECKSUM}", {}, self.limits.patience) as answer:
                if answer.status != HTTPStatus.OK:
                    return None
                found = _DIGEST.match(answer.read(4096, decode_content=False))
        except HTTPError as error:
            raise _LaterError(f"{self.url}{CHECKSUM} was cut off") from error
        # Some servers answer with a page for whatever does not exist.
        return found[1].decode().lower() if found else None

    def _known(self) -> tuple[Version, Downloaded] | None:
        note = _read(self.note)
        version = _version_in((note or {}).get("version"))
        if note is None or version is None or not self.target.is_file():
            return None
        if self.target.stat().st_size != note["size"] or not version.unless_changed():
            return None
        return version, Downloaded(self.target, note["sha256"])

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _forget_part(self) -> None:
        self.part.unlink(missing_ok=True)
        self.part_version.unlink(missing_ok=True)

    def _check_size(self, size: int) -> None:
        if size > self.limits.max_bytes:
            self._forget_part()
            raise SourceError(
                f"{self.url} has more than the {self.limits.max_bytes:,} bytes that are fetched. "
                "Correct MLOPS_SOURCE."
            )

    def _too_slow(self) -> SourceUnavailableError:
        return SourceUnavailableError(
            f"{self.url} has not come within {self.limits.total_seconds:.0f} s. What has come is "
            "kept and continued by the next try."
        )


def _check_status(url: str, answer: BaseHTTPResponse) -> None:
    status = answer.status
    if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return
    if status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _LaterError(f"{url} answers {status}.", _asked_wait(answer))
    if status in _ABSENT:
        raise SourceError(
            f"There is no file {url}: it may not be published yet. Correct MLOPS_SOURCE if it "
            "should be there."
        )
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise SourceError(f"{url} is not given to us ({status}). Use a server that is public.")
    raise SourceError(f"{url} answers {status}, which is no file. Correct MLOPS_SOURCE.")


def _asked_wait(answer: BaseHTTPResponse) -> float | None:
    import urllib3

    asked = answer.headers.get("Retry-After")
    if asked is None:
        return None
    try:
        return urllib3.Retry().parse_retry_after(asked)
    except urllib3.exceptions.InvalidHeader:
        return None


def _version_in(found: Mapping[str, Any] | None) -> Version | None:
    return Version(found["etag"], found["modified"]) if found else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None  # never written, or cut off by a kill: the file is fetched anew
    return found


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content))


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process works there; the lock of a killed one is free."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
