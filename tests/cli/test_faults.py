"""Which words of a failure the user reads."""

import ast
import errno
import sqlite3

import pytest
from dagster._utils.error import serializable_error_info_from_exc_info

from mlops_assets.components.faults import (
    SENTENCES,
    Link,
    interrupted,
    links,
    recorded_links,
    sentence,
)
from mlops_assets.lake import ConflictError
from mlops_assets.settings import ROOT

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


def test_an_error_whose_base_is_a_sentence_is_one_too_and_each_name_is_that_of_an_error() -> None:
    bases = {"DagsterInvalidDefinitionError": set[str]()}
    for module in (ROOT / "mlops_assets").rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {base.id for base in node.bases if isinstance(base, ast.Name)}
    assert bases.keys() >= SENTENCES
    assert {name for name in bases if bases[name] & SENTENCES} <= SENTENCES


def test_a_failure_without_any_record_still_says_something() -> None:
    assert "--debug" in sentence(recorded_links(None), place="/state")


def test_a_stopped_step_is_told_from_a_failed_one() -> None:
    assert interrupted([Link("X", ""), Link("DagsterExecutionInterruptedError", "")])
    assert not interrupted([Link("ConflictError", "")])
