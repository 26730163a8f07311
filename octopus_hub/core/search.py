"""Looks for a placement of roles of different size where packing role by role found none. Exact within its bounds.

The search goes node by node. On each it tries every largest combination of tasks that still fits (a smaller one is
never better) and forgets no state that failed. It gives up, as if there were no room, after :data:`STEPS` combinations
or beyond the :data:`NODES` nodes for which roles compete; within these it finds a placement if and only if there is
one. Nodes that only one role can use are filled before. Preferences (topology that is not required, ``near``, an even
spread) are not looked at. Used by ``placement`` only; the trial stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, product

from octopus_hub.core.cluster import Need, Selector
from octopus_hub.core.packing import Counts, Role, within
from octopus_hub.core.trial import Trial

STEPS = 1_000  # combinations of tasks on one node that are looked at for one gang
NODES = 200  # for which roles compete
_MOST_DOMAINS = 500  # combinations of required domains

Left = tuple[int, ...]  # tasks of each role that have no node yet
Caps = dict[tuple[int, str], int]  # (role, domain) -> tasks that may still go there


class _Spent(Exception):
    """The steps are used up."""


def search(trial: Trial, roles: Sequence[Role], excluded: frozenset[int]) -> dict[int, Counts] | None:
    """Return the tasks of each role by node, by the roles' places in ``gang.needs``, or None."""
    steps = [STEPS]
    for selectors in islice(_inside(trial, roles, excluded), _MOST_DOMAINS):
        try:
            found = _Search.of(trial, roles, selectors, excluded, steps).solve()
        except _Spent:
            return None
        if found is not None:
            return {role.at: counts for role, counts in zip(roles, found, strict=True)}
    return None


def _inside(trial: Trial, roles: Sequence[Role], excluded: frozenset[int]) -> Iterator[list[Selector]]:
    """Yield the roles' selectors for every combination of domains in which required levels can be kept."""
    groups: dict[tuple[str, ...], list[Role]] = {}
    for role in roles:
        if role.levels:
            groups.setdefault(role.levels, []).append(role)
    bound = [group for group in groups.values() if any(role.required for role in group)]
    options = [
        [
            {role.at: within(role, level, domain) for role in group}
            for level in group[0].levels
            for domain in trial.cluster.domains(level)
            if all(trial.slots(role.need, within(role, level, domain), excluded).total >= role.tasks for role in group)
        ]
        for group in bound
    ]
    for picks in product(*options):
        chosen: dict[int, Selector] = {}
        for pick in picks:
            chosen.update(pick)
        yield [chosen.get(role.at, role.selector) for role in roles]


@dataclass(slots=True)
class _Search:
    """One search: roles with fixed selectors over the nodes for which they compete."""

    needs: list[Need]
    left: Left
    counts: list[Counts]  # what each role got on nodes of its own, then everything
    nodes: list[int]
    free: list[list[int]]  # by place in nodes
    allowed: list[tuple[bool, ...]]  # by place in nodes: which roles may go there
    domains: list[tuple[str | None, ...]]  # by place in nodes: the spread domain of each role
    caps: Caps
    steps: list[int]
    ahead: list[Left] = field(default_factory=list)  # room for each role on this node and those after
    supply: list[list[int]] = field(default_factory=list)  # what is free on this node and those after
    failed: set[tuple[int, Left, tuple[int, ...]]] = field(default_factory=set)

    @staticmethod
    def of(
        trial: Trial, roles: Sequence[Role], selectors: Sequence[Selector], excluded: frozenset[int], steps: list[int]
    ) -> _Search:
        """Fill the nodes that only one role can use and prepare the others."""
        rooms = [
            trial.slots(role.need, selector, excluded).room for role, selector in zip(roles, selectors, strict=True)
        ]
        left = [role.tasks for role in roles]
        counts: list[Counts] = [{} for _ in roles]
        users = _users(rooms)
        nodes = _shared(roles, rooms, users, left, counts)[:NODES]
        domains = [
            tuple(trial.cluster.domain_of(node, role.spread) if role.spread else None for role in roles)
            for node in nodes
        ]
        allowed = [
            tuple(at in users[node] and (role.spread is None or place[at] is not None) for at, role in enumerate(roles))
            for node, place in zip(nodes, domains, strict=True)
        ]
        found = _Search(
            needs=[role.need for role in roles],
            left=tuple(left),
            counts=counts,
            nodes=nodes,
            free=[list(trial.free[node]) for node in nodes],
            allowed=allowed,
            domains=domains,
            caps=_caps(roles, domains),
            steps=steps,
        )
        found._sum_up(rooms)
        return found

    def _sum_up(self, rooms: Sequence[dict[int, int]]) -> None:
        ahead = [0] * len(self.needs)
        supply = [0] * (len(self.free[0]) if self.free else 0)
        self.ahead, self.supply = [tuple(ahead)], [list(supply)]
        for place in reversed(range(len(self.nodes))):
            for at, allowed in enumerate(self.allowed[place]):
                ahead[at] += rooms[at][self.nodes[place]] if allowed else 0
            supply = [more + max(0, have) for more, have in zip(supply, self.free[place], strict=True)]
            self.ahead.append(tuple(ahead))
            self.supply.append(supply)
        self.ahead.reverse()
        self.supply.reverse()

    def solve(self) -> list[Counts] | None:
        """Return the tasks of each role by node, or None; raises _Spent."""
        return self.counts if self._go(0, self.left) else None

    def _go(self, place: int, left: Left) -> bool:
        if not any(left):
            return True
        if place == len(self.nodes) or not self._possible(place, left):
            return False
        state = (place, left, tuple(self.caps.values()))
        if state in self.failed:
            return False
        for picks in self._largest(place, left):
            self._count(place, picks, 1)
            if self._go(place + 1, tuple(have - pick for have, pick in zip(left, picks, strict=True))):
                return True
            self._count(place, picks, -1)
        self.failed.add(state)
        return False

    def _possible(self, place: int, left: Left) -> bool:
        if any(tasks > room for tasks, room in zip(left, self.ahead[place], strict=True)):
            return False
        asked = [0] * len(self.supply[place])
        for tasks, need in zip(left, self.needs, strict=True):
            if tasks:
                for dimension, amount in need:
                    asked[dimension] += tasks * amount
        return all(want <= have for want, have in zip(asked, self.supply[place], strict=True) if want)

    def _count(self, place: int, picks: Left, sign: int) -> None:
        node = self.nodes[place]
        for at, pick in enumerate(picks):
            if pick:
                total = self.counts[at].get(node, 0) + sign * pick
                if total:
                    self.counts[at][node] = total
                else:
                    del self.counts[at][node]
                key = (at, self.domains[place][at] or "")
                if key in self.caps:
                    self.caps[key] -= sign * pick

    def _largest(self, place: int, left: Left) -> list[Left]:
        """Return the combinations to which no task can be added, those that use the scarcest resources most first."""
        most = [
            min(left[at], self.caps.get((at, self.domains[place][at] or ""), left[at])) if allowed else 0
            for at, allowed in enumerate(self.allowed[place])
        ]
        found: list[Left] = []
        self._combine(list(self.free[place]), most, (), found)
        supply = self.supply[place]

        def used(picks: Left) -> float:
            return sum(
                pick * amount / supply[dimension]
                for pick, need in zip(picks, self.needs, strict=True)
                if pick
                for dimension, amount in need
            )

        return sorted(found, key=lambda picks: (-used(picks), picks))

    def _combine(self, free: list[int], most: list[int], picks: Left, found: list[Left]) -> None:
        at = len(picks)
        if at == len(most):
            self.steps[0] -= 1
            if self.steps[0] < 0:
                raise _Spent
            if not any(picks[each] < most[each] and _room(free, self.needs[each]) for each in range(at)):
                found.append(picks)
            return
        need = self.needs[at]
        top = min(most[at], _room(free, need)) if most[at] else 0
        for pick in range(top, -1, -1):
            rest = free.copy()
            for dimension, amount in need:
                rest[dimension] -= amount * pick
            if at + 1 == len(most) and pick < top:
                break  # the last role takes all it can
            self._combine(rest, most, (*picks, pick), found)


def _users(rooms: Sequence[dict[int, int]]) -> dict[int, list[int]]:
    """Return the roles that have room on each node."""
    users: dict[int, list[int]] = {}
    for at, room in enumerate(rooms):
        for node, count in room.items():
            if count:
                users.setdefault(node, []).append(at)
    return users


def _shared(
    roles: Sequence[Role],
    rooms: Sequence[dict[int, int]],
    users: dict[int, list[int]],
    left: list[int],
    counts: list[Counts],
) -> list[int]:
    """Put tasks on nodes that only one role can use; return the other nodes, those with the most room first."""
    shared: list[int] = []
    for node in sorted(users):
        at = users[node][0]
        if len(users[node]) > 1 or roles[at].spread is not None:
            shared.append(node)
        elif left[at]:
            counts[at][node] = part = min(left[at], rooms[at][node])
            left[at] -= part
    return sorted(shared, key=lambda node: (-sum(min(rooms[at][node], left[at]) for at in users[node]), node))


def _caps(roles: Sequence[Role], domains: Sequence[tuple[str | None, ...]]) -> Caps:
    """Return how many tasks of each spread role may go into each domain."""
    return {
        (at, domain): role.most
        for at, role in enumerate(roles)
        if role.most is not None
        for place in domains
        if (domain := place[at]) is not None
    }


def _room(free: Sequence[int], need: Need) -> int:
    return max(0, min((free[dimension] // amount for dimension, amount in need), default=1 << 40))
