"""What restarts: which members of a role get another attempt, what that costs, after which delay (design, law 5).

Pure; looks at one role. Everything is worked out from the rows of the gang attempt, which are kept until its record
stands, so that looking twice charges once. Called by ``verdict``.

Charges
    scope ``task``: one per failed task; ``role``: one per generation of the role; ``gang``: one per gang attempt.
    A restart with a transient failure in it is charged as transient: what failed beside a lost node failed because
    of it. The user's restarts end at ``maxRestarts``, transient ones at ``MAX_TRANSIENT``, each counted per role.
Tolerance
    Scope ``task`` restarts each failed task while the budget lasts; only then ``maxFailed`` counts it. Scopes
    ``role`` and ``gang`` restart when the role as a whole would fail.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from octopus_hub.core.counts import RoleRows
from octopus_hub.core.exits import failure_class, may_retry
from octopus_hub.model.status import RoleStatus
from octopus_hub.model.task import Task, TaskState

MAX_TRANSIENT = 20
MAX_DELAY_SECONDS = 600.0
MIN_TRANSIENT_DELAY_SECONDS = 1.0
JITTER = 0.1


@dataclass(slots=True)
class Judged:
    """Failures of one role, split into what restarts and what stands.

    ``lost`` counts members whose failure stands; ``restart`` are indexes that get another attempt; ``gang`` says
    that the whole gang does instead. ``user`` and ``transient`` are the role's totals after these restarts.
    """

    restart: list[int] = field(default_factory=list)
    gang: bool = False
    lost: int = 0
    culprit: Task | None = None
    user: int = 0
    transient: int = 0

    @property
    def pending(self) -> bool:
        """Something is to restart."""
        return self.gang or bool(self.restart)


def judge(rows: RoleRows, known: RoleStatus) -> Judged:
    """Split a role's failures. A member without a row counts as a transient failure."""
    failures = [task for task in rows.latest if task is not None and task.state is TaskState.FAILED]
    missing = rows.missing if None in rows.latest else []
    scope = rows.role.restart.scope
    if scope == "task":
        return _task(rows, known, failures, missing)
    if scope == "role":
        return _role(rows, known)
    result = Judged(user=known.restarts_before, transient=known.transient_before)
    result.lost, result.culprit = len(failures) + len(missing), _first(failures)
    if scope == "gang" and _fails(rows, result.lost):
        _together(result, rows, failures, bool(missing))
        result.gang = result.lost == 0
    return result


def delay_seconds(role_delay: float, number: int, jitter_key: str) -> float:
    """Return ``delay * 2**(number - 1)``, at most ten minutes, plus up to a tenth of it drawn from ``jitter_key``."""
    exponent = min(max(0, number - 1), 30)
    delay = min(max(0.0, role_delay) * 2.0**exponent, MAX_DELAY_SECONDS)
    digest = hashlib.blake2b(jitter_key.encode(), digest_size=4).digest()
    return delay * (1.0 + JITTER * int.from_bytes(digest, "big") / 2**32)


def _task(rows: RoleRows, known: RoleStatus, failures: list[Task], missing: list[int]) -> Judged:
    user, transient = known.restarts_before, known.transient_before
    for task in rows.replaced:
        if task.state is TaskState.FAILED:
            if failure_class(task) == "transient":
                transient += 1
            else:
                user += 1
    result = Judged(user=user, transient=transient)
    stands: list[Task] = []
    for task in sorted(failures, key=_order):
        if not may_retry(task):
            stands.append(task)
        elif failure_class(task) == "transient":
            if result.transient < MAX_TRANSIENT:
                result.transient += 1
                result.restart.append(task.index)
            else:
                stands.append(task)
        elif result.user < rows.role.restart.max_restarts:
            result.user += 1
            result.restart.append(task.index)
        else:
            stands.append(task)
    if known.transient_before <= MAX_TRANSIENT:  # vanished ones are charged when their restart begins
        result.restart.extend(missing)
    else:
        result.lost += len(missing)
    result.lost += len(stands)
    result.culprit = stands[0] if stands else None
    return result


def _role(rows: RoleRows, known: RoleStatus) -> Judged:
    """The role restarts as a whole, in generations: all rows of one have the same attempt number."""
    generation = max((task.attempt for task in rows.latest if task is not None), default=0)
    current = [task for task in rows.latest if task is not None and task.attempt == generation]
    result = Judged(user=known.restarts_before, transient=known.transient_before)
    earlier: dict[int, list[Task]] = {}
    for task in (*rows.replaced, *(task for task in rows.latest if task is not None and task.attempt < generation)):
        earlier.setdefault(task.attempt, []).append(task)
    for tasks in earlier.values():
        failed = [task for task in tasks if task.state is TaskState.FAILED]
        if _is_transient(failed, missing=False):
            result.transient += 1
        else:
            result.user += 1
    failures = [task for task in current if task.state is TaskState.FAILED]
    absent = len(rows.latest) - len(current)
    result.lost, result.culprit = len(failures) + absent, _first(failures)
    if _fails(rows, result.lost):
        _together(result, rows, failures, absent > 0)
        if result.lost == 0:
            result.restart = list(range(len(rows.latest)))
    return result


def _together(result: Judged, rows: RoleRows, failures: list[Task], missing: bool) -> None:
    """Charge one restart of everything and clear ``lost``, if the budget and the failures allow it."""
    stuck = [task for task in failures if not may_retry(task)]
    if stuck:
        result.culprit = _first(stuck)
        return
    if _is_transient(failures, missing):
        if result.transient >= MAX_TRANSIENT:
            return
        result.transient += 1
    else:
        if result.user >= rows.role.restart.max_restarts:
            return
        result.user += 1
    result.lost = 0


def _is_transient(failures: list[Task], missing: bool) -> bool:
    """A missing member or a transient failure makes it transient; rows that we stopped say nothing beside others."""
    own = [task for task in failures if task.end_reason != "Stopped"]
    return missing or not own or any(failure_class(task) == "transient" for task in own)


def _fails(rows: RoleRows, lost: int) -> bool:
    return lost > rows.role.completion.max_failed or rows.size - lost < rows.least


def _order(task: Task) -> tuple[float, int]:
    return (task.finished_at or 0.0, task.index)


def _first(failures: list[Task]) -> Task | None:
    """The failure to blame: the first that was not our own stop."""
    own = [task for task in failures if task.end_reason != "Stopped"] or failures
    return min(own, key=_order) if own else None
