"""Hooks of a plug-in folder, asked and told by the real engine: variables, a refusal, a required one that fails, the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from octopus_hub.app.engine import Engine
from octopus_hub.client.aio import AsyncClient
from octopus_hub.client.calls import LogQuery
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import Role, TaskSet

DEADLINE = 60.0
HOOK = """
apiVersion: octopus-hub.io/v1alpha1
kind: Hook
name: {name}
stages: [{stage}]
command: ["./{name}.sh"]
retries: 0
required: {required}
"""


def write_hook(state: Path, name: str, stage: str, script: str, required: bool = False) -> None:
    folder = state / "plugins" / "hooks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(HOOK.format(name=name, stage=stage, required=str(required).lower()))
    (folder / f"{name}.sh").write_text(f"#!/bin/sh\n{script}\n")
    (folder / f"{name}.sh").chmod(0o755)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    state = tmp_path / "state"
    write_hook(state, "project", "expand", """cat > /dev/null; echo '{"env": {"PROJECT": "p-7"}}'""")
    refusal = """cat > /dev/null; case $HOOK_TASKSET in bad*) echo '{"allow": false, "message": "the licence is used up"}';; esac"""
    write_hook(state, "licence", "prepare", refusal)
    write_hook(
        state, "flaky", "prepare", "cat > /dev/null; case $HOOK_TASKSET in worse*) echo broken >&2; exit 7;; esac"
    )
    write_hook(state, "bill", "finish", f'cat > "{tmp_path}/bill-$HOOK_TASKSET-$HOOK_PHASE.json"')
    started = Engine(state, "ann")
    await started.start()
    yield started
    await started.stop()


async def ended(engine: Engine, uid: str) -> TaskSet:
    async def holds(check: Callable[[], Any]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not check():  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    await holds(lambda: engine.cache.tasksets[uid].status.phase.terminal)
    await holds(lambda: engine.cache.tasksets[uid].status.recorded_attempt >= engine.cache.tasksets[uid].status.attempt)
    return engine.cache.tasksets[uid]


def client(engine: Engine) -> AsyncClient:
    return AsyncClient(engine.url, (engine.state / "client_token").read_text())


def taskset(name: str) -> TaskSet:
    return TaskSet(name, roles=[Role("w", replicas=2, command=["sh", "-c", "echo project $PROJECT"])])


async def test_variables_arrive_and_the_end_is_told(engine: Engine, tmp_path: Path) -> None:
    async with client(engine) as service:
        uid = (await service.submit(taskset("good"))).metadata.uid
        done = await ended(engine, uid)
        log = b"".join([chunk async for chunk in service.logs("good", LogQuery("w", 1))])
    assert done.status.phase is Phase.SUCCEEDED and log == b"project p-7\n"
    assert {each.type: each.status for each in done.status.conditions} == {
        "Hook/project/expand": True,
        "Hook/licence/prepare": True,
        "Hook/flaky/prepare": True,
        "Hook/bill/finish": True,
    }
    told = json.loads((tmp_path / "bill-good-Succeeded.json").read_text())
    assert told["stage"] == "finish" and told["taskset"]["status"]["phase"] == "Succeeded"


async def test_a_refusal_ends_it_in_the_hooks_words_before_any_task(engine: Engine, tmp_path: Path) -> None:
    async with client(engine) as service:
        uid = (await service.submit(taskset("bad"))).metadata.uid
        done = await ended(engine, uid)
    assert done.status.phase is Phase.FAILED and done.status.reason == "Refused"
    assert "the licence is used up" in done.status.message
    assert not [task for task in engine.cache.tasks_of(uid) if task.bound_at]
    assert any(each.type == "Hook/licence/prepare" and not each.status for each in done.status.conditions)
    assert (tmp_path / "bill-bad-Failed.json").exists()


async def test_one_that_fails_is_shown_and_stops_nothing_unless_required(engine: Engine) -> None:
    async with client(engine) as service:
        uid = (await service.submit(taskset("worse"))).metadata.uid
        done = await ended(engine, uid)
    assert done.status.phase is Phase.SUCCEEDED
    (condition,) = [each for each in done.status.conditions if each.type == "Hook/flaky/prepare"]
    assert not condition.status and "exit 7: broken" in condition.message


async def test_a_required_one_that_fails_ends_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    write_hook(state, "must", "prepare", "exit 3", required=True)
    engine = Engine(state, "ann")
    await engine.start()
    try:
        async with client(engine) as service:
            done = await ended(engine, (await service.submit(taskset("x"))).metadata.uid)
    finally:
        await engine.stop()
    assert done.status.phase is Phase.FAILED and "exit 3" in done.status.message
