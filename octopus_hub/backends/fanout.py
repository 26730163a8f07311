"""Tells every change to every watcher of this process, from one bounded ring.

A watcher that falls further behind than the ring reaches gets :class:`Gone` and lists again; it never slows a writer
or another watcher. Decides nothing and stores nothing for good. Used by the memory and the local backend.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from octopus_hub.backends.base import Change, Gone
from octopus_hub.model.errors import Unavailable

KEPT = 10_000


class Fanout:
    """The last ``kept`` changes; revisions are consecutive numbers after ``first``."""

    def __init__(self, first: int = 0, kept: int = KEPT) -> None:
        self.revision = first
        self._oldest = first  # a watcher at this revision or later misses nothing
        self._ring: list[Change | None] = [None] * kept
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    def emit(self, type_: str, item: object) -> None:
        """Number a change, keep it, wake the watchers."""
        self.revision += 1
        ring = self._ring
        # msgspec checks types on decoding only; callers pass what Change names
        ring[self.revision % len(ring)] = Change(revision=self.revision, type=type_, object=item)  # type: ignore[arg-type]
        self._oldest = max(self._oldest, self.revision - len(ring))
        self._wake()

    async def watch(self, revision: int) -> AsyncIterator[Change]:
        """Yield every change after ``revision``; raises Gone, and Unavailable once closed."""
        at = revision
        while True:
            if not self._oldest <= at <= self.revision:
                raise Gone(f"changes after revision {at} are no longer kept; list again and watch from there")
            if at < self.revision:
                at += 1
                change = self._ring[at % len(self._ring)]
                assert change is not None and change.revision == at
                yield change
            else:
                await self.changed()

    async def changed(self) -> None:
        """Wait for the next change; raises Unavailable once closed."""
        if self._closed:
            raise Unavailable("the engine is stopping; try again when it runs")
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    def close(self) -> None:
        """End every watch."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiting:
            for future in self._waiting:
                if not future.done():
                    future.set_result(None)
            self._waiting.clear()
