"""First in, first out: the longest waiting gang first, ties by uid. Never preempts."""

from __future__ import annotations

from octopus_hub.core.policies.policy import Moment, Policy, Rank
from octopus_hub.core.snapshot import Waiting


def rank(gang: Waiting, moment: Moment) -> Rank:
    """Return its place among those that wait."""
    return (gang.queued_at, gang.uid)


POLICY = Policy(rank)
