"""The contract of every backend, tasks: addresses, all or none, devices, barrier, ends, stops, logs, outputs."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from octopus_hub.model.errors import Conflict, InvalidSpec, NotFound, OctopusError, Unavailable
from octopus_hub.model.status import Phase
from octopus_hub.model.task import Address, Task, TaskState
from tests.backends.harness import Harness, chunks, spec, with_phase

PAIR = [("w", 0), ("w", 1)]


# --- addresses


async def test_addresses_stay_the_same_until_the_end(harness: Harness) -> None:
    backend = harness.backend
    job = await harness.create()
    first = await backend.reserve(job, PAIR, {"w": ["main", "board"]})
    assert set(first) == set(PAIR) and all(set(address.ports) == {"main", "board"} for address in first.values())
    assert await backend.reserve(job, PAIR, {"w": ["main", "board"]}) == first
    assert await backend.reserve(job, [("w", 1)], {"w": ["main"]}) == {("w", 1): first["w", 1]}
    wider = await backend.reserve(job, [*PAIR, ("ps", 0)], {"w": ["main", "board"], "ps": ["main"]})
    assert {member: wider[member] for member in PAIR} == first and set(wider["ps", 0].ports) == {"main"}


async def test_no_port_is_given_twice(harness: Harness) -> None:
    given: list[int] = []
    for number in range(10):
        job = await harness.create(f"job{number}")
        addresses = await harness.backend.reserve(job, PAIR, {"w": ["a", "b"]})
        given += [port for address in addresses.values() for port in address.ports.values()]
    assert len(set(given)) == 40


async def test_ports_come_free_when_the_taskset_ends(harness: Harness) -> None:
    backend = harness.backend
    ended, deleted = await harness.create("ended"), await harness.create("deleted")
    for job in (ended, deleted):
        await backend.reserve(job, [("w", index) for index in range(4000)], {"w": ["main"]})
    other = await harness.create("other")
    big = [("w", index) for index in range(6000)]
    with pytest.raises(Unavailable, match="of 6000 ports"):
        await backend.reserve(other, big, {"w": ["main"]})
    await backend.update_status(
        ended.metadata.uid, with_phase(ended.status, Phase.STOPPED), version=1, epoch=backend.epoch
    )
    await backend.delete(deleted.metadata.uid)
    assert len(await backend.reserve(other, big, {"w": ["main"]})) == 6000


async def test_members_without_ports_have_an_address(harness: Harness) -> None:
    job = await harness.create()
    assert await harness.backend.reserve(job, PAIR, {}) == {member: Address(host="127.0.0.1") for member in PAIR}


async def test_addresses_of_an_unknown_taskset_are_refused(harness: Harness) -> None:
    job = await harness.create()
    await harness.backend.delete(job.metadata.uid)
    with pytest.raises(NotFound):
        await harness.backend.reserve(job, PAIR, {"w": ["main"]})


# --- creation


async def test_no_user_code_runs_before_the_barrier_opens(harness: Harness) -> None:
    job = await harness.create()
    names = await harness.bound(job, ["echo", "zero"], ["echo", "one"])
    rows = [await harness.task(*name) for name in names]
    assert [row.state for row in rows] == [TaskState.BOUND] * 2
    assert all(row.bound_at and row.started_at is None for row in rows)
    assert [await harness.log(name) for name in names] == [b"", b""]
    await harness.backend.release(names)
    ended = await harness.wait(*names)
    assert [(task.state, task.exit_code) for task in ended] == [(TaskState.SUCCEEDED, 0)] * 2
    assert [await harness.log(name) for name in names] == [b"zero\n", b"one\n"]


async def test_creating_and_releasing_twice_runs_once(harness: Harness) -> None:
    job = await harness.create()
    specs = [spec(job, index, ["echo", "once"], devices={"virtual": 1}) for index in range(2)]
    names = [(each.namespace, each.name) for each in specs]
    await harness.backend.create_tasks(specs)
    rows = (await harness.backend.listing()).tasks
    await harness.backend.create_tasks(specs)
    await asyncio.gather(*(harness.backend.create_tasks(specs) for _ in range(5)))
    assert [row.devices for row in (await harness.backend.listing()).tasks] == [row.devices for row in rows]
    await harness.wait(*names, states=(TaskState.BOUND,))
    await harness.backend.release(names)
    await harness.backend.release(names)
    await harness.wait(*names)
    await harness.backend.create_tasks(specs)
    assert [(await harness.task(*name)).state for name in names] == [TaskState.SUCCEEDED] * 2
    assert [await harness.log(name) for name in names] == [b"once\n"] * 2


async def test_devices_are_assigned_once(harness: Harness) -> None:
    one, two = await harness.create("one"), await harness.create("two")
    names = await harness.bound(one, ["true"], ["true"], devices={"virtual": 1})
    names += await harness.bound(two, ["true"], devices={"virtual": 2})
    held = [identity for name in names for identity in (await harness.task(*name)).devices["virtual"]]
    assert len(held) == len(set(held)) == 4
    three = await harness.create("three")
    with pytest.raises(Unavailable, match="needs 1 virtual on node-a, 0 are free"):
        await harness.backend.create_tasks([spec(three, 0, ["true"], devices={"virtual": 1})])
    await harness.backend.release(names[:1])
    await harness.wait(names[0])
    (row,) = await harness.run(three, ["true"], devices={"virtual": 1})
    assert row.devices == (await harness.task(*names[0])).devices


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ({"devices": {"virtual": 5}}, Unavailable),
        ({"devices": {"tpu": 1}}, Unavailable),
        ({"node": "node-gone"}, Unavailable),
        ({"secrets": {"TOKEN": "no-such"}}, NotFound),
        ({"taskset_uid": "no-such"}, NotFound),
    ],
    ids=["too many devices", "unknown device", "unknown node", "unknown secret", "unknown TaskSet"],
)
async def test_all_tasks_are_created_or_none(
    harness: Harness, broken: dict[str, object], error: type[OctopusError]
) -> None:
    job = await harness.create()
    good = spec(job, 0, ["true"], devices={"virtual": 4})
    others = {name: value for name, value in broken.items() if name != "devices"}
    bad = msgspec.structs.replace(spec(job, 1, ["true"], devices=broken.get("devices", {})), **others)  # type: ignore[arg-type]
    revision = (await harness.backend.listing()).revision
    with pytest.raises(error):
        await harness.backend.create_tasks([good, bad])
    listing = await harness.backend.listing()
    assert listing.tasks == [] and listing.revision == revision
    await harness.run(job, ["true"], devices={"virtual": 4})  # nothing of the refused gang holds a device


async def test_a_task_named_twice_in_one_gang_is_refused(harness: Harness) -> None:
    job = await harness.create()
    with pytest.raises(InvalidSpec, match="twice"):
        await harness.backend.create_tasks([spec(job, 0, ["true"])] * 2)
    assert (await harness.backend.listing()).tasks == []


async def test_a_name_whose_task_never_ran_can_be_used_again(harness: Harness) -> None:
    """A withdrawn gang attempt does not count: its successor has the same task names."""
    job = await harness.create()
    names = await harness.bound(job, ["echo", "first"], ["echo", "first"], devices={"virtual": 1})
    await harness.backend.stop_tasks(names, 0.0, "Stopped")
    await harness.wait(*names)
    await harness.backend.delete_tasks(names)
    assert (await harness.backend.listing()).tasks == []
    again = await harness.bound(job, ["echo", "second"], ["echo", "second"], devices={"virtual": 1})
    assert again == names
    assert [(await harness.task(*name)).state for name in names] == [TaskState.BOUND] * 2
    await harness.backend.release(names)
    assert [task.state for task in await harness.wait(*names)] == [TaskState.SUCCEEDED] * 2
    assert [await harness.log(name) for name in names] == [b"second\n"] * 2


async def test_releasing_what_is_not_there_changes_nothing(harness: Harness) -> None:
    job = await harness.create()
    (ended,) = await harness.run(job, ["true"])
    revision = (await harness.backend.listing()).revision
    await harness.backend.release([("anna", "no-such-w-0-1"), ("ben", ended.name), ("anna", ended.name)])
    await harness.backend.stop_tasks([("ben", ended.name)], 0.0, "Stopped")
    listing = await harness.backend.listing()
    assert listing.tasks == [ended] and listing.revision == revision


async def test_a_task_of_another_taskset_by_that_name_is_a_conflict(harness: Harness) -> None:
    job, other = await harness.create(), await harness.create("other")
    await harness.bound(job, ["true"])
    forged = msgspec.structs.replace(spec(job, 0, ["true"]), taskset_uid=other.metadata.uid)
    with pytest.raises(Conflict, match="another TaskSet"):
        await harness.backend.create_tasks([forged])


# --- ends


async def test_a_failing_task_says_its_exit_code(harness: Harness) -> None:
    job = await harness.create()
    good, bad = await harness.run(job, ["true"], ["false"])
    assert (good.state, good.exit_code) == (TaskState.SUCCEEDED, 0)
    assert (bad.state, bad.exit_code, bad.end_reason) == (TaskState.FAILED, 1, "")
    assert bad.finished_at is not None and bad.started_at is not None and bad.finished_at >= bad.started_at


async def test_stopping_ends_running_waiting_and_ended_tasks(harness: Harness) -> None:
    job = await harness.create()
    names = await harness.bound(job, ["sleep", "1000"], ["true"], ["sleep", "1000"])
    await harness.backend.release(names[:2])
    await harness.wait(names[1])
    await harness.wait(names[0], states=(TaskState.RUNNING,))
    await harness.backend.stop_tasks([*names, ("anna", "no-such-w-0-1")], 5.0, "Stopped")
    running, ended, waiting = await harness.wait(*names)
    assert (running.state, running.end_reason) == (TaskState.FAILED, "Stopped")
    assert (waiting.state, waiting.end_reason, waiting.started_at) == (TaskState.FAILED, "Stopped", None)
    assert (ended.state, ended.end_reason) == (TaskState.SUCCEEDED, "")
    await harness.backend.stop_tasks(names, 5.0, "Preempted")
    assert [task.end_reason for task in await harness.wait(*names)] == ["Stopped", "", "Stopped"]


async def test_rows_of_ended_tasks_can_be_forgotten_their_logs_stay(harness: Harness) -> None:
    job = await harness.create()
    (first,) = await harness.run(job, ["echo", "first"])
    name = (first.namespace, first.name)
    await harness.backend.delete_tasks([name, ("anna", "no-such-w-0-1")])
    assert (await harness.backend.listing()).tasks == []
    assert await harness.log(name) == b"first\n"
    second = spec(job, 0, ["echo", "second"], attempt=2)
    await harness.backend.create_tasks([second])
    await harness.wait((second.namespace, second.name), states=(TaskState.BOUND,))
    with pytest.raises(Conflict, match="has not ended"):
        await harness.backend.delete_tasks([(second.namespace, second.name)])


# --- logs and outputs


async def test_logs_from_an_offset_and_from_the_end(harness: Harness) -> None:
    job = await harness.create()
    (task,) = await harness.run(job, ["echo", "0123456789"])
    name = (task.namespace, task.name)
    assert await harness.log(name, offset=4) == b"456789\n"
    assert await harness.log(name, offset=-4) == b"789\n"
    assert await harness.log(name, follow=True) == b"0123456789\n"
    assert await harness.log(("anna", "no-such-w-0-1"), follow=True) == b""
    assert await harness.log(("ben", task.name)) == b""


async def test_following_a_log_ends_with_the_task(harness: Harness) -> None:
    job = await harness.create()
    (name,) = await harness.started(job, ["sleep", "1000"])
    await harness.wait(name, states=(TaskState.RUNNING,))
    following = asyncio.create_task(harness.log(name, follow=True))
    await asyncio.sleep(0)
    await harness.backend.stop_tasks([name], 0.0, "Stopped")
    async with asyncio.timeout(60):
        assert await following == b""


async def test_outputs_become_blobs(harness: Harness) -> None:
    job = await harness.create()
    (name,) = await harness.bound(job, ["true"])
    await harness.leave(name, "out/a.csv", b"1,2\n")
    await harness.leave(name, "out/b.txt", b"no")
    await harness.backend.release([name])
    await harness.wait(name)
    for _ in range(2):
        (found,) = await harness.backend.collect_outputs(*name, ["out/*.csv"])
        assert (found.path, found.size) == ("out/a.csv", 4)
        assert (await harness.backend.blob_path(found.digest)).read_bytes() == b"1,2\n"
    assert await harness.backend.collect_outputs("anna", "no-such-w-0-1", ["**"]) == []


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], ["outputs/always"]),
        (["*.csv"], ["a.csv", "outputs/always"]),
        (["**/*.csv"], ["a.csv", "out/b.csv", "out/deep/c.csv", "outputs/always"]),
        (["out/?.csv", "out/deep"], ["out/b.csv", "out/deep/c.csv", "outputs/always"]),
        (["../*", "/etc/passwd", "nothing"], ["outputs/always"]),
    ],
    ids=["none named", "a star", "two stars", "a folder", "outside"],
)
async def test_patterns_of_outputs(harness: Harness, patterns: list[str], expected: list[str]) -> None:
    job = await harness.create()
    (name,) = await harness.bound(job, ["true"])
    for path in ("a.csv", "out/b.csv", "out/deep/c.csv", "out/d.txt", "outputs/always"):
        await harness.leave(name, path, path.encode())
    await harness.backend.release([name])
    await harness.wait(name)
    found = await harness.backend.collect_outputs(*name, patterns)
    assert [each.path for each in found] == expected
    assert [(await harness.backend.blob_path(each.digest)).read_text() for each in found] == expected


async def test_a_workspace_blob_that_is_missing_is_told(harness: Harness) -> None:
    digest = await harness.backend.put_blob(chunks(b"x"), limit=10)
    missing = "sha256:" + "0" * 64
    job = await harness.create()
    await harness.backend.blob_path(digest)
    with pytest.raises(NotFound, match="no blob"):
        await harness.backend.create_tasks([spec(job, 0, ["true"], workspace=missing)])
    assert (await harness.backend.listing()).tasks == []


async def test_tasks_of_two_namespaces_with_one_name_are_two(harness: Harness) -> None:
    anna, ben = await harness.create(), await harness.create(namespace="ben")
    (hers,) = await harness.run(anna, ["echo", "anna"])
    (his,) = await harness.run(ben, ["echo", "ben"])
    assert isinstance(hers, Task) and hers.name == his.name and hers.taskset_uid != his.taskset_uid
    assert await harness.log(("anna", hers.name)) == b"anna\n"
    assert await harness.log(("ben", his.name)) == b"ben\n"
