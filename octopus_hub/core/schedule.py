"""One scheduling cycle: which waiting gangs start now, where, and why the others wait.

Pure: values in, values out. Rules, in the order in which they apply (docs/concepts.md tells them to users):

1. A queue's policy orders its gangs. The order is strict: a gang that has to wait for nodes or for its queue's quota
   blocks those behind it in its queue; one that waits for its *user's* quota blocks later gangs of that user there.
2. A gang steps aside, blocking nobody, when waiting for others would not help it: it never fits, its queue is
   unknown, it is larger than a quota, or only nodes with back-off would take it.
3. Between queues the head that waits longest (``queued_at``, then uid) is tried first. Priorities order within a
   queue only, so no stream of urgent work in one queue starves another queue.
4. A blocked head has nodes kept for it: the placement it would get on an empty cluster beside what is kept for longer
   waiting heads. Younger gangs may use those nodes only as far as the kept part would also be free if everything that
   runs now stayed. What is kept depends on nodes and heads alone, so it never moves because of younger work; once what
   runs on those nodes has ended, the head starts (law 8).

``memo`` of the last Plan makes the next cycle cheaper and never changes it. Called by ``control`` and by plans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from heapq import heapify, heappop, heappush
from typing import Any

from octopus_hub.core import quota
from octopus_hub.core.placement import Role, avoided, find, roles_of
from octopus_hub.core.plan import Admission, Plan, Waits
from octopus_hub.core.policies import POLICIES, STEADY, fifo
from octopus_hub.core.reason import Reason
from octopus_hub.core.refusal import back_off, refuse
from octopus_hub.core.slots import Cluster
from octopus_hub.core.snapshot import Snapshot, Trial, Waiting
from octopus_hub.model.queue import Queue
from octopus_hub.model.status import Span

Placed = Mapping[str, tuple[Span, ...]]
Shape = tuple[Role, ...]

_SHAPES_KEPT = 10_000


def schedule(snapshot: Snapshot, waiting: Sequence[Waiting], now: float, memo: Any = None) -> Plan:
    """Return the Plan of one cycle; equal with and without ``memo`` (the one of an earlier Plan)."""
    last = memo if isinstance(memo, Memo) else None
    if last is not None and last.answers(snapshot, waiting, now):
        return last.plan
    fresh = Memo.of(snapshot, waiting, now, last)
    cycle = _Cycle(snapshot, now, fresh)
    orders = fresh.orders
    heads = [(order[0].queued_at, order[0].uid, queue, 0) for queue, order in orders.items()]
    heapify(heads)
    while heads:
        _, _, queue, at = heappop(heads)
        order = orders[queue]
        if cycle.serve(order[at]) and at + 1 < len(order):
            following = order[at + 1]
            heappush(heads, (following.queued_at, following.uid, queue, at + 1))
    plan = Plan(
        admissions=tuple(cycle.admissions),
        waits=cycle.waits(orders),
        wake_at=cycle.wake_at,
        memo=fresh,
    )
    fresh.plan = plan
    return plan


def explain(snapshot: Snapshot, gang: Waiting) -> Reason | None:
    """Return why ``gang`` could never run, in numbers, or None; asked at submit.

    Nodes that are down or closed count: they may come back.
    """
    queue = snapshot.queues.get(gang.queue)
    if queue is None:
        return _unknown(gang)
    refused = quota.check_empty(queue, gang)
    if refused is not None:
        return refused
    everything = Trial(Snapshot(nodes=tuple(replace(node, usable=True) for node in snapshot.nodes)))
    return refuse(everything, gang, "NeverFits") if find(everything, gang) is None else None


@dataclass(slots=True)
class Memo:
    """What the next cycle can use again. Everything in it is a function of the inputs it is kept with."""

    snapshot: Snapshot
    waiting: list[Waiting]
    now: float
    until: float | None  # the answer holds before this time
    cluster: Cluster
    orders: dict[str, list[Waiting]]
    bare: dict[Shape, bool] = field(default_factory=dict)  # fits the usable nodes when nothing runs
    plan: Plan = field(default_factory=Plan)

    def answers(self, snapshot: Snapshot, waiting: Sequence[Waiting], now: float) -> bool:
        """Say whether the plan answers these inputs as well."""
        return (
            self.now <= now
            and (self.until is None or now < self.until)
            and self.snapshot == snapshot
            and self.waiting == list(waiting)
            and all(queue.policy in STEADY for queue in snapshot.queues.values())
        )

    @staticmethod
    def of(snapshot: Snapshot, waiting: Sequence[Waiting], now: float, last: Memo | None) -> Memo:
        """Prepare a cycle, with what still holds of the last one."""
        same_nodes = last is not None and last.cluster.nodes == snapshot.nodes
        expiries = [until for gang in waiting if gang.avoid for until in gang.avoid.values() if until > now]
        return Memo(
            snapshot=snapshot,
            waiting=list(waiting),
            now=now,
            until=min(expiries, default=None),
            cluster=last.cluster if last is not None and same_nodes else Cluster(snapshot.nodes),
            orders=_orders(snapshot, waiting, now),
            bare=last.bare if last is not None and same_nodes else {},
        )


def _orders(snapshot: Snapshot, waiting: Sequence[Waiting], now: float) -> dict[str, list[Waiting]]:
    queues: dict[str, list[Waiting]] = {}
    for gang in waiting:
        members = queues.get(gang.queue)
        if members is None:
            queues[gang.queue] = [gang]
        else:
            members.append(gang)
    for name, members in queues.items():
        queue = snapshot.queues.get(name)
        policy = POLICIES.get(queue.policy, fifo.order) if queue is not None else fifo.order
        queues[name] = policy(members, snapshot, now)
    return queues


class _Cycle:
    """The state of one cycle: the trial, what is kept, who blocks whom."""

    def __init__(self, snapshot: Snapshot, now: float, memo: Memo) -> None:
        self.snapshot = snapshot
        self.now = now
        self.memo = memo
        self.trial = Trial(snapshot, memo.cluster)
        self.empty = Trial(Snapshot(nodes=snapshot.nodes), memo.cluster)  # only what is kept is used there
        self.admissions: list[Admission] = []
        self.wake_at: float | None = None
        self._failed: dict[tuple[Shape, frozenset[int]], Reason] = {}
        self._never: dict[Shape, Reason] = {}
        self._unkept: set[tuple[Shape, frozenset[int]]] = set()
        self._reasons: dict[str, Reason] = {}
        self._blockers: dict[str, Reason] = {}  # queue -> the reason of those behind its blocked head
        self._user_blockers: dict[tuple[str, str], Reason] = {}

    def serve(self, gang: Waiting) -> bool:
        """Admit the gang or note why not; return whether the next of its queue may be tried."""
        queue = self.snapshot.queues.get(gang.queue)
        if queue is None:
            self._reasons[gang.uid] = _unknown(gang)
            return True
        if queue.paused:
            reason = Reason(
                code="QueuePaused", message=f"queue {queue.name} is paused by an administrator", where=queue.name
            )
            self._blockers[queue.name] = self._reasons[gang.uid] = reason
            return False
        behind = self._user_blockers.get((gang.queue, gang.owner))
        if behind is not None:
            self._reasons[gang.uid] = behind
            return True
        refused = quota.check(self.trial, gang)
        if refused is not None:
            return self._refused(queue, gang, refused)
        return self._seek(gang)

    def _refused(self, queue: Queue, gang: Waiting, reason: Reason) -> bool:
        never = quota.check_empty(queue, gang)
        self._reasons[gang.uid] = never or reason
        if never is not None:
            return True
        if reason.code == "UserQuota":
            self._user_blockers[gang.queue, gang.owner] = _behind(gang, reason)
            return True
        return self._block(gang, reason)

    def _seek(self, gang: Waiting) -> bool:
        excluded = avoided(self.trial, gang, self.now)
        roles = roles_of(self.memo.cluster, gang)
        known = self._failed.get((roles, excluded))
        if known is None:
            placement = find(self.trial, gang, excluded)
            if placement is not None:
                return self._admit(gang, placement)
        if not self._fits_bare(gang, roles):
            self._reasons[gang.uid] = self._never.get(roles) or self._explain_never(gang, roles)
            return True
        if excluded and self._backs_off(gang):
            return True
        # Within a cycle room only shrinks: what found none once is not tried again, and its figures still hold.
        reason = known or refuse(self.trial, gang)
        self._failed[roles, excluded] = reason
        return self._keep(gang, roles, excluded) or self._block(gang, reason)

    def _backs_off(self, gang: Waiting) -> bool:
        """Note when to look again; return whether avoided nodes are all that the gang lacks."""
        until = min(until for until in gang.avoid.values() if until > self.now)
        self.wake_at = until if self.wake_at is None else min(self.wake_at, until)
        if find(self.trial, gang) is None:
            return False
        self._reasons[gang.uid] = back_off(gang, self.now)
        return True

    def _keep(self, gang: Waiting, roles: Shape, excluded: frozenset[int]) -> bool:
        """Keep nodes for a blocked head; return True if they turn out to be free, and it is admitted."""
        if (roles, excluded) in self._unkept:
            return False
        kept = find(self.empty, gang, excluded) or (find(self.empty, gang) if excluded else None)
        if kept is None:
            self._unkept.add((roles, excluded))
            return False
        if not excluded and self.trial.fits(gang, kept):  # packing found no way, but this one is free
            return self._admit(gang, kept)
        self.trial.keep(gang, kept)
        self.empty.keep(gang, kept)
        return False

    def _admit(self, gang: Waiting, placement: Placed) -> bool:
        self.trial.add(gang, placement)
        self.admissions.append(Admission(uid=gang.uid, placement=placement))
        return True

    def _block(self, gang: Waiting, reason: Reason) -> bool:
        self._reasons[gang.uid] = reason
        self._blockers[gang.queue] = _behind(gang, reason)
        return False

    def _fits_bare(self, gang: Waiting, roles: Shape) -> bool:
        """Say whether the gang fits the usable nodes when nothing runs there."""
        found = self.memo.bare.get(roles)
        if found is None:
            found = find(self.bare, gang) is not None
            if len(self.memo.bare) >= _SHAPES_KEPT:
                self.memo.bare.clear()
            self.memo.bare[roles] = found
        return found

    @cached_property
    def bare(self) -> Trial:
        """The usable nodes with nothing on them."""
        return Trial(Snapshot(nodes=self.snapshot.nodes), self.memo.cluster)

    def _explain_never(self, gang: Waiting, roles: Shape) -> Reason:
        """Tell a gang that fits no cluster of these nodes from one that misses a node that is down or closed."""
        reason = explain(self.snapshot, gang)
        if reason is None:
            missing = ", ".join(node.name for node in self.snapshot.nodes if not node.usable)
            short = refuse(self.bare, gang)
            message = f"{short.message}; waits for nodes that are down or closed: {missing}"
            reason = Reason(code="NoFit", message=message, need=short.need, free=short.free, where=short.where)
        self._never[roles] = reason
        return reason

    def waits(self, orders: Mapping[str, list[Waiting]]) -> dict[str, Waits]:
        """Return place and reason of everything that was not admitted."""
        admitted = {admission.uid for admission in self.admissions}
        found: dict[str, Waits] = {}
        for queue, order in orders.items():
            behind = self._blockers.get(queue)
            place = 0
            for gang in order:
                if gang.uid in admitted:
                    continue
                place += 1
                reason = self._reasons.get(gang.uid) or behind
                assert reason is not None  # untried gangs have a blocked head before them
                found[gang.uid] = Waits(place, reason)
        return found


def _unknown(gang: Waiting) -> Reason:
    return Reason(
        code="QueueUnknown", message=f"there is no queue {gang.queue}; see `octopus queues`", where=gang.queue
    )


def _behind(head: Waiting, reason: Reason) -> Reason:
    name = f"{head.namespace}/{head.name}"
    return Reason(
        code="BehindInQueue",
        message=f"behind {name} in queue {head.queue}, which waits first: {reason.message}",
        need=reason.need,
        free=reason.free,
        where=name,
    )
