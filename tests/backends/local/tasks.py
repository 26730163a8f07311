"""A real runner on a folder of its own, and short ways to run commands in it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from octopus_hub.backends.local import process
from octopus_hub.backends.local.runner import EnvironmentPaths, Prepared, Runner
from octopus_hub.model.errors import NotFound
from octopus_hub.model.task import Task, TaskSpec, TaskState

DEADLINE = 60.0


class Bench:
    """A runner, every change it told, and waiting with a generous deadline."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.root = root
        self.changes: list[Task] = []
        self.tasks: dict[str, Task] = {}
        self.blobs: dict[str, Path] = {}
        self.options = options
        self.runner = self.make()

    def make(self) -> Runner:
        options = {"marker": self.root.as_posix(), "clock": time.time, **self.options}
        return Runner(self.root, on_change=self.told, blob_path=self.blob, **options)

    def blob(self, digest: str) -> Path:
        if digest not in self.blobs:
            raise NotFound(f"no blob {digest}")
        return self.blobs[digest]

    def told(self, task: Task) -> None:
        self.changes.append(task)
        self.tasks[task.name] = task

    async def start(self, command: list[str], index: int = 0, **fields: Any) -> Task:
        secrets = fields.pop("secret_values", {})
        environment = fields.pop("environment", EnvironmentPaths(bin=os.path.dirname(sys.executable)))
        spec, task = describe(command, index, **fields)
        self.tasks[task.name] = task
        await self.runner.start([Prepared(spec=spec, task=task, environment=environment, secrets=secrets)])
        return task

    async def run(self, command: list[str], index: int = 0, **fields: Any) -> Task:
        """Start, release, wait for the end."""
        task = await self.start(command, index, **fields)
        await self.state(task, TaskState.BOUND)
        await self.runner.release([task])
        return await self.ended(task)

    async def running(self, command: list[str], index: int = 0, **fields: Any) -> Task:
        task = await self.start(command, index, **fields)
        await self.state(task, TaskState.BOUND)
        await self.runner.release([task])
        return await self.state(task, TaskState.RUNNING)

    async def state(self, task: Task, *states: TaskState) -> Task:
        wanted = {*states, TaskState.SUCCEEDED, TaskState.FAILED}
        await until(lambda: self.tasks.get(task.name, task).state in wanted)
        return self.tasks[task.name]

    async def ended(self, task: Task) -> Task:
        return await self.state(task)

    async def log(self, task: Task, **options: Any) -> bytes:
        return b"".join([part async for part in self.runner.read_log(task.namespace, task.name, **options)])

    async def logged(self, task: Task, text: bytes) -> None:
        """Wait until the task has written ``text``."""
        deadline = time.monotonic() + DEADLINE
        while text not in await self.log(task):
            assert time.monotonic() < deadline, await self.log(task)
            await asyncio.sleep(0.02)

    async def reopen(self) -> None:
        """What a new engine does: forget everything, adopt what the store knows."""
        await self.runner.close()
        self.runner = self.make()
        await self.runner.adopt(list(self.tasks.values()))

    def folder(self, task: Task) -> Path:
        return self.root / "tasks" / task.namespace / task.taskset / task.name

    def strays(self, task: Task) -> list[int]:
        marker = f"{self.root.as_posix()}/{task.namespace}/{task.name}"
        return [pid for pid, found in process.marked(marker) if found == marker]


def describe(command: list[str], index: int = 0, **fields: Any) -> tuple[TaskSpec, Task]:
    common: dict[str, Any] = {
        "name": f"job-worker-{index}-1",
        "namespace": "anna",
        "taskset": "job",
        "taskset_uid": "u1",
        "role": "worker",
        "index": index,
        "attempt": 1,
        "gang_attempt": 1,
        "node": "node-a",
    }
    devices = fields.pop("devices", {})
    spec = TaskSpec(**common, hostname=f"job-worker-{index}", command=command, **fields)
    return spec, Task(**common, devices=devices, memory_limit_bytes=spec.amounts.memory_bytes)


async def until(condition: Callable[[], Any], seconds: float = DEADLINE) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        await asyncio.sleep(0.01)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]
