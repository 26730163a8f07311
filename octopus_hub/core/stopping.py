"""Ends of attempts: verdict and clean-up, withdrawal, back to the queue. Pure; called by ``lifecycle`` and ``running``.

A verdict is written once (design, law 3); resources stay held until every task is confirmed gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from octopus_hub.core.counts import started
from octopus_hub.core.draft import Draft
from octopus_hub.model.status import Avoid, Phase, Verdict
from octopus_hub.model.task import TaskState

FIRST_AVOID_SECONDS = 30.0
MAX_AVOID_SECONDS = 600.0
MAX_AVOIDED = 200
WAITS = " (waits: "

End = tuple[Verdict, str, str]  # verdict, reason, message

_END_PHASES: dict[Literal["Succeeded", "Failed", "Stopped"], Phase] = {
    "Succeeded": Phase.SUCCEEDED,
    "Failed": Phase.FAILED,
    "Stopped": Phase.STOPPED,
}


def requested_stop(draft: Draft) -> End | None:
    """Return the end a user asked for, if one did."""
    metadata = draft.taskset.metadata
    if metadata.stop_requested_at is None and metadata.deletion_requested_at is None:
        return None
    if draft.old.reason == "DependencyFailed":  # control stops it on the user's behalf and says why
        return ("Stopped", draft.old.reason, draft.old.message)
    if metadata.stop_requested_at is None:
        return ("Stopped", "DeletionRequested", "it was deleted while it was not finished")
    if metadata.stop_reason:
        return ("Stopped", "LifetimeEnded", metadata.stop_reason)
    return ("Stopped", "StopRequested", "stopped as asked")


def out_of_time(draft: Draft) -> End | None:
    """Return the end by ``maxRuntimeSeconds``; else wake up then."""
    limit = draft.taskset.spec.lifetime.max_runtime_seconds
    since = draft.get("started_at")
    since = draft.get("starting_at") if since is None else since
    if limit is None or since is None:
        return None
    if draft.clock < since + limit:
        draft.wake(since + limit)
        return None
    message = f"stopped after maxRuntimeSeconds ({limit:g} s); give it more, or save checkpoints and submit again"
    return ("Failed", "DeadlineExceeded", message)


def begin_stopping(draft: Draft, end: End) -> None:
    """Write the verdict and clean up; with nothing left to clean up it has ended at once."""
    draft.set(verdict=end[0], stopping_at=draft.now, restart_at=None, restart_scope="", resize_to={})
    finish_stopping(draft, end)


def finish_stopping(draft: Draft, end: End) -> None:
    """Stop what lives; when all of it is gone, the verdict becomes the phase."""
    verdict, reason, message = end
    message = message.partition(WAITS)[0]
    if draft.get("verdict") is None:
        draft.set(verdict=verdict)
    if draft.rows.alive:
        draft.enter(Phase.STOPPING, reason, message + unreachable(draft))
        draft.stop(draft.rows.alive)
        return
    draft.set(finished_at=draft.now)
    draft.enter(_END_PHASES[verdict], reason, message)


def withdraw(draft: Draft, reason: str, message: str, avoid: Iterable[str] = ()) -> None:
    """Stop every task of the attempt, then queue again. Nodes in ``avoid`` are struck once, when it begins."""
    request = requested_stop(draft)
    if request is not None:
        begin_stopping(draft, request)
        return
    if draft.old.stopping_at is None:
        failures = draft.old.bind_failures + 1
        draft.set(stopping_at=draft.now, bind_failures=failures, avoid=_strike(draft, avoid))
    message = message.partition(WAITS)[0]
    if draft.rows.alive:
        draft.say(reason, message + unreachable(draft))
        draft.stop(draft.rows.alive)
    else:
        requeue(draft, reason, message)


def requeue(draft: Draft, reason: str, message: str) -> None:
    """Back to the queue, at the old place in it. The attempt counts if user code of it ran."""
    rows = [task for role in draft.rows.roles for task in (*role.latest, *role.replaced) if task is not None]
    attempt = draft.old.attempt
    if not any(started(task) for task in rows) and attempt > draft.old.recorded_attempt:
        attempt -= 1
        draft.forget(rows)
    carry_over(draft)
    draft.set(
        attempt=attempt,
        placement={},
        resize_to={},
        queued_at=draft.old.queued_at or draft.taskset.metadata.created_at or draft.now,
        admitted_at=None,
        starting_at=None,
        started_at=None,
        restart_at=None,
        restart_scope="",
        stopping_at=None,
    )
    draft.enter(Phase.QUEUED, reason, message)


def carry_over(draft: Draft) -> None:
    """Carry what restarts were charged into the next gang attempt; its roles are judged anew."""
    for name, known in draft.known.items():
        draft.role(name, verdict=None, restarts_before=known.restarts, transient_before=known.transient_restarts)


def unreachable(draft: Draft) -> str:
    """Say which tasks can't be reached, ``""`` if none."""
    lost = [task for task in draft.rows.alive if task.state is TaskState.UNKNOWN]
    if not lost:
        return ""
    first = min(lost, key=lambda task: (task.role, task.index, task.attempt))
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    node = first.node or "its node"
    return (
        f"{WAITS}{first.role} {first.index}{more} can't be reached on {node}; it may still run until the node is back)"
    )


def _strike(draft: Draft, nodes: Iterable[str]) -> list[Avoid]:
    known = {each.node: each for each in draft.old.avoid}
    for node in sorted({node for node in nodes if node}):
        strikes = known[node].strikes + 1 if node in known else 1
        seconds = min(FIRST_AVOID_SECONDS * 2 ** min(strikes - 1, 10), MAX_AVOID_SECONDS)
        known[node] = Avoid(node=node, until=draft.clock + seconds, strikes=strikes)
    return sorted(known.values(), key=lambda each: (-each.until, each.node))[:MAX_AVOIDED]
