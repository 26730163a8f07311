"""The laws of the design (section 4) that scheduling keeps, each a property over random clusters and queues."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from octopus_hub.core.plan import Plan
from octopus_hub.core.schedule import explain, schedule
from octopus_hub.core.snapshot import Snapshot, Waiting, held
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.queue import Queue
from tests.core.scheduling_builders import (
    admitted,
    assert_no_overcommit,
    assert_whole,
    gangs,
    node_views,
    queue_tables,
    role_needs,
    situations,
)

property_test = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Situation = tuple[Snapshot, list[Waiting], float]


def bare(plan: Plan) -> Plan:
    return replace(plan, memo=None)


@property_test
@given(situations())
def test_law_1_gang_is_placed_whole_or_not_at_all(situation: Situation) -> None:
    view, waiting, now = situation
    plan = schedule(view, waiting, now)
    nodes = {node.name: node for node in view.nodes}
    for gang, placement in admitted(plan, waiting):
        assert_whole(gang, placement)
        for need in gang.needs:
            for span in placement[need.role]:
                assert nodes[span.node].usable
                assert need.node_selector.items() <= dict(nodes[span.node].labels).items()
                assert gang.avoid.get(span.node, 0.0) <= now, "a node in back-off was used"
            if need.topology and need.topology_required:
                assert len({nodes[span.node].labels[need.topology] for span in placement[need.role]}) == 1
    assert {gang.uid for gang, _ in admitted(plan, waiting)} | set(plan.waits) == {gang.uid for gang in waiting}
    assert len(plan.admissions) + len(plan.waits) == len(waiting)


@property_test
@given(situations())
def test_law_7_no_overcommit_of_node_queue_or_user(situation: Situation) -> None:
    view, waiting, now = situation
    plan = schedule(view, waiting, now)
    assert_no_overcommit(view, view.usage, held(admitted(plan, waiting)))
    for gang, _ in admitted(plan, waiting):
        assert gang.queue in view.queues and not view.queues[gang.queue].paused


@property_test
@given(situations())
def test_law_9_every_waiting_gang_is_explained(situation: Situation) -> None:
    view, waiting, now = situation
    plan = schedule(view, waiting, now)
    for queue in {gang.queue for gang in waiting}:
        places = sorted(
            plan.waits[gang.uid].place for gang in waiting if gang.queue == queue and gang.uid in plan.waits
        )
        assert places == list(range(1, len(places) + 1))
    for gang in waiting:
        if gang.uid not in plan.waits:
            continue
        reason = plan.waits[gang.uid].reason
        assert reason.message and "\n" not in reason.message
        if reason.code in {"NoFit", "NeverFits", "QueueQuota", "UserQuota"}:
            assert re.search(r"\d", reason.message), f"no numbers: {reason.message}"
            # roles may need nothing and still miss a node with their labels
            if all(need.each != Amounts() for need in gang.needs):
                assert reason.need != Amounts(), reason
        if reason.code == "NeverFits":
            assert explain(view, gang) is not None
        if reason.code == "BackOff":
            assert plan.wake_at is not None and plan.wake_at > now
        if reason.code == "BehindInQueue":
            assert reason.where in {f"{other.namespace}/{other.name}" for other in waiting if other is not gang}


@property_test
@given(situations(), st.randoms(use_true_random=False))
def test_determinism_same_plan_for_the_same_inputs_in_any_order(situation: Situation, draw: Any) -> None:
    view, waiting, now = situation
    plan = bare(schedule(view, waiting, now))
    shuffled = list(waiting)
    draw.shuffle(shuffled)
    assert bare(schedule(view, waiting, now)) == plan
    again = bare(schedule(view, shuffled, now))
    assert again.admissions == plan.admissions
    assert again.waits == plan.waits
    assert again.wake_at == plan.wake_at


@property_test
@given(situations(), gangs(most=4, prefix="n"), st.lists(st.integers(0, 30), max_size=6), st.booleans())
def test_memo_never_changes_a_plan(situation: Situation, more: list[Waiting], steps: list[int], apply: bool) -> None:
    view, waiting, now = situation
    memo: Any = None
    running: list[Any] = []
    for step in [0, *steps]:
        now += step
        plan = schedule(view, waiting, now, memo)
        assert bare(plan) == bare(schedule(view, waiting, now))
        memo = plan.memo
        if apply:
            running += admitted(plan, waiting)
            waiting = [gang for gang in waiting if gang.uid in plan.waits]
            running = running[1:] if step % 2 else running
            view = replace(view, usage=held(running))
        if step % 3 == 0 and more:
            waiting = [*waiting, more[0]]
            more = more[1:]
        if step % 5 == 4:
            view = replace(view, nodes=view.nodes[:-1] or view.nodes)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(node_views(), queue_tables(policies=["fifo"]), gangs(most=3, avoid=False), role_needs(), st.data())
def test_law_8_no_starvation_under_fifo(
    nodes: Any, queues: dict[str, Queue], older: list[Waiting], needs: Any, data: st.DataObject
) -> None:
    """A gang that fits an empty cluster starts within a bound, whatever younger work keeps arriving everywhere.

    The bound: each gang before it, and it itself, waits at most thrice (for its user's quota, its queue's quota, its
    nodes), and each wait ends when what ran at its beginning has ended.
    """
    runtime = data.draw(st.integers(2, 4), label="longest runtime in cycles")
    queues = {name: replace_paused(queue) for name, queue in queues.items()}
    target = Waiting("target", "zoe", "target", "ann", "a", 0, 100.0, needs)
    usable = Snapshot(nodes=tuple(node for node in nodes if node.usable), queues=queues)
    assume(usable.nodes and explain(usable, target) is None)
    while target.needs[-1].count < 64:  # as much of the cluster as can be: small gangs never starve
        more = (*target.needs[:-1], replace(target.needs[-1], count=target.needs[-1].count + 1))
        if explain(usable, replace(target, needs=more)) is not None:
            break
        target = replace(target, needs=more)
    single = tuple(replace(need, count=1) for need in needs)  # always fits where the target would
    younger_needs = [single, single[-1:], *data.draw(st.lists(role_needs(), max_size=2), label="younger shapes")]
    waiting = [*older, target]
    running: list[tuple[int, Waiting, Any]] = []  # (cycle of the end, gang, placement)
    bound = 3 * runtime * (len(older) + 1) + 1
    for cycle in range(bound + 1):
        running = [entry for entry in running if entry[0] > cycle]
        for at, shape in enumerate(younger_needs):  # a flood: as many as could be taken, in every queue
            for queue in queues:
                uid = f"y-{cycle}-{at}-{queue}"
                owner = "bob" if at % 2 else "ann"
                waiting.append(Waiting(uid, owner, uid, owner, queue, 0, 200.0 + cycle, shape))
        usage = held((gang, placement) for _, gang, placement in running)
        plan = schedule(Snapshot(nodes=nodes, usage=usage, queues=queues), waiting, 0.0)
        for at, (gang, placement) in enumerate(admitted(plan, waiting)):
            # ends are staggered, so that there is no moment at which everything is free
            running.append((cycle + 1 + (cycle + at) % runtime, gang, placement))
        waiting = [gang for gang in waiting if gang.uid in plan.waits]
        if "target" not in plan.waits:
            return
        waiting = waiting[:60]  # the youngest give up; keeps the test small
        if not any(gang.uid == "target" for gang in waiting):
            waiting.append(target)
    raise AssertionError(f"still waiting after {bound} cycles: {plan.waits['target'].reason.message}")


def replace_paused(queue: Queue) -> Queue:
    return Queue(name=queue.name, policy=queue.policy, nominal=queue.nominal, per_user=queue.per_user, backfill="none")
