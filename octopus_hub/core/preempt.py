"""Who makes room for a waiting gang: the cheapest small set of whole gangs, or nobody.

Candidates come in the order in which they should go. First a single one that suffices is looked for, then as many as
needed from the front; whoever turns out not to be needed stays. Nobody is asked to go unless the claimant can start
then, on the places found here. Nothing is changed in the trial. Used by ``schedule`` only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from octopus_hub.core.herd import Candidate
from octopus_hub.core.placement import find
from octopus_hub.core.snapshot import Running, Trial, Waiting
from octopus_hub.model.status import Span

SINGLES_TRIED = 8
Admissible = Callable[[], bool]  # the quotas let the claimant in, as the trial is now


class Room(NamedTuple):
    """The places of a claimant, once these have gone."""

    placement: dict[str, tuple[Span, ...]]
    victims: tuple[Candidate, ...]


def make_room(
    trial: Trial,
    gang: Waiting,
    excluded: frozenset[int],
    leaving: Sequence[Running],
    candidates: Sequence[Candidate],
    admissible: Admissible,
) -> Room | None:
    """Return whom to evict for ``gang``; with no victims if those that leave anyway make enough room."""
    mark = trial.mark()
    try:
        for running in leaving:
            lift(trial, running)
        placement = _fitting(trial, gang, excluded, admissible)
        if placement is not None:
            return Room(placement, ())
        single = _single(trial, gang, excluded, candidates, admissible)
        return single or _several(trial, gang, excluded, candidates, admissible)
    finally:
        trial.rollback(mark)


def lift(trial: Trial, running: Running) -> None:
    """Take a running gang off its nodes and quotas."""
    trial.remove(running.gang, running.placement)


def _fitting(
    trial: Trial, gang: Waiting, excluded: frozenset[int], admissible: Admissible
) -> dict[str, tuple[Span, ...]] | None:
    return find(trial, gang, excluded) if admissible() else None


def _single(
    trial: Trial, gang: Waiting, excluded: frozenset[int], candidates: Sequence[Candidate], admissible: Admissible
) -> Room | None:
    """Try the first few alone: one gang that goes is better than several."""
    mark = trial.mark()
    for candidate in candidates[:SINGLES_TRIED]:
        lift(trial, candidate.running)
        placement = _fitting(trial, gang, excluded, admissible)
        if placement is not None:
            return Room(placement, (candidate,))
        trial.rollback(mark)
    return None


def _several(
    trial: Trial, gang: Waiting, excluded: frozenset[int], candidates: Sequence[Candidate], admissible: Admissible
) -> Room | None:
    taken: list[Candidate] = []
    placement = None
    for candidate in candidates:
        lift(trial, candidate.running)
        taken.append(candidate)
        placement = _fitting(trial, gang, excluded, admissible)
        if placement is not None:
            break
    if placement is None:
        return None
    for candidate in list(reversed(taken))[1:]:  # the last one was needed; the best of the others stay first
        mark = trial.mark()
        trial.add(candidate.running.gang, candidate.running.placement)
        without = _fitting(trial, gang, excluded, admissible)
        if without is None:
            trial.rollback(mark)
        else:
            placement = without
            taken.remove(candidate)
    return Room(placement, tuple(taken))
