"""The launcher of runs on Kubernetes: each in a pod that gets what the run's profile says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import dagster as dg
import urllib3.exceptions
from dagster._core.launcher import LaunchRunContext, ResumeRunContext
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.tags import DOCKER_IMAGE_TAG
from dagster_k8s import K8sRunLauncher
from dagster_k8s.client import DagsterK8sAPIRetryLimitExceeded, DagsterK8sUnrecoverableAPIError
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import UserDefinedDagsterK8sConfig
from dagster_k8s.utils import sanitize_k8s_label
from dagster_shared.record import copy
from kubernetes.client import ApiException
from kubernetes.utils.quantity import parse_quantity

from mlops_assets.compute.clusters import counts_gpus
from mlops_assets.compute.failures import fail_for_good
from mlops_assets.compute.job_watch import ASKED_NOTE, JobWatch
from mlops_assets.compute.placement import Placement
from mlops_assets.compute.profiles import ProfileError, configured_profiles
from mlops_assets.compute.resolver import Resolved, resolve

LABEL_PREFIX = "mlops-assets/"

CLUSTER_FAULTS = (
    ApiException,
    DagsterK8sAPIRetryLimitExceeded,
    DagsterK8sUnrecoverableAPIError,
    urllib3.exceptions.HTTPError,
)


class LaunchError(Exception):
    """A run's pod cannot be made; the sentence says why and the way out."""


class ProfiledK8sRunLauncher(K8sRunLauncher):
    """Dagster's launcher on Kubernetes, which takes a pod's resources from the run's profile.

    The stock launcher reads tags of the run alone, and an ad hoc materialization or a backfill of
    assets has none of the asset's (dagster#33430). Here the profile is found in the plan stored
    with the run, whichever way it was started. Configuration, later wins: the launcher's own, the
    profile, the code location's, the run's tag. What the last two may say is bounded by the stock
    allow-list; that the GPU has survived them is checked before anything is created.
    """

    def __init__(
        self,
        **stock: Any,  # noqa: ANN401 - the stock settings, which `config_type` has checked
    ) -> None:
        super().__init__(**stock)
        # Made here and not at the first use: eight threads of the queue launch at once, and of two
        # dictionaries the one that a thread has written to could be the one that is gone.
        self._resolved: dict[str, Resolved] = {}
        self._watch = JobWatch(self._api_client, self.job_namespace)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Create the Job of a run.

        Raises:
            LaunchError: It cannot be made. The run has failed with the same sentence.
        """
        with self._launching(context.dagster_run):
            super().launch_run(context)

    def resume_run(self, context: ResumeRunContext) -> None:
        """Create the Job of a run's next attempt.

        Raises:
            LaunchError: It cannot be made. The run has failed with the same sentence.
        """
        with self._launching(context.dagster_run):
            super().resume_run(context)

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Say whether a run's pod is alive; and watch over those of runs that nobody asks for.

        A run that no launcher launched, as of `mlops-assets run` in the toolbox, has no pod of its
        own and counts as running: monitoring failed it while it was at work.
        """
        self._watch.start(self._instance)
        if DOCKER_IMAGE_TAG not in run.tags:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "no pod was made for it")
        health: CheckRunHealthResult = super().check_run_worker_health(run)
        return health

    def get_container_context_for_run(self, dagster_run: dg.DagsterRun) -> K8sContainerContext:
        """The pod's configuration, with the profile's only while the run is launched.

        The stock launcher asks for it as well to end a run, to look after it and to explain it,
        where it takes the namespace alone: a profile that somebody has removed since must not
        keep a run from being cancelled.
        """
        resolved = self._resolved.get(dagster_run.run_id)
        if resolved is None:
            return super().get_container_context_for_run(dagster_run)
        base = K8sContainerContext.create_for_run(
            copy(dagster_run, job_code_origin=None), self, include_run_tags=False
        )
        user = K8sContainerContext.create_for_run(
            dagster_run, None, include_run_tags=True
        ).validate_user_k8s_config_for_run(
            self.only_allow_user_defined_k8s_config_fields, self.only_allow_user_defined_env_vars
        )
        merged = base.merge(_of_profile(resolved)).merge(user)
        _require_placement(merged.run_k8s_config, resolved.placement)
        _refuse_other_gpus(merged.run_k8s_config, resolved.placement)
        return merged

    def dispose(self) -> None:
        """End what watches over the Jobs."""
        self._watch.stop()
        super().dispose()

    @contextmanager
    def _launching(self, run: dg.DagsterRun) -> Iterator[None]:
        """Know the run's profile while its Job is made, and fail the run should that go wrong."""
        self._watch.start(self._instance)
        try:
            self._resolved[run.run_id] = resolve(self._instance, run, configured_profiles())
            yield
        except Exception as error:
            sentence = _sentence(error, self.job_namespace)
            if _may_pass(error):
                self._instance.report_run_failed(run, sentence)
            else:
                fail_for_good(self._instance, run, sentence)
            raise LaunchError(sentence) from error
        finally:
            self._resolved.pop(run.run_id, None)


def _of_profile(resolved: Resolved) -> K8sContainerContext:
    names = {f"{LABEL_PREFIX}{name}": value for name, value in resolved.labels.items()}
    labels = {name: _as_label(value) for name, value in names.items()}
    placement = resolved.placement
    notes = {**names, ASKED_NOTE: placement.describe()}
    configuration = UserDefinedDagsterK8sConfig.from_dict(placement.configuration(labels, notes))
    context = K8sContainerContext(run_k8s_config=configuration)
    if not placement.extra:
        return context
    extra = UserDefinedDagsterK8sConfig.from_dict(placement.extra)
    return context.merge(K8sContainerContext(run_k8s_config=extra))


def _as_label(value: str) -> str:
    """`flight_delay/model` and `2013-04|JFK` in the letters that labels may have."""
    words = re.sub(r"[ |]|\.\.", "_", value.replace("/", "."))
    # The stock function leaves `a-` of `a-_`, with which Kubernetes refuses the Job.
    return str(sanitize_k8s_label(words)).strip("-_.")


def _require_placement(configuration: UserDefinedDagsterK8sConfig, placement: Placement) -> None:
    """Refuse a pod that would not get its GPU, or be put where there is none.

    Raises:
        LaunchError: The code location's configuration or the run's tag took it away.
    """
    if placement.gpu_resource is None:
        return
    limits = configuration.container_config.get("resources", {}).get("limits", {})
    given = limits.get(placement.gpu_resource, 0)
    if parse_quantity(given) < placement.gpus:
        raise LaunchError(
            f"the run would get {given} of {placement.gpu_resource} instead of the "
            f"{placement.gpus} of its profile {placement.name}: the run's tag dagster-k8s/config, "
            "or the code location's container_context, takes it away; remove `resources` or a "
            "SHALLOW merge_behavior from it."
        )
    selector: Mapping[str, str] = configuration.pod_spec_config.get("node_selector", {})
    for name, value in placement.node_selector.items():
        if selector.get(name) != value:
            raise LaunchError(
                f"the run would not be kept to nodes with {name}={value}, as its profile "
                f"{placement.name} asks: the run's tag dagster-k8s/config, or the code location's "
                "container_context, changes node_selector; remove it there."
            )
    tolerated = {one.get("key") for one in configuration.pod_spec_config.get("tolerations", [])}
    for toleration in placement.tolerations:
        # One without a key tolerates every taint.
        if not tolerated & {toleration.key, None}:
            raise LaunchError(
                f"the run would not tolerate the taint {toleration.key} of GPU nodes, as its "
                f"profile {placement.name} asks: the run's tag dagster-k8s/config replaces "
                "tolerations; remove them there."
            )


def _refuse_other_gpus(configuration: UserDefinedDagsterK8sConfig, placement: Placement) -> None:
    """Refuse a pod with GPUs that the queue's limit does not know of.

    Raises:
        LaunchError: The code location's configuration or the run's tag asks for them.
    """
    resources: Mapping[str, Mapping[str, str]] = configuration.container_config.get("resources", {})
    for name in {name for amounts in resources.values() for name in amounts or ()}:
        if counts_gpus(name) and name != placement.gpu_resource:
            raise LaunchError(
                f"the run's tag dagster-k8s/config, or the code location's container_context, "
                f"asks for {name}, of which its profile {placement.name} has none and the queue's "
                "limit would not know: remove it there, and ask for another profile by the run tag "
                "compute/override."
            )


def _may_pass(error: Exception) -> bool:
    """Whether it is the cluster's fault of the moment: another try may meet it well."""
    cause = getattr(error, "k8s_api_exception", error)
    if isinstance(cause, ApiException):
        return bool(cause.status is None or cause.status >= HTTPStatus.INTERNAL_SERVER_ERROR)
    return isinstance(cause, CLUSTER_FAULTS)


def _sentence(error: Exception, namespace: str) -> str:
    """Why a run's pod was not made, and the way out."""
    if isinstance(error, ProfileError | LaunchError):
        return str(error)
    cause = getattr(error, "k8s_api_exception", error)
    if isinstance(cause, ApiException):
        said = " ".join(str(cause.body or cause.reason).split())
        return f"Kubernetes refused the Job of this run in the namespace {namespace}: {said}"
    if isinstance(cause, CLUSTER_FAULTS):
        return (
            "the Kubernetes API does not answer, so that this run has no pod: "
            f"{' '.join(str(cause).split())}; run it again once it does."
        )
    return f"the pod of this run cannot be made: {type(error).__name__}: {error}"
