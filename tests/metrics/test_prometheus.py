"""A real Prometheus takes the rules, scrapes a real lake, fires, and feeds every panel."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import COMMAND, configured, environment
from observed_lake import DAY, PROBLEM, copied_dbt, fill
from ports import free_port
from required import program

from mlops_assets.settings import ROOT

MONITORING = ROOT / "infra" / "monitoring"
DASHBOARDS = sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))
PATIENCE = 120.0


def tool(name: str) -> str:
    return program(name, "prometheus")


def checked(*arguments: str) -> None:
    done = subprocess.run(
        [tool("promtool"), *arguments], cwd=MONITORING, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_its_configuration_and_the_rules() -> None:
    checked("check", "config", "prometheus.yml")
    checked("check", "rules", "alerts.yml")


def test_every_rule_fires_when_it_should_and_not_when_all_is_well() -> None:
    checked("test", "rules", "alerts_test.yml")
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
    tests = (MONITORING / "alerts_test.yml").read_text()
    for rule in rules:
        assert f"alertname: {rule['alert']}}}" in tests, "quiet while all is well"
        assert f'"{rule["alert"]}"' in tests, "fires"
        assert rule["annotations"]["way_out"]
        assert rule["labels"]["severity"] in ("warning", "error")


def waited(what: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            if found := what():
                return found
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError("nothing came")


class Prometheus:
    """A server that scrapes an exporter."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/v1"

    def get(self, page: str, **asked: str) -> Any:
        with urllib.request.urlopen(
            f"{self.url}/{page}?{urllib.parse.urlencode(asked)}", timeout=PATIENCE
        ) as answer:
            document = json.load(answer)
        assert document["status"] == "success"
        return document["data"]

    def query(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        found = self.get("query", query=expression)
        if found["resultType"] == "scalar":
            return {(): float(found["result"][1])}
        return {
            tuple(
                sorted((k, v) for k, v in one["metric"].items() if k not in ("instance", "job"))
            ): float(one["value"][1])
            for one in found["result"]
        }

    def value(self, expression: str) -> float:
        [found] = self.query(expression).values()
        return found


@pytest.fixture(scope="module")
def prometheus(parsed_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus with the configuration of `infra`, only quicker, over a served state directory."""
    server = tool("prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    home = copied_dbt(parsed_home, folder / "home")
    with configured(MLOPS_HOME=home):
        fill()
    exported, port = free_port(), free_port()
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    [scraped] = config["scrape_configs"]
    scraped["scrape_timeout"] = "1s"
    scraped["static_configs"] = [{"targets": [f"127.0.0.1:{exported}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(MONITORING / "alerts.yml", folder)
    commands = [
        [*COMMAND, "metrics", "--serve", "--port", str(exported)],
        [
            server,
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ],
    ]
    log = (folder / "log").open("w")
    processes = [
        subprocess.Popen(
            command, env=environment(MLOPS_HOME=home), stdout=log, stderr=log, cwd=folder
        )
        for command in commands
    ]
    found = Prometheus(port)
    try:
        waited(lambda: found.query('up{job="mlops-assets"} == 1'))
        waited(lambda: found.query("mlops_source_up"))
        yield found
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def test_the_figures_of_the_lake_and_of_the_record_are_scraped(prometheus: Prometheus) -> None:
    day = 1371168000.0
    assert prometheus.value('mlops_newest_partition_timestamp_seconds{table="raw/flights"}') == day
    assert prometheus.value('mlops_partitions{table="raw/flights"}') == 2
    assert prometheus.value(f'mlops_performance_roc_auc{{problem="{PROBLEM}",days="7"}}') == 0.71
    assert prometheus.value('mlops_performance_roc_auc{carrier="UA"}') == 0.66
    assert prometheus.value('mlops_monitor_alarms{monitor="drift"}') == 1
    assert prometheus.value('mlops_runs_last_day{status="FAILURE"}') == 1
    gate = f'table="{PROBLEM}/evaluation_report",blocking="false"'
    assert prometheus.value(f"mlops_failed_checks{{{gate}}}") == 1
    assert prometheus.value('mlops_failed_checks{table="raw/flights",blocking="true"}') == 1
    assert prometheus.value('mlops_automation_on{name="tags"}') == 1
    assert prometheus.value('mlops_automation_on{name="run_failures"}') == 0
    assert prometheus.value('mlops_automation_tick_failures{name="tags"}') == 3
    assert prometheus.value('mlops_automation_tick_failures{name="weekly_retention"}') == 0
    made = 'mlops_asset_last_materialization_timestamp_seconds{table="raw/flights",group="raw"}'
    assert prometheus.value(f"time() - {made}") < 3600
    assert set(prometheus.query("mlops_source_up").values()) == {1}


def test_what_is_wrong_fires_with_its_way_out(prometheus: Prometheus) -> None:
    def firing() -> dict[str, Any]:
        alerts = prometheus.get("alerts")["alerts"]
        return {one["labels"]["alertname"]: one for one in alerts if one["state"] == "firing"}

    found = waited(lambda: set(firing()) >= {"MonitorAlarm", "RunsFail", "TicksFail"} and firing())
    told = found["MonitorAlarm"]["annotations"]
    assert told["summary"].startswith("monitor_drift of flight_delay raises 1 alarms")
    assert "flight_delay/monitor_drift" in told["way_out"]
    assert not set(found) & {"ExporterDown", "SourceDown", "TableUnreadable"}


def panels(dashboard: Path) -> list[dict[str, Any]]:
    return list(json.loads(dashboard.read_text())["panels"])


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_of_a_dashboard_has_data(dashboard: Path, prometheus: Prometheus) -> None:
    waited(lambda: prometheus.query("scrape_duration_seconds"))
    for panel in panels(dashboard):
        for target in panel["targets"]:
            expression = target["expr"].replace('"$problem"', '".*"').replace('"$table"', '".*"')
            assert "$" not in expression
            assert prometheus.query(expression), f"{panel['title']}: {expression}"


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_loads_anywhere(dashboard: Path) -> None:
    document = json.loads(dashboard.read_text())
    assert document["uid"] == f"mlops-{dashboard.stem}"
    assert document["title"]
    assert document["schemaVersion"] >= 39
    variables = {one["name"]: one for one in document["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    identities = [panel["id"] for panel in document["panels"]]
    assert len(set(identities)) == len(identities)
    for panel in document["panels"]:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
        assert panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


def test_the_day_of_the_monitors_is_the_newest(prometheus: Prometheus) -> None:
    found = prometheus.query('mlops_newest_partition_timestamp_seconds{table=~".+/monitor_.+"}')
    assert len(found) == 4
    assert len(set(found.values())) == 1
    assert time.strftime("%Y-%m-%d", time.gmtime(next(iter(found.values())))) == DAY
