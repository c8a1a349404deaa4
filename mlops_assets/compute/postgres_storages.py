"""Dagster's Postgres storages of runs and of schedules, on connections that stay open.

Launching and finishing a run asks the run storage some ten times, and the daemons ask both every
few seconds; each time the stock ones connect anew.
"""

from __future__ import annotations

from dagster_postgres import PostgresRunStorage, PostgresScheduleStorage

from mlops_assets.compute.postgres_connections import PooledPostgres


class PooledPostgresRunStorage(PooledPostgres, PostgresRunStorage):
    """The stock run storage's place in `dagster.yaml`, and its configuration."""


class PooledPostgresScheduleStorage(PooledPostgres, PostgresScheduleStorage):
    """The stock schedule storage's place in `dagster.yaml`, and its configuration."""
