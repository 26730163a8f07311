"""A TaskSet as the scheduler is shown it: waiting, or holding its place. Pure rendering, no decisions.

Used by the cache (who runs), the waiting room (who waits) and by checks at submission.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from octopus_hub.control.ledger import kin
from octopus_hub.core.choices import Placed
from octopus_hub.core.draft import GRACE_SECONDS
from octopus_hub.core.expand import needs
from octopus_hub.core.preempted import last_checkpoint, resumes
from octopus_hub.core.resizing import shed
from octopus_hub.core.snapshot import RoleNeed, Running, Waiting
from octopus_hub.model.queue import PriorityClass
from octopus_hub.model.status import Phase
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import Spec, TaskSet


class Traits(NamedTuple):
    """What a gang has from its document alone: kept over the many statuses that it goes through."""

    spec: Spec
    sizes: Mapping[str, int]
    needs: tuple[RoleNeed, ...]
    kin: str


def traits_of(taskset: TaskSet, known: Traits | None = None) -> Traits:
    """Return the traits of a TaskSet; ``known`` itself, were they taken of the same document."""
    spec, sizes = taskset.spec, taskset.metadata.sizes
    if known is not None and known.spec is spec and known.sizes == sizes:
        return known
    return Traits(spec, sizes, needs(taskset), kin(taskset.metadata.owner, spec))


def waiting_gang(
    taskset: TaskSet,
    priorities: Mapping[str, PriorityClass],
    *,
    estimate: float | None = None,
    traits: Traits | None = None,
    max_runtime: float | None = None,
    checkpoint_at: float | None = None,
) -> Waiting:
    """Return a TaskSet as one that waits.

    ``max_runtime`` and ``checkpoint_at`` are those of a running attempt; by default what a new one would have.
    """
    status, preemption = taskset.status, taskset.spec.preemption
    traits = traits or traits_of(taskset)
    priority = priorities.get(taskset.spec.priority)
    goes_on = resumes(taskset, status.checkpoint_at if checkpoint_at is None else checkpoint_at)
    return Waiting(
        uid=taskset.metadata.uid,
        namespace=taskset.metadata.namespace,
        name=taskset.name,
        owner=taskset.metadata.owner,
        queue=taskset.spec.queue,
        priority=priority.value if priority else 0,
        queued_at=queued_at(taskset),
        needs=traits.needs,
        avoid={each.node: each.until for each in status.avoid},
        groups=tuple(taskset.metadata.groups),
        served=status.served_seconds if goes_on else 0.0,
        max_runtime=longest_stay(taskset) if max_runtime is None else max_runtime,
        preemptible=preemption.allowed,
        min_runtime=preemption.min_runtime_seconds,
        resumes=goes_on,
        notice=preemption.notice_seconds,
        overhead=taskset.spec.gang.timeout_seconds + GRACE_SECONDS,
        preempted_at=tuple(status.preempted_at),
        yields_to=status.preempted_for if status.preempted_at else "",
        scaled_at=taskset.metadata.scaled_at,
        estimate=estimate,
        kin=traits.kin,
    )


def running_gang(
    taskset: TaskSet,
    tasks: Iterable[Task],
    priorities: Mapping[str, PriorityClass],
    *,
    estimate: float | None = None,
    traits: Traits | None = None,
) -> Running | None:
    """Return a TaskSet that holds its place; None for one that waits or has ended."""
    status = taskset.status
    if status.phase.waiting or status.phase.terminal:
        return None
    since = status.admitted_at or status.starting_at or taskset.metadata.created_at
    deadline = latest_end(taskset, since)
    checkpoint = last_checkpoint(tasks, status.attempt)
    gang = waiting_gang(
        taskset,
        priorities,
        estimate=estimate,
        traits=traits,
        max_runtime=None if deadline is None else max(0.0, deadline - since),
        checkpoint_at=checkpoint,
    )
    return Running(
        gang=gang,
        placement=Placed(
            {role: tuple(spans) for role, spans in (status.resize_to or status.placement).items()}, status.choices
        ),
        since=since,
        checkpoint_at=checkpoint,
        leaving=leaves(taskset),
        claimed_by=status.preempted_for if status.phase is Phase.PREEMPTING else "",
        sheds=shed(status.placement, status.resize_to) if status.resize_to else {},
        resizing=bool(status.resize_to),
    )


def leaves(taskset: TaskSet) -> bool:
    """Say whether it is on its way out already: preempted, withdrawn, or asked to stop."""
    meta, status = taskset.metadata, taskset.status
    asked = meta.stop_requested_at is not None or meta.deletion_requested_at is not None
    return asked or status.stopping_at is not None or status.phase in (Phase.PREEMPTING, Phase.STOPPING)


def longest_stay(taskset: TaskSet) -> float | None:
    """Return for how long an attempt can hold its place, from its admission; None if nothing bounds it.

    ``maxRuntimeSeconds`` counts from the moment at which all of its tasks run, and preparing them has a bound of its own.
    """
    limit = taskset.spec.lifetime.max_runtime_seconds
    return None if limit is None else taskset.spec.gang.timeout_seconds + limit + GRACE_SECONDS


def latest_end(taskset: TaskSet, since: float) -> float | None:
    """Return when a present attempt, admitted at ``since``, will have left its place at the latest."""
    status, meta = taskset.status, taskset.metadata
    if status.phase is Phase.PREEMPTING and not status.resize_to:  # a resized one goes on
        asked = status.timeline[-1].at if status.timeline else since
        return asked + taskset.spec.preemption.notice_seconds
    asked_at = [at for at in (status.stopping_at, meta.stop_requested_at, meta.deletion_requested_at) if at is not None]
    if asked_at:
        return min(asked_at) + GRACE_SECONDS
    limit, stay = taskset.spec.lifetime.max_runtime_seconds, longest_stay(taskset)
    if limit is not None and status.started_at is not None:
        return status.started_at + limit + GRACE_SECONDS
    return None if stay is None else since + stay


def queued_at(taskset: TaskSet) -> float:
    """Return since when it queues; kept over attempts."""
    return taskset.status.queued_at or taskset.metadata.created_at
