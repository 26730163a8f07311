"""``{base_url}octopus/api/stream``: the one WebSocket of a page, shared by all its views.

Messages to the page: ``{"type": "snapshot" | "delta", "revision", "tasksets", "tasks", "nodes", "places", "removed"}``
with the service's frames, and ``{"type": "status", "state": "live" | "reconnecting", "message"}``. From the page only
``{"type": "ping"}`` is heard, and answered ``{"type": "pong"}``. Log-in and origin are checked as Jupyter's own sockets
do it; the authorizer is asked for "read" of "octopus".
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from octopus_hub_extension.feed import Feed
from octopus_hub_extension.outbox import Outbox
from octopus_hub_extension.proxy import AUTH_RESOURCE

LONGEST_MESSAGE = 4096  # from the page


class PageStream(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """One page."""

    auth_resource = AUTH_RESOURCE

    def initialize(self, feed: Feed) -> None:
        """Called by tornado."""
        self.feed = feed
        self._outbox: Outbox | None = None
        self._writer: asyncio.Task[None] | None = None

    def set_default_headers(self) -> None:
        """A handshake has no use for headers of pages."""

    @property
    def max_message_size(self) -> int:
        """The most a page may send at once."""
        return LONGEST_MESSAGE

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Open, for who may read."""
        allowed = self.authorizer.is_authorized(self, self.current_user, "read", AUTH_RESOURCE)
        if not await ensure_async(allowed):
            raise HTTPError(403)
        await super().get(*args, **kwargs)

    def open(self, *args: str, **kwargs: str) -> None:
        """Begin with all that is known."""
        super().open(*args, **kwargs)
        self._outbox = self.feed.join()
        self._writer = asyncio.get_running_loop().create_task(self._write())

    def on_message(self, message: str | bytes) -> None:
        """Answer a ping; nothing else is heard."""
        with contextlib.suppress(ValueError, RecursionError):
            said = json.loads(message)
            if isinstance(said, dict) and said.get("type") == "ping" and self._outbox is not None:
                self._outbox.put_pong()

    def on_close(self) -> None:
        """The page is gone."""
        if self._writer is not None:
            self._writer.cancel()
        if self._outbox is not None:
            self.feed.leave(self._outbox)

    async def _write(self) -> None:
        """Send as fast as the page takes, and no faster."""
        outbox = self._outbox
        assert outbox is not None
        with contextlib.suppress(WebSocketClosedError, StreamClosedError):
            while True:
                await self.write_message(await outbox.take())
