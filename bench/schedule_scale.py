"""How long a scheduling cycle takes at 5,000 nodes and 20,000 waiting gangs: ``python -m bench.schedule_scale``.

5,000 nodes with 8 gpu in 125 racks; 20,000 gangs of some 30 shapes (1 to 64 workers) of 1,000 users in 200 queues. A full
cycle has no memo; an incremental one follows a single arrival or end, with the memo and (or not) with the snapshot's
``delta``. Three clusters: *saturated* (next to nothing can start), a *tenth free*, and *empty*. The growth over waiting
gangs and over nodes is told as the exponent of a power law: 1.0 is linear. ``million`` is 10^6 waiting gangs, once.

Reviewed policies (``gittins``, ``las``) are timed between reviews and, as ``at review``, at one, where they preempt.
"""

from __future__ import annotations

import gc
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from bench.facts import percentile, report
from octopus_hub.core.plan import Plan
from octopus_hub.core.policies import POLICIES as POLICY_TABLE
from octopus_hub.core.schedule import schedule
from octopus_hub.core.snapshot import NodeView, RoleNeed, Running, Snapshot, Waiting
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.queue import Cohort, Queue
from octopus_hub.simulate.board import Board
from octopus_hub.simulate.pool import Held, Pool

GIB = 2**30
NODES = 5_000
GANGS = 20_000
QUEUES = 200
FULL_RUNS = 5
CHANGES = 20
BUDGET_SECONDS = 10.0  # a row begins no further cycle after so long: where whole queues give way, each takes seconds
HOUR = 3600.0
BETWEEN, AT_REVIEW = 100.5 * HOUR, 100 * HOUR + 30.0
POLICIES = ("fifo", "priority", "las+any", "gittins+any", "fair", "gittins+any cohorts")

Row = dict[str, Any]


def nodes(count: int) -> tuple[NodeView, ...]:
    """Return equal nodes in racks of 40."""
    capacity = Amounts(cpu_millis=96_000, memory_bytes=768 * GIB, devices={"gpu": 8})
    return tuple(NodeView(f"node-{at:05}", capacity, {"rack": f"rack-{at // 40:03}"}) for at in range(count))


def shapes() -> list[tuple[RoleNeed, ...]]:
    """Return the kinds of gangs, the same object for equal ones; most are small."""
    found: list[tuple[RoleNeed, ...]] = []
    for workers, often in ((1, 8), (2, 4), (4, 3), (8, 2), (16, 1), (32, 1), (64, 1)):
        for gpus in (1, 2, 4, 8):
            each = Amounts(cpu_millis=8_000 * gpus, memory_bytes=64 * gpus * GIB, devices={"gpu": gpus})
            found += [(RoleNeed("worker", workers, each),)] * often
    server = Amounts(cpu_millis=4_000, memory_bytes=8 * GIB)
    worker = Amounts(cpu_millis=8_000, memory_bytes=64 * GIB, devices={"gpu": 1})
    found += [(RoleNeed("ps", 1, server), RoleNeed("worker", workers, worker)) for workers in (2, 4, 8)]
    return found


def queues(policy: str, count: int, size: int) -> tuple[dict[str, Queue], dict[str, Cohort]]:
    """Return the queues of a policy (``+any``: its backfill; ``cohorts``: ten queues each lend to each other)."""
    kind, _, cohorts = policy.partition(" ")
    name, _, backfill = kind.partition("+")
    found = {}
    for at in range(count):
        queue = f"queue-{at:03}"
        more: dict[str, Any] = {}
        if cohorts:
            more = {"cohort": f"cohort-{at // 10:02}", "nominal": Amounts(devices={"gpu": max(1, size * 8 // count)})}
        found[queue] = Queue(name=queue, policy=name, backfill=backfill or "none", **more)  # type: ignore[arg-type]
    return found, {queue.cohort: Cohort(name=queue.cohort) for queue in found.values() if queue.cohort}


def gangs(count: int, prefix: str, at: float, names: list[str]) -> Iterator[Waiting]:
    """Yield gangs that were queued in the hours before ``at``."""
    draw = random.Random(prefix)
    kinds = shapes()
    for number in range(count):
        owner = f"user-{draw.randrange(1000):03}"
        served = draw.choice((0.0, 0.0, 600.0, 4 * HOUR))
        yield Waiting(
            uid=f"{prefix}-{number:07}",
            namespace=owner,
            name=f"{prefix}-{number}",
            owner=owner,
            queue=draw.choice(names),
            priority=draw.choice((-100, 0, 0, 100)),
            queued_at=at - 50 * HOUR + 40 * HOUR * number / count,
            needs=draw.choice(kinds),
            kin=f"{owner}/{draw.randrange(5)}",
            served=served,
        )


class World:
    """A cluster in which time goes on: what is decided is carried out, outside of what is timed."""

    def __init__(
        self, policy: str, *, size: int = NODES, waiting: int = GANGS, count: int = QUEUES, now: float = BETWEEN
    ) -> None:
        self.pool = Pool(nodes(size))
        table, cohorts = queues(policy, count, size)
        self.board = Board(self.pool, table, cohorts, (), 7 * 86400.0)
        self.names = list(table)
        self.now = now
        self.memo: Any = None
        self.held: dict[str, Held] = {}
        self.more = gangs(10_000, "new", self.now, self.names)
        draw = random.Random(1)
        for _ in range(300):  # ends that were seen
            gang = next(self.more)
            self.board.chronicle.ended(_life(gang, draw.lognormvariate(8, 2)))
        for gang in gangs(waiting, "old", self.now, self.names):
            self.board.join(gang)

    def fill(self, free: float) -> None:
        """Let gangs run that leave so much of the cluster free, by the largest that fit."""
        kinds = {
            sum(need.count * need.each.devices["gpu"] for need in kind): kind for kind in shapes() if len(kind) == 1
        }
        draw = random.Random(2)
        at = 0
        for node in self.pool.nodes:
            if draw.random() < free:
                continue
            left = 8
            while left:
                wide = draw.choice([each for each in (1, 2, 4, 8) if each <= left])
                since = self.now - draw.uniform(HOUR, 30 * HOUR)
                owner = f"user-{draw.randrange(1000):03}"
                gang = Waiting(
                    f"run-{at:06}", owner, f"run-{at}", owner, draw.choice(self.names), 0, since, kinds[wide]
                )
                gang = replace(gang, kin=f"{owner}/0")
                first = kinds[wide][0]
                spans = {first.role: (_span(node.name, first.count),)}
                self.start(gang, spans, since)
                left -= wide
                at += 1

    def start(self, gang: Waiting, placement: Any, since: float) -> None:
        """Let a gang run."""
        held = self.held[gang.uid] = self.pool.held(gang.needs, placement)
        self.board.hold(gang, held, 1, self.now)
        self.board.run(Running(gang, held.placement, since))

    def end(self) -> None:
        """Let the next gang end that runs and stays."""
        running = next(each for each in self.board.running.values() if not each.leaving)
        self.board.end(running.gang.uid)
        self.board.hold(running.gang, self.held.pop(running.gang.uid), -1, self.now)

    def arrive(self) -> None:
        """Let a gang arrive."""
        self.board.join(replace(next(self.more), queued_at=self.now, served=0.0))

    def carry_out(self, plan: Plan) -> None:
        """Start what was admitted, and let those leave that are to go."""
        waiting = {gang.uid: gang for gang in self.board.waiting} if plan.admissions else {}
        for admission in plan.admissions:
            self.board.leave(waiting[admission.uid])
            self.start(waiting[admission.uid], admission.placement, self.now)
        for eviction in plan.evictions:
            running = self.board.running[eviction.uid]
            self.board.run(replace(running, leaving=True, claimed_by=eviction.by))

    def show(self, delta: bool) -> tuple[Snapshot, list[Waiting]]:
        """Return what the scheduler sees now."""
        snapshot, waiting = self.board.show(self.now)
        return (snapshot if delta else replace(snapshot, delta=None)), waiting


def _life(gang: Waiting, age: float) -> Any:
    from octopus_hub.core.policies.service import life_of

    return life_of(gang, age)


def _span(node: str, count: int) -> Any:
    from octopus_hub.model.status import Span

    return Span(node=node, first=0, count=count)


Timed = list[tuple[float, float]]  # wall and CPU seconds


def clocked(call: Callable[[], Plan], into: Timed) -> Plan:
    """Call and note what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    plan = call()
    into.append((time.perf_counter() - wall, time.process_time() - cpu))
    return plan


def figures(taken: Timed) -> Row:
    """Return median and p95 of wall and of CPU time, in milliseconds."""
    found: Row = {"runs": len(taken)}
    for at, name in enumerate(("wall", "cpu")):
        values = [each[at] for each in taken]
        found[f"{name}_median_ms"] = round(percentile(values, 50) * 1e3, 1)
        found[f"{name}_p95_ms"] = round(percentile(values, 95) * 1e3, 1)
    return found


def full(world: World, *, waits: bool, runs: int = FULL_RUNS) -> tuple[Plan, Row]:
    """Time cycles without a memo; ``waits`` asks for everybody's reason as well."""
    snapshot, waiting = world.show(True)
    taken: Timed = []

    def cycle() -> Plan:
        plan = schedule(snapshot, waiting, world.now)
        if waits:
            len(plan.waits)
        return plan

    for _ in range(runs):
        gc.collect()
        plan = clocked(cycle, taken)
        if sum(wall for wall, _ in taken) > BUDGET_SECONDS:
            break
    return plan, figures(taken)


def incremental(world: World, *, delta: bool, ends: bool, runs: int = CHANGES) -> Row:
    """Time cycles with a memo, each after a single change."""
    taken: Timed = []
    for _ in range(3):  # until what could start has started
        plan = schedule(*world.show(delta), world.now, world.memo)
        world.memo = plan.memo
        world.carry_out(plan)
    for _ in range(runs):
        world.now += 1.0
        world.end() if ends else world.arrive()
        snapshot, waiting = world.show(delta)
        now, memo = world.now, world.memo
        plan = clocked(lambda: schedule(snapshot, waiting, now, memo), taken)  # noqa: B023
        world.memo = plan.memo
        world.carry_out(plan)
        snapshot, waiting = world.show(delta)
        world.memo = schedule(snapshot, waiting, now, world.memo).memo  # what it admitted is seen
        if sum(wall for wall, _ in taken) > BUDGET_SECONDS:
            break
    return figures(taken)


def situations(policy: str) -> Iterator[Row]:
    """Yield the rows of a policy."""
    for cluster, free in (("saturated", 0.0), ("tenth free", 0.1), ("empty", 1.0)):
        world = World(policy)
        world.fill(free)
        for waits in (False, True):
            plan, row = full(world, waits=waits)
            named = {"policy": policy, "cluster": cluster, "cycle": "full, with waits" if waits else "full"}
            yield {**named, "admitted": len(plan.admissions), "evicted": len(plan.evictions), **row}
        for delta in (True, False):
            for ends in (False, True):
                named = {
                    "policy": policy,
                    "cluster": cluster,
                    "cycle": f"one {'end' if ends else 'arrival'}{'' if delta else ', no delta'}",
                }
                yield {**named, **incremental(world, delta=delta, ends=ends)}


def reviewed(policy: str) -> Iterator[Row]:
    """Yield full cycles of a policy at a review, where it may preempt."""
    for cluster, free in (("saturated", 0.0), ("tenth free", 0.1)):
        world = World(policy, now=AT_REVIEW)
        world.fill(free)
        plan, row = full(world, waits=False, runs=3)
        named = {"policy": policy, "cluster": cluster, "cycle": "full, at review"}
        yield {**named, "admitted": len(plan.admissions), "evicted": len(plan.evictions), **row}


def growth(policy: str, name: str, sizes: tuple[int, ...]) -> Iterator[Row]:
    """Yield full cycles over sizes, and the exponent of their growth."""
    medians = []
    for size in sizes:
        world = World(policy, **{name: size})  # type: ignore[arg-type]
        world.fill(0.1)
        _, row = full(world, waits=False, runs=3)
        medians.append(row["cpu_median_ms"])
        what = "waiting" if name == "waiting" else "nodes"
        yield {"policy": policy, "cluster": "tenth free", "cycle": f"full, {size} {what}", **row}
    exponent = float(np.polyfit(np.log(sizes), np.log(medians), 1)[0])
    yield {"policy": policy, "cycle": f"growth over {what}: power {exponent:.2f}"}


def million(policy: str) -> Row:
    """Return what a full cycle with 10^6 waiting gangs takes, once."""
    world = World(policy, waiting=1_000_000)
    world.fill(0.1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan, row = full(world, waits=False, runs=1)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    named = {"policy": policy, "cluster": "tenth free", "cycle": "full, 1000000 waiting"}
    return {
        **named,
        "admitted": len(plan.admissions),
        **row,
        "memory_mib": after // 1024,
        "more_mib": (after - before) // 1024,
    }


def main(policies: tuple[str, ...] = POLICIES) -> None:
    """Time everything and report."""
    rows: list[Row] = []
    for policy in policies:
        rows += situations(policy)
        if POLICY_TABLE[policy.partition("+")[0].partition(" ")[0]].reviews:
            rows += reviewed(policy)
    if policies == POLICIES:
        for policy in ("fifo", "gittins+any"):
            rows += growth(policy, "waiting", (5_000, 10_000, 20_000, 40_000))
            rows += growth(policy, "size", (1_250, 2_500, 5_000, 10_000))
        rows.append(million("gittins+any"))
    report(
        "schedule_scale",
        rows,
        target="a full cycle <= 500 ms p95, one after a single change <= 20 ms, growth no worse than linear",
    )


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or POLICIES)
