"""Gangs as the service would stream them: model values, and frames of them as the page and the client read them."""

from __future__ import annotations

from typing import Any

import msgspec

from octopus_hub.model.amounts import Amounts
from octopus_hub.model.answers import Frame, Removed, TaskSetView
from octopus_hub.model.node import Device, Node
from octopus_hub.model.status import ExceptionalTask, Phase, QueuePlace, RoleStatus, Status, TimelineEntry
from octopus_hub.model.task import Task, TaskState, Usage
from octopus_hub.model.taskset import Metadata, Role, Spec, TaskSet

GIB = 2**30
MIB = 2**20
T0 = 1_800_000_000.0
UID = "uid-mnist"


def gang(phase: Phase = Phase.RUNNING, *, ps: int = 1, workers: int = 3, at: float = T0, **changes: Any) -> TaskSet:
    """Return a TaskSet of parameter servers and workers, submitted at ``at``."""
    version = changes.pop("version", 1)
    meta = {key: changes.pop(key) for key in ("name", "uid", "stop_requested_at") if key in changes}
    roles = [
        Role("ps", replicas=ps, command=["python", "ps.py"], memory="512Mi"),
        Role("worker", replicas=workers, main=True, devices={"virtual": 1}, command=["python", "worker.py"]),
    ]
    fields: dict[str, Any] = {"phase": phase, "attempt": 1, "timeline": timeline(phase, at), "queued_at": at}
    if phase is Phase.RUNNING or phase.terminal:
        fields["started_at"] = at + 1.4
    if phase.terminal:
        fields["finished_at"] = at + 75.0
    return TaskSet(
        metadata=Metadata(
            **{"name": "mnist-ps", "uid": UID, **meta}, namespace="ada", created_at=at, version=version, owner="ada"
        ),
        spec=Spec(roles=roles, queue="research", framework="pytorch"),
        status=Status(**{**fields, **changes}),
    )


def timeline(phase: Phase, at: float) -> list[TimelineEntry]:
    """Return the phases up to one, in the usual order."""
    order = [(Phase.QUEUED, 0.0), (Phase.ADMITTED, 0.9), (Phase.STARTING, 1.0), (Phase.RUNNING, 1.4)]
    if phase.terminal:
        order += [(Phase.STOPPING, 74.2), (phase, 75.0)]
    last = next((number for number, (each, _) in enumerate(order) if each is phase), len(order) - 1)
    return [TimelineEntry(phase=each, at=at + after) for each, after in order[: last + 1]]


def row(role: str, index: int, state: TaskState = TaskState.RUNNING, *, at: float = T0, **fields: Any) -> Task:
    """Return a task's row."""
    attempt = fields.pop("attempt", 1)
    name = fields.pop("taskset", "mnist-ps")
    defaults: dict[str, Any] = {
        "node": f"local-{index % 2}",
        "memory_limit_bytes": GIB // 2 if role == "ps" else 256 * MIB,
        "taskset_uid": UID,
    }
    if role == "worker":
        defaults["devices"] = {"virtual": [f"virtual-{index}"]}
    if state not in (TaskState.PENDING, TaskState.BOUND):
        defaults["started_at"] = at + 1.4
    return Task(
        name=f"{name}-{role}-{index}-{attempt}",
        namespace="ada",
        taskset=name,
        role=role,
        index=index,
        attempt=attempt,
        state=state,
        **{**defaults, **fields},
    )


def used(index: int, percent: float, memory: int) -> Usage:
    """Return the use of a worker and of its device."""
    return Usage(
        memory_bytes=memory, peak_memory_bytes=memory, cpu_seconds=12.5, device_percent={f"virtual-{index}": percent}
    )


def rows(state: TaskState = TaskState.RUNNING, *, workers: int = 3, at: float = T0) -> list[Task]:
    """Return the rows of the usual gang."""
    found = [row("ps", 0, state, at=at, usage=Usage(memory_bytes=92 * MIB, peak_memory_bytes=95 * MIB))]
    for index in range(workers):
        usage = used(index, 62.0 + 11 * (index % 3), (118 + 9 * (index % 5)) * MIB)
        metrics = {"accuracy": 0.9312 + index / 100, "loss": 0.2143} if index < 3 else {}
        found.append(row("worker", index, state, at=at, usage=usage, metrics=metrics))
    return found


def waiting_place(uid: str = UID) -> QueuePlace:
    """Return why a gang waits."""
    return QueuePlace(
        uid=uid,
        place=2,
        code="NoFit",
        message="role worker needs 3 x 1 virtual; 1 is free on local-1, 3 are held by ada/sweep-4; it starts when they end",
        need=Amounts(devices={"virtual": 3}, cpu_millis=400, memory_bytes=GIB),
        free=Amounts(devices={"virtual": 1}, cpu_millis=1600, memory_bytes=6 * GIB),
        where="local-1",
        estimate_seconds=130.0,
        basis="median of 12 earlier runs",
    )


def failed(at: float = T0, **changes: Any) -> TaskSet:
    """Return the usual gang after a worker ran out of memory."""
    why = ExceptionalTask(
        index=1,
        attempt=1,
        state="Failed",
        cause="killed for memory: used 256.0 MiB of 256.0 MiB",
        advice="ask for more memory or lower the batch size",
    )
    counts = [RoleStatus(name="ps", failed=1), RoleStatus(name="worker", failed=3, exceptional=[why], verdict="Failed")]
    fields: dict[str, Any] = {
        "reason": "RoleFailed",
        "message": "role worker failed: 1 of 3 tasks failed, none may",
        "roles": counts,
        "recorded_attempt": 1,
        "record": "/home/ada/.local/state/octopus-hub/records/ada/mnist-ps/1",
    }
    return gang(Phase.FAILED, at=at, **{**fields, **changes})


def failed_rows(at: float = T0) -> list[Task]:
    """Return how the tasks of that gang ended."""
    ends = {"finished_at": at + 74.0}
    return [
        row("ps", 0, TaskState.FAILED, at=at, end_reason="Stopped", signal=15, **ends),
        row("worker", 0, TaskState.FAILED, at=at, end_reason="Stopped", signal=15, **ends),
        row("worker", 1, TaskState.FAILED, at=at, end_reason="OOMKilled", signal=9, **ends),
        row("worker", 2, TaskState.FAILED, at=at, end_reason="Stopped", signal=15, **ends),
    ]


def node(name: str = "local-0", percent: float = 40.0) -> Node:
    """Return a node with its devices."""
    devices = [Device(id=f"virtual-{index}", type="virtual", percent=percent) for index in range(4)]
    return Node(name=name, capacity=Amounts(cpu_millis=2000, devices={"virtual": 4}), devices=devices)


def view(taskset: TaskSet, tasks: list[Task] | None = None, place: QueuePlace | None = None) -> TaskSetView:
    """Return a view."""
    return TaskSetView(taskset=taskset, tasks=tasks, queue_place=place)


def snapshot(*tasksets: TaskSet, tasks: list[Task] | None = None, **rest: Any) -> Frame:
    """Return a snapshot."""
    return Frame(revision=rest.pop("revision", 1), snapshot=True, tasksets=list(tasksets), tasks=tasks or [], **rest)


def delta(*tasksets: TaskSet, tasks: list[Task] | None = None, **rest: Any) -> Frame:
    """Return a delta."""
    gone = Removed(tasksets=rest.pop("gone", []), tasks=rest.pop("gone_tasks", []))
    revision = rest.pop("revision", 2)
    return Frame(revision=revision, tasksets=list(tasksets), tasks=tasks or [], removed=gone, **rest)


def wire(frame: Frame) -> dict[str, Any]:
    """Return a frame as the extension sends it to a page."""
    content: dict[str, Any] = msgspec.to_builtins(frame)
    content.pop("snapshot", None)
    return {"type": "snapshot" if frame.snapshot else "delta", **content}
