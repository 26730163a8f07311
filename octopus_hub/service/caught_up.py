"""Waits until the cache shows a write, so that a caller reads what he just wrote. Writes nothing itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from octopus_hub.backends.base import Change
from octopus_hub.control.cache import Cache
from octopus_hub.model.taskset import TaskSet


async def caught_up(cache: Cache, written: TaskSet, seconds: float) -> None:
    """Return once the cache has this version of the TaskSet (or saw it go), or after ``seconds``."""
    uid, version = written.metadata.uid, written.metadata.version

    def shown() -> bool:
        known = cache.tasksets.get(uid)
        return known is not None and known.metadata.version >= version

    await until(cache, shown, seconds, lambda change: change.type == "deleted" and _is(change, uid))


async def until(
    cache: Cache,
    holds: Callable[[], bool],
    seconds: float,
    ends: Callable[[Change], bool] = lambda change: False,
) -> None:
    """Return once something holds of the cache, a change ends the wait, or after ``seconds``."""
    if holds():
        return
    seen = asyncio.Event()

    def look(change: Change) -> None:
        if ends(change) or holds():
            seen.set()

    unsubscribe = cache.subscribe(look)
    try:
        await asyncio.wait_for(seen.wait(), seconds)
    except TimeoutError:
        return
    finally:
        unsubscribe()


def _is(change: Change, uid: str) -> bool:
    return isinstance(change.object, TaskSet) and change.object.metadata.uid == uid
