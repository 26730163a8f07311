"""How many more tasks of one kind each node takes, kept up to date cheaply while gangs are tried.

:class:`Slots` answers for one task size and selector: how many fit in all, which node is the best. Its choices are a
function of what is free only, never of the history, so cached slots can't change a Plan. Used by ``snapshot.Trial``
and ``placement`` only.

The best node is the one with the fewest devices free that holds the tasks, then the one with room for the fewest more,
then the one with the least CPU free: this keeps whole nodes free for large gangs (``bench/fragmentation.py`` compares
it with other rules). Many nodes are looked at in one go with numpy, single ones as they change.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from octopus_hub.core.cluster import NONE_SUCH, Cluster, Need, Selector

__all__ = ["NONE_SUCH", "Cluster", "Columns", "Need", "Selector", "Slots"]

_NO_BOUND = 1 << 40  # tasks that need nothing fit any number of times
_ROOM_BITS = 41  # a bucket's key is devices left << 41 | room
_NODE_BITS = 24  # an entry of a bucket is CPU left << 24 | node
_NODE = (1 << _NODE_BITS) - 1
_STALE = 5_000  # entries that may be stale before all nodes are looked at anew
_ROOM = (1 << _ROOM_BITS) - 1


Vector = NDArray[np.int64]


class Columns:
    """What is free on all nodes as one matrix, brought up to date when somebody asks; one for all slots of a trial."""

    __slots__ = ("_matrix", "_seen", "changes", "free")

    def __init__(self, free: list[list[int]], changes: list[int]) -> None:
        self.free = free
        self.changes = changes
        self._matrix: Vector | None = None
        self._seen = 0

    def matrix(self) -> Vector:
        """Return what is free, a row for each node."""
        if self._matrix is None or len(self.changes) - self._seen > len(self.free):
            self._matrix = np.array(self.free, dtype=np.int64).reshape(len(self.free), -1)
        elif self._seen != len(self.changes):
            for at in set(self.changes[self._seen :]):
                self._matrix[at] = self.free[at]
        self._seen = len(self.changes)
        return self._matrix

    def rebase(self) -> None:
        """Take over the changes and forget them: the list of changes is emptied."""
        if self._matrix is not None:
            self.matrix()
        self._seen = 0


class Slots:
    """Room for tasks of one size on the nodes of one selector, less ``excluded`` nodes.

    Nodes lie in buckets by (tier, devices left, room). Tier 0 are nodes whose devices the task all needs, tier 1 nodes
    with devices it would leave idle: those are used only for what tier 0 does not hold.
    """

    __slots__ = (
        "_buckets",
        "_cluster",
        "_columns",
        "_keys",
        "_need",
        "_pushed",
        "_second",
        "_seen",
        "_wanted",
        "room",
        "total",
    )

    def __init__(self, cluster: Cluster, columns: Columns, need: Need, members: Sequence[int]) -> None:
        self._cluster = cluster
        self._columns = columns
        self._need = need
        self._seen = len(columns.changes)
        self._wanted = frozenset(dimension for dimension, _ in need)
        self._second = cluster.idling(self._wanted)[0]  # the nodes of tier 1
        self._fill(np.array(members, dtype=np.int64))

    def _fill(self, members: Vector) -> None:
        """Look at all nodes, whatever was known."""
        self.total = self._pushed = 0
        self.room: dict[int, int] = {}
        self._buckets: tuple[dict[int, list[int]], dict[int, list[int]]] = ({}, {})
        if len(members):
            self._sort(members)
        self._keys = (sorted(self._buckets[0]), sorted(self._buckets[1]))

    def _sort(self, members: Vector) -> None:
        """Put the nodes into buckets."""
        matrix = self._columns.matrix()
        free = matrix if len(members) == len(matrix) else matrix[members]
        room = np.full(len(members), _NO_BOUND, dtype=np.int64)
        for dimension, amount in self._need:
            np.minimum(room, free[:, dimension] // amount, out=room)
        np.maximum(room, 0, out=room)
        self.total = int(room.sum())
        self.room = dict(zip(members.tolist(), room.tolist(), strict=True))
        keys = room
        for dimension in range(2, free.shape[1]):
            keys = keys + (np.maximum(free[:, dimension], 0) << _ROOM_BITS)
        entries = (np.maximum(free[:, 0], 0) << _NODE_BITS) | members
        tiers = self._cluster.idling(self._wanted)[1][members]
        for tier in (0, 1) if tiers.any() else (0,):
            chosen = np.flatnonzero((room > 0) & (tiers == bool(tier)))
            self._bucket(self._buckets[tier], keys[chosen], entries[chosen])

    @staticmethod
    def _bucket(buckets: dict[int, list[int]], keys: Vector, entries: Vector) -> None:
        if not len(keys):
            return
        order = np.argsort(keys)
        in_order, ordered = keys[order], entries[order].tolist()
        starts = [0, *(np.flatnonzero(in_order[1:] != in_order[:-1]) + 1).tolist()]
        named = in_order[starts].tolist()
        for key, start, end in zip(named, starts, [*starts[1:], len(ordered)], strict=True):
            buckets[key] = bucket = ordered[start:end]
            heapify(bucket)

    def _of(self, at: int) -> tuple[int, int, int]:
        """Return room, key and entry of a node as it is now."""
        free = self._columns.free[at]
        room = _NO_BOUND
        for dimension, amount in self._need:
            here = free[dimension] // amount
            if here < room:
                room = here
        if room <= 0:
            return 0, 0, 0
        if len(free) == 3:  # one device type, as most clusters have
            left = free[2] if free[2] > 0 else 0
        else:
            left = 0
            for count in free[2:]:
                if count > 0:
                    left += count
        cpu = free[0]
        return room, left << _ROOM_BITS | room, ((cpu << _NODE_BITS) if cpu > 0 else 0) | at

    def refresh(self) -> Slots:
        """Take over what changed on nodes since the last use; returns itself."""
        changes = self._columns.changes
        if self._seen != len(changes):
            if self._seen == len(changes) - 1:
                if changes[-1] in self.room:
                    self._update(changes[-1])
            else:
                for at in set(changes[self._seen :]):
                    if at in self.room:
                        self._update(at)
            self._seen = len(changes)
            if self._pushed > _STALE + 2 * len(self.room):
                self._fill(np.array(list(self.room), dtype=np.int64))
        return self

    def rebase(self) -> None:
        """Forget the changes that were taken over: the list of changes is emptied."""
        self._seen = 0

    def _update(self, at: int) -> None:
        room, key, entry = self._of(at)
        self.total += room - self.room[at]
        self.room[at] = room  # its entry in the old bucket is now stale: dropped when it is met
        if room:
            tier = 1 if at in self._second else 0
            bucket = self._buckets[tier].get(key)
            self._pushed += 1
            if bucket is None:
                self._buckets[tier][key] = [entry]
                insort(self._keys[tier], key)
            else:
                heappush(bucket, entry)

    def _first(self, tier: int, key: int) -> int:
        """Return the first node of a bucket, or -1 (and forget the bucket)."""
        bucket = self._buckets[tier][key]
        while bucket:
            entry = bucket[0]
            if self._of(entry & _NODE)[1:] == (key, entry):
                return entry & _NODE
            heappop(bucket)
        del self._buckets[tier][key]
        keys = self._keys[tier]
        del keys[bisect_left(keys, key)]
        return -1

    def best(self, count: int) -> tuple[int, int]:
        """Return (node, tasks) for the next of ``count`` tasks; the caller checked that ``total`` > 0.

        The best node (see the module) that holds them all; if there is none, the one with room for the most. Ties go
        to the first node, so that the answer is one.
        """
        for tier, keys in enumerate(self._keys):
            at = 0
            while at < len(keys):
                left = keys[at] >> _ROOM_BITS
                at = bisect_left(keys, left << _ROOM_BITS | count, at)
                if at < len(keys) and keys[at] >> _ROOM_BITS == left:
                    node = self._first(tier, keys[at])
                    if node >= 0:  # else the bucket had no true entries and is forgotten: the next one is here now
                        return node, count
            node, room = self._roomiest(tier)
            if node >= 0:
                return node, room
        raise AssertionError("best() without room")

    def _roomiest(self, tier: int) -> tuple[int, int]:
        """Return (node, room) of the node of a tier with the most room, of equals the one with the fewest devices."""
        keys = self._keys[tier]
        while keys:
            top, at = 0, len(keys)
            while at:  # the last key of each number of devices left
                key = keys[at - 1]
                if key & _ROOM >= top & _ROOM:
                    top = key
                at = bisect_left(keys, key >> _ROOM_BITS << _ROOM_BITS, 0, at)
            node = self._first(tier, top)
            if node >= 0:
                return node, top & _ROOM
        return -1, 0

    def largest(self) -> tuple[int, int]:
        """Return (node, room) of the node with the most room; (-1, 0) if none has any."""
        first, second = self._roomiest(0), self._roomiest(1)
        return second if second[1] > first[1] else first
