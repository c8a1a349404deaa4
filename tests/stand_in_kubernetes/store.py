"""The objects, their versions, and who watches them. Used on the stand-in's own thread alone."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import secrets
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stand_in_kubernetes.clock import stamp
from stand_in_kubernetes.errors import ApiError, not_found
from stand_in_kubernetes.kinds import EVENT, NAMESPACE, Kind

Object = dict[str, Any]
_HISTORY = 5000
# Without vowels and the digits that look like them, as Kubernetes makes up names.
_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True)
class Change:
    """An object as it was before and after a change; None where it was not."""

    version: int
    kind: Kind
    before: Object | None
    after: Object | None

    @property
    def namespace(self) -> str | None:
        known = self.after or self.before or {}
        return known["metadata"].get("namespace")


class Store:
    """Every object by kind, namespace and name.

    What `get` and `find` return are the objects themselves: a controller changes them in place and
    hands them to `save`, which notes nothing if they are as they were.
    """

    def __init__(self) -> None:
        self._objects: dict[Kind, dict[tuple[str, str], Object]] = {}
        self._saved: dict[str, Object] = {}
        self._history: deque[Change] = deque(maxlen=_HISTORY)
        self._watchers: set[asyncio.Queue[Change]] = set()
        self._changed = asyncio.Event()
        self.version = 0
        self.closed = False  # nobody should wait for another change

    def find(
        self,
        kind: Kind,
        namespace: str | None = None,
        matches: Callable[[Object], bool] = lambda _: True,
    ) -> list[Object]:
        """The objects of a kind, in one namespace or in all, the oldest first."""
        found = self._objects.get(kind, {}).items()
        return [o for (where, _), o in found if namespace in (None, where) and matches(o)]

    def listed(
        self, kind: Kind, namespace: str | None, matches: Callable[[Object], bool]
    ) -> list[Object]:
        """The same in the order in which an API server lists them: of their names."""
        found = self.find(kind, namespace, matches)
        return sorted(found, key=lambda o: (o["metadata"].get("namespace", ""), name_of(o)))

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object:
        """One object; 404 if there is none."""
        found = self.maybe(kind, namespace, name)
        if found is None:
            raise not_found(kind, name)
        return found

    def maybe(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        return self._objects.get(kind, {}).get((namespace or "", name))

    def create(self, kind: Kind, namespace: str | None, thing: Object) -> Object:
        """Keep a new object. 404 without its namespace, 409 if its name is taken."""
        meta = thing.setdefault("metadata", {})
        if kind.namespaced:
            if self.maybe(NAMESPACE, None, namespace or "") is None:
                raise not_found(NAMESPACE, namespace or "")
            meta["namespace"] = namespace
        if not meta.get("name"):
            meta["name"] = f"{meta['generateName']}{made_up(5)}"
        key = (namespace or "", meta["name"])
        if key in self._objects.setdefault(kind, {}):
            raise ApiError(
                409,
                f'{kind.resource} "{meta["name"]}" already exists',
                "AlreadyExists",
                name=meta["name"],
                group=kind.group,
                kind=kind.plural,
            )
        meta.setdefault("uid", str(uuid.uuid4()))
        meta |= {"creationTimestamp": stamp(), "generation": 1}
        self._objects[kind][key] = thing
        self._note(kind, thing)
        return thing

    def save(self, kind: Kind, thing: Object) -> None:
        """Note that an object of the store was changed."""
        saved = self._saved[thing["metadata"]["uid"]]
        if thing == saved:
            return
        if kind.namespaced and thing.get("spec") != saved.get("spec"):
            thing["metadata"]["generation"] += 1
        self._note(kind, thing)

    def remove(self, kind: Kind, thing: Object) -> None:
        meta = thing["metadata"]
        del self._objects[kind][meta.get("namespace", ""), meta["name"]]
        self._note(kind, thing, gone=True)

    def _note(self, kind: Kind, thing: Object, *, gone: bool = False) -> None:
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)
        before = self._saved.pop(thing["metadata"]["uid"], None)
        after = copy.deepcopy(thing)
        if gone:
            told = Change(self.version, kind, after, None)
        else:
            self._saved[thing["metadata"]["uid"]] = after
            told = Change(self.version, kind, before, after)
        self._history.append(told)
        for watcher in self._watchers:
            watcher.put_nowait(told)
        self._changed.set()

    def watch(self, since: int) -> asyncio.Queue[Change]:
        """A queue of what changes after a version. 410 if that is longer ago than is remembered."""
        if since and self._history and since < self._history[0].version - 1:
            raise ApiError(410, f"too old resource version: {since} ({self._history[0].version})")
        queue: asyncio.Queue[Change] = asyncio.Queue()
        for change in self._history:
            if since and change.version > since:
                queue.put_nowait(change)
        self._watchers.add(queue)
        return queue

    def unwatch(self, queue: asyncio.Queue[Change]) -> None:
        self._watchers.discard(queue)

    async def change(self, seconds: float | None) -> None:
        """Return when something has changed since the last call, or after so many seconds."""
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            return
        self._changed.clear()


def record(store: Store, kind: Kind, about: Object, reason: str, message: str) -> None:
    """Record an event about an object; the same one again is counted, as Kubernetes does."""
    namespace, uid = about["metadata"].get("namespace", "default"), about["metadata"]["uid"]
    mark = hashlib.sha256(f"{uid} {reason} {message}".encode()).hexdigest()[:16]
    name = f"{about['metadata']['name']}.{mark}"
    same = store.maybe(EVENT, namespace, name)
    if same is not None:
        same["count"] += 1
        same["lastTimestamp"] = stamp()
        store.save(EVENT, same)
        return
    source = {"Job": "job-controller"}.get(kind.name, "kubelet")
    if reason in {"Scheduled", "FailedScheduling"}:
        source = "default-scheduler"
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name},
        "involvedObject": {
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "name": about["metadata"]["name"],
            "namespace": namespace,
            "uid": uid,
        },
        "reason": reason,
        "message": message,
        "type": "Warning" if reason.startswith(("Failed", "Backoff", "Deadline")) else "Normal",
        "count": 1,
        "firstTimestamp": stamp(),
        "lastTimestamp": stamp(),
        "source": {"component": source},
        "reportingComponent": source,
    }
    store.create(EVENT, namespace, event)


def name_of(thing: Object) -> str:
    return str(thing["metadata"]["name"])


def made_up(letters: int) -> str:
    """A random end of a name."""
    return "".join(secrets.choice(_NAME_LETTERS) for _ in range(letters))
