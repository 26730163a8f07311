"""The work queue, read as its specification."""

from __future__ import annotations

import asyncio

import pytest

from octopus_hub.control.workqueue import WorkQueue
from tests.control.timetravel import travel


def now() -> float:
    return asyncio.get_running_loop().time()


async def drained(queue: WorkQueue) -> list[str]:
    """Take what is ready now."""
    keys = []
    while len(queue):
        keys.append(await queue.get())
        queue.done(keys[-1])
    return keys


def test_keys_come_in_the_order_they_were_added() -> None:
    async def main() -> None:
        queue = WorkQueue()
        for key in "bac":
            queue.add(key)
        assert len(queue) == 3 and not queue.idle
        assert await drained(queue) == ["b", "a", "c"]
        assert len(queue) == 0 and queue.idle

    travel(main())


def test_a_key_that_waits_already_is_looked_at_once() -> None:
    async def main() -> None:
        queue = WorkQueue()
        for key in "aaba":
            queue.add(key)
        assert await drained(queue) == ["a", "b"]

    travel(main())


def test_a_key_added_while_a_worker_holds_it_is_looked_at_again_afterwards() -> None:
    async def main() -> None:
        queue = WorkQueue()
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        queue.add("a")
        assert len(queue) == 0 and not queue.idle
        queue.done("a")
        assert await drained(queue) == ["a"]

    travel(main())


def test_no_key_is_held_by_two_workers() -> None:
    async def main() -> None:
        queue, held, seen = WorkQueue(), set[str](), 0

        async def work(pause: float) -> None:
            nonlocal seen
            while True:
                key = await queue.get()
                assert key not in held
                held.add(key)
                await asyncio.sleep(pause)
                held.remove(key)
                seen += 1
                queue.done(key)

        workers = [asyncio.create_task(work(0.7 + n / 10)) for n in range(5)]
        for step in range(200):
            queue.add(f"k{step % 3}")
            await asyncio.sleep(0.1)
        await asyncio.sleep(10)
        assert queue.idle and seen > 20
        assert not any(worker.done() for worker in workers)
        for worker in workers:
            worker.cancel()

    travel(main())


def test_a_worker_waits_for_a_key() -> None:
    async def main() -> None:
        queue = WorkQueue()
        waiting = asyncio.create_task(queue.get())
        await asyncio.sleep(5)
        assert not waiting.done()
        queue.add("a")
        assert await waiting == "a"

    travel(main())


def test_a_worker_cancelled_just_as_it_was_woken_leaves_the_key_to_another() -> None:
    async def main() -> None:
        queue = WorkQueue()
        first, second = (asyncio.create_task(queue.get()) for _ in range(2))
        await asyncio.sleep(0)
        queue.add("a")
        first.cancel()
        async with asyncio.timeout(10):
            assert await second == "a"

    travel(main())


def test_a_key_for_later_comes_then() -> None:
    async def main() -> None:
        queue = WorkQueue()
        queue.add_after("a", 30.0)
        assert queue.idle
        assert await queue.get() == "a"
        assert now() == pytest.approx(30.0)

    travel(main())


@pytest.mark.parametrize("delay", [0.0, -5.0])
def test_later_may_be_now(delay: float) -> None:
    async def main() -> None:
        queue = WorkQueue()
        queue.add_after("a", delay)
        assert await drained(queue) == ["a"]

    travel(main())


@pytest.mark.parametrize("delays", [(10.0, 30.0), (30.0, 10.0), (10.0, 10.0)])
def test_of_several_wishes_for_one_key_the_earliest_counts(delays: tuple[float, float]) -> None:
    async def main() -> None:
        queue = WorkQueue()
        for delay in delays:
            queue.add_after("a", delay)
        queue.done(await queue.get())
        assert now() == pytest.approx(10.0)
        await asyncio.sleep(100)
        assert queue.idle, "the other wish is void"

    travel(main())


def test_retries_come_later_and_later_up_to_a_bound_until_they_are_forgotten() -> None:
    async def main() -> None:
        queue = WorkQueue()
        delays = [queue.retry("a", first_seconds=0.05, most_seconds=1.0) for _ in range(7)]
        assert delays == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
        assert queue.retry("b") == 0.05
        queue.forget("a")
        assert queue.retry("a") == 0.05
        for _ in range(2000):
            assert queue.retry("c") <= 30.0

    travel(main())


def test_closing_drops_what_was_asked_for_later() -> None:
    async def main() -> None:
        queue = WorkQueue()
        queue.add_after("a", 10.0)
        queue.close()
        await asyncio.sleep(100)
        assert queue.idle

    travel(main())
