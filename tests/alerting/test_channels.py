"""A message arrives as it is meant, and a channel that fails says so without a secret."""

from __future__ import annotations

import email
import email.policy
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from ports import free_port
from pydantic import SecretStr
from receivers import mailbox, receiver
from stand_in_kubernetes.certificate import made

from mlops_assets.alerting import channel as channels
from mlops_assets.alerting.channel import ChannelError
from mlops_assets.alerting.mail import Mail, mail
from mlops_assets.alerting.message import NAMED, Message, Severity
from mlops_assets.alerting.pagerduty import PagerDuty
from mlops_assets.alerting.webhook import Webhook, payload

BROKEN = Message(
    key="run raw/flights 2013-06-14",
    title="raw/flights 2013-06-14 was not made",
    severity=Severity.ERROR,
    reason="more than 1% of the rows break the contract.",
    way_out="Correct the source, then `mlops-assets backfill raw/flights`.",
    job="__ASSET_JOB",
    run="0a1b",
    step="raw__flights",
    partitions=("2013-06-14",),
    branches=("tx-0a1b-raw__flights-0a1b-0",),
    link="https://dagster.example.org/runs/0a1b",
)
MINE = ("alerts@example.org", ["ops@example.org", "ml@example.org"])


def test_a_webhook_gets_the_reason_the_branch_and_the_way_out() -> None:
    with receiver() as chat:
        Webhook(SecretStr(chat.url)).send(BROKEN)
    [taken] = chat.taken
    assert taken["text"] == "Error: raw/flights 2013-06-14 was not made"
    header, *sections = taken["blocks"]
    assert header["text"]["text"] == "Error: raw/flights 2013-06-14 was not made"
    shown = "\n".join(section["text"]["text"] for section in sections)
    for told in (BROKEN.reason, "Correct the source", "2013-06-14", "0a1b", "https://dagster"):
        assert told in shown
    assert BROKEN.branches[0] in shown


def test_nothing_in_a_message_can_call_everybody_or_hide_a_link() -> None:
    hostile = "<!channel> <https://evil|click> @here @All & more"
    document = payload(replace(BROKEN, reason=hostile, title=hostile))
    styled = [block["text"]["text"] for block in document["blocks"] if block["type"] == "section"]
    for shown in (document["text"], styled[0]):
        assert "&lt;!channel&gt;" in shown
        assert not any(mark in shown for mark in ("<", ">", "@here", "@All"))


def test_a_name_that_is_no_text_and_a_missing_reason_are_sent_all_the_same() -> None:
    odd = replace(BROKEN, key="run \udcff", title="flights/\udcff.csv was not made", reason=" ")
    with receiver() as chat:
        Webhook(SecretStr(chat.url)).send(odd)
        PagerDuty(SecretStr("key"), chat.url).send(odd)
    assert "\\udcff.csv" in chat.taken[0]["text"]
    assert "No reason was given." in mail(odd, *MINE).get_content()


def test_a_message_stays_within_what_a_chat_takes() -> None:
    long = replace(BROKEN, reason="<" * 100_000, title="x" * 5_000, partitions=("2013",) * 10_000)
    for block in payload(long)["blocks"]:
        assert len(block["text"]["text"]) <= 3_000
    assert f"and {10_000 - NAMED:d} more" in long.to_text()


@pytest.mark.parametrize("status", [404, 429, 500, 302])
def test_an_answer_that_is_no_success_fails_and_is_not_followed(status: int) -> None:
    with receiver() as chat:
        chat.status = status
        with pytest.raises(ChannelError, match=f"answers {status}") as refused:
            Webhook(SecretStr(chat.url)).send(BROKEN)
        assert chat.refused == 1
    assert "s3cret" not in str(refused.value)


def test_a_webhook_that_nobody_answers_fails_without_telling_its_address() -> None:
    url = f"http://127.0.0.1:{free_port()}/services/s3cret"
    with pytest.raises(ChannelError, match="does not answer") as refused:
        Webhook(SecretStr(url)).send(BROKEN)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__suppress_context__
    assert "s3cret" not in repr(Webhook(SecretStr(url)))


def test_a_webhook_that_does_not_answer_in_time_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "ANSWER_SECONDS", 0.2)
    with receiver() as chat:
        chat.delay = 2
        with pytest.raises(ChannelError, match="ReadTimeout"):
            Webhook(SecretStr(chat.url)).send(BROKEN)


@pytest.mark.parametrize("url", ["not an address", "ftp://example.org/s3cret", "http://[s3cret"])
def test_an_unusable_webhook_is_named_by_its_setting(url: str) -> None:
    with pytest.raises(ChannelError, match="MLOPS_ALERT_WEBHOOK_URL") as refused:
        Webhook(SecretStr(url)).send(BROKEN)
    assert "s3cret" not in str(refused.value)


def test_a_mail_is_plain_text_to_all_recipients() -> None:
    with mailbox() as box:
        Mail(SecretStr(f"smtp://127.0.0.1:{box.port}"), *MINE).send(BROKEN)
    [raw] = box.mails
    taken = email.message_from_string(raw, policy=email.policy.default)
    assert taken["Subject"] == "Error: raw/flights 2013-06-14 was not made"
    assert taken["To"] == "ops@example.org, ml@example.org"
    assert len(box.recipients) == 2
    text = taken.get_content()
    for told in (BROKEN.reason, BROKEN.way_out, BROKEN.branches[0], "2013-06-14"):
        assert told in text


def test_no_line_of_a_message_becomes_a_header() -> None:
    hostile = replace(
        BROKEN, title="late\r\nBcc: all@example.org", reason="x\r\n.\r\nMAIL FROM:<a>"
    )
    with mailbox() as box:
        Mail(SecretStr(f"smtp://127.0.0.1:{box.port}"), *MINE).send(hostile)
    [raw] = box.mails
    taken = email.message_from_string(raw, policy=email.policy.default)
    assert taken["Bcc"] is None
    assert len(box.recipients) == 2
    with pytest.raises(ValueError, match="linefeed"):
        mail(BROKEN, "a@example.org\r\nBcc: b@example.org", ["ops@example.org"])


def test_a_password_travels_only_where_the_line_is_encrypted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = made(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with mailbox(context) as box:
        Mail(SecretStr(f"smtp://user:p%40ss@127.0.0.1:{box.port}"), *MINE).send(BROKEN)
    assert len(box.mails) == 1
    assert [encrypted for _, encrypted in box.logins] == [True]


def test_a_mail_server_that_nobody_trusts_gets_nothing(tmp_path: Path) -> None:
    certificate, key = made(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with mailbox(context) as box, pytest.raises(ChannelError, match="SSLCertVerificationError"):
        Mail(SecretStr(f"smtp://user:s3cret@127.0.0.1:{box.port}"), *MINE).send(BROKEN)
    assert not box.mails
    assert not box.logins


def test_a_mail_server_that_is_down_is_told_without_the_password() -> None:
    url = SecretStr(f"smtp://user:s3cret@127.0.0.1:{free_port()}")
    with pytest.raises(ChannelError, match="MLOPS_ALERT_SMTP_URL") as refused:
        Mail(url, *MINE).send(BROKEN)
    assert "s3cret" not in str(refused.value)


def test_an_incident_is_opened_and_closed_by_one_key() -> None:
    with receiver() as service:
        service_of_mine = PagerDuty(SecretStr("r0uting"), service.url)
        service_of_mine.send(BROKEN)
        service_of_mine.send(BROKEN.as_resolved("made since"))
    opened, closed = service.taken
    assert opened["routing_key"] == closed["routing_key"] == "r0uting"
    assert (opened["event_action"], closed["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == closed["dedup_key"]
    assert opened["payload"]["severity"] == "error"
    assert opened["payload"]["summary"] == "Error: raw/flights 2013-06-14 was not made"
    assert opened["payload"]["custom_details"]["Branch kept"] == BROKEN.branches[0]
    assert opened["links"][0]["href"] == BROKEN.link
