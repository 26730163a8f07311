"""The reservations as the cache keeps them, and the windows they make; the same objects while nothing changed.

Decides nothing: ``core.calendar`` works the windows out, the loop stores which nodes were chosen. Used by the cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from octopus_hub.core.calendar import HORIZON_SECONDS, frees, settle, windows
from octopus_hub.core.snapshot import NodeView, Running, Window
from octopus_hub.model.reservation import Reservation

AHEAD_SECONDS = 3600.0  # looked further ahead than anything has an effect, so that it holds for so long


class Calendar:
    """Reservations by name."""

    def __init__(self) -> None:
        self.reservations: dict[str, Reservation] = {}
        self._windows: tuple[Window, ...] = ()
        self._nodes: Sequence[NodeView] | None = None  # for which the windows hold; None: for nothing
        self._from = self._until = -inf

    def put(self, reservation: Reservation) -> None:
        """Take one as it is now."""
        self.reservations[reservation.name] = reservation
        self._nodes = None

    def drop(self, name: str) -> None:
        """Forget one."""
        self.reservations.pop(name, None)
        self._nodes = None

    def windows(self, nodes: Sequence[NodeView], now: float | None = None) -> tuple[Window, ...]:
        """Return the windows that are or come; without a time those of the last look."""
        moment = self._from if now is None else now
        if self._nodes is not nodes or not self._from <= moment < self._until:
            found = windows(self.reservations.values(), nodes, moment, HORIZON_SECONDS + AHEAD_SECONDS)
            if found != self._windows:
                self._windows = found
            ends = (each.end for each in found if each.end is not None)
            self._nodes, self._from, self._until = nodes, moment, min(moment + AHEAD_SECONDS, *ends, inf)
        return self._windows

    def unsettled(self, nodes: Sequence[NodeView], running: Iterable[Running], now: float) -> list[Reservation]:
        """Return the reservations whose nodes are closed from now on and not stored yet, with the choice of them."""
        for window in self.windows(nodes, now):
            reservation = self.reservations[window.name]
            if reservation.nodes or not window.nodes or now < window.start - window.ahead:
                continue
            stored = next((each.nodes for each in reservation.chosen if each.start == window.start), None)
            if stored != sorted(window.nodes):
                busy = frees((node.name for node in nodes), running, now)
                return settle(list(self.reservations.values()), nodes, now, busy)
        return []
