"""What a simulation gives: every job with what became of it, and what was held when. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field

from octopus_hub.simulate.foresight import Foreseen
from octopus_hub.simulate.jobs import Job
from octopus_hub.simulate.setup import Setup


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that ran to its end.

    Attributes
    ----------
    started : float
        The first time.
    preemptions, resizes : int
        How often it was interrupted, to make room and to go on with another size.
    notice_gpu_seconds, restart_gpu_seconds : float
        What it held without getting on: in its notices, and to get to where it was.
    lost_gpu_seconds : float
        Work that it had to do again.
    """

    job: Job
    started: float
    ended: float
    preemptions: int
    resizes: int
    notice_gpu_seconds: float
    restart_gpu_seconds: float
    lost_gpu_seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the jobs of a trace.

    Attributes
    ----------
    ran : tuple of Finished
        In the order of their ends.
    refused : tuple of Job
        They never fit the pool.
    stuck : tuple of Job
        They never started, or had not ended more than a year after the last arrival: preempted over and over, or
        forgotten by the scheduler.
    held : tuple of (float, float, str, int)
        From when to when a job of which cluster held how many GPUs.
    idle_gpu_seconds, broken_gpu_seconds : float
        While something waited: GPUs that nobody held, and those of them on nodes of which a part was held.
    estimate_errors : tuple of float
        |log(duration / estimate)| of each job that had an estimate when it was submitted.
    cycles, schedule_seconds
        Calls of ``schedule``, and the time they took.
    """

    setup: Setup
    gpus: int
    ran: tuple[Finished, ...]
    refused: tuple[Job, ...]
    stuck: tuple[Job, ...]
    held: tuple[tuple[float, float, str, int], ...]
    idle_gpu_seconds: float
    broken_gpu_seconds: float
    estimate_errors: tuple[float, ...]
    cycles: int
    schedule_seconds: float = field(compare=False)
    foreseen: tuple[Foreseen, ...] = ()  # start estimates
    foresight_seconds: float = field(default=0.0, compare=False)  # that they took
