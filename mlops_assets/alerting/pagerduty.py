"""Events in the form of PagerDuty's Events API v2, which other services take too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.alerting.channel import post_json

if TYPE_CHECKING:
    from pydantic import SecretStr

    from mlops_assets.alerting.message import Message

LONGEST_SUMMARY = 1_024


@dataclass(frozen=True)
class PagerDuty:
    """A service that calls people.

    Attributes:
        routing_key: Whom it calls; a secret.
        endpoint: Where events are posted.
    """

    routing_key: SecretStr
    endpoint: str
    name = "pagerduty"

    def send(self, message: Message) -> None:
        """Open an incident, or close it.

        Raises:
            ChannelError: Nobody took it.
        """
        document = {"routing_key": self.routing_key.get_secret_value(), **event(message)}
        post_json(
            self.endpoint,
            document,
            what="the service that MLOPS_ALERT_PAGERDUTY_URL names",
            variable="MLOPS_ALERT_PAGERDUTY_KEY or MLOPS_ALERT_PAGERDUTY_URL",
        )


def event(message: Message) -> dict[str, Any]:
    """A message as an event, without the routing key."""
    if message.resolved:
        return {"event_action": "resolve", "dedup_key": message.dedup_key}
    return {
        "event_action": "trigger",
        "dedup_key": message.dedup_key,
        "payload": {
            "summary": message.headline[:LONGEST_SUMMARY],
            "source": "mlops-assets",
            "severity": message.severity.value,
            "component": message.job,
            "custom_details": {
                "Reason": message.reason,
                "Way out": message.way_out,
                **message.facts(),
            },
        },
        "links": [{"href": message.link, "text": "Open in Dagster"}] if message.link else [],
    }
