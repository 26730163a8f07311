"""Full life cycles through the real loop, on a backend whose tasks play their parts in imagined time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from octopus_hub.backends.memory import node
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.errors import NotFound, Unavailable
from octopus_hub.model.queue import Queue
from octopus_hub.model.status import Phase
from octopus_hub.model.task import TaskState
from octopus_hub.model.taskset import After, Gang, Lifetime, Restart, Role, TaskSet
from tests.control.engines import Engine, World
from tests.control.played import Breaking, clock, job, queue, role
from tests.control.timetravel import travel

Story = Callable[[World, Engine], Coroutine[Any, Any, None]]
WALK = ["Queued", "Admitted", "Starting", "Running", "Succeeded"]
ONCE = Restart(scope="task", max_restarts=1, delay_seconds=5.0)


def tell(story: Story, **options: Any) -> World:
    """Play a story with one engine; laws hold at its end."""
    made: list[World] = []

    async def main() -> None:
        world = World(**options)
        made.append(world)
        async with Engine(world.backend) as engine:
            await story(world, engine)
        world.lawful()

    travel(main())
    return made[0]


async def submit(world: World, name: str, *roles: Role, **fields: Any) -> TaskSet:
    return await world.backend.create(job(name, *(roles or (role("w", "run 3", 2),)), **fields))


# --- ends


def test_success() -> None:
    async def story(world: World, engine: Engine) -> None:
        await submit(world, "job")
        (done,) = await world.ended("job")
        assert done.status.phase is Phase.SUCCEEDED and world.backend.witness.phases["job"] == WALK
        record = await world.backend.get_record("anna", "job")
        assert record.phase is Phase.SUCCEEDED and record.final and len(record.tasks) == 2
        assert engine.cache.snapshot().usage.nodes["node-a"] == Amounts()

    tell(story)


def test_failure_after_its_restarts_stops_the_others() -> None:
    async def story(world: World, engine: Engine) -> None:
        await submit(world, "job", role("w", "exit 3", restart=ONCE), role("c", "forever"))
        (done,) = await world.ended("job")
        assert done.status.phase is Phase.FAILED and "exit code 3" in done.status.message
        assert {(task.role, task.attempt, task.end_reason) for task in world.rows("job")} >= {
            ("w", 2, ""),
            ("c", 1, "Stopped"),
        }
        assert max(world.backend.witness.starts.values()) == 1 and len(world.backend.witness.starts) == 3

    tell(story)


@pytest.mark.parametrize(("scope", "starts"), [("task", 4), ("role", 5), ("gang", 6)])
def test_restart_scopes(scope: Any, starts: int) -> None:
    """Of two workers one fails once, a chief runs on: what starts again is the one, both workers, or all."""

    async def story(world: World, engine: Engine) -> None:
        restart = Restart(scope=scope, max_restarts=2, delay_seconds=5.0)
        await submit(world, "job", role("w", "first fails", 2, restart=restart), role("c", "run 60"))
        (done,) = await world.ended("job")
        assert done.status.phase is Phase.SUCCEEDED, done.status.message
        assert len(world.backend.witness.starts) == starts

    tell(story)


def test_a_lost_node_costs_no_restart_of_the_users() -> None:
    async def story(world: World, engine: Engine) -> None:
        await submit(world, "job", role("w", "lost 3", restart=Restart(scope="task", max_restarts=0, delay_seconds=1)))
        (done,) = await world.ended("job")
        assert done.status.phase is Phase.SUCCEEDED
        assert (done.status.roles[0].restarts, done.status.roles[0].transient_restarts) == (0, 3)

    tell(story)


def test_a_gang_that_is_not_bound_in_time_goes_back_whole() -> None:
    async def story(world: World, engine: Engine) -> None:
        await submit(world, "job", role("w", "run 1", 2), role("slow", "late"), gang=Gang(timeout_seconds=30))
        await world.phase("job", Phase.STARTING)
        waits = await world.phase("job", Phase.QUEUED)
        assert waits.status.reason == "BindTimeout" and waits.status.attempt == 0 and waits.status.placement == {}
        assert world.backend.witness.starts == {}
        await world.until(lambda: world.rows("job") == [])

    tell(story)


def test_a_command_that_does_not_exist_fails_at_once() -> None:
    async def story(world: World, engine: Engine) -> None:
        await submit(world, "job", role("w", "absent", restart=ONCE), role("c", "run 9"))
        (done,) = await world.ended("job")
        assert (done.status.phase, done.status.reason) == (Phase.FAILED, "CommandNotFound")
        assert world.backend.witness.starts == {}

    tell(story)


# --- what users wish


@pytest.mark.parametrize("after", [0.0, 0.15, 1.0, 2.5], ids=["queued", "starting", "running", "ending"])
def test_stop_at_any_time(after: float) -> None:
    async def story(world: World, engine: Engine) -> None:
        made = await submit(world, "job", role("w", "forever"), role("s", "stubborn"))
        await asyncio.sleep(after)
        for _ in range(2):
            await world.backend.update_intent(made.metadata.uid, stop=True)
        (done,) = await world.ended("job")
        assert (done.status.phase, done.status.reason) == (Phase.STOPPED, "StopRequested")
        assert all(task.state.terminal for task in world.rows("job"))

    tell(story)


def test_hold_and_release() -> None:
    async def story(world: World, engine: Engine) -> None:
        made = await submit(world, "job", hold=True)
        await world.phase("job", Phase.HELD)
        await world.until(lambda: engine.cache.place_of(made.metadata.uid) is not None)
        place = engine.cache.place_of(made.metadata.uid)
        assert place is not None and place.code == "Held" and "octopus release job" in place.message
        await asyncio.sleep(500)
        assert world.named("job").status.phase is Phase.HELD
        await world.backend.update_intent(made.metadata.uid, hold=False)
        (done,) = await world.ended("job")
        assert done.status.phase is Phase.SUCCEEDED

    tell(story)


def test_delete_of_a_running_one_stops_it_first() -> None:
    async def story(world: World, engine: Engine) -> None:
        made = await submit(world, "job", role("w", "forever"))
        await world.phase("job", Phase.RUNNING)
        await world.backend.update_intent(made.metadata.uid, delete=True)
        await world.until(lambda: world.gone("job"))
        assert (await world.backend.get_record("anna", "job")).phase is Phase.STOPPED
        await world.until(lambda: not engine.cache.tasksets)

    tell(story)


def test_what_is_after_another_waits_for_it_and_says_so() -> None:
    async def story(world: World, engine: Engine) -> None:
        second = await submit(world, "second", after=[After(name="first")])
        third = await submit(world, "third", after=[After(name="first", on="Failed")])
        await world.until(lambda: engine.cache.place_of(second.metadata.uid) is not None)
        place = engine.cache.place_of(second.metadata.uid)
        assert place is not None and "first, which does not exist" in place.message
        await submit(world, "first", role("w", "run 50"))
        done = {each.name: each.status for each in await world.ended("first", "second", "third")}
        assert done["second"].phase is Phase.SUCCEEDED and done["second"].attempt == 1
        assert (done["third"].phase, done["third"].reason) == (Phase.STOPPED, "DependencyFailed")
        assert third.metadata.uid not in {uid for uid, _ in world.backend.witness.starts}
        begun = done["second"].starting_at or 0.0
        assert begun >= (done["first"].finished_at or 1e12)

    tell(story)


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED])
def test_max_runtime_and_ttl(phase: Phase) -> None:
    async def story(world: World, engine: Engine) -> None:
        lifetime = Lifetime(max_runtime_seconds=60, ttl_seconds_after_finished=3600)
        part = "forever" if phase is Phase.FAILED else "run 5"
        await submit(world, "job", role("w", part), lifetime=lifetime)
        (done,) = await world.ended("job")
        assert done.status.phase is phase
        assert phase is Phase.SUCCEEDED or done.status.reason == "DeadlineExceeded"
        ended = done.status.finished_at or 0.0
        assert (ended - (done.status.started_at or 0.0) >= 60) is (phase is Phase.FAILED)
        await world.until(lambda: world.gone("job"), 10_000)
        assert clock() - ended == pytest.approx(3600, abs=5)

    tell(story)


# --- the cluster


def test_who_waits_is_told_where_it_stands_and_why() -> None:
    async def story(world: World, engine: Engine) -> None:
        big = {"virtual": 3}
        await submit(world, "one", role("w", "run 40", 2, devices=big))
        await world.phase("one", Phase.RUNNING)
        waiting = []
        for name in ("two", "three"):
            waiting.append(await submit(world, name, role("w", "run 1", 2, devices=big)))
            await asyncio.sleep(0.5)
        await world.until(lambda: all(engine.cache.place_of(each.metadata.uid) for each in waiting))
        places = [engine.cache.place_of(each.metadata.uid) for each in waiting]
        assert [place.place for place in places if place] == [1, 2]
        assert places[0] is not None and places[0].code == "NoFit" and places[0].need.devices == {"virtual": 6}
        await world.ended("one", "two", "three")
        await world.until(lambda: engine.cache.boards["default"].places == [])

    tell(story)


def test_a_quota_is_kept_and_frees_itself() -> None:
    async def story(world: World, engine: Engine) -> None:
        for number in range(4):
            await submit(world, f"job{number}", role("w", "run 10", devices={"virtual": 1}))
        await asyncio.sleep(5)
        phases = [world.named(f"job{number}").status.phase for number in range(4)]
        assert phases.count(Phase.RUNNING) == 2
        await world.ended(*(f"job{number}" for number in range(4)))

    whole = Amounts(cpu_millis=64000, memory_bytes=64 << 30, devices={"virtual": 2})
    tell(story, queues=[queue(nominal=whole)])


def test_a_node_that_comes_back_lets_the_waiting_run() -> None:
    async def story(world: World, engine: Engine) -> None:
        await submit(world, "job", role("w", "run 1", devices={"virtual": 4}))
        await asyncio.sleep(300)
        assert world.named("job").status.phase is Phase.QUEUED
        world.backend.set_node(node("n1", virtual=4))
        await world.ended("job")

    tell(story, nodes=[msgspec.structs.replace(node("n1", virtual=4), schedulable=False)])


def test_a_broken_device_is_not_given() -> None:
    async def story(world: World, engine: Engine) -> None:
        whole = node("n1", virtual=2)
        broken = [msgspec.structs.replace(whole.devices[0], healthy=False), whole.devices[1]]
        world.backend.set_node(msgspec.structs.replace(whole, devices=broken))
        await submit(world, "pair", role("w", "run 1", 2, devices={"virtual": 1}))
        await submit(world, "single", role("w", "run 1", devices={"virtual": 1}), queue="other")
        await asyncio.sleep(100)
        assert world.named("pair").status.phase is Phase.QUEUED
        world.backend.set_node(whole)
        await world.ended("pair", "single")

    tell(story, nodes=[node("n1", virtual=2)], queues=[Queue(name="default"), Queue(name="other")])


@pytest.mark.parametrize("jump", [-86_400.0, -5.0, 7.0], ids=["a day back", "a little back", "a little on"])
@pytest.mark.parametrize("after", [0.1, 1.0, 3.0, 6.0])
def test_a_clock_that_jumps_changes_no_end(jump: float, after: float) -> None:
    offset = [0.0]

    async def main() -> None:
        world = World(clock=lambda: clock() + offset[0])
        lifetime = Lifetime(max_runtime_seconds=200)
        async with Engine(world.backend) as engine:
            engine.controller._clock = lambda: clock() + offset[0]
            for name, part in (("good", "run 4"), ("bad", "exit 1"), ("once", "fail 1"), ("lost", "lost 1")):
                await submit(world, name, role("w", part, restart=ONCE), lifetime=lifetime)
            await asyncio.sleep(after)
            offset[0] = jump
            ended = await world.ended("good", "bad", "once", "lost", seconds=100)
            assert [each.status.phase.value for each in ended] == ["Succeeded", "Failed", "Succeeded", "Succeeded"]
            for each in ended:
                assert (each.status.finished_at or 0) >= (each.status.started_at or 0)
        world.lawful()

    travel(main())


def test_queues_changed_while_it_waits() -> None:
    async def story(world: World, engine: Engine) -> None:
        await submit(world, "job")
        await asyncio.sleep(100)
        assert world.named("job").status.phase is Phase.QUEUED
        world.backend.set_queue(queue())
        await world.ended("job")

    tell(story, queues=[queue(paused=True)])


# --- creation that fails


def test_a_gang_that_can_not_be_created_is_tried_again_later_not_at_once() -> None:
    async def story(world: World, engine: Engine) -> None:
        world.backend.refuse_tasks = "no more ports"
        await submit(world, "job")
        await asyncio.sleep(600)
        waits = world.named("job")
        assert not waits.status.phase.terminal and 1 <= waits.status.bind_failures <= 12
        world.backend.refuse_tasks = ""
        (done,) = await world.ended("job")
        assert done.status.phase is Phase.SUCCEEDED and done.status.attempt == 1

    tell(story)


def test_only_the_node_that_refused_is_avoided() -> None:
    async def story(world: World, engine: Engine) -> None:
        refuse = world.backend.create_tasks

        async def refusing(specs: Any) -> None:
            if any(spec.node == "node-a" for spec in specs):
                raise Unavailable("node-a is out of order", node="node-a")
            await refuse(specs)

        world.backend.create_tasks = refusing  # type: ignore[method-assign]
        await submit(world, "job", role("w", "run 1", 2, devices={"virtual": 2}))
        (done,) = await world.ended("job", seconds=60)
        assert {span.node for span in done.status.placement["w"]} == {"node-b"}

    tell(story)


def test_what_the_document_names_and_is_not_there_is_final() -> None:
    async def story(world: World, engine: Engine) -> None:
        await submit(world, "job", role("w", "run 1", secrets={"TOKEN": "no-such"}, restart=ONCE))
        (done,) = await world.ended("job")
        assert (done.status.phase, done.status.reason) == (Phase.FAILED, "ImageMissing")
        assert "no secret no-such" in done.status.message
        with pytest.raises(NotFound):
            await world.backend.get_record("anna", "no-such")

    tell(story)


# --- the loop itself


def test_an_idle_engine_does_nothing() -> None:
    async def story(world: World, engine: Engine) -> None:
        await submit(world, "job", role("w", "forever", 3))
        await world.phase("job", Phase.RUNNING)
        await asyncio.sleep(200)
        version, revision = world.named("job").metadata.version, world.backend.truth.fanout.revision
        await asyncio.sleep(3600)
        assert engine.controller.idle
        assert (world.named("job").metadata.version, world.backend.truth.fanout.revision) == (version, revision)

    tell(story)


def test_counts_alone_are_written_once_a_second_at_most() -> None:
    async def story(world: World, engine: Engine) -> None:
        await submit(world, "job", role("w", "forever", 40))
        await world.phase("job", Phase.RUNNING)
        before = world.named("job").metadata.version
        for task in world.rows("job"):
            if task.index < 30:
                world.backend.set_task(task.namespace, task.name, state=TaskState.SUCCEEDED)
            await asyncio.sleep(0.1)
        assert world.named("job").metadata.version - before <= 6
        await asyncio.sleep(2)
        assert world.named("job").status.roles[0].succeeded == 30

    tell(story)


def test_a_watch_that_breaks_is_begun_again() -> None:
    async def main() -> None:
        world = World()
        backend = Breaking(world.backend)
        watch, calls = backend.watch, []

        async def broken(revision: int) -> Any:
            calls.append(revision)
            if len(calls) in (2, 4):
                raise ValueError("a bug") if len(calls) == 2 else Unavailable("away")
            async for change in watch(revision):
                yield change
                if len(calls) < 4:
                    return

        backend.watch = broken  # type: ignore[method-assign]
        async with Engine(backend) as engine:
            for number in range(3):
                await submit(world, f"job{number}")
            await world.ended("job0", "job1", "job2")
            assert len(calls) >= 4
            assert engine.controller.metrics.errors.labels("bug")._value.get() == 1
        world.lawful()

    travel(main())


def test_metrics_count_what_happened() -> None:
    async def story(world: World, engine: Engine) -> None:
        for number in range(3):
            await submit(world, f"job{number}", role("w", "run 1" if number else "exit 1"))
        await world.ended("job0", "job1", "job2")
        get = engine.controller.metrics.registry.get_sample_value
        assert get("octopus_admissions_total", {"queue": "default"}) == 3
        assert get("octopus_phase_changes_total", {"phase": "Succeeded"}) == 2
        assert get("octopus_phase_changes_total", {"phase": "Failed"}) == 1
        assert get("octopus_waiting_tasksets", {"queue": "default"}) == 0
        assert get("octopus_queue_wait_seconds_count") == 3
        assert (get("octopus_schedule_seconds_count") or 0) > 0

    tell(story)
