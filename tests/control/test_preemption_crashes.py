"""Laws 1, 7, 9, 11, 13: the engine dies, or an effect fails, between any two effects of a preemption.

Two gangs make room for one, with notice; a third waits behind. Whatever happens and wherever: the claimant runs with all
its members, never was more held than there is, nobody else took the room, and who made it ran again from its old place,
with the record of each attempt. The plain scheduler of ``preempting`` and the product's are put through the same.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from octopus_hub.core.schedule import schedule
from octopus_hub.model.queue import QueuePreemption
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import PreemptionSpec
from tests.control.engines import Engine, World
from tests.control.played import Breaking, job, queue, role
from tests.control.preempting import strict
from tests.control.timetravel import travel

SCHEDULERS = {"plain": strict, "product": schedule}
NODE = {"virtual": 4}
NAMES = ("first", "second", "claimant", "behind")
NOW = QueuePreemption(min_runtime_seconds=0.0, review_seconds=1.0)


def world() -> World:
    return World(queues=[queue(policy="priority", preemption=NOW)])


async def play(world: World, claims_after: float) -> None:
    """Submit everything; time goes on whether or not an engine lives."""
    notice = PreemptionSpec(notice_seconds=4.0)
    gentle, stubborn = role("w", "run 30", 2, devices={"virtual": 2}), role("w", "stubborn", 2, devices={"virtual": 2})
    await world.backend.create(job("first", gentle, preemption=notice), "first")
    await world.backend.create(job("second", stubborn, preemption=notice), "second")
    await asyncio.sleep(claims_after)
    await world.backend.create(job("claimant", role("w", "run 5", 2, devices=NODE), priority="high"), "claimant")
    await asyncio.sleep(0.1)
    await world.backend.create(job("behind", role("w", "run 5", devices=NODE)), "behind")


async def check(world: World, preempts: bool = True) -> None:
    await world.until(lambda: len(world.backend.truth.tasksets) == len(NAMES))
    await world.ended("claimant", "behind", "first")
    await world.phase("second", Phase.RUNNING)
    world.backend.truth.update_intent(world.named("second").metadata.uid, stop=True)  # it would run for ever
    first, second, claimant, behind = await world.ended("first", "second", "claimant", "behind")
    assert [each.status.phase for each in (first, claimant, behind)] == [Phase.SUCCEEDED] * 3
    assert (claimant.status.attempt, claimant.status.preemptions) == (1, 0)
    if preempts:
        assert (claimant.status.started_at or 0) < (behind.status.started_at or 0), "nobody else took the room"
    for victim in (first, second) if preempts else ():
        assert victim.status.preemptions == len(victim.status.preempted_at) == 1, victim.status
        assert victim.status.preempted_for == claimant.metadata.uid
        assert victim.status.queued_at == victim.metadata.created_at, "it kept its place"
        assert (victim.status.started_at or 0) >= (claimant.status.finished_at or 0), "it ran again afterwards"
        phases = world.backend.witness.phases[victim.name]
        assert phases.count("Preempting") == 1
    records = await world.backend.list_records("anna")
    for each in (first, second, claimant, behind):
        attempts = sorted(record.attempt for record in records if record.uid == each.metadata.uid)
        assert attempts == list(range(1, each.status.attempt + 1)), "law 13"
    begun = {taskset.metadata.uid: taskset for taskset in (first, second, claimant, behind)}
    for uid, attempt in world.backend.witness.begun:
        sizes = {role.name: role.count for role in begun[uid].spec.roles}
        started = [task for task in world.backend.witness.starts if task[0] == uid]
        assert len(started) % sum(sizes.values()) == 0, f"law 1: attempt {attempt} ran with a part of its members"
    ledger = await world.backend.get_ledger("usage")
    assert len(ledger["charged"]) == len(set(ledger["charged"])) == len(records), "each attempt is charged once"


async def undisturbed(scheduler: str, claims_after: float) -> int:
    played = world()
    backend = Breaking(played.backend)
    async with Engine(backend, schedule=SCHEDULERS[scheduler]):
        playing = asyncio.create_task(play(played, claims_after))
        await check(played)
        await playing
    return len(backend.effects)


async def disturbed(scheduler: str, claims_after: float, how: str, at: int) -> None:
    played = world()
    backend = Breaking(played.backend, how, at)
    preempts = claims_after > 5.0  # who had not started yet when the engine died may find the claimant there already
    playing = asyncio.create_task(play(played, claims_after))
    checking = asyncio.create_task(check(played, preempts))
    options: dict[str, Any] = {"schedule": SCHEDULERS[scheduler]}
    async with Engine(backend, **options):
        died = asyncio.create_task(backend.dead.wait())
        await asyncio.wait({checking, died}, return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
    if not checking.done():
        await asyncio.sleep(1.0)  # tasks live on, and end, meanwhile
        async with Engine(played.backend, **options):
            await checking
    await asyncio.gather(checking, playing)


@pytest.mark.parametrize("how", ["crash before", "crash after", "error before", "error after"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_nothing_is_half_evicted_or_half_started_whatever_happens_at_any_effect(scheduler: str, how: str) -> None:
    effects = travel(undisturbed(scheduler, 8.0))
    assert effects > 30
    for at in range(effects):
        travel(disturbed(scheduler, 8.0, how, at))


@pytest.mark.parametrize("claims_after", [0.05, 0.3])
def test_gangs_that_only_start_make_room_as_well_wherever_the_engine_dies(claims_after: float) -> None:
    effects = travel(undisturbed("product", claims_after))
    for at in range(effects):
        travel(disturbed("product", claims_after, "crash after", at))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_law_11_losing_any_change_costs_only_time(scheduler: str) -> None:
    async def main(lost: int) -> int:
        played = world()
        backend = Breaking(played.backend, lost=lambda number: number == lost)
        async with Engine(backend, schedule=SCHEDULERS[scheduler]):
            playing = asyncio.create_task(play(played, 8.0))
            await check(
                played, preempts=lost < 0
            )  # seen a minute late, a claimant finds that who was in its way has gone
            await playing
        return backend._seen

    changes = travel(main(-1))
    for lost in range(1, changes + 1, 2):
        travel(main(lost))
