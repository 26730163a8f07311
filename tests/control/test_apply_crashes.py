"""Laws 1, 3, 5, 7, 10, 11, 13 while the engine dies, effects fail and changes get lost, at every single point.

The witness in ``played`` checks them at every change of truth; here is what it is put through. Time is imagined.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import uuid
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octopus_hub.model.amounts import Amounts
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import Lifetime, Restart, TaskSet
from tests.control.engines import Engine, World
from tests.control.played import Breaking, job, queue, role
from tests.control.timetravel import travel

GANG = Restart(scope="gang", max_restarts=2, delay_seconds=1.0)
ONE = Restart(scope="task", max_restarts=2, delay_seconds=1.0)
ROLE = Restart(scope="role", max_restarts=2, delay_seconds=1.0)
TWO_DEVICES = {"virtual": 2}

# what is submitted in each scene, and how it must end
SCENES: dict[str, dict[str, tuple[TaskSet, Phase]]] = {
    "two gangs that only fit one after the other": {
        "one": (job("one", role("w", "run 3", 3, devices=TWO_DEVICES)), Phase.SUCCEEDED),
        "two": (job("two", role("ps", "run 1"), role("w", "run 2", 3, devices=TWO_DEVICES)), Phase.SUCCEEDED),
    },
    "a gang that starts again as a whole": {
        "gang": (job("gang", role("a", "run 1", 2, restart=GANG), role("b", "fail 1", restart=GANG)), Phase.SUCCEEDED),
    },
    "single tasks that start again": {
        "task": (job("task", role("w", "fail 1", 2, restart=ONE), role("c", "run 9")), Phase.SUCCEEDED),
    },
    "a role that starts again": {
        "role": (job("role", role("w", "lost 1", 2, restart=ROLE), role("c", "run 9")), Phase.SUCCEEDED),
    },
    "one that fails in the end": {
        "bad": (job("bad", role("w", "exit 3", 2, restart=ONE), role("c", "stubborn")), Phase.FAILED),
    },
    "one whose gang can't be bound at first": {
        "unbound": (job("unbound", role("w", "unbound 1"), role("c", "run 1", 2)), Phase.SUCCEEDED),
    },
    "one that is deleted after its end": {
        "gone": (job("gone", role("w", "run 1"), lifetime=Lifetime(ttl_seconds_after_finished=5.0)), Phase.SUCCEEDED),
    },
}


_parts = st.sampled_from(["run 0", "run 4", "fail 1", "exit 2", "lost 1", "unbound 1", "absent"])
_restarts = st.sampled_from([Restart(), GANG, ONE, ROLE])
_roles = st.builds(
    lambda name, part, replicas, devices, restart: role(
        name, part, replicas, devices={"virtual": devices}, restart=restart
    ),
    name=st.just("w"),
    part=_parts,
    replicas=st.integers(1, 3),
    devices=st.integers(0, 2),
    restart=_restarts,
)
_jobs = (
    st.lists(_roles, min_size=1, max_size=2)
    .map(lambda roles: [msgspec.structs.replace(each, name=f"r{n}") for n, each in enumerate(roles)])
    .filter(lambda roles: sum(each.count * each.resources.devices["virtual"] for each in roles) <= 6)  # else refused
)


async def submit(world: World, scene: str) -> None:
    for name, (taskset, _) in SCENES[scene].items():
        await world.backend.create(taskset, name)


async def check(world: World, scene: str) -> None:
    for name, (_, phase) in SCENES[scene].items():
        if scene == "one that is deleted after its end":
            await world.until(lambda: world.gone("gone"))
            world.lawful()
            assert [record.phase for record in await world.backend.list_records("anna")] == [phase]
            continue
        (taskset,) = await world.ended(name)
        assert taskset.status.phase is phase, taskset.status
        records = [each for each in await world.backend.list_records("anna") if each.uid == taskset.metadata.uid]
        assert {record.attempt for record in records} == set(range(1, taskset.status.attempt + 1)), "law 13"
        assert all(task.state.terminal for task in world.rows(name))
    ledger = await world.backend.get_ledger("usage")
    records = await world.backend.list_records("anna")
    assert len(ledger["charged"]) == len(set(ledger["charged"])) == len(records), "each attempt is charged once"


async def undisturbed(scene: str) -> int:
    """Play a scene through; return how many effects it took."""
    world = World()
    await submit(world, scene)
    backend = Breaking(world.backend)
    async with Engine(backend):
        await check(world, scene)
    return len(backend.effects)


async def disturbed(scene: str, how: str, at: int) -> None:
    """Play a scene in which something happens at one effect; after a crash another engine goes on from truth."""
    world = World()
    await submit(world, scene)
    backend = Breaking(world.backend, how, at)
    checking = asyncio.create_task(check(world, scene))
    async with Engine(backend):
        died = asyncio.create_task(backend.dead.wait())
        await asyncio.wait({checking, died}, return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
    if not checking.done():
        await asyncio.sleep(3.0)  # tasks live on meanwhile
        async with Engine(world.backend):
            await checking
    await checking


@pytest.mark.parametrize("how", ["crash before", "crash after", "error before", "error after"])
@pytest.mark.parametrize("scene", SCENES)
def test_laws_hold_whatever_happens_at_any_effect(scene: str, how: str) -> None:
    effects = travel(undisturbed(scene))
    assert effects > 5
    for at in range(effects):
        travel(disturbed(scene, how, at))


@pytest.mark.parametrize("scene", SCENES)
def test_law_11_losing_any_change_costs_only_time(scene: str) -> None:
    async def main(lost: int) -> int:
        world = World()
        backend = Breaking(world.backend, lost=lambda number: number == lost)
        async with Engine(backend):
            await submit(world, scene)
            await check(world, scene)
        return backend._seen

    changes = travel(main(-1))
    assert changes > 8
    for lost in range(1, changes + 1):
        travel(main(lost))


@pytest.mark.parametrize("scene", SCENES)
def test_law_11_an_engine_that_sees_no_change_at_all_gets_there(scene: str) -> None:
    async def main() -> None:
        world = World()
        async with Engine(Breaking(world.backend, lost=lambda number: True)):
            await submit(world, scene)
            await check(world, scene)

    travel(main())


def same_names() -> Any:
    """Let a failing example fail again: uids decide about order and jitter."""
    numbers = itertools.count(1)
    return mock.patch("octopus_hub.backends.truth.uuid.uuid4", lambda: uuid.UUID(int=next(numbers) * 7919))


@pytest.mark.parametrize("late", [0.05, 0.5, 5.0])
@pytest.mark.parametrize("scene", SCENES)
def test_nothing_is_decided_on_a_gang_that_is_only_half_seen(scene: str, late: float) -> None:
    """What was ordered is waited for: a row that is not seen yet is no task that vanished."""

    async def main() -> None:
        world = World()
        backend = Breaking(world.backend)
        backend.late = late
        async with Engine(backend):
            await submit(world, scene)
            await check(world, scene)
            for taskset in world.backend.truth.tasksets.values():
                lost = "lost" in str(SCENES[scene])
                assert lost or all(role.transient_restarts == 0 for role in taskset.status.roles), taskset.status.roles

    travel(main())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_laws_hold_in_any_world_with_any_number_of_crashes(data: st.DataObject) -> None:
    jobs = data.draw(st.lists(_jobs, min_size=1, max_size=5), label="jobs")
    deaths = data.draw(st.lists(st.integers(0, 40), max_size=6), label="effects at which engines die")
    lost = data.draw(st.sets(st.integers(1, 60), max_size=6), label="changes that get lost")
    stops = data.draw(st.dictionaries(st.integers(0, 4), st.floats(0, 30), max_size=2), label="stopped when")

    async def main() -> None:
        world = World(queues=[queue(nominal=Amounts(cpu_millis=4000, memory_bytes=64 << 30, devices={"virtual": 6}))])
        for number, each in enumerate(jobs):
            await world.backend.create(job(f"job{number}", *each, owner="anna" if number % 2 else "ben"))
        for number, after in stops.items():
            if number < len(jobs):
                uid = world.named(f"job{number}").metadata.uid
                stop = functools.partial(world.backend.truth.update_intent, uid, stop=True)
                asyncio.get_running_loop().call_later(after, stop)
        for at in deaths:
            backend = Breaking(world.backend, "crash after" if at % 2 else "crash before", at, lost.__contains__)
            async with Engine(backend):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(backend.dead.wait(), 100.0)
        async with Engine(world.backend):
            await world.ended(*(f"job{number}" for number in range(len(jobs))))

    with same_names():
        travel(main())
