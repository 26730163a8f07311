"""An overlay over a snapshot in which gangs are placed tentatively: integers only, undone at the cost of what was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from octopus_hub.core.choices import choices_of, chosen
from octopus_hub.core.quota import Quotas
from octopus_hub.core.slots import NONE_SUCH, Cluster, Columns, Need, Selector, Slots
from octopus_hub.core.snapshot import Placement, Running, Snapshot, Waiting, placed_total
from octopus_hub.model.amounts import Amounts

# resources of so many tasks taken on a node; or a gang and its total that were counted on its queue and owner
_Entry = tuple[int, Need, Waiting | None, Mapping[str, int], int]
_NOTHING: Mapping[str, int] = {}


class Footprint(NamedTuple):
    """What a running gang leaves."""

    running: Running
    takes: tuple[_Entry, ...]
    total: Mapping[str, int]


_CHANGES_KEPT = 20_000
_SLOTS_KEPT = 2_000


class Trial:
    """A mutable overlay over a snapshot: integers only, changed by :meth:`add` and :meth:`remove`.

    Every change is kept in a journal, so that :meth:`rollback` undoes what was only tried. :meth:`follow` takes it to a
    later snapshot of the same nodes at the cost of what differs.

    Attributes
    ----------
    free : list of list of int
        What is free on each node over ``cluster.resources``; negative where a node shrank or is kept for a gang.
    """

    def __init__(self, snapshot: Snapshot, cluster: Cluster | None = None) -> None:
        self.snapshot = snapshot
        self.queues = snapshot.queues
        self.cluster = cluster or Cluster(snapshot.nodes)
        self.free = [list(vector) for vector in self.cluster.capacity]
        self.changes: list[int] = []
        self._kept: tuple[int, dict[int, list[int]]] | None = None
        self._kept_places: list[Placement] = []
        self.kept_for: list[Waiting] = []
        self.holders = dict(snapshot.usage.holders)
        self.freed = 0  # how often something came free, over the snapshots
        self.quotas = self._new_quotas(snapshot)
        self._journal: list[_Entry] = []
        self._footprints: dict[str, Footprint] = {}
        self._columns = Columns(self.free, self.changes)
        self._slots: dict[tuple[Need, Selector, frozenset[int]], Slots] = {}
        for name, amounts in snapshot.usage.nodes.items():
            self._hold(name, amounts)

    # --- over time
    def mark(self) -> int:
        """Return the present state of the journal, for :meth:`rollback`."""
        return len(self._journal)

    def rollback(self, mark: int = 0) -> None:
        """Undo everything since :meth:`mark`; without one, everything since the snapshot."""
        journal, free, changes = self._journal, self.free, self.changes
        while len(journal) > mark:
            at, need, gang, total, times = journal.pop()
            if gang is None:
                vector = free[at]
                for dimension, amount in need:
                    if dimension != NONE_SUCH:
                        vector[dimension] += amount * times
                changes.append(at)
            else:
                self._count(gang, total, -times)
        if not mark:
            self._kept = None
            self._kept_places.clear()
            self.kept_for.clear()

    def follow(self, snapshot: Snapshot, changed: Sequence[str] | None = None) -> None:
        """Go over to a later snapshot of the same nodes; what was tried is undone.

        ``changed`` are the nodes whose use differs, where that is known.
        """
        self.rollback()
        before, after = self.snapshot.usage, snapshot.usage
        if before is not after:
            if changed is not None:
                for name in changed:
                    self._hold(name, after.nodes.get(name))
            elif before.nodes is not after.nodes:
                self._follow_nodes(before.nodes, after.nodes)
            self.holders = dict(after.holders)
        if _same(snapshot.queues, self.snapshot.queues) and _same(snapshot.cohorts, self.snapshot.cohorts):
            if before is not after:
                self.quotas.sync(after)
            self.quotas.spent = snapshot.spent
        else:
            self.quotas = self._new_quotas(snapshot)
        self.snapshot = snapshot
        self.queues = snapshot.queues
        if len(self.changes) > _CHANGES_KEPT:
            for slots in self._slots.values():
                slots.refresh()
                slots.rebase()
            self._columns.rebase()
            self.changes.clear()
        if len(self._slots) > _SLOTS_KEPT:
            self._slots.clear()
        if len(self._footprints) > 2 * len(snapshot.running) + _SLOTS_KEPT:
            self._footprints.clear()

    def _new_quotas(self, snapshot: Snapshot) -> Quotas:
        return Quotas(snapshot.queues, snapshot.cohorts, snapshot.usage, self.cluster.everything, snapshot.spent)

    def _follow_nodes(self, before: Mapping[str, Amounts], after: Mapping[str, Amounts]) -> None:
        for name, amounts in after.items():
            known = before.get(name)
            if known is not amounts and known != amounts:
                self._hold(name, amounts)
        if len(after) < len(before) or before.keys() - after.keys():
            for name in before.keys() - after.keys():
                self._hold(name, None)

    def _hold(self, name: str, amounts: Amounts | None) -> None:
        at = self.cluster.index.get(name)
        if at is None:  # a node that is gone holds nothing that could be given
            self.freed += 1
            return
        free = self.cluster.capacity[at]
        if amounts is not None:
            free = [a - b for a, b in zip(free, self.cluster.vector(amounts), strict=True)]
        known = self.free[at]
        for before, after in zip(known, free, strict=True):
            if after > before:
                self.freed += 1
                break
        known[:] = free
        self.changes.append(at)

    def slots(self, need: Need, selector: Selector, excluded: frozenset[int] = frozenset()) -> Slots:
        """Return the room for tasks of that size, up to date."""
        key = (need, selector, excluded)
        found = self._slots.get(key)
        if found is None:
            devices = tuple(dimension for dimension, _ in need if dimension not in (0, 1))
            members = self.cluster.candidates(selector, devices)  # none for a device type that no node has
            if excluded:
                members = tuple(at for at in members if at not in excluded)
            found = self._slots[key] = Slots(self.cluster, self._columns, need, members)
            return found
        return found.refresh()

    def take(self, at: int, need: Need, count: int) -> None:
        """Take (or, with a negative count, give back) resources of ``count`` tasks on a node."""
        free = self.free[at]
        for dimension, amount in need:
            if dimension != NONE_SUCH:
                free[dimension] -= amount * count
        self.changes.append(at)
        self._journal.append((at, need, None, _NOTHING, count))

    def add(self, gang: Waiting, placement: Placement) -> None:
        """Admit a gang: its nodes, its queue and its owner use more."""
        self._move(gang, placement, 1)
        self.charge(gang, placed_total(chosen(gang.needs, choices_of(placement)), placement), 1)

    def remove(self, gang: Waiting, placement: Placement) -> None:
        """Undo :meth:`add`."""
        self._move(gang, placement, -1)
        self.charge(gang, placed_total(chosen(gang.needs, choices_of(placement)), placement), -1)

    def lift(self, running: Running) -> None:
        """Take what a running gang leaves off its nodes and quotas; for a look, soon to be rolled back."""
        known = self.footprint(running)
        free, changes, journal = self.free, self.changes, self._journal
        for take in known.takes:
            at, need, _, _, count = take
            vector = free[at]
            for dimension, amount in need:
                if dimension != NONE_SUCH:
                    vector[dimension] -= amount * count
            changes.append(at)
            journal.append(take)
        if not self.quotas.unlimited(running.gang.queue):
            self.charge(running.gang, known.total, -1)

    def put_back(self, running: Running) -> None:
        """Undo :meth:`lift`."""
        known = self._footprints[running.gang.uid]
        for at, need, _, _, count in known.takes:
            self.take(at, need, -count)
        if not self.quotas.unlimited(running.gang.queue):
            self.charge(running.gang, known.total, 1)

    def footprint(self, running: Running) -> Footprint:
        """Return what a running gang leaves when it goes."""
        known = self._footprints.get(running.gang.uid)
        if known is None or known.running is not running:
            known = self._footprints[running.gang.uid] = self._footprint(running)
        return known

    def _footprint(self, running: Running) -> Footprint:
        placement = running.sheds if running.resizing else running.placement
        needs = chosen(running.gang.needs, choices_of(placement))
        index = self.cluster.index
        takes = [
            (index[span.node], self.cluster.need(need.each), None, _NOTHING, -span.count)
            for need in needs
            for span in placement.get(need.role, ())
            if span.node in index  # a node that is gone holds nothing that could be given
        ]
        return Footprint(running, tuple(takes), placed_total(needs, placement))

    def charge(self, gang: Waiting, total: Mapping[str, int], times: int) -> None:
        """Count a gang's total on its queue and owner (``times`` -1 takes it back)."""
        self._count(gang, total, times)
        self._journal.append((0, (), gang, total, times))

    def _count(self, gang: Waiting, total: Mapping[str, int], times: int) -> None:
        self.quotas.charge(gang, total, times)
        for resource in total:
            self.holders[resource] = self.holders.get(resource, 0) + times

    def keep(self, gang: Waiting, placement: Placement) -> None:
        """Set nodes aside for a gang that waits, whatever runs there: others see that much less free."""
        self.kept_for.append(gang)
        self._move(gang, placement, 1)
        self._kept_places.append(placement)

    @property
    def kept(self) -> dict[int, list[int]]:
        """What :meth:`keep` set aside, by node; part of what ``free`` no longer has."""
        if self._kept is None or self._kept[0] != len(self.kept_for):
            found: dict[int, list[int]] = {}
            for gang, placement in zip(self.kept_for, self._kept_places, strict=True):
                for need in chosen(gang.needs, choices_of(placement)):
                    vector = self.cluster.vector(need.each)
                    for span in placement.get(need.role, ()):
                        kept = found.setdefault(self.cluster.index[span.node], [0] * len(vector))
                        for dimension, amount in enumerate(vector):
                            kept[dimension] += amount * span.count
            self._kept = (len(self.kept_for), found)
        return self._kept[1]

    def spare(self, gang: Waiting, placement: Placement) -> None:
        """Give back what :meth:`keep` set aside, until the journal is rolled back."""
        self._move(gang, placement, -1)

    def fits(self, gang: Waiting, placement: Placement) -> bool:
        """Say whether exactly this placement is free now."""
        wanted: dict[tuple[int, int], int] = {}
        for need in chosen(gang.needs, choices_of(placement)):
            vector = self.cluster.need(need.each)
            for span in placement.get(need.role, ()):
                at = self.cluster.index[span.node]
                for dimension, amount in vector:
                    wanted[at, dimension] = wanted.get((at, dimension), 0) + amount * span.count
        return all(self.free[at][dimension] >= amount for (at, dimension), amount in wanted.items())

    def _move(self, gang: Waiting, placement: Placement, sign: int) -> None:
        for need in chosen(gang.needs, choices_of(placement)):
            vector = self.cluster.need(need.each)
            for span in placement.get(need.role, ()):
                at = self.cluster.index.get(span.node)
                if at is not None:  # a node that is gone holds nothing that could be given
                    self.take(at, vector, sign * span.count)


def _same(one: object, other: object) -> bool:
    return one is other or one == other
