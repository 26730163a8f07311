"""Law 8 of backfill: what is let pass a blocked gang never makes it start later, and nothing without an end is let pass.

The premise is the design's: ends are bounded by enforced maximum runtimes, gangs are homogeneous.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from octopus_hub.core.cycle import Cycle
from octopus_hub.core.memo import Memo
from octopus_hub.core.plan import Plan
from octopus_hub.core.schedule import schedule
from octopus_hub.core.snapshot import RoleNeed, Waiting, Way
from octopus_hub.model.queue import Queue
from tests.core.laws_builders import World, assert_lawful, gpu_node, job
from tests.core.scheduling_builders import amounts

property_test = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
TIMES = st.sampled_from([None, 10.0, 25.0, 60.0, 60.0, 200.0])


def promised(world: World) -> dict[str, float]:
    """Return the reserved starts, as the scheduler itself counts them in this moment."""
    view, waiting = world.show()
    memo = Memo.of(view)
    memo.follow(view, waiting, world.now)
    cycle = Cycle(memo)
    cycle.run()
    admitted = {each.uid for each in cycle.admissions}
    return {
        uid: start for uid in world.waiting if uid not in admitted and (start := cycle._ahead.start_of(uid)) is not None
    }


@st.composite
def small_jobs(draw: st.DrawFn, uid: str, at: float, bounded: bool) -> Waiting:
    each = draw(st.sampled_from([1, 1, 2]))
    return job(
        uid,
        each * draw(st.integers(1, 4)),
        queue=draw(st.sampled_from(["a", "a", "late"])),
        at=at,
        each=each,
        owner=draw(st.sampled_from(["ann", "bob"])),
        max_runtime=draw(st.sampled_from([10.0, 25.0, 60.0, 200.0]) if bounded else TIMES),
    )


@property_test
@given(st.data(), st.booleans(), st.sampled_from(["reserve", "any"]), st.booleans())
def test_law_8_a_reserved_start_never_moves_later(data: Any, bounded: bool, other: str, limited: bool) -> None:
    """Over cycles with arrivals and early ends, nodes and the head's own quotas taken into account.

    Of the queue that is served first, without limits of users: who has the right to be served before a head (an older
    one whose user may use more again, too) is no backfill.
    """
    quota = amounts(0, 0, gpu=8) if limited else None
    queues = {
        "a": Queue(name="a", policy="fifo", backfill="reserve", nominal=quota),
        "late": Queue(name="late", policy="fifo", backfill=other, weight=0),  # served behind everybody
    }
    sizes = data.draw(st.lists(st.sampled_from([2, 4]), min_size=1, max_size=3), label="nodes")
    world = World(tuple(gpu_node(f"n{at}", size) for at, size in enumerate(sizes)), queues)
    known: dict[str, float] = {}
    plan, number = Plan(), 0
    for cycle in range(data.draw(st.integers(2, 12), label="cycles")):
        for _ in range(data.draw(st.integers(0, 3), label="arrivals")):
            number += 1
            world.join(data.draw(small_jobs(f"j{number:02}", world.now, bounded and cycle > 0)))
        starts = promised(world)
        plan = schedule(*world.show(), world.now, plan.memo)
        assert_lawful(world, plan)
        for uid, start in known.items():
            assert uid not in world.waiting or world.now <= start, f"{uid} was to start at {start}"
            assert uid not in world.waiting or uid in starts or uid in {each.uid for each in plan.admissions}
            assert uid not in starts or starts[uid] <= start, f"{uid} moved from {start} to {starts[uid]}"
        known = {uid: start for uid, start in starts.items() if world.waiting[uid].queue == "a"}
        world.carry(plan)
        if data.draw(st.booleans(), label="one ends early") and world.running:
            world.end(data.draw(st.sampled_from(sorted(world.running))))
        ends = [each.deadline for each in world.running.values() if each.deadline is not None]
        world.now += data.draw(st.sampled_from([1.0, 10.0, 30.0]), label="seconds")
        world.now = min([world.now, *ends, *known.values()])  # somebody looks at every end, and when a head is due
        world.overrun()


@property_test
@given(st.data(), st.sampled_from(["reserve", "any"]))
def test_law_8_who_passes_ends_in_time_or_stays_beside(data: Any, other: str) -> None:
    """The head could start at its reserved start though all that was let pass runs as long as it may."""
    queues = {
        "a": Queue(name="a", policy="fifo", backfill="reserve"),
        "late": Queue(name="late", policy="fifo", backfill=other, weight=0),
    }
    sizes = data.draw(st.lists(st.sampled_from([2, 4]), min_size=1, max_size=3), label="nodes")
    world = World(tuple(gpu_node(f"n{at}", size) for at, size in enumerate(sizes)), queues)
    world.join(*(data.draw(small_jobs(f"r{at}", 0.0, True)) for at in range(data.draw(st.integers(1, 5)))))
    world.carry(schedule(*world.show(), world.now))
    world.waiting.clear()
    world.now += 5.0
    world.overrun()
    head = job("head", data.draw(st.integers(1, sum(sizes)), label="head"), at=900.0)
    world.join(head, *(data.draw(small_jobs(f"w{at}", 950.0, False)) for at in range(8)))
    start = promised(world).get("head")
    assume(start is not None)
    assert start is not None
    plan = schedule(*world.show(), world.now)
    world.carry(plan)
    before = [uid for uid, each in world.running.items() if each.deadline is not None and each.deadline <= start]
    alone = schedule(world.without(before), [world.waiting["head"]], start)
    assert [each.uid for each in alone.admissions] == ["head"]


def test_law_8_nothing_without_an_end_uses_nodes_before_a_reservation() -> None:
    world = World((gpu_node("n0", 4),), {"a": Queue(name="a", policy="fifo", backfill="reserve")})
    world.join(job("long", 2, max_runtime=100.0))
    world.carry(schedule(*world.show(), world.now))
    head, endless = job("head", 4, at=1.0), job("endless", 1, at=2.0)
    world.join(head, endless, job("late", 1, at=3.0, max_runtime=101.0), job("short", 2, at=4.0, max_runtime=100.0))
    plan = schedule(*world.show(), world.now)
    assert [each.uid for each in plan.admissions] == ["short"]
    assert {"head", "endless", "late"} <= set(plan.waits)


def test_law_8_the_quota_of_a_reserved_gang_is_kept_as_well() -> None:
    """Its user's limit would be used up by a younger gang that finds room beside it."""
    queue = Queue(name="a", policy="fifo", backfill="reserve", per_user=amounts(0, 0, gpu=4))
    world = World((gpu_node("n0", 4), gpu_node("n1", 4)), {"a": queue})
    world.join(job("bobs", 3, owner="bob", max_runtime=50.0), job("bills", 3, owner="bill", max_runtime=90.0))
    world.carry(schedule(*world.show(), world.now))
    head = job("head", 4, each=4, at=1.0)
    world.join(head, job("endless", 1, at=2.0), job("short", 1, at=3.0, max_runtime=50.0))
    assert promised(world) == {"head": world.now + 50.0}
    plan = schedule(*world.show(), world.now)
    assert [each.uid for each in plan.admissions] == ["short"], "it has ended when the head begins"
    world.carry(plan)
    world.now += 50.0
    world.overrun()
    assert [each.uid for each in schedule(*world.show(), world.now).admissions] == ["head"]


def test_a_reservation_is_not_moved_by_what_is_promised_to_others() -> None:
    """Two queues, each with a head: the one that is served first keeps its start when the other's head arrives."""
    queues = {
        name: Queue(name=name, policy="fifo", backfill="reserve", weight=weight)
        for name, weight in (("a", 1), ("late", 0))
    }
    world = World((gpu_node("n0", 4), gpu_node("n1", 4)), queues)
    world.join(job("one", 3, max_runtime=50.0), job("two", 3, max_runtime=90.0))
    world.carry(schedule(*world.show(), world.now))
    world.join(job("head", 4, each=4, at=1.0))
    first = promised(world)["head"]
    world.join(job("other", 4, each=4, queue="late", at=0.0, max_runtime=10.0))
    found = promised(world)
    assert found["head"] == first == world.now + 50.0
    assert found["other"] == world.now + 90.0


def test_a_head_with_a_choice_keeps_nodes_only_in_a_way_that_its_quota_allows() -> None:
    """The model that it prefers is beyond its quota for good: what is kept and given is the other one."""
    need = RoleNeed("worker", 1, amounts(0, 0, gpu=4), choices=(Way(amounts(0, 0, gpu=2)),))
    queue = Queue(name="a", policy="fifo", backfill="reserve", nominal=amounts(0, 0, gpu=3))
    world = World((gpu_node("n0", 4),), {"a": queue, "b": Queue(name="b")})
    world.join(job("other", 3, queue="b", max_runtime=50.0))
    world.carry(schedule(*world.show(), world.now))
    world.join(replace(job("head", 1, at=1.0), needs=(need,)))
    assert not schedule(*world.show(), world.now).admissions
    world.now += 50.0
    world.overrun()
    plan = schedule(*world.show(), world.now)
    assert_lawful(world, plan)
    assert [each.uid for each in plan.admissions] == ["head"]
