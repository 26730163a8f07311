"""Where a gang's members go: every member or none (design, law 1).

Roles are packed one after the other (``packing``), in up to four orders; roles of one topology level go together.
A gang whose roles are all alike is placed if and only if it fits, with topology, taints, excluded nodes and (for one
role) spreading. Where roles differ and no order succeeds, ``search`` looks further, within the bounds it states: up to
those the answer is exact too. A role with several ways to run is tried in each, the preferred first. Used by
``schedule``, and by ``POST /plan`` through it; never reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from octopus_hub.core.choices import Placed, chosen, ways
from octopus_hub.core.cluster import Cluster, selector
from octopus_hub.core.packing import Counts, Group, Packing, Role
from octopus_hub.core.reason import Reason
from octopus_hub.core.refusal import back_off, refuse
from octopus_hub.core.search import search
from octopus_hub.core.snapshot import RoleNeed, Snapshot, Waiting, gang_total
from octopus_hub.core.trial import Trial
from octopus_hub.model.status import Span

__all__ = ["Role", "avoided", "find", "place", "roles_of"]

Allowed = Callable[[Mapping[str, int]], bool]


def place(where: Snapshot | Trial, gang: Waiting, now: float) -> Placed | Reason:
    """Return where every member of ``gang`` goes, or why it can't start now; ``where`` is left as it was.

    Nodes of ``gang.avoid`` are not used before their time. Quotas are not looked at (``quota.check``).
    """
    trial = Trial(where) if isinstance(where, Snapshot) else where
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


def find(
    trial: Trial,
    gang: Waiting,
    excluded: frozenset[int] = frozenset(),
    allowed: Allowed | None = None,
    roles: Sequence[Role] | None = None,
) -> Placed | None:
    """Return a placement without the excluded nodes, or None; the trial is left as it was.

    ``roles`` are those of ``roles_of``, where the caller has them at hand.

    ``allowed`` says of the gang's total (``gang_total``) in one of its ways whether quotas permit it. It is asked only
    where roles have choices: whoever asks for a gang that has none has looked at its quota already.
    """
    if roles is not None and len(roles) == 1 and _plain(roles[0]):
        return _dense(trial, roles[0], excluded)
    for choices in ways(gang.needs):
        needs = chosen(gang.needs, choices)
        if choices and allowed is not None and not allowed(gang_total(needs)):
            continue
        counts = _find(trial, _roles(trial.cluster, needs), excluded)
        if counts is not None:
            spans = {
                need.role: _spans(trial.cluster, counts[at]) if need.count else () for at, need in enumerate(needs)
            }
            return Placed(spans, choices)
    return None


def _plain(role: Role) -> bool:
    """Say whether a role asks for nothing but room."""
    return not role.levels and role.spread is None and role.near is None and not role.others and role.tasks > 0


def _dense(trial: Trial, role: Role, excluded: frozenset[int]) -> Placed | None:
    """Pack a single plain role: what :class:`Packing` does with it."""
    slots = trial.slots(role.need, role.selector, excluded)
    if slots.total < role.tasks:
        return None
    at, part = slots.best(role.tasks)
    if part == role.tasks:
        return Placed({role.name: (Span(node=trial.cluster.nodes[at].name, first=0, count=part),)}, {})
    packing = Packing(trial, excluded)
    mark = trial.mark()
    packing.put((role,))
    trial.rollback(mark)
    return Placed({role.name: _spans(trial.cluster, packing.counts[role.at])}, {})


def _find(trial: Trial, every: Sequence[Role], excluded: frozenset[int]) -> dict[int, Counts] | None:
    roles = [role for role in every if role.tasks]
    # Necessary for any placement and cheap: each role alone finds room.
    if any(trial.slots(role.need, role.selector, excluded).total < role.tasks for role in roles):
        return None
    alike = _alike(roles)
    for order in _orders(roles):
        packing = Packing(trial, excluded)
        mark = trial.mark()
        placed = all(packing.put(group) for group in order)
        trial.rollback(mark)
        if placed:
            return packing.counts
        if alike:
            return None
    return search(trial, roles, excluded)


def _alike(roles: Sequence[Role]) -> bool:
    """Say whether packing in any order is exact: tasks of one size that differ in nothing."""
    kinds = {(role.need, role.selector, role.levels, role.required) for role in roles}
    return len(kinds) == 1 and (len(roles) == 1 or not any(role.spread for role in roles))


def roles_of(cluster: Cluster, gang: Waiting) -> tuple[Role, ...]:
    """Return the gang's roles over the dimensions of ``cluster``; equal for gangs of one shape."""
    return _roles(cluster, gang.needs)


def _roles(cluster: Cluster, needs: Sequence[RoleNeed]) -> tuple[Role, ...]:
    places = {need.role: at for at, need in enumerate(needs)} if any(need.near for need in needs) else {}
    return tuple(
        Role(
            need.role,
            at,
            cluster.need(need.each),
            need.count,
            selector(need.node_selector, need.tolerates) if need.node_selector or need.tolerates else (),
            (need.topology, *need.wider) if need.topology else (),
            need.topology_required,
            need.spread,
            need.spread_most,
            places.get(need.near) if need.near else None,
            tuple((cluster.need(way.each), selector(way.node_selector)) for way in need.choices),
        )
        for at, need in enumerate(needs)
    )


def _orders(roles: Sequence[Role]) -> Iterator[list[Group]]:
    """Yield the orders in which roles are tried: most devices first, then (should that fail) most CPU first.

    Roles that go near others come after them, but for the orders from the end.
    """
    groups: dict[tuple[str, ...] | int, list[Role]] = {}
    for role in roles:
        groups.setdefault(role.levels or role.at, []).append(role)

    def by_devices(role: Role) -> tuple[int, int, int, int]:
        need = dict(role.need)
        devices = sum(amount for dimension, amount in role.need if dimension > 1)
        return (role.near is not None, -devices, -need.get(1, 0), -need.get(0, 0))

    def by_cpu(role: Role) -> tuple[int, int, int, int]:
        need = dict(role.need)
        return (role.near is not None, -need.get(0, 0), -need.get(1, 0), role.at)

    tried: list[list[Group]] = []
    for key in (by_devices, by_cpu):
        inner = [tuple(sorted(group, key=key)) for group in groups.values()]
        order = sorted(inner, key=lambda group: (group[0].near is not None, not group[0].levels, key(group[0])))
        for candidate in (order, order[::-1]):
            if candidate not in tried:
                tried.append(candidate)
                yield candidate


def _spans(cluster: Cluster, counts: Counts) -> tuple[Span, ...]:
    """Number the tasks in node order, so that neighbouring ranks share a node."""
    spans = []
    first = 0
    for at in sorted(counts):
        spans.append(Span(node=cluster.nodes[at].name, first=first, count=counts[at]))
        first += counts[at]
    return tuple(spans)
