"""What one page has not been sent yet: bounded, and level, not edge. No I/O: the socket takes from it as it can.

A page that falls behind loses its backlog and gets one snapshot of how things are by then. Others never notice: frames
are shared bytes, and putting one never waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

MOST_FRAMES = 64  # some six seconds of a busy stream
MOST_BYTES = 8 * 2**20
PONG = b'{"type":"pong"}'


class Outbox:
    """The messages of one page.

    Parameters
    ----------
    snapshot : callable
        Returns the snapshot as it is when the page can take it.
    """

    def __init__(self, snapshot: Callable[[], bytes]) -> None:
        self._snapshot = snapshot
        self._whole = False  # a snapshot is due, and stands for every frame before it
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._status = b""
        self._pong = False
        self._wake = asyncio.Event()

    def put(self, frame: bytes) -> None:
        """Add a delta."""
        if self._whole:
            return
        if len(self._frames) >= MOST_FRAMES or self._bytes + len(frame) > MOST_BYTES:
            self.put_snapshot()
            return
        self._frames.append(frame)
        self._bytes += len(frame)
        self._wake.set()

    def put_snapshot(self) -> None:
        """Send everything anew, instead of what waits."""
        self._frames.clear()
        self._bytes = 0
        self._whole = True
        self._wake.set()

    def put_status(self, status: bytes) -> None:
        """Say how the stream is; only the last word counts."""
        self._status = status
        self._wake.set()

    def put_pong(self) -> None:
        """Answer a page that asks whether anyone is there; once, however often it asked."""
        self._pong = True
        self._wake.set()

    async def take(self) -> bytes:
        """Return the next message, when there is one."""
        while True:
            if self._whole:
                self._whole = False
                return self._snapshot()
            if self._frames:
                frame = self._frames.popleft()
                self._bytes -= len(frame)
                return frame
            if self._status:  # after the frames that came before it: a page takes a frame for a sign of life
                status, self._status = self._status, b""
                return status
            if self._pong:
                self._pong = False
                return PONG
            self._wake.clear()
            await self._wake.wait()
