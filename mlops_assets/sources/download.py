"""A file on a server, brought to this machine once, resumed where it was cut off, and checked.

What has come lies in `<name>.part` and is continued, by this process or the next, as long as the
server says that it still has the same file. It takes its own name when it is whole. A copy is used
again only if its bytes are those that came and the server says that the file has not changed. A
file whose end only a closed connection tells may have been cut off: it is given to whoever asked,
who finds out, and fetched anew for the next, unless the server offers its digest.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_assets.sources.errors import SourceError, SourceUnavailableError
from mlops_assets.sources.guarded_http import Patience, request

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

T = TypeVar("T")

BLOCK = 1 << 16

CHECKSUM = ".sha256"

_OFFERED = re.compile(rb"\s*([0-9a-fA-F]{64})(\s|$)")

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

    def forget(self) -> None:
        """Have the next download fetch it anew: what came is not what was meant."""
        _note_of(self.path).unlink(missing_ok=True)


@dataclass(frozen=True)
class _Come:
    """What has come of a file and is not checked yet.

    Attributes:
        version: How the server names it.
        certain: Whether the server said where it ends.
    """

    version: Version
    certain: bool


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
        return _note_of(self.target)

    def run(self) -> Downloaded:
        end = time.monotonic() + self.limits.total_seconds
        come = self._retried(lambda: self._attempt(end), end)
        if isinstance(come, Downloaded):
            return come
        return self._finish(come, self._retried(self._offered_digest, end))

    def _retried(self, work: Callable[[], T], end: float) -> T:
        """Do work again and again while what stops it may pass."""
        most, tries = self._size(), 0
        while True:
            try:
                return work()
            except (_LaterError, SourceUnavailableError) as error:
                # Whoever gives more each time is slow, and not down; whoever gives the same
                # beginning again is no better than one who gives nothing.
                size = self._size()
                tries = 1 if size > most else tries + 1
                most = max(most, size)
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

    def _attempt(self, end: float) -> Downloaded | _Come:
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
            length: int | None
            none_left = answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset > 0
            if none_left or answer.status == HTTPStatus.PARTIAL_CONTENT:
                version, length = self._continued(answer, started, offset)
            else:
                _check_status(self.url, answer)
                version, length = Version.of(answer), _length(answer)
                offset = 0
                self._forget_part()
                _write(self.part_version, asdict(version))
            if not none_left:
                self._receive(answer, offset, length, end)
            return _Come(version, length is not None or answer.chunked)

    def _continued(
        self, answer: BaseHTTPResponse, started: Version | None, offset: int
    ) -> tuple[Version, int]:
        """What a file is called and how long it is, of which an answer gives the rest or none."""
        given = rf"bytes {offset}-\d+/(\d+)"
        if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # All of it had come when an earlier try ended.
            given = rf"bytes \*/({offset})"
        told = re.fullmatch(given, answer.headers.get("Content-Range", ""))
        version = Version.of(answer).for_range
        if (
            started is None
            or told is None
            or offset == 0  # nobody asked for a rest
            or version not in ("", started.for_range)
        ):
            self._forget_part()
            raise _LaterError(f"{self.url} gives the rest of something else", 0.0)
        return started, int(told[1])

    def _receive(
        self, answer: BaseHTTPResponse, offset: int, length: int | None, end: float
    ) -> None:
        from urllib3.exceptions import HTTPError

        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise SourceError(
                f"{self.url} is sent packed although it was asked for as it is. Have its server "
                "send files unchanged."
            )
        received = offset
        self._check_size(length or 0)
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
        if length is not None and received != length:
            if received > length:
                self._forget_part()
            # A server may give less of a rest than it was asked for.
            raise _LaterError(
                f"{self.url} gave {received:,} of {length:,} bytes",
                0.0 if received > offset else None,
            )

    def _finish(self, come: _Come, offered: str | None) -> Downloaded:
        digest = _digest(self.part)
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
        if come.certain or offered is not None:
            _write(self.note, {"version": asdict(come.version), "sha256": digest})
        return Downloaded(self.target, digest)

    def _offered_digest(self) -> str | None:
        """The digest that the server offers beside the file, in the form of `sha256sum`.

        None is offered where a redirect leads to what is not asked: a server may send all that it
        does not have to a page of its own.
        """
        from urllib3.exceptions import HTTPError

        try:
            with request("GET", f"{self.url}{CHECKSUM}", {}, self.limits.patience) as answer:
                if answer.status != HTTPStatus.OK:
                    return None
                content = b""
                # To its end, which tells whether all of it came.
                while len(content) < BLOCK and (block := answer.read1(BLOCK, decode_content=False)):
                    content += block
        except HTTPError as error:
            raise _LaterError(f"{self.url}{CHECKSUM} was cut off") from error
        except SourceUnavailableError:
            raise
        except SourceError:
            return None
        # Some servers answer with a page for whatever does not exist.
        found = _OFFERED.match(content)
        return found[1].decode().lower() if found else None

    def _known(self) -> tuple[Version, Downloaded] | None:
        note = _read(self.note)
        version = _version_in((note or {}).get("version"))
        if note is None or version is None or not version.unless_changed():
            return None
        if not self.target.is_file() or _digest(self.target) != note["sha256"]:
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


def _length(answer: BaseHTTPResponse) -> int | None:
    """How long the body of an answer is; None if it does not say so beforehand."""
    told = "" if answer.chunked else answer.headers.get("Content-Length", "")
    return int(told) if told.isdigit() else None


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _note_of(target: Path) -> Path:
    """Where it is written down what a copy is."""
    return target.with_name(f"{target.name}.json")


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
