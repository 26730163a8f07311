"""Priority classes: higher values first, equal ones first in, first out. Strict: low priority may wait for ever.

Higher priority makes lower priority give way.
"""

from __future__ import annotations

from math import inf

from octopus_hub.core.policies.policy import Moment, Policy, Rank, Standing
from octopus_hub.core.snapshot import Running, Waiting


def rank(gang: Waiting, moment: Moment) -> Rank:
    """Return its place among those that wait."""
    return (-gang.priority, gang.queued_at, gang.uid)


def claim(gang: Waiting, moment: Moment) -> int:
    """Return the level of a claimant."""
    return -gang.priority


def standing(running: Running, moment: Moment) -> Standing:
    """Return the level of what runs."""
    return -running.gang.priority, inf


POLICY = Policy(rank, claim=claim, standing=standing, rule="priority")
