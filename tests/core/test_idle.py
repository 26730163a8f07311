"""``lifetime.idle``: when a TaskSet idles, what is said, when it ends."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from octopus_hub.core.actions import Step
from octopus_hub.core.lifecycle import advance
from octopus_hub.model.status import Phase
from octopus_hub.model.task import Task, Usage
from octopus_hub.model.taskset import Idle, Lifetime, Role, TaskSet
from tests.core.lifecycle_builders import BOUND, RUNNING, T0, replace, task, taskset

RULE = Idle(util_below_percent=5, for_seconds=100, action="warn")


def job(rule: Idle | None = RULE) -> TaskSet:
    return taskset(Role("w", replicas=2), lifetime=Lifetime(idle=rule))


def rows(*percents: float | None) -> list[Task]:
    return [
        task("w", index, RUNNING, usage=Usage(device_percent={} if percent is None else {f"gpu-{index}": percent}))
        for index, percent in enumerate(percents)
    ]


def after(job: TaskSet, *looks: tuple[float, Sequence[Task]]) -> tuple[TaskSet, Step]:
    for at, seen in looks:
        step = advance(job, seen, T0 + at)
        job = replace(job, status=step.status)
    return job, step


def warned(job: TaskSet) -> bool:
    return any(each.type == "Idle" and each.status for each in job.status.conditions)


def test_a_warning_after_the_time_and_not_before() -> None:
    idle, step = after(job(), (10, rows(1, 4.9)), (60, rows(0, 0)))
    assert idle.status.idle_since == T0 + 10 and step.wake_at == T0 + 110 and not warned(idle)
    idle, _ = after(idle, (110, rows(2, 3)))
    assert warned(idle) and idle.status.phase is Phase.RUNNING
    assert "above 5 % for 100 s (the busiest is at 3 % now)" in idle.status.conditions[0].message
    again, step = after(idle, (120, rows(1, 0)))
    assert again.status == idle.status and not step.actions  # said once


@pytest.mark.parametrize("busy", [rows(0, 5), rows(100, None), rows(None, None)])
def test_one_busy_device_or_none_that_tells_starts_the_clock_anew(busy: list[Task]) -> None:
    idle, _ = after(job(), (0, rows(0, 0)), (99, busy))
    assert idle.status.idle_since is None
    idle, _ = after(idle, (100, rows(0, 0)), (199, rows(0, 0)))
    assert not warned(idle)


def test_the_warning_is_taken_back() -> None:
    idle, _ = after(job(), (0, rows(0, 0)), (100, rows(0, 0)))
    assert warned(idle)
    busy, _ = after(idle, (110, rows(50, 0)))
    assert not warned(busy) and busy.status.conditions[0].reason == "Used"


def test_stop_ends_it_and_says_why() -> None:
    stopping, step = after(job(replace(RULE, action="stop")), (0, rows(0, 0)), (100, rows(0, 0)))
    assert stopping.status.phase is Phase.STOPPING and stopping.status.verdict == "Stopped"
    assert stopping.status.reason == "Idle" and step.actions


def test_without_a_rule_or_before_it_runs_nothing_is_looked_at() -> None:
    free, _ = after(job(None), (0, rows(0, 0)), (1e6, rows(0, 0)))
    assert free.status.idle_since is None and not free.status.conditions
    starting = taskset(Role("w"), phase=Phase.STARTING, lifetime=Lifetime(idle=RULE))
    bound, _ = after(starting, (0, [task("w", 0, BOUND)]), (200, [task("w", 0, BOUND)]))
    assert bound.status.idle_since is None
