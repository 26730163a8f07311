"""The contract of every backend, TaskSets: creation, names, keys, compare-and-swap, intents, deletion, watch."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from octopus_hub.backends.base import Gone
from octopus_hub.backends.memory import MemoryBackend
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.errors import Conflict, NotFound, Unavailable
from octopus_hub.model.status import Board, Phase, QueuePlace
from octopus_hub.model.task import Task, TaskState
from octopus_hub.model.taskset import TaskSet
from tests.backends.harness import Harness, take, taskset, with_phase


async def test_created_taskset_has_identity_and_is_listed(harness: Harness) -> None:
    job = await harness.create("job")
    assert job.metadata.uid and job.metadata.version == 1
    assert abs(job.metadata.created_at - harness.clock()) < 60
    listing = await harness.backend.listing()
    assert listing.tasksets == [job]
    assert {node.name for node in listing.nodes} == {"node-a", "node-b"}
    assert [queue.name for queue in listing.queues] == ["default"]
    assert {each.name for each in listing.priorities} == {"low", "normal", "high"}


async def test_what_a_submitter_says_about_identity_is_not_believed(harness: Harness) -> None:
    forged = taskset()
    metadata = type(forged.metadata)(
        name="job",
        namespace="anna",
        uid="mine",
        created_at=1.0,
        version=99,
        stop_requested_at=5.0,
        deletion_requested_at=5.0,
    )
    job = await harness.backend.create(TaskSet(metadata=metadata))
    assert job.metadata.uid != "mine" and job.metadata.created_at > 1.0 and job.metadata.version == 1
    assert job.metadata.stop_requested_at is None and job.metadata.deletion_requested_at is None


async def test_repeated_name_gets_a_suffix_per_namespace(harness: Harness) -> None:
    names = [(await harness.create("job")).name for _ in range(3)]
    assert names == ["job", "job-2", "job-3"]
    assert (await harness.create("job", namespace="ben")).name == "job"


async def test_exact_name_that_is_taken_is_a_conflict(harness: Harness) -> None:
    await harness.create("job")
    with pytest.raises(Conflict, match="job exists already"):
        await harness.create("job", exact_name=True)
    assert (await harness.create("other", exact_name=True)).name == "other"
    assert len((await harness.backend.listing()).tasksets) == 2


async def test_same_key_gives_the_same_taskset(harness: Harness) -> None:
    first = await harness.create("job", key="k1")
    await harness.backend.update_intent(first.metadata.uid, stop=True)
    again = await harness.create("job", key="k1")
    assert again.metadata.uid == first.metadata.uid and again.metadata.stop_requested_at is not None
    assert (await harness.create("job", key="k2")).metadata.uid != first.metadata.uid
    assert (await harness.create("job", namespace="ben", key="k1")).metadata.uid != first.metadata.uid


async def test_two_creators_with_the_same_key_at_once_create_once(harness: Harness) -> None:
    both = await asyncio.gather(*(harness.create("job", key="same") for _ in range(20)))
    assert len({job.metadata.uid for job in both}) == 1
    assert len((await harness.backend.listing()).tasksets) == 1


async def test_key_is_forgotten_after_a_day(harness: Harness) -> None:
    first = await harness.create("job", key="k")
    harness.clock.offset += 25 * 3600
    assert (await harness.create("job", key="k")).metadata.uid != first.metadata.uid
    assert (await harness.create("job", key="k")).name == "job-2"


async def test_clock_set_back_keeps_keys(harness: Harness) -> None:
    first = await harness.create("job", key="k")
    harness.clock.offset -= 10 * 3600
    assert (await harness.create("job", key="k")).metadata.uid == first.metadata.uid


async def test_key_of_a_deleted_taskset_starts_nothing_again(harness: Harness) -> None:
    job = await harness.create("job", key="k")
    await harness.backend.delete(job.metadata.uid)
    with pytest.raises(Conflict, match="deleted"):
        await harness.create("job", key="k")


async def test_status_is_compare_and_swap(harness: Harness) -> None:
    backend = harness.backend
    job = await harness.create()
    uid = job.metadata.uid
    stored = await backend.update_status(uid, with_phase(job.status, Phase.ADMITTED), version=1, epoch=backend.epoch)
    assert (stored.metadata.version, stored.status.phase, stored.status.epoch) == (2, Phase.ADMITTED, backend.epoch)
    with pytest.raises(Conflict, match="changed meanwhile"):
        await backend.update_status(uid, with_phase(job.status, Phase.FAILED), version=1, epoch=backend.epoch)
    with pytest.raises(NotFound):
        await backend.update_status("no such", job.status, version=1, epoch=backend.epoch)
    assert (await backend.listing()).tasksets == [stored]


async def test_a_writer_of_another_epoch_is_refused(harness: Harness) -> None:
    backend = harness.backend
    job = await harness.create()
    for epoch in (backend.epoch - 1, backend.epoch + 1):
        with pytest.raises(Conflict, match="epoch"):
            await backend.update_status(job.metadata.uid, with_phase(job.status, Phase.FAILED), version=1, epoch=epoch)
    assert (await backend.listing()).tasksets == [job]


async def test_every_opening_is_a_later_epoch(harness: Harness) -> None:
    job = await harness.create()
    before = harness.backend.epoch
    await harness.backend.close()
    if harness.kind == "local":  # what is in memory does not outlive its backend
        harness.backend = harness.make()
    await harness.backend.open()
    assert harness.backend.epoch > before >= 1
    with pytest.raises(Conflict, match="epoch"):
        await harness.backend.update_status(
            job.metadata.uid, with_phase(job.status, Phase.ADMITTED), version=1, epoch=before
        )
    assert (await harness.backend.listing()).tasksets == [job]


async def test_time_is_the_backends(harness: Harness) -> None:
    harness.clock.offset = -1000.0
    assert await harness.backend.now() == pytest.approx(harness.clock(), abs=60)


async def test_status_written_twice_changes_once(harness: Harness) -> None:
    backend = harness.backend
    job = await harness.create()
    status = with_phase(job.status, Phase.ADMITTED)
    first = await backend.update_status(job.metadata.uid, status, version=1, epoch=backend.epoch)
    revision = (await backend.listing()).revision
    again = await backend.update_status(job.metadata.uid, status, version=2, epoch=backend.epoch)
    assert again == first and (await backend.listing()).revision == revision


async def test_intents_are_set_once_and_refuse_stale_statuses(harness: Harness) -> None:
    backend = harness.backend
    job = await harness.create()
    uid = job.metadata.uid
    stopped = await backend.update_intent(uid, stop=True)
    harness.clock.offset += 100
    again = await backend.update_intent(uid, stop=True, delete=True)
    assert again.metadata.stop_requested_at == stopped.metadata.stop_requested_at is not None
    assert again.metadata.deletion_requested_at == pytest.approx(harness.clock(), abs=60)
    assert (await backend.update_intent(uid, stop=True, delete=True)) == again
    held = await backend.update_intent(uid, hold=True)
    assert held.spec.hold and not (await backend.update_intent(uid, hold=False)).spec.hold
    with pytest.raises(Conflict):  # the wish came in between: the controller has to look again
        await backend.update_status(uid, with_phase(job.status, Phase.ADMITTED), version=1, epoch=backend.epoch)
    with pytest.raises(NotFound):
        await backend.update_intent("no such", stop=True)


async def test_wished_sizes_are_kept_with_their_time(harness: Harness) -> None:
    backend = harness.backend
    uid = (await harness.create()).metadata.uid
    wished = await backend.update_intent(uid, sizes={"worker": 3})
    assert wished.metadata.sizes == {"worker": 3}
    assert wished.metadata.scaled_at == pytest.approx(harness.clock(), abs=60)
    harness.clock.offset += 100
    assert await backend.update_intent(uid, sizes={"worker": 3}) == wished, "the same wish again"
    back = await backend.update_intent(uid, sizes={})
    assert back.metadata.sizes == {} and (back.metadata.scaled_at or 0) > (wished.metadata.scaled_at or 0)


@pytest.mark.parametrize("same", [True, False], ids=["one key", "different keys"])
async def test_submitters_at_once(harness: Harness, same: bool) -> None:
    made = await asyncio.gather(*(harness.create(key="k" if same else f"k{n}") for n in range(10)))
    assert len({job.metadata.uid for job in made}) == (1 if same else 10)
    assert len({job.name for job in made}) == len((await harness.backend.listing()).tasksets) == (1 if same else 10)


async def test_a_long_name_is_cut_for_its_suffix(harness: Harness) -> None:
    name = "a" * 40
    await harness.create(name)
    assert (await harness.create(name)).name == "a" * 38 + "-2"


async def test_delete_removes_and_may_be_repeated(harness: Harness) -> None:
    backend = harness.backend
    job = await harness.create()
    (name, _) = [(task.namespace, task.name) for task in await harness.run(job, ["echo", "one"], ["echo", "two"])]
    await backend.delete(job.metadata.uid)
    await backend.delete(job.metadata.uid)
    listing = await backend.listing()
    assert listing.tasksets == [] and listing.tasks == []
    assert await harness.log(name) == b""
    assert (await harness.create()).name == "job"


async def test_delete_is_refused_while_a_task_lives(harness: Harness) -> None:
    job = await harness.create()
    await harness.started(job, ["sleep", "1000"])
    with pytest.raises(Conflict, match="has not ended"):
        await harness.backend.delete(job.metadata.uid)
    assert len((await harness.backend.listing()).tasks) == 1


async def test_a_name_used_again_shares_nothing_with_the_first(harness: Harness) -> None:
    first = await harness.create()
    await harness.run(first, ["echo", "first"])
    await harness.backend.delete(first.metadata.uid)
    second = await harness.create()
    (task,) = await harness.run(second, ["echo", "second"])
    assert task.taskset_uid == second.metadata.uid != first.metadata.uid
    assert await harness.log((task.namespace, task.name)) == b"second\n"


async def test_watch_tells_every_change_in_order(harness: Harness) -> None:
    backend = harness.backend
    start = (await backend.listing()).revision
    job = await harness.create()
    admitted = await backend.update_status(
        job.metadata.uid, with_phase(job.status, Phase.ADMITTED), version=1, epoch=backend.epoch
    )
    await backend.delete(job.metadata.uid)
    changes = await take(backend.watch(start), 3)
    assert [(change.type, change.object) for change in changes] == [
        ("put", job),
        ("put", admitted),
        ("deleted", admitted),
    ]
    assert [change.revision for change in changes] == [start + 1, start + 2, start + 3]
    assert (await take(backend.watch(start + 2), 1))[0] == changes[2]


async def test_watch_from_a_listing_misses_nothing_while_it_waits(harness: Harness) -> None:
    backend = harness.backend
    listing = await backend.listing()
    watching = asyncio.create_task(take(backend.watch(listing.revision), 2))
    await asyncio.sleep(0)
    jobs = [await harness.create(f"job{n}") for n in range(2)]
    assert [change.object for change in await watching] == jobs


async def test_unknown_revisions_are_gone(harness: Harness) -> None:
    revision = (await harness.backend.listing()).revision
    for asked in (-1, 0, revision + 1):
        with pytest.raises(Gone):
            await take(harness.backend.watch(asked), 1)


async def test_a_watcher_that_is_too_slow_is_dropped_and_slows_nobody() -> None:
    backend = MemoryBackend(kept_changes=10)
    revision = (await backend.listing()).revision
    slow, quick = backend.watch(revision), backend.watch(revision)
    for number in range(30):
        await backend.create(taskset(f"job{number}"))
        if number % 5 == 4:
            assert [change.object.name for change in await take(quick, 5)] == [
                f"job{n}" for n in range(number - 4, number + 1)
            ]  # type: ignore[union-attr]
    with pytest.raises(Gone):
        await take(slow, 1)


async def test_closing_ends_a_watch(harness: Harness) -> None:
    backend = harness.backend
    watching = asyncio.create_task(take(backend.watch((await backend.listing()).revision), 1))
    await asyncio.sleep(0)
    await backend.close()
    with pytest.raises(Unavailable):
        await watching
    harness.backend = harness.make()
    await harness.backend.open()


async def test_board_is_told_when_it_changes_only(harness: Harness) -> None:
    backend = harness.backend
    place = QueuePlace(
        uid="u", place=1, code="NoFit", message="needs 4 gpu, 2 are free", need=Amounts(devices={"gpu": 4})
    )
    board = Board(queue="default", at=1.0, places=[place])
    await backend.put_board(board)
    listing = await backend.listing()
    assert listing.boards == [board]
    await backend.put_board(Board(queue="default", at=2.0, places=[place]))
    assert (await backend.listing()).revision == listing.revision
    await backend.put_board(Board(queue="default", at=3.0))
    assert (await backend.listing()).boards == [Board(queue="default", at=3.0)]


async def test_observed_tasks_reach_the_watch(harness: Harness) -> None:
    job = await harness.create()
    start = (await harness.backend.listing()).revision
    await harness.run(job, ["true"])
    seen: list[Any] = []
    async for change in harness.backend.watch(start):
        assert isinstance(change.object, Task)
        seen.append(change.object.state)
        if change.object.state.terminal:
            break
    # Level, not edge: a busy machine may join two observations, but never turns them round.
    order = [TaskState.PENDING, TaskState.BOUND, TaskState.RUNNING, TaskState.SUCCEEDED]
    assert seen[0] is TaskState.PENDING and seen[-1] is TaskState.SUCCEEDED
    assert [order.index(state) for state in seen] == sorted(order.index(state) for state in seen)
