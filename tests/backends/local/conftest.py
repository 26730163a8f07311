"""Fixtures of the local backend's own tests; nothing a test started outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from octopus_hub.backends.local import process
from octopus_hub.backends.local.limits import Cgroups
from tests.backends.local.tasks import Bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path / "state")
    bench.root.mkdir()
    yield bench
    await sweep(bench)


async def sweep(bench: Bench) -> None:
    await bench.runner.stop(list(bench.tasks.values()), 0, "test ended")
    await asyncio.sleep(0.05)
    await bench.runner.close()
    for path in bench.root.glob("tasks/*/*/*/parent.json"):
        with contextlib.suppress(OSError, ValueError):
            identity = json.loads(path.read_text())
            if process.lives(identity):
                os.kill(identity["pid"], signal.SIGKILL)
    for pid, _ in process.marked(bench.root.as_posix() + "/"):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    groups = Cgroups.discover(bench.root)
    groups.sweep(())
    groups.close()
