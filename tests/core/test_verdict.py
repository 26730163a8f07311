"""Law 3: when a role succeeds or fails, and what that means for the TaskSet."""

from __future__ import annotations

from typing import Any

import pytest
from lifecycle_builders import FAILED, T0, World, replace, rows, task, taskset, well

from octopus_hub.core.lifecycle import advance
from octopus_hub.model.status import Phase
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import Completion, Role, RoleEvent, TaskSet


def verdict_of(start: TaskSet, *tasks: list[Task]) -> str | None:
    return advance(start, [each for part in tasks for each in part], T0 + 5).status.verdict


@pytest.mark.parametrize(
    ("least", "most", "kinds", "verdict"),
    [
        (None, 0, ("succeeded", "succeeded", "succeeded"), "Succeeded"),
        (None, 0, ("succeeded", "succeeded", "running"), None),
        (None, 0, ("succeeded", "failed", "running"), "Failed"),
        (None, 1, ("succeeded", "failed", "running"), None),
        (None, 1, ("succeeded", "failed", "succeeded"), "Succeeded"),
        (None, 1, ("failed", "failed", "running"), "Failed"),
        (2, 0, ("succeeded", "succeeded", "running"), "Succeeded"),
        (2, 0, ("succeeded", "succeeded", "failed"), "Succeeded"),
        (1, 0, ("succeeded", "failed", "failed"), "Succeeded"),
        (3, 2, ("failed", "running", "running"), "Failed"),
        (4, 3, ("running", "running", "running"), "Failed"),
        (0, 3, ("running", "failed", "failed"), None),
        (0, 3, ("failed", "failed", "failed"), "Succeeded"),
        (0, 0, ("succeeded", "succeeded", "succeeded"), "Succeeded"),
        (None, 0, ("unknown", "succeeded", "succeeded"), None),
    ],
)
def test_completion(least: int | None, most: int, kinds: tuple[str, ...], verdict: str | None) -> None:
    role = Role("worker", replicas=3, completion=Completion(min_succeeded=least, max_failed=most))
    assert verdict_of(taskset(role), rows("worker", kinds)) == verdict


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ("succeeded", "succeeded", "Succeeded"),
        ("succeeded", "running", None),
        ("failed", "running", "Failed"),
        ("failed", "succeeded", "Failed"),
    ],
)
def test_without_main_any_failure_fails_and_all_must_succeed(a: str, b: str, verdict: str | None) -> None:
    assert verdict_of(taskset(Role("a"), Role("b")), rows("a", (a,)), rows("b", (b,))) == verdict


@pytest.mark.parametrize(
    ("main", "other", "verdict"),
    [
        ("succeeded", "running", "Succeeded"),
        ("succeeded", "failed", "Succeeded"),
        ("running", "failed", None),
        ("running", "succeeded", None),
        ("failed", "succeeded", "Failed"),
    ],
)
def test_a_main_role_decides_and_the_others_are_stopped(main: str, other: str, verdict: str | None) -> None:
    start = taskset(Role("chief", main=True), Role("worker"))
    tasks = [*rows("chief", (main,)), *rows("worker", (other,))]
    assert verdict_of(start, tasks) == verdict
    if verdict is not None:
        assert World(start, tasks).settle(well).phase.value == verdict


@pytest.mark.parametrize(
    ("events", "kind", "verdict"),
    [
        ([("RoleFailed", "Ignore")], "failed", None),
        ([("RoleFailed", "SucceedTaskSet")], "failed", "Succeeded"),
        ([("RoleSucceeded", "SucceedTaskSet")], "succeeded", "Succeeded"),
        ([("RoleSucceeded", "FailTaskSet")], "succeeded", "Failed"),
        ([("RoleCompleted", "SucceedTaskSet")], "failed", "Succeeded"),
        ([("RoleCompleted", "FailTaskSet")], "succeeded", "Failed"),
        ([("RoleFailed", "Ignore"), ("RoleCompleted", "FailTaskSet")], "failed", None),
        ([("RoleSucceeded", "SucceedTaskSet")], "failed", "Failed"),
        ([("RoleFailed", "FailTaskSet")], "succeeded", None),
        ([("RoleSucceeded", "Ignore")], "succeeded", None),
    ],
)
def test_events(events: list[tuple[Any, Any]], kind: str, verdict: str | None) -> None:
    role = Role("a", events=[RoleEvent(on=on, do=do) for on, do in events])
    assert verdict_of(taskset(role, Role("b")), rows("a", (kind,)), rows("b", ("running",))) == verdict


def test_events_of_two_roles_in_one_observation_success_wins() -> None:
    lose = Role("a", events=[RoleEvent(on="RoleFailed", do="FailTaskSet")])
    win = Role("b", events=[RoleEvent(on="RoleSucceeded", do="SucceedTaskSet")])
    assert verdict_of(taskset(lose, win), rows("a", ("failed",)), rows("b", ("succeeded",))) == "Succeeded"


def test_when_all_is_ignored_it_ends_when_all_have_ended() -> None:
    ignore = [RoleEvent(on="RoleCompleted", do="Ignore")]
    start = taskset(Role("a", events=ignore), Role("b", events=ignore))
    assert verdict_of(start, rows("a", ("failed",)), rows("b", ("running",))) is None
    assert verdict_of(start, rows("a", ("failed",)), rows("b", ("succeeded",))) == "Succeeded"


def test_an_ignored_failure_beside_a_success_is_a_success() -> None:
    start = taskset(Role("a", events=[RoleEvent(on="RoleFailed", do="Ignore")]), Role("b"))
    assert verdict_of(start, rows("a", ("failed",)), rows("b", ("succeeded",))) == "Succeeded"


def test_success_wins_over_a_stop_request_in_the_same_observation() -> None:
    start = taskset(Role("worker"))
    start = replace(start, metadata=replace(start.metadata, stop_requested_at=T0))
    assert verdict_of(start, rows("worker", ("succeeded",))) == "Succeeded"
    assert verdict_of(start, rows("worker", ("failed",))) == "Stopped"


# --- service roles (ps)
@pytest.mark.parametrize(
    ("ps", "worker", "verdict"),
    [
        ("running", "succeeded", "Succeeded"),
        ("succeeded", "succeeded", "Succeeded"),
        ("succeeded", "running", None),
        ("running", "running", None),
        ("failed", "running", "Failed"),
        ("running", "failed", "Failed"),
    ],
)
@pytest.mark.parametrize("main", [False, True])
def test_a_service_role_need_not_end_but_must_not_fail(main: bool, ps: str, worker: str, verdict: str | None) -> None:
    start = taskset(Role("ps"), Role("worker", main=main), services=["ps"])
    tasks = [*rows("ps", (ps,)), *rows("worker", (worker,))]
    assert verdict_of(start, tasks) == verdict
    if verdict == "Succeeded":
        status = World(start, tasks).settle(well)
        assert status.phase is Phase.SUCCEEDED


def test_a_service_role_alone_is_an_ordinary_role() -> None:
    start = taskset(Role("ps"), services=["ps"])
    assert verdict_of(start, rows("ps", ("running",))) is None
    assert verdict_of(start, rows("ps", ("succeeded",))) == "Succeeded"


def test_a_service_role_that_the_user_made_main_must_end() -> None:
    start = taskset(Role("ps", main=True), Role("worker"), services=["ps"])
    assert verdict_of(start, rows("ps", ("running",)), rows("worker", ("succeeded",))) is None


# --- frozen, and explained
def test_a_roles_verdict_stays_when_its_rows_vanish() -> None:
    start = taskset(Role("a"), Role("b"))
    first = advance(start, [*rows("a", ("succeeded",)), *rows("b", ("running",))], T0 + 5)
    later = replace(start, status=first.status)
    assert verdict_of(later, rows("b", ("running",))) is None
    assert verdict_of(later, rows("b", ("succeeded",))) == "Succeeded"


def test_clean_up_never_changes_a_verdict() -> None:
    start = taskset(Role("worker", replicas=2))
    first = advance(start, rows("worker", ("failed", "running")), T0 + 5)
    later = replace(start, status=first.status)
    ended = [task("worker", 0, FAILED, exit_code=1), *rows("worker", ("missing", "succeeded"))]
    step = advance(later, ended, T0 + 6)
    assert (step.status.phase, step.status.message) == (Phase.FAILED, first.status.message)


def test_several_failures_name_the_first() -> None:
    early = task("worker", 1, FAILED, exit_code=1, finished_at=T0 + 1)
    late = task("worker", 0, FAILED, exit_code=2, finished_at=T0 + 2)
    message = advance(taskset(Role("worker", replicas=2)), [early, late], T0 + 5).status.message
    assert message.startswith("2 tasks failed, the first: worker 1 failed: the program ended with an error")


def test_a_success_out_of_reach_says_so() -> None:
    start = taskset(Role("worker", replicas=2, completion=Completion(min_succeeded=3)))
    assert "can't reach 3" in advance(start, rows("worker", ("running", "running")), T0 + 5).status.message
