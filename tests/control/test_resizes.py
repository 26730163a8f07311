"""Resizes carried out: growth is held from its decision, nobody is evicted, any crash leaves a whole gang behind."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from octopus_hub.control.usage import holding
from octopus_hub.core.plan import Plan, Resize
from octopus_hub.core.schedule import schedule
from octopus_hub.model.queue import QueuePreemption
from octopus_hub.model.status import Phase, Span
from octopus_hub.model.task import TaskState
from octopus_hub.model.taskset import ElasticReplicas, PreemptionSpec, TaskSet
from tests.control.engines import Engine, World
from tests.control.played import Breaking, job, queue, role
from tests.control.resizing import resizing
from tests.control.timetravel import travel

SOON = QueuePreemption(review_seconds=40.0, min_runtime_seconds=5.0)
GOES_ON = PreemptionSpec(resumes="always", notice_seconds=30.0)
DEVICE = {"virtual": 1}
replace = msgspec.structs.replace


def stretchy(name: str, least: int, most: int, part: str = "run 50") -> TaskSet:
    replicas = ElasticReplicas(min=least, max=most)
    return job(name, role("w", part, replicas, devices=DEVICE), preemption=GOES_ON)  # type: ignore[arg-type]


def world() -> World:
    return World(queues=[queue(preemption=SOON)])


async def sizes(world: World, name: str) -> dict[int, int]:
    """How many tasks ran in each attempt, by its record."""
    records = [each for each in await world.backend.list_records("anna") if each.name == name]
    return {each.attempt: sum(end.started_at is not None for end in each.tasks) for each in records}


def now_running(world: World, name: str) -> int:
    return sum(task.state is TaskState.RUNNING for task in world.rows(name))


def capacity(world: World) -> int:
    return sum(node.capacity.devices["virtual"] for node in world.backend.truth.nodes.values())


async def grows(world: World) -> None:
    """A job leaves room; the elastic one takes it once nobody waits."""
    whole = capacity(world)
    await world.backend.create(job("short", role("w", "run 10", whole - 3, devices=DEVICE)), "short")
    await asyncio.sleep(1)
    await world.backend.create(stretchy("long", 2, whole), "long")


async def shrinks(world: World) -> None:
    """The elastic one has everything; another comes and gets its place without anybody being evicted."""
    await world.backend.create(stretchy("long", 2, 99), "long")
    await world.until(lambda: now_running(world, "long") > 2)
    await asyncio.sleep(6)
    await world.backend.create(job("short", role("w", "run 20", 3, devices=DEVICE)), "short")


STORIES: dict[str, Any] = {"grows": grows, "shrinks": shrinks}


async def check(world: World) -> None:
    await world.until(lambda: len(world.backend.truth.tasksets) == 2)
    for taskset in await world.ended("long", "short"):
        assert taskset.status.phase is Phase.SUCCEEDED, taskset.status
        assert (taskset.status.preemptions, taskset.status.resize_to) == (0, {})
        assert all(each.restarts == each.transient_restarts == 0 for each in taskset.status.roles)
        records = [each for each in await world.backend.list_records("anna") if each.uid == taskset.metadata.uid]
        assert {record.attempt for record in records} == set(range(1, taskset.status.attempt + 1)), "law 13"
    phases = world.backend.witness.phases
    assert "Queued" not in phases["long"][1:], f"a resize does not queue: {phases['long']}"
    assert "Preempting" not in phases["short"]
    ledger = await world.backend.get_ledger("usage")
    assert len(ledger["charged"]) == len(set(ledger["charged"]))


@pytest.mark.parametrize("schedule", [resizing, schedule], ids=["plain", "the product's"])
def test_it_grows_into_what_comes_free_and_its_tasks_see_the_new_size(schedule: Any) -> None:
    async def main() -> None:
        here = world()
        async with Engine(here.backend, schedule=schedule):
            await grows(here)
            await check(here)
        whole = capacity(here)
        assert await sizes(here, "long") == {1: 3, 2: whole}
        envs = {
            (spec.gang_attempt, spec.env["OCTOPUS_WORLD_SIZE"], spec.env["OCTOPUS_REPLICAS"])
            for (_, name), spec in here.backend.specs.items()
            if name.startswith("long")
        }
        assert envs == {(1, "3", "3"), (2, str(whole), str(whole))}
        stops = {(grace, why) for _, name, grace, why in here.backend.stopped if name.startswith("long")}
        assert stops == {(30, "Resized")}
        records = {each.attempt: each for each in await here.backend.list_records("anna") if each.name == "long"}
        assert (records[1].phase, records[1].reason, records[1].final) == (Phase.STOPPED, "Resized", False)
        assert {end.cause for end in records[1].tasks} == {"its gang goes on with another number of tasks"}
        assert here.named("long").status.roles[0].succeeded == len(records[2].tasks) == whole

    travel(main())


@pytest.mark.parametrize("schedule", [resizing, schedule], ids=["plain", "the product's"])
def test_it_shrinks_for_a_claimant_instead_of_being_preempted(schedule: Any) -> None:
    async def main() -> None:
        here = world()
        async with Engine(here.backend, schedule=schedule):
            await shrinks(here)
            await here.phase("short", Phase.RUNNING)
            long = await here.phase("long", Phase.RUNNING)
            whole = capacity(here)
            assert (now_running(here, "long"), now_running(here, "short")) == (whole - 3, 3)
            assert long.status.preempted_for == here.named("short").metadata.uid
            await check(here)
        assert await sizes(here, "long") == {1: capacity(here), 2: capacity(here) - 3}

    travel(main())


def test_law_7_what_it_grows_by_is_held_from_the_decision() -> None:
    """While the old attempt takes its whole notice to end, nobody else gets the room it will grow into."""

    async def main() -> None:
        here = world()
        whole = capacity(here)

        async with Engine(here.backend, schedule=resizing) as engine:
            await here.backend.create(job("first", role("w", "run 10", whole - 2, devices=DEVICE)), "first")
            await asyncio.sleep(1)
            await here.backend.create(stretchy("long", 2, whole, "stubborn"), "long")
            await here.phase("long", Phase.PREEMPTING)
            await here.backend.create(job("other", role("w", "run 5", 1, devices=DEVICE)), "other")
            used = [amounts.devices["virtual"] for amounts in engine.cache.snapshot().usage.nodes.values()]
            assert sum(used) == whole and now_running(here, "long") == 2
            await asyncio.sleep(20)
            assert here.named("other").status.phase is Phase.QUEUED
            await here.phase("other", Phase.SUCCEEDED)  # the elastic one has made room for it
            await here.backend.update_intent(here.named("long").metadata.uid, stop=True)
            await here.ended("long")

    travel(main())


def test_a_node_that_is_lost_during_the_resize_sends_it_back_to_the_queue() -> None:
    async def main() -> None:
        here = world()
        async with Engine(here.backend, schedule=resizing):
            await grows(here)
            await here.phase("long", Phase.PREEMPTING)
            (first, *_) = [task for task in here.rows("long") if not task.state.terminal]
            here.backend.set_task("anna", first.name, state=TaskState.FAILED, end_reason="NodeLost")
            (taskset,) = await here.ended("long")
            assert taskset.status.phase is Phase.SUCCEEDED and taskset.status.resize_to == {}
            told = [(entry.phase, entry.reason) for entry in taskset.status.timeline]
            assert (Phase.QUEUED, "NodeLost") in told and (Phase.ADMITTED, "Resized") not in told

    travel(main())


def test_its_owner_scales_it_and_it_need_not_wait_for_a_review() -> None:
    async def main() -> None:
        here = world()
        async with Engine(here.backend, schedule=resizing):
            await here.backend.create(stretchy("long", 2, 6), "long")
            await here.until(lambda: now_running(here, "long") == 6)
            uid = here.named("long").metadata.uid
            for size in (3, 5, 2):
                await asyncio.sleep(1)
                await here.backend.update_intent(uid, sizes={"w": size})
                await here.until(lambda size=size: now_running(here, "long") == size, seconds=20)  # type: ignore[misc]
            (taskset,) = await here.ended("long")
            assert taskset.status.phase is Phase.SUCCEEDED and taskset.status.attempt == 4
            assert await sizes(here, "long") == {1: 6, 2: 3, 3: 5, 4: 2}

    travel(main())


def test_a_waiting_gang_starts_with_no_more_than_was_wished() -> None:
    async def main() -> None:
        here = world()
        async with Engine(here.backend, schedule=resizing):
            await here.backend.create(job("first", role("w", "run 9", capacity(here), devices=DEVICE)), "first")
            await asyncio.sleep(1)
            created = await here.backend.create(stretchy("long", 2, 6), "long")
            await asyncio.sleep(1)
            await here.backend.update_intent(created.metadata.uid, sizes={"w": 4})
            await here.until(lambda: now_running(here, "long") == 4)
            await here.ended("long")
            assert await sizes(here, "long") == {1: 4}

    travel(main())


@pytest.mark.parametrize("count", [1, 7, 99])
def test_a_plan_out_of_bounds_or_out_of_date_changes_nothing(count: int) -> None:
    asked: list[int] = []

    def wrong(snapshot: Any, waiting: Any, now: float, memo: Any = None) -> Plan:
        plan = resizing(snapshot, waiting, now)
        placement = {"w": (Span(node="node-0", first=0, count=count),)}
        resizes = [Resize(uid, placement, "grow") for uid in (*snapshot.running, "nobody")]
        asked.append(len(resizes))
        return Plan(plan.admissions, resizes=tuple(resizes), waits=plan.waits, wake_at=now + 5)

    async def main() -> None:
        here = world()
        async with Engine(here.backend, schedule=wrong):
            await here.backend.create(stretchy("long", 2, 6, "run 60"), "long")
            (taskset,) = await here.ended("long")
        assert taskset.status.attempt == 1 and max(asked) == 2

    travel(main())


async def undisturbed(story: str) -> int:
    here = world()
    backend = Breaking(here.backend)
    async with Engine(backend, schedule=resizing):
        await STORIES[story](here)
        await check(here)
    return len(backend.effects)


async def disturbed(story: str, how: str, at: int) -> None:
    here = world()
    backend = Breaking(here.backend, how, at)
    telling = asyncio.create_task(STORIES[story](here))
    checking = asyncio.create_task(check(here))
    async with Engine(backend, schedule=resizing):
        died = asyncio.create_task(backend.dead.wait())
        await asyncio.wait({checking, died}, return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
    if not checking.done():
        await asyncio.sleep(3.0)  # tasks live on meanwhile
        async with Engine(here.backend, schedule=resizing):
            await checking
    await telling
    await checking


@pytest.mark.parametrize("how", ["crash before", "crash after", "error before", "error after"])
@pytest.mark.parametrize("story", STORIES)
def test_laws_hold_whatever_happens_at_any_effect_of_a_resize(story: str, how: str) -> None:
    effects = travel(undisturbed(story))
    assert effects > 20
    for at in range(effects):
        travel(disturbed(story, how, at))


@pytest.mark.parametrize("story", STORIES)
def test_law_11_losing_any_change_of_a_resize_costs_only_time(story: str) -> None:
    async def main(lost: int) -> int:
        here = world()
        backend = Breaking(here.backend, lost=lambda number: number == lost)
        async with Engine(backend, schedule=resizing):
            await STORIES[story](here)
            await check(here)
        return backend._seen

    changes = travel(main(-1))
    for lost in range(1, changes + 1):
        travel(main(lost))


def test_the_larger_of_before_and_after_is_held() -> None:
    start = stretchy("long", 2, 9)
    spans = [Span(node="a", first=0, count=3), Span(node="b", first=3, count=1)]
    after = [Span(node="a", first=0, count=1), Span(node="b", first=1, count=2), Span(node="c", first=3, count=1)]
    status = replace(start.status, phase=Phase.PREEMPTING, placement={"w": spans}, resize_to={"w": after})
    held = holding(replace(start, status=status), ())
    assert held is not None
    assert {node: entries["virtual"] for node, entries in held.nodes.items()} == {"a": 3, "b": 2, "c": 1}
    assert (held.total["virtual"], held.tasks) == (6, 6)
