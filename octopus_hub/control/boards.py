"""Queue boards: place and reason of everything that waits, one object per queue. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from octopus_hub.core.plan import Waits
from octopus_hub.core.reason import Reason
from octopus_hub.model.status import Board, QueuePlace
from octopus_hub.model.taskset import TaskSet


def boards(
    waiting: Iterable[TaskSet],
    waits: Mapping[str, Waits],
    withheld: Mapping[str, Reason],
    queues: Iterable[str],
    now: float,
) -> dict[str, Board]:
    """Return the board of every queue.

    ``waits`` are the scheduler's places; ``withheld`` the reasons of those it never saw (held, or waiting for
    another TaskSet), which stand behind with place 0.
    """
    places: dict[str, list[QueuePlace]] = {name: [] for name in queues}
    for taskset in waiting:
        uid = taskset.metadata.uid
        seen = waits.get(uid)
        reason = seen.reason if seen else withheld.get(uid)
        if reason is None:
            continue
        places.setdefault(taskset.spec.queue, []).append(
            QueuePlace(
                uid=uid,
                place=seen.place if seen else 0,
                code=reason.code,
                message=reason.message,
                need=reason.need,
                free=reason.free,
                where=reason.where,
            )
        )
    return {
        name: Board(queue=name, at=now, places=sorted(rows, key=lambda row: (row.place == 0, row.place, row.uid)))
        for name, rows in places.items()
    }
