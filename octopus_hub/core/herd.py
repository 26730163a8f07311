"""What runs in each queue, and in which order it would make room. Kept between cycles; used by ``schedule`` only.

Of gangs with the same standing the one goes first whose eviction loses the least work: what it did since its last
checkpoint (all of the attempt, if it does not resume), then the one that started last.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from octopus_hub.core.policies import Moment, Policy
from octopus_hub.core.policies.service import width
from octopus_hub.core.snapshot import Running, placed_total
from octopus_hub.model.queue import Queue

DAY_SECONDS = 86400.0
RESTART_SECONDS = 60.0  # what a stop and a start cost beside lost work


class Candidate(NamedTuple):
    """A running gang that may be asked to go."""

    standing: int
    lost: float  # device-seconds
    running: Running
    width: float
    total: dict[str, int]


@dataclass(slots=True)
class Ranked:
    """Candidates of a queue at a tick, the first to go first; ``widths[n]`` is what the first n hold together."""

    tick: float
    candidates: list[Candidate]
    keys: list[int]  # -standing, ascending
    widths: list[float]

    def above(self, claim: int) -> int:
        """Return how many stand above a claim."""
        return bisect_left(self.keys, -claim)


@dataclass(slots=True)
class Herd:
    """The running gangs of one queue."""

    members: dict[str, Running] = field(default_factory=dict)
    _ranked: Ranked | None = None

    def put(self, running: Running) -> None:
        """Note a gang that runs, or what changed of it."""
        self.members[running.gang.uid] = running
        self._ranked = None

    def drop(self, uid: str) -> None:
        """Note that a gang is gone."""
        del self.members[uid]
        self._ranked = None

    def forget(self) -> None:
        """Rank anew: the queue was changed."""
        self._ranked = None

    def ranked(self, queue: Queue, policy: Policy, moment: Moment) -> Ranked:
        """Return who may be asked to go at this tick."""
        known = self._ranked
        if known is not None and known.tick == moment.tick and not policy.by_use:
            return known
        found = [
            Candidate(
                policy.standing(running, moment) if policy.standing is not None else 0,
                lost_work(running, moment.tick),
                running,
                width(running.gang),
                placed_total(running.gang.needs, running.placement),
            )
            for running in self.members.values()
            if evictable(running, queue, moment.tick)
        ]
        found.sort(key=_first_to_go)
        widths = [0.0]
        for each in found:
            widths.append(widths[-1] + each.width)
        self._ranked = Ranked(moment.tick, found, [-each.standing for each in found], widths)
        return self._ranked


def evictable(running: Running, queue: Queue, tick: float) -> bool:
    """Say whether a running gang may be preempted at all at this time."""
    gang = running.gang
    if running.leaving or not gang.preemptible:
        return False
    least = gang.min_runtime if gang.min_runtime is not None else queue.preemption.min_runtime_seconds
    if least > 0 and running.since + least > tick:
        return False
    of_late = [at for at in gang.preempted_at if at > tick - DAY_SECONDS]
    return len(of_late) < queue.preemption.per_day


def lost_work(running: Running, now: float) -> float:
    """Return the device-seconds that an eviction would cost."""
    gang = running.gang
    if gang.resumes:
        since = running.checkpoint_at
        lost = 0.0 if since is None else max(0.0, now - since)
    else:
        lost = max(0.0, now - running.since) + gang.served
    return (lost + RESTART_SECONDS) * width(gang)


def _first_to_go(each: Candidate) -> tuple[int, float, float, str]:
    return (-each.standing, each.lost / each.width, -each.running.since, each.running.gang.uid)


def difference(before: Mapping[str, Running], after: Mapping[str, Running]) -> tuple[list[Running], list[Running]]:
    """Return what is new or changed, and what is gone."""
    if before is after:
        return [], []
    changed = [running for uid, running in after.items() if before.get(uid) is not running]
    if len(after) == len(before) and not changed:
        return [], []
    gone = [running for uid, running in before.items() if uid not in after]
    return changed, gone
