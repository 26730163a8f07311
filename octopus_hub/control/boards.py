"""Queue boards: place and reason of everything that waits, one object per queue. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from octopus_hub.core.forecast import Estimate
from octopus_hub.core.plan import Fault, Waits
from octopus_hub.core.reason import Reason
from octopus_hub.model.status import Board, Condition, QueuePlace
from octopus_hub.model.taskset import TaskSet

POLICY_FAULT = "PolicyFault"


def boards(
    waiting: Iterable[TaskSet],
    waits: Mapping[str, Waits],
    withheld: Mapping[str, Reason],
    queues: Iterable[str],
    now: float,
    told: Mapping[str, list[Condition]] | None = None,
    starts: Mapping[str, Estimate] | None = None,
) -> dict[str, Board]:
    """Return the board of every queue.

    ``waits`` are the scheduler's places; ``withheld`` the reasons of those it never saw (held, or waiting for
    another TaskSet), which stand behind with place 0; ``told`` are the conditions of queues; ``starts``
    say when those near the front of their queues start.
    """
    places: dict[str, list[QueuePlace]] = {name: [] for name in queues}
    for taskset in waiting:
        uid = taskset.metadata.uid
        seen = waits.get(uid)
        reason = seen.reason if seen else withheld.get(uid)
        if reason is None:
            continue
        estimate = (starts or {}).get(uid, _NONE) if seen else _NONE
        places.setdefault(taskset.spec.queue, []).append(
            QueuePlace(
                uid=uid,
                place=seen.place if seen else 0,
                code=reason.code,
                message=reason.message,
                need=reason.need,
                free=reason.free,
                where=reason.where,
                estimate_seconds=_rounded(estimate.middle),
                earliest_seconds=_rounded(estimate.earliest),
                latest_seconds=_rounded(estimate.latest),
                basis=estimate.basis,
            )
        )
    return {
        name: Board(
            queue=name,
            at=now,
            places=sorted(rows, key=lambda row: (row.place == 0, row.place, row.uid)),
            conditions=(told or {}).get(name, []),
        )
        for name, rows in places.items()
    }


_NONE = Estimate(None, None, "")


def _rounded(seconds: float | None) -> float | None:
    """Return two digits: more would be no better, and the board would change with every look."""
    return None if seconds is None else float(f"{seconds:.2g}")


def conditions(faults: Iterable[Fault], known: Mapping[str, Board], now: float) -> dict[str, list[Condition]]:
    """Return the conditions of queues whose policy fails; one that lasts keeps the time at which it began."""
    found: dict[str, list[Condition]] = {}
    for fault in faults:
        message = f"policy {fault.policy} fails, the order of before is kept: {fault.message}"
        before = known[fault.queue].conditions if fault.queue in known else []
        since = [each.at for each in before if each.type == POLICY_FAULT and each.message == message]
        condition = Condition(
            type=POLICY_FAULT, status=True, reason=fault.policy, message=message, at=since[0] if since else now
        )
        found[fault.queue] = [condition]
    return found
