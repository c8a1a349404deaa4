"""What goes on as long as somebody listens: logs that are followed, and watches."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from stand_in_kubernetes.kinds import Kind
from stand_in_kubernetes.pods import is_finished
from stand_in_kubernetes.store import Change, Object, Store

_FOLLOW_SECONDS = 0.1
Lines = Callable[[list[Object], float], AsyncIterator[bytes]]


def logged(file: Path, query: Mapping[str, str]) -> bytes:
    """A pod's output until now, as `tailLines`, `limitBytes` and `timestamps` want it."""
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    if "tailLines" in query:
        lines = lines[-int(query["tailLines"]) or len(lines) :]
    text = b"".join(lines if flag(query, "timestamps") else [_bare(line) for line in lines])
    return text[: int(query["limitBytes"])] if "limitBytes" in query else text


async def followed(
    store: Store, pod: Object, file: Path, query: Mapping[str, str]
) -> AsyncIterator[bytes]:
    """A pod's output until now and from now on, until the pod has ended."""
    place = file.stat().st_size
    yield logged(file, query)
    while not store.closed:
        ended = is_finished(pod)
        with file.open("rb") as log:
            log.seek(place)
            fresh = log.read()
        place += len(fresh)
        for line in fresh.splitlines(keepends=True):
            yield line if flag(query, "timestamps") else _bare(line)
        if ended:
            return
        await asyncio.sleep(_FOLLOW_SECONDS)


def flag(query: Mapping[str, str], name: str) -> bool:
    """Whether a parameter is set; Go's clients write `true`, Python's `True`."""
    return query.get(name, "").lower() in {"true", "1"}


def _bare(line: bytes) -> bytes:
    return line.partition(b" ")[2]


def watched(
    store: Store,
    queue: asyncio.Queue[Change],
    kind: Kind,
    namespace: str | None,
    wanted: Callable[[Object], bool],
    shown: Callable[[Object], Any],
) -> Lines:
    """The lines of a watch: `first`, then what comes through the queue, for so many seconds."""

    async def lines(first: list[Object], seconds: float) -> AsyncIterator[bytes]:
        until = time.monotonic() + seconds
        try:
            for event in first:
                yield _line(event)
            while not store.closed and time.monotonic() < until:
                try:
                    change = await asyncio.wait_for(queue.get(), 0.5)
                except TimeoutError:
                    continue
                if change.kind is kind and namespace in {None, change.namespace}:
                    told = _told(change, wanted)
                    if told:
                        yield _line({"type": told[0], "object": shown(told[1])})
        finally:
            store.unwatch(queue)

    return lines


def _told(
    change: Change, wanted: Callable[[Object], bool]
) -> tuple[Literal["ADDED", "MODIFIED", "DELETED"], Object] | None:
    """What a change is to a watcher, whose selector the object may enter or leave by it."""
    was = change.before is not None and wanted(change.before)
    if change.after is not None and wanted(change.after):
        return "MODIFIED" if was else "ADDED", change.after
    if was and change.before is not None:
        return "DELETED", change.after or change.before
    return None


def _line(event: Object) -> bytes:
    return json.dumps(event).encode() + b"\n"
