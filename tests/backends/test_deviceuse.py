"""Devices of live tasks: never more parts than a device has, never whole and in parts, whatever comes and goes."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from octopus_hub.backends.deviceuse import DeviceUse, choose
from octopus_hub.backends.local.division import Divisible, divide
from octopus_hub.backends.taskrows import TaskRows, new_row
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.errors import Unavailable
from octopus_hub.model.node import Device, Node
from octopus_hub.model.parts import part_type, split
from octopus_hub.model.task import Task, TaskSpec, TaskState

PARTS = (1, 2, 3, 4)
DEVICES = [f"d{number}" for number in range(3)]


def node(name: str, parts: list[int], healthy: list[bool]) -> Node:
    devices = [
        Device(id=identity, type="gpu", parts=each, healthy=well)
        for identity, each, well in zip(DEVICES, parts, healthy, strict=True)
    ]
    return Node(name=name, capacity=Amounts(), devices=devices)


def spec(number: int, on: str, kind: str, count: int) -> TaskSpec:
    return TaskSpec(
        name=f"t{number}",
        namespace="ada",
        taskset="t",
        taskset_uid="u",
        role="w",
        index=number,
        attempt=1,
        gang_attempt=1,
        node=on,
        hostname="h",
        command=["true"],
        amounts=Amounts(devices={kind: count}),
    )


class Rows(RuleBasedStateMachine):
    """Two declared nodes that name the same real devices, divided anew at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.number, self.rows = 0, TaskRows()
        self.nodes = {name: node(name, [1, 1, 1], [True] * 3) for name in ("a", "b")}

    @rule(
        name=st.sampled_from(["a", "b"]),
        parts=st.lists(st.sampled_from(PARTS), min_size=3, max_size=3),
        healthy=st.lists(st.booleans(), min_size=3, max_size=3),
    )
    def divided(self, name: str, parts: list[int], healthy: list[bool]) -> None:
        self.nodes[name] = node(name, parts, healthy)

    @rule(
        asked=st.lists(
            st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(PARTS), st.integers(1, 5)), min_size=1, max_size=3
        )
    )
    def gang(self, asked: list[tuple[str, int, int]]) -> None:
        """A batch is placed as a whole, or nothing of it."""
        taken, placed = DeviceUse(), []
        for name, parts, count in asked:
            self.number += 1
            task = spec(self.number, name, part_type("gpu", parts), count)
            try:
                devices = self.rows.assign(task, self.nodes[name], taken)
            except Unavailable:
                if not placed:  # else others of the batch may have taken it
                    assert self.left(name, part_type("gpu", parts)) < count, "it was to be had"
                return
            assert [len(ids) for ids in devices.values()] == [count]
            healthy = {device.id for device in self.nodes[name].devices if device.healthy}
            assert healthy.issuperset(next(iter(devices.values())))
            placed.append(new_row(task, devices, 0.0))
        for row in placed:
            self.rows.put(row)

    @precondition(lambda self: self.rows.tasks)
    @rule(data=st.data(), state=st.sampled_from([TaskState.RUNNING, TaskState.FAILED]))
    def told(self, data: st.DataObject, state: TaskState) -> None:
        """A row is put again: it runs, or it has ended (and one that has ended stays so)."""
        row = data.draw(st.sampled_from(list(self.rows.tasks.values())))
        if not row.state.terminal:
            self.rows.put(msgspec.structs.replace(row, state=state))

    @precondition(lambda self: self.rows.tasks)
    @rule(data=st.data())
    def dropped(self, data: st.DataObject) -> None:
        self.rows.drop(data.draw(st.sampled_from(list(self.rows.tasks.values()))))

    @rule()
    def started_again(self) -> None:
        """Another engine reads the rows that were stored."""
        stored, self.rows = self.rows.tasks, TaskRows()
        for row in stored.values():
            self.rows.put(row)

    def live(self) -> list[Task]:
        return [row for row in self.rows.tasks.values() if not row.state.terminal]

    def holders(self) -> dict[str, Counter[str]]:
        """Worked out from the rows alone."""
        found: dict[str, Counter[str]] = {}
        for row in self.live():
            for kind, identities in row.devices.items():
                for identity in identities:
                    found.setdefault(identity, Counter())[kind] += 1
        return found

    def left(self, name: str, kind: str) -> int:
        held = self.holders()
        return sum(
            device.parts - held.get(device.id, Counter())[kind]
            for device in self.nodes[name].devices
            if device.healthy and device.offers == kind and set(held.get(device.id, ())) <= {kind}
        )

    @invariant()
    def shared_rightly(self) -> None:
        for held in self.holders().values():
            ((kind, count),) = held.items()  # whole, or in parts of one size
            assert count <= split(kind)[1]
        assert self.rows.held_as() == {("gpu", identity): next(iter(held)) for identity, held in self.holders().items()}


Rows.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestRows = Rows.TestCase


def test_parts_of_one_task_lie_on_different_devices_where_they_can() -> None:
    devices = [Device(id=identity, type="gpu", parts=4) for identity in ("a", "b")]
    use = DeviceUse()
    use.add({"gpu-1of4": ["a"]})
    assert choose(devices, "gpu-1of4", 1, [use]) == (["b"], 7)
    assert set(choose(devices, "gpu-1of4", 2, [])[0]) == {"a", "b"}
    found, free = choose(devices, "gpu-1of4", 7, [use])
    assert Counter(found) == {"a": 3, "b": 4} and free == 7


def test_why_a_divided_device_gives_no_part_yet() -> None:
    rows, whole = TaskRows(), node("a", [1, 1, 1], [True] * 3)
    task = spec(1, "a", "gpu", 2)
    rows.put(new_row(task, rows.assign(task, whole, DeviceUse()), 0.0))
    with pytest.raises(Unavailable) as caught:
        rows.assign(spec(2, "a", "gpu-1of4", 5), node("a", [4, 4, 4], [True] * 3), DeviceUse())
    assert caught.value.message == (
        "t2 needs 5 gpu-1of4 on a, 4 are free; 8 more would be if they were not held as they were divided before"
    )
    with pytest.raises(Unavailable, match=r"t3 needs 2 gpu on a, 1 are free$"):
        rows.assign(spec(3, "a", "gpu", 2), whole, DeviceUse())


@given(
    st.integers(0, 5),
    st.lists(st.tuples(st.integers(2, 4), st.integers(0, 5)), max_size=3),
    st.dictionaries(st.integers(0, 4), st.sampled_from(["gpu", "gpu-1of2", "gpu-1of3", "gpu-1of4"])),
)
def test_counts_are_kept_and_what_is_held_is_touched_last(
    number: int, asked: list[tuple[int, int]], held: dict[int, str]
) -> None:
    devices = [Device(id=f"d{at}", type="gpu") for at in range(number)]
    divisible = Divisible({"gpu": 4}, {("gpu", f"d{at}"): kind for at, kind in held.items()})
    entries = [{"parts": parts, "count": count} for parts, count in asked]
    if sum(count for _, count in asked) > number:
        with pytest.raises(ValueError, match=r"divide\.gpu\.count: a whole number from 0 to"):
            divide(devices, {"gpu": entries}, divisible)
        return
    found = divide(devices, {"gpu": entries}, divisible)
    assert [device.id for device in found] == [device.id for device in devices], "their order stays"
    wanted = Counter(part_type("gpu", parts) for parts, count in asked for _ in range(count))
    wanted["gpu"] = number - sum(wanted.values())
    assert Counter(device.offers for device in found) == +wanted
    whole = {device.id for device in found if device.parts == 1}
    if len(asked) == 1:
        kind = part_type("gpu", asked[0][0])
        as_held = [f"d{at}" for at, name in held.items() if name == kind and at < number]
        assert not whole.intersection(as_held) or len(as_held) > asked[0][1]
