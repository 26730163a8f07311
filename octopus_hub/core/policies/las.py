"""Least attained service: who has had the least device time goes first; run times need not be known.

Service is the device-seconds that a gang has had in all its attempts, in levels that double (2D-LAS with discretised
queues: Gu et al., "Tiresias", NSDI'19). New gangs start at level 0; within a level the longest waiting goes first. A
gang makes those give way that have had more, by at least a level; those that would lose their work are spared.

No starvation: who has waited for the queue's patience goes first, has nodes kept for it, and may make anybody give way.
It starts within patience + review + the longer of minimum runtime + review (of what is preemptible) and maximum runtime
(of what is not), + notice; where others have waited even longer, once more of the last three for each of them, with the
review in place of a shorter minimum runtime: for so long those are left alone.
"""

from __future__ import annotations

from octopus_hub.core.policies.policy import Moment, Policy, Rank, Standing
from octopus_hub.core.policies.service import (
    FIRST,
    attained,
    late_start,
    level_of,
    loses_work,
    patient,
    place,
    upper_bound,
)
from octopus_hub.core.snapshot import Running, Waiting


def rank(gang: Waiting, moment: Moment) -> Rank:
    """Return its place among those that wait."""
    return place(claim(gang, moment), gang)


def claim(gang: Waiting, moment: Moment) -> int:
    """Return the level of a claimant."""
    if not patient(gang, moment):
        return FIRST
    return level_of(gang.served * gang.width)


def standing(running: Running, moment: Moment) -> Standing:
    """Return the level of what runs."""
    late = late_start(running, moment)
    if late is not None:
        return late
    wide = running.gang.width
    level = level_of(attained(running, moment.tick) * wide)
    return level, running.since - running.gang.served + upper_bound(level) / wide - 1.0  # rather early than late


POLICY = Policy(
    rank,
    timed=True,
    claim=claim,
    standing=standing,
    rule="service",
    spares=loses_work,
    patient=patient,
    reviews=True,
)
