"""What surrounds a process decides no result: variables, a user's files, the working directory.

What a library would read of them is chosen where it is called, else recorded in the commit, else
refused by name; `docs/settings.md` lists which.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import decided_results
import duckdb
import pandera.config
import pyarrow as pa
import pytest
from installation import Installation

from mlops_assets.components.contract import enforce
from mlops_assets.defs.raw.contracts import CONTRACTS
from mlops_assets.engines import duckdb as engine
from mlops_assets.settings import ROOT

CLEAN = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}

VARIABLES = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "ARROW_IO_THREADS": "1",
    "ARROW_USER_SIMD_LEVEL": "NONE",
    "FSSPEC_FILE": '{"auto_mkdir": true}',
    "LAKECTL_SERVER_ENDPOINT_URL": "http://127.0.0.1:1",
    "LC_ALL": "C",
    "MLFLOW_EXPERIMENT_NAME": "another",
    "MLFLOW_REGISTRY_URI": "sqlite:////nowhere/else.db",
    "MLFLOW_RUN_ID": "0" * 32,
    "MPLBACKEND": "pdf",
    "NPY_DISABLE_CPU_FEATURES": "AVX512_ICL AVX512_SPR X86_V4 X86_V3",
    "OMP_DYNAMIC": "true",
    "OMP_NUM_THREADS": "1",
    "OMP_SCHEDULE": "dynamic,1",
    "OPENBLAS_CORETYPE": "Prescott",
    "OPENBLAS_NUM_THREADS": "1",
    "PANDAS_COPY_ON_WRITE": "1",
    "PANDAS_FUTURE_INFER_STRING": "1",
    "PANDERA_USE_NARWHALS_BACKEND": "True",
    "PANDERA_VALIDATION_DEPTH": "SCHEMA_ONLY",
    "PANDERA_VALIDATION_ENABLED": "False",
    "PYTHONHASHSEED": "7",
    "SCIPY_ARRAY_API": "1",
    "SKLEARN_ASSUME_FINITE": "1",
    "SKLEARN_WORKING_MEMORY": "1",
    "SOURCE_DATE_EPOCH": "1",
    "TZ": "Pacific/Kiritimati",
}
"""Each in the value that would do the most harm."""

STYLE = """
font.family: serif
font.size: 30
savefig.dpi: 33
lines.linewidth: 9
axes.prop_cycle: cycler('color', ['r'])
timezone: Asia/Tokyo
backend: svg
"""

HOME = {
    ".config/dg.toml": "[cli.telemetry]\nenabled = true\n",
    ".config/fsspec/any.json": '{"file": {"auto_mkdir": true}}',
    ".config/matplotlib/matplotlibrc": STYLE,
    ".duckdbrc": "set TimeZone = 'Asia/Tokyo';",
    ".lakectl.yaml": "server:\n  endpoint_url: http://127.0.0.1:1\n",
    ".netrc": "machine 127.0.0.1 login somebody password else\n",
}

DIRECTORY = {
    ".duckdbrc": "set TimeZone = 'Asia/Tokyo';",
    ".env": "TZ=Asia/Tokyo\n",
    "dagster.yaml": "run_launcher: {module: no_such_module, class: Nothing}\n",
    "matplotlibrc": STYLE,
    "pyproject.toml": "[tool.dagster]\nmodule_name = 'no_such_module'\n[tool.dg",
    "setup.cfg": "[bad",
}


def written(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def python(
    *arguments: str | Path, directory: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**CLEAN, "HOME": str(directory), "MLOPS_HOME": str(directory / "state"), **variables},
        cwd=directory,
        check=False,
        capture_output=True,
        text=True,
    )


def test_the_same_bytes_and_checks_whatever_surrounds_a_process(tmp_path: Path) -> None:
    user, directory = written(tmp_path / "user", HOME), written(tmp_path / "in", DIRECTORY)
    for scratch in ("here", "there"):
        (tmp_path / scratch).mkdir()
    ended = python(
        decided_results.__file__,
        tmp_path / "there",
        directory=directory,
        HOME=str(user),
        **VARIABLES,
    )
    assert ended.returncode == 0, ended.stderr
    here = decided_results.decided(tmp_path / "here")
    assert here["flights reasons"]["2013-01-01"]["dest is origin"] > 0
    assert here["the run succeeded"]
    assert json.loads(ended.stdout) == json.loads(json.dumps(here))


AIRLINES = pa.table({"carrier": ["AA", "?"], "name": ["American", "nobody"]})


@contextmanager
def on_narwhals() -> Iterator[None]:
    pandera.config.set_config(use_narwhals_backend=True)
    try:
        yield
    finally:
        pandera.config.set_config(use_narwhals_backend=False)


@pytest.mark.parametrize(
    "switched",
    [
        lambda: pandera.config.config_context(validation_enabled=False),
        lambda: pandera.config.config_context(validation_depth="SCHEMA_ONLY"),
        on_narwhals,
    ],
    ids=["off", "schema-only", "narwhals"],
)
def test_no_switch_of_panderas_lets_a_row_through_that_breaks_its_contract(switched) -> None:
    with switched():
        checked = enforce(CONTRACTS["airlines"], AIRLINES)
    assert checked.accepted["carrier"].to_pylist() == ["AA"]
    assert checked.quarantined["carrier"].to_pylist() == ["?"]


def test_duckdb_has_no_time_zone_of_the_machine_and_installs_nothing() -> None:
    with engine.connect() as connection:
        [[zone]] = connection.sql("select current_setting('TimeZone')").fetchall()
        assert zone == "UTC"
        with pytest.raises(duckdb.CatalogException, match="spatial"):
            connection.sql("select st_point(1, 2)")


READ = "from mlops_assets.settings import settings; settings()"
DREW = "from mlops_assets.ml.pictures import axes_on; axes_on('', '').__enter__()"


@pytest.mark.parametrize(
    ("program", "variables", "named"),
    [
        (READ, {"PYTHONOPTIMIZE": "1"}, "PYTHONOPTIMIZE"),
        (READ, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "PYTHONUTF8"),
        (READ, {"PANDAS_DATA_MANAGER": "array"}, "PANDAS_DATA_MANAGER"),
        (DREW, {"MPLBACKEND": "none"}, "MPLBACKEND"),
    ],
)
def test_a_process_that_cannot_be_put_right_is_refused_by_name(
    program: str, variables: dict[str, str], named: str, tmp_path: Path
) -> None:
    ended = python("-c", program, directory=tmp_path, **variables)
    assert ended.returncode == 1
    assert named in ended.stderr.splitlines()[-1]


def test_a_matplotlibrc_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    ended = python("-c", DREW, directory=written(tmp_path, {"matplotlibrc": b"\xff\xfe"}))
    assert "matplotlibrc" in ended.stderr.splitlines()[-1]


def test_a_commit_says_whose_code_ran_and_with_which_instructions(tmp_path: Path) -> None:
    program = (
        "import json; from mlops_assets.components.environment import environment;"
        "print(json.dumps(environment()))"
    )
    directory = written(tmp_path, {"xgboost.py": ""})
    plain = python("-P", "-c", program, directory=directory)
    shadowed = python("-c", program, directory=directory, ARROW_USER_SIMD_LEVEL="NONE")
    clean, other = (json.loads(ended.stdout) for ended in (plain, shadowed))
    different = {name for name in clean if clean[name] != other[name]}
    assert different == {"environment/xgboost", "environment/instructions"}
    assert other["environment/xgboost"].endswith(f"replaced by {directory / 'xgboost.py'}")


def test_what_dagster_keeps_between_steps_is_not_chosen_by_a_variable(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_DEFAULT_IO_MANAGER_MODULE", "no_such_module")
    monkeypatch.setenv("DAGSTER_DEFAULT_IO_MANAGER_ATTRIBUTE", "nothing")
    assert installation.materialize(["raw/airlines"]).success
