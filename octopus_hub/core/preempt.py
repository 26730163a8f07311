"""Who makes room for a waiting gang: the cheapest small set of whole gangs, or nobody.

Candidates come in the order in which they should go. First a single one that suffices is looked for, then as many as
needed from the front; whoever turns out not to be needed stays. Nobody is asked to go unless the claimant can start
then, on the places found here. Nothing is changed in the trial. Used by ``schedule`` only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from octopus_hub.core.choices import Placed
from octopus_hub.core.herd import Member
from octopus_hub.core.plan import EvictionRule
from octopus_hub.core.trial import Trial

SINGLES_TRIED = 8


class Candidate(NamedTuple):
    """A running gang that may be asked to go, and under which rule.

    ``still`` says, with others gone already, whether the rule holds (its queue still borrows).
    """

    member: Member
    rule: EvictionRule
    still: Callable[[], bool] | None = None


class Room(NamedTuple):
    """The places of a claimant, once these have gone."""

    placement: Placed
    victims: tuple[Candidate, ...]


class Claim(NamedTuple):
    """A gang that wants others to make room.

    Attributes
    ----------
    short : float
        Devices that it needs, less those that are free: so many must come free at least, whatever their places.
    packs : float
        See ``Policy.packs``.
    place : callable
        Return its place in the trial as it is when called, within its quotas; None if there is none.
    """

    short: float
    packs: float
    place: Callable[[], Placed | None]


def make_room(
    trial: Trial,
    claim: Claim,
    lift_leaving: Callable[[], None],
    candidates: Sequence[Candidate],
    free: Callable[[], float],
) -> Room | None:
    """Return whom to evict for a gang that the room of those that leave anyway is not enough for.

    ``free`` says how many devices of the kinds it asks for are free in the trial as it is then.
    """
    mark = trial.mark()
    try:
        lift_leaving()
        claim = claim._replace(short=claim.short - free())
        few = _fewest(trial, claim, candidates) if claim.packs else _single(trial, claim, candidates)
        return few or _several(trial, claim, candidates)
    finally:
        trial.rollback(mark)


def _single(trial: Trial, claim: Claim, candidates: Sequence[Candidate]) -> Room | None:
    """Try the first few alone that are large enough: one gang that goes is better than several."""
    mark = trial.mark()
    tried = 0
    for candidate in candidates:
        if candidate.member.width < claim.short or not _still(candidate):
            continue
        trial.lift(candidate.member.running)
        placement = claim.place()
        if placement is not None:
            return Room(placement, (candidate,))
        trial.rollback(mark)
        tried += 1
        if tried == SINGLES_TRIED:
            break
    return None


def _fewest(trial: Trial, claim: Claim, candidates: Sequence[Candidate]) -> Room | None:
    """Make up exactly what is short, of the largest candidates that are not too large for it."""
    if claim.short <= 1:
        return None
    mark = trial.mark()
    taken: list[Candidate] = []
    short = claim.short
    most = min(claim.packs, claim.short)
    for candidate in sorted(
        (each for each in candidates if each.member.width <= most), key=lambda each: -each.member.width
    ):
        if candidate.member.width > short or not _still(candidate):
            continue
        trial.lift(candidate.member.running)
        taken.append(candidate)
        short -= candidate.member.width
        if short <= 0:
            placement = claim.place()
            if placement is not None:
                return Room(placement, tuple(taken))
            break
    trial.rollback(mark)
    return None


def _several(trial: Trial, claim: Claim, candidates: Sequence[Candidate]) -> Room | None:
    """Take them from the front until the claimant fits, then let those stay that turn out not to be needed."""
    taken: list[Candidate] = []
    placement = None
    short = claim.short
    for candidate in candidates:
        if not _still(candidate):
            continue
        trial.lift(candidate.member.running)
        taken.append(candidate)
        short -= candidate.member.width
        if short > 0:
            continue
        placement = claim.place()
        if placement is not None:
            break
    if placement is None:
        return None
    for candidate in taken[-2::-1]:  # the last one was needed; the best of the others stay first
        mark = trial.mark()
        trial.put_back(candidate.member.running)
        without = claim.place()
        if without is None:
            trial.rollback(mark)
        else:
            placement = without
            taken.remove(candidate)
    return Room(placement, tuple(taken))


def _still(candidate: Candidate) -> bool:
    return candidate.still is None or candidate.still()
