"""What the scheduler is shown: who waits, who runs, what is used, and what differs from the time before.

A snapshot's values stay the same objects until something changes, and are never changed once they were shown.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping

from octopus_hub.core.history import Chronicle, History
from octopus_hub.core.policies import POLICIES
from octopus_hub.core.policies.service import life_of
from octopus_hub.core.snapshot import Delta, Running, Snapshot, Waiting, Window
from octopus_hub.model.queue import Cohort, Queue
from octopus_hub.simulate.pool import BrokenPlan, Decayed, Held, Pool

_ATTAINED_EVERY = 600.0  # seconds between looks at decayed use


class Board:
    """The present state as snapshots show it.

    Attributes
    ----------
    waiting : list of Waiting
        In the order of their arrival.
    running : dict of str to Running
        By uid.
    changed : bool
        Whether anything has since the last snapshot.
    """

    def __init__(
        self,
        pool: Pool,
        queues: Mapping[str, Queue],
        cohorts: Mapping[str, Cohort],
        windows: tuple[Window, ...],
        half_life_seconds: float,
    ) -> None:
        self.pool = pool
        self.waiting: list[Waiting] = []
        self.running: dict[str, Running] = {}
        self.changed = False
        self.chronicle = Chronicle()
        self._learns = {queue.preemption.review_seconds for queue in queues.values() if POLICIES[queue.policy].learns}
        self._history: History | None = None
        self._history_at: tuple[float, ...] = ()
        self._queues, self._cohorts, self._windows = queues, cohorts, windows
        self._decayed = Decayed(half_life_seconds)
        self._attained: dict[tuple[str, str], float] = {}
        self._attained_at = float("-inf")
        self._shown: tuple[Snapshot, list[Waiting]] | None = None
        self._token = object()
        self._joined: dict[str, Waiting] = {}  # since the snapshot that was shown last
        self._left: dict[str, Waiting] = {}
        self._started: dict[str, Running] = {}
        self._ended: dict[str, None] = {}

    def show(self, now: float) -> tuple[Snapshot, list[Waiting]]:
        """Return what the scheduler sees: the same values as long as nothing has changed."""
        self.changed = False
        if now - self._attained_at >= _ATTAINED_EVERY:
            self._attained, self._attained_at = self._decayed.upto(now), now
            self._shown = None
        if self._learns:
            self._learn(now)
        if self._shown is None:
            snapshot = Snapshot(
                nodes=self.pool.nodes,
                usage=self.pool.usage(),
                queues=self._queues,
                running=self.running.copy(),
                cohorts=self._cohorts,
                windows=self._windows,
                attained=self._attained,
                attained_at=self._attained_at,
                delta=self._delta(),
                history=self._history,
            )
            self._shown = (snapshot, self.waiting.copy())
        return self._shown

    def _learn(self, now: float) -> None:
        """Make what is known of run times anew, once per review."""
        ticks = tuple(now // review * review for review in sorted(self._learns) if review > 0)
        if ticks == self._history_at:
            return
        self._history_at, self._shown = ticks, None
        at = max(ticks, default=now)
        living = [life_of(gang, gang.served) for gang in self.waiting]
        living += [life_of(each.gang, each.gang.served + max(0.0, at - each.since)) for each in self.running.values()]
        self._history = self.chronicle.history(living)

    def join(self, gang: Waiting) -> None:
        """Let a gang wait, behind those that came before it."""
        insort(self.waiting, gang, key=_place)
        self._joined[gang.uid] = gang
        self.touch()

    def leave(self, gang: Waiting) -> None:
        """Take a gang out of those that wait; raises BrokenPlan if it is none of them."""
        at = bisect_left(self.waiting, _place(gang), key=_place)
        if at == len(self.waiting) or self.waiting[at] is not gang:
            raise BrokenPlan(f"{gang.uid} was admitted and does not wait")
        del self.waiting[at]
        if self._joined.pop(gang.uid, None) is None:
            self._left[gang.uid] = gang
        self.touch()

    def run(self, running: Running) -> None:
        """Show a gang as running, in this way from now on."""
        uid = running.gang.uid
        self.running[uid] = self._started[uid] = running
        self.touch()

    def end(self, uid: str) -> None:
        """Show a gang as running no longer."""
        del self.running[uid]
        self._started.pop(uid, None)
        self._ended[uid] = None
        self.touch()

    def hold(self, gang: Waiting, held: Held, sign: int, now: float) -> None:
        """Count what a gang holds, or with sign -1 take it back."""
        self.pool.move(gang, held, sign)
        self._decayed.hold((gang.queue, gang.owner), sign * held.devices, now)
        self.touch()

    def touch(self) -> None:
        """Note that the next snapshot is another one."""
        self._shown = None
        self.changed = True

    def _delta(self) -> Delta:
        before, self._token = self._token, object()
        delta = Delta(
            before=before,
            after=self._token,
            joined=tuple(self._joined.values()),
            left=tuple(self._left.values()),
            started=tuple(self._started.values()),
            ended=tuple(self._ended),
            nodes=self.pool.moved(),
        )
        for changed in (self._joined, self._left, self._started, self._ended):
            changed.clear()
        return delta


def _place(gang: Waiting) -> tuple[float, str]:
    return (gang.queued_at, gang.uid)
