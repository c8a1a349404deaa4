"""The weekly digest reaches those who are told things, and says whom it did not reach."""

import dagster as dg
import pytest
from ports import free_port
from receivers import receiver

from mlops_assets.defs.automation import schedules
from mlops_assets.settings import settings


@pytest.fixture(autouse=True)
def fresh_settings(parsed_home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLOPS_HOME", str(parsed_home))
    settings.cache_clear()
    yield
    settings.cache_clear()


def run() -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        return schedules.report_digest.execute_in_process(instance=instance, raise_on_error=False)


def test_a_digest_is_sent_to_the_webhook_and_calls_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as chat, receiver() as pager:
        monkeypatch.setenv("MLOPS_ALERT_WEBHOOK_URL", chat.url)
        monkeypatch.setenv("MLOPS_ALERT_PAGERDUTY_KEY", "0" * 32)
        monkeypatch.setenv("MLOPS_ALERT_PAGERDUTY_URL", pager.url)
        assert run().success
    [taken] = chat.taken
    assert "no failed runs" in taken["text"]
    assert pager.taken == []


def test_a_digest_that_nobody_took_fails_and_names_no_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLOPS_ALERT_WEBHOOK_URL", f"http://127.0.0.1:{free_port()}/secret")
    ended = run()
    assert not ended.success
    [failure] = [event for event in ended.all_events if event.is_step_failure]
    told = str(failure.step_failure_data.error)
    assert "The digest did not reach everybody: " in told
    assert "secret" not in told
