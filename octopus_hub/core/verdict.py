"""Verdicts of roles and of the TaskSet (design, law 3). Pure; freezing the verdict is ``lifecycle``'s.

A role succeeds once ``minSucceeded`` tasks did, fails once more than ``maxFailed`` failed for good or success is out
of reach; one observation that satisfies both is a success. A role's verdict holds for its gang attempt.

The TaskSet: first the roles' events; then, for roles without a matching event,
    with main roles: all of them succeeded -> Succeeded, one failed -> Failed; other roles do not decide,
        except service roles (``ps``), whose failure is everyone's;
    without: one failed -> Failed, all succeeded -> Succeeded. Service roles of the framework need not end.
When every role has ended and none decided (``Ignore``), it succeeded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from octopus_hub.core.counts import RoleRows, Rows
from octopus_hub.core.exits import VANISHED, classify
from octopus_hub.core.restart import Judged, judge
from octopus_hub.model.status import RoleStatus, Verdict
from octopus_hub.model.task import Task, TaskState
from octopus_hub.model.taskset import Role, TaskSet

RoleVerdict = Literal["Succeeded", "Failed"]


@dataclass(slots=True)
class Outcome:
    """One role, judged."""

    rows: RoleRows
    known: RoleStatus
    judged: Judged
    verdict: RoleVerdict | None

    @property
    def role(self) -> Role:
        """The role of the spec."""
        return self.rows.role


@dataclass(frozen=True, slots=True)
class Decision:
    """The TaskSet's verdict with its reason, for programs and in words."""

    verdict: Verdict
    reason: str
    message: str


def judge_roles(rows: Rows, known: Mapping[str, RoleStatus]) -> list[Outcome]:
    """Judge every role; what was decided about a role in this gang attempt stays."""
    return [_judge_role(role, known[role.role.name]) for role in rows.roles]


def decide(taskset: TaskSet, outcomes: Sequence[Outcome]) -> Decision | None:
    """Return the TaskSet's verdict, None while it is open."""
    services = service_roles(taskset)
    has_main = any(role.main for role in taskset.spec.roles)
    failed: Outcome | None = None
    needed: list[RoleVerdict | None] = []  # verdicts the default rule looks at
    ended = True
    for outcome in outcomes:
        role, service = outcome.role, outcome.role.name in services
        ended = ended and (outcome.verdict is not None or service)
        action = _event(role, outcome.verdict)
        if action == "SucceedTaskSet":
            return Decision("Succeeded", "RoleEvent", f"{role.name} {_word(outcome)}, which ends it as a success")
        if action == "FailTaskSet":
            failed = failed or outcome
        elif action is None:
            counts = role.main or not has_main
            if outcome.verdict == "Failed" and (counts or service):
                failed = failed or outcome
            if counts and (not service or role.main):
                needed.append(outcome.verdict)
    if failed is not None:
        if failed.verdict == "Succeeded":
            return Decision("Failed", "RoleEvent", f"{failed.role.name} succeeded, which ends it as a failure")
        return Decision("Failed", "RoleFailed", explain(failed))
    if needed and all(verdict == "Succeeded" for verdict in needed):
        names = ", ".join(role.name for role in taskset.spec.roles if role.main)
        return Decision("Succeeded", "Completed", f"{names} succeeded" if has_main else "all roles succeeded")
    if ended and outcomes:
        return Decision("Succeeded", "Completed", "all roles ended")
    return None


def service_roles(taskset: TaskSet) -> frozenset[str]:
    """Roles that need not end, by the framework's descriptor; a user's ``main`` or ``events`` overrule it."""
    framework = taskset.resolved.descriptors.framework
    if framework is None or not framework.service_roles:
        return frozenset()
    names = {role.name for role in taskset.spec.roles if not role.main and not role.events}
    found = names.intersection(framework.service_roles)
    return frozenset() if len(found) == len(taskset.spec.roles) else frozenset(found)


def explain(outcome: Outcome) -> str:
    """Say why a role failed: whose failure, its cause, what helps."""
    role, judged = outcome.role, outcome.judged
    if judged.culprit is not None:
        return f"{_others(judged)}{describe(judged.culprit)}{_spent(outcome)}"
    missing = outcome.rows.missing
    if missing:
        return f"{role.name} {missing[0]} failed: {VANISHED.cause} (transient){_spent(outcome)}"
    return f"{role.name} can't reach {outcome.rows.least} succeeded tasks"


def describe(task: Task) -> str:
    """Say in one line how a task failed."""
    exit_ = classify(task)
    kind = " (transient)" if exit_.failure_class == "transient" else ""
    advice = f"; {exit_.advice}" if exit_.advice and not kind else ""
    return f"{task.role} {task.index} failed: {exit_.cause}{kind}{advice}"


def _judge_role(rows: RoleRows, known: RoleStatus) -> Outcome:
    verdict: RoleVerdict | None = known.verdict
    if verdict is not None:
        judged = Judged(user=known.restarts, transient=known.transient_restarts)
        if verdict == "Failed":
            judged.culprit = judge(rows, known).culprit
        return Outcome(rows, known, judged, verdict)
    role = rows.role
    judged = judge(rows, known)
    succeeded = sum(1 for task in rows.latest if task is not None and task.state is TaskState.SUCCEEDED)
    least = rows.least
    if succeeded >= least and (least > 0 or (succeeded + judged.lost == rows.size and _tolerated(role, judged))):
        _no_restart(judged, known)
        verdict = "Succeeded"
    elif not _tolerated(role, judged) or rows.size - judged.lost < least:
        _no_restart(judged, known)
        verdict = "Failed"
    return Outcome(rows, known, judged, verdict)


def _no_restart(judged: Judged, known: RoleStatus) -> None:
    """A decided role restarts nothing, so nothing more is charged."""
    judged.restart, judged.gang = [], False
    judged.user, judged.transient = known.restarts, known.transient_restarts


def _tolerated(role: Role, judged: Judged) -> bool:
    return judged.lost <= role.completion.max_failed


def _event(role: Role, verdict: RoleVerdict | None) -> str | None:
    if verdict is None:
        return None
    for event in role.events:
        if event.on in (f"Role{verdict}", "RoleCompleted"):
            return event.do
    return None


def _word(outcome: Outcome) -> str:
    return "succeeded" if outcome.verdict == "Succeeded" else "failed"


def _others(judged: Judged) -> str:
    return f"{judged.lost} tasks failed, the first: " if judged.lost > 1 else ""


def _spent(outcome: Outcome) -> str:
    user, transient = outcome.judged.user, outcome.judged.transient
    if outcome.role.restart.scope == "never" or not user + transient:
        return ""
    return f" (after {user + transient} {'restart' if user + transient == 1 else 'restarts'})"
