"""An attempt whose user code runs: verdict, restarts, release of restarted members. Pure; called by ``lifecycle``.

Order of judgement: success, the user's stop, failure, the deadline, restart of the gang, restart of members.
"""

from __future__ import annotations

from collections.abc import Sequence

from octopus_hub.core import idle
from octopus_hub.core.counts import started
from octopus_hub.core.draft import Draft
from octopus_hub.core.members import all_members, successors
from octopus_hub.core.preempted import kept
from octopus_hub.core.resizing import look_at_resizing
from octopus_hub.core.restart import JITTER, MIN_TRANSIENT_DELAY_SECONDS, delay_seconds
from octopus_hub.core.stopping import (
    WAITS,
    End,
    begin_stopping,
    carry_over,
    out_of_time,
    requested_stop,
    requeue,
    unreachable,
    withdraw,
)
from octopus_hub.core.verdict import Decision, Outcome, decide, describe, judge_roles
from octopus_hub.model.status import Phase
from octopus_hub.model.task import Task, TaskState

_UNRELEASED = (TaskState.PENDING, TaskState.BOUND)


def look_at_running(draft: Draft) -> None:
    """Starting (after the release), Running and Restarting."""
    if draft.phase is Phase.RESTARTING and draft.old.stopping_at is not None:
        withdraw(draft, draft.old.reason, draft.old.message)
        return
    if draft.phase is Phase.RESTARTING and draft.old.restart_scope == "gang":
        _restart_gang(draft)
        return
    if draft.phase is Phase.STARTING and _all_started(draft):
        _now_running(draft)
    outcomes = judge_roles(draft.rows, draft.known)
    if _ended(draft, outcomes):
        return
    if idle.ended(draft):
        return
    draft.stop([task for task in draft.rows.strays if not task.state.terminal])
    if any(outcome.judged.gang for outcome in outcomes):
        _begin_gang_restart(draft, outcomes)
    else:
        _look_at_members(draft, outcomes)


def look_at_preempting(draft: Draft) -> None:
    """Stop with notice; when all is gone, back to the queue. Who succeeds within the notice has succeeded."""
    decision = decide(draft.taskset, judge_roles(draft.rows, draft.known))
    request = requested_stop(draft)
    if decision is not None and decision.verdict == "Succeeded":
        begin_stopping(draft, (decision.verdict, decision.reason, decision.message))
    elif request is not None:
        begin_stopping(draft, request)
    elif draft.old.resize_to:
        look_at_resizing(draft)
    elif draft.rows.alive:
        notice = draft.taskset.spec.preemption.notice_seconds
        draft.stop(draft.rows.alive, notice, "Preempted")
        draft.say("Preempted", draft.old.message.partition(WAITS)[0] + unreachable(draft))
    else:
        ended = max((task.finished_at or 0.0 for task in draft.rows.latest()), default=0.0) or draft.now
        draft.set(**kept(draft.taskset, draft.rows.latest(), ended))
        requeue(draft, "Preempted", _preempted(draft))


def next_attempt(draft: Draft) -> None:
    """Begin a gang attempt: its number is written before any task of it exists."""
    carry_over(draft)
    draft.set(
        attempt=draft.old.attempt + 1,
        starting_at=draft.now,
        stopping_at=None,
        restart_at=None,
        restart_scope="",
        verdict=None,
        finished_at=None,
        idle_since=None,
    )
    draft.create(all_members(draft.rows))
    draft.enter(Phase.STARTING, "Starting")
    draft.wake(draft.now + draft.taskset.spec.gang.timeout_seconds)


def _ended(draft: Draft, outcomes: Sequence[Outcome]) -> bool:
    """Write what roles came to; end the attempt if there is a verdict, a stop request or no time left."""
    decision = decide(draft.taskset, outcomes)
    end = None
    if decision is not None and decision.verdict == "Succeeded":
        end = _as_end(decision)
    end = end or requested_stop(draft) or (_as_end(decision) if decision is not None else out_of_time(draft))
    for outcome in outcomes:
        if outcome.verdict is not None:
            draft.role(outcome.role.name, verdict=outcome.verdict)
    if end is None:
        return False
    begin_stopping(draft, end)
    return True


def _as_end(decision: Decision) -> End:
    return (decision.verdict, decision.reason, decision.message)


def _all_started(draft: Draft) -> bool:
    return draft.rows.complete and not any(task.state in _UNRELEASED for task in draft.rows.latest())


def _now_running(draft: Draft) -> None:
    draft.set(bind_failures=0, avoid=[], restart_at=None, restart_scope="")
    if draft.old.started_at is None:
        last = max((task.started_at or draft.now for task in draft.rows.latest()), default=draft.now)
        draft.set(started_at=min(draft.now, max(last, draft.old.starting_at or last)))
    draft.enter(Phase.RUNNING, "Running")


# --- the whole gang
def _begin_gang_restart(draft: Draft, outcomes: Sequence[Outcome]) -> None:
    failing = [outcome for outcome in outcomes if outcome.judged.gang]
    _charge(draft, failing)
    draft.set(restart_at=draft.clock + _delay(draft, failing), restart_scope="gang")
    draft.enter(Phase.RESTARTING, "TaskFailed", f"{_why(failing[0])}; the gang starts again{_count(failing[0])}")
    _restart_gang(draft)


def _restart_gang(draft: Draft) -> None:
    end = requested_stop(draft) or out_of_time(draft)
    if end is not None:
        begin_stopping(draft, end)
        return
    restart_at = _bounded(draft, draft.get("restart_at"), _longest_delay(draft))
    draft.set(restart_at=restart_at)
    draft.say(draft.get("reason"), draft.get("message").partition(WAITS)[0] + unreachable(draft))
    if draft.rows.alive:
        draft.stop(draft.rows.alive)
        return
    draft.attempt_over = True
    if draft.clock >= restart_at:
        next_attempt(draft)
    else:
        draft.wake(restart_at)


# --- single members or roles
def _look_at_members(draft: Draft, outcomes: Sequence[Outcome]) -> None:
    wants = [outcome for outcome in outcomes if outcome.judged.restart]
    whole = {outcome.role.name for outcome in wants if outcome.role.restart.scope == "role"}
    fresh = [task for task in draft.rows.latest() if task.state in _UNRELEASED and task.role not in whole]
    if wants:
        _schedule_restart(draft, wants)
    elif fresh and draft.phase is Phase.RUNNING:  # half a restart, of which only the rows are left
        draft.set(restart_at=draft.clock, restart_scope="task")
        draft.enter(Phase.RESTARTING, "TaskFailed", "restarted tasks are being prepared")
    elif not fresh and draft.phase is not Phase.STARTING:
        if draft.phase is Phase.RESTARTING:
            _now_running(draft)
        draft.say("Running", unreachable(draft).removeprefix(" ").strip("()"))
        return
    elif not fresh:  # Starting, and a member that is tolerated as lost is missing
        _now_running(draft)
        return
    if _too_late(draft, wants, fresh):
        return
    _stop_roles(draft, wants, whole)
    _restart_members(draft, wants)
    _release(draft, fresh)


def _schedule_restart(draft: Draft, wants: Sequence[Outcome]) -> None:
    """Set when; a new failure during the wait joins it, one after it begins another wait."""
    grown = _charge(draft, wants)
    restart_at = draft.old.restart_at
    again = draft.phase is not Phase.RESTARTING or restart_at is None
    if again or (grown and restart_at is not None and restart_at <= draft.clock):
        restart_at = draft.clock + _delay(draft, wants)
    restart_at = _bounded(draft, restart_at, _longest_delay(draft))
    scope = "role" if any(outcome.role.restart.scope == "role" for outcome in wants) else "task"
    draft.set(restart_at=restart_at, restart_scope=scope)
    if again or grown:
        what = "the role starts again" if scope == "role" else "it starts again"
        draft.enter(Phase.RESTARTING, "TaskFailed", f"{_why(wants[0])}; {what}{_count(wants[0])}")
    draft.say(draft.get("reason"), draft.get("message").partition(WAITS)[0] + unreachable(draft))
    draft.wake(restart_at)


def _too_late(draft: Draft, wants: Sequence[Outcome], fresh: Sequence[Task]) -> bool:
    """Restarted members that are not bound in time lose the gang its place (law 5)."""
    timeout = draft.taskset.spec.gang.timeout_seconds
    base = draft.get("restart_at") if draft.phase is Phase.RESTARTING else draft.old.starting_at
    base = draft.clock if base is None else base
    if fresh:
        base = max(base, min(draft.clock, max(task.created_at for task in fresh)))
        draft.wake(base + timeout)
        pending = [task for task in fresh if task.state is TaskState.PENDING]
        late = [task.node for task in pending] if pending else []
    else:  # only members whose last try was never started have lost their place
        rows = [(outcome.rows.latest[index]) for outcome in wants for index in outcome.judged.restart]
        late = [task.node for task in rows if task is not None and task.state.terminal and not started(task)]
    if not late or draft.clock < base + timeout:
        return False
    message = f"restarted tasks could not be prepared within {timeout:g} s; the gang queues again"
    withdraw(draft, "BindTimeout", message, avoid=late)
    return True


def _stop_roles(draft: Draft, wants: Sequence[Outcome], whole: set[str]) -> None:
    """A role that restarts as a whole is stopped first; so is a predecessor that still lives beside its successor."""
    doomed = [task for role in draft.rows.roles for task in role.replaced if not task.state.terminal]
    for outcome in wants:
        if outcome.role.name in whole:
            doomed.extend(task for task in outcome.rows.latest if task is not None and not task.state.terminal)
    draft.stop(doomed)


def _restart_members(draft: Draft, wants: Sequence[Outcome]) -> None:
    restart_at = draft.get("restart_at")
    if not wants or draft.clock < restart_at:
        return
    members = []
    for outcome in wants:
        rows = outcome.rows
        gone = all(task.state.terminal for task in rows.replaced)
        indexes = [index for index in outcome.judged.restart if _gone(rows.latest[index])]
        if gone and (outcome.role.restart.scope != "role" or len(indexes) == len(rows.latest)):
            members.extend(successors(draft.rows, rows, indexes))
    draft.create(members)


def _release(draft: Draft, fresh: Sequence[Task]) -> None:
    """Open the barrier once all that wait at it are bound and no predecessor lives."""
    alive = any(not task.state.terminal for role in draft.rows.roles for task in role.replaced)
    if fresh and not alive and all(task.state is TaskState.BOUND for task in fresh):
        draft.release(list(fresh))


def _gone(task: Task | None) -> bool:
    return task is None or task.state.terminal


def _charge(draft: Draft, outcomes: Sequence[Outcome]) -> bool:
    """Write the totals; True when they grew. Vanished members leave no row, so they are charged when first missed."""
    grown = False
    for outcome in outcomes:
        name, judged, known = outcome.role.name, outcome.judged, draft.known[outcome.role.name]
        before, transient = known.transient_before, judged.transient
        if outcome.role.restart.scope == "task" and draft.phase is not Phase.RESTARTING:
            vanished = len(outcome.rows.missing)
            before, transient = before + vanished, transient + vanished
        user = judged.user
        charged, stored = user + transient, known.restarts + known.transient_restarts
        if charged < stored:  # a row that said more is gone again
            user, transient = known.restarts, known.transient_restarts
        grown = grown or charged > stored
        draft.role(name, restarts=user, transient_restarts=transient, transient_before=before)
    return grown


def _delay(draft: Draft, outcomes: Sequence[Outcome]) -> float:
    longest = 0.0
    for outcome in outcomes:
        known = draft.known[outcome.role.name]
        number = known.restarts + known.transient_restarts
        least = MIN_TRANSIENT_DELAY_SECONDS if known.transient_restarts else 0.0
        key = f"{draft.seed}/{draft.taskset.metadata.uid}/{outcome.role.name}/{draft.old.attempt}/{number}"
        longest = max(longest, delay_seconds(max(outcome.role.restart.delay_seconds, least), number, key))
    return longest


def _longest_delay(draft: Draft) -> float:
    """No restart waits longer than this; more means that the clock was set back."""
    longest = MIN_TRANSIENT_DELAY_SECONDS
    for role in draft.taskset.spec.roles:
        known = draft.known[role.name]
        delay = delay_seconds(max(role.restart.delay_seconds, 1.0), known.restarts + known.transient_restarts, "")
        longest = max(longest, delay)
    return longest * (1.0 + JITTER)


def _bounded(draft: Draft, restart_at: float | None, longest: float) -> float:
    if restart_at is None:
        return draft.clock
    return min(restart_at, draft.clock + longest)


def _why(outcome: Outcome) -> str:
    rows = outcome.rows
    failed = [task for task in rows.latest if task is not None and task.state is TaskState.FAILED]
    own = [task for task in failed if task.end_reason != "Stopped"] or failed
    if own:
        return describe(min(own, key=lambda task: (task.finished_at or 0.0, task.index)))
    missing = rows.missing
    return f"{outcome.role.name} {missing[0] if missing else ''} vanished".replace("  ", " ")


def _count(outcome: Outcome) -> str:
    judged = outcome.judged
    if not judged.user:
        return ""
    return f" (restart {judged.user} of {outcome.role.restart.max_restarts})"


def _preempted(draft: Draft) -> str:
    """Say for whom and by which rule it made room, and what becomes of it."""
    room = draft.old.message.partition(WAITS)[0]
    return f"{room or 'preempted'}; it queues again, at its old place"
