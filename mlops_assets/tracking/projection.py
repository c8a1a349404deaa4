"""Runs, registered models and aliases, written from what the lake holds.

Everything is found again by what the lake calls it (work commit and partition, or the SHA-256 of a
model), so that writing a second time changes nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.lake import Lake, PublishedPartition, Snapshot, TablePartition
from mlops_assets.ml.decision import Judgement, ModelPin
from mlops_assets.ml.evaluation import Evaluation
from mlops_assets.ml.model import Model
from mlops_assets.tracking import artefact, results
from mlops_assets.tracking.connection import Registry, TrackingError
from mlops_assets.tracking.results import MODEL, REPORT, Place

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.entities import PagedList

COMMIT, PIN, PARTITION = "lake/commit", "lake/pin", "lake/partition"
DATA_VERSION, SHA256 = "lake/data_version", "sha256"
REPORT_COMMIT, REPORT_VERSION = "report/commit", "report/data_version"
CHAMPION_ALIAS = "champion"

CHAMPION_BRANCH = "main"
"""The one base branch whose champions are in force."""

PAGE = 1000


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
            if run.data.tags.get(REPORT_VERSION) != report.manifest.data_version:
                _write_report(client, lake, report, run)
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
            experiment = self.registry.experiment(problem).experiment_id
            runs = [
                run.data.tags
                for run in _pages(lambda at: client.search_runs([experiment], page_token=at))
                if run.info.status == "FINISHED"
            ]
            versions = _versions(client, f"name LIKE '{problem}.%'")
            aliases = {
                model.name: model.aliases.get(CHAMPION_ALIAS)
                for model in _pages(
                    lambda at: client.search_registered_models(
                        f"name LIKE '{problem}.%'", page_token=at
                    )
                )
            }
        registered = {_pin(version.tags) for version in versions}
        whole = {_pin(tags) for tags in runs} & registered
        judged = {(tags.get(PARTITION), tags.get(REPORT_VERSION)) for tags in runs}
        named = {
            version.name: _pin(version.tags)
            for version in versions
            if aliases.get(version.name) == version.version
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

    def _page(self, run: Run) -> str | None:
        return self.registry.page(f"experiments/{run.info.experiment_id}/runs/{run.info.run_id}")

    def _model_run(self, client: MlflowClient, lake: Lake, model: PublishedPartition) -> Run:
        """The run of a model and its version, written where they are missing."""
        place = Place.of(model.key)
        experiment = self.registry.experiment(place.problem).experiment_id
        found = client.search_runs(
            [experiment],
            f"tags.`{COMMIT}` = '{model.commit}' and tags.`{PARTITION}` = '{place.partition.path}'",
        )
        whole = [run for run in found if run.info.status == "FINISHED"]
        for run in found:
            if run not in whole:
                _drop(client, run)
        if whole:
            # Two machines at once can write one result twice: from then on all take the same one.
            run = min(whole, key=lambda one: str(one.info.run_id))
        else:
            run = _write_model(client, lake, model, experiment)
        _register(client, place, run)
        return run

    def _move_alias(self, client: MlflowClient, lake: Lake, problem: str, segment: str) -> None:
        """Let the alias name what is in force on the base branch at this moment."""
        snapshot = lake.snapshot()
        pin = results.champions(snapshot, problem).get(segment)
        name = f"{problem}.{segment}"
        held = [
            model.aliases[CHAMPION_ALIAS]
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


def _write_model(
    client: MlflowClient, lake: Lake, model: PublishedPartition, experiment: str
) -> Run:
    """A run that is finished only when everything of the model is in it."""
    from mlflow.entities import LoggedModelOutput, Metric, Param

    place = Place.of(model.key)
    content = Snapshot(lake, model.commit).read(model.key, results.MODEL_FILE)
    record = Model.from_ubj(content).record
    commit = lake.commit_info(model.commit)
    now = _milliseconds(commit)
    tags = _model_tags(model, place, commit["metadata"])
    run_id = client.create_run(
        experiment, start_time=now, tags=tags, run_name=f"{place.segment} {place.month}"
    ).info.run_id
    parameters = {name: str(value) for name, value in record.parameters.items()}
    logged = client.create_logged_model(
        experiment, name="model", source_run_id=run_id, tags=tags, params=parameters
    )
    artefact.write(client, logged, content, record, commit["metadata"])
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    counts = {"training_rows": record.rows, "training_positives": record.positives}
    client.log_batch(
        run_id,
        metrics=[
            Metric(name, count, now, 0, model_id=logged.model_id) for name, count in counts.items()
        ],
        params=[Param(name, value) for name, value in parameters.items()],
    )
    client.set_terminated(run_id, "FINISHED", end_time=now)
    return client.get_run(run_id)


def _model_tags(
    model: PublishedPartition, place: Place, metadata: Mapping[str, str]
) -> dict[str, str]:
    [file] = model.manifest.files
    recorded = {
        "code_version": metadata.get(f"code_version/{model.key.table}"),
        **{
            name: metadata.get(name)
            for name in ("dagster/run_id", "environment/requirements.lock", "environment/python")
        },
    }
    return {
        COMMIT: model.commit,
        PIN: model.pin,
        PARTITION: place.partition.path,
        DATA_VERSION: model.manifest.data_version,
        SHA256: file.sha256,
        **dict(place.partition.values),
        **{name: value for name, value in recorded.items() if value is not None},
    }


def _drop(client: MlflowClient, run: Run) -> None:
    """Take away what a process that was killed left unfinished."""
    left = client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )
    for logged in left:
        client.delete_logged_model(logged.model_id)
    client.delete_run(run.info.run_id)


def _register(client: MlflowClient, place: Place, run: Run) -> None:
    """Make the run's model a version of its segment's, where it is none yet."""
    name = place.registered_model
    if client.search_model_versions(f"{_named(name)} and run_id = '{run.info.run_id}'"):
        return
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(
            name,
            description=(
                f"Models of {place.problem} for {place.segment}, written from the lake by "
                f"mlops-assets. The alias `{CHAMPION_ALIAS}` follows the champion asset of "
                f"{CHAMPION_BRANCH}: moved by hand, it is put back."
            ),
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    logged = _logged_model(run)
    client.create_model_version(
        name,
        # A `models:/` address would be looked up in the registry of MLflow's global settings.
        source=client.get_logged_model(logged).artifact_location,
        run_id=run.info.run_id,
        model_id=logged,
        tags={tag: run.data.tags[tag] for tag in (COMMIT, PIN, PARTITION, SHA256)},
        await_creation_for=0,
    )


def _write_report(client: MlflowClient, lake: Lake, report: PublishedPartition, run: Run) -> None:
    from mlflow.entities import Metric, RunTag

    held = Snapshot(lake, report.commit)
    evaluation = Evaluation.from_json(held.read(report.key, results.EVALUATION_FILE))
    judgement = Judgement.from_json(held.read(report.key, results.GATES_FILE))
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / results.REPORT_FILE
        page.write_bytes(held.read(report.key, results.REPORT_FILE))
        client.log_artifact(run.info.run_id, str(page))
    now = _milliseconds(lake.commit_info(report.commit))
    logged = _logged_model(run)
    tags = {
        f"gate/{gate.name}": f"{'passed' if gate.passed else 'failed'}: {gate.sentence}"
        for gate in judgement.gates
    }
    # MLflow writes a batch's tags last, so that this one tells that all of the report is there.
    tags |= {REPORT_COMMIT: report.commit, REPORT_VERSION: report.manifest.data_version}
    client.log_batch(
        run.info.run_id,
        metrics=[
            Metric(name, value, now, 0, model_id=logged)
            for name, value in _measured(evaluation).items()
        ],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )


def _measured(evaluation: Evaluation) -> dict[str, float]:
    """The numbers of an evaluation by which models are compared."""
    line = evaluation.recalibration
    calibration = {} if line is None else {"slope": line.slope, "intercept": line.intercept}
    return {
        "evaluated_rows": evaluation.n,
        "evaluated_positives": evaluation.positives,
        **evaluation.model.model_dump(),
        **{f"baseline_{name}": found for name, found in evaluation.baseline.model_dump().items()},
        "brier_skill": evaluation.brier_skill,
        **{f"calibration_{name}": found for name, found in calibration.items()},
        "calibration_error": evaluation.calibration_error,
        "cost": evaluation.operation.model.cost,
        "baseline_cost": evaluation.operation.baseline.cost,
    }


def _logged_model(run: Run) -> str:
    """What MLflow calls the model that a finished run of ours holds."""
    if run.outputs is None or len(run.outputs.model_outputs) != 1:
        raise TrackingError(
            f"run {run.info.run_id} in MLflow has lost its model: delete the run, then run "
            "`mlops-assets doctor`, which writes it again."
        )
    return str(run.outputs.model_outputs[0].model_id)


def _milliseconds(commit: Mapping[str, Any]) -> int:
    """A commit's time as MLflow counts it: writing a result again gives the same numbers."""
    return int(commit["creation_date"]) * 1000


def _named(name: str) -> str:
    return f"name = '{name}'"


def _versions(client: MlflowClient, wanted: str) -> list[ModelVersion]:
    return list(_pages(lambda at: client.search_model_versions(wanted, page_token=at)))


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


def _pages(search: Callable[[str | None], PagedList[Any]]) -> Iterator[Any]:
    """Everything that a search finds, which MLflow answers in pages."""
    token = None
    while True:
        page = search(token)
        yield from page
        token = page.token
        if not token:
            return
