"""Shortest expected rest first: run times estimated from the history of the owner and the command.

A gang's expected rest is its estimate less what it has had; one that outlives its estimate is expected to need as much
again. Without an estimate it stands where its attained service puts it (``las``), which is the best guess of a heavy
tail. Rests are compared in device-seconds and in levels that double, so that errors of a factor don't cause evictions.

No starvation: as with ``las``, in the same time.
"""

from __future__ import annotations

from octopus_hub.core.policies.policy import Moment, Policy, Rank, Standing
from octopus_hub.core.policies.service import FIRST, attained, late_start, level_of, loses_work, patient, place
from octopus_hub.core.snapshot import Running, Waiting


def expected_rest(gang: Waiting, had: float) -> float:
    """Return the seconds that a gang which ran for ``had`` seconds is expected to go on."""
    if gang.estimate is None:
        return had
    return gang.estimate - had if had < gang.estimate else had


def rank(gang: Waiting, moment: Moment) -> Rank:
    """Return its place among those that wait."""
    return place(claim(gang, moment), gang)


def claim(gang: Waiting, moment: Moment) -> int:
    """Return the level of a claimant."""
    if not patient(gang, moment):
        return FIRST
    return level_of(expected_rest(gang, gang.served) * gang.width)


def standing(running: Running, moment: Moment) -> Standing:
    """Return the level of what runs."""
    level = level_of(expected_rest(running.gang, attained(running, moment.tick)) * running.gang.width)
    return late_start(running, moment) or (level, moment.tick)


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
