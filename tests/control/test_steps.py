"""Workers of steps: there are as many as there is to do at once, and what waits for the ledger is no burden to others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from octopus_hub.backends.memory import node
from octopus_hub.control import steps
from octopus_hub.model.status import Phase
from tests.control.engines import Engine, World
from tests.control.played import Played, clock, job, queue, role
from tests.control.timetravel import travel


class SlowLedger(Played):
    """Its ledger takes a minute to write."""

    async def put_ledger(self, name: str, content: dict[str, Any]) -> None:
        await asyncio.sleep(60.0)
        await super().put_ledger(name, content)


class SlowWorld(World):
    def __init__(self) -> None:
        self.backend = SlowLedger(nodes=[node("node-a", cpu=1000)], queues=[queue()])


def test_whoever_waits_for_the_ledger_keeps_nobody_else_from_starting() -> None:
    async def main() -> None:
        world = SlowWorld()
        async with Engine(world.backend) as engine:
            names = [f"job-{number}" for number in range(3 * steps.WORKERS)]
            for name in names:
                await world.backend.create(job(name, role("w", "run 3")))
            await world.until(lambda: all(world.named(name).status.phase is Phase.SUCCEEDED for name in names), 30.0)
            assert engine.controller._apply.charging > steps.WORKERS
            before = clock()
            await world.backend.create(job("late", role("w", "run 1")))
            await world.phase("late", Phase.RUNNING, seconds=20.0)
            assert clock() - before < 20.0
            await world.ended(*names, "late")
            assert engine.controller._apply.charging == 0
            records = {(each.uid, each.attempt) for each in await world.backend.list_records(None)}
            assert len(records) == len(names) + 1
            assert sum(each.attempts for each in engine.cache.ledger.accounts.values()) == len(records)

    travel(main())


def test_after_a_rush_most_workers_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "WORKERS", 4)

    async def main() -> None:
        world = SlowWorld()
        async with Engine(world.backend) as engine:
            for number in range(40):
                await world.backend.create(job(f"job-{number}", role("w", "run 3")))
            workers = engine.controller._steps._workers
            await world.until(lambda: engine.controller._apply.charging == 40)
            assert len(workers) > 40
            await world.ended(*(f"job-{number}" for number in range(40)))
            await asyncio.sleep(1.0)
            assert engine.controller.idle and 1 <= len(workers) <= 2 * 4

    travel(main())
