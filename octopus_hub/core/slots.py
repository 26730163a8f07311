"""How many more tasks of one kind each node takes, kept up to date cheaply while gangs are tried.

:class:`Slots` answers for one task size and selector: how many fit in all, which node is the best. Its choices are a
function of what is free only, never of the history, so cached slots can't change a Plan. Used by ``snapshot.Trial``
and ``placement`` only.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from octopus_hub.core.cluster import NONE_SUCH, Cluster, Need, Selector

__all__ = ["NONE_SUCH", "Cluster", "Need", "Selector", "Slots"]

_NO_BOUND = 1 << 40  # tasks that need nothing fit any number of times


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
