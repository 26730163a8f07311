"""The cache: assumed and stale rows, replacing by a listing, and usage equal to a slow, obvious recount."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octopus_hub.backends.base import Change, Listing
from octopus_hub.backends.memory import MemoryBackend, node
from octopus_hub.control.cache import Cache
from octopus_hub.control.gangs import running_gang
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.node import Device, Node
from octopus_hub.model.queue import Queue
from octopus_hub.model.status import Board, Phase, QueuePlace, Span, Status
from octopus_hub.model.task import Task, TaskState
from octopus_hub.model.taskset import Metadata, Role, Spec, TaskSet
from tests.control.played import held

replace = msgspec.structs.replace


def taskset(uid: str = "u1", version: int = 1, phase: Phase = Phase.QUEUED, **status: Any) -> TaskSet:
    role = Role("w", replicas=2, cpu="500m", memory="1Gi", devices={"gpu": 1})
    return TaskSet(
        metadata=Metadata(name=f"job-{uid}", namespace="anna", owner="anna", uid=uid, version=version),
        spec=Spec(roles=[role, Role("ps")], queue="default"),
        status=Status(phase=phase, **status),
    )


def task(uid: str = "u1", index: int = 0, state: TaskState = TaskState.RUNNING, **fields: Any) -> Task:
    names = {"name": f"job-{uid}-w-{index}-1", "namespace": "anna", "taskset": f"job-{uid}", "node": "n1", **fields}
    return Task(taskset_uid=uid, role="w", index=index, attempt=1, state=state, **names)


def put(*items: Any) -> Cache:
    cache = Cache()
    for number, item in enumerate(items):
        assert cache.apply(Change(revision=number + 1, type="put", object=item))
    return cache


def gone(item: Any, revision: int = 99) -> Change:
    return Change(revision=revision, type="deleted", object=item)


PLACES = {"w": [Span(node="n1", first=0, count=2)], "ps": [Span(node="n2", first=0, count=1)]}


# --- rows


def test_an_assumed_write_is_seen_at_once_and_its_change_later_says_nothing_new() -> None:
    cache, told = put(taskset()), []
    cache.subscribe(told.append)
    admitted = taskset(version=2, phase=Phase.ADMITTED, placement=PLACES)
    cache.assume(admitted)
    assert cache.tasksets["u1"] is admitted and cache.snapshot().usage.nodes["n1"].devices == {"gpu": 2}
    assert not cache.apply(Change(revision=5, type="put", object=admitted))
    assert len(told) == 1


def test_an_older_version_that_comes_late_is_not_believed() -> None:
    cache = put(taskset(version=3, phase=Phase.ADMITTED, placement=PLACES))
    assert not cache.apply(Change(revision=9, type="put", object=taskset(version=2)))
    assert cache.tasksets["u1"].status.phase is Phase.ADMITTED


def test_a_name_leads_to_its_latest_owner() -> None:
    first, second = taskset("u1"), replace(taskset("u2"), metadata=replace(taskset("u2").metadata, name="job-u1"))
    cache = put(first, second)
    assert cache.by_key["anna", "job-u1"] == "u2"
    cache.apply(gone(first))
    assert cache.by_key["anna", "job-u1"] == "u2" and cache.tasksets == {"u2": second}
    assert not cache.apply(gone(first)), "told twice"


def test_tasks_of_a_taskset() -> None:
    rows = [task(index=0), task(index=1), task("u2")]
    cache = put(taskset(), taskset("u2"), *rows)
    assert cache.tasks_of("u1") == rows[:2] and cache.tasks_of("no such") == []
    cache.apply(gone(rows[0]))
    assert cache.tasks_of("u1") == [rows[1]]


def test_a_name_used_again_whose_deletion_was_not_seen() -> None:
    old, new = task("u1"), replace(task("u2"), name=task("u1").name)
    cache = put(taskset(), old, taskset("u2"), new)
    assert cache.tasks_of("u1") == [] and cache.tasks_of("u2") == [new]
    assert cache.tasks == {("anna", old.name): new}


def test_places_of_a_board_are_of_those_that_wait() -> None:
    place = QueuePlace(uid="u1", place=1, code="NoFit", message="needs 2 gpu, 0 are free")
    cache = put(taskset(), Board(queue="default", places=[place]))
    assert cache.place_of("u1") == place and cache.place_of("u2") is None
    cache.apply(Change(revision=9, type="put", object=taskset(version=2, phase=Phase.ADMITTED)))
    assert cache.place_of("u1") is None
    cache.apply(Change(revision=10, type="put", object=Board(queue="default")))
    cache.apply(Change(revision=11, type="put", object=taskset(version=3)))
    assert cache.place_of("u1") is None


def test_subscribers_are_told_until_they_have_enough() -> None:
    cache, told = put(), []
    end = cache.subscribe(told.append)
    change = Change(revision=1, type="put", object=taskset())
    cache.apply(change)
    end()
    end()
    cache.apply(gone(taskset()))
    assert told == [change]


# --- listings


def test_a_new_listing_tells_only_what_differs() -> None:
    kept, changed, lost = taskset("u1"), taskset("u2"), taskset("u3")
    cache = put(
        node("n1"), node("n2"), Queue(name="default"), Queue(name="old"), kept, changed, lost, task(), task("u3")
    )
    later = taskset("u2", version=2, phase=Phase.ADMITTED, placement=PLACES)
    listing = Listing(
        revision=50,
        tasksets=[kept, later],
        tasks=[task(), task("u2")],
        nodes=[node("n1"), node("n2", gpu=4)],
        queues=[Queue(name="default")],
    )
    told: list[Change] = []
    cache.subscribe(told.append)
    changes = cache.replace(listing)
    assert changes == told
    assert [(change.type, change.object) for change in changes] == [
        ("deleted", task("u3")),
        ("deleted", lost),
        ("deleted", Queue(name="old")),
        ("put", node("n2", gpu=4)),
        ("put", later),
        ("put", task("u2")),
    ]
    assert cache.revision == 50 and cache.replace(listing) == []


def test_a_listing_of_nothing_leaves_nothing() -> None:
    cache = put(node("n1"), Queue(name="default"), taskset(phase=Phase.RUNNING, placement=PLACES), task())
    cache.replace(Listing(revision=3))
    assert not cache.tasksets and not cache.tasks and not cache.nodes and not cache.queues and not cache.by_key
    assert all(not any(each.values()) for each in _figures(cache))


# --- nodes


def test_broken_devices_and_closed_nodes_offer_nothing() -> None:
    whole = node("n1", gpu=3)
    broken = [replace(device, healthy=number > 0) for number, device in enumerate(whole.devices)]
    other = Device(id="x", type="fpga", healthy=False)
    cache = put(
        replace(whole, devices=[*broken, other]),
        replace(node("n2"), ready=False),
        replace(node("n0"), schedulable=False),
        node("n3", gpu=1),
    )
    views = cache.snapshot().nodes
    assert [(view.name, view.usable) for view in views] == [("n0", False), ("n1", True), ("n2", False), ("n3", True)]
    assert [view.capacity.devices.get("gpu", 0) for view in views] == [0, 2, 0, 1]
    cache.apply(Change(revision=9, type="put", object=whole))
    assert cache.snapshot().nodes[1].capacity == whole.capacity


def test_a_node_that_is_gone_is_not_seen() -> None:
    cache = put(node("n1"), node("n2"))
    cache.snapshot()
    cache.apply(gone(node("n1")))
    assert [view.name for view in cache.snapshot().nodes] == ["n2"]


# --- usage


def _figures(cache: Cache) -> list[dict[Any, Any]]:
    usage = cache.snapshot().usage
    return [
        {key: amounts for key, amounts in table.items() if amounts != Amounts()}
        for table in (usage.nodes, usage.queues, usage.users)
    ]


def _recounted(cache: Cache) -> list[dict[Any, Any]]:
    nodes: dict[Any, Amounts] = {}
    queues: dict[Any, Amounts] = {}
    users: dict[Any, Amounts] = {}
    for each in cache.tasksets.values():
        rows = [row for row in cache.tasks.values() if row.taskset_uid == each.metadata.uid]
        for name, amounts in held(each, rows).items():
            for table, key in (
                (nodes, name),
                (queues, each.spec.queue),
                (users, (each.spec.queue, each.metadata.owner)),
            ):
                table[key] = table.get(key, Amounts()).plus(amounts)
    return [nodes, queues, users]


def test_what_is_held_by_phase() -> None:
    """An admitted gang holds its places until it has ended; one that went back holds what is not gone yet."""
    two = Amounts(cpu_millis=1000, memory_bytes=2 << 30, devices={"gpu": 2})
    one = Amounts(cpu_millis=500, memory_bytes=1 << 30, devices={"gpu": 1})
    for phase in Phase:
        cache = put(taskset(phase=phase, placement=PLACES), task(index=0), task(index=1, state=TaskState.SUCCEEDED))
        expected = one if phase.waiting or phase.terminal else two
        assert cache.snapshot().usage.nodes["n1"] == expected, phase


_states = st.sampled_from(list(TaskState))
_changes = st.one_of(
    st.tuples(st.just("taskset"), st.integers(0, 3), st.sampled_from(list(Phase)), st.integers(0, 2)),
    st.tuples(st.just("task"), st.integers(0, 3), st.integers(0, 2), _states),
    st.tuples(st.just("drop taskset"), st.integers(0, 3)),
    st.tuples(st.just("drop task"), st.integers(0, 3), st.integers(0, 2)),
    st.tuples(st.just("assume"), st.integers(0, 3), st.sampled_from(list(Phase)), st.integers(0, 2)),
    st.tuples(st.just("stale"), st.integers(0, 3)),
    st.tuples(st.just("list again"), st.integers(0, 15)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_changes, max_size=40))
def test_usage_is_what_a_recount_gives_after_any_changes(changes: list[tuple[Any, ...]]) -> None:
    cache, versions = Cache(), dict.fromkeys(range(4), 0)

    def made(number: int, phase: Phase, spread: int) -> TaskSet:
        versions[number] += 1
        places = {"w": [Span(node=f"n{spread}", first=0, count=1), Span(node="n9", first=1, count=1)]}
        found = taskset(f"u{number}", versions[number], phase, placement=places)
        return replace(found, metadata=replace(found.metadata, owner="anna" if number % 2 else "ben"))

    for revision, (kind, *rest) in enumerate(changes):
        if kind == "taskset":
            cache.apply(Change(revision=revision, type="put", object=made(*rest)))
        elif kind == "assume":
            cache.assume(made(*rest))
        elif kind == "stale":
            cache.apply(Change(revision=revision, type="put", object=taskset(f"u{rest[0]}", 0, Phase.RUNNING)))
        elif kind == "task":
            row = task(f"u{rest[0]}", rest[1], rest[2], node=f"n{rest[1]}")
            cache.apply(Change(revision=revision, type="put", object=row))
        elif kind == "drop taskset":
            cache.apply(gone(taskset(f"u{rest[0]}"), revision))
        elif kind == "drop task":
            cache.apply(gone(task(f"u{rest[0]}", rest[1]), revision))
        else:
            kept = [each for n, each in enumerate(cache.tasksets.values()) if rest[0] >> n & 1]
            uids = {each.metadata.uid for each in kept}
            rows = [each for each in cache.tasks.values() if each.taskset_uid in uids]
            cache.replace(Listing(revision=revision, tasksets=kept, tasks=rows))
        if not any(row.taskset_uid not in cache.tasksets for row in cache.tasks.values()):
            assert _figures(cache) == _recounted(cache)
    assert _figures(cache) == _recounted(cache)
    rendered = {uid: running_gang(each, cache.tasks_of(uid), cache.priorities) for uid, each in cache.tasksets.items()}
    assert cache.snapshot().running == {uid: gang for uid, gang in rendered.items() if gang is not None}


async def test_a_cache_that_follows_a_backend_equals_its_listing() -> None:
    backend, cache = MemoryBackend(auto=True), Cache()
    cache.replace(await backend.listing())

    async def follow() -> None:
        async for change in backend.watch(cache.revision):
            cache.apply(change)

    following = asyncio.create_task(follow())
    for number in range(5):
        await backend.create(taskset(f"x{number}"))
    listing = await backend.listing()
    async with asyncio.timeout(20):
        while cache.revision < listing.revision:  # noqa: ASYNC110 - the cache has no event
            await asyncio.sleep(0)
    following.cancel()
    assert list(cache.tasksets.values()) == listing.tasksets and list(cache.nodes.values()) == listing.nodes


@pytest.mark.parametrize(
    "odd", [Node(name="n1", capacity=Amounts(devices={"gpu": 0}), devices=[Device(id="g", type="gpu", healthy=False)])]
)
def test_a_node_never_offers_less_than_nothing(odd: Node) -> None:
    assert put(odd).snapshot().nodes[0].capacity.devices["gpu"] == 0
