"""Learned run times: first what is most likely to end soon for the devices it takes, by how its kind ran before.

No run time needs to be known: a gang is judged by those that ended, of its kin, its owner and its size, at the age it
has (``core.history``). Large gangs get a head start, since they find room the hardest. Running gangs give way only to
those far ahead of them, looked at once per review, and one that runs for less than ``SOFT_SECONDS`` never to a small
one: most decisions of the moment are not worth a restart.

No starvation: as with ``las``, in the same time.
"""

from __future__ import annotations

from math import log2

from octopus_hub.core.policies.policy import Moment, Policy, Rank, Standing
from octopus_hub.core.policies.service import FIRST, attained, late_start, life_of, patient, place, waits_since
from octopus_hub.core.snapshot import Running, Waiting

WIDTH_POWER = 1.1  # how much a device weighs against a second
LARGE = 8  # devices from which a gang has a head start
HEAD_START = 4.0  # doublings
AHEAD = 4.5  # doublings that a claimant must be ahead of what it evicts
SMALL = 4  # claimants below so many devices spare ...
SOFT_SECONDS = 4 * 3600.0  # ... what has run for less
_STEPS = 16  # per doubling: keys are compared as integers


def key(gang: Waiting, age: float, moment: Moment) -> int:
    """Return the key of a gang that ran for so many seconds in all; the lowest goes first."""
    wide = gang.width
    history = moment.snapshot.history
    rest = history.rest(life_of(gang, age)) if history is not None else age + 600.0
    return round(_STEPS * (log2(max(1.0, rest)) + WIDTH_POWER * log2(wide) - (HEAD_START if wide >= LARGE else 0.0)))


def rank(gang: Waiting, moment: Moment) -> Rank:
    """Return its place among those that wait."""
    return place(key(gang, gang.served, moment) if patient(gang, moment) else FIRST, gang)


def claim(gang: Waiting, moment: Moment) -> int | None:
    """Return the level of a claimant; one that came after the last review claims at the next (None)."""
    if not patient(gang, moment):
        return FIRST
    if waits_since(gang) >= moment.tick:
        return None
    return key(gang, gang.served, moment) + round(_STEPS * AHEAD) - 1


def standing(running: Running, moment: Moment) -> Standing:
    """Return the level of what runs."""
    late = late_start(running, moment)
    return late if late is not None else (key(running.gang, attained(running, moment.tick), moment), moment.tick)


def spares(gang: Waiting, running: Running, moment: Moment) -> bool:
    """Say whether a claimant leaves a running gang alone, whatever their levels: it would lose its work, or is young."""
    if running.gang.resumes and (running.since + SOFT_SECONDS <= moment.tick or gang.width >= SMALL):
        return False
    return patient(gang, moment)


POLICY = Policy(
    rank,
    timed=True,
    claim=claim,
    standing=standing,
    rule="service",
    spares=spares,
    patient=patient,
    packs=4.0,
    reviews=True,
    learns=True,
)
