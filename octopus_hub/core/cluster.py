"""The nodes of one cycle as integer vectors, with their labels and taints: what never changes while gangs are tried.

A :class:`Cluster` may be kept over cycles while the nodes stay the same. Selectors say which nodes a role may use:
labels that a node must have, and (under the empty label) taints that the role tolerates. The label ``node`` is every
node's own name unless it carries that label itself, so that a node is the narrowest topology level. Used by ``slots``,
``snapshot.Trial`` and ``placement``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from octopus_hub.core.reason import CPU, MEMORY, flat
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.placing import tolerates

if TYPE_CHECKING:
    from octopus_hub.core.snapshot import NodeView

Need = tuple[tuple[int, int], ...]  # (dimension, amount > 0), sorted
Selector = tuple[tuple[str, str], ...]  # (label, value), sorted; ("", taint) is a taint that is tolerated

NONE_SUCH = -1  # dimension of a device type that no node has
_NEEDS_KEPT = 10_000
NODE = "node"  # the level of single nodes
TOLERATES = ""  # in place of a label: the value is a tolerated taint


class Cluster:
    """Nodes as vectors over ``resources`` (``cpu_millis``, ``memory_bytes``, device types by name)."""

    def __init__(self, nodes: Sequence[NodeView]) -> None:
        self.nodes = tuple(nodes)
        self.index = {node.name: at for at, node in enumerate(self.nodes)}
        kinds = sorted({kind for node in self.nodes for kind in node.capacity.devices})
        self.resources = (CPU, MEMORY, *kinds)
        self.dimension = {resource: at for at, resource in enumerate(self.resources)}
        self._needs: dict[int, tuple[Amounts, Need]] = {}
        self.capacity = [self.vector(node.capacity) for node in self.nodes]
        # dimensions of the device types each node has
        self.device_dimensions = [
            frozenset(at for at in range(2, len(self.resources)) if vector[at]) for vector in self.capacity
        ]
        self._usable = tuple(at for at, node in enumerate(self.nodes) if node.usable)
        self._tainted = any(node.taints for node in self.nodes)
        self._members: dict[tuple[Selector, tuple[int, ...]], tuple[int, ...]] = {}
        self._labelled: dict[str, dict[str, tuple[int, ...]]] = {}
        self._idling: dict[frozenset[int], tuple[frozenset[int], NDArray[np.bool_]]] = {}
        self._domains: dict[str, tuple[str, ...]] = {}
        self._totals: dict[Selector, list[int]] = {}
        # what all nodes have together, usable or not
        self.everything = {
            resource: sum(vector[at] for vector in self.capacity) for at, resource in enumerate(self.resources)
        }

    def vector(self, amounts: Amounts) -> list[int]:
        """Return amounts as a vector; device types that no node has are left out."""
        vector = [0] * len(self.resources)
        vector[0] = amounts.cpu_millis
        vector[1] = amounts.memory_bytes
        for kind, count in amounts.devices.items():
            at = self.dimension.get(kind)
            if at is not None:
                vector[at] = count
        return vector

    def need(self, each: Amounts) -> Need:
        """Return one task's request as (dimension, amount)."""
        known = self._needs.get(id(each))
        if known is not None and known[0] is each:
            return known[1]
        need = tuple(
            sorted((self.dimension.get(resource, NONE_SUCH), amount) for resource, amount in flat(each).items())
        )
        if len(self._needs) >= _NEEDS_KEPT:
            self._needs.clear()
        self._needs[id(each)] = (each, need)  # holding it keeps its id from being used again
        return need

    def members(self, selector: Selector) -> tuple[int, ...]:
        """Return the usable nodes that the selector allows."""
        return self.candidates(selector, ())

    def candidates(self, selector: Selector, devices: tuple[int, ...]) -> tuple[int, ...]:
        """Return the usable nodes that the selector allows and that have devices of these dimensions at all."""
        found = self._members.get((selector, devices))
        if found is None:
            lists = [self._with_label(label).get(value, ()) for label, value in selector if label != TOLERATES]
            tolerated = frozenset(value for label, value in selector if label == TOLERATES)
            sets = [frozenset(each) for each in lists[1:]]
            found = tuple(
                at
                for at in (lists[0] if lists else self._usable)
                if self.device_dimensions[at].issuperset(devices)
                and all(at in each for each in sets)
                and (not self._tainted or tolerates(tolerated, self.nodes[at].taints))
            )
            self._members[selector, devices] = found
        return found

    def idling(self, wanted: frozenset[int]) -> tuple[frozenset[int], NDArray[np.bool_]]:
        """Return the nodes that have devices of a type that a task of these dimensions would leave idle, twice."""
        found = self._idling.get(wanted)
        if found is None:
            flags = [not devices <= wanted for devices in self.device_dimensions]
            found = frozenset(at for at, idle in enumerate(flags) if idle), np.array(flags, dtype=np.bool_)
            self._idling[wanted] = found
        return found

    def domain_of(self, at: int, level: str) -> str | None:
        """Return the domain of a level that a node is in."""
        node = self.nodes[at]
        return node.labels.get(level, node.name if level == NODE else None)

    def single_nodes(self, level: str) -> bool:
        """Say whether every domain of the level is one node."""
        return all(len(nodes) == 1 for nodes in self._with_label(level).values())

    def domains(self, level: str) -> tuple[str, ...]:
        """Return the domains of a level that have usable nodes, sorted."""
        found = self._domains.get(level)
        if found is None:
            found = self._domains[level] = tuple(sorted(self._with_label(level)))
        return found

    def totals(self, selector: Selector) -> list[int]:
        """Return the capacity of all members together."""
        found = self._totals.get(selector)
        if found is None:
            found = [sum(self.capacity[at][d] for at in self.members(selector)) for d in range(len(self.resources))]
            self._totals[selector] = found
        return found

    def _with_label(self, label: str) -> dict[str, tuple[int, ...]]:
        """Return the usable nodes by their value of a label."""
        found = self._labelled.get(label)
        if found is None:
            lists: dict[str, list[int]] = {}
            for at in self._usable:
                value = self.domain_of(at, label)
                if value is not None:
                    lists.setdefault(value, []).append(at)
            found = self._labelled[label] = {value: tuple(nodes) for value, nodes in lists.items()}
        return found


def selector(labels: Mapping[str, str], tolerated: Iterable[str] = ()) -> Selector:
    """Return the nodes with these labels, those with tolerated taints included."""
    return tuple(sorted([*labels.items(), *((TOLERATES, taint) for taint in tolerated)]))
