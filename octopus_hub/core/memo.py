"""What a scheduling cycle leaves for the next one. It makes cycles cheaper and never changes a Plan.

Everything in it is a function of the inputs that it is kept with: the trial follows the snapshot, lines follow the
waiting gangs, herds follow what runs; only what differs is looked at. Used by ``schedule`` only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from octopus_hub.core.choices import Placed
from octopus_hub.core.herd import Herd, difference
from octopus_hub.core.line import Line, Shape
from octopus_hub.core.placement import Role, roles_of
from octopus_hub.core.plan import Plan
from octopus_hub.core.policies import POLICIES, Moment
from octopus_hub.core.policies.fair import HELD_SECONDS
from octopus_hub.core.policies.fifo import POLICY as FIFO
from octopus_hub.core.quota import Quotas
from octopus_hub.core.slots import Cluster
from octopus_hub.core.snapshot import Delta, Running, Snapshot, Waiting, gang_total
from octopus_hub.core.trial import Trial
from octopus_hub.model.queue import Queue

SHAPES_KEPT = 50_000
_NONE: dict[str, float] = {}
_NO_QUEUE = Queue(name="")


@dataclass(slots=True)
class Link:
    """Of the nodes kept for blocked heads, one after the other: where gangs would go next if nothing ran."""

    found: dict[tuple[Shape, frozenset[int]], Placed | None] = field(default_factory=dict)
    kept: Placed | None = None  # what was kept then


@dataclass(slots=True)
class Memo:
    """The state between cycles."""

    snapshot: Snapshot
    trial: Trial
    bare: Trial  # nothing runs there; never changed
    waiting: list[Waiting] = field(default_factory=list)
    lines: dict[str, Line] = field(default_factory=dict)
    herds: dict[str, Herd] = field(default_factory=dict)
    leaving: dict[str, Running] = field(default_factory=dict)
    yielding: dict[str, dict[str, Waiting]] = field(default_factory=dict)  # claimant -> who waits since it made room
    claimants: set[str] = field(default_factory=set)  # who waits for room that was made since it was preempted last
    elastic: set[str] = field(default_factory=set)  # uids of running gangs that may have more tasks
    running: Mapping[str, Running] = field(default_factory=dict)
    chain: list[Link] = field(default_factory=list)  # of the cycles before
    fits_bare: dict[tuple[Role, ...], bool] = field(default_factory=dict)
    now: float = 0.0
    until: float | None = None  # the plan answers unchanged inputs before this time
    broken: bool = False  # a cycle failed half-way
    plan: Plan | None = None
    faults: dict[str, tuple[str, str]] = field(default_factory=dict)  # queue -> (uid, what its policy did wrong)
    _empty: Trial | None = None
    _moments: dict[str, Moment] = field(default_factory=dict)
    _shapes: dict[tuple[tuple[Role, ...], tuple[int | None, ...]], Shape] = field(default_factory=dict)
    _by_needs: dict[int, tuple[object, Shape]] = field(default_factory=dict)
    _attained: tuple[object, dict[str, dict[str, float]]] | None = None  # by queue and owner
    _uses: dict[str, tuple[dict[str, float], int, dict[str, float]]] = field(default_factory=dict)  # as of a herd
    _known: dict[str, Waiting] = field(default_factory=dict)
    _avoiding: dict[str, Waiting] = field(default_factory=dict)

    @staticmethod
    def of(snapshot: Snapshot) -> Memo:
        """Return a memo that knows nothing yet."""
        cluster = Cluster(snapshot.nodes)
        nothing = Snapshot(nodes=snapshot.nodes)
        bare = Snapshot(nodes=snapshot.nodes, queues=snapshot.queues)
        return Memo(bare, Trial(bare, cluster), Trial(nothing, cluster))

    @property
    def empty(self) -> Trial:
        """Nothing runs there either: what is kept for blocked heads is looked for here."""
        if self._empty is None:
            self._empty = Trial(Snapshot(nodes=self.bare.snapshot.nodes), self.bare.cluster)
        return self._empty

    def clear(self) -> None:
        """Forget what is kept for blocked heads."""
        if self._empty is not None:
            self._empty.rollback()

    def answers(self, snapshot: Snapshot, waiting: Sequence[Waiting], now: float) -> bool:
        """Say whether the last plan answers these inputs as well."""
        return (
            self.plan is not None
            and self.now <= now
            and (self.until is None or now < self.until)
            and self.snapshot.history is snapshot.history
            and self.waiting == waiting
            and self.snapshot == snapshot
        )

    def follow(self, snapshot: Snapshot, waiting: Sequence[Waiting], now: float) -> None:
        """Take over another moment."""
        last, self.plan = self.plan, None
        self.now = now
        self._moments.clear()
        self.faults.clear()
        before, self.snapshot = self.snapshot, snapshot
        delta = snapshot.delta
        known = delta if delta is not None and before.delta is not None and delta.before is before.delta.after else None
        self.trial.follow(snapshot, known.nodes if known is not None else None)
        if not _same(snapshot.spent, before.spent):
            self.trial.freed += 1
        self.clear()
        self._follow_running(snapshot.running, known)
        if snapshot.history is not before.history:
            self._learn()
        if not _same(snapshot.queues, before.queues):
            self._follow_queues(snapshot.queues)
        self._follow_waiting(waiting if isinstance(waiting, list) else list(waiting), known)
        if last is not None and not _carried_out(last, snapshot):
            self.trial.freed += 1
        for line in self.lines.values():
            moment = self.moment(line.queue)
            if line.tick != moment.tick or line.policy.by_use or self.elastic:  # with time those may give room back
                line.failed.clear()
            if last is not None and last.faults:  # they are to be told of again
                line.failed.clear()
            line.review(moment)

    def moment(self, queue: Queue | None) -> Moment:
        """Return what the queue's policy may look at."""
        queue = queue or _NO_QUEUE
        known = self._moments.get(queue.name)
        if known is None:
            review = queue.preemption.review_seconds
            tick = self.now // review * review if review > 0 else self.now
            policy = POLICIES.get(queue.policy)
            uses = self.uses(queue.name) if policy is not None and policy.by_use else {}
            known = self._moments[queue.name] = Moment(queue, tick, self.snapshot, uses)
        return known

    def uses(self, queue: str) -> dict[str, float]:
        """Return what each owner in a queue has used of late, and an hour of what it holds."""
        attained = self.snapshot.attained
        if self._attained is None or self._attained[0] is not attained:
            by_queue: dict[str, dict[str, float]] = {}
            for (name, owner), use in attained.items():
                by_queue.setdefault(name, {})[owner] = use
            self._attained = (attained, by_queue)
        had, herd = self._attained[1].get(queue, _NONE), self.herds.get(queue)
        members = herd.changes if herd is not None else 0
        known = self._uses.get(queue)
        if known is not None and known[1] == members and (known[0] is had or known[0] == had):
            return known[2]
        found = had.copy()
        for member in herd.members.values() if herd is not None else ():
            owner = member.running.gang.owner
            found[owner] = found.get(owner, 0.0) + member.width * HELD_SECONDS
        self._uses[queue] = (had, members, found)
        return found

    def shape(self, gang: Waiting) -> Shape:
        """Return what a gang asks for."""
        known = self._by_needs.get(id(gang.needs))
        if known is not None and known[0] is gang.needs:
            return known[1]
        roles = roles_of(self.trial.cluster, gang)
        key = (roles, tuple(need.most for need in gang.needs))
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= SHAPES_KEPT:
                self._shapes.clear()
            choices = any(need.choices for need in gang.needs)
            elastic = any(need.most is not None for need in gang.needs)
            shape = self._shapes[key] = Shape(roles, gang_total(gang.needs), gang.width, choices, elastic)
        if len(self._by_needs) >= SHAPES_KEPT:
            self._by_needs.clear()
        self._by_needs[id(gang.needs)] = (gang.needs, shape)  # holding it keeps its id from being used again
        return shape

    def valid_until(self) -> float | None:
        """Return when time alone may change the plan: a back-off or a review ends; at once with calendar or budgets."""
        if (
            self.snapshot.windows
            or self.snapshot.spent
            or self.elastic
            or any(line.queue is not None and line.queue.backfill == "reserve" for line in self.lines.values())
        ):
            return self.now
        times = [until for gang in self._avoiding.values() for until in gang.avoid.values() if until > self.now]
        for line in self.lines.values():
            if line.queue is not None and self.claims_with_time(line):
                moment = self.moment(line.queue)
                times.append(moment.tick + line.queue.preemption.review_seconds)
                if line.policy.reviews and self.now <= moment.claims_until:
                    times.append(moment.claims_until)
        return min(times, default=None)

    def fault(self, queue: str, uid: str, message: str) -> None:
        """Note that a queue's policy failed when it was asked for a gang; one such is told of."""
        known = self.faults.get(queue)
        if known is None or uid < known[0]:
            self.faults[queue] = (uid, message)

    def review(self, queue: Queue) -> Herd | None:
        """Return what runs in a queue, in the order in which it would go now; None if nothing does."""
        herd = self.herds.get(queue.name)
        if herd is not None:
            herd.review(POLICIES.get(queue.policy, FIFO), self.moment(queue))
            for uid, message in herd.faults.items():
                self.fault(queue.name, uid, message)
        return herd

    def claims_with_time(self, line: Line) -> bool:
        """Say whether time alone may let gangs of a line claim what runs: theirs by policy or quota, or past a budget."""
        policy, queue = line.policy, line.queue
        return bool(policy.claim or policy.timed or (queue is not None and queue.cohort) or self.snapshot.spent)

    def waits(self, uid: str) -> Waiting | None:
        """Return a waiting gang."""
        return self._known.get(uid)

    @property
    def quotas(self) -> Quotas:
        """The quotas with what is tried in this cycle."""
        return self.trial.quotas

    # --- following
    def _learn(self) -> None:
        """What is known of run times is new: ranks and levels that rest on it are taken anew."""
        for line in self.lines.values():
            if line.policy.learns:
                line.tick = None
        for name, herd in self.herds.items():
            queue = self.snapshot.queues.get(name)
            if queue is not None and (policy := POLICIES.get(queue.policy)) is not None and policy.learns:
                herd.learn()

    def _follow_queues(self, queues: Mapping[str, Queue]) -> None:
        """Lines of queues that were changed begin anew."""
        for name, line in list(self.lines.items()):
            if queues.get(name) == line.queue:
                continue
            members = [entry.gang for entry in line.gangs()]
            del self.lines[name]
            for gang in members:
                self._join(gang, queues.get(name))
        for name, herd in self.herds.items():
            herd.forget(queues.get(name))

    def _follow_running(self, running: Mapping[str, Running], delta: Delta | None) -> None:
        if delta is None:
            started, ended = difference(self.running, running)
        else:
            started, ended = delta.started, delta.ended
        if ended:
            self.trial.freed += 1
        for uid in ended:
            if (gone := self.running.get(uid)) is not None:
                self._leave_herd(gone)
        for each in started:
            known = self.running.get(each.gang.uid)
            if known is not None:
                self._leave_herd(known)
            herd = self.herds.get(each.gang.queue)
            if herd is None:
                herd = self.herds[each.gang.queue] = Herd()
            herd.put(each, self.snapshot.queues.get(each.gang.queue))
            if any(need.most is not None for need in each.gang.needs):
                self.elastic.add(each.gang.uid)
            if each.leaving:
                self.leaving[each.gang.uid] = each
                self.trial.freed += not each.claimed_by  # it will make room for whoever waits
        self.running = running

    def _leave_herd(self, running: Running) -> None:
        self.herds[running.gang.queue].drop(running.gang.uid)
        self.leaving.pop(running.gang.uid, None)
        self.elastic.discard(running.gang.uid)

    def _follow_waiting(self, waiting: list[Waiting], delta: Delta | None) -> None:
        before = self.waiting
        self.waiting = waiting
        if delta is not None:
            joined, left = delta.joined, delta.left
        elif before == waiting:
            return
        else:
            old, new = set(map(id, before)), set(map(id, waiting))
            joined = tuple(gang for gang in waiting if id(gang) not in old)
            left = tuple(gang for gang in before if id(gang) not in new)
        for gang in left:
            if gang.uid not in self.running:
                self.trial.freed += 1  # it wants the room no more that may have been kept for it
            del self._known[gang.uid]
            self._avoiding.pop(gang.uid, None)
            self._stop_yielding(gang)
            line = self.lines[gang.queue]
            line.drop(gang.uid)
            if not len(line):
                del self.lines[gang.queue]
        for gang in joined:
            self._join(gang, self.snapshot.queues.get(gang.queue))
            self._known[gang.uid] = gang
            if gang.avoid:
                self._avoiding[gang.uid] = gang
            if gang.yields_to:
                self.yielding.setdefault(gang.yields_to, {})[gang.uid] = gang
        for gang in joined:
            self._has_claimed(gang.uid)
            self._has_claimed(gang.yields_to)

    def _has_claimed(self, uid: str) -> None:
        """Note whether a gang waits for which others have made room, since it was preempted itself if it ever was."""
        claimant, others = self._known.get(uid), self.yielding.get(uid)
        if claimant is not None and others and any(_since(claimant, each) for each in others.values()):
            self.claimants.add(uid)
        else:
            self.claimants.discard(uid)

    def _stop_yielding(self, gang: Waiting) -> None:
        self.claimants.discard(gang.uid)
        others = self.yielding.get(gang.yields_to)
        if others is not None and others.pop(gang.uid, None) is not None:
            if not others:
                del self.yielding[gang.yields_to]
            self._has_claimed(gang.yields_to)

    def _join(self, gang: Waiting, queue: Queue | None) -> None:
        line = self.lines.get(gang.queue)
        if line is None:
            line = self.lines[gang.queue] = Line.of(queue)
            line.tick = self.moment(queue).tick  # all ranks are of now
        line.put(gang, self.shape(gang), self.moment(queue))


def _since(claimant: Waiting, victim: Waiting) -> bool:
    """Say whether a gang has made room since the claimant was preempted itself: before that, it has had its room."""
    last = victim.preempted_at[-1] if victim.preempted_at else victim.queued_at
    return not claimant.preempted_at or claimant.preempted_at[-1] < last


def _carried_out(plan: Plan, snapshot: Snapshot) -> bool:
    """Say whether the decisions of a plan are to be seen: else what they would take is free."""
    running = snapshot.running
    return all(admission.uid in running for admission in plan.admissions) and all(
        (victim := running.get(eviction.uid)) is not None and victim.leaving for eviction in plan.evictions
    )


def _same(one: object, other: object) -> bool:
    return one is other or one == other
