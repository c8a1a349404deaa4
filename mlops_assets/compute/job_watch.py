"""A watch over the Jobs of runs: abandoned ones are removed, waiting ones explained.

Dagster looks at runs, not at Jobs: the Job of a run that it gave up stays, and would take a GPU
as soon as one is free; and of a pod that cannot be placed, or that was never made, it says nothing
until the start timeout, hours later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

import dagster as dg
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import get_job_name_from_run_id
from kubernetes.client import ApiException

from mlops_assets.compute.placement import QUEUE_LABEL

if TYPE_CHECKING:
    from dagster_k8s.client import DagsterKubernetesClient
    from kubernetes.client import V1Job, V1Pod

LOOK_SECONDS = 2.0

# Without one, a connection that has been cut silently would hold the watch for ever.
REQUEST_SECONDS = 10.0

# A run's pod ends a moment after the run has: it stores its last events and closes its log.
GRACE_SECONDS = 30.0

# From a run's first event to its Job: a refused request is tried four times in 70 s.
LAUNCH_SECONDS = 300.0

RUN_LABEL = "dagster/run-id"
WORKERS = "app.kubernetes.io/component=run_worker"
STARTING = dg.DagsterRunStatus.STARTING
FINISHED = (
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
)

ASKED_NOTE = "mlops-assets/asked"
"""The annotation of a pod that says what it asks for, and why."""

# Every container waits for a moment for one of these.
USUAL = ("ContainerCreating", "PodInitializing")

_logger = logging.getLogger("dagster.run_launcher")


class JobWatch:
    """Looks at the Jobs of one namespace every two seconds, in a thread of whoever launches runs.

    Two or three requests a look, whatever the number of runs.
    """

    def __init__(self, client: DagsterKubernetesClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._told: dict[str, str] = {}
        self._ended = Event()
        self._starting = Lock()
        self._thread: Thread | None = None

    def start(self, instance: dg.DagsterInstance) -> None:
        """Begin to look, unless it has begun: at once, so that an abandoned pod leaves its GPU."""
        with self._starting:
            if self._thread is None:
                self._thread = Thread(
                    target=self._run, args=(instance,), name="job-watch", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """End it, and wait until it has."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, instance: dg.DagsterInstance) -> None:
        while not self._ended.is_set():
            try:
                self.look(instance)
            except Exception:
                # An API server that restarts must not end the watch.
                _logger.warning("Looking at the Jobs of runs failed.", exc_info=True)
            self._ended.wait(LOOK_SECONDS)

    def look(self, instance: dg.DagsterInstance) -> None:
        """Remove Jobs of runs that are over, fail runs that never began, explain waiting pods.

        Args:
            instance: Whose runs they are. Jobs of runs that it does not know stay: another
                deployment may share the namespace.
        """
        jobs = {_run_id(job): job for job in self._unfinished_jobs()}
        self._told = {run: said for run, said in self._told.items() if run in jobs}
        if jobs:
            self._look_at(jobs, instance)
        for record in instance.get_run_records(dg.RunsFilter(statuses=[STARTING])):
            run, age = record.dagster_run, time.time() - record.update_timestamp.timestamp()
            if run.run_id not in jobs and age > LAUNCH_SECONDS and not self._has_job(run):
                instance.report_run_failed(
                    run,
                    "This run has no Job: the process that launched it ended before it had made "
                    "one, or somebody has deleted it. Run it again, unless run_retries does.",
                )

    def _look_at(self, jobs: Mapping[str, V1Job], instance: dg.DagsterInstance) -> None:
        pods = {_run_id(pod): pod for pod in self._pods()}
        refusals = cache(self._refusals)
        for record in instance.get_run_records(dg.RunsFilter(run_ids=list(jobs))):
            run = record.dagster_run
            job, pod = jobs[run.run_id], pods.get(run.run_id)
            if run.status in FINISHED:
                if _abandoned(pod, time.time() - (record.end_time or 0)):
                    self._remove(instance, run, job)
            elif run.status is STARTING:
                self._attend(instance, run, job, pod, refusals)

    def _unfinished_jobs(self) -> list[V1Job]:
        # Jobs that ended well stay for their logs, a day's thousands of them.
        found: list[V1Job] = self._client.batch_api.list_namespaced_job(
            self._namespace,
            label_selector=WORKERS,
            field_selector="status.successful=0",
            _request_timeout=REQUEST_SECONDS,
        ).items
        return found

    def _pods(self) -> list[V1Pod]:
        found: list[V1Pod] = self._client.core_api.list_namespaced_pod(
            self._namespace,
            label_selector=WORKERS,
            field_selector="status.phase!=Succeeded",
            _request_timeout=REQUEST_SECONDS,
        ).items
        return found

    def _remove(self, instance: dg.DagsterInstance, run: dg.DagsterRun, job: V1Job) -> None:
        if _failed(job):
            # It holds nothing any more, and its pod's log may be wanted.
            return
        name = job.metadata.name
        try:
            self._client.batch_api.delete_namespaced_job(
                name,
                self._namespace,
                propagation_policy="Background",
                _request_timeout=REQUEST_SECONDS,
            )
        except ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        else:
            instance.report_engine_event(
                f"Removed the Job {name} of this run, which is over.", run, cls=type(self)
            )

    def _attend(
        self,
        instance: dg.DagsterInstance,
        run: dg.DagsterRun,
        job: V1Job,
        pod: V1Pod | None,
        refusals: Callable[[], Mapping[str, str]],
    ) -> None:
        if _failed(job):
            # Dagster looks at the worker of a run only once the run has begun.
            instance.report_run_failed(
                run, f"The pod of this run ended before the run began: {_ending(pod)}."
            )
            return
        why = _hold(job, refusals) if pod is None else _hindrance(pod)
        if why and self._told.get(run.run_id) != why:
            self._told[run.run_id] = why
            asked = pod and (pod.metadata.annotations or {}).get(ASKED_NOTE)
            told = f"The pod of this run waits: {why}" + (f" Its {asked}." if asked else "")
            instance.report_engine_event(told, run, cls=type(self))

    def _refusals(self) -> dict[str, str]:
        """Why the cluster makes no pod for Jobs, by their names: a quota is used up, say."""
        events = self._client.core_api.list_namespaced_event(
            self._namespace,
            field_selector="involvedObject.kind=Job,type=Warning",
            _request_timeout=REQUEST_SECONDS,
        ).items
        events.sort(key=lambda event: event.metadata.creation_timestamp)
        return {event.involved_object.name: event.message or event.reason for event in events}

    def _has_job(self, run: dg.DagsterRun) -> bool:
        """Whether a run has a Job, ended or not, where its code location wants its runs."""
        own = K8sContainerContext.create_for_run(run, None, include_run_tags=False).namespace
        name = get_job_name_from_run_id(run.run_id)
        return self._client.get_job_status(name, own or self._namespace) is not None


def _run_id(found: V1Job | V1Pod) -> str:
    return str((found.metadata.labels or {}).get(RUN_LABEL, ""))


def _abandoned(pod: V1Pod | None, seconds: float) -> bool:
    """Whether a Job is left over from a run that ended so many seconds ago.

    A pod that has ended, or that is not listed since it ended well, holds nothing, and its log may
    be wanted: Kubernetes takes a second or two to say so of the Job.
    """
    phase = pod and pod.status.phase
    return phase == "Pending" or (phase != "Failed" and seconds > GRACE_SECONDS)


def _failed(job: V1Job) -> bool:
    return bool(job.status.failed) and not job.status.active


def _hold(job: V1Job, refusals: Callable[[], Mapping[str, str]]) -> str | None:
    """Why a Job has no pod: a queue holds it, or the cluster refuses one."""
    if job.spec.suspend:
        queue = (job.metadata.labels or {}).get(QUEUE_LABEL)
        return f"its Job is suspended, in the queue {queue}." if queue else "it is suspended."
    return refusals().get(job.metadata.name)


def _hindrance(pod: V1Pod) -> str | None:
    """Why a pod does not begin: no node has what it asks for, or its container cannot be made."""
    if pod.status.phase != "Pending":
        return None
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return str(condition.message or condition.reason)
    for container in pod.status.container_statuses or []:
        waiting = container.state and container.state.waiting
        if waiting and waiting.reason not in USUAL:
            return _joined(waiting.reason, waiting.message)
    return None


def _ending(pod: V1Pod | None) -> str:
    """How a pod ended: its container, or all of it, as one that was evicted."""
    if pod is None:
        return "the pod is gone"
    for container in pod.status.container_statuses or []:
        ended = container.state and container.state.terminated
        if ended:
            return f"{ended.reason or 'ended'}, exit code {ended.exit_code}"
    return _joined(pod.status.reason, pod.status.message) or "Kubernetes does not say how"


def _joined(reason: str | None, message: str | None) -> str:
    return ": ".join(said for said in (reason, message) if said)
