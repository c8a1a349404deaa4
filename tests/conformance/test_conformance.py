"""The suites of lakeFS's own client and of lakefs-spec, from fetched copies: `make conformance`.

Neither is part of this repository. `LAKEFS` names a copy of lakeFS and `LAKEFS_SPEC` one of
lakefs-spec; where one is missing, its tests are skipped and say so. What a suite needs goes into
an environment of its own, which is thrown away with pytest's temporary folders.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lakefs_sdk
import pytest
from suites import copy_of, run_suite

from mlops_assets.lakefs_server.credentials import AccessKey, access_keys

# lakefs-spec's tests know one server, which answers here and takes this key.
PORT = 8000
KEY = AccessKey("AKIAIOSFOLQUICKSTART", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
URL = f"http://localhost:{PORT}"

WRAPPER = Path("clients/python-wrapper")
SAMPLE = Path("pkg/samplerepo/assets/sample")
# The client that the lake uses; the SDKs after it are not open source.
CLIENT = ["lakefs==0.16.*", "lakefs-sdk<1.87"]
UV = Path(sys.executable).with_name("uv")

LAKEFS_PAGE = "docs/lakefs.md"

S3_IMPORTS = {"test_import_manager", "test_import_manager_cancel"}
"""What no server passes without an account on S3; without pre-signing the suite skips them."""


def environment_for(project: Path, group: str, folder: Path) -> Path:
    """A fresh environment with what a suite's project declares that it needs; its Python."""
    declared = tomllib.loads((project / "pyproject.toml").read_text())
    needed = [*declared["project"]["dependencies"], *declared["dependency-groups"][group], *CLIENT]
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    python = folder / "bin" / "python"
    install = [UV, "pip", "install", "--quiet", "--python", python]
    subprocess.run([*install, *needed], check=True)
    return python


@pytest.fixture(scope="module")
def lakefs_copy() -> Path:
    return copy_of("LAKEFS", LAKEFS_PAGE)


@pytest.fixture(scope="module")
def spec_copy() -> Path:
    return copy_of("LAKEFS_SPEC", LAKEFS_PAGE)


@pytest.fixture(scope="module")
def wrapper_python(lakefs_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wrapper") / "venv"
    return environment_for(lakefs_copy / WRAPPER, "test", folder)


@pytest.fixture(scope="module")
def spec_python(spec_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment_for(spec_copy, "dev", tmp_path_factory.mktemp("spec") / "venv")


@contextmanager
def served(home: Path, *, pre_sign: bool) -> Iterator[None]:
    """`mlops-assets lakefs serve` over a fresh store, in a process of its own."""
    with access_keys(home / "lakefs") as keys:
        keys.add(KEY)
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from mlops_assets.cli import main; main()"),
            *("lakefs", "serve", "--port", str(PORT)),
            "--pre-sign" if pre_sign else "--no-pre-sign",
        ],
        env={**os.environ, "MLOPS_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert str(PORT) in process.stdout.readline()
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def put_sample(folder: Path, repository: str) -> None:
    """Make the repository that a lakeFS makes for `sample_data`, whose files we do not ship."""
    configuration = lakefs_sdk.Configuration(f"{URL}/api/v1", None, None, *KEY)
    client = lakefs_sdk.ApiClient(configuration)
    lakefs_sdk.RepositoriesApi(client).create_repository(
        lakefs_sdk.RepositoryCreation(name=repository, storage_namespace=f"s3://{repository}")
    )
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        path = str(file.relative_to(folder)).removesuffix(".tmpl")
        lakefs_sdk.ObjectsApi(client).upload_object(repository, "main", path, content=str(file))
    lakefs_sdk.CommitsApi(client).commit(
        repository, "main", lakefs_sdk.CommitCreation(message="Add sample data")
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize("pre_sign", [False, True], ids=["local paths", "signed links"])
def test_the_official_clients_suite_passes_but_for_imports_from_s3(
    lakefs_copy: Path, wrapper_python: Path, tmp_path: Path, pre_sign: bool
) -> None:
    with served(tmp_path / "state", pre_sign=pre_sign):
        outcome = run_suite(
            wrapper_python,
            lakefs_copy / WRAPPER,
            "tests/integration",
            tmp_path,
            {
                "LAKECTL_SERVER_ENDPOINT_URL": URL,
                "LAKECTL_CREDENTIALS_ACCESS_KEY_ID": KEY.access_key_id,
                "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY": KEY.secret_access_key,
                "STORAGE_NAMESPACE": "local://x",
            },
        )
    assert outcome.tests > 0
    assert set(outcome.failed) == (S3_IMPORTS if pre_sign else set())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("pre_sign", [False, True], ids=["local paths", "signed links"])
def test_the_suite_of_lakefs_spec_passes(
    lakefs_copy: Path, spec_copy: Path, spec_python: Path, tmp_path: Path, pre_sign: bool
) -> None:
    with served(tmp_path / "state", pre_sign=pre_sign):
        put_sample(lakefs_copy / SAMPLE, "lakefs-spec-tests")
        sources = {"PYTHONPATH": str(spec_copy / "src")}
        outcome = run_suite(spec_python, spec_copy, "tests", tmp_path, sources)
    assert outcome.tests > 0
    assert outcome.failed == []
