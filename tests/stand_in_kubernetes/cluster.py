"""The stand-in as a thread of the tests' process: starting, stopping, and what tests ask of it."""

from __future__ import annotations

import asyncio
import base64
import copy
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import uvicorn
import yaml
from kubernetes import client
from kubernetes.config import new_client_from_config

from stand_in_kubernetes import admission, certificate, validation
from stand_in_kubernetes.accounts import ADMIN, Account, Accounts
from stand_in_kubernetes.api import Api
from stand_in_kubernetes.jobs import JobController
from stand_in_kubernetes.kinds import BY_NAME, KINDS, NAMESPACE, NODE, POD, SERVICE_ACCOUNT, Kind
from stand_in_kubernetes.kubelet import Kubelet
from stand_in_kubernetes.nodes import Node
from stand_in_kubernetes.quantities import is_gpu
from stand_in_kubernetes.scheduler import Scheduler
from stand_in_kubernetes.selectors import by_labels
from stand_in_kubernetes.store import Object, Store
from stand_in_kubernetes.streams import logged
from stand_in_kubernetes.timeline import Timeline
from stand_in_kubernetes.volumes import Mounts

_START_SECONDS = 30.0
_CALL_SECONDS = 60.0
_END_SECONDS = 10.0
_PATIENCE_SECONDS = 60.0
Result = TypeVar("Result")


class StandIn:
    """A stand-in for a Kubernetes cluster.

        with StandIn(nodes=[cpu_node("cpu-0"), gpu_node("gpu-0", 2)]) as cluster:
            launcher = {"load_incluster_config": False, "kubeconfig_file": str(cluster.kubeconfig)}

    Args:
        nodes: Its machines.
        namespaces: Its namespaces, beside `default` and `kube-system`; the first is the one of the
            kubeconfigs.
        accounts: Service accounts, each with a token and what it may do. The administrator, whose
            kubeconfig is `kubeconfig`, may everything.
        mounts: The folder below which mount paths of volumes become links; none do if None.
    """

    def __init__(
        self,
        nodes: Iterable[Node],
        namespaces: Sequence[str] = ("mlops-assets",),
        accounts: Sequence[Account] = (),
        mounts: Path | None = None,
    ) -> None:
        self.namespace = namespaces[0]
        self.folder = Path(tempfile.mkdtemp(prefix="stand-in-"))
        nodes = list(nodes)
        gpus = sum(n for node in nodes for what, n in node.devices.items() if is_gpu(what))
        self.timeline = Timeline(gpus)
        self._known, self._accounts = Accounts(accounts), accounts
        self._nodes, self._namespaces = nodes, namespaces
        self._mounts = Mounts(mounts)
        self._thread = threading.Thread(target=self._run, name="stand-in", daemon=True)
        self._started = threading.Event()
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._certificate = certificate.made(self.folder)
        # TCP by name: without it asyncio leaves Nagle's algorithm on, 40 ms an answer.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread.start()
        if not self._started.wait(_START_SECONDS) or self._failure:
            raise RuntimeError("the stand-in did not start") from self._failure
        self.kubeconfig = self.kubeconfig_of(ADMIN)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._store.closed = True
        # Not gracefully: a client that keeps its connection open would be waited for.
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()
        self._socket.close()
        self._mounts.remove()
        shutil.rmtree(self.folder)
        if self._failure is not None and error is None:
            raise self._failure

    # What tests ask

    def kubeconfig_of(self, account: Account) -> Path:
        """A kubeconfig with an account's token."""
        trusted = base64.b64encode(self._certificate.file.read_bytes()).decode()
        name = "stand-in"
        context = {"cluster": name, "user": account.name, "namespace": self.namespace}
        server = {"server": self.url, "certificate-authority-data": trusted}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": server}],
            "users": [{"name": account.name, "user": {"token": self._known.token(account.name)}}],
            "contexts": [{"name": name, "context": context}],
        }
        file = self.folder / f"{account.name}.kubeconfig"
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump(config))
        return file

    def client(self, account: Account = ADMIN) -> client.ApiClient:
        """The official client, with an account's token."""
        return new_client_from_config(str(self.kubeconfig_of(account)))

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Make objects, as the administrator; in the first namespace if they name none."""
        self._call(lambda: [self._make(copy.deepcopy(manifest)) for manifest in manifests])

    def find(self, plural: str, labels: str = "", namespace: str | None = None) -> list[Object]:
        """Copies of the objects of a kind (`pods`, `jobs`, …) that a label selector matches.

        Args:
            plural: The kind.
            labels: The selector.
            namespace: Where to look; everywhere if None.
        """
        kind = next(kind for kind in KINDS if kind.plural == plural)
        matches = by_labels(labels)

        def found() -> list[Object]:
            wanted = lambda o: matches(o["metadata"].get("labels") or {})  # noqa: E731
            return copy.deepcopy(self._store.listed(kind, namespace, wanted))

        return self._call(found)

    def log(self, pod: str, namespace: str | None = None) -> str:
        """What a pod has written."""
        file = self._call(lambda: self._kubelet.log(self._pod(pod, namespace)))
        return logged(file, {}).decode()

    def kill_pod(self, pod: str, namespace: str | None = None, reason: str = "OOMKilled") -> None:
        """SIGKILL a running pod's process and its children, as the kernel does out of memory."""
        self._call(lambda: self._kubelet.kill(self._pod(pod, namespace), reason))

    def until(self, holds: Callable[[], Result]) -> Result:
        """Wait until something holds, and return it. Fails after a minute with what there is."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while not (found := holds()):
            if time.monotonic() > end:
                pods = [(p["metadata"]["name"], p["status"]) for p in self.find("pods")]
                events = [(e["involvedObject"]["name"], e["message"]) for e in self.find("events")]
                raise TimeoutError(f"in vain; pods: {pods}; events: {events}")
            time.sleep(0.02)
        return found

    # What it is made of

    def _pod(self, name: str, namespace: str | None) -> Object:
        return self._store.get(POD, namespace or self.namespace, name)

    def _make(self, manifest: dict[str, Any]) -> None:
        kind = BY_NAME[manifest["apiVersion"], manifest["kind"]]
        validation.check(kind, manifest)
        validation.fill_in(kind, manifest)
        named = manifest["metadata"].get("namespace", self.namespace)
        admission.create(self._store, kind, named if kind.namespaced else None, manifest)

    def _call(self, work: Callable[[], Result]) -> Result:
        """Do something on the stand-in's thread, where alone its objects may be touched."""

        async def done() -> Result:
            return work()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(_CALL_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised again where the test leaves it
            self._failure = error
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._store = Store()
        self._scheduler = Scheduler(self._store, self.timeline)
        self._kubelet = Kubelet(
            self._store, self.timeline, self._scheduler.devices, self.folder, self._mounts
        )
        self._jobs = JobController(self._store)
        self._furnish()
        control = asyncio.create_task(self._control())
        api = Api(self._store, self._known, self._kubelet.log, lambda: _failure_of(control))
        self._server = uvicorn.Server(
            uvicorn.Config(
                api.app(),
                loop="asyncio",
                lifespan="off",
                log_level="error",
                ssl_certfile=self._certificate.file,
                ssl_keyfile=self._certificate.key,
                timeout_keep_alive=600,  # one closed under a pooled client would fail its request
            )
        )
        serving = asyncio.create_task(self._server.serve([self._socket]))
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.01)
        self._started.set()
        try:
            await serving
        finally:
            await self._end(control)

    async def _control(self) -> None:
        """Bring everything to what it should be, whenever anything has changed."""
        while True:
            due = self._jobs.reconcile()
            self._scheduler.reconcile()
            later = self._kubelet.reconcile()
            admission.refresh_quotas(self._store)
            waits = [seconds for seconds in (due, later) if seconds is not None]
            await self._store.change(min(waits, default=None))

    async def _end(self, control: asyncio.Task[None]) -> None:
        control.cancel()
        self._kubelet.close()
        until = self._loop.time() + _END_SECONDS
        while self._kubelet.busy and self._loop.time() < until:
            await asyncio.sleep(0.01)
        await asyncio.wait({control})
        if not control.cancelled():
            control.result()

    def _furnish(self) -> None:
        names = dict.fromkeys(("default", "kube-system", *self._namespaces))
        for name in names:
            self._keep(NAMESPACE, None, {"metadata": {"name": name}, "status": {"phase": "Active"}})
            self._keep(SERVICE_ACCOUNT, name, {"metadata": {"name": "default"}})
        for account in self._accounts:
            self._keep(SERVICE_ACCOUNT, account.namespace, {"metadata": {"name": account.name}})
        for node in self._nodes:
            self._keep(NODE, None, node.manifest())

    def _keep(self, kind: Kind, namespace: str | None, thing: Object) -> None:
        typed = {"apiVersion": kind.api_version, "kind": kind.name, **thing}
        self._store.create(kind, namespace, typed)


def _failure_of(task: asyncio.Task[None]) -> str | None:
    if not task.done() or task.cancelled():
        return None
    return repr(task.exception())
