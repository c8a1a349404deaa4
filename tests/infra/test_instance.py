"""The `dagster.yaml` of one machine: that of a cluster is tested with its launcher."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickStatus

from mlops_assets.cli.record import INSTANCE_FILE, TEMPLATE


def test_no_tick_is_kept_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(TEMPLATE, tmp_path / INSTANCE_FILE)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        for kind in InstigatorType:
            kept = instance.get_tick_retention_settings(kind)
            assert set(kept) == set(TickStatus)
            assert all(days > 0 for days in kept.values())
