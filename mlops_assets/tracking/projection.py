"""Runs, registered models and aliases, written from what the lake holds.

Everything is found again by what the lake calls it (work commit and partition, or the SHA-256 of a
model), so that writing a second time changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.lake import Lake, PublishedPartition, Snapshot, TablePartition
from mlops_assets.ml.decision import ModelPin
from mlops_assets.tracking import results, runs
from mlops_assets.tracking.connection import Registry, TrackingError
from mlops_assets.tracking.results import MODEL, REPORT, Place
from mlops_assets.tracking.runs import COMMIT, PARTITION, PIN, REPORT_VERSION, SHA256, ModelRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.entities import PagedList

CHAMPION_ALIAS = "champion"

CHAMPION_BRANCH = "main"
"""The one base branch whose champions are in force."""


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model, as the lake names it.

    Attributes:
        name: The registered model, as `flight_delay.JFK`.
        version: Its number.
        commit: The work commit of the model.
        model: The model, by partition and content.
    """

    name: str
    version: int
    commit: str
    model: ModelPin


@dataclass(frozen=True)
class Filled:
    """What a registry lacked of a base branch.

    Attributes:
        models: Models without a run or a version.
        reports: Reports that no run holds.
        champions: Problem and segment of each alias that named another model than the lake.
    """

    models: tuple[TablePartition, ...] = ()
    reports: tuple[TablePartition, ...] = ()
    champions: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.models) + len(self.reports) + len(self.champions)


class Tracking:
    """What is written to one MLflow registry.

    Attributes:
        registry: The registry.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._registered: set[str] = set()

    def record_model(self, lake: Lake, model: PublishedPartition) -> str | None:
        """Write a model: a run with its parameters, and a version of its segment's models.

        Returns:
            The run's page in MLflow's UI, if there is one.

        Raises:
            TrackingError: The registry does not answer, or refuses.
        """
        with self.registry.opened() as client:
            return self._page(self._model_run(client, lake, model))

    def record_report(self, lake: Lake, report: PublishedPartition) -> str | None:
        """Write a report into the run of the model that it judged.

        Returns:
            The run's page in MLflow's UI, if there is one.

        Raises:
            TrackingError: The registry does not answer, or refuses.
        """
        judged = Place.of(report.key).table(MODEL)
        with self.registry.opened() as client:
            [model] = results.published(Snapshot(lake, report.pin), [judged])
            run = self._model_run(client, lake, model)
            if run.tags.get(REPORT_VERSION) != report.manifest.data_version:
                runs.write_report(client, lake, report, run)
            return self._page(run)

    def record_champion(self, lake: Lake, decision: PublishedPartition) -> str | None:
        """Let the alias name the model of the segment that is in force now.

        That is what the segment's newest month decided, whichever month `decision` is of. Of any
        base branch but `main` nothing is written.

        Returns:
            The page of the segment's models in MLflow's UI, if there is one.

        Raises:
            TrackingError: The registry does not answer, or refuses.
        """
        if lake.base_branch != CHAMPION_BRANCH:
            return None
        place = Place.of(decision.key)
        with self.registry.opened() as client:
            self._move_alias(client, lake, place.problem, place.segment)
        return self.registry.page(f"models/{place.registered_model}")

    def fill_in(self, lake: Lake) -> Filled:
        """Write what the registry lacks of what the base branch holds.

        Returns:
            What it lacked.

        Raises:
            TrackingError: The registry does not answer, or refuses.
        """
        snapshot = lake.snapshot()
        lacking = self.missing(snapshot)
        for model in results.published(snapshot, lacking.models):
            self.record_model(lake, model)
        for report in results.published(snapshot, lacking.reports):
            self.record_report(lake, report)
        for problem, segment in lacking.champions:
            with self.registry.opened() as client:
                self._move_alias(client, lake, problem, segment)
        return lacking

    def missing(self, snapshot: Snapshot) -> Filled:
        """What the registry lacks of what a commit holds, by content; three searches a problem.

        Raises:
            TrackingError: The registry does not answer, or refuses.
        """
        found = [self._missing(snapshot, problem) for problem in results.problems(snapshot)]
        return Filled(
            tuple(key for one in found for key in one.models),
            tuple(key for one in found for key in one.reports),
            tuple(name for one in found for name in one.champions),
        )

    def _missing(self, snapshot: Snapshot, problem: str) -> Filled:
        models, reports = (snapshot.stored(f"{problem}/{kind}") for kind in (MODEL, REPORT))
        with self.registry.opened() as client:
            experiment = self.registry.experiment(problem)
            finished = [
                run.data.tags
                for run in pages(lambda at: client.search_runs([experiment], page_token=at))
                if run.info.status == "FINISHED"
            ]
            versions = _versions(client, f"name LIKE '{problem}.%'")
            aliases = {
                model.name: str(model.aliases.get(CHAMPION_ALIAS))
                for model in pages(
                    lambda at: client.search_registered_models(
                        f"name LIKE '{problem}.%'", page_token=at
                    )
                )
            }
        registered = {_pin(version.tags) for version in versions}
        whole = {_pin(tags) for tags in finished} & registered
        judged = {(tags.get(PARTITION), tags.get(REPORT_VERSION)) for tags in finished}
        named = {
            version.name: _pin(version.tags)
            for version in versions
            if aliases.get(version.name) == str(version.version)
        }
        return Filled(
            models=tuple(
                part.key
                for part in models.values()
                if (part.key.partition.path, part.manifest.files[0].sha256) not in whole
            ),
            reports=tuple(
                part.key
                for part in reports.values()
                if (part.key.partition.path, part.manifest.data_version) not in judged
            ),
            champions=tuple(
                (problem, segment)
                for segment, pin in results.champions(snapshot, problem).items()
                if snapshot.lake.base_branch == CHAMPION_BRANCH
                and named.get(f"{problem}.{segment}") != (pin and (pin.partition, pin.sha256))
            ),
        )

    def version(self, name: str, number: int) -> RegisteredVersion:
        """What the lake calls a version of a registered model.

        Raises:
            TrackingError: There is no such version, or it was not written from a lake; or the
                registry does not answer.
        """
        with self.registry.opened() as client:
            versions = {int(found.version): found for found in _versions(client, _named(name))}
        if number not in versions:
            known = ", ".join(map(str, sorted(versions))) or "none"
            raise TrackingError(
                f"MLflow at {self.registry.shown} has no {name}@{number}; of {name} it has these "
                f"versions: {known}."
            )
        tags = versions[number].tags
        if not {COMMIT, PARTITION, SHA256} <= tags.keys():
            raise TrackingError(
                f"{name}@{number} does not come from the lake: somebody else registered it."
            )
        pin = ModelPin(partition=tags[PARTITION], sha256=tags[SHA256])
        return RegisteredVersion(name, number, tags[COMMIT], pin)

    def _page(self, run: ModelRun) -> str | None:
        return self.registry.page(f"experiments/{run.experiment}/runs/{run.run}")

    def _model_run(self, client: MlflowClient, lake: Lake, model: PublishedPartition) -> ModelRun:
        """The run of a model and its version, written where they are missing."""
        place = Place.of(model.key)
        experiment = self.registry.experiment(place.problem)
        found = client.search_runs(
            [experiment],
            f"tags.`{COMMIT}` = '{model.commit}' and tags.`{PARTITION}` = '{place.partition.path}'",
        )
        whole = [run for run in found if run.info.status == "FINISHED"]
        for unfinished in found:
            if unfinished not in whole:
                runs.drop(client, unfinished)
        if not whole:
            written = runs.write_model(client, lake, model, experiment)
            self._register(client, place, written)
            return written
        # Two machines at once can write one result twice: from then on all take the same one.
        run = ModelRun.of(client, min(whole, key=lambda one: str(one.info.run_id)))
        if not client.search_model_versions(
            f"{_named(place.registered_model)} and run_id = '{run.run}'"
        ):
            self._register(client, place, run)
        return run

    def _register(self, client: MlflowClient, place: Place, run: ModelRun) -> None:
        """Make a run's model the newest version of its segment's."""
        name = place.registered_model
        if name not in self._registered:
            _create_registered_model(client, place)
            self._registered.add(name)
        client.create_model_version(
            name,
            # A `models:/` address would be looked up in the registry of MLflow's global settings.
            source=run.artefact,
            run_id=run.run,
            model_id=run.logged_model,
            tags={tag: run.tags[tag] for tag in (COMMIT, PIN, PARTITION, SHA256)},
            await_creation_for=0,
        )

    def _move_alias(self, client: MlflowClient, lake: Lake, problem: str, segment: str) -> None:
        """Let the alias name what is in force on the base branch at this moment."""
        snapshot = lake.snapshot()
        pin = results.champions(snapshot, problem).get(segment)
        name = f"{problem}.{segment}"
        held = [
            str(model.aliases[CHAMPION_ALIAS])
            for model in client.search_registered_models(_named(name))
            if CHAMPION_ALIAS in model.aliases
        ]
        if pin is None:
            if held:
                client.delete_registered_model_alias(name, CHAMPION_ALIAS)
            return
        if not (same := _same(client, name, pin)):
            self._model_run(client, lake, results.held_model(snapshot, problem, pin))
            same = _same(client, name, pin)
        if not set(held) & set(same):
            client.set_registered_model_alias(name, CHAMPION_ALIAS, same[-1])


def _create_registered_model(client: MlflowClient, place: Place) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(
            place.registered_model,
            description=(
                f"Models of {place.problem} for {place.segment}, written from the lake by "
                f"mlops-assets. The alias `{CHAMPION_ALIAS}` follows the champion asset of "
                f"{CHAMPION_BRANCH}: moved by hand, it is put back."
            ),
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _named(name: str) -> str:
    return f"name = '{name}'"


def _versions(client: MlflowClient, wanted: str) -> list[ModelVersion]:
    return list(pages(lambda at: client.search_model_versions(wanted, page_token=at)))


def _same(client: MlflowClient, name: str, pin: ModelPin) -> list[str]:
    """The versions of a registered model with that content, in order."""
    numbers = [
        int(version.version)
        for version in _versions(client, _named(name))
        if _pin(version.tags) == (pin.partition, pin.sha256)
    ]
    return [str(number) for number in sorted(numbers)]


def _pin(tags: Mapping[str, str]) -> tuple[str | None, str | None]:
    return tags.get(PARTITION), tags.get(SHA256)


def pages(search: Callable[[str | None], PagedList[Any]]) -> Iterator[Any]:
    """Everything that a search finds, which MLflow answers in pages."""
    token = None
    while True:
        page = search(token)
        yield from page
        token = page.token
        if not token:
            return
