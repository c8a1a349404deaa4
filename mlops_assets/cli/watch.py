"""What a run did, gathered from its events while Dagster records them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_assets.components.faults import Link, recorded_links, sentence

if TYPE_CHECKING:
    from dagster import DagsterEvent, EventLogEntry
    from dagster._core.events import JobFailureData

    from mlops_assets.cli.progress import Progress

COMMIT = "lake/commit"


@dataclass
class Step:
    """One step of a run.

    Attributes:
        name: Its name.
        started: When it started, seconds since 1970.
        seconds: How long it took.
        recording_seconds: How much of that Dagster took to record what was published.
        published: The asset and partition of each materialization, with its work commit.
    """

    name: str
    started: float
    seconds: float = 0.0
    recording_seconds: float = 0.0
    published: dict[tuple[str, str | None], str | None] = field(default_factory=dict)
    recording_since: float | None = None


@dataclass
class RunWatch:
    """A listener to the events of one run, which Dagster calls as it records each.

    Attributes:
        progress: Where it tells how far the run is.
        started: When the run was asked for, seconds since 1970.
        planning_seconds: How long Dagster took to record what would run.
        steps: The steps in the order in which they started.
        failed_step: The step that failed first, or None.
        failure: Why it failed, or the run if no step did.
        explained: The words of a step that failed on purpose.
    """

    progress: Progress
    started: float
    planning_seconds: float = 0.0
    steps: dict[str, Step] = field(default_factory=dict)
    failed_step: str | None = None
    failure: list[Link] = field(default_factory=list)
    explained: str | None = None
    planned: int = 0

    def __call__(self, entry: EventLogEntry) -> None:
        """Take one event in."""
        from dagster import DagsterEventType as Kind

        event = entry.dagster_event
        if event is None:
            return
        match event.event_type:
            case Kind.ASSET_MATERIALIZATION_PLANNED:
                self.planned += 1
                self.progress.advance("planning", self.planned, None)
            case Kind.STEP_START:
                self._begin(str(event.step_key), entry.timestamp)
            case Kind.ASSET_MATERIALIZATION:
                self._published(event, entry.timestamp)
            case Kind.STEP_SUCCESS:
                self._end(str(event.step_key), entry.timestamp)
            case Kind.STEP_FAILURE:
                self._fail(event)
            case Kind.RUN_FAILURE if not self.failure:
                self._fail_run(event)
            case _:
                pass

    @property
    def published(self) -> set[tuple[str, str | None]]:
        """The partitions of assets that the run has published and recorded so far."""
        return {key for step in self.steps.values() for key in step.published}

    @property
    def recorded(self) -> int:
        """How many they are."""
        return sum(len(step.published) for step in self.steps.values())

    def told(self, place: str) -> str:
        """Why the run failed, as one sentence.

        Args:
            place: The state directory, named where a disk is full.
        """
        return self.explained or sentence(self.failure, place=place)

    def _begin(self, name: str, at: float) -> None:
        if not self.steps:
            self.planning_seconds = at - self.started
        self.steps[name] = Step(name, at)
        self.progress.advance(name, self.recorded, self.planned or None)

    def _published(self, event: DagsterEvent, at: float) -> None:
        step = self.steps[str(event.step_key)]
        if step.recording_since is None:
            step.recording_since = at
        materialization = event.step_materialization_data.materialization
        commit = materialization.metadata.get(COMMIT)
        key = (materialization.asset_key.to_user_string(), materialization.partition)
        # A range is recorded twice: by Dagster without a commit, then by us with each one's own.
        step.published[key] = step.published.get(key) or (str(commit.value) if commit else None)
        self.progress.advance(f"{step.name}: recording", self.recorded, self.planned or None)

    def _end(self, name: str, at: float) -> None:
        step = self.steps[name]
        step.seconds = at - step.started
        if step.recording_since is not None:
            step.recording_seconds = at - step.recording_since
        self.progress.step_done(name, step.seconds, len(step.published))

    def _fail_run(self, event: DagsterEvent) -> None:
        # A run that somebody else ended, as a launcher or run monitoring, has their words alone.
        data: JobFailureData | None = event.event_specific_data  # type: ignore[assignment]
        if data is None or data.error is None:
            self.explained = event.message
        else:
            self.failure = recorded_links(data.error)

    def _fail(self, event: DagsterEvent) -> None:
        if self.failed_step is not None:
            return
        data = event.step_failure_data
        self.failed_step = str(event.step_key)
        self.failure = recorded_links(data.error)
        if data.user_failure_data is not None:
            self.explained = data.user_failure_data.description
