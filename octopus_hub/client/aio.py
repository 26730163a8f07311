"""The asynchronous client: :mod:`calls` over ``httpx.AsyncClient``, method by method what :mod:`sync` has.

Used by the Jupyter server extension and by programs with an event loop of their own.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from octopus_hub.client import calls, definitions, exchange, outputs, reservations, transport
from octopus_hub.client.archive import Archive
from octopus_hub.client.calls import (
    OWN,
    Call,
    LogQuery,
    Names,
    Nodes,
    NodeUses,
    Plain,
    Records,
    Rows,
    T,
    Tasks,
    Views,
)
from octopus_hub.client.connection import find_connection
from octopus_hub.client.definitions import Kind
from octopus_hub.client.outputs import Paths
from octopus_hub.client.sse import EventReader, frame_of
from octopus_hub.model.answers import Frame, PlanAnswer, TaskSetView, WhyAnswer
from octopus_hub.model.errors import NotFound, Unavailable
from octopus_hub.model.record import Record
from octopus_hub.model.taskset import TaskSet


class AsyncClient:
    """The service's operations for an event loop; see :class:`octopus_hub.client.sync.Client`.

    Parameters
    ----------
    url, token : str, optional
        Found as the synchronous client finds them.
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self.connection = find_connection(url, token)
        self._http = transport.make(httpx.AsyncClient, self.connection)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self.connection.url!r})"

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    # --- TaskSets

    async def submit(self, taskset: TaskSet, *, key: str | None = None, dry_run: bool = False) -> TaskSet:
        """Create a TaskSet as it is."""
        return await self._call(calls.submit(taskset, key=key or uuid.uuid4().hex, dry_run=dry_run))

    async def list(self, namespace: str = "", phase: str = "", label: str = "") -> Views:
        """List TaskSets (``namespace="*"`` for admins)."""
        return await self._call(calls.list_tasksets(namespace, phase, label))

    async def get(self, name: str, namespace: str = OWN) -> TaskSetView:
        """Return a TaskSet, its queue place while it waits, and its tasks."""
        return await self._call(calls.get_taskset(name, namespace))

    async def tasks(self, name: str, namespace: str = OWN) -> Tasks:
        """Return the rows of its tasks."""
        return await self._call(calls.list_tasks(name, namespace))

    async def why(self, name: str, namespace: str = OWN) -> WhyAnswer:
        """Say why it waits, runs where it does, or ended as it did."""
        return await self._call(calls.why(name, namespace))

    async def stop(self, name: str, namespace: str = OWN) -> TaskSet:
        """Stop it; its record is written."""
        return await self._call(calls.intent("stop", name, namespace))

    async def hold(self, name: str, namespace: str = OWN) -> TaskSet:
        """Keep it from starting."""
        return await self._call(calls.intent("hold", name, namespace))

    async def release(self, name: str, namespace: str = OWN) -> TaskSet:
        """Let a held one start."""
        return await self._call(calls.intent("release", name, namespace))

    async def scale(self, name: str, sizes: Mapping[str, int | None], namespace: str = OWN) -> TaskSet:
        """Wish sizes of elastic roles, within their bounds; None takes a wish back."""
        return await self._call(calls.scale(name, sizes, namespace))

    async def delete(self, name: str, namespace: str = OWN) -> None:
        """Delete it (stopping it first); its records stay."""
        await self._call(calls.delete_taskset(name, namespace))

    # --- streams

    async def logs(self, name: str, query: LogQuery, namespace: str = OWN) -> AsyncIterator[bytes]:
        """Yield a task's log as it comes, with ``follow`` until the task ends."""
        async with self._open(calls.read_log(name, query, namespace), transport.LOG_TIMEOUT) as chunks:
            async for chunk in chunks:
                yield chunk

    async def stream(self, namespace: str = "", name: str = "") -> AsyncIterator[Frame]:
        """Yield a snapshot, then what changes, for ever; after a lost connection a snapshot again."""
        patience = exchange.Patience(self.connection, asyncio.get_running_loop().time)
        while True:
            try:
                async for frame in self._stream_once(namespace, name):
                    patience.seen()
                    yield frame
                why = "it ended the stream"
            except Unavailable as error:
                why = patience.excuse(error)
            await asyncio.sleep(patience.pause(why))

    async def _stream_once(self, namespace: str, name: str) -> AsyncIterator[Frame]:
        reader = EventReader()
        async with self._open(calls.stream(namespace, name), transport.STREAM_TIMEOUT) as chunks:
            async for chunk in chunks:
                for event in reader.feed(chunk):
                    frame = frame_of(event)
                    if frame is not None:
                        yield frame

    async def lease(self, lease: str) -> AsyncIterator[bytes]:
        """Hold a lease while this is iterated; raises Unavailable when the connection breaks."""
        async with self._open(calls.hold_lease(lease), transport.STREAM_TIMEOUT) as chunks:
            async for chunk in chunks:
                yield chunk

    # --- the cluster

    async def nodes(self) -> Nodes:
        """Return nodes with capacity and devices."""
        return await self._call(calls.list_nodes())

    async def node_use(self) -> NodeUses:
        """Return nodes with what is taken of each."""
        return await self._call(calls.list_node_use())

    async def queues(self) -> Rows:
        """Return queues with usage and board."""
        return await self._call(calls.list_queues())

    async def cohorts(self) -> Rows:
        """Return cohorts with their members and use."""
        return await self._call(calls.list_cohorts())

    async def definition(self, kind: Kind, name: str) -> Plain:
        """Return a queue or cohort (``kind``) with its use."""
        return await self._call(definitions.get(kind, name))

    async def define(self, kind: Kind, name: str, document: Mapping[str, Any]) -> Plain:
        """Put a queue or cohort in place of the one of its name; it wins over the configuration file (admins)."""
        return await self._call(definitions.define(kind, name, document))

    async def change(self, kind: Kind, name: str, fields: Mapping[str, Any]) -> Plain:
        """Change fields of a queue or cohort, ``{"weight": 3, "nominal": {"devices": {"gpu": 8}}}`` (admins)."""
        return await self._call(definitions.change(kind, name, fields))

    async def remove(self, kind: Kind, name: str) -> None:
        """Remove a queue or cohort that nothing uses (admins)."""
        await self._call(definitions.remove(kind, name))

    async def reset(self, kind: Kind, name: str) -> Plain:
        """Go back to the configuration file's queue or cohort (admins)."""
        return await self._call(definitions.reset(kind, name))

    async def reservations(self) -> Rows:
        """Return reservations and drains, each with its ``state``."""
        return await self._call(reservations.get_all())

    async def put_reservation(self, name: str, document: Mapping[str, Any]) -> Plain:
        """Reserve nodes for a time, in place of the reservation of that name (admins)."""
        return await self._call(reservations.put(name, document))

    async def delete_reservation(self, name: str) -> None:
        """Remove a reservation (admins)."""
        await self._call(reservations.remove(name))

    async def drain_node(self, name: str, **document: Any) -> Plain:
        """Set a node aside: ``at``, ``until``, ``graceSeconds``, ``zone``, ``reason`` (admins)."""
        return await self._call(reservations.drain(name, document))

    async def close_node(self, name: str, reason: str = "") -> Plain:
        """Start nothing more on a node; what runs there finishes (admins)."""
        return await self._call(reservations.close(name, reason))

    async def open_node(self, name: str) -> None:
        """Take back a drain or a close (admins)."""
        await self._call(reservations.open_(name))

    async def priorities(self) -> Rows:
        """Return priority classes."""
        return await self._call(calls.list_priorities())

    async def images(self) -> Rows:
        """Return the environments that ``image`` can name."""
        return await self._call(calls.list_images())

    async def plan(self, taskset: TaskSet) -> PlanAnswer:
        """Say whether it would run now."""
        return await self._call(calls.plan(taskset))

    # --- records

    async def records(self, name: str = "") -> Records:
        """Return the caller's records, newest first."""
        return await self._call(calls.list_records(name))

    async def record(self, name: str, namespace: str = OWN, attempt: int | None = None) -> Record:
        """Return the record of a TaskSet."""
        return await self._call(calls.get_record(name, namespace, attempt))

    async def outputs(self, name: str, to: str | Path, namespace: str = OWN, attempt: int | None = None) -> Paths:
        """Download the collected outputs into the folder ``to``; returns the files, each checked by its digest."""
        record = await self.record(name, namespace, attempt)
        with outputs.receiver(record, Path(to)) as receiver:
            async with self._open(calls.read_outputs(name, namespace, attempt), transport.TIMEOUT) as chunks:
                async for chunk in chunks:
                    receiver.write(chunk)
            return await asyncio.to_thread(receiver.unpack)

    async def crate(self, name: str, to: str | Path, namespace: str = OWN, attempt: int | None = None) -> Path:
        """Download the record as a zip (RO-Crate)."""
        target = Path(to)
        async with self._open(calls.read_crate(name, namespace, attempt), transport.TIMEOUT) as chunks:
            received = [chunk async for chunk in chunks]
        await asyncio.to_thread(outputs.write_whole, target, received)
        return target

    async def replay(self, record: Record | Mapping[str, Any], *, key: str | None = None) -> TaskSet:
        """Run a record again; returns the new TaskSet."""
        return await self._call(calls.replay(outputs.plain_record(record), key=key or uuid.uuid4().hex))

    # --- blobs, secrets, the service

    async def upload(self, archive: Archive) -> None:
        """Store an archive under its digest unless the service has it."""
        if not await self.has_blob(archive.digest):
            await self._call(calls.put_blob(archive.digest, archive.size, archive.chunks))

    async def has_blob(self, digest: str) -> bool:
        """Say whether the service holds that content."""
        try:
            return await self._call(calls.has_blob(digest))
        except NotFound:
            return False

    async def blob(self, digest: str) -> bytes:
        """Return content by its digest."""
        return await self._call(calls.get_blob(digest))

    async def secrets(self) -> Names:
        """Return names of secrets; values are never given out."""
        return await self._call(calls.list_secrets())

    async def put_secret(self, name: str, value: str) -> None:
        """Store a secret."""
        await self._call(calls.put_secret(name, value))

    async def delete_secret(self, name: str) -> None:
        """Remove a secret."""
        await self._call(calls.delete_secret(name))

    async def version(self) -> Plain:
        """Return the service's version."""
        return await self._call(calls.version())

    async def whoami(self) -> Plain:
        """Return who the token belongs to."""
        return await self._call(calls.whoami())

    # --- driver

    async def _call(self, call: Call[T]) -> T:
        return exchange.decode(call, await self._drive(call, transport.TIMEOUT, streamed=False))

    async def _drive(self, call: Call[Any], timeout: httpx.Timeout, *, streamed: bool) -> exchange.Answer:
        steps = exchange.exchange(call, self.connection, random.random)
        outcome: exchange.Answer | exchange.Lost | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            if isinstance(step, exchange.Pause):
                await asyncio.sleep(step.seconds)
                outcome = None
            else:
                outcome = await self._send(step, timeout, streamed)

    async def _send(self, call: Call[Any], timeout: httpx.Timeout, streamed: bool) -> exchange.Answer | exchange.Lost:
        try:
            body = call.body if isinstance(call.body, bytes) else _fed(call.body())
            request = self._http.build_request(
                **transport.request_of(call, self.connection), content=body, timeout=timeout
            )
            response = await self._http.send(request, stream=True)
            if streamed and response.status_code < 300:
                return exchange.Answer(response.status_code, response.headers, raw=response)
            try:
                return exchange.Answer(response.status_code, response.headers, await response.aread())
            finally:
                await response.aclose()
        except transport.FAILURES as error:
            return transport.lost(error)

    @asynccontextmanager
    async def _open(self, call: Call[Any], timeout: httpx.Timeout) -> AsyncIterator[AsyncIterator[bytes]]:
        response: httpx.Response = (await self._drive(call, timeout, streamed=True)).raw
        try:
            yield _chunks(response)
        finally:
            await response.aclose()


async def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.aiter_bytes(None):
            yield chunk
    except transport.FAILURES as error:
        raise exchange.StreamLost(transport.lost(error).why) from error


async def _fed(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
