"""Quotas: what a queue, its cohort, each of its users and groups may use at once, and who borrows from whom.

:class:`Quotas` is a mutable overlay that a trial holds; charging costs the depth of the tree and taking a charge back
restores it exactly. A limit of 0 CPU or memory means "not limited" (a quota names what it limits); a device type that
a quota does not name is not limited while it names none, else zero. The numbers of the tree are in ``cohort``, the
words in ``overquota``. Integers only; never reads a clock. Used by ``schedule``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from octopus_hub.core import overquota
from octopus_hub.core.budget import Action, over_budget
from octopus_hub.core.cohort import Node, grow, limit, roots
from octopus_hub.core.reason import Reason, flat
from octopus_hub.core.snapshot import Usage, Waiting, charged
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.queue import Cohort, Queue

__all__ = ["LAST", "Quotas", "charged", "limit"]

MILLION = 1_000_000
KINDS_KEPT = 50_000
LAST = 10**18  # shares from here on are served only when nobody else waits

_Key = tuple[str, str]  # (queue, owner or group)
_NO_ROOM = Reason(code="QueueQuota", message="")


class Quotas:
    """The tree of cohorts and queues with what is used in it.

    Parameters
    ----------
    usage : Usage
        What is used; :meth:`sync` goes over to a later one.
    capacity : mapping of str to int
        What the nodes have in all by resource name, for shares.
    spent : mapping of str to float
        Device-seconds that queues with a budget used in the current window.
    """

    def __init__(
        self,
        queues: Mapping[str, Queue],
        cohorts: Mapping[str, Cohort],
        usage: Usage,
        capacity: Mapping[str, int],
        spent: Mapping[str, float] | None = None,
    ) -> None:
        self.queues = queues
        self.cohorts = cohorts
        self.capacity = capacity
        self.spent = spent or {}
        self._nodes = grow(queues, cohorts)
        self._siblings = _weights(self._nodes.values())
        self._unbounded = {name for name, node in self._nodes.items() if _never_refuses(queues[name], node)}
        self.charges = 0  # grows with every charge, taken back or not
        self._never: dict[tuple[str, tuple[str, ...], Hashable], bool] = {}
        self._seen: dict[str, Amounts] = {}
        self._touched: set[str] = set()  # queues that were charged since their use was set
        self._users: dict[_Key, dict[str, int]] = {}
        self._groups: dict[_Key, dict[str, int]] = {}
        self._tasks: dict[_Key, int] = {}
        self._usage = Usage()
        self.sync(usage)

    # --- over time
    def sync(self, usage: Usage, spent: Mapping[str, float] | None = None) -> None:
        """Go over to a later usage at the cost of what differs; everything that was charged here is forgotten."""
        gone = self._seen.keys() - usage.queues.keys()
        for name in gone:
            self.set_used(name, Amounts())
        for name, amounts in usage.queues.items():
            if name in self._touched or self._seen.get(name) is not amounts:
                self.set_used(name, amounts)
        for name in self._touched - usage.queues.keys():
            self.set_used(name, Amounts())
        self._touched.clear()
        self._users.clear()
        self._groups.clear()
        self._tasks.clear()
        self._usage = usage
        if spent is not None:
            self.spent = spent

    def set_used(self, queue: str, amounts: Amounts) -> None:
        """Say what a queue uses in all."""
        self._seen[queue] = amounts
        node = self._nodes.get(queue)
        if node is None:
            return
        wanted = flat(amounts)
        for resource in {*node.used, *wanted}:
            by = wanted.get(resource, 0) - node.used.get(resource, 0)
            if by:
                node.take(resource, by)

    def charge(self, gang: Waiting, total: Mapping[str, int], times: int, tasks: int | None = None) -> None:
        """Count a gang (``times`` -1: take it back). ``tasks``: its members; else what its roles ask for."""
        self._touched.add(gang.queue)
        self.charges += 1
        node = self._nodes.get(gang.queue)
        user = self.used_by(gang)
        holders = [user, *(self._group((gang.queue, name)) for name in gang.groups)]
        for resource, amount in total.items():
            if node is not None:
                node.take(resource, amount * times)
            for used in holders:
                used[resource] = used.get(resource, 0) + amount * times
        key = (gang.queue, gang.owner)
        count = _members(gang) if tasks is None else tasks
        self._tasks[key] = self.tasks(gang.queue, gang.owner) + count * times

    # --- may it start?
    def check(self, gang: Waiting, total: Mapping[str, int], *, words: bool = True) -> Reason | None:
        """Return why the gang can't start now, or None; without ``words`` a refusal by the tree has only its code."""
        node = self._nodes.get(gang.queue)
        if node is None or gang.queue in self._unbounded:
            return None
        return (
            overquota.spent_out(self.queues[gang.queue], total, self.spent.get(gang.queue, 0.0))
            or (self._over_tree(node, total, empty=False) if words else self._beyond_tree(node, total))
            or self._over_holders(gang, total, empty=False)
        )

    def check_empty(self, gang: Waiting, total: Mapping[str, int]) -> Reason | None:
        """Return why the gang could never start there, or None."""
        node = self._nodes.get(gang.queue)
        if node is None:
            return None
        return (
            overquota.no_budget(self.queues[gang.queue], total)
            or self._over_tree(node, total, empty=True)
            or self._over_holders(gang, total, empty=True)
        )

    def never(self, gang: Waiting, total: Mapping[str, int], kind: Hashable) -> bool:
        """Say whether :meth:`check_empty` refuses a gang; asked once for all of a ``kind``: they ask for the same."""
        key = (gang.queue, gang.groups, kind)
        known = self._never.get(key)
        if known is None:
            if len(self._never) >= KINDS_KEPT:
                self._never.clear()
            known = self._never[key] = self.check_empty(gang, total) is not None
        return known

    def unlimited(self, queue: str) -> bool:
        """Say whether nothing is ever refused there, whoever else of its tree (there is nobody) uses whatever."""
        return queue in self._unbounded and self._nodes[queue].parent is None

    def over_budget(self, queue: str) -> Action:
        """Return what happens to a queue for its budget; empty while there is some left."""
        found = self.queues.get(queue)
        return over_budget(found, self.spent.get(queue, 0.0)) if found is not None else ""

    def _over_tree(self, node: Node, total: Mapping[str, int], *, empty: bool) -> Reason | None:
        for resource, amount in total.items():
            room = node.available(resource, empty=empty)
            if room is not None and amount > room:
                return overquota.tree(node, resource, amount, room)
        return None

    def _beyond_tree(self, node: Node, total: Mapping[str, int]) -> Reason | None:
        for resource, amount in total.items():
            room = node.available(resource)
            if room is not None and amount > room:
                return _NO_ROOM
        return None

    def _over_holders(self, gang: Waiting, total: Mapping[str, int], *, empty: bool) -> Reason | None:
        queue = self.queues[gang.queue]
        if queue.per_user is not None:
            used = {} if empty else self.used_by(gang)
            for resource, amount, have, bound in _beyond(queue.per_user, total, used):
                return overquota.user(queue, gang, (resource, amount, have, bound))
        if queue.per_group is not None:
            for group in bound_groups(queue, gang.groups):
                used = {} if empty else self._group((queue.name, group))
                for resource, amount, have, bound in _beyond(queue.per_group, total, used):
                    return overquota.group(queue, group, (resource, amount, have, bound))
        most = queue.max_running_tasks_per_user
        if most is not None:
            count, have = _members(gang), 0 if empty else self.tasks(queue.name, gang.owner)
            if have + count > most:
                return overquota.tasks(queue, gang, (count, have, most))
        return None

    # --- who borrows
    def borrows(self, queue: str) -> bool:
        """Say whether the queue uses more than its nominal of something."""
        node = self._nodes.get(queue)
        return node is not None and any(node.over(resource) for resource, used in node.used.items() if used)

    def would_borrow(self, queue: str, total: Mapping[str, int]) -> bool:
        """Say whether the queue would use more than its nominal of something that so much more takes."""
        node = self._nodes.get(queue)
        return node is not None and any(node.over(resource, amount) for resource, amount in total.items() if amount)

    def reclaimable(self, gang: Waiting, total: Mapping[str, int]) -> frozenset[str]:
        """Return the queues whose borrowing stands in the gang's way.

        Its own side has to stay within what is its own at the level where they meet; the others are beyond theirs on
        all levels below. Where the quotas don't refuse the gang, it is nodes that the borrowers fill.
        """
        leaf = self._nodes.get(gang.queue)
        if leaf is None or all(leaf.bound(name) is None or leaf.over(name, amount) for name, amount in total.items()):
            return frozenset()  # it would have to borrow itself, as most that wait do
        rooms = {resource: leaf.available(resource) for resource, amount in total.items() if amount}
        short = [resource for resource, room in rooms.items() if room is not None and total[resource] > room]
        found: set[str] = set()
        for resource in short or [name for name, room in rooms.items() if room is not None]:
            found.update(_standing_in_the_way(leaf, resource, total[resource]))
        return frozenset(found)

    # --- whose turn
    def share(self, queue: str) -> int:
        """Return the queue's weighted dominant share of what the nodes have, in millionths.

        The largest, over the resources, of what it uses by what there is, divided by the part that its weight and
        those of its cohorts give it among their siblings. A weight of 0 on the way puts it behind everybody (LAST).
        """
        node = self._nodes.get(queue)
        if node is None:
            return 0
        part = whole = 1
        for each in node.path:
            part *= max(1, each.weight)
            whole *= max(1, self._siblings[id(each)])
        share = max((_of(used, self._there(name)) for name, used in node.used.items()), default=0)
        return share * whole // part + (LAST if any(not each.weight for each in node.path) else 0)

    def shares(self, queue: str) -> tuple[tuple[int, str], ...]:
        """Return the weighted dominant shares from the queue's top cohort down to itself, for fairness level by level.

        Sorted by this, cohorts are compared first and then the queues within one, so that what an idle queue leaves
        goes to its siblings. At the top the share is of the nodes, below of what the tree may use.
        """
        node = self._nodes.get(queue)
        if node is None:
            return ((0, queue),)
        return tuple((self._weighted(each), each.name) for each in reversed(node.path))

    def _weighted(self, node: Node) -> int:
        if node.share is None:
            node.share = self._share_of(node)
        return node.share

    def _share_of(self, node: Node) -> int:
        share = 0
        for resource, used in node.used.items():
            there = self._there(resource)
            top = node.root.bound(resource) if node.parent else None
            if top is not None:
                there = min(there, top.quota) if there is not None else top.quota
            share = max(share, _of(used, there))
        return share // node.weight if node.weight else LAST + share

    def _there(self, resource: str) -> int | None:
        return self.capacity.get(resource, None if ":" in resource else 0)

    # --- looking
    def used(self, queue: str) -> dict[str, int]:
        """Return what a queue uses, by resource."""
        node = self._nodes.get(queue)
        return {name: used for name, used in node.used.items() if used} if node else {}

    def used_by(self, gang: Waiting) -> dict[str, int]:
        """Return what the owner of a gang uses in its queue, by resource; not to be changed."""
        return _filled(self._users, (gang.queue, gang.owner), self._usage.users)

    def tasks(self, queue: str, owner: str) -> int:
        """Return how many admitted tasks a user has in a queue."""
        key = (queue, owner)
        return self._tasks.get(key, self._usage.tasks.get(key, 0))

    def node(self, queue: str) -> Node | None:
        """Return a queue's place in the tree; not to be changed."""
        return self._nodes.get(queue)

    def _group(self, key: _Key) -> dict[str, int]:
        return _filled(self._groups, key, self._usage.groups)


def _never_refuses(queue: Queue, node: Node) -> bool:
    bounds = (queue.per_user, queue.per_group, queue.max_running_tasks_per_user, queue.budget)
    return not node.root.named and all(bound is None for bound in bounds)


def bound_groups(queue: Queue, groups: Sequence[str]) -> tuple[str, ...]:
    """Return the groups of an owner that ``perGroup`` bounds: those that the queue admits, or all if it names none."""
    return tuple(name for name in groups if not queue.allowed_groups or name in queue.allowed_groups)


def beyond_queued(queue: Queue, waiting: Iterable[Waiting]) -> dict[str, Reason]:
    """Return why TaskSets of users who have more waiting than the queue allows wait, by uid.

    The service refuses such at submission; some may be left when the limit was lowered. In the order given, the first
    of each user are looked at and the others when those have started.
    """
    most = queue.max_queued_per_user
    if most is None:
        return {}
    counts: dict[str, int] = {}
    late: list[Waiting] = []
    for gang in waiting:
        counts[gang.owner] = counts.get(gang.owner, 0) + 1
        if counts[gang.owner] > most:
            late.append(gang)
    return {gang.uid: overquota.queued(queue, gang.owner, counts[gang.owner]) for gang in late}


def _standing_in_the_way(leaf: Node, resource: str, amount: int) -> Iterable[str]:
    for node in leaf.path[:-1]:
        bounds = node.bound(resource)
        if bounds is None or node.over(resource, amount):
            return
        taken = node.taken.get(resource, 0)
        amount = max(0, taken + amount - bounds.kept) - max(0, taken - bounds.kept)
        assert node.parent is not None
        for each in node.parent.members:
            if each is not node:
                yield from (debtor.name for debtor in each.in_debt(resource))


def _beyond(quota: Amounts, total: Mapping[str, int], used: Mapping[str, int]) -> Iterable[tuple[str, int, int, int]]:
    for resource, amount in total.items():
        bound = limit(quota, resource)
        have = used.get(resource, 0)
        if bound is not None and have + amount > bound:
            yield resource, amount, have, bound


def _filled(overlay: dict[_Key, dict[str, int]], key: _Key, usage: Mapping[_Key, Amounts]) -> dict[str, int]:
    found = overlay.get(key)
    if found is None:
        amounts = usage.get(key)
        found = overlay[key] = flat(amounts) if amounts is not None else {}
    return found


def _members(gang: Waiting) -> int:
    return sum(need.count for need in gang.needs)


def _of(used: int, there: int | None) -> int:
    """Return a share in millionths; of a resource that no node has, everything is too much."""
    return 0 if there is None else max(0, used) * MILLION // max(1, there)


def _weights(leaves: Iterable[Node]) -> dict[int, int]:
    """Return the sum of weights of every node's siblings and itself, by the node's id."""
    tops = roots(leaves)
    sums = dict.fromkeys(map(id, tops), sum(top.weight for top in tops))
    for top in tops:
        for node in top.order:
            whole = sum(member.weight for member in node.members)
            sums.update(dict.fromkeys(map(id, node.members), whole))
    return sums
