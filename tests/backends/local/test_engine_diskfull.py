"""The whole engine on a disk that is really full: refusals are clear, and once there is room again all goes on."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from octopus_hub.backends.local.backend import LocalBackend
from octopus_hub.control.cache import Cache
from octopus_hub.control.loop import Controller
from octopus_hub.model.errors import StateError
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import Role, TaskSet
from octopus_hub.runs.record import RecordWriter
from tests.backends.harness import chunks, taskset
from tests.backends.local.test_runner_diskfull import fill


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, check=False
    ).returncode:
        pytest.skip("a small disk can't be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(90):
        while not holds():  # noqa: ASYNC110 - the cache has no event
            await asyncio.sleep(0.05)


async def test_an_engine_on_a_full_disk_goes_on_when_there_is_room(disk: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    wait = ["sh", "-c", f"echo begun; while [ ! -e {go} ]; do sleep 0.05; done; echo over"]
    backend = LocalBackend(disk / "state")
    await backend.open()
    cache = Cache()
    controller = Controller(backend, cache, RecordWriter(backend))
    await controller.start()

    def job() -> TaskSet:
        return cache.tasksets[made.metadata.uid]

    try:
        made = await backend.create(taskset(queue="default", roles=[Role("w", replicas=2, command=wait)]))
        await until(lambda: made.metadata.uid in cache.tasksets and job().status.phase is Phase.RUNNING)
        fill(disk)
        with pytest.raises(StateError, match="nothing of this was stored"):
            for number in range(10_000):
                await backend.create(taskset(f"more{number}", hold=True, queue="default"))
        with pytest.raises(StateError, match=r"is full.*octopus prune"):
            await backend.put_blob(chunks(b"x" * 1_000_000), limit=1 << 30)
        go.touch()
        await until(lambda: all(task.state.terminal for task in cache.tasks_of(made.metadata.uid)))
        await asyncio.sleep(0.5)
        assert job().status.recorded_attempt == 0, "there is no room for a record"
        (disk / "filler").unlink()
        await until(lambda: job().status.recorded_attempt == 1)
        assert job().status.phase is Phase.SUCCEEDED
        record = await backend.get_record("anna", "job")
        assert record.phase is Phase.SUCCEEDED and len(record.tasks) == 2
        assert Path(record.path, record.tasks[0].log).read_bytes() == b"begun\nover\n"
    finally:
        await controller.stop()
        await backend.close()
