"""Streams: snapshot and deltas, joined, bounded, and never slowed by a reader that does not read."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import Any

import msgspec
import pytest

from octopus_hub.backends.base import Change
from octopus_hub.backends.memory import node
from octopus_hub.control.cache import Cache
from octopus_hub.model.answers import Frame
from octopus_hub.model.status import Board, QueuePlace, Status
from octopus_hub.model.task import Task, TaskState
from octopus_hub.model.taskset import Metadata, Role, Spec, TaskSet
from octopus_hub.service.settings import ServiceSettings
from octopus_hub.service.stream import Streams
from tests.service.running import Running, document, events, running


def taskset(name: str, namespace: str = "alice", version: int = 1, **status: Any) -> TaskSet:
    meta = Metadata(name=name, namespace=namespace, uid=f"uid-{namespace}-{name}", version=version)
    return TaskSet(metadata=meta, spec=Spec(roles=[Role(name="w")]), status=Status(**status))


def task(name: str, taskset_name: str, namespace: str = "alice", **fields: Any) -> Task:
    uid = f"uid-{namespace}-{taskset_name}"
    return Task(
        name=name, namespace=namespace, taskset=taskset_name, taskset_uid=uid, role="w", index=0, attempt=1, **fields
    )


def put(cache: Cache, item: Any) -> None:
    cache.apply(Change(revision=cache.revision + 1, type="put", object=item))


def drop(cache: Cache, item: Any) -> None:
    cache.apply(Change(revision=cache.revision + 1, type="deleted", object=item))


def read(event: bytes) -> tuple[str, Frame]:
    lines = event.decode().split("\n")
    assert lines[-2:] == ["", ""] and len(lines) == 5
    assert lines[1].startswith("id: ")
    return lines[0].removeprefix("event: "), msgspec.json.decode(lines[2].removeprefix("data: "), type=Frame)


def test_a_snapshot_then_only_what_changed_and_the_last_of_it() -> None:
    cache = Cache()
    put(cache, taskset("a"))
    put(cache, task("a-w-0-1", "a"))
    put(cache, node("n1"))
    put(cache, taskset("x", "bob"))
    stream = Streams(cache).open("alice", "")
    name, frame = read(stream.frame())
    assert name == "snapshot" and frame.revision == 4
    assert [each.name for each in frame.tasksets] == ["a"]
    assert [each.name for each in frame.tasks] == ["a-w-0-1"] and [each.name for each in frame.nodes] == ["n1"]
    assert not stream.wake.is_set()
    for percent in range(5):
        put(cache, task("a-w-0-1", "a", state=TaskState.RUNNING, log_bytes=percent))
    put(cache, task("x-w-0-1", "x", "bob"))
    put(cache, taskset("x", "bob", version=2))
    assert stream.wake.is_set()
    name, frame = read(stream.frame())
    assert name == "delta" and [each.log_bytes for each in frame.tasks] == [4]
    assert not frame.tasksets and not frame.nodes
    drop(cache, task("a-w-0-1", "a"))
    drop(cache, taskset("a"))
    name, frame = read(stream.frame())
    assert frame.removed.tasksets == ["uid-alice-a"] and frame.removed.tasks == ["alice/a-w-0-1"]


def test_a_row_that_went_and_came_is_there() -> None:
    cache = Cache()
    put(cache, taskset("a"))
    stream = Streams(cache).open("alice", "")
    stream.frame()
    drop(cache, taskset("a"))
    put(cache, taskset("a", version=9))
    _, frame = read(stream.frame())
    assert [each.metadata.version for each in frame.tasksets] == [9] and not frame.removed.tasksets


def test_a_named_stream_shows_that_taskset_only() -> None:
    cache = Cache()
    for name in ("a", "b"):
        put(cache, taskset(name))
        put(cache, task(f"{name}-w-0-1", name))
    stream = Streams(cache).open("alice", "b")
    _, frame = read(stream.frame())
    assert [each.name for each in frame.tasksets] == ["b"] and [each.name for each in frame.tasks] == ["b-w-0-1"]
    put(cache, task("a-w-0-1", "a", log_bytes=1))
    assert not stream.wake.is_set()


def test_places_come_when_they_change_and_only_to_their_owner() -> None:
    cache = Cache()
    put(cache, taskset("a"))
    put(cache, taskset("x", "bob"))
    streams = Streams(cache)
    stream, admin = streams.open("alice", ""), streams.open(None, "")
    stream.frame(), admin.frame()
    mine = QueuePlace(uid="uid-alice-a", place=2, code="BehindInQueue", message="behind bob/x", where="bob/x")
    other = QueuePlace(uid="uid-bob-x", place=1, code="NoFit", message="needs 4")
    put(cache, Board(queue="default", at=1.0, places=[other, mine]))
    _, frame = read(stream.frame())
    assert (
        list(frame.places) == ["uid-alice-a"] and frame.places["uid-alice-a"].message == "behind another user's TaskSet"
    )
    _, frame = read(admin.frame())
    assert frame.places["uid-alice-a"].message == "behind bob/x" and len(frame.places) == 2
    put(cache, Board(queue="default", at=2.0, places=[msgspec.structs.replace(other, message="needs 5"), mine]))
    assert not stream.wake.is_set() and admin.wake.is_set()
    _, late = read(streams.open("alice", "").frame())
    assert list(late.places) == ["uid-alice-a"]


def test_a_node_that_is_gone_brings_a_new_snapshot() -> None:
    cache = Cache()
    put(cache, node("n1"))
    put(cache, node("n2"))
    stream = Streams(cache).open("alice", "")
    stream.frame()
    put(cache, node("n1", cpu=4))
    assert read(stream.frame())[0] == "delta"
    drop(cache, node("n2"))
    name, frame = read(stream.frame())
    assert name == "snapshot" and [each.name for each in frame.nodes] == ["n1"]


def test_a_row_is_encoded_once_for_all_streams() -> None:
    cache = Cache()
    put(cache, taskset("a"))
    streams = Streams(cache)
    opened = [streams.open("alice", "") for _ in range(3)]
    rows = {stream.frame().split(b'"tasksets":')[1] for stream in opened}
    assert len(rows) == 1
    row = cache.tasksets["uid-alice-a"]
    assert streams.rows.encode(("taskset", "uid-alice-a"), row) is streams.rows.encode(("taskset", "uid-alice-a"), row)
    changed = msgspec.structs.replace(row, status=Status(message="new"))
    assert b"new" in streams.rows.encode(("taskset", "uid-alice-a"), changed)


def test_nothing_is_kept_when_nobody_listens() -> None:
    cache = Cache()
    streams = Streams(cache)
    stream = streams.open("alice", "")
    assert len(cache._subscribers) == 1
    streams.shut(stream)
    streams.shut(stream)
    assert not cache._subscribers and len(streams) == 0


def test_pending_rows_are_bounded_by_what_there_is() -> None:
    cache = Cache()
    stream = Streams(cache).open("alice", "")
    stream.frame()
    for number in range(10_000):
        put(cache, task("a-w-0-1", "a", log_bytes=number))
    assert len(stream._tasks) == 1


# --- over the wire


async def test_a_stream_follows_a_taskset(service: Running) -> None:
    client = service.client("alice-token")
    async with client.stream("GET", "stream") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        frames = events(response)
        name, first = await anext(frames)
        assert name == "snapshot" and [each["name"] for each in first["nodes"]] == ["node-a", "node-b"]
        created = (await client.post("tasksets", json=document())).json()
        _, frame = await anext(frames)
        assert frame["tasksets"][0]["metadata"]["uid"] == created["metadata"]["uid"]
        assert frame["tasksets"][0]["kind"] == "TaskSet" and frame["revision"] > first["revision"]
        await service.start_tasks(created["metadata"]["uid"])
        states: dict[str, str] = {}
        while len(states) < 2:
            _, frame = await anext(frames)
            states.update({row["name"]: row.get("state", "Pending") for row in frame.get("tasks", [])})
        assert set(states.values()) == {"Pending"}


async def test_frames_are_joined_to_the_rate() -> None:
    async with running(ServiceSettings(frames_per_second=5)) as service:
        client = service.client("alice-token")
        created = (await client.post("tasksets", json=document())).json()
        tasks = await service.start_tasks(created["metadata"]["uid"])
        async with client.stream("GET", "stream") as response:
            frames = events(response)
            await anext(frames)
            begun, seen, number = time.monotonic(), 0, 0
            while seen != 300:
                if number < 300:
                    number += 1
                    service.backend.set_task("alice", tasks[0].name, log_bytes=number)
                    await asyncio.sleep(0)
                    if number < 300:
                        continue
                _, frame = await anext(frames)
                seen = frame["tasks"][0]["logBytes"]
            count = 1
            for number in range(301, 311):
                service.backend.set_task("alice", tasks[0].name, log_bytes=number)
                _, frame = await anext(frames)
                count += 1
                seen = frame["tasks"][0]["logBytes"]
            assert seen == 310
            assert time.monotonic() - begun >= (count - 2) / 5  # never more than five a second


async def test_a_silent_stream_is_kept_alive() -> None:
    async with running(ServiceSettings(keep_alive_seconds=0.02)) as service:
        client = service.client("alice-token")
        async with asyncio.timeout(20), client.stream("GET", "stream") as response:
            async for line in response.aiter_lines():
                if line == ": keep-alive":
                    break


async def test_a_reader_that_does_not_read_is_dropped_and_slows_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "octopus_hub.service")
    async with running(ServiceSettings(write_seconds=0.3, frames_per_second=100)) as service:
        client = service.client("alice-token")
        created = (await client.post("tasksets", json=document())).json()
        tasks = await service.start_tasks(created["metadata"]["uid"])
        open_streams = service.app.settings["service"].streams
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", service.port))
        head = "GET /services/octopus/api/v1/stream HTTP/1.1\r\nHost: x\r\nAuthorization: token alice-token\r\n\r\n"
        await asyncio.get_running_loop().sock_sendall(sock, head.encode())
        await service.until(lambda: len(open_streams) == 1)
        async with client.stream("GET", "stream") as response:
            frames = events(response)
            await anext(frames)
            assert len(open_streams) == 2
            number = 0
            async with asyncio.timeout(60):
                while len(open_streams) == 2:
                    number += 1
                    message = f"{number} " + "x" * 200_000
                    service.backend.set_task("alice", tasks[0].name, message=message)
                    while True:  # the other reader gets every change meanwhile
                        _, frame = await anext(frames)
                        if frame["tasks"][0]["message"] == message:
                            break
        assert "/stream of alice was dropped: it did not read" in caplog.text
        sock.close()


async def test_a_client_that_goes_is_forgotten(service: Running) -> None:
    open_streams = service.app.settings["service"].streams
    async with service.client("alice-token").stream("GET", "stream") as response:
        await anext(events(response))
        assert len(open_streams) == 1
    await service.until(lambda: len(open_streams) == 0)
    assert not service.app.settings["service"].slots._open


async def test_the_end_of_the_service_ends_streams(service: Running) -> None:
    async with service.client("alice-token").stream("GET", "stream") as response:
        frames = events(response)
        await anext(frames)
        service.app.settings["service"].close()
        assert [frame async for _, frame in frames] == []
