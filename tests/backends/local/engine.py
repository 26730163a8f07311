"""A program that is nothing but a runner: starts one task, brings it to a phase, says so, waits to be killed.

``python engine.py ROOT PHASE COMMAND...``; phases before the barrier kill the program itself in the middle of a step.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from octopus_hub.backends.local import process
from octopus_hub.model.task import TaskState
from tests.backends.local.tasks import Bench


def die(*args: Any, **options: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(root: str, phase: str, command: list[str]) -> None:
    if phase == "before the parent":
        process.start_parent = die
    if phase == "before the environment":
        process.json = SimpleNamespace(dumps=die)  # the parent runs, what it waits for never comes
    bench = Bench(Path(root))
    await bench.runner.adopt([])
    task = await bench.start(command)
    await bench.state(task, TaskState.BOUND)
    if phase != "barrier":
        await bench.runner.release([task])
        await bench.state(task, TaskState.RUNNING)
    if phase == "stopping":
        await bench.logged(task, b"up")
        await bench.runner.stop([task], 0.5, "user's stop")
    print("reached", flush=True)
    await asyncio.sleep(1000)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
