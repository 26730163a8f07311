"""How long a task's event takes to stand in the browser: ``python -m bench.dom_latency``.

A gang of 100 tasks is shown by the widget in headless Chromium. Two ways are timed: the page's share (a frame written
to the page's WebSocket until the task's cell has changed), and the whole way (a task's state changes in the memory
backend; control's cache, the service's stream, the Jupyter server's extension and the page follow). Events come alone,
at irregular times, and in bursts in which all 100 tasks change within half a second. An event's time is the wall clock
just before it is caused; the cell's is the page's, by a MutationObserver: one clock, one machine. The service joins
what changes into at most ten frames a second, so up to 100 ms of the whole way are waiting by design.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page

from bench.facts import report, summary
from octopus_hub.model.answers import TaskSetView
from octopus_hub.model.task import TaskState
from tests.widgets.chain import chain
from tests.widgets.gangs import delta, gang, row, snapshot, view
from tests.widgets.pagehost import chromium, mount, opened, serving

TASKS = 100
ALONE = 60
BURSTS = 6
BURST_SECONDS = 0.5
GIVE_UP_SECONDS = 30.0

# Notes when the cell of each task changes to which state: "index state" -> Unix seconds.
WATCH = """() => {
  window.changed = {};
  const root = document.querySelector('.octopus-gang').shadowRoot;
  new MutationObserver((records) => {
    const at = (performance.timeOrigin + performance.now()) / 1000;
    for (const { target } of records) {
      const role = target.closest('section.role')?.querySelector('h4').textContent;
      if (role === 'worker') window.changed[`${target.dataset.index} ${target.dataset.shown}`] ??= at;
    }
  }).observe(root, { subtree: true, attributes: true, attributeFilter: ['data-shown'] });
}"""

Cause = Callable[[int, TaskState], Any]


async def timed(page: Page, cause: Cause, states: list[TaskState], pauses: Callable[[int], float]) -> list[float]:
    """Cause one change per task and state; return seconds until each stood in the page."""
    caused: dict[str, float] = {}
    draw = random.Random(5)
    for state in states:
        order = list(range(TASKS))
        draw.shuffle(order)
        for number, index in enumerate(order):
            caused[f"{index} {state.value}"] = time.time()
            cause(index, state)
            await asyncio.sleep(pauses(number))
            if len(caused) == ALONE and pauses(0) > 0.1:
                return await _compared(page, caused)
        await asyncio.sleep(0.5)
    return await _compared(page, caused)


async def _compared(page: Page, caused: dict[str, float]) -> list[float]:
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while True:
        seen: dict[str, float] = await page.evaluate("window.changed")
        if caused.keys() <= seen.keys():
            return [seen[key] - at for key, at in caused.items()]
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(caused.keys() - seen.keys())} of {len(caused)} changes never came to the page")
        await asyncio.sleep(0.1)


def alone(_: int) -> float:
    """Return an irregular pause, so that events fall anywhere between two frames."""
    return random.uniform(0.15, 0.35)


def burst(_: int) -> float:
    """Return the pause within a burst."""
    return BURST_SECONDS / TASKS


async def both(page: Page, cause: Cause, again: Callable[[], Awaitable[None]]) -> list[tuple[str, list[float]]]:
    """Time events alone and in bursts."""
    await page.evaluate(WATCH)
    found = [("alone", await timed(page, cause, [TaskState.RUNNING], alone))]
    bursts: list[float] = []
    for _ in range(BURSTS // 2):
        await again()
        await page.evaluate("window.changed = {}")
        bursts += await timed(page, cause, [TaskState.RUNNING, TaskState.UNKNOWN], burst)
    found.append(("bursts of 100", bursts))
    return found


async def page_share(browser: Browser) -> list[tuple[str, list[float]]]:
    """Time from a frame on the page's WebSocket to the cell."""
    taskset = gang(workers=TASKS)
    pending = [row("worker", index, TaskState.PENDING) for index in range(TASKS)]
    async with serving() as host, opened(host, browser) as page:
        host.begin_with(snapshot(taskset, tasks=pending))
        await host.mount(page, view(taskset))
        await page.wait_for_selector("button.chip[data-shown='Pending']")

        async def again() -> None:
            host.send(snapshot(taskset, tasks=pending))
            await _all_pending(page)

        return await both(page, lambda index, state: host.send(delta(tasks=[row("worker", index, state)])), again)


async def whole_way(browser: Browser) -> list[tuple[str, list[float]]]:
    """Time from a task's state in the backend to the cell."""
    with tempfile.TemporaryDirectory() as folder:
        async with chain(browser, Path(folder)) as way:
            backend, page = way.service.backend, way.page
            uid, tasks = await way.submit("bench", TASKS)
            by_index = {task.index: task.name for task in tasks}
            await mount(page, TaskSetView(taskset=backend.truth.tasksets[uid]))
            await page.wait_for_selector("button.chip[data-shown='Pending']")

            async def again() -> None:
                for name in by_index.values():
                    backend.set_task("alice", name, state=TaskState.PENDING)
                await _all_pending(page)

            return await both(page, lambda at, state: backend.set_task("alice", by_index[at], state=state), again)


async def _all_pending(page: Page) -> None:
    count = "document.querySelector('.octopus-gang').shadowRoot.querySelectorAll('[data-shown=Pending].chip').length"
    await page.wait_for_function(f"{count} === {TASKS}")


async def measure() -> list[dict[str, Any]]:
    """Return a row per way and pattern."""
    async with chromium() as browser:
        share = await page_share(browser)
        whole = await whole_way(browser)
    return [
        {"way": way, "events": pattern, **summary(seconds)}
        for way, found in (("page only", share), ("backend to page", whole))
        for pattern, seconds in found
    ]


def main() -> None:
    """Measure and report."""
    target = f"event to browser DOM at {TASKS} tasks: p95 <= 200 ms"
    report("dom_latency", asyncio.run(measure()), target=target)


if __name__ == "__main__":
    main()
