"""Builders and a tiny world for tests of the life cycle: it carries out a step's actions the way a backend would."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from octopus_hub.core import actions as act
from octopus_hub.core.lifecycle import advance
from octopus_hub.core.plan import Resize
from octopus_hub.core.resizing import asked_to_resize, may_resize
from octopus_hub.model.descriptor import Descriptors, FrameworkDescriptor
from octopus_hub.model.status import Phase, Span, Status, TimelineEntry
from octopus_hub.model.task import Task, TaskState
from octopus_hub.model.taskset import Metadata, Resolved, Role, Spec, TaskSet

T0 = 1000.0
replace = msgspec.structs.replace


def taskset(*roles: Role, phase: Phase = Phase.RUNNING, services: Sequence[str] = (), **spec: Any) -> TaskSet:
    """A TaskSet with these roles, in its first attempt unless it waits."""
    waiting = phase.waiting or phase is Phase.ADMITTED
    resolved = Resolved()
    if services:
        framework = FrameworkDescriptor(name="tensorflow", service_roles=list(services))
        resolved = Resolved(descriptors=Descriptors(framework=framework))
    return TaskSet(
        metadata=Metadata(name="job", namespace="ann", uid="u1", owner="ann", created_at=T0 - 10),
        spec=Spec(roles=list(roles), **spec),
        resolved=resolved,
        status=Status(
            phase=phase,
            attempt=0 if waiting else 1,
            timeline=[TimelineEntry(phase=Phase.QUEUED, at=T0 - 10), TimelineEntry(phase=phase, at=T0)],
            placement={} if phase.waiting else places(roles),
            queued_at=T0 - 10,
            starting_at=None if waiting else T0,
            started_at=T0 if phase in (Phase.RUNNING, Phase.RESTARTING, Phase.PREEMPTING) else None,
        ),
    )


def places(roles: Iterable[Role]) -> dict[str, list[Span]]:
    """Everything on node n1."""
    return {role.name: [Span(node="n1", first=0, count=role.count)] for role in roles}


def task(role: str, index: int, state: TaskState, attempt: int = 1, **more: Any) -> Task:
    """A row as a backend would show it; ``started_at`` follows the state unless given."""
    ran = state in (TaskState.RUNNING, TaskState.SUCCEEDED, TaskState.UNKNOWN)
    more.setdefault("started_at", T0 + 1 if ran or more.get("exit_code") is not None else None)
    if state.terminal:
        more.setdefault("finished_at", T0 + 2)
    return Task(
        name=f"job-{role}-{index}-{attempt}",
        namespace="ann",
        taskset="job",
        taskset_uid="u1",
        role=role,
        index=index,
        attempt=attempt,
        state=state,
        node="n1",
        created_at=T0,
        **more,
    )


PENDING, BOUND, RUNNING = TaskState.PENDING, TaskState.BOUND, TaskState.RUNNING
SUCCEEDED, FAILED, UNKNOWN = TaskState.SUCCEEDED, TaskState.FAILED, TaskState.UNKNOWN

# every kind of row a member can have, by a short name; None: there is no row
KINDS: Mapping[str, dict[str, Any] | None] = {
    "missing": None,
    "pending": {"state": PENDING},
    "bound": {"state": BOUND},
    "running": {"state": RUNNING},
    "succeeded": {"state": SUCCEEDED, "exit_code": 0},
    "failed": {"state": FAILED, "exit_code": 1},
    "lost": {"state": FAILED, "end_reason": "NodeLost", "started_at": T0 + 1},
    "unstartable": {"state": FAILED, "end_reason": "CommandNotFound"},
    "stopped": {"state": FAILED, "end_reason": "Stopped"},
    "unknown": {"state": UNKNOWN},
}
_ROWS: dict[tuple[str, int, str], Task | None] = {}


def row(role: str, index: int, kind: str) -> Task | None:
    """The row of that kind (one object each: there are many combinations)."""
    key = (role, index, kind)
    if key not in _ROWS:
        fields = KINDS[kind]
        _ROWS[key] = None if fields is None else task(role, index, **fields)
    return _ROWS[key]


def rows(role: str, kinds: Iterable[str]) -> list[Task]:
    """Rows of one role, one for each kind."""
    return [found for index, kind in enumerate(kinds) if (found := row(role, index, kind)) is not None]


class World:
    """Carries out steps at once and lets time pass. ``outcome`` decides what a running task does next."""

    def __init__(self, start: TaskSet, tasks: Iterable[Task], now: float = T0 + 5) -> None:
        self.taskset = start
        self.tasks: dict[str, Task] = {each.name: each for each in tasks}
        self.now = now
        self.deleted = False
        self.created: list[str] = []
        self.steps = 0

    @property
    def status(self) -> Status:
        """The stored status."""
        return self.taskset.status

    def rows(self) -> list[Task]:
        """Every row."""
        return list(self.tasks.values())

    def step(self) -> act.Step:
        """Advance once, check what must hold at every step, carry out."""
        before = self.taskset
        step = advance(before, self.rows(), self.now)
        self.check(before.status, step)
        self.taskset = replace(before, status=step.status)
        again = advance(self.taskset, self.rows(), self.now)
        if step.status.phase is before.status.phase and step.status.attempt == before.status.attempt:
            assert again.status is step.status, "the same observation changes nothing any more"
            assert again.actions == step.actions, "the same observation gives the same actions"
        for action in step.actions:
            self.carry_out(action)
        self.steps += 1
        return step

    def check(self, before: Status, step: act.Step) -> None:
        """Laws that hold in every step."""
        if before.verdict is not None and not before.phase.waiting:
            assert step.status.verdict == before.verdict, "a verdict is frozen"
        if before.phase.terminal:
            assert step.status.phase is before.phase
        assert step.status.recorded_attempt == before.recorded_attempt
        times = [entry.at for entry in step.status.timeline]
        assert times == sorted(times)
        for action in step.actions:
            if isinstance(action, act.CreateTasks):
                for member in action.members:
                    mine = [each for each in self.rows() if each.identity == (member.role, member.index)]
                    assert all(each.state.terminal for each in mine), "a predecessor lives"
                    assert all(each.attempt < member.attempt for each in mine), "a name is used twice"
                sizes = {role.name: self.taskset.size(role) for role in self.taskset.spec.roles}
                assert all(member.index < sizes[member.role] for member in action.members), "beyond its size"
            if isinstance(action, act.ReleaseTasks):
                assert all(self.tasks[name].state is BOUND for name in action.names)
            if isinstance(action, act.DeleteTasks):
                assert all(self.tasks[name].state.terminal for name in action.names)

    def carry_out(self, action: act.Action) -> None:
        """Do what a backend would, at once."""
        if isinstance(action, act.CreateTasks):
            for member in action.members:
                new = task(member.role, member.index, PENDING, member.attempt)
                new = replace(new, gang_attempt=self.status.attempt, created_at=self.now, started_at=None)
                self.tasks.setdefault(new.name, new)
                self.created.append(new.name)
        elif isinstance(action, act.ReleaseTasks):
            for name in action.names:
                self.set(name, state=RUNNING, started_at=self.now)
        elif isinstance(action, act.StopTasks):
            for name in action.names:
                if self.tasks[name].state is not UNKNOWN:
                    self.set(name, state=FAILED, signal=15, end_reason=action.why, finished_at=self.now)
        elif isinstance(action, act.DeleteTasks):
            for name in action.names:
                del self.tasks[name]
        elif isinstance(action, act.WriteRecord):
            self.taskset = replace(self.taskset, status=replace(self.status, recorded_attempt=action.attempt))
        else:
            self.deleted = True

    def set(self, name: str, **fields: Any) -> None:
        """Change a row."""
        self.tasks[name] = replace(self.tasks[name], **fields)

    def admit(self) -> None:
        """What control does when the scheduler admits it."""
        if self.status.phase is Phase.QUEUED and all(each.state.terminal for each in self.rows()):
            found = places(self.taskset.spec.roles)
            status = replace(self.status, phase=Phase.ADMITTED, placement=found, admitted_at=self.now)
            self.taskset = replace(self.taskset, status=status)

    def resize(self, sizes: Mapping[str, int], by: str = "") -> None:
        """What control does when the scheduler gives a running gang other sizes."""
        before = {role.name: self.taskset.size(role) for role in self.taskset.spec.roles}
        found = {name: (Span(node="n1", first=0, count=count),) for name, count in {**before, **sizes}.items()}
        rule = "grow" if sum(sizes.values()) > sum(before[name] for name in sizes) else "shrink"
        resize = Resize("u1", found, rule, by)  # type: ignore[arg-type]
        if may_resize(self.taskset, resize):
            status = asked_to_resize(self.taskset, resize, self.now)
            self.taskset = replace(self.taskset, status=status)

    def pass_time(self, outcome: Callable[[Task], dict[str, Any]], wake_at: float | None) -> None:
        """Tasks move on; the clock goes to the next wake-up, or a second on."""
        for each in self.rows():
            if not each.state.terminal:
                fields = outcome(each)
                if fields:
                    self.set(each.name, **fields)
        self.now = max(self.now + 1.0, wake_at or 0.0)

    def settle(self, outcome: Callable[[Task], dict[str, Any]], limit: int = 400) -> Status:
        """Run until it has ended with its record; fails when that takes more than ``limit`` steps."""
        for _ in range(limit):
            step = self.step()
            if self.status.phase.terminal and self.status.recorded_attempt == self.status.attempt:
                return self.status
            self.admit()
            self.pass_time(outcome, step.wake_at)
        raise AssertionError(f"wedged in {self.status.phase}: {self.status}\n{self.rows()}")


def well(each: Task) -> dict[str, Any]:
    """A task whose world is in order: it is bound, it succeeds, its lost node is given up."""
    if each.state is PENDING:
        return {"state": BOUND}
    if each.state is RUNNING:
        return {"state": SUCCEEDED, "exit_code": 0, "finished_at": each.created_at + 50}
    if each.state is UNKNOWN:
        return {"state": FAILED, "end_reason": "NodeLost"}
    return {}
