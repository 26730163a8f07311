"""Logs: bytes as they were written, the last lines, followed until the end, never of others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus_hub.model.status import Phase
from octopus_hub.model.task import TaskState
from octopus_hub.service.routes.logs import last_lines
from tests.service.running import Running, document

BINARY = bytes(range(256)) * 4


async def started(service: Running, **role: object) -> tuple[str, list[str]]:
    sent = document()
    sent["spec"]["roles"][0] |= role
    created = (await service.client("alice-token").post("tasksets", json=sent)).json()
    tasks = await service.start_tasks(created["metadata"]["uid"])
    return created["metadata"]["uid"], sorted(task.name for task in tasks)


async def test_the_log_comes_as_it_was_written(service: Running) -> None:
    _, names = await started(service)
    client = service.client("alice-token")
    service.backend.write_log("alice", names[0], BINARY)
    service.backend.write_log("alice", names[1], b"zweite\n")
    answer = await client.get("tasksets/-/mnist/logs")
    assert answer.content == BINARY and answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    raw = await client.get("tasksets/-/mnist/logs", headers={"Accept": "application/octet-stream"})
    assert raw.content == BINARY and raw.headers["Content-Type"] == "application/octet-stream"
    assert (await client.get("tasksets/-/mnist/logs?role=worker&index=1")).text == "zweite\n"
    assert (await client.get("tasksets/-/mnist/logs?index=1&attempt=1")).text == "zweite\n"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("role=ps", 404),
        ("role=../../x", 404),
        ("index=2", 404),
        ("index=-1", 422),
        ("index=1e3", 422),
        ("index=99999999999", 422),
        ("attempt=0", 422),
        ("attempt=x", 422),
        ("attempt=../1", 422),
        ("tail=-5", 422),
        ("follow=perhaps", 422),
        ("index=%d9%a1", 422),
    ],
)
async def test_what_names_no_task_is_refused(service: Running, query: str, status: int) -> None:
    await started(service)
    answer = await service.client("alice-token").get(f"tasksets/-/mnist/logs?{query}")
    assert answer.status_code == status, answer.text


async def test_the_main_role_is_meant_unless_one_is_named(service: Running) -> None:
    roles = [{"name": "ps", "command": ["x"]}, {"name": "chief", "command": ["x"], "main": True}]
    created = (await service.client("alice-token").post("tasksets", json=document(roles=roles))).json()
    for task in await service.start_tasks(created["metadata"]["uid"]):
        service.backend.write_log("alice", task.name, f"{task.role}\n".encode())
    assert (await service.client("alice-token").get("tasksets/-/mnist/logs")).text == "chief\n"


async def test_follow_brings_lines_as_they_come_and_ends_with_the_task(service: Running) -> None:
    uid, names = await started(service)
    service.backend.write_log("alice", names[0], b"one\ntwo\n")
    client = service.client("alice-token")
    async with client.stream("GET", "tasksets/-/mnist/logs?follow=true&tail=1") as response:
        chunks = response.aiter_bytes()
        assert await anext(chunks) == b"two\n"
        service.backend.write_log("alice", names[0], b"three\n")
        assert await anext(chunks) == b"three\n"
        service.backend.set_task("alice", names[0], state=TaskState.SUCCEEDED)
        assert [chunk async for chunk in chunks] == []
    assert service.cache.tasksets[uid].status.phase is Phase.RUNNING


async def test_follow_waits_for_a_task_that_is_not_there_yet(service: Running) -> None:
    client = service.client("alice-token")
    created = (await client.post("tasksets", json=document())).json()
    assert (await client.get("tasksets/-/mnist/logs")).status_code == 404
    async with client.stream("GET", "tasksets/-/mnist/logs?follow=true") as response:
        assert response.status_code == 200
        tasks = await service.start_tasks(created["metadata"]["uid"])
        first = min(task.name for task in tasks)
        service.backend.write_log("alice", first, b"hello\n")
        service.backend.set_task("alice", first, state=TaskState.SUCCEEDED)
        assert b"".join([chunk async for chunk in response.aiter_bytes()]) == b"hello\n"


async def test_follow_of_one_that_ends_without_tasks_ends(service: Running) -> None:
    import msgspec

    client = service.client("alice-token")
    uid = (await client.post("tasksets", json=document())).json()["metadata"]["uid"]
    async with client.stream("GET", "tasksets/-/mnist/logs?follow=true") as response:
        held = service.backend.truth.tasksets[uid]
        status = msgspec.structs.replace(held.status, phase=Phase.STOPPED)
        await service.backend.update_status(uid, status, version=held.metadata.version, epoch=service.backend.epoch)
        assert b"".join([chunk async for chunk in response.aiter_bytes()]) == b""


async def test_a_client_that_goes_ends_the_reading(service: Running) -> None:
    _, names = await started(service)
    service.backend.write_log("alice", names[0], b"one\n")
    waiting = service.backend.truth.fanout._waiting
    await service.until(lambda: len(waiting) == 1)  # the watch
    async with service.client("alice-token").stream("GET", "tasksets/-/mnist/logs?follow=true") as response:
        assert await anext(response.aiter_bytes()) == b"one\n"
        await service.until(lambda: len(waiting) == 2)
    await service.until(lambda: len(waiting) == 1)
    await service.until(lambda: not service.app.settings["service"].slots._open)


async def test_a_log_that_breaks_off_midway_is_not_taken_for_whole(service: Running) -> None:
    import httpx

    async def broken(*_: object, **__: object) -> AsyncIterator[bytes]:
        yield b"first\n"
        await asyncio.sleep(0)
        raise OSError("disk")

    await started(service)
    service.backend.read_log = broken  # type: ignore[assignment,method-assign]
    async with service.client("alice-token").stream("GET", "tasksets/-/mnist/logs") as response:
        with pytest.raises(httpx.RemoteProtocolError):
            async for _ in response.aiter_bytes():
                pass


async def _of(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def _pieces(text: bytes, size: int) -> list[bytes]:
    return [text[start : start + size] for start in range(0, len(text), size)]


TEXTS = st.lists(st.sampled_from([b"a\n", b"bc\n", b"\n", b"long line\n", b"end"]), max_size=8).map(b"".join)


@given(old=TEXTS, new=TEXTS, count=st.integers(0, 9), size=st.integers(1, 7))
async def test_the_last_lines_then_everything_new(old: bytes, new: bytes, count: int, size: int) -> None:
    lines = old.splitlines(keepends=True)
    expected = b"".join(lines[len(lines) - min(count, len(lines)) :])
    kept = b"".join([chunk async for chunk in last_lines(count, _of(_pieces(old, size)), None)])
    assert kept == expected
    following = _of(_pieces(old + new, size))
    assert b"".join([chunk async for chunk in last_lines(count, _of([old]), following)]) == expected + new
