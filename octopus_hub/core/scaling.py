"""The size that an owner wishes for elastic roles: which wishes are possible, and what becomes of them. Pure.

A wish bounds how far a role grows; a role that has more is made smaller at once, one that has less grows when there is
room, without waiting for the next review. A claimant may still have it shrink down to its minimum.
"""

from __future__ import annotations

from collections.abc import Mapping

from octopus_hub.model.errors import Conflict, InvalidSpec
from octopus_hub.model.problems import near
from octopus_hub.model.taskset import TaskSet


def wished_sizes(taskset: TaskSet, sizes: Mapping[str, int | None]) -> dict[str, int]:
    """Return the wishes by role with these among them; None takes one back.

    Raises
    ------
    InvalidSpec
        A role does not exist, has a fixed size or other bounds.
    Conflict
        The TaskSet has ended.
    """
    if taskset.status.phase.terminal:
        phase = taskset.status.phase.value
        raise Conflict(f"{taskset.name} is {phase}; only a TaskSet that has not ended can be scaled", phase=phase)
    if not sizes:
        raise InvalidSpec("name a role and how many tasks it shall have, as in worker=6")
    found = dict(taskset.metadata.sizes)
    roles = {role.name: role for role in taskset.spec.roles}
    for name, size in sizes.items():
        role = roles.get(name)
        if role is None:
            raise InvalidSpec(f"{taskset.name} has no role {name!r}; {near(name, list(roles))}")
        if not role.elastic:
            raise InvalidSpec(
                f"role {name} of {taskset.name} always has {role.count} "
                f"{'task' if role.count == 1 else 'tasks'}; submit it with replicas: {{min, max}} to scale it"
            )
        if size is None:
            found.pop(name, None)
        elif role.count <= size <= role.most:
            found[name] = size
        else:
            raise InvalidSpec(f"role {name} of {taskset.name} can have {role.count} to {role.most} tasks, not {size}")
    return found


def unfulfilled(taskset: TaskSet) -> bool:
    """Say whether a running TaskSet has other sizes than its owner has wished since it was admitted."""
    meta, status = taskset.metadata, taskset.status
    if meta.scaled_at is None or meta.scaled_at <= (status.admitted_at or 0.0) or status.phase.waiting:
        return False
    return any(taskset.size(role) != taskset.most(role) for role in taskset.spec.roles if role.elastic)
