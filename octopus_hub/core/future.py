"""What comes after a snapshot if things end when they are expected to: a short event simulation over ``schedule`` itself.

Pure. What ends when is the caller's (:data:`Rest`); everything else is decided by the production ``schedule``, and carried
out as ``control`` would: evictions with notice, resizes, requeues. Nothing arrives that does not wait already. Used by
``forecast`` only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from typing import Any, Literal, TypeVar

from octopus_hub.core.plan import Admission, Eviction, Plan, Resize
from octopus_hub.core.resizing import shed
from octopus_hub.core.schedule import schedule
from octopus_hub.core.snapshot import Placement, Running, Snapshot, Usage, Waiting, held
from octopus_hub.model.amounts import Amounts

Kind = Literal["bound", "history", "guess", "leaving"]  # what an end rests on
Rest = Callable[[Waiting, float, float | None], tuple[float | None, Kind]]
"""Of a gang, what it has had (s) and how long it may stay (s, None: no bound): seconds it goes on, None: for ever."""

EXACT_STEPS = 100  # then moments close to each other are taken as one
CLOSE = 0.02  # of the time that has passed
WAKE_CLOSE = 0.05  # the same for times at which nothing ends
HORIZON_SECONDS = 60 * 86400.0
_END, _LEAVE, _RESIZED = 0, 1, 2
Key = TypeVar("Key")


class Future:
    """The world at one moment from now on.

    Attributes
    ----------
    started : dict of str to float
        When each gang that waited was admitted first.
    seen : dict of str to Counter
        What the ends that came before that start rest on.
    over : bool
        Nothing that was expected is left.
    """

    def __init__(self, snapshot: Snapshot, waiting: Sequence[Waiting], now: float, rest: Rest) -> None:
        self.first, self.now = now, now
        self.started: dict[str, float] = {}
        self.seen: dict[str, Counter[Kind]] = {}
        self.over = False
        self._snapshot = snapshot
        self._rest = rest
        self._waiting = {gang.uid: gang for gang in waiting}
        self._running = dict(snapshot.running)
        self._ends: list[tuple[float, int, int, str, Kind]] = []
        self._numbers: dict[str, int] = {}  # uid -> number of the event that counts
        self._number = 0
        self._passed: Counter[Kind] = Counter()
        self._memo: Any = None
        usage = held((each.gang, each.placement) for each in self._running.values())
        self._nodes, self._queues = dict(usage.nodes), dict(usage.queues)
        self._users, self._groups = dict(usage.users), dict(usage.groups)
        self._tasks, self._holders = dict(usage.tasks), dict(usage.holders)
        for running in list(self._running.values()):
            if running.sheds:
                self._hold(running.gang, running.sheds, 1)
            self._expect(running)

    def run(self, wanted: frozenset[str], steps: int, stop: Callable[[], bool]) -> None:
        """Go on until all that are wanted have started, nothing is left to happen, or it has been enough."""
        for step in range(steps):
            plan = schedule(self._shown(), list(self._waiting.values()), self.now, self._memo)
            self._memo = plan.memo
            self._carry_out(plan)
            if wanted <= self.started.keys() or stop():
                return
            following = self._next(plan.wake_at, step >= EXACT_STEPS)
            if following is None:
                self.over = True
                return
            self._pass(following)

    # --- time
    def _next(self, wake: float | None, coarse: bool) -> float | None:
        passed = self.now - self.first
        while self._ends and self._numbers.get(self._ends[0][3]) != self._ends[0][2]:
            heappop(self._ends)
        found = None
        if self._ends:
            found = max(self._ends[0][0], self.now + CLOSE * passed) if coarse else self._ends[0][0]
        if wake is not None and wake > self.now:
            wake = max(wake, self.now + WAKE_CLOSE * passed) if coarse else wake
            found = wake if found is None else min(found, wake)
        return None if found is None or found - self.first > HORIZON_SECONDS else found

    def _pass(self, moment: float) -> None:
        """Let time pass and happen what is due."""
        self.now = moment
        while self._ends and self._ends[0][0] <= moment:
            at, what, number, uid, kind = heappop(self._ends)
            if self._numbers.get(uid) != number:
                continue
            del self._numbers[uid]
            self._passed[kind] += 1
            (self._end, self._leave, self._resized)[what](uid, at)

    def _at(self, moment: float, what: int, uid: str, kind: Kind) -> None:
        self._number += 1
        self._numbers[uid] = self._number
        heappush(self._ends, (max(moment, self.now), what, self._number, uid, kind))

    def _expect(self, running: Running) -> None:
        """Note when something that runs will end."""
        gang = running.gang
        deadline = running.deadline
        if running.leaving:
            at = self.now + gang.notice if deadline is None else min(deadline, self.now + gang.notice)
            claimed = bool(running.claimed_by) and not running.sheds
            self._at(at, _RESIZED if running.sheds else _LEAVE if claimed else _END, gang.uid, "leaving")
            return
        had = gang.served + max(0.0, self.now - running.since)
        rest, kind = self._rest(gang, had, None if deadline is None else max(0.0, deadline - self.now))
        if rest is not None:
            self._at(self.now + rest, _END, gang.uid, kind)

    # --- what ends
    def _end(self, uid: str, at: float) -> None:
        running = self._running.pop(uid)
        self._hold(running.gang, running.placement, -1)

    def _leave(self, uid: str, at: float) -> None:
        """A preempted gang has gone, and waits again."""
        running = self._running[uid]
        self._end(uid, at)
        gang = running.gang
        had = gang.served + max(0.0, at - running.since) if gang.resumes else 0.0
        self._waiting[uid] = replace(gang, served=had, preempted_at=(*gang.preempted_at, at))

    def _resized(self, uid: str, at: float) -> None:
        """A resized gang goes on in its new place, which it holds already."""
        running = self._running[uid]
        self._hold(running.gang, running.sheds, -1)
        gang = running.gang
        had = gang.served + max(0.0, at - running.since) if gang.resumes else 0.0
        self._run(Running(replace(gang, served=had), running.placement, at))

    # --- what is decided
    def _carry_out(self, plan: Plan) -> None:
        for admission in plan.admissions:
            self._admit(admission)
        for eviction in plan.evictions:
            self._evict(eviction)
        for resize in plan.resizes:
            self._resize(resize)

    def _admit(self, admission: Admission) -> None:
        gang = self._waiting.pop(admission.uid)
        if gang.uid not in self.started:
            self.started[gang.uid] = self.now
            self.seen[gang.uid] = self._passed.copy()
        self._hold(gang, admission.placement, 1)
        self._run(Running(gang, admission.placement, self.now))

    def _run(self, running: Running) -> None:
        self._running[running.gang.uid] = running
        self._expect(running)

    def _evict(self, eviction: Eviction) -> None:
        running = self._running.get(eviction.uid)
        if running is not None and not running.leaving:
            self._running[eviction.uid] = replace(running, leaving=True, claimed_by=eviction.by)
            self._at(self.now + running.gang.notice, _LEAVE, eviction.uid, "leaving")

    def _resize(self, resize: Resize) -> None:
        running = self._running.get(resize.uid)
        if running is None or running.leaving:
            return
        sheds = shed(running.placement, resize.placement)
        self._hold(running.gang, running.placement, -1)
        self._hold(running.gang, resize.placement, 1)
        self._hold(running.gang, sheds, 1)
        self._running[resize.uid] = replace(
            running, placement=resize.placement, leaving=True, claimed_by=resize.by, sheds=sheds
        )
        self._at(self.now + running.gang.notice, _RESIZED, resize.uid, "leaving")

    # --- places
    def _shown(self) -> Snapshot:
        usage = Usage(
            nodes=self._nodes.copy(),
            queues=self._queues.copy(),
            users=self._users.copy(),
            holders=self._holders.copy(),
            groups=self._groups.copy(),
            tasks=self._tasks.copy(),
        )
        return replace(self._snapshot, usage=usage, running=self._running.copy(), delta=None)

    def _hold(self, gang: Waiting, placement: Placement, sign: int) -> None:
        change = held([(gang, placement)])
        _add(self._nodes, change.nodes, sign)
        _add(self._queues, change.queues, sign)
        _add(self._users, change.users, sign)
        _add(self._groups, change.groups, sign)
        _count(self._tasks, change.tasks, sign)
        _count(self._holders, change.holders, sign)


def _add(into: dict[Key, Amounts], change: Mapping[Key, Amounts], sign: int) -> None:
    nothing = Amounts()
    for key, amounts in change.items():
        known = into.get(key, nothing)
        after = known.plus(amounts) if sign > 0 else known.minus(amounts)
        if after == nothing:
            into.pop(key, None)
        else:
            into[key] = after


def _count(into: dict[Key, int], change: Mapping[Key, int], sign: int) -> None:
    for key, number in change.items():
        into[key] = into.get(key, 0) + sign * number
