"""Where a branch's instance keeps its record."""

from typing import Any

import pytest
import yaml

from mlops_assets.cli.branch_storage import configuration
from mlops_assets.compute.postgres_event_log import PooledPostgresEventLogStorage
from mlops_assets.settings import SettingsError

DATABASE = {"username": "dagster", "password": {"env": "PG_PASSWORD"}, "hostname": "db"}


def test_a_folder_is_another_record_by_itself() -> None:
    base = b"# ours\nconcurrency:\n  runs:\n    max_concurrent_runs: 2\n"
    assert configuration(base, "exp") == base


@pytest.mark.parametrize(
    "storages",
    [
        {"storage": {"postgres": {"postgres_db": DATABASE}}},
        {
            name: {"module": "dagster_postgres", "config": {"postgres_db": DATABASE}}
            for name in ("run_storage", "event_log_storage", "schedule_storage")
        },
        {
            "event_log_storage": {
                "module": PooledPostgresEventLogStorage.__module__,
                "class": PooledPostgresEventLogStorage.__name__,
                "config": {"postgres_db": DATABASE},
            },
        },
    ],
)
def test_every_postgres_gets_the_schema_of_the_branch_and_secrets_stay_references(
    storages: dict[str, dict[str, Any]],
) -> None:
    copy = configuration(
        yaml.safe_dump({**storages, "telemetry": {"enabled": False}}).encode(), "a"
    )
    found = yaml.safe_load(copy)
    assert found["telemetry"] == {"enabled": False}
    for place, storage in storages.items():
        value = found[place].get("postgres", found[place].get("config"))
        for kind in ("module", "class"):
            assert found[place].get(kind) == storage.get(kind)
        assert value["postgres_db"]["params"] == {"options": '-csearch_path="branch_a"'}
        assert value["postgres_db"]["password"] == {"env": "PG_PASSWORD"}


def test_options_that_were_there_stay() -> None:
    database = {**DATABASE, "params": {"options": "-cstatement_timeout=9"}}
    base = yaml.safe_dump({"storage": {"postgres": {"postgres_db": database}}}).encode()
    [storage] = yaml.safe_load(configuration(base, "a"))["storage"].values()
    assert storage["postgres_db"]["params"] == {
        "options": '-cstatement_timeout=9 -csearch_path="branch_a"'
    }


@pytest.mark.parametrize(
    ("base", "branch", "told"),
    [
        (b"storage: {postgres: {postgres_url: {env: PG_URL}}}", "a", "write postgres_db with"),
        (b"storage: {postgres: {postgres_db: {hostname: db}}}", "a" * 57, "use at most 56 bytes"),
    ],
)
def test_what_cannot_be_given_a_schema_is_refused_with_the_way_out(
    base: bytes, branch: str, told: str
) -> None:
    with pytest.raises(SettingsError, match=told):
        configuration(base, branch)
