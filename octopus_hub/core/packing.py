"""Puts the roles of one gang onto nodes, role by role: dense, near each other, or spread, as each role asks.

Greedy and deterministic: each role goes to the node with the least room that holds it whole, otherwise to as few nodes
as possible; tasks without devices keep off device nodes while others have room. Counts per node are computed, never
task by task. What was put stays taken in the trial; ``placement`` rolls it back.
"""

from __future__ import annotations

from typing import NamedTuple

from octopus_hub.core.cluster import Need, Selector
from octopus_hub.core.trial import Trial

Counts = dict[int, int]  # node -> tasks


class Role(NamedTuple):
    """A role as placement sees it; gangs whose roles are equal are placed alike."""

    name: str
    at: int  # its place in gang.needs
    need: Need
    tasks: int
    selector: Selector
    levels: tuple[str, ...] = ()  # roles of the same levels go into one domain, of the first level that has one
    required: bool = False
    spread: str | None = None  # level over whose domains its tasks are spread
    most: int | None = None  # tasks in one domain of ``spread``; None: as evenly as can be
    near: int | None = None  # place in gang.needs of the role that it goes beside
    others: tuple[tuple[Need, Selector], ...] = ()  # further ways to run it; placed one way at a time


Group = tuple[Role, ...]  # roles placed together: those of the same levels, else a single one


def within(role: Role, level: str, domain: str) -> Selector:
    """Return the role's selector inside one domain.

    A selector that names another value of the level stays: no node carries both, so nothing fits.
    """
    return tuple(sorted({*role.selector, (level, domain)}))


class Packing:
    """Where the roles of one gang were put so far, by their places in ``gang.needs``."""

    def __init__(self, trial: Trial, excluded: frozenset[int]) -> None:
        self.counts: dict[int, Counts] = {}
        self._trial = trial
        self._excluded = excluded
        self._levels: dict[int, tuple[str, ...]] = {}

    def put(self, group: Group) -> bool:
        """Put the roles of a group; returns False, with parts of it put, where there is no room."""
        for level in group[0].levels:
            for domain in self._domains(group, level):
                mark = self._trial.mark()
                if all(self._put(role, within(role, level, domain)) for role in group):
                    return True
                self._trial.rollback(mark)
                for role in group:
                    self.counts.pop(role.at, None)
        if group[0].levels and any(role.required for role in group):
            return False
        return all(self._few_domains(role) if role.levels else self._put(role, role.selector) for role in group)

    def _domains(self, group: Group, level: str) -> list[str]:
        """Return the domains in which every role of the group alone has room, the tightest first."""
        rooms = [dict(self._rooms(role, role.selector, level)) for role in group]
        found = [
            (room, domain)
            for domain, room in rooms[0].items()
            if all(each.get(domain, 0) >= role.tasks for each, role in zip(rooms, group, strict=True))
        ]
        if len(group) > 1 and self._trial.cluster.single_nodes(level):
            found = [each for each in found if self._holds(group, level, each[1])]
        return [domain for _, domain in sorted(found)]

    def _holds(self, group: Group, level: str, domain: str) -> bool:
        """Say whether the one node of a domain has room for all roles together."""
        (node,) = self._trial.cluster.members(((level, domain),)) or (-1,)
        if node < 0:
            return True  # a tainted node: each role looks for itself
        left = list(self._trial.free[node])
        for role in group:
            for dimension, amount in role.need:
                left[dimension] -= amount * role.tasks
        return all(left[dimension] >= 0 for role in group for dimension, _ in role.need)

    def _rooms(self, role: Role, selector: Selector, level: str) -> list[tuple[str, int]]:
        """Return the domains of a level with the tasks of the role that they hold, those without room left out."""
        trial, cluster = self._trial, self._trial.cluster
        if cluster.single_nodes(level):
            room = trial.slots(role.need, selector, self._excluded).room
            named = ((cluster.domain_of(at, level), count) for at, count in room.items() if count)
            return [(domain, count) for domain, count in named if domain is not None]
        rooms = (
            (domain, trial.slots(role.need, tuple(sorted({*selector, (level, domain)})), self._excluded).total)
            for domain in cluster.domains(level)
        )
        return [(domain, room) for domain, room in rooms if room]

    def _put(self, role: Role, selector: Selector) -> bool:
        if self._trial.slots(role.need, selector, self._excluded).total < role.tasks:
            return False
        counts: Counts = {}
        if role.spread is not None:
            if not self._spread(role, selector, counts):
                return False
        else:
            left = role.tasks
            if role.near is not None and role.near in self.counts:
                left -= self._beside(role, selector, counts)
            self._fill(role.need, selector, left, counts)
        self.counts[role.at] = counts
        self._levels[role.at] = role.levels
        return True

    def _fill(self, need: Need, selector: Selector, count: int, counts: Counts) -> None:
        slots = self._trial.slots(need, selector, self._excluded)
        while count:
            at, part = slots.best(count)
            self._trial.take(at, need, part)
            slots.refresh()
            counts[at] = counts.get(at, 0) + part
            count -= part

    def _few_domains(self, role: Role) -> bool:
        """Fill the roomiest domains first, so that few are used; nodes without the label come last."""
        if role.spread is not None:
            return self._put(role, role.selector)
        counts: Counts = {}
        left = role.tasks
        rooms = sorted((-room, domain) for domain, room in self._rooms(role, role.selector, role.levels[0]))
        for room, domain in rooms:
            part = min(left, -room)
            if part:
                self._fill(role.need, within(role, role.levels[0], domain), part, counts)
                left -= part
        if self._trial.slots(role.need, role.selector, self._excluded).total < left:
            return False
        self._fill(role.need, role.selector, left, counts)
        self.counts[role.at] = counts
        return True

    def _spread(self, role: Role, selector: Selector, counts: Counts) -> bool:
        """Put the tasks over the domains of a level, the roomiest first; nodes without the label are not used."""
        assert role.spread is not None
        rooms = sorted((-room, domain) for domain, room in self._rooms(role, selector, role.spread))
        shares = spread([-room for room, _ in rooms], role.tasks, role.most)
        if shares is None:
            return False
        for (_, domain), share in zip(rooms, shares, strict=True):
            if share:
                self._fill(role.need, tuple(sorted({*selector, (role.spread, domain)})), share, counts)
        return True

    def _beside(self, role: Role, selector: Selector, counts: Counts) -> int:
        """Use the nodes of the role it goes near, those with most of its tasks first, then their domains."""
        assert role.near is not None
        trial = self._trial
        neighbours = self.counts[role.near]
        slots = trial.slots(role.need, selector, self._excluded)
        left = role.tasks
        for at in sorted(neighbours, key=lambda node: (-neighbours[node], node)):
            part = min(left, slots.room.get(at, 0))
            if part:
                trial.take(at, role.need, part)
                slots.refresh()
                counts[at] = counts.get(at, 0) + part
                left -= part
        for level in self._levels.get(role.near, ()):
            domains = {domain for at in neighbours if (domain := trial.cluster.domain_of(at, level)) is not None}
            for domain in sorted(domains):
                close = tuple(sorted({*selector, (level, domain)}))
                part = min(left, trial.slots(role.need, close, self._excluded).total)
                self._fill(role.need, close, part, counts)
                left -= part
        return role.tasks - left


def spread(rooms: list[int], tasks: int, most: int | None) -> list[int] | None:
    """Return how many of the tasks go into each domain, or None; ``rooms`` has the roomiest first.

    With ``most``, the first domains get so many each. Without, no domain gets more than it must, and those that get
    one less are the last.
    """
    if most is None:
        low, high = 0, max(rooms, default=0)
        if sum(rooms) < tasks:
            return None
        while low < high:
            middle = (low + high) // 2
            if sum(min(room, middle) for room in rooms) < tasks:
                low = middle + 1
            else:
                high = middle
        shares = [min(room, low) for room in rooms]
        for at in reversed(range(len(shares))):
            if sum(shares) > tasks and shares[at] == low:
                shares[at] -= 1
        return shares
    shares = []
    for room in rooms:
        shares.append(min(room, most, tasks))
        tasks -= shares[-1]
    return None if tasks else shares
