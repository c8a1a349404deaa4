"""A stand-in with one machine without GPUs and one with two."""

from collections.abc import Iterator

import pytest

from stand_in_kubernetes import StandIn, cpu_node, gpu_node


@pytest.fixture
def cluster() -> Iterator[StandIn]:
    with StandIn(nodes=[cpu_node("cpu-0"), gpu_node("gpu-0", 2)]) as running:
        yield running
