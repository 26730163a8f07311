"""One scheduling cycle: which waiting gangs start now, where, who makes room for them, and why the others wait.

Pure: values in, values out. Rules, in the order in which they apply (docs/scheduling.md tells them to users):

1. A queue's policy orders its gangs. Without backfill the order is strict: a gang that has to wait for nodes or for its
   queue's quota blocks those behind it in its queue; one that waits for its *user's* quota blocks later gangs of that
   user there. ``backfill: reserve`` lets the others pass where they don't delay it, ``any`` wherever they fit.
2. A gang steps aside, blocking nobody, when waiting for others would not help it: it never fits, its queue is
   unknown, it is larger than a quota, or only nodes with back-off would take it.
3. Between queues the one with the lowest weighted dominant share is served first, then the one whose head waits longest
   (``queued_at``, then uid). Priorities order within a queue only.
4. A blocked head has nodes kept for it: the placement it would get on an empty cluster beside what is kept for others
   served before. Younger gangs may use those nodes only as far as the kept part would also be free if everything that
   runs now stayed. What is kept depends on nodes and heads alone, so it never moves because of younger work; once what
   runs on those nodes has ended, the head starts (law 8).
5. A policy may make running gangs give way (``preempt``): whole gangs, with notice, only if the claimant can start then.
   While they leave, the room is kept for the claimant, which comes before everybody else once it is there.

``memo`` of the last Plan makes the next cycle cheaper and never changes it. Called by ``control``, by plans and by the
simulator.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from octopus_hub.core.cycle import Cycle
from octopus_hub.core.memo import Memo
from octopus_hub.core.plan import Fault, Plan, Waits
from octopus_hub.core.quota import Quotas
from octopus_hub.core.reason import Reason
from octopus_hub.core.snapshot import Snapshot, Usage, Waiting, gang_total
from octopus_hub.core.words import too_large, unknown


def schedule(snapshot: Snapshot, waiting: Sequence[Waiting], now: float, memo: Any = None) -> Plan:
    """Return the Plan of one cycle; equal with and without ``memo`` (the one of an earlier Plan)."""
    state = memo if isinstance(memo, Memo) and not memo.broken else None
    if state is not None and state.answers(snapshot, waiting, now):
        assert state.plan is not None
        return state.plan
    if state is None or (
        state.trial.cluster.nodes is not snapshot.nodes and state.trial.cluster.nodes != snapshot.nodes
    ):
        state = Memo.of(snapshot)
    state.broken = True
    state.follow(snapshot, waiting, now)
    cycle = Cycle(state)
    cycle.run()
    plan = Plan(
        admissions=tuple(cycle.admissions),
        evictions=tuple(cycle.evictions),
        resizes=tuple(cycle.resizes),
        faults=_faults(state),
        waits=_Explained(snapshot, state.waiting, now, state),
        wake_at=cycle.wake_at,
        memo=state,
    )
    state.trial.rollback()
    state.plan = plan
    state.until = state.valid_until()
    state.broken = False
    return plan


def _faults(memo: Memo) -> tuple[Fault, ...]:
    found = {name: message for name, (_, message) in memo.faults.items()}
    found.update({name: line.fault for name, line in memo.lines.items() if line.fault})
    queues = memo.snapshot.queues
    return tuple(Fault(name, queues[name].policy, found[name]) for name in sorted(found) if name in queues)


def explain(snapshot: Snapshot, gang: Waiting) -> Reason | None:
    """Return why ``gang`` could never run, in numbers, or None; asked at submit.

    Nodes that are down or closed count: they may come back.
    """
    queue = snapshot.queues.get(gang.queue)
    if queue is None:
        return unknown(gang)
    quotas = Quotas(snapshot.queues, snapshot.cohorts, Usage(), {})
    return quotas.check_empty(gang, gang_total(gang.needs)) or too_large(snapshot, gang)


@dataclass(eq=False)
class _Explained(Mapping[str, Waits]):
    """Why gangs wait, found when somebody asks: the cycle is gone through once more, with words."""

    snapshot: Snapshot
    waiting: list[Waiting]
    now: float
    memo: Memo
    _found: dict[str, Waits] | None = field(default=None)

    def _all(self) -> dict[str, Waits]:
        if self._found is None:
            memo = self.memo
            if memo.waiting is not self.waiting or memo.snapshot is not self.snapshot or memo.now != self.now:
                memo = Memo.of(self.snapshot)  # that one has gone on
                memo.follow(self.snapshot, self.waiting, self.now)
            memo.clear()
            cycle = Cycle(memo, explaining=True)
            cycle.run()
            self._found = cycle.waits()
            memo.trial.rollback()
        return self._found

    def __getitem__(self, uid: str) -> Waits:
        return self._all()[uid]

    def items(self) -> ItemsView[str, Waits]:
        """All at once, as a dictionary gives them."""
        return self._all().items()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(self._found) if self._found is not None else "<waits>"
