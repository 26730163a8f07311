"""The life cycle of a TaskSet: ``advance`` says, from what is observed, which phase it is in and what to do next.

Pure and total (design, laws 2 to 5 and 11): every combination of a stored status and rows has exactly one next phase;
the same observation gives the same actions; nothing is remembered outside the status and the rows. It does not write,
log or look at a clock. Called by ``control.loop``, by dry runs and by the simulator.

What to know beyond the design
    Unknown      a task whose node can't be reached is neither lost nor replaced: a successor could run beside it. We
                 wait until the backend says that the node is lost (then it is Failed, NodeLost), and say so.
    transient    before any user code ran: the gang goes back to the queue, whatever the restart scope. After that,
                 scope ``never`` means never: the TaskSet fails and says that the failure was transient; the other
                 scopes restart without using up the user's retries.
    withdrawal   ``stopping_at`` set in Starting or Restarting: everything is stopped, then it queues again. The attempt
                 counts only if user code of it ran.
    success      satisfied in the same observation as a stop request, the deadline or a failure, it wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from octopus_hub.core.actions import DeleteTaskSet, Step, WriteRecord
from octopus_hub.core.counts import started
from octopus_hub.core.draft import Draft
from octopus_hub.core.exits import failure_class, may_retry
from octopus_hub.core.members import missing_members
from octopus_hub.core.reason import Reason
from octopus_hub.core.running import look_at_preempting, look_at_running, next_attempt
from octopus_hub.core.stopping import begin_stopping, finish_stopping, out_of_time, requested_stop, withdraw
from octopus_hub.core.verdict import describe
from octopus_hub.model.status import Phase
from octopus_hub.model.task import Task, TaskState
from octopus_hub.model.taskset import TaskSet

MAX_BIND_FAILURES = 20  # failures to start, not time-outs, after which it is given up


def advance(taskset: TaskSet, tasks: Sequence[Task], now: float, *, seed: int = 0) -> Step:
    """Return the next step of a TaskSet.

    Parameters
    ----------
    taskset : TaskSet
        As stored, with its status.
    tasks : sequence of Task
        Every row of it that is known, of all attempts.
    now : float
        Unix seconds; may go backwards.
    seed : int
        Seed of the jitter of delays.

    Returns
    -------
    Step
        ``step.status is taskset.status`` when nothing changed.
    """
    draft = Draft(taskset, tasks, now, seed)
    _PHASES[draft.phase](draft)
    _keep_house(draft)
    return draft.step()


def after_reason(taskset: TaskSet, others: Mapping[str, Phase | None]) -> Reason | None:
    """Say why ``spec.after`` withholds a TaskSet; None when it does not.

    ``others`` gives the phase of each TaskSet named there, None for one that does not exist.
    """
    waits: Reason | None = None
    for after in taskset.spec.after:
        phase = others.get(after.name)
        if phase is None:
            waits = waits or Reason(
                code="WaitingFor",
                message=f"waits for {after.name}, which does not exist; submit it, or stop {taskset.name}",
                where=after.name,
            )
        elif not phase.terminal:
            wish = "end" if after.on == "Completed" else f"end as {after.on}"
            waits = waits or Reason(
                code="WaitingFor", message=f"waits for {after.name} to {wish}; it is {phase.value}", where=after.name
            )
        elif after.on not in ("Completed", phase.value):
            return Reason(
                code="DependencyFailed",
                message=f"{after.name} ended as {phase.value}, but {taskset.name} waits for it to end as {after.on}",
                where=after.name,
            )
    return waits


def _waiting(draft: Draft) -> None:
    if _stopped_while_waiting(draft):
        return
    held = draft.taskset.spec.hold
    if held and draft.phase is not Phase.HELD:
        draft.enter(Phase.HELD, "Held", f"held; octopus release {draft.taskset.name} lets it queue")
    elif not held and draft.phase is Phase.HELD:
        draft.set(queued_at=draft.old.queued_at or draft.now)
        draft.enter(Phase.QUEUED, "Released")
    draft.stop(draft.rows.alive)


def _stopped_while_waiting(draft: Draft) -> bool:
    request = requested_stop(draft)
    if request is None:
        return False
    begin_stopping(draft, request)
    return True


def _admitted(draft: Draft) -> None:
    if _stopped_while_waiting(draft):
        return
    placement = draft.old.placement
    if any(role.count and not placement.get(role.name) for role in draft.taskset.spec.roles):
        draft.set(placement={}, admitted_at=None)
        draft.enter(Phase.QUEUED, "PlacementLost", "its admission named no place for every role; it queues again")
        return
    left = [task for task in draft.rows.strays if task.gang_attempt > draft.old.attempt]
    if draft.rows.alive or left:  # of an attempt that was withdrawn; _keep_house deletes the rows
        draft.stop(draft.rows.alive)
        draft.say("CleaningUp", "waits until the tasks of its withdrawn attempt are gone")
        return
    next_attempt(draft)


def _starting(draft: Draft) -> None:
    if draft.old.stopping_at is not None:
        withdraw(draft, draft.old.reason, draft.old.message)
        return
    rows = list(draft.rows.latest())
    if any(started(task) for task in rows):
        look_at_running(draft)
        return
    request = requested_stop(draft) or out_of_time(draft)
    if request is not None:
        begin_stopping(draft, request)
        return
    failed = [task for task in rows if task.state is TaskState.FAILED]
    if failed:
        _failed_to_start(draft, failed)
        return
    timeout = draft.taskset.spec.gang.timeout_seconds
    deadline = (draft.old.starting_at or draft.now) + timeout
    ready = draft.rows.complete and all(task.state is TaskState.BOUND for task in rows)
    if draft.clock >= deadline and not ready:
        late = [task.node for task in rows if task.state is not TaskState.BOUND]
        message = f"not all tasks could be prepared within {timeout:g} s; it queues again"
        withdraw(draft, "BindTimeout", message, avoid=late)
        return
    draft.wake(deadline)
    draft.set(starting_at=draft.old.starting_at or draft.now)
    _start(draft, rows)


def _start(draft: Draft, rows: list[Task]) -> None:
    """Create who is missing; release once all are bound (law 1)."""
    older = [task for task in draft.rows.alive if task.gang_attempt != draft.old.attempt]
    if older:
        draft.stop(older)
        return
    if not draft.rows.complete:
        draft.create(missing_members(draft.rows))
    elif all(task.state is TaskState.BOUND for task in rows):
        draft.release(rows)


def _failed_to_start(draft: Draft, failed: list[Task]) -> None:
    stuck = [task for task in failed if not may_retry(task) or failure_class(task) == "permanent"]
    if stuck:
        worst = min(stuck, key=lambda task: (task.finished_at or 0.0, task.role, task.index))
        begin_stopping(draft, ("Failed", worst.end_reason or "StartFailed", describe(worst)))
        return
    own = [task for task in failed if task.end_reason != "Stopped"] or failed
    first = min(own, key=lambda task: (task.finished_at or 0.0, task.role, task.index))
    if draft.old.bind_failures >= MAX_BIND_FAILURES:
        message = f"{describe(first)}; given up after {draft.old.bind_failures} failures to start"
        begin_stopping(draft, ("Failed", "StartFailed", message))
        return
    withdraw(draft, "StartFailed", f"{describe(first)}; it queues again", avoid=[task.node for task in own])


def _stopping(draft: Draft) -> None:
    verdict = draft.old.verdict or "Stopped"
    finish_stopping(draft, (verdict, draft.old.reason, draft.old.message))


def _ended(draft: Draft) -> None:
    """Terminal: record, then ttl or the user's delete."""
    status, metadata = draft.old, draft.taskset.metadata
    draft.stop(draft.rows.alive)  # nothing should live; whatever does is stopped
    if draft.rows.alive or status.recorded_attempt < status.attempt:
        return
    if metadata.deletion_requested_at is not None:
        draft.do(DeleteTaskSet())
        return
    ttl = draft.taskset.spec.lifetime.ttl_seconds_after_finished
    if ttl is not None:
        expires = (status.finished_at or draft.now) + max(0.0, ttl)
        if draft.now >= expires:
            draft.do(DeleteTaskSet())
        else:
            draft.wake(expires)


def _keep_house(draft: Draft) -> None:
    """Records of attempts that are over; rows nobody needs any more."""
    attempt, recorded = draft.get("attempt"), draft.get("recorded_attempt")
    over = draft.attempt_over or draft.phase.terminal or draft.phase.waiting or draft.phase is Phase.ADMITTED
    over = over and attempt <= draft.old.attempt  # one that begins in this step is not over
    if recorded < (attempt if over else attempt - 1) and (draft.phase.terminal is False or not draft.rows.alive):
        draft.do(WriteRecord(recorded + 1))
    if draft.rows.strays:
        _forget_strays(draft, attempt, recorded)


def _forget_strays(draft: Draft, attempt: int, recorded: int) -> None:
    """Delete ended rows of withdrawn attempts, and recorded ones once the member has a newer row that will stay.

    A row says which names were used: rows of an attempt in which no user code ran are forgotten if it is withdrawn.
    """
    rows = list(draft.rows.latest()) if attempt == draft.old.attempt else []
    latest = {task.identity for task in rows} if any(started(task) for task in rows) else frozenset()
    draft.forget(
        [
            task
            for task in draft.rows.strays
            if task.state.terminal
            and (
                task.gang_attempt > attempt
                or (task.gang_attempt < attempt and task.gang_attempt <= recorded and task.identity in latest)
            )
        ]
    )


_PHASES: Mapping[Phase, Callable[[Draft], None]] = {
    Phase.HELD: _waiting,
    Phase.QUEUED: _waiting,
    Phase.ADMITTED: _admitted,
    Phase.STARTING: _starting,
    Phase.RUNNING: look_at_running,
    Phase.RESTARTING: look_at_running,
    Phase.PREEMPTING: look_at_preempting,
    Phase.STOPPING: _stopping,
    Phase.SUCCEEDED: _ended,
    Phase.FAILED: _ended,
    Phase.STOPPED: _ended,
}
