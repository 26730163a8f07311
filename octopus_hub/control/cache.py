"""The last known truth in memory, kept by a watch; what the scheduler and the service look at.

Holds no decisions of its own. Usage (what admitted gangs hold) and the gangs that hold a place are kept up to date row
by row, so that a snapshot costs no walk over all TaskSets; what did not change is the same object in the next snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from octopus_hub.backends.base import Change, Listing
from octopus_hub.control.calendar import Calendar
from octopus_hub.control.differences import Differences, Moved
from octopus_hub.control.gangs import Traits, running_gang, traits_of, waiting_gang
from octopus_hub.control.learning import Learning
from octopus_hub.control.ledger import Ledger, expected
from octopus_hub.control.lives import Lives
from octopus_hub.control.usage import Holding, Sums, holding, holds_alike, tasks_count
from octopus_hub.control.use import Use
from octopus_hub.core.snapshot import NodeView, Running, Snapshot, Waiting
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.node import Node
from octopus_hub.model.queue import DEFAULT_PRIORITIES, Cohort, PriorityClass, Queue
from octopus_hub.model.reservation import Reservation
from octopus_hub.model.status import Board, QueuePlace
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import TaskSet

Subscriber = Callable[[Change], None]
TaskKey = tuple[str, str]  # (namespace, task name)
Item = TaskSet | Task | Node | Queue | Cohort | Board | Reservation
Key = TypeVar("Key")
Row = TypeVar("Row")


class Cache:
    """TaskSets, tasks, nodes, queues and boards by key."""

    def __init__(self) -> None:
        self.revision = 0
        self.tasksets: dict[str, TaskSet] = {}
        self.by_key: dict[tuple[str, str], str] = {}
        self.tasks: dict[TaskKey, Task] = {}
        self.nodes: dict[str, Node] = {}
        self.queues: dict[str, Queue] = {}
        self.cohorts: dict[str, Cohort] = {}
        self.boards: dict[str, Board] = {}
        self.calendar = Calendar()
        self.priorities: dict[str, PriorityClass] = {}
        self.ledger = Ledger()
        self.lives = Lives()  # counted beside it
        self._use = Use()
        self._learning = Learning()
        self._tasks_of: dict[str, dict[str, Task]] = {}
        self._holding: dict[str, Holding] = {}  # by uid
        self._traits: dict[str, Traits] = {}  # by uid
        self._places: dict[str, QueuePlace] = {}
        self._views: tuple[NodeView, ...] | None = None
        self._usage = Sums()
        self._queue_view: dict[str, Queue] | None = None
        self._cohort_view: dict[str, Cohort] | None = None
        self._running: dict[str, Running] = {}
        self._running_view: dict[str, Running] | None = None
        self._differences = Differences()
        self._subscribers: list[Subscriber] = []

    # --- filling
    def replace(self, listing: Listing) -> list[Change]:
        """Take a new listing; returns (and tells subscribers) what differs from the old content."""
        self.priorities = {each.name: each for each in listing.priorities or DEFAULT_PRIORITIES}
        revision = listing.revision
        changes = [
            *(Change(revision=revision, type="deleted", object=each) for each in self._missing(listing)),
            *(Change(revision=revision, type="put", object=each) for each in self._differing(listing)),
        ]
        for change in changes:
            self.apply(change)
        self.revision = revision
        return changes

    def _missing(self, listing: Listing) -> Iterator[Item]:
        """Yield what is known and not listed any more; tasks first, so that no task lacks its TaskSet."""
        yield from _absent(self.tasks, ((task.namespace, task.name) for task in listing.tasks))
        yield from _absent(self.tasksets, (taskset.metadata.uid for taskset in listing.tasksets))
        yield from _absent(self.nodes, (node.name for node in listing.nodes))
        yield from _absent(self.queues, (queue.name for queue in listing.queues))
        yield from _absent(self.cohorts, (cohort.name for cohort in listing.cohorts))
        yield from _absent(self.calendar.reservations, (each.name for each in listing.reservations))

    def _differing(self, listing: Listing) -> Iterator[Item]:
        """Yield what is listed and not known so; TaskSets before their tasks."""
        yield from (each for each in listing.nodes if self.nodes.get(each.name) != each)
        yield from (each for each in listing.cohorts if self.cohorts.get(each.name) != each)
        yield from (each for each in listing.queues if self.queues.get(each.name) != each)
        yield from (each for each in listing.reservations if self.calendar.reservations.get(each.name) != each)
        yield from (each for each in listing.tasksets if self.tasksets.get(each.metadata.uid) != each)
        yield from (each for each in listing.tasks if self.tasks.get((each.namespace, each.name)) != each)
        yield from (each for each in listing.boards if self.boards.get(each.queue) != each)

    def apply(self, change: Change) -> bool:
        """Take one change; returns False for one that is older than what is known."""
        item = change.object
        put = change.type == "put"
        if isinstance(item, TaskSet):
            if not self._put_taskset(item) if put else not self._drop_taskset(item):
                return False
        elif isinstance(item, Task):
            self._put_task(item) if put else self._drop_task(item)
        elif isinstance(item, Node):
            self._views = None
            self.nodes[item.name] = item
            if not put:
                del self.nodes[item.name]
        elif isinstance(item, Queue):
            self._queue_view = None
            self.queues[item.name] = item
            if not put:
                del self.queues[item.name]
        elif isinstance(item, Cohort):
            self._cohort_view = None
            self.cohorts[item.name] = item
            if not put:
                del self.cohorts[item.name]
        elif isinstance(item, Reservation):
            self.calendar.put(item) if put else self.calendar.drop(item.name)
        else:
            self._put_board(item)
        self.revision = max(self.revision, change.revision)
        for subscriber in list(self._subscribers):
            subscriber(change)
        return True

    def assume(self, taskset: TaskSet) -> None:
        """Take the answer of our own write before its change arrives."""
        self.apply(Change(revision=self.revision, type="put", object=taskset))

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call ``callback`` after every change; returns what ends it."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback) if callback in self._subscribers else None

    # --- looking
    def tasks_of(self, uid: str) -> list[Task]:
        """Return the known tasks of a TaskSet."""
        return list(self._tasks_of.get(uid, {}).values())

    def place_of(self, uid: str) -> QueuePlace | None:
        """Return the queue place of a waiting TaskSet."""
        taskset = self.tasksets.get(uid)
        if taskset is None or not taskset.status.phase.waiting:
            return None
        return self._places.get(uid)

    def running(self, uid: str) -> Running | None:
        """Return a TaskSet that holds its place as the scheduler sees it."""
        return self._running.get(uid)

    def estimate(self, taskset: TaskSet) -> float | None:
        """Return for how long it may run in all, from what ran before it."""
        return expected(self.ledger, taskset.metadata.owner, taskset.spec)

    def traits(self, taskset: TaskSet) -> Traits:
        """Return what a gang has from its document alone."""
        return traits_of(taskset, self._traits.get(taskset.metadata.uid))

    def snapshot(self, now: float | None = None, moved: Moved | None = None) -> Snapshot:
        """Return what the scheduler looks at; ``now`` moves the calendar and the use of time on.

        ``moved`` says who came and left of those that wait since the last snapshot that was asked for with it; then the
        snapshot also says what else differs from that one.
        """
        if self._views is None:
            self._views = tuple(
                NodeView(each.name, usable(each), each.labels, each.ready and each.schedulable, tuple(each.taints))
                for each in sorted(self.nodes.values(), key=lambda node: node.name)
            )
        if self._queue_view is None:
            self._queue_view = dict(self.queues)
        if self._cohort_view is None:
            self._cohort_view = dict(self.cohorts)
        if self._running_view is None:
            self._running_view = dict(self._running)
        if now is not None and self._use.stale(self._queue_view, now):
            self._use.renew(self.ledger, self._attempts(), self._queue_view, now)
        if now is not None:
            running, interrupted = self._running.values(), self._interrupted()
            self._learning.renew(self.ledger, self.lives, running, interrupted, self._queue_view, now)
        return Snapshot(
            self._views,
            self._usage.freeze(),
            self._queue_view,
            self._running_view,
            self._cohort_view,
            windows=self.calendar.windows(self._views, now),
            attained=self._use.attained,
            attained_at=self._use.at,
            spent=self._use.spent,
            history=self._learning.history,
            delta=self._differences.take(*moved) if moved is not None else None,
        )

    def _attempts(self) -> Iterator[tuple[Holding, float]]:
        """Yield what each gang holds, and since when by its present attempt: earlier ones are in the ledger."""
        for uid, running in self._running.items():
            held = self._holding.get(uid)
            if held is not None:
                yield held, self.tasksets[uid].status.starting_at or running.since

    def _interrupted(self) -> Iterator[Waiting]:
        """Yield what waits and ran before."""
        for taskset in self.tasksets.values():
            if taskset.status.phase.waiting and taskset.status.served_seconds:
                yield waiting_gang(taskset, self.priorities, traits=self.traits(taskset))

    # --- rows
    def _put_taskset(self, taskset: TaskSet) -> bool:
        uid = taskset.metadata.uid
        known = self.tasksets.get(uid)
        if known is not None and known.metadata.version >= taskset.metadata.version:
            return False
        self.tasksets[uid] = taskset
        self.by_key[taskset.key] = uid
        self._traits[uid] = self.traits(taskset)
        if known is None or not holds_alike(known, taskset):
            self._count(uid)
        self._render(uid)
        return True

    def _drop_taskset(self, taskset: TaskSet) -> bool:
        uid = taskset.metadata.uid
        if self.tasksets.pop(uid, None) is None:
            return False
        if self.by_key.get(taskset.key) == uid:
            del self.by_key[taskset.key]
        self._places.pop(uid, None)
        self._traits.pop(uid, None)
        self._count(uid)
        self._render(uid)
        return True

    def _put_task(self, task: Task) -> None:
        named = self.tasks.get((task.namespace, task.name))
        if named is not None and named.taskset_uid != task.taskset_uid:
            self._drop_task(named)  # its deletion was not seen
        self.tasks[task.namespace, task.name] = task
        rows = self._tasks_of.setdefault(task.taskset_uid, {})
        known = rows.get(task.name)
        rows[task.name] = task
        if known is None or known.state.terminal != task.state.terminal:
            self._recount(task.taskset_uid)
        if task.usage.checkpoint_at != (known.usage.checkpoint_at if known is not None else None):
            self._render(task.taskset_uid)

    def _drop_task(self, task: Task) -> None:
        self.tasks.pop((task.namespace, task.name), None)
        rows = self._tasks_of.get(task.taskset_uid)
        if rows is not None:
            rows.pop(task.name, None)
            if not rows:
                del self._tasks_of[task.taskset_uid]
        self._recount(task.taskset_uid)
        if task.usage.checkpoint_at is not None:
            self._render(task.taskset_uid)

    def _put_board(self, board: Board) -> None:
        known = self.boards.get(board.queue)
        for place in known.places if known else ():
            self._places.pop(place.uid, None)
        self.boards[board.queue] = board
        self._places.update({place.uid: place for place in board.places})

    def _recount(self, uid: str) -> None:
        """Count anew after other tasks are there, if it is them that hold."""
        taskset = self.tasksets.get(uid)
        if taskset is not None and tasks_count(taskset):
            self._count(uid)

    def _count(self, uid: str) -> None:
        taskset = self.tasksets.get(uid)
        before = self._holding.get(uid)
        rows = self._tasks_of.get(uid, {}).values()
        after = holding(taskset, rows, self._traits[uid].needs) if taskset else None
        if before == after:
            return
        if before is not None:
            self._usage.change(self._holding.pop(uid), -1)
            self._differences.used(before.nodes)
        if after is not None:
            self._holding[uid] = after
            self._usage.change(after, 1)
            self._differences.used(after.nodes)

    def _render(self, uid: str) -> None:
        """Show the scheduler how a TaskSet holds its place; one that looks the same stays the same object."""
        taskset = self.tasksets.get(uid)
        gang = None
        if taskset is not None and not taskset.status.phase.waiting and not taskset.status.phase.terminal:
            tasks = self._tasks_of.get(uid, {}).values()
            known, guess = self._traits[uid], self.estimate(taskset)
            gang = running_gang(taskset, tasks, self.priorities, estimate=guess, traits=known)
        if gang == self._running.get(uid):
            return
        self._running_view = None
        if gang is None:
            del self._running[uid]
            self._differences.ended(uid)
        else:
            self._running[uid] = gang
            self._differences.runs(gang)


def _absent(known: Mapping[Key, Row], listed: Iterable[Key]) -> list[Row]:
    keys = set(listed)
    return [row for key, row in known.items() if key not in keys]


def usable(node: Node) -> Amounts:
    """Return a node's capacity without devices (and parts of devices) that are broken."""
    devices = dict(node.capacity.devices)
    for device in node.devices:
        if not device.healthy and devices.get(device.offers):
            devices[device.offers] = max(0, devices[device.offers] - device.parts)
    if devices == node.capacity.devices:
        return node.capacity
    capacity = node.capacity
    return Amounts(cpu_millis=capacity.cpu_millis, memory_bytes=capacity.memory_bytes, devices=devices)
