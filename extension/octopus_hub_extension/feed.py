"""One stream from the service for all pages of this server, open while there are pages. Nothing polls.

A lost stream is tried again with back-off for as long as a page is there, and pages are told; the service begins every
stream with a snapshot, so after a gap they get one, and nothing is lost. Sends nothing itself: see :mod:`outbox`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import httpx
import msgspec

from octopus_hub.client import transport
from octopus_hub.client.exchange import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS
from octopus_hub.client.sse import Event, EventReader
from octopus_hub.model.errors import OctopusError, Unavailable
from octopus_hub_extension.outbox import Outbox
from octopus_hub_extension.rows import Merged, delta_text
from octopus_hub_extension.upstream import Upstream

LIVE = "live"
RECONNECTING = "reconnecting"
log = logging.getLogger(__name__)


class Feed:
    """The stream of this server's user.

    Parameters
    ----------
    linger_seconds : float
        How long the stream outlives the last page.
    jitter : callable
        Returns 0..1; spreads the tries of many servers after the service was away.
    """

    def __init__(
        self, upstream: Upstream, *, linger_seconds: float, jitter: Callable[[], float] = random.random
    ) -> None:
        self._upstream = upstream
        self._linger_seconds = linger_seconds
        self._jitter = jitter
        self._outboxes: set[Outbox] = set()
        self._rows = Merged()
        self._state = RECONNECTING
        self._message = "connecting to the octopus service"
        self._task: asyncio.Task[None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._hurry = asyncio.Event()

    def __len__(self) -> int:
        return len(self._outboxes)

    @property
    def open(self) -> bool:
        """Whether a stream from the service is open or being opened."""
        return self._task is not None

    def join(self) -> Outbox:
        """Return what a new page is to be sent, beginning with all that is known."""
        outbox = Outbox(lambda: self._rows.text)
        outbox.put_status(self._status())
        if self._rows.revision is not None:
            outbox.put_snapshot()
        self._outboxes.add(outbox)
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        self._hurry.set()
        return outbox

    def leave(self, outbox: Outbox) -> None:
        """Forget a page; the stream ends a while after the last."""
        self._outboxes.discard(outbox)
        if not self._outboxes and self._task is not None and self._linger is None:
            self._linger = asyncio.get_running_loop().call_later(self._linger_seconds, self._stop)

    async def close(self) -> None:
        """End the stream."""
        task = self._task
        self._stop()
        if task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _stop(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._task is not None:
            self._task.cancel()
            self._task = None
        # What nobody keeps up to date is not shown to the next page.
        self._rows = Merged()
        self._state, self._message = RECONNECTING, "connecting to the octopus service"

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                async with aclosing(self._events()) as events:
                    async for event in events:
                        self._take(event)
                        failures = 0
                why = "the octopus service ended the stream"
            except OctopusError as error:
                why = error.message
            except Exception:
                log.exception("the stream from the octopus service failed")
                why = "the stream failed in the Jupyter server; its log says why"
            failures += 1
            self._tell(RECONNECTING, why)
            delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 10))
            self._hurry.clear()
            with contextlib.suppress(TimeoutError):  # a page that comes anew is worth a try at once
                await asyncio.wait_for(self._hurry.wait(), delay * (0.5 + self._jitter()))

    async def _events(self) -> AsyncGenerator[Event, None]:
        reader = EventReader()
        accept = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        async with self._upstream.open("GET", "/stream", transport.STREAM_TIMEOUT, headers=accept) as response:
            if response.status_code != 200:
                raise await self._upstream.refusal(response)
            try:
                async for chunk in response.aiter_bytes():
                    for event in reader.feed(chunk):
                        yield event
            except httpx.HTTPError as error:
                why = transport.lost(error).why
                raise Unavailable(f"the connection to the octopus service was lost ({why})") from error

    def _take(self, event: Event) -> None:
        if event.name not in ("snapshot", "delta"):
            return
        data = event.data.encode()
        try:
            if event.name == "snapshot":
                self._rows.snapshot(data)
            else:
                self._rows.delta(data)
        except msgspec.DecodeError as error:
            raise Unavailable(f"a frame of the octopus service can't be read ({error}); are both as new?") from error
        if event.name == "snapshot":
            self._tell(LIVE, "")
            for outbox in self._outboxes:
                outbox.put_snapshot()
        else:
            frame = delta_text(data)
            for outbox in self._outboxes:
                outbox.put(frame)

    def _tell(self, state: str, message: str) -> None:
        if (state, message) == (self._state, self._message):
            return
        self._state, self._message = state, message
        for outbox in self._outboxes:
            outbox.put_status(self._status())

    def _status(self) -> bytes:
        return msgspec.json.encode({"type": "status", "state": self._state, "message": self._message})
