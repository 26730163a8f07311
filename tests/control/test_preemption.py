"""Preemption carried out: notice, requeue at the old place, counts, words, races with the victim's own life."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from octopus_hub.core.plan import Eviction, Plan
from octopus_hub.core.preempted import DAY_SECONDS, SOMEBODY, asked_to_leave, kept
from octopus_hub.core.snapshot import Waiting
from octopus_hub.model.status import Phase, Status, TimelineEntry
from octopus_hub.model.task import Task, TaskState, Usage
from octopus_hub.model.taskset import Metadata, PreemptionSpec, TaskSet
from tests.control.engines import Engine, World
from tests.control.played import T0, job, role
from tests.control.preempting import strict
from tests.control.timetravel import travel

FULL = {"virtual": 4}  # a whole node, of two
replace = msgspec.structs.replace


def tell(story: Any, schedule: Any = strict) -> None:
    async def main() -> None:
        world = World()
        async with Engine(world.backend, schedule=schedule) as engine:
            await story(world, engine)
        world.lawful()

    travel(main())


async def put(world: World, name: str, part: str, replicas: int = 2, **fields: Any) -> None:
    await world.backend.create(job(name, role("w", part, replicas, devices=FULL), **fields), name)


def test_law_9_a_victim_ends_with_notice_queues_at_its_old_place_and_says_for_whom_and_why() -> None:
    async def story(world: World, engine: Engine) -> None:
        await put(world, "low", "run 500", preemption=PreemptionSpec(notice_seconds=42), priority="low")
        before = await world.phase("low", Phase.RUNNING)
        await asyncio.sleep(100)
        await put(world, "high", "run 60", priority="high")
        leaving = await world.phase("low", Phase.PREEMPTING, Phase.QUEUED)
        assert leaving.status.reason == "Preempted"
        assert "anna/high, whose priority is 100 against -100" in leaving.status.message
        waits = await world.phase("low", Phase.QUEUED)
        assert {(grace, why) for _, _, grace, why in world.backend.stopped} == {(42, "Preempted")}
        assert waits.status.queued_at == before.status.queued_at
        assert waits.status.attempt == 1 and waits.status.placement == {}
        assert (waits.status.preempted_by, waits.status.preempted_rule) == ("anna/high", "priority")
        assert waits.status.preempted_for == world.named("high").metadata.uid
        assert waits.status.preemptions == len(waits.status.preempted_at) == 1
        high, low = await world.ended("high", "low")
        assert high.status.phase is low.status.phase is Phase.SUCCEEDED
        assert low.status.attempt == 2
        assert world.backend.witness.phases["low"].count("Preempting") == 1
        records = {each.attempt: each for each in await world.backend.list_records("anna") if each.name == "low"}
        assert sorted(records) == [1, 2] and records[1].reason == "Preempted" and not records[1].final
        get = engine.controller.metrics.registry.get_sample_value
        assert get("octopus_preemptions_total", {"queue": "default", "rule": "priority"}) == 1

    tell(story)


def test_another_tenant_is_not_named() -> None:
    async def story(world: World, engine: Engine) -> None:
        await put(world, "low", "run 500", priority="low")
        await world.phase("low", Phase.RUNNING)
        await put(world, "secret-name", "run 1", priority="high", owner="ben")
        await world.ended("secret-name")
        low = world.named("low")
        told = msgspec.json.encode(low).decode()
        assert "secret-name" not in told and '"ben' not in told
        assert low.status.preempted_by == f"{SOMEBODY} in queue default"

    tell(story)


def test_who_succeeds_within_the_notice_has_succeeded() -> None:
    async def story(world: World, engine: Engine) -> None:
        await put(world, "low", "stubborn", preemption=PreemptionSpec(notice_seconds=50), priority="low")
        await world.phase("low", Phase.RUNNING)
        await put(world, "high", "run 1", priority="high")
        await world.phase("low", Phase.PREEMPTING)
        await asyncio.sleep(20)
        for task in world.rows("low"):
            world.backend.set_task(task.namespace, task.name, state=TaskState.SUCCEEDED)
        low, high = await world.ended("low", "high")
        assert low.status.phase is high.status.phase is Phase.SUCCEEDED and low.status.attempt == 1

    tell(story)


def test_a_claimant_that_goes_away_leaves_the_room_to_the_victim() -> None:
    async def story(world: World, engine: Engine) -> None:
        await put(world, "low", "stubborn", preemption=PreemptionSpec(notice_seconds=50), priority="low")
        await world.phase("low", Phase.RUNNING)
        await put(world, "high", "run 1", priority="high")
        await world.phase("low", Phase.PREEMPTING)
        world.backend.truth.update_intent(world.named("high").metadata.uid, stop=True)
        again = await world.phase("low", Phase.RUNNING, seconds=100)
        assert again.status.attempt == 2 and world.named("high").status.phase is Phase.STOPPED

    tell(story)


@pytest.mark.parametrize("late", [0.0, 0.05, 0.21, 0.5])
@pytest.mark.parametrize("part", ["run 500", "late"])
def test_a_gang_that_only_starts_is_preempted_whole_and_its_attempt_does_not_count(part: str, late: float) -> None:
    async def story(world: World, engine: Engine) -> None:
        await put(world, "low", part, priority="low")
        await world.phase("low", Phase.ADMITTED, Phase.STARTING)
        await asyncio.sleep(late)
        await put(world, "high", "run 5", priority="high")
        waits = await world.phase("low", Phase.QUEUED)
        assert waits.status.reason == "Preempted"
        assert waits.status.attempt == len(world.backend.witness.begun)
        (high,) = await world.ended("high")
        assert high.status.phase is Phase.SUCCEEDED

    tell(story)


def test_a_plan_that_is_out_of_date_evicts_nobody() -> None:
    """The claimant found room elsewhere, the victim may not be hit, is stopped or unknown: nothing happens."""

    async def story(world: World, engine: Engine) -> None:
        await put(world, "fixed", "run 300", 1, preemption=PreemptionSpec(allowed=False))
        await put(world, "runs", "run 300", 1)
        fixed, runs = [await world.phase(name, Phase.RUNNING) for name in ("fixed", "runs")]
        uids = [each.metadata.uid for each in (fixed, runs)]
        wanted = [(uids[0], uids[1]), (uids[1], uids[0]), (uids[1], "gone"), ("gone", uids[0])]
        for victim, by in wanted:
            eviction = Eviction(uid=victim, by=by, rule="service")
            engine.controller._steps.evictions = {victim: eviction}
            engine.controller._steps.queue.add(victim)
            await asyncio.sleep(5)
        assert [world.named(name).status.phase for name in ("fixed", "runs")] == [Phase.RUNNING] * 2

    tell(story)


def test_a_calendar_window_evicts_by_its_name() -> None:
    planned: list[Eviction] = []

    def schedule(snapshot: Any, waiting: Any, now: float, memo: Any = None) -> Plan:
        plan = strict(snapshot, waiting, now)
        planned[:] = [each for each in planned if not snapshot.running[each.uid].leaving]
        return Plan(admissions=plan.admissions, evictions=tuple(planned), waits=plan.waits)

    async def story(world: World, engine: Engine) -> None:
        await put(world, "runs", "run 300", 1)
        runs = await world.phase("runs", Phase.RUNNING)
        planned.append(Eviction(uid=runs.metadata.uid, by="course", rule="window"))
        await put(world, "other", "run 1", 1)
        again, _ = await world.ended("runs", "other", seconds=1000)
        assert again.status.preempted_by == "the reservation course" and again.status.attempt == 2

    tell(story, schedule)


# --- words and what is kept


def gang(name: str, namespace: str = "anna", **fields: Any) -> Waiting:
    values = {
        "uid": name,
        "owner": namespace,
        "queue": "research",
        "priority": 0,
        "queued_at": T0,
        "needs": (),
        **fields,
    }
    return Waiting(namespace=namespace, name=name, **values)


def running(**status: Any) -> TaskSet:
    made = job("job", role("w", "run 5", 2))
    meta = Metadata(name="job", namespace="anna", owner="anna", uid="u1", version=3)
    return replace(made, metadata=meta, status=Status(phase=Phase.RUNNING, attempt=1, **status))


def test_times_of_preemptions_are_kept_for_a_day() -> None:
    before = running(preempted_at=[T0 - DAY_SECONDS - 1, T0 - 5], preemptions=40)
    after = asked_to_leave(before, Eviction(uid="u1", by="u2", rule="fairness"), T0)
    assert after.preempted_at == [T0 - 5, T0] and after.preemptions == 41


def test_a_clock_set_back_does_not_turn_the_time_line() -> None:
    before = running(timeline=[TimelineEntry(phase=Phase.RUNNING, at=T0 + 100)])
    after = asked_to_leave(before, Eviction(uid="u1", by="u2", rule="fairness"), T0)
    assert [entry.at for entry in after.timeline] == [T0 + 100, T0 + 100]
    assert SOMEBODY in after.message


CHECKPOINTS = {"none": (None, None), "one": (T0 + 60, None), "both": (T0 + 60, T0 + 40)}


@pytest.mark.parametrize(
    ("resumes", "times", "served"),
    [
        ("auto", "none", 0.0),
        ("auto", "one", 100 + 60.0),
        ("auto", "both", 100 + 40.0),
        ("always", "none", 100 + 90.0),
        ("always", "both", 100 + 40.0),
        ("never", "both", 0.0),
    ],
)
def test_only_what_can_be_had_again_counts_as_served(resumes: Any, times: str, served: float) -> None:
    taskset = running(started_at=T0, admitted_at=T0 - 3, served_seconds=100.0)
    taskset = replace(taskset, spec=replace(taskset.spec, preemption=PreemptionSpec(resumes=resumes)))
    rows = [
        Task(
            name=f"job-w-{index}-1",
            namespace="anna",
            taskset="job",
            taskset_uid="u1",
            role="w",
            index=index,
            attempt=1,
            usage=Usage(checkpoint_at=at),
        )
        for index, at in enumerate(CHECKPOINTS[times])
    ]
    found = kept(taskset, rows, T0 + 90)
    assert found["served_seconds"] == served
    assert found["checkpoint_at"] == (None if times == "none" else min(at for at in CHECKPOINTS[times] if at))


def test_work_since_an_earlier_attempts_checkpoint_is_lost_but_not_what_it_held() -> None:
    taskset = running(started_at=T0, admitted_at=T0, served_seconds=100.0, checkpoint_at=T0 - 500)
    assert kept(taskset, [], T0 + 90) == {"served_seconds": 100.0, "checkpoint_at": T0 - 500}
