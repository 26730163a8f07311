"""What a gang has had so far, and the levels that policies put it into."""

from __future__ import annotations

from math import frexp, inf

from octopus_hub.core.history import Life
from octopus_hub.core.policies.policy import Moment, Rank, Standing
from octopus_hub.core.snapshot import Running, Waiting

FIRST_LEVEL_SECONDS = 1800.0  # device-seconds that level 0 ends at
LEVELS = 12
FIRST = -(1 << 30)  # the level of who has waited for too long: before everybody


def attained(running: Running, now: float) -> float:
    """Return the seconds that a gang has run in all attempts."""
    return running.gang.served + max(0.0, now - running.since)


def life_of(gang: Waiting, age: float) -> Life:
    """Return a gang at an age as the history of run times counts it."""
    return Life(gang.owner, gang.width, gang.kin, age)


def waits_since(gang: Waiting) -> float:
    """Return since when a gang waits: since it was queued, or preempted last."""
    return max(gang.queued_at, gang.preempted_at[-1]) if gang.preempted_at else gang.queued_at


def patient(gang: Waiting, moment: Moment) -> bool:
    """Say whether a gang has not waited for longer than its queue's patience yet."""
    return moment.tick - waits_since(gang) < moment.queue.preemption.patience_seconds


def late_start(running: Running, moment: Moment) -> Standing | None:
    """Return the standing of one that had waited for too long when it started: for a review it gives way to nobody.

    Else those that it came before would take its place back at once.
    """
    rules = moment.queue.preemption
    until = running.since + rules.review_seconds
    if moment.tick > until or running.since - waits_since(running.gang) < rules.patience_seconds:
        return None
    return FIRST, until


def place(level: int, gang: Waiting) -> Rank:
    """Return the rank of a gang at its level: the longest waiting first, of those of too long since they wait."""
    return (level, waits_since(gang) if level == FIRST else gang.queued_at, gang.uid)


def level_of(service: float) -> int:
    """Return the level of so much service: 0 below ``FIRST_LEVEL_SECONDS``, one more at each doubling."""
    if service < FIRST_LEVEL_SECONDS:
        return 0
    return min(LEVELS - 1, frexp(service / FIRST_LEVEL_SECONDS)[1])


def upper_bound(level: int) -> float:
    """Return the service at which a level ends; the last one never does."""
    return FIRST_LEVEL_SECONDS * 2.0**level if level < LEVELS - 1 else inf


def loses_work(gang: Waiting, running: Running, moment: Moment) -> bool:
    """Say whether a running gang would start again from nothing: those are left alone by who is patient."""
    return not running.gang.resumes and patient(gang, moment)
