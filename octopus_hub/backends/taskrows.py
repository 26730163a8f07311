"""Rows of tasks in memory, and which devices they hold: no device (or part) is ever assigned to two tasks that live.

Values and indexes only; what may be changed is ``truth``'s matter, who uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from octopus_hub.backends.deviceuse import DeviceKey, DeviceUse, choose, held_otherwise
from octopus_hub.model.errors import InvalidSpec, Unavailable
from octopus_hub.model.node import Node
from octopus_hub.model.task import Task, TaskSpec

TaskKey = tuple[str, str]  # (namespace, task name)


class TaskRows:
    """Tasks by name and by TaskSet, and what devices they hold."""

    def __init__(self) -> None:
        self.tasks: dict[TaskKey, Task] = {}
        self._tasks_of: dict[str, dict[str, Task]] = {}
        self._use = DeviceUse()
        self._held: dict[TaskKey, dict[str, list[str]]] = {}

    def of(self, uid: str) -> list[Task]:
        """Return the rows of a TaskSet's tasks."""
        return list(self._tasks_of.get(uid, {}).values())

    def find(self, names: Iterable[TaskKey]) -> list[Task]:
        """Return the rows of these tasks, leaving out those that don't exist."""
        return [self.tasks[namespace, name] for namespace, name in names if (namespace, name) in self.tasks]

    def assign(self, spec: TaskSpec, node: Node | None, taken: DeviceUse) -> dict[str, list[str]]:
        """Return free devices (or parts) of the node for a task and add them to ``taken``; raises Unavailable."""
        if node is None:
            raise Unavailable(f"node {spec.node} is gone; {spec.name} can't be placed there", node=spec.node)
        chosen: dict[str, list[str]] = {}
        for kind, count in spec.amounts.devices.items():
            found, free = choose(node.devices, kind, count, (self._use, taken))
            if free < count:
                otherwise = held_otherwise(node.devices, kind, self._use)
                why = f"; {otherwise} more would be if they were not held as they were divided before" * bool(otherwise)
                what = f"{spec.name} needs {count} {kind} on {spec.node}, {free} are free{why}"
                raise Unavailable(what, node=spec.node)
            if count:
                chosen[kind] = found
        taken.add(chosen)
        return chosen

    def put(self, task: Task) -> None:
        """Add or replace a row; a task that has ended holds nothing."""
        key = task.namespace, task.name
        self.tasks[key] = task
        self._tasks_of.setdefault(task.taskset_uid, {})[task.name] = task
        held = {} if task.state.terminal else task.devices
        if held != self._held.get(key, {}):
            self._free(key)
            self._use.add(held)
            self._held[key] = held

    def drop(self, task: Task) -> None:
        """Remove a row."""
        key = task.namespace, task.name
        self.tasks.pop(key, None)
        rows = self._tasks_of.get(task.taskset_uid, {})
        rows.pop(task.name, None)
        if not rows:
            self._tasks_of.pop(task.taskset_uid, None)
        self._free(key)

    def held_as(self) -> dict[DeviceKey, str]:
        """Return as what each device is held that some live task holds: its own type, or one of its parts."""
        return {key: next(iter(held)) for key, held in self._use.held.items()}

    def _free(self, key: TaskKey) -> None:
        self._use.remove(self._held.pop(key, {}))


def new_row(spec: TaskSpec, devices: dict[str, list[str]], now: float) -> Task:
    """Return the row of a task that is about to be created."""
    return Task(
        name=spec.name,
        namespace=spec.namespace,
        taskset=spec.taskset,
        taskset_uid=spec.taskset_uid,
        role=spec.role,
        index=spec.index,
        attempt=spec.attempt,
        gang_attempt=spec.gang_attempt,
        node=spec.node,
        devices=devices,
        ports=spec.ports,
        created_at=now,
        memory_limit_bytes=spec.amounts.memory_bytes,
    )


def check_members(specs: Sequence[TaskSpec]) -> None:
    """Refuse a batch that names a task twice."""
    names = {(spec.namespace, spec.name) for spec in specs}
    if len(names) < len(specs):
        raise InvalidSpec("the same task is named twice")


def milestones(task: Task) -> tuple[Any, ...]:
    """What is worth a write of its own; measurements change all the time and can be measured again."""
    return task.state, task.bound_at, task.started_at, task.finished_at, task.exit_code, task.end_reason, task.message
