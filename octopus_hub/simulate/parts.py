"""Parts of a trace: a stretch of time, or one of several equal stretches, to choose on one and report another. Pure."""

from __future__ import annotations

import re
from dataclasses import replace

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.problems import shown
from octopus_hub.simulate.jobs import Trace, moment


def between(trace: Trace, since: str | None, until: str | None) -> Trace:
    """Return the jobs submitted from one date on and before another."""
    first = _date("--from", since) if since else float("-inf")
    last = _date("--until", until) if until else float("inf")
    if first >= last:
        raise InvalidSpec(f"nothing lies from {since} until {until}")
    return replace(trace, jobs=tuple(job for job in trace.jobs if first <= job.submitted < last))


def part(trace: Trace, words: str | None) -> Trace:
    """Return the jobs of part ``1/2``, ``2/2`` ...: equal numbers of jobs, in the order of their submission."""
    if not words:
        return trace
    found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", words)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InvalidSpec(f"--part is {shown(words)}, not like 1/2")
    which, parts, count = int(found[1]), int(found[2]), len(trace.jobs)
    return replace(trace, jobs=trace.jobs[count * (which - 1) // parts : count * which // parts])


def _date(option: str, words: str) -> float:
    try:
        return moment(option, words)
    except ValueError as wrong:
        raise InvalidSpec(str(wrong)) from None
