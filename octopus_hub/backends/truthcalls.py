"""The calls of the Backend protocol that the embedded backends answer in the same way: from ``truth``, without I/O."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from octopus_hub.backends.base import Change, Listing
from octopus_hub.backends.truth import Truth
from octopus_hub.model.queue import Cohort, Queue
from octopus_hub.model.reservation import Reservation
from octopus_hub.model.status import Board, Status
from octopus_hub.model.taskset import TaskSet


class TruthCalls:
    """The calls of the Backend protocol that an embedded backend answers from its rows alone."""

    def _rows(self) -> Truth:
        raise NotImplementedError

    # --- what there is
    async def listing(self) -> Listing:
        """Return everything."""
        return self._rows().listing()

    def watch(self, revision: int) -> AsyncIterator[Change]:
        """Yield every change after ``revision``."""
        return self._rows().watch(revision)

    # --- TaskSets
    async def create(self, taskset: TaskSet, idempotency_key: str | None = None) -> TaskSet:
        """Store a new TaskSet."""
        return self._rows().create(taskset, idempotency_key)

    async def update_status(self, uid: str, status: Status, *, version: int, epoch: int) -> TaskSet:
        """Replace the status, compare-and-swap."""
        return self._rows().update_status(uid, status, version=version, epoch=epoch)

    async def update_intent(
        self,
        uid: str,
        *,
        stop: bool = False,
        delete: bool = False,
        hold: bool | None = None,
        why: str = "",
        sizes: Mapping[str, int] | None = None,
    ) -> TaskSet:
        """Set the user's wishes."""
        return self._rows().update_intent(uid, stop=stop, delete=delete, hold=hold, why=why, sizes=sizes)

    # --- queues and cohorts
    async def declared(self) -> list[Queue | Cohort]:
        """Return what the configuration has."""
        tree = self._rows().tree
        return [*tree.queues.declared.values(), *tree.cohorts.declared.values()]

    @property
    def differing(self) -> list[str]:
        """Names of queues and cohorts that were changed since the configuration declared them so."""
        tree = self._rows().tree
        return [*tree.queues.differing, *(f"cohort {name}" for name in tree.cohorts.differing)]

    async def put_queue(self, queue: Queue) -> None:
        """Store a live definition."""
        self._rows().tree.put(queue)

    async def delete_queue(self, name: str) -> None:
        """Remove a queue that nothing uses."""
        self._rows().tree.delete_queue(name)

    async def reset_queue(self, name: str) -> None:
        """Go back to the declared definition."""
        self._rows().tree.reset_queue(name)

    async def put_cohort(self, cohort: Cohort) -> None:
        """Store a live definition."""
        self._rows().tree.put(cohort)

    async def delete_cohort(self, name: str) -> None:
        """Remove a cohort without members."""
        self._rows().tree.delete_cohort(name)

    async def reset_cohort(self, name: str) -> None:
        """Go back to the declared definition."""
        self._rows().tree.reset_cohort(name)

    async def put_board(self, board: Board) -> None:
        """Keep a queue's board."""
        self._rows().put_board(board)

    # --- reservations
    async def put_reservation(self, reservation: Reservation, *, known: Reservation | None = None) -> None:
        """Store a reservation."""
        self._rows().reservations.put(reservation, known)

    async def delete_reservation(self, name: str) -> None:
        """Remove a reservation."""
        self._rows().reservations.delete(name)

    # --- ledgers
    async def get_ledger(self, name: str) -> dict[str, Any]:
        """Return a ledger."""
        return self._rows().ledgers.get(name, {})

    async def put_ledger(self, name: str, content: dict[str, Any]) -> None:
        """Store a ledger."""
        self._rows().put_ledger(name, content)
