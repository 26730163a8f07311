"""What is held where at a moment of the simulation, as the snapshots want it: integers, and values made only once.

A snapshot's mappings are handed out as they are until something changes, and never changed afterwards: ``schedule``
knows by identity what is as before. More than a node has is an error of the scheduler and ends the simulation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

from octopus_hub.core.snapshot import NodeView, Placement, RoleNeed, Usage, Waiting
from octopus_hub.model.amounts import Amounts

Vector = tuple[int, ...]  # cpu_millis, memory_bytes, devices by type


class BrokenPlan(RuntimeError):
    """The scheduler broke a promise: it gave what is not there, or evicted what does not run."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The roles of a gang, with one task of each as a vector."""

    needs: tuple[RoleNeed, ...]
    each: Mapping[str, Vector]

    def held(self, placement: Placement) -> Vector:
        """Return what a placement holds in all; raises BrokenPlan if it is not the whole gang."""
        total: list[int] = []
        for need in self.needs:
            count = sum(span.count for span in placement.get(need.role, ()))
            if not need.count <= count <= (need.most or need.count):
                raise BrokenPlan(f"a gang of {need.count} tasks got {count}")
            vector = self.each[need.role]
            total = [a + b * count for a, b in zip(total or (0,) * len(vector), vector, strict=True)]
        return tuple(total)


class Pool:
    """Nodes and what is held on them, by queues and by users.

    Attributes
    ----------
    size : int
        Devices in all.
    free : int
        Devices that nobody holds.
    broken : int
        Those of them on nodes of which a part is held: no task that needs a whole node can use them.
    """

    def __init__(self, nodes: Sequence[NodeView]) -> None:
        self.nodes = tuple(nodes)
        self._kinds = sorted({kind for node in nodes for kind in node.capacity.devices})
        self._capacity = {node.name: self._vector(node.capacity) for node in nodes}
        self._devices = {name: sum(vector[2:]) for name, vector in self._capacity.items()}
        self.size = self.free = sum(self._devices.values())
        self.broken = 0
        self._nothing: Vector = (0,) * (2 + len(self._kinds))
        self._used: dict[str, Vector] = {}
        self._queues: dict[str, Vector] = {}
        self._users: dict[tuple[str, str], Vector] = {}
        self._amounts: dict[Vector, Amounts] = {}
        self._usage: Usage | None = None

    def shape(self, needs: tuple[RoleNeed, ...]) -> Shape:
        """Return the shape of these roles."""
        return Shape(needs, {need.role: self._vector(need.each) for need in needs})

    def usage(self) -> Usage:
        """Return what is held; the same value until something changes."""
        if self._usage is None:
            amounts = self._told
            self._usage = Usage(
                nodes={name: amounts(used) for name, used in self._used.items()},
                queues={name: amounts(used) for name, used in self._queues.items()},
                users={key: amounts(used) for key, used in self._users.items()},
            )
        return self._usage

    def move(self, gang: Waiting, shape: Shape, placement: Placement, held: Vector, sign: int) -> None:
        """Take what a gang holds, or with sign -1 give it back."""
        self._usage = None
        for role, spans in placement.items():
            each = shape.each[role]
            for span in spans:
                self._change(span.node, each, sign * span.count)
        self._queues[gang.queue] = _sum(self._queues.get(gang.queue, self._nothing), held, sign)
        user = (gang.queue, gang.owner)
        self._users[user] = _sum(self._users.get(user, self._nothing), held, sign)

    def _change(self, node: str, each: Vector, times: int) -> None:
        before = self._used.get(node, self._nothing)
        after = _sum(before, each, times)
        capacity = self._capacity.get(node, self._nothing)
        if any(used > most for used, most in zip(after, capacity, strict=True)):
            raise BrokenPlan(f"{node} has {self._told(capacity)}, and {self._told(after)} of it was given")
        if any(after):
            self._used[node] = after
        else:
            self._used.pop(node, None)
        here, was, now = self._devices.get(node, 0), sum(before[2:]), sum(after[2:])
        self.free += was - now
        self.broken += (here - now if now else 0) - (here - was if was else 0)

    def _vector(self, amounts: Amounts) -> Vector:
        devices = amounts.devices
        return (amounts.cpu_millis, amounts.memory_bytes, *(devices.get(kind, 0) for kind in self._kinds))

    def _told(self, vector: Vector) -> Amounts:
        found = self._amounts.get(vector)
        if found is None:
            devices = {kind: count for kind, count in zip(self._kinds, vector[2:], strict=True) if count}
            found = Amounts(cpu_millis=vector[0], memory_bytes=vector[1], devices=devices)
            self._amounts[vector] = found
        return found


class Decayed:
    """What each (queue, user) has used, older use counting for less: device-seconds that halve every half-life."""

    def __init__(self, half_life: float) -> None:
        self._rate = log(2) / half_life
        self._used: dict[tuple[str, str], tuple[float, float, int]] = {}  # as of when, how much, what it holds

    def hold(self, user: tuple[str, str], devices: int, now: float) -> None:
        """Count so many devices more (or less) for a user from now on."""
        known = self._used.get(user)
        self._used[user] = (now, self._at(known, now), known[2] + devices) if known else (now, 0.0, devices)

    def upto(self, now: float) -> dict[tuple[str, str], float]:
        """Return the use of everyone as of now."""
        return {user: self._at(known, now) for user, known in self._used.items()}

    def _at(self, known: tuple[float, float, int], now: float) -> float:
        since, used, holds = known
        left = exp(-self._rate * (now - since))
        return used * left + holds * (1 - left) / self._rate


def _sum(left: Iterable[int], right: Iterable[int], times: int) -> Vector:
    return tuple([a + b * times for a, b in zip(left, right, strict=True)])
