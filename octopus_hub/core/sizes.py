"""Sizes of elastic gangs: what is placed, when it may change, what is left without some tasks. Pure.

Used by ``elastic`` and ``shrinking`` only.
"""

from __future__ import annotations

from collections.abc import Iterable

from octopus_hub.core.choices import Placed, choices_of
from octopus_hub.core.snapshot import Placement, Running, Snapshot, Waiting
from octopus_hub.model.queue import QueuePreemption
from octopus_hub.model.status import Span

_STANDARD = QueuePreemption()


def size(placement: Placement, role: str) -> int:
    """Return how many tasks of a role are placed."""
    return sum(span.count for span in placement.get(role, ()))


def elastic(gang: Waiting) -> bool:
    """Say whether the gang may have other sizes than the one it asks for."""
    return any(need.most is not None for need in gang.needs)


def wished(running: Running) -> bool:
    """Its owner has wished another size since this attempt was admitted."""
    return running.gang.scaled_at is not None and running.gang.scaled_at > running.since


def settled(snapshot: Snapshot, running: Running, now: float) -> bool:
    """Say whether its attempt has lasted long enough to be resized for its own good."""
    return wished(running) or now >= running.since + settled_after(snapshot, running)


def settled_after(snapshot: Snapshot, running: Running) -> float:
    """Return for how long an attempt keeps its size, unless its owner wishes another."""
    return max(rules(snapshot, running.gang).review_seconds, least_runtime(snapshot, running))


def least_runtime(snapshot: Snapshot, running: Running) -> float:
    """Return for how long an attempt is left alone by others."""
    least = running.gang.min_runtime
    return rules(snapshot, running.gang).min_runtime_seconds if least is None else least


def rules(snapshot: Snapshot, gang: Waiting) -> QueuePreemption:
    """Return the rules of its queue."""
    queue = snapshot.queues.get(gang.queue)
    return queue.preemption if queue is not None else _STANDARD


def tasks(placement: Placement, role: str) -> list[tuple[str, str]]:
    """Return (role, node) of each task, by index."""
    return [(role, span.node) for span in placement.get(role, ()) for _ in range(span.count)]


def without(placement: Placement, doomed: Iterable[tuple[str, str]]) -> Placed:
    """Return the placement without some tasks, the last of each node; who stays moves up and keeps its node."""
    gone: dict[tuple[str, str], int] = {}
    for task in doomed:
        gone[task] = gone.get(task, 0) + 1
    placed: dict[str, tuple[Span, ...]] = {}
    for role, spans in placement.items():
        rest: list[tuple[str, int]] = []
        for span in reversed(spans):
            taken = min(span.count, gone.get((role, span.node), 0))
            gone[role, span.node] = gone.get((role, span.node), 0) - taken
            if span.count > taken:
                rest.append((span.node, span.count - taken))
        kept, first = [], 0
        for node, count in reversed(rest):
            kept.append(Span(node=node, first=first, count=count))
            first += count
        placed[role] = tuple(kept)
    return Placed(placed, choices_of(placement))
