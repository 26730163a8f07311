"""The what-if of ``POST /plan``: one scheduling cycle on a snapshot with a candidate at the end. Changes nothing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import msgspec

from octopus_hub.control.cache import Cache
from octopus_hub.core.lifecycle import after_reason
from octopus_hub.core.reason import Reason
from octopus_hub.core.schedule import explain, schedule
from octopus_hub.core.snapshot import Waiting
from octopus_hub.model.answers import PlanAnswer
from octopus_hub.model.status import Phase, QueuePlace
from octopus_hub.model.taskset import TaskSet
from octopus_hub.service.submit import Submission
from octopus_hub.service.views import redacted

CANDIDATE = "candidate"


async def what_if(cache: Cache, submission: Submission, taskset: TaskSet) -> PlanAnswer:
    """Say whether a prepared TaskSet fits at all, and whether it would run now behind everything that waits."""
    now = time.time()
    snapshot = cache.snapshot()
    candidate = replace(submission.waiting(taskset), uid=CANDIDATE, queued_at=now)
    never = explain(snapshot, candidate)
    if never is not None:
        return PlanAnswer(fits_empty=False, runs_now=False, reason=_words(never, taskset))
    queued = [submission.waiting(each) for each in cache.tasksets.values() if _queues(cache, each)]
    waiting: list[Waiting] = [*queued, candidate]
    plan = await asyncio.to_thread(schedule, snapshot, waiting, now)  # values only, so a thread may have them
    for admission in plan.admissions:
        if admission.uid == CANDIDATE:
            placement = {role: list(spans) for role, spans in admission.placement.items()}
            return PlanAnswer(fits_empty=True, runs_now=True, placement=placement)
    return PlanAnswer(fits_empty=True, runs_now=False, reason=_words(plan.waits[CANDIDATE].reason, taskset))


def _queues(cache: Cache, taskset: TaskSet) -> bool:
    """Say whether it is among those that the scheduler chooses from."""
    meta = taskset.metadata
    if taskset.status.phase is not Phase.QUEUED or taskset.spec.hold:
        return False
    if meta.stop_requested_at or meta.deletion_requested_at:
        return False
    if not taskset.spec.after:
        return True
    others: dict[str, Phase | None] = {}
    for after in taskset.spec.after:
        uid = cache.by_key.get((meta.namespace, after.name))
        others[after.name] = cache.tasksets[uid].status.phase if uid else None
    return after_reason(taskset, others) is None


def _words(reason: Reason, taskset: TaskSet) -> dict[str, object]:
    place = QueuePlace(uid=CANDIDATE, place=0, code=reason.code, message=reason.message, where=reason.where)
    clean = redacted(place, taskset.metadata.namespace)
    told: dict[str, object] = msgspec.to_builtins(
        msgspec.structs.replace(reason, message=clean.message, where=clean.where)
    )
    return told
