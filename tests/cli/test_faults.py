"""Which words of a failure the user reads."""

import errno
import sqlite3

import pytest
from dagster import DagsterInvalidDefinitionError
from dagster._utils.error import serializable_error_info_from_exc_info

from mlops_assets.cli.execution import FailedRunError
from mlops_assets.cli.faults import CommandError
from mlops_assets.components.contract import ContractError
from mlops_assets.components.faults import (
    SENTENCES,
    Link,
    interrupted,
    links,
    recorded_links,
    sentence,
)
from mlops_assets.compute.profiles import ProfileError
from mlops_assets.compute.run_launcher import LaunchError
from mlops_assets.lake import (
    ConflictError,
    LakeError,
    MissingPartitionError,
    UnreachableLakeError,
)
from mlops_assets.lakefs_server.errors import (
    BusyStoreError,
    DamagedStoreError,
    StoreFormatError,
)
from mlops_assets.ml.labels import UnusableRowsError
from mlops_assets.settings import SettingsError
from mlops_assets.sources.errors import SourceError, SourceUnavailableError
from mlops_assets.tracking.connection import TrackingError

FULL = "no space is left on the disk that holds /state"


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (raised(ConflictError("another was first."), ValueError("x")), "another was first."),
        (
            raised(RuntimeError("wrapped"), ConflictError("another was first.")),
            "another was first.",
        ),
        (raised(OSError(errno.ENOSPC, "No space left on device")), FULL),
        (raised(OSError(errno.EDQUOT, "quota")), FULL),
        (raised(RuntimeError("x"), sqlite3.OperationalError("database or disk is full")), FULL),
        (raised(KeyError("month")), "KeyError: 'month' (unexpected: run again with --debug"),
        (raised(ConflictError("two\n  lines")), "two lines"),
    ],
)
def test_the_cause_that_has_words_for_people_is_told(error: BaseException, told: str) -> None:
    assert sentence(links(error), place="/state").startswith(told)


class DagsterExecutionStepExecutionError(Exception):
    """As Dagster's, by name."""


def test_what_dagster_wraps_and_records_reads_the_same() -> None:
    ours = raised(ConflictError("raw/flights was published by another writer: run again."))
    with pytest.raises(DagsterExecutionStepExecutionError) as caught:
        raise DagsterExecutionStepExecutionError("Error occurred") from ours
    recorded = serializable_error_info_from_exc_info((caught.type, caught.value, caught.tb))
    told = sentence(recorded_links(recorded), place="/state")
    assert told == "raw/flights was published by another writer: run again."


def test_the_errors_that_are_sentences_are_named_as_they_are_raised() -> None:
    kinds = [
        *(CommandError, ConflictError, ContractError, DagsterInvalidDefinitionError),
        *(FailedRunError, LakeError, MissingPartitionError, SettingsError, SourceError),
        SourceUnavailableError,
        *(StoreFormatError, TrackingError, UnreachableLakeError, UnusableRowsError),
        *(BusyStoreError, DamagedStoreError, LaunchError, ProfileError),
    ]
    assert {kind.__name__ for kind in kinds} == SENTENCES


def test_a_failure_without_any_record_still_says_something() -> None:
    assert "--debug" in sentence(recorded_links(None), place="/state")


def test_a_stopped_step_is_told_from_a_failed_one() -> None:
    assert interrupted([Link("X", ""), Link("DagsterExecutionInterruptedError", "")])
    assert not interrupted([Link("ConflictError", "")])
