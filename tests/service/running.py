"""Starts and stops the service of the tests, and waits for what it shows."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from tornado.testing import bind_unused_port
from tornado.web import Application

from octopus_hub.backends.memory import MemoryBackend
from octopus_hub.control.cache import Cache
from octopus_hub.control.loop import Controller
from octopus_hub.model.record import OutputFile, Record
from octopus_hub.model.status import Phase
from octopus_hub.model.task import Address, Task
from octopus_hub.model.taskset import Metadata, Spec, TaskSet
from octopus_hub.plugins.registry import Registry
from octopus_hub.runs.record import RecordWriter
from octopus_hub.service.application import make_app, make_server
from octopus_hub.service.identity import Authenticator, LocalToken, hub_oauth
from octopus_hub.service.settings import ServiceSettings
from tests.service.hubapi import HubApi

LOCAL = "local-token-0123456789"
DEADLINE = 20.0


class ArchivedRuns:
    """Archives and replays as the service needs them, without an archive format."""

    async def outputs(self, record: Record) -> AsyncIterator[bytes]:
        """Yield the outputs' paths."""
        for output in record.outputs:
            yield output.path.encode() + b"\n"

    async def crate(self, record: Record) -> AsyncIterator[bytes]:
        """Yield the record's name."""
        yield f"crate of {record.name}".encode()

    async def replay(self, record: Record) -> TaskSet:
        """Return the spec as it ran."""
        import msgspec

        return TaskSet(metadata=Metadata(name=record.name), spec=msgspec.convert(record.spec, Spec))


@dataclass
class Running:
    """A service that listens."""

    backend: MemoryBackend
    cache: Cache
    hub: HubApi
    app: Application
    port: int
    clock: list[float]
    oauth: Any
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    def client(self, token: str = LOCAL, **headers: str) -> httpx.AsyncClient:
        """Return a client of the API; "" sends no token."""
        if token:
            headers["Authorization"] = f"Bearer {token}"
        client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}/services/octopus/api/v1/",
            headers=headers,
            timeout=30,
            trust_env=False,
        )
        self.clients.append(client)
        return client

    async def until(self, holds: Callable[[], Any]) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(DEADLINE):
            while not holds():  # noqa: ASYNC110  (what is waited for has no event)
                await asyncio.sleep(0.005)

    async def start_tasks(self, uid: str) -> list[Task]:
        """Let a TaskSet's tasks exist, as the controller would."""
        import msgspec

        from octopus_hub.core.actions import Member
        from octopus_hub.core.expand import expand, port_names
        from octopus_hub.model.status import Span

        taskset = self.backend.truth.tasksets[uid]
        placement = {role.name: [Span(node="node-a", first=0, count=role.count)] for role in taskset.spec.roles}
        status = msgspec.structs.replace(taskset.status, phase=Phase.RUNNING, attempt=1, placement=placement)
        taskset = await self.backend.update_status(
            uid, status, version=taskset.metadata.version, epoch=self.backend.epoch
        )
        members = tuple(Member(role.name, index, 1) for role in taskset.spec.roles for index in range(role.count))
        addresses: dict[tuple[str, int], Address] = await self.backend.reserve(
            taskset, [(member.role, member.index) for member in members], port_names(taskset)
        )
        await self.backend.create_tasks(expand(taskset, members, addresses))
        await self.until(lambda: len(self.cache.tasks_of(uid)) == len(members))
        return self.cache.tasks_of(uid)


@contextlib.asynccontextmanager
async def running(
    settings: ServiceSettings | None = None, *, backend: MemoryBackend | None = None, engine: bool = False
) -> AsyncIterator[Running]:
    """Start hub answers, backend, cache (kept by a real controller with ``engine``) and service; stop them in reverse."""
    backend = backend or MemoryBackend()
    cache, hub, clock = Cache(), HubApi(), [1000.0]
    controller = Controller(backend, cache, RecordWriter(backend)) if engine else None
    watch = asyncio.create_task(controller.start() if controller else _watch(backend, cache))
    await asyncio.wait_for(watch if controller else _filled(cache), DEADLINE)
    settings = settings or ServiceSettings()
    oauth = hub_oauth(api_url=hub.url, api_token="service-token", prefix=settings.prefix)
    authenticator = Authenticator(LocalToken(LOCAL, "owner"), oauth)
    app = make_app(settings, backend, cache, Registry.load(), ArchivedRuns(), authenticator, clock=lambda: clock[0])
    server = make_server(app)
    sock, port = bind_unused_port()
    server.add_sockets([sock])
    started = Running(backend, cache, hub, app, port, clock, oauth)
    try:
        yield started
    finally:
        app.settings["service"].close()
        for client in started.clients:
            await client.aclose()
        server.stop()
        await server.close_all_connections()
        watch.cancel()
        if controller:
            await controller.stop()
        await hub.close()
        await backend.close()


async def _filled(cache: Cache) -> None:
    while not cache.queues:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def _watch(backend: MemoryBackend, cache: Cache) -> None:
    cache.replace(await backend.listing())
    async for change in backend.watch(cache.revision):
        cache.apply(change)


def document(name: str = "mnist", **spec: Any) -> dict[str, Any]:
    """Return a small TaskSet as a user writes it."""
    roles = [{"name": "worker", "replicas": 2, "command": ["python", "train.py"]}]
    return {
        "apiVersion": "octopus-hub.io/v1alpha1",
        "kind": "TaskSet",
        "metadata": {"name": name},
        "spec": {"roles": roles, **spec},
    }


def record(namespace: str, name: str, attempt: int = 1, **fields: Any) -> Record:
    """Return a run record."""
    spec = {"roles": [{"name": "worker", "command": ["true"]}], "queue": "default", "seed": 7}
    outputs = [OutputFile(path="worker-0/model.npz", digest="sha256:" + "1" * 64, size=3)]
    return Record(
        **{
            "namespace": namespace,
            "name": name,
            "uid": f"uid-{namespace}-{name}",
            "owner": namespace,
            "attempt": attempt,
            "phase": Phase.SUCCEEDED,
            "spec": spec,
            "outputs": outputs,
            **fields,
        }
    )


async def events(response: httpx.Response) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Yield (event, data) of a stream."""
    name = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])
