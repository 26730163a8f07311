"""Tasks a second through the whole control loop on the memory backend: ``python -m bench.control``.

1,000 TaskSets of 2 tasks each are created; the controller schedules, creates, releases, sees them run and end, writes
their records. Timed from the first creation to the last record. The floor is the same work of the backend alone:
creating, releasing and ending the same tasks without any controller.
"""

from __future__ import annotations

import asyncio
import time

import msgspec

from bench.facts import report
from octopus_hub.backends.memory import MemoryBackend, node
from octopus_hub.control.cache import Cache
from octopus_hub.control.loop import Controller
from octopus_hub.core.actions import Member
from octopus_hub.core.expand import expand, port_names
from octopus_hub.model.status import Phase, Span
from octopus_hub.model.taskset import Metadata, Role, Spec, TaskSet
from octopus_hub.plugins.registry import Registry
from octopus_hub.runs.record import RecordWriter
from octopus_hub.service.submit import DEFAULT_QUEUE

TASKSETS = 1000
REPLICAS = 2
RUNS = 3
GIVE_UP_SECONDS = 300.0


def backend(nodes: int) -> MemoryBackend:
    """Return a backend whose tasks play their lives."""
    return MemoryBackend(nodes=[node(f"node-{at:03}", cpu=64, memory=256 << 30) for at in range(nodes)], auto=True)


def taskset(number: int) -> TaskSet:
    """Return one of the TaskSets, resolved as the service would."""
    name = f"job-{number:04}"
    spec = Spec(roles=[Role("worker", replicas=REPLICAS, command=["true"])], queue=DEFAULT_QUEUE, seed=1)
    made = TaskSet(metadata=Metadata(name=name, namespace="ann", owner="ann"), spec=spec)
    return _resolved(made)


def _resolved(made: TaskSet) -> TaskSet:
    return msgspec.structs.replace(
        made, resolved=msgspec.structs.replace(made.resolved, descriptors=Registry.load().resolve(made))
    )


async def through_control(made: list[TaskSet], nodes: int) -> float:
    """Return seconds from the first creation to the last record."""
    memory = backend(nodes)
    cache = Cache()
    controller = Controller(memory, cache, RecordWriter(memory))
    await controller.start()
    ended: set[str] = set()
    done = asyncio.Event()

    def look(change: object) -> None:
        item = getattr(change, "object", None)
        if isinstance(item, TaskSet) and item.status.phase.terminal and item.status.recorded_attempt:
            ended.add(item.metadata.uid)
            if len(ended) == len(made):
                done.set()

    cache.subscribe(look)
    started = time.perf_counter()
    for each in made:
        await memory.create(each)
    await asyncio.wait_for(done.wait(), GIVE_UP_SECONDS)
    took = time.perf_counter() - started
    assert all(each.status.phase is Phase.SUCCEEDED for each in cache.tasksets.values())
    await controller.stop()
    return took


async def backend_alone(made: list[TaskSet], nodes: int) -> float:
    """Return seconds that the backend needs for the same tasks."""
    memory = backend(nodes)
    started = time.perf_counter()
    for number, each in enumerate(made):
        stored = await memory.create(each)
        spot = {"worker": [Span(node=f"node-{number % nodes:03}", first=0, count=REPLICAS)]}
        placed = msgspec.structs.replace(stored, status=msgspec.structs.replace(stored.status, placement=spot))
        members = [Member("worker", index, 1) for index in range(REPLICAS)]
        every = [("worker", index) for index in range(REPLICAS)]
        addresses = await memory.reserve(stored, every, port_names(placed))
        specs = expand(placed, members, addresses)
        await memory.create_tasks(specs)
        await memory.release([(spec.namespace, spec.name) for spec in specs])
    while any(not task.state.terminal for task in memory.truth.tasks.values()):  # noqa: ASYNC110
        await asyncio.sleep(0)
    return time.perf_counter() - started


def main() -> None:
    """Measure both on the same TaskSets and report."""
    made = [taskset(number) for number in range(TASKSETS)]
    rows = []
    for nodes in (8, 200):
        for name, work in (("control loop", through_control), ("backend alone (floor)", backend_alone)):
            for run in range(RUNS):
                took = asyncio.run(work(made, nodes))
                rate = round(TASKSETS * REPLICAS / took)
                rows.append({"what": name, "nodes": nodes, "run": run, "seconds": round(took, 2), "tasks/s": rate})
    report("control", rows, target=f"{TASKSETS} TaskSets x {REPLICAS} tasks: >= 1,000 tasks/s")


if __name__ == "__main__":
    main()
