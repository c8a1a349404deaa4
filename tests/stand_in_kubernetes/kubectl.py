"""`kubectl`, pointed at a stand-in."""

from __future__ import annotations

import os
import subprocess

from required import program

from stand_in_kubernetes.cluster import StandIn


def kubectl(
    cluster: StandIn, *arguments: str, stdin: str | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run `kubectl` as the administrator; the test is skipped where there is none.

    Args:
        cluster: The stand-in.
        arguments: What to run.
        stdin: What it reads.
        check: Fail if it fails.
    """
    # Its cache would go into the user's home, under the name of a port that others reuse.
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(cluster.folder),
        "KUBECONFIG": str(cluster.kubeconfig),
    }
    return subprocess.run(
        [program("kubectl", "kubernetes-client"), *arguments],
        env=variables,
        input=stdin,
        capture_output=True,
        text=True,
        check=check,
    )
