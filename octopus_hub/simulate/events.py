"""Discrete events over the production ``core.schedule.schedule``: arrivals, ends, evictions with notice, wake-ups.

At every moment at which something happens, ends come before arrivals, and one cycle follows. What ``schedule`` decides
is carried out as ``control`` would: an admitted gang starts at once, an evicted one holds its place for its notice, gets
nowhere in it, and waits again in its old place. Started again it needs the restart time, then goes on where it was, or
from nothing if it writes no checkpoints. A job that could never run is refused when it arrives, as at submission.

No randomness and no clock but the one that measures ``schedule``: the same jobs and setup give the same outcome.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from time import perf_counter
from typing import Any

from octopus_hub.core.plan import Admission, Eviction, Plan
from octopus_hub.core.schedule import explain, schedule
from octopus_hub.core.snapshot import Delta, RoleNeed, Running, Snapshot, Waiting
from octopus_hub.simulate.jobs import Job
from octopus_hub.simulate.pool import BrokenPlan, Decayed, Held, Pool
from octopus_hub.simulate.setup import QUEUE, Setup, needs_of, nodes_of, queues_of

Scheduler = Callable[[Snapshot, Sequence[Waiting], float, Any], Plan]

DAY = 86400.0
_ATTAINED_EVERY = 600.0  # seconds between looks at decayed use
_IDLE_WAKES = 10_000  # so many wake-ups without effect, when nothing else will happen: nothing ever will
_END, _LEAVE = 0, 1


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that ran to its end.

    ``notice_seconds`` are those it held its place without getting on, ``restart_seconds`` those it needed to get to
    where it was, ``lost_seconds`` the work it had to do again: all times ``job.gpus`` are lost GPU-time.
    """

    job: Job
    started: float  # the first time
    ended: float
    preemptions: int
    notice_seconds: float
    restart_seconds: float
    lost_seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the jobs of a trace.

    Attributes
    ----------
    ran : tuple of Finished
        In the order of their ends.
    refused : tuple of Job
        They never fit the pool.
    stuck : tuple of Job
        They never started, or never came back: an error of the scheduler.
    held : tuple of (float, float, str, int)
        From when to when a job of which cluster held how many GPUs.
    idle_gpu_seconds, broken_gpu_seconds : float
        While something waited: GPUs that nobody held, and those of them on nodes of which a part was held.
    cycles, schedule_seconds
        Calls of ``schedule``, and the time they took.
    """

    setup: Setup
    gpus: int
    ran: tuple[Finished, ...]
    refused: tuple[Job, ...]
    stuck: tuple[Job, ...]
    held: tuple[tuple[float, float, str, int], ...]
    idle_gpu_seconds: float
    broken_gpu_seconds: float
    cycles: int
    schedule_seconds: float = field(compare=False)


def simulate(jobs: Sequence[Job], setup: Setup, *, schedule: Scheduler = schedule) -> Outcome:
    """Run jobs to their ends.

    Raises
    ------
    InvalidSpec
        The setup can't be simulated.
    BrokenPlan
        The scheduler gave what is not there.
    """
    setup.check()
    run = _Run(sorted(jobs, key=lambda job: (job.submitted, job.uid)), setup, schedule)
    while (now := run.next()) is not None:
        run.happen(now)
        run.cycle(now)
    return run.outcome()


@dataclass(slots=True)
class _Life:
    """A job that has arrived. ``done`` are seconds of its duration that are kept."""

    job: Job
    gang: Waiting
    done: float = 0.0
    first: float | None = None
    since: float = 0.0
    warm: float = 0.0  # when the attempt begins to get on
    attempt: int = 0
    held: Held | None = None
    preempted: tuple[float, ...] = ()
    preemptions: int = 0
    notice: float = 0.0
    restart: float = 0.0
    lost: float = 0.0


class _Run:
    """The world at one moment."""

    def __init__(self, jobs: Sequence[Job], setup: Setup, scheduler: Scheduler) -> None:
        self.setup = setup
        self.jobs = jobs
        self.pool = Pool(nodes_of(setup))
        self.queues, self.cohorts = queues_of(setup, jobs, self.pool.size)
        self.decayed = Decayed(setup.half_life_seconds)
        self.now = jobs[0].submitted if jobs else 0.0
        self._schedule = scheduler
        self._bare = Snapshot(nodes=self.pool.nodes, queues=self.queues, cohorts=self.cohorts)
        self._arrived = 0
        self._events: list[tuple[float, int, int, _Life, int]] = []  # when, what, number, whose, which attempt
        self._numbers = 0
        self._lives: dict[str, _Life] = {}
        self._waiting: list[Waiting] = []
        self._running: dict[str, Running] = {}
        self._shown: tuple[Snapshot, list[Waiting]] | None = None
        self._attained: dict[tuple[str, str], float] = {}
        self._attained_at = self.now - 2 * _ATTAINED_EVERY
        self._needs: dict[tuple[int, int | None, int], tuple[RoleNeed, ...]] = {}
        self._never: dict[tuple[str, int], bool] = {}
        self._memo: Any = None
        self._token = object()
        self._joined: dict[str, Waiting] = {}  # since the snapshot that was shown last
        self._left: dict[str, Waiting] = {}
        self._started: dict[str, Running] = {}
        self._ended: dict[str, None] = {}
        self._wake: float | None = None
        self._idle = 0
        self._changed = False
        self._ran: list[Finished] = []
        self._refused: list[Job] = []
        self._held: list[tuple[float, float, str, int]] = []
        self._wasted = [0.0, 0.0]
        self._cycles = 0
        self._seconds = 0.0

    def next(self) -> float | None:
        """Return when something happens next, None if nothing ever will."""
        moments = [self._events[0][0]] if self._events else []
        if self._arrived < len(self.jobs):
            moments.append(self.jobs[self._arrived].submitted)
        if self._wake is not None and self._waiting and (moments or self._idle < _IDLE_WAKES):
            moments.append(self._wake)
        return min(moments, default=None)

    def happen(self, now: float) -> None:
        """Let time pass, jobs end and leave, and others arrive."""
        if self._waiting:
            self._wasted[0] += self.pool.free * (now - self.now)
            self._wasted[1] += self.pool.broken * (now - self.now)
        self.now = now
        if self._wake is not None and self._wake <= now:
            self._wake = None
            self._changed = True  # as far as the scheduler is concerned
            self._idle += 1
        events = self._events
        while events and events[0][0] <= now:
            _, kind, _, life, attempt = heappop(events)
            if attempt == life.attempt:
                self._idle = 0
                if kind == _END:
                    self._end(life)
                else:
                    self._requeue(life)
        while self._arrived < len(self.jobs) and self.jobs[self._arrived].submitted <= now:
            self._arrive(self.jobs[self._arrived])
            self._arrived += 1

    def cycle(self, now: float) -> None:
        """Carry out what the scheduler decides, unless nothing waits or nothing has happened."""
        if not self._changed or not self._waiting:
            return
        snapshot, waiting = self._show()
        began = perf_counter()
        plan = self._schedule(snapshot, waiting, now, self._memo)
        self._seconds += perf_counter() - began
        self._cycles += 1
        self._memo = plan.memo
        self._changed = False
        for admission in plan.admissions:
            self._start(admission)
        for eviction in plan.evictions:
            self._evict(eviction)
        self._wake = plan.wake_at if plan.wake_at is not None and plan.wake_at > now else None

    def outcome(self) -> Outcome:
        """Return what became of everything."""
        return Outcome(
            setup=self.setup,
            gpus=self.pool.size,
            ran=tuple(self._ran),
            refused=tuple(self._refused),
            stuck=tuple(life.job for life in self._lives.values()),
            held=tuple(self._held),
            idle_gpu_seconds=self._wasted[0],
            broken_gpu_seconds=self._wasted[1],
            cycles=self._cycles,
            schedule_seconds=self._seconds,
        )

    def _show(self) -> tuple[Snapshot, list[Waiting]]:
        """Return what the scheduler sees: the same values as long as nothing has changed."""
        if self.now - self._attained_at >= _ATTAINED_EVERY:
            self._attained, self._attained_at = self.decayed.upto(self.now), self.now
            self._shown = None
        if self._shown is None:
            before, self._token = self._token, object()
            delta = Delta(
                before=before,
                after=self._token,
                joined=tuple(self._joined.values()),
                left=tuple(self._left.values()),
                started=tuple(self._started.values()),
                ended=tuple(self._ended),
                nodes=self.pool.moved(),
            )
            for changed in (self._joined, self._left, self._started, self._ended):
                changed.clear()
            snapshot = Snapshot(
                nodes=self.pool.nodes,
                usage=self.pool.usage(),
                queues=self.queues,
                running=self._running.copy(),
                cohorts=self.cohorts,
                windows=self.setup.windows,
                attained=self._attained,
                attained_at=self._attained_at,
                delta=delta,
            )
            self._shown = (snapshot, self._waiting.copy())
        return self._shown

    def _touch(self) -> None:
        self._shown = None
        self._changed = True

    def _arrive(self, job: Job) -> None:
        key = (job.gpus, job.most, id(job.needs))  # readers make equal roles once
        needs = self._needs.get(key)
        if needs is None:
            needs = self._needs[key] = needs_of(self.setup, job)
        queue = QUEUE if self.setup.queues == "one" else job.cluster
        gang = Waiting(
            uid=job.uid,
            namespace=job.owner or job.cluster,
            name=job.uid,
            owner=job.owner or job.cluster,
            queue=queue,
            priority=job.priority,
            queued_at=job.submitted,
            needs=needs,
            max_runtime=job.max_runtime,
            resumes=self.setup.resumes(job),
            notice=self.setup.notice_seconds,
            overhead=self.setup.restart_seconds if job.max_runtime is not None else 0.0,
        )
        never = self._never.get((queue, id(needs)))
        if never is None:
            never = self._never[queue, id(needs)] = explain(self._bare, gang) is not None
        if never:
            self._refused.append(job)
            return
        self._lives[job.uid] = _Life(job, gang)
        self._wait(gang)

    def _wait(self, gang: Waiting) -> None:
        insort(self._waiting, gang, key=_place)
        self._joined[gang.uid] = gang
        self._touch()

    def _start(self, admission: Admission) -> None:
        life = self._lives.get(admission.uid)
        at = bisect_left(self._waiting, _place(life.gang), key=_place) if life is not None else 0
        if life is None or at == len(self._waiting) or self._waiting[at] is not life.gang:
            raise BrokenPlan(f"{admission.uid} was admitted and does not wait")
        del self._waiting[at]
        if self._joined.pop(admission.uid, None) is None:
            self._left[admission.uid] = life.gang
        life.attempt += 1
        life.held = self.pool.held(life.gang.needs, admission.placement)
        life.since = self.now
        life.warm = self.now if life.first is None else self.now + self.setup.restart_seconds
        life.first = self.now if life.first is None else life.first
        self._run(Running(life.gang, admission.placement, self.now))
        self._hold(life, 1)
        self._at(life.warm + max(0.0, life.job.duration - life.done), _END, life)

    def _run(self, running: Running) -> None:
        self._running[running.gang.uid] = self._started[running.gang.uid] = running

    def _evict(self, eviction: Eviction) -> None:
        running = self._running.get(eviction.uid)
        if running is None or running.leaving:
            raise BrokenPlan(f"{eviction.uid} was evicted and does not run")
        life = self._lives[eviction.uid]
        life.attempt += 1  # its end is not that of this attempt any more
        self._run(Running(running.gang, running.placement, running.since, leaving=True, claimed_by=eviction.by))
        self._account(life)
        self._at(self.now + self.setup.notice_seconds, _LEAVE, life)
        self._touch()

    def _account(self, life: _Life) -> None:
        """Note what an interrupted attempt keeps and loses."""
        progress = max(0.0, self.now - life.warm)
        life.restart += min(self.now, life.warm) - life.since
        life.notice += self.setup.notice_seconds
        life.preemptions += 1
        life.preempted = (*(at for at in life.preempted if at > self.now - DAY), self.now)
        if life.gang.resumes:
            life.done += progress
        else:
            life.lost += progress

    def _requeue(self, life: _Life) -> None:
        """Let an evicted gang go; it waits again in its old place."""
        self._release(life)
        life.gang = replace(life.gang, served=life.done, preempted_at=life.preempted)
        self._wait(life.gang)

    def _end(self, life: _Life) -> None:
        self._release(life)
        del self._lives[life.job.uid]
        assert life.first is not None
        self._ran.append(
            Finished(
                job=life.job,
                started=life.first,
                ended=self.now,
                preemptions=life.preemptions,
                notice_seconds=life.notice,
                restart_seconds=life.restart + (life.warm - life.since),
                lost_seconds=life.lost,
            )
        )

    def _release(self, life: _Life) -> None:
        uid = life.job.uid
        del self._running[uid]
        self._started.pop(uid, None)
        self._ended[uid] = None
        devices = self._hold(life, -1)
        if self.now > life.since:
            self._held.append((life.since, self.now, life.job.cluster, devices))

    def _hold(self, life: _Life, sign: int) -> int:
        """Take or give back its place; returns how many devices that is."""
        gang, held = life.gang, life.held
        assert held is not None
        self.pool.move(gang, held, sign)
        self.decayed.hold((gang.queue, gang.owner), sign * held.devices, self.now)
        self._touch()
        return held.devices

    def _at(self, moment: float, kind: int, life: _Life) -> None:
        self._numbers += 1
        heappush(self._events, (moment, kind, self._numbers, life, life.attempt))


def _place(gang: Waiting) -> tuple[float, str]:
    return (gang.queued_at, gang.uid)
