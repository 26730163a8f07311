"""``/reservations``, and closing, draining and opening nodes: seen by everybody, changed by administrators."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from octopus_hub.core.booking import refusals
from octopus_hub.model.errors import InvalidSpec, NotFound
from octopus_hub.model.reservation import Reservation, closing, drain_of, parse_drain, parse_reservation
from octopus_hub.service.caught_up import until
from octopus_hub.service.handler import ApiHandler
from octopus_hub.service.reservationview import ReservationFigures

_SAME = ("count", "node_selector", "nodes", "devices")  # with all of them the choice of nodes holds


class _Handler(ApiHandler):
    @property
    def known(self) -> dict[str, Reservation]:
        """All reservations by name."""
        return self.service.cache.calendar.reservations

    async def figures(self) -> ReservationFigures:
        """Return the figures of now, for the caller."""
        return ReservationFigures(self.service.cache, self.who, await self.service.backend.now())

    async def store(self, reservation: Reservation) -> None:
        """Store it and answer with it, once it is seen."""
        await self.service.backend.put_reservation(reservation)
        name, replace = reservation.name, msgspec.structs.replace

        def stored() -> bool:  # control may have chosen nodes meanwhile
            now = self.known.get(name)
            return now is not None and replace(now, chosen=[]) == replace(reservation, chosen=[])

        await self._seen(stored)
        self.answer((await self.figures()).view(self.known.get(name, reservation)))

    async def remove(self, name: str) -> None:
        """Remove one, and wait until that is seen."""
        await self.service.backend.delete_reservation(name)
        await self._seen(lambda: name not in self.known)

    async def _seen(self, holds: Callable[[], bool]) -> None:
        await until(self.service.cache, holds, self.service.settings.caught_up_seconds)


class Reservations(_Handler):
    """``/reservations``."""

    path = "/reservations"

    async def get(self) -> None:
        """Every reservation and drain, by name."""
        figures = await self.figures()
        self.answer({"items": [figures.view(self.known[name]) for name in sorted(self.known)]})


class OneReservation(_Handler):
    """``/reservations/{name}``."""

    path = "/reservations/{name}"

    async def get(self, name: str) -> None:
        """One of them as in the list."""
        if name not in self.known:
            raise NotFound(f"there is no reservation {name}; see `octopus reservations`")
        self.answer((await self.figures()).view(self.known[name]))

    async def put(self, name: str) -> None:
        """Reserve, if it can be had beside the others."""
        wanted = parse_reservation(self.document(), name)
        cache, now = self.service.cache, await self.service.backend.now()
        wrong = refusals(wanted, list(self.known.values()), cache.snapshot(now).nodes, now, cache.queues)
        if wrong:
            raise InvalidSpec(
                wrong[0] if len(wrong) == 1 else f"{name} can't be had; {len(wrong)} things are wrong", wrong
            )
        old = self.known.get(name)
        if old is not None and all(getattr(old, field) == getattr(wanted, field) for field in _SAME):
            wanted = msgspec.structs.replace(wanted, chosen=old.chosen)
        await self.store(wanted)

    async def delete(self, name: str) -> None:
        """Remove it; the nodes take work of everybody again."""
        await self.remove(name)
        self.set_status(204)


class _Node(_Handler):
    def check(self, name: str) -> None:
        """Refuse a node that does not exist."""
        if name not in self.service.cache.nodes:
            raise NotFound(f"there is no node {name}; see `octopus nodes`")


class DrainNode(_Node):
    """``/nodes/{name}/drain``."""

    path = "/nodes/{name}/drain"

    async def post(self, name: str) -> None:
        """Set the node aside from a time on; what may be preempted makes room, the rest finishes."""
        self.check(name)
        await self.store(parse_drain(self.document() if self.body() else {}, name, await self.service.backend.now()))


class CloseNode(_Node):
    """``/nodes/{name}/close``."""

    path = "/nodes/{name}/close"

    async def post(self, name: str) -> None:
        """Start nothing there from now on; what runs finishes."""
        self.check(name)
        reason = self.document().get("reason", "") if self.body() else ""
        if not isinstance(reason, str) or len(reason) > 1000:
            raise InvalidSpec("reason: needs a text of at most 1000 characters")
        await self.store(closing(name, await self.service.backend.now(), reason))


class OpenNode(_Node):
    """``/nodes/{name}/open``."""

    path = "/nodes/{name}/open"

    async def post(self, name: str) -> None:
        """Take back a drain or a close; repeating it changes nothing. A node that is gone can be opened, too."""
        if drain_of(name) in self.known:
            await self.remove(drain_of(name))
        else:
            self.check(name)
        self.set_status(204)
