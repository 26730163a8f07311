"""What policies may know of run times: the history of what ended and runs, made anew once per review.

Made from the ledger and the counts beside it, which are made from records, so nothing is lost by a crash. Pure but for
what it keeps; used by the cache only. Nothing is made while no queue's policy looks at it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from octopus_hub.control.ledger import Ledger
from octopus_hub.control.lives import Lives
from octopus_hub.core.history import History
from octopus_hub.core.policies import POLICIES
from octopus_hub.core.policies.service import attained, life_of
from octopus_hub.core.snapshot import Running, Waiting
from octopus_hub.model.queue import Queue


class Learning:
    """The history that snapshots show, None while nobody asks."""

    def __init__(self) -> None:
        self.history: History | None = None
        self._ticks: tuple[float, ...] = ()

    def renew(
        self,
        ledger: Ledger,
        lives: Lives,
        running: Iterable[Running],
        interrupted: Iterable[Waiting],
        queues: Mapping[str, Queue],
        now: float,
    ) -> None:
        """Make it anew if a review of a queue that learns has begun since the last time.

        ``interrupted`` are those that wait and ran before; neither they nor what runs is looked at in between.
        """
        periods = {queue.preemption.review_seconds for queue in queues.values() if _learns(queue)}
        ticks = tuple(now // period * period for period in sorted(periods) if period > 0)
        if ticks == self._ticks:
            return
        self._ticks, self.history = ticks, None
        if ticks:
            lives.take(ledger.ended, ledger.lives)
            at = max(ticks)
            living = [life_of(each.gang, attained(each, at)) for each in running]
            living += [life_of(gang, gang.served) for gang in interrupted]
            self.history = lives.chronicle.history(living)


def _learns(queue: Queue) -> bool:
    policy = POLICIES.get(queue.policy)
    return policy is not None and policy.learns
