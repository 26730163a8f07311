"""What is held where at a moment of the simulation, as the snapshots want it: integers, and values made only once.

A snapshot's mappings are handed out as they are until something changes, and never changed afterwards: ``schedule``
knows by identity what is as before. More than a node has is an error of the scheduler and ends the simulation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

from octopus_hub.core.choices import choices_of, chosen
from octopus_hub.core.reason import CPU, MEMORY, flat, unflat
from octopus_hub.core.snapshot import NodeView, Placement, RoleNeed, Usage, Waiting, charged
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.names import SKU_LABEL

Vector = tuple[int, ...]  # cpu_millis, memory_bytes, devices by type; for quotas also by model


class BrokenPlan(RuntimeError):
    """The scheduler broke a promise: it gave what is not there, or evicted what does not run."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Roles of a gang as vectors: one task of each on a node, and what quotas count for it."""

    needs: tuple[RoleNeed, ...]
    each: Mapping[str, Vector]
    charge: Mapping[str, Vector]


@dataclass(frozen=True, slots=True)
class Held:
    """What a gang holds in its place: where, what quotas count for it, how many tasks and devices that is."""

    placement: Placement
    shape: Shape
    total: Vector
    tasks: int
    devices: int


@dataclass(frozen=True, slots=True)
class _Change:
    """What taking or giving back some tasks makes of a node: what is used then, None of nothing."""

    after: Vector
    amounts: Amounts | None
    free: int
    broken: int


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
        kinds = sorted({kind for node in nodes for kind in node.capacity.devices})
        skus = sorted({sku for node in nodes if (sku := node.labels.get(SKU_LABEL))})
        self._kinds = (CPU, MEMORY, *kinds)
        self._charged = (*self._kinds, *(f"{kind}:{sku}" for kind in kinds for sku in skus))
        self._capacity = {node.name: _vector(self._kinds, flat(node.capacity)) for node in nodes}
        self.size = self.free = sum(sum(vector[2:]) for vector in self._capacity.values())
        self.broken = 0
        self._nothing: Vector = (0,) * len(self._kinds)
        self._uncharged: Vector = (0,) * len(self._charged)
        self._used: dict[str, Vector] = {}
        self._moved: dict[str, None] = {}
        self._queues: dict[str, Vector] = {}
        self._users: dict[tuple[str, str], Vector] = {}
        self._tasks: dict[tuple[str, str], int] = {}
        self._amounts: dict[Vector, Amounts] = {}
        self._told_nodes: dict[str, Amounts] = {}  # the same as values that a snapshot shows
        self._told_queues: dict[str, Amounts] = {}
        self._told_users: dict[tuple[str, str], Amounts] = {}
        self._changes: dict[tuple[Vector, Vector, Vector, int], _Change] = {}
        self._shapes: dict[tuple[int, tuple[tuple[str, int], ...]], Shape] = {}
        self._usage: Usage | None = None

    def held(self, needs: tuple[RoleNeed, ...], placement: Placement) -> Held:
        """Return what a gang holds there; raises BrokenPlan if it is not the whole gang. Keep ``needs`` alive."""
        choices = choices_of(placement)
        key = (id(needs), tuple(sorted(choices.items())) if choices else ())
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = self._shape(chosen(needs, choices))
        for need in shape.needs:
            count = sum([span.count for span in placement.get(need.role, ())])
            if not need.count <= count <= (need.most or need.count):
                raise BrokenPlan(f"a gang of {need.count} tasks got {count}")
        return self._held(shape, placement)

    def part(self, whole: Held, placement: Placement) -> Held:
        """Return some tasks of a gang more, of the same roles, in these places."""
        return self._held(whole.shape, placement)

    def _held(self, shape: Shape, placement: Placement) -> Held:
        total, tasks, devices = self._uncharged, 0, 0
        for role, spans in placement.items():
            count = sum([span.count for span in spans])
            total = _sum(total, shape.charge[role], count)
            tasks += count
            devices += count * sum(shape.each[role][2:])
        return Held(placement, shape, total, tasks, devices)

    def usage(self) -> Usage:
        """Return what is held; the same value until something changes."""
        if self._usage is None:
            self._usage = Usage(
                nodes=self._told_nodes.copy(),
                queues=self._told_queues.copy(),
                users=self._told_users.copy(),
                tasks=self._tasks.copy(),
            )
        return self._usage

    def moved(self) -> tuple[str, ...]:
        """Return the nodes that changed since the last call."""
        found = tuple(self._moved)
        self._moved.clear()
        return found

    def move(self, gang: Waiting, held: Held, sign: int) -> None:
        """Take what a gang holds, or with sign -1 give it back."""
        self._usage = None
        for role, spans in held.placement.items():
            each = held.shape.each[role]
            for span in spans:
                self._change(span.node, each, sign * span.count)
        queue, user = gang.queue, (gang.queue, gang.owner)
        used = self._queues[queue] = _sum(self._queues.get(queue, self._uncharged), held.total, sign)
        self._told_queues[queue] = self._told(used)
        used = self._users[user] = _sum(self._users.get(user, self._uncharged), held.total, sign)
        self._told_users[user] = self._told(used)
        self._tasks[user] = self._tasks.get(user, 0) + sign * held.tasks

    def _shape(self, needs: tuple[RoleNeed, ...]) -> Shape:
        each = {need.role: _vector(self._kinds, flat(need.each)) for need in needs}
        return Shape(needs, each, {need.role: _vector(self._charged, charged(need)) for need in needs})

    def _change(self, node: str, each: Vector, times: int) -> None:
        capacity = self._capacity.get(node, self._nothing)
        before = self._used.get(node, self._nothing)
        key = (capacity, before, each, times)
        change = self._changes.get(key)
        if change is None:
            change = self._changes[key] = self._new_change(node, *key)
        if change.amounts is None:
            self._used.pop(node, None)
            self._told_nodes.pop(node, None)
        else:
            self._used[node] = change.after
            self._told_nodes[node] = change.amounts
        self._moved[node] = None
        self.free += change.free
        self.broken += change.broken

    def _new_change(self, node: str, capacity: Vector, before: Vector, each: Vector, times: int) -> _Change:
        """Return what such a change of any such node is: there are few of them."""
        after = _sum(before, each, times)
        if any(used > most for used, most in zip(after, capacity, strict=True)):
            raise BrokenPlan(f"{node} has {self._told(capacity)}, and {self._told(after)} of it was given")
        here, was, now = sum(capacity[2:]), sum(before[2:]), sum(after[2:])
        broken = (here - now if now else 0) - (here - was if was else 0)
        return _Change(after, self._told(after) if any(after) else None, was - now, broken)

    def _told(self, vector: Vector) -> Amounts:
        found = self._amounts.get(vector)
        if found is None:
            entries = dict(zip(self._charged, vector, strict=False))  # of a node: the first of them
            found = self._amounts[vector] = unflat({kind: amount for kind, amount in entries.items() if amount})
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


def _vector(kinds: Sequence[str], entries: Mapping[str, int]) -> Vector:
    return tuple([entries.get(kind, 0) for kind in kinds])


def _sum(left: Iterable[int], right: Iterable[int], times: int) -> Vector:
    return tuple([a + b * times for a, b in zip(left, right, strict=True)])
