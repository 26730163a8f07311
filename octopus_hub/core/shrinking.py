"""What an elastic gang gives up so that another can start, instead of being preempted. Pure.

Works on a :class:`Trial`; who is asked to shrink for whom is ``preempt``'s to say.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush

from octopus_hub.core.choices import choices_of, chosen
from octopus_hub.core.plan import Resize
from octopus_hub.core.sizes import least_runtime, size, tasks, without
from octopus_hub.core.slots import NONE_SUCH, Need
from octopus_hub.core.snapshot import RoleNeed, Running, Snapshot, Waiting, charged
from octopus_hub.core.trial import Trial

_ORDERS = 32  # nodes that are tried as the first to be cleared


def shrink(
    trial: Trial, victim: Running, claimant: Waiting, fits: Callable[[Trial], bool], now: float
) -> Resize | None:
    """Return the smallest resize of ``victim`` after which ``fits`` holds for the claimant; None if there is none.

    At most what is beyond the minimum of each role goes, and nothing before the victim's minimum runtime. ``fits`` looks
    at the trial (room and quotas) and leaves it as it was. No task is taken in vain: with one less of them the claimant
    would not fit. That it is the fewest is sure where a task of the victim is no larger than one of the claimant, and
    the claimant has one role; else it is the best of a few orders. The trial keeps a resize that was found.
    """
    if victim.leaving or now < victim.since + least_runtime(trial.snapshot, victim):
        return None
    best: list[tuple[str, str]] | None = None
    for order in _orders(trial, victim, claimant):
        found = _fewest(trial, victim, order, fits)
        if found is not None and (best is None or len(found) < len(best)):
            best = found
    if not best:
        return None
    _give(trial, victim, best)
    return Resize(victim.gang.uid, without(victim.placement, best), "shrink", by=claimant.uid)


def shrink_some(
    trial: Trial, victims: Sequence[Running], claimant: Waiting, fits: Callable[[Trial], bool], now: float
) -> list[Resize]:
    """Return resizes of as few of ``victims`` as can be found, after which ``fits`` holds; none if all are not enough.

    Those with the most beyond their minimum are asked first; one that suffices alone is asked alone. Otherwise as
    :func:`shrink`.
    """
    able = [victim for victim in victims if not victim.leaving and _may_shrink(trial, victim, now)]
    able.sort(key=lambda victim: (-_beyond(victim), victim.gang.queued_at, victim.gang.uid))
    for victim in able:
        alone = shrink(trial, victim, claimant, fits, now)
        if alone is not None:
            return [alone]
    start = trial.mark()
    given: list[Running] = []
    for victim in able:
        _give(trial, victim, _spare_tasks(victim))
        given.append(victim)
        if fits(trial):
            break
    else:
        trial.rollback(start)
        return []
    trial.rollback(start)
    return _fewest_of_each(trial, given, claimant, fits, now)


def shrinkable_at(snapshot: Snapshot, among: Iterable[str], now: float) -> float | None:
    """Return when the next of these elastic gangs may be asked to shrink, None if time alone changes nothing."""
    times = [
        running.since + least_runtime(snapshot, running)
        for uid in among
        if (running := snapshot.running.get(uid)) is not None and not running.leaving and _spare_tasks(running)
    ]
    return min((at for at in times if at > now), default=None)


def _fewest_of_each(
    trial: Trial, victims: Sequence[Running], claimant: Waiting, fits: Callable[[Trial], bool], now: float
) -> list[Resize]:
    """Shrink one after another as little as is possible while those after it give all they can."""
    resizes: list[Resize] = []
    for at, victim in enumerate(victims):
        rest = victims[at + 1 :]

        def helped(trial: Trial, rest: Sequence[Running] = rest) -> bool:
            mark = trial.mark()
            for other in rest:
                _give(trial, other, _spare_tasks(other))
            holds = fits(trial)
            trial.rollback(mark)
            return holds

        if helped(trial):
            continue  # the others are enough
        resize = shrink(trial, victim, claimant, helped, now)
        if resize is not None:
            resizes.append(resize)
    return resizes


def _may_shrink(trial: Trial, victim: Running, now: float) -> bool:
    return now >= victim.since + least_runtime(trial.snapshot, victim) and bool(_spare_tasks(victim))


def _beyond(victim: Running) -> int:
    needs = [need for need in victim.gang.needs if need.most is not None]
    return max(
        ((size(victim.placement, need.role) - need.count) * 1000 // max(1, need.count) for need in needs), default=0
    )


def _spare_tasks(victim: Running) -> list[tuple[str, str]]:
    """Return all that is beyond its minimum."""
    return [
        task
        for need in victim.gang.needs
        if need.most is not None
        for task in tasks(victim.placement, need.role)[need.count :]
    ]


def _orders(trial: Trial, victim: Running, claimant: Waiting) -> Iterator[list[tuple[str, str]]]:
    """Yield orders in which tasks may be taken: cheapest room first, from the end, then each node cleared first."""
    spare = {
        need.role: size(victim.placement, need.role) - need.count
        for need in victim.gang.needs
        if need.most is not None and size(victim.placement, need.role) > need.count
    }
    every = [task for role in spare for task in reversed(tasks(victim.placement, role))]
    counts: dict[str, int] = {}
    for _, node in every:
        counts[node] = counts.get(node, 0) + 1
    nodes = sorted(counts, key=lambda node: (-counts[node], node))
    yield _spared(_cheapest(trial, victim, claimant, every), spare)
    yield _spared(every, spare)
    for at in range(min(len(nodes), _ORDERS)):
        place = {node: number for number, node in enumerate([*nodes[at:], *nodes[:at]])}
        yield _spared(sorted(every, key=lambda task: place[task[1]]), spare)


def _cheapest(
    trial: Trial, victim: Running, claimant: Waiting, every: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Order tasks by how few of them give room for one more task of the claimant's largest role, node by node."""
    cluster = trial.cluster
    sizes = {need.role: cluster.need(need.each) for need in chosen(victim.gang.needs, choices_of(victim.placement))}
    slot = cluster.need(max(claimant.needs, key=_weight).each)
    left: dict[str, list[tuple[str, str]]] = {}
    for task in every:
        left.setdefault(task[1], []).append(task)
    free = {node: list(trial.free[cluster.index[node]]) for node in left if node in cluster.index}
    heap = [entry for node in free if (entry := _price(free[node], slot, left[node], sizes, node)) is not None]
    heapify(heap)
    order: list[tuple[str, str]] = []
    while heap:
        count, _, node = heappop(heap)
        for task in left[node][:count]:
            _add(free[node], sizes[task[0]])
        order += left[node][:count]
        left[node] = left[node][count:]
        entry = _price(free[node], slot, left[node], sizes, node)
        if entry is not None:
            heappush(heap, entry)
    return [*order, *(task for node in left for task in left[node])]


def _weight(need: RoleNeed) -> tuple[int, int, int]:
    return sum(need.each.devices.values()), need.each.memory_bytes, need.each.cpu_millis


def _price(
    free: Sequence[int], slot: Need, tasks: Sequence[tuple[str, str]], sizes: Mapping[str, Need], node: str
) -> tuple[int, int, str] | None:
    """Return (tasks, minus room, node) of the fewest of these tasks that make more room on a node; None if none do."""
    before, vector = _room(free, slot), list(free)
    for count, task in enumerate(tasks, 1):
        _add(vector, sizes[task[0]])
        room = _room(vector, slot)
        if room > before:
            return count, before - room, node
    return None


def _room(free: Sequence[int], slot: Need) -> int:
    bounds = [0 if at == NONE_SUCH else free[at] // amount for at, amount in slot]
    return max(0, min(bounds, default=0))


def _add(vector: list[int], need: Need) -> None:
    for at, amount in need:
        if at != NONE_SUCH:
            vector[at] += amount


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
    trial: Trial, victim: Running, order: Sequence[tuple[str, str]], fits: Callable[[Trial], bool]
) -> list[tuple[str, str]] | None:
    """Return the fewest tasks from the front of ``order`` that suffice, without those of them that don't help."""

    def suffice(tasks: Sequence[tuple[str, str]]) -> bool:
        mark = trial.mark()
        _give(trial, victim, tasks)
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


def _give(trial: Trial, victim: Running, tasks: Iterable[tuple[str, str]]) -> None:
    """Give back what these tasks hold."""
    gang = victim.gang
    needs = {need.role: need for need in chosen(gang.needs, choices_of(victim.placement))}
    for role, node in tasks:
        at = trial.cluster.index.get(node)
        if at is not None:  # a node that is gone gives nothing
            trial.take(at, trial.cluster.need(needs[role].each), -1)
        trial.charge(gang, charged(needs[role]), -1)
