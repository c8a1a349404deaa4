"""How far each channel has got with what there is to tell: nothing is lost, nothing told twice.

A channel keeps its own place in the event log, so that one which is down holds up no other, and
what it missed is found again in the log when it is back. Of messages nothing is stored but which
troubles are open: a cursor holds no secret and does not grow with what could not be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any, Protocol, Self

import dagster as dg

from mlops_assets.alerting.channel import Channel, ChannelError, hand_over
from mlops_assets.alerting.message import Message
from mlops_assets.components.backoff import Backoff

MESSAGES_A_TICK = 20
"""So many messages a channel gets in a tick; the next tick goes on. Dagster gives a tick 60 s."""

OPEN = 200
"""So many open troubles are remembered, the newest; an older one that ends is not told to end."""

Trouble = Mapping[str, Any]
"""What is remembered of an open trouble, to see when it is over; as JSON has it."""


@dataclass(frozen=True)
class Notice:
    """Something in the event log that may be worth a message.

    Attributes:
        position: The id of its event.
        key: Of the trouble that begins or ends with it.
        trouble: What is to be remembered of that; None if it ends.
        message: Makes the message; asked for only if it is sent.
        again: Whether it is told although the trouble is open already.
    """

    position: int
    key: str
    trouble: Trouble | None
    message: Callable[[], Message]
    again: bool = False


class Feed(Protocol):
    """Where notices come from."""

    def end(self) -> int:
        """The id of the newest event."""

    def after(self, position: int) -> Iterable[Notice]:
        """What came after an event, in order; so much of it as is read at once."""

    def over(self, troubles: Mapping[str, Trouble]) -> Iterable[tuple[str, Message]]:
        """Which open troubles have ended otherwise than by a notice, with the message of that."""


@dataclass(frozen=True)
class OfRecord:
    """What feeds have in common: they read Dagster's record.

    Attributes:
        instance: The record.
    """

    instance: dg.DagsterInstance

    def end(self) -> int:
        """The id of the newest event."""
        return self.instance.event_log_storage.get_maximum_record_id() or 0


@dataclass(frozen=True)
class Progress:
    """How far one channel is.

    Attributes:
        position: The id of the last event that it need not be told of any more.
        open: The troubles that it was told of and that are not over, the oldest first.
        backoff: How it does.
    """

    position: int
    open: Mapping[str, Trouble] = field(default_factory=dict)
    backoff: Backoff = field(default_factory=Backoff)

    def told(self, key: str, trouble: Trouble | None) -> Self:
        """The state after a message about a trouble."""
        rest = {name: kept for name, kept in self.open.items() if name != key}
        if trouble is not None:
            rest[key] = trouble
        return replace(self, open=dict(list(rest.items())[-OPEN:]), backoff=Backoff())

    def to_json(self) -> dict[str, Any]:
        """The state for a cursor."""
        return {
            "position": self.position,
            "open": dict(self.open),
            "backoff": self.backoff.to_json(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The state that a cursor carries."""
        return cls(document["position"], document["open"], Backoff.from_json(document["backoff"]))


@dataclass(frozen=True)
class Delivered:
    """What a tick did for one channel.

    Attributes:
        progress: How far it is now.
        messages: How many messages it took.
    """

    progress: Progress
    messages: int = 0


def deliver(
    channel: Channel,
    progress: Progress,
    feed: Feed,
    *,
    now: float,
    go_on: Callable[[], bool] = lambda: True,
) -> Delivered:
    """Hand a channel what it has not been told, until it fails or has had enough for a tick.

    Args:
        channel: It.
        progress: How far it was.
        feed: What there is to tell.
        now: Seconds since 1970.
        go_on: Whether the tick has time for another message.
    """
    if not progress.backoff.due(now):
        return Delivered(progress)
    sent = 0

    def send(message: Message) -> bool:
        nonlocal sent, progress
        try:
            hand_over(message, channel)
        except ChannelError as error:
            progress = replace(progress, backoff=progress.backoff.failed(now, str(error)))
            return False
        sent += 1
        return True

    # A feed that asks for one monitor after the other may see a later alarm of the last and not an
    # earlier one of the first, which came in between: what is younger than the look is the next's.
    end = feed.end()
    for notice in takewhile(lambda notice: notice.position <= end, feed.after(progress.position)):
        worth_it = (notice.key in progress.open) == (notice.trouble is None) or notice.again
        if worth_it:
            if sent >= MESSAGES_A_TICK or not go_on():
                return Delivered(progress, sent)
            if not send(notice.message()):
                return Delivered(progress, sent)
            progress = progress.told(notice.key, notice.trouble)
        # Never back: what was told since would be told again.
        progress = replace(progress, position=max(progress.position, notice.position))
    for key, message in feed.over(progress.open):
        if sent >= MESSAGES_A_TICK or not go_on() or not send(message):
            return Delivered(progress, sent)
        progress = progress.told(key, None)
    # What could not be told may be over by itself: nothing is left then that shows it works again.
    return Delivered(replace(progress, backoff=Backoff()), sent)
