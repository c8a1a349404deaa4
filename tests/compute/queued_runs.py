"""Runs in an instance whose queue is ours, and a Kubernetes that only keeps what it is given."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.execution.api import create_execution_plan
from dagster._core.launcher import LaunchRunContext
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from kubernetes.client import ApiClient, ApiException, V1Job, V1JobStatus, V1ObjectMeta, V1PodStatus

from mlops_assets.compute.assignment import Rule, profiled
from mlops_assets.compute.profiles import ProfileError, Profiles
from mlops_assets.compute.run_launcher import ProfiledK8sRunLauncher

ORIGINS = dg.StaticPartitionsDefinition(["EWR", "JFK", "LGA"])
LOCAL_QUEUE = """
telemetry: {enabled: false}
run_coordinator:
  module: mlops_assets.compute.run_coordinator
  class: ProfiledRunCoordinator
  config: {pools: {gpu: 3}}
"""


@dg.asset(**profiled(group="raw"))
def table() -> None:
    pass


@dg.asset(
    partitions_def=ORIGINS,
    deps=[table],
    **profiled(
        "gpu-small",
        group="flight_delay",
        problem="flight_delay",
        rules=[Rule(when={"partition": "EWR"}, profile="gpu-large")],
        partitions=ORIGINS,
    ),
)
def model() -> None:
    pass


@dg.asset(op_tags={"compute/profile": "gone"})
def stray() -> None:
    pass


@dg.asset(**profiled("gpu-mig", group="other"))
def slice_of_a_gpu() -> None:
    pass


defs = dg.Definitions(assets=[table, model, stray, slice_of_a_gpu])


@dataclass
class Queue:
    """An instance, and runs in it as its submitters make them."""

    instance: dg.DagsterInstance

    def create(
        self,
        *assets: str,
        tags: dict[str, str] | None = None,
        steps: Sequence[str] | None = None,
        executor: dg.ExecutorDefinition | None = None,
    ) -> dg.DagsterRun:
        """A run of some assets that is not submitted yet."""
        keys = [dg.AssetKey(name) for name in assets]
        found = dg.Definitions(assets=[table, model, stray, slice_of_a_gpu], executor=executor)
        job = found.resolve_implicit_global_asset_job_def().get_subset(asset_selection=set(keys))
        plan = create_execution_plan(job, step_keys_to_execute=list(steps) if steps else None)
        origin = ReconstructableJob(
            repository=dg.reconstructable(_job).repository, job_name="__ASSET_JOB"
        ).get_python_origin()
        return self.instance.create_run_for_job(
            job,
            execution_plan=plan,
            tags=tags,
            job_code_origin=origin,
            remote_job_origin=RemoteJobOrigin(
                RemoteRepositoryOrigin(
                    InProcessCodeLocationOrigin(LoadableTargetOrigin(), location_name="here"),
                    "__repository__",
                ),
                "__ASSET_JOB",
            ),
            asset_selection=frozenset(keys),
        )

    def submit(self, run: dg.DagsterRun) -> dg.DagsterRun:
        """The run, once it has been submitted."""
        context = SubmitRunContext(run, workspace=None)
        self.instance.run_coordinator.submit_run(context)
        return self.again(run)

    def again(self, run: dg.DagsterRun) -> dg.DagsterRun:
        """The run as it is recorded by now."""
        found = self.instance.get_run_by_id(run.run_id)
        assert found is not None
        return found

    def said(self, run: dg.DagsterRun) -> str:
        """All that is recorded of a run, in words."""
        return "\n".join(entry.message for entry in self.instance.all_logs(run.run_id))


@dg.job
def _job() -> None:
    pass


@dataclass
class RecordedApi:
    """The two Kubernetes clients that the launcher calls, which keep what they are given."""

    jobs: dict[str, V1Job] = field(default_factory=dict)
    pods: list[Any] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    refusal: Exception | None = None

    def create_namespaced_job(self, body: V1Job, namespace: str, **_: object) -> None:
        if self.refusal is not None:
            raise self.refusal
        job = copy.deepcopy(body)
        job.status = V1JobStatus(active=1)
        self.jobs[job.metadata.name] = job

    def list_namespaced_job(self, namespace: str, **_: object) -> SimpleNamespace:
        return SimpleNamespace(
            items=[job for job in self.jobs.values() if not job.status.succeeded]
        )

    def delete_namespaced_job(self, name: str, namespace: str, **_: object) -> None:
        if name not in self.jobs:
            raise ApiException(status=404)
        del self.jobs[name]

    def read_namespaced_job_status(self, name: str, namespace: str, **_: object) -> V1Job:
        if name not in self.jobs:
            raise ApiException(status=404)
        return self.jobs[name]

    def list_namespaced_pod(self, namespace: str, **_: object) -> SimpleNamespace:
        return SimpleNamespace(items=self.pods)

    def delete_namespaced_pod(self, name: str, namespace: str, **_: object) -> None:
        self.pods = [pod for pod in self.pods if pod.metadata.name != name]

    def list_namespaced_event(self, namespace: str, **_: object) -> SimpleNamespace:
        found = [
            SimpleNamespace(
                message=said,
                metadata=V1ObjectMeta(creation_timestamp=number),
                involved_object=SimpleNamespace(name=job),
            )
            for number, said in enumerate(self.warnings)
            for job in self.jobs
        ]
        return SimpleNamespace(items=found)

    def pod_of(self, run: dg.DagsterRun, phase: str, **status: Any) -> None:
        """Let a run's Job have a pod."""
        job = self.jobs[f"dagster-run-{run.run_id}"]
        template = job.spec.template.metadata
        metadata = V1ObjectMeta(
            name=f"{job.metadata.name}-x", labels=template.labels, annotations=template.annotations
        )
        self.pods = [SimpleNamespace(metadata=metadata, status=V1PodStatus(phase=phase, **status))]


Launcher = Callable[..., ProfiledK8sRunLauncher]


def no_profiles() -> Profiles:
    """What asks for the profiles of a file that is gone."""
    raise ProfileError("the file is gone")


def launched(
    queue: Queue, launcher: ProfiledK8sRunLauncher, api: RecordedApi, run: dg.DagsterRun
) -> dict[str, Any]:
    """The Job that a run is given, as Kubernetes would receive it."""
    launcher.launch_run(LaunchRunContext(queue.again(run), workspace=None))
    job = api.jobs[f"dagster-run-{run.run_id}"]
    found: dict[str, Any] = ApiClient().sanitize_for_serialization(job)
    return found
