"""The controller's loop: watch -> cache -> schedule and steps -> apply. Knows the Backend protocol only.

Level-triggered: a cycle looks at the cached truth, never at the event that woke it; after any lost event, failed write
or restart the next look finds the same answer. What becomes of each TaskSet after its admission is in ``steps``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from octopus_hub.backends.base import Backend, Change
from octopus_hub.control.apply import Apply, Recorder, Replaced
from octopus_hub.control.boards import boards, conditions
from octopus_hub.control.cache import Cache
from octopus_hub.control.calendar import AHEAD_SECONDS
from octopus_hub.control.forecasts import Forecasts
from octopus_hub.control.metrics import Metrics
from octopus_hub.control.steps import CONFLICT_SECONDS, SHORTEST_SECONDS, Steps
from octopus_hub.control.waiting import WaitingRoom
from octopus_hub.control.watch import Watch
from octopus_hub.core.plan import Fault, Plan, Resize
from octopus_hub.core.reason import Reason
from octopus_hub.core.resizing import changes_room, may_resize
from octopus_hub.core.schedule import schedule
from octopus_hub.core.snapshot import Snapshot, Waiting
from octopus_hub.model.errors import Conflict, NotFound, OctopusError
from octopus_hub.model.node import Node
from octopus_hub.model.queue import Cohort, Queue
from octopus_hub.model.reservation import Reservation
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import TaskSet
from octopus_hub.plugins.hooks import Hooks

log = logging.getLogger(__name__)

Schedule = Callable[[Snapshot, Sequence[Waiting], float, Any], Plan]

BOARD_SECONDS = 1.0
BOARD_SHARE = 20  # boards of very long queues are written less often: at most one of so many parts of the time
CYCLE_SHARE = 2  # the same for scheduling: what was admitted gets on before the next cycle ...
CYCLE_PAUSE_SECONDS = 0.1  # ... which is never put off for longer


class Controller:
    """Drives every TaskSet of a backend.

    Parameters
    ----------
    backend : Backend
        Open backend; the controller is its only writer of statuses.
    cache : Cache
        Filled and kept up to date here; the service reads the same one.
    recorder : Recorder
        Writes run records.
    clock : callable
        Unix seconds; replaced in tests.
    seed : int
        Seed of the jitter of delays.
    hooks : Hooks, optional
        Asked before a gang is created, told when a TaskSet has ended.
    schedule : callable
        The scheduler; replaced in tests of what becomes of its Plans.
    """

    def __init__(
        self,
        backend: Backend,
        cache: Cache,
        recorder: Recorder,
        *,
        clock: Callable[[], float] = time.time,
        seed: int = 0,
        metrics: Metrics | None = None,
        hooks: Hooks | None = None,
        schedule: Schedule = schedule,
    ) -> None:
        self.cache = cache
        self.metrics = metrics or Metrics()
        self._backend = backend
        self._clock = clock
        self._apply = Apply(backend, cache, recorder, self.metrics, hooks)
        self._waiting = WaitingRoom(cache, self._apply.expectations.all_outstanding)
        self._schedule = schedule
        self._memo: Any = None
        self._faults: tuple[Fault, ...] = ()  # of the last Plan
        self._dirty = asyncio.Event()
        self._forecasts = Forecasts(self._dirty.set)
        self._boards_due = float("-inf")
        self._boards_empty = False  # they say of all queues that nothing waits there
        self._wake: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._watch = Watch(backend, cache, self.metrics, filled=self._filled, changed=self._notice)
        self._steps = Steps(
            self._apply,
            cache,
            self._waiting,
            self.metrics,
            clock=lambda: self._clock(),  # tests move it
            seed=seed,
            dirty=self._dirty.set,
            list_again=self._watch.list_again,
        )

    async def start(self) -> None:
        """List, then watch and work in the background; returns when the cache is filled."""
        await self._apply.begin()
        self._tasks = [asyncio.create_task(self._watch.follow(), name="watch")]
        await self._watch.listed.wait()
        self._tasks.append(asyncio.create_task(self._schedule_loop(), name="schedule"))
        self._steps.start()

    async def stop(self) -> None:
        """End the background tasks; whatever was half done is found again at the next start."""
        self._forecasts.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, self._steps.stop(), return_exceptions=True)
        self._tasks.clear()

    @property
    def idle(self) -> bool:
        """Nothing is to be done now."""
        return self._steps.queue.idle and not self._dirty.is_set()

    # --- watch
    def _filled(self, changes: Sequence[Change]) -> None:
        """Look at everything: the cache was filled anew."""
        self._apply.expectations.clear()
        self._steps.look_again()
        self._boards_empty = False
        for change in changes:
            self._notice(change)
        for taskset in self.cache.tasksets.values():
            self._notice_taskset(taskset)

    def _notice(self, change: Change) -> None:
        self._apply.expectations.see(change)
        item = change.object
        if isinstance(item, Task):
            if not self._apply.expectations.outstanding(item.taskset_uid):
                self._steps.queue.add(item.taskset_uid)
            if change.type == "deleted" or item.state.terminal:
                self._dirty.set()  # resources may have come free
        elif isinstance(item, TaskSet):
            if change.type == "deleted":
                self._forget(item)
            else:
                self._notice_taskset(self.cache.tasksets.get(item.metadata.uid, item))
        elif isinstance(item, Node | Queue | Cohort | Reservation):
            self._memo = None
            self._boards_empty = False
            self._dirty.set()

    def _notice_taskset(self, taskset: TaskSet) -> None:
        if self._waiting.note(taskset) or taskset.status.phase.terminal or changes_room(taskset):
            self._dirty.set()
        self._steps.note(taskset)

    def _forget(self, taskset: TaskSet) -> None:
        uid = taskset.metadata.uid
        self._waiting.leave(uid)
        self._steps.forget(uid)
        self._dirty.set()

    # --- schedule
    async def _schedule_loop(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            began = asyncio.get_running_loop().time()
            try:
                await self._cycle()
            except Replaced as error:
                log.error("%s; it schedules no more", error)
                return
            except OctopusError as error:
                self.metrics.errors.labels(error.code).inc()
                log.warning("scheduling is tried again: %s", error)
                self._wake_schedule(1.0)
            except Exception:
                self.metrics.errors.labels("bug").inc()
                log.exception("a scheduling cycle failed; trying again")
                self._wake_schedule(5.0)
            took = asyncio.get_running_loop().time() - began
            await asyncio.sleep(min(CYCLE_PAUSE_SECONDS, (CYCLE_SHARE - 1) * took))

    async def _cycle(self) -> None:
        self._apply.fence()
        now = self._clock()
        waiting, withheld = self._waiting.gather()
        started = time.perf_counter()
        snapshot = self.cache.snapshot(now, self._waiting.moved())
        plan = self._schedule(snapshot, waiting, now, self._memo)
        self.metrics.schedule_seconds.observe(time.perf_counter() - started)
        self._memo = plan.memo
        if plan.faults is not self._faults:
            self.metrics.count_faults(plan.faults)
            self._faults = plan.faults
        for admission in plan.admissions:
            taskset = self.cache.tasksets.get(admission.uid)
            if taskset is None or not taskset.status.phase.waiting:
                continue
            if taskset.metadata.stop_requested_at or taskset.metadata.deletion_requested_at or taskset.spec.hold:
                continue
            try:
                await self._apply.admit(taskset, admission, now)
            except Replaced:
                raise
            except (Conflict, NotFound):
                self._memo = None  # somebody wrote first; the watch brings it and wakes us again
                self._wake_schedule(CONFLICT_SECONDS)
                continue
            self._waiting.leave(admission.uid)
            self._steps.queue.add(admission.uid)
        self._steps.evictions = {eviction.uid: eviction for eviction in plan.evictions}
        for uid in self._steps.evictions:
            self._steps.queue.add(uid)  # carried out by the worker that holds the victim, between two of its own steps
        for resize in plan.resizes:
            await self._resize(resize, now)
        if plan.wake_at is not None:
            self._wake_schedule(max(SHORTEST_SECONDS, plan.wake_at - now))
        self._forecasts.consider(snapshot, waiting if len(plan.admissions) < len(waiting) else [], now)
        await self._keep_calendar(now)
        await self._write_boards(plan.waits, withheld, now)

    async def _resize(self, resize: Resize, now: float) -> None:
        taskset = self.cache.tasksets.get(resize.uid)
        if taskset is None or not may_resize(taskset, resize):
            return
        try:
            await self._apply.resize(taskset, resize, now)
        except Replaced:
            raise
        except (Conflict, NotFound):
            self._memo = None
            self._wake_schedule(CONFLICT_SECONDS)
            return
        self._steps.queue.add(resize.uid)

    async def _keep_calendar(self, now: float) -> None:
        """Store which nodes reservations get, once those close: from then on they stay. Look ahead again in time."""
        calendar = self.cache.calendar
        if not calendar.reservations:
            return
        self._wake_schedule(AHEAD_SECONDS)
        snapshot = self.cache.snapshot(now)
        for chosen in calendar.unsettled(snapshot.nodes, snapshot.running.values(), now):
            try:
                await self._backend.put_reservation(chosen, known=calendar.reservations.get(chosen.name))
            except Conflict:
                log.debug("reservation %s changed meanwhile", chosen.name)  # the watch brings it and wakes us again

    def _wake_schedule(self, delay_seconds: float) -> None:
        """Schedule again after a delay; of several wishes the earliest counts, those after it are made again then."""
        loop = asyncio.get_running_loop()
        due = loop.time() + delay_seconds
        if self._wake is not None:
            if self._wake.when() <= due:
                return
            self._wake.cancel()
        self._wake = loop.call_at(due, self._wake_up)

    def _wake_up(self) -> None:
        self._wake = None  # a loop may call it a little before its time
        self._dirty.set()

    async def _write_boards(self, waits: Any, withheld: dict[str, Reason], now: float) -> None:
        moment = asyncio.get_running_loop().time()
        if moment < self._boards_due and len(self._waiting):
            self._wake_schedule(max(SHORTEST_SECONDS, self._boards_due - moment))
            return
        if not len(self._waiting) and not self._faults and self._boards_empty:
            return
        self._boards_empty = False  # until all are written
        waiting = self._waiting.tasksets()
        names = set(self.cache.queues) | set(self.cache.boards)
        told = conditions(self._faults, self.cache.boards, now)
        for name, board in boards(
            waiting, dict(waits.items()), withheld, names, now, told, self._forecasts.found
        ).items():
            self.metrics.waiting.labels(name).set(len(board.places))
            known = self.cache.boards.get(name)
            if not board.says(known):
                took = asyncio.get_running_loop().time() - moment
                self._boards_due = moment + max(BOARD_SECONDS, BOARD_SHARE * took)
                await self._backend.put_board(board)
        self._boards_empty = not waiting and not told
