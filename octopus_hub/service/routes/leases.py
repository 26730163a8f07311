"""``/leases/{lease}``: held while the connection is open; what is sent are comments that keep it open."""

from __future__ import annotations

import asyncio
import re
from typing import ClassVar

from octopus_hub.model.errors import InvalidSpec, Refused
from octopus_hub.service.handler import ApiHandler
from octopus_hub.service.stream import KEEP_ALIVE

LEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Lease(ApiHandler):
    """One holder."""

    path: ClassVar[str] = "/leases/{lease}"

    async def get(self, lease: str) -> None:
        """Hold the lease until the client goes or its token ends."""
        if not LEASE.fullmatch(lease):
            raise InvalidSpec("a lease has 1 to 100 letters, digits, dots, hyphens and underscores")
        if not self.who.namespace:
            raise Refused("the token of a hub service holds no lease; use a user's token")
        with (
            self.service.slots.hold(f"{self.who.user}#leases"),  # beside the streams, of which a page may need many
            self.service.leases.hold(self.who.namespace, lease),
            self.while_connected(),
        ):
            self.set_header("Content-Type", "text/event-stream; charset=utf-8")
            self.set_header("X-Accel-Buffering", "no")
            await self._keep()
        if not self._gone:
            self.finish()

    async def _keep(self) -> None:
        settings, loop, closed = self.service.settings, asyncio.get_running_loop(), self.service.streams.closed
        recheck = loop.time() + settings.recheck_seconds
        while not closed.is_set():
            await self.write_out(KEEP_ALIVE)
            try:
                await asyncio.wait_for(closed.wait(), settings.keep_alive_seconds)
            except TimeoutError:
                if loop.time() >= recheck:
                    await self.service.authenticator.recheck(self, self.who)
                    recheck = loop.time() + settings.recheck_seconds
