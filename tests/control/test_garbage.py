"""Cycles among old things are looked for by the clock, and everything is as before when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref

from octopus_hub.control import garbage
from tests.control.timetravel import travel


class Ring:
    """Refers to itself."""

    def __init__(self) -> None:
        self.me = self


def test_old_cycles_go_when_it_is_time_and_not_before() -> None:
    before = gc.get_threshold()

    async def main() -> None:
        task = asyncio.create_task(garbage.look_seldom())
        await asyncio.sleep(1.0)
        assert gc.get_threshold()[2] == garbage.NEVER
        ring = Ring()
        gone = weakref.ref(ring)
        gc.collect()  # it is old now
        del ring
        gc.collect(1)
        assert gone() is not None
        await asyncio.sleep(garbage.LEAST_SECONDS)
        assert gone() is None
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    travel(main())
    assert gc.get_threshold() == before


def test_one_that_never_began_changes_nothing() -> None:
    before = gc.get_threshold()

    async def main() -> None:
        task = asyncio.create_task(garbage.look_seldom())
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    travel(main())
    assert gc.get_threshold() == before
