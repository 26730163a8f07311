"""A controller on a played backend, and waiting for what becomes of its TaskSets."""

from __future__ import annotations

import asyncio
from typing import Any

from octopus_hub.control.cache import Cache
from octopus_hub.control.loop import Controller
from octopus_hub.model.status import Phase
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import TaskSet
from octopus_hub.runs.record import RecordWriter
from tests.control.played import Breaking, Played, clock


class Engine:
    """A controller with its cache, started and stopped; ``backend`` may be one that breaks."""

    def __init__(self, backend: Any, **options: Any) -> None:
        self.backend = backend
        self.cache = Cache()
        self.controller = Controller(backend, self.cache, RecordWriter(backend), clock=clock, **options)

    async def __aenter__(self) -> Engine:
        await self.backend.open()
        starting = asyncio.create_task(self.controller.start())
        died = asyncio.create_task(
            self.backend.dead.wait() if isinstance(self.backend, Breaking) else asyncio.sleep(1e9)
        )
        await asyncio.wait({starting, died}, return_when=asyncio.FIRST_COMPLETED)
        if died.done():
            starting.cancel()  # it died while it started
        else:
            await starting
        died.cancel()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.controller.stop()


class World:
    """Truth, and short ways to look at it."""

    def __init__(self, **options: Any) -> None:
        self.backend = Played(**options)

    def named(self, name: str) -> TaskSet:
        found = [each for each in self.backend.truth.tasksets.values() if each.name == name]
        assert found, f"there is no {name}"
        return found[0]

    def lawful(self) -> None:
        """Nothing that the witness saw broke a law."""
        assert self.backend.witness.problems == []

    def gone(self, name: str) -> bool:
        return all(each.name != name for each in self.backend.truth.tasksets.values())

    def rows(self, name: str) -> list[Task]:
        uid = self.named(name).metadata.uid
        return [task for task in self.backend.truth.tasks.values() if task.taskset_uid == uid]

    async def until(self, holds: Any, seconds: float = 2_500.0) -> None:
        """Wait in imagined time."""
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110 - imagined time
                await asyncio.sleep(0.05)

    async def phase(self, name: str, *phases: Phase, seconds: float = 2_500.0) -> TaskSet:
        """Wait until a TaskSet is in one of the phases."""
        await self.until(lambda: self.named(name).status.phase in phases, seconds)
        return self.named(name)

    async def ended(self, *names: str, seconds: float = 2_500.0) -> list[TaskSet]:
        """Wait until TaskSets have ended and their records stand."""

        def over(taskset: TaskSet) -> bool:
            return taskset.status.phase.terminal and taskset.status.recorded_attempt == taskset.status.attempt

        await self.until(lambda: all(over(self.named(name)) for name in names), seconds)
        self.lawful()
        return [self.named(name) for name in names]
