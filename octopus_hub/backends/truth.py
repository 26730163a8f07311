"""The rows of an embedded backend in memory, and what each call of the protocol makes of them.

Every change goes through a journal first (SQLite in the local backend, none in the memory backend); only what the
journal took becomes true and is told to watchers. It runs no tasks and does no I/O of its own. Used by the backends of
one process: they are the only writer, so what is here is what is stored.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from octopus_hub.backends.base import Change, Listing
from octopus_hub.backends.deviceuse import DeviceKey, DeviceUse
from octopus_hub.backends.fanout import KEPT, Fanout
from octopus_hub.backends.journal import Addresses, Batch, IdempotencyKey, Journal, Stored
from octopus_hub.backends.kept import Kept
from octopus_hub.backends.queues import Queues
from octopus_hub.backends.taskrows import TaskKey, TaskRows, milestones, new_row
from octopus_hub.model.errors import Conflict, NotFound
from octopus_hub.model.names import next_name
from octopus_hub.model.node import Node
from octopus_hub.model.queue import DEFAULT_PRIORITIES, PriorityClass, Queue
from octopus_hub.model.reservation import Reservation
from octopus_hub.model.status import Board, Status
from octopus_hub.model.task import Address, Task, TaskSpec
from octopus_hub.model.taskset import TaskSet

KEY_SECONDS = 24 * 3600.0  # how long a repeated idempotency key is known
HOST = "127.0.0.1"

replace = msgspec.structs.replace


class Truth:
    """See the module's docstring.

    Parameters
    ----------
    clock : callable
        Unix seconds.
    journal : callable, optional
        Stores a batch or raises; called before anything changes here.
    epoch : int
        This writer's epoch; writes with another are refused.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        journal: Journal | None = None,
        epoch: int = 1,
        stored: Stored | None = None,
        kept_changes: int = KEPT,
    ) -> None:
        stored = stored or Stored()
        self.epoch = epoch
        # revisions grow over restarts without being stored: every epoch has a range of its own
        self.fanout = Fanout(epoch << 32, kept_changes)
        self.tasksets: dict[str, TaskSet] = {}
        self.nodes: dict[str, Node] = {}
        self.boards: dict[str, Board] = {}
        self.priorities: tuple[PriorityClass, ...] = DEFAULT_PRIORITIES
        reservations = (each for each in stored.objects if isinstance(each, Reservation))
        self.reservations = Kept(reservations, self._commit, self.fanout.emit, "octopus reservations")
        self.tree = Queues(stored.objects, self._commit, self.fanout.emit, self._held_in)
        self.ledgers = stored.ledgers
        self._clock = clock
        self._journal = journal
        self._uids: dict[str, dict[str, str]] = {}  # namespace -> name -> uid
        self._rows = TaskRows()
        self._addresses = stored.addresses
        self._ports = {
            port for rows in stored.addresses.values() for each in rows.values() for port in each.ports.values()
        }
        self._keys = stored.keys
        self._unwritten: dict[TaskKey, Task] = {}
        for taskset in stored.tasksets:
            self._put_taskset(taskset)
        for task in stored.tasks:
            self._rows.put(task)

    # --- reading
    def listing(self) -> Listing:
        """Return everything, as of the last revision."""
        return Listing(
            revision=self.fanout.revision,
            tasksets=list(self.tasksets.values()),
            tasks=list(self.tasks.values()),
            nodes=list(self.nodes.values()),
            queues=list(self.queues.values()),
            cohorts=list(self.tree.cohorts.now.values()),
            boards=list(self.boards.values()),
            priorities=list(self.priorities),
            reservations=list(self.reservations.rows.values()),
        )

    def watch(self, revision: int) -> AsyncIterator[Change]:
        """Yield every change after ``revision``."""
        return self.fanout.watch(revision)

    @property
    def queues(self) -> Mapping[str, Queue]:
        """All queues by name, as they count now."""
        return self.tree.queues.now

    @property
    def tasks(self) -> dict[TaskKey, Task]:
        """All rows of tasks by (namespace, name); for reading."""
        return self._rows.tasks

    def find(self, names: Iterable[TaskKey]) -> list[Task]:
        """Return the rows of these tasks, leaving out those that don't exist."""
        return self._rows.find(names)

    def get(self, uid: str) -> TaskSet:
        """Return a TaskSet; raises NotFound."""
        try:
            return self.tasksets[uid]
        except KeyError:
            raise NotFound("there is no such TaskSet (any more); octopus list shows those that exist") from None

    # --- TaskSets
    def create(self, taskset: TaskSet, idempotency_key: str | None = None) -> TaskSet:
        """Store a new TaskSet (see the protocol)."""
        now = self._clock()
        namespace = taskset.metadata.namespace
        if idempotency_key is not None:
            known = self._keys.get((namespace, idempotency_key))
            if known is not None and known.at > now - KEY_SECONDS:
                return self._created_before(known)
        names = self._uids.get(namespace, {})
        name = taskset.metadata.name
        if name in names:
            if taskset.metadata.exact_name:
                raise Conflict(
                    f"{name} exists already; choose another name, delete it (octopus delete {name}), "
                    "or leave exactName out to get a suffix",
                    name=name,
                )
            name = next_name(name, names)
        metadata = replace(
            taskset.metadata,
            name=name,
            uid=str(uuid.uuid4()),
            created_at=now,
            stop_requested_at=None,
            stop_reason="",
            deletion_requested_at=None,
            version=1,
        )
        stored = replace(taskset, metadata=metadata)
        keys = {}
        if idempotency_key is not None:
            keys[namespace, idempotency_key] = IdempotencyKey(metadata.uid, now)
        self._commit(Batch(tasksets=(stored,), keys=keys, expired_before=now - KEY_SECONDS, durable=True))
        return stored

    def update_status(self, uid: str, status: Status, *, version: int, epoch: int) -> TaskSet:
        """Replace the status if ``version`` is the stored one and ``epoch`` is ours."""
        taskset = self.get(uid)
        if epoch != self.epoch:
            raise Conflict(f"this engine's epoch is {self.epoch}; a writer of epoch {epoch} was replaced and must stop")
        if version != taskset.metadata.version:
            raise Conflict(
                f"{taskset.name} changed meanwhile (version {taskset.metadata.version}, not {version}); look again",
                version=taskset.metadata.version,
            )
        if status.epoch != epoch:
            status = replace(status, epoch=epoch)
        if status == taskset.status:
            return taskset
        stored = replace(taskset, metadata=replace(taskset.metadata, version=version + 1), status=status)
        ended = status.phase.terminal and uid in self._addresses
        self._commit(
            Batch(
                tasksets=(stored,),
                addresses={uid: None} if ended else {},
                durable=status.phase != taskset.status.phase,  # counts alone can be had again from the tasks
            )
        )
        return stored

    def update_intent(
        self,
        uid: str,
        *,
        stop: bool = False,
        delete: bool = False,
        hold: bool | None = None,
        why: str = "",
        sizes: Mapping[str, int] | None = None,
    ) -> TaskSet:
        """Set the user's wishes; what is set already stays as it is."""
        taskset = self.get(uid)
        now = self._clock()
        metadata, spec = taskset.metadata, taskset.spec
        if stop and metadata.stop_requested_at is None:
            metadata = replace(metadata, stop_requested_at=now, stop_reason=why)
        if delete and metadata.deletion_requested_at is None:
            metadata = replace(metadata, deletion_requested_at=now)
        if sizes is not None and sizes != metadata.sizes:
            metadata = replace(metadata, sizes=dict(sizes), scaled_at=now)
        if hold is not None and hold != spec.hold:
            spec = replace(spec, hold=hold)
        if metadata is taskset.metadata and spec is taskset.spec:
            return taskset
        stored = replace(taskset, metadata=replace(metadata, version=metadata.version + 1), spec=spec)
        self._commit(Batch(tasksets=(stored,), durable=True))
        return stored

    def deletable(self, uid: str) -> TaskSet | None:
        """Return the TaskSet that may be deleted now, None if there is none; raises Conflict while tasks live."""
        taskset = self.tasksets.get(uid)
        alive = [task.name for task in self._rows.of(uid) if not task.state.terminal]
        if taskset is not None and alive:
            raise Conflict(f"{taskset.name} can't be deleted while {alive[0]} has not ended; stop it first")
        return taskset

    def delete(self, uid: str) -> None:
        """Remove the TaskSet with its tasks' rows, addresses and board entries."""
        taskset = self.deletable(uid)
        if taskset is not None:
            self._commit(
                Batch(
                    gone_tasksets=(taskset,),
                    gone_tasks=self._rows.of(uid),
                    addresses={uid: None} if uid in self._addresses else {},
                    durable=True,
                )
            )

    def put_board(self, board: Board) -> None:
        """Keep a board. Boards are never stored: control derives them again from what is."""
        known = self.boards.get(board.queue)
        if not board.says(known):
            self.boards[board.queue] = board
            self.fanout.emit("put", board)

    def put_node(self, node: Node) -> None:
        """Tell what a node is now."""
        if self.nodes.get(node.name) != node:
            self.nodes[node.name] = node
            self.fanout.emit("put", node)

    def put_queue(self, queue: Queue) -> None:
        """Tell what a queue is by the configuration."""
        self.tree.queues.declare(queue)

    def _held_in(self, queue: str) -> int:
        return sum(each.spec.queue == queue and not each.status.phase.terminal for each in self.tasksets.values())

    def put_ledger(self, name: str, content: dict[str, Any]) -> None:
        """Store a ledger."""
        content = msgspec.json.decode(msgspec.json.encode(content))  # a copy: what the caller does later is his
        self._commit(Batch(ledgers={name: content}))

    # --- addresses
    def reserve(
        self,
        taskset: TaskSet,
        members: Sequence[tuple[str, int]],
        port_names: Mapping[str, Sequence[str]],
        take: Callable[[int, set[int]], list[int]],
    ) -> Addresses:
        """Return an address per member; ``take(count, taken)`` finds free ports."""
        uid = taskset.metadata.uid
        self.get(uid)
        known = self._addresses.get(uid, {})
        lacking: list[tuple[tuple[str, int], str]] = []
        for member in members:
            have = known[member].ports if member in known else {}
            lacking.extend((member, name) for name in port_names.get(member[0], ()) if name not in have)
        if lacking or any(member not in known for member in members):
            found: dict[tuple[str, int], dict[str, int]] = {}
            for (member, name), port in zip(lacking, take(len(lacking), self._ports), strict=True):
                found.setdefault(member, {})[name] = port
            rows = dict(known)
            for member in members:
                have = known[member].ports if member in known else {}
                rows[member] = Address(host=HOST, ports={**have, **found.get(member, {})})
            self._commit(Batch(addresses={uid: rows}))
            known = rows
        return {member: known[member] for member in members}

    # --- tasks
    def place(self, specs: Sequence[TaskSpec]) -> list[tuple[TaskSpec, Task]]:
        """Return rows, with devices assigned, for those tasks that don't exist yet; nothing is changed."""
        taken = DeviceUse()
        placed: list[tuple[TaskSpec, Task]] = []
        for spec in specs:
            known = self.tasks.get((spec.namespace, spec.name))
            if known is not None:
                if known.taskset_uid != spec.taskset_uid:
                    raise Conflict(f"a task named {spec.name} of another TaskSet exists; delete that TaskSet first")
                continue
            if spec.taskset_uid not in self.tasksets:
                raise NotFound(f"the TaskSet of {spec.name} does not exist any more")
            devices = self._rows.assign(spec, self.nodes.get(spec.node), taken)
            placed.append((spec, new_row(spec, devices, self._clock())))
        return placed

    def held_as(self) -> dict[DeviceKey, str]:
        """Return as what each device is held that some live task holds: its own type, or one of its parts."""
        return self._rows.held_as()

    def add_tasks(self, tasks: Sequence[Task]) -> None:
        """Store new rows."""
        if tasks:
            self._commit(Batch(tasks=tasks))

    def observe(self, task: Task) -> bool:
        """Take what became of a task; returns whether the row is now to be written by :meth:`flush`.

        Told at once and written a moment later: what a backend observes it can observe again.
        """
        key = task.namespace, task.name
        known = self.tasks.get(key)
        if known is None or known.taskset_uid != task.taskset_uid or known == task:
            return False
        self._rows.put(task)
        self.fanout.emit("put", task)
        if self._journal is None:
            return False
        if key in self._unwritten or milestones(known) != milestones(task):
            self._unwritten[key] = task
            return True
        return False

    def flush(self) -> None:
        """Write observed rows; on an error they stay to be written."""
        if self._unwritten:
            self._commit(Batch())

    def remove_tasks(self, names: Iterable[TaskKey]) -> None:
        """Forget rows of ended tasks."""
        tasks = self.find(names)
        for task in tasks:
            if not task.state.terminal:
                raise Conflict(f"{task.name} has not ended; stop it first")
        if tasks:
            self._commit(Batch(gone_tasks=tasks))

    def withdraw(self, tasks: Sequence[Task]) -> None:
        """Take back rows of tasks of which nothing was started."""
        self._commit(Batch(gone_tasks=self.find((task.namespace, task.name) for task in tasks)))

    # --- inner
    def _created_before(self, known: IdempotencyKey) -> TaskSet:
        taskset = self.tasksets.get(known.uid)
        if taskset is None:
            raise Conflict("the TaskSet that was created with this idempotency key was deleted; use a new key")
        return taskset

    def _commit(self, batch: Batch) -> None:
        """Journal the batch (with rows that still wait to be written), then make it true, then tell it."""
        if self._journal is not None:
            gone = {(task.namespace, task.name) for task in batch.gone_tasks}
            late = [task for key, task in self._unwritten.items() if key not in gone]
            written = {**{field: getattr(batch, field) for field in Batch.__slots__}, "tasks": (*late, *batch.tasks)}
            self._journal(Batch(**written))
            self._unwritten.clear()
        if batch.expired_before is not None:
            self._expire(batch.expired_before)
        self._keys.update(batch.keys)
        self.ledgers.update(batch.ledgers)
        for uid, rows in batch.addresses.items():
            self._put_addresses(uid, rows)
        for taskset in batch.tasksets:
            self._put_taskset(taskset)
            self.fanout.emit("put", taskset)
        for task in batch.tasks:
            self._rows.put(task)
            self.fanout.emit("put", task)
        for task in batch.gone_tasks:
            self._rows.drop(task)
            self.fanout.emit("deleted", task)
        for taskset in batch.gone_tasksets:
            del self.tasksets[taskset.metadata.uid]
            del self._uids[taskset.metadata.namespace][taskset.name]
            self.fanout.emit("deleted", taskset)

    def _expire(self, before: float) -> None:
        """Keys are in order of their making, so only the head has to be looked at."""
        for key, made in list(islice(self._keys.items(), 100)):
            if made.at > before:
                break
            del self._keys[key]

    def _put_taskset(self, taskset: TaskSet) -> None:
        self.tasksets[taskset.metadata.uid] = taskset
        self._uids.setdefault(taskset.metadata.namespace, {})[taskset.name] = taskset.metadata.uid

    def _put_addresses(self, uid: str, rows: Addresses | None) -> None:
        for address in self._addresses.pop(uid, {}).values():
            self._ports.difference_update(address.ports.values())
        if rows is not None:
            self._addresses[uid] = rows
            for address in rows.values():
                self._ports.update(address.ports.values())
