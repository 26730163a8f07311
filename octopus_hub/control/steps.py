"""Takes every TaskSet one step on whenever something about it may have changed: advance, write, carry out.

Level-triggered: a step looks at the cached truth, never at the event that woke it. A TaskSet is held by one worker at a
time; there are as many workers as there is to do at once. Used by the loop, which says who is to be looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from octopus_hub.control.apply import Apply, HookRefused, Replaced, failed_creation, with_conditions, without_counts
from octopus_hub.control.cache import Cache
from octopus_hub.control.metrics import Metrics
from octopus_hub.control.waiting import WaitingRoom
from octopus_hub.control.workqueue import WorkQueue
from octopus_hub.core import actions as act
from octopus_hub.core.lifecycle import advance
from octopus_hub.core.plan import Eviction
from octopus_hub.model.errors import Conflict, NotFound, OctopusError, StateError
from octopus_hub.model.status import Status
from octopus_hub.model.taskset import TaskSet

log = logging.getLogger(__name__)

WORKERS = 64  # of which many may wait for slow hooks or disks at once; who waits for the ledger is not counted
STATUS_SECONDS = 1.0  # least time between writes of counts alone
SHORTEST_SECONDS = 0.01  # less would be a busy loop
CONFLICT_SECONDS = 1.0  # after a conflict, should the watch bring nothing
EXPECTATION_SECONDS = 30.0  # unseen after this, list again


class Steps:
    """The steps of all TaskSets.

    Parameters
    ----------
    clock : callable
        Unix seconds.
    seed : int
        Seed of the jitter of delays.
    dirty : callable
        Told when the scheduler has to look.
    list_again : callable
        Told when changes that were ordered were not seen for long.

    Attributes
    ----------
    queue : WorkQueue
        The uids to look at.
    evictions : dict
        Of the last Plan, by uid of the victim; not carried out yet.
    """

    def __init__(
        self,
        apply: Apply,
        cache: Cache,
        waiting: WaitingRoom,
        metrics: Metrics,
        *,
        clock: Callable[[], float],
        seed: int,
        dirty: Callable[[], None],
        list_again: Callable[[], None],
    ) -> None:
        self.queue = WorkQueue()
        self.evictions: dict[str, Eviction] = {}
        self._apply = apply
        self._cache = cache
        self._waiting = waiting
        self._metrics = metrics
        self._clock = clock
        self._seed = seed
        self._dirty = dirty
        self._list_again = list_again
        self._written_at: dict[str, float] = {}
        self._looked_at: dict[str, int] = {}  # the version of each TaskSet at its last step
        self._dependents: dict[tuple[str, str], set[str]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._replaced = False

    def start(self) -> None:
        """Work in the background."""
        self._hire()

    async def stop(self) -> None:
        """End the workers; whatever was half done is found again at the next start."""
        self.queue.close()
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    def note(self, taskset: TaskSet) -> None:
        """Look at a TaskSet, unless it was looked at as it is: our own writes come back to us.

        It is looked at again when one has ended that it waits for.
        """
        uid = taskset.metadata.uid
        for other in taskset.spec.after:
            self._dependents.setdefault((taskset.metadata.namespace, other.name), set()).add(uid)
        if self._looked_at.get(uid) != taskset.metadata.version:
            self.queue.add(uid)

    def look_again(self) -> None:
        """Whatever is noted from now on is looked at again: something may have been missed."""
        self._looked_at.clear()

    def forget(self, uid: str) -> None:
        """Forget a TaskSet that was deleted."""
        self._written_at.pop(uid, None)
        self._looked_at.pop(uid, None)
        self.queue.forget(uid)

    # --- workers
    def _hire(self) -> None:
        """Let somebody be there for the next key, however long the others take."""
        if not self._replaced and not self.queue.awaited and len(self._workers) - self._apply.charging < WORKERS:
            worker = asyncio.create_task(self._work(), name="worker")
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        while True:
            uid = await self.queue.get()
            self._hire()
            try:
                await self._step(uid)
                self.queue.forget(uid)
            except Replaced as error:
                log.error("%s; it writes no more", error)
                self._replaced = True
                return
            except (Conflict, NotFound) as error:
                log.debug("looking again at %s: %s", uid, error)
                self.queue.retry(uid)
            except OctopusError as error:
                self._metrics.errors.labels(error.code).inc()
                log.warning("trying %s again in %.1f s: %s", uid, self.queue.retry(uid), error)
            except Exception:
                self._metrics.errors.labels("bug").inc()
                log.exception("a step of %s failed; trying again", uid)
                self.queue.retry(uid, first_seconds=1.0)
            finally:
                self.queue.done(uid)
            if self.queue.awaited >= WORKERS:
                return  # hired in a rush that is over

    async def _step(self, uid: str) -> None:
        taskset = self._cache.tasksets.get(uid)
        if taskset is None:
            return
        if self._apply.expectations.outstanding(uid):
            self._await_expected(uid)
            return
        now = self._clock()
        taskset = await self._evict(taskset, now)
        self._looked_at[uid] = taskset.metadata.version
        taskset = self._waiting.fail_dependent(taskset, now)
        step = advance(taskset, self._cache.tasks_of(uid), now, seed=self._seed)
        if step.status != taskset.status and self._may_write(taskset, step.status):
            taskset = await self._write(taskset, step.status)
        if step.wake_at is not None:
            self.queue.add_after(uid, max(SHORTEST_SECONDS, step.wake_at - now))
        for action in step.actions:
            try:
                await self._apply.carry_out(taskset, action)
            except OctopusError as error:
                # after a StateError nobody knows what was created: the same is asked for again
                if not isinstance(action, act.CreateTasks) or isinstance(error, StateError):
                    raise
                await self._creation_failed(taskset, action, error)
                return

    async def _evict(self, taskset: TaskSet, now: float) -> TaskSet:
        """Begin the preemption of a gang if the last Plan wants it and it still makes sense."""
        eviction = self.evictions.get(taskset.metadata.uid)
        running = self._cache.running(taskset.metadata.uid)
        if eviction is None or running is None or running.leaving or not taskset.spec.preemption.allowed:
            return taskset
        claimant = self._cache.tasksets.get(eviction.by)
        nobodys = eviction.rule == "window" or eviction.by == taskset.spec.queue  # the budget of its queue
        if not nobodys and (claimant is None or not claimant.status.phase.waiting):
            return taskset
        stored = await self._apply.evict(taskset, eviction, now)
        self.evictions.pop(taskset.metadata.uid, None)
        self._dirty()
        return stored

    def _await_expected(self, uid: str) -> None:
        left = EXPECTATION_SECONDS - self._apply.expectations.waited(uid, asyncio.get_running_loop().time())
        if left <= 0:
            log.warning("changes that were ordered were not seen; listing again")
            self._list_again()
        self.queue.add_after(uid, max(left, CONFLICT_SECONDS))

    async def _write(self, taskset: TaskSet, status: Status) -> TaskSet:
        self._written_at[taskset.metadata.uid] = asyncio.get_running_loop().time()
        stored = await self._apply.write(taskset, status)
        if stored.status.phase.terminal and not taskset.status.phase.terminal:
            for uid in self._dependents.pop(stored.key, ()):
                self.queue.add(uid)
        return stored

    def _may_write(self, taskset: TaskSet, status: Status) -> bool:
        """Counts alone are written once a second at most; everything else at once."""
        if without_counts(taskset.status) != without_counts(status):
            return True
        last = self._written_at.get(taskset.metadata.uid, float("-inf"))
        since = asyncio.get_running_loop().time() - last
        if since >= STATUS_SECONDS:
            return True
        self.queue.add_after(taskset.metadata.uid, max(SHORTEST_SECONDS, STATUS_SECONDS - since))
        return False

    async def _creation_failed(self, taskset: TaskSet, action: act.CreateTasks, error: OctopusError) -> None:
        log.warning("the gang of %s could not be created: %s", taskset.name, error)
        if isinstance(error, Replaced):
            raise error
        now = self._clock()
        taskset = self._cache.tasksets.get(taskset.metadata.uid, taskset)  # hooks may have written conditions
        rows = [*self._cache.tasks_of(taskset.metadata.uid)]
        rows.extend(failed_creation(taskset, member, error, now) for member in action.members)
        step = advance(taskset, rows, now, seed=self._seed)
        if step.status == taskset.status:
            raise error
        status = step.status
        if isinstance(error, HookRefused):
            status = with_conditions(status, error.conditions)
        await self._write(taskset, status)
