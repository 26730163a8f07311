"""The service beside the real controller on the memory backend: a TaskSet's whole life as its user sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from octopus_hub.backends.memory import MemoryBackend
from octopus_hub.service.settings import ServiceSettings
from tests.service.running import Running, document, events, running


@pytest.fixture
async def engine() -> AsyncIterator[Running]:
    """Tasks play their lives; the controller drives them."""
    async with running(
        ServiceSettings(frames_per_second=100), backend=MemoryBackend(auto=True), engine=True
    ) as started:
        yield started


def doc(name: str, *command: str, **spec: object) -> dict[str, object]:
    return document(name, roles=[{"name": "worker", "replicas": 2, "command": list(command)}], **spec)


async def test_from_submission_to_record_in_one_stream(engine: Running) -> None:
    client = engine.client("alice-token")
    async with asyncio.timeout(30), client.stream("GET", "stream") as response:
        frames = events(response)
        assert (await anext(frames))[0] == "snapshot"
        created = (await client.post("tasksets", json=doc("mnist", "echo", "hello"))).json()
        phases: list[str] = []
        taskset: dict[str, object] = {}
        while not taskset or taskset["status"].get("recordedAttempt") != 1:  # type: ignore[attr-defined]
            _, frame = await anext(frames)
            for row in frame.get("tasksets", []):
                taskset = row
                phases.append(row["status"].get("phase", "Queued"))
        assert phases[-1] == "Succeeded" and taskset["metadata"]["uid"] == created["metadata"]["uid"]  # type: ignore[index]
    assert (await client.get("tasksets/-/mnist/logs?index=1")).text == "hello\n"
    record = (await client.get("records/-/mnist")).json()
    assert record["phase"] == "Succeeded" and len(record["tasks"]) == 2
    assert record["specDigest"] == created["resolved"]["specDigest"]
    again = await client.post("replay", json={"record": {"name": "mnist"}})
    assert again.status_code == 201 and again.json()["metadata"]["name"] == "mnist-2"


async def test_hold_release_stop_and_delete(engine: Running) -> None:
    client = engine.client("alice-token")
    await client.post("tasksets", json=doc("long", "sleep", "60", hold=True))

    async def phase() -> str:
        answer = await client.get("tasksets/-/long")
        return str(answer.json()["taskset"]["status"].get("phase", "Queued")) if answer.status_code == 200 else "gone"

    async def until(wanted: str) -> None:
        async with asyncio.timeout(30):
            while await phase() != wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    await until("Held")
    place = None
    async with asyncio.timeout(30):
        while place is None:
            place = (await client.get("tasksets/-/long")).json().get("queuePlace")
            await asyncio.sleep(0.01)
    assert place["code"] == "Held"
    assert (await client.post("tasksets/-/long/release")).status_code == 200
    await until("Running")
    async with client.stream("GET", "tasksets/-/long/logs?follow=true") as log:
        assert (await client.post("tasksets/-/long/stop")).status_code == 200
        assert b"".join([chunk async for chunk in log.aiter_bytes()]) == b""  # ends with the task
    await until("Stopped")
    assert (await client.delete("tasksets/-/long")).status_code == 200
    await until("gone")
    assert (await client.get("records/-/long")).status_code == 200


async def test_a_hundred_at_once_are_all_told_apart(engine: Running) -> None:
    clients = [engine.client(token) for token in ("alice-token", "bob-token")]
    answers = await asyncio.gather(*(clients[n % 2].post("tasksets", json=doc("many", "true")) for n in range(100)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.headers["Location"] for answer in answers}) == 100
    async with asyncio.timeout(60):
        while True:
            items = (await clients[0].get("tasksets?phase=Succeeded")).json()["items"]
            if len(items) == 50:
                break
            await asyncio.sleep(0.02)
