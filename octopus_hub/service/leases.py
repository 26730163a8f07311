"""TaskSets tied to a notebook server or a kernel: they live while their lease is held, and are stopped after it.

Who is tied to holds the lease by an open connection, which the kernel of the machine closes however the holder ends. A
lease that nobody held for a while (the holder may reconnect, this service may have restarted) has ended. Nobody polls:
each end is one timer. Decides about leases only; stopping is a wish at the backend like a user's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator

from octopus_hub.backends.base import Backend, Change
from octopus_hub.control.cache import Cache
from octopus_hub.model.errors import OctopusError
from octopus_hub.model.taskset import TaskSet

RETRY_SECONDS = 5.0
Key = tuple[str, str]  # (namespace, lease)

log = logging.getLogger(__name__)


class Leases:
    """The leases of one service.

    Parameters
    ----------
    seconds : float
        How long a lease outlives its last holder.
    """

    def __init__(self, backend: Backend, cache: Cache, seconds: float) -> None:
        self._backend = backend
        self._cache = cache
        self._seconds = seconds
        self._holders: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._unsubscribe = cache.subscribe(self._changed)
        for taskset in cache.tasksets.values():
            self._look_at(taskset)

    @contextlib.contextmanager
    def hold(self, namespace: str, lease: str) -> Iterator[None]:
        """Hold a lease."""
        key = (namespace, lease)
        self._holders[key] = self._holders.get(key, 0) + 1
        self._cancel(key)
        try:
            yield
        finally:
            self._holders[key] -= 1
            if not self._holders[key]:
                del self._holders[key]
                if any(True for _ in self._tied(key)):
                    self._start(key, self._seconds)

    def close(self) -> None:
        """Forget everything; nothing is stopped."""
        self._unsubscribe()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for task in self._ending:
            task.cancel()

    def _changed(self, change: Change) -> None:
        if isinstance(change.object, TaskSet) and change.type == "put":
            self._look_at(change.object)

    def _look_at(self, taskset: TaskSet) -> None:
        key = _key(taskset)
        if key is not None and key not in self._holders and key not in self._timers:
            self._start(key, self._seconds)

    def _tied(self, key: Key) -> Iterator[TaskSet]:
        return (taskset for taskset in self._cache.tasksets.values() if _key(taskset) == key)

    def _start(self, key: Key, seconds: float) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is being closed: the next service starts the clock again
            self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._end, key)

    def _cancel(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _end(self, key: Key) -> None:
        self._timers.pop(key, None)
        if key not in self._holders:
            task = asyncio.get_running_loop().create_task(self._stop(key))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _stop(self, key: Key) -> None:
        for taskset in list(self._tied(key)):
            mode = "notebook server" if taskset.spec.lifetime.mode == "server" else "kernel"
            why = f"its {mode} ended, to which its lifetime is tied; submit it with lifetime detached to let it go on"
            try:
                await self._backend.update_intent(taskset.metadata.uid, stop=True, why=why)
            except OctopusError as error:
                log.warning("%s outlives its lease, trying again: %s", taskset.name, error)
                self._cancel(key)
                self._start(key, RETRY_SECONDS)


def _key(taskset: TaskSet) -> Key | None:
    """Return the lease of a TaskSet that has not ended and is not being stopped."""
    lifetime, meta = taskset.spec.lifetime, taskset.metadata
    if lifetime.mode == "detached" or taskset.status.phase.terminal or meta.stop_requested_at is not None:
        return None
    return meta.namespace, lifetime.lease
