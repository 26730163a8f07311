"""Two controllers on one truth: the older one, wherever it stands, writes nothing any more."""

from __future__ import annotations

import asyncio

import pytest

from octopus_hub.control.apply import Replaced
from octopus_hub.core import actions as act
from octopus_hub.model.status import Phase
from tests.control.engines import Engine, World
from tests.control.played import Breaking, job, role
from tests.control.timetravel import travel


def test_the_older_controller_stops_writing() -> None:
    async def main() -> None:
        world = World()
        first, second = Breaking(world.backend), Breaking(world.backend)
        await world.backend.create(job("before", role("w", "run 5", 2)))
        async with Engine(first) as older:
            await world.phase("before", Phase.RUNNING)
            async with Engine(second):
                done = len(first.effects)
                for number in range(5):
                    await world.backend.create(job(f"job{number}", role("w", "run 5", 2)))
                ended = await world.ended("before", *(f"job{number}" for number in range(5)))
                assert len(first.effects) == done and second.effects
                assert {each.status.epoch for each in ended} == {world.backend.epoch}
                await asyncio.sleep(200)
                assert len(older.cache.tasksets) == 6, "it still sees what happens"
                assert older.cache.tasksets == world.backend.truth.tasksets

    travel(main())


@pytest.mark.parametrize(
    "action",
    [
        act.CreateTasks((act.Member("w", 0, 1),)),
        act.ReleaseTasks(("job-w-0-1",)),
        act.StopTasks(("job-w-0-1",), 1.0),
        act.DeleteTasks(("job-w-0-1",)),
        act.WriteRecord(1),
        act.DeleteTaskSet(),
    ],
    ids=lambda action: type(action).__name__,
)
def test_no_effect_passes_after_a_takeover(action: act.Action) -> None:
    async def main() -> None:
        world = World()
        made = await world.backend.create(job("job", role("w", "forever")))
        backend = Breaking(world.backend)
        async with Engine(backend) as older:
            await world.phase("job", Phase.RUNNING)
            await world.backend.open()
            done = len(backend.effects)
            with pytest.raises(Replaced, match="taken over"):
                await older.controller._apply.carry_out(world.named("job"), action)
            with pytest.raises(Replaced):
                await older.controller._apply.write(world.named("job"), made.status)
            assert len(backend.effects) == done
            assert [task.state.value for task in world.rows("job")] == ["Running"]

    travel(main())
