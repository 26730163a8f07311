"""Devices that a program of a plug-in tells about: found, given to tasks, their use shown in rows, idle ones stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from octopus_hub.app.engine import Engine
from octopus_hub.backends.local import backend
from octopus_hub.client.aio import AsyncClient
from octopus_hub.control.cache import usable
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import Idle, Lifetime, Role, TaskSet

DEADLINE = 60.0
LISTING = """#!/bin/sh
printf '[{"id": "npu-0", "model": "N1", "memoryBytes": 1024, "usedMemoryBytes": 512, "percent": %s}]' "$(cat @USE@)"
"""
DESCRIPTOR = """
apiVersion: octopus-hub.io/v1alpha1
kind: Device
name: npu
discovery: command
command: ["./list.sh"]
env: {NPU_VISIBLE: "{ids}", NPU_ALSO: "{ids}"}
parts: {max: 4}
"""
DIVIDED = "nodes: [{name: a, devices: {npu: discover}, divide: {npu: {parts: 2}}}]"


@pytest.fixture
def use(tmp_path: Path) -> Path:
    folder = tmp_path / "state" / "plugins" / "devices"
    folder.mkdir(parents=True)
    use = tmp_path / "use"
    use.write_text("40")
    (folder / "list.sh").write_text(LISTING.replace("@USE@", str(use)))
    (folder / "list.sh").chmod(0o755)
    (folder / "npu.yaml").write_text(DESCRIPTOR)
    return use


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_use_is_shown_and_an_idle_gang_is_stopped(
    tmp_path: Path, use: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "OBSERVE_SECONDS", 0.05)
    engine = Engine(tmp_path / "state", "ann")
    await engine.start()
    try:
        (node,) = engine.cache.nodes.values()
        assert node.capacity.devices == {"npu": 1} and node.devices[0].percent == 40
        command = ["sh", "-c", "echo $NPU_VISIBLE; exec sleep 3600"]
        idle = Lifetime(idle=Idle(util_below_percent=10, for_seconds=0.2, action="stop"))
        taskset = TaskSet("idle", roles=[Role("w", devices={"npu": 1}, command=command)], lifetime=idle)
        token = (engine.state / "client_token").read_text()
        async with AsyncClient(engine.url, token) as client:
            uid = (await client.submit(taskset)).metadata.uid
            await until(lambda: [t.usage.device_percent for t in engine.cache.tasks_of(uid)] == [{"npu-0": 40.0}])
            (task,) = engine.cache.tasks_of(uid)
            assert task.usage.device_memory_bytes == {"npu-0": 512} and task.devices == {"npu": ["npu-0"]}
            use.write_text("3")
            await until(lambda: engine.cache.tasksets[uid].status.phase is Phase.STOPPED)
        assert engine.cache.tasksets[uid].status.reason == "Idle"
    finally:
        await engine.stop()


async def test_the_use_of_a_shared_device_is_shown_for_each_who_shares_it_and_a_lost_one_offers_no_part(
    tmp_path: Path, use: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "OBSERVE_SECONDS", 0.05)
    (tmp_path / "state" / "octopus.yaml").write_text(DIVIDED)
    engine = Engine(tmp_path / "state", "ann")
    await engine.start()
    try:
        (node,) = engine.cache.nodes.values()
        assert node.capacity.devices == {"npu-1of2": 2}
        command = ["sh", "-c", "echo $NPU_VISIBLE $NPU_ALSO $OCTOPUS_DEVICE_PART; exec sleep 3600"]
        role = Role("w", replicas=2, devices={"npu": 0.5}, command=command)
        async with AsyncClient(engine.url, (engine.state / "client_token").read_text()) as client:
            uid = (await client.submit(TaskSet("shares", roles=[role]))).metadata.uid
            both = [{"npu-0": 40.0}] * 2
            await until(lambda: [t.usage.device_percent for t in engine.cache.tasks_of(uid)] == both)
            for task in engine.cache.tasks_of(uid):
                async with asyncio.timeout(DEADLINE):
                    chunks = engine.backend.read_log(task.namespace, task.name, follow=True)
                    assert await anext(aiter(chunks)) == b"npu-0 npu-0 1/2\n"
            use.write_text("70")
            await until(lambda: [t.usage.device_percent for t in engine.cache.tasks_of(uid)] == [{"npu-0": 70.0}] * 2)
            (node,) = engine.cache.nodes.values()
            assert node.devices[0].parts == 2, "what was seen of it does not make it whole"
            assert usable(node).devices == {"npu-1of2": 2}
            (tmp_path / "state" / "plugins" / "devices" / "list.sh").write_text("#!/bin/sh\necho '[]'\n")
            await until(lambda: not next(iter(engine.cache.nodes.values())).devices[0].healthy)
            assert usable(next(iter(engine.cache.nodes.values()))).devices == {"npu-1of2": 0}
            await client.stop("shares")
            await until(lambda: engine.cache.tasksets[uid].status.phase.terminal)
    finally:
        await engine.stop()
