"""Runs several setups over the same jobs, in parallel processes, and gives their figures in the order asked for."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from octopus_hub.simulate.events import simulate
from octopus_hub.simulate.jobs import Job
from octopus_hub.simulate.report import Report, report
from octopus_hub.simulate.series import Series, series
from octopus_hub.simulate.setup import Setup


@dataclass(frozen=True, slots=True)
class Result:
    """What one setup gave: figures, and curves for pictures."""

    setup: Setup
    report: Report
    series: Series


def compare(jobs: Sequence[Job], setups: Sequence[Setup], processes: int | None = None) -> list[Result]:
    """Run each setup; ``processes`` is at most that of the processors, which is the default."""
    workers = min(len(setups), processes or len(os.sched_getaffinity(0)))
    if workers <= 1:
        return [_run(jobs, setup) for setup in setups]
    # forked, so that the jobs need not be sent
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _remember, (jobs,)) as pool:
        return list(pool.map(_run_remembered, setups))


def _run(jobs: Sequence[Job], setup: Setup) -> Result:
    outcome = simulate(jobs, setup)
    return Result(setup, report(outcome), series(outcome))


_jobs: Sequence[Job] = ()


def _remember(jobs: Sequence[Job]) -> None:
    global _jobs
    _jobs = jobs


def _run_remembered(setup: Setup) -> Result:
    return _run(_jobs, setup)
