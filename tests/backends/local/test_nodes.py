"""Nodes of one machine: real devices, virtual nodes, declared nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

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
