"""A disk that is really full (a small tmpfs): a clear end, never a hang, the exit is never lost. Needs root."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from octopus_hub.model.task import TaskState
from tests.backends.local.conftest import sweep
from tests.backends.local.tasks import Bench, python


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Bench]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can't be mounted here")
    bench = Bench(disk)
    await bench.runner.adopt([])
    yield bench
    await sweep(bench)
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(folder: Path) -> None:
    with open(folder / "filler", "wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


async def test_a_log_that_fills_the_disk_loses_only_output(small: Bench) -> None:
    code = "import os\nfor _ in range(64): os.write(1, bytes(65536))\nraise SystemExit(5)"
    end = await small.run(python(code))
    assert (end.state, end.exit_code, end.end_reason) == (TaskState.FAILED, 5, "")
    assert "the disk was full" in end.message and "bytes of output were lost" in end.message
    assert (small.folder(end) / "exit.json").read_bytes().startswith(b"{")


async def test_a_disk_that_fills_at_the_barrier(small: Bench) -> None:
    task = await small.start(["sh", "-c", "echo hello; exit 6"])
    await small.state(task, TaskState.BOUND)
    fill(small.root)
    await small.runner.release([task])
    assert (await small.ended(task)).exit_code == 6


async def test_a_stop_on_a_full_disk(small: Bench) -> None:
    task = await small.running(["sleep", "1000"])
    fill(small.root)
    await small.runner.stop([task], 0.2, "user's stop")
    end = await small.ended(task)
    assert (end.state, end.end_reason) == (TaskState.FAILED, "Stopped")


async def test_a_start_on_a_full_disk(small: Bench) -> None:
    fill(small.root)
    end = await small.ended(await small.start(["true"]))
    assert (end.state, end.end_reason) == (TaskState.FAILED, "DiskFull")
