"""Runs that are forked from a warm process, and what becomes of those whose process is gone."""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import RUN_WORKER_ID_TAG
from served_code import Record, ServedCode, eventually, record_of

from mlops_assets.compute.local_run_launcher import LocalRunLauncher, worker
from mlops_assets.compute.run_process import SIGNS, RunProcess, process_of, sign_of_life


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedCode]:
    found = ServedCode(tmp_path_factory.mktemp("served"))
    found.lay_out()
    (found.folder / ".env").write_text("FROM_THE_FILE=yes\n")
    found.serve()
    yield found
    found.kill()


@pytest.fixture(scope="module")
def record(served: ServedCode) -> Iterator[Record]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(served.home))
        patch.chdir(served.folder)
        with record_of(served) as found:
            assert isinstance(found.instance.run_launcher, LocalRunLauncher)
            yield found
            started = [*_forks()]
        _, alive = psutil.wait_procs(started, timeout=30)
        assert alive == []


def _forks() -> Iterator[psutil.Process]:
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "mlops_assets.compute.warm_runs" in child.cmdline():
                yield child


def test_runs_are_carried_out_by_processes_of_their_own_with_the_code_in_memory(
    record: Record, served: ServedCode
) -> None:
    first, second = record.launch("says"), record.launch("says")
    assert {record.ended(first), record.ended(second)} == {dg.DagsterRunStatus.SUCCESS}
    one, other = record.told(first), record.told(second)
    assert one["pid"] != other["pid"]
    assert one["definitions_are_of"] == other["definitions_are_of"]
    assert one["definitions_are_of"] not in (one["pid"], other["pid"], os.getpid())
    assert one["environment"]["FROM_THE_FILE"] == "yes"
    assert one["folder"] == str(served.folder)
    assert "said on standard output" in _captured(record, first)


def _captured(record: Record, run_id: str) -> str:
    events = record.instance.all_logs(run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED)
    key = events[0].get_dagster_event().logs_captured_data.file_key
    logs = record.instance.compute_log_manager.get_log_data([run_id, "compute_logs", key])
    assert logs.stdout is not None
    return logs.stdout.decode()


def test_code_that_was_reloaded_is_what_runs_have_from_then_on(
    record: Record, served: ServedCode
) -> None:
    code = served.code.read_text()
    assert record.told(record.launch("says"))["version"] == "one"
    served.code.write_text(code.replace('VERSION = "one"', 'VERSION = "another"'))
    assert record.told(record.launch("says"))["version"] == "one"
    served.reload()
    assert record.told(last := record.launch("says"))["version"] == "another"
    assert record.ended(last) is dg.DagsterRunStatus.SUCCESS
    served.code.write_text(code)
    served.reload()


def test_a_run_is_cancelled(record: Record) -> None:
    run_id = record.launch("waits")
    process = psutil.Process(record.told(run_id)["pid"])
    sign = Path(record.instance.root_directory) / SIGNS / run_id
    assert sign.exists()
    # The webserver is asked, and the daemon launched it.
    with dg.DagsterInstance.get() as elsewhere:
        assert elsewhere.run_launcher.terminate(run_id)
        assert record.ended(run_id) is dg.DagsterRunStatus.CANCELED
        process.wait(timeout=30)
        assert not sign.exists()
        assert not elsewhere.run_launcher.terminate(run_id)


def test_a_run_whose_process_is_killed_fails_at_once_and_says_why(record: Record) -> None:
    run_id = record.launch("waits")
    os.kill(record.told(run_id)["pid"], signal.SIGKILL)
    assert record.ended(run_id) is dg.DagsterRunStatus.FAILURE
    assert "terminated by signal 9" in record.said(run_id)


def test_a_run_whose_process_leaves_without_a_word_fails(record: Record) -> None:
    run_id = record.launch("leaves")
    assert record.ended(run_id) is dg.DagsterRunStatus.FAILURE
    assert "unexpectedly exited with code 0" in record.said(run_id)


def test_where_the_process_that_forks_was_killed_another_takes_its_place(record: Record) -> None:
    waiting = record.launch("waits")
    told = record.told(waiting)
    os.kill(told["definitions_are_of"], signal.SIGKILL)
    eventually(lambda: not psutil.pid_exists(told["definitions_are_of"]) or _is_over(told))
    assert record.ended(record.launch("says")) is dg.DagsterRunStatus.SUCCESS
    # Nobody is left to see the first run end; monitoring asks the launcher.
    assert worker(record.run(waiting)).status is WorkerStatus.RUNNING
    os.kill(told["pid"], signal.SIGKILL)
    eventually(lambda: worker(record.run(waiting)).status is WorkerStatus.FAILED)


def _is_over(told: dict[str, int]) -> bool:
    return psutil.Process(told["definitions_are_of"]).status() == psutil.STATUS_ZOMBIE


def test_definitions_that_leave_threads_behind_are_loaded_by_each_run(
    record: Record,
    served: ServedCode,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("THREADS_ARE_LEFT", "yes")
    served.reload()
    run_id = record.launch("says")
    assert record.ended(run_id) is dg.DagsterRunStatus.SUCCESS
    told = record.told(run_id)
    assert told["definitions_are_of"] == told["pid"]
    assert "they leave 1 threads behind" in caplog.text


def test_code_of_another_python_is_left_to_dagsters_own_launcher(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/another/python")
    run_id = record.launch("waits")
    told = record.told(run_id)
    assert told["definitions_are_of"] == told["pid"]
    assert worker(record.run(run_id)).status is WorkerStatus.RUNNING
    assert record.instance.run_launcher.terminate(run_id)
    assert record.ended(run_id) is dg.DagsterRunStatus.CANCELED


def test_a_process_is_told_from_another_that_has_its_number() -> None:
    own = RunProcess.current()
    assert RunProcess.parse(str(own)) == own
    assert own.alive
    other = RunProcess(own.host, own.place, own.pid, "0")
    assert not other.alive
    assert not other.interrupt()


BOOT = RunProcess.current().place.partition(":")[0]


@pytest.mark.parametrize(
    ("host", "place", "sign", "gone"),
    [
        # A container that is gone; one beside it that shares the volume.
        ("remade", f"{BOOT}:1", None, True),
        ("remade", f"{BOOT}:1", "left", True),
        ("beside", f"{BOOT}:1", "held", False),
        # Another machine: alive, its locks seen from here or not; and one that is lost.
        ("another", "other-boot:1", None, False),
        ("another", "other-boot:1", "held", False),
        ("another", "other-boot:1", "touched", False),
        ("another", "other-boot:1", "left", True),
        # This machine before its restart; and another by its name.
        (socket.gethostname(), "other-boot:1", None, True),
        (socket.gethostname(), "other-boot:1", "left", True),
        (socket.gethostname(), "other-boot:1", "held", False),
        (socket.gethostname(), "other-boot:1", "touched", False),
    ],
)
def test_a_run_that_cannot_be_looked_at_is_gone_once_its_sign_of_life_is(
    tmp_path: Path, host: str, place: str, sign: str | None, *, gone: bool
) -> None:
    process = RunProcess(host, place, os.getpid(), RunProcess.current().started)
    run = dg.DagsterRun("says", run_id="this", tags={RUN_WORKER_ID_TAG: f"this/{process}"})
    with contextlib.ExitStack() as stack:
        if sign is not None:
            stack.enter_context(sign_of_life(tmp_path, "this"))
            path = tmp_path / SIGNS / "this"
            if sign != "held":
                path = path.rename(path.with_name("of-a-killed-one"))
                path.with_name("this").touch()
            if sign != "touched":
                os.utime(path.with_name("this"), (0, 0))
        found = worker(run, tmp_path).status
    assert found is (WorkerStatus.FAILED if gone else WorkerStatus.RUNNING)


def test_a_machine_that_is_renamed_still_knows_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    own = RunProcess.current()
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    assert own.alive
    assert not own.is_gone(None, "this")


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ({}, WorkerStatus.NOT_FOUND),
        ({RUN_WORKER_ID_TAG: "this/another-machine/1:2/3/4"}, WorkerStatus.RUNNING),
        ({RUN_WORKER_ID_TAG: "parent/another-machine/1:2/3/4"}, WorkerStatus.NOT_FOUND),
        ({".dagster/grpc_info": '{"host": "localhost", "socket": "/gone"}'}, WorkerStatus.FAILED),
    ],
    ids=[
        "nobody was noted",
        "another machine's",
        "its parent's",
        "below a code server that is gone",
    ],
)
def test_only_a_worker_that_is_known_to_be_gone_counts_as_gone(
    tags: dict[str, str], status: WorkerStatus
) -> None:
    run = dg.DagsterRun(job_name="says", run_id="this", tags=tags)
    assert worker(run).status is status
    assert LocalRunLauncher().check_run_worker_health(run).status is (
        WorkerStatus.FAILED if status is WorkerStatus.FAILED else WorkerStatus.RUNNING
    )


def test_after_a_power_cut_runs_are_found_failed_and_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = ServedCode(tmp_path)
    served.lay_out()
    monkeypatch.setenv("DAGSTER_HOME", str(served.home))
    try:
        served.serve()
        served.look_after()
        with record_of(served) as record:
            run_id = record.submit("waits", {"dagster/max_retries": "1"})
            other = record.submit("waits", {})
            assert {record.told(run_id)["pid"], record.told(other)["pid"]} == {
                process.pid
                for run in (run_id, other)
                if (process := process_of(record.run(run))) is not None
            }
        served.kill()
        served.serve()
        served.look_after()
        with record_of(served) as record:
            assert record.run(run_id).status is dg.DagsterRunStatus.STARTED
            assert record.ended(run_id) is dg.DagsterRunStatus.FAILURE
            assert record.ended(other) is dg.DagsterRunStatus.FAILURE
            assert "is gone" in record.said(run_id)
            (retry,) = eventually(
                lambda: [run for run in record.instance.get_runs() if run.parent_run_id]
            )
            assert retry.parent_run_id == run_id
            assert record.ended(retry.run_id) is dg.DagsterRunStatus.SUCCESS
    finally:
        served.kill()
