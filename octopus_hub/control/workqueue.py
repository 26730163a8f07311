"""A queue of keys to look at, in the manner of Kubernetes controllers.

A key that is added while it waits is looked at once; one added while a worker holds it is looked at again afterwards;
no key is held by two workers. Keys can be added for later. No clock of its own: the event loop's.
"""

from __future__ import annotations

import asyncio
from collections import deque


class WorkQueue:
    """Keys waiting for a worker."""

    def __init__(self) -> None:
        self._ready: deque[str] = deque()
        self._dirty: set[str] = set()
        self._held: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}
        self._wakeup: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def idle(self) -> bool:
        """Nothing is ready and no worker holds a key (later keys may be pending)."""
        return not self._dirty and not self._held

    @property
    def awaited(self) -> int:
        """How many workers wait for a key."""
        return len(self._wakeup)

    def add(self, key: str) -> None:
        """Ask for a look at ``key`` as soon as possible."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._held:
            self._push(key)

    def add_after(self, key: str, delay_seconds: float) -> None:
        """Ask for a look in ``delay_seconds``; of several wishes for one key the earliest counts."""
        if delay_seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + delay_seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._fire, key)

    def retry(self, key: str, *, first_seconds: float = 0.05, most_seconds: float = 30.0) -> float:
        """Ask for a look after a delay that doubles with every failure; returns the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(first_seconds * 2.0 ** min(failures, 30), most_seconds)
        self.add_after(key, delay)
        return delay

    def forget(self, key: str) -> None:
        """Forget the failures of ``key``: its next retry starts with the shortest delay."""
        self._failures.pop(key, None)

    async def get(self) -> str:
        """Wait for a key and hold it; :meth:`done` gives it back."""
        while not self._ready:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._wakeup.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._wakeup:
                    self._wakeup.remove(waiter)
                elif self._ready:
                    self._wake_one()  # this one was woken for a key; another has to take it
                raise
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._held.add(key)
        return key

    def done(self, key: str) -> None:
        """Give a held key back."""
        self._held.discard(key)
        if key in self._dirty:
            self._push(key)

    def close(self) -> None:
        """Cancel what was asked for later."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _fire(self, key: str) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _push(self, key: str) -> None:
        self._ready.append(key)
        self._wake_one()

    def _wake_one(self) -> None:
        while self._wakeup:
            waiter = self._wakeup.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break
