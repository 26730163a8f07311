"""An event loop whose time is imagined: when nothing is ready it leaps to the next timer, so nothing is ever slept for."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Leaping(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            raise AssertionError("nothing will ever happen again: the test waits for what can't come")
        self.now += timeout
        return []


class TimeTravel(asyncio.SelectorEventLoop):
    """See the module's docstring. What would go to a thread is done at once, so that time can't leap past it."""

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


def travel(main: Coroutine[Any, Any, Result], *, most_seconds: float = 100_000.0) -> Result:
    """Run ``main`` in imagined time; fails when it takes longer than ``most_seconds`` of that."""

    async def bounded() -> Result:
        async with asyncio.timeout(most_seconds):
            return await main

    with asyncio.Runner(loop_factory=TimeTravel) as runner:
        return runner.run(bounded())
