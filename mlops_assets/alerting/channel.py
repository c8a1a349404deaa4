"""What carries a message, and what it raises if it could not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mlops_assets.alerting.deadline import within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_assets.alerting.message import Message

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 10.0
"""How long a channel may be silent."""

SEND_SECONDS = 15.0
"""How long it may take for a message in all: a tick has 60 s for all of them, and what a tick that
runs out of time was told to some, they would be told again."""


class ChannelError(Exception):
    """A message did not get through; the sentence says why, without any secret."""


class Channel(Protocol):
    """A way to people."""

    name: str

    def send(self, message: Message) -> None:
        """Hand a message over.

        Raises:
            ChannelError: Nobody took it.
        """


def hand_over(message: Message, channel: Channel) -> None:
    """Hand a message to a channel, within the time that a channel has.

    Raises:
        ChannelError: Nobody took it, or not in time.
    """
    try:
        within(SEND_SECONDS, lambda: channel.send(message))
    except TimeoutError:
        raise ChannelError(
            f"the {channel.name} did not take the message within {SEND_SECONDS:g} s: see whether "
            "it is up, and what slows it down."
        ) from None


def post_json(url: str, document: Mapping[str, object], *, what: str, variable: str) -> None:
    """Post a document, once, without following where the answer points.

    The address may be a secret, as a webhook's is: no error repeats any of it.

    Args:
        url: Where to.
        document: What.
        what: Who answers there, as a sentence begins with it.
        variable: The setting that names the address.

    Raises:
        ChannelError: Nobody answers, or the answer is no success.
    """
    import urllib3

    timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS)
    try:
        with urllib3.PoolManager(timeout=timeout) as pool:
            answer = pool.request("POST", url, json=document, retries=False, redirect=False)
    except (urllib3.exceptions.HTTPError, ValueError, OSError) as error:
        # The message of such an error, and of what it came from, holds the address.
        raise ChannelError(
            f"{what} does not answer ({type(error).__name__}): see whether it is up, or correct "
            f"{variable}."
        ) from None
    if not 200 <= answer.status < 300:
        raise ChannelError(
            f"{what} answers {answer.status}: see whether it is up, or correct {variable}."
        )
