"""What a problem's results are called in the lake, and how they are read from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from mlops_assets.lake import (
    LakeError,
    Partition,
    PublishedPartition,
    Snapshot,
    StoredPartition,
    TablePartition,
    UnreachableLakeError,
    find_file,
)
from mlops_assets.lake.history import makers
from mlops_assets.lake.partition import by_table
from mlops_assets.ml.decision import Decision, ModelPin
from mlops_assets.ml.deployment import Deployment

MODEL, REPORT, CHAMPION = "model", "evaluation_report", "champion"
DEPLOYED, PREDICTIONS = "deployed_model", "predictions"
"""The second part of the names of a problem's tables."""

MONITOR_PREFIX = "monitor_"
"""What the second part of the name of every monitor's table begins with."""

MODEL_FILE = "model.ubj"
REPORT_FILE = "report.html"
EVALUATION_FILE = "evaluation.json"
GATES_FILE = "gates.json"
CHAMPION_FILE = "champion.json"
DEPLOYED_FILE = "deployed_model.json"

MONTH = "month"
"""The dimension that every result has beside its segment."""


@dataclass(frozen=True, order=True)
class Place:
    """Which problem, segment and month a result belongs to.

    Attributes:
        problem: The problem's name, the first part of its tables' names.
        segment: The value of the dimension that is not the month.
        month: The month, as `2013-12`.
        partition: The partition in the lake.
    """

    problem: str
    segment: str
    month: str
    partition: Partition

    @classmethod
    def of(cls, key: TablePartition) -> Self:
        """Read the place from a partition's name.

        Raises:
            ValueError: It is no result of a problem: its dimensions are not a month and one more.
        """
        problem, _, _ = key.table.partition("/")
        values = dict(key.partition.values)
        month = values.pop(MONTH, None)
        if month is None or len(values) != 1:
            raise ValueError(f"{key} is no result by month and segment.")
        [segment] = values.values()
        return cls(problem, segment, month, key.partition)

    @property
    def registered_model(self) -> str:
        """What MLflow calls the segment's models, as `flight_delay.JFK`."""
        return f"{self.problem}.{self.segment}"

    def table(self, kind: str) -> TablePartition:
        """The partition of another of the problem's tables."""
        return TablePartition(f"{self.problem}/{kind}", self.partition)


def model_key(problem: str, pin: ModelPin) -> TablePartition:
    """Where the lake holds a problem's model, or has held it."""
    return TablePartition(f"{problem}/{MODEL}", Partition.from_path(pin.partition))


def problems(snapshot: Snapshot) -> list[str]:
    """The names of the problems that have a model at this commit."""
    lake = snapshot.lake
    with lake.errors():
        top = [found.path for found in lake.repo().ref(snapshot.commit).objects(delimiter="/")]
    names = [path.rstrip("/") for path in top if path.endswith("/")]
    return [name for name in names if any(_models(snapshot, name))]


def _models(snapshot: Snapshot, problem: str) -> Iterator[TablePartition]:
    for part in snapshot.stored(f"{problem}/{MODEL}").values():
        if [file.name for file in part.manifest.files] == [MODEL_FILE]:
            yield part.key


def published(snapshot: Snapshot, keys: Iterable[TablePartition]) -> list[PublishedPartition]:
    """Partitions as a commit holds them, each with the work commit that names it and its pin."""
    wanted = list(keys)
    made = makers(snapshot.lake, snapshot.commit, wanted)
    return [
        PublishedPartition(part.key, part.manifest, *made[part.key], changed=False)
        for table, group in by_table(wanted)
        for part in snapshot.require(table, [key.partition for key in group]).values()
    ]


def held_model(snapshot: Snapshot, problem: str, pin: ModelPin) -> PublishedPartition:
    """The model of that content as the newest state up to a commit holds it.

    Raises:
        LakeError: The lake has never held it.
    """
    key = model_key(problem, pin)
    [found] = published(find_file(snapshot, key, MODEL_FILE, pin.sha256), [key])
    return found


def champions(snapshot: Snapshot, problem: str) -> dict[str, ModelPin | None]:
    """The model of each segment that is in force at a commit: what its newest month decided."""
    table = f"{problem}/{CHAMPION}"
    places = [Place.of(TablePartition(table, partition)) for partition in snapshot.stored(table)]
    newest = {place.segment: place for place in sorted(places, key=lambda place: place.month)}
    return {
        segment: Decision.from_json(snapshot.read(place.table(CHAMPION), CHAMPION_FILE)).champion
        for segment, place in newest.items()
    }


def named_models(
    snapshot: Snapshot, parts: Iterable[StoredPartition]
) -> Iterator[tuple[TablePartition, str, str]]:
    """The models that champions and deployments name: partition, file and digest of each.

    Args:
        snapshot: The pin.
        parts: What it holds. A decision whose own bytes are damaged names none.
    """
    for part in parts:
        problem, _, kind = part.key.table.partition("/")
        pin = None
        try:
            if kind == CHAMPION:
                pin = Decision.from_json(snapshot.read(part.key, CHAMPION_FILE)).champion
            elif kind == DEPLOYED:
                pin = Deployment.from_json(snapshot.read(part.key, DEPLOYED_FILE)).model
        except UnreachableLakeError:
            raise
        except LakeError:
            continue
        if pin is not None:
            yield model_key(problem, pin), MODEL_FILE, pin.sha256
