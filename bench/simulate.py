"""What each policy gives on the Philly trace, on its halves, and on generated loads: ``python -m bench.simulate``.

The trace is not part of the product: ``OCTOPUS_TRACE`` names the file, otherwise ``../shared/data/philly.csv.gz`` beside
the source tree is taken. Without one only the generated loads are run. ``OCTOPUS_BENCH_JOBS=5000`` takes the earliest
jobs only, to try the benchmark itself. Runs go side by side on all processors, so seconds are those of a busy machine;
the last row, the whole trace with the best policy, runs alone.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from bench.facts import report
from octopus_hub.model.queue import QueuePreemption
from octopus_hub.simulate import generate, parts, sources
from octopus_hub.simulate.compare import Result, compare
from octopus_hub.simulate.jobs import Trace
from octopus_hub.simulate.setup import Setup

TRACE = Path(os.environ.get("OCTOPUS_TRACE", Path(__file__).resolve().parents[1] / "../shared/data/philly.csv.gz"))
FIRST = int(os.environ.get("OCTOPUS_BENCH_JOBS", "0")) or None
SIZES = (416, 480)
CALM = ("fifo", "fifo+any")  # without preemption and without known run times
PREEMPTIVE = ("las", "gittins")
BEST = "gittins"
SHARES = (0.5, 0.0)
GENERATED = "jobs=20000,load=0.9,users=40,sigma=2.2"
TARGET = (
    "416 GPUs: avg JCT <= 9.0 h, p99 <= 130 h, wait of jobs with 8 or more <= 110 h, <= 20,000 preemptions, lost to "
    "restarts <= 0.2 %; 480: <= 6.5 h, <= 60 h; the whole trace in <= 30 s"
)


@dataclass(frozen=True)
class Block:
    """Setups over the same jobs."""

    load: str
    trace: Trace
    setups: list[Setup]


def philly_blocks(trace: Trace) -> list[Block]:
    """Return what is run on the trace."""
    whole = [Setup(gpus=gpus, policy=policy) for gpus, policy in product(SIZES, (*CALM, *PREEMPTIVE))]
    whole.append(Setup(gpus=SIZES[0], policy=BEST, preemption=QueuePreemption(within=False)))
    shares = [Setup(gpus=SIZES[0], policy=policy, checkpointing=share) for share, policy in product(SHARES, PREEMPTIVE)]
    halves = [Setup(gpus=gpus, policy=policy) for gpus, policy in product(SIZES, PREEMPTIVE)]
    tasks = [Setup(gpus=SIZES[0], policy=policy, task_gpus=8) for policy in PREEMPTIVE]
    return [
        Block("philly", trace, whole),
        *(Block("philly", trace, [setup]) for setup in shares),
        Block("philly, tasks of 8", trace, tasks),
        Block("philly, first half", parts.part(trace, "1/2"), halves),
        Block("philly, second half", parts.part(trace, "2/2"), halves),
    ]


def generated_blocks() -> list[Block]:
    """Return what is run on generated loads, which also name users and commands."""
    policies = (*CALM, "fair", "las", "predicted", "gittins")
    setups = [Setup(gpus=SIZES[0], policy=policy) for policy in policies]
    words = f"{GENERATED},jobs={FIRST}" if FIRST else GENERATED
    load = generate.parse_load(words)
    return [Block(f"generated, seed {seed}", generate.generate(load, seed, SIZES[0]), setups) for seed in (1, 2)]


def row(load: str, result: Result) -> dict[str, Any]:
    """Return a line of the table."""
    figures = result.report
    return {
        "load": load,
        "gpus": figures.gpus,
        "policy": figures.policy,
        "preempts": "" if result.setup.preemption.within else "no",
        "checkpoint": f"{result.setup.checkpointing:.0%}",
        "jobs": figures.jobs,
        "stuck": figures.stuck,
        "avg_jct_h": _rounded(figures.jct_avg_hours),
        "p50_h": _rounded(figures.jct_p50_hours),
        "p99_h": _rounded(figures.jct_p99_hours),
        "wait_1_h": _rounded(figures.wait_hours["1"]),
        "wait_8+_h": _rounded(figures.wait_hours["8+"]),
        "preemptions": figures.preemptions,
        "restarts_%": _rounded(100 * figures.restart_gpu_hours / _held(result), 3),
        "with_notice_%": _rounded(100 * (figures.overhead_share or 0), 3),
        "lost_work_gpu_h": _rounded(figures.lost_work_gpu_hours, 0),
        "used_%": _rounded(100 * (figures.utilisation or 0), 1),
        "frag_%": _rounded(100 * (figures.fragmentation or 0), 1),
        "jain_vc": _rounded(figures.jain_clusters, 3),
        "estimate_factor": _rounded(figures.estimate_factor),
        "cycles": figures.cycles,
        "schedule_s": _rounded(figures.schedule_seconds, 1),
    }


def _held(result: Result) -> float:
    """Return the GPU-hours that were held in all."""
    curves = result.series
    return sum(curves.used) * curves.hours * result.report.gpus or 1.0


def _rounded(number: float | None, places: int = 2) -> float | str:
    return "" if number is None else round(number, places)


def alone(trace: Trace) -> str:
    """Return how long the whole trace takes with the best policy, on its own, and how much memory."""
    began = time.perf_counter()
    (result,) = compare(trace.jobs, [Setup(gpus=SIZES[0], policy=BEST)], 1)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"alone: {result.report.jobs} jobs, {BEST}, {SIZES[0]} GPUs in {seconds:.1f} s, of which schedule "
        f"{result.report.schedule_seconds:.1f} s; {result.report.cycles} cycles; peak memory of this process {peak:.0f} MiB"
    )


def main(blocks: Sequence[Block] | None = None) -> None:
    """Run every block and report."""
    notes = ""
    if blocks is None:
        blocks = generated_blocks()
        if TRACE.exists():
            trace = sources.read(TRACE, first=FIRST)
            notes = alone(trace)
            blocks = [*philly_blocks(trace), *blocks]
        else:
            notes = "no trace: only generated loads were run; OCTOPUS_TRACE names one"
    rows = []
    for block in blocks:
        for result in compare(block.trace.jobs, block.setups):
            rows.append(row(block.load, result))
            print(rows[-1], flush=True)
    report("simulate", rows, target=TARGET, notes=notes)


if __name__ == "__main__":
    main()
