"""`mlops-assets champion`: what is in force and why, and moving it by order."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from command_line import Ended
from installation import copied
from traced_lake import with_problem

Ask = Callable[..., Ended]


@pytest.fixture
def order(
    command: Callable[..., Ended],
    traced: Path,
    tmp_path: Path,
    definitions: dg.Definitions,
    monkeypatch: pytest.MonkeyPatch,
) -> Ask:
    """Runs the command over a copy of the traced state, for the test to change."""
    home = copied(traced / "home", tmp_path / "own")
    found = with_problem(definitions)
    monkeypatch.setattr("mlops_assets.definitions.defs", lambda: found)
    # The command names Dagster's home to its children, and would go on naming this test's.
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    return lambda *words: command("champion", *words, MLOPS_HOME=home)


def shown(ended: Ended) -> Any:
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def test_it_shows_what_is_in_force_and_every_decision(order: Ask) -> None:
    document = shown(order("toy.EWR", "--json"))
    months = ["2013-02", "2013-03", "2013-04"]
    assert list(document["decisions"]) == months
    assert document["champion"] == document["decisions"]["2013-04"]["champion"]
    text = order("toy.EWR").out
    assert f"{document['champion']['partition']} (SHA-256" in text.splitlines()[0]
    for month in months:
        assert f"{month}  {document['decisions'][month]['outcome']}" in text


def test_an_earlier_month_is_put_in_force_and_rolled_back(order: Ask) -> None:
    before = shown(order("toy.EWR", "--json"))
    candidates = {month: decision["candidate"] for month, decision in before["decisions"].items()}
    other = next(month for month in candidates if candidates[month] != before["champion"])

    moved = shown(order("toy.EWR", "--promote", other, "--json"))
    assert moved["champion"] == candidates[other]
    newest = moved["decisions"]["2013-04"]
    assert newest["ordered"]
    assert f"promoted by hand ({other})" in newest["reason"]

    back = shown(order("toy.EWR", "--rollback", "--json"))
    assert back["champion"] != candidates[other]
    assert "rolled back by hand" in back["decisions"]["2013-04"]["reason"]
    assert shown(order("toy.JFK", "--json"))["decisions"].keys() == moved["decisions"].keys()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("toy.ORD",), "there is no model 'toy.ORD': there are"),
        (("toy.EWR", "--promote", "2012-12"), "has no model '2012-12': use a month of 2013-02"),
        (("toy.EWR", "--promote", "2013-02", "--rollback"), "use one of them"),
        (("flight_delay.JFK",), "has no champion yet: materialize flight_delay/champion"),
    ],
)
def test_what_cannot_be_shown_or_ordered_is_one_sentence(
    order: Ask, words: tuple[str, ...], told: str
) -> None:
    ended = order(*words)
    assert ended.code == 2
    assert told in ended.err
    assert "Traceback" not in ended.err


def test_a_version_that_mlflow_lacks_moves_nothing(order: Ask) -> None:
    before = shown(order("toy.EWR", "--json"))
    ended = order("toy.EWR", "--promote", "99")
    assert ended.code == 1
    assert "toy.EWR@99" in ended.err
    assert shown(order("toy.EWR", "--json")) == before
