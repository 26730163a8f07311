"""What the scheduler looks at: nodes, what is used where, queues. Immutable values built by ``control.cache``.

:meth:`Snapshot.trial` gives a cheap overlay in which gangs are placed tentatively; dropping it is the undo.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from octopus_hub.core.choices import choices_of, chosen
from octopus_hub.core.reason import flat, unflat
from octopus_hub.core.slots import NONE_SUCH, Cluster, Columns, Need, Selector, Slots
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.names import SKU_LABEL
from octopus_hub.model.queue import Cohort, Queue
from octopus_hub.model.status import Span

if TYPE_CHECKING:
    from octopus_hub.core.history import History
    from octopus_hub.core.quota import Quotas

Placement = Mapping[str, Sequence[Span]]


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as the scheduler sees it. ``capacity`` is what our tasks may use in all."""

    name: str
    capacity: Amounts
    labels: Mapping[str, str] = field(default_factory=dict)
    usable: bool = True  # ready and schedulable
    taints: tuple[str, ...] = ()  # only roles that tolerate all of them are placed here


@dataclass(frozen=True, slots=True)
class Way:
    """A further way to run each task of a role: other amounts on other nodes."""

    each: Amounts
    node_selector: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoleNeed:
    """One role of a gang: ``count`` equal tasks.

    Attributes
    ----------
    topology : str, optional
        Roles of one level go into one of its domains; ``wider`` are further levels to try after it.
    most : int, optional
        An elastic role may grow to so many; None is a fixed size.
    choices : tuple of Way
        Further ways after ``each`` and ``node_selector``, the preferred ones first; all tasks go the same way.
    near : str, optional
        Its tasks go to nodes of this role where there is room.
    spread, spread_most : str and int, optional
        A level over whose domains the tasks are spread: at most so many in one, or (None) as evenly as can be.
    """

    role: str
    count: int
    each: Amounts
    node_selector: Mapping[str, str] = field(default_factory=dict)
    topology: str | None = None
    topology_required: bool = False
    most: int | None = None
    tolerates: tuple[str, ...] = ()
    wider: tuple[str, ...] = ()
    choices: tuple[Way, ...] = ()
    near: str | None = None
    spread: str | None = None
    spread_most: int | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A gang that wants to run."""

    uid: str
    namespace: str
    name: str
    owner: str
    queue: str
    priority: int
    queued_at: float  # order within equal priority; survives requeue after a failed bind
    needs: tuple[RoleNeed, ...]
    avoid: Mapping[str, float] = field(default_factory=dict)  # node -> not before this time
    groups: tuple[str, ...] = ()  # of the owner
    served: float = 0.0  # seconds that earlier attempts ran and that were not lost
    max_runtime: float | None = None  # seconds an attempt may run, enforced; None: no bound is known
    preemptible: bool = True
    min_runtime: float | None = None  # seconds an attempt is left alone; None: the queue's
    resumes: bool = True  # goes on where it was after a preemption (it writes checkpoints); else it starts again
    preempted_at: tuple[float, ...] = ()  # of late, oldest first
    yields_to: str = ""  # uid of the gang that it was preempted for the last time
    scaled_at: float | None = None  # when its owner last wished another size of an elastic role
    estimate: float | None = None  # seconds it may run in all, from the history of its owner and command
    kin: str = ""  # gangs of one kin are expected to run alike
    notice: float = 60.0  # seconds that it has to end when it is preempted
    overhead: float = 0.0  # of ``max_runtime``: preparing and ending, beside what its owner allows it to run


@dataclass(frozen=True, slots=True)
class Running:
    """A gang that holds its place, as the scheduler sees it.

    Attributes
    ----------
    gang : Waiting
        As it would wait again: ``queued_at`` is kept, ``served`` is what it had before this attempt.
    since : float
        When this attempt was admitted.
    checkpoint_at : float, optional
        When it last reported a checkpoint in this attempt.
    leaving : bool
        On its way out (preempted, stopping): it can't be preempted again and what it holds comes free by itself.
    claimed_by : str
        uid of the gang it makes room for; nobody else gets that room while that gang waits.
    resizing : bool
        It leaves only to go on in ``placement``, with other numbers of tasks.
    sheds : mapping
        What it gives up beside ``placement`` by a resize under way; comes free within its notice.
    """

    gang: Waiting
    placement: Placement
    since: float
    checkpoint_at: float | None = None
    leaving: bool = False
    claimed_by: str = ""
    sheds: Placement = field(default_factory=dict)
    resizing: bool = False

    @property
    def deadline(self) -> float | None:
        """When it will have ended at the latest; None when nothing bounds it."""
        return None if self.gang.max_runtime is None else self.since + self.gang.max_runtime


@dataclass(frozen=True, slots=True)
class Window:
    """A time window in which nodes are set aside: a course, a maintenance, a drain.

    Work of others must have ended when it begins, so only gangs whose enforced maximum runtime ends before ``start``
    are placed there ahead of it. Within the window only ``queues`` and ``owners`` may use the nodes (nobody: a drain).

    Attributes
    ----------
    ahead : float
        So many seconds before ``start`` the nodes close for work that may outlast it.
    evict : bool
        What others still run there when it begins is preempted, with notice, where that is allowed.
    zone : str
        In which its times are told.
    """

    name: str
    start: float
    end: float | None  # None: until it is taken back
    nodes: frozenset[str]
    queues: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    ahead: float = float("inf")
    evict: bool = True
    zone: str = "UTC"
    purpose: str = "other"
    message: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What admitted gangs hold: by node, by queue, by (queue, owner).

    Queues and users also count devices by SKU (``gpu:a100``, see :func:`charged`); nodes don't. ``groups`` counts by
    (queue, group of the owner), ``tasks`` the members by (queue, owner). ``holders`` says how many gangs hold some of a
    resource (``cpu_millis``, ``memory_bytes``, device types); only texts use it, so it may stay empty.
    """

    nodes: Mapping[str, Amounts] = field(default_factory=dict)
    queues: Mapping[str, Amounts] = field(default_factory=dict)
    users: Mapping[tuple[str, str], Amounts] = field(default_factory=dict)
    holders: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[tuple[str, str], Amounts] = field(default_factory=dict)
    tasks: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """What differs from the snapshot before, for a scheduler that saw that one; it spares looking at everything.

    ``before`` and ``after`` are tokens (any objects) by which two snapshots in a row know each other.
    """

    before: object
    after: object
    joined: tuple[Waiting, ...]  # wait now, and did not before (or not as they are now)
    left: tuple[Waiting, ...]  # waited before
    started: tuple[Running, ...]  # run now, and did not before (or not as they are now)
    ended: tuple[str, ...]  # uids of those that ran before
    nodes: tuple[str, ...]  # use of them differs


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Nodes, usage, queues and what runs at one moment.

    ``usage`` also counts what dying tasks of ended gangs hold, so it may be more than ``running`` adds up to.
    ``attained`` is the decayed use of each (queue, owner) in device-seconds (CPU-seconds where no device is used),
    as of ``attained_at``; ``spent`` is what each queue with a budget used in the window that is current, in
    device-seconds.
    """

    nodes: tuple[NodeView, ...]
    usage: Usage = field(default_factory=Usage)
    queues: Mapping[str, Queue] = field(default_factory=dict)
    running: Mapping[str, Running] = field(default_factory=dict)  # by uid
    cohorts: Mapping[str, Cohort] = field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    attained: Mapping[tuple[str, str], float] = field(default_factory=dict)
    attained_at: float = 0.0
    delta: Delta | None = field(default=None, compare=False)
    spent: Mapping[str, float] = field(default_factory=dict)
    history: History | None = field(default=None, compare=False)  # made anew once per review, then another object

    def trial(self) -> Trial:
        """Return an overlay to try admissions in; the snapshot never changes."""
        return Trial(self)


def held(gangs: Iterable[tuple[Waiting, Placement]]) -> Usage:
    """Return what admitted gangs hold in all, each with its placement. Nodes need not exist any more."""
    nodes: dict[str, dict[str, int]] = {}
    queues: dict[str, dict[str, int]] = {}
    users: dict[tuple[str, str], dict[str, int]] = {}
    groups: dict[tuple[str, str], dict[str, int]] = {}
    tasks: dict[tuple[str, str], int] = {}
    holders: dict[str, int] = {}
    for gang, placement in gangs:
        total: dict[str, int] = {}
        count = 0
        for need in chosen(gang.needs, choices_of(placement)):
            each, charge = flat(need.each), charged(need)
            for span in placement.get(need.role, ()):
                _accumulate(nodes.setdefault(span.node, {}), each, span.count)
                _accumulate(total, charge, span.count)
                count += span.count
        key = (gang.queue, gang.owner)
        tasks[key] = tasks.get(key, 0) + count
        for group in gang.groups:
            _accumulate(groups.setdefault((gang.queue, group), {}), total, 1)
        _accumulate(queues.setdefault(gang.queue, {}), total, 1)
        _accumulate(users.setdefault(key, {}), total, 1)
        _accumulate(holders, dict.fromkeys(total, 1), 1)
    return Usage(
        nodes={name: unflat(entries) for name, entries in nodes.items()},
        queues={name: unflat(entries) for name, entries in queues.items()},
        users={key: unflat(entries) for key, entries in users.items()},
        holders=holders,
        groups={key: unflat(entries) for key, entries in groups.items()},
        tasks=tasks,
    )


def charged(need: RoleNeed) -> dict[str, int]:
    """Return what quotas count for one task of a role, by resource name.

    A role that asks for a SKU counts twice: as its device type (``gpu``) and as the type with the SKU (``gpu:a100``).
    """
    entries = flat(need.each)
    sku = need.node_selector.get(SKU_LABEL)
    if sku:
        entries.update({f"{name}:{sku}": count for name, count in need.each.devices.items() if count})
    return entries


def gang_total(needs: Sequence[RoleNeed]) -> dict[str, int]:
    """Return what quotas count for a whole gang, by resource name."""
    total: dict[str, int] = {}
    for need in needs:
        _accumulate(total, charged(need), need.count)
    return total


def placed_total(needs: Sequence[RoleNeed], placement: Placement) -> dict[str, int]:
    """Return what quotas count for the placed tasks of a gang; an elastic one may have more than it asks for."""
    total: dict[str, int] = {}
    for need in needs:
        count = sum(span.count for span in placement.get(need.role, ()))
        if count:
            _accumulate(total, charged(need), count)
    return total


def _accumulate(into: dict[str, int], entries: Mapping[str, int], times: int) -> None:
    for resource, amount in entries.items():
        into[resource] = into.get(resource, 0) + amount * times


# resources of so many tasks taken on a node; or a gang and its total that were counted on its queue and owner
_Entry = tuple[int, Need, Waiting | None, Mapping[str, int], int]
_NOTHING: Mapping[str, int] = {}


class _Footprint(NamedTuple):
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
    kept : dict of int to list of int
        What :meth:`keep` set aside, by node; part of what ``free`` no longer has.
    """

    def __init__(self, snapshot: Snapshot, cluster: Cluster | None = None) -> None:
        self.snapshot = snapshot
        self.queues = snapshot.queues
        self.cluster = cluster or Cluster(snapshot.nodes)
        self.free = [list(vector) for vector in self.cluster.capacity]
        self.changes: list[int] = []
        self.kept: dict[int, list[int]] = {}
        self.kept_for: list[Waiting] = []
        self.holders = dict(snapshot.usage.holders)
        self.freed = 0  # how often something came free, over the snapshots
        self.quotas: Quotas | None = None  # counts instead of the trial where a cycle has set it
        self._journal: list[_Entry] = []
        self._footprints: dict[str, _Footprint] = {}
        self._queue_used: dict[str, dict[str, int]] = {}
        self._user_used: dict[tuple[str, str], dict[str, int]] = {}
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
            self.kept.clear()
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
            self._queue_used.clear()
            self._user_used.clear()
            self.holders = dict(after.holders)
            if self.quotas is not None:
                self.quotas.sync(after)
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

    def queue_used(self, queue: str) -> dict[str, int]:
        """Return what a queue uses, by resource name."""
        found = self._queue_used.get(queue)
        if found is None:
            amounts = self.snapshot.usage.queues.get(queue)
            found = self._queue_used[queue] = flat(amounts) if amounts is not None else {}
        return found

    def user_used(self, queue: str, owner: str) -> dict[str, int]:
        """Return what a user uses in a queue, by resource name."""
        key = (queue, owner)
        found = self._user_used.get(key)
        if found is None:
            amounts = self.snapshot.usage.users.get(key)
            found = self._user_used[key] = flat(amounts) if amounts is not None else {}
        return found

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
        known = self._footprints.get(running.gang.uid)
        if known is None or known.running is not running:
            known = self._footprints[running.gang.uid] = self._footprint(running)
        free, changes, journal = self.free, self.changes, self._journal
        for take in known.takes:
            at, need, _, _, count = take
            vector = free[at]
            for dimension, amount in need:
                if dimension != NONE_SUCH:
                    vector[dimension] -= amount * count
            changes.append(at)
            journal.append(take)
        if self.quotas is None or not self.quotas.unlimited(running.gang.queue):
            self.charge(running.gang, known.total, -1)

    def put_back(self, running: Running) -> None:
        """Undo :meth:`lift`."""
        known = self._footprints[running.gang.uid]
        for at, need, _, _, count in known.takes:
            self.take(at, need, -count)
        if self.quotas is None or not self.quotas.unlimited(running.gang.queue):
            self.charge(running.gang, known.total, 1)

    def _footprint(self, running: Running) -> _Footprint:
        placement = running.sheds if running.resizing else running.placement
        needs = chosen(running.gang.needs, choices_of(placement))
        index = self.cluster.index
        takes = [
            (index[span.node], self.cluster.need(need.each), None, _NOTHING, -span.count)
            for need in needs
            for span in placement.get(need.role, ())
            if span.node in index  # a node that is gone holds nothing that could be given
        ]
        return _Footprint(running, tuple(takes), placed_total(needs, placement))

    def charge(self, gang: Waiting, total: Mapping[str, int], times: int) -> None:
        """Count a gang's total on its queue and owner (``times`` -1 takes it back)."""
        self._count(gang, total, times)
        self._journal.append((0, (), gang, total, times))

    def _count(self, gang: Waiting, total: Mapping[str, int], times: int) -> None:
        if self.quotas is not None:
            self.quotas.charge(gang, total, times)
            return
        _accumulate(self.queue_used(gang.queue), total, times)
        _accumulate(self.user_used(gang.queue, gang.owner), total, times)
        for resource in total:
            self.holders[resource] = self.holders.get(resource, 0) + times

    def keep(self, gang: Waiting, placement: Placement) -> None:
        """Set nodes aside for a gang that waits, whatever runs there: others see that much less free."""
        self.kept_for.append(gang)
        self._move(gang, placement, 1)
        for need in chosen(gang.needs, choices_of(placement)):
            vector = self.cluster.vector(need.each)
            for span in placement.get(need.role, ()):
                kept = self.kept.setdefault(self.cluster.index[span.node], [0] * len(vector))
                for dimension, amount in enumerate(vector):
                    kept[dimension] += amount * span.count

    def spare(self, gang: Waiting, placement: Placement) -> None:
        """Give back what :meth:`keep` set aside, until the journal is rolled back."""
        self._move(gang, placement, -1)

    def fits(self, gang: Waiting, placement: Placement) -> bool:
        """Say whether exactly this placement is free now."""
        touched = {
            (self.cluster.index[span.node], dimension)
            for need in chosen(gang.needs, choices_of(placement))
            for span in placement.get(need.role, ())
            for dimension, _ in self.cluster.need(need.each)
        }
        self._move(gang, placement, 1)
        fitting = all(self.free[at][dimension] >= 0 for at, dimension in touched)
        self._move(gang, placement, -1)
        return fitting

    def usage(self) -> Usage:
        """Return the usage with everything that was added (what is kept counts as used)."""
        users: dict[tuple[str, str], Amounts] = dict(self.snapshot.usage.users)
        users.update({key: unflat(entries) for key, entries in self._user_used.items()})
        queues: dict[str, Amounts] = dict(self.snapshot.usage.queues)
        queues.update({name: unflat(entries) for name, entries in self._queue_used.items()})
        nodes: dict[str, Amounts] = dict(self.snapshot.usage.nodes)
        for at in set(self.changes):
            used = [a - b for a, b in zip(self.cluster.capacity[at], self.free[at], strict=True)]
            nodes[self.cluster.nodes[at].name] = unflat(dict(zip(self.cluster.resources, used, strict=True)))
        return Usage(nodes=nodes, queues=queues, users=users, holders=dict(self.holders))

    def _move(self, gang: Waiting, placement: Placement, sign: int) -> None:
        for need in chosen(gang.needs, choices_of(placement)):
            vector = self.cluster.need(need.each)
            for span in placement.get(need.role, ()):
                at = self.cluster.index.get(span.node)
                if at is not None:  # a node that is gone holds nothing that could be given
                    self.take(at, vector, sign * span.count)
