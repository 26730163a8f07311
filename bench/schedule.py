"""How long one scheduling cycle takes with 1,000 nodes and 10,000 waiting gangs: ``python -m bench.schedule``.

The cluster is mixed: 600 nodes with 8 gpu, 200 with 4 npu, 200 without devices, in 40 racks. The gangs come from a
seeded draw of some 50 shapes (1 to 64 workers, some with a parameter server, some CPU only). Each situation is timed
cold (no memo) and, where a second cycle would follow, with the memo of a cycle before.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bench.facts import report, summary, timed
from octopus_hub.core.plan import Plan
from octopus_hub.core.schedule import schedule
from octopus_hub.core.snapshot import NodeView, RoleNeed, Snapshot, Usage, Waiting, held
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.queue import Queue

GIB = 2**30
NODES = 1000
GANGS = 10_000
RUNS = 7


def cluster() -> tuple[NodeView, ...]:
    """Return 1,000 nodes of three kinds in 40 racks."""
    kinds = (
        [Amounts(cpu_millis=96_000, memory_bytes=768 * GIB, devices={"gpu": 8})] * 3
        + [Amounts(cpu_millis=64_000, memory_bytes=512 * GIB, devices={"npu": 4})]
        + [Amounts(cpu_millis=128_000, memory_bytes=512 * GIB)]
    )
    return tuple(
        NodeView(name=f"node-{at:04}", capacity=kinds[at % 5], labels={"rack": f"r{at % 40}", "pool": f"p{at % 5}"})
        for at in range(NODES)
    )


def shapes(draw: random.Random) -> list[tuple[RoleNeed, ...]]:
    """Return about 50 different gangs."""
    found: list[tuple[RoleNeed, ...]] = []
    for workers in (1, 2, 4, 8, 16, 32, 64):
        for device, count in (("gpu", 1), ("gpu", 4), ("gpu", 8), ("npu", 1), ("npu", 4), ("", 0)):
            each = Amounts(
                cpu_millis=draw.choice((1000, 2000, 4000, 8000)),
                memory_bytes=draw.choice((4, 8, 16, 32)) * GIB,
                devices={device: count} if device else {},
            )
            worker = RoleNeed(role="worker", count=workers, each=each)
            if draw.random() < 0.3:
                server = RoleNeed(
                    role="ps", count=max(1, workers // 4), each=Amounts(cpu_millis=2000, memory_bytes=8 * GIB)
                )
                found.append((server, worker))
            else:
                found.append((worker,))
    return found


def gangs(count: int, queues: int, *, start: float = 0.0, seed: int = 7, small: bool = False) -> list[Waiting]:
    """Return waiting gangs spread over queues; ``small`` leaves only those of at most four workers."""
    draw = random.Random(seed)
    kinds = shapes(draw)
    if small:
        kinds = [kind for kind in kinds if kind[-1].count <= 4]
    return [
        Waiting(
            uid=f"uid-{seed}-{at:05}",
            namespace=f"user-{at % 200}",
            name=f"job-{at}",
            owner=f"user-{at % 200}",
            queue=f"queue-{at % queues}",
            priority=draw.choice((-100, 0, 0, 100)),
            queued_at=start + at,
            needs=draw.choice(kinds),
        )
        for at in range(count)
    ]


def admitted(plan: Plan, waiting: list[Waiting]) -> list[tuple[Waiting, Any]]:
    """Return the admitted gangs with their placements."""
    by_uid = {gang.uid: gang for gang in waiting}
    return [(by_uid[admission.uid], admission.placement) for admission in plan.admissions]


def situations(policy: str, queues: int) -> list[tuple[str, Callable[[], Plan]]]:
    """Return the timed calls for one policy and number of queues."""
    nodes = cluster()
    table = {f"queue-{at}": Queue(name=f"queue-{at}", policy=policy) for at in range(queues)}
    bounded = {
        name: replace_queue(queue, Amounts(devices={"gpu": 4000 // queues + 64, "npu": 4000}))
        for name, queue in table.items()
    }
    empty = Snapshot(nodes=nodes, usage=Usage(), queues=table)
    waiting = gangs(GANGS, queues)
    first = schedule(empty, waiting, 0.0)
    running = admitted(first, waiting)
    full = replace(empty, usage=held(running))
    left = [gang for gang in waiting if gang.uid in first.waits]
    more = left + gangs(GANGS - len(left), queues, start=2.0 * GANGS, seed=8)
    small = gangs(GANGS, queues, small=True)
    steady = schedule(full, more, 1.0)
    newer = [*more[:-1], *gangs(1, queues, start=4.0 * GANGS, seed=9)]
    freed = replace(full, usage=held(running[len(running) // 20 :]))
    return [
        ("empty cluster, all gangs new", lambda: schedule(empty, waiting, 0.0)),
        ("empty cluster, queues with quotas", lambda: schedule(replace(empty, queues=bounded), waiting, 0.0)),
        ("empty cluster, small gangs", lambda: schedule(empty, small, 0.0)),
        ("full cluster", lambda: schedule(full, more, 1.0)),
        ("full, 5 % just ended", lambda: schedule(freed, more, 2.0)),
        ("full, 5 % just ended, memo", lambda: schedule(freed, more, 2.0, steady.memo)),
        ("full, one gang new, memo", lambda: schedule(full, newer, 2.0, steady.memo)),
        ("full, nothing changed, memo", lambda: schedule(full, more, 2.0, steady.memo)),
    ]


def replace_queue(queue: Queue, nominal: Amounts) -> Queue:
    """Return the queue with a quota."""
    return Queue(name=queue.name, policy=queue.policy, nominal=nominal)


def main() -> None:
    """Time every situation and report."""
    rows = []
    for policy, queues in (("fifo", 1), ("fifo", 20), ("priority", 20), ("fifo", 1000)):
        for name, call in situations(policy, queues):
            plan = call()
            gc.collect()
            rows.append(
                {
                    "situation": name,
                    "policy": policy,
                    "queues": queues,
                    "admitted": len(plan.admissions),
                    "waiting": len(plan.waits),
                    **summary(timed(call, RUNS)),
                }
            )
    report("schedule", rows, target=f"{NODES} nodes, {GANGS} waiting gangs: one cycle <= 100 ms")


if __name__ == "__main__":
    main()
