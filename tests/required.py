"""Programs of the machine that some tests need."""

import os
import shutil

import pytest


def program(name: str) -> str:
    """Where a program is; where it is not the test is skipped, or fails if it is required."""
    found = shutil.which(name)
    if found is not None:
        return found
    reason = f"there is no `{name}` on the PATH"
    if name in os.environ.get("MLOPS_REQUIRE", "").split(","):
        pytest.fail(f"{reason}, and MLOPS_REQUIRE asks for it.")
    pytest.skip(f"{reason}; on Debian: apt-get install {name}.")
