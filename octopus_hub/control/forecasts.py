"""Start estimates of what waits, kept beside the path of scheduling: computed in a thread, now and then, never waited for.

The boards take what was found last. A computation may take a while on a large cluster, so it is bounded, only the first
of each queue are looked at, and the pause before the next one grows with the time that the last one took.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from octopus_hub.core.forecast import Estimate, forecast, in_front
from octopus_hub.core.plan import Waits
from octopus_hub.core.schedule import schedule
from octopus_hub.core.snapshot import Snapshot, Waiting

log = logging.getLogger(__name__)

PAUSE_SECONDS = 10.0  # between two computations, at least
SAME_SECONDS = 60.0  # the same where nothing has changed but the time
SHARE = 20  # a computation takes at most one of so many parts of the time
BOUND_SECONDS = 2.0  # of a computation; what was not found until then has no estimate
PLACES = 20  # of each queue
MOST_GANGS = 2_000  # with more that wait or run, boards have no estimates: `octopus why NAME` tells one at a time


class Forecasts:
    """The last estimates by uid. ``changed`` is called when there are new ones."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.found: Mapping[str, Estimate] = {}
        self._changed = changed
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended_at = self._not_before = float("-inf")
        self._last: tuple[Snapshot, Sequence[Waiting]] | None = None
        self._next: tuple[Snapshot, Sequence[Waiting], float] | None = None

    def consider(self, snapshot: Snapshot, waiting: Sequence[Waiting], now: float) -> None:
        """Take note of the present state; it is computed at once, or when the pause is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not waiting or len(waiting) + len(snapshot.running) > MOST_GANGS:
            self.found = {}
            self._next = None
            return
        self._next = (snapshot, waiting, now)
        if self._task is not None:
            return  # it asks for another look at its end
        loop = asyncio.get_running_loop()
        if self._last is not None and self._last[0].running is snapshot.running and self._last[1] == waiting:
            due = max(self._not_before, self._ended_at + SAME_SECONDS)
        else:
            due = self._not_before
        self._timer = loop.call_at(max(due, loop.time()), self._begin)

    def close(self) -> None:
        """Begin nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._next = None

    def _begin(self) -> None:
        self._timer = None
        if self._next is not None:
            self._task = asyncio.create_task(self._compute(*self._next), name="forecasts")
            self._next = None

    async def _compute(self, snapshot: Snapshot, waiting: Sequence[Waiting], now: float) -> None:
        began = time.monotonic()
        try:
            self.found = await asyncio.to_thread(estimates, snapshot, waiting, now, began + BOUND_SECONDS)
        except Exception:
            self.found = {}
            log.exception("start estimates could not be computed")
        finally:
            self._task = None
        took = time.monotonic() - began
        self._last = (snapshot, waiting)
        self._ended_at = asyncio.get_running_loop().time()
        self._not_before = self._ended_at + max(PAUSE_SECONDS, SHARE * took)
        self._changed()


def estimates(snapshot: Snapshot, waiting: Sequence[Waiting], now: float, until: float) -> dict[str, Estimate]:
    """Return when the first of each queue start; ``until`` (monotonic) bounds the computation. Values only."""
    plan = schedule(snapshot, waiting, now)
    waits: Mapping[str, Waits] = plan.waits
    wanted = [gang.uid for gang in waiting if (known := waits.get(gang.uid)) is not None and known.place <= PLACES]
    if not wanted:
        return {}
    return forecast(snapshot, in_front(waiting, waits, wanted), now, wanted, lambda: time.monotonic() > until)
