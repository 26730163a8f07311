"""What is told of queues and cohorts: their definition, what they use, borrow and lend, their share, budget and board.

Reads the cache; one :class:`QueueFigures` per request, so that all rows of an answer are of one moment.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from octopus_hub.control.cache import Cache
from octopus_hub.core.budget import left, window_end, window_start
from octopus_hub.core.lending import borrowed, lent
from octopus_hub.core.quota import Quotas
from octopus_hub.core.reason import flat, unflat
from octopus_hub.model.amounts import Amounts, total
from octopus_hub.model.queue import Cohort, Queue
from octopus_hub.service.identity import Identity
from octopus_hub.service.views import redacted

_plain = msgspec.to_builtins


class QueueFigures:
    """The figures of one moment, for one caller."""

    def __init__(self, cache: Cache, who: Identity, now: float) -> None:
        self._cache = cache
        self._who = who
        self._now = now
        self._snapshot = cache.snapshot()
        capacity = flat(total(node.capacity for node in self._snapshot.nodes if node.usable))
        self._quotas = Quotas(cache.queues, cache.cohorts, self._snapshot.usage, capacity, self._snapshot.spent)
        self._lent = lent(self._quotas)
        self._running = Counter(running.gang.queue for running in self._snapshot.running.values())
        self._preempted = self._preempted_today()

    def queue(self, queue: Queue) -> dict[str, Any]:
        """Return a queue with its figures. The board names only what the caller may see; the others are a number."""
        name, who = queue.name, self._who
        if not who.admin:  # whom else a queue is for is not everyone's business
            users = [user for user in queue.allowed_users if user == who.user]
            queue = msgspec.structs.replace(queue, allowed_users=users)
        usage = self._snapshot.usage
        mine = usage.users.get((name, who.user))
        item: dict[str, Any] = {"name": name, **_plain(queue)}
        item["used"] = _plain(usage.queues[name]) if name in usage.queues else {}
        item["usedByYou"] = _plain(mine) if mine else {}
        item["borrowed"] = _plain(unflat(borrowed(self._quotas, name)))
        item["lent"] = _plain(unflat(self._lent.get(name, {})))
        item["share"] = self._quotas.share(name)
        item["running"] = self._running[name]
        item["preemptionsToday"] = self._preempted[name]
        if queue.budget is not None:
            item["budgetUse"] = self._budget(queue)
        item["board"] = self._board(name)
        return item

    def cohort(self, cohort: Cohort) -> dict[str, Any]:
        """Return a cohort with its members and what they use in all."""
        queues = sorted(each.name for each in self._cache.queues.values() if each.cohort == cohort.name)
        cohorts = sorted(each.name for each in self._cache.cohorts.values() if each.parent == cohort.name)
        used = [self._snapshot.usage.queues.get(name, Amounts()) for name in self._beneath(cohort.name)]
        return {
            "name": cohort.name,
            **_plain(cohort),
            "queues": queues,
            "cohorts": cohorts,
            "used": _plain(total(used)),
        }

    def _beneath(self, cohort: str) -> list[str]:
        found = []
        for name in self._cache.queues:
            node = self._quotas.node(name)
            if node is not None and any(each.name == cohort and not each.is_queue for each in node.path):
                found.append(name)
        return found

    def _board(self, name: str) -> dict[str, Any]:
        board = self._cache.boards.get(name)
        places: list[Any] = []
        for place in board.places if board else ():
            taskset = self._cache.tasksets.get(place.uid)
            if taskset is not None and (self._who.admin or taskset.metadata.namespace == self._who.namespace):
                told = place if self._who.admin else redacted(place, taskset.metadata.namespace)
                places.append({"taskset": f"{taskset.metadata.namespace}/{taskset.name}", **_plain(told)})
        return {
            "at": board.at if board else 0.0,
            "waiting": len(board.places) if board else 0,
            "places": places,
            "conditions": _plain(board.conditions) if board else [],
        }

    def _budget(self, queue: Queue) -> dict[str, Any]:
        assert queue.budget is not None
        spent = self._snapshot.spent.get(queue.name, 0.0)
        return {
            "usedHours": spent / 3600,
            "leftHours": left(queue.budget, spent) / 3600,
            "since": window_start(queue.budget.window, self._now),
            "until": window_end(queue.budget.window, self._now),
            "action": self._quotas.over_budget(queue.name),
        }

    def _preempted_today(self) -> Counter[str]:
        midnight = window_start("day", self._now)
        found: Counter[str] = Counter()
        for taskset in self._cache.tasksets.values():
            found[taskset.spec.queue] += sum(at >= midnight for at in taskset.status.preempted_at)
        return found
