"""The controller keeps the calendar: choices are stored, windows keep nodes for their queue, drains make room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from octopus_hub.backends.memory import MemoryBackend, node
from octopus_hub.control.cache import Cache
from octopus_hub.control.loop import Controller
from octopus_hub.model.queue import Queue
from octopus_hub.model.reservation import Reservation
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import Lifetime, Metadata, PreemptionSpec, Role, Spec, TaskSet
from octopus_hub.runs.record import RecordWriter

DEADLINE = 20.0
HOUR = 3600.0


class Place:
    """A controller on a backend whose tasks play their lives; time is real, moved by ``offset``."""

    def __init__(self) -> None:
        self.offset = 0.0
        self.backend = MemoryBackend(
            nodes=[node("a", virtual=4), node("b", virtual=4)],
            queues=[Queue(name=name, policy="fifo", backfill="none") for name in ("default", "course")],
            auto=True,
            clock=self.now,
        )
        self.cache = Cache()
        self.controller = Controller(self.backend, self.cache, RecordWriter(self.backend), clock=self.now)

    def now(self) -> float:
        return time.time() + self.offset

    async def submit(self, name: str, *, queue: str = "default", devices: int = 4, **spec: Any) -> str:
        role = Role("w", command=["sleep", "600"], cpu="1", memory="64Mi", devices={"virtual": devices})
        taskset = TaskSet(
            metadata=Metadata(name=name, namespace="ada", owner="ada"), spec=Spec(roles=[role], queue=queue, **spec)
        )
        return (await self.backend.create(taskset)).metadata.uid

    def look(self, uid: str) -> TaskSet:
        return self.cache.tasksets[uid]

    def nodes(self, uid: str) -> list[str]:
        return [span.node for spans in self.look(uid).status.placement.values() for span in spans]

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait by the cache's changes."""
        changed = asyncio.Event()
        unsubscribe = self.cache.subscribe(lambda change: changed.set())
        try:
            async with asyncio.timeout(DEADLINE):
                while not holds():
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            raise AssertionError(f"never: {what}") from None
        finally:
            unsubscribe()

    async def reaches(self, uid: str, phase: Phase) -> None:
        await self.until(lambda: uid in self.cache.tasksets and self.look(uid).status.phase is phase, phase.value)

    async def waits_for(self, uid: str, code: str) -> str:
        def told() -> bool:
            place = self.cache.place_of(uid)
            return place is not None and place.code == code

        await self.until(told, f"waits by {code}: {self.cache.place_of(uid)}")
        place = self.cache.place_of(uid)
        assert place is not None
        return place.message


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    made = Place()
    await made.backend.open()
    await made.controller.start()
    try:
        yield made
    finally:
        await made.controller.stop()
        await made.backend.close()


def booked(place: Place, start: float, **fields: Any) -> Reservation:
    now = place.now()
    given = {"count": 1, "queues": ["course"], **fields}
    return Reservation(name="course", start=now + start, end=now + start + HOUR, **given)


async def test_the_choice_of_nodes_is_stored_once_and_stays(place: Place) -> None:
    busy = await place.submit("busy", devices=1)
    await place.reaches(busy, Phase.RUNNING)
    held = place.nodes(busy)
    await place.backend.put_reservation(booked(place, HOUR))
    rows = place.cache.calendar.reservations
    await place.until(lambda: "course" in rows and rows["course"].chosen != [], "a choice")
    (chosen,) = rows["course"].chosen
    assert chosen.nodes and chosen.nodes != held  # the empty one
    place.backend.set_node(node("0"))  # by its name it would come first
    await place.until(lambda: "0" in place.cache.nodes, "a node")
    (window,) = place.cache.snapshot(place.now()).windows
    assert sorted(window.nodes) == chosen.nodes


async def test_nodes_are_kept_ahead_for_the_queue_that_reserved_them(place: Place) -> None:
    await place.backend.put_reservation(booked(place, HOUR, count=2))
    endless = await place.submit("endless")
    message = await place.waits_for(endless, "Reserved")
    assert message.startswith("2 nodes are reserved for course from ")
    assert "without a maximum runtime (lifetime.maxRuntimeSeconds)" in message
    assert "it could start now" in message
    short = await place.submit("short", lifetime=Lifetime(max_runtime_seconds=600.0))
    await place.reaches(short, Phase.RUNNING)
    own = await place.submit("own", queue="course")
    await place.reaches(own, Phase.RUNNING)
    assert place.look(endless).status.phase is Phase.QUEUED
    await place.backend.delete_reservation("course")
    await place.backend.update_intent(short, stop=True)
    await place.reaches(endless, Phase.RUNNING)


async def test_who_still_runs_makes_room_at_the_start_and_who_may_stay_finishes(place: Place) -> None:
    stays = await place.submit("stays", preemption=PreemptionSpec(allowed=False))
    leaves = await place.submit("leaves", preemption=PreemptionSpec(notice_seconds=30.0, min_runtime_seconds=9 * HOUR))
    await place.reaches(stays, Phase.RUNNING)
    await place.reaches(leaves, Phase.RUNNING)
    await place.backend.put_reservation(booked(place, 30.0, count=2))  # begins within the notice
    await place.waits_for(leaves, "Reserved")
    assert place.look(stays).status.phase is Phase.RUNNING
    own = await place.submit("own", queue="course")
    await place.reaches(own, Phase.RUNNING)
    assert place.nodes(own) != place.nodes(stays)


async def test_a_drain_from_now_on_empties_a_node_and_opening_it_takes_work_again(place: Place) -> None:
    first = await place.submit("first", preemption=PreemptionSpec(notice_seconds=5.0))
    await place.reaches(first, Phase.RUNNING)
    (drained,) = place.nodes(first)
    drain = Reservation(name=f"drain.{drained}", start=place.now(), nodes=[drained], purpose="drain", lead_seconds=0.0)
    await place.backend.put_reservation(drain)
    other = "b" if drained == "a" else "a"
    await place.until(lambda: place.nodes(first) == [other], "the other node")  # preempted, and started there
    await place.reaches(first, Phase.RUNNING)
    second = await place.submit("second")
    assert (await place.waits_for(second, "Reserved")).startswith(f"{drained} is drained; it can't start there")
    await place.backend.delete_reservation(drain.name)
    await place.reaches(second, Phase.RUNNING)
    assert place.nodes(second) == [drained]


async def test_a_closed_node_lets_its_work_finish(place: Place) -> None:
    first = await place.submit("first")
    await place.reaches(first, Phase.RUNNING)
    (shut,) = place.nodes(first)
    closed = Reservation(
        name=f"drain.{shut}", start=place.now(), nodes=[shut], purpose="closed", evict=False, lead_seconds=0.0
    )
    await place.backend.put_reservation(closed)
    second = await place.submit("second")
    await place.reaches(second, Phase.RUNNING)
    third = await place.submit("third")
    await place.waits_for(third, "NoFit")
    assert place.look(first).status.phase is Phase.RUNNING
    await place.backend.update_intent(first, stop=True)
    await place.reaches(first, Phase.STOPPED)
    assert place.cache.place_of(third) is not None  # the node stays closed
