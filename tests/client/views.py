"""Views of one TaskSet in each of its phases, with fixed times."""

from __future__ import annotations

from typing import Any

from octopus_hub.client.calls import NodeUse
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.answers import TaskSetView
from octopus_hub.model.node import Node
from octopus_hub.model.status import ExceptionalTask, Phase, QueuePlace, RoleStatus, Status, TimelineEntry
from octopus_hub.model.task import Task, TaskState, Usage
from octopus_hub.model.taskset import Metadata, Role, Spec, TaskSet

NOW = 1_760_000_000.0
GIB = 1 << 30
ROLES = [
    Role("ps", command=["python", "ps.py"]),
    Role("worker", replicas=3, devices={"virtual": 1}, command=["python", "train.py", "--rate", "0.1"]),
]


def view(phase: Phase, tasks: list[Task] | None = None, place: QueuePlace | None = None, **status: Any) -> TaskSetView:
    """Return a view."""
    meta = Metadata(name="mnist", namespace="ada", owner="ada", uid="uid-1", created_at=NOW - 3725)
    spec = Spec(roles=ROLES, queue="research")
    return TaskSetView(
        taskset=TaskSet(metadata=meta, spec=spec, status=Status(phase=phase, **status)), tasks=tasks, queue_place=place
    )


def row(role: str, index: int, state: TaskState, **fields: Any) -> Task:
    """Return a task."""
    names = {"name": f"mnist-{role}-{index}-1", "namespace": "ada", "taskset": "mnist", "taskset_uid": "uid-1"}
    return Task(**{**names, "role": role, "index": index, "attempt": 1, "state": state, "node": "node-a", **fields})


def queued() -> TaskSetView:
    """One that waits for devices."""
    place = QueuePlace(
        uid="uid-1",
        place=2,
        code="NoFit",
        message="role worker needs 3 x 1 virtual, largest free 1 on node-b; 7 of 8 virtual in use by 2 TaskSets",
        need=Amounts(devices={"virtual": 3}),
        free=Amounts(devices={"virtual": 1}),
        where="node-b",
        estimate_seconds=754.0,
        basis="the maximum runtime of ada/big",
    )
    return view(Phase.QUEUED, place=place)


def held() -> TaskSetView:
    """One that is held."""
    message = "held; octopus release mnist lets it queue"
    place = QueuePlace(uid="uid-1", place=0, code="Held", message=message)
    return view(Phase.HELD, place=place, reason="Held", message=message)


def running() -> TaskSetView:
    """One that runs."""
    times = {"started_at": NOW - 83.0, "bound_at": NOW - 84.0}
    used = Usage(memory_bytes=300 << 20, peak_memory_bytes=GIB)
    tasks = [
        row("ps", 0, TaskState.RUNNING, usage=used, **times),
        row("worker", 0, TaskState.RUNNING, devices={"virtual": ["node-a-virtual-0"]}, metrics={"loss": 0.25}, **times),
        row("worker", 1, TaskState.RUNNING, attempt=2, devices={"virtual": ["node-a-virtual-1"]}, **times),
        row("worker", 2, TaskState.PENDING, node="node-b", message="unpacking the workspace"),
    ]
    roles = [RoleStatus(name="ps", running=1), RoleStatus(name="worker", running=2, pending=1)]
    return view(Phase.RUNNING, tasks, roles=roles, attempt=1, started_at=NOW - 83.0)


def failed() -> TaskSetView:
    """One that failed for memory, and a task whose end nobody understands."""
    cause = "killed for memory: used 8.0 GiB of 8 GiB"
    advice = "ask for more memory or lower the batch size"
    times = {"started_at": NOW - 83.0, "finished_at": NOW - 20.0}
    tasks = [
        row("ps", 0, TaskState.FAILED, end_reason="Stopped", signal=15, **times),
        row("worker", 0, TaskState.FAILED, end_reason="OOMKilled", signal=9, **times),
        row("worker", 1, TaskState.SUCCEEDED, exit_code=0, **times),
        row("worker", 2, TaskState.FAILED, exit_code=3, message="see its log", **times),
    ]
    exceptional = [
        ExceptionalTask(index=0, attempt=1, state="Failed", cause=cause, advice=advice),
        ExceptionalTask(
            index=2, attempt=1, state="Failed", cause="the program ended with exit code 3", advice="read its log"
        ),
    ]
    timeline = [
        TimelineEntry(phase=Phase.QUEUED, at=NOW - 90),
        TimelineEntry(phase=Phase.RUNNING, at=NOW - 83, reason="Running"),
        TimelineEntry(phase=Phase.FAILED, at=NOW - 20, reason="RoleFailed"),
    ]
    return view(
        Phase.FAILED,
        tasks,
        reason="RoleFailed",
        message=f"worker 0 failed: {cause}; {advice}",
        roles=[
            RoleStatus(name="ps", failed=1),
            RoleStatus(name="worker", failed=2, succeeded=1, exceptional=exceptional),
        ],
        attempt=2,
        started_at=NOW - 83.0,
        finished_at=NOW - 20.0,
        timeline=timeline,
        record="/state/records/ada/mnist/2",
    )


def large() -> TaskSetView:
    """A gang of 200, of which two are not like the others."""
    tasks = [row("worker", index, TaskState.RUNNING, started_at=NOW - 5.0) for index in range(200)]
    tasks[7] = row("worker", 7, TaskState.FAILED, exit_code=1, started_at=NOW - 5.0, finished_at=NOW - 1.0)
    tasks[9] = row("worker", 9, TaskState.UNKNOWN, node="node-b")
    return view(Phase.RUNNING, tasks, started_at=NOW - 5.0)


def hostile() -> TaskSetView:
    """One whose texts try to write over the terminal."""
    tasks = [row("worker", 0, TaskState.FAILED, message="\x1b[2J\x07boo\r\nName: mallory", end_reason="StartFailed")]
    return view(Phase.FAILED, tasks, message="a\x1b[31mred\nName: mallory")


VIEWS = {
    "queued": queued,
    "held": held,
    "running": running,
    "failed": failed,
    "large": large,
    "hostile": hostile,
}


def nodes() -> list[NodeUse]:
    """Two nodes that are partly taken, one that is down."""
    capacity = Amounts(cpu_millis=4000, memory_bytes=8 * GIB, devices={"virtual": 4})
    return [
        NodeUse(
            node=Node(name="node-a", capacity=capacity),
            used=Amounts(cpu_millis=3800, memory_bytes=GIB, devices={"virtual": 4}),
        ),
        NodeUse(node=Node(name="node-b", capacity=capacity), used=Amounts(cpu_millis=400, devices={"virtual": 3})),
        NodeUse(node=Node(name="node-c", capacity=capacity, ready=False)),
    ]
