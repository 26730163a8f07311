"""The synchronous client: :mod:`calls` over ``httpx.Client``.

Used by notebooks (through :mod:`job`) and the command line. Streams reconnect by themselves: every stream begins with
a snapshot, so nothing is lost in between.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from octopus_hub.client.failures import WaitTimeout
from octopus_hub.client.outputs import Paths
from octopus_hub.client.sse import EventReader, frame_of
from octopus_hub.model.answers import Frame, PlanAnswer, TaskSetView, WhyAnswer
from octopus_hub.model.errors import NotFound, Unavailable
from octopus_hub.model.record import Record
from octopus_hub.model.taskset import TaskSet


class Client:
    """The service's operations.

    Parameters
    ----------
    url, token : str, optional
        Default: ``OCTOPUS_URL`` and ``OCTOPUS_TOKEN``; inside a hub's server that server's own; else the account's
        ``client.json``, written by ``octopus up``.

    Raises
    ------
    Unavailable
        No service is known, or (at each call) it can't be reached.
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self.connection = find_connection(url, token)
        self._http = transport.make(httpx.Client, self.connection)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.connection.url!r})"

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    # --- TaskSets

    def submit(self, taskset: TaskSet, *, key: str | None = None, dry_run: bool = False) -> TaskSet:
        """Create a TaskSet as it is; :func:`octopus_hub.submit` takes the workspace along as well."""
        return self._call(calls.submit(taskset, key=key or uuid.uuid4().hex, dry_run=dry_run))

    def list(self, namespace: str = "", phase: str = "", label: str = "") -> Views:
        """List TaskSets (``namespace="*"`` for admins)."""
        return self._call(calls.list_tasksets(namespace, phase, label))

    def get(self, name: str, namespace: str = OWN) -> TaskSetView:
        """Return a TaskSet, its queue place while it waits, and its tasks."""
        return self._call(calls.get_taskset(name, namespace))

    def tasks(self, name: str, namespace: str = OWN) -> Tasks:
        """Return the rows of its tasks."""
        return self._call(calls.list_tasks(name, namespace))

    def why(self, name: str, namespace: str = OWN) -> WhyAnswer:
        """Say why it waits, runs where it does, or ended as it did."""
        return self._call(calls.why(name, namespace))

    def stop(self, name: str, namespace: str = OWN) -> TaskSet:
        """Stop it; its record is written."""
        return self._call(calls.intent("stop", name, namespace))

    def hold(self, name: str, namespace: str = OWN) -> TaskSet:
        """Keep it from starting."""
        return self._call(calls.intent("hold", name, namespace))

    def release(self, name: str, namespace: str = OWN) -> TaskSet:
        """Let a held one start."""
        return self._call(calls.intent("release", name, namespace))

    def scale(self, name: str, sizes: Mapping[str, int | None], namespace: str = OWN) -> TaskSet:
        """Wish sizes of elastic roles, within their bounds; None takes a wish back."""
        return self._call(calls.scale(name, sizes, namespace))

    def delete(self, name: str, namespace: str = OWN) -> None:
        """Delete it (stopping it first); its records stay."""
        self._call(calls.delete_taskset(name, namespace))

    # --- streams

    def logs(self, name: str, query: LogQuery, namespace: str = OWN) -> Iterator[bytes]:
        """Yield a task's log as it comes, with ``follow`` until the task ends."""
        with self._open(calls.read_log(name, query, namespace), transport.LOG_TIMEOUT) as chunks:
            yield from chunks

    def stream(self, namespace: str = "", name: str = "", *, deadline: float | None = None) -> Iterator[Frame]:
        """Yield a snapshot, then what changes, for ever; after a lost connection a snapshot again.

        Raises WaitTimeout at ``deadline`` (of ``time.monotonic``), Unavailable when the service stays away.
        """
        patience = exchange.Patience(self.connection, time.monotonic)
        while True:
            try:
                for frame in self._stream_once(namespace, name, deadline):
                    patience.seen()
                    yield frame
                why = "it ended the stream"
            except Unavailable as error:
                why = patience.excuse(error)
            pause = patience.pause(why)
            left = pause if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout("the time is over")
            time.sleep(min(pause, left))

    def _stream_once(self, namespace: str, name: str, deadline: float | None) -> Iterator[Frame]:
        reader = EventReader()
        with self._open(calls.stream(namespace, name), transport.STREAM_TIMEOUT, deadline) as chunks:
            for chunk in chunks:
                for event in reader.feed(chunk):
                    frame = frame_of(event)
                    if frame is not None:
                        yield frame

    def lease(self, lease: str) -> Iterator[bytes]:
        """Hold a lease while this is iterated; raises Unavailable when the connection breaks."""
        with self._open(calls.hold_lease(lease), transport.STREAM_TIMEOUT) as chunks:
            yield from chunks

    # --- the cluster

    def nodes(self) -> Nodes:
        """Return nodes with capacity and devices."""
        return self._call(calls.list_nodes())

    def node_use(self) -> NodeUses:
        """Return nodes with what is taken of each."""
        return self._call(calls.list_node_use())

    def queues(self) -> Rows:
        """Return queues with usage and board."""
        return self._call(calls.list_queues())

    def cohorts(self) -> Rows:
        """Return cohorts with their members and use."""
        return self._call(calls.list_cohorts())

    def definition(self, kind: Kind, name: str) -> Plain:
        """Return a queue or cohort (``kind``) with its use."""
        return self._call(definitions.get(kind, name))

    def define(self, kind: Kind, name: str, document: Mapping[str, Any]) -> Plain:
        """Put a queue or cohort in place of the one of its name; it wins over the configuration file (admins)."""
        return self._call(definitions.define(kind, name, document))

    def change(self, kind: Kind, name: str, fields: Mapping[str, Any]) -> Plain:
        """Change fields of a queue or cohort, ``{"weight": 3, "nominal": {"devices": {"gpu": 8}}}`` (admins)."""
        return self._call(definitions.change(kind, name, fields))

    def remove(self, kind: Kind, name: str) -> None:
        """Remove a queue or cohort that nothing uses (admins)."""
        self._call(definitions.remove(kind, name))

    def reset(self, kind: Kind, name: str) -> Plain:
        """Go back to the configuration file's queue or cohort (admins)."""
        return self._call(definitions.reset(kind, name))

    def reservations(self) -> Rows:
        """Return reservations and drains, each with its ``state``."""
        return self._call(reservations.get_all())

    def put_reservation(self, name: str, document: Mapping[str, Any]) -> Plain:
        """Reserve nodes for a time, in place of the reservation of that name (admins)."""
        return self._call(reservations.put(name, document))

    def delete_reservation(self, name: str) -> None:
        """Remove a reservation (admins)."""
        self._call(reservations.remove(name))

    def drain_node(self, name: str, **document: Any) -> Plain:
        """Set a node aside: ``at``, ``until``, ``graceSeconds``, ``zone``, ``reason`` (admins)."""
        return self._call(reservations.drain(name, document))

    def close_node(self, name: str, reason: str = "") -> Plain:
        """Start nothing more on a node; what runs there finishes (admins)."""
        return self._call(reservations.close(name, reason))

    def open_node(self, name: str) -> None:
        """Take back a drain or a close (admins)."""
        self._call(reservations.open_(name))

    def priorities(self) -> Rows:
        """Return priority classes."""
        return self._call(calls.list_priorities())

    def images(self) -> Rows:
        """Return the environments that ``image`` can name."""
        return self._call(calls.list_images())

    def plan(self, taskset: TaskSet) -> PlanAnswer:
        """Say whether it would run now."""
        return self._call(calls.plan(taskset))

    # --- records

    def records(self, name: str = "") -> Records:
        """Return the caller's records, newest first."""
        return self._call(calls.list_records(name))

    def record(self, name: str, namespace: str = OWN, attempt: int | None = None) -> Record:
        """Return the record of a TaskSet."""
        return self._call(calls.get_record(name, namespace, attempt))

    def outputs(self, name: str, to: str | Path, namespace: str = OWN, attempt: int | None = None) -> Paths:
        """Download the collected outputs into the folder ``to``; returns the files, each checked by its digest."""
        record = self.record(name, namespace, attempt)
        with (
            outputs.receiver(record, Path(to)) as receiver,
            self._open(calls.read_outputs(name, namespace, attempt), transport.TIMEOUT) as chunks,
        ):
            for chunk in chunks:
                receiver.write(chunk)
            return receiver.unpack()

    def crate(self, name: str, to: str | Path, namespace: str = OWN, attempt: int | None = None) -> Path:
        """Download the record as a zip (RO-Crate)."""
        target = Path(to)
        with self._open(calls.read_crate(name, namespace, attempt), transport.TIMEOUT) as chunks:
            outputs.write_whole(target, chunks)
        return target

    def replay(self, record: Record | Mapping[str, Any], *, key: str | None = None) -> TaskSet:
        """Run a record again; returns the new TaskSet."""
        return self._call(calls.replay(outputs.plain_record(record), key=key or uuid.uuid4().hex))

    # --- blobs, secrets, the service

    def upload(self, archive: Archive) -> None:
        """Store an archive under its digest unless the service has it."""
        if not self.has_blob(archive.digest):
            self._call(calls.put_blob(archive.digest, archive.size, archive.chunks))

    def has_blob(self, digest: str) -> bool:
        """Say whether the service holds that content."""
        try:
            return self._call(calls.has_blob(digest))
        except NotFound:
            return False

    def blob(self, digest: str) -> bytes:
        """Return content by its digest."""
        return self._call(calls.get_blob(digest))

    def secrets(self) -> Names:
        """Return names of secrets; values are never given out."""
        return self._call(calls.list_secrets())

    def put_secret(self, name: str, value: str) -> None:
        """Store a secret."""
        self._call(calls.put_secret(name, value))

    def delete_secret(self, name: str) -> None:
        """Remove a secret."""
        self._call(calls.delete_secret(name))

    def version(self) -> Plain:
        """Return the service's version."""
        return self._call(calls.version())

    def whoami(self) -> Plain:
        """Return who the token belongs to."""
        return self._call(calls.whoami())

    # --- driver

    def _call(self, call: Call[T]) -> T:
        return exchange.decode(call, self._drive(call, transport.TIMEOUT, streamed=False))

    def _drive(self, call: Call[Any], timeout: httpx.Timeout, *, streamed: bool) -> exchange.Answer:
        steps = exchange.exchange(call, self.connection, random.random)
        outcome: exchange.Answer | exchange.Lost | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            if isinstance(step, exchange.Pause):
                time.sleep(step.seconds)
                outcome = None
            else:
                outcome = self._send(step, timeout, streamed)

    def _send(self, call: Call[Any], timeout: httpx.Timeout, streamed: bool) -> exchange.Answer | exchange.Lost:
        try:
            body = call.body if isinstance(call.body, bytes) else call.body()
            request = self._http.build_request(
                **transport.request_of(call, self.connection), content=body, timeout=timeout
            )
            response = self._http.send(request, stream=True)
            if streamed and response.status_code < 300:
                return exchange.Answer(response.status_code, response.headers, raw=response)
            with _closing(response):
                return exchange.Answer(response.status_code, response.headers, response.read())
        except transport.FAILURES as error:
            return transport.lost(error)

    @contextmanager
    def _open(
        self, call: Call[Any], timeout: httpx.Timeout, deadline: float | None = None
    ) -> Iterator[Iterator[bytes]]:
        response: httpx.Response = self._drive(call, timeout, streamed=True).raw
        with _closing(response), _cut_off(response, deadline) as expired:
            yield _chunks(response, expired)


def _chunks(response: httpx.Response, expired: threading.Event) -> Iterator[bytes]:
    try:
        yield from response.iter_bytes(None)
    except transport.FAILURES as error:
        if not expired.is_set():
            raise exchange.StreamLost(transport.lost(error).why) from error
    if expired.is_set():
        raise WaitTimeout("the time is over")


@contextmanager
def _closing(response: httpx.Response) -> Iterator[None]:
    try:
        yield
    finally:
        response.close()


@contextmanager
def _cut_off(response: httpx.Response, deadline: float | None) -> Iterator[threading.Event]:
    """Shut the socket at the deadline: httpx has a timeout per read only, which keep-alives renew."""
    expired = threading.Event()
    if deadline is None:
        yield expired
        return

    def shut() -> None:
        expired.set()
        transport.shut(response)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), shut)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
