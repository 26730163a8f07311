"""Waits until the cache shows a write, so that a caller reads what he just wrote. Writes nothing itself."""

from __future__ import annotations

import asyncio

from octopus_hub.backends.base import Change
from octopus_hub.control.cache import Cache
from octopus_hub.model.taskset import TaskSet


async def caught_up(cache: Cache, written: TaskSet, seconds: float) -> None:
    """Return once the cache has this version of the TaskSet (or saw it go), or after ``seconds``."""
    uid, version = written.metadata.uid, written.metadata.version

    def shown() -> bool:
        known = cache.tasksets.get(uid)
        return known is not None and known.metadata.version >= version

    if shown():
        return
    seen = asyncio.Event()

    def look(change: Change) -> None:
        item = change.object
        if isinstance(item, TaskSet) and item.metadata.uid == uid and (change.type == "deleted" or shown()):
            seen.set()

    unsubscribe = cache.subscribe(look)
    try:
        await asyncio.wait_for(seen.wait(), seconds)
    except TimeoutError:
        return
    finally:
        unsubscribe()
