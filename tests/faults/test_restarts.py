"""The server is killed in the middle of a step, which outlasts it, publishes and records."""

from __future__ import annotations

import threading
from pathlib import Path

import dagster as dg
import pytest
from faulty_proxy import Fault, Kind
from forked_workers import Workers
from installation import copied
from served_lake import served
from small_source import small_source
from verdict import judge

TABLES = ("raw/flights", "raw/flights_quarantine")
CHANGES = ("branch create", "upload", "commit", "merge", "branch delete")
EVERYWHERE = [(call, kind) for call in CHANGES for kind in ("no request", "no answer")]


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        pytest.param(*where, marks=() if where[0] in ("upload", "merge") else pytest.mark.soak)
        for where in EVERYWHERE
    ],
)
def test_a_step_outlasts_a_server_that_is_killed_and_started_again(
    workers: Workers,
    empty_home: Path,
    definitions: dg.Definitions,
    tmp_path: Path,
    call: str,
    kind: Kind,
) -> None:
    home = copied(empty_home, tmp_path / "home")
    source = small_source(tmp_path / "source", days=1, every=4)
    with served(workers, home) as lake:
        restarts: list[threading.Thread] = []

        def kill_and_restart() -> None:
            lake.stop()
            restarts.append(threading.Thread(target=lake.restart))
            restarts[-1].start()

        lake.proxy.fault = fault = Fault(call, kind)
        lake.proxy.spoilt = kill_and_restart
        told = workers.materialize(
            home, ["raw/flights"], ["2013-01-01"], source=source, environment=lake.environment
        ).answer()
        restarts[0].join()
    assert (told["error"], fault.struck) == (None, 1)
    found = judge(home, TABLES, definitions, doctor=False)
    [manifest] = found.content["raw/flights"].values()
    assert list(told["versions"].values()) == [manifest.data_version]
    assert (found.unrecorded, found.branches) == (0, [])


@pytest.mark.soak
def test_a_step_whose_server_stays_away_in_the_merge_fails_and_doctor_finds_out(
    workers: Workers, empty_home: Path, definitions: dg.Definitions, tmp_path: Path
) -> None:
    home = copied(empty_home, tmp_path / "home")
    source = small_source(tmp_path / "source", days=1, every=4)
    with served(workers, home) as lake:
        lake.proxy.fault = Fault("merge", "no answer")
        lake.proxy.spoilt = lake.stop
        told = workers.materialize(
            home, ["raw/flights"], ["2013-01-01"], source=source, environment=lake.environment
        ).answer()
    assert "whether that shows is not known" in told["error"]
    found = judge(home, TABLES, definitions, doctor=True)
    assert (len(found.content["raw/flights"]), found.unrecorded) == (1, 1)
