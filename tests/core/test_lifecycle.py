"""The life cycle phase by phase: waiting, start, withdrawal, deadlines, ends, what the status says."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from lifecycle_builders import (
    BOUND,
    FAILED,
    PENDING,
    RUNNING,
    T0,
    World,
    places,
    replace,
    rows,
    task,
    taskset,
    well,
)

from octopus_hub.core import actions as act
from octopus_hub.core.lifecycle import advance, after_reason
from octopus_hub.model.status import Phase
from octopus_hub.model.task import Task, Usage
from octopus_hub.model.taskset import After, Gang, Lifetime, PreemptionSpec, Restart, Role, TaskSet

GIB = 2**30


def with_metadata(start: TaskSet, **fields: Any) -> TaskSet:
    return replace(start, metadata=replace(start.metadata, **fields))


def with_status(start: TaskSet, **fields: Any) -> TaskSet:
    return replace(start, status=replace(start.status, **fields))


def kinds_of(step: act.Step) -> list[type]:
    return [type(action) for action in step.actions]


# --- waiting
def test_a_queued_taskset_needs_no_write() -> None:
    start = taskset(Role("worker"), phase=Phase.QUEUED)
    step = advance(start, [], T0)
    assert step.status is start.status
    assert step.actions == ()


def test_hold_and_release() -> None:
    start = taskset(Role("worker"), phase=Phase.QUEUED, hold=True)
    held = advance(start, [], T0)
    assert (held.status.phase, held.status.reason) == (Phase.HELD, "Held")
    assert "octopus release job" in held.status.message
    freed = replace(start, status=held.status, spec=replace(start.spec, hold=False))
    assert advance(freed, [], T0 + 5).status.phase is Phase.QUEUED


def test_hold_means_nothing_once_it_is_admitted() -> None:
    start = taskset(Role("worker"), phase=Phase.ADMITTED, hold=True)
    assert advance(start, [], T0).status.phase is Phase.STARTING


@pytest.mark.parametrize("phase", [phase for phase in Phase if not phase.terminal])
def test_stop_in_every_phase(phase: Phase) -> None:
    alive = [] if phase.waiting or phase is Phase.ADMITTED else rows("worker", ("running", "unknown"))
    start = taskset(Role("worker", replicas=2), phase=phase)
    start = with_metadata(start, stop_requested_at=T0)
    if phase is Phase.STOPPING:
        start = with_status(start, verdict="Stopped", reason="StopRequested")
    status = World(start, alive).settle(well)
    assert (status.phase, status.reason) == (Phase.STOPPED, "StopRequested")


def test_a_dependency_that_failed_says_so_at_the_end() -> None:
    start = with_metadata(taskset(Role("worker"), phase=Phase.QUEUED), stop_requested_at=T0)
    start = with_status(start, reason="DependencyFailed", message="prepare ended as Failed")
    status = advance(start, [], T0).status
    assert (status.phase, status.reason, status.message) == (
        Phase.STOPPED,
        "DependencyFailed",
        "prepare ended as Failed",
    )


@pytest.mark.parametrize(
    ("on", "phase", "code"),
    [
        ("Succeeded", None, "WaitingFor"),
        ("Succeeded", Phase.RUNNING, "WaitingFor"),
        ("Succeeded", Phase.SUCCEEDED, None),
        ("Succeeded", Phase.FAILED, "DependencyFailed"),
        ("Succeeded", Phase.STOPPED, "DependencyFailed"),
        ("Failed", Phase.FAILED, None),
        ("Failed", Phase.SUCCEEDED, "DependencyFailed"),
        ("Failed", Phase.STOPPED, "DependencyFailed"),
        ("Completed", Phase.STOPPED, None),
        ("Completed", Phase.FAILED, None),
        ("Completed", Phase.HELD, "WaitingFor"),
    ],
)
def test_after(on: Any, phase: Phase | None, code: str | None) -> None:
    start = taskset(Role("worker"), phase=Phase.QUEUED, after=[After(name="prepare", on=on)])
    reason = after_reason(start, {"prepare": phase})
    assert (reason.code if reason else None) == code
    assert reason is None or "prepare" in reason.message


def test_after_a_failed_dependency_outweighs_one_that_still_runs() -> None:
    start = taskset(Role("worker"), phase=Phase.QUEUED, after=[After(name="a"), After(name="b")])
    reason = after_reason(start, {"a": Phase.RUNNING, "b": Phase.FAILED})
    assert reason is not None
    assert reason.code == "DependencyFailed"


# --- start
def test_admitted_creates_the_whole_gang_and_counts_the_attempt() -> None:
    step = advance(taskset(Role("ps"), Role("worker", replicas=2), phase=Phase.ADMITTED), [], T0)
    assert (step.status.phase, step.status.attempt, step.status.starting_at) == (Phase.STARTING, 1, T0)
    assert step.actions == (
        act.CreateTasks((act.Member("ps", 0, 1), act.Member("worker", 0, 1), act.Member("worker", 1, 1))),
    )
    assert step.wake_at == T0 + 600


def test_after_a_crash_only_the_missing_ones_are_created() -> None:
    start = taskset(Role("worker", replicas=3), phase=Phase.STARTING)
    step = advance(start, rows("worker", ("bound", "missing", "pending")), T0 + 1)
    assert step.actions == (act.CreateTasks((act.Member("worker", 1, 1),)),)


def test_law_1_release_only_when_every_member_is_bound() -> None:
    start = taskset(Role("ps"), Role("worker", replicas=2), phase=Phase.STARTING)
    ps = rows("ps", ("bound",))
    for others in (("bound", "pending"), ("bound", "unknown"), ("bound", "missing")):
        workers = [replace(each, started_at=None) for each in rows("worker", others)]
        assert act.ReleaseTasks not in kinds_of(advance(start, [*ps, *workers], T0 + 1))
    step = advance(start, [*ps, *rows("worker", ("bound", "bound"))], T0 + 1)
    assert step.actions == (act.ReleaseTasks(("job-ps-0-1", "job-worker-0-1", "job-worker-1-1")),)


def test_a_half_done_release_is_finished() -> None:
    start = taskset(Role("worker", replicas=2), phase=Phase.STARTING)
    step = advance(start, rows("worker", ("running", "bound")), T0 + 1)
    assert step.status.phase is Phase.STARTING
    assert step.actions == (act.ReleaseTasks(("job-worker-1-1",)),)


def test_running_when_all_run_or_went_further() -> None:
    start = taskset(Role("worker", replicas=2), phase=Phase.STARTING)
    step = advance(start, rows("worker", ("running", "succeeded")), T0 + 3)
    assert (step.status.phase, step.status.started_at) == (Phase.RUNNING, T0 + 1)


def test_what_is_not_bound_in_time_is_withdrawn_whole_and_queues_at_its_old_place() -> None:
    start = taskset(Role("worker", replicas=2), phase=Phase.STARTING, gang=Gang(timeout_seconds=60))
    world = World(start, rows("worker", ("bound", "pending")), now=T0 + 61)
    step = world.step()
    assert kinds_of(step) == [act.StopTasks]
    assert (step.status.phase, step.status.reason) == (Phase.STARTING, "BindTimeout")
    assert [(each.node, each.until) for each in step.status.avoid] == [("n1", T0 + 61 + 30)]
    world.step()
    assert (world.status.phase, world.status.attempt, world.status.queued_at) == (Phase.QUEUED, 0, T0 - 10)
    assert world.status.placement == {}
    assert world.tasks == {}
    assert world.status.bind_failures == 1


def test_a_gang_that_is_bound_late_but_whole_still_starts() -> None:
    start = taskset(Role("worker"), phase=Phase.STARTING, gang=Gang(timeout_seconds=60))
    assert kinds_of(advance(start, rows("worker", ("bound",)), T0 + 99)) == [act.ReleaseTasks]


def test_a_withdrawal_goes_on_even_if_everything_gets_bound_meanwhile() -> None:
    start = with_status(taskset(Role("worker"), phase=Phase.STARTING), stopping_at=T0 + 1, reason="BindTimeout")
    assert kinds_of(advance(start, rows("worker", ("bound",)), T0 + 2)) == [act.StopTasks]


def test_a_transient_failure_before_the_release_queues_again_whatever_the_scope() -> None:
    start = taskset(Role("worker", replicas=2), phase=Phase.STARTING)
    broken = task("worker", 0, FAILED, end_reason="StartFailed", message="no space for the workspace")
    world = World(start, [broken, *rows("worker", ("missing", "bound"))])
    world.step()
    world.step()
    assert (world.status.phase, world.status.attempt, world.status.reason) == (Phase.QUEUED, 0, "StartFailed")
    assert "no space for the workspace" in world.status.message
    assert world.settle(well).phase is Phase.SUCCEEDED


def test_avoidance_doubles_up_to_ten_minutes() -> None:
    start = taskset(Role("worker"), phase=Phase.STARTING, gang=Gang(timeout_seconds=10))
    waits = []
    for _ in range(7):
        step = advance(start, rows("worker", ("pending",)), T0 + 10)
        waits.append(step.status.avoid[0].until - T0 - 10)
        start = with_status(start, avoid=step.status.avoid, bind_failures=step.status.bind_failures)
    assert waits == [30, 60, 120, 240, 480, 600, 600]


def test_failures_to_start_end_somewhere() -> None:
    start = with_status(taskset(Role("worker"), phase=Phase.STARTING), bind_failures=20)
    broken = task("worker", 0, FAILED, end_reason="StartFailed")
    status = advance(start, [broken], T0 + 1).status
    assert status.phase is Phase.FAILED
    assert "given up after 20" in status.message


@pytest.mark.parametrize("why", ["CommandNotFound", "NotExecutable", "ImageMissing"])
def test_what_can_not_start_at_all_fails_at_once(why: Any) -> None:
    start = taskset(Role("worker", replicas=2, restart=Restart(scope="gang")), phase=Phase.STARTING)
    broken = task("worker", 0, FAILED, end_reason=why, message="trian.py")
    status = World(start, [broken, *rows("worker", ("missing", "bound"))]).settle(well)
    assert (status.phase, status.reason, status.attempt) == (Phase.FAILED, why, 1)
    assert status.message.startswith("worker 0 failed: ")
    assert "trian.py" in status.message


def test_rows_of_a_withdrawn_attempt_are_gone_before_the_next_begins() -> None:
    start = taskset(Role("worker"), phase=Phase.ADMITTED)
    world = World(start, [replace(task("worker", 0, RUNNING), gang_attempt=1)])
    assert kinds_of(world.step()) == [act.StopTasks]
    assert kinds_of(world.step()) == [act.DeleteTasks]
    assert kinds_of(world.step()) == [act.CreateTasks]


def test_an_admission_without_places_queues_again() -> None:
    start = with_status(taskset(Role("ps"), Role("worker"), phase=Phase.ADMITTED), placement=places([Role("ps")]))
    assert advance(start, [], T0).status.phase is Phase.QUEUED


# --- ends
def test_the_walk_from_submission_to_record() -> None:
    world = World(taskset(Role("worker", replicas=2), phase=Phase.QUEUED), [])
    status = world.settle(well)
    assert [entry.phase.value for entry in status.timeline][-3:] == ["Starting", "Running", "Succeeded"]
    assert status.recorded_attempt == 1
    assert status.verdict == "Succeeded"


def test_an_end_with_nothing_left_to_clean_up_needs_one_write() -> None:
    step = advance(taskset(Role("worker")), rows("worker", ("succeeded",)), T0 + 5)
    assert step.status.phase is Phase.SUCCEEDED
    assert step.actions == (act.WriteRecord(1),)


def test_a_failure_is_explained_in_words_and_the_others_are_stopped() -> None:
    killed = task(
        "worker",
        2,
        FAILED,
        end_reason="OOMKilled",
        memory_limit_bytes=8 * GIB,
        usage=Usage(peak_memory_bytes=8 * GIB),
    )
    start = taskset(Role("worker", replicas=3))
    step = advance(start, [*rows("worker", ("running", "pending")), killed], T0 + 5)
    assert step.status.phase is Phase.STOPPING
    assert step.status.verdict == "Failed"
    assert step.status.message == (
        "worker 2 failed: killed for memory: used 8.0 GiB of 8.0 GiB; ask for more memory or lower the batch size"
    )
    assert step.actions == (act.StopTasks(("job-worker-0-1", "job-worker-1-1"), 10.0, "Stopped"),)


def test_resources_stay_held_until_the_last_task_is_confirmed_gone() -> None:
    start = with_status(taskset(Role("worker"), phase=Phase.STOPPING), verdict="Failed", reason="X", message="why")
    step = advance(start, rows("worker", ("unknown",)), T0 + 99_999)
    assert step.status.phase is Phase.STOPPING
    assert step.status.message.startswith("why (waits: worker 0 can't be reached on n1")
    again = advance(replace(start, status=step.status), rows("worker", ("stopped",)), T0 + 100_000)
    assert (again.status.phase, again.status.message) == (Phase.FAILED, "why")


def test_deadline() -> None:
    start = taskset(Role("worker"), lifetime=Lifetime(max_runtime_seconds=100))
    step = advance(start, rows("worker", ("running",)), T0 + 99)
    assert (step.status.phase, step.wake_at) == (Phase.RUNNING, T0 + 100)
    step = advance(start, rows("worker", ("running",)), T0 + 100)
    assert (step.status.reason, step.status.verdict) == ("DeadlineExceeded", "Failed")
    assert "100 s" in step.status.message
    assert advance(start, rows("worker", ("succeeded",)), T0 + 100).status.phase is Phase.SUCCEEDED


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.RESTARTING])
def test_deadline_counts_while_it_starts_and_restarts(phase: Phase) -> None:
    start = taskset(
        Role("worker", restart=Restart(scope="gang")), phase=phase, lifetime=Lifetime(max_runtime_seconds=100)
    )
    start = with_status(start, restart_at=T0 + 500, restart_scope="gang" if phase is Phase.RESTARTING else "")
    assert advance(start, rows("worker", ("pending",)), T0 + 100).status.reason == "DeadlineExceeded"


def test_terminal_record_first_then_ttl_then_nothing() -> None:
    start = taskset(Role("worker"), phase=Phase.SUCCEEDED, lifetime=Lifetime(ttl_seconds_after_finished=50))
    start = with_status(start, verdict="Succeeded", finished_at=T0)
    ended = rows("worker", ("succeeded",))
    assert advance(start, ended, T0 + 99).actions == (act.WriteRecord(1),)
    recorded = with_status(start, recorded_attempt=1)
    step = advance(recorded, ended, T0 + 1)
    assert (step.actions, step.wake_at) == ((), T0 + 50)
    assert advance(recorded, ended, T0 + 50).actions == (act.DeleteTaskSet(),)


def test_delete_ends_records_and_removes() -> None:
    start = with_metadata(taskset(Role("worker", replicas=2)), deletion_requested_at=T0 + 1)
    world = World(start, rows("worker", ("running", "running")))
    world.settle(well)
    assert world.status.phase is Phase.STOPPED
    world.step()
    assert world.deleted


def test_delete_while_queued() -> None:
    start = with_metadata(taskset(Role("worker"), phase=Phase.QUEUED), deletion_requested_at=T0)
    world = World(start, [])
    world.step()
    assert (world.status.phase, world.status.attempt) == (Phase.STOPPED, 0)
    world.step()
    assert world.deleted


def test_a_living_row_of_an_earlier_attempt_blocks_the_next() -> None:
    start = with_status(taskset(Role("worker"), phase=Phase.STARTING), attempt=2, recorded_attempt=1)
    step = advance(start, rows("worker", ("running",)), T0 + 1)
    assert step.actions == (act.StopTasks(("job-worker-0-1",), 10.0, "Stopped"),)


def test_rows_are_kept_until_their_record_stands() -> None:
    start = with_status(taskset(Role("worker")), attempt=2)
    now_running = replace(task("worker", 0, RUNNING, 2), gang_attempt=2)
    old = rows("worker", ("failed",))
    assert advance(start, [now_running, *old], T0 + 5).actions == (act.WriteRecord(1),)
    recorded = with_status(start, recorded_attempt=1)
    assert advance(recorded, [now_running, *old], T0 + 5).actions == (act.DeleteTasks(("job-worker-0-1",)),)


def test_rows_that_belong_to_nobody_are_stopped() -> None:
    stray = task("ghost", 0, RUNNING)
    step = advance(taskset(Role("worker")), [*rows("worker", ("running",)), stray], T0 + 5)
    assert step.status.phase is Phase.RUNNING
    assert step.actions == (act.StopTasks(("job-ghost-0-1",), 10.0, "Stopped"),)


def test_an_unreleased_row_in_running_is_treated_as_half_a_restart() -> None:
    start = taskset(Role("worker", replicas=2), gang=Gang(timeout_seconds=60))
    step = advance(start, rows("worker", ("running", "pending")), T0 + 5)
    assert (step.status.phase, step.wake_at) == (Phase.RESTARTING, T0 + 65)
    step = advance(start, rows("worker", ("running", "bound")), T0 + 5)
    assert step.actions == (act.ReleaseTasks(("job-worker-1-1",)),)


# --- preemption
def test_preempting_stops_with_notice_and_queues_again_with_its_history() -> None:
    start = taskset(Role("worker", replicas=2), phase=Phase.PREEMPTING, preemption=PreemptionSpec(notice_seconds=42))
    start = with_status(start, message="makes room for bob/big, whose priority is 100 against 0")
    world = World(start, rows("worker", ("running", "running")))
    step = world.step()
    assert step.actions == (act.StopTasks(("job-worker-0-1", "job-worker-1-1"), 42, "Preempted"),)
    step = world.step()
    assert (step.status.phase, step.status.reason, step.status.attempt) == (Phase.QUEUED, "Preempted", 1)
    assert "bob/big" in step.status.message
    assert step.actions == (act.WriteRecord(1),)
    status = world.settle(well)
    assert (status.phase, status.attempt, status.recorded_attempt) == (Phase.SUCCEEDED, 2, 2)
    assert {each.attempt for each in world.rows()} == {2}, "no task name is used twice"


def test_a_queued_taskset_shows_no_verdict_of_its_last_attempt() -> None:
    start = taskset(Role("a"), Role("b"))
    first = advance(start, [*rows("a", ("succeeded",)), *rows("b", ("running",))], T0 + 5)
    assert first.status.roles[0].verdict == "Succeeded"
    start = replace(start, status=replace(first.status, phase=Phase.PREEMPTING))
    step = advance(start, [*rows("a", ("succeeded",)), *rows("b", ("stopped",))], T0 + 6)
    assert step.status.phase is Phase.QUEUED
    assert [(role.verdict, role.succeeded) for role in step.status.roles] == [(None, 0), (None, 0)]


def test_success_within_the_notice_is_a_success() -> None:
    start = taskset(Role("worker", replicas=2), phase=Phase.PREEMPTING)
    assert advance(start, rows("worker", ("succeeded", "succeeded")), T0 + 5).status.phase is Phase.SUCCEEDED


# --- the clock
def test_a_clock_set_back_never_makes_times_go_backwards() -> None:
    start = taskset(Role("worker"), lifetime=Lifetime(max_runtime_seconds=100))
    step = advance(start, rows("worker", ("succeeded",)), T0 - 5000)
    assert [entry.at for entry in step.status.timeline] == sorted(entry.at for entry in step.status.timeline)
    assert step.status.finished_at is not None
    assert step.status.finished_at >= T0
    assert advance(start, rows("worker", ("running",)), T0 - 5000).status.phase is Phase.RUNNING


def test_a_clock_set_back_does_not_make_a_restart_wait_for_hours() -> None:
    start = taskset(Role("worker", replicas=2, restart=Restart(scope="task", delay_seconds=10)))
    world = World(start, rows("worker", ("failed", "running")))
    world.step()
    world.now -= 36_000
    step = world.step()
    assert step.wake_at is not None
    assert step.wake_at <= world.now + 12


# --- what the status says
def test_roles_are_counted() -> None:
    start = taskset(Role("ps"), Role("worker", replicas=5))
    workers = rows("worker", ("running", "running", "succeeded", "unknown", "running"))
    step = advance(start, [*rows("ps", ("running",)), *workers], T0 + 5)
    ps, worker = step.status.roles
    assert (ps.name, ps.running) == ("ps", 1)
    assert (worker.running, worker.succeeded, worker.unknown) == (3, 1, 1)
    assert [each.index for each in worker.exceptional] == [3]
    assert "worker 3 can't be reached on n1" in step.status.message


def test_a_big_gang_keeps_a_small_status_and_a_quick_step() -> None:
    """10,000 failed tasks: at most 50 in the status, at most 256 KB, a step in well under ten times 100 ms."""
    start = taskset(Role("worker", replicas=10_000, restart=Restart(scope="task", max_restarts=100_000)))
    many = [
        task("worker", index, FAILED, end_reason="StartFailed", message="é" * 5000, started_at=T0)
        for index in range(10_000)
    ]
    begun = time.perf_counter()
    step = advance(start, many, T0 + 5)
    assert time.perf_counter() - begun < 1.0
    assert len(step.status.roles[0].exceptional) == 50
    assert len(msgspec.json.encode(step.status)) <= 256 * 1024


def test_the_time_line_is_bounded() -> None:
    world = World(taskset(Role("worker", restart=Restart(scope="gang", max_restarts=100, delay_seconds=0))), [])

    def failing(each: Task) -> dict[str, Any]:
        return {"state": BOUND} if each.state is PENDING else {"state": FAILED, "exit_code": 1}

    status = world.settle(failing, limit=2000)
    assert status.phase is Phase.FAILED
    assert len(status.timeline) == 50


def test_an_unchanged_observation_returns_the_status_itself() -> None:
    start = taskset(Role("worker", replicas=2))
    tasks = rows("worker", ("running", "running"))
    written = replace(start, status=advance(start, tasks, T0 + 5).status)
    assert advance(written, tasks, T0 + 6).status is written.status
