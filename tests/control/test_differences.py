"""What the engine says has changed between two looks of the scheduler is just what has; plans are the same without it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from octopus_hub.core.plan import Plan
from octopus_hub.core.schedule import schedule
from octopus_hub.core.snapshot import Running, Snapshot, Waiting
from octopus_hub.model.queue import QueuePreemption
from octopus_hub.model.taskset import After
from tests.control.engines import Engine, World
from tests.control.played import job, queue, role
from tests.control.timetravel import travel

PREEMPTION = QueuePreemption(min_runtime_seconds=5.0, review_seconds=20.0)


class Checking:
    """Schedules, and compares what it is told has changed with what it was shown."""

    def __init__(self) -> None:
        self.looks = self.changes = 0
        self._before: Snapshot | None = None
        self._waiting: dict[str, Waiting] = {}

    def __call__(self, snapshot: Snapshot, waiting: Sequence[Waiting], now: float, memo: Any) -> Plan:
        delta, before = snapshot.delta, self._before
        assert delta is not None
        shown = {gang.uid: gang for gang in waiting}
        assert len(shown) == len(waiting)
        if before is not None:
            assert before.delta is not None and delta.before is before.delta.after
            told = dict(self._waiting)
            for gang in delta.left:
                assert told.pop(gang.uid) is gang
            for gang in delta.joined:
                assert gang.uid not in told
                told[gang.uid] = gang
            assert told == shown and all(told[uid] is gang for uid, gang in shown.items())
            runs: dict[str, Running] = {uid: each for uid, each in before.running.items() if uid not in delta.ended}
            runs.update((each.gang.uid, each) for each in delta.started)
            assert runs == snapshot.running
            names = {*before.usage.nodes, *snapshot.usage.nodes}
            differ = {name for name in names if before.usage.nodes.get(name) != snapshot.usage.nodes.get(name)}
            assert differ <= set(delta.nodes)
            self.changes += bool(delta.left) + bool(delta.ended)
        self._before, self._waiting = snapshot, shown
        self.looks += 1
        plan = schedule(snapshot, waiting, now, memo)
        alone = schedule(replace(snapshot, delta=None), waiting, now)
        assert (plan.admissions, plan.evictions, plan.resizes) == (alone.admissions, alone.evictions, alone.resizes)
        return plan


@pytest.mark.parametrize("policy", ["priority", "gittins", "fair"])
@pytest.mark.parametrize("seed", range(3))
def test_differences_are_those_of_the_snapshots_and_change_no_plan(policy: str, seed: int) -> None:
    random = Random(f"{policy}/{seed}")
    check = Checking()
    failures: list[BaseException] = []

    def checked(*inputs: Any) -> Plan:
        try:
            return check(*inputs)
        except AssertionError as error:
            failures.append(error)
            raise

    async def main() -> None:
        world = World(queues=[queue(policy=policy, preemption=PREEMPTION)])
        async with Engine(world.backend, schedule=checked):
            for number in range(30):
                part = random.choice(["run 3", "run 30", "fail 1", "unbound 1", "lost 1"])
                fields: dict[str, Any] = {"priority": random.choice(["low", "normal", "high"])}
                if number and random.random() < 0.2:
                    fields["after"] = [After(name=f"j{random.randrange(number)}", on="Completed")]
                made = job(f"j{number}", role("w", part, random.randint(1, 3), devices={"virtual": 1}), **fields)
                stored = await world.backend.create(made)
                await asyncio.sleep(random.choice([0.0, 0.3, 4.0]))
                if random.random() < 0.15:
                    await world.backend.update_intent(stored.metadata.uid, stop=True)
            await world.ended(*(f"j{number}" for number in range(30)), seconds=10_000)

    travel(main())
    assert not failures, failures[0]
    assert check.looks > 30 and check.changes > 30


def test_a_held_one_is_seen_once_it_is_released() -> None:
    async def main() -> None:
        check = Checking()
        world = World()
        async with Engine(world.backend, schedule=check):
            stored = await world.backend.create(job("one", role("w", "run 2"), hold=True))
            await asyncio.sleep(5)
            assert world.named("one").status.admitted_at is None
            await world.backend.update_intent(stored.metadata.uid, hold=False)
            await world.ended("one")

    travel(main())
