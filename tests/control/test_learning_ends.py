"""Which ends teach run times, how that moves those of the same kin, and that records alone give the same again."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from octopus_hub.control.learning import Learning
from octopus_hub.control.ledger import Ledger, charge, kin, rebuild
from octopus_hub.control.lives import Lives
from octopus_hub.core.history import Life
from octopus_hub.model.queue import QueuePreemption
from octopus_hub.model.record import Record, TaskEnd
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import Role, Spec, TaskSet
from tests.control.engines import Engine, World
from tests.control.played import clock, job, queue, role
from tests.control.timetravel import travel

REVIEW = 600.0
LEARNS = queue(policy="gittins", preemption=QueuePreemption(review_seconds=REVIEW))
NARROW = {"virtual": 1}


def record(number: int, seconds: float, **differs: object) -> Record:
    spec = Spec(queue="default", roles=[Role("w", command=["train", str(number)], devices=NARROW)])
    end = TaskEnd(name="w-0", role="w", index=0, attempt=1, state="Succeeded", started_at=1000.0 * number)
    made = Record(
        namespace="anna",
        name=f"job{number}",
        uid=f"u{number}",
        owner="anna",
        attempt=1,
        phase=Phase.SUCCEEDED,
        spec=msgspec.to_builtins(spec),
        started_at=1000.0 * number,
        finished_at=1000.0 * number + seconds,
        tasks=[end],
    )
    return msgspec.structs.replace(made, **differs)


def failed(failure_class: str, started_at: float | None = 1000.0) -> dict[str, object]:
    end = TaskEnd(
        name="w-0", role="w", index=0, attempt=1, state="Failed", failure_class=failure_class, started_at=started_at
    )
    return {"phase": Phase.FAILED, "tasks": [end]}


@pytest.mark.parametrize(
    ("differs", "counts"),
    [
        ({}, True),
        (failed("unknown"), True),
        (failed("permanent"), True),
        (failed("transient"), False),
        (failed("permanent", None), False),
        ({"phase": Phase.STOPPED}, False),
        ({"final": False, "phase": Phase.FAILED, "reason": "Preempted"}, False),
    ],
    ids=["succeeded", "failed", "refused its arguments", "node lost", "never began", "stopped", "preempted"],
)
def test_only_ends_of_its_own_teach(differs: dict[str, object], counts: bool) -> None:
    ledger = charge(Ledger(), record(1, 50.0, **differs))
    assert ledger.lives == ([Life("anna", 1.0, ledger.lives[0].kin, 50.0)] if counts else [])


def test_the_age_of_what_was_preempted_is_that_of_all_attempts() -> None:
    (life,) = charge(Ledger(), record(1, 50.0, served_seconds=400.0)).lives
    assert life.age == 450.0


def test_law_11_the_same_is_known_when_all_is_made_anew_from_the_records() -> None:
    records = [record(number, 40.0 + 17.0 * (number % 5)) for number in range(1, 40)]
    ledger = Ledger()
    for each in records:
        ledger = charge(ledger, each)
    ages = [0.0, 45.0, 90.0, 4000.0]
    found = []
    for known, lives in ((ledger, Lives()), rebuild(reversed(records))):
        learning = Learning()
        learning.renew(known, lives, (), (), {"default": LEARNS}, 50_000.0)
        assert learning.history is not None
        mine = known.lives[0].kin
        found.append([learning.history.rest(Life("anna", 1.0, mine, age)) for age in ages])
    assert found[0] == found[1]


def _kin(taskset: TaskSet) -> str:
    return kin(taskset.metadata.owner, taskset.spec)


def test_what_ended_moves_its_kin_at_the_next_review_and_not_before() -> None:
    async def main() -> None:
        world = World(queues=[LEARNS])
        async with Engine(world.backend) as engine:
            await asyncio.sleep(REVIEW - clock() % REVIEW + 1)  # a review has just begun
            before = engine.cache.snapshot(clock()).history
            assert before is not None
            for number in range(6):
                await world.backend.create(job(f"quick{number}", role("w", f"run {20 + number}", devices=NARROW)))
            (first, *_) = await world.ended(*(f"quick{number}" for number in range(6)))
            life = Life("anna", 1.0, _kin(first), 0.0)
            assert engine.cache.snapshot(clock()).history is before
            await asyncio.sleep(REVIEW)
            after = engine.cache.snapshot(clock()).history
            assert after is not None and after.rest(life) < before.rest(life) / 2
            assert after.rest(life) < after.rest(Life("anna", 1.0, "anna/unknown", 0.0))
            known = after.rest(life)
        world.backend.truth.ledgers.clear()  # as after a crash before it was written: records are all there is
        async with Engine(world.backend) as engine:
            again = engine.cache.snapshot(clock()).history
            assert again is not None and again.rest(life) == known

    travel(main())


def test_what_waits_after_a_preemption_counts_with_what_it_ran() -> None:
    """It did not end in that time, which says something about its kin."""

    async def main() -> None:
        world = World(queues=[LEARNS])
        async with Engine(world.backend) as engine:
            stored = await world.backend.create(job("held", role("w", "forever", devices=NARROW), hold=True))
            await world.phase("held", Phase.HELD)
            taskset = engine.cache.tasksets[stored.metadata.uid]
            life = Life("anna", 1.0, _kin(taskset), 0.0)
            before = engine.cache.snapshot(clock()).history
            status = msgspec.structs.replace(taskset.status, served_seconds=5 * REVIEW, checkpoint_at=clock())
            await world.backend.update_status(
                stored.metadata.uid, status, version=taskset.metadata.version, epoch=world.backend.epoch
            )
            await asyncio.sleep(REVIEW)
            after = engine.cache.snapshot(clock()).history
            assert before is not None and after is not None and after.rest(life) > before.rest(life)

    travel(main())
