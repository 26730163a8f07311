"""How long a queue of 15,000 workloads takes to drain, in real time: ``python -m bench.drain``.

The load of Kueue's performance test: 30 queues in 5 cohorts, each queue with 350 small workloads of 1 unit for 200 ms,
100 medium ones of 5 units for 500 ms and 50 large ones of 20 units for 1 s, one of each class arriving every 100, 500
and 1,200 ms, priorities 50, 100 and 200; a queue has 20 units and may borrow 100. A unit is a CPU of the workload's one
task. The whole control loop runs on the memory backend, whose tasks last for as long as their class says: it admits,
creates, releases, sees them run and end, and writes their records. Nodes have room enough; the quotas are what binds.

Once in the order of the priorities and once in that of a new queue: by priority the 8,000 or so small workloads that came
too late for the gaps are left for the end, all at once, and then it is the work of the engine for each that takes the time.

No scheduler can be faster than all work divided by all quota, nor than the last arrival and its own run. Prints how far
above that bound the finish is (target: 1.1 times), waits by class and the CPU time that it took. ``--profile FILE``
keeps a profile of the process.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import dataclasses
import functools
import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bench.facts import Row, percentile, report
from octopus_hub.backends.memory import MemoryBackend, node
from octopus_hub.control import garbage
from octopus_hub.control.cache import Cache
from octopus_hub.control.loop import Controller
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.queue import Cohort, PriorityClass, Queue
from octopus_hub.model.task import Task, TaskState
from octopus_hub.model.taskset import Metadata, Role, Spec, TaskSet
from octopus_hub.plugins.registry import Registry
from octopus_hub.runs.record import RecordWriter

QUEUES, IN_COHORT = 30, 6
NOMINAL, BORROW = 20, 100
NODES, NODE_UNITS = 30, 64  # more than all quota, so that no workload lacks a node with enough units in one piece
POLICIES = ("priority", Queue(name="").policy)  # the order that the priorities ask for, and that of a new queue
TARGET = 1.1
GIVE_UP_SECONDS = 600.0


@dataclass(frozen=True)
class Kind:
    """One class of workloads of each queue."""

    name: str
    count: int
    units: int
    seconds: float
    every_seconds: float
    priority: int


KINDS = (
    Kind("small", 350, 1, 0.2, 0.1, 50),
    Kind("medium", 100, 5, 0.5, 0.5, 100),
    Kind("large", 50, 20, 1.0, 1.2, 200),
)
BY_NAME = {kind.name: kind for kind in KINDS}


def bound(queues: int = QUEUES, kinds: Sequence[Kind] = KINDS) -> tuple[float, float]:
    """Return the seconds below which nothing can finish: by the quotas of all queues, and by the last arrival."""
    work = sum(kind.count * kind.units * kind.seconds for kind in kinds) * queues
    last = max((kind.count - 1) * kind.every_seconds + kind.seconds for kind in kinds)
    return work / (NOMINAL * queues), last


class Timed(MemoryBackend):
    """Tasks run for as long as their command says: ``run SECONDS``."""

    def _run(self, task: Task) -> None:
        seconds = float(self.specs[task.namespace, task.name].command[1])
        asyncio.get_running_loop().call_later(seconds, self._succeed, task.namespace, task.name)

    def _succeed(self, namespace: str, name: str) -> None:
        self.set_task(namespace, name, state=TaskState.SUCCEEDED, exit_code=0)


def backend(queues: int, policy: str) -> Timed:
    """Return the nodes, queues and priorities of the load."""
    found = Timed(
        nodes=[node(f"node-{at:02}", cpu=NODE_UNITS, memory=1 << 40) for at in range(NODES)],
        queues=[
            Queue(
                name=f"queue-{at:02}",
                cohort=f"cohort-{at // IN_COHORT}",
                policy=policy,
                nominal=Amounts(cpu_millis=1000 * NOMINAL),
                borrow=Amounts(cpu_millis=1000 * BORROW),
            )
            for at in range(queues)
        ],
        priorities=[PriorityClass(name=kind.name, value=kind.priority) for kind in KINDS],
        auto=True,
    )
    for at in range((queues + IN_COHORT - 1) // IN_COHORT):
        found.truth.tree.cohorts.declare(Cohort(name=f"cohort-{at}"))
    return found


def workload(queue: int, kind: Kind, number: int) -> TaskSet:
    """Return one of the workloads, resolved as the service would."""
    role = Role("worker", command=["run", str(kind.seconds)], cpu=str(kind.units), memory="1Mi")
    spec = Spec(roles=[role], queue=f"queue-{queue:02}", priority=kind.name, seed=1)
    metadata = Metadata(name=f"{kind.name}-{number:03}", namespace=f"user-{queue:02}", owner=f"user-{queue:02}")
    return TaskSet(metadata=metadata, spec=spec)


def arrivals(queues: int, kinds: Sequence[Kind] = KINDS) -> list[tuple[float, TaskSet]]:
    """Return all workloads with the seconds after the start at which they arrive, in this order."""
    registry = Registry.load()
    each = [
        [(number * kind.every_seconds, workload(queue, kind, number)) for number in range(kind.count)]
        for queue in range(queues)
        for kind in kinds
    ]
    return [
        (at, msgspec.structs.replace(made, resolved=msgspec.structs.replace(made.resolved, descriptors=found)))
        for at, made in heapq.merge(*each, key=lambda pair: pair[0])
        if (found := registry.resolve(made)) is not None
    ]


@dataclass
class Watch:
    """What is seen of the workloads."""

    expected: int
    waits: dict[str, list[float]] = field(default_factory=lambda: {kind.name: [] for kind in KINDS})
    ended: set[str] = field(default_factory=set)
    recorded: set[str] = field(default_factory=set)
    failed: int = 0
    late: float = 0.0  # the most by which an arrival came later than it should have
    finished_at: float = 0.0  # of the last one
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def look(self, change: Any) -> None:
        """Take note of a change."""
        taskset = change.object
        if not isinstance(taskset, TaskSet) or not taskset.status.phase.terminal:
            return
        uid, status = taskset.metadata.uid, taskset.status
        if uid not in self.ended:
            self.ended.add(uid)
            self.failed += status.phase.value != "Succeeded"
            self.finished_at = max(self.finished_at, status.finished_at or 0.0)
            self.waits[taskset.spec.priority].append((status.admitted_at or 0.0) - taskset.metadata.created_at)
        if status.recorded_attempt:
            self.recorded.add(uid)
            if len(self.recorded) == self.expected:
                self.done.set()


async def drain(queues: int, policy: str, kinds: Sequence[Kind] = KINDS) -> dict[str, Any]:
    """Let all arrive and end; return the figures."""
    made = arrivals(queues, kinds)
    memory, cache, watch = backend(queues, policy), Cache(), Watch(len(made))
    cache.subscribe(watch.look)
    controller = Controller(memory, cache, RecordWriter(memory))
    collecting = asyncio.create_task(garbage.look_seldom())  # as every engine does
    await controller.start()
    loop = asyncio.get_running_loop()
    started, cpu, first = loop.time(), time.process_time(), time.time()
    for at, each in made:
        if (early := started + at - loop.time()) > 0:
            await asyncio.sleep(early)
        watch.late = max(watch.late, -early)
        await memory.create(each)
    await asyncio.wait_for(watch.done.wait(), GIVE_UP_SECONDS)
    all_recorded, cpu = loop.time() - started, time.process_time() - cpu
    await controller.stop()
    collecting.cancel()
    if watch.failed:
        raise RuntimeError(f"{watch.failed} workloads did not succeed; the figures would mean nothing")
    return _figures(watch, bound(queues, kinds), watch.finished_at - first, all_recorded, cpu)


def _figures(watch: Watch, bounds: tuple[float, float], finish: float, recorded: float, cpu: float) -> dict[str, Any]:
    least = max(bounds)
    figures: dict[str, Any] = {
        "workloads": watch.expected,
        "bound by quota, s": round(bounds[0], 1),
        "bound by the last arrival, s": round(bounds[1], 1),
        "finish, s": round(finish, 1),
        "finish / bound": round(finish / least, 3),
        "last record, s": round(recorded, 1),
        "admissions/s": round(watch.expected / finish),
        "latest arrival behind time, s": round(watch.late, 2),
        "CPU of the process, s": round(cpu, 1),
        "CPU per workload, ms": round(1000 * cpu / watch.expected, 2),
    }
    for name, waits in watch.waits.items():
        figures |= {f"wait of {name}, s, p{at}": round(percentile(waits, at), 2) for at in (50, 99)}
    return figures


def main() -> None:
    """Drain once and report."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--queues", type=int, default=QUEUES, help="fewer for a quick look; nothing is stored then")
    parser.add_argument("--part", type=int, default=1, help="only one in so many workloads of each kind; likewise")
    parser.add_argument("--policy", action="append", help="only this one (may be repeated); likewise")
    parser.add_argument("--profile", metavar="FILE", help="write a profile of the process there; slower")
    arguments = parser.parse_args()
    profile = cProfile.Profile() if arguments.profile else None
    kinds = [dataclasses.replace(kind, count=kind.count // arguments.part) for kind in KINDS]
    found = {}
    for policy in arguments.policy or POLICIES:
        run = functools.partial(asyncio.run, drain(arguments.queues, policy, kinds))
        found[policy] = profile.runcall(run) if profile is not None else run()
    if profile is not None:
        profile.dump_stats(arguments.profile)
    names = next(iter(found.values()))
    rows: list[Row] = [{"what": name, **{policy: found[policy][name] for policy in found}} for name in names]
    measured = arguments.queues == QUEUES and arguments.part == 1 and not arguments.profile and not arguments.policy
    report("drain" if measured else "drain-partial", rows, target=f"finish <= {TARGET} x the bound")


if __name__ == "__main__":
    main()
