"""A stand-in for Kubernetes: never a cluster, but its API over HTTPS on loopback, kept in memory.

Belongs here: what the official client, `dagster_k8s` and `kubectl` need of an API server, a Job
controller, a scheduler that hands out GPUs, and a kubelet that runs pods as local processes with
only the environment that they were given. Does not: anything of this repository; the wording and
the order of events are Kubernetes', so that what holds here has a chance to hold there.

Where it is stricter or smaller than Kubernetes: every body is held to the newest schema (an unknown
field is an error, not a warning), and pods have one container, `restartPolicy: Never`, and no
images: their command is run by this machine's programs.

The way of a request: `cluster` (thread, TLS, what tests call) → `api`, `calls` (what is asked),
`accounts` (who may) → `validation`, `admission` → `store`, `deletion`. The way of a pod: `jobs` →
`scheduler` → `kubelet`, `environment`, `volumes`, `processes`; `timeline` notes what became of it.
"""

from stand_in_kubernetes.accounts import Account
from stand_in_kubernetes.cluster import StandIn
from stand_in_kubernetes.nodes import Node, cpu_node, gpu_node

__all__ = ["Account", "Node", "StandIn", "cpu_node", "gpu_node"]
