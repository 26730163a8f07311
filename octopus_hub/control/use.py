"""Use over time as the scheduler is shown it: of what has ended, by the ledger, and of what runs, up to a full minute.

Between two full minutes it stays as it was, so that a cycle in which nothing happened finds the same snapshot. Pure but
for what it keeps; used by the cache only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from octopus_hub.control.ledger import Ledger, attained, burst, spent
from octopus_hub.control.usage import Holding
from octopus_hub.core.budget import COUNTED_SECONDS, window_start
from octopus_hub.core.reason import CPU, MEMORY
from octopus_hub.model.parts import worth
from octopus_hub.model.queue import Queue


class Use:
    """What queues and their users have used as of ``at``, in device-seconds."""

    def __init__(self) -> None:
        self.at = 0.0
        self.attained: dict[tuple[str, str], float] = {}
        self.spent: dict[str, float] = {}
        self._queues: Mapping[str, Queue] | None = None

    def stale(self, queues: Mapping[str, Queue], now: float) -> bool:
        """Say whether it has to be worked out anew."""
        return now - now % COUNTED_SECONDS != self.at or queues is not self._queues

    def renew(
        self, ledger: Ledger, running: Iterable[tuple[Holding, float]], queues: Mapping[str, Queue], now: float
    ) -> None:
        """Work it out: ``running`` gives what each attempt holds and since when."""
        at = now - now % COUNTED_SECONDS
        use = attained(ledger, at)
        budgets = {name: queue.budget for name, queue in queues.items() if queue.budget is not None}
        starts = {name: window_start(budget.window, at) for name, budget in budgets.items()}
        sums = {name: spent(ledger, name, budget.window, at) for name, budget in budgets.items()}
        for held, since in running:
            devices, cpus = held_devices(held)
            key = held.queue, held.owner
            use[key] = use.get(key, 0.0) + burst(devices or cpus, since, at, at)
            if held.queue in sums:
                sums[held.queue] += devices * max(0.0, at - max(since, starts[held.queue]))
        self.at, self.attained, self.spent, self._queues = at, use, sums, queues


def held_devices(held: Holding) -> tuple[float, float]:
    """Return how many devices (of a part its part), and how many CPUs, a gang holds."""
    devices, millis = 0.0, 0
    for entries in held.nodes.values():
        millis += entries.get(CPU, 0)
        devices += sum(worth(name, count) for name, count in entries.items() if name not in (CPU, MEMORY))
    return devices, millis / 1000
