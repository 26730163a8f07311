"""The plainest scheduler that preempts, to see what control makes of its Plans: strict priority, everything movable.

Not the product's: that one has rules about whom it may hit. It keeps their promises: only whole gangs leave, only if
the claimant then starts, and what was freed for a claimant goes to nobody else while it waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from octopus_hub.core.placement import find
from octopus_hub.core.plan import Admission, Eviction, Plan, Waits
from octopus_hub.core.reason import Reason
from octopus_hub.core.snapshot import Running, Snapshot, Waiting
from octopus_hub.core.trial import Trial


def strict(snapshot: Snapshot, waiting: Sequence[Waiting], now: float, memo: Any = None) -> Plan:
    """Return a Plan: highest priority first; what does not fit evicts lower ones and blocks all behind it."""
    trial = Trial(snapshot)
    admissions: list[Admission] = []
    evictions: list[Eviction] = []
    waits: dict[str, Waits] = {}
    order = sorted(waiting, key=lambda gang: (-gang.priority, gang.queued_at, gang.uid))
    while order:
        placement = find(trial, order[0])
        if placement is None:
            break
        trial.add(order[0], placement)
        admissions.append(Admission(uid=order.pop(0).uid, placement=placement))
    if order:
        evictions = [
            Eviction(uid=each.gang.uid, by=order[0].uid, rule="priority") for each in _lower(snapshot, order[0])
        ]
    for place, gang in enumerate(order):
        waits[gang.uid] = Waits(place + 1, Reason(code="NoFit", message="no room"))
    return Plan(admissions=tuple(admissions), evictions=tuple(evictions), waits=waits)


def _lower(snapshot: Snapshot, claimant: Waiting) -> list[Running]:
    """The lowest, youngest gangs without which the claimant fits; those that leave already come free by themselves."""
    trial = Trial(snapshot)
    for each in snapshot.running.values():
        if each.leaving:
            trial.remove(each.gang, each.placement)
    victims: list[Running] = []
    for each in sorted(snapshot.running.values(), key=lambda each: (each.gang.priority, -each.since)):
        if find(trial, claimant) is not None:
            return victims
        if not each.leaving and each.gang.preemptible and each.gang.priority < claimant.priority:
            trial.remove(each.gang, each.placement)
            victims.append(each)
    return victims if find(trial, claimant) is not None else []
