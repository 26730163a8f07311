"""What the service says about reservations and about the state of nodes: when they come, where, what they lack.

Names of other users and their TaskSets are told to administrators only; everybody sees when which nodes are taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from octopus_hub.control.cache import Cache
from octopus_hub.core.calendar import lingering, short_of, windows
from octopus_hub.core.recurrence import occurrences
from octopus_hub.core.reserved import set_aside, states
from octopus_hub.core.snapshot import Window
from octopus_hub.model.reservation import DAY, Reservation
from octopus_hub.service.identity import Identity

LOOK_SECONDS = 300 * 366 * DAY  # for the next one


class ReservationFigures:
    """Reservations as one caller sees them at one moment."""

    def __init__(self, cache: Cache, who: Identity, now: float) -> None:
        self._cache = cache
        self._who = who
        self._now = now
        self._snapshot = cache.snapshot(now)

    def view(self, reservation: Reservation) -> dict[str, Any]:
        """Return a reservation with ``state``: its next (or present) time, nodes, and what is in its way."""
        shown = msgspec.to_builtins(self._redacted(reservation))
        return {**shown, "name": reservation.name, "state": self._state(reservation)}

    def node_states(self) -> dict[str, str]:
        """Return a text for each node that is closed, drained or reserved now or within its lead."""
        return states([self._without_names(each) for each in self._snapshot.windows], self._now)

    def _state(self, reservation: Reservation) -> dict[str, Any]:
        window = next((each for each in self._snapshot.windows if each.name == reservation.name), None)
        if window is None:
            coming = next(occurrences(reservation, self._now, self._now + LOOK_SECONDS), None)
            if coming is None:
                return {"text": "over"}
            (window,) = windows([reservation], self._snapshot.nodes, self._now, coming.start - self._now + 1.0)
        found: dict[str, Any] = {
            "start": window.start,
            "end": window.end,
            "begun": window.start <= self._now,
            "nodes": sorted(window.nodes),
            "text": set_aside(self._without_names(window), self._now),
        }
        lacks = short_of(reservation, window.nodes, self._snapshot.nodes)
        if lacks:
            found["lacks"] = lacks
        held = [each for _, each in lingering([window], self._snapshot.running.values(), self._now)]
        if held:
            mine = [each.gang for each in held if self._who.admin or each.gang.namespace == self._who.namespace]
            found["occupied"] = sorted(f"{gang.namespace}/{gang.name}" for gang in mine)
            found["occupiedByOthers"] = len(held) - len(mine)
        return found

    def _mine(self, owners: Iterable[str]) -> list[str]:
        return [owner for owner in owners if self._who.admin or owner == self._who.user]

    def _redacted(self, reservation: Reservation) -> Reservation:
        return msgspec.structs.replace(reservation, owners=self._mine(reservation.owners))

    def _without_names(self, window: Window) -> Window:
        return replace(window, owners=frozenset(self._mine(window.owners)))
