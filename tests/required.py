"""Programs of the machine that some tests need."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest


def program(name: str, package: str | None = None, folders: Iterable[Path] = ()) -> str:
    """Where a program is; where it is not the test is skipped, or fails if it is required.

    Args:
        name: The program's name.
        package: What installs it on Debian, and what `MLOPS_REQUIRE` calls it; its name if None.
        folders: Where it may be beside the `PATH`.
    """
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *map(str, folders)]))
    if found is not None:
        return found
    package = package or name
    reason = f"there is no `{name}` on the PATH"
    if package in os.environ.get("MLOPS_REQUIRE", "").split(","):
        pytest.fail(f"{reason}, and MLOPS_REQUIRE asks for it.")
    pytest.skip(f"{reason}; on Debian: apt-get install {package}.")
