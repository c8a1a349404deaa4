"""One installation in this process: a state directory, its lake and Dagster's record."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.cli.record import open_record
from mlops_assets.defs.resources import connect
from mlops_assets.lake import Credentials, Lake, Manifest, Partition
from mlops_assets.lakefs_server import Endpoint
from mlops_assets.settings import settings

RAW = ("raw/flights", "raw/weather")
WHOLE = ("raw/planes", "raw/airports", "raw/airlines")
MARTS = ("staging/stg_flights", "staging/stg_weather", "marts/fct_flights")
FEATURES = tuple(
    f"features/{name}"
    for name in (
        "carrier_history",
        "route_history",
        "origin_history",
        "destination_history",
        "flight_number_history",
        "aircraft_history",
        "origin_congestion",
        "carrier_congestion",
        "weather_now",
        "calendar",
    )
)
DAILY = (*RAW, *MARTS, *FEATURES)

Days = tuple[str, str]

BUILT_DAYS: Days = ("2013-01-01", "2013-01-04")
"""The days of the state directory that tests share."""


@dataclass(frozen=True)
class Installation:
    """A state directory and what this process has open of it.

    Attributes:
        home: The state directory.
        lake: Its lake, as assets get it.
        instance: Dagster's record.
        definitions: The real ones, loaded once for all tests.
    """

    home: Path
    lake: Lake
    instance: dg.DagsterInstance
    definitions: dg.Definitions

    def materialize(
        self,
        assets: Sequence[str],
        days: Days | str | None = None,
        *,
        tags: dict[str, str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run assets in this process, as any launch does, and say how it went.

        Args:
            assets: Their keys, parted by `/`.
            days: A range of days (first, last), one partition's key, or None without partitions.
            tags: More tags for the run.
        """
        job = self.definitions.get_repository_def().get_implicit_global_asset_job_def()
        one = days if isinstance(days, str) else None
        span = {}
        if isinstance(days, tuple):
            first, last = days
            span = {
                "dagster/asset_partition_range_start": first,
                "dagster/asset_partition_range_end": last,
            }
        return job.execute_in_process(
            asset_selection=[asset_key(asset) for asset in assets],
            instance=self.instance,
            partition_key=one,
            tags={**span, **(tags or {})},
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
            raise_on_error=False,
        )

    def build(self, days: Days | str) -> None:
        """Materialize everything from raw data to features for some days, and expect success."""
        assert self.materialize(WHOLE).success
        assert self.materialize(DAILY, days).success

    def manifests(self, ref: str | None = None) -> dict[str, dict[Partition, Manifest]]:
        """What every table consists of, at a ref or at the base branch's head."""
        snapshot = self.lake.snapshot(ref)
        tables = [*WHOLE, *DAILY, *(f"{table}_quarantine" for table in (*WHOLE, *RAW))]
        return {
            table: {part: stored.manifest for part, stored in snapshot.stored(table).items()}
            for table in tables
        }

    def materialization(self, asset: str, partition: str | None = None) -> dg.AssetMaterialization:
        """The newest materialization of a partition in Dagster's record."""
        [record] = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(
                asset_key=asset_key(asset), asset_partitions=[partition] if partition else None
            ),
            limit=1,
        ).records
        assert record.asset_materialization is not None
        return record.asset_materialization

    def materialized(self, asset: str) -> set[str]:
        """The partitions of an asset that Dagster's record holds."""
        return set(self.instance.get_materialized_partitions(asset_key(asset)))


@contextmanager
def reading(source: Path) -> Iterator[None]:
    """Take raw data from another folder meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_SOURCE", str(source))
        settings.cache_clear()
        yield
    settings.cache_clear()


def open_lake(endpoint: Endpoint, scratch: Path, *, repository: str = "tables") -> Lake:
    """A repository of a server, made where it is missing."""
    lake = Lake(Credentials(*endpoint), repository=repository, base_branch="main", scratch=scratch)
    lake.create()
    return lake


def asset_key(asset: str) -> dg.AssetKey:
    return dg.AssetKey(asset.split("/"))


@contextmanager
def installed(
    home: Path, definitions: dg.Definitions, **environment: str
) -> Iterator[Installation]:
    """Open a state directory, made where it is missing, as this process's installation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_HOME", str(home))
        patch.setenv("DAGSTER_HOME", str(home / "dagster"))
        for name, value in environment.items():
            patch.setenv(name, value)
        settings.cache_clear()
        open_record(settings())
        try:
            with dg.DagsterInstance.get() as instance:
                yield Installation(home, connect(settings()), instance, definitions)
        finally:
            settings.cache_clear()


def copied(home: Path, to: Path) -> Path:
    """Copy a state directory that nothing writes to.

    SQLite's `-shm` files are an index of the log that lives in memory; it is made anew.
    """
    return Path(shutil.copytree(home, to, ignore=shutil.ignore_patterns("*-shm")))
