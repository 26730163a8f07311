"""The memo of a plan makes the next cycle cheaper and never changes it: over sequences of everything that may happen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octopus_hub.core.plan import Plan
from octopus_hub.core.schedule import schedule
from octopus_hub.core.snapshot import Window
from tests.core.laws_builders import NAMES, World, assert_lawful, history_of, jobs, queue_of, worlds

CHANGES = ["nothing", "tick", "tick", "carry", "carry", "carry", "arrive", "arrive", "end", "fail", "leave", "withdraw"]
RARE = ["queue", "node", "window", "history", "spent", "used"]


def change(world: World, plan: Plan, what: str, draw: Any, number: int) -> None:
    """Let something happen between two cycles."""
    if what == "tick":
        world.now += draw(st.sampled_from([0.5, 1.0, 7.0, 31.0]), label="seconds")
        world.overrun()
        world.depart()
    elif what == "carry":
        world.carry(plan)
    elif what == "fail":  # some of it meets a conflict
        world.carry(plan, lambda uid: uid[-1] in "024")
    elif what == "leave":
        world.now += 5.0
        world.depart()
    elif what == "arrive":
        world.join(draw(jobs(f"x{number}", world.now), label="arrives"))
    elif what == "end" and world.running:
        world.end(draw(st.sampled_from(sorted(world.running)), label="ends"))
    elif what == "withdraw" and world.waiting:
        world.waiting.pop(draw(st.sampled_from(sorted(world.waiting)), label="withdrawn"))
    elif what == "queue":
        name = draw(st.sampled_from(NAMES), label="changes")
        world.queues = {**world.queues, name: draw(queue_of(name), label="queue")}
    elif what == "node":
        world.nodes = world.nodes[:-1] or world.nodes
    elif what == "window":
        names = frozenset(draw(st.sets(st.sampled_from([node.name for node in world.nodes])), label="nodes"))
        start = world.now + draw(st.sampled_from([-5.0, 10.0, 60.0]), label="start")
        world.windows = (Window("w", start, start + 30.0, names, queues=frozenset({"a"})),)
    elif what == "history":
        world.history = history_of(("ann", 1.0, 30.0 * number), ("bob", 2.0, 900.0))
    elif what == "spent":
        world.spent = {name: 3700.0 for name in NAMES if world.queues[name].budget}
    elif what == "used":
        world.attained = {("a", "ann"): 1e3 * number, ("b", "bob"): 1e5}


def same(plan: Plan, other: Plan) -> None:
    assert plan.admissions == other.admissions
    assert plan.evictions == other.evictions
    assert plan.resizes == other.resizes
    assert plan.wake_at == other.wake_at
    assert plan.faults == other.faults


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(), st.lists(st.sampled_from(CHANGES * 3 + RARE), max_size=10), st.booleans(), st.data())
def test_memo_law_same_plan_with_and_without_it(world: World, changes: list[str], delta: bool, data: Any) -> None:
    memo: Any = None
    plan = Plan()
    for number, what in enumerate(["nothing", *changes]):
        if number:
            change(world, plan, what, data.draw, number)
        view, waiting = world.show(delta and number % 4 != 3)
        plan = schedule(view, waiting, world.now, memo)
        memo = plan.memo
        fresh = schedule(replace(view, delta=None), list(waiting), world.now)
        same(plan, fresh)
        assert dict(plan.waits) == dict(fresh.waits), "the reasons too"
        assert_lawful(world, plan)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(), st.lists(st.sampled_from(CHANGES), min_size=1, max_size=4), st.data())
def test_memo_law_reasons_of_an_old_plan_stay_those_of_its_moment(world: World, changes: list[str], data: Any) -> None:
    view, waiting = world.show()
    first = schedule(view, waiting, world.now)
    told = dict(schedule(view, waiting, world.now).waits)
    plan = first
    for number, what in enumerate(changes, 1):
        change(world, plan, what, data.draw, number)
        plan = schedule(*world.show(), world.now, plan.memo)
    assert dict(first.waits) == told
