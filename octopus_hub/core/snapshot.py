"""What the scheduler looks at: nodes, what is used where, queues. Immutable values built by ``control.cache``.

:meth:`Snapshot.trial` gives a cheap overlay in which gangs are placed tentatively; dropping it is the undo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from octopus_hub.model.amounts import Amounts
from octopus_hub.model.queue import Queue


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as the scheduler sees it. ``capacity`` is what our tasks may use in all."""

    name: str
    capacity: Amounts
    labels: Mapping[str, str] = field(default_factory=dict)
    usable: bool = True  # ready and schedulable


@dataclass(frozen=True, slots=True)
class RoleNeed:
    """One role of a gang: ``count`` equal tasks."""

    role: str
    count: int
    each: Amounts
    node_selector: Mapping[str, str] = field(default_factory=dict)
    topology: str | None = None
    topology_required: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """A gang that wants to run."""

    uid: str
    namespace: str
    name: str
    owner: str
    queue: str
    priority: int
    queued_at: float  # order within equal priority; survives requeue after a failed bind
    needs: tuple[RoleNeed, ...]
    avoid: Mapping[str, float] = field(default_factory=dict)  # node -> not before this time


@dataclass(frozen=True, slots=True)
class Usage:
    """What admitted gangs hold: by node, by queue, by (queue, owner)."""

    nodes: Mapping[str, Amounts] = field(default_factory=dict)
    queues: Mapping[str, Amounts] = field(default_factory=dict)
    users: Mapping[tuple[str, str], Amounts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Nodes, usage and queues at one moment."""

    nodes: tuple[NodeView, ...]
    usage: Usage = field(default_factory=Usage)
    queues: Mapping[str, Queue] = field(default_factory=dict)
