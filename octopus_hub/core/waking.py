"""When the scheduler has to look again though nothing happens. Part of a cycle."""

from __future__ import annotations

from collections.abc import Iterator, Set

from octopus_hub.core import calendar
from octopus_hub.core.budget import changes_at, seen_at
from octopus_hub.core.line import Line
from octopus_hub.core.memo import Memo
from octopus_hub.core.reason import CPU, MEMORY
from octopus_hub.model.parts import worth


def reviews(memo: Memo, served: Set[str]) -> Iterator[float]:
    """Yield when a later review could help somebody who waits, and when the calendar changes."""
    snapshot = memo.snapshot
    for name, line in memo.lines.items():
        queue = line.queue
        if queue is None or queue.paused or not memo.claims_with_time(line):
            continue
        herd = memo.herds.get(name)
        others = bool(queue.cohort or snapshot.spent) and len(memo.running) > 0
        if (others or (herd is not None and herd.members)) and not _all_served(line, served):
            yield memo.moment(queue).tick + queue.preemption.review_seconds
    if snapshot.windows:
        change = calendar.wake(snapshot.windows, memo.now, snapshot.running.values())
        if change is not None:
            yield change
    yield from _budgets(memo)


def _budgets(memo: Memo) -> Iterator[float]:
    """Yield when queues will have used up their budgets, if they go on as now, or get new ones."""
    snapshot = memo.snapshot
    for name, spent in snapshot.spent.items():
        queue = snapshot.queues.get(name)
        used = memo.quotas.used(name)
        devices = sum(
            worth(kind, count) for kind, count in used.items() if kind not in (CPU, MEMORY) and ":" not in kind
        )
        change = changes_at(queue, spent, devices, snapshot.attained_at) if queue is not None else None
        if change is not None and seen_at(change) > memo.now:
            yield seen_at(change)


def _all_served(line: Line, served: Set[str]) -> bool:
    return len(line) <= len(served) and all(entry.gang.uid in served for entry in line.gangs())
