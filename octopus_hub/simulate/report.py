"""Counts what a simulation gave: completion times, waits by size, use, preemptions, fairness. Pure; prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil, exp
from typing import Any

from octopus_hub.simulate.foresight import Quality, quality
from octopus_hub.simulate.outcome import Finished, Outcome

HOUR = 3600.0
SIZES = (("1", 1, 1), ("2-4", 2, 4), ("8", 5, 8), (">8", 9, 1 << 62), ("8+", 8, 1 << 62))
HEADER = (
    "POLICY",
    "GPUS",
    "JOBS",
    "AVG JCT H",
    "P50",
    "P90",
    "P99",
    *(f"WAIT {name}" for name, _, _ in SIZES),
    "USED",
    "FRAG",
    "PREEMPTED",
    "RESTARTS GPU-H",
    "SHARE",
    "LOST WORK GPU-H",
    "JAIN VC",
    "JAIN USERS",
    "CYCLES",
    "SCHEDULE S",
)

ESTIMATES_HEADER = ("ESTIMATES", "INSIDE", "WITH RANGE", "MEDIAN ERROR H", "MEDIAN WAIT H")


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one run; times in hours, None where no job tells.

    Attributes
    ----------
    jct_*_hours : float
        Job completion time: end less submission; percentiles by nearest rank.
    wait_hours : dict of str to float
        Mean wait (completion time less duration) by size class: 1, 2 to 4, 5 to 8, more GPUs, and all from 8.
    utilisation : float
        GPU-time of jobs over GPU-time of the pool from the first submission to the last end, 0 to 1.
    fragmentation : float
        While something waits: share of the free GPUs that are on partly used nodes, so that no task that needs a
        whole node can use them.
    stranded : float
        The same GPU-time over that of the pool from the first submission to the last end.
    notice_gpu_hours, restart_gpu_hours : float
        GPU-hours that preempted jobs held without getting on: in their notice, and to get to where they were.
    overhead_share : float
        Both over all GPU-time that was held.
    lost_work_gpu_hours : float
        GPU-hours done again by jobs that write no checkpoints.
    estimates : Quality, optional
        How good start estimates were, where some were asked for.
    jain_clusters, jain_users : float
        Jain's index over mean slowdowns (JCT over duration, at least 1 second): 1 is even.
    estimated : int
        Jobs whose run time was estimated when they were submitted, from the history of their owner and command.
    estimate_factor : float
        By which factor the median estimate was wrong, either way.
    """

    policy: str
    gpus: int
    jobs: int
    refused: int
    stuck: int
    jct_avg_hours: float | None
    jct_p50_hours: float | None
    jct_p90_hours: float | None
    jct_p99_hours: float | None
    wait_hours: dict[str, float | None]
    utilisation: float | None
    fragmentation: float | None
    stranded: float | None
    makespan_hours: float
    preemptions: int
    most_preemptions: int
    resizes: int
    notice_gpu_hours: float
    restart_gpu_hours: float
    overhead_share: float | None
    lost_work_gpu_hours: float
    jain_clusters: float | None
    jain_users: float | None
    estimated: int
    estimate_factor: float | None
    cycles: int
    schedule_seconds: float
    estimates: Quality | None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return asdict(self)


def report(outcome: Outcome) -> Report:
    """Return the figures of an outcome."""
    ran = outcome.ran
    times = sorted(each.ended - each.job.submitted for each in ran)
    span = max(each.ended for each in ran) - min(each.job.submitted for each in ran) if ran else 0.0
    held = sum((until - since) * gpus for since, until, _, gpus in outcome.held)
    notice = sum(each.notice_gpu_seconds for each in ran) / HOUR
    restart = sum(each.restart_gpu_seconds for each in ran) / HOUR
    work = sum(each.job.duration * each.job.gpus for each in ran)
    pool = span * outcome.gpus
    errors = sorted(outcome.estimate_errors)
    return Report(
        policy=outcome.setup.policy,
        gpus=outcome.gpus,
        jobs=len(ran),
        refused=len(outcome.refused),
        stuck=len(outcome.stuck),
        jct_avg_hours=_hours(mean(times)),
        jct_p50_hours=_hours(percentile(times, 50)),
        jct_p90_hours=_hours(percentile(times, 90)),
        jct_p99_hours=_hours(percentile(times, 99)),
        wait_hours={name: _hours(mean(_waits(ran, least, most))) for name, least, most in SIZES},
        utilisation=work / pool if pool else None,
        fragmentation=outcome.broken_gpu_seconds / outcome.idle_gpu_seconds if outcome.idle_gpu_seconds else None,
        stranded=outcome.broken_gpu_seconds / pool if pool else None,
        makespan_hours=span / HOUR,
        preemptions=sum(each.preemptions for each in ran),
        most_preemptions=max((each.preemptions for each in ran), default=0),
        resizes=sum(each.resizes for each in ran),
        notice_gpu_hours=notice,
        restart_gpu_hours=restart,
        overhead_share=(notice + restart) * HOUR / held if held else None,
        lost_work_gpu_hours=sum(each.lost_gpu_seconds for each in ran) / HOUR,
        jain_clusters=jain(_slowdowns(ran, lambda each: each.job.cluster)),
        jain_users=jain(_slowdowns(ran, lambda each: each.job.owner)),
        estimated=len(errors),
        estimate_factor=exp(errors[len(errors) // 2]) if errors else None,
        cycles=outcome.cycles,
        schedule_seconds=outcome.schedule_seconds,
        estimates=quality(outcome.foreseen, {each.job.uid: each.started for each in ran}, outcome.foresight_seconds),
    )


def row(figures: Report) -> tuple[str, ...]:
    """Return the figures as a line of a table under ``HEADER``."""
    return (
        figures.policy,
        str(figures.gpus),
        str(figures.jobs),
        _text(figures.jct_avg_hours),
        _text(figures.jct_p50_hours),
        _text(figures.jct_p90_hours),
        _text(figures.jct_p99_hours),
        *(_text(figures.wait_hours[name]) for name, _, _ in SIZES),
        _percent(figures.utilisation),
        _percent(figures.fragmentation),
        str(figures.preemptions),
        _text(figures.notice_gpu_hours + figures.restart_gpu_hours),
        _percent(figures.overhead_share, 3),
        _text(figures.lost_work_gpu_hours),
        _text(figures.jain_clusters, 3),
        _text(figures.jain_users, 3),
        str(figures.cycles),
        _text(figures.schedule_seconds, 1),
    )


def estimates_row(figures: Report) -> tuple[str, ...]:
    """Return how good start estimates were, under ``ESTIMATES_HEADER``."""
    found = figures.estimates
    if found is None:
        return ("0", "", "", "", "")
    return (
        str(found.asked),
        _percent(found.inside),
        _percent(found.ranged),
        _text(found.error_hours),
        _text(found.wait_hours),
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


def wait(each: Finished) -> float:
    """Return the seconds that a job took longer than its duration."""
    return max(0.0, each.ended - each.job.submitted - each.job.duration)


def _waits(ran: Sequence[Finished], least: int, most: int) -> list[float]:
    return [wait(each) for each in ran if least <= each.job.gpus <= most]


def _slowdowns(ran: Sequence[Finished], group: Callable[[Finished], str]) -> list[float]:
    found: dict[str, list[float]] = {}
    for each in ran:
        if name := group(each):
            duration = max(1.0, each.job.duration)
            found.setdefault(name, []).append((wait(each) + duration) / duration)
    return [sum(slowdowns) / len(slowdowns) for _, slowdowns in sorted(found.items())]


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / HOUR


def _text(number: float | None, places: int = 2) -> str:
    return "" if number is None else f"{number:.{places}f}"


def _percent(share: float | None, places: int = 1) -> str:
    return "" if share is None else f"{share:.{places}%}"
