"""Elastic gangs: how many tasks they start with, when they grow into idle room, what they give up for a claimant.

Pure: works on a :class:`Trial`, which it leaves with what it decided (so that nothing else of the cycle gets that room);
a refused try leaves it as it was. Tasks that stay keep their index and their node; new ones come behind them. Called by
``schedule``: :func:`start_size` for an admission, :func:`shrink` before a preemption, :func:`grow` at the end of a cycle.

A resize restarts the whole gang, so it has to pay (``_worthwhile``): what is gained within one review period is at
least what the restart and the work since the last checkpoint cost. A gang that would start from scratch never grows.
None is resized before its attempt has lasted a review period and its minimum runtime, unless its owner wished it since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush

from octopus_hub.core.choices import Placed, choices_of, chosen
from octopus_hub.core.placement import avoided, find
from octopus_hub.core.plan import Resize
from octopus_hub.core.shrinking import shrink
from octopus_hub.core.sizes import elastic, rules, settled, settled_after, size, tasks, wished, without
from octopus_hub.core.snapshot import Placement, RoleNeed, Running, Snapshot, Waiting, charged
from octopus_hub.core.trial import Trial
from octopus_hub.model.status import Span

__all__ = ["grow", "keep_off", "review_at", "shrink", "start_size", "wishes"]

RESTART_SECONDS = 60  # what ending and starting a gang is taken to cost

Allows = Callable[[Waiting, Mapping[str, int]], bool]  # may the gang use so much more? (quotas)
Excluded = Callable[[Waiting], frozenset[int]]  # nodes that new tasks of a gang keep off
_RATIO = 1_000_000


@dataclass(slots=True)
class _Growing:
    """A gang that may get more tasks, and those it got."""

    gang: Waiting
    placement: Placement
    running: Running | None = None
    extra: dict[str, list[str]] = field(default_factory=dict)  # role -> node of each new task

    @property
    def needs(self) -> tuple[RoleNeed, ...]:
        """What it needs in the way that was chosen for it."""
        return chosen(self.gang.needs, choices_of(self.placement))

    def nodes(self, role: str) -> Iterator[str]:
        """Yield the node of each task of a role."""
        for span in self.placement.get(role, ()):
            yield from [span.node] * span.count
        yield from self.extra.get(role, ())

    @property
    def gain(self) -> int:
        """Number of new tasks."""
        return sum(len(nodes) for nodes in self.extra.values())


def start_size(
    trial: Trial, gang: Waiting, placement: Placement, allows: Allows, excluded: Excluded | None = None
) -> Placed:
    """Return the placement with as many more tasks as fit now, for a gang that was found ``placement`` at its minimum.

    Asked when nothing else waits for that room. The trial is left as it was: the caller adds what it admits.
    """
    if not elastic(gang):
        return Placed({role: tuple(spans) for role, spans in placement.items()}, choices_of(placement))
    mark = trial.mark()
    trial.add(gang, placement)
    growing = _Growing(gang, placement)
    _fill(trial, [growing], allows, excluded)
    trial.rollback(mark)
    return _with_extra(growing)


def wishes(snapshot: Snapshot, now: float, among: Iterable[str] | None = None) -> list[Resize]:
    """Return the gangs that give up what is more than their owners wish, whoever waits.

    ``among`` are the uids of those that are looked at (None: all that run); who is asked to go anyway should not be.
    """
    found = (_to_wish(running) for running in _able(snapshot, now, among))
    return [resize for resize in found if resize is not None]


def grow(
    trial: Trial,
    now: float,
    allows: Allows,
    excluded: Excluded | None = None,
    among: Iterable[str] | None = None,
) -> list[Resize]:
    """Return the gangs that grow into room that nobody waits for, those with the least beyond their minimum first.

    ``among`` as for :func:`wishes`. The trial keeps what is decided.
    """
    resizes: list[Resize] = []
    candidates = [
        _Growing(running.gang, running.placement, running)
        for running in _able(trial.snapshot, now, among)
        if _below(running.gang, running.placement) and _may_grow(running) and _to_wish(running) is None
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


def review_at(snapshot: Snapshot, now: float, among: Iterable[str] | None = None) -> float | None:
    """Return when the next gang that could grow may be resized, None if time alone changes nothing."""
    times = [
        running.since + settled_after(snapshot, running)
        for running in _elastic(snapshot, among)
        if _may_grow(running) and _below(running.gang, running.placement)
    ]
    return min((at for at in times if at > now), default=None)


# --- growing
def _fill(trial: Trial, candidates: Iterable[_Growing], allows: Allows, excluded: Excluded | None) -> None:
    """Give one task after another to whoever has the least beyond its minimum, while there is room."""
    entries = [
        (_ratio(need, size(each.placement, need.role)), each.gang.queued_at, each.gang.uid, at, each)
        for each in candidates
        for at, need in enumerate(each.needs)
        if need.most is not None and size(each.placement, need.role) < need.most
    ]
    heapify(entries)
    while entries:
        _, queued_at, uid, at, growing = heappop(entries)
        need = growing.needs[at]
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
    if need.spread is not None:
        closed |= _full(trial, growing, need, need.spread)
    for selector in _selectors(trial, growing, need):
        one = RoleNeed(need.role, 1, need.each, selector, tolerates=need.tolerates)
        found = find(trial, replace(gang, needs=(one,)), closed)
        if found is not None:
            node = found[need.role][0].node
            trial.take(trial.cluster.index[node], trial.cluster.need(need.each), 1)
            trial.charge(gang, total, 1)
            return node
    return None


def _selectors(trial: Trial, growing: _Growing, need: RoleNeed) -> Iterator[Mapping[str, str]]:
    """Yield where a new task may go: near the others first, elsewhere unless a level is required."""
    for level in (need.topology, *need.wider) if need.topology is not None else ():
        known = _by_domain(trial, growing, need.role, level)
        if len(known) == 1 or not need.topology_required:
            for domain in sorted(known, key=lambda each: (-known[each], each)):
                yield {**need.node_selector, level: domain}
    if need.topology is None or not need.topology_required:
        yield need.node_selector


def _full(trial: Trial, growing: _Growing, need: RoleNeed, level: str) -> frozenset[int]:
    """Return the nodes of domains that have their share of a role that is spread over a level."""
    known = _by_domain(trial, growing, need.role, level)
    domains = trial.cluster.domains(level)
    most = need.spread_most
    if most is None:  # as evenly as can be: only where there are fewest
        most = min((known.get(domain, 0) for domain in domains), default=0) + 1
    full = {domain for domain in domains if known.get(domain, 0) >= most}
    return frozenset(at for at, node in enumerate(trial.cluster.nodes) if node.labels.get(level) in full)


def _by_domain(trial: Trial, growing: _Growing, role: str, level: str) -> dict[str, int]:
    """Count a role's tasks by domain of a level."""
    index, nodes = trial.cluster.index, trial.cluster.nodes
    found: dict[str, int] = {}
    for name in growing.nodes(role):
        domain = nodes[index[name]].labels.get(level) if name in index else None
        if domain is not None:
            found[domain] = found.get(domain, 0) + 1
    return found


def _ratio(need: RoleNeed, count: int) -> int:
    return (count - need.count) * _RATIO // max(1, need.count)


def _fairness(growing: _Growing) -> tuple[int, float, str]:
    ratios = [_ratio(need, size(growing.placement, need.role)) for need in growing.gang.needs if need.most is not None]
    return min(ratios, default=0), growing.gang.queued_at, growing.gang.uid


def _below(gang: Waiting, placement: Placement) -> bool:
    return any(need.most is not None and size(placement, need.role) < need.most for need in gang.needs)


def _elastic(snapshot: Snapshot, among: Iterable[str] | None) -> Iterator[Running]:
    """Yield the elastic gangs that stay, in a fixed order."""
    for uid in sorted(snapshot.running if among is None else among):
        running = snapshot.running.get(uid)
        if running is not None and not running.leaving and elastic(running.gang):
            yield running


def _able(snapshot: Snapshot, now: float, among: Iterable[str] | None) -> Iterator[Running]:
    """Yield those that may be resized now."""
    return (running for running in _elastic(snapshot, among) if settled(snapshot, running, now))


def _may_grow(running: Running) -> bool:
    return running.gang.resumes or wished(running)


def _worthwhile(snapshot: Snapshot, growing: _Growing, now: float) -> bool:
    """Say whether a review period with the new tasks makes up for the restart of the old ones."""
    running = growing.running
    if running is None or wished(running):
        return True
    lost = 0.0 if running.checkpoint_at is None else max(0.0, now - running.checkpoint_at)
    before = sum(size(growing.placement, need.role) for need in growing.gang.needs if need.most is not None)
    return growing.gain * rules(snapshot, growing.gang).review_seconds >= before * (RESTART_SECONDS + lost)


def _to_wish(running: Running) -> Resize | None:
    """Return the resize that takes away what is more than its owner wishes."""
    doomed: list[tuple[str, str]] = []
    for need in running.gang.needs:
        over = size(running.placement, need.role) - (need.most if need.most is not None else need.count)
        if need.most is not None and over > 0:
            doomed += tasks(running.placement, need.role)[-over:]
    if not doomed:
        return None
    return Resize(running.gang.uid, without(running.placement, doomed), "shrink")


def _with_extra(growing: _Growing) -> Placed:
    """Return the placement with the new tasks behind the present ones."""
    placed: dict[str, tuple[Span, ...]] = {}
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
    return Placed(placed, choices_of(growing.placement))


def keep_off(trial: Trial, now: float) -> Excluded:
    """Return what says which nodes a gang avoids after failed binds."""
    return lambda gang: avoided(trial, gang, now)
