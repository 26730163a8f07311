"""Discrete events over the production ``core.schedule.schedule``: one pool of equal nodes, one queue.

A job of n GPUs is a gang of one role with n tasks of one GPU each, so it may spread over nodes in any way: it fits if
and only if n GPUs are free. Jobs arrive and end; a cycle runs after every moment at which something changed, ends before
arrivals. A job that could never run is refused when it arrives, as a submission would be.

Only the first of the waiting gangs are given to ``schedule``, and more until the last of them is behind a blocked one.
The order of a queue is strict, so nothing further back could be admitted: the decisions are those over all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import groupby
from typing import Any

from octopus_hub.core.plan import Admission, Plan
from octopus_hub.core.policies import POLICIES, STEADY
from octopus_hub.core.schedule import explain, schedule
from octopus_hub.core.snapshot import NodeView, RoleNeed, Snapshot, Usage, Waiting
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.problems import near
from octopus_hub.model.queue import Queue
from octopus_hub.simulate.philly import Job

NODE_GPUS = 8
QUEUE = "pool"
_ROLE = "worker"
_WINDOW = 4  # how many waiting gangs a cycle sees at first


@dataclass(frozen=True, slots=True)
class Started:
    """A job that ran: when, and with how many GPUs on which node."""

    job: Job
    started: float
    ended: float
    nodes: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the jobs of a trace. ``cycles`` counts the calls of ``schedule``."""

    policy: str
    gpus: int
    ran: tuple[Started, ...]  # in the order of their starts
    refused: tuple[Job, ...]  # larger than the pool
    cycles: int


def simulate(jobs: Sequence[Job], gpus: int, policy: str = "fifo", window: int = _WINDOW) -> Outcome:
    """Run jobs on a pool of ``gpus``, in nodes of 8; ``window`` changes the work per cycle, never the outcome.

    Raises
    ------
    InvalidSpec
        There is no such policy, or the GPUs are no whole nodes.
    """
    if gpus < NODE_GPUS or gpus % NODE_GPUS:
        raise InvalidSpec(f"{gpus} GPUs are no whole nodes; give a multiple of {NODE_GPUS}")
    if policy not in POLICIES:
        raise InvalidSpec(f"there is no policy {policy!r}; {near(policy, list(POLICIES))}")
    if policy not in STEADY:
        raise InvalidSpec(f"policy {policy!r} orders by use or time, which can't be simulated yet")
    pool = _Pool(gpus, policy, window)
    ordered = sorted(jobs, key=lambda job: (job.submitted, job.uid))
    for now, arrivals in groupby(ordered, key=lambda job: job.submitted):
        pool.run_until(now)
        pool.end(now)
        for job in arrivals:
            pool.arrive(job)
        pool.cycle(now)
    pool.run_until(float("inf"))
    return Outcome(policy, gpus, tuple(pool.ran), tuple(pool.refused), pool.cycles)


class _Pool:
    """The pool at one moment: what waits in the order of its policy, what runs."""

    def __init__(self, gpus: int, policy: str, window: int) -> None:
        capacity = Amounts(devices={"gpu": NODE_GPUS})
        self.nodes = tuple(NodeView(f"node-{at:05d}", capacity) for at in range(gpus // NODE_GPUS))
        self.queues = {QUEUE: Queue(name=QUEUE, policy=policy)}
        self.policy = POLICIES[policy]
        self.window = window
        self.ran: list[Started] = []
        self.refused: list[Job] = []
        self.cycles = 0
        self._one = Amounts(devices={"gpu": 1})
        self._busy: dict[str, Amounts] = {}
        self._used = [Amounts(devices={"gpu": count} if count else {}) for count in range(NODE_GPUS + 1)]
        self._bare = Snapshot(nodes=self.nodes, queues=self.queues)
        self._waiting: list[Waiting] = []
        self._jobs: dict[str, Job] = {}  # those that wait
        self._ends: list[tuple[float, int, Started]] = []
        self._never: dict[int, bool] = {}
        self._memo: Any = None
        self._seen: list[Waiting] | None = None  # the window of the last cycle, while nothing has started or ended

    def run_until(self, now: float) -> None:
        """Let jobs end before ``now``, with a cycle after each moment."""
        while self._ends and self._ends[0][0] < now:
            moment = self._ends[0][0]
            self.end(moment)
            self.cycle(moment)

    def end(self, now: float) -> None:
        """End what is due."""
        while self._ends and self._ends[0][0] <= now:
            self._move(heappop(self._ends)[2], -1)
            self._seen = None

    def arrive(self, job: Job) -> None:
        """Put a job into the queue, at the place that its policy gives it."""
        gang = Waiting(
            uid=job.uid,
            namespace=job.cluster,
            name=job.uid,
            owner=job.cluster,
            queue=QUEUE,
            priority=job.priority,
            queued_at=job.submitted,
            needs=(RoleNeed(_ROLE, job.gpus, self._one),),
        )
        if job.gpus not in self._never:
            self._never[job.gpus] = explain(self._bare, gang) is not None
        if self._never[job.gpus]:
            self.refused.append(job)
            return
        self._jobs[job.uid] = job
        self._waiting.insert(self._place(gang), gang)

    def _place(self, gang: Waiting) -> int:
        """Find its place by asking the policy about pairs: a steady one orders them as it orders all."""
        low, high = 0, len(self._waiting)
        while low < high:
            middle = high - 1 if high == len(self._waiting) else (low + high) // 2  # most come last
            if self.policy([self._waiting[middle], gang], self._bare, 0.0)[0] is gang:
                high = middle
            else:
                low = middle + 1
        return low

    def cycle(self, now: float) -> None:
        """Start what the scheduler admits."""
        if not self._waiting or self._seen == self._waiting[: self.window]:
            return  # with at least two in it, the first was blocked and still is
        plan = self._plan(now)
        admitted = {admission.uid: admission for admission in plan.admissions}
        for admission in plan.admissions:
            self._start(self._jobs.pop(admission.uid), admission, now)
        if admitted:
            seen = len(plan.admissions) + len(plan.waits)
            self._waiting[:seen] = [gang for gang in self._waiting[:seen] if gang.uid not in admitted]
        # Whoever is blocked has been tried after the last admission, so it stays blocked until something ends.
        self._seen = self._waiting[: self.window] if len(self._waiting) >= self.window else None

    def _plan(self, now: float) -> Plan:
        snapshot = Snapshot(self.nodes, Usage(nodes=dict(self._busy)), self.queues)
        size = self.window
        while True:
            part = self._waiting[:size]
            plan = schedule(snapshot, part, now, self._memo)
            self._memo = plan.memo
            self.cycles += 1
            last = plan.waits.get(part[-1].uid)
            if len(part) == len(self._waiting) or (last is not None and last.reason.code == "BehindInQueue"):
                return plan
            size *= 2

    def _start(self, job: Job, admission: Admission, now: float) -> None:
        nodes = tuple((span.node, span.count) for span in admission.placement[_ROLE])
        started = Started(job, now, now + job.duration, nodes)
        self.ran.append(started)
        self._move(started, 1)
        heappush(self._ends, (started.ended, len(self.ran), started))

    def _move(self, started: Started, sign: int) -> None:
        for node, count in started.nodes:
            before = self._busy[node].devices.get("gpu", 0) if node in self._busy else 0
            after = before + sign * count
            if after:
                self._busy[node] = self._used[after]
            else:
                self._busy.pop(node, None)
