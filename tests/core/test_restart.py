"""Law 5: what restarts, what it costs, when, and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lifecycle_builders import (
    BOUND,
    FAILED,
    PENDING,
    RUNNING,
    SUCCEEDED,
    T0,
    UNKNOWN,
    World,
    replace,
    rows,
    task,
    taskset,
    well,
)

from octopus_hub.core import actions as act
from octopus_hub.core.lifecycle import advance
from octopus_hub.core.restart import delay_seconds
from octopus_hub.model.status import Phase
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import Completion, Gang, Restart, Role


def worker(scope: Any, replicas: int = 2, most: int = 3, **more: Any) -> Role:
    return Role("worker", replicas=replicas, restart=Restart(scope=scope, max_restarts=most, delay_seconds=10), **more)


def ending(fields: dict[str, Any]) -> Callable[[Task], dict[str, Any]]:
    """A world in which worker 0 always ends like this and the others keep running until they are stopped."""

    def outcome(each: Task) -> dict[str, Any]:
        if each.state is PENDING:
            return {"state": BOUND}
        if each.state is RUNNING and each.identity == ("worker", 0):
            return {"state": FAILED, **fields}
        return {}

    return outcome


def created(step: act.Step) -> tuple[act.Member, ...]:
    return next((action.members for action in step.actions if isinstance(action, act.CreateTasks)), ())


def stopped(step: act.Step) -> tuple[str, ...]:
    return next((action.names for action in step.actions if isinstance(action, act.StopTasks)), ())


# --- scopes
def test_scope_never_fails_the_taskset() -> None:
    step = advance(taskset(worker("never")), rows("worker", ("failed", "running")), T0 + 5)
    assert step.status.verdict == "Failed"


def test_scope_task_restarts_that_task_alone() -> None:
    world = World(taskset(worker("task")), rows("worker", ("failed", "running")))
    step = world.step()
    assert (step.status.phase, step.status.restart_scope, step.actions) == (Phase.RESTARTING, "task", ())
    assert step.wake_at is not None
    assert T0 + 15 <= step.wake_at <= T0 + 16
    assert step.status.message.endswith("it starts again (restart 1 of 3)")
    world.now = step.wake_at
    assert created(world.step()) == (act.Member("worker", 0, 2),)
    assert world.tasks["job-worker-1-1"].state is RUNNING
    world.set("job-worker-0-2", state=BOUND)
    assert world.step().actions == (act.ReleaseTasks(("job-worker-0-2",)),)
    assert world.step().status.phase is Phase.RUNNING
    assert world.status.attempt == 1, "it is the same gang attempt"


def test_scope_role_stops_the_role_and_leaves_the_others() -> None:
    world = World(
        taskset(worker("role"), Role("ps")), [*rows("worker", ("failed", "running")), *rows("ps", ("running",))]
    )
    assert stopped(world.step()) == ("job-worker-1-1",)
    step = world.step()
    assert step.wake_at is not None
    world.now = step.wake_at
    assert created(world.step()) == (act.Member("worker", 0, 2), act.Member("worker", 1, 2))
    assert world.tasks["job-ps-0-1"].state is RUNNING


def test_scope_gang_begins_a_new_attempt_after_all_are_gone() -> None:
    world = World(
        taskset(worker("gang"), Role("ps")), [*rows("worker", ("failed", "running")), *rows("ps", ("running",))]
    )
    assert stopped(world.step()) == ("job-worker-1-1", "job-ps-0-1")
    step = world.step()
    assert step.actions == (act.WriteRecord(1),)
    assert step.wake_at is not None
    world.now = step.wake_at
    step = world.step()
    assert (step.status.phase, step.status.attempt) == (Phase.STARTING, 2)
    assert not [each for each in step.actions if isinstance(each, act.WriteRecord)], "attempt 2 is not over"
    assert created(step) == (act.Member("ps", 0, 2), act.Member("worker", 0, 2), act.Member("worker", 1, 2))
    assert step.status.placement == world.taskset.status.placement
    assert step.status.placement, "the place is kept"
    world.step()
    assert {each.gang_attempt for each in world.rows()} == {1, 2}, "the rows of an attempt that may be withdrawn may go"
    for each in world.rows():
        if each.state is PENDING:
            world.set(each.name, state=BOUND)
    world.step()
    world.step()
    assert {each.gang_attempt for each in world.rows()} == {2}, "recorded rows are forgotten once replaced"


def test_a_withdrawn_attempt_leaves_no_name_to_be_used_twice() -> None:
    """A gang restart whose new attempt can't be bound: user code of the first attempt has run under its names."""
    ran = taskset(worker("gang"), phase=Phase.STARTING)
    ran = replace(ran, status=replace(ran.status, attempt=2, recorded_attempt=1))
    old = rows("worker", ("failed", "failed"))
    new = [replace(task("worker", index, PENDING, 2), gang_attempt=2) for index in range(2)]
    world = World(ran, [*old, *new])
    world.step()
    world.set("job-worker-1-2", state=FAILED, end_reason="StartFailed")
    while world.status.phase is not Phase.QUEUED:
        world.step()
    world.step()
    world.admit()
    assert created(world.step()) == (act.Member("worker", 0, 2), act.Member("worker", 1, 2))


@pytest.mark.parametrize("scope", ["role", "gang"])
def test_a_tolerated_failure_restarts_nothing(scope: str) -> None:
    role = worker(scope, replicas=3, completion=Completion(max_failed=1))
    step = advance(taskset(role), rows("worker", ("failed", "running", "running")), T0 + 5)
    assert (step.status.phase, step.actions) == (Phase.RUNNING, ())


def test_scope_task_tolerates_only_after_the_restarts() -> None:
    role = worker("task", replicas=2, most=1, completion=Completion(max_failed=1))
    world = World(taskset(role), rows("worker", ("running", "running")))
    outcome = ending({"exit_code": 1})

    def others_succeed(each: Task) -> dict[str, Any]:
        if each.identity == ("worker", 1) and each.state is RUNNING and world.now > T0 + 60:
            return {"state": SUCCEEDED, "exit_code": 0}
        return outcome(each)

    status = world.settle(others_succeed)
    assert (status.phase, status.roles[0].restarts) == (Phase.SUCCEEDED, 1)


# --- budgets
@pytest.mark.parametrize("scope", ["task", "role", "gang"])
def test_max_restarts_counts_failures_of_the_user(scope: str) -> None:
    world = World(taskset(worker(scope)), rows("worker", ("running", "running")))
    status = world.settle(ending({"exit_code": 1}))
    assert (status.phase, status.roles[0].restarts, status.roles[0].transient_restarts) == (Phase.FAILED, 3, 0)
    assert sum(name.startswith("job-worker-0-") for name in world.created) == 3
    assert status.message.endswith("(after 3 restarts)")
    assert status.attempt == (4 if scope == "gang" else 1)
    assert status.recorded_attempt == status.attempt


@pytest.mark.parametrize("scope", ["task", "role", "gang"])
def test_law_4_transient_failures_have_a_bound_of_their_own(scope: str) -> None:
    world = World(taskset(worker(scope, most=0)), rows("worker", ("running", "running")))
    status = world.settle(ending({"end_reason": "Evicted"}), limit=2000)
    assert (status.phase, status.roles[0].restarts, status.roles[0].transient_restarts) == (Phase.FAILED, 0, 20)
    assert "(transient)" in status.message


@pytest.mark.parametrize("scope", ["role", "gang"])
def test_one_restart_is_charged_once_however_many_fail(scope: str) -> None:
    world = World(taskset(worker(scope, replicas=3)), rows("worker", ("failed", "failed", "failed")))
    assert world.settle(well).roles[0].restarts == 1


def test_peers_that_fail_because_of_a_lost_node_are_not_charged_to_the_user() -> None:
    for scope in ("role", "gang"):
        world = World(taskset(worker(scope, most=0)), rows("worker", ("failed", "lost")))
        status = world.settle(well)
        assert (status.phase, status.roles[0].restarts, status.roles[0].transient_restarts) == (Phase.SUCCEEDED, 0, 1)


def test_charges_add_up_over_gang_attempts() -> None:
    start = taskset(worker("task"), Role("chief", restart=Restart(scope="gang", max_restarts=1, delay_seconds=1)))
    world = World(start, [*rows("worker", ("failed", "running")), *rows("chief", ("running",))])

    def outcome(each: Task) -> dict[str, Any]:
        if each.role == "chief" and each.state is RUNNING and world.now > T0 + 40 and world.status.attempt == 1:
            return {"state": FAILED, "exit_code": 1}
        return well(each) if world.status.attempt > 1 or each.state is PENDING else {}

    status = world.settle(outcome)
    assert status.phase is Phase.SUCCEEDED
    assert [(role.name, role.restarts) for role in status.roles] == [("worker", 1), ("chief", 1)]


@pytest.mark.parametrize("scope", ["task", "role", "gang"])
def test_what_can_not_be_executed_is_not_tried_again(scope: str) -> None:
    tasks = [task("worker", 0, FAILED, exit_code=127), *rows("worker", ("missing", "running"))]
    step = advance(taskset(worker(scope)), tasks, T0 + 5)
    assert step.status.verdict == "Failed"


def test_scope_never_after_user_code_ran_says_that_it_was_transient() -> None:
    step = advance(taskset(worker("never")), rows("worker", ("lost", "running")), T0 + 5)
    assert step.status.verdict == "Failed"
    assert "node was lost (transient)" in step.status.message


# --- delay
def test_delay_doubles_to_ten_minutes_with_a_jitter_from_the_seed() -> None:
    bare = [delay_seconds(10, number, "x") / (1 + 0.1) for number in range(1, 10)]
    for number, (least, delay) in enumerate(zip(bare, [10, 20, 40, 80, 160, 320, 600, 600, 600], strict=True), 1):
        assert least <= delay <= delay_seconds(10, number, "x") <= delay * 1.1
    assert delay_seconds(10, 1, "a") == delay_seconds(10, 1, "a") != delay_seconds(10, 1, "b")
    assert delay_seconds(10, 10_000, "x") <= 660
    assert delay_seconds(-5, 1, "x") == 0


def test_the_same_seed_gives_the_same_time() -> None:
    start, tasks = taskset(worker("gang")), rows("worker", ("failed", "running"))
    first, other = (advance(start, tasks, T0 + 5, seed=seed).status.restart_at for seed in (1, 2))
    assert advance(start, tasks, T0 + 5, seed=1).status.restart_at == first != other


def test_a_failure_during_the_wait_joins_it() -> None:
    world = World(taskset(worker("task", replicas=3)), rows("worker", ("failed", "running", "running")))
    first = world.step().status.restart_at
    world.now += 3
    world.set("job-worker-1-1", state=FAILED, exit_code=1, finished_at=world.now)
    step = world.step()
    assert (step.status.restart_at, step.status.roles[0].restarts) == (first, 2)
    assert first is not None
    world.now = first
    assert len(created(world.step())) == 2


def test_a_failure_after_the_wait_begins_another() -> None:
    world = World(taskset(worker("task", replicas=3)), rows("worker", ("failed", "running", "running")))
    world.now = world.step().wake_at or 0.0
    world.step()
    world.now += 3
    world.set("job-worker-1-1", state=FAILED, exit_code=1, finished_at=world.now)
    step = world.step()
    assert not created(step)
    assert step.status.restart_at is not None
    assert step.status.restart_at >= world.now + 20


def test_a_vanished_peer_makes_the_restart_transient() -> None:
    for scope in ("role", "gang"):
        world = World(taskset(worker(scope, most=0)), rows("worker", ("failed", "missing")))
        status = world.settle(well)
        assert (status.phase, status.roles[0].restarts, status.roles[0].transient_restarts) == (Phase.SUCCEEDED, 0, 1)


# --- places and predecessors
def test_restarted_members_that_are_not_bound_in_time_cost_the_gang_its_place() -> None:
    start = taskset(worker("task"), gang=Gang(timeout_seconds=60))
    world = World(start, rows("worker", ("failed", "running")))
    world.now = world.step().wake_at or 0.0
    step = world.step()
    world.now += 61
    step = world.step()
    assert step.status.reason == "BindTimeout"
    assert set(stopped(step)) == {"job-worker-0-2", "job-worker-1-1"}
    world.step()
    assert (world.status.phase, world.status.attempt) == (Phase.QUEUED, 1)
    status = world.settle(well)
    assert (status.phase, status.attempt) == (Phase.SUCCEEDED, 2)
    assert status.roles[0].restarts == 1, "what was charged stays charged"


def test_an_unreachable_task_is_waited_for_and_named() -> None:
    world = World(taskset(worker("task")), rows("worker", ("unknown", "running")), now=T0 + 100_000)
    step = world.step()
    assert (step.status.phase, step.actions) == (Phase.RUNNING, ())
    assert "worker 0 can't be reached on n1" in step.status.message
    world.set("job-worker-0-1", state=RUNNING)
    assert world.step().status.message == ""


def test_an_unreachable_predecessor_blocks_the_role() -> None:
    world = World(taskset(worker("role")), rows("worker", ("failed", "unknown")))
    for _ in range(20):
        assert not created(world.step())
        world.now += 600
    assert "can't be reached" in world.status.message
    world.set("job-worker-1-1", state=FAILED, end_reason="NodeLost")
    assert len(created(world.step())) == 2
    assert UNKNOWN not in {each.state for each in world.rows()}


def test_a_vanished_task_gets_a_successor_in_its_scope() -> None:
    for scope in ("task", "role", "gang"):
        world = World(taskset(worker(scope)), rows("worker", ("running", "missing")))
        assert world.step().status.phase is Phase.RESTARTING
        assert world.settle(well).phase is Phase.SUCCEEDED


def test_vanishing_for_ever_ends() -> None:
    world = World(taskset(worker("task", most=0)), rows("worker", ("running", "running")))

    def outcome(each: Task) -> dict[str, Any]:
        if each.state is PENDING:
            return {"state": BOUND}
        if each.identity == ("worker", 0) and world.status.phase is Phase.RUNNING:
            world.tasks.pop(each.name)
        return {}

    assert world.settle(outcome, limit=2000).phase is Phase.FAILED


def test_the_deadline_ends_a_restart() -> None:
    start = taskset(worker("task"))
    spec = replace(start.spec, lifetime=replace(start.spec.lifetime, max_runtime_seconds=6))
    step = advance(replace(start, spec=spec), rows("worker", ("failed", "running")), T0 + 5)
    assert step.wake_at == T0 + 6
