"""The plainest scheduler that resizes, to see what control makes of its Plans: in order of submission, nobody evicted.

Not the product's. A gang starts with all that fits while nobody else waits, gives up what is beyond its minimum for the
first that waits, and grows when nobody does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from octopus_hub.core import elastic
from octopus_hub.core.placement import find
from octopus_hub.core.plan import Admission, Plan, Resize, Waits
from octopus_hub.core.reason import Reason
from octopus_hub.core.snapshot import Snapshot, Waiting
from octopus_hub.core.trial import Trial


def resizing(snapshot: Snapshot, waiting: Sequence[Waiting], now: float, memo: Any = None) -> Plan:
    """Return a Plan."""
    trial = Trial(snapshot)
    admissions: list[Admission] = []
    resizes: list[Resize] = []
    order = sorted(waiting, key=lambda gang: (gang.queued_at, gang.uid))
    while order:
        placement = find(trial, order[0])
        if placement is None:
            break
        gang = order.pop(0)
        if not order:
            placement = elastic.start_size(trial, gang, placement, _unbounded)
        trial.add(gang, placement)
        admissions.append(Admission(uid=gang.uid, placement=placement))
    if order and not any(each.claimed_by == order[0].uid for each in snapshot.running.values()):
        resizes = _shrink(trial, order[0], now)
    elif not order:
        resizes = elastic.wishes(snapshot, now) + elastic.grow(trial, now, _unbounded)
    waits = {gang.uid: Waits(at + 1, Reason(code="NoFit", message="no room")) for at, gang in enumerate(order)}
    wake_at = now + 5.0 if order else elastic.review_at(snapshot, now)
    return Plan(admissions=tuple(admissions), resizes=tuple(resizes), waits=waits, wake_at=wake_at)


def _shrink(trial: Trial, claimant: Waiting, now: float) -> list[Resize]:
    for _, victim in sorted(trial.snapshot.running.items()):
        found = elastic.shrink(trial, victim, claimant, lambda trial: find(trial, claimant) is not None, now)
        if found is not None:
            return [found]
    return []


def _unbounded(gang: Waiting, total: Mapping[str, int]) -> bool:
    return True
