"""Fair share between the users of a queue: the owner who has used the least of late goes first.

Use is decayed (half of it is forgotten per week) and what an owner holds now counts as an hour of use ahead, so that
nobody fills the cluster in one go. A user's gangs keep their own order: priority, then first in, first out. An owner
with clearly less use makes gangs of one with more give way: by a level even after the exchange, so that no two evict
each other in turn.
"""

from __future__ import annotations

from math import log2

from octopus_hub.core.policies.policy import Moment, Policy, Rank, Standing
from octopus_hub.core.snapshot import Running, Waiting

HELD_SECONDS = 3600.0  # what is held counts as so much use ahead


def rank(gang: Waiting, moment: Moment) -> Rank:
    """Return its place among its owner's."""
    return (-gang.priority, gang.queued_at, gang.uid)


def claim(gang: Waiting, moment: Moment) -> int:
    """Return the level of its owner's use, once it would run."""
    return _level(moment.uses.get(gang.owner, 0.0) + gang.width * HELD_SECONDS)


def standing(running: Running, moment: Moment) -> Standing:
    """Return the level of its owner's use, once it had left."""
    gang = running.gang
    return _level(moment.uses.get(gang.owner, 0.0) - gang.width * HELD_SECONDS), moment.tick


def _level(use: float) -> int:
    return int(2 * log2(max(1.0, use / HELD_SECONDS)))


POLICY = Policy(rank, timed=False, by_use=True, claim=claim, standing=standing, rule="fairness")
