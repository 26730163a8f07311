"""Kill -9 of the whole engine at any moment, many times over: what runs lives on, nothing runs twice, all ends right."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from octopus_hub.backends.local import process
from octopus_hub.backends.local.backend import LocalBackend
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import TaskSet
from tests.backends.local.test_parent import REPOSITORY

PROGRAM = "tests.backends.local.crashing_engine"
ROUNDS = 24
# each task says once that its user code runs, then takes a while; O_APPEND keeps lines whole
SAY = 'echo "$OCTOPUS_TASKSET $OCTOPUS_ROLE $OCTOPUS_INDEX $OCTOPUS_ATTEMPT" >> {file}; sleep {seconds}; exit {code}'
FAIL_ONCE = 'if [ "$OCTOPUS_ATTEMPT" = 1 ]; then exit 7; fi; exit 0'


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncIterator[Path]:
    """A folder for state and files; whatever was started in it is gone afterwards."""
    yield tmp_path
    for path in (tmp_path / "state").glob("tasks/*/*/*/parent.json"):
        identity = json.loads(path.read_text())
        if process.lives(identity):
            os.kill(identity["pid"], signal.SIGKILL)
    for pid, _ in process.marked(f"{(tmp_path / 'state').as_posix()}/"):
        os.kill(pid, signal.SIGKILL)


class Killed:
    """Starts engines and kills them."""

    def __init__(self, ground: Path, jobs: list[dict[str, Any]]) -> None:
        self.state, self.jobs = ground / "state", ground / "jobs.json"
        self.jobs.write_text(json.dumps(jobs))
        self.kills = 0

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", PROGRAM, str(self.state), str(self.jobs)]
        log = open(self.state.parent / "engine.log", "ab")  # noqa: SIM115 - the child's
        with log:
            return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=log)

    async def round(self, seconds: float) -> bool:
        """Let an engine run for a while after it opened, then kill it; True if it was done before."""
        engine = self.start()
        assert engine.stdout is not None
        try:
            line = await asyncio.wait_for(asyncio.to_thread(engine.stdout.readline), 60)
            assert line == b"open\n", (self.state.parent / "engine.log").read_text()
            try:
                line = await asyncio.wait_for(asyncio.to_thread(engine.stdout.readline), seconds)
            except TimeoutError:
                self.kills += 1
                return False
            assert line == b"done\n", (self.state.parent / "engine.log").read_text()
            return True
        finally:
            engine.kill()
            await asyncio.to_thread(engine.wait)
            engine.stdout.close()

    async def look(self) -> tuple[dict[str, TaskSet], dict[str, Any]]:
        """Return TaskSets and their last records by name, from an engine that does nothing."""
        backend = LocalBackend(self.state)
        await backend.open()
        try:
            tasksets = {each.name: each for each in (await backend.listing()).tasksets}
            records = {name: await backend.get_record("anna", name) for name in tasksets}
        finally:
            await backend.close()
        return tasksets, records


def job(name: str, file: Path, *, seconds: float, code: Any = 0, **fields: Any) -> dict[str, Any]:
    says = SAY.format(file=file, seconds=seconds, code="0") if code == 0 else ""
    if code == "once":
        says = SAY.format(file=file, seconds=seconds, code="0").replace("; exit 0", f"; {FAIL_ONCE}")
    elif code:
        says = SAY.format(file=file, seconds=seconds, code=code)
    return {"name": name, "roles": [{"name": "w", "replicas": 2, "command": ["sh", "-c", says], **fields}]}


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_engine_killed_at_random_moments(ground: Path) -> None:
    """Kill -9 in 24 rounds: user code of every attempt began exactly once, and every end is the right one."""
    file, dice = ground / "began", random.Random(20)
    jobs = []
    for number in range(6):
        jobs.append(job(f"good{number}", file, seconds=1 + number))
        jobs.append(job(f"bad{number}", file, seconds=1 + number, code=3, scope="task"))
        jobs.append(job(f"gang{number}", file, seconds=1 + number, code="once", scope="gang"))
    engines = Killed(ground, jobs)
    done = False
    for _ in range(ROUNDS):
        done = done or await engines.round(dice.uniform(0.0, 1.2))
    while not done:
        done = await engines.round(60)
    assert engines.kills >= 10
    tasksets, records = await engines.look()
    lines = file.read_text().splitlines()
    assert max(Counter(lines).values()) == 1, "user code of one attempt ran twice"
    began = {tuple(line.split()) for line in lines}
    for name, taskset in tasksets.items():
        attempts = {(role, index, attempt) for owner, role, index, attempt in began if owner == name}
        if name.startswith("good"):
            assert taskset.status.phase is Phase.SUCCEEDED, (name, taskset.status)
            assert attempts == {("w", "0", "1"), ("w", "1", "1")}, (name, attempts)
        elif name.startswith("bad"):
            assert taskset.status.phase is Phase.FAILED, (name, taskset.status)
            assert "exit code 3" in taskset.status.message
        else:
            assert taskset.status.phase is Phase.SUCCEEDED, (name, taskset.status)
            assert attempts >= {("w", "0", "2"), ("w", "1", "2")}, (name, attempts)
        assert records[name].phase is taskset.status.phase and records[name].final
        recorded = {(end.role, str(end.index), str(end.attempt)) for end in records[name].tasks if end.started_at}
        assert recorded <= attempts, (name, recorded, attempts)
    assert set(tasksets) == {each["name"] for each in jobs}, "each key made one TaskSet"
    assert process.marked(f"{engines.state.as_posix()}/") == []


STRAY = r"""
import os, pathlib, sys, time
seen = pathlib.Path(sys.argv[1])
attempt = os.environ["OCTOPUS_ATTEMPT"]
if attempt != "1":
    pid = (seen / "stray").read_text()
    alive = os.path.exists(f"/proc/{pid}") and pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    (seen / "result").write_text("alive" if alive else "gone")
    sys.exit(0)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        (seen / "stray.new").write_text(str(os.getpid()))
        (seen / "stray.new").rename(seen / "stray")
        os.execvp("sleep", ["sleep", "1000"])
    os._exit(0)
time.sleep(1000)
"""


@pytest.mark.parametrize("engine_lives", [True, False], ids=["while the engine runs", "while no engine runs"])
async def test_strays_of_a_killed_parent_are_gone_before_the_restart(ground: Path, engine_lives: bool) -> None:
    command = [sys.executable, "-c", STRAY, str(ground)]
    roles = [{"name": "w", "command": command, "scope": "task"}]
    engines = Killed(ground, [{"name": "job", "roles": roles}])
    engine = engines.start()
    try:
        async with asyncio.timeout(60):
            while not (ground / "stray").exists():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        if not engine_lives:
            engine.kill()
            engine.wait()
        (parent,) = engines.state.glob("tasks/*/*/*/parent.json")
        os.kill(json.loads(parent.read_text())["pid"], signal.SIGKILL)
        if engine_lives:
            assert engine.stdout is not None
            async with asyncio.timeout(60):
                assert await asyncio.to_thread(engine.stdout.read) == b"open\ndone\n"
        else:
            assert await engines.round(60)
    finally:
        engine.kill()
        engine.wait()
    assert (ground / "result").read_text() == "gone"
    tasksets, records = await engines.look()
    assert tasksets["job"].status.phase is Phase.SUCCEEDED
    role = tasksets["job"].status.roles[0]
    assert (role.restarts, role.transient_restarts) == (0, 1), "the platform's fault costs no restart of the user's"
    assert {end.attempt for end in records["job"].tasks} == {1, 2}


async def test_a_taskset_deleted_while_the_engine_dies_leaves_nothing(ground: Path) -> None:
    file = ground / "began"
    jobs = [{**job("gone", file, seconds=0.1), "ttl": 0.0}, job("kept", file, seconds=8)]
    engines = Killed(ground, jobs)
    for seconds in (0.4, 0.6, 0.8, 1.0, 1.2):
        await engines.round(seconds)
    while not await engines.round(60):
        pass
    tasksets, _ = await engines.look()
    assert "kept" in tasksets
    folders = {path.name for path in engines.state.glob("tasks/*/*")}
    assert folders == set(tasksets)
