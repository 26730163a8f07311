"""The numbers behind a gang that finds no room (design, law 9): what is short, where the most is free, who holds it.

Only words and figures: ``placement`` and ``schedule`` decide. Nothing here changes a trial.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec.structs import replace

from octopus_hub.core.cluster import NONE_SUCH, TOLERATES, Selector
from octopus_hub.core.cluster import selector as selector_of
from octopus_hub.core.reason import Reason, ReasonCode, figure, flat, quantities, quantity, unflat, unit
from octopus_hub.core.snapshot import RoleNeed, Waiting, gang_total
from octopus_hub.core.trial import Trial
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.parts import split


def refuse(trial: Trial, gang: Waiting, code: ReasonCode = "NoFit") -> Reason:
    """Say what ``gang`` is short of in ``trial`` (of an empty cluster for ``NeverFits``)."""
    for need in gang.needs:
        selector = selector_of(need.node_selector, need.tolerates)
        if trial.slots(trial.cluster.need(need.each), selector).total < need.count:
            return _nor_otherwise(_short(trial, gang, need, selector, code), gang)
    return _nor_otherwise(_together(trial, gang, code), gang)


def _nor_otherwise(reason: Reason, gang: Waiting) -> Reason:
    """Say that other device models were tried too; the figures are those of what the gang prefers."""
    others = sum(len(need.choices) for need in gang.needs)
    if not others:
        return reason
    words = "its other choice of devices does not fit" if others == 1 else "none of its other choices of devices fits"
    return replace(reason, message=f"{reason.message}; {words} either")


def back_off(gang: Waiting, now: float) -> Reason:
    """Say which nodes are avoided after failed starts, and until when (a clock time, so that it reads the same)."""
    held_off = sorted((until, node) for node, until in gang.avoid.items() if until > now)
    clock = datetime.fromtimestamp(held_off[0][0], UTC).strftime("%H:%M:%S")
    nodes = ", ".join(node for _, node in held_off)
    return Reason(
        code="BackOff",
        message=f"could not be started on {nodes}; the next try there is at {clock} UTC",
        where=held_off[0][1],
    )


def _short(trial: Trial, gang: Waiting, need: RoleNeed, selector: Selector, code: ReasonCode) -> Reason:
    cluster = trial.cluster
    wanted = f"role {need.role} needs {_each(need)}"
    total = need.each.times(need.count)
    if not cluster.members(selector):
        return Reason(code=code, message=f"{wanted}{_no_members(trial, selector)}", need=total)
    scarce = _scarce(trial, need, selector)
    if scarce is None:
        return _no_node_has_all(trial, need, selector, code)
    resource, amount = scarce
    if resource not in cluster.dimension:
        message = f"{wanted}; no node has a {resource}{_other_parts(trial, resource)}"
        return Reason(code=code, message=message, need=total)
    dimension = cluster.dimension[resource]
    node, free = trial.slots(((dimension, 1),), selector).largest()
    where = cluster.nodes[node].name if node >= 0 else ""
    wanted = f"role {need.role} needs {need.count} x {quantity(resource, amount)}"
    if code == "NeverFits":
        limit = f"the largest node has {figure(resource, free)}" + (f" ({where})" if where else "")
        if free >= amount:
            limit = f"all nodes together have room for {trial.slots(((dimension, amount),), selector).total}"
    else:
        limit = f"largest free {figure(resource, free)}" + (f" on {where}" if where else "")
        limit += f"; {_in_use(trial, resource, selector)}"
    return Reason(
        code=code, message=f"{wanted}, {limit}", need=total, free=_free(trial, flat(total), selector), where=where
    )


def _other_parts(trial: Trial, resource: str) -> str:
    """Say what there is of a device type instead: whole ones, parts of other sizes."""
    others = [kind for kind in trial.cluster.dimension if split(kind)[0] == split(resource)[0]]
    return f" (they have {' and '.join(sorted(others))})" if others else ""


def _no_members(trial: Trial, selector: Selector) -> str:
    """Say what keeps a role off every node: labels that none has, taints, or that none is usable."""
    labels = ", ".join(f"{label}={value}" for label, value in selector if label != TOLERATES)
    words = f" on nodes labelled {labels}; no usable node is" if labels else "; no node is usable"
    open_to_all = tuple(sorted({*selector, (TOLERATES, "*")}))
    barred = trial.cluster.members(open_to_all)
    if not barred:
        return words
    taints = sorted({taint for at in barred for taint in trial.cluster.nodes[at].taints})
    where = f" on nodes labelled {labels}" if labels else ""
    return f"{where}; every usable node has a taint that it does not tolerate ({', '.join(taints)})"


def _free(trial: Trial, wanted: Iterable[str], selector: Selector) -> Amounts:
    """Return how much is free, over all nodes that count, of every resource that is wanted."""
    dimensions = {resource: trial.cluster.dimension.get(resource, NONE_SUCH) for resource in wanted}
    return unflat({resource: max(0, trial.slots(((at, 1),), selector).total) for resource, at in dimensions.items()})


def _each(need: RoleNeed) -> str:
    return f"{need.count} x ({quantities(flat(need.each))})"


def _scarce(trial: Trial, need: RoleNeed, selector: Selector) -> tuple[str, int] | None:
    """Return the resource that alone allows the fewest tasks, if that is fewer than asked."""
    found: tuple[int, str, int] | None = None
    for resource, amount in flat(need.each).items():
        dimension = trial.cluster.dimension.get(resource, NONE_SUCH)
        room = trial.slots(((dimension, amount),), selector).total
        if room < need.count and (found is None or room < found[0]):
            found = (room, resource, amount)
    return (found[1], found[2]) if found else None


def _no_node_has_all(trial: Trial, need: RoleNeed, selector: Selector, code: ReasonCode) -> Reason:
    """Each resource alone would do, but not on the same nodes."""
    slots = trial.slots(trial.cluster.need(need.each), selector)
    node, room = slots.largest()
    where = trial.cluster.nodes[node].name if node >= 0 else ""
    best = f", at most {room} on one node ({where})" if where else ""
    message = (
        f"role {need.role} needs {_each(need)} with everything of a task on one node, room for {slots.total}{best}"
    )
    used = "" if code == "NeverFits" else "; " + _in_use(trial, next(iter(flat(need.each))), selector)
    total = need.each.times(need.count)
    return Reason(code=code, message=message + used, need=total, free=_free(trial, flat(total), selector), where=where)


def _together(trial: Trial, gang: Waiting, code: ReasonCode) -> Reason:
    """Each role alone finds room, the gang does not."""
    total = {resource: amount for resource, amount in gang_total(gang.needs).items() if ":" not in resource}
    have = flat(_free(trial, total, ()))
    levels = sorted(
        {" or ".join((need.topology, *need.wider)) for need in gang.needs if need.topology_required and need.topology}
    )
    inside = f" inside one {' and one '.join(levels)}" if levels else ""
    bounds = [
        f"at most {need.spread_most} of {need.role} in one {need.spread}" for need in gang.needs if need.spread_most
    ]
    inside += f" with {' and '.join(bounds)}" if bounds else ""
    state = "there is" if code == "NeverFits" else "free are"
    message = f"the gang needs {quantities(total)}{inside}, all at once; {state} {quantities({resource: have.get(resource, 0) for resource in total})}, not in that shape"
    if code != "NeverFits":
        message += _kept(trial, next(iter(total), ""))
    return Reason(code=code, message=message, need=unflat(total), free=unflat(have))


def _in_use(trial: Trial, resource: str, selector: Selector) -> str:
    """Say who holds how much of a resource, and what is kept for a gang ahead."""
    dimension = trial.cluster.dimension[resource]
    have = trial.cluster.totals(selector)[dimension]
    slots = trial.slots(((dimension, 1),), selector)  # kept up to date, so that no walk over all nodes is needed
    used = have - slots.total
    for at, vector in trial.kept.items():
        if at in slots.room:  # what is kept is not free; what is kept of what others still use is used all the same
            used -= vector[dimension] + min(0, trial.free[at][dimension])
    holders = trial.holders.get(resource, 0)
    by = f" by {holders} TaskSet{'s' if holders > 1 else ''}" if holders else ""
    return f"{figure(resource, used)} of {figure(resource, have)} {unit(resource)} in use{by}" + _kept(trial, resource)


def _kept(trial: Trial, resource: str) -> str:
    dimension = trial.cluster.dimension.get(resource)
    if dimension is None:
        return ""
    kept = sum(vector[dimension] for vector in trial.kept.values())
    if not kept:
        return ""
    first = trial.kept_for[0]
    more = f" and {len(trial.kept_for) - 1} more" if len(trial.kept_for) > 1 else ""
    return f"; {quantity(resource, kept)} kept for {first.namespace}/{first.name}{more}, which waits longer"
