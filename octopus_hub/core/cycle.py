"""The course of one scheduling cycle over a memo: who is served in which order, who is admitted, blocked, kept for.

Deciding and explaining are the same walk: reasons in words are made only when somebody asks for a plan's ``waits``.
Used by ``schedule`` only, whose docstring has the rules.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from octopus_hub.core import calendar, elastic
from octopus_hub.core.ahead import Ahead
from octopus_hub.core.choices import Placed
from octopus_hub.core.claims import Claims
from octopus_hub.core.fence import ask, truth
from octopus_hub.core.line import Entry, Line, Shape, Walk, in_order
from octopus_hub.core.memo import Memo
from octopus_hub.core.placement import Allowed, Role, avoided, find
from octopus_hub.core.plan import Admission, Eviction, Resize, Waits
from octopus_hub.core.policies.fair import HELD_SECONDS
from octopus_hub.core.reason import Reason
from octopus_hub.core.refusal import back_off, refuse
from octopus_hub.core.reserved import reserved_reason
from octopus_hub.core.shrinking import shrinkable_at
from octopus_hub.core.snapshot import Waiting
from octopus_hub.core.turns import Turns
from octopus_hub.core.waking import reviews
from octopus_hub.core.words import behind, makes_room, never_fits, paused, unknown

_Tried = tuple[tuple[Role, ...], frozenset[int]]
_NO_REASON = Reason(code="NoFit", message="")
_NOBODY: frozenset[int] = frozenset()


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
        self.wake_at: float | None = None
        self._claims = Claims(memo, self._place_now, explaining=explaining)
        self._ahead = Ahead(memo)
        self._closures = calendar.Closures(self.snapshot.windows, self.now) if self.snapshot.windows else None
        self._walks: dict[str, Walk] = {}
        self._uses: dict[str, dict[str, float]] = {}
        self._served: set[str] = set()  # admitted, or waiting for room that is made for it
        self._failed: dict[_Tried, Reason] = {}
        self._reserved: set[str] = set()  # queues that have nodes kept for a blocked gang
        self._blocked_for_room = False
        self._reasons: dict[str, Reason] = {}
        self._never: dict[tuple[Role, ...], Reason] = {}
        self._blockers: dict[str, Reason] = {}
        self._user_blockers: dict[tuple[str, str], Reason] = {}

    @property
    def evictions(self) -> list[Eviction]:
        """Who is asked to go."""
        return self._claims.evictions

    @property
    def resizes(self) -> list[Resize]:
        """Who goes on with other numbers of tasks."""
        return self._claims.resizes

    def run(self) -> None:
        """Serve everybody who can be served."""
        self._claims.due()
        self._settle_claims()
        for name, line in self.memo.lines.items():
            uses = self.memo.moment(line.queue).uses if line.policy.by_use and line.queue is not None else None
            if uses is not None:
                self._uses[name] = uses.copy()
            self._walks[name] = Walk(line, self._uses.get(name), self._room(line), uses)
        turns = Turns(self.quotas, self.snapshot, alone=len(self._walks) == 1)
        heads = [turns.of(name, entry) for name, walk in self._walks.items() if (entry := walk.first())]
        heapify(heads)
        while heads:
            turn = heappop(heads)
            name = turn[-1]
            walk = self._walks[name]
            entry = walk.first()
            if entry is None:
                continue
            if heads and (now := turns.later(turn, entry)) is not None:
                heappush(heads, now)
                continue
            if entry.gang.uid in self._served:
                walk.advance()
            elif walk.line.stuck == (self.trial.freed, entry.gang.uid) and self._alone(walk.line):
                self._blocked_for_room = True
                continue
            elif not self._serve(entry, walk):
                continue
            following = walk.first()
            if following is not None:
                heappush(heads, turns.of(name, following))
        self._grow()
        for at in reviews(self.memo, self._served):
            self._wake(at)

    def _room(self, line: Line) -> int | None:
        """Return how much room there is, to leave out what found none in as much; None where all have to be tried.

        While room is kept for claimants, where it is kept may change from cycle to cycle, and with it what is left.
        """
        queue = line.queue
        if self.explaining or self._closures is not None or self.trial.kept_for or self.snapshot.spent:
            return None
        independent = queue is not None and queue.backfill == "any" and not queue.paused and not queue.cohort
        return self.trial.freed if independent else None

    def _alone(self, line: Line) -> bool:
        """Say whether nothing but room decides over a line that nobody passes in."""
        return (
            len(self._walks) == 1
            and not self.explaining
            and self._closures is None
            and not self.snapshot.spent
            and not line.by_owner
            and line.policy.claim is None
            and line.queue is not None
            and line.queue.backfill == "none"
            and not line.queue.cohort
        )

    def _serve(self, entry: Entry, walk: Walk) -> bool:
        """Serve the next gang of a queue; return whether the queue may go on."""
        gang, shape, queue = entry.gang, entry.shape, walk.line.queue
        if queue is None:
            return self._step_aside(entry, walk, unknown(gang))
        if queue.paused:
            self._blockers[queue.name] = self._reasons[gang.uid] = paused(queue)
            return False
        if (held_up := self._user_blockers.get((gang.queue, gang.owner))) is not None:
            return self._step_aside(entry, walk, held_up)
        refused = None if shape.choices else self.quotas.check(gang, shape.total, words=self.explaining)
        if refused is not None:
            return self._refused(entry, walk, refused)
        excluded = self._excluded(gang)
        tried = (shape.roles, excluded)
        known = None if shape.choices else self._failed.get(tried)  # with choices it depends on quotas as well
        if known is None:
            placement = self._place(gang, shape, excluded, checked=True)
            if placement is not None:
                return self._start(entry, placement, walk)
        placement = self._ahead.beside(gang, shape, excluded) if self._ahead.kept else None
        if placement is not None:
            return self._start(entry, placement, walk)
        if not self._fits_bare(gang, shape):
            return self._step_aside(entry, walk, self._never_reason(gang, shape))
        if excluded and self._keeps_off(gang, shape):
            walk.advance()
            return True
        if self._claims.claim(entry, queue):
            return self._expecting(entry, walk)
        # Within a cycle room only shrinks: what found none once is not tried again, and its figures still hold.
        if known is None:
            known = self._failed[tried] = refuse(self.trial, gang) if self.explaining else _NO_REASON
        return self._blocked(entry, walk, excluded, self._set_aside(gang) or known)

    def _start(self, entry: Entry, placement: Placed, walk: Walk) -> bool:
        """Admit a gang that has found room, unless a reserved one would miss the quota that it takes."""
        gang, queue = entry.gang, walk.line.queue
        assert queue is not None
        reserved = self._ahead.holds_quota(gang, placement) if self._ahead.kept else None
        if reserved is None:
            return self._admit(gang, entry.shape, placement, walk)
        reason = self._reasons[gang.uid] = behind(reserved, self._reasons.get(reserved.uid, _NO_REASON))
        if queue.backfill == "none":
            self._blockers[queue.name] = behind(gang, reason)
            if not gang.avoid and not self._claims.waiting_for:
                walk.line.stuck = (self.trial.freed, gang.uid)
            return False
        walk.close(reason)
        return True

    def _refused(self, entry: Entry, walk: Walk, reason: Reason) -> bool:
        """Go on after a refusal by the quotas."""
        gang, queue = entry.gang, walk.line.queue
        assert queue is not None
        if self.quotas.never(gang, entry.shape.total, entry.shape):
            never = self.quotas.check_empty(gang, entry.shape.total) if self.explaining else None
            return self._step_aside(entry, walk, never or _NO_REASON)
        if not self._fits_bare(gang, entry.shape):
            return self._step_aside(entry, walk, self._never_reason(gang, entry.shape))
        if reason.code in ("UserQuota", "GroupQuota"):
            self._reasons[gang.uid] = reason
            self._user_blockers[gang.queue, gang.owner] = held_up = behind(gang, reason)
            walk.close(held_up)
            return True
        if self._claims.claim(entry, queue):
            return self._expecting(entry, walk)
        self._reasons[gang.uid] = reason
        if queue.backfill == "any":
            walk.close(reason)
            return True
        if queue.backfill == "reserve" and queue.name not in self._reserved:  # else who is before it may use its quota
            self._ahead.reserve_in_time(gang, entry.shape, self._excluded(gang))
        self._blockers[gang.queue] = behind(gang, reason)
        return False

    def _blocked(self, entry: Entry, walk: Walk, excluded: frozenset[int], reason: Reason) -> bool:
        """Go on after a gang that has to wait for room."""
        gang, queue, policy = entry.gang, walk.line.queue, walk.line.policy
        assert queue is not None
        self._reasons[gang.uid] = reason
        self._blocked_for_room = True
        patient = True
        if policy.patient is not None:
            patient = ask(self.memo, self.memo.moment(queue), gang, policy.patient, truth, True)
        if (queue.backfill != "any" or not patient) and queue.name not in self._reserved:
            self._reserved.add(queue.name)
            kept = self._ahead.reserve(gang, entry.shape, excluded, timed=queue.backfill != "none")
            if kept is not None:
                self._reasons.pop(gang.uid, None)
                return self._admit(gang, entry.shape, kept, walk)
        if queue.backfill == "none":
            self._blockers[queue.name] = behind(gang, reason)
            if not gang.avoid and not self._claims.waiting_for:
                walk.line.stuck = (self.trial.freed, gang.uid)
            return False
        if self._closures is not None or self._claims.later:  # the next of the lane may be let where this one is not
            walk.advance()
            return True
        room = self._room(walk.line) if patient and not gang.avoid else None  # a back-off wakes every cycle
        walk.close(reason) if room is None else walk.fail(reason, room)
        return True

    def _step_aside(self, entry: Entry, walk: Walk, reason: Reason) -> bool:
        """Waiting for others would not help it, nor anybody of its lane: they block nobody."""
        self._reasons[entry.gang.uid] = reason
        walk.close(reason)
        return True

    def _expecting(self, entry: Entry, walk: Walk) -> bool:
        """Note that others make room for a gang."""
        self._note_claim(entry.gang, entry.shape)
        walk.advance()
        return True

    def _keeps_off(self, gang: Waiting, shape: Shape) -> bool:
        """Note when to look again; return whether nodes that it must keep off are all that the gang lacks."""
        avoids = [until for until in gang.avoid.values() if until > self.now]
        if avoids:
            self._wake(min(avoids))
        closed = self._closed(gang)
        if avoids and find(self.trial, gang, closed, self._permits(gang)) is not None:
            self._reasons[gang.uid] = back_off(gang, self.now)
            return True
        could = bool(closed) and find(self.trial, gang, self._closed(gang, self.now), self._permits(gang)) is not None
        if not could:
            return False
        told = reserved_reason(self.snapshot.windows, gang, self.now, could) if self.explaining else None
        self._reasons[gang.uid] = told or _NO_REASON
        return True

    def _set_aside(self, gang: Waiting) -> Reason | None:
        """Return why, if there is room but all of it on nodes that are set aside for others."""
        if not self.explaining or not self._closed(gang) or find(self.trial, gang) is None:
            return None
        return reserved_reason(self.snapshot.windows, gang, self.now, could_start=False)

    def _excluded(self, gang: Waiting) -> frozenset[int]:
        """Return the nodes that a gang must keep off: after failed binds, and those set aside for others."""
        if self._closures is None:
            return avoided(self.trial, gang, self.now)
        return avoided(self.trial, gang, self.now) | self._closed(gang)

    def _closed(self, gang: Waiting, until: float | None = None) -> frozenset[int]:
        if self._closures is None:
            return _NOBODY
        end = until if until is not None else None if gang.max_runtime is None else self.now + gang.max_runtime
        index = self.trial.cluster.index
        return frozenset(index[name] for name in self._closures.closed(end, gang.queue, gang.owner) if name in index)

    def _permits(self, gang: Waiting) -> Allowed:
        return lambda total: self.quotas.check(gang, total, words=False) is None

    def _place(self, gang: Waiting, shape: Shape, excluded: frozenset[int], *, checked: bool = False) -> Placed | None:
        """Return where a gang can start as the trial is now, within its quotas (``checked``: they were asked)."""
        if shape.choices:
            return find(self.trial, gang, excluded, self._permits(gang))
        if not checked and self.quotas.check(gang, shape.total, words=False) is not None:
            return None
        slots = self.trial.slots
        for role in shape.roles:  # each alone has to find room
            if slots(role.need, role.selector, excluded).total < role.tasks:
                return None
        return find(self.trial, gang, excluded, None, shape.roles)

    def _place_now(self, gang: Waiting, shape: Shape) -> Placed | None:
        return self._place(gang, shape, self._excluded(gang))

    def _admit(self, gang: Waiting, shape: Shape, placement: Placed, walk: Walk | None) -> bool:
        if shape.elastic and len(self.memo.waiting) == len(self.admissions) + 1:  # nobody else wants the room
            placement = elastic.start_size(self.trial, gang, placement, self._allows, self._excluded)
        self.trial.add(gang, placement)
        self.admissions.append(Admission(uid=gang.uid, placement=placement))
        self._served.add(gang.uid)
        uses = self._uses.get(gang.queue)
        if uses is not None:
            uses[gang.owner] = uses.get(gang.owner, 0.0) + shape.width * HELD_SECONDS
        if walk is not None:
            walk.advance()
        return True

    def _allows(self, gang: Waiting, total: object) -> bool:
        return self.quotas.check(gang, total) is None  # type: ignore[arg-type]

    def _fits_bare(self, gang: Waiting, shape: Shape) -> bool:
        """Say whether the gang fits the usable nodes when nothing runs there."""
        if shape.choices:  # in some way that its quotas would ever permit
            return (
                find(self.memo.bare, gang, allowed=lambda total: self.quotas.check_empty(gang, total) is None)
                is not None
            )
        table = self.memo.fits_bare
        found = table.get(shape.roles)
        if found is None:
            found = table[shape.roles] = find(self.memo.bare, gang) is not None
        return found

    def _never_reason(self, gang: Waiting, shape: Shape) -> Reason:
        if not self.explaining:
            return _NO_REASON
        refused = self.quotas.check_empty(gang, shape.total) if shape.choices else None
        if refused is not None:
            return refused
        reason = self._never.get(shape.roles)
        if reason is None:
            reason = self._never[shape.roles] = never_fits(self.snapshot, self.memo.bare, gang)
        return reason

    # --- room that others make
    def _settle_claims(self) -> None:
        """Those for whom others were asked to go come first: admitted if the room is there, else it is kept for them."""
        for gang, victims in self._claims.pending():
            queue = self.snapshot.queues.get(gang.queue)
            if queue is None or queue.paused:
                continue
            shape = self.memo.shape(gang)
            placement = self._place(gang, shape, self._excluded(gang))
            if placement is not None:
                self._admit(gang, shape, placement, None)
            elif victims and self._claims.expect(gang, shape, victims):
                self._note_claim(gang, shape)

    def _note_claim(self, gang: Waiting, shape: Shape) -> None:
        self._served.add(gang.uid)
        if self.explaining:
            self._reasons[gang.uid] = makes_room(gang, shape.total, self._claims.waiting_for[gang.uid])

    def _grow(self) -> None:
        """Let elastic gangs have what nobody waits for."""
        if not self.memo.elastic:
            return
        among = self.memo.elastic - self._claims.asked
        self._claims.resizes += elastic.wishes(self.snapshot, self.now, among)
        if self._blocked_for_room or self._claims.waiting_for or any(line.failed for line in self.memo.lines.values()):
            later = shrinkable_at(self.snapshot, among, self.now)
            if later is not None:
                self._wake(later)
            return
        self._claims.resizes += elastic.grow(self.trial, self.now, self._allows, self._excluded, among)
        review = elastic.review_at(self.snapshot, self.now, among)
        if review is not None:
            self._wake(review)

    def _wake(self, at: float) -> None:
        self.wake_at = at if self.wake_at is None else min(self.wake_at, at)

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
