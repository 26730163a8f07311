"""Attempt numbers: which attempt a member's next task is. Pure; called by ``lifecycle`` and ``running``.

The first attempt of a member in a gang attempt is one above the highest known one, so that no name is used twice.
Roles of restart scope ``role`` keep one number for all their members.
"""

from __future__ import annotations

from collections.abc import Sequence

from octopus_hub.core.actions import Member
from octopus_hub.core.counts import RoleRows, Rows


def missing_members(rows: Rows) -> list[Member]:
    """Members of the current gang attempt that have no row."""
    members: list[Member] = []
    for role in rows.roles:
        missing = role.missing
        if not missing:
            continue
        present = max((task.attempt for task in role.latest if task is not None), default=0)
        if present and role.role.restart.scope == "role":
            members.extend(Member(role.role.name, index, present) for index in missing)
        else:
            members.extend(successors(rows, role, missing))
    return members


def all_members(rows: Rows) -> list[Member]:
    """Every member, for a new gang attempt."""
    return [member for role in rows.roles for member in successors(rows, role, range(len(role.latest)))]


def successors(rows: Rows, role: RoleRows, indexes: Sequence[int]) -> list[Member]:
    """The next attempts of some members of a role."""
    name, highest = role.role.name, rows.highest
    if role.role.restart.scope == "role":
        top = max((highest.get((name, index), 0) for index in range(len(role.latest))), default=0)
        return [Member(name, index, top + 1) for index in indexes]
    return [Member(name, index, highest.get((name, index), 0) + 1) for index in indexes]
