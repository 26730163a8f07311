"""What policies learn of run times in the engine: from what ended, anew at each review, the same after a restart."""

from __future__ import annotations

import asyncio

import pytest

from octopus_hub.core.history import Life
from octopus_hub.model.queue import QueuePreemption
from octopus_hub.model.status import Phase
from tests.control.engines import Engine, World
from tests.control.played import clock, job, queue, role
from tests.control.timetravel import travel

LEARNS = queue(policy="gittins", preemption=QueuePreemption(review_seconds=600.0))


def test_what_ended_teaches_the_policy_once_per_review_and_after_a_restart() -> None:
    async def main() -> None:
        world = World(queues=[LEARNS])
        async with Engine(world.backend) as engine:
            for number in range(8):
                await world.backend.create(job(f"short{number}", role("w", "run 60", devices={"virtual": 1})))
                await world.ended(f"short{number}")
            await world.backend.create(job("runs", role("w", "run 9000", devices={"virtual": 1}), owner="ben"))
            await world.phase("runs", Phase.RUNNING)
            await asyncio.sleep(700)
            shown = engine.cache.snapshot(clock())
            assert shown.history is not None
            kin = engine.cache.ledger.lives[0].kin
            assert len(engine.cache.ledger.lives) == 8
            known = shown.history.rest(Life("anna", 1.0, kin, 0.0))
            assert known < shown.history.rest(Life("carl", 1.0, "carl/other", 3000.0))
            tick = clock() // 600 * 600
            assert engine.cache.snapshot(tick + 599).history is shown.history, "the same until the next review"
            assert engine.cache.snapshot(tick + 601).history is not shown.history
        async with Engine(world.backend) as engine:
            again = engine.cache.snapshot(clock()).history
            assert again is not None
            assert again.rest(Life("anna", 1.0, kin, 0.0)) == pytest.approx(known, rel=0.05)

    travel(main())


def test_nothing_is_learned_for_policies_that_do_not_look() -> None:
    async def main() -> None:
        world = World(queues=[queue(policy="fifo")])
        async with Engine(world.backend) as engine:
            await world.backend.create(job("one", role("w", "run 5")))
            await world.ended("one")
            assert engine.cache.snapshot(clock()).history is None

    travel(main())
