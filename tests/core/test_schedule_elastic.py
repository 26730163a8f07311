"""Elastic gangs in a cycle of the scheduler: where they start, when they grow, what they give back to whoever waits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduling_builders import gang, node, role

from octopus_hub.core.plan import Plan
from octopus_hub.core.schedule import schedule
from octopus_hub.core.sizes import size
from octopus_hub.core.snapshot import Placement, Running, Snapshot, Waiting, held
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.queue import Queue, QueuePreemption
from octopus_hub.model.status import Span

NOW = 50_000.0
RULES = QueuePreemption(min_runtime_seconds=600.0, review_seconds=600.0)
PLAIN = (Queue(name="q", preemption=RULES, policy="fifo", backfill="none"),)
POLICIES = ("fifo", "priority", "fair", "las", "predicted")


def worker(least: int, most: int) -> Any:
    return replace(role("worker", least, gpu=1), most=most)


def run(waiting: Waiting, *where: tuple[str, int], since: float = 0.0, **rest: Any) -> Running:
    spans, first = [], 0
    for name, count in where:
        spans.append(Span(node=name, first=first, count=count))
        first += count
    return Running(waiting, {"worker": tuple(spans)}, since, **rest)


def view(*running: Running, nodes: int = 2, queues: Any = PLAIN) -> Snapshot:
    return Snapshot(
        nodes=tuple(node(f"n{at}", gpu=4) for at in range(nodes)),
        usage=held([(each.gang, each.placement) for each in running]),
        queues={queue.name: queue for queue in queues},
        running={each.gang.uid: each for each in running},
    )


def sizes(plan: Plan) -> dict[str, int]:
    return {admission.uid: size(admission.placement, "worker") for admission in plan.admissions}


def resized(plan: Plan) -> dict[str, int]:
    return {resize.uid: size(resize.placement, "worker") for resize in plan.resizes}


def test_it_starts_with_all_that_fits_only_while_nobody_else_waits() -> None:
    alone = gang("a", worker(2, 8))
    assert sizes(schedule(view(), [alone], NOW)) == {"a": 8}
    assert sizes(schedule(view(), [alone, gang("b", role("worker", 9, gpu=1), at=1)], NOW)) == {"a": 2}
    assert sizes(schedule(view(), [alone, gang("b", worker(2, 8), at=1)], NOW)) == {"a": 2, "b": 6}


def test_a_quota_bounds_what_it_starts_with_and_grows_to() -> None:
    queue = Queue(name="q", nominal=Amounts(devices={"gpu": 5}), policy="fifo", backfill="none")
    assert sizes(schedule(view(queues=[queue]), [gang("a", worker(2, 8))], NOW)) == {"a": 5}
    plan = schedule(view(run(gang("a", worker(2, 8)), ("n0", 2)), queues=[queue]), [], NOW)
    assert resized(plan) == {"a": 5}


def test_it_grows_when_nobody_waits_and_not_before_its_review() -> None:
    elastic = run(gang("a", worker(2, 8)), ("n0", 2))
    assert resized(schedule(view(elastic), [], NOW)) == {"a": 8}
    young = replace(elastic, since=NOW - 100)
    plan = schedule(view(young), [], NOW)
    assert resized(plan) == {} and plan.wake_at == NOW + 500
    blocked = gang("b", role("worker", 9, gpu=1))  # fits nowhere
    assert resized(schedule(view(elastic), [blocked], NOW)) in ({}, {"a": 8})


@pytest.mark.parametrize("policy", POLICIES)
def test_it_gives_back_to_whoever_waits_what_is_beyond_its_minimum(policy: str) -> None:
    """Whatever the policy: what it grew into was nobody's, and nobody is evicted for it."""
    queue = Queue(name="q", policy=policy, preemption=RULES, backfill="none")
    elastic = run(gang("a", worker(2, 8)), ("n0", 4), ("n1", 4))
    waiting = gang("b", role("worker", 3, gpu=1), at=1.0, owner="ben")
    plan = schedule(view(elastic, queues=[queue]), [waiting], NOW)
    assert resized(plan) == {"a": 5} and plan.evictions == ()
    assert (plan.resizes[0].rule, plan.resizes[0].by) == ("shrink", "b")
    assert plan.admissions == () and "b" in plan.waits


def test_several_give_back_as_few_as_are_needed() -> None:
    pair = [run(gang("a", worker(2, 4)), ("n0", 4)), run(gang("b", worker(1, 4)), ("n1", 4))]
    plan = schedule(view(*pair), [gang("c", role("worker", 2, gpu=1), at=1.0)], NOW)
    assert resized(plan) == {"b": 2}, "one is enough: the one with the most beyond its minimum"
    plan = schedule(view(*pair), [gang("c", role("worker", 4, gpu=1), at=1.0)], NOW)
    assert sum(resized(plan).values()) == 4 and set(resized(plan)) == {"a", "b"}
    plan = schedule(view(*pair), [gang("c", role("worker", 6, gpu=1), at=1.0)], NOW)
    assert resized(plan) == {}, "all that they could give is not enough"


def test_it_is_left_alone_for_its_minimum_runtime_and_looked_at_again_then() -> None:
    elastic = run(gang("a", worker(2, 8)), ("n0", 4), ("n1", 4), since=NOW - 100)
    plan = schedule(view(elastic), [gang("b", role("worker", 3, gpu=1), at=1.0)], NOW)
    assert resized(plan) == {} and plan.wake_at == NOW + 500
    never = replace(elastic, since=0.0, gang=replace(elastic.gang, resumes=False))
    assert resized(schedule(view(never), [gang("b", role("worker", 3, gpu=1), at=1.0)], NOW)) == {}


def test_while_it_shrinks_nobody_else_is_asked_and_the_claimant_starts_after_it() -> None:
    claimant = gang("b", role("worker", 3, gpu=1), at=1.0)
    before = run(gang("a", worker(2, 8)), ("n0", 4), ("n1", 4))
    (resize,) = schedule(view(before), [claimant], NOW).resizes
    going = replace(
        before, placement=resize.placement, leaving=True, resizing=True, claimed_by="b",
        sheds={"worker": (Span(node="n1", first=5, count=3),)},
    )  # fmt: skip
    snapshot = replace(view(going), usage=view(before).usage)
    small = gang("c", role("worker", 1, gpu=1), at=2.0)
    plan = schedule(snapshot, [claimant, small], NOW + 1)
    assert plan.admissions == () and plan.resizes == () and plan.evictions == ()
    after = run(before.gang, *((span.node, span.count) for span in resize.placement["worker"]), since=NOW + 5)
    plan = schedule(view(after), [claimant, small], NOW + 5)
    assert [admission.uid for admission in plan.admissions] == ["b"]


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_laws_of_resizes_with_and_without_memo(data: Any) -> None:
    """No overcommit after a Plan's admissions and growth, sizes within bounds, one resize of a gang, memo or not."""
    policy = data.draw(st.sampled_from(POLICIES))
    rules = QueuePreemption(min_runtime_seconds=100, review_seconds=300)
    queues = [Queue(name="q", policy=policy, backfill=data.draw(st.sampled_from(["none", "any"])), preemption=rules)]
    running: dict[str, Running] = {}
    waiting: list[Waiting] = []
    memo, now, number = None, NOW, 0
    for _ in range(data.draw(st.integers(2, 6))):
        now += data.draw(st.sampled_from([1.0, 150.0, 400.0]))
        for _ in range(data.draw(st.integers(0, 2))):
            least = data.draw(st.integers(1, 4))
            need = worker(least, least + data.draw(st.integers(0, 8)))
            need = need if data.draw(st.booleans()) else role("worker", least, gpu=1)
            waiting.append(gang(f"g{number}", need, at=now, owner=data.draw(st.sampled_from(["ann", "ben"]))))
            number += 1
        for uid in [uid for uid in running if data.draw(st.integers(0, 3)) == 0]:
            del running[uid]
        snapshot = view(*running.values(), queues=queues)
        plan = schedule(snapshot, tuple(waiting), now, memo)
        fresh = schedule(snapshot, waiting, now)
        assert (plan.admissions, plan.evictions, plan.resizes) == (fresh.admissions, fresh.evictions, fresh.resizes)
        memo = plan.memo
        _check(plan, running, waiting)
        for uid in {eviction.uid for eviction in plan.evictions}:
            waiting.append(running.pop(uid).gang)
        for resize in plan.resizes:
            running[resize.uid] = replace(running[resize.uid], placement=resize.placement, since=now)
        for admission in plan.admissions:
            (found,) = [each for each in waiting if each.uid == admission.uid]
            running[admission.uid] = Running(found, admission.placement, now)
        waiting = [each for each in waiting if each.uid not in running]


def _check(plan: Plan, running: dict[str, Running], waiting: list[Waiting]) -> None:
    names = [resize.uid for resize in plan.resizes]
    assert len(names) == len(set(names)) and not set(names) & {eviction.uid for eviction in plan.evictions}
    placed: dict[str, tuple[Waiting, Placement]] = {uid: (each.gang, each.placement) for uid, each in running.items()}
    for resize in plan.resizes:
        victim = running[resize.uid]
        (need,) = victim.gang.needs
        after, before = size(resize.placement, "worker"), size(victim.placement, "worker")
        assert need.count <= after <= (need.most or need.count) and after != before
        assert (after > before) == (resize.rule == "grow")
        if resize.rule == "grow":  # what it grows by is held at once; what it gives up comes later
            placed[resize.uid] = (victim.gang, resize.placement)
            assert not plan.waits or not any(each.reason.code == "NoFit" for each in plan.waits.values())
        else:
            assert resize.by in plan.waits
    for admission in plan.admissions:
        (found,) = [each for each in waiting if each.uid == admission.uid]
        placed[admission.uid] = (found, admission.placement)
    for amounts in held(placed.values()).nodes.values():
        assert amounts.devices["gpu"] <= 4
