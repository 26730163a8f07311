"""Counts what a simulation gave: completion times, waits by size, use, fairness. Pure; prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from octopus_hub.simulate.events import Outcome, Started

HOUR = 3600.0
SIZES = (("1", 1, 1), ("2-4", 2, 4), ("8", 5, 8), (">8", 9, 1 << 62))
HEADER = (
    "POLICY",
    "JOBS",
    "AVG JCT H",
    "P50",
    "P90",
    "P99",
    *(f"WAIT {name}" for name, _, _ in SIZES),
    "USED",
    "MAKESPAN H",
    "JAIN",
)


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one policy; times in hours, None where no job tells.

    Attributes
    ----------
    jct_*_hours : float
        Job completion time: end less submission; percentiles by nearest rank.
    wait_hours : dict of str to float
        Mean wait by size class: 1, 2 to 4, up to 8, more GPUs.
    utilisation : float
        GPU-time of jobs over GPU-time of the pool from the first submission to the last end, 0 to 1.
    jain : float
        Jain's index over the virtual clusters' mean slowdowns (JCT over duration, at least 1 second): 1 is even.
    """

    policy: str
    gpus: int
    jobs: int
    refused: int
    cycles: int
    jct_avg_hours: float | None
    jct_p50_hours: float | None
    jct_p90_hours: float | None
    jct_p99_hours: float | None
    wait_hours: dict[str, float | None]
    utilisation: float | None
    makespan_hours: float
    jain: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return asdict(self)


def report(outcome: Outcome) -> Report:
    """Return the figures of an outcome."""
    ran = outcome.ran
    times = sorted(each.ended - each.job.submitted for each in ran)
    span = max(each.ended for each in ran) - min(each.job.submitted for each in ran) if ran else 0.0
    work = sum(each.job.duration * each.job.gpus for each in ran)
    return Report(
        policy=outcome.policy,
        gpus=outcome.gpus,
        jobs=len(ran),
        refused=len(outcome.refused),
        cycles=outcome.cycles,
        jct_avg_hours=_hours(mean(times)),
        jct_p50_hours=_hours(percentile(times, 50)),
        jct_p90_hours=_hours(percentile(times, 90)),
        jct_p99_hours=_hours(percentile(times, 99)),
        wait_hours={name: _hours(mean(_waits(ran, least, most))) for name, least, most in SIZES},
        utilisation=work / (span * outcome.gpus) if span else None,
        makespan_hours=span / HOUR,
        jain=jain(_slowdowns(ran)),
    )


def row(figures: Report) -> tuple[str, ...]:
    """Return the figures as a line of a table under ``HEADER``."""
    used = "" if figures.utilisation is None else f"{figures.utilisation:.1%}"
    return (
        figures.policy,
        str(figures.jobs),
        _text(figures.jct_avg_hours),
        _text(figures.jct_p50_hours),
        _text(figures.jct_p90_hours),
        _text(figures.jct_p99_hours),
        *(_text(figures.wait_hours[name]) for name, _, _ in SIZES),
        used,
        _text(figures.makespan_hours),
        "" if figures.jain is None else f"{figures.jain:.3f}",
    )


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, or None of nothing."""
    return sum(values) / len(values) if values else None


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """Return a percentile of sorted values by nearest rank, or None of nothing."""
    return ordered[max(0, ceil(percent * len(ordered) / 100) - 1)] if ordered else None


def jain(values: Sequence[float]) -> float | None:
    """Return Jain's index (sum squared over n times the sum of squares), or None of nothing or zeros."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else None


def _waits(ran: Sequence[Started], least: int, most: int) -> list[float]:
    return [each.started - each.job.submitted for each in ran if least <= each.job.gpus <= most]


def _slowdowns(ran: Sequence[Started]) -> list[float]:
    found: dict[str, list[float]] = {}
    for each in ran:
        duration = max(1.0, each.job.duration)
        found.setdefault(each.job.cluster, []).append((each.started - each.job.submitted + duration) / duration)
    return [sum(slowdowns) / len(slowdowns) for _, slowdowns in sorted(found.items())]


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / HOUR


def _text(number: float | None) -> str:
    return "" if number is None else f"{number:.2f}"
