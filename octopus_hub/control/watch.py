"""Keeps the cache as the backend is: lists, then watches, and lists again when changes were missed or may have been."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from octopus_hub.backends.base import Backend, Change, Gone
from octopus_hub.control.cache import Cache
from octopus_hub.control.metrics import Metrics
from octopus_hub.model.errors import OctopusError

log = logging.getLogger(__name__)

RESYNC_SECONDS = 60.0  # all is listed again this often, should a change have been lost
RETRY_SECONDS = 1.0


class Watch:
    """Fills a cache and follows the backend's changes.

    Parameters
    ----------
    filled : callable
        Told after everything was listed, with what differs from what the cache had.
    changed : callable
        Told of every change after that, when the cache has it.

    Attributes
    ----------
    listed : asyncio.Event
        Set when the cache was filled for the first time.
    """

    def __init__(
        self,
        backend: Backend,
        cache: Cache,
        metrics: Metrics,
        *,
        filled: Callable[[Sequence[Change]], None],
        changed: Callable[[Change], None],
    ) -> None:
        self.listed = asyncio.Event()
        self._backend = backend
        self._cache = cache
        self._metrics = metrics
        self._filled = filled
        self._changed = changed
        self._resync: asyncio.Timeout | None = None

    async def follow(self) -> None:
        """List and watch, for ever."""
        while True:
            try:
                await self._watch_from(await self._list())
            except Gone:
                log.info("the watch fell behind; listing again")
            except OctopusError as error:
                log.error("the watch failed, listing again: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                self._metrics.errors.labels("bug").inc()
                log.exception("the watch failed, listing again")
                await asyncio.sleep(RETRY_SECONDS)

    def list_again(self) -> None:
        """Stop watching and list again now."""
        if self._resync is not None and not self._resync.expired():
            self._resync.reschedule(asyncio.get_running_loop().time())

    async def _list(self) -> int:
        """Fill the cache; returns the revision to watch from."""
        listing = await self._backend.listing()
        self._filled(self._cache.replace(listing))
        self.listed.set()
        return listing.revision

    async def _watch_from(self, revision: int) -> None:
        """Take changes until it is time to list again."""
        try:
            async with asyncio.timeout(RESYNC_SECONDS) as self._resync:
                async for change in self._backend.watch(revision):
                    self._cache.apply(change)
                    self._changed(change)
        except TimeoutError:
            return
        finally:
            self._resync = None
