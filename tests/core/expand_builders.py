"""Placed and resolved TaskSets for tests of rendering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from octopus_hub.core.actions import Member
from octopus_hub.core.expand import expand, port_names
from octopus_hub.model.descriptor import Descriptors, FrameworkDescriptor, RoleWiring
from octopus_hub.model.status import Span, Status
from octopus_hub.model.task import Address, TaskSpec
from octopus_hub.model.taskset import ElasticReplicas, Metadata, Resolved, Role, Spec, TaskSet


def role(name: str, replicas: int | ElasticReplicas = 1, **fields: Any) -> Role:
    """Return a role that runs something."""
    return Role(name, replicas=replicas, **{"command": ["run", name], **fields})


def framework(env: dict[str, str] | None = None, **fields: Any) -> Descriptors:
    """Return the descriptors of a TaskSet whose framework wires every role like this."""
    roles = {"*": RoleWiring(env=env or {})}
    return Descriptors(framework=FrameworkDescriptor(**{"name": "test", "roles": roles, **fields}))


def placed(
    roles: Sequence[Role],
    descriptors: Descriptors | None = None,
    *,
    per_node: int = 2,
    sizes: Mapping[str, int] | None = None,
    **spec: Any,
) -> TaskSet:
    """Return a TaskSet in its first gang attempt; ``per_node`` tasks of a role share a node (``n0``, ``n1``, ...).

    ``sizes`` gives elastic roles another size than their minimum.
    """
    counts = {each.name: (sizes or {}).get(each.name, each.count) for each in roles}
    placement = {
        name: [
            Span(node=f"n{first // per_node}", first=first, count=min(per_node, count - first))
            for first in range(0, count, per_node)
        ]
        for name, count in counts.items()
    }
    return TaskSet(
        metadata=Metadata(name="job", namespace="ada", uid="u1", owner="ada"),
        spec=Spec(roles=list(roles), **spec),
        resolved=Resolved(descriptors=descriptors or Descriptors()),
        status=Status(attempt=1, placement=placement),
    )


def addresses(taskset: TaskSet) -> dict[tuple[str, int], Address]:
    """Return an address for every member; ports count up from 21000 by role, 20 for each task."""
    found = {}
    for place, (name, ports) in enumerate(port_names(taskset).items()):
        for index in range(taskset.size(taskset.role(name))):
            first = 21000 + 1000 * place + 20 * index
            found[name, index] = Address(host="127.0.0.1", ports={port: first + at for at, port in enumerate(ports)})
    return found


def rendered(taskset: TaskSet, attempt: int = 1) -> dict[str, TaskSpec]:
    """Return every task of the gang as ``role-index`` -> task."""
    members = [Member(each.name, index, attempt) for each in taskset.spec.roles for index in range(taskset.size(each))]
    return {f"{task.role}-{task.index}": task for task in expand(taskset, members, addresses(taskset))}


def with_resolved(taskset: TaskSet, **fields: Any) -> TaskSet:
    """Return the TaskSet with other resolved values."""
    return msgspec.structs.replace(taskset, resolved=msgspec.structs.replace(taskset.resolved, **fields))
