"""Sorts the rows of a TaskSet by role and member, and counts them for its status. Pure; decides nothing.

Called by ``lifecycle`` first (what is there?) and last (what shall the status say?). One pass over the rows each,
because a gang may have 10,000 of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from octopus_hub.core.exits import classify
from octopus_hub.model.status import ExceptionalTask, RoleStatus
from octopus_hub.model.task import Task, TaskState
from octopus_hub.model.taskset import Role, TaskSet

MAX_EXCEPTIONAL = 50
MAX_WORDS = 300  # characters of a cause kept in the status
_NONE = dict.fromkeys(TaskState, 0)


@dataclass(slots=True)
class RoleRows:
    """Rows of one role in the current gang attempt: the latest of each member, and those they replaced."""

    role: Role
    latest: list[Task | None]
    replaced: list[Task] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Members that the attempt has."""
        return len(self.latest)

    @property
    def least(self) -> int:
        """Members that must succeed."""
        return self.role.must_succeed(len(self.latest))

    @property
    def missing(self) -> list[int]:
        """Indexes of members without a row."""
        return [index for index, task in enumerate(self.latest) if task is None]


@dataclass(slots=True)
class Rows:
    """All rows of a TaskSet.

    Attributes
    ----------
    roles : list of RoleRows
        In the order of the spec.
    strays : list of Task
        Rows of other gang attempts, or of members the spec does not have.
    alive : list of Task
        Every row, whatever its attempt, that is not confirmed gone.
    highest : dict
        The highest known attempt of each member, over all gang attempts.
    """

    roles: list[RoleRows]
    strays: list[Task] = field(default_factory=list)
    alive: list[Task] = field(default_factory=list)
    highest: dict[tuple[str, int], int] = field(default_factory=dict)

    def latest(self) -> Iterator[Task]:
        """Yield the latest row of each member that has one."""
        for rows in self.roles:
            for task in rows.latest:
                if task is not None:
                    yield task

    @property
    def complete(self) -> bool:
        """Every member has a row."""
        return all(None not in rows.latest for rows in self.roles)


def sort_rows(taskset: TaskSet, tasks: Sequence[Task]) -> Rows:
    """Sort rows by role, member and attempt; replaced rows that still live are in ``alive`` like all others."""
    by_name = {role.name: RoleRows(role, [None] * taskset.size(role)) for role in taskset.spec.roles}
    rows = Rows(list(by_name.values()))
    gang_attempt, highest = taskset.status.attempt, rows.highest
    for task in tasks:
        if not task.state.terminal:
            rows.alive.append(task)
        role, identity = by_name.get(task.role), (task.role, task.index)
        if task.attempt > highest.get(identity, 0):
            highest[identity] = task.attempt
        if role is None or task.gang_attempt != gang_attempt or not 0 <= task.index < len(role.latest):
            rows.strays.append(task)
            continue
        known = role.latest[task.index]
        if known is None or task.attempt > known.attempt:
            role.latest[task.index], task_out = task, known
        else:
            task_out = task
        if task_out is not None:
            role.replaced.append(task_out)
    return rows


def started(task: Task) -> bool:
    """User code of this row has run, or may have."""
    if task.state in (TaskState.RUNNING, TaskState.SUCCEEDED) or task.started_at is not None:
        return True
    ended_by_itself = task.exit_code is not None or task.signal is not None
    return task.state is TaskState.FAILED and ended_by_itself and task.end_reason in ("", "OOMKilled")


def role_status(rows: RoleRows, known: RoleStatus, room: int) -> RoleStatus:
    """Count one role; returns ``known`` itself when nothing differs. ``room`` bounds the exceptional tasks."""
    counts = _NONE.copy()
    odd: list[Task] = []
    for task in rows.latest:
        if task is None:
            counts[TaskState.PENDING] += 1
            continue
        counts[task.state] += 1
        if task.state is TaskState.UNKNOWN or (task.state is TaskState.FAILED and task.end_reason != "Stopped"):
            odd.append(task)
    if rows.replaced:
        odd.extend(task for task in rows.replaced if task.end_reason != "Stopped")
    fresh = RoleStatus(
        name=rows.role.name,
        pending=counts[TaskState.PENDING],
        bound=counts[TaskState.BOUND],
        running=counts[TaskState.RUNNING],
        succeeded=counts[TaskState.SUCCEEDED],
        failed=counts[TaskState.FAILED],
        unknown=counts[TaskState.UNKNOWN],
        restarts=known.restarts,
        transient_restarts=known.transient_restarts,
        restarts_before=known.restarts_before,
        transient_before=known.transient_before,
        verdict=known.verdict,
        exceptional=[_exceptional(task) for task in odd[: max(0, room)]],
    )
    return known if fresh == known else fresh


def _exceptional(task: Task) -> ExceptionalTask:
    exit_ = classify(task)
    return ExceptionalTask(
        index=task.index,
        attempt=task.attempt,
        state=task.state.value,
        cause=exit_.cause[:MAX_WORDS],
        advice=exit_.advice[:MAX_WORDS],
    )
