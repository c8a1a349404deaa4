"""The Job controller: pods made from templates, counted, and cleared away."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from typing import Any

from stand_in_kubernetes import admission, pods
from stand_in_kubernetes.clock import since, stamp
from stand_in_kubernetes.errors import ApiError
from stand_in_kubernetes.kinds import JOB, POD
from stand_in_kubernetes.pods import set_condition
from stand_in_kubernetes.store import Object, Store, record
from stand_in_kubernetes.validation import fill_in

# Kubernetes' own waits: after a refused pod 1 s, doubled up to a minute; after a failed one 10 s.
_REFUSED_SECONDS, _REFUSED_MOST = 1.0, 60.0
_FAILED_SECONDS, _FAILED_MOST = 10.0, 600.0


@dataclass
class _Record:
    """What the controller remembers of a Job beside the objects."""

    made: set[str] = field(default_factory=set)
    succeeded: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    discarded: set[str] = field(default_factory=set)  # ended by us: it neither failed nor succeeded
    settled: str = ""  # the version of the Job in which everything of it had ended
    not_before: float = 0.0
    refused: int = 0


class JobController:
    """Brings every Job's pods and status to what its spec says."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records: dict[str, _Record] = {}
        self._soonest: float | None = None

    def reconcile(self) -> float | None:
        """Do what is due; the seconds until more is due by the clock alone, None if nothing is."""
        self._soonest = None
        owned: dict[str, list[Object]] = {}
        for pod in self._store.find(POD):
            for owner in pod["metadata"].get("ownerReferences", ()):
                owned.setdefault(owner["uid"], []).append(pod)
        jobs = self._store.find(JOB)
        for job in jobs:
            self._sync(job, owned.pop(job["metadata"]["uid"], []))
        alive = {job["metadata"]["uid"] for job in jobs}
        self._records = {uid: known for uid, known in self._records.items() if uid in alive}
        # What is left belongs to Jobs that are gone: the garbage collector's part.
        for orphans in owned.values():
            for pod in orphans:
                if not pods.is_leaving(pod):
                    pods.delete(self._store, pod)
        return self._soonest

    def _due(self, seconds: float) -> bool:
        """Whether a wait is over; if not, have `reconcile` called then."""
        if seconds <= 0:
            return True
        self._soonest = seconds if self._soonest is None else min(self._soonest, seconds)
        return False

    def _sync(self, job: Object, owned: list[Object]) -> None:
        known = self._records.setdefault(job["metadata"]["uid"], _Record())
        if "deletionTimestamp" in job["metadata"]:
            self._end(owned, known)
            if not owned:
                self._store.remove(JOB, job)
            return
        # A thousand finished Jobs, counted at every change, would leave no time for the others.
        if known.settled != job["metadata"]["resourceVersion"]:
            self._advance(job, owned, known)
        if known.settled == job["metadata"]["resourceVersion"]:
            self._expire(job, owned)

    def _advance(self, job: Object, owned: list[Object], known: _Record) -> None:
        self._count(known, owned)
        if not _finished(job) and job["spec"]["suspend"]:
            self._end(owned, known)
            job["status"].pop("startTime", None)
            set_condition(job, "Suspended", holds=True, reason="JobSuspended", why="Job suspended")
        elif not _finished(job):
            self._work(job, owned, known)
        self._write_status(job, known, owned)
        self._store.save(JOB, job)
        if _finished(job) and all(pods.is_finished(pod) for pod in owned):
            known.settled = job["metadata"]["resourceVersion"]

    def _count(self, known: _Record, owned: list[Object]) -> None:
        present = {pod["metadata"]["uid"] for pod in owned}
        for pod in owned:
            uid = pod["metadata"]["uid"]
            known.made.add(uid)
            if uid in known.discarded:
                continue
            if pod["status"]["phase"] == "Succeeded":
                known.succeeded.add(uid)
            elif pod["status"]["phase"] == "Failed" or pods.is_leaving(pod):
                self._fail(known, uid)
        for uid in known.made - present - known.succeeded - known.discarded:
            self._fail(known, uid)

    def _fail(self, known: _Record, uid: str) -> None:
        if uid not in known.failed:
            known.failed.add(uid)
            wait = min(_FAILED_SECONDS * 2 ** (len(known.failed) - 1), _FAILED_MOST)
            known.not_before = time.monotonic() + wait

    def _work(self, job: Object, owned: list[Object], known: _Record) -> None:
        spec = job["spec"]
        if "startTime" not in job["status"]:
            job["status"]["startTime"] = stamp()
            if pods.condition(job, "Suspended"):
                set_condition(job, "Suspended", holds=False, reason="JobResumed", why="Job resumed")
        seconds = spec.get("activeDeadlineSeconds")
        if len(known.succeeded) >= spec["completions"]:
            job["status"]["completionTime"] = stamp()
            self._finish(job, "Complete", "Completed", "Job completed")
        elif len(known.failed) > spec["backoffLimit"]:
            self._end(owned, known)
            why = "Job has reached the specified backoff limit"
            self._finish(job, "Failed", "BackoffLimitExceeded", why)
        elif seconds is not None and self._due(seconds - since(job["status"]["startTime"])):
            self._end(owned, known)
            why = "Job was active longer than specified deadline"
            self._finish(job, "Failed", "DeadlineExceeded", why)
        elif len(_active(owned)) < min(
            spec["parallelism"], spec["completions"] - len(known.succeeded)
        ) and self._due(known.not_before - time.monotonic()):
            self._make_pod(job, known)

    def _finish(self, job: Object, condition: str, reason: str, why: str) -> None:
        set_condition(job, condition, holds=True, reason=reason, why=why)
        record(self._store, JOB, job, reason, why)

    def _make_pod(self, job: Object, known: _Record) -> None:
        pod = _pod_of(job)
        fill_in(POD, pod)
        try:
            made = admission.create(self._store, POD, job["metadata"]["namespace"], pod)
        except ApiError as refusal:
            record(self._store, JOB, job, "FailedCreate", f"Error creating: {refusal}")
            wait = min(_REFUSED_SECONDS * 2**known.refused, _REFUSED_MOST)
            known.refused += 1
            known.not_before = time.monotonic() + wait
            self._due(wait)
            return
        known.refused = 0
        known.made.add(made["metadata"]["uid"])
        name = made["metadata"]["name"]
        record(self._store, JOB, job, "SuccessfulCreate", f"Created pod: {name}")

    def _end(self, owned: list[Object], known: _Record) -> None:
        for pod in _active(owned):
            known.discarded.add(pod["metadata"]["uid"])
            pods.delete(self._store, pod)

    def _expire(self, job: Object, owned: list[Object]) -> None:
        seconds = job["spec"].get("ttlSecondsAfterFinished")
        if seconds is None:
            return
        ended = next(c for c in job["status"]["conditions"] if c["type"] in {"Complete", "Failed"})
        if self._due(seconds - since(ended["lastTransitionTime"])):
            job["metadata"]["deletionTimestamp"] = stamp()
            self._store.save(JOB, job)
            for pod in owned:
                pods.delete(self._store, pod)

    def _write_status(self, job: Object, known: _Record, owned: list[Object]) -> None:
        active = _active(owned)
        ready = [pod for pod in active if pods.condition(pod, "Ready").get("status") == "True"]
        leaving = [pod for pod in owned if pods.is_leaving(pod) and not pods.is_finished(pod)]
        counts = {
            "active": len(active),
            "succeeded": len(known.succeeded),
            "failed": len(known.failed),
            "ready": len(ready),
            "terminating": len(leaving),
        }
        for name, count in counts.items():
            if count or name in {"ready", "terminating"}:
                job["status"][name] = count
            else:
                job["status"].pop(name, None)


def _finished(job: Object) -> bool:
    return any(pods.condition(job, end).get("status") == "True" for end in ("Complete", "Failed"))


def _active(owned: list[Object]) -> list[Object]:
    return [pod for pod in owned if not pods.is_finished(pod) and not pods.is_leaving(pod)]


def _pod_of(job: Object) -> dict[str, Any]:
    meta, template = job["metadata"], copy.deepcopy(job["spec"]["template"])
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{meta['name']}-",
            "labels": template["metadata"]["labels"],
            "annotations": template["metadata"].get("annotations") or {},
            "ownerReferences": [owner],
        },
        "spec": template["spec"],
    }
