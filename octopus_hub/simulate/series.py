"""Curves of a simulation for pictures: use over time, whose use it is, waits by size class. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from octopus_hub.simulate.outcome import Outcome
from octopus_hub.simulate.report import HOUR, SIZES, wait

BINS = 400
STEPS = 200  # of the distribution of waits


@dataclass(frozen=True, slots=True)
class Series:
    """Curves over equal stretches of time.

    Attributes
    ----------
    start : float
        Seconds since the epoch at the left edge of the first bin.
    hours : float
        Width of a bin.
    used : tuple of float
        Held GPU-time over that of the pool, per bin, 0 to 1.
    clusters : dict of str to tuple of float
        The same by virtual cluster, the largest first.
    waits : dict of str to tuple of float
        Hours of wait by size class, at the quantiles 0, 1/200 ... 1; without classes that have no jobs.
    """

    start: float
    hours: float
    used: tuple[float, ...]
    clusters: dict[str, tuple[float, ...]]
    waits: dict[str, tuple[float, ...]]


def series(outcome: Outcome, bins: int = BINS) -> Series:
    """Return the curves of an outcome."""
    start = min((each.job.submitted for each in outcome.ran), default=0.0)
    end = max((each.ended for each in outcome.ran), default=start)
    width = (end - start) / bins or 1.0
    held: dict[str, list[float]] = {}
    for since, until, cluster, gpus in outcome.held:
        _add(held.setdefault(cluster, [0.0] * bins), (since - start) / width, (until - start) / width, gpus)
    full = float(outcome.gpus or 1)
    clusters = {
        name: tuple(used / full for used in held[name])
        for name in sorted(held, key=lambda name: (-sum(held[name]), name))
    }
    total = tuple(sum(parts) for parts in zip(*clusters.values(), strict=True)) or (0.0,) * bins
    return Series(start, width / HOUR, total, clusters, _waits(outcome))


def _add(into: list[float], since: float, until: float, gpus: int) -> None:
    """Add GPUs to the bins from one place to another, the first and the last in part."""
    first, last = int(since), min(int(until), len(into) - 1)
    if first >= last:
        into[min(first, last)] += gpus * (until - since)
        return
    into[first] += gpus * (first + 1 - since)
    into[last] += gpus * (until - last)
    for at in range(first + 1, last):
        into[at] += gpus


def _waits(outcome: Outcome) -> dict[str, tuple[float, ...]]:
    found = {}
    for name, least, most in SIZES[:4]:
        waits = sorted(wait(each) / HOUR for each in outcome.ran if least <= each.job.gpus <= most)
        if waits:
            found[name] = tuple(waits[(len(waits) - 1) * step // STEPS] for step in range(STEPS + 1))
    return found
