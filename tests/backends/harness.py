"""What the contract suite needs from each backend: one to open, tasks to run in it, waiting for what becomes of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from octopus_hub.backends.base import Backend, Change
from octopus_hub.backends.local import process
from octopus_hub.backends.local.backend import LocalBackend
from octopus_hub.backends.memory import MemoryBackend
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.status import Phase, Status
from octopus_hub.model.task import Task, TaskSpec, TaskState
from octopus_hub.model.taskset import Metadata, Role, Spec, TaskSet

DEADLINE = 60.0
BACKENDS = ("memory", "local")


class Clock:
    """Time that a test can move."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


class Harness:
    """A backend of a kind, and short ways to use it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder / "state"
        self.clock = Clock()
        self.backend = self.make()

    def make(self) -> Backend:
        if self.kind == "memory":
            return MemoryBackend(auto=True, clock=self.clock, kept_changes=200)
        return LocalBackend(self.folder, clock=self.clock, descriptors=())

    async def close(self) -> None:
        """End what runs, so that nothing outlives the test."""
        tasks = (await self.backend.listing()).tasks
        alive = [(task.namespace, task.name) for task in tasks if not task.state.terminal]
        if alive:
            await self.backend.stop_tasks(alive, 0.0, "Stopped")
            await self.wait(*alive)
        await self.backend.close()
        assert process.marked(f"{self.folder.as_posix()}/") == []

    async def create(
        self, name: str = "job", *, namespace: str = "anna", key: str | None = None, **fields: Any
    ) -> TaskSet:
        return await self.backend.create(taskset(name, namespace=namespace, **fields), key)

    async def task(self, namespace: str, name: str) -> Task:
        for each in (await self.backend.listing()).tasks:
            if (each.namespace, each.name) == (namespace, name):
                return each
        raise AssertionError(f"no task {name}")

    async def wait(self, *names: tuple[str, str], states: tuple[TaskState, ...] = ()) -> list[Task]:
        """Wait by the watch until every task has reached a state (or its end)."""
        listing = await self.backend.listing()
        rows = {(task.namespace, task.name): task for task in listing.tasks}
        wanted = {*states, TaskState.SUCCEEDED, TaskState.FAILED}
        async with asyncio.timeout(DEADLINE):
            changes = self.backend.watch(listing.revision)
            while not all(name in rows and rows[name].state in wanted for name in names):
                item = (await anext(changes)).object
                if isinstance(item, Task):
                    rows[item.namespace, item.name] = item
        return [rows[name] for name in names]

    async def run(self, job: TaskSet, *commands: list[str], **fields: Any) -> list[Task]:
        """Run a gang to its end."""
        names = await self.started(job, *commands, **fields)
        return await self.wait(*names)

    async def started(self, job: TaskSet, *commands: list[str], **fields: Any) -> list[tuple[str, str]]:
        """Create a gang, open its barrier."""
        names = await self.bound(job, *commands, **fields)
        await self.backend.release(names)
        return names

    async def bound(self, job: TaskSet, *commands: list[str], **fields: Any) -> list[tuple[str, str]]:
        """Create a gang and wait until it stands at the barrier."""
        specs = [spec(job, index, command, **fields) for index, command in enumerate(commands)]
        await self.backend.create_tasks(specs)
        names = [(each.namespace, each.name) for each in specs]
        await self.wait(*names, states=(TaskState.BOUND,))
        return names

    async def log(self, name: tuple[str, str], **options: Any) -> bytes:
        return b"".join([chunk async for chunk in self.backend.read_log(*name, **options)])

    async def leave(self, name: tuple[str, str], path: str, content: bytes) -> None:
        """Put a file where the task would."""
        if isinstance(self.backend, MemoryBackend):
            self.backend.write_output(*name, path, content)
        else:
            row = await self.task(*name)
            target = self.folder / "tasks" / row.namespace / row.taskset / row.name / "work" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def taskset(name: str = "job", *, namespace: str = "anna", exact_name: bool = False, **spec_fields: Any) -> TaskSet:
    spec_fields.setdefault("roles", [Role("w", replicas=2, command=["true"])])
    return TaskSet(
        metadata=Metadata(name=name, namespace=namespace, owner=namespace, exact_name=exact_name),
        spec=Spec(**spec_fields),
    )


def spec(job: TaskSet, index: int, command: list[str], *, attempt: int = 1, **fields: Any) -> TaskSpec:
    devices = fields.pop("devices", {})
    fields.setdefault("node", "node-a")
    return TaskSpec(
        name=f"{job.name}-w-{index}-{attempt}",
        namespace=job.metadata.namespace,
        taskset=job.name,
        taskset_uid=job.metadata.uid,
        role="w",
        index=index,
        attempt=attempt,
        gang_attempt=attempt,
        hostname=f"{job.name}-w-{index}",
        command=command,
        amounts=Amounts(cpu_millis=100, memory_bytes=256 << 20, devices=devices),
        **fields,
    )


def with_phase(status: Status, phase: Phase, **changes: Any) -> Status:
    return msgspec.structs.replace(status, phase=phase, **changes)


async def take(changes: AsyncIterator[Change], count: int) -> list[Change]:
    async with asyncio.timeout(DEADLINE):
        return [await anext(changes) for _ in range(count)]


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
