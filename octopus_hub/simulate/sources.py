"""Reads whatever file of jobs it is given: the columns in its first line tell which kind it is."""

from __future__ import annotations

from pathlib import Path

from octopus_hub.simulate import openb, philly
from octopus_hub.simulate.jobs import Trace
from octopus_hub.simulate.tables import opened

MARKS = ("gpu_milli", "pod_phase")  # columns that only a pod list has


def read(path: Path, *, first: int | None = None, strict: bool = False) -> Trace:
    """Read a trace; see :func:`octopus_hub.simulate.philly.read`."""
    with opened(path, philly.COLUMNS) as lines:
        names = [name.strip().lower() for name in next(iter(lines), "").split(",")]
    reader = openb.read if any(mark in names for mark in MARKS) else philly.read
    return reader(path, first=first, strict=strict)
