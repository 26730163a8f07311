"""Nodes: machines (or declared parts of one) with capacity and devices."""

from __future__ import annotations

from octopus_hub.model.amounts import Amounts
from octopus_hub.model.base import ApiStruct


class Device(ApiStruct, frozen=True, kw_only=True):
    """One device of a node, with its last observed use."""

    id: str
    type: str
    model: str = ""
    memory_bytes: int = 0
    healthy: bool = True
    percent: float | None = None  # utilisation
    used_memory_bytes: int | None = None


class Node(ApiStruct, frozen=True, kw_only=True):
    """A node: labels, capacity, devices. ``ready`` is false while it can't be reached."""

    name: str
    capacity: Amounts
    labels: dict[str, str] = {}
    taints: list[str] = []  # key or key=value; only roles that tolerate all of them run here
    devices: list[Device] = []
    ready: bool = True
    schedulable: bool = True
    message: str = ""
