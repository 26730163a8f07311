"""A resize of one elastic TaskSet: the status that begins it, how it goes on, its words.

Pure. ``schedule`` decides sizes, ``control.apply`` writes :func:`asked_to_resize` by compare-and-swap; then
``running.look_at_preempting`` leads here. A resize is an event of the whole gang: every task of the attempt gets the
notice, and once all are gone the next attempt is admitted with its new placement at once, without queuing. Until then
the gang holds, node by node, the larger of the old and the new. It is neither a failure nor a preemption: no retry is
used up and no preemption is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from octopus_hub.core.draft import MAX_TIMELINE, Draft
from octopus_hub.core.plan import Resize
from octopus_hub.core.preempted import kept
from octopus_hub.core.scaling import unfulfilled
from octopus_hub.core.stopping import WAITS, carry_over, requeue, unreachable
from octopus_hub.model.status import Phase, Span, Status, TimelineEntry
from octopus_hub.model.taskset import TaskSet

RESIZING = "Resizing"  # reason while the old attempt ends
RESIZED = "Resized"  # reason of its end, and of its tasks'


def asked_to_resize(taskset: TaskSet, resize: Resize, now: float) -> Status:
    """Return the status with which a resize begins."""
    status = taskset.status
    now = max(now, status.timeline[-1].at) if status.timeline else now
    timeline = [*status.timeline, TimelineEntry(phase=Phase.PREEMPTING, at=now, reason=RESIZING)]
    placement = {role: list(spans) for role, spans in resize.placement.items()}
    return msgspec.structs.replace(
        status,
        phase=Phase.PREEMPTING,
        reason=RESIZING,
        message=words(taskset, placement, resize.rule),
        resize_to=placement,
        resized_at=now,
        preempted_for=resize.by,
        timeline=timeline[-MAX_TIMELINE:],
    )


def may_resize(taskset: TaskSet, resize: Resize) -> bool:
    """Say whether a planned resize still holds for the TaskSet as it is now."""
    meta, status = taskset.metadata, taskset.status
    if status.phase is not Phase.RUNNING or meta.stop_requested_at or meta.deletion_requested_at:
        return False
    if {role: list(spans) for role, spans in resize.placement.items()} == status.placement:
        return False
    return all(role.count <= size(resize.placement.get(role.name, ())) <= role.most for role in taskset.spec.roles)


def changes_room(taskset: TaskSet) -> bool:
    """Say whether the scheduler has to look at an elastic gang: it has just given up room, or shall be resized."""
    return (taskset.status.phase is Phase.ADMITTED and taskset.status.reason == RESIZED) or unfulfilled(taskset)


def look_at_resizing(draft: Draft) -> None:
    """Stop the old attempt with notice; when all of it is gone, go on in the new place."""
    status = draft.old
    message = status.message.partition(WAITS)[0]
    if draft.rows.alive:
        draft.stop(draft.rows.alive, draft.taskset.spec.preemption.notice_seconds, RESIZED)
        draft.say(RESIZING, message + unreachable(draft))
        return
    ended = max((task.finished_at or 0.0 for task in draft.rows.latest()), default=0.0) or draft.now
    draft.set(**kept(draft.taskset, draft.rows.latest(), ended))
    lost = _lost(draft)
    if lost:
        requeue(draft, "NodeLost", f"node {lost} was lost while it was resized; it queues again")
        return
    carry_over(draft)
    draft.set(
        placement=status.resize_to,
        resize_to={},
        admitted_at=draft.now,
        starting_at=None,
        stopping_at=None,
        restart_at=None,
        restart_scope="",
    )
    draft.enter(Phase.ADMITTED, RESIZED, message)


def words(taskset: TaskSet, placement: Mapping[str, Sequence[Span]], rule: str) -> str:
    """Say what changes: ``grows: worker 2 -> 6``."""
    changes = [
        f"{role.name} {taskset.size(role)} -> {size(placement.get(role.name, ()))}"
        for role in taskset.spec.roles
        if taskset.size(role) != size(placement.get(role.name, ()))
    ]
    what = "grows" if rule == "grow" else "shrinks"
    return f"{what}: {', '.join(changes)}; it goes on from its checkpoint"


def size(spans: Iterable[Span]) -> int:
    """Return how many tasks spans hold."""
    return sum(span.count for span in spans)


def shed(before: Mapping[str, Sequence[Span]], after: Mapping[str, Sequence[Span]]) -> dict[str, tuple[Span, ...]]:
    """Return the tasks by role and node that a resize gives up; indexes are those of before, the last of each node."""
    given: dict[str, tuple[Span, ...]] = {}
    for role, spans in before.items():
        kept: dict[str, int] = {}
        for span in after.get(role, ()):
            kept[span.node] = kept.get(span.node, 0) + span.count
        parts: list[Span] = []
        for span in spans:
            stays = min(span.count, kept.get(span.node, 0))
            kept[span.node] = kept.get(span.node, 0) - stays
            if stays < span.count:
                parts.append(Span(node=span.node, first=span.first + stays, count=span.count - stays))
        if parts:
            given[role] = tuple(parts)
    return given


def _lost(draft: Draft) -> str:
    """Return a node of the new place that a task of the old attempt was lost with, "" if none."""
    wanted = {span.node for spans in draft.old.resize_to.values() for span in spans}
    lost = {task.node for task in draft.rows.latest() if task.end_reason == "NodeLost"}
    return min(wanted & lost, default="")
