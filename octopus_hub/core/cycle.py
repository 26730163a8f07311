"""The course of one scheduling cycle over a memo: who is served in which order, who is admitted, blocked, kept for.

Deciding and explaining are the same walk: reasons in words are made only when somebody asks for a plan's ``waits``.
Used by ``schedule`` only, whose docstring has the rules.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from octopus_hub.core.choices import Placed
from octopus_hub.core.line import Entry, Line, Shape, Walk, in_order
from octopus_hub.core.memo import Memo
from octopus_hub.core.placement import Role, avoided, find
from octopus_hub.core.plan import Admission, Eviction, Waits
from octopus_hub.core.preempt import Candidate, Claim, lift, make_room
from octopus_hub.core.reason import Reason
from octopus_hub.core.refusal import back_off, refuse
from octopus_hub.core.snapshot import Running, Waiting
from octopus_hub.core.words import behind, makes_room, never_fits, paused, unknown
from octopus_hub.model.queue import Queue

_Turn = tuple[tuple[int, ...], float, str, str]
_Tried = tuple[tuple[Role, ...], frozenset[int]]
_NO_REASON = Reason(code="NoFit", message="")


class Cycle:
    """The state of one cycle. With ``explaining`` it also finds the reasons."""

    def __init__(self, memo: Memo, *, explaining: bool = False) -> None:
        self.memo = memo
        self.explaining = explaining
        self.snapshot = memo.snapshot
        self.now = memo.now
        self.trial = memo.trial
        self.quotas = memo.quotas
        self.admissions: list[Admission] = []
        self.evictions: list[Eviction] = []
        self.wake_at: float | None = None
        self._walks: dict[str, Walk] = {}
        self._uses: dict[str, dict[str, float]] = {}
        self._served: set[str] = set()  # admitted, or waiting for room that is made for it
        self._evicted: set[str] = set()
        self._failed: dict[_Tried, Reason] = {}
        self._unkept: set[_Tried] = set()
        self._reserved: set[str] = set()  # queues that have nodes kept for a blocked gang
        self._reasons: dict[str, Reason] = {}
        self._never: dict[tuple[Role, ...], Reason] = {}
        self._blockers: dict[str, Reason] = {}
        self._user_blockers: dict[tuple[str, str], Reason] = {}

    def run(self) -> None:
        """Serve everybody who can be served."""
        self._settle_claims()
        for name, line in self.memo.lines.items():
            if line.policy.by_use and line.queue is not None:
                self._uses[name] = dict(self.memo.moment(line.queue).uses)
            self._walks[name] = Walk(line, self._uses.get(name), self._room(line))
        heads = [self._turn(name, entry) for name, walk in self._walks.items() if (entry := walk.first()) is not None]
        heapify(heads)
        while heads:
            turn = heappop(heads)
            name = turn[-1]
            walk = self._walks[name]
            entry = walk.first()
            if entry is None:
                continue
            now = self._turn(name, entry)
            if heads and now > turn:  # others of its cohort were given something meanwhile
                heappush(heads, now)
                continue
            if entry.gang.uid in self._served:
                walk.advance()
            elif not self._serve(entry, walk):
                continue
            following = walk.first()
            if following is not None:
                heappush(heads, self._turn(name, following))
        self._wake_for_reviews()

    def _room(self, line: Line) -> int | None:
        """Return how much room there is, to leave out what found none in as much; None where all have to be tried.

        While room is kept for claimants, where it is kept may change from cycle to cycle, and with it what is left.
        """
        independent = line.queue is not None and line.queue.backfill == "any" and not line.queue.paused
        return self.trial.freed if independent and not self.explaining and not self.trial.kept_for else None

    def _turn(self, queue: str, entry: Entry) -> _Turn:
        """Return when a queue's head has its turn among those of other queues."""
        shares = tuple(share for share, _ in self.quotas.shares(queue)) if len(self._walks) > 1 else ()
        return (shares, entry.gang.queued_at, entry.gang.uid, queue)

    # --- one gang
    def _serve(self, entry: Entry, walk: Walk) -> bool:
        """Serve the next gang of a queue; return whether the queue may go on."""
        gang, line = entry.gang, walk.line
        queue = line.queue
        if queue is None:
            return self._step_aside(entry, walk, unknown(gang))
        if queue.paused:
            self._blockers[queue.name] = self._reasons[gang.uid] = paused(queue)
            return False
        held_up = self._user_blockers.get((gang.queue, gang.owner))
        if held_up is not None:
            self._reasons[gang.uid] = held_up
            return _next_of_lane(walk, held_up)
        refused = None if entry.shape.choices else self.quotas.check(gang, entry.shape.total)
        if refused is not None:
            return self._refused(entry, walk, refused)
        excluded = avoided(self.trial, gang, self.now)
        tried = (entry.shape.roles, excluded)
        known = self._failed.get(tried)
        if known is None:
            placement = self._place(gang, entry.shape, excluded, checked=True)
            if placement is not None:
                self._admit(gang, entry.shape, placement)
                walk.advance()
                return True
        if not self._fits_bare(gang, entry.shape):
            return self._step_aside(entry, walk, self._never_reason(gang, entry.shape))
        if excluded and self._backs_off(gang):
            walk.advance()
            return True
        if self._claim(entry, queue, excluded):
            walk.advance()
            return True
        # Within a cycle room only shrinks: what found none once is not tried again, and its figures still hold.
        if known is None:
            known = self._failed[tried] = refuse(self.trial, gang) if self.explaining else _NO_REASON
        return self._blocked(entry, walk, excluded, known)

    def _refused(self, entry: Entry, walk: Walk, reason: Reason) -> bool:
        gang, queue = entry.gang, walk.line.queue
        assert queue is not None
        never = self.quotas.check_empty(gang, entry.shape.total)
        if never is not None:
            return self._step_aside(entry, walk, never)
        if reason.code in ("UserQuota", "GroupQuota"):
            self._reasons[gang.uid] = reason
            self._user_blockers[gang.queue, gang.owner] = held_up = behind(gang, reason)
            return _next_of_lane(walk, held_up)
        if self._claim(entry, queue, avoided(self.trial, gang, self.now)):
            walk.advance()
            return True
        self._reasons[gang.uid] = reason
        if queue.backfill == "any":
            return _next_of_lane(walk, reason)
        self._blockers[gang.queue] = behind(gang, reason)
        return False

    def _blocked(self, entry: Entry, walk: Walk, excluded: frozenset[int], reason: Reason) -> bool:
        gang, queue = entry.gang, walk.line.queue
        assert queue is not None
        self._reasons[gang.uid] = reason
        if queue.backfill == "any":
            room = self._room(walk.line)
            walk.close(reason) if room is None else walk.fail(reason, room)
            return True
        if queue.name not in self._reserved:
            self._reserved.add(queue.name)
            if self._keep(gang, entry.shape, excluded):
                walk.advance()
                return True
        if queue.backfill == "reserve":
            return _next_of_lane(walk, reason)
        self._blockers[queue.name] = behind(gang, reason)
        return False

    def _step_aside(self, entry: Entry, walk: Walk, reason: Reason) -> bool:
        """Waiting for others would not help it, nor anybody of its lane: they block nobody."""
        self._reasons[entry.gang.uid] = reason
        return _next_of_lane(walk, reason)

    def _backs_off(self, gang: Waiting) -> bool:
        """Note when to look again; return whether avoided nodes are all that the gang lacks."""
        self._wake(min(until for until in gang.avoid.values() if until > self.now))
        if find(self.trial, gang) is None:
            return False
        self._reasons[gang.uid] = back_off(gang, self.now)
        return True

    def _admit(self, gang: Waiting, shape: Shape, placement: Placed) -> None:
        self.trial.add(gang, placement)
        self.admissions.append(Admission(uid=gang.uid, placement=placement))
        self._served.add(gang.uid)
        uses = self._uses.get(gang.queue)
        if uses is not None:
            uses[gang.owner] = uses.get(gang.owner, 0.0) + shape.width * 3600.0

    def _keep(self, gang: Waiting, shape: Shape, excluded: frozenset[int]) -> bool:
        """Keep nodes for a blocked head; return True if they turn out to be free, and it is admitted."""
        tried = (shape.roles, excluded)
        if tried in self._unkept:
            return False
        empty = self.memo.empty
        kept = find(empty, gang, excluded) or (find(empty, gang) if excluded else None)
        if kept is None:
            self._unkept.add(tried)
            return False
        if not excluded and self.trial.fits(gang, kept):  # packing found no way, but this one is free
            self._admit(gang, shape, kept)
            self._reasons.pop(gang.uid, None)
            return True
        self.trial.keep(gang, kept)
        empty.keep(gang, kept)
        return False

    def _fits_bare(self, gang: Waiting, shape: Shape) -> bool:
        """Say whether the gang fits the usable nodes when nothing runs there."""
        table = self.memo.fits_bare
        found = table.get(shape.roles)
        if found is None:
            found = table[shape.roles] = find(self.memo.bare, gang) is not None
        return found

    def _never_reason(self, gang: Waiting, shape: Shape) -> Reason:
        if not self.explaining:
            return _NO_REASON
        reason = self._never.get(shape.roles)
        if reason is None:
            reason = self._never[shape.roles] = never_fits(self.snapshot, self.memo.bare, gang)
        return reason

    # --- room that others make
    def _settle_claims(self) -> None:
        """Those for whom others were asked to go come first: admitted if the room is there, else it is kept for them."""
        claims: dict[str, list[Running]] = {}
        for running in self.memo.leaving.values():
            if running.claimed_by:
                claims.setdefault(running.claimed_by, []).append(running)
        found = [(gang, claims[uid]) for uid in claims if (gang := self.memo.waits(uid)) is not None]
        for gang, victims in sorted(found, key=lambda claim: (claim[0].queued_at, claim[0].uid)):
            queue = self.snapshot.queues.get(gang.queue)
            if queue is not None and not queue.paused:
                self._settle(gang, victims)

    def _settle(self, gang: Waiting, victims: list[Running]) -> None:
        shape = self.memo.shape(gang)
        excluded = avoided(self.trial, gang, self.now)
        placement = self._place(gang, shape, excluded)
        if placement is not None:
            self._admit(gang, shape, placement)
            return
        mark = self.trial.mark()
        for running in victims:
            lift(self.trial, running)
        placement = self._place(gang, shape, excluded)
        self.trial.rollback(mark)
        if placement is not None:
            self._expect(gang, shape, placement, victims)

    def _place(self, gang: Waiting, shape: Shape, excluded: frozenset[int], *, checked: bool = False) -> Placed | None:
        """Return where a gang can start as the trial is now, within its quotas."""
        if shape.choices:
            return find(self.trial, gang, excluded, lambda total: self.quotas.check(gang, total) is None)
        if not checked and self.quotas.check(gang, shape.total) is not None:
            return None
        return self._find(gang, shape, excluded)

    def _find(self, gang: Waiting, shape: Shape, excluded: frozenset[int]) -> Placed | None:
        """Look for places, once it is sure that every role alone finds room."""
        slots = self.trial.slots
        for role in shape.roles:
            if slots(role.need, role.selector, excluded).total < role.tasks and not shape.choices:
                return None
        return find(self.trial, gang, excluded)

    def _expect(self, gang: Waiting, shape: Shape, placement: Placed, victims: list[Running]) -> None:
        """Keep the room that is being made, on nodes and quotas."""
        self.trial.keep(gang, placement)
        self.trial.charge(gang, shape.total, 1)
        self._served.add(gang.uid)
        if self.explaining:
            self._reasons[gang.uid] = makes_room(gang, shape.total, victims)

    def _claim(self, entry: Entry, queue: Queue, excluded: frozenset[int]) -> bool:
        """Ask others to make room; return whether they do."""
        gang, shape = entry.gang, entry.shape
        short = shape.width - self._free_devices(shape)
        candidates = self._candidates(entry, queue, short)
        if not candidates:
            return False
        claim = Claim(gang, excluded, short, lambda: self.quotas.check(gang, shape.total) is None)
        room = make_room(self.trial, claim, self._leaving(), candidates)
        if room is None or not room.victims:
            return False  # without victims room comes by itself: it waits like any other
        for candidate in room.victims:
            victim = candidate.member.running.gang
            self.evictions.append(Eviction(uid=victim.uid, by=gang.uid, rule=candidate.rule))
            self._evicted.add(victim.uid)
        self._expect(gang, shape, room.placement, [each.member.running for each in room.victims])
        return True

    def _leaving(self) -> list[Running]:
        """Return what leaves without a claimant that waits for it."""
        return [
            running
            for running in self.memo.leaving.values()
            if not running.claimed_by or self.memo.waits(running.claimed_by) is None
        ]

    def _candidates(self, entry: Entry, queue: Queue, short: float) -> list[Candidate]:
        """Return who may have to go for a gang, the first to go first; none if all of them would not be enough."""
        policy = self.memo.lines[entry.gang.queue].policy
        herd = self.memo.herds.get(entry.gang.queue)
        if policy.claim is None or herd is None or not queue.preemption.within:
            return []
        moment = self.memo.moment(queue)
        herd.review(policy, moment)
        level = policy.claim(entry.gang, moment)
        if herd.above(level) < short:
            return []
        found = []
        for member in herd.ranked:
            assert member.standing is not None
            if member.standing <= level:
                break
            if member.running.gang.uid not in self._evicted:
                found.append(Candidate(member, policy.rule))
        return found

    def _free_devices(self, shape: Shape) -> float:
        """Return how many devices of the kinds it asks for are free: a bound, whatever their places."""
        kinds = {dimension for role in shape.roles for dimension, _ in role.need if dimension > 1}
        if not kinds:
            return shape.width
        return float(sum(self.trial.slots(((dimension, 1),), ()).total for dimension in kinds))

    # --- time
    def _wake(self, at: float) -> None:
        self.wake_at = at if self.wake_at is None else min(self.wake_at, at)

    def _wake_for_reviews(self) -> None:
        """While somebody waits whom a later review could help, look again then."""
        for name, line in self.memo.lines.items():
            queue = line.queue
            if queue is None or queue.paused or not (line.policy.claim or line.policy.timed):
                continue
            herd = self.memo.herds.get(name)
            if herd is None or not herd.members or len(line) == self._admitted_of(line):
                continue
            self._wake(self.memo.moment(queue).tick + queue.preemption.review_seconds)

    def _admitted_of(self, line: Line) -> int:
        if not self.admissions:
            return 0
        return sum(1 for entry in line.gangs() if entry.gang.uid in self._served)

    # --- explaining
    def waits(self) -> dict[str, Waits]:
        """Return place and reason of everything that was not admitted."""
        admitted = {admission.uid for admission in self.admissions}
        found: dict[str, Waits] = {}
        for queue, line in self.memo.lines.items():
            behind_head = self._blockers.get(queue)
            lanes = self._walks[queue].reasons()
            place = 0
            for entry in in_order(line, self._uses.get(queue)):
                uid = entry.gang.uid
                if uid in admitted:
                    continue
                place += 1
                reason = self._reasons.get(uid) or lanes.get(uid) or behind_head
                assert reason is not None  # untried gangs have a blocked head before them
                found[uid] = Waits(place, reason)
        return found


def _next_of_lane(walk: Walk, reason: Reason) -> bool:
    """Leave out the rest of the lane, for the same reason."""
    walk.close(reason)
    return True
