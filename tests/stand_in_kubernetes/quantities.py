"""Amounts of cpu, memory and devices, as pods ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

_NATIVE = {"cpu", "memory", "ephemeral-storage"}
_GPU_VENDORS = ("nvidia.com/", "amd.com/")


def amount(quantity: str | float) -> Decimal:
    """The number that a quantity names. `ValueError` if it names none."""
    return parse_quantity(quantity)


def written(number: Decimal) -> str:
    """A number as a plain quantity: no exponent, no trailing zeros."""
    return f"{number.normalize():f}"


def is_native(resource: str) -> bool:
    """Whether containers may ask for parts of it: cpu, memory, disk."""
    return resource in _NATIVE or resource.startswith("hugepages-")


def is_gpu(resource: str) -> bool:
    """Whether it is a GPU or a part of one."""
    return resource.startswith(_GPU_VENDORS)


def total(spec: Mapping[str, Any], side: str) -> dict[str, Decimal]:
    """What the containers of a pod's spec have on one side of `resources`: requests or limits."""
    sums: dict[str, Decimal] = {}
    for container in spec["containers"]:
        for name, quantity in (container.get("resources") or {}).get(side, {}).items():
            sums[name] = sums.get(name, Decimal(0)) + amount(quantity)
    return sums


def gpus(spec: Mapping[str, Any]) -> int:
    """How many GPUs a pod's spec asks for."""
    return int(sum(n for name, n in total(spec, "requests").items() if is_gpu(name)))
