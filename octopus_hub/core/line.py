"""The waiting gangs of a queue in the order of its policy, kept between cycles: only what came or went is placed anew.

Gangs that stand and fall together (equal shape; same owner, where limits or the order look at owners) share a lane: once
the first of a lane finds no room, none behind it does. Orders are a function of the gangs and the moment alone. Used by
``schedule`` only.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from octopus_hub.core.placement import Role
from octopus_hub.core.policies import POLICIES, Moment, Policy, Rank
from octopus_hub.core.policies.fifo import POLICY as FIFO
from octopus_hub.core.reason import Reason
from octopus_hub.core.snapshot import Waiting
from octopus_hub.model.queue import Queue

_KINDS: dict[type, type] = {int: float, float: float, bool: float, str: str}  # what can be compared


class _Last:
    """Stands behind everything that it is compared with, but for itself."""

    def __lt__(self, other: object) -> bool:
        return False

    def __le__(self, other: object) -> bool:
        return other is self

    def __gt__(self, other: object) -> bool:
        return other is not self

    def __ge__(self, other: object) -> bool:
        return True


LAST = _Last()


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What a gang asks for; equal ones are one object within a memo."""

    roles: tuple[Role, ...]
    total: dict[str, int]
    width: float  # devices (or CPUs, where it asks for none)
    choices: bool  # some role may run in several ways
    elastic: bool  # some role may have more tasks


class Entry(NamedTuple):
    """A gang at its place."""

    rank: Rank
    gang: Waiting
    shape: Shape


class Head(NamedTuple):
    """The next gang of a lane."""

    use: float
    rank: Rank
    lane: int
    at: int


class Heads(NamedTuple):
    """The lanes of a line; ``firsts`` are in order, so that any part of them is a heap."""

    names: list[Hashable]
    lanes: list[list[Entry]]
    firsts: list[Head]


@dataclass(slots=True)
class Line:
    """One queue's gangs.

    Attributes
    ----------
    failed : dict
        Lanes whose first gang found no room, and how much there was then.
    """

    queue: Queue | None
    tick: float | None = None
    by_owner: bool = False
    policy: Policy = FIFO
    lanes: dict[Hashable, list[Entry]] = field(default_factory=dict)
    stuck: tuple[int, str] | None = None  # the room in which its head found none, and the head: where nobody passes it
    failed: dict[Hashable, tuple[int, str]] = field(default_factory=dict)  # lane -> (room, its first gang)
    _where: dict[str, tuple[Hashable, Rank]] = field(default_factory=dict)
    _faults: dict[str, str] = field(default_factory=dict)  # by the uid of the gang that was asked for
    _kinds: tuple[type, ...] = ()  # of what ranks consist of
    _heads: Heads | None = None
    _fails: int = 0
    _begun: tuple[tuple[object, ...], list[Head]] | None = None  # how the last pass began, and from what

    @staticmethod
    def of(queue: Queue | None) -> Line:
        """Return an empty line for a queue (None: it is not configured)."""
        policy = POLICIES.get(queue.policy, FIFO) if queue is not None else FIFO
        limited = queue is not None and (
            queue.per_user is not None or queue.per_group is not None or queue.max_running_tasks_per_user is not None
        )
        return Line(queue, None, limited or policy.by_use, policy)

    def __len__(self) -> int:
        return len(self._where)

    @property
    def fault(self) -> str:
        """What was wrong with the answers of the queue's policy when ranks were taken last; empty if nothing."""
        return self._faults[min(self._faults)] if self._faults else ""

    def put(self, gang: Waiting, shape: Shape, moment: Moment) -> None:
        """Let a gang join."""
        lane = self._lane(gang, shape)
        rank = self._rank(gang, moment)
        self._where[gang.uid] = (lane, rank)
        entry = Entry(rank, gang, shape)
        entries = self.lanes.get(lane)
        if entries is None:
            self.lanes[lane] = [entry]
            self._heads = None
        elif entries[-1].rank <= rank:
            entries.append(entry)
        else:
            insort(entries, entry, key=_rank_of)
            if entries[0] is entry:
                self._heads = None

    def drop(self, uid: str) -> None:
        """Let a gang leave."""
        lane, rank = self._where.pop(uid)
        self._faults.pop(uid, None)
        entries = self.lanes[lane]
        at = bisect_left(entries, rank, key=_rank_of)
        while entries[at].gang.uid != uid:  # equal ranks of a policy that is not total
            at += 1
        del entries[at]
        if not at:
            self._heads = None
        if not entries:
            del self.lanes[lane]
            self.failed.pop(lane, None)

    def review(self, moment: Moment) -> None:
        """Take the ranks anew, where they depend on time, at a new tick."""
        if self.tick == moment.tick:
            return
        self.tick = moment.tick
        if not self.policy.timed:
            return
        self._heads = None
        for lane, entries in self.lanes.items():
            fresh = [Entry(self._rank(entry.gang, moment), entry.gang, entry.shape) for entry in entries]
            fresh.sort(key=_rank_of)
            self.lanes[lane] = fresh
            self._where.update((entry.gang.uid, (lane, entry.rank)) for entry in fresh)

    def heads(self) -> Heads:
        """Return the lanes and their first gangs; the same values until others are the first."""
        if self._heads is None:
            lanes = list(self.lanes.values())
            firsts = sorted([Head(0.0, lane[0].rank, at, 0) for at, lane in enumerate(lanes)])
            self._heads = Heads(list(self.lanes), lanes, firsts)
        return self._heads

    def begin(self, uses: dict[str, float] | None, room: int | None) -> list[Head]:
        """Return the first gangs with which a pass begins, in order; lanes that found nothing in ``room`` left out."""
        heads = self.heads()
        failed = self.failed if room is not None else {}
        state = (heads, uses, room, self._fails, len(failed))
        known = self._begun
        if known is not None and known[0][0] is heads and known[0][1] is uses and known[0][2:] == state[2:]:
            return known[1]
        firsts = heads.firsts
        if failed:
            names, lanes = heads.names, heads.lanes
            firsts = [each for each in firsts if failed.get(names[each.lane]) != (room, lanes[each.lane][0].gang.uid)]
        if uses is not None:
            firsts = sorted(
                Head(uses.get(heads.lanes[each.lane][0].gang.owner, 0.0), each.rank, each.lane, 0) for each in firsts
            )
        self._begun = (state, firsts)
        return firsts

    def failed_in(self, lane: Hashable, room: int, uid: str) -> None:
        """Note that the first gang of a lane found nothing in this much room."""
        self.failed[lane] = (room, uid)
        self._fails += 1

    def gangs(self) -> Iterator[Entry]:
        """Return all, lane by lane."""
        for entries in self.lanes.values():
            yield from entries

    def _lane(self, gang: Waiting, shape: Shape) -> Hashable:
        if gang.avoid:
            return gang.uid
        if self.by_owner:
            return (shape, gang.owner, gang.max_runtime)
        return (shape, gang.max_runtime)

    def _rank(self, gang: Waiting, moment: Moment) -> Rank:
        """Ask the policy; one that raises or answers with something else is fenced: the order of before is kept.

        Who had no place before goes behind all others, first in, first out.
        """
        try:
            rank = self.policy.rank(gang, moment)
            if self._comparable(rank):
                if self._faults:
                    self._faults.pop(gang.uid, None)
                return rank
            fault = f"policy {moment.queue.policy} gave {rank!r} for {gang.name}, not a rank"
        except Exception as error:
            fault = f"policy {moment.queue.policy} failed for {gang.name}: {type(error).__name__}: {error}"
        self._faults[gang.uid] = fault
        known = self._where.get(gang.uid)
        return known[1] if known is not None else (LAST, gang.queued_at, gang.uid)

    def _comparable(self, rank: object) -> bool:
        """Say whether it is a tuple of numbers and texts that can stand beside the other ranks of the line."""
        if type(rank) is not tuple:
            return False
        kinds = tuple(map(type, rank))
        if kinds != self._kinds:
            if not all(kind in _KINDS for kind in kinds):
                return False
            if self._kinds and not all(
                _KINDS[one] == _KINDS[other] for one, other in zip(kinds, self._kinds, strict=False)
            ):
                return False
            self._kinds = self._kinds or kinds
        for part in rank:  # noqa: SIM110 - asked very often
            if part != part:  # NaN
                return False
        return True


def _rank_of(entry: Entry) -> Rank:
    return entry.rank


class Walk:
    """One pass over a line, the best first; lanes are closed as they fail."""

    __slots__ = ("_closed", "_heap", "_lanes", "_names", "_uses", "line")

    def __init__(
        self,
        line: Line,
        uses: dict[str, float] | None,
        room: int | None = None,
        first_uses: dict[str, float] | None = None,
    ) -> None:
        """Begin a pass; lanes whose first gang found no room when there was as much as now are left out.

        ``first_uses`` is what ``uses`` is now, as a value that nobody changes.
        """
        self.line = line
        self._uses = uses
        self._names, self._lanes, _ = line.heads()
        self._closed: list[tuple[Head, Reason]] = []
        if uses is not None and first_uses is None:
            first_uses = uses.copy()
        self._heap = line.begin(first_uses if uses is not None else None, room).copy()

    def _head(self, lane: int, at: int) -> Head:
        entry = self._lanes[lane][at]
        use = self._uses.get(entry.gang.owner, 0.0) if self._uses is not None else 0.0
        return Head(use, entry.rank, lane, at)

    def first(self) -> Entry | None:
        """Return the next gang, which stays the next until :meth:`advance` or :meth:`close`."""
        heap = self._heap
        while heap:
            head = heap[0]
            if self._uses is not None:  # its owner was given something meanwhile
                now = self._head(head.lane, head.at)
                if now.use != head.use:
                    heappop(heap)
                    heappush(heap, now)
                    continue
            return self._lanes[head.lane][head.at]
        return None

    def advance(self) -> None:
        """Go on behind the next gang, in its lane."""
        head = heappop(self._heap)
        if head.at + 1 < len(self._lanes[head.lane]):
            heappush(self._heap, self._head(head.lane, head.at + 1))

    def close(self, reason: Reason) -> None:
        """Leave out the rest of the next gang's lane, for a reason."""
        self._closed.append((heappop(self._heap), reason))

    def fail(self, reason: Reason, room: int) -> None:
        """Close the next gang's lane, and remember that it found nothing in this much room."""
        head = self._heap[0]
        if not head.at:
            self.line.failed_in(self._names[head.lane], room, self._lanes[head.lane][0].gang.uid)
        self.close(reason)

    def reasons(self) -> dict[str, Reason]:
        """Return why gangs of closed lanes were left out."""
        return {entry.gang.uid: reason for head, reason in self._closed for entry in self._lanes[head.lane][head.at :]}


def in_order(line: Line, uses: dict[str, float] | None) -> list[Entry]:
    """Return the whole line in the order in which it is served."""
    walk = Walk(line, uses)
    found = []
    while (entry := walk.first()) is not None:
        found.append(entry)
        walk.advance()
    return found
