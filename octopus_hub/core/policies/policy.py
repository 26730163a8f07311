"""What a queue policy is: a rank for those that wait, and (if it preempts) a level for claimants and for what runs.

A rank orders a queue's waiting gangs, the lowest first; it is looked at again at every review tick only, so orders are
kept between cycles. A claimant makes those give way whose standing is strictly above its claim: levels are integers,
so that small differences never move a running gang.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from octopus_hub.core.plan import EvictionRule
from octopus_hub.core.snapshot import Running, Snapshot, Waiting
from octopus_hub.model.queue import Queue

REVIEW_PART = 0.05
Standing = tuple[int, float]
Rank = tuple[Any, ...]  # comparable with those of the same queue; uid last, so that the order is total


@dataclass(frozen=True, slots=True)
class Moment:
    """What a policy may look at beside the gang.

    Attributes
    ----------
    tick : float
        The last review time of the queue, at most ``Queue.preemption.review_seconds`` ago.
    uses : dict of str to float
        Of each owner in the queue: decayed use in device-seconds, and an hour of all that the owner holds now.
    """

    queue: Queue
    tick: float
    snapshot: Snapshot
    uses: dict[str, float]

    @property
    def claims_until(self) -> float:
        """Until when policies that claim at reviews may, after this one."""
        return self.tick + REVIEW_PART * self.queue.preemption.review_seconds


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy by its functions.

    Attributes
    ----------
    rank : callable
        Order among the waiting gangs of an owner (of the queue, where ``by_use`` is false).
    timed : bool
        Ranks change with time or with use: they are taken anew at each tick.
    by_use : bool
        The owner with the least use goes first; the rank orders that owner's own gangs.
    claim, standing : callable, optional
        A waiting gang evicts a running one if its claim is below the other's standing. None: it never evicts. A
        claim is None if it can't be made yet, though others of the same shape may; a standing comes with the time until which it stays the same, as far as the gang is concerned.
    patient : callable, optional
        Says whether a gang that finds no room can go on without nodes kept for it, where backfill takes any.
    spares : callable, optional
        Says whether a claimant leaves a running gang alone, whatever their levels.
    packs : float
        Gangs of up to so many devices are chosen as victims by size, so that few go; 0: always in their order.
    reviews : bool
        Its claims are made at review times only, within ``REVIEW_PART`` of the period; else whenever something changes.
    learns : bool
        Looks at ``Snapshot.history``.
    """

    rank: Callable[[Waiting, Moment], Rank]
    timed: bool = False
    by_use: bool = False
    claim: Callable[[Waiting, Moment], int | None] | None = None
    standing: Callable[[Running, Moment], Standing] | None = None
    rule: EvictionRule = "priority"
    patient: Callable[[Waiting, Moment], bool] | None = None
    spares: Callable[[Waiting, Running, Moment], bool] | None = None
    packs: float = 0.0
    reviews: bool = False
    learns: bool = False
