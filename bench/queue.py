"""A backfill of a run a partition through the queue, with stock settings and with ours.

Each side is `dagster dev` with an instance of its own: webserver, daemon and code server. All of
the thousand partitions are asked for as the UI asks for them; the rate is taken over the first ones
of them to end, after those that end while the queue fills. Meanwhile the query of the asset's
partition page is asked again and again.
"""

from __future__ import annotations

import json
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.figures import Benchmark, Figure
from bench.no_op_partitions import DAYS, nothing
from bench.processes import ROOT, free_port, server

MEASURED = 100
WARM_UP = 20
PAGE_EVERY_SECONDS = 2.0
PAGE_SECONDS = 2.0
READY_SECONDS = 120

STOCK = "telemetry: {enabled: false}\n"
OURS = (ROOT / "infra" / "dagster.yaml").read_text()
WORKSPACE = json.dumps(
    {
        "load_from": [
            {
                "python_module": {
                    "module_name": "bench.no_op_partitions",
                    "working_directory": str(ROOT),
                }
            }
        ]
    }
)

BACKFILL = """
mutation ($parameters: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $parameters) { __typename }
}
"""
MADE = "{ runsOrError(filter: {statuses: [SUCCESS]}) { ... on Runs { count } } }"
MADE_RUNS = "{ runsOrError(filter: {statuses: [SUCCESS]}) { ... on Runs { results { endTime } } } }"
# What the page of the asset's partitions asks: the webserver's own `PartitionHealthQuery`.
PAGE = """
query PartitionHealthQuery($assetKey: AssetKeyInput!) {
  assetNodeOrError(assetKey: $assetKey) {
    ... on AssetNode {
      id
      partitionKeysByDimension { name type partitionKeys }
      assetPartitionStatuses {
        ... on TimePartitionStatuses { ranges { status startTime endTime startKey endKey } }
      }
    }
  }
}
"""


@dataclass
class Measured:
    """What one side did.

    Attributes:
        ends: When each run ended, from the first, in seconds.
        pages: How long each answer of the partition page took, in seconds.
    """

    ends: list[float]
    pages: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Partitions a minute, once the queue was full."""
        steady = self.ends[WARM_UP:]
        return 60 * (len(steady) - 1) / (steady[-1] - steady[0])


@dataclass(frozen=True)
class _Api:
    url: str

    def __call__(self, query: str, **variables: object) -> Any:  # noqa: ANN401 - JSON
        request = urllib.request.Request(
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            said = json.load(answer)
        if said.get("errors"):
            raise RuntimeError(f"the webserver answered {said['errors']}")
        return said["data"]


@contextmanager
def _served(folder: Path, settings: str) -> Iterator[_Api]:
    home = folder / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(settings)
    (folder / "workspace.yaml").write_text(WORKSPACE)
    port = free_port()
    api = _Api(f"http://127.0.0.1:{port}")
    arguments = ("-m", "dagster", "dev", "-w", str(folder / "workspace.yaml"))
    with server(*arguments, "-h", "127.0.0.1", "-p", str(port), home=folder):
        patience = time.monotonic() + READY_SECONDS
        while True:
            try:
                api("{ workspaceOrError { ... on Workspace { id } } }")
                break
            except OSError:
                if time.monotonic() > patience:
                    raise
                time.sleep(0.5)
        yield api


def backfilled(settings: str, partitions: int) -> Measured:
    """Backfill until so many of the thousand partitions are made.

    Args:
        settings: The instance's `dagster.yaml`.
        partitions: How many runs have to end.
    """
    key = {"path": list(nothing.key.path)}
    pages: list[float] = []
    with tempfile.TemporaryDirectory() as name, _served(Path(name), settings) as api:
        answer = api(
            BACKFILL,
            parameters={"assetSelection": [key], "partitionNames": DAYS.get_partition_keys()},
        )["launchPartitionBackfill"]
        if answer["__typename"] != "LaunchBackfillSuccess":
            raise RuntimeError(f"the backfill was not launched: {answer}")
        while api(MADE)["runsOrError"]["count"] < partitions:
            asked = time.perf_counter()
            api(PAGE, assetKey=key)
            pages.append(time.perf_counter() - asked)
            time.sleep(max(0.0, PAGE_EVERY_SECONDS - pages[-1]))
        ends = sorted(run["endTime"] for run in api(MADE_RUNS)["runsOrError"]["results"])
    return Measured(ends[:partitions], pages)


def _measure(rounds: int) -> Iterator[Figure]:
    stock: list[Measured] = []
    ours: list[Measured] = []
    for _ in range(rounds):
        stock.append(backfilled(STOCK, MEASURED))
        ours.append(backfilled(OURS, MEASURED))
    yield from _figures(ours, stock)


def _figures(ours: list[Measured], stock: list[Measured]) -> Iterator[Figure]:
    def pages(of: list[Measured]) -> list[float]:
        return [seconds for measured in of for seconds in measured.pages]

    def rate(of: list[Measured]) -> float:
        return median(measured.rate for measured in of)

    name = QUEUE.name
    yield Figure(name, "partitions a minute", rate(ours), "1/min", rate(stock))
    yield Figure(name, "a partition", 60 / rate(ours), "s", 60 / rate(stock), target=0.5)
    yield Figure(name, "partition page, median", median(pages(ours)), "s", median(pages(stock)))
    yield Figure(name, "partition page, slowest", max(pages(ours)), "s", max(pages(stock)))
    yield Figure(
        name, "partition page, of what is allowed", max(pages(ours)), "s", PAGE_SECONDS, target=1.0
    )


QUEUE = Benchmark(
    name="queue",
    question="How many partitions a minute does a backfill make, a run each, against stock?",
    rounds=1,
    measure=_measure,
)
