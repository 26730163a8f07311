"""Queue policies: the order in which a queue serves its gangs. One file each, one line each in ``POLICIES``.

A policy is a pure function of the queue's waiting gangs, the snapshot and the time. It orders, it never refuses:
``schedule`` tries gangs in that order and keeps it strict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from octopus_hub.core.policies import fifo, priority
from octopus_hub.core.snapshot import Snapshot, Waiting

Policy = Callable[[Sequence[Waiting], Snapshot, float], list[Waiting]]

# Policies whose order depends on the waiting gangs alone: an unchanged queue keeps its order between cycles.
STEADY = frozenset({"fifo", "priority"})

POLICIES: dict[str, Policy] = {
    "fifo": fifo.order,
    "priority": priority.order,
}
