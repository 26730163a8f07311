"""A memory backend whose tasks play given parts in imagined time, a witness of the laws, and a way to break effects.

Parts are written as a task's command: ``run 5`` succeeds after five seconds, ``fail 2`` fails in its first two attempts
(``first fails``: only the task of index 0, once),
``exit 3``, ``lost 1`` loses its node in the first attempt, ``forever`` runs until it is stopped, ``stubborn`` ends only
when its grace is over, ``unbound 1`` can't be prepared in the first attempt of the gang, ``late`` never is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from octopus_hub.backends.base import Change
from octopus_hub.backends.memory import MemoryBackend
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.errors import StateError
from octopus_hub.model.queue import Queue
from octopus_hub.model.task import Task, TaskSpec, TaskState
from octopus_hub.model.taskset import Metadata, Role, Spec, TaskSet

T0 = 1_700_000_000.0
GIB = 1 << 30
EFFECTS = frozenset(
    {"update_status", "reserve", "create_tasks", "release", "stop_tasks", "delete_tasks", "delete", "put_record"}
    | {"put_ledger", "put_board", "collect_outputs"}
)


def clock() -> float:
    """Return the loop's imagined time as Unix seconds."""
    return T0 + asyncio.get_running_loop().time()


class Played(MemoryBackend):
    """See the module's docstring."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("clock", clock)
        super().__init__(**options)
        self.binds: Counter[str] = Counter()  # how often each task was prepared
        self.witness = Witness(self)

    async def create_tasks(self, specs: Sequence[TaskSpec]) -> None:
        known = set(self.truth.tasks)
        await super().create_tasks(specs)
        for spec in specs:
            if (spec.namespace, spec.name) not in known:
                self.later(0.2, spec, self._bind)

    async def release(self, names: Sequence[tuple[str, str]]) -> None:
        await super().release(names)
        for task in self.truth.find(names):
            if task.state is TaskState.BOUND:
                self.set_task(task.namespace, task.name, state=TaskState.RUNNING)
                spec = self.specs[task.namespace, task.name]
                seconds = float(spec.command[1]) if spec.command[0] == "run" else 2.0
                self.later(seconds, spec, self._end)

    async def stop_tasks(self, names: Sequence[tuple[str, str]], grace_seconds: float, why: str) -> None:
        await super().stop_tasks(names, grace_seconds, why)
        for task in self.truth.find(names):
            spec = self.specs[task.namespace, task.name]
            slow = spec.command[0] == "stubborn" and task.started_at is not None
            self.later(grace_seconds if slow else 0.1, spec, lambda task: self._stopped(task, why))

    def later(self, seconds: float, spec: TaskSpec, what: Callable[[Task], None]) -> None:
        """Do something with a task's row after a while, if that task still lives."""

        def due() -> None:
            row = self.truth.tasks.get((spec.namespace, spec.name))
            same = row is not None and self.specs.get((spec.namespace, spec.name)) is spec
            if row is not None and same and not row.state.terminal:
                what(row)

        asyncio.get_running_loop().call_later(seconds, due)

    def _bind(self, task: Task) -> None:
        verb, *rest = self.specs[task.namespace, task.name].command
        self.binds[task.name] += 1
        if verb == "late" or task.state is not TaskState.PENDING:
            return
        if verb == "unbound" and self.binds[task.name] <= int(rest[0]):
            self.set_task(task.namespace, task.name, state=TaskState.FAILED, end_reason="StartFailed")
        elif verb == "absent":
            self.set_task(task.namespace, task.name, state=TaskState.FAILED, end_reason="CommandNotFound")
        else:
            self.set_task(task.namespace, task.name, state=TaskState.BOUND)

    def _end(self, task: Task) -> None:
        verb, *rest = self.specs[task.namespace, task.name].command
        if verb in ("forever", "stubborn"):
            return
        if verb == "first":
            verb, rest = "fail", ["0" if task.index else "1"]
        ends = {
            "fail": {"state": TaskState.FAILED, "exit_code": 1},
            "lost": {"state": TaskState.FAILED, "end_reason": "NodeLost"},
        }
        if verb == "exit":
            self.set_task(task.namespace, task.name, state=TaskState.FAILED, exit_code=int(rest[0]))
        elif verb in ends and task.attempt <= int(rest[0]):
            self.set_task(task.namespace, task.name, **ends[verb])
        else:
            self.set_task(task.namespace, task.name, state=TaskState.SUCCEEDED)

    def _stopped(self, task: Task, why: str) -> None:
        signal = 15 if task.started_at is not None else None
        self.set_task(task.namespace, task.name, state=TaskState.FAILED, signal=signal, end_reason=why)


class Witness:
    """Sees every change of truth as it happens and checks what must hold at every moment."""

    def __init__(self, backend: MemoryBackend) -> None:
        self.starts: Counter[tuple[str, str]] = Counter()  # (uid, task name) -> times its user code began
        self.phases: dict[str, list[str]] = {}  # by TaskSet name, without repetitions
        self.problems: list[str] = []
        self.begun: set[tuple[str, int]] = set()  # gang attempts in which user code ran
        self._backend = backend
        self._tasks: dict[tuple[str, str], Task] = {}
        self._tasksets: dict[str, TaskSet] = {}
        emit = backend.truth.fanout.emit

        def seen(type_: str, item: object) -> None:
            emit(type_, item)
            try:
                self.see(type_, item)
            except AssertionError as error:  # raised here, it would only be one more effect that fails
                self.problems.append(str(error))

        backend.truth.fanout.emit = seen  # type: ignore[method-assign]

    def see(self, type_: str, item: object) -> None:
        if isinstance(item, Task):
            key = item.namespace, item.name
            before = self._tasks.pop(key, None)
            if type_ == "put":
                self._tasks[key] = item
                self._task(before, item)
        elif isinstance(item, TaskSet):
            before_ = self._tasksets.pop(item.metadata.uid, None)
            if type_ == "put":
                self._tasksets[item.metadata.uid] = item
                self._taskset(before_, item)
            else:
                assert item.status.phase.terminal and item.status.recorded_attempt == item.status.attempt, "law 13"

    def _task(self, before: Task | None, task: Task) -> None:
        taskset = self._tasksets[task.taskset_uid]
        if before is None:
            assert taskset.status.phase.value in ("Starting", "Running", "Restarting"), (
                "law 7: tasks before an admission"
            )
            assert task.gang_attempt == taskset.status.attempt
            twin = [
                each.name
                for each in self._tasks.values()
                if each.taskset_uid == task.taskset_uid
                and each.identity == task.identity
                and not each.state.terminal
                and each.name != task.name
            ]
            assert not twin, f"law 5: {twin} still lives beside its successor {task.name}"
        elif before.state.terminal:
            assert task.state is before.state, "an ended task stays ended"
        if task.state is TaskState.RUNNING and (before is None or before.state is not TaskState.RUNNING):
            self._started(taskset, task)
        self._no_overcommit()

    def _started(self, taskset: TaskSet, task: Task) -> None:
        self.starts[task.taskset_uid, task.name] += 1
        assert self.starts[task.taskset_uid, task.name] == 1, f"law 11: {task.name} ran twice"
        attempt = task.taskset_uid, task.gang_attempt
        if attempt not in self.begun:
            self.begun.add(attempt)
            mine = {each.identity: each for each in self._rows(task.taskset_uid) if each.gang_attempt == attempt[1]}
            for role in taskset.spec.roles:
                for index in range(taskset.size(role)):
                    row = mine.get((role.name, index))
                    assert row is not None and row.bound_at is not None, "law 1: part of a gang started"
        assert taskset.status.verdict is None or taskset.status.phase.value == "Starting", (
            "law 3: it is decided already"
        )

    def _taskset(self, before: TaskSet | None, taskset: TaskSet) -> None:
        phases = self.phases.setdefault(taskset.name, [])
        if not phases or phases[-1] != taskset.status.phase.value:
            phases.append(taskset.status.phase.value)
        times = [entry.at for entry in taskset.status.timeline]
        assert times == sorted(times)
        if before is not None:
            assert taskset.metadata.version == before.metadata.version + 1
            assert taskset.status.epoch >= before.status.epoch
            if before.status.verdict is not None and not before.status.phase.waiting:
                assert taskset.status.verdict == before.status.verdict, "law 3: a verdict is frozen"
            if before.status.phase.terminal:
                assert taskset.status.phase is before.status.phase
        self._no_overcommit()

    def _rows(self, uid: str) -> list[Task]:
        return [task for task in self._tasks.values() if task.taskset_uid == uid]

    def _no_overcommit(self) -> None:
        """Law 7, counted anew: nodes, queues and users by what admissions and living tasks hold; devices one by one."""
        nodes: dict[str, Amounts] = {}
        queues: dict[str, Amounts] = {}
        users: dict[tuple[str, str], Amounts] = {}
        for taskset in self._tasksets.values():
            whole = Amounts()
            for node, amounts in held(taskset, self._rows(taskset.metadata.uid)).items():
                nodes[node] = nodes.get(node, Amounts()).plus(amounts)
                whole = whole.plus(amounts)
            queue, owner = taskset.spec.queue, taskset.metadata.owner
            queues[queue] = queues.get(queue, Amounts()).plus(whole)
            users[queue, owner] = users.get((queue, owner), Amounts()).plus(whole)
        truth = self._backend.truth
        for name, used in nodes.items():
            assert used.fits_in(truth.nodes[name].capacity), f"law 7: {name} is overcommitted: {used}"
        for name, used in queues.items():
            limit = truth.queues[name].nominal
            assert limit is None or used.fits_in(limit), f"law 7: queue {name} is over its quota"
        for (name, owner), used in users.items():
            limit = truth.queues[name].per_user
            assert limit is None or used.fits_in(limit), f"law 7: {owner} is over the quota in {name}"
        alive = [task for task in self._tasks.values() if not task.state.terminal]
        devices = [(kind, each) for task in alive for kind, ids in task.devices.items() for each in ids]
        assert len(devices) == len(set(devices)), "law 7: a device is given twice"


def held(taskset: TaskSet, tasks: Sequence[Task]) -> dict[str, Amounts]:
    """What a TaskSet holds on each node, counted the slow, obvious way."""
    found: dict[str, Amounts] = {}

    def add(node: str, role: str) -> None:
        each = taskset.each(taskset.role(role))
        found[node] = found.get(node, Amounts()).plus(each)

    if taskset.status.phase.value in ("Admitted", "Starting", "Running", "Restarting", "Preempting", "Stopping"):
        for role in taskset.spec.roles:
            nodes: dict[str, list[int]] = {}  # tasks now, and in the place that it is resized to
            for at, placement in enumerate((taskset.status.placement, taskset.status.resize_to)):
                for span in placement.get(role.name, ()):
                    nodes.setdefault(span.node, [0, 0])[at] += span.count
            for node, counts in nodes.items():
                for _ in range(max(counts)):
                    add(node, role.name)
    else:
        for task in tasks:
            if not task.state.terminal:
                add(task.node, task.role)
    return found


class Breaking:
    """A backend to which something happens at its n-th effect.

    ``crash before | crash after``: the engine dies there, so nothing of it ever comes back; ``error before | error
    after``: the call fails (having done its work, or not). Changes for which ``lost`` says so (by their number) never
    arrive, all others ``late`` seconds after they happened.
    """

    late = 0.0

    def __init__(self, backend: MemoryBackend, how: str = "", at: int = -1, lost: Callable[[int], bool] | None = None):
        self.backend = backend
        self.dead = asyncio.Event()
        self.effects: list[str] = []
        self._how, self._at, self._lost = how, at, lost
        self._seen = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.backend, name)
        if name not in EFFECTS:
            return found

        async def effect(*args: Any, **options: Any) -> Any:
            if self.dead.is_set():
                await asyncio.Future()  # a dead engine does nothing
            number = len(self.effects)
            self.effects.append(name)
            if number != self._at:
                return await found(*args, **options)
            result = await found(*args, **options) if self._how.endswith("after") else None
            if self._how.startswith("crash"):
                self.dead.set()
                await asyncio.Future()
            if self._how.startswith("error"):
                raise StateError("the disk is full")
            return result

        return effect

    async def watch(self, revision: int) -> AsyncIterator[Change]:
        loop, under_way = asyncio.get_running_loop(), asyncio.Queue[tuple[float, Change]]()

        async def take() -> None:
            async for change in self.backend.watch(revision):
                under_way.put_nowait((loop.time() + self.late, change))

        taking = asyncio.create_task(take())
        try:
            while True:
                due, change = await under_way.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                self._seen += 1
                if self._lost is None or not self._lost(self._seen):
                    yield change
        finally:
            taking.cancel()


def job(name: str, *roles: Role, owner: str = "anna", queue: str = "default", **spec: Any) -> TaskSet:
    """A TaskSet as the service would store it."""
    return TaskSet(
        metadata=Metadata(name=name, namespace=owner, owner=owner),
        spec=Spec(roles=list(roles), queue=queue, **spec),
    )


def role(name: str, part: str, replicas: int = 1, **fields: Any) -> Role:
    """A role whose tasks play a part."""
    return Role(name, replicas=replicas, command=part.split(), **fields)


def queue(name: str = "default", **fields: Any) -> Queue:
    """A queue."""
    return Queue(name=name, **fields)
