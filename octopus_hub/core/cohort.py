"""The tree of cohorts and queues as numbers: what a node has, what stays with it, what it may take from above.

The semantics are those of Kueue's hierarchical cohorts. A node brings its nominal amount; what it doesn't keep
(``lend``) and doesn't use can be taken by the others beneath its parent, as far as ``borrow`` lets them. A resource
that anybody in a tree names is bounded for all of the tree, and who doesn't name it brings none and borrows; one that
nobody there names is not bounded. So a queue without a cohort has exactly its nominal amount.

Integers only. What counts at a node is a function of what its queues use, so taking a charge back is exact. Used by
``quota``; words and reasons are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from octopus_hub.core.reason import CPU, MEMORY
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.queue import Cohort, Queue


def limit(quota: Amounts, resource: str) -> int | None:
    """Return the bound on a resource, or None where it is not limited.

    A SKU (``gpu:a100``) that is not named is bounded by its type alone where that is named, else it is zero. A type of
    which only SKUs are named has their sum.
    """
    if resource == CPU:
        return quota.cpu_millis or None
    if resource == MEMORY:
        return quota.memory_bytes or None
    if not quota.devices:
        return None
    if resource in quota.devices:
        return quota.devices[resource]
    kind, _, sku = resource.partition(":")
    if sku:
        return None if kind in quota.devices else 0
    return sum(amount for name, amount in quota.devices.items() if name.startswith(f"{resource}:"))


class Bounds(NamedTuple):
    """The numbers of one node and one resource."""

    own: int  # its nominal amount
    quota: int  # with what the nodes beneath it can lend
    kept: int  # of that, what others never get
    borrow: int | None  # most it takes beyond quota; None: whatever there is


class Node:
    """A cohort or a queue in its tree.

    Attributes
    ----------
    path : tuple of Node
        From the node itself to its root.
    used : dict
        What the queues beneath it use in all, by resource.
    taken : dict
        What counts here, for bounded resources: of a queue its use, of a cohort what its members took beyond what
        stays with them.
    share : int, optional
        Its share as ``quota`` worked it out, as long as its use stays the same.
    order : list of Node
        Of a root: its whole tree, parents first.
    """

    __slots__ = (
        "bounds",
        "members",
        "name",
        "named",
        "order",
        "parent",
        "path",
        "share",
        "source",
        "taken",
        "used",
        "weight",
    )

    def __init__(self, source: Queue | Cohort, parent: Node | None) -> None:
        self.name = source.name
        self.source = source
        self.weight = max(0, source.weight)
        self.parent = parent
        self.path: tuple[Node, ...] = (self, *parent.path) if parent else (self,)
        self.members: list[Node] = []
        self.share: int | None = None
        self.used: dict[str, int] = {}
        self.taken: dict[str, int] = {}
        self.bounds: dict[str, Bounds | None] = {}
        self.order: list[Node] = []
        self.named: set[str] = set()  # of a root: what is named anywhere in the tree
        if parent:
            parent.members.append(self)
        self.root.order.append(self)
        self.root.named |= _names(source.nominal)

    @property
    def root(self) -> Node:
        """The top of its tree."""
        return self.path[-1]

    @property
    def is_queue(self) -> bool:
        """Whether gangs are charged here."""
        return isinstance(self.source, Queue)

    # --- numbers
    def bound(self, resource: str) -> Bounds | None:
        """Return the node's numbers, or None where the resource is not bounded in its tree."""
        try:
            return self.bounds[resource]
        except KeyError:
            _reckon(self.root, resource)
            return self.bounds[resource]

    def available(self, resource: str, *, empty: bool = False) -> int | None:
        """Return how much more the node can take, never negative; None without bound.

        ``empty``: if nothing were in use.
        """
        root = self.root
        top = root.bound(resource)
        if top is None:
            return None
        room = top.quota - (0 if empty else root.taken.get(resource, 0))
        for node in reversed(self.path[:-1]):
            bounds = node.bounds[resource]
            assert bounds is not None  # the whole tree was reckoned at once
            taken = 0 if empty else node.taken.get(resource, 0)
            if bounds.borrow is not None:
                room = min(room, bounds.quota - max(bounds.kept, taken) + bounds.borrow)
            room = max(0, bounds.kept - taken) + max(0, room)
        return max(0, room)

    def take(self, resource: str, amount: int) -> None:
        """Count (or, negative, take back) use of a queue on its whole path."""
        bounds = self.bound(resource)  # first: it reckons with what is used
        for node in self.path:
            node.used[resource] = node.used.get(resource, 0) + amount
            node.share = None
        if bounds is None:
            return
        for node in self.path:
            before = node.taken.get(resource, 0)
            after = node.taken[resource] = before + amount
            amount = _above(node, resource, after) - _above(node, resource, before)
            if not amount:
                return

    def over(self, resource: str, more: int = 0) -> int:
        """Return by how much the node would be beyond its quota with so much more; not negative."""
        bounds = self.bound(resource)
        return 0 if bounds is None else max(0, self.taken.get(resource, 0) + more - bounds.quota)

    # --- who borrows
    def in_debt(self, resource: str) -> Iterator[Node]:
        """Yield the queues from here down whose use goes beyond what is theirs, at every level up to this node."""
        pending = [self]
        while pending:
            node = pending.pop()
            if node.over(resource):
                if node.is_queue:
                    yield node
                pending.extend(node.members)


def grow(queues: Mapping[str, Queue], cohorts: Mapping[str, Cohort]) -> dict[str, Node]:
    """Return the node of every queue, in trees. An unknown cohort is an empty one; a circle is cut where it closes."""
    known: dict[str, Node] = {}
    leaves: dict[str, Node] = {}
    for name, queue in queues.items():
        leaves[name] = Node(queue, _cohort(queue.cohort, cohorts, known) if queue.cohort else None)
    for name in cohorts:
        _cohort(name, cohorts, known)
    return leaves


def roots(nodes: Iterable[Node]) -> list[Node]:
    """Return the tops of the trees, each once."""
    return list({id(node.root): node.root for node in nodes}.values())


def _cohort(name: str, cohorts: Mapping[str, Cohort], known: dict[str, Node]) -> Node:
    chain: list[Cohort] = []
    seen: set[str] = set()
    while name and name not in known and name not in seen:
        seen.add(name)
        chain.append(cohorts.get(name) or Cohort(name=name))
        name = chain[-1].parent
    node = known.get(name)
    for cohort in reversed(chain):
        node = known[cohort.name] = Node(cohort, node)
    assert node is not None
    return node


def _names(quota: Amounts | None) -> set[str]:
    if quota is None:
        return set()
    found = set(quota.devices)
    if quota.cpu_millis:
        found.add(CPU)
    if quota.memory_bytes:
        found.add(MEMORY)
    return found


def bounded(named: set[str], resource: str) -> bool:
    """Say whether a tree in which these are named bounds a resource."""
    if resource in (CPU, MEMORY) or resource in named:
        return resource in named
    if not named - {CPU, MEMORY}:
        return False
    kind, _, sku = resource.partition(":")
    return not (sku and kind in named)  # a SKU that nobody names is bounded by its type


def _reckon(root: Node, resource: str) -> None:
    """Work out the numbers of a whole tree for one resource, from the leaves up."""
    if not bounded(root.named, resource):
        for node in root.order:
            node.bounds[resource] = None
        return
    lent: dict[int, int] = {}
    for node in reversed(root.order):
        source = node.source
        own = (limit(source.nominal, resource) or 0) if source.nominal else 0
        quota = own + lent.get(id(node), 0)
        lend = limit(source.lend, resource) if source.lend else None
        kept = max(0, quota - lend) if lend is not None and node.parent else 0
        borrow = limit(source.borrow, resource) if source.borrow else None
        node.bounds[resource] = Bounds(own, quota, kept, borrow)
        if node.is_queue:
            node.taken[resource] = node.used.get(resource, 0)
        else:
            node.taken[resource] = sum(_above(each, resource, each.taken[resource]) for each in node.members)
        if node.parent:
            lent[id(node.parent)] = lent.get(id(node.parent), 0) + quota - kept


def _above(node: Node, resource: str, taken: int) -> int:
    bounds = node.bounds[resource]
    return max(0, taken - bounds.kept) if bounds else 0
