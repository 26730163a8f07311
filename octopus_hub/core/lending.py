"""Who borrows how much, and whose it is: figures for people. Decides nothing; ``quota`` has the rules.

What the members of a cohort use beyond their own is covered by what the cohort itself brings, then by what its other
members leave idle, each in proportion to that (whole units, the largest remainders first).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from octopus_hub.core.cohort import Node, roots
from octopus_hub.core.quota import Quotas


def borrowed(quotas: Quotas, queue: str) -> dict[str, int]:
    """Return what a queue uses beyond its own, by resource."""
    node = quotas.node(queue)
    if node is None or node.parent is None:
        return {}
    found = {resource: node.over(resource) for resource in node.used}
    return {resource: amount for resource, amount in found.items() if amount}


def lent(quotas: Quotas) -> dict[str, dict[str, int]]:
    """Return what others use of each queue's own, by queue and resource; queues that lend nothing are left out."""
    leaves = {name: node for name in quotas.queues if (node := quotas.node(name)) is not None}
    found: dict[str, dict[str, int]] = {}
    for root in roots(leaves.values()):
        for resource in root.used:
            for queue, amount in _lent_in(root, resource):
                found.setdefault(queue, {})[resource] = amount
    return found


def _lent_in(root: Node, resource: str) -> Iterable[tuple[str, int]]:
    if root.bound(resource) is None:
        return
    gives = {id(root): 0}  # of each node, what those outside use of it
    for node in root.order:
        given = gives[id(node)]
        if node.is_queue:
            if given:
                yield node.name, given
            continue
        own = node.bound(resource)
        assert own is not None
        wanted = given + sum(member.over(resource) for member in node.members) - own.own
        parts = _in_proportion(max(0, wanted), [_idle(member, resource) for member in node.members])
        gives.update({id(member): part for member, part in zip(node.members, parts, strict=True)})


def _idle(node: Node, resource: str) -> int:
    """Return what a node leaves to others and does not use."""
    bounds = node.bound(resource)
    return 0 if bounds is None else max(0, bounds.quota - max(bounds.kept, node.taken.get(resource, 0)))


def _in_proportion(amount: int, most: Sequence[int]) -> list[int]:
    whole = sum(most)
    if amount >= whole:
        return list(most)
    parts = [amount * each // whole for each in most]
    by_rest = sorted(range(len(most)), key=lambda at: (-(amount * most[at] % whole), at))
    for at in by_rest[: amount - sum(parts)]:
        parts[at] += 1
    return parts
