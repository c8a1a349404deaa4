"""Figures follow the lake commit by commit, and reach a file, a gateway and who may read them."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from command_line import configured
from lake_tables import publish
from observed_lake import MEASURED, copied_dbt, fill, measure
from ports import free_port
from postgres_server import server
from prometheus_client.parser import text_string_to_metric_families

from bench.bookkeeping import POOLED, STORAGES
from mlops_assets.cli.faults import CommandError
from mlops_assets.cli.program import exit_code
from mlops_assets.cli.record import database_faults, opened_record
from mlops_assets.lake import (
    Lake,
    LakeError,
    Partition,
    Snapshot,
    TablePartition,
    UnreachableLakeError,
)
from mlops_assets.lake.contents import Contents
from mlops_assets.metrics import exposition, lake_figures
from mlops_assets.metrics.exposition import Exposition
from mlops_assets.metrics.figures import Figure
from mlops_assets.metrics.lake_figures import LakeFigures
from mlops_assets.metrics.record_figures import RecordFigures
from mlops_assets.metrics.server import MetricsServer
from mlops_assets.ml.samples import SAMPLES_FILE, Sample
from mlops_assets.settings import settings


def flights(day: str) -> TablePartition:
    return TablePartition("raw/flights", Partition.of({"day": day}))


def values(figures: list[Figure]) -> dict[str, dict[tuple[str, ...], float]]:
    return {figure.name: figure.values for figure in figures}


def test_what_is_followed_is_what_is_listed(lake: Lake) -> None:
    followed = Contents(lake)
    followed.follow()
    assert followed.tables == {}
    for serial, days in enumerate([("2013-01-01", "2013-01-02"), ("2013-01-02", "2013-01-03")]):
        content = {flights(day): {"a.parquet": f"{serial}".encode()} for day in days}
        publish(lake, f"tx-{serial}", content)
        followed.follow()
        assert followed.changed == {"raw/flights"}
    afresh = Contents(lake)
    afresh.follow()
    assert followed.tables == afresh.tables
    assert len(followed.tables["raw/flights"]) == 3
    followed.follow()
    assert not followed.changed


def test_a_partition_that_is_taken_away_is_no_longer_counted(lake: Lake) -> None:
    publish(lake, "tx-1", {flights(day): {"a": b"1"} for day in ("2013-01-01", "2013-01-02")})
    followed = Contents(lake)
    followed.follow()
    branch = lake.repo().branch("by-hand").create(lake.base_branch)
    branch.object(flights("2013-01-02").manifest_path).delete()
    branch.commit("taken away")
    branch.merge_into(lake.base_branch)
    followed.follow()
    assert followed.tables["raw/flights"] == {Partition.of({"day": "2013-01-01"})}


def test_only_what_changed_is_read_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    measure(lake, "2013-06-14", MEASURED, "tx-1")
    figures = LakeFigures(lake)
    figures.read()
    looked = LakeFigures._look
    monkeypatch.setattr(
        LakeFigures, "_look", lambda *of: (read.append(of[2].table), looked(*of))[1]
    )
    figures.read()
    assert not read
    drift = {"drift": [Sample.of("psi", 0.1, feature="a"), Sample.of("alarms", 0.0)]}
    measure(lake, "2013-06-15", drift, "tx-2")
    found = values(figures.read())
    assert read == ["flight_delay/monitor_drift"]
    assert found["mlops_drift_psi"] == {("a", "flight_delay"): 0.1}
    assert found["mlops_monitor_alarms"]["flight_delay", "drift"] == 0
    assert "mlops_drift_alarm" not in found


def test_a_lake_that_goes_down_amid_a_look_is_looked_at_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(lake, "2013-06-14", MEASURED, "tx-1")
    figures = LakeFigures(lake)

    def gone(*_: object) -> bytes:
        raise UnreachableLakeError("the lake does not answer")

    with monkeypatch.context() as down:
        down.setattr(Snapshot, "read", gone)
        with pytest.raises(UnreachableLakeError):
            figures.read()
    assert values(figures.read()) == values(LakeFigures(lake).read())


def test_a_monitor_that_cannot_be_read_hides_no_other(lake: Lake) -> None:
    measure(lake, "2013-06-14", MEASURED, "tx-1")
    broken = TablePartition("flight_delay/monitor_drift", Partition.of({"day": "2013-06-15"}))
    publish(lake, "tx-2", {broken: {SAMPLES_FILE: b"[]"}})
    found = values(LakeFigures(lake).read())
    assert found["mlops_unreadable_tables"] == {("flight_delay/monitor_drift",): 1}
    assert ("flight_delay", "performance") in found["mlops_monitor_alarms"]
    assert ("flight_delay", "drift") not in found["mlops_monitor_alarms"]


@pytest.mark.parametrize(
    ("values", "begins"),
    [
        ({"day": "1970-01-02"}, 86400.0),
        ({"month": "1970-02", "origin": "JFK"}, 31 * 86400.0),
        ({"origin": "JFK"}, None),
        ({"day": "soon"}, None),
        ({}, None),
    ],
)
def test_a_partition_begins_at_midnight(values: dict[str, str], begins: float | None) -> None:
    assert lake_figures.begins(Partition.of(values)) == begins


def test_a_source_that_is_down_is_told_and_leaves_the_others_their_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def down() -> list[Figure]:
        raise LakeError("nobody answers.")

    asked: list[int] = []
    told: list[str] = []

    def works() -> list[Figure]:
        asked.append(1)
        return [Figure("mlops_runs", "Runs.", (), {(): 3.0})]

    found = Exposition({"lake": down, "record": works}, (LakeError,), told.append)
    shown = values(found.figures())
    assert shown["mlops_source_up"] == {("lake",): 0, ("record",): 1}
    assert shown["mlops_runs"] == {(): 3.0}
    assert told == ["lake: nobody answers."]
    found.figures()
    assert len(asked) == 1
    monkeypatch.setattr(exposition, "KEPT_SECONDS", 0.0)
    found.figures()
    assert len(asked) == 2


@contextmanager
def served(token: str | None) -> Iterator[str]:
    with serving(lambda: b"mlops_runs 3\n", token=token) as url:
        yield url


@contextmanager
def serving(
    text: Callable[[], bytes],
    hangs: Callable[[], bool] = lambda: False,
    token: str | None = None,
) -> Iterator[str]:
    with MetricsServer(("127.0.0.1", 0), text, hangs, token) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def status(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    ("presented", "answer"),
    [
        ({"Authorization": "Bearer a-token-of-sixteen"}, 200),
        ({"Authorization": "bearer a-token-of-sixteen"}, 401),
        ({"Authorization": "Bearer a-token-of-sixtee"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Basic YTpi"}, 401),
        ({"Authorization": "Bearer \u00e9"}, 401),
        ({}, 401),
    ],
)
def test_a_token_lets_in_who_presents_it(presented: dict[str, str], answer: int) -> None:
    with served("a-token-of-sixteen") as url:
        assert status(f"{url}/metrics", **presented) == answer
        assert status(f"{url}/healthz") == 200
        assert status(f"{url}/") == 404


def test_without_a_token_this_machine_reads_them() -> None:
    with served(None) as url:
        assert status(f"{url}/metrics") == 200


def test_figures_that_cannot_be_made_are_answered_with_a_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken() -> bytes:
        raise KeyError("a mistake of ours")

    with serving(broken) as url:
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(f"{url}/metrics")
        assert answer.value.code == 500
        assert answer.value.read() == b"the figures cannot be made (KeyError): the log says where\n"
        assert status(f"{url}/healthz") == 200
    assert "a mistake of ours" in capsys.readouterr().err


def test_a_source_that_hangs_makes_the_server_unwell_until_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, answers = threading.Event(), threading.Event()

    def slow() -> list[Figure]:
        asked.set()
        answers.wait(60)
        return []

    found = Exposition({"lake": slow}, (LakeError,), lambda _: None)
    monkeypatch.setattr(exposition, "HANGING_SECONDS", 0.0)
    with serving(lambda: b"", found.hangs) as url:
        assert status(f"{url}/healthz") == 200
        read = threading.Thread(target=found.figures)
        read.start()
        assert asked.wait(60)
        assert status(f"{url}/healthz") == 503
        answers.set()
        read.join()
        assert status(f"{url}/healthz") == 200


def test_a_postgres_that_is_down_is_a_source_that_is_down(tmp_path: Path) -> None:
    with server() as postgres:
        (tmp_path / "dagster.yaml").write_text(
            yaml.safe_dump(
                {"telemetry": {"enabled": False}, **postgres.storages(STORAGES[POOLED], {})}
            )
        )
        told: list[str] = []
        with configured(MLOPS_HOME=tmp_path / "home", DAGSTER_HOME=tmp_path):
            with opened_record(settings()) as instance:
                record = RecordFigures(instance, {}, {}, {})
                found = Exposition({"record": record.read}, database_faults(), told.append)
                postgres.control("-m", "immediate", "stop")
                shown = values(found.figures())
            assert shown["mlops_source_up"] == {("record",): 0}
            assert told
            with (
                pytest.raises(CommandError, match=r"does not answer .*see whether it is up"),
                opened_record(settings()),
            ):
                pass
        postgres.control("-l", str(postgres.folder / "log"), "restart")


class TestCommand:
    """`mlops-assets metrics` where it ends by itself."""

    @pytest.fixture(scope="class")
    def home(self, parsed_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        home = copied_dbt(parsed_home, tmp_path_factory.mktemp("metrics") / "home")
        with configured(MLOPS_HOME=home):
            fill()
        return home

    @pytest.fixture
    def command(self, home: Path) -> Callable[..., int]:
        def run(*arguments: str, **variables: str) -> int:
            with configured(MLOPS_HOME=home, **variables):
                return exit_code(["metrics", *arguments])

        return run

    def test_a_file_is_what_prometheus_reads(
        self, command: Callable[..., int], tmp_path: Path
    ) -> None:
        file = tmp_path / "mlops.prom"
        assert command("--file", str(file)) == 0
        families = {one.name: one for one in text_string_to_metric_families(file.read_text())}
        assert families["mlops_drift_psi"].samples[0].value == 0.41
        assert all(family.documentation for family in families.values())
        assert [path.name for path in tmp_path.iterdir()] == ["mlops.prom"]

    def test_a_gateway_gets_them(self, command: Callable[..., int]) -> None:
        taken: list[tuple[str, bytes]] = []

        class Gateway(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken.append((self.path, body))
                self.send_response(202)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Gateway) as gateway:
            threading.Thread(target=gateway.serve_forever, args=(0.01,), daemon=True).start()
            url = f"http://127.0.0.1:{gateway.server_port}"
            assert command("--push", MLOPS_METRICS_PUSHGATEWAY=url) == 0
            gateway.shutdown()
        [(path, body)] = taken
        assert path == "/metrics/job/mlops_assets"
        assert b"mlops_drift_psi{" in body

    @pytest.mark.parametrize(
        ("arguments", "variables", "code", "told"),
        [
            (("--push",), {}, 2, "set MLOPS_METRICS_PUSHGATEWAY"),
            (("--file", "figures.txt"), {}, 2, "end its name with .prom"),
            (("--serve", "--host", "0.0.0.0"), {}, 1, "set MLOPS_METRICS_TOKEN"),
            (
                ("--serve",),
                {"MLOPS_METRICS_TOKEN": "short"},
                1,
                "MLOPS_METRICS_TOKEN is not usable",
            ),
            (("--serve", "--push"), {}, 2, "use one of them"),
        ],
    )
    def test_what_cannot_be_is_one_sentence(
        self,
        command: Callable[..., int],
        arguments: tuple[str, ...],
        variables: dict[str, str],
        code: int,
        told: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert command(*arguments, **variables) == code
        assert told in capsys.readouterr().err

    def test_a_gateway_that_is_down_is_named(
        self, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        url = f"http://127.0.0.1:{free_port()}"
        assert command("--push", MLOPS_METRICS_PUSHGATEWAY=url) == 1
        assert "took nothing" in capsys.readouterr().err
