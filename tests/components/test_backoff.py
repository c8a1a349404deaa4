import json

import pytest

from mlops_assets.components.backoff import LONGEST_REASON, LONGEST_WAIT, Backoff

NOON = 1_370_001_600.0


def after(*failures: float) -> Backoff:
    state = Backoff()
    for now in failures:
        state = state.failed(now, "nobody answers.")
    return state


@pytest.mark.parametrize(
    ("failures", "wait"), [(1, 60), (2, 120), (3, 240), (6, 1920), (7, 3600), (100, 3600)]
)
def test_each_failure_doubles_the_wait_up_to_an_hour(failures: int, wait: float) -> None:
    state = after(*[NOON] * failures)

    assert state.next_try == NOON + wait
    assert not state.due(NOON + wait - 1)
    assert state.due(NOON + wait)


def test_what_never_failed_is_tried_at_once() -> None:
    assert Backoff().due(NOON)
    assert Backoff().to_json() == {}


def test_the_state_survives_a_cursor() -> None:
    state = after(NOON, NOON + 60)

    assert Backoff.from_json(json.loads(json.dumps(state.to_json()))) == state
    assert Backoff.from_json({}) == Backoff.from_json(None) == Backoff()


def test_a_clock_that_was_set_back_does_not_put_the_next_try_off() -> None:
    assert after(NOON).due(NOON - 2 * LONGEST_WAIT)


def test_the_sentence_says_since_when_why_and_when_next() -> None:
    assert after(NOON, NOON + 60).sentence("Reading the source") == (
        "Reading the source failed 2 times in a row since 2013-05-31 12:00:00 UTC: nobody answers. "
        "Tried again after 2013-05-31 12:03:00 UTC."
    )
    assert "failed once since" in after(NOON).sentence("It")


def test_a_long_reason_does_not_fill_the_cursor() -> None:
    assert len(Backoff().failed(NOON, "x" * 10_000).reason) == LONGEST_REASON
