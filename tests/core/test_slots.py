"""Slots: what they answer after any changes is what fresh ones answer, and the best node is the one that is stated."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octopus_hub.core import slots
from octopus_hub.core.cluster import Cluster
from octopus_hub.core.slots import Columns, Slots
from octopus_hub.core.trial import Trial
from octopus_hub.model.amounts import Amounts
from tests.core.scheduling_builders import node, snapshot

NODES = [node(f"n{at}", cpu=4 + at % 3, memory=8, **{"gpu": at % 5} if at % 5 else {}) for at in range(9)]
NODES += [node("both", gpu=2, npu=2), node("npus", npu=4)]
NEEDS = [
    Amounts(cpu_millis=1000),
    Amounts(cpu_millis=1000, devices={"gpu": 1}),
    Amounts(memory_bytes=3 << 30, devices={"gpu": 2}),
    Amounts(devices={"npu": 1, "gpu": 1}),
    Amounts(),
]


def stated(trial: Trial, each: Amounts, count: int) -> tuple[int, int]:
    """The choice in words: least devices left that holds all, then room, CPU left, order; else the most room."""
    need = trial.cluster.need(each)
    dimensions = {dimension for dimension, _ in need}
    found: list[tuple[Any, int, int]] = []
    for at, free in enumerate(trial.free):
        devices = trial.cluster.device_dimensions[at]
        if not devices.issuperset(dimensions - {0, 1}):
            continue
        room = min((free[dimension] // amount for dimension, amount in need), default=1 << 40)
        if room <= 0:
            continue
        tier = not devices <= dimensions
        left = sum(max(0, amount) for amount in free[2:])
        holds = room >= count
        order = (tier, not holds, left, room) if holds else (tier, not holds, -room, left)
        found.append(((*order, max(0, free[0]), at), at, min(room, count)))
    return min(found)[1:]


changes = st.lists(
    st.tuples(st.integers(0, len(NODES) - 1), st.sampled_from(NEEDS), st.integers(-2, 3)), min_size=1, max_size=12
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(changes, st.sampled_from(NEEDS), st.integers(1, 9)), max_size=6))
def test_slots_that_were_kept_answer_like_fresh_ones(steps: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slots, "_STALE", 3)  # so that stale entries are swept up now and then
        trial = Trial(snapshot(*NODES))
        for moves, each, count in steps:
            for at, taken, times in moves:
                trial.take(at, trial.cluster.need(taken), times)
            need = trial.cluster.need(each)
            kept = trial.slots(need, ())
            fresh = Slots(trial.cluster, Columns(trial.free, []), need, trial.cluster.candidates((), _devices(need)))
            assert kept.room == fresh.room and kept.total == fresh.total == sum(fresh.room.values())
            assert kept.largest()[1] == max(fresh.room.values(), default=0)
            if fresh.total:
                assert kept.best(count) == fresh.best(count) == stated(trial, each, count)
            assert kept.largest() == fresh.largest()


def _devices(need: Any) -> tuple[int, ...]:
    return tuple(dimension for dimension, _ in need if dimension > 1)


def test_no_nodes_and_device_types_that_no_node_has() -> None:
    trial = Trial(snapshot())
    assert trial.slots(trial.cluster.need(NEEDS[0]), ()).total == 0
    trial = Trial(snapshot(node("a")))
    none = trial.slots(trial.cluster.need(NEEDS[1]), ())
    assert (none.total, none.largest()) == (0, (-1, 0))


def test_a_cluster_knows_its_domains_and_single_nodes() -> None:
    cluster = Cluster([node("a", labels={"rack": "r"}), node("b", labels={"rack": "r"}), node("c", usable=False)])
    assert cluster.domains("rack") == ("r",) and not cluster.single_nodes("rack")
    assert cluster.domains("node") == ("a", "b") and cluster.single_nodes("node")
    assert cluster.members((("rack", "r"),)) == (0, 1) and cluster.domain_of(2, "rack") is None
