"""Messages by e-mail, over TLS."""

from __future__ import annotations

import ipaddress
import smtplib
import ssl
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mlops_assets.alerting.channel import ANSWER_SECONDS, ChannelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

    from mlops_assets.alerting.message import Message

LONGEST_SUBJECT = 200

PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True)
class Mail:
    """A mail server and who is written to.

    Attributes:
        url: `smtps://user:password@host:port`, or `smtp://…`, which asks for STARTTLS.
        sender: The address that the mails come from.
        recipients: Who gets them.
    """

    url: SecretStr
    sender: str
    recipients: Sequence[str]
    name = "mail"

    def send(self, message: Message) -> None:
        """Send a message to all recipients.

        Raises:
            ChannelError: Nobody took it, or the way there is not encrypted.
        """
        try:
            with self._connected() as server:
                server.send_message(mail(message, self.sender, self.recipients))
        except (smtplib.SMTPException, OSError, ValueError) as error:
            # What a server answers can repeat the name and the password that it was given.
            raise ChannelError(
                f"the mail server for alerts did not take the message ({type(error).__name__}): "
                "see whether it is up, or correct MLOPS_ALERT_SMTP_URL, MLOPS_ALERT_MAIL_FROM and "
                "MLOPS_ALERT_MAIL_TO."
            ) from None

    def _connected(self) -> smtplib.SMTP:
        parts = urlsplit(self.url.get_secret_value())
        if parts.scheme not in PORTS or not parts.hostname:
            raise ChannelError(
                "MLOPS_ALERT_SMTP_URL names no mail server: write smtps://user:password@host:465, "
                "or smtp://… for STARTTLS."
            )
        host, port = parts.hostname, parts.port or PORTS[parts.scheme]
        trusted = ssl.create_default_context()
        server: smtplib.SMTP
        if parts.scheme == "smtps":
            server = smtplib.SMTP_SSL(host, port, timeout=ANSWER_SECONDS, context=trusted)
        else:
            server = smtplib.SMTP(host, port, timeout=ANSWER_SECONDS)
        try:
            server.ehlo()
            if parts.scheme == "smtp":
                _encrypt(server, host, trusted)
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
        except BaseException:
            server.close()
            raise
        return server


def _encrypt(server: smtplib.SMTP, host: str, trusted: ssl.SSLContext) -> None:
    if server.has_extn("starttls"):
        server.starttls(context=trusted)
    elif not _on_this_machine(host):
        raise ChannelError(
            "the mail server for alerts offers no STARTTLS, and alerts are not sent in the clear: "
            "name one that does in MLOPS_ALERT_SMTP_URL."
        )


def mail(message: Message, sender: str, recipients: Sequence[str]) -> EmailMessage:
    """A message as a mail of plain text; nothing in it can become a header.

    Raises:
        ValueError: An address of the settings is none.
    """
    made = EmailMessage(policy=SMTP)
    # A line break in a header begins another header: the headline has none, and the standard
    # library refuses one in an address.
    made["Subject"] = message.headline[:LONGEST_SUBJECT]
    made["From"] = sender
    made["To"] = ", ".join(recipients)
    # Mails about one trouble are shown together.
    made["References"] = f"<{message.dedup_key}@mlops-assets>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(message.to_text())
    return made


def _on_this_machine(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
