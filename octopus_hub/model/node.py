"""Nodes: machines (or declared parts of one) with capacity and devices."""

from __future__ import annotations

from octopus_hub.model.amounts import Amounts
from octopus_hub.model.base import ApiStruct
from octopus_hub.model.parts import part_type


class Device(ApiStruct, frozen=True, kw_only=True):
    """One device of a node, with its last observed use."""

    id: str
    type: str  # of the device itself, also where it is divided
    parts: int = 1  # equal parts that it is divided into; each is one of the type gpu-1of4, and none is left of gpu
    model: str = ""
    memory_bytes: int = 0
    healthy: bool = True
    percent: float | None = None  # utilisation
    used_memory_bytes: int | None = None

    @property
    def offers(self) -> str:
        """The type that tasks ask for to get it or a part of it."""
        return part_type(self.type, self.parts)


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
