"""Preemption: only who may be asked, whole gangs, never in vain, no more than needed, never in a circle, places kept.

All laws are properties over random clusters, queues, running and waiting gangs, and over what becomes of the plans.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octopus_hub.core.plan import Eviction, Plan
from octopus_hub.core.policies import POLICIES, Moment
from octopus_hub.core.policies.policy import REVIEW_PART
from octopus_hub.core.policies.service import patient
from octopus_hub.core.schedule import schedule
from octopus_hub.core.snapshot import Running, Snapshot, Waiting
from octopus_hub.model.queue import Cohort, Queue, QueuePreemption
from octopus_hub.model.status import Span
from tests.core.laws_builders import World, assert_lawful, gpu_node, job, jobs, parts, use, worlds
from tests.core.quota_builders import Slow

DAY = 86400.0
property_test = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
PREEMPTING = ("fair", "gittins", "las", "predicted", "priority")
CHANGES = ["carry", "carry", "carry", "leave", "leave", "tick", "arrive", "end", "fail"]


def step(world: World, plan: Plan, what: str, draw: Any, number: int) -> None:
    if what == "carry":
        world.carry(plan)
    elif what == "fail":
        world.carry(plan, lambda uid: uid[-1] in "024")
    elif what == "leave":
        world.now += 5.0
    elif what == "tick":
        world.now += draw(st.sampled_from([1.0, 11.0, 50.0]), label="seconds")
    elif what == "arrive":
        world.join(draw(jobs(f"x{number}", world.now), label="arrives"))
    elif what == "end" and world.running:
        world.end(draw(st.sampled_from(sorted(world.running)), label="ends"))
    world.overrun()
    world.depart()


# --- who may be asked
def assert_evictable(world: World, plan: Plan) -> None:
    """The rules of ``docs/scheduling.md``, written out once more."""
    assert len({each.uid for each in plan.evictions}) == len(plan.evictions), "nobody is asked twice"
    assert not {each.uid for each in plan.evictions} & {each.uid for each in plan.resizes}
    for eviction in plan.evictions:
        victim = world.running[eviction.uid]
        assert not victim.leaving and victim.gang.preemptible
        if eviction.rule in ("budget", "window") and eviction.by not in world.waiting:
            continue  # its queue or its nodes are closed to it, whoever waits
        rules = world.queues[victim.gang.queue].preemption
        least = victim.gang.min_runtime if victim.gang.min_runtime is not None else rules.min_runtime_seconds
        assert world.now >= victim.since + least, "not before its minimum runtime"
        of_late = [at for at in victim.gang.preempted_at if at > world.now - DAY]
        assert len(of_late) < rules.per_day, "not more often than a day allows"
        assert eviction.by in world.waiting and eviction.by not in {each.uid for each in plan.admissions}
        assert_rule(world, eviction, victim, world.waiting[eviction.by])


def assert_rule(world: World, eviction: Eviction, victim: Running, claimant: Waiting) -> None:
    queue, other = world.queues[claimant.queue], world.queues[victim.gang.queue]
    if eviction.rule == "reclaim":
        assert other.preemption.reclaim and other.name != queue.name
        assert other.cohort and other.cohort == queue.cohort
        slow = Slow(
            world.queues, cohorts(world), [use(*part) for each in world.running.values() for part in parts(each)]
        )
        resources = {name for uses in slow.charged for name in uses.total}
        assert any(slow.over(other.name, name) for name in resources) or claims_of(world, other.name), "it borrows"
    elif eviction.rule == "fairness" and other.name != queue.name:
        assert queue.policy == "fair" and other.preemption.reclaim and other.cohort == queue.cohort != ""
    elif eviction.rule == "budget":
        assert other.budget is not None and other.budget.at_end == "low" and world.spent[other.name] >= 3600.0
    else:
        assert other.name == queue.name and queue.preemption.within
        policy = POLICIES[queue.policy]
        tick = world.now // queue.preemption.review_seconds * queue.preemption.review_seconds
        assert policy.claim is not None and policy.rule == eviction.rule
        assert not policy.reviews or world.now <= tick + REVIEW_PART * queue.preemption.review_seconds
        if queue.policy == "priority":
            assert victim.gang.priority < claimant.priority
        if not victim.gang.resumes and queue.policy in ("las", "gittins", "predicted"):
            assert not patient(claimant, Moment(queue, tick, world.show()[0], {})), "what would be lost is spared"


def cohorts(world: World) -> dict[str, Cohort]:
    return {"lab": Cohort(name="lab"), **world.cohorts}


def claims_of(world: World, queue: str) -> bool:
    """Say whether gangs of a queue wait that may have been given room in this cycle."""
    return any(each.queue == queue for each in world.waiting.values())


@property_test
@given(worlds(), st.lists(st.sampled_from(CHANGES), max_size=8), st.data())
def test_law_7_only_the_evictable_go_and_no_plan_exceeds_anything(world: World, changes: list[str], data: Any) -> None:
    plan = Plan()
    for number, what in enumerate(["nothing", *changes]):
        step(world, plan, what, data.draw, number)
        plan = schedule(*world.show(), world.now, plan.memo)
        assert_evictable(world, plan)
        assert_lawful(world, plan)


# --- never in vain, never too many
def alone(world: World, view: Snapshot, claimant: Waiting) -> bool:
    """Say whether a gang starts in such a state when nobody else waits and nobody is asked to go."""
    plan = schedule(view, [claimant], world.now)
    return [each.uid for each in plan.admissions] == [claimant.uid]


@property_test
@given(worlds(), st.data())
def test_evictions_let_the_claimant_start_and_each_of_them_is_needed(world: World, data: Any) -> None:
    """Of the first claimant of a cycle: with exactly its victims gone it starts; with any of them back it doesn't."""
    plan = schedule(*world.show(), world.now)
    world.carry(replace(plan, evictions=(), resizes=()))  # what is admitted comes first
    claims: dict[str, list[str]] = {}
    for each in plan.evictions:
        if each.by in world.waiting:
            claims.setdefault(each.by, []).append(each.uid)
    always = [each.uid for each in plan.evictions if each.by not in world.waiting]
    if plan.resizes or not claims:
        return
    if {uid for uid, waits in plan.waits.items() if waits.reason.code == "Preempting"} - claims.keys():
        return  # what leaves anyway is kept for somebody, who may come before it
    by = next(iter(claims))
    victims = [*always, *claims[by]]
    assert alone(world, world.without(victims), world.waiting[by]), "an eviction that lets nobody start"
    for uid in claims[by]:
        some = [each for each in victims if each != uid]
        assert not alone(world, world.without(some), world.waiting[by]), f"{uid} goes for nothing"


@property_test
@given(worlds(), st.lists(st.sampled_from(CHANGES), max_size=4), st.data())
def test_every_claimant_starts_once_its_victims_have_gone(world: World, changes: list[str], data: Any) -> None:
    """All claims of a cycle together, the room of each kept from the others, whatever else was waiting."""
    plan = Plan()
    for number, what in enumerate(["nothing", *changes]):
        step(world, plan, what, data.draw, number)
        plan = schedule(*world.show(), world.now, plan.memo)
    claimants = {each.by for each in plan.evictions if each.by in world.waiting and each.rule != "window"}
    world.carry(plan)
    for uid in list(world.gone_at):
        world.gone_at[uid] = world.now
    world.depart()  # at once: time brings nothing else about
    after = schedule(*world.show(), world.now)
    started = {each.uid for each in after.admissions}
    assert claimants <= started, "the room that was made for them is there"


# --- never in a circle
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(PREEMPTING), st.data())
def test_no_circle_a_static_load_comes_to_rest(world: World, data: Any) -> None:
    """Nothing arrives or ends and only notices pass: after at most so many evictions as gangs squared, nobody moves.

    The bound: an exchange takes the one that came at least one level below the one that went, and a queue that takes
    back what is its own never lends it again meanwhile; so each pair is exchanged at most once while no level changes.
    """
    world.queues = {
        name: replace_preemption(queue, review_seconds=1e7, min_runtime_seconds=0.0, patience_seconds=1e9)
        for name, queue in world.queues.items()
    }
    world.now = 1e7  # just after a review: levels stay what they are
    for uid, each in world.running.items():
        world.running[uid] = replace(each, since=world.now - 5000.0, gang=unbounded(each.gang))
    world.waiting = {uid: unbounded(gang) for uid, gang in world.waiting.items()}
    world.windows, world.spent = (), {}
    gangs = len(world.running) + len(world.waiting)
    evictions, plan = 0, Plan()
    for _ in range(2 * gangs * gangs + 5):
        plan = schedule(*world.show(), world.now, plan.memo)
        assert_lawful(world, plan)
        if not plan.admissions and not plan.evictions and not world.gone_at:
            return
        evictions += len(plan.evictions)
        world.carry(replace(plan, resizes=()))
        world.now += 5.0
        world.depart()
    raise AssertionError(f"{evictions} evictions among {gangs} gangs and no end")


def unbounded(gang: Waiting) -> Waiting:
    needs = tuple(replace(need, most=None) for need in gang.needs)
    return replace(gang, max_runtime=None, min_runtime=None, preempted_at=(), avoid={}, needs=needs)


def replace_preemption(queue: Queue, **rules: Any) -> Queue:
    changed = msgspec.structs.replace(queue.preemption, per_day=10_000, **rules)
    return msgspec.structs.replace(queue, preemption=changed, budget=None)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(PREEMPTING), st.data())
def test_no_circle_the_one_that_went_has_no_claim_on_the_one_that_came(world: World, data: Any) -> None:
    """Within the review in which they were exchanged."""
    plan = schedule(*world.show(), world.now)
    pairs = {(each.by, each.uid) for each in plan.evictions if each.by in world.waiting}
    for _ in range(6):
        world.carry(plan)
        for uid in list(world.gone_at):
            world.gone_at[uid] = world.now
        world.depart()
        plan = schedule(*world.show(), world.now, plan.memo)
        for each in plan.evictions:
            assert (each.uid, each.by) not in pairs, f"{each.by} went for {each.uid} and takes its place back at once"
        pairs |= {(each.by, each.uid) for each in plan.evictions}


# --- places
@pytest.mark.parametrize("policy", ["fifo", *PREEMPTING])
def test_preempted_gangs_keep_their_place(policy: str) -> None:
    """With everything else equal the one that went is the next, before all that were queued later."""
    queue = Queue(name="a", policy=policy, preemption=QueuePreemption(patience_seconds=1e9))
    world = World((gpu_node("n0", 2),), {"a": queue}, now=7200.0)
    victim = job("victim", 2, at=10.0, preempted_at=(7190.0,), yields_to="gone")
    world.join(job("older", 2, at=5.0), victim, job("younger", 2, at=20.0), job("last", 2, at=30.0))
    for expected in ("older", "victim", "younger", "last"):
        plan = schedule(*world.show(), world.now)
        assert [each.uid for each in plan.admissions] == [expected]
        world.waiting.pop(expected)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(), st.lists(st.sampled_from(CHANGES), max_size=6), st.data())
def test_law_1_whole_gangs_go_and_come_back_as_they_were(world: World, changes: list[str], data: Any) -> None:
    asked: dict[str, Waiting] = {uid: each.gang for uid, each in world.running.items()}
    plan = Plan()
    for number, what in enumerate(["nothing", *changes]):
        step(world, plan, what, data.draw, number)
        asked.update({uid: gang for uid, gang in world.waiting.items() if uid not in asked})
        plan = schedule(*world.show(), world.now, plan.memo)
        for admission in plan.admissions:
            gang, first = world.waiting[admission.uid], asked[admission.uid]
            assert (gang.queued_at, gang.needs, gang.priority) == (first.queued_at, first.needs, first.priority)
            for need in gang.needs:
                count = sum(span.count for span in admission.placement[need.role])
                assert need.count <= count <= (need.most or need.count)


def test_the_room_of_a_claimant_is_nobody_elses_while_it_is_being_made() -> None:
    """A stream of small gangs of higher share arrives meanwhile; the claimant starts with the first free moment."""
    queue = Queue(name="a", policy="priority", backfill="any", preemption=QueuePreemption(min_runtime_seconds=0.0))
    world = World((gpu_node("n0", 4),), {"a": queue})
    world.running = {
        f"low{at}": Running(job(f"low{at}", 1, priority=-100), {"worker": (Span(node="n0", first=0, count=1),)}, 0.0)
        for at in range(4)
    }
    world.join(job("claimant", 4, priority=50))
    plan = schedule(*world.show(), world.now)
    assert {(each.uid, each.by) for each in plan.evictions} == {(f"low{at}", "claimant") for at in range(4)}
    world.carry(plan)
    for at in range(4):  # they leave one by one
        world.join(job(f"small{at}", 1, priority=0, at=-1.0))
        world.gone_at = {**world.gone_at, f"low{at}": world.now}
        world.depart()
        plan = schedule(*world.show(), world.now, plan.memo)
        assert [each.uid for each in plan.admissions] == (["claimant"] if at == 3 else []) and not plan.evictions
        world.carry(plan)
