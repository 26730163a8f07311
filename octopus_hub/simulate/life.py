"""One job of a simulation from its arrival to its end: how far it is, what it holds, what interruptions cost it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from octopus_hub.core.snapshot import Waiting
from octopus_hub.simulate.jobs import Job
from octopus_hub.simulate.outcome import Finished
from octopus_hub.simulate.pool import Held

DAY = 86400.0


@dataclass(slots=True)
class Life:
    """A job that has arrived.

    Attributes
    ----------
    gang : Waiting
        As the scheduler sees it.
    done : float
        Seconds of its duration that are kept, at its usual size.
    attempt : int
        Grows whenever what was going to happen to it will not.
    held : tuple of Held
        What it holds; during a resize that is its new place and what it gives up.
    to : Held, optional
        Where it goes on after a resize.
    held_since, warm : float
        Since when it holds that; from when on the attempt gets on.
    """

    job: Job
    gang: Waiting
    done: float = 0.0
    first: float | None = None
    attempt: int = 0
    held: tuple[Held, ...] = ()
    to: Held | None = None
    since: float = 0.0
    held_since: float = 0.0
    warm: float = 0.0
    speed: float = 1.0
    preempted: tuple[float, ...] = ()
    yields_to: str = ""
    preemptions: int = 0
    resizes: int = 0
    notice: float = 0.0
    restart: float = 0.0
    lost: float = 0.0

    @property
    def devices(self) -> int:
        """How many devices it holds."""
        return sum([held.devices for held in self.held])

    def begin(self, held: Held, now: float, restart_seconds: float) -> float:
        """Begin an attempt; returns when it will have ended if nobody interrupts it."""
        again = self.first is not None
        self.first = self.first if again else now
        self.attempt += 1
        self.since = now
        self.warm = now + restart_seconds if again else now
        self.speed = held.devices / self.job.gpus if self.job.gpus else 1.0
        return self.warm + max(0.0, self.job.duration - self.done) / self.speed

    def interrupt(self, now: float) -> None:
        """Stop getting on: note what is kept and what is lost."""
        self.attempt += 1
        progress = max(0.0, now - self.warm) * self.speed
        self.restart += (min(now, self.warm) - self.since) * self.devices
        if self.gang.resumes:
            self.done += progress
        else:
            self.lost += progress * self.job.gpus

    def preempt(self, now: float, notice_seconds: float, by: str) -> None:
        """Interrupt it for somebody, to wait again after its notice."""
        self.yields_to = by
        self.interrupt(now)
        self.notice += notice_seconds * self.devices
        self.preemptions += 1
        self.preempted = (*(at for at in self.preempted if at > now - DAY), now)

    def again(self) -> Waiting:
        """Return it as it waits or runs after an interruption."""
        self.gang = replace(self.gang, served=self.done, preempted_at=self.preempted, yields_to=self.yields_to)
        return self.gang

    def finished(self, now: float) -> Finished:
        """Return what became of it."""
        assert self.first is not None
        return Finished(
            job=self.job,
            started=self.first,
            ended=now,
            preemptions=self.preemptions,
            resizes=self.resizes,
            notice_gpu_seconds=self.notice,
            restart_gpu_seconds=self.restart + (self.warm - self.since) * self.devices,
            lost_gpu_seconds=self.lost,
        )
