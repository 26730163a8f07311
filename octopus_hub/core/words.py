"""Reasons of a scheduling cycle in words; those about room are ``refusal``'s, those about quotas ``quota``'s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from octopus_hub.core.placement import find
from octopus_hub.core.reason import Reason, quantities, unflat
from octopus_hub.core.refusal import refuse
from octopus_hub.core.snapshot import Running, Snapshot, Waiting
from octopus_hub.core.trial import Trial
from octopus_hub.model.queue import Queue


def unknown(gang: Waiting) -> Reason:
    """Its queue does not exist."""
    return Reason(
        code="QueueUnknown", message=f"there is no queue {gang.queue}; see `octopus queues`", where=gang.queue
    )


def paused(queue: Queue) -> Reason:
    """Its queue starts nothing."""
    return Reason(code="QueuePaused", message=f"queue {queue.name} is paused by an administrator", where=queue.name)


def behind(head: Waiting, reason: Reason) -> Reason:
    """Somebody before it waits."""
    name = f"{head.namespace}/{head.name}"
    return Reason(
        code="BehindInQueue",
        message=f"behind {name} in queue {head.queue}, which waits first: {reason.message}",
        need=reason.need,
        free=reason.free,
        where=name,
    )


def makes_room(gang: Waiting, total: Mapping[str, int], victims: Sequence[Running]) -> Reason:
    """Others were asked to go for it."""
    count = len(victims)
    who = "1 TaskSet makes" if count == 1 else f"{count} TaskSets make"
    return Reason(
        code="Preempting",
        message=f"{who} room for it; it needs {quantities(dict(total))} and starts once they have stopped",
        need=unflat(dict(total)),
        where=f"{victims[0].gang.namespace}/{victims[0].gang.name}" if count == 1 else "",
    )


def never_fits(snapshot: Snapshot, bare: Trial, gang: Waiting) -> Reason:
    """Tell a gang that fits no cluster of these nodes from one that misses a node that is down or closed."""
    reason = too_large(snapshot, gang)
    if reason is not None:
        return reason
    missing = ", ".join(node.name for node in snapshot.nodes if not node.usable)
    short = refuse(bare, gang)
    message = f"{short.message}; waits for nodes that are down or closed: {missing}"
    return Reason(code="NoFit", message=message, need=short.need, free=short.free, where=short.where)


def too_large(snapshot: Snapshot, gang: Waiting) -> Reason | None:
    """Say why a gang fits no cluster of these nodes, down or not; None if it does."""
    everything = Trial(Snapshot(nodes=tuple(replace(node, usable=True) for node in snapshot.nodes)))
    return refuse(everything, gang, "NeverFits") if find(everything, gang) is None else None
