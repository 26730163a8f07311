"""What ``POST /plan`` and ``.../why`` answer: ``core.explain`` asked about a snapshot, aside of the event loop.

Changes nothing. Names of other tenants are left out unless an administrator asks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from octopus_hub.control.cache import Cache
from octopus_hub.core import explain, why
from octopus_hub.core.explain import Choices, WhatIf
from octopus_hub.core.lifecycle import after_reason
from octopus_hub.core.snapshot import Waiting
from octopus_hub.model.answers import MakesRoom, OtherShape, PlanAnswer, StartEstimate, WhyAnswer
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import TaskSet
from octopus_hub.service.identity import Identity
from octopus_hub.service.submit import Submission
from octopus_hub.service.views import without_others

CANDIDATE = "candidate"
SEARCH_SECONDS = 3.0  # for estimates and smaller shapes; what is found until then is told
_SAID_BY_ITSELF = ("state", "tried", "task", "placed")  # facts of the TaskSet alone, whose words stay as they are


async def what_if(cache: Cache, submission: Submission, taskset: TaskSet, who: Identity) -> dict[str, Any]:
    """Say whether a prepared TaskSet fits at all, whether it would run now behind everything that waits, and when."""
    now = time.time()
    candidate = replace(submission.waiting(taskset), uid=CANDIDATE, queued_at=now)
    found = await _ask(cache, submission, taskset, candidate, who, now)
    answer = PlanAnswer(
        fits_empty=found.outcome != "never",
        runs_now=found.outcome == "starts",
        placement={role: list(spans) for role, spans in found.placement.items()} or None,
        facts=why.told(found, taskset.spec.queue),
        **_numbers(found),
    )
    return _for(who, taskset, answer)


async def why_so(cache: Cache, submission: Submission, taskset: TaskSet, who: Identity) -> dict[str, Any]:
    """Say why a TaskSet waits, runs where it does, or ended as it did."""
    now = time.time()
    numbers: dict[str, Any] = {}
    running = cache.running(taskset.metadata.uid)
    if taskset.status.phase.waiting:
        withheld = _withheld(cache, taskset)
        found = None
        if withheld is None:
            found = await _ask(cache, submission, taskset, submission.waiting(taskset), who, now)
            numbers = _numbers(found)
        facts = why.waiting(taskset, now, found, withheld or "")
    elif running is not None:
        facts = why.holding(taskset, running, cache.snapshot(), now)
    else:
        facts = why.ended(taskset)
    meta = taskset.metadata
    phase = taskset.status.phase.value
    answer = WhyAnswer(name=meta.name, namespace=meta.namespace, phase=phase, facts=facts, **numbers)
    return _for(who, taskset, answer)


async def _ask(
    cache: Cache, submission: Submission, taskset: TaskSet, candidate: Waiting, who: Identity, now: float
) -> WhatIf:
    snapshot = cache.snapshot()
    waiting = [submission.waiting(each) for each in cache.tasksets.values() if _withheld(cache, each) is None]
    choices = Choices(roles=_shrinkable(taskset), queues=_queues(cache, who))

    def asked() -> WhatIf:  # values only, so a thread may have them
        return explain.plan(snapshot, waiting, candidate, now, choices=choices, stop=_after(SEARCH_SECONDS))

    return await asyncio.to_thread(asked)


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _withheld(cache: Cache, taskset: TaskSet) -> str | None:
    """Return why a TaskSet is not among those that the scheduler chooses from; None if it is."""
    meta = taskset.metadata
    if taskset.spec.hold:
        return f"it is held; octopus release {meta.name} lets it queue"
    if taskset.status.phase is not Phase.QUEUED or meta.stop_requested_at or meta.deletion_requested_at:
        return "it does not queue"
    if not taskset.spec.after:
        return None
    others: dict[str, Phase | None] = {}
    for after in taskset.spec.after:
        uid = cache.by_key.get((meta.namespace, after.name))
        others[after.name] = cache.tasksets[uid].status.phase if uid else None
    reason = after_reason(taskset, others)
    return None if reason is None else reason.message


def _shrinkable(taskset: TaskSet) -> tuple[str, ...]:
    """Return the roles that may have fewer tasks: those that do the work, not those that serve it."""
    descriptors = taskset.resolved.descriptors if taskset.resolved is not None else None
    framework = descriptors.framework if descriptors is not None else None
    serving = framework.service_roles if framework is not None else []
    return tuple(role.name for role in taskset.spec.roles if role.name not in serving and role.count > 1)


def _queues(cache: Cache, who: Identity) -> tuple[str, ...]:
    """Return the queues that somebody may use."""
    return tuple(
        name
        for name, queue in sorted(cache.queues.items())
        if who.admin
        or not (queue.allowed_users or queue.allowed_groups)
        or who.user in queue.allowed_users
        or who.groups & set(queue.allowed_groups)
    )


def _numbers(found: WhatIf) -> dict[str, Any]:
    estimate = found.estimate
    return {
        "outcome": found.outcome,
        "reason": None if found.reason is None else msgspec.to_builtins(found.reason),
        "place": found.place,
        "before": list(found.before),
        "makes_room": [MakesRoom(taskset=each.name, rule=each.rule) for each in found.makes_room],
        "estimate": None
        if estimate is None
        else StartEstimate(earliest_seconds=estimate.earliest, latest_seconds=estimate.latest, basis=estimate.basis),
        "smaller": [
            OtherShape(
                kind=each.kind, message=each.message, role=each.role, tasks=each.tasks, sku=each.sku, queue=each.queue
            )
            for each in found.smaller
        ],
        "unblock": list(found.unblock),
    }


def _for(who: Identity, taskset: TaskSet, answer: PlanAnswer | WhyAnswer) -> dict[str, Any]:
    """Return the wire form as somebody may read it."""
    plain: dict[str, Any] = msgspec.to_builtins(answer)
    if who.admin:
        return plain
    own = {key: plain.pop(key) for key in ("placement", "facts") if key in plain}
    told: dict[str, Any] = without_others(plain, taskset.metadata.namespace)
    facts = own.pop("facts", [])
    clean = [
        fact if fact["kind"] in _SAID_BY_ITSELF else without_others(fact, taskset.metadata.namespace) for fact in facts
    ]
    return told | own | ({"facts": clean} if clean else {})
