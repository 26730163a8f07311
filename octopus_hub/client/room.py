"""What a TaskSet needs against what is free, resource by resource, and where it is short. Pure; numbers beside the sentence.

The scheduler decides; this is for people who read why something waits (`octopus describe`, `octopus plan`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from octopus_hub.client.calls import NodeUse
from octopus_hub.client.jobtext import amounts, columns, size
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.names import SKU_LABEL
from octopus_hub.model.placing import tolerates
from octopus_hub.model.taskset import Role, TaskSet

CPU, MEMORY = "CPU", "memory"
Vector = Mapping[str, int]


def room(taskset: TaskSet, nodes: Sequence[NodeUse]) -> str:
    """Return a table of need and room, and a line for each role that finds too little room by itself; "" without nodes."""
    usable = _usable(nodes)
    if not usable:
        return ""
    need = _vector(taskset.amounts())
    free = {each.node.name: _free(each) for each in usable}
    rows = [_row(resource, amount, usable, free) for resource, amount in need.items()]
    header = ("RESOURCE", "NEEDS", "FREE", "IN ALL", "MOST ON ONE NODE", "SHORT BY")
    lines = [columns(header, rows, "  ")] if rows else []
    return "\n".join([*lines, *(f"  {line}" for line in shortages(taskset, nodes))])


def shortages(taskset: TaskSet, nodes: Sequence[NodeUse]) -> list[str]:
    """Return a line for each role that finds too little room by itself."""
    usable = _usable(nodes)
    free = {each.node.name: _free(each) for each in usable}
    return [line for role in taskset.spec.roles if (line := _short(role, usable, free))]


def _usable(nodes: Sequence[NodeUse]) -> list[NodeUse]:
    return [each for each in nodes if each.node.ready and each.node.schedulable]


def _row(resource: str, amount: int, usable: Sequence[NodeUse], free: Mapping[str, Vector]) -> tuple[str, ...]:
    available = sum(vector.get(resource, 0) for vector in free.values())
    capacity = sum(_vector(each.node.capacity).get(resource, 0) for each in usable)
    best = max(free, key=lambda name: free[name].get(resource, 0))
    most = free[best].get(resource, 0)
    return (
        resource,
        figure(resource, amount),
        figure(resource, available),
        figure(resource, capacity),
        f"{figure(resource, most)} ({best})" if most else figure(resource, 0),
        figure(resource, amount - available) if amount > available else "",
    )


def _short(role: Role, usable: Sequence[NodeUse], free: Mapping[str, Vector]) -> str:
    """Say how many of a role's tasks find room now, if that is fewer than it has."""
    placement = role.placement
    labels = [f"{key}={value}" for key, value in placement.node_selector.items()]
    models = [each.sku for each in placement.skus]
    most = 0
    for choice, model in enumerate(models or [""]):
        each = _vector(role.amounts(choice))
        if not each:
            return ""
        selector = {**placement.node_selector, **({SKU_LABEL: model} if model else {})}
        nodes = [use.node for use in usable if _labelled(use.node.labels, selector)]
        fitting = [node.name for node in nodes if tolerates(placement.tolerations, node.taints)]
        most = max(most, sum(_places(each, free[name]) for name in fitting))
    if most >= role.count:
        return ""
    labels += [f"{SKU_LABEL}={' or '.join(models)}"] if models else []
    where = f" on nodes with {', '.join(labels)}" if labels else ""

    return f"role {role.name}: room for {most} of {role.count} tasks{where}, each with {_amounts(role)} on one node"


def _labelled(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())


def _places(each: Vector, free: Vector) -> int:
    return max(0, min((free.get(resource, 0) // amount for resource, amount in each.items())))


def _amounts(role: Role) -> str:
    return amounts(role.resources.amounts())


def _free(use: NodeUse) -> dict[str, int]:
    taken = _vector(use.used)
    return {
        resource: max(0, amount - taken.get(resource, 0)) for resource, amount in _vector(use.node.capacity).items()
    }


def _vector(value: Amounts) -> dict[str, int]:
    devices: Iterable[tuple[str, int]] = sorted(value.devices.items())
    found = {name: count for name, count in devices if count}
    if value.cpu_millis:
        found[CPU] = value.cpu_millis
    if value.memory_bytes:
        found[MEMORY] = value.memory_bytes
    return found


def figure(resource: str, amount: int) -> str:
    """Return a bare number as people read it."""
    if resource == CPU:
        return f"{amount / 1000:g}"
    return size(amount) if resource == MEMORY else str(amount)
