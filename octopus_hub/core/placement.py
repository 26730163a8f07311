"""Where a gang's members go: every member or none (design, law 1).

Packing is greedy and deterministic: roles with devices first, each on the node with the least room that holds it
whole, otherwise on as few nodes as possible; tasks without devices keep off device nodes while others have room.
Counts per node are computed, never task by task. A gang of several roles is tried in more than one order, which is
not an exhaustive search (docs/limits.md). Used by ``schedule``, and by ``POST /plan`` through it; never reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from octopus_hub.core.reason import Reason
from octopus_hub.core.refusal import back_off, refuse
from octopus_hub.core.slots import Cluster, Need, Selector
from octopus_hub.core.snapshot import Snapshot, Trial, Waiting
from octopus_hub.model.status import Span

Counts = dict[int, int]  # node -> tasks


class Role(NamedTuple):
    """A role as placement sees it; gangs whose roles are equal are placed alike."""

    name: str
    at: int  # its place in gang.needs
    need: Need
    tasks: int
    selector: Selector
    level: str | None
    required: bool


_Group = tuple[Role, ...]  # roles placed together: those of one topology level, else a single one


def place(where: Snapshot | Trial, gang: Waiting, now: float) -> Mapping[str, tuple[Span, ...]] | Reason:
    """Return where every member of ``gang`` goes, or why it can't start now; ``where`` is left as it was.

    Nodes of ``gang.avoid`` are not used before their time. Quotas are not looked at (``quota.check``).
    """
    trial = where.trial() if isinstance(where, Snapshot) else where
    excluded = avoided(trial, gang, now)
    placement = find(trial, gang, excluded)
    if placement is not None:
        return placement
    if excluded and find(trial, gang) is not None:
        return back_off(gang, now)
    return refuse(trial, gang)


def avoided(trial: Trial, gang: Waiting, now: float) -> frozenset[int]:
    """Return the nodes that the gang has to keep off at ``now``."""
    if not gang.avoid:
        return frozenset()
    index = trial.cluster.index
    return frozenset(index[name] for name, until in gang.avoid.items() if until > now and name in index)


def find(trial: Trial, gang: Waiting, excluded: frozenset[int] = frozenset()) -> dict[str, tuple[Span, ...]] | None:
    """Return a placement without the excluded nodes, or None; the trial is left as it was."""
    roles = [role for role in roles_of(trial.cluster, gang) if role.tasks]
    # Necessary for any placement and cheap: each role alone finds room.
    if any(trial.slots(role.need, role.selector, excluded).total < role.tasks for role in roles):
        return None
    for order in _orders(roles):
        taken: list[tuple[Role, Counts]] = []
        placed = all(_place_group(trial, group, excluded, taken) for group in order)
        _undo(trial, taken)
        if placed:
            counts = {role.at: counts for role, counts in taken}
            return {
                need.role: _spans(trial.cluster, counts[at]) if need.count else () for at, need in enumerate(gang.needs)
            }
    return None


def roles_of(cluster: Cluster, gang: Waiting) -> tuple[Role, ...]:
    """Return the gang's roles over the dimensions of ``cluster``; equal for gangs of one shape."""
    return tuple(
        Role(
            need.role,
            at,
            cluster.need(need.each),
            need.count,
            tuple(sorted(need.node_selector.items())) if need.node_selector else (),
            need.topology,
            need.topology_required,
        )
        for at, need in enumerate(gang.needs)
    )


def _orders(roles: list[Role]) -> Iterator[list[_Group]]:
    """Yield the orders in which roles are tried: most devices first, then (should that fail) most CPU first."""
    groups: dict[str, list[Role]] = {}
    for role in roles:
        groups.setdefault(f"level {role.level}" if role.level else f"role {role.at}", []).append(role)

    def by_devices(role: Role) -> tuple[int, int, int]:
        need = dict(role.need)
        devices = sum(amount for dimension, amount in role.need if dimension > 1)
        return (-devices, -need.get(1, 0), -need.get(0, 0))

    def by_cpu(role: Role) -> tuple[int, int, int]:
        need = dict(role.need)
        return (-need.get(0, 0), -need.get(1, 0), role.at)

    tried: list[list[_Group]] = []
    for key in (by_devices, by_cpu):
        inner = [tuple(sorted(group, key=key)) for group in groups.values()]
        order = sorted(inner, key=lambda group: (not group[0].level, key(group[0])))
        for candidate in (order, order[::-1]):
            if candidate not in tried:
                tried.append(candidate)
                yield candidate


def _place_group(trial: Trial, group: _Group, excluded: frozenset[int], taken: list[tuple[Role, Counts]]) -> bool:
    level = group[0].level
    if level is None:
        counts = _take(trial, group[0], group[0].selector, excluded)
        if counts is None:
            return False
        taken.append((group[0], counts))
        return True
    for domain in _domains(trial, group, level, excluded):
        if _place_in_domain(trial, group, (level, domain), excluded, taken):
            return True
    if any(role.required for role in group):
        return False
    for role in group:
        counts = _spread(trial, role, level, excluded)
        if counts is None:
            return False
        taken.append((role, counts))
    return True


def _domains(trial: Trial, group: _Group, level: str, excluded: frozenset[int]) -> list[str]:
    """Return the domains with room for the group's first role, the tightest first."""
    role = group[0]
    rooms = [
        (trial.slots(role.need, _within(role, level, domain), excluded).total, domain)
        for domain in trial.cluster.domains(level)
    ]
    return [domain for room, domain in sorted(rooms) if room >= role.tasks]


def _within(role: Role, level: str, domain: str) -> Selector:
    # a selector that names another value of the level stays: no node carries both, so nothing fits
    return tuple(sorted({*role.selector, (level, domain)}))


def _place_in_domain(
    trial: Trial,
    group: _Group,
    domain: tuple[str, str],
    excluded: frozenset[int],
    taken: list[tuple[Role, Counts]],
) -> bool:
    placed: list[tuple[Role, Counts]] = []
    for role in group:
        counts = _take(trial, role, _within(role, *domain), excluded)
        if counts is None:
            _undo(trial, placed)
            return False
        placed.append((role, counts))
    taken.extend(placed)
    return True


def _spread(trial: Trial, role: Role, level: str, excluded: frozenset[int]) -> Counts | None:
    """Fill the roomiest domains first, so that few are used; nodes without the label come last."""
    counts: Counts = {}
    left = role.tasks
    selectors = [_within(role, level, domain) for domain in trial.cluster.domains(level)]
    rooms = sorted((-trial.slots(role.need, selector, excluded).total, selector) for selector in selectors)
    for selector in [*(selector for room, selector in rooms if room), role.selector]:
        part = min(left, trial.slots(role.need, selector, excluded).total)
        for at, count in _fill(trial, role.need, selector, excluded, part).items():
            counts[at] = counts.get(at, 0) + count
        left -= part
    if left:
        _undo(trial, [(role, counts)])
        return None
    return counts


def _take(trial: Trial, role: Role, selector: Selector, excluded: frozenset[int]) -> Counts | None:
    if trial.slots(role.need, selector, excluded).total < role.tasks:
        return None
    return _fill(trial, role.need, selector, excluded, role.tasks)


def _fill(trial: Trial, need: Need, selector: Selector, excluded: frozenset[int], count: int) -> Counts:
    counts: Counts = {}
    slots = trial.slots(need, selector, excluded)
    while count:
        at, part = slots.best(count)
        trial.take(at, need, part)
        slots.refresh()
        counts[at] = counts.get(at, 0) + part
        count -= part
    return counts


def _undo(trial: Trial, taken: list[tuple[Role, Counts]]) -> None:
    for role, counts in taken:
        for at, count in counts.items():
            trial.take(at, role.need, -count)


def _spans(cluster: Cluster, counts: Counts) -> tuple[Span, ...]:
    """Number the tasks in node order, so that neighbouring ranks share a node."""
    spans = []
    first = 0
    for at in sorted(counts):
        spans.append(Span(node=cluster.nodes[at].name, first=first, count=counts[at]))
        first += counts[at]
    return tuple(spans)
