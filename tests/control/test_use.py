"""Use over time in snapshots: by full minutes, of what ended and of what runs; budgets; the same after a restart."""

from __future__ import annotations

import asyncio

import pytest

from octopus_hub.control.ledger import HALF_LIFE_SECONDS
from octopus_hub.control.usage import Holding
from octopus_hub.control.use import held_devices
from octopus_hub.model.queue import Budget
from octopus_hub.model.status import Phase
from tests.control.engines import Engine, World
from tests.control.played import clock, job, queue, role
from tests.control.timetravel import travel

BUDGET = Budget(device_hours=100, window="day")


def test_what_runs_and_what_ended_counts_by_full_minutes_and_survives_a_restart() -> None:
    async def main() -> None:
        world = World(queues=[queue(budget=BUDGET)])
        async with Engine(world.backend) as engine:
            cache = engine.cache
            await world.backend.create(job("runs", role("w", "run 1000", 2, devices={"virtual": 2})))
            await world.backend.create(job("ends", role("w", "run 100", devices={"virtual": 1}), owner="ben"))
            await world.phase("ends", Phase.RUNNING)
            await asyncio.sleep(330)
            shown = cache.snapshot(clock())
            assert shown.attained_at % 60 == 0 and clock() - shown.attained_at < 60
            ran = shown.attained_at - (world.named("runs").status.started_at or 0)
            assert shown.attained["default", "anna"] == pytest.approx(4 * ran, abs=4)
            assert shown.attained["default", "ben"] == pytest.approx(100, abs=1)
            assert shown.spent["default"] == pytest.approx(4 * ran + 100, abs=5)
            again = cache.snapshot(shown.attained_at + 59)
            assert again.attained is shown.attained and again.spent is shown.spent, "nothing new within a minute"
        world.backend.truth.ledgers.clear()  # a lost ledger is made again from the records, of everybody
        world.backend.truth.delete(world.named("ends").metadata.uid)
        async with Engine(world.backend) as engine:
            after = engine.cache.snapshot(shown.attained_at)
            assert after.attained == pytest.approx(shown.attained, abs=1e-6)
            assert after.spent == pytest.approx(shown.spent, abs=1e-6)
            week = engine.cache.snapshot(shown.attained_at + HALF_LIFE_SECONDS)
            assert week.attained["default", "ben"] == pytest.approx(50, abs=1)

    travel(main())


def test_what_runs_on_a_part_of_a_device_uses_its_part() -> None:
    nodes = {"a": {"cpu_millis": 1000, "virtual-1of4": 3}, "b": {"cpu_millis": 500, "virtual": 2, "virtual-1of2": 1}}
    held = Holding("default", "anna", (), nodes, {}, 6)
    assert held_devices(held) == (0.75 + 2 + 0.5, 1.5)


def test_a_budget_that_is_changed_is_seen_at_once() -> None:
    async def main() -> None:
        world = World()
        async with Engine(world.backend) as engine:
            await world.backend.create(job("runs", role("w", "run 1000", devices={"virtual": 1})))
            await world.phase("runs", Phase.RUNNING)
            await asyncio.sleep(200)
            assert engine.cache.snapshot(clock()).spent == {}
            world.backend.set_queue(queue(budget=BUDGET))
            await asyncio.sleep(1)
            assert 100 < engine.cache.snapshot(clock()).spent["default"] <= 202

    travel(main())


def test_a_budget_that_runs_out_stops_what_runs_though_nothing_else_happens() -> None:
    async def main() -> None:
        budget = Budget(device_hours=1, window="day", at_end="stop")
        world = World(queues=[queue(budget=budget)])
        async with Engine(world.backend):
            await world.backend.create(job("runs", role("w", "run 100000", 2, devices={"virtual": 1})))
            await world.phase("runs", Phase.RUNNING)
            began = world.named("runs").status.started_at or 0.0
            await asyncio.sleep(1000)
            assert world.named("runs").status.phase is Phase.RUNNING, "half of it is left"
            await world.phase("runs", Phase.QUEUED)
            assert 1800 <= clock() - began < 1800 + 2 * 60 + 60, "by full minutes, with its notice"

    travel(main())
