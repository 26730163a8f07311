"""Reads traces of jobs in the form of the Philly csv: ``timestamp,duration,num_gpus,gpu_time,cluster``.

Rows may come in any order, and so may columns: the header names them. A row that can't be true is left out and told
with its line number; ``strict`` refuses the trace instead.
Source of the form: Jeon et al., "Analysis of Large-Scale Multi-Tenant GPU Clusters", ATC'19.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from octopus_hub.model.problems import Problems
from octopus_hub.simulate.jobs import LONGEST_SECONDS, MOST_GPUS, Job, Trace, collect, moment, number, whole
from octopus_hub.simulate.tables import opened, rows

COLUMNS = ("timestamp", "duration", "num_gpus", "gpu_time", "cluster")
_GPU_TIME_TOLERANCE = 0.01  # relative; the trace rounds


def read(path: Path, *, first: int | None = None, strict: bool = False) -> Trace:
    """Read a trace file.

    Parameters
    ----------
    first : int, optional
        Keep only so many jobs, the earliest submitted.
    strict : bool
        Refuse a trace with a bad row.

    Raises
    ------
    InvalidSpec
        The file can't be read, is no such trace, or ``strict`` and a row is bad.
    """
    with opened(path, COLUMNS) as lines:
        return parse(lines, first=first, strict=strict)


def parse(lines: Iterable[str], *, first: int | None = None, strict: bool = False) -> Trace:
    """Return the trace in these lines; see :func:`read`."""
    problems = Problems()
    return collect(rows(lines, COLUMNS, _job, problems), problems, first=first, strict=strict)


def _job(line: int, cells: list[str]) -> Job:
    timestamp, duration, gpus, gpu_time, cluster = cells
    seconds = number("duration", duration, LONGEST_SECONDS)
    count = whole("num_gpus", gpus, 1, MOST_GPUS)
    used = number("gpu_time", gpu_time, LONGEST_SECONDS * MOST_GPUS)
    if abs(used - seconds * count) > 1 + _GPU_TIME_TOLERANCE * seconds * count:
        raise ValueError(f"gpu_time is {used:g}, but duration times num_gpus is {seconds * count:g}")
    if not cluster:
        raise ValueError("cluster is missing")
    return Job(f"{line:08d}", moment("timestamp", timestamp), seconds, count, cluster)
