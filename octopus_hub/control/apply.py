"""Carries out what the pure core decided: the only place with effects on TaskSets and tasks.

Writes are compare-and-swap with the writer's epoch; the answer is assumed in the cache at once. After tasks were
created or deleted, a TaskSet is not looked at before the watch has shown those changes (expectations), so nothing
is decided on a half-seen gang.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

import msgspec

from octopus_hub.backends.base import Backend, Change
from octopus_hub.control.cache import Cache, TaskKey
from octopus_hub.control.ledger import Ledger, charge, counted, load, rebuild, store, store_counts, typical_error
from octopus_hub.control.lives import LIVES_APART
from octopus_hub.control.metrics import Metrics
from octopus_hub.control.waiting import as_waiting
from octopus_hub.core import actions as act
from octopus_hub.core.choices import choices_of
from octopus_hub.core.expand import expand, port_names
from octopus_hub.core.plan import Admission, Eviction, Resize
from octopus_hub.core.preempted import asked_to_leave
from octopus_hub.core.resizing import asked_to_resize
from octopus_hub.model.errors import Conflict, InvalidSpec, NotFound, OctopusError, Refused
from octopus_hub.model.names import task_name
from octopus_hub.model.record import Record
from octopus_hub.model.status import Condition, Phase, Status, TimelineEntry
from octopus_hub.model.task import EndReason, Task, TaskSpec, TaskState
from octopus_hub.model.taskset import TaskSet
from octopus_hub.plugins.hooks import Hooks

log = logging.getLogger(__name__)

LEDGER = "usage"
COUNTS = "lives"  # beside it
CHARGE_SECONDS = 0.1  # least time between writes of the ledger
CHARGE_SHARE = 20  # one that takes long is written less often: at most one of so many parts of the time ...
CHARGE_PAUSE_SECONDS = 1.0  # ... but never put off for longer


class Recorder(Protocol):
    """Writes run records (``octopus_hub.runs``)."""

    async def record(self, taskset: TaskSet, tasks: Sequence[Task], attempt: int) -> Record:
        """Collect outputs and logs of a gang attempt and store its record; repeating it changes nothing."""


class Replaced(Conflict):
    """A later controller has taken over; this one must not write any more."""


class Expectations:
    """Tasks whose creation or deletion was ordered and not yet seen."""

    def __init__(self) -> None:
        self._created: dict[str, set[TaskKey]] = {}
        self._deleted: dict[str, set[TaskKey]] = {}
        self._since: dict[str, float] = {}

    def expect(self, uid: str, now: float, created: Sequence[TaskKey] = (), deleted: Sequence[TaskKey] = ()) -> None:
        """Wait for these, from ``now`` (any steady clock) on."""
        if created:
            self._created.setdefault(uid, set()).update(created)
        if deleted:
            self._deleted.setdefault(uid, set()).update(deleted)
        self._since[uid] = now

    def see(self, change: Change) -> None:
        """Take note of a change."""
        if isinstance(change.object, Task):
            task = change.object
            table = self._created if change.type == "put" else self._deleted
            waiting = table.get(task.taskset_uid)
            if waiting is not None:
                waiting.discard((task.namespace, task.name))
                if not waiting:
                    del table[task.taskset_uid]
        elif isinstance(change.object, TaskSet) and change.type == "deleted":
            self.clear(change.object.metadata.uid)

    def outstanding(self, uid: str) -> bool:
        """Something ordered for this TaskSet was not seen yet."""
        return uid in self._created or uid in self._deleted

    def all_outstanding(self) -> set[str]:
        """Return every TaskSet for which something was ordered and not seen yet."""
        return {*self._created, *self._deleted}

    def waited(self, uid: str, now: float) -> float:
        """Return for how many seconds something has been expected."""
        return now - self._since.get(uid, now)

    def clear(self, uid: str | None = None) -> None:
        """Forget them (after a new listing, or a failed order)."""
        for table in (self._created, self._deleted, self._since):
            table.clear() if uid is None else table.pop(uid, None)


class Apply:
    """Effects of one controller."""

    def __init__(
        self, backend: Backend, cache: Cache, recorder: Recorder, metrics: Metrics, hooks: Hooks | None = None
    ) -> None:
        self._backend = backend
        self._cache = cache
        self._recorder = recorder
        self._metrics = metrics
        self._hooks = hooks or Hooks(())
        self.expectations = Expectations()
        self._epoch = backend.epoch
        self._charging = asyncio.Lock()
        self._uncharged: dict[str, Record] = {}  # by uid and attempt; written together
        self._charge_due = float("-inf")
        self.charging = 0  # how many wait until the ledger has their record

    async def begin(self) -> None:
        """Write in the backend's present epoch from now on, and in no other; take up the ledger."""
        self._epoch = self._backend.epoch
        stored = load(await self._backend.get_ledger(LEDGER), await self._backend.get_ledger(COUNTS))
        if stored is not None:
            self._cache.ledger, self._cache.lives = stored
            return
        records = await self._backend.list_records(None)
        self._cache.ledger, self._cache.lives = rebuild(records)
        if records:
            await self._backend.put_ledger(COUNTS, store_counts(self._cache.lives))
            await self._backend.put_ledger(LEDGER, store(self._cache.ledger))

    @property
    def ledger(self) -> Ledger:
        """What was used, as far as it is charged."""
        return self._cache.ledger

    def fence(self) -> None:
        """Refuse to go on once a later controller has begun; raises Replaced. Before every effect."""
        if self._backend.epoch != self._epoch:
            raise Replaced(f"a controller of epoch {self._backend.epoch} has taken over from that of {self._epoch}")

    async def write(self, taskset: TaskSet, status: Status) -> TaskSet:
        """Write a status if nobody wrote meanwhile, and assume it."""
        self.fence()
        stored = await self._backend.update_status(
            taskset.metadata.uid, status, version=taskset.metadata.version, epoch=self._epoch
        )
        self._cache.assume(stored)
        if stored.status.phase != taskset.status.phase:
            self._metrics.phases.labels(stored.status.phase.value).inc()
            log.info("%s/%s is %s (%s)", *stored.key, stored.status.phase.value, stored.status.reason)
        return stored

    async def admit(self, taskset: TaskSet, admission: Admission, now: float) -> TaskSet:
        """Persist an admission; no task of the attempt exists before this write."""
        queued_at = taskset.status.queued_at or taskset.metadata.created_at
        status = _with(
            taskset.status,
            phase=Phase.ADMITTED,
            reason="Admitted",
            message="",
            placement={role: list(spans) for role, spans in admission.placement.items()},
            choices={role: pick for role, pick in choices_of(admission.placement).items() if pick},
            queued_at=queued_at,
            admitted_at=now,
            timeline=[*taskset.status.timeline, TimelineEntry(phase=Phase.ADMITTED, at=now)][-50:],
        )
        stored = await self.write(taskset, status)
        self._metrics.admissions.labels(taskset.spec.queue).inc()
        self._metrics.wait_seconds.observe(max(0.0, now - queued_at))
        return stored

    async def resize(self, taskset: TaskSet, resize: Resize, now: float) -> TaskSet:
        """Persist that an elastic gang goes on elsewhere; what it grows by is held from this write on."""
        return await self.write(taskset, asked_to_resize(taskset, resize, now))

    async def evict(self, taskset: TaskSet, eviction: Eviction, now: float) -> TaskSet:
        """Persist that a gang makes room; it is stopped with notice from this write on, and holds its place until then."""
        claimant = self._cache.tasksets.get(eviction.by)
        gang = as_waiting(claimant, self._cache) if claimant is not None else None
        status = asked_to_leave(taskset, eviction, now, self._cache.running(taskset.metadata.uid), gang)
        stored = await self.write(taskset, status)
        self._metrics.preemptions.labels(taskset.spec.queue, eviction.rule).inc()
        name = "/".join(claimant.key) if claimant is not None else eviction.by
        log.info("%s/%s is preempted for %s by the rule of %s", *stored.key, name, eviction.rule)
        return stored

    async def carry_out(self, taskset: TaskSet, action: act.Action) -> None:
        """Carry out one action of a step."""
        self.fence()
        namespace = taskset.metadata.namespace
        if isinstance(action, act.CreateTasks):
            await self._create(taskset, action)
        elif isinstance(action, act.ReleaseTasks):
            await self._backend.release([(namespace, name) for name in action.names])
        elif isinstance(action, act.StopTasks):
            names = [(namespace, name) for name in action.names]
            await self._backend.stop_tasks(names, action.grace_seconds, action.why)
        elif isinstance(action, act.DeleteTasks):
            await self._delete_tasks(taskset, action)
        elif isinstance(action, act.WriteRecord):
            await self._record(taskset, action.attempt)
        else:
            try:
                await self._backend.delete(taskset.metadata.uid)
            except NotFound:
                log.debug("%s was deleted already", taskset.name)

    async def _create(self, taskset: TaskSet, action: act.CreateTasks) -> None:
        uid = taskset.metadata.uid
        every = [(role.name, index) for role in taskset.spec.roles for index in range(taskset.size(role))]
        addresses = await self._backend.reserve(taskset, every, port_names(taskset))
        specs = await self._ask_hooks(taskset, expand(taskset, action.members, addresses))
        namespace = taskset.metadata.namespace
        names = [(namespace, spec.name) for spec in specs]
        self.fence()  # hooks may have taken long
        self._expect(uid, created=[key for key in names if key not in self._cache.tasks])
        try:
            await self._backend.create_tasks(specs)
        except BaseException:
            self.expectations.clear(uid)
            raise

    async def _ask_hooks(self, taskset: TaskSet, specs: list[TaskSpec]) -> list[TaskSpec]:
        """Ask the hooks of ``expand`` and ``prepare``; raises Refused in the words of the one that refuses."""
        conditions: list[Condition] = []
        for stage in ("expand", "prepare"):
            outcome = await self._hooks.run(stage, taskset, specs)
            conditions += outcome.conditions
            if outcome.refused:
                raise HookRefused(outcome.refused, conditions)
            specs = outcome.apply(specs)
        if conditions:
            latest = self._cache.tasksets.get(taskset.metadata.uid, taskset)
            await self.write(latest, with_conditions(latest.status, conditions))
        return specs

    async def _delete_tasks(self, taskset: TaskSet, action: act.DeleteTasks) -> None:
        namespace = taskset.metadata.namespace
        names = [(namespace, name) for name in action.names]
        self._expect(taskset.metadata.uid, deleted=[key for key in names if key in self._cache.tasks])
        try:
            await self._backend.delete_tasks(names)
        except BaseException:
            self.expectations.clear(taskset.metadata.uid)
            raise

    def _expect(self, uid: str, created: Sequence[TaskKey] = (), deleted: Sequence[TaskKey] = ()) -> None:
        self.expectations.expect(uid, asyncio.get_running_loop().time(), created, deleted)

    async def _record(self, taskset: TaskSet, attempt: int) -> None:
        tasks = [task for task in self._cache.tasks_of(taskset.metadata.uid) if task.gang_attempt == attempt]
        record = await self._recorder.record(taskset, tasks, attempt)
        await self._charge(record)
        latest = self._cache.tasksets.get(taskset.metadata.uid, taskset)
        recorded = max(attempt, latest.status.recorded_attempt)
        status = _with(latest.status, recorded_attempt=recorded, record=record.path)
        if latest.status.phase.terminal and recorded >= latest.status.attempt:
            status = with_conditions(status, (await self._hooks.run("finish", latest)).conditions)
        await self.write(latest, status)

    async def _charge(self, record: Record) -> None:
        """Add a record to the ledger; those that come soon after each other are written together."""
        mark = f"{record.uid}/{record.attempt}"
        self._uncharged[mark] = record
        self.charging += 1
        try:
            async with self._charging:  # of two charges at once none may be lost
                if mark in self._uncharged:  # else somebody wrote it with his own
                    await self._charge_all()
        finally:
            self.charging -= 1

    async def _charge_all(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._charge_due - loop.time()))
        began = loop.time()
        if len(self._cache.ledger.lives) >= LIVES_APART:
            shorter = counted(self._cache.ledger, self._cache.lives)
            await self._backend.put_ledger(COUNTS, store_counts(self._cache.lives))
            self._cache.ledger = shorter
        batch, ledger = dict(self._uncharged), self._cache.ledger
        for each in batch.values():
            ledger = charge(ledger, each)
        if ledger is not self._cache.ledger:
            await self._backend.put_ledger(LEDGER, store(ledger))
        self._cache.ledger = ledger
        took = loop.time() - began
        self._charge_due = loop.time() + min(CHARGE_PAUSE_SECONDS, max(CHARGE_SECONDS, CHARGE_SHARE * took))
        for written in batch:
            self._uncharged.pop(written, None)
        wrong = typical_error(ledger)
        if wrong is not None:
            self._metrics.estimate_error.set(wrong)


class HookRefused(Refused):
    """A hook refused a gang."""

    def __init__(self, message: str, conditions: Sequence[Condition]) -> None:
        super().__init__(message, rule="hook")
        self.conditions = list(conditions)


def with_conditions(status: Status, conditions: Sequence[Condition]) -> Status:
    """Return the status with these conditions in place of those of the same types."""
    if not conditions:
        return status
    types = {each.type for each in conditions}
    return _with(status, conditions=[*(each for each in status.conditions if each.type not in types), *conditions])


def failed_creation(taskset: TaskSet, member: act.Member, error: OctopusError, now: float) -> Task:
    """Return the row that says a gang could not be created, for ``advance`` to judge like any other failure.

    What the document asks for and can't be had (a missing workspace, image or secret) and what a hook refuses is
    permanent; the rest transient. Of a transient one the node that the error names is blamed, else each member's own.
    """
    permanent = isinstance(error, InvalidSpec | NotFound)
    node = _node_of(taskset, member)
    end_reason: EndReason = "Refused" if isinstance(error, Refused) else "ImageMissing" if permanent else "StartFailed"
    return Task(
        name=task_name(taskset.name, member.role, member.index, member.attempt),
        namespace=taskset.metadata.namespace,
        taskset=taskset.name,
        taskset_uid=taskset.metadata.uid,
        role=member.role,
        index=member.index,
        attempt=member.attempt,
        gang_attempt=taskset.status.attempt,
        node=node if error.details.get("node", node) == node else "",
        state=TaskState.FAILED,
        end_reason=end_reason,
        message=error.message,
        finished_at=now,
    )


def without_counts(status: Status) -> Status:
    """Return what is left of a status without the counts of its tasks."""
    roles = [
        msgspec.structs.replace(role, pending=0, bound=0, running=0, succeeded=0, failed=0, unknown=0, exceptional=[])
        for role in status.roles
    ]
    return msgspec.structs.replace(status, roles=roles)


def _node_of(taskset: TaskSet, member: act.Member) -> str:
    for span in taskset.status.placement.get(member.role, ()):
        if span.first <= member.index < span.first + span.count:
            return span.node
    return ""


def _with(status: Status, **changes: object) -> Status:
    return msgspec.structs.replace(status, **changes)
