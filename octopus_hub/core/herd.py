"""What runs in each queue, and in which order it would make room. Kept between cycles; used by ``schedule`` only.

Of gangs with the same standing the one goes first whose eviction loses the least work: those that resume without a
word about checkpoints, then those with the latest checkpoint (of those that start again, with the least service), then
the one that started last. That order never changes with time, so only gangs whose standing changes are looked at.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from octopus_hub.core.policies import Moment, Policy
from octopus_hub.core.policies.policy import Standing
from octopus_hub.core.snapshot import Running
from octopus_hub.model.queue import Queue

DAY_SECONDS = 86400.0

_Key = tuple[int, int, float, float, str]


@dataclass(slots=True, eq=False)
class Member:
    """A running gang. ``standing`` is None while it may not be asked to go."""

    running: Running
    width: float
    evictable_from: float
    standing: int | None = None
    until: float = -inf  # the standing, or its lack, stays as it is
    key: _Key | None = None


@dataclass(slots=True)
class Herd:
    """The running gangs of one queue, those that may be asked to go in the order in which they would."""

    members: dict[str, Member] = field(default_factory=dict)
    ranked: list[Member] = field(default_factory=list)
    widths: dict[int, float] = field(default_factory=dict)  # by standing
    faults: dict[str, str] = field(default_factory=dict)  # of the queue's policy, by the uid of whom it was asked for
    changes: int = 0  # how often one came or went
    _tick: float | None = None
    _uses: dict[str, float] | None = None
    _fresh: list[Member] = field(default_factory=list)

    def put(self, running: Running, queue: Queue | None) -> None:
        """Note a gang that runs."""
        member = Member(running, running.gang.width, evictable_from(running, queue))
        self.members[running.gang.uid] = member
        self._fresh.append(member)
        self.changes += 1

    def drop(self, uid: str) -> None:
        """Note that a gang is gone."""
        member = self.members.pop(uid)
        self.changes += 1
        self.faults.pop(uid, None)
        self._unrank(member)
        member.until = inf  # should it still be among the fresh ones

    def forget(self, queue: Queue | None) -> None:
        """Rank anew: the queue was changed."""
        self.ranked.clear()
        self.widths.clear()
        self.faults.clear()
        self._tick = None
        self._fresh.clear()
        for running in [member.running for member in self.members.values()]:
            self.put(running, queue)

    def learn(self) -> None:
        """Rank anew: what is known of run times has changed."""
        self._tick = None
        for member in self.members.values():
            member.until = -inf

    def review(self, policy: Policy, moment: Moment) -> None:
        """Bring standings up to this tick."""
        tick = moment.tick
        if self._tick == tick and (self._uses is moment.uses or not policy.by_use):
            for member in self._fresh:
                if member.until <= tick:
                    self._rank(member, policy, moment)
        else:
            for member in self.members.values():
                if member.until <= tick:
                    self._rank(member, policy, moment)
        self._fresh.clear()
        self._tick, self._uses = tick, moment.uses

    def above(self, claim: int) -> float:
        """Return how much those hold together that stand above a claim."""
        return sum(held for standing, held in self.widths.items() if standing > claim)

    def beyond(self, claim: int) -> list[Member]:
        """Return those that stand above a claim, the first to go first."""
        return self.ranked[: bisect_left(self.ranked, -claim, key=_descending)]

    def _rank(self, member: Member, policy: Policy, moment: Moment) -> None:
        self._unrank(member)
        if member.evictable_from > moment.tick:
            member.until = member.evictable_from
            return
        found = self._standing(member.running, policy, moment)
        if found is None:
            member.until = moment.tick
            return
        standing, member.until = found
        member.standing = standing
        member.key = (-standing, *_order(member.running))
        insort(self.ranked, member, key=_key)
        self.widths[standing] = self.widths.get(standing, 0.0) + member.width

    def _standing(self, running: Running, policy: Policy, moment: Moment) -> Standing | None:
        """Ask the policy; None if it raises or answers with something else: nobody goes for that."""
        if policy.standing is None:
            return 0, inf
        name = running.gang.name
        try:
            standing, until = found = policy.standing(running, moment)
            if isinstance(standing, int) and isinstance(until, (int, float)) and until == until:
                if self.faults:
                    self.faults.pop(running.gang.uid, None)
                return found
            fault = f"policy {moment.queue.policy} gave {found!r} for {name}, not a standing"
        except Exception as error:
            fault = f"policy {moment.queue.policy} failed for {name}: {type(error).__name__}: {error}"
        self.faults[running.gang.uid] = fault
        return None

    def _unrank(self, member: Member) -> None:
        if member.key is None or member.standing is None:
            return
        del self.ranked[bisect_left(self.ranked, member.key, key=_key)]
        left = self.widths[member.standing] - member.width
        if left > 0:
            self.widths[member.standing] = left
        else:
            del self.widths[member.standing]
        member.key = member.standing = None


def _key(member: Member) -> _Key:
    assert member.key is not None
    return member.key


def _descending(member: Member) -> int:
    return _key(member)[0]


def _order(running: Running) -> tuple[int, float, float, str]:
    gang = running.gang
    if gang.resumes and running.checkpoint_at is None:
        lost = (0, 0.0)
    elif gang.resumes:
        lost = (1, -(running.checkpoint_at or 0.0))
    else:
        lost = (1, gang.served - running.since)
    return (*lost, -running.since, gang.uid)


def evictable_from(running: Running, queue: Queue | None) -> float:
    """Return from when on a running gang may be preempted; inf if never."""
    gang = running.gang
    if queue is None or running.leaving or not gang.preemptible:
        return inf
    rules = queue.preemption
    least = gang.min_runtime if gang.min_runtime is not None else rules.min_runtime_seconds
    at = running.since + least if least > 0 else -inf
    if rules.per_day <= 0:
        return inf
    if len(gang.preempted_at) >= rules.per_day:
        at = max(at, sorted(gang.preempted_at)[-rules.per_day] + DAY_SECONDS)
    return at


def difference(
    before: Mapping[str, Running], after: Mapping[str, Running]
) -> tuple[tuple[Running, ...], tuple[str, ...]]:
    """Return what is new or changed, and the uids of what is gone."""
    if before is after:
        return (), ()
    started = tuple(running for uid, running in after.items() if before.get(uid) is not running)
    if len(after) == len(before) and not started:
        return (), ()
    return started, tuple(uid for uid in before if uid not in after)
