"""The status and the actions of one step while ``lifecycle`` works them out.

Pure; holds no rules. Collects only what differs, so that an observation that changes nothing returns the very same
status object and control skips the write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from octopus_hub.core.actions import Action, CreateTasks, DeleteTasks, Member, ReleaseTasks, Step, StopTasks
from octopus_hub.core.counts import MAX_EXCEPTIONAL, RoleRows, Rows, role_status, sort_rows
from octopus_hub.model.status import Phase, RoleStatus, Status, TimelineEntry
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import TaskSet

MAX_TIMELINE = 50
MAX_MESSAGE = 2000
GRACE_SECONDS = 10.0


class Draft:
    """One step in the making.

    Parameters
    ----------
    taskset : TaskSet
        As stored.
    tasks : sequence of Task
        Every row of it.
    now : float
        The clock. Times written are never before the last one in the time line, even when the clock was set back.
    seed : int
        Of the jitter.
    """

    def __init__(self, taskset: TaskSet, tasks: Sequence[Task], now: float, seed: int) -> None:
        self.taskset = taskset
        self.old = taskset.status
        self.clock = now
        timeline = self.old.timeline
        self.now = max(now, timeline[-1].at) if timeline else now
        self.seed = seed
        self.rows: Rows = sort_rows(taskset, tasks)
        self.phase = self.old.phase
        self.attempt_over = False
        self._changes: dict[str, Any] = {}
        self._actions: list[Action] = []
        self._wake_at: float | None = None
        stored = {role.name: role for role in self.old.roles}
        self.known = {role.name: stored.get(role.name) or RoleStatus(name=role.name) for role in taskset.spec.roles}

    # --- status
    def get(self, name: str) -> Any:
        """Return a status field as it will be written."""
        return self._changes[name] if name in self._changes else getattr(self.old, name)

    def set(self, **fields: Any) -> None:
        """Set status fields."""
        self._changes.update(fields)

    def enter(self, phase: Phase, reason: str, message: str = "") -> None:
        """Change the phase, with an entry in the time line; in the same phase, only the words."""
        if phase is not self.phase:
            timeline = list(self.get("timeline"))
            if not timeline or timeline[0].phase is Phase.ADMITTED:
                queued_at = self.get("queued_at") or self.taskset.metadata.created_at or self.now
                first = timeline[0].at if timeline else self.now
                timeline.insert(0, TimelineEntry(phase=Phase.QUEUED, at=min(queued_at, first)))
            timeline.append(TimelineEntry(phase=phase, at=self.now, reason=reason))
            self._changes["timeline"] = timeline[-MAX_TIMELINE:]
            self.phase = phase
        self.say(reason, message)

    def say(self, reason: str, message: str = "") -> None:
        """Set reason and message."""
        self._changes.update(reason=reason, message=message[:MAX_MESSAGE])

    def role(self, name: str, **fields: Any) -> None:
        """Change the stored facts of a role."""
        known = self.known[name]
        if any(getattr(known, field) != value for field, value in fields.items()):
            self.known[name] = msgspec.structs.replace(known, **fields)

    # --- actions
    def wake(self, at: float) -> None:
        """Look again at that time at the latest."""
        if self._wake_at is None or at < self._wake_at:
            self._wake_at = at

    def do(self, action: Action) -> None:
        """Add an action."""
        self._actions.append(action)

    def create(self, members: list[Member]) -> None:
        """Create members, if there are any."""
        if members:
            self.do(CreateTasks(tuple(sorted(members))))

    def release(self, tasks: list[Task]) -> None:
        """Open the barrier for these, if there are any."""
        if tasks:
            self.do(ReleaseTasks(tuple(task.name for task in tasks)))

    def stop(self, tasks: list[Task], grace_seconds: float = GRACE_SECONDS, why: str = "Stopped") -> None:
        """Stop these, if there are any."""
        if tasks:
            self.do(StopTasks(tuple(task.name for task in tasks), grace_seconds, why))

    def forget(self, tasks: list[Task]) -> None:
        """Delete the rows of these, if there are any."""
        if tasks:
            self.do(DeleteTasks(tuple(task.name for task in tasks)))

    # --- result
    def step(self) -> Step:
        """Return the step: the stored status itself if nothing differs from it."""
        self._count_roles()
        if self.phase is not self.old.phase:
            self._changes["phase"] = self.phase
        old = self.old
        changes = {name: value for name, value in self._changes.items() if getattr(old, name) != value}
        status: Status = msgspec.structs.replace(old, **changes) if changes else old
        wake_at = None if self._wake_at is None else max(self._wake_at, self.clock)
        return Step(status, tuple(self._actions), wake_at)

    def _count_roles(self) -> None:
        idle = self.phase.waiting or self.phase is Phase.ADMITTED
        if idle and not self.old.roles:
            return
        counted_rows = self.rows.roles
        if idle:  # nothing of an attempt is there to be counted
            counted_rows = [RoleRows(rows.role, []) for rows in counted_rows]
        elif self.get("attempt") != self.old.attempt:
            counted_rows = [RoleRows(rows.role, [None] * rows.size) for rows in counted_rows]
        room, roles, same = MAX_EXCEPTIONAL, [], len(self.old.roles) == len(counted_rows)
        for position, rows in enumerate(counted_rows):
            counted = role_status(rows, self.known[rows.role.name], room)
            room -= len(counted.exceptional)
            roles.append(counted)
            same = same and counted is self.old.roles[position]
        if not same:
            self._changes["roles"] = roles
