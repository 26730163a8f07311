"""What a simulation runs: jobs, from whatever they were read, and the checks that every reader makes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice, pairwise
from math import isfinite

from octopus_hub.core.snapshot import RoleNeed
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.problems import Problems, shown

LONGEST_SECONDS = 10 * 365 * 86400.0  # nothing has run for longer
MOST_GPUS = 1_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a trace.

    Attributes
    ----------
    uid : str
        Names it and breaks ties; for traces its line number, with leading zeros so that it sorts.
    submitted : float
        Seconds since the epoch (UTC).
    duration : float
        Seconds it runs on ``gpus``, once it has started and if nobody interrupts it.
    cluster : str
        Virtual cluster (or queue) that it was submitted to.
    owner, command : str
        Who submitted what, where the source tells; the history of both gives estimates.
    max_runtime : float, optional
        Seconds that its owner allows one attempt to run.
    most : int, optional
        It is elastic: it may grow to so many GPUs, and is then as much faster.
    needs : tuple of RoleNeed
        Its roles, where the source tells; else it is made of tasks with one GPU each.
    """

    uid: str
    submitted: float
    duration: float
    gpus: int
    cluster: str
    priority: int = 0
    owner: str = ""
    command: str = ""
    max_runtime: float | None = None
    most: int | None = None
    needs: tuple[RoleNeed, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """Jobs in the order of submission, and what was wrong with the rows that were left out.

    ``notes`` tell what of the source is not simulated as it stands.
    """

    jobs: tuple[Job, ...]
    bad_rows: int = 0
    problems: tuple[str, ...] = ()  # the first ones, each with its line number
    notes: tuple[str, ...] = ()


def collect(jobs: Iterable[Job], problems: Problems, *, first: int | None, strict: bool) -> Trace:
    """Return the trace of what a reader yields while it notes ``problems``.

    Raises
    ------
    InvalidSpec
        ``strict``, and there is a problem.
    """
    found = list(jobs)
    ordered = sorted(found, key=lambda job: (job.submitted, job.uid))
    if len(problems) and strict:
        raise InvalidSpec(f"{_rows(len(problems))} can't be true; without --strict they are left out", problems.told())
    early = [later.uid for job, later in pairwise(found) if later.submitted < job.submitted]
    trace = Trace(tuple(islice(ordered, first)), len(problems), tuple(problems.told()))
    where = f" (the first is line {int(early[0])})" if early and early[0].isdigit() else ""
    return noted(trace, (len(early), f"put into the order of submission{where}", "row"))


def noted(trace: Trace, *notes: tuple[int, str, str]) -> Trace:
    """Return the trace with notes of how many of what are not simulated as they stand; none of nothing."""
    told = [f"{words}: {count} {what}{'' if count == 1 else 's'}" for count, words, what in notes if count]
    return replace(trace, notes=(*trace.notes, *told))


def number(name: str, text: str, most: float) -> float:
    """Return a number from 0 to ``most``; raises ValueError in words."""
    if not text:
        raise ValueError(f"{name} is missing")
    try:
        found = float(text)
    except ValueError:
        raise ValueError(f"{name} is {shown(text)}, not a number") from None
    if not isfinite(found):
        raise ValueError(f"{name} is {shown(text)}, not a number")
    if found < 0:
        raise ValueError(f"{name} is negative: {found:g}")
    if found > most:
        raise ValueError(f"{name} is {found:g}, more than {most:g}: no such job has run")
    return found


def whole(name: str, text: str, least: int, most: float) -> int:
    """Return a whole number from ``least`` to ``most``; raises ValueError in words."""
    found = number(name, text, most)
    if found != int(found) or found < least:
        raise ValueError(f"{name} is {shown(text)}, not a whole number from {least}")
    return int(found)


def moment(name: str, text: str) -> float:
    """Return a time as seconds since the epoch; without a zone it is UTC. Raises ValueError in words."""
    if not text:
        raise ValueError(f"{name} is missing")
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} is {shown(text)}, not like 2017-10-09 07:01:55") from None
    if not 1970 < found.year < 2200:
        raise ValueError(f"{name} is {shown(text)}: no computer ran then")
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
