"""What admitted gangs hold, as running totals: a gang is added and taken out, nothing is ever summed up anew.

Integers. Quotas also count devices by SKU (``core.snapshot.charged``), nodes don't. Used by the cache only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from octopus_hub.core.choices import chosen
from octopus_hub.core.expand import needs
from octopus_hub.core.reason import flat, unflat
from octopus_hub.core.snapshot import RoleNeed, Usage, charged
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.status import Status
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import TaskSet

Key = TypeVar("Key")
Entries = dict[str, int]  # by resource name


class Holding(NamedTuple):
    """What one TaskSet holds, and on whom it counts."""

    queue: str
    owner: str
    groups: tuple[str, ...]
    nodes: dict[str, Entries]
    total: Entries  # as quotas count it
    tasks: int


def holding(taskset: TaskSet, tasks: Iterable[Task], wants: Sequence[RoleNeed] | None = None) -> Holding | None:
    """Return what a TaskSet holds, None for nothing. ``wants`` is what its roles ask for, if that is known already.

    An admitted TaskSet holds all its members' resources until it has ended; one that ended or went back to the queue
    holds those of tasks that are not confirmed gone.
    """
    places = list(_places(taskset, tasks))
    if not places:
        return None
    nodes: dict[str, Entries] = {}
    total: Entries = {}
    members = 0
    by_role = {need.role: need for need in chosen(wants or needs(taskset), taskset.status.choices)}
    for node, role, count in places:
        need = by_role[role]
        _add(nodes.setdefault(node, {}), flat(need.each), count)
        _add(total, charged(need), count)
        members += count
    if not members:
        return None
    meta = taskset.metadata
    return Holding(taskset.spec.queue, meta.owner, tuple(meta.groups), nodes, total, members)


def holds_alike(one: TaskSet, other: TaskSet) -> bool:
    """Say whether two states of a TaskSet hold the same as long as it has the same tasks: most writes change nothing."""
    before, after = one.status, other.status
    return (
        one.spec is other.spec
        and tasks_count(one) == tasks_count(other)
        and before.placement == after.placement
        and before.resize_to == after.resize_to
        and before.choices == after.choices
        and one.metadata.sizes == other.metadata.sizes
        and one.metadata.groups == other.metadata.groups
    )


def tasks_count(taskset: TaskSet) -> bool:
    """Say whether what a TaskSet holds is what its tasks hold, not what it was admitted with."""
    return taskset.status.phase.terminal or taskset.status.phase.waiting


def _places(taskset: TaskSet, tasks: Iterable[Task]) -> Iterator[tuple[str, str, int]]:
    if tasks_count(taskset):
        yield from ((task.node, task.role, 1) for task in tasks if not task.state.terminal)
        return
    for role in taskset.spec.roles:
        for node, count in _spread(taskset.status, role.name).items():
            yield node, role.name, count


def _spread(status: Status, role: str) -> dict[str, int]:
    """Return how many tasks of a role count on each node; while it is resized, the larger of before and after."""
    counts: dict[str, int] = {}
    for span in status.placement.get(role, ()):
        counts[span.node] = counts.get(span.node, 0) + span.count
    after: dict[str, int] = {}
    for span in status.resize_to.get(role, ()):
        after[span.node] = after.get(span.node, 0) + span.count
    return {node: max(counts.get(node, 0), after.get(node, 0)) for node in {**counts, **after}}


class Sums:
    """Running totals by node, queue, user and group."""

    def __init__(self) -> None:
        self._nodes: _Table[str] = _Table()
        self._queues: _Table[str] = _Table()
        self._users: _Table[tuple[str, str]] = _Table()
        self._groups: _Table[tuple[str, str]] = _Table()
        self._tasks: dict[tuple[str, str], int] = {}
        self._holders: Entries = {}
        self._frozen: Usage | None = None

    def change(self, held: Holding, sign: int) -> None:
        """Add (1) or take out (-1) a gang."""
        self._frozen = None
        user = held.queue, held.owner
        for node, entries in held.nodes.items():
            self._nodes.change(node, entries, sign)
        self._queues.change(held.queue, held.total, sign)
        self._users.change(user, held.total, sign)
        for group in held.groups:
            self._groups.change((held.queue, group), held.total, sign)
        self._tasks[user] = self._tasks.get(user, 0) + sign * held.tasks
        _add(self._holders, dict.fromkeys(held.total, 1), sign)

    def freeze(self) -> Usage:
        """Return the totals; the same object as long as nothing changed."""
        if self._frozen is None:
            self._frozen = Usage(
                nodes=dict(self._nodes.amounts),
                queues=dict(self._queues.amounts),
                users=dict(self._users.amounts),
                holders=dict(self._holders),
                groups=dict(self._groups.amounts),
                tasks=dict(self._tasks),
            )
        return self._frozen


class _Table(dict[Key, Entries]):
    """Totals by key; ``amounts`` are the same as values, renewed one by one."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.amounts: dict[Key, Amounts] = {}

    def change(self, key: Key, entries: Mapping[str, int], sign: int) -> None:
        mine = self.setdefault(key, {})
        _add(mine, entries, sign)
        self.amounts[key] = unflat(mine)


def _add(into: Entries, entries: Mapping[str, int], times: int) -> None:
    for resource, amount in entries.items():
        into[resource] = into.get(resource, 0) + amount * times
