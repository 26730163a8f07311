"""Whose turn it is among the queues of a cycle: the lowest weighted dominant share first, level by level.

A turn is worked out when a queue's head changes, and once more before it is served if anything was charged meanwhile.
Used by ``cycle`` only.
"""

from __future__ import annotations

from octopus_hub.core.line import Entry
from octopus_hub.core.quota import Quotas
from octopus_hub.core.snapshot import Snapshot

Turn = tuple[int, tuple[int, ...], float, str, str]  # the queue's name comes last


class Turns:
    """The turns of the heads of several queues; ``alone``: there is one queue only."""

    def __init__(self, quotas: Quotas, snapshot: Snapshot, *, alone: bool) -> None:
        self._alone = alone
        self._quotas = quotas
        self._spent = snapshot.spent
        self._known: dict[str, tuple[int, Entry]] = {}  # as of which charges, and for whom

    def of(self, queue: str, entry: Entry) -> Turn:
        """Return when a queue's head has its turn."""
        if self._alone:
            return (0, (), entry.gang.queued_at, entry.gang.uid, queue)
        quotas = self._quotas
        self._known[queue] = (quotas.charges, entry)
        late = int(self._spent.get(queue) is not None and quotas.over_budget(queue) == "low")
        shares = tuple(share for share, _ in quotas.shares(queue))
        return (late, shares, entry.gang.queued_at, entry.gang.uid, queue)

    def later(self, turn: Turn, entry: Entry) -> Turn | None:
        """Return a queue's turn if it comes later than was thought: others of its cohort were given something."""
        queue = turn[-1]
        charges, whom = self._known[queue]
        if charges == self._quotas.charges and whom is entry:
            return None
        now = self.of(queue, entry)
        return now if now > turn else None
