"""Placement rules by table: packing, device nodes, labels, topology, back-off, big gangs, reasons."""

from __future__ import annotations

import time

import pytest

from octopus_hub.core.placement import place
from octopus_hub.core.reason import Reason
from octopus_hub.core.snapshot import Snapshot, Waiting
from octopus_hub.core.trial import Trial
from tests.core.scheduling_builders import (
    amounts,
    assert_no_overcommit,
    assert_whole,
    gang,
    node,
    role,
    snapshot,
    tasks_by_node,
    usage_of,
)

PACKING = [
    ("one node that holds all beats two", [role(count=4, gpu=1)], {"big": 4}),
    ("the tightest node that holds all", [role(count=2, gpu=1)], {"small": 2}),
    ("few nodes when no node holds all", [role(count=5, gpu=1)], {"big": 4, "small": 1}),
    ("tasks without devices keep off device nodes", [role(count=16, cpu=1)], {"plain": 16}),
    (
        "but share them when the others are full, those with few devices first",
        [role(count=20, cpu=1)],
        {"plain": 16, "small": 4},
    ),
]


@pytest.mark.parametrize(("rule", "needs", "expected"), PACKING, ids=[case[0] for case in PACKING])
def test_packing(rule: str, needs: list, expected: dict) -> None:
    view = snapshot(node("big", gpu=4), node("small", gpu=2), node("plain"))
    placement = place(view, gang("g", *needs), 0.0)
    assert not isinstance(placement, Reason)
    assert tasks_by_node(placement) == expected


def test_spans_number_the_tasks_in_node_order() -> None:
    view = snapshot(node("a", gpu=2), node("b", gpu=4))
    placement = place(view, gang("g", role(count=6, gpu=1)), 0.0)
    assert not isinstance(placement, Reason)
    assert [(span.node, span.first, span.count) for span in placement["worker"]] == [("a", 0, 2), ("b", 2, 4)]


def test_roles_of_different_size_and_device_are_placed_together() -> None:
    view = snapshot(node("gpus", gpu=2), node("npus", npu=2), node("plain"))
    waiting = gang("g", role("ps", count=2), role("a", count=2, gpu=1), role("b", count=1, npu=2))
    placement = place(view, waiting, 0.0)
    assert not isinstance(placement, Reason)
    assert_whole(waiting, placement)
    assert tasks_by_node(placement, "a") == {"gpus": 2}
    assert tasks_by_node(placement, "b") == {"npus": 1}
    assert tasks_by_node(placement, "ps") == {"plain": 2}


def test_a_role_that_does_not_fit_withholds_the_whole_gang() -> None:
    view = snapshot(node("gpus", gpu=2))
    trial = Trial(view)
    before = [list(free) for free in trial.free]
    refused = place(trial, gang("g", role("ps"), role("worker", count=3, gpu=1)), 0.0)
    assert isinstance(refused, Reason)
    assert trial.free == before


def test_a_second_order_of_roles_is_tried() -> None:
    # workers first would sit on the node that alone can hold the parameter server
    view = snapshot(node("a", cpu=8, gpu=4), node("b", cpu=4, gpu=4))
    waiting = gang("g", role("worker", count=2, cpu=1, gpu=1), role("ps", cpu=8))
    placement = place(view, waiting, 0.0)
    assert not isinstance(placement, Reason)
    assert tasks_by_node(placement, "ps") == {"a": 1}


def test_node_selector() -> None:
    view = snapshot(node("a", gpu=4, labels={"sku": "t4"}), node("b", gpu=4, labels={"sku": "a100"}))
    placement = place(view, gang("g", role(gpu=1, node_selector={"sku": "a100"})), 0.0)
    assert not isinstance(placement, Reason)
    assert tasks_by_node(placement) == {"b": 1}
    refused = place(view, gang("g", role(gpu=1, node_selector={"sku": "h100"})), 0.0)
    assert isinstance(refused, Reason)
    assert "sku=h100" in refused.message


def test_nodes_that_are_down_are_not_used() -> None:
    view = snapshot(node("a", gpu=4, usable=False), node("b", gpu=1))
    assert isinstance(place(view, gang("g", role(count=2, gpu=1)), 0.0), Reason)


RACKS = [node(f"n{at}", gpu=2, labels={"rack": f"r{at // 2}"}) for at in range(6)]  # r0, r1, r2 with 4 gpu each

TOPOLOGY = [
    ("one rack holds all", 4, True, {"n0": 2, "n1": 2}),
    ("no rack holds all: required is refused", 5, True, None),
    ("no rack holds all: preferred takes few racks", 5, False, {"n0": 2, "n1": 2, "n2": 1}),
]


@pytest.mark.parametrize(("rule", "count", "required", "expected"), TOPOLOGY, ids=[case[0] for case in TOPOLOGY])
def test_topology(rule: str, count: int, required: bool, expected: dict | None) -> None:
    waiting = gang("g", role(count=count, gpu=1, topology="rack", topology_required=required))
    placement = place(snapshot(*RACKS), waiting, 0.0)
    if expected is None:
        assert isinstance(placement, Reason)
        assert "one rack" in placement.message
    else:
        assert not isinstance(placement, Reason)
        assert tasks_by_node(placement) == expected


def test_roles_of_one_level_share_a_domain() -> None:
    parts = [role(name, count=2, gpu=1, topology="rack", topology_required=True) for name in ("a", "b")]
    view = snapshot(*RACKS, running=[(gang("r", role(gpu=1)), {"worker": _span("n0", 1)})])
    placement = place(view, gang("g", *parts), 0.0)
    assert not isinstance(placement, Reason)
    used = {span.node for name in ("a", "b") for span in placement[name]}
    assert used == {"n2", "n3"}, "rack r0 has only 3 left"


def test_a_rack_that_holds_only_a_part_is_left_as_it_was() -> None:
    nodes = [node("n0", cpu=2, gpu=2, labels={"rack": "r0"}), node("n1", cpu=64, gpu=4, labels={"rack": "r1"})]
    first = role("first", cpu=1, gpu=2, topology="rack", topology_required=True)
    second = role("second", cpu=8, gpu=1, topology="rack", topology_required=True)  # too large for n0
    trial = Trial(snapshot(*nodes))
    placement = place(trial, gang("g", first, second), 0.0)
    assert not isinstance(placement, Reason)
    assert {span.node for spans in placement.values() for span in spans} == {"n1"}
    assert trial.free == Trial(snapshot(*nodes)).free


def test_the_tightest_rack_is_taken() -> None:
    view = snapshot(*RACKS, running=[(gang("r", role(count=2, gpu=1)), {"worker": _span("n4", 2)})])
    placement = place(view, gang("g", role(count=2, gpu=1, topology="rack")), 0.0)
    assert not isinstance(placement, Reason)
    assert tasks_by_node(placement) == {"n5": 2}


def test_nodes_in_back_off_are_avoided_until_their_time() -> None:
    view = snapshot(node("a", gpu=4), node("b", gpu=4))
    waiting = gang("g", role(gpu=4), avoid={"a": 100.0})
    for now, expected in ((0.0, {"b": 1}), (100.0, {"a": 1})):
        placement = place(view, waiting, now)
        assert not isinstance(placement, Reason)
        assert tasks_by_node(placement) == expected
    refused = place(view, gang("g", role(gpu=4), avoid={"a": 100.0, "b": 50.0}), 0.0)
    assert isinstance(refused, Reason)
    assert refused.code == "BackOff"
    assert "a" in refused.message and "00:00:50 UTC" in refused.message


def test_ten_thousand_tasks_are_placed_per_node() -> None:
    view = snapshot(*(node(f"n{at:04}", cpu=16) for at in range(1000)))
    waiting = gang("g", role(count=10_000, cpu=1, memory=1))
    trial = Trial(view)
    started = time.perf_counter()
    placement = place(trial, waiting, 0.0)
    assert time.perf_counter() - started < 20.0  # usually some 100 ms; a search over single tasks takes minutes
    assert not isinstance(placement, Reason)
    assert_whole(waiting, placement)
    assert len(placement["worker"]) == 625


def test_a_shrunk_node_gives_nothing() -> None:
    running = [(gang("r", role(count=4, gpu=1)), {"worker": _span("a", 4)})]
    view = snapshot(node("a", gpu=2), node("b", gpu=1), running=running)
    placement = place(view, gang("g", role(gpu=1)), 0.0)
    assert not isinstance(placement, Reason)
    assert tasks_by_node(placement) == {"b": 1}


def test_trial_add_and_remove_are_inverse() -> None:
    view = snapshot(node("a", gpu=4), node("b", gpu=4))
    waiting = gang("g", role("ps"), role(count=6, gpu=1))
    placement = place(view, waiting, 0.0)
    assert not isinstance(placement, Reason)
    trial = Trial(view)
    trial.add(waiting, placement)
    assert usage_of(trial, waiting).queues["q"] == amounts(7, 7, gpu=6)
    assert usage_of(trial, waiting).users["q", "ann"] == amounts(7, 7, gpu=6)
    assert isinstance(place(trial, gang("h", role(count=3, gpu=1)), 0.0), Reason)
    assert_no_overcommit(view, view.usage, usage_of(trial, waiting))
    trial.remove(waiting, placement)
    assert trial.free == Trial(view).free
    assert place(trial, waiting, 0.0) == placement


def _span(name: str, count: int) -> tuple:
    from octopus_hub.model.status import Span

    return (Span(node=name, first=0, count=count),)


def _busy() -> Snapshot:
    held_by = [
        (gang("r1", role(count=4, virtual=1)), {"worker": _span("node-a", 4)}),
        (gang("r2", role(count=2, virtual=1)), {"worker": _span("node-b", 2)}),
    ]
    return snapshot(node("node-a", virtual=4), node("node-b", virtual=4), running=held_by)


REASONS = [
    (
        "one task is larger than what is free anywhere",
        _busy(),
        gang("g", role(virtual=4)),
        "role worker needs 1 x 4 virtual, largest free 2 on node-b; 6 of 8 virtual in use by 2 TaskSets",
    ),
    (
        "too many tasks",
        _busy(),
        gang("g", role(count=3, virtual=1)),
        "role worker needs 3 x 1 virtual, largest free 2 on node-b; 6 of 8 virtual in use by 2 TaskSets",
    ),
    (
        "memory is what is short",
        snapshot(node("a", memory=8), running=[(gang("r", role(memory=6)), {"worker": _span("a", 1)})]),
        gang("g", role(memory=4)),
        "role worker needs 1 x 4 GiB memory, largest free 2 GiB on a; 6 GiB of 8 GiB memory in use by 1 TaskSet",
    ),
    (
        "a device type that no node has",
        _busy(),
        gang("g", role(gpu=1)),
        "role worker needs 1 x (1 gpu + 1 GiB memory + 1 CPU); no node has a gpu",
    ),
    (
        "each resource is there, not on one node",
        snapshot(node("a", cpu=8, memory=1), node("b", cpu=1, memory=8)),
        gang("g", role(cpu=4, memory=4)),
        "role worker needs 1 x (4 GiB memory + 4 CPU) with everything of a task on one node, room for 0; "
        "0 bytes of 9 GiB memory in use",
    ),
]


@pytest.mark.parametrize(("case", "view", "waiting", "message"), REASONS, ids=[case[0] for case in REASONS])
def test_reasons_are_in_numbers(case: str, view: Snapshot, waiting: Waiting, message: str) -> None:
    refused = place(view, waiting, 0.0)
    assert isinstance(refused, Reason)
    assert refused.message == message


def test_reason_carries_need_free_and_where() -> None:
    refused = place(_busy(), gang("g", role(virtual=4)), 0.0)
    assert isinstance(refused, Reason)
    assert (refused.code, refused.where) == ("NoFit", "node-b")
    assert refused.need == amounts(1, 1, virtual=4)
    # every resource that it needs, so that only what is short looks short
    assert refused.free == amounts(26, 122, virtual=2)
