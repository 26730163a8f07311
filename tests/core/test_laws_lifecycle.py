"""The laws of the life cycle over all combinations of task states (design, section 4: laws 2, 3, 4, 5, 11)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifecycle_builders import KINDS, T0, World, replace, row, rows, task, taskset, well

from octopus_hub.core.lifecycle import advance
from octopus_hub.model.status import Phase, Span
from octopus_hub.model.task import Task, TaskState
from octopus_hub.model.taskset import Completion, ElasticReplicas, Restart, Role

SCOPES = ("never", "task", "role", "gang")
ACTIVE = (Phase.STARTING, Phase.RUNNING, Phase.RESTARTING, Phase.PREEMPTING, Phase.STOPPING)
FEW = ("missing", "bound", "running", "succeeded", "failed", "lost", "unknown")
FIVE = ("pending", "running", "succeeded", "failed", "unknown")


def role(name: str, replicas: int | ElasticReplicas, scope: str, **more: Any) -> Role:
    return Role(name, replicas=replicas, restart=Restart(scope=scope, max_restarts=2), **more)


def mixes(kinds: tuple[str, ...], most: int) -> Iterator[tuple[str, ...]]:
    """Every mix of kinds over 1 to ``most`` replicas; equal members are interchangeable, so counts are enough."""
    for replicas in range(1, most + 1):
        yield from itertools.combinations_with_replacement(kinds, replicas)


def look(start: Any, tasks: list[Task]) -> None:
    """One look: total, the same again once written, the verdict kept."""
    step = advance(start, tasks, T0 + 5)
    assert step.status.phase in Phase
    if start.status.verdict is not None:
        assert step.status.verdict == start.status.verdict
    written = replace(start, status=step.status)
    again = advance(written, tasks, T0 + 5)
    if step.status.phase is start.status.phase and step.status.attempt == start.status.attempt:
        assert again.status is step.status
        assert again.actions == step.actions
    alive = any(not each.state.terminal for each in tasks)
    assert not (step.status.phase.terminal and not start.status.phase.terminal and alive), "ended over living tasks"
    if not (step.actions or step.wake_at or step.status.phase.terminal or step.status.phase.waiting or alive):
        assert again.status is not step.status or again.actions or again.wake_at, f"stuck: {step} {tasks}"


@pytest.mark.parametrize("scope", SCOPES)
def test_law_2_total_one_role_every_phase(scope: str) -> None:
    for phase in Phase:
        for mix in mixes(tuple(KINDS), 3):
            for completion in (Completion(), Completion(max_failed=1), Completion(min_succeeded=1, max_failed=1)):
                start = taskset(role("worker", len(mix), scope, completion=completion), phase=phase)
                look(start, rows("worker", mix))


def test_law_2_total_two_roles_all_scopes() -> None:
    choices = list(mixes(FEW, 2))
    pairs = [[*rows("a", first), *rows("b", second)] for first, second in itertools.product(choices, choices)]
    sizes = [(len(first), len(second)) for first, second in itertools.product(choices, choices)]
    for scopes in itertools.combinations_with_replacement(SCOPES, 2):
        starts = {
            (phase, size): taskset(role("a", size[0], scopes[0]), role("b", size[1], scopes[1]), phase=phase)
            for phase in (Phase.STARTING, Phase.RUNNING, Phase.RESTARTING)
            for size in set(sizes)
        }
        for phase in (Phase.STARTING, Phase.RUNNING, Phase.RESTARTING):
            for size, tasks in zip(sizes, pairs, strict=True):
                look(starts[phase, size], tasks)


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_law_2_total_three_roles(replicas: int) -> None:
    choices = list(itertools.combinations_with_replacement(FIVE, replicas))
    for scope in SCOPES:
        starts = [
            taskset(*(role(name, replicas, scope) for name in "abc"), phase=phase)
            for phase in (Phase.STARTING, Phase.RUNNING)
        ]
        for triple in itertools.combinations_with_replacement(choices, 3):
            tasks = [each for name, mix in zip("abc", triple, strict=True) for each in rows(name, mix)]
            for start in starts:
                look(start, tasks)


@pytest.mark.parametrize("scope", SCOPES)
def test_law_2_no_wedge_one_role(scope: str) -> None:
    for phase in (*ACTIVE, Phase.ADMITTED, Phase.QUEUED):
        for mix in mixes(tuple(KINDS), 3):
            World(taskset(role("worker", len(mix), scope), phase=phase), rows("worker", mix)).settle(well)


def test_law_2_no_wedge_roles_of_mixed_scopes() -> None:
    draw = random.Random(7)
    for _ in range(1500):
        roles, tasks = [], []
        for name in "abc"[: draw.randint(2, 3)]:
            mix = [draw.choice(list(KINDS)) for _ in range(draw.randint(1, 3))]
            roles.append(role(name, len(mix), draw.choice(SCOPES)))
            tasks += rows(name, mix)
        World(taskset(*roles, phase=draw.choice(ACTIVE)), tasks).settle(well)


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False))
def test_law_2_no_wedge_in_a_bad_world(draw: random.Random) -> None:
    """Tasks fail in every way, vanish, become unreachable; a stop may come at any time; then the world calms down."""
    roles = [
        role(name, _size(draw), draw.choice(SCOPES), completion=Completion(max_failed=draw.randint(0, 1)))
        for name in "abc"[: draw.randint(1, 3)]
    ]
    world = World(taskset(*roles, phase=Phase.QUEUED), [])

    def bad(each: Task) -> dict[str, Any]:
        kind = draw.choice([*KINDS, "keep", "keep", "well", "well", "well"])
        if kind == "keep":
            return {}
        if kind == "missing":
            del world.tasks[each.name]
            return {}
        if kind == "well" or (kind == "bound" and each.state is not TaskState.PENDING) or kind == "pending":
            return well(each)
        if kind == "running" and each.state is not TaskState.UNKNOWN:
            return {}
        return {**(KINDS[kind] or {}), "finished_at": world.now}

    for _ in range(draw.randint(1, 40)):
        step = world.step()
        world.admit()
        world.pass_time(bad, step.wake_at if draw.random() < 0.5 else None)
        world.now += draw.choice([0, 0, 0, 5, 700, -3600])
        if draw.random() < 0.03:
            metadata = replace(world.taskset.metadata, stop_requested_at=world.now)
            world.taskset = replace(world.taskset, metadata=metadata)
        if world.status.phase is Phase.RUNNING and draw.random() < 0.05:
            world.taskset = replace(world.taskset, status=replace(world.status, phase=Phase.PREEMPTING))
        if draw.random() < 0.2:
            world.resize({each.name: draw.randint(1, each.most) for each in roles})
    world.settle(well)
    assert all(each.state.terminal for each in world.rows())


def _size(draw: random.Random) -> int | ElasticReplicas:
    least = draw.randint(1, 3)
    return least if draw.random() < 0.6 else ElasticReplicas(min=least, max=least + draw.randint(0, 2))


@pytest.mark.parametrize("scope", SCOPES)
def test_law_2_total_and_no_wedge_while_an_elastic_role_is_resized(scope: str) -> None:
    """Every mix of rows of the old size, whatever the new one; ends with every task of the last size."""
    for mix in mixes(tuple(KINDS), 3):
        for after in (1, 2, 4):
            start = taskset(role("worker", ElasticReplicas(min=1, max=4), scope))
            spans = {"worker": [Span(node="n1", first=0, count=len(mix))]}
            world = World(replace(start, status=replace(start.status, placement=spans)), rows("worker", mix))
            world.resize({"worker": after})
            look(world.taskset, world.rows())
            status = world.settle(well)
            assert not status.resize_to
            if status.attempt > 1 and status.phase is Phase.SUCCEEDED and len(mix) != after:
                assert status.roles[0].succeeded == world.taskset.size(world.taskset.spec.roles[0])


def test_law_2_total_over_strange_rows() -> None:
    """Rows of other attempts, unknown roles, indexes out of range: never an exception, all cleaned up."""
    strange = [
        replace(task("worker", 0, TaskState.RUNNING, 7), gang_attempt=3),
        replace(task("worker", 1, TaskState.FAILED, 1, exit_code=1), gang_attempt=0),
        task("worker", 9, TaskState.RUNNING),
        task("ghost", 0, TaskState.BOUND),
    ]
    for scope, phase in itertools.product(SCOPES, Phase):
        start = taskset(role("worker", 2, scope), phase=phase)
        world = World(start, [*strange, *rows("worker", ("running", "running"))])
        world.settle(well)
        assert all(each.state.terminal for each in world.rows())


@pytest.mark.parametrize("verdict", ["Succeeded", "Failed", "Stopped"])
def test_law_3_verdict_is_frozen_through_clean_up(verdict: str) -> None:
    for mix in mixes(tuple(KINDS), 3):
        start = taskset(role("worker", len(mix), "gang"), phase=Phase.STOPPING)
        start = replace(start, status=replace(start.status, verdict=verdict, reason="X", message="why"))
        status = World(start, rows("worker", mix)).settle(well)
        assert (status.phase.value, status.verdict, status.reason, status.message) == (verdict, verdict, "X", "why")


def test_law_4_a_vanished_task_is_a_transient_failure_not_a_wedge() -> None:
    for scope in SCOPES:
        world = World(taskset(role("worker", 2, scope)), rows("worker", ("running", "missing")))
        status = world.settle(well)
        assert status.phase is (Phase.FAILED if scope == "never" else Phase.SUCCEEDED)
        assert status.roles[0].restarts == 0
        if scope == "never":
            assert "transient" in status.message
        else:
            assert status.roles[0].transient_restarts == 1


def test_law_5_no_successor_before_the_predecessor_is_gone() -> None:
    for scope in ("role", "gang"):
        world = World(taskset(role("worker", 2, scope)), rows("worker", ("failed", "unknown")))
        for _ in range(50):
            step = world.step()
            world.pass_time(lambda each: {}, step.wake_at)
        assert not world.created
        assert "can't be reached" in world.status.message
        assert world.settle(well).phase is Phase.SUCCEEDED


def test_law_11_level_triggered_any_event_may_be_lost() -> None:
    """Looking at every change or only at every fifth one ends the same way."""
    ends = []
    for skip in (1, 5):
        world = World(taskset(role("worker", 3, "gang"), phase=Phase.QUEUED), [])
        for turn in range(400):
            if turn % skip == 0:
                step = world.step()
                world.admit()
                wake_at = step.wake_at
            world.pass_time(well, wake_at)
        ends.append((world.status.phase, world.status.attempt, sorted(world.tasks)))
    assert ends[0] == ends[1]
    assert ends[0][0] is Phase.SUCCEEDED


def test_law_11_a_restart_of_the_engine_between_write_and_action_changes_nothing() -> None:
    """The actions of every third step are lost; the next look gives them again."""
    for scope in SCOPES:
        world = World(taskset(role("worker", 2, scope), phase=Phase.QUEUED), [])
        for turn in range(400):
            actions = advance(world.taskset, world.rows(), world.now)
            if turn % 3 == 0:
                world.taskset = replace(world.taskset, status=actions.status)
            else:
                world.step()
            world.admit()
            world.pass_time(well, None)
        assert world.status.phase is Phase.SUCCEEDED
        assert world.status.recorded_attempt == 1


def test_rows_are_shared() -> None:
    assert row("a", 0, "running") is row("a", 0, "running")
