"""What the pods may do: nothing that they have no need of, and what they need."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes_manifests import (
    KUBERNETES,
    NAMESPACE,
    OVERLAYS,
    Manifest,
    containers,
    named,
    of_kind,
    overlay,
    pods,
    render,
)
from pod_security import violations
from reachability import HOME, Peer, reaches

from mlops_assets.settings import ROOT

RUN = "run_worker"
SECRET = re.compile(r"^kubectl create secret generic .*$", re.MULTILINE)


@pytest.fixture(params=[*OVERLAYS, "gpu with a bucket"])
def manifests(request: pytest.FixtureRequest, tmp_path: Path) -> list[Manifest]:
    name, _, bucket = request.param.partition(" with a ")
    if not bucket:
        return overlay(name)
    folder = shutil.copytree(KUBERNETES, tmp_path / "k8s") / "overlays" / name
    with (folder / "kustomization.yaml").open("a") as written:
        written.write("\ncomponents:\n  - ../../components/object-store\n")
    return render(folder)


def test_every_pod_is_restricted(manifests: list[Manifest]) -> None:
    labels = named(manifests, "Namespace", NAMESPACE)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, pod in pods(manifests).items():
        assert violations(pod["spec"]) == [], name
        for container in containers(pod):
            assert container["securityContext"]["readOnlyRootFilesystem"], name
            assert pod["spec"]["securityContext"]["runAsUser"], name


def test_a_pod_that_says_nothing_is_not_restricted() -> None:
    assert len(violations({"containers": [{"name": "a"}], "hostNetwork": True})) == 5


def test_only_whom_a_role_is_bound_to_has_a_token(manifests: list[Manifest]) -> None:
    bound = {
        subject["name"]
        for binding in of_kind(manifests, "RoleBinding")
        for subject in binding["subjects"]
    }
    accounts = {a["metadata"]["name"]: a for a in of_kind(manifests, "ServiceAccount")}
    used = {pod["spec"]["serviceAccountName"] for pod in pods(manifests).values()}
    assert used | {"dagster-run"} == set(accounts)
    for name, account in accounts.items():
        assert account.get("automountServiceAccountToken", True) == (name in bound), name
    assert not of_kind(manifests, "ClusterRole", "ClusterRoleBinding")


def test_no_role_reaches_secrets_or_uses_wildcards(manifests: list[Manifest]) -> None:
    for role in of_kind(manifests, "Role"):
        for rule in role["rules"]:
            words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert not words & {"*", "secrets", "configmaps", "pods/exec", "pods/attach"}


def referenced(manifests: list[Manifest]) -> Iterator[tuple[str, str | None]]:
    """The secrets that pods name, with the key; None for all of its keys."""
    for pod in pods(manifests).values():
        for container in containers(pod):
            for variable in container.get("env", []):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    yield reference["name"], reference["key"]
            for source in container.get("envFrom", []):
                if "secretRef" in source:
                    yield source["secretRef"]["name"], None
        assert not [volume for volume in pod["spec"].get("volumes", []) if "secret" in volume]


def documented() -> dict[str, set[str]]:
    """The keys of the secrets that `docs/deploy.md` makes."""
    made = {}
    for line in SECRET.findall((ROOT / "docs" / "deploy.md").read_text()):
        words = shlex.split(line)
        values = [word.partition("=")[2] for word in words if word.startswith("--from-literal=")]
        assert f"--namespace={NAMESPACE}" in words
        made[words[4]] = {value.partition("=")[0] for value in values}
    return made


def test_the_documentation_makes_every_secret_and_no_other(manifests: list[Manifest]) -> None:
    made = documented()
    for name, key in referenced(manifests):
        assert name in made
        assert key is None or key in made[name], (name, key)
    bucket = {"object-store"} - {name for name, _ in referenced(manifests)}
    assert {name for name, _ in referenced(manifests)} == set(made) - bucket


def test_what_runs_read_from_the_lakes_secret_is_what_the_settings_read() -> None:
    assert documented()["lakefs-credentials"] == {
        "LAKECTL_CREDENTIALS_ACCESS_KEY_ID",
        "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY",
    }


def test_no_secret_stands_in_a_manifest(manifests: list[Manifest]) -> None:
    assert not of_kind(manifests, "Secret")
    words = re.compile(r"password|secret|token|credential", re.IGNORECASE)
    for pod in pods(manifests).values():
        for container in containers(pod):
            for variable in container.get("env", []):
                if words.search(variable["name"]):
                    assert "value" not in variable, variable["name"]


class TestNetwork:
    """Every way that is needed is open, and no other between our pods."""

    PORTS = (
        "postgres",
        "lakefs",
        "mlflow",
        "dagster-code",
        "dagster-webserver",
        "dagster-metrics",
    )
    DATA = ("dagster-code", "toolbox", RUN)
    OPEN = frozenset(
        {(source, "postgres") for source in ("lakefs", "mlflow", "dagster-code", "toolbox", RUN)}
        | {(source, "postgres") for source in ("dagster-webserver", "dagster-daemon")}
        | {("dagster-metrics", target) for target in ("postgres", "lakefs")}
        | {(source, target) for source in DATA for target in ("lakefs", "mlflow")}
        | {(source, "dagster-code") for source in ("dagster-webserver", "dagster-daemon")}
    )

    @pytest.fixture
    def peers(self, manifests: list[Manifest]) -> dict[str, Peer]:
        found = {
            name: Peer(
                labels=pod["metadata"]["labels"],
                ports={
                    port["name"]: port["containerPort"]
                    for container in containers(pod)
                    for port in container.get("ports", [])
                },
                namespace=HOME,
            )
            for name, pod in pods(manifests).items()
        }
        # As the stock launcher labels it, which tests/compute holds it to.
        labels = {"app.kubernetes.io/name": "dagster", "app.kubernetes.io/component": RUN}
        return {**found, RUN: Peer(labels, namespace=HOME)}

    def test_pods_reach_what_they_use_and_nothing_else(
        self, manifests: list[Manifest], peers: dict[str, Peer]
    ) -> None:
        policies = of_kind(manifests, "NetworkPolicy")
        opened = {
            (source, target)
            for source in peers
            for target in self.PORTS
            for port in peers[target].ports.values()
            if source != target and reaches(policies, peers[source], peers[target], port)
        }
        assert opened == self.OPEN

    def test_only_who_asks_kubernetes_reaches_its_api(
        self, manifests: list[Manifest], peers: dict[str, Peer]
    ) -> None:
        api = Peer(outside=True)
        reached = {
            source
            for source, peer in peers.items()
            if reaches(of_kind(manifests, "NetworkPolicy"), peer, api, 6443)
        }
        assert reached == {"dagster-webserver", "dagster-daemon", "toolbox"}

    def test_everybody_resolves_names(
        self, manifests: list[Manifest], peers: dict[str, Peer]
    ) -> None:
        dns = Peer(namespace={"kubernetes.io/metadata.name": "kube-system"})
        policies = of_kind(manifests, "NetworkPolicy")
        assert all(reaches(policies, peer, dns, 53) for peer in peers.values())
        assert not any(reaches(policies, peer, dns, 80) for peer in peers.values())

    def test_strangers_reach_the_uis_from_a_namespace_that_authenticates(
        self, manifests: list[Manifest], peers: dict[str, Peer]
    ) -> None:
        policies = of_kind(manifests, "NetworkPolicy")
        proxy = Peer(namespace={"mlops-assets/authenticates": "true"})
        prometheus = Peer(namespace={"mlops-assets/scrapes": "true"})
        stranger = Peer(namespace={"kubernetes.io/metadata.name": "default"})

        def reached(source: Peer) -> set[str]:
            return {
                target
                for target in self.PORTS
                for port in peers[target].ports.values()
                if reaches(policies, source, peers[target], port)
            }

        assert reached(proxy) == {"dagster-webserver", "lakefs", "mlflow"}
        assert reached(prometheus) == {"dagster-metrics"}
        assert reached(stranger) == set()

    def test_alerts_leave_from_the_code_server_alone(
        self, manifests: list[Manifest], peers: dict[str, Peer]
    ) -> None:
        mail_server = Peer(outside=True)
        policies = of_kind(manifests, "NetworkPolicy")
        senders = {
            name for name, peer in peers.items() if reaches(policies, peer, mail_server, 465)
        }
        assert senders == {"dagster-code"}
