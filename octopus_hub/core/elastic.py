"""Elastic gangs: how many tasks they start with, when they grow into idle room, what they give up for a claimant.

Pure: works on a :class:`Trial`, which it leaves with what it decided (so that nothing else of the cycle gets that room);
a refused try leaves it as it was. Tasks that stay keep their index and their node; new ones come behind them. Called by
``schedule``: :func:`start_size` for an admission, :func:`shrink` before a preemption, :func:`grow` at the end of a cycle.

A resize restarts the whole gang, so it has to pay (``_worthwhile``): what is gained within one review period is at
least what the restart and the work since the last checkpoint cost. A gang that would start from scratch never grows.
None is resized before its attempt has lasted a review period and its minimum runtime, unless its owner wished it since.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush

from octopus_hub.core.placement import avoided, find
from octopus_hub.core.plan import Resize
from octopus_hub.core.snapshot import Placement, RoleNeed, Running, Snapshot, Trial, Waiting, charged
from octopus_hub.model.queue import QueuePreemption
from octopus_hub.model.status import Span

RESTART_SECONDS = 60  # what ending and starting a gang is taken to cost
_ORDERS = 32  # nodes that are tried as the first to be cleared

Placed = dict[str, tuple[Span, ...]]
Allows = Callable[[Waiting, Mapping[str, int]], bool]  # may the gang use so much more? (quotas)
Excluded = Callable[[Waiting], frozenset[int]]  # nodes that new tasks of a gang keep off
_RATIO = 1_000_000
_STANDARD = QueuePreemption()


@dataclass(slots=True)
class _Growing:
    """A gang that may get more tasks, and those it got."""

    gang: Waiting
    placement: Placement
    running: Running | None = None
    extra: dict[str, list[str]] = field(default_factory=dict)  # role -> node of each new task

    @property
    def gain(self) -> int:
        """Number of new tasks."""
        return sum(len(nodes) for nodes in self.extra.values())


def size(placement: Placement, role: str) -> int:
    """Return how many tasks of a role are placed."""
    return sum(span.count for span in placement.get(role, ()))


def elastic(gang: Waiting) -> bool:
    """Say whether the gang may have other sizes than the one it asks for."""
    return any(need.most is not None for need in gang.needs)


def start_size(
    trial: Trial, gang: Waiting, placement: Placement, allows: Allows, excluded: Excluded | None = None
) -> Placed:
    """Return the placement with as many more tasks as fit now, for a gang that was found ``placement`` at its minimum.

    Asked when nothing else waits for that room. The trial is left as it was: the caller adds what it admits.
    """
    whole = {role: tuple(spans) for role, spans in placement.items()}
    if not elastic(gang):
        return whole
    mark = trial.mark()
    trial.add(gang, placement)
    growing = _Growing(gang, placement)
    _fill(trial, [growing], allows, excluded)
    trial.rollback(mark)
    return _with_extra(growing)


def grow(trial: Trial, now: float, allows: Allows, excluded: Excluded | None = None) -> list[Resize]:
    """Return the gangs that grow into room that nobody waits for, those with the least beyond their minimum first.

    Gangs that have more than their owner wishes are made smaller first. The trial keeps what is decided.
    """
    resizes = [each for each in (_to_wish(running, now) for running in _able(trial.snapshot, now)) if each is not None]
    smaller = {resize.uid for resize in resizes}
    candidates = [
        _Growing(running.gang, running.placement, running)
        for running in _able(trial.snapshot, now)
        if running.gang.uid not in smaller and _below(running.gang, running.placement) and _may_grow(running)
    ]
    mark = trial.mark()
    while candidates:
        _fill(trial, candidates, allows, excluded)
        grown = [each for each in candidates if each.gain]
        vain = [each for each in grown if not _worthwhile(trial.snapshot, each, now)]
        if not vain:
            resizes += [Resize(each.gang.uid, _with_extra(each), "grow") for each in grown]
            break
        trial.rollback(mark)  # what is too little for many may be enough for some
        dropped = {each.gang.uid for each in sorted(vain, key=_fairness)[len(vain) // 2 :]}
        candidates = [each for each in candidates if each.gang.uid not in dropped]
        for each in candidates:
            each.extra.clear()
    return resizes


def review_at(snapshot: Snapshot, now: float) -> float | None:
    """Return when the next gang that could grow may be resized, None if time alone changes nothing."""
    times = [
        running.since + _settled_after(snapshot, running)
        for running in snapshot.running.values()
        if not running.leaving and _may_grow(running) and _below(running.gang, running.placement)
    ]
    return min((at for at in times if at > now), default=None)


def shrink(
    trial: Trial, victim: Running, claimant: Waiting, fits: Callable[[Trial], bool], now: float
) -> Resize | None:
    """Return the smallest resize of ``victim`` after which ``fits`` holds for the claimant; None if there is none.

    At most what is beyond the minimum of each role goes. ``fits`` looks at the trial (room and quotas) and leaves it as
    it was. Tasks are taken node by node, from several nodes first, and none is taken in vain: with one less, the
    claimant would not fit. The trial keeps a resize that was found.
    """
    if victim.leaving or not _settled(trial.snapshot, victim, now):
        return None
    best: list[tuple[str, str]] | None = None
    for order in _orders(victim):
        found = _fewest(trial, victim.gang, order, fits)
        if found is not None and (best is None or len(found) < len(best)):
            best = found
    if not best:
        return None
    _give(trial, victim.gang, best)
    return Resize(victim.gang.uid, _without(victim.placement, best), "shrink", by=claimant.uid)


# --- growing
def _fill(trial: Trial, candidates: Iterable[_Growing], allows: Allows, excluded: Excluded | None) -> None:
    """Give one task after another to whoever has the least beyond its minimum, while there is room."""
    entries = [
        (_ratio(need, size(each.placement, need.role)), each.gang.queued_at, each.gang.uid, at, each)
        for each in candidates
        for at, need in enumerate(each.gang.needs)
        if need.most is not None and size(each.placement, need.role) < need.most
    ]
    heapify(entries)
    while entries:
        _, queued_at, uid, at, growing = heappop(entries)
        need = growing.gang.needs[at]
        node = _one_more(trial, growing, need, allows, excluded)
        if node is None:
            continue
        growing.extra.setdefault(need.role, []).append(node)
        count = size(growing.placement, need.role) + len(growing.extra[need.role])
        if need.most is not None and count < need.most:
            heappush(entries, (_ratio(need, count), queued_at, uid, at, growing))


def _one_more(trial: Trial, growing: _Growing, need: RoleNeed, allows: Allows, excluded: Excluded | None) -> str | None:
    """Take room for one more task; returns its node."""
    gang, total = growing.gang, charged(need)
    if not allows(gang, total):
        return None
    closed = excluded(gang) if excluded is not None else frozenset()
    for selector in _selectors(trial, growing, need):
        one = replace(need, count=1, most=None, node_selector=selector, topology=None)
        found = find(trial, replace(gang, needs=(one,)), closed)
        if found is not None:
            node = found[need.role][0].node
            trial.take(trial.cluster.index[node], trial.cluster.need(need.each), 1)
            trial.charge(gang, total, 1)
            return node
    return None


def _selectors(trial: Trial, growing: _Growing, need: RoleNeed) -> Iterator[Mapping[str, str]]:
    """Yield where a new task may go: near the others first, elsewhere unless the level is required."""
    if need.topology is None:
        yield need.node_selector
        return
    index, nodes = trial.cluster.index, trial.cluster.nodes
    spans = growing.placement.get(need.role, ())
    domains = {nodes[index[span.node]].labels.get(need.topology) for span in spans if span.node in index}
    known = sorted(domain for domain in domains if domain is not None)
    if len(known) == 1 or not need.topology_required:
        for domain in known:
            yield {**need.node_selector, need.topology: domain}
    if not need.topology_required:
        yield need.node_selector


def _ratio(need: RoleNeed, count: int) -> int:
    return (count - need.count) * _RATIO // max(1, need.count)


def _fairness(growing: _Growing) -> tuple[int, float, str]:
    ratios = [_ratio(need, size(growing.placement, need.role)) for need in growing.gang.needs if need.most is not None]
    return min(ratios, default=0), growing.gang.queued_at, growing.gang.uid


def _below(gang: Waiting, placement: Placement) -> bool:
    return any(need.most is not None and size(placement, need.role) < need.most for need in gang.needs)


def _able(snapshot: Snapshot, now: float) -> Iterator[Running]:
    """Yield the elastic gangs that may be resized now, in a fixed order."""
    for uid in sorted(snapshot.running):
        running = snapshot.running[uid]
        if not running.leaving and elastic(running.gang) and _settled(snapshot, running, now):
            yield running


def _may_grow(running: Running) -> bool:
    return running.gang.resumes or _wished(running)


def _wished(running: Running) -> bool:
    """Its owner has wished another size since this attempt was admitted."""
    return running.gang.scaled_at is not None and running.gang.scaled_at > running.since


def _settled(snapshot: Snapshot, running: Running, now: float) -> bool:
    return _wished(running) or now >= running.since + _settled_after(snapshot, running)


def _settled_after(snapshot: Snapshot, running: Running) -> float:
    rules = _rules(snapshot, running.gang)
    least = running.gang.min_runtime
    return max(rules.review_seconds, rules.min_runtime_seconds if least is None else least)


def _rules(snapshot: Snapshot, gang: Waiting) -> QueuePreemption:
    queue = snapshot.queues.get(gang.queue)
    return queue.preemption if queue is not None else _STANDARD


def _worthwhile(snapshot: Snapshot, growing: _Growing, now: float) -> bool:
    """Say whether a review period with the new tasks makes up for the restart of the old ones."""
    running = growing.running
    if running is None or _wished(running):
        return True
    lost = 0.0 if running.checkpoint_at is None else max(0.0, now - running.checkpoint_at)
    before = sum(size(growing.placement, need.role) for need in growing.gang.needs if need.most is not None)
    return growing.gain * _rules(snapshot, growing.gang).review_seconds >= before * (RESTART_SECONDS + lost)


def _to_wish(running: Running, now: float) -> Resize | None:
    """Return the resize that takes away what is more than its owner wishes."""
    doomed: list[tuple[str, str]] = []
    for need in running.gang.needs:
        over = size(running.placement, need.role) - (need.most if need.most is not None else need.count)
        if need.most is not None and over > 0:
            doomed += _tasks(running.placement, need.role)[-over:]
    if not doomed:
        return None
    return Resize(running.gang.uid, _without(running.placement, doomed), "shrink")


def _with_extra(growing: _Growing) -> Placed:
    """Return the placement with the new tasks behind the present ones."""
    placed: Placed = {}
    for need in growing.gang.needs:
        spans = list(growing.placement.get(need.role, ()))
        first = size(growing.placement, need.role)
        counts: dict[str, int] = {}
        for node in growing.extra.get(need.role, ()):
            counts[node] = counts.get(node, 0) + 1
        for node, count in sorted(counts.items(), key=lambda each: (not spans or each[0] != spans[-1].node, each[0])):
            if spans and spans[-1].node == node:
                spans[-1] = Span(node=node, first=spans[-1].first, count=spans[-1].count + count)
            else:
                spans.append(Span(node=node, first=first, count=count))
            first += count
        placed[need.role] = tuple(spans)
    return placed


# --- shrinking
def _tasks(placement: Placement, role: str) -> list[tuple[str, str]]:
    """Return (role, node) of each task, by index."""
    return [(role, span.node) for span in placement.get(role, ()) for _ in range(span.count)]


def _orders(victim: Running) -> Iterator[list[tuple[str, str]]]:
    """Yield orders in which tasks may be taken: from the end, then each node cleared first, the fullest before."""
    spare = {
        need.role: size(victim.placement, need.role) - need.count
        for need in victim.gang.needs
        if need.most is not None and size(victim.placement, need.role) > need.count
    }
    every = [task for role in spare for task in reversed(_tasks(victim.placement, role))]
    counts: dict[str, int] = {}
    for _, node in every:
        counts[node] = counts.get(node, 0) + 1
    nodes = sorted(counts, key=lambda node: (-counts[node], node))
    yield _spared(every, spare)
    for at in range(min(len(nodes), _ORDERS)):
        place = {node: number for number, node in enumerate([*nodes[at:], *nodes[:at]])}
        yield _spared(sorted(every, key=lambda task: place[task[1]]), spare)


def _spared(order: Iterable[tuple[str, str]], spare: Mapping[str, int]) -> list[tuple[str, str]]:
    """Leave every role its minimum."""
    left = dict(spare)
    chosen = []
    for role, node in order:
        if left[role]:
            left[role] -= 1
            chosen.append((role, node))
    return chosen


def _fewest(
    trial: Trial, gang: Waiting, order: Sequence[tuple[str, str]], fits: Callable[[Trial], bool]
) -> list[tuple[str, str]] | None:
    """Return the fewest tasks from the front of ``order`` that suffice, without those of them that don't help."""

    def suffice(tasks: Sequence[tuple[str, str]]) -> bool:
        mark = trial.mark()
        _give(trial, gang, tasks)
        holds = fits(trial)
        trial.rollback(mark)
        return holds

    if not order or not suffice(order):
        return None
    count = bisect_left(range(1, len(order)), True, key=lambda number: suffice(order[:number])) + 1
    chosen = list(order[:count])
    for task in list(chosen[:-1]):
        fewer = list(chosen)
        fewer.remove(task)
        if suffice(fewer):
            chosen = fewer
    return chosen


def _give(trial: Trial, gang: Waiting, tasks: Iterable[tuple[str, str]]) -> None:
    """Give back what these tasks hold."""
    needs = {need.role: need for need in gang.needs}
    for role, node in tasks:
        at = trial.cluster.index.get(node)
        if at is not None:  # a node that is gone gives nothing
            trial.take(at, trial.cluster.need(needs[role].each), -1)
        trial.charge(gang, charged(needs[role]), -1)


def _without(placement: Placement, doomed: Iterable[tuple[str, str]]) -> Placed:
    """Return the placement without some tasks, the last of each node; who stays moves up and keeps its node."""
    gone: dict[tuple[str, str], int] = {}
    for task in doomed:
        gone[task] = gone.get(task, 0) + 1
    placed: Placed = {}
    for role, spans in placement.items():
        rest: list[tuple[str, int]] = []
        for span in reversed(spans):
            taken = min(span.count, gone.get((role, span.node), 0))
            gone[role, span.node] = gone.get((role, span.node), 0) - taken
            if span.count > taken:
                rest.append((span.node, span.count - taken))
        kept, first = [], 0
        for node, count in reversed(rest):
            kept.append(Span(node=node, first=first, count=count))
            first += count
        placed[role] = tuple(kept)
    return placed


def keep_off(trial: Trial, now: float) -> Excluded:
    """Return what says which nodes a gang avoids after failed binds."""
    return lambda gang: avoided(trial, gang, now)
