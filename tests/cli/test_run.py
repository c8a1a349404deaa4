"""What `mlops-assets run` prints, makes and leaves."""

import json
import os
import pty
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from command_line import COMMAND, State, environment

from mlops_assets.cli.summary import Summary, scores
from mlops_assets.lake import Lake, Manifest, Partition, TablePartition
from mlops_assets.ml.decision import ModelPin, decide
from mlops_assets.ml.evaluation import Evaluation, evaluate
from mlops_assets.ml.threshold import Costs


def test_a_run_prints_one_json_document_of_what_it_published(
    state: State, lake_of: Callable[[Path], Lake]
) -> None:
    assert state.run.code == 0, state.run.err
    document = json.loads(state.run.out)
    assert document["succeeded"]
    assert document["commit"] == lake_of(state.home).head()
    assert document["scores"] == []
    published = {step["step"]: step["partitions"] for step in document["steps"]}
    assert published["raw_planes"] == 1
    assert published["raw_flights"] == published["raw_weather"] == 2
    assert published["marts"] >= 2
    assert published["features"] >= 2
    assert all(len(step["commits"]) == 1 for step in document["steps"])


def test_a_step_is_named_by_a_work_commit_that_the_base_branch_reaches(
    state: State, lake_of: Callable[[Path], Lake]
) -> None:
    lake = lake_of(state.home)
    for step in json.loads(state.run.out)["steps"]:
        assert lake.commit_info(step["commits"][0])["message"].startswith(step["step"])


def test_away_from_a_terminal_each_finished_step_is_a_line(state: State) -> None:
    lines = state.run.err.splitlines()
    steps = [line.split()[0] for line in lines if line.startswith("  ")]
    assert steps[-2:] == ["marts", "features"]
    assert {"raw_planes", "raw_flights", "raw_weather"} < set(steps)
    assert "days 2013-01-01 to 2013-01-02: raw data, marts and features" in lines


def test_what_dagster_says_goes_to_a_file_of_the_state(state: State) -> None:
    assert "RUN_START" not in state.run.err
    assert "RUN_START" in Path(json.loads(state.run.out)["log"]).read_text()


def test_a_run_writes_nothing_outside_the_state_directory(state: State) -> None:
    assert list(state.user_home.rglob("*")) == []


def test_dagsters_record_is_made_with_telemetry_off(state: State) -> None:
    assert "enabled: false" in (state.home / "dagster" / "dagster.yaml").read_text()


def test_ctrl_c_on_a_terminal_stops_everything_and_publishes_no_half(
    own_state: Path, source: Path, lake_of: Callable[[Path], Lake]
) -> None:
    before = lake_of(own_state).head()
    terminal, child_end = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "run", "--days", "2013-01-01"],
        env=environment(MLOPS_HOME=own_state, MLOPS_SOURCE=source, TERM="xterm"),
        stdin=child_end,
        stdout=child_end,
        stderr=child_end,
        start_new_session=True,
    )
    os.close(child_end)
    shown = ""
    while "raw_weather  " not in shown:
        shown += os.read(terminal, 65536).decode(errors="replace")
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    try:
        while piece := os.read(terminal, 65536):
            shown += piece.decode(errors="replace")
    except OSError:
        pass
    os.close(terminal)
    assert process.wait() == 130
    assert "━" in shown
    assert "mlops-assets: stopped:" in shown
    assert "Traceback" not in shown
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert lake_of(own_state).head() == before


def test_the_summary_reads_scores_from_the_lake_and_copies_the_report(
    own_state: Path, tmp_path: Path, lake_of: Callable[[Path], Lake]
) -> None:
    lake = lake_of(own_state)
    evaluation = small_evaluation()
    partition = Partition.of({"month": "2013-12", "origin": "JFK"})
    report, champion = (
        TablePartition(f"flight_delay/{name}", partition)
        for name in ("evaluation_report", "champion")
    )
    decision = decide(ModelPin.of(partition.path, b"model"), [], None, None)
    with lake.transaction("tx-scores", [report.table, champion.table]) as transaction:
        folders = {
            key: transaction.scratch / key.table.replace("/", "-") for key in (report, champion)
        }
        for folder in folders.values():
            folder.mkdir()
        (folders[report] / "evaluation.json").write_bytes(evaluation.to_json())
        (folders[report] / "report.html").write_text("<p>report</p>")
        (folders[champion] / "champion.json").write_bytes(decision.to_json())
        transaction.write(
            {key: (Manifest.of_folder(folder), folder) for key, folder in folders.items()}
        )
        commit = transaction.publish("evaluation", {}).commit
    (score,) = scores(
        lake.snapshot(),
        {("flight_delay/evaluation_report", "2013-12|JFK"): commit, ("raw/planes", None): "other"},
        tmp_path / "reports",
    )
    assert (score.month, score.origin, score.commit) == ("2013-12", "JFK", commit)
    assert score.rows == evaluation.n
    assert score.report == tmp_path / "reports" / "2013-12" / "JFK.html"
    assert score.report.read_text() == "<p>report</p>"

    text = Summary("main", "c" * 64, [score], [], 1.0, 9.0, None).to_text()
    assert f"{float(evaluation.model.roc_auc):.3f}" in text
    assert str(score.report) in text
    assert "2013-12 JFK promoted: it passed every gate" in text
    assert "commit   cccccccccccc on main" in text
    assert "make ui" in text


def small_evaluation() -> Evaluation:
    labels = np.array([0, 1] * 50)
    model = np.linspace(0.1, 0.4, 100) + 0.3 * labels
    return evaluate(
        labels,
        model,
        np.linspace(0.2, 0.8, 100),
        baseline_name="rate",
        costs=Costs(false_alarm=1, miss=3),
    )


def test_help_loads_no_orchestrator_and_no_data_library() -> None:
    script = (
        "import sys\nfrom mlops_assets.cli.program import exit_code\nexit_code(['--help'])\n"
        "sys.exit(str({'dagster', 'pandas', 'pyarrow', 'lakefs', 'pydantic'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [*COMMAND[:2], script], check=False, capture_output=True, text=True, env=environment()
    )
    assert ended.stderr.strip() == "set()"
    assert "doctor" in ended.stdout
