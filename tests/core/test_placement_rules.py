"""Placement rules beyond packing: taints, levels, single nodes, near, spread, device models."""

from __future__ import annotations

from typing import Any

import pytest

from octopus_hub.core.choices import Placed, choices_of, chosen, ways
from octopus_hub.core.placement import find, place
from octopus_hub.core.reason import Reason
from octopus_hub.core.snapshot import NodeView, RoleNeed, Snapshot, Way, gang_total, held
from octopus_hub.core.trial import Trial
from tests.core.scheduling_builders import amounts, gang, node, snapshot, tasks_by_node


def need(name: str = "worker", count: int = 1, cpu: int = 1, gpu: int = 0, **rest: Any) -> RoleNeed:
    return RoleNeed(role=name, count=count, each=amounts(cpu, 1, **({"gpu": gpu} if gpu else {})), **rest)


def placed(view: Snapshot, *needs: RoleNeed) -> Placed:
    found = place(view, gang("g", *needs), 0.0)
    assert not isinstance(found, Reason), found.message
    return found


def tainted(name: str, *taints: str, **rest: Any) -> NodeView:
    view = node(name, **rest)
    return NodeView(view.name, view.capacity, view.labels, view.usable, taints)


TAINTS = [
    ("no toleration keeps off tainted nodes", (), {"free": 1}),
    ("the full text", ("course=ml",), {"course": 1}),
    ("the key tolerates every value", ("course",), {"course": 1}),
    ("everything", ("*",), {"course": 1}),
    ("another value does not", ("course=physics",), {"free": 1}),
]


@pytest.mark.parametrize(("case", "tolerates", "expected"), TAINTS, ids=[case[0] for case in TAINTS])
def test_taints(case: str, tolerates: tuple[str, ...], expected: dict[str, int]) -> None:
    view = snapshot(tainted("course", "course=ml", gpu=1), node("free", gpu=2))  # the tighter one is tainted
    assert tasks_by_node(placed(view, need(gpu=1, tolerates=tolerates))) == expected


def test_every_taint_of_a_node_has_to_be_tolerated() -> None:
    view = snapshot(tainted("a", "course=ml", "old"))
    assert isinstance(place(view, gang("g", need(tolerates=("old",))), 0.0), Reason)
    assert tasks_by_node(placed(view, need(tolerates=("course", "old")))) == {"a": 1}


def test_a_refusal_counts_only_nodes_that_are_tolerated_and_says_so() -> None:
    refused = place(snapshot(tainted("a", "course=ml", gpu=8)), gang("g", need(gpu=1)), 0.0)
    assert isinstance(refused, Reason)
    assert "course=ml" in refused.message
    view = snapshot(tainted("a", "course=ml", gpu=8), node("b", gpu=2))
    refused = place(view, gang("g", need(gpu=4)), 0.0)
    assert isinstance(refused, Reason)
    assert refused.message.startswith("role worker needs 1 x 4 gpu, largest free 2 on b")


LEVELS = [
    node(f"n{at}", gpu=2, labels={"rack": f"r{at // 2}", "block": f"b{at // 4}"}) for at in range(8)
]  # racks hold 4, blocks 8


def test_the_first_level_with_a_domain_that_holds_all_is_used() -> None:
    roles: dict[str, Any] = {"gpu": 1, "topology": "rack", "wider": ("block",), "topology_required": True}
    in_a_rack = placed(snapshot(*LEVELS), need(count=4, **roles))
    assert tasks_by_node(in_a_rack) == {"n0": 2, "n1": 2}
    in_a_block = placed(snapshot(*LEVELS), need(count=6, **roles))
    assert set(tasks_by_node(in_a_block)) <= {"n0", "n1", "n2", "n3"}
    assert isinstance(place(snapshot(*LEVELS), gang("g", need(count=9, **roles)), 0.0), Reason)
    assert (
        sum(tasks_by_node(placed(snapshot(*LEVELS), need(count=9, **{**roles, "topology_required": False}))).values())
        == 9
    )


def test_a_node_is_the_narrowest_level() -> None:
    view = snapshot(node("small", cpu=4, gpu=2), node("large", cpu=8, gpu=4))
    roles = [
        need("a", count=2, gpu=1, topology="node", topology_required=True),
        need("b", count=3, cpu=2, topology="node", topology_required=True),
    ]
    found = placed(view, *roles)
    assert tasks_by_node(found, "a") == {"large": 2}
    assert tasks_by_node(found, "b") == {"large": 3}
    assert isinstance(
        place(view, gang("g", need(count=5, gpu=1, topology="node", topology_required=True)), 0.0), Reason
    )


def test_servers_go_next_to_workers() -> None:
    nodes = [node(f"n{at}", cpu=16, gpu=4, labels={"rack": f"r{at // 2}"}) for at in range(4)]
    view = snapshot(*nodes, node("plain", cpu=64))
    alone = placed(view, need("ps", count=2), need(count=8, gpu=1))
    assert tasks_by_node(alone, "ps") == {"plain": 2}
    near = placed(view, need("ps", count=2, near="worker"), need(count=8, gpu=1))
    assert set(tasks_by_node(near, "ps")) <= set(tasks_by_node(near))


def test_near_goes_on_in_the_domain_of_its_neighbours_and_then_anywhere() -> None:
    nodes = [
        node("a", cpu=4, gpu=4, labels={"rack": "r0"}),
        node("b", cpu=2, labels={"rack": "r1"}),
        node("c", cpu=2, labels={"rack": "r0"}),
    ]
    workers = need(count=3, gpu=1, topology="rack")
    found = placed(snapshot(*nodes), need("ps", count=3, near="worker"), workers)
    assert tasks_by_node(found, "ps") == {"a": 1, "c": 2}
    found = placed(snapshot(*nodes), need("ps", count=5, near="worker"), workers)
    assert tasks_by_node(found, "ps") == {"a": 1, "b": 2, "c": 2}


def test_spread_over_failure_domains() -> None:
    nodes = [node(f"n{at}", cpu=8, labels={"rack": f"r{at // 2}"}) for at in range(6)]  # racks of 16 CPUs

    def racks(**rest: Any) -> list[int] | None:
        found = place(snapshot(*nodes, node("bare", cpu=64)), gang("g", need(spread="rack", **rest)), 0.0)
        if isinstance(found, Reason):
            return None
        sums = [0, 0, 0]
        for name, count in tasks_by_node(found).items():
            sums[int(name[1:]) // 2] += count
        return sums

    assert racks(count=7) == [3, 2, 2], "as evenly as can be"
    assert racks(count=4, spread_most=2) == [2, 2, 0]
    assert racks(count=6, spread_most=2) == [2, 2, 2]
    assert racks(count=7, spread_most=2) is None
    assert racks(count=49) is None, "nodes without the label are in no failure domain"


def test_spread_inside_a_block() -> None:
    worker = need(count=4, gpu=1, topology="block", topology_required=True, spread="rack", spread_most=2)
    assert tasks_by_node(placed(snapshot(*LEVELS), worker)) == {"n0": 2, "n2": 2}


# --- device models
A100, V100 = {"octopus-hub.io/sku": "a100"}, {"octopus-hub.io/sku": "v100"}


def either(count: int = 2, **rest: Any) -> RoleNeed:
    """``a100``, else two of ``v100``."""
    second = Way(amounts(1, 1, gpu=2), V100)
    return need(count=count, gpu=1, node_selector=A100, choices=(second,), **rest)


SKUS = [
    ("the preferred one", 2, 8, {"a": 2}, 0),
    ("the next with its own amounts, all tasks alike", 1, 8, {"v": 2}, 1),
    ("neither", 1, 3, None, 0),
]


@pytest.mark.parametrize(("case", "a100", "v100", "expected", "pick"), SKUS, ids=[case[0] for case in SKUS])
def test_device_models_in_order(case: str, a100: int, v100: int, expected: dict[str, int] | None, pick: int) -> None:
    view = snapshot(node("a", gpu=a100, labels=A100), node("v", gpu=v100, labels=V100))
    found = place(view, gang("g", either()), 0.0)
    if expected is None:
        assert isinstance(found, Reason)
        assert found.message.endswith("; its other choice of devices does not fit either")
        return
    assert not isinstance(found, Reason)
    assert tasks_by_node(found) == expected
    assert choices_of(found) == {"worker": pick}


def test_what_is_held_and_charged_is_that_of_the_choice() -> None:
    view = snapshot(node("a", gpu=1, labels=A100), node("v", gpu=8, labels=V100))
    waiting = gang("g", either())
    found = placed(view, either())
    trial = Trial(view)
    trial.add(waiting, found)
    v100 = trial.cluster.index["v"]
    assert trial.free[v100][trial.cluster.dimension["gpu"]] == 4
    assert trial.quotas.used("q")["gpu"] == 4
    assert trial.quotas.used("q")["gpu:v100"] == 4
    assert held([(waiting, found)]).nodes["v"].devices == {"gpu": 4}
    trial.remove(waiting, found)
    assert trial.free == Trial(view).free
    assert not any(trial.quotas.used("q").values())


def test_a_quota_may_forbid_the_first_choice() -> None:
    view = snapshot(node("a", gpu=8, labels=A100), node("v", gpu=8, labels=V100))
    asked: list[int] = []

    def allowed(total: Any) -> bool:
        asked.append(total.get("gpu:a100", 0))
        return not total.get("gpu:a100")

    found = find(Trial(view), gang("g", either()), allowed=allowed)
    assert found is not None and choices_of(found) == {"worker": 1}
    assert asked == [2, 0]
    assert find(Trial(view), gang("g", either()), allowed=lambda total: False) is None
    assert find(Trial(view), gang("g", need(gpu=1)), allowed=lambda total: False) is not None, "asked before"


def test_ways_begin_with_what_every_role_prefers() -> None:
    third = (Way(amounts(1)), Way(amounts(2)))
    roles = (need("a", choices=third), need("b"), need("c", choices=third[:1]), need("d", count=0, choices=third))
    found = [(way["a"], way["c"]) for way in ways(roles)]
    assert found == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert [each.each.cpu_millis for each in chosen(roles, {"a": 2})] == [2000, 1000, 1000, 1000]
    assert gang_total(chosen(roles, {"a": 2}))["cpu_millis"] == 4000
    many = tuple(need("abcdefghijklmnop"[at], choices=third) for at in range(16))
    assert len(list(ways(many))) == 64


def test_a_gang_without_choices_has_one_way() -> None:
    assert list(ways((need("a"), need("b")))) == [{}]
    assert choices_of({"a": ()}) == {}
