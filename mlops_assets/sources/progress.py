"""How far the looks at a growing collection have come, in a few hundred bytes.

A list of all that was seen would grow with every file, and an automation stores it with every look.
Kept is the place that was reached in the order of time, which names were ever taken, as runs of
days, and digests only of what is so recent that something older could still turn up beside it: an
upload that took a while, a transaction that was committed late, a clock that is slow. A name that
was never taken is new whatever time it bears: a folder that is moved in keeps its files' times.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mlops_assets.sources.known_names import pack, unpack_names

OVERLAP = 600 * 10**9
"""Nanoseconds for which something may turn up behind what was seen already."""


@dataclass(frozen=True, order=True)
class Item:
    """One state of one thing.

    Attributes:
        changed: When it came to be, nanoseconds since 1970.
        name: What it is.
        fingerprint: What tells this state from any other of the same thing.
    """

    changed: int
    name: str
    fingerprint: str

    @property
    def mark(self) -> str:
        """A short digest of it."""
        text = f"{self.changed}\0{self.name}\0{self.fingerprint}"
        return hashlib.sha256(text.encode()).hexdigest()[:10]


@dataclass(frozen=True)
class Progress:
    """How far the looks have come.

    Attributes:
        changed: When the newest item that was taken came to be.
        name: Its name.
        looked: When the last look was, nanoseconds since 1970.
        recent: Digests of what was taken and came to be less than the overlap before that.
        names: The names of everything that was ever taken.
        ahead: When what bears a time that is still to come was first seen, by its digest.
    """

    changed: int = 0
    name: str = ""
    looked: int = 0
    recent: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    ahead: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_text(cls, text: str) -> Progress:
        """Read what `text` wrote; nothing before the first look."""
        if not text:
            return cls()
        changed, name, looked, recent, names, *more = json.loads(text)
        return cls(changed, name, looked, frozenset(recent), unpack_names(names), *more)

    @property
    def text(self) -> str:
        """It as a text."""
        known = [sorted(self.recent), pack(self.names), dict(self.ahead)]
        return json.dumps([self.changed, self.name, self.looked, *known])

    @property
    def floor(self) -> int:
        """What came to be before this has been taken."""
        return min(self.changed, self.looked - OVERLAP)

    def take(
        self, items: Iterable[Item], *, now: int, limit: int
    ) -> tuple[list[Item], int, Progress]:
        """Take what is new, oldest first.

        Args:
            items: What there is: everything from the floor on, and anything before it.
            now: Nanoseconds since 1970.
            limit: The most to take.

        Returns:
            What was taken, how many more are new, and how far that comes.
        """
        there = sorted(items)
        late = self.looked - OVERLAP
        if now < late:
            # The clock was set back, and nothing tells what has come since by an earlier time.
            late = 0
        new = [
            item
            for item in there
            if (item.changed, item.name) > (self.changed, self.name)
            or (_is_late(item, late) and item.mark not in self.recent)
            or item.name not in self.names
        ]
        taken, rest = new[:limit], new[limit:]
        reached = max([(self.changed, self.name), *((item.changed, item.name) for item in taken)])
        behind = [
            item.changed
            for item in rest
            if (item.changed, item.name) <= reached and item.name in self.names
        ]
        # What is late and was not taken must still count as late at the next look.
        looked = min([now, *(changed + OVERLAP for changed in behind)])
        marks = {item.mark for item in taken} | self.recent
        recent = {
            item.mark for item in there if _is_late(item, looked - OVERLAP) and item.mark in marks
        }
        names = self.names | {item.name for item in taken}
        return taken, len(rest), Progress(*reached, looked, frozenset(recent), names)


def _is_late(item: Item, since: int) -> bool:
    """Whether something may have come to be after a time; one that tells no time always may."""
    return item.changed >= since or item.changed <= 0
