"""Law 8 (no starvation) with its bound for each policy, fair shares in the long run, and policies that misbehave.

The bounds, provided everything in the way is preemptible or ends within R seconds (M: minimum runtime, N: notice, T: review
period, P: patience of the queue; all in seconds):

- ``fifo`` and ``priority`` (within the highest class), and ``fair`` between owners, with ``none`` or ``reserve``: R for
  each gang before it and R for itself;
- ``las``, ``predicted`` and ``gittins``, also with ``any``: P + T + max(M + T, R of what is not preemptible) + N; where k
  others have waited even longer, k times the last two more, with T in place of a shorter M (for so long those are left alone).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octopus_hub.core.plan import Plan
from octopus_hub.core.policies import POLICIES, Moment, Policy
from octopus_hub.core.schedule import schedule
from octopus_hub.core.snapshot import Waiting
from octopus_hub.model.queue import Cohort, Queue, QueuePreemption
from tests.core.laws_builders import NOTICE, World, assert_lawful, gpu_node, history_of, job, worlds
from tests.core.scheduling_builders import amounts

PATIENCE, REVIEW, LEAST, RUNS = 300.0, 50.0, 30.0, 60.0
STEP = 5.0


def cluster(queue: Queue, **fields: Any) -> World:
    return World((gpu_node("n0", 4), gpu_node("n1", 4)), {queue.name: queue}, **fields)


def rules(patience: float = PATIENCE) -> QueuePreemption:
    return QueuePreemption(min_runtime_seconds=LEAST, review_seconds=REVIEW, patience_seconds=patience, per_day=1000)


def play(world: World, plan: Plan, ends: dict[str, float]) -> Plan:
    """One step: what has to go goes, the scheduler decides, time passes."""
    world.overrun()
    world.depart()
    for uid, each in list(world.running.items()):
        if world.now >= each.since + ends.get(uid, RUNS):
            world.end(uid)
    plan = schedule(*world.show(), world.now, plan.memo)
    assert_lawful(world, plan)
    world.carry(plan)
    world.now += STEP
    return plan


def waited(world: World, target: str, stream: Iterator[list[Waiting]], bound: float) -> float:
    """Return how long a gang waits under a stream that would fill the cluster without it."""
    began, plan = world.now, Plan()
    while target in world.waiting and world.now <= began + bound:
        world.join(*next(stream))
        plan = play(world, plan, {})
        young = sorted(
            (gang for gang in world.waiting.values() if gang.uid != target), key=lambda gang: -gang.queued_at
        )
        for gang in young[:-30]:
            del world.waiting[gang.uid]  # the youngest give up; keeps the test small
    return world.now - began


def small_ones(world: World, data: Any, bounded: bool) -> Iterator[list[Waiting]]:
    """A flood of short ones; those that are not preemptible have an enforced end."""
    number = 0
    while True:
        found = []
        for _ in range(4):
            number += 1
            firm = bounded and number % data == 0
            owner = ("ann", "bob")[number % 2]
            found.append(
                job(
                    f"s{number}",
                    1 + number % 2,
                    at=world.now,
                    owner=owner,
                    preemptible=not firm,
                    max_runtime=RUNS if firm else None,
                    estimate=30.0,
                    resumes=number % 3 > 0,
                )
            )
        yield found


SERVICE = ("las", "predicted", "gittins")
BOUND = PATIENCE + REVIEW + max(LEAST + REVIEW, RUNS) + NOTICE + 2 * STEP


@pytest.mark.parametrize("policy", SERVICE)
@pytest.mark.parametrize("backfill", ["any", "reserve", "none"])
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(2, 5), st.booleans(), st.sampled_from([0.0, 1e6]))
def test_law_8_no_starvation_of_a_large_gang(
    policy: str, backfill: str, firm: int, bounded: bool, served: float
) -> None:
    """It has had a lot, would have to clear the whole cluster, and small short ones never cease to come."""
    queue = Queue(name="a", policy=policy, backfill=backfill, preemption=rules())
    world = cluster(queue, history=history_of(*[("ann", 1.0, 30.0)] * 9, ("zoe", 8.0, 9e5)))
    world.join(job("large", 8, owner="zoe", at=world.now, served=served, estimate=2e6))
    assert waited(world, "large", small_ones(world, firm, bounded), BOUND) <= BOUND


@pytest.mark.parametrize("policy", SERVICE)
def test_law_8_it_is_patience_that_makes_it_start(policy: str) -> None:
    queue = Queue(name="a", policy=policy, backfill="any", preemption=rules(patience=1e9))
    world = cluster(queue, history=history_of(*[("ann", 1.0, 30.0)] * 9, ("zoe", 8.0, 9e5)))
    world.join(job("large", 8, owner="zoe", at=world.now, served=1e6, estimate=2e6))
    assert waited(world, "large", small_ones(world, 3, True), 3 * BOUND) > 3 * BOUND


@pytest.mark.parametrize("policy", ["fifo", "priority", "fair"])
@pytest.mark.parametrize("backfill", ["none", "reserve"])
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(2, 5), st.integers(0, 3))
def test_law_8_no_starvation_within_a_class(policy: str, backfill: str, firm: int, before: int) -> None:
    queue = Queue(name="a", policy=policy, backfill=backfill, preemption=rules())
    world = cluster(queue)
    world.join(*(job(f"before{at}", 5, owner="zoe", at=world.now - 9.0, max_runtime=RUNS) for at in range(before)))
    world.join(job("large", 8, owner="zoe", at=world.now))
    bound = (before + 2) * (RUNS + 2 * STEP)
    assert waited(world, "large", small_ones(world, firm, True), bound) <= bound


# --- shares
def shares_of(world: World, cycles: int, key: Any) -> dict[str, float]:
    """Return the device-seconds of each queue or owner while everybody always wants more."""
    had: dict[str, float] = {}
    ends: dict[str, float] = {}
    plan, number = Plan(), 0
    for cycle in range(cycles):
        for name in world.queues:
            for owner in ("ann", "bob"):
                queued = sum(gang.queue == name and gang.owner == owner for gang in world.waiting.values())
                for _ in range(6 - queued):
                    number += 1
                    ends[f"j{number}"] = 10.0 + 7.0 * (number % 5)
                    world.join(job(f"j{number}", 1 + number % 2, queue=name, owner=owner, at=world.now))
        plan = play(world, plan, ends)
        for each in world.running.values():
            wide = sum(need.count for need in each.gang.needs) * STEP
            who = key(each.gang)
            had[who] = had.get(who, 0.0) + wide * (cycle >= cycles // 5)
            use = (each.gang.queue, each.gang.owner)
            world.attained = {**world.attained, use: world.attained.get(use, 0.0) + 20 * wide}
    return had


@pytest.mark.parametrize("weights", [(1, 1), (1, 2), (1, 3)])
def test_shares_of_saturated_queues_approach_their_weights(weights: tuple[int, int]) -> None:
    queues = {
        name: Queue(name=name, policy="fifo", weight=weight, cohort="lab")
        for name, weight in zip("ab", weights, strict=True)
    }
    world = World(tuple(gpu_node(f"n{at}", 4) for at in range(4)), queues, {"lab": Cohort(name="lab")})
    had = shares_of(world, 250, lambda gang: gang.queue)
    expected = weights[0] / sum(weights)
    assert abs(had["a"] / sum(had.values()) - expected) < 0.06, had


def test_shares_of_users_are_equal_though_one_has_had_more() -> None:
    """Whoever has used more of late waits until the other has caught up; then they take turns."""
    queue = Queue(name="a", policy="fair", preemption=rules())
    world = World(tuple(gpu_node(f"n{at}", 4) for at in range(2)), {"a": queue})
    world.attained = {("a", "ann"): 100_000.0}  # use counts twentyfold here: what is held counts as an hour of it
    shares_of(world, 300, lambda gang: gang.owner)
    ann, bob = world.attained["a", "ann"], world.attained["a", "bob"]
    assert abs(ann - bob) < 0.1 * ann, world.attained


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 8), st.integers(1, 3), st.sampled_from(sorted(POLICIES)))
def test_what_was_lent_is_back_within_minimum_runtime_review_and_notice(nominal: int, weight: int, policy: str) -> None:
    queues = {
        "a": Queue(
            name="a",
            policy="fifo",
            weight=weight,
            cohort="lab",
            nominal=amounts(0, 0, gpu=8 - nominal),
            preemption=rules(),
        ),
        "b": Queue(name="b", policy=policy, cohort="lab", nominal=amounts(0, 0, gpu=nominal), preemption=rules()),
    }
    world = World((gpu_node("n0", 4), gpu_node("n1", 4)), queues, {"lab": Cohort(name="lab")})
    world.join(*(job(f"a{at}", 1, at=at) for at in range(20)))
    plan = play(world, Plan(), dict.fromkeys((f"a{at}" for at in range(20)), 1e9))
    assert len(world.running) == 8
    began = world.now
    world.join(job("mine", nominal, queue="b", at=world.now))
    ends = {**dict.fromkeys((f"a{at}" for at in range(20)), 1e9), "mine": 1e9}
    while "mine" in world.waiting:
        assert world.now <= began + LEAST + REVIEW + NOTICE + 2 * STEP
        plan = play(world, plan, ends)
    for _ in range(30):  # and it stays
        plan = play(world, plan, ends)
        assert "mine" in world.running and not world.running["mine"].leaving


# --- policies that misbehave
def broken(what: str, policy: Policy) -> Policy:
    nonsense: dict[str, Any] = {
        "raises": lambda *args: 1 // 0,
        "nan": lambda gang, *args: (float("nan"), gang.uid),
        "none": lambda *args: None,
        "list": lambda gang, *args: [gang.queued_at, gang.uid],
        "mixed": lambda gang, *args: ("x" if gang.uid[-1] in "13" else 1, gang.uid),
        "objects": lambda gang, *args: (object(), gang.uid),
        "text": lambda *args: "first",
    }
    answer = nonsense[what]
    return replace(
        policy, rank=answer, claim=answer, standing=answer, patient=answer, spares=answer, timed=True, reviews=False
    )


NONSENSE = ["raises", "nan", "none", "list", "mixed", "objects", "text"]


@pytest.mark.parametrize("what", NONSENSE)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["none", "reserve", "any"]), worlds(["fifo", "priority"], limits=False))
def test_a_broken_policy_is_fenced_and_told_of(what: str, backfill: str, world: World) -> None:
    policies = dict(POLICIES)
    POLICIES["broken"] = broken(what, POLICIES["gittins"])
    try:
        world.queues = {**world.queues, "a": Queue(name="a", policy="broken", backfill=backfill)}
        plan = Plan()
        for _ in range(4):
            told = any(gang.queue == "a" for gang in world.waiting.values())
            plan = schedule(*world.show(), world.now, plan.memo)
            assert_lawful(world, plan)
            assert {*plan.waits, *(each.uid for each in plan.admissions)} == set(world.waiting)
            named = {(each.queue, each.policy) for each in plan.faults}
            assert named <= {("a", "broken")}
            assert not told or what == "mixed" or named, "the fault is named"
            assert not any(
                world.running[each.uid].gang.queue == "a" and each.rule == "service" for each in plan.evictions
            ), "nobody goes for what makes no sense"
            world.carry(plan)
            world.now += 5.0
            world.overrun()
            world.depart()
    finally:
        POLICIES.clear()
        POLICIES.update(policies)


def test_a_policy_that_fails_later_keeps_the_order_of_before_and_leaves_others_alone() -> None:
    calls = {"broken": False}

    def rank(gang: Waiting, moment: Moment) -> tuple[Any, ...]:
        if calls["broken"]:
            raise ValueError("lost its mind")
        return (-gang.priority, gang.uid)

    policies = dict(POLICIES)
    POLICIES["fickle"] = Policy(rank, timed=True)
    try:
        queues = {
            "a": Queue(name="a", policy="fickle", preemption=QueuePreemption(review_seconds=1.0)),
            "b": Queue(name="b", policy="fifo"),
        }
        world = World((gpu_node("n0", 1), gpu_node("n1", 1)), queues)
        world.join(
            job("x1", 1, at=1.0),
            job("x2", 1, at=2.0, priority=9),
            job("y", 1, queue="b"),
            job("x3", 1, at=3.0, priority=5),
        )
        plan = schedule(*world.show(), world.now)
        assert not plan.faults and {each.uid for each in plan.admissions} == {"y", "x2"}
        calls["broken"] = True
        world.carry(plan)
        world.join(job("x0", 1, at=0.0, priority=99), job("z", 1, queue="b"))
        world.end("x2"), world.end("y")
        world.now += 2.0
        plan = schedule(*world.show(), world.now, plan.memo)
        assert [(each.queue, each.policy) for each in plan.faults] == [("a", "fickle")]
        assert "ValueError: lost its mind" in plan.faults[0].message
        assert {each.uid for each in plan.admissions} == {"x3", "z"}, "x3 was before x1; the new one comes last"
        calls["broken"] = False
        world.carry(plan)
        world.now += 2.0
        assert not schedule(*world.show(), world.now, plan.memo).faults, "what works again is not told of"
    finally:
        POLICIES.clear()
        POLICIES.update(policies)


# --- bad input
EXTREMES = st.sampled_from([-(2**63), -(2**31), -1, 0, 2**31 - 1, 2**63 - 1])


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(), st.data())
def test_law_7_absurd_values_and_clocks_that_go_back_harm_nobody(world: World, data: Any) -> None:
    """Priorities at the limits, weights of zero, times of the future and before the beginning."""
    for uid, gang in world.waiting.items():
        world.waiting[uid] = replace(
            gang,
            priority=data.draw(EXTREMES),
            queued_at=data.draw(st.sampled_from([-1e18, -5.0, 0.0, 1e6, 1e18])),
            served=data.draw(st.sampled_from([0.0, 1e18])),
            estimate=data.draw(st.sampled_from([None, 0.0, 1e-9, 1e18])),
            max_runtime=data.draw(st.sampled_from([None, 0.0, 1e18])),
            preempted_at=data.draw(st.sampled_from([(), (1e12,), (-4.0, 5e9)])),
        )
    plan = Plan()
    for _ in range(data.draw(st.integers(1, 5))):
        plan = schedule(*world.show(), world.now, plan.memo)
        fresh = schedule(*world.show(), world.now)
        assert (plan.admissions, plan.evictions, plan.wake_at) == (fresh.admissions, fresh.evictions, fresh.wake_at)
        assert_lawful(world, plan)
        assert {*plan.waits, *(each.uid for each in plan.admissions)} == set(world.waiting)
        world.carry(plan)
        world.now += data.draw(st.sampled_from([-2000.0, -100.0, 0.0, 10.0, 1e9]))
        world.depart()
