"""Kill -9 of the engine and of a task's parent in each phase: nothing starts twice, nothing is left, no exit is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from octopus_hub.backends.local import process
from octopus_hub.backends.local.limits import Cgroups
from octopus_hub.model.task import Task, TaskState
from tests.backends.local.tasks import Bench, describe, python, until

ENGINE = "tests.backends.local.engine"
REPOSITORY = Path(__file__).parents[3]
GO = ["sh", "-c", "echo started >> starts; echo up; while [ ! -e go ]; do sleep 0.02; done; echo end; exit 5"]
STUBBORN = ["sh", "-c", "trap '' TERM; echo started >> starts; echo up; while :; do sleep 0.02; done"]
STRAY = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open('stray', 'w').write(str(os.getpid()))
        os.execvp('sleep', ['sleep', '1000'])
    os._exit(0)
print('up', flush=True)
time.sleep(1000)
"""


async def engine(bench: Bench, phase: str, command: list[str]) -> Task:
    """Run an engine up to a phase and kill it; returns the task as the store knew it when it was created."""
    process_ = subprocess.Popen(
        [sys.executable, "-m", ENGINE, str(bench.root), phase, *command], cwd=REPOSITORY, stdout=subprocess.PIPE
    )
    assert process_.stdout is not None
    line = await asyncio.to_thread(process_.stdout.readline)
    process_.kill()
    process_.wait()
    process_.stdout.close()
    assert phase.startswith("before") or line == b"reached\n"
    task = describe(command)[1]
    bench.tasks[task.name] = task
    return task


def identity(bench: Bench, task: Task) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bench.folder(task) / "parent.json").read_text())
    return found


async def kill_parent(bench: Bench, task: Task) -> None:
    found = identity(bench, task)
    os.kill(found["pid"], signal.SIGKILL)
    await until(lambda: not process.lives(found))


def starts(bench: Bench, task: Task) -> int:
    file = bench.folder(task) / "work" / "starts"
    return len(file.read_text().splitlines()) if file.exists() else 0


def nobody(folder: Path) -> bool:
    with process.folder_lock(folder) as free:
        return free


# --- kill -9 of the engine


@pytest.mark.parametrize("phase", ["before the parent", "before the environment"])
async def test_engine_killed_before_bound(bench: Bench, phase: str) -> None:
    task = await engine(bench, phase, GO)
    await bench.runner.adopt([task])
    end = await bench.ended(task)
    assert (end.state, end.end_reason, end.started_at) == (TaskState.FAILED, "Vanished", None)
    assert starts(bench, task) == 0 and bench.strays(task) == []
    await until(lambda: nobody(bench.folder(task)))  # a parent that comes late finds that it was given up


async def test_engine_killed_at_the_barrier(bench: Bench) -> None:
    task = await engine(bench, "barrier", GO)
    await bench.runner.adopt([task])
    assert bench.tasks[task.name].state is TaskState.BOUND
    await bench.start(GO)  # the controller creates again what it has not seen: nothing may start twice
    await bench.runner.release([task])
    (bench.folder(task) / "work" / "go").touch()
    end = await bench.ended(task)
    assert (end.exit_code, starts(bench, task)) == (5, 1)
    assert await bench.log(task) == b"up\nend\n"


async def test_engine_killed_while_running(bench: Bench) -> None:
    task = await engine(bench, "running", GO)
    await bench.runner.adopt([task])
    seen = bench.tasks[task.name]
    assert seen.state is TaskState.RUNNING and seen.bound_at and seen.started_at
    (bench.folder(task) / "work" / "go").touch()
    end = await bench.ended(task)
    assert (end.exit_code, starts(bench, task)) == (5, 1)


async def test_an_exit_while_no_engine_ran_is_learned(bench: Bench) -> None:
    task = await engine(bench, "running", GO)
    (bench.folder(task) / "work" / "go").touch()
    await until(lambda: (bench.folder(task) / "exit.json").exists())
    await bench.runner.adopt([task])
    end = bench.tasks[task.name]
    assert (end.state, end.exit_code) == (TaskState.FAILED, 5)
    assert end.bound_at and end.started_at and end.finished_at
    assert await bench.log(task) == b"up\nend\n"


async def test_engine_killed_while_stopping(bench: Bench) -> None:
    task = await engine(bench, "stopping", STUBBORN)
    await bench.runner.adopt([task])
    end = await bench.ended(task)
    assert (end.signal, end.end_reason, end.message) == (9, "Stopped", "user's stop")
    assert bench.strays(task) == []


async def test_a_parent_started_twice_gives_way(bench: Bench) -> None:
    task = await bench.running(GO)
    second = process.start_parent(bench.folder(task), {"PATH": os.defpath})
    assert await asyncio.to_thread(second.wait) == 3
    (bench.folder(task) / "work" / "go").touch()
    assert (await bench.ended(task)).exit_code == 5
    third = process.start_parent(bench.folder(task), {"PATH": os.defpath})
    assert await asyncio.to_thread(third.wait) == 3
    assert starts(bench, task) == 1


async def test_a_closed_runner_leaves_tasks_running(bench: Bench) -> None:
    task = await bench.running(GO)
    await bench.reopen()
    assert process.lives(identity(bench, task))
    (bench.folder(task) / "work" / "go").touch()
    assert (await bench.ended(task)).exit_code == 5


# --- kill -9 of a parent


async def test_parent_killed_before_bound(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    start = process.start_parent

    def killed(folder: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
        started = start(folder, env)
        started.kill()
        return started

    monkeypatch.setattr(process, "start_parent", killed)
    end = await bench.ended(await bench.start(GO))
    assert (end.state, end.end_reason) == (TaskState.FAILED, "Vanished")
    assert starts(bench, end) == 0


async def test_parent_killed_at_the_barrier(bench: Bench) -> None:
    task = await bench.start(GO)
    await bench.state(task, TaskState.BOUND)
    await kill_parent(bench, task)
    end = await bench.ended(task)
    assert (end.end_reason, starts(bench, task)) == ("Vanished", 0)


@pytest.mark.parametrize("grouped", [True, False], ids=["with a control group", "without"])
async def test_parent_killed_while_running(bench: Bench, grouped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not grouped:
        monkeypatch.setattr(Cgroups, "create", lambda *args: "")
    task = await bench.running(python(STRAY))
    await bench.logged(task, b"up")
    stray = bench.folder(task) / "work" / "stray"
    await until(lambda: stray.exists() and stray.read_text())
    await kill_parent(bench, task)
    end = await bench.ended(task)
    assert (end.state, end.end_reason) == (TaskState.FAILED, "Vanished")
    assert process.start_time(int(stray.read_text())) is None
    assert bench.strays(task) == []


async def test_parent_killed_while_stopping(bench: Bench) -> None:
    task = await bench.running(STUBBORN)
    await bench.logged(task, b"up")
    await bench.runner.stop([task], 1000, "user's stop")
    await kill_parent(bench, task)
    end = await bench.ended(task)
    assert (end.state, end.end_reason) == (TaskState.FAILED, "Vanished")
    assert bench.strays(task) == []


async def test_parent_killed_while_no_engine_ran(bench: Bench) -> None:
    task = await engine(bench, "running", python(STRAY))
    stray = bench.folder(task) / "work" / "stray"
    await until(lambda: stray.exists() and stray.read_text())
    await kill_parent(bench, task)
    await bench.runner.adopt([task])
    end = await bench.ended(task)
    assert end.end_reason == "Vanished"
    assert process.start_time(int(stray.read_text())) is None


async def test_strays_of_a_forgotten_task_are_killed_at_open(bench: Bench) -> None:
    task = await engine(bench, "running", python(STRAY))
    stray = bench.folder(task) / "work" / "stray"
    await until(lambda: stray.exists() and stray.read_text())
    await kill_parent(bench, task)
    await bench.runner.adopt([])
    pid = int(stray.read_text())
    await until(lambda: process.start_time(pid) is None)


async def test_after_a_restart_of_the_machine_the_node_was_lost(bench: Bench) -> None:
    task = await engine(bench, "running", GO)
    await kill_parent(bench, task)
    path = bench.folder(task) / "parent.json"
    path.write_text(json.dumps({**identity(bench, task), "boot_id": "an earlier one"}))
    await bench.runner.adopt([task])
    assert (await bench.ended(task)).end_reason == "NodeLost"


async def test_a_recycled_pid_is_not_taken_for_the_parent(bench: Bench) -> None:
    task = await engine(bench, "running", GO)
    await kill_parent(bench, task)
    path = bench.folder(task) / "parent.json"
    path.write_text(json.dumps({**identity(bench, task), "pid": os.getpid()}))
    await bench.runner.adopt([task])
    assert (await bench.ended(task)).end_reason == "Vanished"


@pytest.mark.parametrize("name", ["parent.json", "started.json", "spec.json", "usage.json"])
async def test_a_damaged_file_never_hides_the_end(bench: Bench, name: str) -> None:
    task = await engine(bench, "running", GO)
    (bench.folder(task) / name).write_bytes(b"\0garbage")
    await bench.runner.adopt([task])
    (bench.folder(task) / "work" / "go").touch()
    assert (await bench.ended(task)).exit_code == 5


async def test_sigterm_of_the_parent_stops_the_task(bench: Bench) -> None:
    task = await bench.running(["sh", "-c", "sleep 1000"])
    os.kill(identity(bench, task)["pid"], signal.SIGTERM)
    end = await bench.ended(task)
    assert (end.state, end.end_reason, end.signal) == (TaskState.FAILED, "Stopped", 15)


async def test_parents_are_small_and_idle(bench: Bench) -> None:
    task = await bench.start(["sleep", "1000"])
    await bench.state(task, TaskState.BOUND)
    pid = identity(bench, task)["pid"]
    private = sum(
        int(line.split()[1])
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        if line.startswith("Private_")
    )
    assert private < 100 * 1024, f"{private} KiB"
    with contextlib.suppress(OSError):
        assert b"octopus_hub/__init__" not in Path(f"/proc/{pid}/maps").read_bytes()


async def test_a_full_disk_while_preparing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("octopus_hub.backends.local.prepare.write_spec", full)
    end = await bench.ended(await bench.start(GO))
    assert (end.state, end.end_reason) == (TaskState.FAILED, "DiskFull")
    assert "free some space" in end.message


async def test_a_task_whose_folder_never_came_to_be(bench: Bench) -> None:
    task = describe(GO)[1]
    await bench.runner.adopt([task])
    assert (await bench.ended(task)).end_reason == "Vanished"


async def test_a_listener_that_fails_is_told_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("octopus_hub.backends.local.runner.RESCAN_SECONDS", 0.05)
    failures = []
    told = bench.told

    def full(task: Task) -> None:
        if task.state.terminal and len(failures) < 3:
            failures.append(task)
            raise OSError(28, "the store's disk is full")
        told(task)

    monkeypatch.setattr(bench, "told", full)
    bench.runner = bench.make()
    end = await bench.run(["sh", "-c", "exit 5"])
    assert (end.exit_code, len(failures)) == (5, 3)


async def test_lost_wake_ups_cost_only_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("octopus_hub.backends.local.runner.RESCAN_SECONDS", 0.05)
    monkeypatch.setattr(bench.runner, "_on_events", lambda: os.read(bench.runner._events, 65536))
    end = await bench.run(["sh", "-c", "exit 5"])
    assert end.exit_code == 5
