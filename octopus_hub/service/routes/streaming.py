"""``/stream``: frames of ``service.stream`` as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from octopus_hub.service.handler import ApiHandler
from octopus_hub.service.stream import KEEP_ALIVE, Stream
from octopus_hub.service.views import own_namespace

ALL = "*"
SEND_BUFFER = 256 * 1024  # the system keeps at most so much for a reader that does not read


class Events(ApiHandler):
    """One stream."""

    path = "/stream"

    async def get(self) -> None:
        """Send frames until the client goes, does not read, or its token ends."""
        namespace = self._namespace()
        with self.service.slots.hold(self.who.user):
            stream = self.service.streams.open(namespace, self.query("name"))
            try:
                with self.while_connected():
                    self.set_header("Content-Type", "text/event-stream; charset=utf-8")
                    self.set_header("X-Accel-Buffering", "no")
                    self._bound_buffer()
                    await self._run(stream)
            finally:
                self.service.streams.shut(stream)
            if not self._gone:
                self.finish()

    def _namespace(self) -> str | None:
        wanted = self.query("namespace")
        return None if wanted == ALL and self.who.admin else own_namespace(self.who, wanted)

    async def _run(self, stream: Stream) -> None:
        settings, loop = self.service.settings, asyncio.get_running_loop()
        recheck = loop.time() + settings.recheck_seconds
        while not self.service.streams.closed.is_set():
            started = loop.time()
            await self.write_out(stream.frame())
            await asyncio.sleep(max(0.0, started + 1.0 / settings.frames_per_second - loop.time()))
            while not stream.wake.is_set():
                with contextlib.suppress(TimeoutError):
                    pause = min(settings.keep_alive_seconds, max(0.0, recheck - loop.time()))
                    await asyncio.wait_for(stream.wake.wait(), pause)
                    continue
                if loop.time() < recheck:
                    await self.write_out(KEEP_ALIVE)
                else:
                    await self.service.authenticator.recheck(self, self.who)
                    recheck = loop.time() + settings.recheck_seconds
            if loop.time() >= recheck:
                await self.service.authenticator.recheck(self, self.who)
                recheck = loop.time() + settings.recheck_seconds

    def _bound_buffer(self) -> None:
        connection = getattr(self.request.connection, "stream", None)
        sock = getattr(connection, "socket", None)
        if isinstance(sock, socket.socket):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
