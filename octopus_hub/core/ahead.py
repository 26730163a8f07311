"""Nodes that are kept for blocked heads, from when on, and who may use them until then. Part of a cycle.

Where backfill is wished the reservation is the earliest that the maximum runtimes of what runs allow; as long as what
is before it stays, its start never moves later: others use those nodes only if they end before it, or beside it. Without
backfill (or where nothing bounds what runs) it is the placement on an empty cluster, and nobody uses it.
"""

from __future__ import annotations

from typing import NamedTuple

from octopus_hub.core.choices import Placed, choices_of, chosen
from octopus_hub.core.line import Shape
from octopus_hub.core.memo import Link, Memo
from octopus_hub.core.placement import Allowed, Role, find
from octopus_hub.core.snapshot import Waiting, gang_total

TIMED_HEADS = 16  # of so many heads per cycle the earliest start is looked for
SHAPES_KEPT = 64  # whose places are remembered at each link of the chain
LIFTS = 2_000  # ends of running gangs that are looked at for each


class Reservation(NamedTuple):
    """Nodes kept for a gang; ``start`` is when it will have them at the latest, None if nothing bounds that."""

    gang: Waiting
    placement: Placed
    start: float | None


class Ahead:
    """The reservations of one cycle."""

    def __init__(self, memo: Memo) -> None:
        self.memo = memo
        self.trial = memo.trial
        self.kept: list[Reservation] = []
        self._unkept: set[tuple[tuple[Role, ...], frozenset[int]]] = set()
        self._timed = 0
        self._on_empty_too = 0  # so many of those kept are kept on the empty cluster as well

    def reserve(self, gang: Waiting, shape: Shape, excluded: frozenset[int], *, timed: bool) -> Placed | None:
        """Keep nodes for a blocked gang; returns the places if they turn out to be free, and keeps nothing then."""
        if timed and self.reserve_in_time(gang, shape, excluded):
            return None
        tried = (shape.roles, excluded)
        if tried in self._unkept and not shape.choices:
            return None
        kept = self._on_empty(gang, shape, excluded)
        if kept is None:
            self._unkept.add(tried)
            return None
        if not excluded and self.trial.fits(gang, kept) and self._allowed(gang)(_total(gang, kept)):
            return kept  # packing found no way, but this one is free
        self._keep(Reservation(gang, kept, None))
        return None

    def reserve_in_time(self, gang: Waiting, shape: Shape, excluded: frozenset[int]) -> bool:
        """Keep the nodes that a gang can have first by the ends of what runs, if there is such a moment."""
        if self._timed >= TIMED_HEADS:
            return False
        self._timed += 1
        found = self._earliest(gang, shape, excluded)
        if found is not None:
            self._keep(found)
        return found is not None

    def _on_empty(self, gang: Waiting, shape: Shape, excluded: frozenset[int]) -> Placed | None:
        """Return where a gang would go if nothing ran, beside what is kept already.

        That rests on what is kept only, so the places of the last cycle are good as long as the same were kept.
        """
        chain, at = self.memo.chain, len(self.kept)
        known = chain[at].found if at < len(chain) else {}
        key = (shape, excluded)
        if key in known:
            return known[key]
        empty, allowed = self.memo.empty, self._ever_allowed(gang)
        for each in self.kept[self._on_empty_too :]:
            empty.keep(each.gang, each.placement)
        self._on_empty_too = at
        kept = find(empty, gang, excluded, allowed, shape.roles) or (
            find(empty, gang, allowed=allowed) if excluded else None
        )
        if not shape.choices:  # those rest on quotas as well
            if at == len(chain):
                chain.append(Link())
            elif len(known) >= SHAPES_KEPT:
                known.clear()
            chain[at].found[key] = kept
        return kept

    def _keep(self, reservation: Reservation) -> None:
        chain, at = self.memo.chain, len(self.kept)
        if at == len(chain):
            chain.append(Link())
        if chain[at].kept is not reservation.placement:
            chain[at].kept = reservation.placement
            del chain[at + 1 :]
        self.kept.append(reservation)
        self.trial.keep(reservation.gang, reservation.placement)

    def _earliest(self, gang: Waiting, shape: Shape, excluded: frozenset[int]) -> Reservation | None:
        """Find the first end of what runs at which the gang fits, if all ends are as late as they may be."""
        now = self.memo.now
        ends = sorted(
            (now if running.leaving else max(now, deadline or now), uid)
            for uid, running in self.memo.running.items()
            if ((deadline := running.deadline) is not None or running.leaving) and not running.resizing
        )
        mark = self.trial.mark()
        for each in self.kept:  # they take their quota as they take their nodes
            self.trial.charge(each.gang, _total(each.gang, each.placement), 1)
        try:
            for at, (end, uid) in enumerate(ends[:LIFTS]):
                self.trial.lift(self.memo.running[uid])
                if at + 1 < len(ends) and ends[at + 1][0] == end:
                    continue
                if not shape.choices and any(
                    self.trial.slots(role.need, role.selector, excluded).total < role.tasks for role in shape.roles
                ):
                    continue
                if not shape.choices and self.memo.quotas.check(gang, shape.total) is not None:
                    continue
                placement = find(self.trial, gang, excluded, self._allowed(gang), shape.roles)
                if placement is not None:
                    return Reservation(gang, placement, end)
        finally:
            self.trial.rollback(mark)
        return None

    def beside(self, gang: Waiting, shape: Shape, excluded: frozenset[int]) -> Placed | None:
        """Return places of a gang that is gone before the reservations in its way begin; None if there are none."""
        if gang.max_runtime is None:
            return None
        end = self.memo.now + gang.max_runtime
        harmless = [each for each in self.kept if each.start is not None and end <= each.start]
        if not harmless:
            return None
        mark = self.trial.mark()
        for each in harmless:
            self.trial.spare(each.gang, each.placement)
        placement = find(self.trial, gang, excluded, self._allowed(gang), shape.roles)
        self.trial.rollback(mark)
        return placement

    def holds_quota(self, gang: Waiting, placement: Placed) -> Waiting | None:
        """Return a reserved gang that quotas would refuse when it begins if this one were started; None if there is none.

        Those of the same queue count, and of others those that take what is their own.
        """
        end = None if gang.max_runtime is None else self.memo.now + gang.max_runtime
        quotas, mark = self.memo.quotas, self.trial.mark()
        last = None
        for each in self.kept:
            if end is not None and each.start is not None and end <= each.start:
                continue
            total = _total(each.gang, each.placement)
            if not self._shares_limits(each.gang, gang, total) or quotas.check(each.gang, total) is not None:
                continue
            self.trial.charge(each.gang, total, 1)
            last = each.gang
        refused = last is not None and quotas.check(gang, _total(gang, placement)) is not None
        self.trial.rollback(mark)
        return last if refused else None

    def _shares_limits(self, reserved: Waiting, gang: Waiting, total: dict[str, int]) -> bool:
        if reserved.queue == gang.queue:
            return True
        quotas = self.memo.quotas
        one, other = quotas.node(reserved.queue), quotas.node(gang.queue)
        if one is None or other is None or one.root is not other.root:
            return False
        return not quotas.would_borrow(reserved.queue, total)

    def _allowed(self, gang: Waiting) -> Allowed:
        """Return what says whether quotas let a gang run in one of its ways, as the trial is when it is asked."""
        return lambda total: self.memo.quotas.check(gang, total) is None

    def _ever_allowed(self, gang: Waiting) -> Allowed:
        return lambda total: self.memo.quotas.check_empty(gang, total) is None

    def start_of(self, uid: str) -> float | None:
        """Return the reserved start of a gang, None if it has none."""
        return next((each.start for each in self.kept if each.gang.uid == uid), None)


def _total(gang: Waiting, placement: Placed) -> dict[str, int]:
    return gang_total(chosen(gang.needs, choices_of(placement)))
