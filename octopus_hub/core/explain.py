"""What if: would a gang run now; if not, what is short where, when does it start, what smaller shape would run now.

Pure. Every answer comes from ``schedule`` itself, asked once more with the gang (or a smaller one in its place) among those
that wait; nothing here knows rules of its own. Called by the service (``POST /plan``, ``.../why``) off the path of scheduling.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from octopus_hub.core.forecast import Estimate, forecast, in_front, span
from octopus_hub.core.plan import Plan
from octopus_hub.core.reason import Reason, flat, quantities
from octopus_hub.core.schedule import explain, schedule
from octopus_hub.core.snapshot import Placement, RoleNeed, Snapshot, Waiting
from octopus_hub.model.names import SKU_LABEL

Outcome = Literal["starts", "evicts", "waits", "never"]
_PASSABLE = ("BehindInQueue", "NoFit", "Reserved")  # what a gang that ends early enough may pass
RUNTIMES = (86400.0, 43200.0, 28800.0, 14400.0, 7200.0, 3600.0, 1800.0, 600.0)  # maximum runtimes that are tried
MOST_TRIED = 8  # other queues, other device models
NAMED = 5  # of those before it


@dataclass(frozen=True, slots=True)
class Going:
    """A gang that makes room; ``rule`` is that of the eviction, or ``shrink``."""

    uid: str
    name: str  # namespace/name
    rule: str


@dataclass(frozen=True, slots=True)
class Smaller:
    """Another shape of the gang that would start now."""

    kind: Literal["tasks", "sku", "queue"]
    message: str
    role: str = ""
    tasks: int = 0
    sku: str = ""
    queue: str = ""


@dataclass(frozen=True, slots=True)
class Choices:
    """What may be changed of a gang to look for a shape that starts now.

    Attributes
    ----------
    roles : tuple of str
        Roles that may have fewer tasks (not so a launcher, or ranks that a framework counts on).
    queues : tuple of str
        Other queues that its owner may use.
    """

    roles: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The answer.

    Attributes
    ----------
    place : int
        In its queue; 1 is next, 0 where it does not queue.
    before : tuple of str
        The first of those that stand before it (namespace/name).
    estimate : Estimate, optional
        When it starts, where it waits.
    unblock : tuple of str
        What would let it start, each a phrase.
    """

    outcome: Outcome
    placement: Placement = field(default_factory=dict)
    makes_room: tuple[Going, ...] = ()
    reason: Reason | None = None
    place: int = 0
    before: tuple[str, ...] = ()
    estimate: Estimate | None = None
    smaller: tuple[Smaller, ...] = ()
    unblock: tuple[str, ...] = ()


def plan(
    snapshot: Snapshot,
    waiting: Sequence[Waiting],
    candidate: Waiting,
    now: float,
    memo: Any = None,
    *,
    choices: Choices | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> WhatIf:
    """Say what becomes of ``candidate`` beside those that wait (or of one of them).

    ``memo`` makes the first cycle cheaper; it is used up. ``stop`` ends the search for estimate and smaller shapes early.
    """
    never = explain(snapshot, candidate)
    tries = _Tries(snapshot, [gang for gang in waiting if gang.uid != candidate.uid], now, memo, stop)
    if never is not None:
        smaller = _smaller(tries, candidate, choices or Choices())
        return WhatIf("never", reason=never, smaller=smaller, unblock=_asking_less(never))
    first = tries.ask(candidate)
    placement = _placement(first, candidate.uid)
    if placement is not None:
        return WhatIf("starts", placement=placement)
    waits = first.waits[candidate.uid]
    everybody = [*tries.others, candidate]
    makes_room = _makes_room(first, snapshot, candidate.uid)
    before = _before(first, everybody, candidate, waits.place)
    lined_up = in_front(everybody, first.waits, [candidate.uid])
    estimate = forecast(snapshot, lined_up, now, [candidate.uid], stop)[candidate.uid]
    if makes_room:
        return WhatIf("evicts", {}, makes_room, waits.reason, waits.place, before, estimate)
    smaller = _smaller(tries, candidate, choices or Choices())
    unblock = _unblock(waits.reason)
    if waits.reason.code in _PASSABLE:
        unblock += _shorter(tries, candidate)
    return WhatIf("waits", {}, (), waits.reason, waits.place, before, estimate, smaller, unblock)


@dataclass
class _Tries:
    """Asks ``schedule`` again and again, with another candidate each time."""

    snapshot: Snapshot
    others: list[Waiting]
    now: float
    memo: Any
    stop: Callable[[], bool]

    def ask(self, candidate: Waiting) -> Plan:
        found = schedule(self.snapshot, [*self.others, candidate], self.now, self.memo)
        self.memo = found.memo
        return found

    def starts(self, candidate: Waiting) -> bool:
        if self.stop() or explain(self.snapshot, candidate) is not None:
            return False
        return _placement(self.ask(candidate), candidate.uid) is not None


def _placement(found: Plan, uid: str) -> Placement | None:
    return next((admission.placement for admission in found.admissions if admission.uid == uid), None)


def _makes_room(found: Plan, snapshot: Snapshot, uid: str) -> tuple[Going, ...]:
    """Return who is asked to go for a gang by this plan, or was before."""
    rules = {eviction.uid: str(eviction.rule) for eviction in found.evictions if eviction.by == uid}
    rules |= {resize.uid: resize.rule for resize in found.resizes if resize.by == uid}
    rules |= {running.gang.uid: "" for running in snapshot.running.values() if running.claimed_by == uid}
    gangs = {each: snapshot.running[each].gang for each in rules if each in snapshot.running}
    return tuple(Going(each, f"{gang.namespace}/{gang.name}", rules[each]) for each, gang in gangs.items())


def _before(found: Plan, waiting: Sequence[Waiting], candidate: Waiting, place: int) -> tuple[str, ...]:
    """Return the first of those before it in its queue."""
    ahead = sorted(
        (known.place, f"{gang.namespace}/{gang.name}")
        for gang in waiting
        if gang.queue == candidate.queue and (known := found.waits.get(gang.uid)) is not None and known.place < place
    )
    return tuple(name for _, name in ahead[:NAMED])


# --- smaller shapes
def _smaller(tries: _Tries, gang: Waiting, choices: Choices) -> tuple[Smaller, ...]:
    """Return shapes that start now: as many tasks as can be, other device models, other queues."""
    found = [_fewer(tries, gang, choices.roles), _other_model(tries, gang), _other_queue(tries, gang, choices.queues)]
    return tuple(each for each in found if each is not None)


def _fewer(tries: _Tries, gang: Waiting, roles: Sequence[str]) -> Smaller | None:
    """Find the most tasks of its largest role that start now; the other roles stay as they are."""
    several = [need for need in gang.needs if need.role in roles and need.count > 1]
    if not several:
        return None
    largest = max(several, key=lambda need: need.count)

    def starts(count: int) -> bool:
        return tries.starts(_with(gang, largest.role, lambda need: replace(need, count=count)))

    fits, fails = 0, largest.count
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if starts(middle):
            fits = middle
        else:
            fails = middle
    if not fits:
        return None
    role = largest.role
    return Smaller("tasks", f"{fits} of {largest.count} tasks of role {role} would start now", role=role, tasks=fits)


def _other_model(tries: _Tries, gang: Waiting) -> Smaller | None:
    """Find another device model on which it starts now as it is."""
    asked = {need.role: need.node_selector[SKU_LABEL] for need in gang.needs if SKU_LABEL in need.node_selector}
    if not asked:
        return None
    tried = {way.node_selector.get(SKU_LABEL) for need in gang.needs for way in need.choices} | set(asked.values())
    models = sorted({sku for node in tries.snapshot.nodes if (sku := node.labels.get(SKU_LABEL))} - tried)
    for sku in models[:MOST_TRIED]:
        if tries.starts(_on(gang, asked, sku)):
            now = ", ".join(sorted(set(asked.values())))
            return Smaller("sku", f"on {sku} instead of {now} it would start now", sku=sku)
    return None


def _other_queue(tries: _Tries, gang: Waiting, queues: Sequence[str]) -> Smaller | None:
    for name in [name for name in queues if name != gang.queue][:MOST_TRIED]:
        if tries.starts(replace(gang, queue=name)):
            return Smaller("queue", f"in queue {name} it would start now", queue=name)
    return None


def _on(gang: Waiting, roles: Collection[str], sku: str) -> Waiting:
    for role in roles:
        gang = _with(gang, role, lambda need: replace(need, node_selector={**need.node_selector, SKU_LABEL: sku}))
    return gang


def _with(gang: Waiting, role: str, change: Callable[[RoleNeed], RoleNeed]) -> Waiting:
    return replace(gang, needs=tuple(change(need) if need.role == role else need for need in gang.needs))


# --- what would help
def _shorter(tries: _Tries, gang: Waiting) -> tuple[str, ...]:
    """Say below which maximum runtime it could start now, before something that is reserved."""
    for seconds in RUNTIMES:
        limit = seconds + gang.overhead
        if gang.max_runtime is not None and limit >= gang.max_runtime:
            continue
        if tries.starts(replace(gang, max_runtime=limit)):
            return (f"a maximum runtime of {span(seconds)} or less, with which it would start now",)
    return ()


def _unblock(reason: Reason) -> tuple[str, ...]:
    """Say what has to change, from the figures of the reason."""
    code = reason.code
    if code in _WAYS_OUT:
        return (_WAYS_OUT[code].format(where=reason.where),)
    need, free = flat(reason.need), flat(reason.free)
    short = {resource: amount - free.get(resource, 0) for resource, amount in need.items()}
    short = {resource: amount for resource, amount in short.items() if amount > 0}
    if code in ("QueueQuota", "UserQuota", "GroupQuota"):
        whose = {"QueueQuota": f"queue {reason.where}", "UserQuota": "its owner", "GroupQuota": "its group"}[code]
        return (f"{quantities(short)} more of what {whose} may use at once",) if short else ()
    if code == "NoFit":
        return (f"{quantities(short)} more free",) if short else ("the same room on fewer or other nodes",)
    return ()


_WAYS_OUT: Mapping[str, str] = {
    "BehindInQueue": "the start of {where}, which waits first",
    "QueuePaused": "an administrator who lets queue {where} go on",
    "QueueUnknown": "a queue that exists",
    "BackOff": "the end of the back-off on {where}",
    "Preempting": "the end of those that make room for it",
    "Reserved": "the end of the reservation, or a maximum runtime that ends before it",
    "Budget": "the next window of the queue's budget, or another queue",
}


def _asking_less(reason: Reason) -> tuple[str, ...]:
    if reason.code == "NeverFits":
        return ("smaller or fewer tasks, or larger nodes",)
    return _unblock(reason)
