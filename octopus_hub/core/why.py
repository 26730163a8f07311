"""Why a TaskSet waits, runs here, was preempted or ended as it did: an ordered list of facts, each one sentence.

Pure text over what ``explain`` found and what the TaskSet's status says; decides nothing. The service answers with it, so
that the command line, a notebook and the panel say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from octopus_hub.core.explain import WhatIf
from octopus_hub.core.forecast import span, words
from octopus_hub.core.herd import evictable_from
from octopus_hub.core.policies import POLICIES
from octopus_hub.core.quota import Quotas
from octopus_hub.core.snapshot import Running, Snapshot
from octopus_hub.model.answers import Fact
from octopus_hub.model.queue import Queue
from octopus_hub.model.status import Phase, Span
from octopus_hub.model.taskset import TaskSet

RULES = {
    "priority": "its priority is higher",
    "service": "it has had less service, or is expected to need less",
    "fairness": "its owner or queue has had less than its share",
    "reclaim": "its queue takes back what it lent",
    "window": "the nodes are set aside for a reservation",
    "budget": "the budget of the queue is used up",
    "shrink": "an elastic TaskSet gives back tasks beyond its minimum",
}
_CLAIMS = {
    "priority": "TaskSets of {queue} with a higher priority",
    "fair": "TaskSets of {queue} whose owners have used less of late",
    "las": "TaskSets of {queue} that have had less device time, by a factor of two or more",
    "predicted": "TaskSets of {queue} that are expected to need less device time, by a factor of two or more",
    "gittins": "TaskSets of {queue} that are expected to end much sooner for what they take",
}
NODES_NAMED = 8


def told(found: WhatIf, queue: str) -> list[Fact]:
    """Return the facts of a what-if, of a TaskSet in ``queue``."""
    facts = []
    if found.place:
        facts.append(Fact(kind="place", message=_place(found, queue)))
    if found.reason is not None:
        facts.append(Fact(kind="short", message=found.reason.message))
    for going in found.makes_room:
        why = f": {RULES[going.rule]}" if going.rule in RULES else ""
        facts.append(Fact(kind="room", message=f"{going.name} makes room for it{why}"))
    if found.unblock:
        facts.append(Fact(kind="unblock", message=f"what would unblock it: {'; or '.join(found.unblock)}"))
    facts += [Fact(kind="smaller", message=each.message) for each in found.smaller]
    if found.estimate is not None:
        when, basis = words(found.estimate), found.estimate.basis
        start = "no start can be foreseen" if found.estimate.earliest is None else f"starts {when}"
        facts.append(Fact(kind="estimate", message=f"{start} ({basis})"))
    return facts


def waiting(taskset: TaskSet, now: float, found: WhatIf | None, withheld: str = "") -> list[Fact]:
    """Return why one waits; ``withheld`` is why the scheduler is not shown it (then ``found`` is None)."""
    status = taskset.status
    since = status.queued_at or taskset.metadata.created_at
    held = status.phase is Phase.HELD or taskset.spec.hold
    what = "held" if held else f"has waited in queue {taskset.spec.queue}"
    facts = [Fact(kind="state", message=f"{what} for {span(max(0.0, now - since))}")]
    facts += _preempted(taskset, now)
    if status.message and status.reason in ("StartFailed", "BindTimeout"):
        facts.append(Fact(kind="tried", message=f"its last try failed: {status.message}"))
    if withheld:
        facts.append(Fact(kind="short", message=withheld))
    if found is None:
        return facts
    if found.outcome == "starts":
        return [*facts, Fact(kind="short", message="there is room for it: it starts at the next look")]
    return [*facts, *told(found, taskset.spec.queue)]


def holding(taskset: TaskSet, running: Running, snapshot: Snapshot, now: float) -> list[Fact]:
    """Return why one runs where it does, and what could preempt it."""
    status = taskset.status
    attempt = f", attempt {status.attempt}" if status.attempt > 1 else ""
    facts = [Fact(kind="state", message=f"{status.phase.value} for {span(max(0.0, now - running.since))}{attempt}")]
    if status.phase is Phase.PREEMPTING:
        facts.append(Fact(kind="preempted", message=status.message or "it makes room for another"))
    waited = running.since - running.gang.queued_at
    facts.append(
        Fact(kind="admitted", message=f"was admitted to queue {taskset.spec.queue} after {span(max(0.0, waited))}")
    )
    facts += [Fact(kind="placed", message=_spots(taskset, role, spans)) for role, spans in running.placement.items()]
    if not running.leaving:
        queue = snapshot.queues.get(running.gang.queue)
        facts += [Fact(kind="preempt", message=each) for each in threats(running, queue, snapshot, now)]
        if running.deadline is not None:
            facts.append(Fact(kind="end", message=f"ends in {span(max(0.0, running.deadline - now))} at the latest"))
    return facts


def ended(taskset: TaskSet) -> list[Fact]:
    """Return how one ended."""
    status = taskset.status
    message = status.message or (status.reason if status.reason != status.phase.value else "")
    facts = [Fact(kind="state", message=status.phase.value + (f": {message}" if message else ""))]
    for role in status.roles:
        for task in role.exceptional:
            if task.cause and task.cause not in message:
                advice = f"; {task.advice}" if task.advice else ""
                facts.append(Fact(kind="task", message=f"{role.name} {task.index}: {task.cause}{advice}"))
    if status.preemptions:
        facts.append(Fact(kind="preempted", message=f"was preempted {_times(status.preemptions)}"))
    return facts


def threats(running: Running, queue: Queue | None, snapshot: Snapshot, now: float) -> list[str]:
    """Return what could make a running gang go, each a sentence; one that says so where nothing can."""
    gang = running.gang
    if not gang.preemptible:
        found = ["nothing can preempt it: its preemption is not allowed (preemption.allowed)"]
        return found + list(_windows(running, snapshot, now))
    if queue is None:
        return [f"nothing preempts it: there is no queue {gang.queue}"]
    at = evictable_from(running, queue)
    if at == inf:
        return [f"nothing can preempt it: queue {queue.name} allows none (preemption.perDay)"]
    who, windows = list(_claimants(queue, snapshot)), list(_windows(running, snapshot, now))
    if not who and not windows:
        return [f"nothing can preempt it: queue {queue.name} has policy {queue.policy} and takes no part in a cohort"]
    spared = (
        [f"nothing can preempt it for {span(at - now)} more: it is left alone at first"] if at > now and who else []
    )
    after = "then could preempt it" if spared else "could preempt it"
    return [*spared, *(f"{after}: {each}" for each in who), *windows]


def _claimants(queue: Queue, snapshot: Snapshot) -> Iterable[str]:
    policy = POLICIES.get(queue.policy)
    if queue.preemption.within and policy is not None and policy.claim is not None:
        who = _CLAIMS.get(queue.policy, "TaskSets of {queue} that its policy puts before it")
        yield who.format(queue=f"queue {queue.name}")
    if queue.cohort and queue.preemption.reclaim:
        quotas = Quotas(snapshot.queues, snapshot.cohorts, snapshot.usage, {})
        borrows = "uses" if quotas.borrows(queue.name) else "does not now use"
        yield f"queues of cohort {queue.cohort} that take back what they lent; queue {queue.name} {borrows} more than its own"


def _windows(running: Running, snapshot: Snapshot, now: float) -> Iterable[str]:
    """Yield reservations that will need its nodes."""
    nodes = {each.node for spans in running.placement.values() for each in spans}
    gang = running.gang
    for window in snapshot.windows:
        taken = sorted(nodes & window.nodes)
        if not taken or gang.queue in window.queues or gang.owner in window.owners or not window.evict:
            continue
        if window.end is not None and window.end <= now:
            continue
        when = f"in {span(window.start - now)}" if window.start > now else "now"
        yield f"reservation {window.name} takes {', '.join(taken[:NODES_NAMED])} {when}"


def _place(found: WhatIf, queue: str) -> str:
    text = f"place {found.place} in queue {queue}"
    if not found.before:
        return text
    more = found.place - 1 - len(found.before)
    return f"{text}, after {', '.join(found.before)}" + (f" and {more} more" if more > 0 else "")


def _preempted(taskset: TaskSet, now: float) -> list[Fact]:
    status = taskset.status
    if not status.preempted_at or not status.preempted_by:
        return []
    rule = f": {RULES[status.preempted_rule]}" if status.preempted_rule in RULES else ""
    ago = span(max(0.0, now - status.preempted_at[-1]))
    facts = [Fact(kind="preempted", message=f"was preempted {ago} ago for {status.preempted_by}{rule}")]
    kept = (
        f"{span(status.served_seconds)} of its work are kept"
        if status.served_seconds
        else "it starts again from nothing"
    )
    facts.append(Fact(kind="kept", message=f"it keeps its place in the queue; {kept}"))
    return facts


def _spots(taskset: TaskSet, role: str, spans: Sequence[Span]) -> str:
    by_node: dict[str, int] = {}
    for each in spans:
        by_node[each.node] = by_node.get(each.node, 0) + each.count
    named = [f"{node} ({count})" for node, count in list(by_node.items())[:NODES_NAMED]]
    more = len(by_node) - len(named)
    pick = taskset.status.choices.get(role, 0)
    choice = f", in its choice {pick + 1} of device models" if pick else ""
    return f"{role} runs on {', '.join(named)}" + (f" and {more} more nodes" if more else "") + choice


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
