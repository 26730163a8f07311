"""What the scheduler looks at: nodes, what is used where, queues. Immutable values built by ``control.cache``.

:mod:`octopus_hub.core.trial` has a cheap overlay in which gangs are placed tentatively.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from octopus_hub.core.choices import choices_of, chosen
from octopus_hub.core.reason import flat, unflat
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.names import SKU_LABEL
from octopus_hub.model.queue import Cohort, Queue
from octopus_hub.model.status import Span

if TYPE_CHECKING:
    from octopus_hub.core.history import History

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
    """A gang that wants to run.

    Attributes
    ----------
    width : float
        How many devices it holds; CPUs where it asks for none, at least 1. Policies ask for it very often.
    """

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
    width: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        devices = sum([each * need.count for need in self.needs for each in need.each.devices.values()])
        wide = devices or max(1.0, sum([need.each.cpu_millis * need.count for need in self.needs]) / 1000)
        object.__setattr__(self, "width", float(wide))


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
                accumulate(nodes.setdefault(span.node, {}), each, span.count)
                accumulate(total, charge, span.count)
                count += span.count
        key = (gang.queue, gang.owner)
        tasks[key] = tasks.get(key, 0) + count
        for group in gang.groups:
            accumulate(groups.setdefault((gang.queue, group), {}), total, 1)
        accumulate(queues.setdefault(gang.queue, {}), total, 1)
        accumulate(users.setdefault(key, {}), total, 1)
        accumulate(holders, dict.fromkeys(total, 1), 1)
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
        accumulate(total, charged(need), need.count)
    return total


def placed_total(needs: Sequence[RoleNeed], placement: Placement) -> dict[str, int]:
    """Return what quotas count for the placed tasks of a gang; an elastic one may have more than it asks for."""
    total: dict[str, int] = {}
    for need in needs:
        count = sum(span.count for span in placement.get(need.role, ()))
        if count:
            accumulate(total, charged(need), count)
    return total


def accumulate(into: dict[str, int], entries: Mapping[str, int], times: int) -> None:
    """Add so many times the entries to ``into``."""
    for resource, amount in entries.items():
        into[resource] = into.get(resource, 0) + amount * times
