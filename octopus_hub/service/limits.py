"""Bounds on how often and how much at once one caller may ask. Clocks are injected; nothing here does I/O."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from octopus_hub.model.errors import RateLimited

_FORGET_AT = 10_000  # buckets kept before full ones are forgotten


class Buckets:
    """A token bucket per key.

    Parameters
    ----------
    per_second : float
        Tokens that come back each second.
    burst : float
        Size of a bucket, and what a new one holds.
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._levels: dict[str, tuple[float, float]] = {}  # key -> (tokens, as of)

    def take(self, key: str) -> None:
        """Take a token; raises RateLimited with when to come back."""
        tokens, now = self._level(key)
        if tokens < 1.0:
            seconds = (1.0 - tokens) / self._per_second
            raise RateLimited(
                f"too many requests: more than {self._per_second:g} a second; wait {math.ceil(seconds)} s and try again",
                retry_after_seconds=round(seconds, 3),
            )
        self._levels[key] = (tokens - 1.0, now)

    def check(self, key: str) -> None:
        """Raise as :meth:`take` would, but take nothing."""
        tokens, now = self._level(key)
        if tokens < 1.0:
            self.take(key)
        self._levels[key] = (tokens, now)

    def _level(self, key: str) -> tuple[float, float]:
        now = self._clock()
        known = self._levels.get(key)
        if known is None:
            if len(self._levels) >= _FORGET_AT:
                self._forget(now)
            return self._burst, now
        return min(self._burst, known[0] + (now - known[1]) * self._per_second), now

    def _forget(self, now: float) -> None:
        """Full buckets are as good as new ones."""
        refill = self._burst / self._per_second
        self._levels = {key: level for key, level in self._levels.items() if now - level[1] < refill}


class Slots:
    """How many long answers (streams, followed logs) a user has open."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[str, int] = {}

    @contextmanager
    def hold(self, user: str) -> Iterator[None]:
        """Hold a slot; raises RateLimited when all are taken."""
        taken = self._open.get(user, 0)
        if taken >= self._most:
            raise RateLimited(
                f"{taken} streams and followed logs are open, the most for one user; close some of them",
                retry_after_seconds=5.0,
                limit=self._most,
            )
        self._open[user] = taken + 1
        try:
            yield
        finally:
            left = self._open[user] - 1
            if left:
                self._open[user] = left
            else:
                del self._open[user]
