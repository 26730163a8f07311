"""Reads traces of jobs in the form of the Philly csv: ``timestamp,duration,num_gpus,gpu_time,cluster``.

Rows may come in any order, and so may columns: the header names them. A row that can't be true is left out and told
with its line number; ``strict`` refuses the trace instead. Files ending in ``.gz`` are unpacked while they are read.
Source of the form: Jeon et al., "Analysis of Large-Scale Multi-Tenant GPU Clusters", ATC'19.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import TextIO

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.problems import Problems, shown

COLUMNS = ("timestamp", "duration", "num_gpus", "gpu_time", "cluster")
LONGEST_SECONDS = 10 * 365 * 86400.0  # nothing has run for longer
MOST_GPUS = 1_000_000
_GPU_TIME_TOLERANCE = 0.01  # relative; the trace rounds


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a trace.

    Attributes
    ----------
    uid : str
        Line number in the trace, with leading zeros so that it sorts.
    submitted : float
        Seconds since the epoch (UTC).
    duration : float
        Seconds it runs once it has started.
    cluster : str
        Virtual cluster that it was submitted to.
    """

    uid: str
    submitted: float
    duration: float
    gpus: int
    cluster: str
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Trace:
    """Jobs in the order of submission, and what was wrong with the rows that were left out."""

    jobs: tuple[Job, ...]
    bad_rows: int
    problems: tuple[str, ...]  # the first ones, each with its line number


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
    try:
        with _open(path) as lines:
            return parse(lines, first=first, strict=strict)
    except FileNotFoundError:
        raise InvalidSpec(f"there is no {path}; give a csv file with the columns {', '.join(COLUMNS)}") from None
    except (UnicodeDecodeError, EOFError, zlib.error, gzip.BadGzipFile):
        raise InvalidSpec(f"{path} is damaged, or no UTF-8 text; give a csv file, or one packed with gzip") from None
    except OSError as error:
        raise InvalidSpec(f"{path} can't be read: {error.strerror or error}") from None
    except InvalidSpec as error:
        raise InvalidSpec(f"{path}: {error.message}", error.problems) from None


def parse(lines: Iterable[str], *, first: int | None = None, strict: bool = False) -> Trace:
    """Return the trace in these lines; see :func:`read`."""
    problems = Problems()
    jobs = sorted(_jobs(lines, problems), key=lambda job: (job.submitted, job.uid))
    if len(problems) and strict:
        raise InvalidSpec(f"{_rows(len(problems))} can't be true; without --strict they are left out", problems.told())
    return Trace(tuple(islice(jobs, first)), len(problems), tuple(problems.told()))


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _jobs(lines: Iterable[str], problems: Problems) -> Iterator[Job]:
    """Yield the good rows as they are read."""
    reader = csv.reader(lines)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if missing := [name for name in COLUMNS if name not in header]:
            raise InvalidSpec(f"the first line must name the columns {', '.join(COLUMNS)}; it lacks {missing[0]}")
        places = [header.index(name) for name in COLUMNS]
        for row in reader:
            if not row:
                continue
            try:
                if len(row) != len(header):
                    raise ValueError(f"has {len(row)} columns instead of {len(header)}")
                yield _job(reader.line_num, [row[place] for place in places])
            except ValueError as wrong:
                problems.add(f"line {reader.line_num}", str(wrong))
    except csv.Error as error:
        raise InvalidSpec(f"line {reader.line_num} is no csv: {error}") from None


def _job(line: int, cells: Sequence[str]) -> Job:
    timestamp, duration, gpus, gpu_time, cluster = (cell.strip() for cell in cells)
    seconds = _number("duration", duration, LONGEST_SECONDS)
    count = _number("num_gpus", gpus, MOST_GPUS)
    if count != int(count) or count < 1:
        raise ValueError(f"num_gpus is {shown(gpus)}, not a whole number from 1")
    used = _number("gpu_time", gpu_time, LONGEST_SECONDS * MOST_GPUS)
    if abs(used - seconds * count) > 1 + _GPU_TIME_TOLERANCE * seconds * count:
        raise ValueError(f"gpu_time is {used:g}, but duration times num_gpus is {seconds * count:g}")
    if not cluster:
        raise ValueError("cluster is missing")
    return Job(f"{line:08d}", _moment(timestamp), seconds, int(count), cluster)


def _number(name: str, text: str, most: float) -> float:
    if not text:
        raise ValueError(f"{name} is missing")
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{name} is {shown(text)}, not a number") from None
    if not isfinite(number):
        raise ValueError(f"{name} is {shown(text)}, not a number")
    if number < 0:
        raise ValueError(f"{name} is negative: {number:g}")
    if number > most:
        raise ValueError(f"{name} is {number:g}, more than {most:g}: no such job has run")
    return number


def _moment(text: str) -> float:
    if not text:
        raise ValueError("timestamp is missing")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"timestamp is {shown(text)}, not like 2017-10-09 07:01:55") from None
    if not 1970 < moment.year < 2200:
        raise ValueError(f"timestamp is {shown(text)}: no computer ran then")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
