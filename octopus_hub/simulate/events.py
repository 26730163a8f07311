"""Discrete events over the production ``core.schedule.schedule``: arrivals, ends, evictions with notice, wake-ups.

At every moment at which something happens, ends come before arrivals, and one cycle follows. What ``schedule`` decides
is carried out as ``control`` would: an admitted gang starts at once, an evicted one holds its place for its notice, gets
nowhere in it, and waits again in its old place. Started again it needs the restart time, then goes on where it was, or
from nothing if it writes no checkpoints. A resize is the same without the waiting; with twice the GPUs a job is twice as
fast. A job that could never run is refused when it arrives, as at submission.

No randomness and no clock but the one that measures ``schedule``: the same jobs and setup give the same outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from time import perf_counter
from typing import Any

from octopus_hub.core.estimate import History, error, estimate, learn
from octopus_hub.core.plan import Admission, Eviction, Plan, Resize
from octopus_hub.core.policies.service import life_of
from octopus_hub.core.resizing import shed
from octopus_hub.core.schedule import explain, schedule
from octopus_hub.core.snapshot import RoleNeed, Running, Snapshot, Waiting
from octopus_hub.simulate.board import Board
from octopus_hub.simulate.foresight import Foresight
from octopus_hub.simulate.jobs import Job
from octopus_hub.simulate.life import Life
from octopus_hub.simulate.outcome import Finished, Outcome
from octopus_hub.simulate.pool import BrokenPlan, Held, Pool
from octopus_hub.simulate.setup import QUEUE, Setup, needs_of, nodes_of, queues_of

Scheduler = Callable[[Snapshot, Sequence[Waiting], float, Any], Plan]

_IDLE_WAKES = 10_000  # so many wake-ups without effect, when nothing else will happen: nothing ever will
_PATIENCE = 400 * 86400.0  # so long after the last arrival, what has not ended is given up
_END, _LEAVE, _RESIZED = 0, 1, 2


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
    while (now := run.next()) is not None and now <= run.until:
        run.happen(now)
        run.cycle(now)
    return run.outcome()


class _Run:
    """The world at one moment."""

    def __init__(self, jobs: Sequence[Job], setup: Setup, scheduler: Scheduler) -> None:
        self.setup = setup
        self.jobs = jobs
        self.pool = Pool(nodes_of(setup))
        queues, cohorts = queues_of(setup, jobs, self.pool.size)
        self.board = Board(self.pool, queues, cohorts, setup.windows, setup.half_life_seconds)
        self.now = jobs[0].submitted if jobs else 0.0
        self._schedule = scheduler
        self._memo: Any = None
        self._bare = Snapshot(nodes=self.pool.nodes, queues=queues, cohorts=cohorts)
        self._never: dict[tuple[str, int], bool] = {}
        self._needs: dict[tuple[int, int | None, int], tuple[RoleNeed, ...]] = {}
        self._arrived = 0
        self._lives: dict[str, Life] = {}
        self._elastic = 0  # of those that run
        work = sum(job.duration * job.gpus for job in jobs)
        self.until = (jobs[-1].submitted if jobs else 0.0) + max(_PATIENCE, 3 * work / max(1, self.pool.size))
        self._events: list[tuple[float, int, int, Life, int]] = []  # when, what, number, whose, which attempt
        self._numbers = 0
        self._wake: float | None = None
        self._idle = 0
        self._history: History = {}  # run times by owner and command
        self._errors: list[float] = []  # of estimates
        self._ran: list[Finished] = []
        self._refused: list[Job] = []
        self._held: list[tuple[float, float, str, int]] = []
        self._wasted = [0.0, 0.0]
        self._cycles = 0
        self._seconds = 0.0
        self._foresight = Foresight(setup.estimates)

    def next(self) -> float | None:
        """Return when something happens next, None if nothing ever will."""
        found = self._events[0][0] if self._events else None
        if self._arrived < len(self.jobs):
            arrival = self.jobs[self._arrived].submitted
            found = arrival if found is None or arrival < found else found
        wake = self._wake
        if wake is not None and (self.board.waiting or self._elastic):
            if found is None:
                return wake if self._idle < _IDLE_WAKES else None
            return min(wake, found)
        return found

    def happen(self, now: float) -> None:
        """Let time pass, jobs end and leave, and others arrive."""
        if self.board.waiting:
            self._wasted[0] += self.pool.free * (now - self.now)
            self._wasted[1] += self.pool.broken * (now - self.now)
        self.now = now
        if self._wake is not None and self._wake <= now:
            self._wake = None
            self.board.changed = True  # as far as the scheduler is concerned
            self._idle += 1
        events = self._events
        while events and events[0][0] <= now:
            _, kind, _, life, attempt = heappop(events)
            if attempt == life.attempt:
                self._idle = 0
                (self._end, self._requeue, self._go_on)[kind](life)
        while self._arrived < len(self.jobs) and self.jobs[self._arrived].submitted <= now:
            self._arrive(self.jobs[self._arrived])
            self._arrived += 1

    def cycle(self, now: float) -> None:
        """Carry out what the scheduler decides, unless it has nothing to decide or nothing has happened."""
        if not self.board.changed or not (self.board.waiting or self._elastic):
            return
        snapshot, waiting = self.board.show(now)
        began = perf_counter()
        plan = self._schedule(snapshot, waiting, now, self._memo)
        self._seconds += perf_counter() - began
        self._cycles += 1
        self._memo = plan.memo
        self._foresight.look(plan.admissions, snapshot, waiting, now)
        for admission in plan.admissions:
            self._start(admission)
        for eviction in plan.evictions:
            self._evict(eviction)
        for resize in plan.resizes:
            self._resize(resize)
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
            estimate_errors=tuple(self._errors),
            cycles=self._cycles,
            schedule_seconds=self._seconds,
            foreseen=tuple(self._foresight.found),
            foresight_seconds=self._foresight.seconds,
        )

    # --- what happens by itself
    def _arrive(self, job: Job) -> None:
        key = (job.gpus, job.most, id(job.needs))  # readers make equal roles once
        needs = self._needs.get(key)
        if needs is None:
            needs = self._needs[key] = needs_of(self.setup, job)
        queue = QUEUE if self.setup.queues == "one" else job.cluster
        owner = job.owner or job.cluster
        chronicle = self.board.chronicle
        kin = f"{owner}/{job.command}" if job.command else chronicle.burst(owner, job.gpus, job.submitted)
        gang = Waiting(
            uid=job.uid,
            namespace=owner,
            name=job.uid,
            owner=owner,
            kin=kin,
            queue=queue,
            priority=job.priority,
            queued_at=job.submitted,
            needs=needs,
            max_runtime=job.max_runtime,
            estimate=estimate(self._history, job.owner, job.command) if job.owner else None,
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
        self._lives[job.uid] = Life(job, gang)
        self._foresight.arrived(job.uid)
        self.board.join(gang)

    def _end(self, life: Life) -> None:
        del self._lives[life.job.uid]
        self._ran.append(life.finished(self.now))
        self._learn(life)
        self.board.chronicle.ended(life_of(life.gang, life.job.duration))
        self._vacate(life)

    def _learn(self, life: Life) -> None:
        """Note how good the estimate was; the run is part of the next ones."""
        job, guessed = life.job, life.gang.estimate
        if guessed is not None:
            self._errors.append(error(guessed, job.duration))
        if job.owner:
            self._history = learn(self._history, job.owner, job.command, job.duration)

    def _requeue(self, life: Life) -> None:
        """Let an evicted gang go; it waits again in its old place."""
        self._vacate(life)
        self.board.join(life.again())

    def _go_on(self, life: Life) -> None:
        """Let a resized gang begin in its new place, which it holds already."""
        assert life.to is not None
        self._hold(life, ())
        self._begin(life, life.again(), life.to)

    # --- what the scheduler decides
    def _start(self, admission: Admission) -> None:
        life = self._lives.get(admission.uid)
        if life is None:
            raise BrokenPlan(f"{admission.uid} was admitted and does not wait")
        self.board.leave(life.gang)
        self._elastic += life.job.most is not None
        self._begin(life, life.gang, self.pool.held(life.gang.needs, admission.placement))

    def _begin(self, life: Life, gang: Waiting, held: Held) -> None:
        end = life.begin(held, self.now, self.setup.restart_seconds)
        self._hold(life, (held,))
        self.board.run(Running(gang, held.placement, self.now))
        self._at(end, _END, life)

    def _evict(self, eviction: Eviction) -> None:
        running = self._interruptible(eviction.uid, "evicted")
        life = self._lives[eviction.uid]
        life.preempt(self.now, self.setup.notice_seconds, eviction.by)
        self.board.run(Running(running.gang, running.placement, running.since, leaving=True, claimed_by=eviction.by))
        self._at(self.now + self.setup.notice_seconds, _LEAVE, life)

    def _resize(self, resize: Resize) -> None:
        """Take the new place beside what is given up, until the notice is over."""
        running = self._interruptible(resize.uid, "resized")
        life = self._lives[resize.uid]
        life.interrupt(self.now)
        life.resizes += 1
        life.to = self.pool.held(life.gang.needs, resize.placement)
        sheds = shed(running.placement, resize.placement)
        self._hold(life, (life.to, self.pool.part(life.to, sheds)))
        life.notice += self.setup.notice_seconds * life.devices
        self.board.run(
            Running(
                running.gang,
                resize.placement,
                running.since,
                leaving=True,
                claimed_by=resize.by,
                sheds=sheds,
                resizing=True,
            )
        )
        self._at(self.now + self.setup.notice_seconds, _RESIZED, life)

    def _interruptible(self, uid: str, what: str) -> Running:
        running = self.board.running.get(uid)
        if running is None or running.leaving:
            raise BrokenPlan(f"{uid} was {what} and does not run")
        return running

    # --- places
    def _vacate(self, life: Life) -> None:
        self.board.end(life.job.uid)
        self._hold(life, ())
        self._elastic -= life.job.most is not None

    def _hold(self, life: Life, helds: tuple[Held, ...]) -> None:
        """Hold this instead of what it held."""
        if life.held and self.now > life.held_since:
            self._held.append((life.held_since, self.now, life.job.cluster, life.devices))
        for held in life.held:
            self.board.hold(life.gang, held, -1, self.now)
        for held in helds:
            self.board.hold(life.gang, held, 1, self.now)
        life.held, life.held_since = helds, self.now

    def _at(self, moment: float, kind: int, life: Life) -> None:
        self._numbers += 1
        heappush(self._events, (moment, kind, self._numbers, life, life.attempt))
