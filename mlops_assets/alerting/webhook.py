"""Messages to a webhook that takes Slack's form, as Slack, Mattermost and others do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.alerting.channel import post_json

if TYPE_CHECKING:
    from pydantic import SecretStr

    from mlops_assets.alerting.message import Message

LONGEST_TEXT = 2_900
"""Characters of a section: Slack refuses a message with more than 3,000 in one."""

LONGEST_HEADER = 150

CALLS = re.compile("@(?=all|channel|everyone|here)", re.IGNORECASE)


@dataclass(frozen=True)
class Webhook:
    """A channel of a chat.

    Attributes:
        url: The address, which is the secret itself: whoever has it may post.
    """

    url: SecretStr
    name = "webhook"

    def send(self, message: Message) -> None:
        """Post a message.

        Raises:
            ChannelError: Nobody took it.
        """
        post_json(
            self.url.get_secret_value(),
            payload(message),
            what="the webhook for alerts",
            variable="MLOPS_ALERT_WEBHOOK_URL",
        )


def payload(message: Message) -> dict[str, Any]:
    """A message as Slack takes it: blocks, and a text for where blocks are not shown."""
    told = [escaped(message.reason)]
    if not message.resolved:
        told.append(f"*Way out:* {escaped(message.way_out)}")
    facts = [f"*{name}:* {escaped(value)}" for name, value in message.facts().items()]
    blocks: list[dict[str, Any]] = [
        {
            "type": "header",
            "text": {"type": "plain_text", "text": message.headline[:LONGEST_HEADER]},
        },
        *(_section(text) for text in told),
        *([_section("\n".join(facts))] if facts else []),
    ]
    return {"text": escaped(message.headline), "blocks": blocks}


def escaped(text: str) -> str:
    """Text that stays text: an error's words could otherwise call everybody, or hide a link.

    Slack takes three characters for control. Mattermost takes a bare `@all` too: a space without
    width parts it.
    """
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return CALLS.sub("@\u200b", plain)


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:LONGEST_TEXT]}}
