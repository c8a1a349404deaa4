"""From what went wrong to the one sentence that the user reads.

Pure: an exception, or Dagster's record of one, is a chain of links, and a decision picks the link
that says what happened in words meant for people.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlops_assets.settings import ROOT

if TYPE_CHECKING:
    from dagster_shared.error import SerializableErrorInfo

# Their messages are whole sentences with the way out, written where they are raised.
SENTENCES = {
    "BusyStoreError",
    "CommandError",
    "ConflictError",
    "ContractError",
    "DagsterInvalidDefinitionError",
    "DamagedStoreError",
    "FailedRunError",
    "LakeError",
    "LaunchError",
    "MissingPartitionError",
    "NewerFormatError",
    "NotAModelError",
    "PictureError",
    "ProfileError",
    "SchemaError",
    "SettingsError",
    "SourceError",
    "SourceUnavailableError",
    "StoreFormatError",
    "TrackingError",
    "UnmergedError",
    "UnreachableLakeError",
    "UnusableRowsError",
}

# A disk fills under whatever happens to write: our server, SQLite, DuckDB, Dagster. Each says so
# in its own words, and only the words reach us through HTTP or a recorded failure.
FULL_DISK = (
    "no space left on device",
    "no space left on the disk",
    "database or disk is full",
    "disk quota exceeded",
)
FULL_DISK_NUMBERS = {errno.ENOSPC, errno.EDQUOT}

# What may not be written, in the words of the kernel and of SQLite.
READ_ONLY = (
    "read-only file system",
    "permission denied",
    "attempt to write a readonly database",
)

INTERRUPTIONS = {"KeyboardInterrupt", "DagsterExecutionInterruptedError"}


class Link(NamedTuple):
    """One exception of a chain.

    Attributes:
        kind: The name of its class.
        text: Its message.
        full_disk: Whether it says that a disk is full.
    """

    kind: str
    text: str
    full_disk: bool = False


def links(error: BaseException) -> list[Link]:
    """An exception and what it came from, outermost first."""
    return [_link(found) for found in _chain(error)]


def recorded_links(info: SerializableErrorInfo | None) -> list[Link]:
    """The same of an exception as Dagster recorded it."""
    found = []
    while info is not None:
        # The message of a recorded exception is the traceback's last line: "package.Kind: text".
        text = info.message.strip().partition(": ")[2] or info.message.strip()
        found.append(Link(info.cls_name or "Exception", text, _says_full(text)))
        info = info.cause or info.context
    return found


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _link(error: BaseException) -> Link:
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return Link("DagsterInvalidDefinitionError", _first_mistake(error.errors()))
    text = str(error)
    full = isinstance(error, OSError) and error.errno in FULL_DISK_NUMBERS
    return Link(type(error).__name__, text, full or _says_full(text))


def _first_mistake(mistakes: Sequence[Any]) -> str:
    """The first thing that pydantic refuses, and the place in its file where Dagster added it."""
    first = mistakes[0]
    path, _, place = ".".join(map(str, first["loc"])).partition(" at ")
    told = (
        "there is no such field"
        if first["type"] == "extra_forbidden"
        else str(first["msg"]).removeprefix("Value error, ")
    )
    file, _, line = place.rpartition(":")
    if not file:
        return f"{path}: {told}."
    shown = Path(file)
    shown = shown.relative_to(ROOT) if shown.is_relative_to(ROOT) else shown
    return f"{shown}:{line}: {path.removeprefix('attributes.')}: {told}."


def _says_full(text: str) -> bool:
    return any(words in text.lower() for words in FULL_DISK)


def interrupted(chain: Sequence[Link]) -> bool:
    """Whether somebody stopped the work, by Ctrl-C or a signal."""
    return any(link.kind in INTERRUPTIONS for link in chain)


def sentence(chain: Sequence[Link], *, place: str) -> str:
    """What happened and the way out, on one line.

    Args:
        chain: The exception and its causes, outermost first.
        place: The state directory, named where a disk is full.
    """
    if any(link.full_disk for link in chain):
        return (
            f"no space is left on the disk that holds {place}: free some there, or set MLOPS_HOME "
            "to another place, and run again."
        )
    # Dagster wraps what a step raises in errors of its own; the first that is not one is ours or
    # a library's.
    told = [
        link for link in chain if link.kind in SENTENCES or not link.kind.startswith("Dagster")
    ] or list(chain)
    if not told:
        return "it failed without a reason; run again with --debug."
    first = next((link for link in told if link.kind in SENTENCES), told[0])
    if first.kind in SENTENCES:
        return " ".join(first.text.split())
    if any(words in first.text.lower() for words in READ_ONLY):
        return (
            f"{' '.join(first.text.split())}: correct the permissions there, or set MLOPS_HOME, "
            f"now {place}, to a place that can be written."
        )
    return (
        f"{first.kind}: {' '.join(first.text.split())} (unexpected: run again with --debug to see "
        "where)"
    )
