"""Preemption of one TaskSet, apart from who is chosen: the status that begins it, its words, what of the work is kept.

Pure. ``schedule`` chooses whole gangs, ``control.apply`` writes :func:`asked_to_leave` by compare-and-swap,
``running.look_at_preempting`` stops with notice and asks here what goes into the next attempt.

Names of other tenants never get into a status: whoever may read the victim may not know of the claimant (the log of the
controller names both, and ``preemptedFor`` is its uid).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from octopus_hub.core.plan import Eviction
from octopus_hub.core.snapshot import Running, Waiting
from octopus_hub.model.parts import worth
from octopus_hub.model.status import Phase, Status, TimelineEntry
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import TaskSet

DAY_SECONDS = 86_400.0
MOST_TIMES = 100  # kept of a day's preemptions
MAX_TIMELINE = 50
SOMEBODY = "another user's TaskSet"


def asked_to_leave(
    taskset: TaskSet, eviction: Eviction, now: float, victim: Running | None = None, claimant: Waiting | None = None
) -> Status:
    """Return the status with which a preemption begins; ``victim`` and ``claimant`` give the words their figures."""
    status = taskset.status
    now = max(now, status.timeline[-1].at) if status.timeline else now
    by = whom(taskset, eviction, claimant)
    timeline = [*status.timeline, TimelineEntry(phase=Phase.PREEMPTING, at=now, reason="Preempted")]
    recent = [at for at in status.preempted_at if at > now - DAY_SECONDS]
    return msgspec.structs.replace(
        status,
        phase=Phase.PREEMPTING,
        reason="Preempted",
        message=f"makes room for {by}{why(eviction, now, victim, claimant)}",
        preempted_by=by,
        preempted_for=eviction.by,
        preempted_rule=eviction.rule,
        preempted_at=[*recent, now][-MOST_TIMES:],
        preemptions=status.preemptions + 1,
        timeline=timeline[-MAX_TIMELINE:],
    )


def whom(taskset: TaskSet, eviction: Eviction, claimant: Waiting | None) -> str:
    """Return for whom it makes room, in words that its owner may read."""
    if eviction.rule == "window":
        return f"the reservation {eviction.by}"
    if eviction.by == taskset.spec.queue:
        return f"the budget of queue {eviction.by}, which is used up"
    if claimant is None:
        return SOMEBODY
    if claimant.namespace == taskset.metadata.namespace:
        return f"{claimant.namespace}/{claimant.name}"
    return f"{SOMEBODY} in queue {claimant.queue}"


def why(eviction: Eviction, now: float, victim: Running | None, claimant: Waiting | None) -> str:
    """Return the rule in words and figures, to be put behind the claimant's name; "" where nothing is known."""
    if victim is None or claimant is None:
        return ""
    queue, other = claimant.queue, victim.gang.queue
    if eviction.rule == "priority":
        return f", whose priority is {claimant.priority} against {victim.gang.priority}"
    if eviction.rule == "service":
        mine = service_hours(claimant, claimant.served)
        theirs = service_hours(victim.gang, victim.gang.served + max(0.0, now - victim.since))
        return f", which has had {mine} so far, this one {theirs}"
    if eviction.rule == "reclaim":
        return f": queue {queue} takes back what queue {other} borrowed"
    if eviction.rule == "fairness":
        less = f"queue {queue} has less than its share, queue {other} more" if queue != other else ""
        return f": {less or 'its owner has used less of late than the owner of this one'}"
    return ""


def service_hours(gang: Waiting, seconds: float) -> str:
    """Return the time that a gang was served, times what it holds: in device-hours, without devices in CPU-hours."""
    devices = sum(
        worth(kind, count) for need in gang.needs for kind, count in need.each.times(need.count).devices.items()
    )
    if devices:
        return f"{devices * seconds / 3600:.2f} device-hours"
    cpus = sum(need.each.cpu_millis * need.count for need in gang.needs) / 1000
    return f"{cpus * seconds / 3600:.2f} CPU-hours"


def resumes(taskset: TaskSet, checkpoint_at: float | None) -> bool:
    """Say whether it goes on where it was after a preemption, having last reported a checkpoint then (or never)."""
    wish = taskset.spec.preemption.resumes
    return wish == "always" or (wish == "auto" and checkpoint_at is not None)


def last_checkpoint(tasks: Iterable[Task], gang_attempt: int) -> float | None:
    """Return since when an attempt's work would be lost: the oldest of its tasks' newest checkpoints.

    Tasks that report none don't count: often only the first of a gang writes checkpoints, for all.
    """
    times = [
        task.usage.checkpoint_at
        for task in tasks
        if task.gang_attempt == gang_attempt and task.usage.checkpoint_at is not None
    ]
    return min(times, default=None)


def kept(taskset: TaskSet, tasks: Iterable[Task], now: float) -> dict[str, float | None]:
    """Return what the status keeps of the attempt that is over: ``served_seconds`` and ``checkpoint_at``."""
    status, tasks = taskset.status, list(tasks)
    checkpoint = last_checkpoint(tasks, status.attempt)
    checkpoint = None if checkpoint is None else min(checkpoint, now)  # a task may claim anything
    known = status.checkpoint_at if checkpoint is None else checkpoint
    if not resumes(taskset, known):
        return {"served_seconds": 0.0, "checkpoint_at": known}
    began = status.started_at
    if began is None:  # it was preempted before all of it ran, or before that was seen
        starts = [task.started_at for task in tasks if task.gang_attempt == status.attempt]
        began = min((each for each in starts if each is not None), default=None)
    began = None if began is None else max(began, status.admitted_at or 0.0)
    until = checkpoint if checkpoint is not None else now if taskset.spec.preemption.resumes == "always" else began
    more = max(0.0, until - began) if began is not None and until is not None else 0.0
    return {"served_seconds": status.served_seconds + more, "checkpoint_at": known}
