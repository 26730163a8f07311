"""How many more tasks of one kind each node takes, kept up to date cheaply while gangs are tried.

A :class:`Cluster` is what never changes within a cycle (nodes as integer vectors, labels). :class:`Slots` answers for
one task size and selector: how many fit in all, which node is the best. Its choices are a function of what is free
only, never of the history, so cached slots can't change a Plan. Used by ``snapshot.Trial`` and ``placement`` only.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from octopus_hub.core.reason import CPU, MEMORY, flat
from octopus_hub.model.amounts import Amounts

if TYPE_CHECKING:
    from octopus_hub.core.snapshot import NodeView

Need = tuple[tuple[int, int], ...]  # (dimension, amount > 0), sorted
Selector = tuple[tuple[str, str], ...]  # (label, value), sorted

NONE_SUCH = -1  # dimension of a device type that no node has
_NO_BOUND = 1 << 40  # tasks that need nothing fit any number of times


class Cluster:
    """Nodes as vectors over ``resources`` (``cpu_millis``, ``memory_bytes``, device types by name)."""

    def __init__(self, nodes: Sequence[NodeView]) -> None:
        self.nodes = tuple(nodes)
        self.index = {node.name: at for at, node in enumerate(self.nodes)}
        kinds = sorted({kind for node in self.nodes for kind in node.capacity.devices})
        self.resources = (CPU, MEMORY, *kinds)
        self.dimension = {resource: at for at, resource in enumerate(self.resources)}
        self.capacity = [self.vector(node.capacity) for node in self.nodes]
        # dimensions of the device types each node has
        self.device_dimensions = [
            frozenset(at for at in range(2, len(self.resources)) if vector[at]) for vector in self.capacity
        ]
        self._members: dict[tuple[Selector, tuple[int, ...]], tuple[int, ...]] = {}
        self._domains: dict[str, tuple[str, ...]] = {}
        self._totals: dict[Selector, list[int]] = {}

    def vector(self, amounts: Amounts) -> list[int]:
        """Return amounts as a vector; device types that no node has are left out."""
        vector = [0] * len(self.resources)
        vector[0] = amounts.cpu_millis
        vector[1] = amounts.memory_bytes
        for kind, count in amounts.devices.items():
            at = self.dimension.get(kind)
            if at is not None:
                vector[at] = count
        return vector

    def need(self, each: Amounts) -> Need:
        """Return one task's request as (dimension, amount)."""
        return tuple(
            sorted((self.dimension.get(resource, NONE_SUCH), amount) for resource, amount in flat(each).items())
        )

    def members(self, selector: Selector) -> tuple[int, ...]:
        """Return the usable nodes that carry the labels."""
        return self.candidates(selector, ())

    def candidates(self, selector: Selector, devices: tuple[int, ...]) -> tuple[int, ...]:
        """Return the usable nodes that carry the labels and have devices of these dimensions at all."""
        found = self._members.get((selector, devices))
        if found is None:
            found = tuple(
                at
                for at, node in enumerate(self.nodes)
                if node.usable
                and self.device_dimensions[at].issuperset(devices)
                and all(node.labels.get(label) == value for label, value in selector)
            )
            self._members[selector, devices] = found
        return found

    def domains(self, level: str) -> tuple[str, ...]:
        """Return the values of a topology label on usable nodes, sorted."""
        found = self._domains.get(level)
        if found is None:
            found = tuple(sorted({node.labels[level] for node in self.nodes if node.usable and level in node.labels}))
            self._domains[level] = found
        return found

    def totals(self, selector: Selector) -> list[int]:
        """Return the capacity of all members together."""
        found = self._totals.get(selector)
        if found is None:
            found = [sum(self.capacity[at][d] for at in self.members(selector)) for d in range(len(self.resources))]
            self._totals[selector] = found
        return found


class Slots:
    """Room for tasks of one size on the nodes of one selector, less ``excluded`` nodes.

    Nodes lie in buckets by (tier, room). Tier 0 are nodes whose devices the task all needs, tier 1 nodes with devices
    it would leave idle: those are used only for what tier 0 does not hold.
    """

    __slots__ = ("_buckets", "_changes", "_free", "_keys", "_need", "_seen", "_tier", "room", "total")

    def __init__(
        self,
        cluster: Cluster,
        free: list[list[int]],
        changes: list[int],
        need: Need,
        members: Iterable[int],
    ) -> None:
        self._free = free
        self._changes = changes
        self._seen = len(changes)
        self._need = need
        self.total = 0
        self.room: dict[int, int] = {}
        self._tier: dict[int, int] = {}
        self._buckets: tuple[dict[int, list[int]], dict[int, list[int]]] = ({}, {})
        self._fill(cluster, members)
        for buckets in self._buckets:
            for bucket in buckets.values():
                heapify(bucket)
        self._keys = (sorted(self._buckets[0]), sorted(self._buckets[1]))

    def _fill(self, cluster: Cluster, members: Iterable[int]) -> None:
        wanted = {dimension for dimension, _ in self._need}
        fits, rooms, tiers = self._fits, self.room, self._tier
        first, second = self._buckets
        total = 0
        for at in members:
            devices = cluster.device_dimensions[at]
            tier = 1 if devices and not devices <= wanted else 0
            tiers[at] = tier
            rooms[at] = room = fits(at)
            if room:
                total += room
                buckets = second if tier else first
                bucket = buckets.get(room)
                if bucket is None:
                    buckets[room] = [at]
                else:
                    bucket.append(at)
        self.total = total

    def _fits(self, at: int) -> int:
        free = self._free[at]
        room = _NO_BOUND
        for dimension, amount in self._need:
            here = free[dimension] // amount
            if here < room:
                room = here
        return room if room > 0 else 0

    def refresh(self) -> Slots:
        """Take over what changed on nodes since the last use; returns itself."""
        changes = self._changes
        if self._seen != len(changes):
            for at in set(changes[self._seen :]):
                if at in self.room:
                    self._update(at)
            self._seen = len(changes)
        return self

    def rebase(self) -> None:
        """Forget the changes that were taken over: the list of changes is emptied."""
        self._seen = 0

    def _update(self, at: int) -> None:
        room = self._fits(at)
        if room == self.room[at]:
            return
        self.total += room - self.room[at]
        self.room[at] = room  # its entry in the old bucket is now stale: dropped when it is met
        if room:
            tier = self._tier[at]
            bucket = self._buckets[tier].get(room)
            if bucket is None:
                self._buckets[tier][room] = [at]
                insort(self._keys[tier], room)
            else:
                heappush(bucket, at)

    def _first(self, tier: int, key: int) -> int:
        """Return the first node of a bucket, or -1 (and forget the bucket)."""
        bucket = self._buckets[tier][key]
        while bucket and self.room[bucket[0]] != key:
            heappop(bucket)
        if bucket:
            return bucket[0]
        del self._buckets[tier][key]
        keys = self._keys[tier]
        del keys[bisect_left(keys, key)]
        return -1

    def best(self, count: int) -> tuple[int, int]:
        """Return (node, tasks) for the next of ``count`` tasks; the caller checked that ``total`` > 0.

        The node with the least room that holds them all; if there is none, the one with the most room. Ties go to
        the first node, so that packing is dense and the answer is one.
        """
        for tier, keys in enumerate(self._keys):
            at = bisect_left(keys, count)
            while at < len(keys):  # a bucket without true entries is forgotten, which moves the next one here
                node = self._first(tier, keys[at])
                if node >= 0:
                    return node, count
            while keys:
                key = keys[-1]
                node = self._first(tier, key)
                if node >= 0:
                    return node, key
        raise AssertionError("best() without room")

    def largest(self) -> tuple[int, int]:
        """Return (node, room) of the node with the most room; (-1, 0) if none has any."""
        found = (-1, 0)
        for tier, keys in enumerate(self._keys):
            while keys:
                key = keys[-1]
                node = self._first(tier, key)
                if node >= 0:
                    if key > found[1]:
                        found = (node, key)
                    break
        return found
