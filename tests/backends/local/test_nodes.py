"""Nodes of one machine: real devices, virtual nodes, declared nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from octopus_hub.backends.local.division import Divisible
from octopus_hub.backends.local.nodes import machine, nodes
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.node import Device

GIB = 1 << 30
MACHINE = Amounts(cpu_millis=16000, memory_bytes=30 * GIB)
GPUS = [Device(id=f"GPU-{number}", type="gpu", model="A100", memory_bytes=40 * GIB) for number in range(2)]


def test_a_machine_with_devices_is_one_node() -> None:
    (node,) = nodes(None, lambda: GPUS, MACHINE)
    assert node.capacity == Amounts(cpu_millis=16000, memory_bytes=30 * GIB, devices={"gpu": 2})
    assert node.devices == GPUS


def test_a_machine_without_is_two_virtual_nodes() -> None:
    left, right = nodes([], list, MACHINE)
    assert (left.name, right.name) == ("node-a", "node-b")
    assert left.capacity == Amounts(cpu_millis=8000, memory_bytes=15 * GIB, devices={"virtual": 4})
    assert len({device.id for device in left.devices + right.devices}) == 8


def test_a_small_machine_still_runs_the_examples() -> None:
    left, _ = nodes(None, list, Amounts(cpu_millis=2000, memory_bytes=3 * GIB))
    assert left.capacity.cpu_millis == 4000


def test_this_machine(tmp_path: Path) -> None:
    assert machine().cpu_millis >= 1000 and machine().memory_bytes > 0
    (tmp_path / "meminfo").write_text("MemTotal:        8388608 kB\n")
    assert machine(tmp_path).memory_bytes == 7 * GIB
    (tmp_path / "meminfo").write_text("MemTotal:        1048576 kB\n")
    assert machine(tmp_path).memory_bytes == GIB // 2


def test_declared_nodes() -> None:
    declared = [
        {
            "name": "big",
            "cpu": 8,
            "memory": "16Gi",
            "devices": {"gpu": "discover"},
            "labels": {"rack": 1},
            "taints": ["course=ml", "old"],
        },
        {"name": "small", "devices": {"virtual": 2, "npu": 1}},
    ]
    big, small = nodes(declared, lambda: GPUS, MACHINE)
    assert big.capacity == Amounts(cpu_millis=8000, memory_bytes=16 * GIB, devices={"gpu": 2})
    assert big.labels == {"kubernetes.io/hostname": "big", "rack": "1"}
    assert big.taints == ["course=ml", "old"]
    assert small.capacity == Amounts(cpu_millis=16000, memory_bytes=30 * GIB, devices={"virtual": 2, "npu": 1})


def test_all_problems_are_told_at_once() -> None:
    declared = [{"nam": "x"}, {"name": ""}, {"name": "a", "devices": {"gpu": -1}}, {"name": "b"}, {"name": "b"}]
    with pytest.raises(InvalidSpec) as caught:
        nodes(declared, list, MACHINE)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "nodes[0]", "nodes[1]", "nodes[2]", "nodes[4].name",
    ]  # fmt: skip


@pytest.mark.parametrize("taints", ["course", ["a b"], ["a=b=c"], [1], ["*"]])
def test_taints_that_no_role_could_name_are_refused(taints: object) -> None:
    with pytest.raises(InvalidSpec) as caught:
        nodes([{"name": "a", "taints": taints}], list, MACHINE)
    assert caught.value.problems == ["nodes[0]: taints: a list of taints, each key or key=value without spaces"]


def divided(divide: object, held: dict[tuple[str, str], str] | None = None, **devices: object) -> list[Device]:
    """Devices of a node that is declared with ``divide``, where GPUs and virtual devices can be divided."""
    entry = {"name": "a", "devices": devices or {"gpu": "discover", "virtual": 2, "npu": 1}, "divide": divide}
    (node,) = nodes([entry], lambda: GPUS, MACHINE, Divisible({"gpu": 48, "virtual": 16}, held or {}))
    counts: dict[str, int] = {}
    for device in node.devices:
        counts[device.offers] = counts.get(device.offers, 0) + device.parts
    assert node.capacity.devices == counts
    return node.devices


def parts(devices: list[Device]) -> dict[str, int]:
    return {device.id: device.parts for device in devices if device.parts > 1}


def test_a_divided_device_is_offered_in_parts_and_no_more_as_a_whole() -> None:
    (node,) = nodes(
        [{"name": "a", "devices": {"gpu": "discover"}, "divide": {"gpu": {"parts": 4, "count": 1}}}],
        lambda: GPUS,
        MACHINE,
        Divisible({"gpu": 48}),
    )
    assert node.capacity.devices == {"gpu": 1, "gpu-1of4": 4}
    assert [device.offers for device in node.devices] == ["gpu", "gpu-1of4"]
    assert node.devices[1].type == "gpu" and node.devices[1].memory_bytes == 40 * GIB


def test_which_devices_are_divided() -> None:
    assert parts(divided({"gpu": {"parts": 3}})) == {"GPU-0": 3, "GPU-1": 3}
    assert parts(divided({"gpu": {"parts": 3, "ids": ["GPU-0"]}})) == {"GPU-0": 3}
    assert parts(divided({"gpu": [{"parts": 3, "count": 1}, {"parts": 2, "count": 1}]})) == {"GPU-1": 3, "GPU-0": 2}
    both = divided({"virtual": {"parts": 16, "count": 1}, "gpu": {"parts": 2, "count": 0}})
    assert parts(both) == {"a-virtual-1": 16}


def test_where_a_count_is_given_what_is_held_stays_as_it_is() -> None:
    one = {"gpu": {"parts": 4, "count": 1}}
    assert parts(divided(one, {("gpu", "GPU-1"): "gpu"})) == {"GPU-0": 4}
    assert parts(divided(one, {("gpu", "GPU-0"): "gpu-1of4"})) == {"GPU-0": 4}
    assert parts(divided(one, {("gpu", "GPU-1"): "gpu-1of2"})) == {"GPU-0": 4}


@pytest.mark.parametrize(
    ("divide", "words"),
    [
        ([], "divide: a mapping of device types to parts"),
        ({"gpu": 4}, "divide.gpu: needs parts, and count or ids unless all are divided, such as {parts: 4, count: 1}"),
        ({"gpu": {"part": 4}}, "divide.gpu.part: unknown field; known are parts, count, ids"),
        ({"gpu": {}}, "divide.gpu.parts: a whole number from 2 to 48"),
        ({"gpu": {"parts": 49}}, "divide.gpu.parts: a whole number from 2 to 48"),
        ({"gpu": {"parts": True}}, "divide.gpu.parts: a whole number from 2 to 48"),
        ({"gpu": {"parts": 2, "count": 3}}, "divide.gpu.count: a whole number from 0 to 2"),
        ({"gpu": [{"parts": 2}, {"parts": 4, "count": 1}]}, "divide.gpu.count: a whole number from 0 to 0"),
        ({"gpu": {"parts": 2, "count": 1, "ids": ["GPU-0"]}}, "divide.gpu: count or ids, not both"),
        ({"gpu": {"parts": 2, "ids": "GPU-0"}}, "divide.gpu.ids: a list of ids of devices"),
        ({"gpu": {"parts": 2, "ids": ["x"]}}, "divide.gpu.ids: x is not one of its devices that are whole so far"),
        ({"npu": {"parts": 2}}, "divide.npu: devices of this type can't be divided"),
    ],
)
def test_a_division_that_can_not_be_is_refused(divide: object, words: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        divided(divide)
    (problem,) = caught.value.problems
    assert problem.startswith(f"nodes[0]: {words}")


def test_parts_are_not_declared_as_devices() -> None:
    with pytest.raises(InvalidSpec) as caught:
        divided(None, **{"virtual-1of4": 4})
    assert "parts follow from divide; declare whole devices, virtual: 1" in caught.value.problems[0]
