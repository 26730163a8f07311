"""Lifetimes tied to a kernel or server: held by a connection, ended a while after the last one, over restarts as well."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from octopus_hub.backends.memory import MemoryBackend
from octopus_hub.client import lease as leases
from octopus_hub.client.sync import Client
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import Lifetime, Role, TaskSet
from octopus_hub.service.settings import ServiceSettings
from tests.service.running import DEADLINE, LOCAL, Running, document, running

SHORT = replace(ServiceSettings(), lease_seconds=0.05, keep_alive_seconds=0.02)


@pytest.fixture
async def engine() -> AsyncIterator[Running]:
    async with running(SHORT, backend=MemoryBackend(auto=True), engine=True) as started:
        yield started


def _document(name: str, **spec: object) -> dict[str, object]:
    return document(name, roles=[{"name": "worker", "replicas": 2, "command": ["sleep", "3600"]}], **spec)


async def submit(client: httpx.AsyncClient, name: str, mode: str, lease: str = "lease-1") -> str:
    answer = await client.post("tasksets", json=_document(name, lifetime={"mode": mode, "lease": lease}))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["metadata"]["uid"])


async def phase(engine: Running, uid: str, wanted: Phase) -> None:
    await engine.until(lambda: engine.cache.tasksets[uid].status.phase is wanted)


async def test_it_lives_while_the_connection_is_open(engine: Running) -> None:
    client = engine.client()
    async with client.stream("GET", "leases/lease-1") as held:
        chunks = held.aiter_raw()
        await anext(chunks)
        uid = await submit(client, "tied", "kernel")
        await phase(engine, uid, Phase.RUNNING)
        for _ in range(10):  # many keep-alives, far longer than the grace
            await anext(chunks)
        assert engine.cache.tasksets[uid].metadata.stop_requested_at is None
    await phase(engine, uid, Phase.STOPPED)
    status = engine.cache.tasksets[uid].status
    assert status.reason == "LifetimeEnded" and "its kernel ended" in status.message


async def test_only_what_is_tied_to_it_ends(engine: Running) -> None:
    client = engine.client()
    free = await submit(client, "free", "detached")
    async with client.stream("GET", "leases/other") as held:
        chunks = held.aiter_raw()
        await anext(chunks)
        other = await submit(client, "other", "server", "other")
        lost = await submit(client, "lost", "server")
        await phase(engine, lost, Phase.STOPPED)
        assert "its notebook server ended" in engine.cache.tasksets[lost].status.message
        await anext(chunks)
        for uid in (free, other):
            assert engine.cache.tasksets[uid].metadata.stop_requested_at is None


async def test_a_holder_may_come_back_in_time() -> None:
    async with running(replace(SHORT, lease_seconds=3600.0), backend=MemoryBackend(auto=True), engine=True) as engine:
        client = engine.client()
        uid = await submit(client, "tied", "kernel")
        key = next(iter(engine.app.settings["service"].leases._timers))
        assert key[1] == "lease-1"
        async with client.stream("GET", "leases/lease-1") as held:
            await anext(held.aiter_raw())
            assert not engine.app.settings["service"].leases._timers
        await engine.until(lambda: engine.app.settings["service"].leases._timers)
        assert engine.cache.tasksets[uid].metadata.stop_requested_at is None


async def test_what_was_lost_while_the_service_was_away_ends_too() -> None:
    async with running(replace(SHORT, lease_seconds=3600.0)) as before:
        uid = await submit(before.client(), "tied", "kernel")
        left = before.backend.truth.tasksets[uid]
    backend = MemoryBackend(auto=True)
    stored = await backend.create(left)  # it stands in what the next service lists at its start
    async with running(SHORT, backend=backend, engine=True) as after:
        await phase(after, stored.metadata.uid, Phase.STOPPED)


@pytest.mark.parametrize("lease", ["a/b", "..", "x" * 101, "-x", "a b"])
async def test_bad_leases_are_refused(engine: Running, lease: str) -> None:
    answer = await engine.client().get(f"leases/{httpx.QueryParams({'a': lease})['a'].replace('/', '%2F')}")
    assert answer.status_code in (404, 422), answer.text


async def test_the_client_holds_it_for_its_process(engine: Running) -> None:
    before = threading.active_count()
    url = f"http://127.0.0.1:{engine.port}/services/octopus"
    taskset = TaskSet("tied", roles=[Role("worker", command=["true"])], lifetime=Lifetime(mode="kernel"))
    with Client(url, LOCAL) as client:
        tied = leases.tie(taskset)
        assert tied.spec.lifetime.lease == leases.process_lease()
        leases.hold(client, tied)
        leases.hold(client, tied)
    assert threading.active_count() == before + 1
    holders = engine.app.settings["service"].leases._holders
    async with asyncio.timeout(DEADLINE):
        while ("owner", leases.process_lease()) not in holders:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_where_there_is_nothing_to_tie_to() -> None:
    server = TaskSet("tied", roles=[Role("worker", command=["true"])], lifetime=Lifetime(mode="server"))
    kernel = TaskSet("tied", roles=[Role("worker", command=["true"])], lifetime=Lifetime(mode="kernel"))
    with pytest.raises(InvalidSpec, match="there is none here"):
        leases.tie(server, {})
    with pytest.raises(InvalidSpec, match="submit it from a notebook"):
        leases.tie(kernel, {}, kernel=False)
    assert leases.tie(server, {leases.SERVER_LEASE: "server-1"}).spec.lifetime.lease == "server-1"
