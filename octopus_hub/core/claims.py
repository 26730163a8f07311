"""Room that others make: who is asked to go (or to shrink) for whom, and what is kept for claimants meanwhile.

Part of a cycle. A claimant is admitted by the first cycle that finds its room; until then the room is counted as its
own beside what the leaving gangs still hold, on nodes and quotas, so that nothing is ever given twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from octopus_hub.core.calendar import overdue
from octopus_hub.core.choices import Placed, choices_of, chosen
from octopus_hub.core.fence import ask
from octopus_hub.core.fence import level as is_level
from octopus_hub.core.fence import truth as is_truth
from octopus_hub.core.herd import Herd
from octopus_hub.core.leavers import Leavers
from octopus_hub.core.line import Entry, Shape
from octopus_hub.core.memo import Memo
from octopus_hub.core.plan import Eviction, Resize
from octopus_hub.core.policies import Moment
from octopus_hub.core.preempt import Candidate, Claim, make_room
from octopus_hub.core.shrinking import shrink, shrink_some
from octopus_hub.core.sizes import size
from octopus_hub.core.snapshot import Running, Waiting, gang_total
from octopus_hub.model.queue import Queue

SHRINKS_TRIED = 8
_NEVER: int | None = 1 << 62  # a level that nobody stands above
Spares = Callable[[Waiting, Running, Moment], bool]
Place = Callable[[Waiting, Shape], Placed | None]  # where a gang can start as the trial is now, within its quotas


class Claims:
    """The claims of one cycle.

    Attributes
    ----------
    waiting_for : dict of str to list of Running
        Claimants and whom they wait for.
    later : bool
        The last one asked could not claim yet; others of its shape may.
    """

    def __init__(self, memo: Memo, place: Place, *, explaining: bool = False) -> None:
        self.memo = memo
        self.trial = memo.trial
        self.quotas = memo.quotas
        self.evictions: list[Eviction] = []
        self.resizes: list[Resize] = []
        self.waiting_for: dict[str, list[Running]] = {}
        self.later = False
        self._place = place
        self.asked: set[str] = set()  # in this cycle
        self._shrinks_left = SHRINKS_TRIED
        self._explaining = explaining
        self._leavers: Leavers | None = None

    # --- those that claimed before
    def pending(self) -> Iterator[tuple[Waiting, list[Running]]]:
        """Yield the claimants for whom others leave or have left, the longest waiting first, with who still leaves."""
        claims: dict[str, list[Running]] = {}
        for running in self.memo.leaving.values():
            if running.claimed_by:
                claims.setdefault(running.claimed_by, []).append(running)
        for uid in self.memo.claimants:
            claims.setdefault(uid, [])
        found = [(gang, claims[uid]) for uid in claims if (gang := self.memo.waits(uid)) is not None]
        yield from sorted(found, key=lambda claim: (claim[0].queued_at, claim[0].uid))

    def expect(self, gang: Waiting, shape: Shape, victims: list[Running]) -> bool:
        """Keep the room that is being made for a claimant; False if it is not enough any more."""
        placement = self._once_left(gang, shape)
        if placement is None:
            return False
        self._keep(gang, shape, placement, victims)
        return True

    def _once_left(self, gang: Waiting, shape: Shape) -> Placed | None:
        """Return where a gang could start once all who leave have left, beside what is kept for others."""
        mark = self.trial.mark()
        self._leaving().lift_for(shape)
        placement = self._place(gang, shape)
        self.trial.rollback(mark)
        return placement

    def _keep(self, gang: Waiting, shape: Shape, placement: Placed, victims: list[Running]) -> None:
        self.trial.keep(gang, placement)
        total = gang_total(chosen(gang.needs, choices_of(placement))) if shape.choices else shape.total
        self.trial.charge(gang, total, 1)
        self.waiting_for[gang.uid] = victims

    # --- those that must go whoever waits
    def go(self, evictions: Iterable[Eviction]) -> None:
        """Ask these to go: for a window, or because a budget is used up."""
        for eviction in evictions:
            if eviction.uid not in self.asked:
                self.asked.add(eviction.uid)
                self.evictions.append(eviction)
                if self._leavers is not None:
                    self._leavers.add(self.memo.running[eviction.uid])

    def due(self) -> None:
        """Ask those to go whose nodes are set aside, or whose queue has used up its budget and stops then."""
        snapshot = self.memo.snapshot
        if snapshot.windows:
            self.go(overdue(snapshot.windows, snapshot.running.values(), self.memo.now))
        for name in snapshot.spent:
            if self.quotas.over_budget(name) == "stop" and (herd := self.memo.herds.get(name)) is not None:
                members = [member.running for member in herd.members.values()]
                self.go(
                    Eviction(each.gang.uid, name, "budget")
                    for each in sorted(members, key=lambda each: each.gang.uid)
                    if not each.leaving and each.gang.preemptible
                )

    # --- new claims
    def claim(self, entry: Entry, queue: Queue) -> bool:
        """Ask others to make room for a gang; return whether they do."""
        self.later = False
        gang, shape = entry.gang, entry.shape
        if self._given_back(gang, shape):
            return True
        level = self._level(gang, queue)
        if level is None and not queue.cohort and not self.memo.snapshot.spent:
            return False
        leaving = self._leaving()
        short = shape.width - self._free_devices(shape) - leaving.room(_devices(shape))
        by_itself = self._once_left(gang, shape) if short <= 0 and leaving.gangs else None
        if by_itself is not None:  # nobody else is asked
            if level is None:
                return False
            # not kept, all who could use it would count on it, and nobody would claim anything else meanwhile
            self._keep(gang, shape, by_itself, _leaving_from(by_itself, leaving) if self._explaining else [])
            return True
        candidates = self._candidates(entry, queue, level, short)
        if not candidates:
            return False
        if self._shrunk(gang, shape, candidates):
            return True
        packs = self.memo.lines[gang.queue].policy.packs
        claim = Claim(shape.width, packs, lambda: self._place(gang, shape))
        room = make_room(self.trial, claim, leaving.lift, candidates, lambda: self._free_devices(shape))
        if room is None:
            return False
        self.go(Eviction(each.member.running.gang.uid, gang.uid, each.rule) for each in room.victims)
        self._keep(gang, shape, room.placement, [each.member.running for each in room.victims])
        return True

    def _given_back(self, gang: Waiting, shape: Shape) -> bool:
        """Let elastic gangs give back what they grew into while it was nobody's, whatever the policies say."""
        if not self.memo.elastic or self._shrinks_left <= 0:
            return False
        running = self.memo.running
        able = [running[uid] for uid in self.memo.elastic - self.asked if uid in running]
        able = [each for each in able if _beyond_minimum(each) and each.gang.preemptible and each.gang.resumes]
        if not able:
            return False
        mark = self.trial.mark()
        found = shrink_some(self.trial, able, gang, lambda trial: self._place(gang, shape) is not None, self.memo.now)
        placement = self._place(gang, shape) if found else None
        self.trial.rollback(mark)
        if placement is None:
            self._shrinks_left -= 1
            return False
        self.asked.update(resize.uid for resize in found)
        self.resizes += found
        self._keep(gang, shape, placement, [running[resize.uid] for resize in found])
        return True

    def _shrunk(self, gang: Waiting, shape: Shape, candidates: list[Candidate]) -> bool:
        """Let an elastic gang give up tasks beyond its minimum instead of its place."""
        tried = 0
        for candidate in candidates:
            running = candidate.member.running
            if not _beyond_minimum(running):
                continue
            mark = self.trial.mark()
            resize = shrink(
                self.trial, running, gang, lambda trial: self._place(gang, shape) is not None, self.memo.now
            )
            placement = self._place(gang, shape) if resize is not None else None
            self.trial.rollback(mark)
            if resize is not None and placement is not None:
                self.asked.add(resize.uid)
                self.resizes.append(resize)
                self._keep(gang, shape, placement, [running])
                return True
            tried += 1
            if tried == SHRINKS_TRIED:
                break
        return False

    def _leaving(self) -> Leavers:
        """Return all that will have left soon; what is kept for claimants is taken from the room it makes."""
        if self._leavers is None:
            told = [self.memo.running[eviction.uid] for eviction in self.evictions]
            self._leavers = Leavers(self.trial, [*self.memo.leaving.values(), *told])
        return self._leavers

    def _free_devices(self, shape: Shape) -> float:
        """Return how many devices of the kinds it asks for are free: a bound, whatever their places."""
        kinds = _devices(shape)
        if not kinds:
            return shape.width
        return float(sum(self.trial.slots(((dimension, 1),), ()).total for dimension in kinds))

    # --- who may be asked
    def _candidates(self, entry: Entry, queue: Queue, level: int | None, short: float) -> list[Candidate]:
        """Return who may have to go for a gang, the first to go first; none if all of them would not be enough."""
        found: list[Candidate] = []
        if self.memo.snapshot.spent:
            found += self._of_low_queues(entry)
        if queue.cohort:
            found += self._borrowers(entry)
        if level is not None:
            found += self._within(entry, queue, level, short if not found else 0.0)
        if queue.cohort and queue.policy == "fair":
            found += self._beyond_their_share(entry)
        if sum(each.member.width for each in found) < short:
            return []
        return [each for each in found if each.member.running.gang.uid not in self.asked]

    def _level(self, gang: Waiting, queue: Queue) -> int | None:
        """Return the level above which its queue's policy lets it claim; None if it can't now."""
        policy = self.memo.lines[gang.queue].policy
        herd = self.memo.herds.get(gang.queue)
        if policy.claim is None or herd is None or not herd.members or not queue.preemption.within:
            return None
        moment = self.memo.moment(queue)
        if policy.reviews and self.memo.now > moment.claims_until:
            return None
        self.memo.review(queue)
        level = ask(self.memo, moment, gang, policy.claim, is_level, _NEVER)
        if level is None:
            self.later = True
        return level

    def _within(self, entry: Entry, queue: Queue, level: int, short: float) -> list[Candidate]:
        """Return those that the queue's own policy puts behind the gang."""
        gang, herd = entry.gang, self.memo.herds[entry.gang.queue]
        if herd.above(level) < short and not queue.cohort:
            return []
        members = herd.beyond(level)
        policy = self.memo.lines[gang.queue].policy
        if policy.spares is not None:
            moment = self.memo.moment(queue)
            members = [each for each in members if not _spared(self.memo, moment, gang, policy.spares, each.running)]
        return [Candidate(member, policy.rule) for member in members]

    def _borrowers(self, entry: Entry) -> list[Candidate]:
        """Return those of other queues that run on what belongs to this one, the queue with the largest share first."""
        names = self.quotas.reclaimable(entry.gang, entry.shape.total)
        found: list[Candidate] = []
        for name in sorted(names, key=lambda name: (-self.quotas.share(name), name)):
            herd = self._reviewed(name)
            if herd is not None and self.memo.snapshot.queues[name].preemption.reclaim:
                still = _borrowing(self, name)
                found += [Candidate(member, "reclaim", still) for member in herd.ranked]
        return found

    def _beyond_their_share(self, entry: Entry) -> list[Candidate]:
        """Return those of other queues of the cohort that keep a larger share than this queue has with the gang."""
        gang, total = entry.gang, entry.shape.total
        borrows = self.quotas.would_borrow(gang.queue, total)
        self.quotas.charge(gang, total, 1)
        mine = self.quotas.share(gang.queue)
        self.quotas.charge(gang, total, -1)
        own = self.quotas.node(gang.queue)
        shares = []
        for name in self.memo.herds:
            node = self.quotas.node(name)
            if name != gang.queue and own is not None and node is not None and node.root is own.root:
                share = self.quotas.share(name)
                if share > mine and self.memo.snapshot.queues[name].preemption.reclaim:
                    shares.append((-share, name))
        found: list[Candidate] = []
        for _, name in sorted(shares):
            herd = self._reviewed(name)
            if herd is not None:
                found += [
                    Candidate(each, "fairness", _keeping(self, each.running, mine, borrows)) for each in herd.ranked
                ]
        return found

    def _of_low_queues(self, entry: Entry) -> list[Candidate]:
        """Return those of queues that make room for anybody once their budget is used up."""
        found: list[Candidate] = []
        for name in sorted(self.memo.snapshot.spent):
            if name != entry.gang.queue and self.quotas.over_budget(name) == "low":
                herd = self._reviewed(name)
                if herd is not None:
                    found += [Candidate(member, "budget") for member in herd.ranked]
        return found

    def _reviewed(self, name: str) -> Herd | None:
        queue = self.memo.snapshot.queues.get(name)
        return self.memo.review(queue) if queue is not None else None


def _spared(memo: Memo, moment: Moment, gang: Waiting, spares: Spares, running: Running) -> bool:
    """Say whether a policy leaves a running gang alone; asked very often, so that only what it does wrong is fenced."""
    try:
        answer = spares(gang, running, moment)
    except Exception:
        pass
    else:
        if answer is True or answer is False:
            return answer
    return ask(memo, moment, gang, lambda gang, moment: spares(gang, running, moment), is_truth, True)


def _devices(shape: Shape) -> list[int]:
    """Return the dimensions of the devices that it asks for."""
    return sorted({dimension for role in shape.roles for dimension, _ in role.need if dimension > 1})


def _leaving_from(placement: Placed, leaving: Leavers) -> list[Running]:
    """Return those that leave nodes of a placement."""
    nodes = {span.node for spans in placement.values() for span in spans}
    return [
        each for each in leaving.gangs if any(span.node in nodes for spans in each.placement.values() for span in spans)
    ]


def _borrowing(claims: Claims, queue: str) -> Callable[[], bool]:
    return lambda: claims.quotas.borrows(queue)


def _keeping(claims: Claims, victim: Running, mine: int, borrows: bool) -> Callable[[], bool]:
    """Return what says whether a queue still has at least ``mine`` as its share when this one is gone.

    Who would borrow takes nothing from a queue that doesn't: that one would take it back.
    """

    def still() -> bool:
        if borrows and not claims.quotas.borrows(victim.gang.queue):
            return False
        mark = claims.trial.mark()
        claims.trial.lift(victim)
        share = claims.quotas.share(victim.gang.queue)
        claims.trial.rollback(mark)
        return share >= mine

    return still


def _beyond_minimum(running: Running) -> bool:
    return any(need.most is not None and size(running.placement, need.role) > need.count for need in running.gang.needs)
