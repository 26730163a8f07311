"""What is merged is what the service would say; what waits for a page is bounded."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from octopus_hub_extension.outbox import MOST_BYTES, MOST_FRAMES, PONG, Outbox
from octopus_hub_extension.rows import Merged, delta_text

from octopus_hub.backends.base import Change
from octopus_hub.backends.memory import node
from octopus_hub.client.sse import EventReader
from octopus_hub.control.cache import Cache
from octopus_hub.model.status import Board, Phase, QueuePlace, Status
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import Metadata, Role, Spec, TaskSet
from octopus_hub.service.stream import Stream, Streams

NAMES = st.sampled_from(["a", "b"])
PHASES = st.sampled_from([Phase.QUEUED, Phase.QUEUED, Phase.RUNNING, Phase.SUCCEEDED])
STEPS = st.one_of(
    st.tuples(st.just("taskset"), NAMES, PHASES),
    st.tuples(st.just("task"), NAMES, st.integers(0, 2)),
    st.tuples(st.just("place"), NAMES, st.integers(1, 9)),
    st.tuples(st.just("node"), NAMES, st.integers(1, 9)),
    st.tuples(st.just("drop taskset"), NAMES, st.none()),
    st.tuples(st.just("drop task"), NAMES, st.none()),
    st.tuples(st.just("frame"), st.none(), st.none()),
)


def change(cache: Cache, kind: str, item: Any) -> None:
    cache.apply(Change(revision=cache.revision + 1, type=kind, object=item))  # type: ignore[arg-type]


def taskset(name: str, phase: Phase, version: int) -> TaskSet:
    meta = Metadata(name=name, namespace="alice", uid=f"uid-{name}", version=version)
    return TaskSet(metadata=meta, spec=Spec(roles=[Role(name="w")]), status=Status(phase=phase))


def task(name: str, size: int = 0) -> Task:
    return Task(
        name=f"{name}-w-0-1", namespace="alice", taskset=name, taskset_uid=f"uid-{name}", role="w", index=0, attempt=1,
        log_bytes=size,
    )  # fmt: skip


def step(cache: Cache, kind: str, name: str, value: Any) -> None:
    """Do what a controller does: a task has a TaskSet, and a board lists those that wait, and no others."""
    known = cache.tasksets.get(f"uid-{name}")
    if kind == "taskset":
        change(cache, "put", taskset(name, value, cache.revision + 1))
        board(cache)
    elif kind == "task" and known is not None:
        change(cache, "put", task(name, value))
    elif kind == "node":
        change(cache, "put", node(f"n-{name}", cpu=value * 1000))
    elif kind == "drop task" and cache.tasks_of(f"uid-{name}"):
        change(cache, "deleted", task(name))
    elif kind == "drop taskset" and known is not None:
        for row in cache.tasks_of(f"uid-{name}"):
            change(cache, "deleted", row)
        change(cache, "deleted", known)
        board(cache)
    elif kind == "place" and known is not None:
        board(cache, {f"uid-{name}": QueuePlace(uid=f"uid-{name}", place=value, code="NoFit", message="needs 4")})


def board(cache: Cache, more: dict[str, QueuePlace] | None = None) -> None:
    """Write the board anew: what it said before, and more."""
    before = cache.boards.get("default")
    places = {place.uid: place for place in before.places} if before else {}
    waiting = {uid for uid, each in cache.tasksets.items() if each.status.phase.waiting}
    now = [place for uid, place in {**places, **(more or {})}.items() if uid in waiting]
    change(cache, "put", Board(queue="default", at=1.0, places=now))


def read(merged: Merged, stream: Stream) -> None:
    for event in EventReader().feed(stream.frame()):
        (merged.snapshot if event.name == "snapshot" else merged.delta)(event.data.encode())


def known(text: bytes) -> dict[str, Any]:
    frame = json.loads(text)
    rows = {key: {json.dumps(row, sort_keys=True) for row in frame.get(key, [])} for key in ("tasks", "nodes")}
    tasksets = {row["metadata"]["uid"]: row for row in frame.get("tasksets", [])}
    return {**rows, "tasksets": tasksets, "places": frame["places"], "revision": frame["revision"]}


@settings(max_examples=300, deadline=None)
@example([("taskset", "a", Phase.QUEUED), ("place", "a", 3), ("taskset", "a", Phase.RUNNING)])
@example(
    [
        ("taskset", "a", Phase.QUEUED),
        ("place", "a", 3),
        ("task", "a", 1),
        ("frame", "", None),
        ("drop taskset", "a", None),
    ]
)
@example([("taskset", "a", Phase.RUNNING), ("task", "a", 1), ("frame", "", None), ("drop task", "a", None)])
@given(st.lists(STEPS, min_size=5, max_size=40))
def test_what_is_merged_is_what_the_service_would_say_now(steps: list[tuple[str, str, Any]]) -> None:
    cache = Cache()
    streams = Streams(cache)
    stream, merged = streams.open("alice", ""), Merged()
    read(merged, stream)
    for kind, name, value in steps:
        if kind != "frame":
            step(cache, kind, name, value)
        # One that leaves the queue and is back within a frame is shown with its old place until the next board.
        if kind in ("frame", "drop taskset") or isinstance(value, Phase):
            read(merged, stream)
    read(merged, stream)
    fresh = Merged()
    read(fresh, streams.open("alice", ""))
    assert known(merged.text) == known(fresh.text)
    streams.shut(stream)


def test_fields_of_a_newer_service_pass() -> None:
    merged = Merged()
    row = b'{"metadata":{"uid":"u","later":1},"status":{"phase":"Dreaming","dream":[1e400]},"more":"\\u00e4"}'
    merged.snapshot(b'{"revision":7,"extra":{},"tasksets":[' + row + b"]}")
    assert row in merged.text and merged.text.startswith(b'{"type":"snapshot","revision":7,')
    assert delta_text(b'{"revision":8,"new":[1]}') == b'{"type":"delta","revision":8,"new":[1]}'


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"revision":"x"}', b'{"revision":1,"tasks":[{"name":1}]}'])
def test_what_can_t_be_read_changes_nothing(data: bytes) -> None:
    merged = Merged()
    merged.snapshot(b'{"revision":7,"nodes":[{"name":"n"}]}')
    before = merged.text
    for take in (merged.snapshot, merged.delta):
        with pytest.raises(msgspec.DecodeError):
            take(data)
    assert merged.text == before and merged.revision == 7


async def take_all(outbox: Outbox) -> list[bytes]:
    taken = []
    while True:
        task = asyncio.ensure_future(outbox.take())
        await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            return taken
        taken.append(await task)


async def test_messages_come_in_order_once() -> None:
    outbox = Outbox(lambda: b"all")
    outbox.put_snapshot()
    outbox.put(b"already in the snapshot")
    outbox.put_status(b"old")
    outbox.put_status(b"status")
    outbox.put_pong()
    outbox.put_pong()
    assert await take_all(outbox) == [b"all", b"status", PONG]
    outbox.put(b"1")
    outbox.put(b"2")
    assert await take_all(outbox) == [b"1", b"2"]
    assert await take_all(outbox) == []


@pytest.mark.parametrize(("count", "size"), [(MOST_FRAMES + 1, 1), (9, MOST_BYTES // 8), (1, MOST_BYTES + 1)])
async def test_a_backlog_that_is_too_long_becomes_one_snapshot(count: int, size: int) -> None:
    outbox = Outbox(lambda: b"all as it is now")
    for _ in range(count):
        outbox.put(b"x" * size)
    assert await take_all(outbox) == [b"all as it is now"]
    outbox.put(b"next")
    assert await take_all(outbox) == [b"next"]


async def test_a_backlog_up_to_the_bound_is_kept() -> None:
    outbox = Outbox(lambda: b"all")
    for number in range(MOST_FRAMES):
        outbox.put(b"%d" % number)
    assert await take_all(outbox) == [b"%d" % number for number in range(MOST_FRAMES)]
